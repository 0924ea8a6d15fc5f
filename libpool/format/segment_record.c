/*
 * The segment table: records, and the headers of its pages and of the live bitmap's.
 *
 * What must always hold: a record that decodes is safe to index with. Its disks are absent or below
 * DISKS_MAX, its columns lie on distinct disks (in a mirror: at least on distinct AUs), and k, m and
 * rows_used are within bounds. Whether an AU lies on its disk only the reader knows.
 */
#include "libpool/format/segment_record.h"

#include "libpool/base/error.h"
#include "libpool/format/raw_header.h"

#define SEGMENT_FLAGS_KNOWN (SEGMENT_PARTIAL | SEGMENT_HASREFS | SEGMENT_DEGRADED | SEGMENT_AHEAD)

struct raw_segment_record {
	uint8_t state;      /* 0 */
	uint8_t class;      /* 1 */
	uint8_t k;          /* 2 */
	uint8_t m;          /* 3 */
	le16 rows_used;     /* 4 */
	le16 flags;         /* 6 */
	le64 alloc_txg;     /* 8 */
	le64 evac_txg;      /* 16 */
	le64 reserved;      /* 24 */
	struct raw_segment_column columns[COLUMNS_MAX]; /* 32 */
};
_Static_assert(sizeof(struct raw_segment_record) == SEGMENT_RECORD_SIZE && AT(raw_segment_record, state, 0) &&
		       AT(raw_segment_record, class, 1) && AT(raw_segment_record, k, 2) && AT(raw_segment_record, m, 3) &&
		       AT(raw_segment_record, rows_used, 4) && AT(raw_segment_record, flags, 6) &&
		       AT(raw_segment_record, alloc_txg, 8) && AT(raw_segment_record, evac_txg, 16) &&
		       AT(raw_segment_record, columns, 32), "on disk");

struct raw_page_header {
	struct raw_header header; /* 0 */
	le64 page;                /* 16 */
	le64 page_txg;            /* 24 */
	uint8_t reserved[32];     /* 32 */
};
_Static_assert(sizeof(struct raw_page_header) == LIVEMAP_HEADER_SIZE && AT(raw_page_header, header, 0) &&
		       AT(raw_page_header, page, 16) && AT(raw_page_header, page_txg, 24), "on disk");
#define SEGTAB_HEADER_SIZE 128u
_Static_assert(SEGTAB_HEADER_SIZE + SEGTAB_PAGE_RECORDS * SEGMENT_RECORD_SIZE == SEGTAB_PAGE_SIZE, "on disk");

bool segment_geometry_valid(unsigned class, unsigned k, unsigned m)
{
	if (class >= CLASS_COUNT || k == 0 || m > PARITY_MAX || k + m > COLUMNS_MAX)
		return false;
	return k == 1 || (class != CLASS_SYS && class != CLASS_LOG);
}

void segment_columns_encode(const struct segment_column *columns, unsigned used, unsigned room,
			    struct raw_segment_column *ret_raw)
{
	for (unsigned c = 0; c < room; c++) {
		bool absent = c >= used || columns[c].disk == DISK_ABSENT;
		ret_raw[c].disk = le16_make(absent ? DISK_ABSENT : columns[c].disk);
		ret_raw[c].au = le32_make(absent ? 0 : columns[c].au);
	}
}

int segment_columns_decode(const struct raw_segment_column *raw, unsigned used, unsigned room, unsigned k,
			   struct segment_column *ret_columns)
{
	struct segment_column columns[COLUMNS_MAX];

	for (unsigned c = 0; c < room; c++) {
		columns[c] = (struct segment_column){ .disk = le16_get(raw[c].disk), .au = le32_get(raw[c].au) };
		if (columns[c].disk == DISK_ABSENT) {
			if (columns[c].au != 0)
				return -POOL_EFORMAT;
			continue;
		}
		if (c >= used || columns[c].disk >= DISKS_MAX)
			return -POOL_EFORMAT;
		for (unsigned other = 0; other < c; other++)
			if (columns[other].disk == columns[c].disk && (k > 1 || columns[other].au == columns[c].au))
				return -POOL_EFORMAT;
	}
	memcpy(ret_columns, columns, room * sizeof(*columns));
	return 0;
}

void segment_record_encode(const struct segment_record *record, uint8_t *ret_raw)
{
	struct raw_segment_record raw = { 0 };

	if (record->state != SEGMENT_NONE) {
		raw.state = record->state;
		raw.class = record->class;
		raw.k = record->k;
		raw.m = record->m;
		raw.rows_used = le16_make(record->rows_used);
		raw.flags = le16_make(record->flags);
		raw.alloc_txg = le64_make(record->alloc_txg);
		raw.evac_txg = le64_make(record->evac_txg);
		segment_columns_encode(record->columns, (unsigned)record->k + record->m, COLUMNS_MAX, raw.columns);
	}
	memcpy(ret_raw, &raw, sizeof(raw));
}

int segment_record_decode(const uint8_t *raw_bytes, unsigned rows_per_au, struct segment_record *ret_record)
{
	struct segment_record record = { 0 };
	struct raw_segment_record raw;

	memcpy(&raw, raw_bytes, sizeof(raw));
	record.state = raw.state;
	if (record.state == SEGMENT_NONE) {
		if (!bytes_are_zero(&raw, sizeof(raw)))
			return -POOL_EFORMAT;
		for (unsigned c = 0; c < COLUMNS_MAX; c++)
			record.columns[c].disk = DISK_ABSENT;
		*ret_record = record;
		return 0;
	}
	record.class = raw.class;
	record.k = raw.k;
	record.m = raw.m;
	record.rows_used = le16_get(raw.rows_used);
	record.flags = le16_get(raw.flags);
	record.alloc_txg = le64_get(raw.alloc_txg);
	record.evac_txg = le64_get(raw.evac_txg);
	if (record.state > SEGMENT_SYS || !segment_geometry_valid(record.class, record.k, record.m) ||
	    record.rows_used == 0 || record.rows_used > rows_per_au || record.flags & ~SEGMENT_FLAGS_KNOWN ||
	    le64_get(raw.reserved) != 0)
		return -POOL_EFORMAT;
	if ((record.state == SEGMENT_SYS && record.class != CLASS_SYS) ||
	    (record.state == SEGMENT_LOG && record.class != CLASS_LOG))
		return -POOL_EFORMAT;
	int error = segment_columns_decode(raw.columns, (unsigned)record.k + record.m, COLUMNS_MAX, record.k,
					   record.columns);
	if (error)
		return error;
	*ret_record = record;
	return 0;
}

static void page_header_encode(uint64_t magic, unsigned size, uint64_t page, uint64_t page_txg, uint8_t *ret_raw)
{
	struct raw_page_header raw = { .header = raw_header_make(magic, (uint16_t)size, 0),
				       .page = le64_make(page),
				       .page_txg = le64_make(page_txg) };
	memset(ret_raw, 0, size);
	memcpy(ret_raw, &raw, sizeof(raw));
}

static int page_header_decode(const uint8_t *raw_bytes, uint64_t magic, unsigned size, uint64_t page,
			      uint64_t *ret_page_txg)
{
	struct raw_page_header raw;

	memcpy(&raw, raw_bytes, sizeof(raw));
	if (!raw_header_valid(&raw.header, magic, (uint16_t)size, 0) || le64_get(raw.page) != page ||
	    !bytes_are_zero(raw_bytes + offsetof(struct raw_page_header, reserved),
			    size - offsetof(struct raw_page_header, reserved)))
		return -POOL_EFORMAT;
	*ret_page_txg = le64_get(raw.page_txg);
	return 0;
}

void segtab_page_header_encode(uint64_t page, uint64_t page_txg, uint8_t *ret_raw)
{
	page_header_encode(MAGIC_SEGTAB, SEGTAB_HEADER_SIZE, page, page_txg, ret_raw);
}

int segtab_page_header_decode(const uint8_t *raw, uint64_t page, uint64_t *ret_page_txg)
{
	return page_header_decode(raw, MAGIC_SEGTAB, SEGTAB_HEADER_SIZE, page, ret_page_txg);
}

void livemap_header_encode(uint64_t page, uint64_t page_txg, uint8_t *ret_raw)
{
	page_header_encode(MAGIC_LIVEMAP, LIVEMAP_HEADER_SIZE, page, page_txg, ret_raw);
}

int livemap_header_decode(const uint8_t *raw, uint64_t page, uint64_t *ret_page_txg)
{
	return page_header_decode(raw, MAGIC_LIVEMAP, LIVEMAP_HEADER_SIZE, page, ret_page_txg);
}
