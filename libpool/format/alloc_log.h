/*
 * The allocation log: what a txg changed in the segment table and the live bitmaps. Per txg one last block
 * and any number of earlier ones that it points to, each at most 64 KiB. FORMAT.md, section 12.
 *
 * Block: header (128 bytes: magic, version, header length, flags, pool guid, txg, part index, part count,
 * record bytes, previous count, parts count), then `parts` raw block pointers of the earlier blocks of this
 * txg, then `previous` {txg u64, raw block pointer} of the last blocks of up to 32 earlier logs, newest
 * first (both only in the last block), then records.
 * Record: type u16, length u16 (whole record, multiple of 8), reserved u32, payload. A FREE record on disk holds up to
 * 1000 extents; readers see each as a record of its own.
 */
#ifndef LIBPOOL_FORMAT_ALLOC_LOG_H
#define LIBPOOL_FORMAT_ALLOC_LOG_H

#include "libpool/base/array.h"
#include "libpool/base/endian.h"
#include "libpool/format/block_pointer.h"
#include "libpool/format/segment_record.h"
#include "libpool/format/summary.h"

#define ALLOC_LOG_BLOCK_MAX (64u << 10)
#define ALLOC_LOG_PREVIOUS_MAX 32u
#define ALLOC_LOG_HEADER_SIZE 128u
#define ALLOC_RECORD_MAX (48u << 10)  /* so that one fits behind any realistic pair of pointer lists */
#define ALLOC_BATCH_UNUSED_MAX 5900u  /* packed extents in one BATCH record: a writer closes its batch before */

enum alloc_record_type { ALLOC_SEGMENT = 1, ALLOC_BATCH = 2, ALLOC_FREE = 3, ALLOC_PREVFINAL = 4, ALLOC_STALE = 5 };

struct final_batch {
	struct raw_block_pointer summary;
	uint32_t segment;
	uint16_t base, rows;
};

struct raw_final_batch {
	struct raw_block_pointer summary; /* 0 */
	le32 segment;                     /* 64 */
	le16 base, rows;                  /* 68 */
};
_Static_assert(sizeof(struct raw_final_batch) == 72 && AT(raw_final_batch, summary, 0) && AT(raw_final_batch, segment, 64) &&
		       AT(raw_final_batch, base, 68) && AT(raw_final_batch, rows, 70), "on disk");
void final_batch_encode(const struct final_batch *final, struct raw_final_batch *ret_raw);
/* 0 or -POOL_EFORMAT. */
int final_batch_decode(const struct raw_final_batch *raw, unsigned rows_per_au, struct final_batch *ret_final);

struct stale_record {
	uint32_t segment;
	uint8_t column;
	uint16_t base, rows;
	uint64_t place;
};

/* A run of cells of one column: what FREE and the unused list of BATCH are made of. 8 bytes on disk. */
struct cell_extent {
	uint32_t segment;
	uint8_t column;
	uint16_t row, rows;
};

/* One decoded record. Arrays point into memory owned by the reader and are valid during the callback only. */
struct alloc_record {
	enum alloc_record_type type;
	uint32_t segment; /* SEGMENT, BATCH */
	struct segment_record record; /* SEGMENT */
	uint64_t txg;                 /* BATCH: the batch's txg */
	uint16_t range_count;
	struct summary_range ranges[256]; /* BATCH; more ranges: several summaries, hence several records */
	struct raw_block_pointer summary; /* BATCH */
	uint32_t unused_count;
	const struct cell_extent *unused; /* BATCH */
	struct cell_extent free;          /* FREE */
	struct final_batch final;         /* PREVFINAL */
	struct stale_record stale;        /* STALE */
};

/*
 * Appends the encoded record to a byte array (array of uint8_t). 0, -ENOMEM, or -E2BIG for a BATCH with too many
 * ranges or unused extents. A run of more than 256 rows becomes several extents, each of which is visited.
 */
int alloc_record_append(struct array *bytes, const struct alloc_record *record);

/* Appends FREE records, each with up to 1000 extents, so that a free costs 8 bytes. 0 or -ENOMEM (unchanged). */
int alloc_record_append_frees(struct array *bytes, const struct cell_extent *extents, size_t count);
/* The length of the longest prefix of whole records (as appended, not from disk) that fits into `room`. */
size_t alloc_records_fit(const uint8_t *records, size_t size, size_t room);

struct alloc_log_header {
	struct guid pool;
	uint64_t txg;
	uint32_t part, part_count; /* the last block has part == part_count - 1 */
	uint32_t record_bytes;
	uint32_t earlier_count;  /* block pointers of parts 0 .. part_count - 2 (last block only) */
	uint32_t previous_count; /* last block only */
};

struct alloc_log_previous {
	uint64_t txg;
	struct raw_block_pointer last;
};

/* The size of the encoded block, or 0 if it is above ALLOC_LOG_BLOCK_MAX. */
size_t alloc_log_size(const struct alloc_log_header *header);
/*
 * Encodes one block into ret_raw (at most ALLOC_LOG_BLOCK_MAX); returns its size, or 0 if the header is not consistent or
 * the block too large. record_bytes of `records` are copied.
 */
size_t alloc_log_encode(const struct alloc_log_header *header, const struct raw_block_pointer *earlier,
			const struct alloc_log_previous *previous, const uint8_t *records, uint8_t *ret_raw);
/* Header and pointer lists; *ret_records points into raw. 0 or -POOL_EFORMAT. Arrays have room for the maxima:
 * earlier up to ALLOC_LOG_BLOCK_MAX / 64, previous up to 32. */
int alloc_log_decode(const uint8_t *raw, size_t size, struct alloc_log_header *ret_header, struct raw_block_pointer *ret_earlier,
		     struct alloc_log_previous *ret_previous, const uint8_t **ret_records);
/* Calls visit for each record in order; stops at its first non-zero return. 0, that return, or -POOL_EFORMAT / -ENOMEM. */
int alloc_records_each(const uint8_t *records, size_t size, unsigned rows_per_au,
		       int (*visit)(const struct alloc_record *record, void *argument), void *argument);

#endif
