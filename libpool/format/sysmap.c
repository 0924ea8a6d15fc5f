/*
 * The sysmap: where the SYS segments lie. It is what lets import read its first block, so it depends on nothing
 * but the uberblock, which has its place and checksum.
 */
#include "libpool/base/error.h"
#include "libpool/format/raw_header.h"
#include "libpool/format/uberblock.h"

#define AU_ROWS_MAX        (1u << (AU_SHIFT_MAX - CELL_SHIFT))
#define SYSMAP_FLAGS_KNOWN (SEGMENT_PARTIAL | SEGMENT_HASREFS | SEGMENT_DEGRADED)

struct raw_sysmap {
	struct raw_header header; /* 0 */
	uint8_t pool[16];         /* 16 */
	le64 txg;                 /* 32 */
	le32 count;               /* 40 */
	le16 record_size;         /* 44 */
	uint8_t reserved[18];     /* 46 */
};
_Static_assert(sizeof(struct raw_sysmap) == SYSMAP_HEADER_SIZE && AT(raw_sysmap, header, 0) && AT(raw_sysmap, pool, 16) &&
		       AT(raw_sysmap, txg, 32) && AT(raw_sysmap, count, 40) && AT(raw_sysmap, record_size, 44), "on disk");

struct raw_sysmap_segment {
	le32 segment;                                        /* 0 */
	le16 rows;                                           /* 4 */
	uint8_t flags;                                       /* 6 */
	uint8_t column_count;                                /* 7 */
	struct raw_segment_column columns[SYS_COLUMNS_MAX];  /* 8 */
};
_Static_assert(sizeof(struct raw_sysmap_segment) == SYSMAP_RECORD_SIZE && AT(raw_sysmap_segment, segment, 0) &&
		       AT(raw_sysmap_segment, rows, 4) && AT(raw_sysmap_segment, flags, 6) &&
		       AT(raw_sysmap_segment, column_count, 7) && AT(raw_sysmap_segment, columns, 8), "on disk");
_Static_assert(SYSMAP_HEADER_SIZE + SYSMAP_SEGMENTS_MAX * SYSMAP_RECORD_SIZE <= SYSMAP_SLOT_SIZE, "on disk");

size_t sysmap_encode(const struct guid *pool, uint64_t txg, const struct sysmap_segment *segments, unsigned count,
		     uint8_t *ret_raw)
{
	struct raw_sysmap raw = { .header = raw_header_make(MAGIC_SYSMAP, sizeof(raw), 0),
				  .txg = le64_make(txg),
				  .count = le32_make(count),
				  .record_size = le16_make(SYSMAP_RECORD_SIZE) };
	uint8_t *to = ret_raw;

	memcpy(raw.pool, pool->bytes, sizeof(raw.pool));
	memcpy(to, &raw, sizeof(raw));
	to += sizeof(raw);
	for (unsigned i = 0; i < count; i++, to += SYSMAP_RECORD_SIZE) {
		struct raw_sysmap_segment raw_segment = { .segment = le32_make(segments[i].segment),
							  .rows = le16_make(segments[i].rows),
							  .flags = (uint8_t)segments[i].flags,
							  .column_count = segments[i].column_count };
		segment_columns_encode(segments[i].columns, segments[i].column_count, SYS_COLUMNS_MAX,
				       raw_segment.columns);
		memcpy(to, &raw_segment, sizeof(raw_segment));
	}
	return (size_t)(to - ret_raw);
}

/* Whether entry `index` has the number of an earlier one; `highest` saves the search where numbers ascend. */
static bool segment_repeats(const struct sysmap_segment *segments, unsigned index, uint32_t highest)
{
	if (index == 0 || segments[index].segment > highest)
		return false;
	for (unsigned i = 0; i < index; i++)
		if (segments[i].segment == segments[index].segment)
			return true;
	return false;
}

int sysmap_decode(const uint8_t *raw_bytes, size_t size, const struct guid *pool, uint64_t txg,
		  struct sysmap_segment *ret_segments)
{
	const uint8_t *from = raw_bytes + sizeof(struct raw_sysmap);
	struct raw_sysmap raw;
	uint32_t highest = 0;

	if (size < sizeof(raw))
		return -POOL_EFORMAT;
	memcpy(&raw, raw_bytes, sizeof(raw));
	unsigned count = le32_get(raw.count);
	if (!raw_header_valid(&raw.header, MAGIC_SYSMAP, sizeof(raw), 0) || le64_get(raw.txg) != txg ||
	    memcmp(raw.pool, pool->bytes, sizeof(raw.pool)) != 0 || count > SYSMAP_SEGMENTS_MAX ||
	    le16_get(raw.record_size) != SYSMAP_RECORD_SIZE || !bytes_are_zero(raw.reserved, sizeof(raw.reserved)) ||
	    size != sizeof(raw) + (size_t)count * SYSMAP_RECORD_SIZE)
		return -POOL_EFORMAT;
	for (unsigned i = 0; i < count; i++, from += SYSMAP_RECORD_SIZE) {
		struct raw_sysmap_segment raw_segment;
		memcpy(&raw_segment, from, sizeof(raw_segment));
		struct sysmap_segment *segment = &ret_segments[i];
		*segment = (struct sysmap_segment){ .segment = le32_get(raw_segment.segment),
						    .rows = le16_get(raw_segment.rows),
						    .flags = raw_segment.flags,
						    .column_count = raw_segment.column_count };
		if (segment->segment >= SEGMENTS_MAX || segment->rows == 0 || segment->rows > AU_ROWS_MAX ||
		    segment->flags & ~SYSMAP_FLAGS_KNOWN || segment->column_count == 0 ||
		    segment->column_count > SYS_COLUMNS_MAX || segment_repeats(ret_segments, i, highest))
			return -POOL_EFORMAT;
		if (segment->segment > highest)
			highest = segment->segment;
		int error = segment_columns_decode(raw_segment.columns, segment->column_count, SYS_COLUMNS_MAX, 1,
						   segment->columns);
		if (error)
			return error;
	}
	return (int)count;
}
