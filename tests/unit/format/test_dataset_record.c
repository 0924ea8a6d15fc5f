/* The records of the MOS trees. */
#include "libpool/format/dataset_record.h"
#include "tests/unit/format/support.h"

static void random_dataset(struct random *random, struct dataset_record *record)
{
	memset(record, 0, sizeof(*record));
	record->id = (uint32_t)random_next(random) | 1;
	record->kind = (uint8_t)random_between(random, DATASET_FILESYSTEM, DATASET_SNAPSHOT);
	record->block_shift = (uint8_t)random_between(random, 12, 20);
	record->compression_level = random_below(random, 4) ? (uint8_t)random_below(random, 24) : 255;
	record->flags = (uint8_t)random_below(random, 2);
	record->volume_size = random_next(random) >> 1;
	record->created_txg = random_next(random);
	record->created_ns = random_next(random);
	record->destroyed_ns = random_next(random);
	if (random_below(random, 4))
		record->root = random_raw(random, TYPE_OBJSET, 0);
	record->previous_snapshot = (uint32_t)random_next(random);
	record->next = (uint32_t)random_next(random);
	record->origin = (uint32_t)random_next(random);
	record->parent = record->id + 1;
	record->previous_snapshot_txg = random_next(random);
	record->deadlist_object = random_next(random);
	record->referenced_cells = random_next(random);
	record->unique_cells = random_next(random);
	record->quota = random_next(random);
	record->reservation = random_next(random);
	record->refquota = random_next(random);
	if (random_below(random, 2))
		dataset_record_set(record, SETTING_READONLY, READONLY_ON);
	if (record->kind == DATASET_FILESYSTEM && random_below(random, 2))
		dataset_record_set(record, SETTING_ATIME, (uint8_t)random_below(random, 3));
	memset(record->name, 'x', random_between(random, 1, 255));
}

static void datasets(void **state)
{
	(void)state;
	static struct dataset_record good, bad, back;
	struct random random = { 1 };
	uint8_t raw[DATASET_RECORD_SIZE], again[DATASET_RECORD_SIZE];
	int accepted = 0;
	for (int i = 0; i < FUZZ_ITERATIONS; i++) {
		if (i % 8 == 0) {
			random_dataset(&random, &good);
			dataset_record_encode(&good, raw);
			memset(&back, 0, sizeof(back));
			assert_int_equal(dataset_record_decode(raw, sizeof(raw), &back), 0);
			assert_memory_equal(&good, &back, sizeof(good));
			assert_int_equal(dataset_record_decode(raw, sizeof(raw) - 1, &back), -POOL_EFORMAT);
		}
		uint8_t *input = fuzz_input(&random, raw, sizeof(raw));
		int error = dataset_record_decode(input, sizeof(raw), &back);
		assert_true(error == 0 || error == -POOL_EFORMAT);
		if (error == 0) {
			dataset_record_encode(&back, again);
			assert_memory_equal(again, input, sizeof(again));
			accepted++;
		}
		free(input);
	}
	assert_true(accepted > FUZZ_ITERATIONS / 20);
#define REFUSED(change)                                                                              \
	do {                                                                                         \
		bad = good;                                                                          \
		bad.change;                                                                          \
		dataset_record_encode(&bad, raw);                                                    \
		assert_int_equal(dataset_record_decode(raw, sizeof(raw), &back), -POOL_EFORMAT);     \
	} while (0)
	REFUSED(id = 0);
	REFUSED(kind = 0);
	REFUSED(kind = 4);
	REFUSED(block_shift = 11);
	REFUSED(block_shift = 21);
	REFUSED(compression_level = 24);
	REFUSED(flags = 2);
	REFUSED(volume_size = UINT64_MAX);
	REFUSED(name[0] = 0);
	REFUSED(name[0] = 27);
	REFUSED(name[0] = '/');
	REFUSED(parent = good.id);
	REFUSED(local |= 1u << SETTING_COUNT);
	REFUSED(settings[SETTING_COMPRESSION] = 1);
	REFUSED(settings[SETTING_READONLY] = 2);
	REFUSED(settings[SETTING_ATIME] = 3);
	REFUSED(settings[15] = 1);
	REFUSED(local |= 1u << SETTING_CHECKSUM; bad.settings[SETTING_CHECKSUM] = CHECKSUM_SHA256);
	REFUSED(root = random_raw(&random, TYPE_DATA, 0));
#undef REFUSED
}

static void batch_map(void **state)
{
	(void)state;
	struct random random = { 2 };
	uint8_t key[BATCH_MAP_KEY_SIZE], value[BATCH_MAP_VALUE_SIZE], key_again[BATCH_MAP_KEY_SIZE];
	uint8_t value_again[BATCH_MAP_VALUE_SIZE], key_before[BATCH_MAP_KEY_SIZE];
	struct batch_map_entry before = { 0 };
	int accepted = 0;
	for (int i = 0; i < FUZZ_ITERATIONS; i++) {
		struct batch_map_entry entry = { .segment = (uint32_t)random_below(&random, SEGMENTS_MAX),
						 .txg = random_next(&random) | 1 }, back;
		entry.rows = (uint16_t)random_between(&random, 1, ROWS_MAX - 1);
		entry.base = (uint16_t)random_between(&random, 1, ROWS_MAX - entry.rows);
		entry.summary = random_raw(&random, TYPE_SUMMARY, 0);
		if (i % 2)
			entry.extra = random_raw(&random, TYPE_EXTRA, 0);
		batch_map_encode(&entry, key, value);
		assert_int_equal(batch_map_decode(key, sizeof(key), value, sizeof(value), &back), 0);
		assert_int_equal(entry.segment, back.segment);
		assert_int_equal(entry.base, back.base);
		assert_int_equal(entry.rows, back.rows);
		assert_int_equal(entry.txg, back.txg);
		assert_memory_equal(&entry.summary, &back.summary, 64);
		assert_memory_equal(&entry.extra, &back.extra, 64);
		assert_int_equal(batch_map_decode(key, 5, value, sizeof(value), &back), -POOL_EFORMAT);
		assert_int_equal(batch_map_decode(key, 6, value, sizeof(value) - 1, &back), -POOL_EFORMAT);
		if (i > 0 && before.segment != entry.segment)
			assert_int_equal(memcmp(key_before, key, sizeof(key)) < 0, before.segment < entry.segment);
		before = entry;
		memcpy(key_before, key, sizeof(key));
		uint8_t *input = fuzz_input(&random, value, sizeof(value));
		mutate(&random, key, random_below(&random, 4) ? 0 : sizeof(key));
		if (batch_map_decode(key, sizeof(key), input, sizeof(value), &back) == 0) {
			batch_map_encode(&back, key_again, value_again);
			assert_memory_equal(key, key_again, sizeof(key));
			assert_memory_equal(input, value_again, sizeof(value));
			accepted++;
		}
		free(input);
	}
	assert_true(accepted > FUZZ_ITERATIONS / 20);
}

static void moved_blocks(void **state)
{
	static const uint8_t golden_key[MOVED_KEY_SIZE] = { 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 0, 0, 0, 0x10, 0x11 };
	static const uint8_t golden_value[MOVED_VALUE_SIZE] = { 0x28, 0x27, 0x26, 0x25, 0x24, 0x23, 0x22, 0x21, 3 };
	struct moved_entry entry = { .dva = 0x0102030405060708, .place = 0x1011, .new_dva = 0x2122232425262728, .references = 3 }, back;
	uint8_t key[MOVED_KEY_SIZE], value[MOVED_VALUE_SIZE];

	(void)state;
	moved_encode(&entry, key, value);
	assert_memory_equal(key, golden_key, sizeof(key));
	assert_memory_equal(value, golden_value, sizeof(value));
	assert_int_equal(moved_decode(key, sizeof(key), value, sizeof(value), &back), 0);
	assert_true(entry.dva == back.dva && entry.place == back.place && entry.new_dva == back.new_dva && entry.references == back.references);
	assert_int_equal(moved_decode(key, 15, value, sizeof(value), &back), -POOL_EFORMAT);
	assert_int_equal(moved_decode(key, sizeof(key), value, 15, &back), -POOL_EFORMAT);
	value[12] = 1; /* flags that nobody knows */
	assert_int_equal(moved_decode(key, sizeof(key), value, sizeof(value), &back), -POOL_EFORMAT);
	value[12] = value[8] = 0; /* references */
	assert_int_equal(moved_decode(key, sizeof(key), value, sizeof(value), &back), -POOL_EFORMAT);
	entry.new_dva = 0;
	moved_encode(&entry, key, value);
	assert_int_equal(moved_decode(key, sizeof(key), value, sizeof(value), &back), -POOL_EFORMAT);
}

static void golden(void **state)
{
	(void)state;
	struct block_pointer pointer = { .dva = dva_pack((struct dva){ 7, 1, 1, 0 }), .place = 5, .birth = 5, .lsect = 1,
					 .psect = 1, .type = TYPE_OBJSET };
	static struct dataset_record record;
	record = (struct dataset_record){ .id = 0x01020304, .kind = DATASET_VOLUME, .block_shift = 14, .compression_level = 4,
					  .flags = DATASET_DESTROYED, .volume_size = 0x1112131415161718, .created_txg = 0x21,
					  .created_ns = 0x31, .destroyed_ns = 0x41, .previous_snapshot = 0x51, .next = 0x61,
					  .origin = 0x71, .previous_snapshot_txg = 0x81, .deadlist_object = 0x91,
					  .referenced_cells = 0xA1, .unique_cells = 0xB1, .quota = 0xC1, .reservation = 0xD1,
					  .name = "vol" };
	block_pointer_encode(&pointer, &record.root);
	uint8_t raw[DATASET_RECORD_SIZE], key[BATCH_MAP_KEY_SIZE];
	dataset_record_encode(&record, raw);
	assert_golden(raw, sizeof(raw),
		      "0000: 04030201020e04011817161514131211\n"
		      "0010: 21000000000000003100000000000000\n"
		      "0020: 41000000000000000000100007000000\n"
		      "0030: 05000000000000000000001800000000\n"
		      "0040: 05000000000000000000000000000000\n"
		      "0060: 00000000000000005100000061000000\n"
		      "0070: 71000000000000008100000000000000\n"
		      "0080: 9100000000000000a100000000000000\n"
		      "0090: b100000000000000c100000000000000\n"
		      "00a0: d1000000000000000000000000000000\n"
		      "0180: 766f6c00000000000000000000000000\n");
	struct batch_map_entry entry = { .segment = 0x010203, .base = 0x123, .rows = 0x45, .txg = 0x1112131415161718 };
	pointer.type = TYPE_SUMMARY;
	block_pointer_encode(&pointer, &entry.summary);
	batch_map_encode(&entry, key, raw);
	assert_golden(key, sizeof(key),
		      "0000: 000102030123\n");
	assert_golden(raw, BATCH_MAP_VALUE_SIZE,
		      "0000: 45000000000000001817161514131211\n"
		      "0010: 00001000070000000500000000000000\n"
		      "0020: 00000004000000000500000000000000\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(datasets), cmocka_unit_test(batch_map), cmocka_unit_test(moved_blocks), cmocka_unit_test(golden) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
