/*
 * Summaries on disk: a header and five lists, packed without gaps.
 *
 * What must always hold: a summary that decodes can be walked without further checks. Ranges ascend and are
 * disjoint; stripes lie each in one range and share no row; blocks lie in the used part of their stripe; the
 * number of CRCs is that of the cells in the ranges. The counts are checked against the size before
 * anything is allocated.
 */
#include "libpool/format/summary.h"

#include <stdlib.h>

#include "libpool/base/error.h"
#include "libpool/format/raw_header.h"
#include "libpool/format/segment_record.h"

#define ROWS_MAX      (1u << (AU_SHIFT_MAX - CELL_SHIFT))
#define NUMBER48_MAX  ((UINT64_C(1) << 48) - 1)
#define BLOCK_SIZE    22u
#define IDENTITY_SIZE 16u

struct raw_summary {
	struct raw_header header; /* 0 */
	uint8_t pool[16];         /* 16 */
	le32 segment;             /* 32 */
	uint8_t class;            /* 36 */
	uint8_t k;                /* 37 */
	uint8_t m;                /* 38 */
	uint8_t reserved;         /* 39 */
	le64 txg;                 /* 40 */
	le32 range_count;         /* 48 */
	le32 stripe_count;        /* 52 */
	le32 block_count;         /* 56 */
	le32 cell_count;          /* 60 */
};
_Static_assert(sizeof(struct raw_summary) == 64 && AT(raw_summary, header, 0) && AT(raw_summary, pool, 16) &&
		       AT(raw_summary, segment, 32) && AT(raw_summary, class, 36) && AT(raw_summary, k, 37) &&
		       AT(raw_summary, m, 38) && AT(raw_summary, txg, 40) && AT(raw_summary, range_count, 48) &&
		       AT(raw_summary, stripe_count, 52) && AT(raw_summary, block_count, 56) && AT(raw_summary, cell_count, 60), "on disk");

struct raw_range {
	le16 base; /* 0 */
	le16 rows; /* 2 */
};
_Static_assert(sizeof(struct raw_range) == 4 && AT(raw_range, base, 0) && AT(raw_range, rows, 2), "on disk");

struct raw_stripe {
	le16 base;             /* 0 */
	uint8_t height_less_1; /* 2 */
	uint8_t reserved;      /* 3 */
	le16 fill;             /* 4 */
};
_Static_assert(sizeof(struct raw_stripe) == 6 && AT(raw_stripe, base, 0) && AT(raw_stripe, height_less_1, 2) &&
		       AT(raw_stripe, fill, 4), "on disk");

struct raw_block {
	le16 cell;            /* 0: column in the upper 4 bits, row in the lower 12 */
	uint8_t psect_less_1; /* 2 */
	uint8_t flags;        /* 3 */
	uint8_t type;         /* 4 */
	le32 objset;          /* 5 */
	le48 object;          /* 9 */
	uint8_t level;        /* 15 */
	le48 block;           /* 16 */
};
_Static_assert(sizeof(struct raw_block) == BLOCK_SIZE && AT(raw_block, cell, 0) && AT(raw_block, psect_less_1, 2) &&
		       AT(raw_block, flags, 3) && AT(raw_block, type, 4) && AT(raw_block, objset, 5) && AT(raw_block, object, 9) &&
		       AT(raw_block, level, 15) && AT(raw_block, block, 16), "on disk");

struct raw_identity {
	le64 dva;   /* 0 */
	le64 place; /* 8 */
};
_Static_assert(sizeof(struct raw_identity) == IDENTITY_SIZE && AT(raw_identity, dva, 0) && AT(raw_identity, place, 8), "on disk");

size_t summary_size(uint32_t ranges, uint32_t stripes, uint32_t blocks, uint32_t relocated, uint32_t cells)
{
	return sizeof(struct raw_summary) + (size_t)ranges * sizeof(struct raw_range) +
	       (size_t)stripes * sizeof(struct raw_stripe) + ((size_t)cells + 7) / 8 + (size_t)cells * sizeof(le32) +
	       (size_t)blocks * BLOCK_SIZE + (size_t)relocated * IDENTITY_SIZE;
}

static uint8_t *block_encode(const struct summary_block *block, uint8_t *to)
{
	struct raw_block raw = { .cell = le16_make((uint16_t)(block->column << 12 | (block->row & 0xFFF))),
				 .psect_less_1 = (uint8_t)(block->psect - 1),
				 .flags = block->flags,
				 .type = block->type,
				 .objset = le32_make(block->objset),
				 .object = le48_make(block->object),
				 .level = block->level,
				 .block = le48_make(block->block) };
	memcpy(to, &raw, sizeof(raw));
	to += sizeof(raw);
	if (block->flags & SUMMARY_RELOCATED) {
		struct raw_identity identity = { .dva = le64_make(block->identity_dva),
						 .place = le64_make(block->identity_place) };
		memcpy(to, &identity, sizeof(identity));
		to += sizeof(identity);
	}
	return to;
}

void summary_encode(const struct summary *summary, uint8_t *ret_raw)
{
	struct raw_summary raw = { .header = raw_header_make(MAGIC_SUMMARY, sizeof(raw), 0),
				   .segment = le32_make(summary->segment),
				   .class = summary->class,
				   .k = summary->k,
				   .m = summary->m,
				   .txg = le64_make(summary->txg),
				   .range_count = le32_make(summary->range_count),
				   .stripe_count = le32_make(summary->stripe_count),
				   .block_count = le32_make(summary->block_count),
				   .cell_count = le32_make(summary->cell_count) };
	uint8_t *to = ret_raw;

	memcpy(raw.pool, summary->pool.bytes, sizeof(raw.pool));
	memcpy(to, &raw, sizeof(raw));
	to += sizeof(raw);
	for (uint32_t i = 0; i < summary->range_count; i++) {
		struct raw_range range = { le16_make(summary->ranges[i].base), le16_make(summary->ranges[i].rows) };
		memcpy(to, &range, sizeof(range));
		to += sizeof(range);
	}
	for (uint32_t i = 0; i < summary->stripe_count; i++) {
		const struct summary_stripe *stripe = &summary->stripes[i];
		struct raw_stripe raw_stripe = { .base = le16_make(stripe->base),
						 .height_less_1 = (uint8_t)(stripe->height - 1),
						 .fill = le16_make(stripe->fill) };
		memcpy(to, &raw_stripe, sizeof(raw_stripe));
		to += sizeof(raw_stripe);
	}
	size_t bitmap_size = ((size_t)summary->cell_count + 7) / 8;
	if (bitmap_size > 0)
		memcpy(to, summary->nocrc, bitmap_size);
	if (summary->cell_count % 8)
		to[bitmap_size - 1] &= (uint8_t)((1u << summary->cell_count % 8) - 1);
	to += bitmap_size;
	for (uint32_t i = 0; i < summary->cell_count; i++, to += sizeof(le32)) {
		le32 crc = le32_make(summary->crc[i]);
		memcpy(to, &crc, sizeof(crc));
	}
	for (uint32_t i = 0; i < summary->block_count; i++)
		to = block_encode(&summary->blocks[i], to);
}

bool summary_ranges_valid(const struct summary_range *ranges, unsigned count, unsigned rows_per_au)
{
	unsigned next = 1; /* row 0 is the AU header */
	for (unsigned i = 0; i < count; i++) {
		if (ranges[i].rows == 0 || ranges[i].base < next ||
		    (unsigned)ranges[i].base + ranges[i].rows > rows_per_au)
			return false;
		next = (unsigned)ranges[i].base + ranges[i].rows;
	}
	return true;
}

bool summary_ranges_cover(const struct summary_range *ranges, unsigned count, unsigned row, unsigned rows)
{
	unsigned i = 0;
	while (i < count && (unsigned)ranges[i].base + ranges[i].rows <= row)
		i++;
	for (unsigned end = row + rows; i < count && ranges[i].base <= row; i++) {
		row = (unsigned)ranges[i].base + ranges[i].rows;
		if (row >= end)
			return true;
	}
	return false;
}

/* Which range contains the row, or range_count. */
static uint32_t range_of(const struct summary *summary, unsigned row)
{
	uint32_t low = 0, high = summary->range_count;
	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		if ((unsigned)summary->ranges[middle].base + summary->ranges[middle].rows <= row)
			low = middle + 1;
		else
			high = middle;
	}
	return low < summary->range_count && summary->ranges[low].base <= row ? low : summary->range_count;
}

int64_t summary_cell_index(const struct summary *summary, unsigned row, unsigned column)
{
	unsigned columns = (unsigned)summary->k + summary->m;
	int64_t rows_before = 0;

	if (column >= columns)
		return -1;
	for (uint32_t i = 0; i < summary->range_count; i++) {
		const struct summary_range *range = &summary->ranges[i];
		if (row >= range->base && row < (unsigned)range->base + range->rows)
			return (rows_before + (row - range->base)) * columns + column;
		rows_before += range->rows;
	}
	return -1;
}

void summary_release(struct summary *summary)
{
	free(summary->ranges);
	free(summary->stripes);
	free(summary->nocrc);
	free(summary->crc);
	free(summary->blocks);
	*summary = (struct summary){ 0 };
}

static int summary_allocate(struct summary *summary)
{
	size_t bitmap_size = ((size_t)summary->cell_count + 7) / 8;
	summary->ranges = calloc(summary->range_count, sizeof(*summary->ranges));
	summary->stripes = calloc(summary->stripe_count, sizeof(*summary->stripes));
	summary->nocrc = calloc(bitmap_size, 1);
	summary->crc = calloc(summary->cell_count, sizeof(*summary->crc));
	summary->blocks = calloc(summary->block_count + 1, sizeof(*summary->blocks));
	return summary->ranges && summary->stripes && summary->nocrc && summary->crc && summary->blocks ? 0 : -ENOMEM;
}

/* Fills stripe_of_row with stripe number + 1 for each row that a stripe has. */
static int stripes_decode(const uint8_t *from, unsigned rows_per_au, struct summary *summary, uint16_t *stripe_of_row)
{
	for (uint32_t i = 0; i < summary->stripe_count; i++, from += sizeof(struct raw_stripe)) {
		struct raw_stripe raw;
		memcpy(&raw, from, sizeof(raw));
		struct summary_stripe stripe = { .base = le16_get(raw.base),
						 .height = (uint16_t)(raw.height_less_1 + 1),
						 .fill = le16_get(raw.fill) };
		unsigned end = (unsigned)stripe.base + stripe.height, cells = (unsigned)summary->k * stripe.height;
		if (raw.reserved != 0 || end > rows_per_au || cells > STRIPE_CELLS_MAX || stripe.fill > cells)
			return -POOL_EFORMAT;
		uint32_t range = range_of(summary, stripe.base);
		if (range == summary->range_count ||
		    end > (unsigned)summary->ranges[range].base + summary->ranges[range].rows)
			return -POOL_EFORMAT;
		for (unsigned row = stripe.base; row < end; row++) {
			if (stripe_of_row[row])
				return -POOL_EFORMAT;
			stripe_of_row[row] = (uint16_t)(i + 1);
		}
		summary->stripes[i] = stripe;
	}
	return 0;
}

static bool block_valid(const struct summary *summary, const struct summary_block *block, const uint16_t *stripe_of_row)
{
	if (block->flags & ~SUMMARY_RELOCATED || block->type == TYPE_NONE || block->type >= TYPE_COUNT ||
	    block->level > 15 || block->column >= summary->k || stripe_of_row[block->row] == 0)
		return false;
	const struct summary_stripe *stripe = &summary->stripes[stripe_of_row[block->row] - 1];
	unsigned offset = (unsigned)block->column * stripe->height + (block->row - stripe->base);
	return offset + block->psect <= stripe->fill;
}

/* The blocks, and after them nothing but zeros. */
static int blocks_decode(const uint8_t *from, const uint8_t *end, struct summary *summary, const uint16_t *stripe_of_row)
{
	for (uint32_t i = 0; i < summary->block_count; i++) {
		struct raw_block raw;
		if ((size_t)(end - from) < sizeof(raw))
			return -POOL_EFORMAT;
		memcpy(&raw, from, sizeof(raw));
		from += sizeof(raw);
		struct summary_block block = { .column = (uint8_t)(le16_get(raw.cell) >> 12),
					       .row = le16_get(raw.cell) & 0xFFF,
					       .psect = (uint16_t)(raw.psect_less_1 + 1),
					       .flags = raw.flags,
					       .type = raw.type,
					       .level = raw.level,
					       .objset = le32_get(raw.objset),
					       .object = le48_get(raw.object),
					       .block = le48_get(raw.block) };
		if (!block_valid(summary, &block, stripe_of_row))
			return -POOL_EFORMAT;
		if (block.flags & SUMMARY_RELOCATED) {
			struct raw_identity identity;
			if ((size_t)(end - from) < sizeof(identity))
				return -POOL_EFORMAT;
			memcpy(&identity, from, sizeof(identity));
			from += sizeof(identity);
			block.identity_dva = le64_get(identity.dva);
			block.identity_place = le64_get(identity.place);
			if (dva_unpack(block.identity_dva).base == 0 || block.identity_place == 0)
				return -POOL_EFORMAT;
		}
		summary->blocks[i] = block;
	}
	return bytes_are_zero(from, (size_t)(end - from)) ? 0 : -POOL_EFORMAT;
}

static int header_decode(const uint8_t *from, size_t size, struct summary *ret_summary)
{
	struct raw_summary raw;

	if (size < sizeof(raw))
		return -POOL_EFORMAT;
	memcpy(&raw, from, sizeof(raw));
	struct summary summary = { .segment = le32_get(raw.segment),
				   .class = raw.class,
				   .k = raw.k,
				   .m = raw.m,
				   .txg = le64_get(raw.txg),
				   .range_count = le32_get(raw.range_count),
				   .stripe_count = le32_get(raw.stripe_count),
				   .block_count = le32_get(raw.block_count),
				   .cell_count = le32_get(raw.cell_count) };
	memcpy(summary.pool.bytes, raw.pool, sizeof(raw.pool));
	if (!raw_header_valid(&raw.header, MAGIC_SUMMARY, sizeof(raw), 0) || raw.reserved != 0 ||
	    summary.segment >= SEGMENTS_MAX || !segment_geometry_valid(summary.class, summary.k, summary.m) ||
	    summary.range_count == 0 || summary.range_count > SUMMARY_RANGES_MAX || summary.stripe_count == 0 ||
	    summary.stripe_count > ROWS_MAX || summary.cell_count == 0 ||
	    summary.cell_count > ROWS_MAX * COLUMNS_MAX || summary.block_count > ROWS_MAX * COLUMNS_MAX)
		return -POOL_EFORMAT;
	size_t needed = summary_size(summary.range_count, summary.stripe_count, summary.block_count, 0,
				     summary.cell_count);
	if (needed > size)
		return -POOL_EFORMAT;
	*ret_summary = summary;
	return 0;
}

static int lists_decode(const uint8_t *raw, size_t size, unsigned rows_per_au, struct summary *summary)
{
	const uint8_t *from = raw + sizeof(struct raw_summary);
	uint16_t stripe_of_row[ROWS_MAX] = { 0 };
	uint64_t rows = 0;

	for (uint32_t i = 0; i < summary->range_count; i++, from += sizeof(struct raw_range)) {
		struct raw_range range;
		memcpy(&range, from, sizeof(range));
		summary->ranges[i] = (struct summary_range){ le16_get(range.base), le16_get(range.rows) };
		rows += summary->ranges[i].rows;
	}
	if (!summary_ranges_valid(summary->ranges, summary->range_count, rows_per_au) ||
	    rows * ((uint64_t)summary->k + summary->m) != summary->cell_count)
		return -POOL_EFORMAT;
	int error = stripes_decode(from, rows_per_au, summary, stripe_of_row);
	if (error)
		return error;
	from += summary->stripe_count * sizeof(struct raw_stripe);
	size_t bitmap_size = ((size_t)summary->cell_count + 7) / 8;
	memcpy(summary->nocrc, from, bitmap_size);
	if (summary->cell_count % 8 && summary->nocrc[bitmap_size - 1] >> summary->cell_count % 8)
		return -POOL_EFORMAT;
	from += bitmap_size;
	for (uint32_t i = 0; i < summary->cell_count; i++, from += sizeof(le32)) {
		le32 crc;
		memcpy(&crc, from, sizeof(crc));
		summary->crc[i] = le32_get(crc);
	}
	return blocks_decode(from, raw + size, summary, stripe_of_row);
}

int summary_decode(const uint8_t *raw, size_t size, unsigned rows_per_au, struct summary *ret_summary)
{
	struct summary summary;

	if (size > SUMMARY_CELLS_MAX * CELL_SIZE || rows_per_au > ROWS_MAX)
		return -POOL_EFORMAT;
	int error = header_decode(raw, size, &summary);
	if (error)
		return error;
	error = summary_allocate(&summary);
	if (!error)
		error = lists_decode(raw, size, rows_per_au, &summary);
	if (error)
		summary_release(&summary);
	else
		*ret_summary = summary;
	return error;
}
