/*
 * The records of the allocation log.
 *
 * What must always hold: a record lies in one block, whole. A record of an unknown type is refused, never
 * skipped: one change of the allocation state left out would make live rows look free.
 */
#include "libpool/base/error.h"
#include "libpool/format/alloc_log.h"
#include "libpool/format/raw_header.h"

#define EXTENT_ROWS_MAX  256u /* rows in one packed extent */
#define FREES_PER_RECORD 1000u
#define BATCH_FIXED_SIZE (sizeof(struct raw_record) + sizeof(struct raw_batch))
_Static_assert(sizeof(((struct alloc_record *)0)->ranges) / sizeof(struct summary_range) == SUMMARY_RANGES_MAX, "one");

struct raw_record {
	le16 type;     /* 0 */
	le16 length;   /* 2: of the whole record */
	le32 reserved; /* 4 */
};
_Static_assert(sizeof(struct raw_record) == 8 && AT(raw_record, type, 0) && AT(raw_record, length, 2), "on disk");

struct raw_segment {
	le32 segment;                        /* 0 */
	le32 reserved;                       /* 4 */
	uint8_t record[SEGMENT_RECORD_SIZE]; /* 8 */
};
_Static_assert(sizeof(struct raw_segment) == 136 && AT(raw_segment, segment, 0) && AT(raw_segment, record, 8), "on disk");

struct raw_batch {
	le32 segment;                     /* 0 */
	le16 range_count;                 /* 4 */
	le16 reserved;                    /* 6 */
	le64 txg;                         /* 8 */
	struct raw_block_pointer summary; /* 16 */
	le32 unused_count;                /* 80 */
	le32 reserved_2;                  /* 84 */
	/* ranges {base u16, rows u16}, zeros up to a multiple of 8, unused extents */
};
_Static_assert(sizeof(struct raw_batch) == 88 && AT(raw_batch, segment, 0) && AT(raw_batch, range_count, 4) && AT(raw_batch, txg, 8) &&
		       AT(raw_batch, summary, 16) && AT(raw_batch, unused_count, 80), "on disk");

struct raw_range {
	le16 base; /* 0 */
	le16 rows; /* 2 */
};
_Static_assert(sizeof(struct raw_range) == 4 && AT(raw_range, base, 0) && AT(raw_range, rows, 2), "on disk");

struct raw_stale {
	le32 segment;        /* 0 */
	uint8_t column;      /* 4 */
	le16 base;           /* 5 */
	le16 rows;           /* 7 */
	le64 place;          /* 9 */
	uint8_t reserved[7]; /* 17 */
};
_Static_assert(sizeof(struct raw_stale) == 24 && AT(raw_stale, segment, 0) && AT(raw_stale, column, 4) && AT(raw_stale, base, 5) &&
		       AT(raw_stale, rows, 7) && AT(raw_stale, place, 9), "on disk");

/* ---- extents ---- */

static le64 extent_pack(uint32_t segment, unsigned column, unsigned row, unsigned rows)
{
	return le64_make((uint64_t)segment << 32 | (uint64_t)(column & 0xF) << 28 | (uint64_t)(row & 0xFFF) << 16 |
			 (uint64_t)((rows - 1) & 0xFF) << 8);
}

static int extent_unpack(const uint8_t *from, unsigned rows_per_au, struct cell_extent *ret_extent)
{
	le64 raw;
	memcpy(&raw, from, sizeof(raw));
	uint64_t bits = le64_get(raw);
	struct cell_extent extent = { .segment = (uint32_t)(bits >> 32),
				      .column = bits >> 28 & 0xF,
				      .row = bits >> 16 & 0xFFF,
				      .rows = (uint16_t)((bits >> 8 & 0xFF) + 1) };
	if (bits & 0xFF || extent.segment >= SEGMENTS_MAX || extent.row == 0 ||
	    (unsigned)extent.row + extent.rows > rows_per_au)
		return -POOL_EFORMAT;
	*ret_extent = extent;
	return 0;
}

/* How many packed extents one run takes. */
static size_t extent_pieces(const struct cell_extent *extent)
{
	return (extent->rows + EXTENT_ROWS_MAX - 1) / EXTENT_ROWS_MAX;
}

static uint8_t *extent_put(const struct cell_extent *extent, uint8_t *to)
{
	for (unsigned done = 0; done < extent->rows;) {
		unsigned rows = extent->rows - done;
		if (rows > EXTENT_ROWS_MAX)
			rows = EXTENT_ROWS_MAX;
		le64 raw = extent_pack(extent->segment, extent->column, extent->row + done, rows);
		memcpy(to, &raw, sizeof(raw));
		to += sizeof(raw);
		done += rows;
	}
	return to;
}

/* ---- writing records ---- */

/* Room for `size` more bytes at the end, zeroed, with the record's head in place; NULL without memory. */
static uint8_t *record_begin(struct array *bytes, unsigned type, size_t size)
{
	size_t needed = bytes->count + size;
	if (needed > bytes->capacity &&
	    array_reserve(bytes, needed > bytes->capacity * 2 ? needed : bytes->capacity * 2) < 0)
		return NULL;
	uint8_t *to = array_at(bytes, uint8_t, bytes->count);
	struct raw_record raw = { .type = le16_make((uint16_t)type), .length = le16_make((uint16_t)size) };
	memset(to, 0, size);
	memcpy(to, &raw, sizeof(raw));
	bytes->count = needed;
	return to + sizeof(raw);
}

static int batch_append(struct array *bytes, const struct alloc_record *record)
{
	size_t unused_count = 0, ranges_size = (record->range_count * sizeof(struct raw_range) + 7) / 8 * 8;
	for (uint32_t i = 0; i < record->unused_count; i++)
		unused_count += extent_pieces(&record->unused[i]);
	if (record->range_count > SUMMARY_RANGES_MAX || unused_count > ALLOC_BATCH_UNUSED_MAX)
		return -E2BIG;
	uint8_t *to = record_begin(bytes, ALLOC_BATCH, BATCH_FIXED_SIZE + ranges_size + unused_count * sizeof(le64));
	if (!to)
		return -ENOMEM;
	struct raw_batch raw = { .segment = le32_make(record->segment),
				 .range_count = le16_make(record->range_count),
				 .txg = le64_make(record->txg),
				 .summary = record->summary,
				 .unused_count = le32_make((uint32_t)unused_count) };
	memcpy(to, &raw, sizeof(raw));
	to += sizeof(raw);
	for (unsigned i = 0; i < record->range_count; i++) {
		struct raw_range range = { le16_make(record->ranges[i].base), le16_make(record->ranges[i].rows) };
		memcpy(to + i * sizeof(range), &range, sizeof(range));
	}
	to += ranges_size;
	for (uint32_t i = 0; i < record->unused_count; i++)
		to = extent_put(&record->unused[i], to);
	return 0;
}

int alloc_record_append_frees(struct array *bytes, const struct cell_extent *extents, size_t count)
{
	size_t count_before = bytes->count;

	for (size_t i = 0; i < count;) {
		size_t pieces = 0, end = i;
		while (end < count && pieces + extent_pieces(&extents[end]) <= FREES_PER_RECORD)
			pieces += extent_pieces(&extents[end++]);
		uint8_t *to = record_begin(bytes, ALLOC_FREE, sizeof(struct raw_record) + pieces * sizeof(le64));
		if (!to) {
			bytes->count = count_before;
			return -ENOMEM;
		}
		for (; i < end; i++)
			to = extent_put(&extents[i], to);
	}
	return 0;
}

int alloc_record_append(struct array *bytes, const struct alloc_record *record)
{
	uint8_t *to;

	switch (record->type) {
	case ALLOC_SEGMENT:
		to = record_begin(bytes, ALLOC_SEGMENT, sizeof(struct raw_record) + sizeof(struct raw_segment));
		if (!to)
			return -ENOMEM;
		struct raw_segment segment = { .segment = le32_make(record->segment) };
		segment_record_encode(&record->record, segment.record);
		memcpy(to, &segment, sizeof(segment));
		return 0;
	case ALLOC_BATCH:
		return batch_append(bytes, record);
	case ALLOC_FREE:
		return alloc_record_append_frees(bytes, &record->free, 1);
	case ALLOC_PREVFINAL:
		to = record_begin(bytes, ALLOC_PREVFINAL, sizeof(struct raw_record) + sizeof(struct raw_final_batch));
		if (!to)
			return -ENOMEM;
		struct raw_final_batch final;
		final_batch_encode(&record->final, &final);
		memcpy(to, &final, sizeof(final));
		return 0;
	case ALLOC_STALE:
		to = record_begin(bytes, ALLOC_STALE, sizeof(struct raw_record) + sizeof(struct raw_stale));
		if (!to)
			return -ENOMEM;
		struct raw_stale stale = { .segment = le32_make(record->stale.segment),
					   .column = record->stale.column,
					   .base = le16_make(record->stale.base),
					   .rows = le16_make(record->stale.rows),
					   .place = le64_make(record->stale.place) };
		memcpy(to, &stale, sizeof(stale));
		return 0;
	}
	return -EINVAL;
}

size_t alloc_records_fit(const uint8_t *records, size_t size, size_t room)
{
	size_t fit = 0;
	while (fit < size) {
		struct raw_record raw;
		memcpy(&raw, records + fit, sizeof(raw));
		if (fit + le16_get(raw.length) > room)
			break;
		fit += le16_get(raw.length);
	}
	return fit;
}

/* ---- reading records ---- */

static int segment_decode(const uint8_t *payload, size_t size, unsigned rows_per_au, struct alloc_record *record)
{
	struct raw_segment raw;

	if (size != sizeof(raw))
		return -POOL_EFORMAT;
	memcpy(&raw, payload, sizeof(raw));
	record->segment = le32_get(raw.segment);
	if (record->segment >= SEGMENTS_MAX || le32_get(raw.reserved) != 0)
		return -POOL_EFORMAT;
	return segment_record_decode(raw.record, rows_per_au, &record->record);
}

static int stale_decode(const uint8_t *payload, size_t size, unsigned rows_per_au, struct stale_record *ret_stale)
{
	struct raw_stale raw;

	if (size != sizeof(raw))
		return -POOL_EFORMAT;
	memcpy(&raw, payload, sizeof(raw));
	struct stale_record stale = { .segment = le32_get(raw.segment),
				      .column = raw.column,
				      .base = le16_get(raw.base),
				      .rows = le16_get(raw.rows),
				      .place = le64_get(raw.place) };
	if (stale.segment >= SEGMENTS_MAX || stale.column >= COLUMNS_MAX || stale.base == 0 || stale.rows == 0 ||
	    (unsigned)stale.base + stale.rows > rows_per_au || stale.place == 0 ||
	    !bytes_are_zero(raw.reserved, sizeof(raw.reserved)))
		return -POOL_EFORMAT;
	*ret_stale = stale;
	return 0;
}

/* `unused` is scratch memory that keeps what it has for the next record. */
static int batch_decode(const uint8_t *payload, size_t size, unsigned rows_per_au, struct array *unused,
			struct alloc_record *record)
{
	struct raw_batch raw;

	if (size < sizeof(raw))
		return -POOL_EFORMAT;
	memcpy(&raw, payload, sizeof(raw));
	record->segment = le32_get(raw.segment);
	record->range_count = le16_get(raw.range_count);
	record->txg = le64_get(raw.txg);
	record->summary = raw.summary;
	record->unused_count = le32_get(raw.unused_count);
	size_t ranges_size = (record->range_count * sizeof(struct raw_range) + 7) / 8 * 8;
	if (record->segment >= SEGMENTS_MAX || record->range_count == 0 || record->range_count > SUMMARY_RANGES_MAX ||
	    record->unused_count > ALLOC_BATCH_UNUSED_MAX || record->txg == 0 || le16_get(raw.reserved) != 0 ||
	    le32_get(raw.reserved_2) != 0 || !raw_block_pointer_names(&raw.summary, TYPE_SUMMARY) ||
	    size != sizeof(raw) + ranges_size + record->unused_count * sizeof(le64))
		return -POOL_EFORMAT;

	const uint8_t *from = payload + sizeof(raw);
	for (unsigned i = 0; i < record->range_count; i++) {
		struct raw_range range;
		memcpy(&range, from + i * sizeof(range), sizeof(range));
		record->ranges[i] = (struct summary_range){ le16_get(range.base), le16_get(range.rows) };
	}
	size_t ranges_used = record->range_count * sizeof(struct raw_range);
	if (!summary_ranges_valid(record->ranges, record->range_count, rows_per_au) ||
	    !bytes_are_zero(from + ranges_used, ranges_size - ranges_used))
		return -POOL_EFORMAT;
	from += ranges_size;
	if (array_reserve(unused, record->unused_count) < 0)
		return -ENOMEM;
	for (uint32_t i = 0; i < record->unused_count; i++, from += sizeof(le64)) {
		struct cell_extent *extent = array_at(unused, struct cell_extent, i);
		if (extent_unpack(from, rows_per_au, extent) < 0 || extent->segment != record->segment ||
		    !summary_ranges_cover(record->ranges, record->range_count, extent->row, extent->rows))
			return -POOL_EFORMAT;
	}
	record->unused = unused->items;
	return 0;
}

static int frees_visit(const uint8_t *payload, size_t size, unsigned rows_per_au, struct alloc_record *record,
		       int (*visit)(const struct alloc_record *record, void *argument), void *argument)
{
	if (size == 0)
		return -POOL_EFORMAT;
	for (size_t at = 0; at < size; at += sizeof(le64)) {
		int result = extent_unpack(payload + at, rows_per_au, &record->free);
		if (result == 0)
			result = visit(record, argument);
		if (result)
			return result;
	}
	return 0;
}

static int record_visit(unsigned type, const uint8_t *payload, size_t size, unsigned rows_per_au, struct array *unused,
			int (*visit)(const struct alloc_record *record, void *argument), void *argument)
{
	struct alloc_record record;
	int error = 0;

	memset(&record, 0, sizeof(record));
	record.type = (enum alloc_record_type)type;
	switch (type) {
	case ALLOC_SEGMENT:
		error = segment_decode(payload, size, rows_per_au, &record);
		break;
	case ALLOC_BATCH:
		error = batch_decode(payload, size, rows_per_au, unused, &record);
		break;
	case ALLOC_FREE:
		return frees_visit(payload, size, rows_per_au, &record, visit, argument);
	case ALLOC_PREVFINAL:
		if (size != sizeof(struct raw_final_batch))
			return -POOL_EFORMAT;
		struct raw_final_batch final;
		memcpy(&final, payload, sizeof(final));
		error = final_batch_decode(&final, rows_per_au, &record.final);
		break;
	case ALLOC_STALE:
		error = stale_decode(payload, size, rows_per_au, &record.stale);
		break;
	default:
		return -POOL_EFORMAT;
	}
	return error ? error : visit(&record, argument);
}

int alloc_records_each(const uint8_t *records, size_t size, unsigned rows_per_au,
		       int (*visit)(const struct alloc_record *record, void *argument), void *argument)
{
	struct array unused;
	int result = 0;

	array_init(&unused, sizeof(struct cell_extent));
	for (size_t at = 0; at < size && result == 0;) {
		struct raw_record raw;
		result = -POOL_EFORMAT;
		if (size - at < sizeof(raw))
			break;
		memcpy(&raw, records + at, sizeof(raw));
		size_t length = le16_get(raw.length);
		if (length < sizeof(raw) || length % 8 || length > size - at || length > ALLOC_RECORD_MAX ||
		    le32_get(raw.reserved) != 0)
			break;
		result = record_visit(le16_get(raw.type), records + at + sizeof(raw), length - sizeof(raw), rows_per_au,
				      &unused, visit, argument);
		at += length;
	}
	array_release(&unused);
	return result;
}
