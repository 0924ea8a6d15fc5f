/*
 * The blocks of the allocation log, and the record of a final batch, which the uberblock has too.
 *
 * What must always hold: only the last block of a txg has pointer lists, it names all others, and the earlier logs
 * it names descend. So a reader that follows them ends.
 */
#include "libpool/format/alloc_log.h"

#include "libpool/base/error.h"
#include "libpool/format/raw_header.h"

struct raw_log_header {
	struct raw_header header; /* 0 */
	uint8_t pool[16];         /* 16 */
	le64 txg;                 /* 32 */
	le32 part;                /* 40 */
	le32 part_count;          /* 44 */
	le32 record_bytes;        /* 48 */
	le32 previous_count;      /* 52 */
	le32 earlier_count;       /* 56 */
	uint8_t reserved[68];     /* 60 */
};
_Static_assert(sizeof(struct raw_log_header) == ALLOC_LOG_HEADER_SIZE && AT(raw_log_header, header, 0) && AT(raw_log_header, pool, 16) &&
		       AT(raw_log_header, txg, 32) && AT(raw_log_header, part, 40) && AT(raw_log_header, part_count, 44) &&
		       AT(raw_log_header, record_bytes, 48) && AT(raw_log_header, previous_count, 52) &&
		       AT(raw_log_header, earlier_count, 56), "on disk");

struct raw_previous {
	le64 txg;                      /* 0 */
	struct raw_block_pointer last; /* 8 */
};
_Static_assert(sizeof(struct raw_previous) == 72 && AT(raw_previous, txg, 0) && AT(raw_previous, last, 8), "on disk");

void final_batch_encode(const struct final_batch *final, struct raw_final_batch *ret_raw)
{
	ret_raw->summary = final->summary;
	ret_raw->segment = le32_make(final->segment);
	ret_raw->base = le16_make(final->base);
	ret_raw->rows = le16_make(final->rows);
}

int final_batch_decode(const struct raw_final_batch *raw, unsigned rows_per_au, struct final_batch *ret_final)
{
	struct final_batch final = { .summary = raw->summary,
				     .segment = le32_get(raw->segment),
				     .base = le16_get(raw->base),
				     .rows = le16_get(raw->rows) };
	if (final.segment >= SEGMENTS_MAX || final.base == 0 || final.rows == 0 || final.rows > FINAL_BATCH_ROWS_MAX ||
	    (unsigned)final.base + final.rows > rows_per_au || !raw_block_pointer_names(&final.summary, TYPE_SUMMARY))
		return -POOL_EFORMAT;
	*ret_final = final;
	return 0;
}

static bool header_consistent(const struct alloc_log_header *header)
{
	bool last = header->part + 1 == header->part_count;
	if (header->part_count == 0 || header->part >= header->part_count || header->txg == 0 ||
	    header->previous_count > ALLOC_LOG_PREVIOUS_MAX || header->record_bytes % 8)
		return false;
	return last ? header->earlier_count == header->part_count - 1 :
		      header->earlier_count == 0 && header->previous_count == 0;
}

size_t alloc_log_size(const struct alloc_log_header *header)
{
	uint64_t size = ALLOC_LOG_HEADER_SIZE + (uint64_t)header->earlier_count * BLOCK_POINTER_SIZE +
			(uint64_t)header->previous_count * sizeof(struct raw_previous) + header->record_bytes;
	return size <= ALLOC_LOG_BLOCK_MAX ? (size_t)size : 0;
}

size_t alloc_log_encode(const struct alloc_log_header *header, const struct raw_block_pointer *earlier,
			const struct alloc_log_previous *previous, const uint8_t *records, uint8_t *ret_raw)
{
	struct raw_log_header raw = { .header = raw_header_make(MAGIC_ALLOC_LOG, sizeof(raw), 0),
				      .txg = le64_make(header->txg),
				      .part = le32_make(header->part),
				      .part_count = le32_make(header->part_count),
				      .record_bytes = le32_make(header->record_bytes),
				      .previous_count = le32_make(header->previous_count),
				      .earlier_count = le32_make(header->earlier_count) };
	size_t size = alloc_log_size(header);
	uint8_t *to = ret_raw;

	if (size == 0 || !header_consistent(header))
		return 0;
	memcpy(raw.pool, header->pool.bytes, sizeof(raw.pool));
	memcpy(to, &raw, sizeof(raw));
	to += sizeof(raw);
	for (uint32_t i = 0; i < header->earlier_count; i++, to += sizeof(*earlier))
		memcpy(to, &earlier[i], sizeof(*earlier));
	for (uint32_t i = 0; i < header->previous_count; i++, to += sizeof(struct raw_previous)) {
		struct raw_previous raw_previous = { le64_make(previous[i].txg), previous[i].last };
		memcpy(to, &raw_previous, sizeof(raw_previous));
	}
	if (header->record_bytes > 0)
		memcpy(to, records, header->record_bytes);
	return size;
}

int alloc_log_decode(const uint8_t *raw_bytes, size_t size, struct alloc_log_header *ret_header,
		     struct raw_block_pointer *ret_earlier, struct alloc_log_previous *ret_previous,
		     const uint8_t **ret_records)
{
	struct raw_log_header raw;

	if (size < sizeof(raw))
		return -POOL_EFORMAT;
	memcpy(&raw, raw_bytes, sizeof(raw));
	struct alloc_log_header header = { .txg = le64_get(raw.txg),
					   .part = le32_get(raw.part),
					   .part_count = le32_get(raw.part_count),
					   .record_bytes = le32_get(raw.record_bytes),
					   .earlier_count = le32_get(raw.earlier_count),
					   .previous_count = le32_get(raw.previous_count) };
	memcpy(header.pool.bytes, raw.pool, sizeof(raw.pool));
	size_t used = alloc_log_size(&header);
	if (!raw_header_valid(&raw.header, MAGIC_ALLOC_LOG, sizeof(raw), 0) ||
	    !bytes_are_zero(raw.reserved, sizeof(raw.reserved)) || used == 0 || used > size ||
	    !header_consistent(&header) || !bytes_are_zero(raw_bytes + used, size - used))
		return -POOL_EFORMAT;

	const uint8_t *earlier = raw_bytes + sizeof(raw);
	const uint8_t *previous = earlier + header.earlier_count * BLOCK_POINTER_SIZE;
	struct raw_block_pointer pointer;
	for (uint32_t i = 0; i < header.earlier_count; i++) {
		memcpy(&pointer, earlier + i * sizeof(pointer), sizeof(pointer));
		if (!raw_block_pointer_names(&pointer, TYPE_ALLOC_LOG))
			return -POOL_EFORMAT;
	}
	uint64_t newer = header.txg;
	for (uint32_t i = 0; i < header.previous_count; i++) {
		struct raw_previous entry;
		memcpy(&entry, previous + i * sizeof(entry), sizeof(entry));
		if (le64_get(entry.txg) == 0 || le64_get(entry.txg) >= newer ||
		    !raw_block_pointer_names(&entry.last, TYPE_ALLOC_LOG))
			return -POOL_EFORMAT;
		newer = le64_get(entry.txg);
	}

	for (uint32_t i = 0; i < header.earlier_count; i++)
		memcpy(&ret_earlier[i], earlier + i * sizeof(pointer), sizeof(pointer));
	for (uint32_t i = 0; i < header.previous_count; i++) {
		struct raw_previous entry;
		memcpy(&entry, previous + i * sizeof(entry), sizeof(entry));
		ret_previous[i] = (struct alloc_log_previous){ .txg = le64_get(entry.txg), .last = entry.last };
	}
	*ret_records = previous + header.previous_count * sizeof(struct raw_previous);
	*ret_header = header;
	return 0;
}
