/* The blocks of allocation logs, and one of them byte by byte. */
#include "libpool/format/alloc_log.h"
#include "tests/unit/format/support.h"

struct sample {
	struct alloc_log_header header;
	struct raw_block_pointer earlier[ALLOC_LOG_BLOCK_MAX / 64];
	struct alloc_log_previous previous[ALLOC_LOG_PREVIOUS_MAX];
	uint8_t records[ALLOC_LOG_BLOCK_MAX], raw[ALLOC_LOG_BLOCK_MAX];
	size_t size;
};

static void random_log(struct random *random, struct sample *sample)
{
	struct alloc_log_header *header = &sample->header;
	*header = (struct alloc_log_header){ .txg = 1000 + random_below(random, 1000) };
	random_bytes(random, header->pool.bytes, 16);
	header->part_count = random_between(random, 1, 12);
	header->part = random_below(random, 2) ? header->part_count - 1 : (uint32_t)random_below(random, header->part_count);
	header->record_bytes = (uint32_t)random_below(random, 512) * 8;
	random_bytes(random, sample->records, header->record_bytes);
	if (header->part + 1 == header->part_count) {
		header->earlier_count = header->part_count - 1;
		header->previous_count = random_between(random, 0, ALLOC_LOG_PREVIOUS_MAX);
	}
	for (uint32_t i = 0; i < header->earlier_count; i++)
		sample->earlier[i] = random_raw(random, TYPE_ALLOC_LOG, 0);
	for (uint32_t i = 0; i < header->previous_count; i++)
		sample->previous[i] = (struct alloc_log_previous){ header->txg - 1 - i * 3, random_raw(random, TYPE_ALLOC_LOG, 0) };
	memset(sample->raw, 0, sizeof(sample->raw));
	sample->size = alloc_log_encode(header, sample->earlier, sample->previous, sample->records, sample->raw);
	assert_int_equal(sample->size, alloc_log_size(header));
	assert_true(sample->size > 0);
}

static void blocks_round_trip(void **state)
{
	(void)state;
	static struct sample sample, back;
	struct random random = { 4 };
	for (int i = 0; i < 1000; i++) {
		const uint8_t *records;
		random_log(&random, &sample);
		assert_int_equal(alloc_log_decode(sample.raw, sample.size, &back.header, back.earlier, back.previous, &records), 0);
		assert_memory_equal(&back.header.pool, &sample.header.pool, 16);
		assert_int_equal(back.header.txg, sample.header.txg);
		assert_int_equal(back.header.part, sample.header.part);
		assert_int_equal(back.header.part_count, sample.header.part_count);
		assert_int_equal(back.header.record_bytes, sample.header.record_bytes);
		assert_int_equal(back.header.earlier_count, sample.header.earlier_count);
		assert_int_equal(back.header.previous_count, sample.header.previous_count);
		assert_memory_equal(back.earlier, sample.earlier, sample.header.earlier_count * 64);
		for (uint32_t p = 0; p < sample.header.previous_count; p++) {
			assert_int_equal(back.previous[p].txg, sample.previous[p].txg);
			assert_memory_equal(&back.previous[p].last, &sample.previous[p].last, 64);
		}
		assert_true(records >= sample.raw && records + back.header.record_bytes <= sample.raw + sample.size);
		assert_memory_equal(records, sample.records, sample.header.record_bytes);
		assert_int_equal(alloc_log_decode(sample.raw, sample.size - 1, &back.header, back.earlier, back.previous, &records),
				 -POOL_EFORMAT);
	}
	/* The fullest block. */
	sample.header = (struct alloc_log_header){ .txg = 9, .part = 1022, .part_count = 1023, .earlier_count = 1022 };
	for (uint32_t i = 0; i < 1022; i++)
		sample.earlier[i] = random_raw(&random, TYPE_ALLOC_LOG, 0);
	assert_int_equal(alloc_log_encode(&sample.header, sample.earlier, NULL, NULL, sample.raw), ALLOC_LOG_BLOCK_MAX);
	const uint8_t *records;
	assert_int_equal(alloc_log_decode(sample.raw, ALLOC_LOG_BLOCK_MAX, &back.header, back.earlier, back.previous, &records), 0);
	sample.header.part_count++;
	sample.header.part++;
	sample.header.earlier_count++;
	assert_int_equal(alloc_log_encode(&sample.header, sample.earlier, NULL, NULL, sample.raw), 0);
}

static void fuzz_blocks(void **state)
{
	(void)state;
	static struct sample sample, back;
	static uint8_t again[ALLOC_LOG_BLOCK_MAX];
	struct random random = { 5 };
	int accepted = 0;
	for (int i = 0; i < FUZZ_ITERATIONS; i++) {
		const uint8_t *records;
		if (i % 64 == 0)
			random_log(&random, &sample);
		uint8_t *input = fuzz_input(&random, sample.raw, sample.size);
		int error = alloc_log_decode(input, sample.size, &back.header, back.earlier, back.previous, &records);
		assert_true(error == 0 || error == -POOL_EFORMAT);
		if (error == 0) {
			memset(again, 0, sample.size);
			assert_true(alloc_log_encode(&back.header, back.earlier, back.previous, records, again) <= sample.size);
			assert_memory_equal(again, input, sample.size);
			accepted++;
		}
		free(input);
	}
	assert_true(accepted > FUZZ_ITERATIONS / 20);
}

static void golden(void **state)
{
	(void)state;
	struct block_pointer pointer = { .dva = dva_pack((struct dva){ 7, 1, 1, 0 }), .place = 5, .birth = 5, .lsect = 1,
					 .psect = 1, .type = TYPE_SUMMARY };
	struct cell_extent unused[1] = { { 0x010203, 3, 0x12, 2 } };
	struct alloc_record record = { .type = ALLOC_BATCH, .segment = 0x010203, .txg = 0x1112131415161718, .range_count = 1,
				       .ranges = { { 0x10, 4 } }, .unused_count = 1, .unused = unused };
	struct array bytes;
	array_init(&bytes, 1);
	block_pointer_encode(&pointer, &record.summary);
	assert_int_equal(alloc_record_append(&bytes, &record), 0);
	record = (struct alloc_record){ .type = ALLOC_FREE, .free = { 0x040506, 0xB, 0x789, 300 } };
	assert_int_equal(alloc_record_append(&bytes, &record), 0);
	record = (struct alloc_record){ .type = ALLOC_STALE, .stale = { 0x070809, 5, 0x21, 0x31, 0x4142434445464748 } };
	assert_int_equal(alloc_record_append(&bytes, &record), 0);
	record = (struct alloc_record){ .type = ALLOC_PREVFINAL, .final = { .segment = 0x0A0B0C, .base = 9, .rows = 3 } };
	block_pointer_encode(&pointer, &record.final.summary);
	assert_int_equal(alloc_record_append(&bytes, &record), 0);
	record = (struct alloc_record){ .type = ALLOC_SEGMENT, .segment = 0x0D0E0F,
					.record = { .state = SEGMENT_OPEN, .class = CLASS_META, .k = 1, .m = 0, .rows_used = 1,
						    .alloc_txg = 2, .columns = { { 1, 2 } } } };
	assert_int_equal(alloc_record_append(&bytes, &record), 0);

	struct alloc_log_header header = { .txg = 0x9192, .part = 1, .part_count = 2, .earlier_count = 1, .previous_count = 1,
					   .record_bytes = (uint32_t)bytes.count };
	memset(header.pool.bytes, 0x99, 16);
	struct alloc_log_previous previous = { .txg = 0x9191 };
	struct raw_block_pointer earlier;
	pointer.type = TYPE_ALLOC_LOG;
	block_pointer_encode(&pointer, &earlier);
	previous.last = earlier;
	static uint8_t raw[ALLOC_LOG_BLOCK_MAX];
	size_t size = alloc_log_encode(&header, &earlier, &previous, bytes.items, raw);
	assert_golden(raw, size,
		      "0000: 706f6f6c414c4f470100800000000000\n"
		      "0010: 99999999999999999999999999999999\n"
		      "0020: 92910000000000000100000002000000\n"
		      "0030: 88010000010000000100000000000000\n"
		      "0080: 00001000070000000500000000000000\n"
		      "0090: 00000008000000000500000000000000\n"
		      "00c0: 91910000000000000000100007000000\n"
		      "00d0: 05000000000000000000000800000000\n"
		      "00e0: 05000000000000000000000000000000\n"
		      "0100: 00000000000000000200700000000000\n"
		      "0110: 03020100010000001817161514131211\n"
		      "0120: 00001000070000000500000000000000\n"
		      "0130: 00000004000000000500000000000000\n"
		      "0160: 01000000000000001000040000000000\n"
		      "0170: 00011230030201000300180000000000\n"
		      "0180: 00ff89b706050400002b89b806050400\n"
		      "0190: 05002000000000000908070005210031\n"
		      "01a0: 00484746454443424100000000000000\n"
		      "01b0: 04005000000000000000100007000000\n"
		      "01c0: 05000000000000000000000400000000\n"
		      "01d0: 05000000000000000000000000000000\n"
		      "01f0: 00000000000000000c0b0a0009000300\n"
		      "0200: 01009000000000000f0e0d0000000000\n"
		      "0210: 01020100010000000200000000000000\n"
		      "0230: 010002000000ffff00000000ffff0000\n"
		      "0240: 0000ffff00000000ffff00000000ffff\n"
		      "0250: 00000000ffff00000000ffff00000000\n"
		      "0260: ffff00000000ffff00000000ffff0000\n"
		      "0270: 0000ffff00000000ffff00000000ffff\n"
		      "0280: 00000000ffff00000000ffff00000000\n");
	array_release(&bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(blocks_round_trip), cmocka_unit_test(fuzz_blocks),
					    cmocka_unit_test(golden) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
