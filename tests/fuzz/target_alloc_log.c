/* SPDX-License-Identifier: BSD-2-Clause */
/* Blocks of the allocation log with their records. The first byte of the input says how many rows an AU has. */
#include "checksum/xxh3.h"
#include "libpool/base/error.h"
#include "libpool/format/alloc_log.h"
#include "tests/fuzz/fuzz.h"

struct reading {
	struct xxh3_stream seen; /* all that the records say */
	struct array again;      /* the records, encoded one by one */
	uint64_t count;
};

#define NOTE(reading, field) xxh3_stream_update(&(reading)->seen, &(field), sizeof(field))

static void note_segment(struct reading *reading, const struct segment_record *record)
{
	uint8_t raw[SEGMENT_RECORD_SIZE];

	segment_record_encode(record, raw);
	NOTE(reading, raw);
}

static void note_extent(struct reading *reading, const struct cell_extent *extent)
{
	NOTE(reading, extent->segment);
	NOTE(reading, extent->column);
	NOTE(reading, extent->row);
	NOTE(reading, extent->rows);
}

static int read_record(const struct alloc_record *record, void *argument)
{
	struct reading *reading = argument;

	reading->count++;
	NOTE(reading, record->type);
	switch (record->type) {
	case ALLOC_SEGMENT:
		NOTE(reading, record->segment);
		note_segment(reading, &record->record);
		break;
	case ALLOC_BATCH:
		NOTE(reading, record->segment);
		NOTE(reading, record->txg);
		NOTE(reading, record->summary);
		xxh3_stream_update(&reading->seen, record->ranges, record->range_count * sizeof(record->ranges[0]));
		for (uint32_t i = 0; i < record->unused_count; i++)
			note_extent(reading, &record->unused[i]);
		break;
	case ALLOC_FREE:
		note_extent(reading, &record->free);
		break;
	case ALLOC_PREVFINAL:
		NOTE(reading, record->final.summary);
		NOTE(reading, record->final.segment);
		NOTE(reading, record->final.base);
		NOTE(reading, record->final.rows);
		break;
	case ALLOC_STALE:
		NOTE(reading, record->stale.segment);
		NOTE(reading, record->stale.column);
		NOTE(reading, record->stale.base);
		NOTE(reading, record->stale.rows);
		NOTE(reading, record->stale.place);
		break;
	}
	fuzz_expect(alloc_record_append(&reading->again, record) == 0);
	return 0;
}

static int read_records(struct reading *reading, const uint8_t *records, size_t size, unsigned rows, struct hash128 *ret_hash)
{
	*reading = (struct reading){ .count = 0 };
	array_init(&reading->again, 1);
	xxh3_stream_init(&reading->seen);
	int status = alloc_records_each(records, size, rows, read_record, reading);
	xxh3_stream_final(&reading->seen, ret_hash);
	return status;
}

static void check_records(const uint8_t *records, size_t size, unsigned rows)
{
	struct reading first, second;
	struct hash128 hash, hash_again;

	if (read_records(&first, records, size, rows, &hash) == 0) {
		fuzz_expect(read_records(&second, first.again.items, first.again.count, rows, &hash_again) == 0);
		fuzz_expect(first.count == second.count && memcmp(&hash, &hash_again, sizeof(hash)) == 0);
		array_release(&second.again);
	}
	array_release(&first.again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct raw_block_pointer earlier[ALLOC_LOG_BLOCK_MAX / BLOCK_POINTER_SIZE];
	static struct alloc_log_previous previous[ALLOC_LOG_PREVIOUS_MAX];
	static uint8_t again[ALLOC_LOG_BLOCK_MAX];
	struct alloc_log_header header;
	const uint8_t *records;

	if (size == 0 || size > ALLOC_LOG_BLOCK_MAX)
		return -1;
	unsigned rows = 64u << data[0] % 7;
	uint8_t *raw = fuzz_copy(data + 1, size - 1, size - 1);
	int status = alloc_log_decode(raw, size - 1, &header, earlier, previous, &records);
	if (status == 0) {
		size_t length = alloc_log_encode(&header, earlier, previous, records, again);
		fuzz_expect(length > 0 && length == alloc_log_size(&header) && length <= size - 1);
		fuzz_expect(memcmp(raw, again, length) == 0);
		check_records(records, header.record_bytes, rows);
	} else {
		fuzz_expect(status == -POOL_EFORMAT);
	}
	free(raw);
	return 0;
}
