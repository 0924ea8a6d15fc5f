/* Segment records and the page headers of segment table and live bitmap. */
#include "tests/unit/format/support.h"

static void assert_columns_equal(const struct segment_column *a, const struct segment_column *b, unsigned count)
{
	for (unsigned c = 0; c < count; c++) {
		assert_int_equal(a[c].disk, b[c].disk);
		assert_int_equal(a[c].au, b[c].au);
	}
}

static void round_trip(void **state)
{
	(void)state;
	struct random random = { 1 };
	for (int i = 0; i < ROUND_TRIPS; i++) {
		struct segment_record record = random_segment(&random, 256), back;
		uint8_t raw[SEGMENT_RECORD_SIZE];
		segment_record_encode(&record, raw);
		assert_int_equal(segment_record_decode(raw, 256, &back), 0);
		assert_int_equal(record.state, back.state);
		assert_int_equal(record.class, back.class);
		assert_int_equal(record.k, back.k);
		assert_int_equal(record.m, back.m);
		assert_int_equal(record.rows_used, back.rows_used);
		assert_int_equal(record.flags, back.flags);
		assert_int_equal(record.alloc_txg, back.alloc_txg);
		assert_int_equal(record.evac_txg, back.evac_txg);
		assert_columns_equal(record.columns, back.columns, COLUMNS_MAX);
	}
}

static void zero_is_none(void **state)
{
	(void)state;
	uint8_t raw[SEGMENT_RECORD_SIZE] = { 0 }, again[SEGMENT_RECORD_SIZE];
	struct segment_record record;
	assert_int_equal(segment_record_decode(raw, 64, &record), 0);
	assert_int_equal(record.state, SEGMENT_NONE);
	assert_int_equal(record.columns[0].disk, DISK_ABSENT);
	segment_record_encode(&record, again);
	assert_memory_equal(raw, again, sizeof(raw));
	raw[50] = 1;
	assert_int_equal(segment_record_decode(raw, 64, &record), -POOL_EFORMAT);
}

static void mirrors_on_one_disk(void **state)
{
	(void)state;
	struct segment_record record = { .state = SEGMENT_OPEN, .class = CLASS_META, .k = 1, .m = 1, .rows_used = 1,
					 .columns = { { 3, 10 }, { 3, 20 } } }, back;
	uint8_t raw[SEGMENT_RECORD_SIZE];
	segment_record_encode(&record, raw);
	assert_int_equal(segment_record_decode(raw, 64, &back), 0);
	record.columns[1].au = 10;
	segment_record_encode(&record, raw);
	assert_int_equal(segment_record_decode(raw, 64, &back), -POOL_EFORMAT);
	record = (struct segment_record){ .state = SEGMENT_OPEN, .class = CLASS_META, .k = 2, .m = 1, .rows_used = 1,
					  .columns = { { 3, 10 }, { 4, 20 }, { 3, 30 } } };
	segment_record_encode(&record, raw);
	assert_int_equal(segment_record_decode(raw, 64, &back), -POOL_EFORMAT);
}

static void out_of_bounds_is_refused(void **state)
{
	(void)state;
	struct segment_record good = { .state = SEGMENT_OPEN, .class = CLASS_HOT, .k = 4, .m = 2, .rows_used = 64 }, bad, back;
	for (unsigned c = 0; c < 6; c++)
		good.columns[c] = (struct segment_column){ (uint16_t)c, c };
	uint8_t raw[SEGMENT_RECORD_SIZE];
	segment_record_encode(&good, raw);
	assert_int_equal(segment_record_decode(raw, 64, &back), 0);
#define REFUSED(change)                                                                  \
	do {                                                                             \
		bad = good;                                                              \
		bad.change;                                                              \
		segment_record_encode(&bad, raw);                                        \
		assert_int_equal(segment_record_decode(raw, 64, &back), -POOL_EFORMAT);  \
	} while (0)
	REFUSED(state = 6);
	REFUSED(state = SEGMENT_SYS);
	REFUSED(state = SEGMENT_LOG);
	REFUSED(class = CLASS_COUNT);
	REFUSED(class = CLASS_SYS);
	REFUSED(k = 0);
	REFUSED(m = 4);
	REFUSED(rows_used = 0);
	REFUSED(rows_used = 65);
	REFUSED(flags = 16);
	REFUSED(columns[2].disk = DISKS_MAX);
#undef REFUSED
}

static void fuzz(void **state)
{
	(void)state;
	struct random random = { 2 };
	int accepted = 0;
	for (int i = 0; i < FUZZ_ITERATIONS; i++) {
		struct segment_record record = random_segment(&random, 4096);
		uint8_t raw[SEGMENT_RECORD_SIZE], again[SEGMENT_RECORD_SIZE];
		segment_record_encode(&record, raw);
		uint8_t *input = fuzz_input(&random, raw, sizeof(raw));
		int error = segment_record_decode(input, 4096, &record);
		assert_true(error == 0 || error == -POOL_EFORMAT);
		if (error == 0) {
			segment_record_encode(&record, again);
			assert_memory_equal(again, input, sizeof(again));
			accepted++;
		}
		free(input);
	}
	assert_true(accepted > FUZZ_ITERATIONS / 20);
}

static void page_headers(void **state)
{
	(void)state;
	struct random random = { 3 };
	for (int i = 0; i < FUZZ_ITERATIONS; i++) {
		uint64_t page = random_magnitude(&random), txg = random_magnitude(&random), back = 0;
		uint8_t raw[128];
		bool livemap = i % 2;
		size_t size = livemap ? LIVEMAP_HEADER_SIZE : 128;
		(livemap ? livemap_header_encode : segtab_page_header_encode)(page, txg, raw);
		int (*decode)(const uint8_t *, uint64_t, uint64_t *) = livemap ? livemap_header_decode :
										 segtab_page_header_decode;
		assert_int_equal(decode(raw, page, &back), 0);
		assert_int_equal(back, txg);
		assert_int_equal(decode(raw, page + 1, &back), -POOL_EFORMAT);
		uint8_t *input = fuzz_input(&random, raw, size);
		if (decode(input, page, &back) == 0) {
			(livemap ? livemap_header_encode : segtab_page_header_encode)(page, back, raw);
			assert_memory_equal(raw, input, size);
		}
		free(input);
	}
}

static void golden(void **state)
{
	(void)state;
	struct segment_record record = { .state = SEGMENT_FULL, .class = CLASS_COLD, .k = 2, .m = 1, .rows_used = 0x123,
					 .flags = SEGMENT_DEGRADED, .alloc_txg = 0x1112131415161718, .evac_txg = 0x2122,
					 .columns = { { 1, 0x31323334 }, { DISK_ABSENT, 0 }, { 0x1FF, 0x51 } } };
	uint8_t raw[SEGMENT_RECORD_SIZE];
	segment_record_encode(&record, raw);
	assert_golden(raw, sizeof(raw),
		      "0000: 02040201230104001817161514131211\n"
		      "0010: 22210000000000000000000000000000\n"
		      "0020: 010034333231ffff00000000ff015100\n"
		      "0030: 0000ffff00000000ffff00000000ffff\n"
		      "0040: 00000000ffff00000000ffff00000000\n"
		      "0050: ffff00000000ffff00000000ffff0000\n"
		      "0060: 0000ffff00000000ffff00000000ffff\n"
		      "0070: 00000000ffff00000000ffff00000000\n");
	segtab_page_header_encode(0x0102030405060708, 0x1112131415161718, raw);
	assert_golden(raw, 128,
		      "0000: 706f6f6c534547540100800000000000\n"
		      "0010: 08070605040302011817161514131211\n");
	livemap_header_encode(0x0102030405060708, 0x1112131415161718, raw);
	assert_golden(raw, LIVEMAP_HEADER_SIZE,
		      "0000: 706f6f6c4c4956450100400000000000\n"
		      "0010: 08070605040302011817161514131211\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(round_trip), cmocka_unit_test(zero_is_none),
		cmocka_unit_test(mirrors_on_one_disk), cmocka_unit_test(out_of_bounds_is_refused),
		cmocka_unit_test(fuzz), cmocka_unit_test(page_headers), cmocka_unit_test(golden),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
