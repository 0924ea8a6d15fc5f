/*
 * The record of one segment in the segment table (128 bytes), and the table's 64 KiB pages: one 128-byte
 * header with page_txg, then 511 records. A page contains all changes of txgs <= page_txg.
 */
#ifndef LIBPOOL_FORMAT_SEGMENT_RECORD_H
#define LIBPOOL_FORMAT_SEGMENT_RECORD_H

#include <stdbool.h>
#include <stdint.h>

#include "libpool/base/endian.h"
#include "libpool/format/constants.h"

#define SEGMENT_RECORD_SIZE 128u
#define SEGTAB_PAGE_SIZE (64u << 10)
#define SEGTAB_PAGE_RECORDS 511u

/* NONE: an id never used. FREE is derived: no live cell and not OPEN, LOG or SYS. */
enum segment_state { SEGMENT_NONE = 0, SEGMENT_OPEN = 1, SEGMENT_FULL = 2, SEGMENT_EVAC = 3, SEGMENT_LOG = 4, SEGMENT_SYS = 5 };
enum {
	SEGMENT_PARTIAL = 1,
	SEGMENT_HASREFS = 2,
	SEGMENT_DEGRADED = 4,
	SEGMENT_AHEAD = 8 /* OPEN: behind rows_used there may be blocks that nothing but the intent log names */
};

/* Without padding: a pool has one record for every 16 MiB of data in memory. */
struct segment_column {
	uint16_t disk; /* disk index, or DISK_ABSENT */
	uint32_t au;
} __attribute__((packed, aligned(2)));

struct segment_record {
	uint8_t state, class, k, m;
	uint16_t rows_used; /* rows handed out so far, row 0 included: the next free row */
	uint16_t flags;
	uint64_t alloc_txg, evac_txg;
	struct segment_column columns[COLUMNS_MAX]; /* beyond k + m: DISK_ABSENT, 0 */
};

/* A column as it lies on disk, here and in AU headers and the sysmap. */
struct raw_segment_column {
	le16 disk; /* 0 */
	le32 au;   /* 2 */
};
_Static_assert(sizeof(struct raw_segment_column) == 6 && AT(raw_segment_column, disk, 0) && AT(raw_segment_column, au, 2), "on disk");

/* Whether a segment of this class may have k data and m parity columns (SYS and LOG: k = 1). */
bool segment_geometry_valid(unsigned class, unsigned k, unsigned m);
/* `used` columns, then up to `room` the absent column {DISK_ABSENT, 0}, which is also how an absent one is encoded. */
void segment_columns_encode(const struct segment_column *columns, unsigned used, unsigned room,
			    struct raw_segment_column *ret_raw);
/* room <= COLUMNS_MAX. Disks are distinct (k == 1: distinct AUs are enough) and below DISKS_MAX. */
int segment_columns_decode(const struct raw_segment_column *raw, unsigned used, unsigned room, unsigned k,
			   struct segment_column *ret_columns);

void segment_record_encode(const struct segment_record *record, uint8_t *ret_raw /* 128 */);
/* rows_per_au bounds rows_used (1 to rows_per_au). 0 or -POOL_EFORMAT. All zero decodes as SEGMENT_NONE. */
int segment_record_decode(const uint8_t *raw, unsigned rows_per_au, struct segment_record *ret_record);

/* Page header (128 bytes, with magic, page number and page_txg) at the start of the 64 KiB. */
void segtab_page_header_encode(uint64_t page, uint64_t page_txg, uint8_t *ret_raw);
int segtab_page_header_decode(const uint8_t *raw, uint64_t page, uint64_t *ret_page_txg);

/*
 * A livemap page covers `segments` = 2^15 / rows_per_au segments: header with page number and page_txg,
 * then u8 k for each segment (0: no bitmap), then the bitmaps in segment order, rows_per_au * k bits each
 * (bit = column * rows_per_au + row), each padded to whole bytes.
 */
#define LIVEMAP_HEADER_SIZE 64u
static inline unsigned livemap_page_segments(unsigned rows_per_au) { return (1u << 15) / rows_per_au; }
void livemap_header_encode(uint64_t page, uint64_t page_txg, uint8_t *ret_raw /* 64 */);
int livemap_header_decode(const uint8_t *raw, uint64_t page, uint64_t *ret_page_txg);

#endif
