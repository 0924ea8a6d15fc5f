/* Labels and AU headers. */
#include "checksum/crc32c.h"
#include "checksum/xxh3.h"
#include "libpool/format/label.h"
#include "libpool/format/uberblock.h"
#include "tests/unit/format/support.h"

#define LABEL_HASH_OFFSET 32752u
#define AU_CRC_OFFSET     4092u

static void random_name(struct random *random, char *name, size_t length)
{
	for (size_t i = 0; i < length; i++)
		name[i] = (char)random_between(random, 'a', 'z');
}

static void random_label(struct random *random, struct label *label, bool features)
{
	memset(label, 0, sizeof(*label));
	random_bytes(random, &label->pool, 16);
	random_name(random, label->name, random_between(random, 1, POOL_NAME_MAX));
	label->config_txg = random_magnitude(random);
	label->created_ns = random_next(random);
	label->au_shift = (uint8_t)random_between(random, AU_SHIFT_MIN, AU_SHIFT_MAX);
	label->m = (uint8_t)random_below(random, 4);
	label->k = (uint8_t)random_between(random, 1, 16 - label->m);
	label->destroyed = (uint8_t)random_below(random, 2);
	label->disk_count = (uint16_t)random_between(random, 1, random_below(random, 8) ? 24 : DISKS_MAX);
	label->feature_count = features ? (uint16_t)random_between(random, 1, LABEL_FEATURES_MAX) : 0;
	for (unsigned i = 0; i < label->feature_count; i++)
		random_name(random, label->features[i], random_between(random, 1, FEATURE_NAME_MAX));
	for (unsigned i = 0; i < label->disk_count; i++) {
		struct label_disk *disk = &label->disks[i];
		random_bytes(random, &disk->guid, 16);
		disk->index = (uint16_t)((i * 7 + 3) % DISKS_MAX);
		disk->role = (uint8_t)random_below(random, 3);
		disk->state = random_below(random, 4) ? DISK_ONLINE : DISK_REMOVED;
		disk->size = (UINT64_C(1) << 31) + random_below(random, UINT64_C(1) << 45);
	}
	const struct label_disk *own = &label->disks[random_below(random, label->disk_count)];
	label->disk = own->guid;
	label->disk_index = own->index;
	label->size = own->size;
}

static void fix_label(uint8_t *raw, unsigned area, unsigned copy)
{
	static uint8_t bytes[2 + LABEL_HASH_OFFSET];
	struct hash128 hash;
	bytes[0] = (uint8_t)area;
	bytes[1] = (uint8_t)copy;
	memcpy(bytes + 2, raw, LABEL_HASH_OFFSET);
	xxh3_128(bytes, sizeof(bytes), &hash);
	memcpy(raw + LABEL_HASH_OFFSET, &hash, 16);
}

static void label_round_trip(void **state)
{
	(void)state;
	static struct label label, back;
	static uint8_t raw[LABEL_COPY_SIZE], fixed[LABEL_COPY_SIZE];
	struct random random = { 1 };
	for (int i = 0; i < 2000; i++) {
		unsigned area = i & 1, copy = i >> 1 & 1;
		bool features = i % 3 == 0;
		random_label(&random, &label, features);
		label_encode(&label, area, copy, raw);
		memset(&back, 0xA5, sizeof(back));
		assert_int_equal(label_decode(raw, area, copy, &back), features ? -POOL_EFEATURE : 0);
		assert_memory_equal(&label.disks, &back.disks, sizeof(label.disks));
		assert_memory_equal(&label.features, &back.features, sizeof(label.features));
		assert_string_equal(label.name, back.name);
		assert_memory_equal(&label.pool, &back.pool, 16);
		assert_memory_equal(&label.disk, &back.disk, 16);
		assert_int_equal(label.config_txg, back.config_txg);
		assert_int_equal(label.created_ns, back.created_ns);
		assert_int_equal(label.disk_index, back.disk_index);
		assert_int_equal(label.au_shift, back.au_shift);
		assert_int_equal(label.k, back.k);
		assert_int_equal(label.m, back.m);
		assert_int_equal(label.destroyed, back.destroyed);
		assert_int_equal(label.size, back.size);
		assert_int_equal(label.disk_count, back.disk_count);
		assert_int_equal(label.feature_count, back.feature_count);
		if (features)
			assert_string_equal(label_unknown_feature(&back), label.features[0]);
		else
			assert_null(label_unknown_feature(&back));
		memcpy(fixed, raw, sizeof(raw));
		fix_label(fixed, area, copy);
		assert_memory_equal(raw, fixed, sizeof(raw));
		assert_int_equal(label_decode(raw, !area, copy, &back), -POOL_EFORMAT);
		assert_int_equal(label_decode(raw, area, !copy, &back), -POOL_EFORMAT);
	}
}

static void every_changed_byte_of_a_label_is_seen(void **state)
{
	(void)state;
	static struct label label, back;
	static uint8_t raw[LABEL_COPY_SIZE];
	struct random random = { 2 };
	random_label(&random, &label, false);
	label_encode(&label, 0, 1, raw);
	for (unsigned at = 0; at < sizeof(raw); at++) {
		uint8_t saved = raw[at];
		raw[at] = (uint8_t)(saved + 1 + random_below(&random, 255));
		assert_int_equal(label_decode(raw, 0, 1, &back), -POOL_EFORMAT);
		raw[at] = saved;
	}
	assert_int_equal(label_decode(raw, 0, 1, &back), 0);
}

static void labels_that_contradict_themselves(void **state)
{
	(void)state;
	static struct label good, bad, back;
	static uint8_t raw[LABEL_COPY_SIZE];
	struct random random = { 3 };
	do
		random_label(&random, &good, false);
	while (good.disk_count < 3 || good.disk_index == good.disks[0].index || good.disks[0].state != DISK_ONLINE);
#define REFUSED(change)                                                              \
	do {                                                                         \
		bad = good;                                                          \
		bad.change;                                                          \
		label_encode(&bad, 0, 0, raw);                                       \
		assert_int_equal(label_decode(raw, 0, 0, &back), -POOL_EFORMAT);     \
	} while (0)
	REFUSED(au_shift = AU_SHIFT_MIN - 1);
	REFUSED(au_shift = AU_SHIFT_MAX + 1);
	REFUSED(k = 0);
	REFUSED(m = 4);
	REFUSED(k = 17);
	REFUSED(disk_count = 0);
	REFUSED(disk_count = DISKS_MAX + 1);
	REFUSED(feature_count = LABEL_FEATURES_MAX + 1);
	REFUSED(feature_count = 1);
	REFUSED(name[0] = 0);
	REFUSED(name[0] = '\n');
	REFUSED(size = DISK_SIZE_MIN - 1);
	REFUSED(disk_index = bad.disks[0].index);
	REFUSED(disk.bytes[3] ^= 1);
	REFUSED(disks[0].index = bad.disk_index);
	REFUSED(disks[0].index = DISKS_MAX);
	REFUSED(disks[0].guid = bad.disk);
	REFUSED(disks[0].role = ROLE_SPARE + 1);
	REFUSED(disks[0].state = DISK_FAULTY);
	REFUSED(disks[0].size = 1);
#undef REFUSED
	bad = good;
	bad.disks[1].guid = bad.disks[0].guid;
	bad.disks[1].index = 511;
	label_encode(&bad, 0, 0, raw);
	assert_int_equal(label_decode(raw, 0, 0, &back), -POOL_EFORMAT);
}

static void fuzz_labels(void **state)
{
	(void)state;
	static struct label label, back;
	static uint8_t raw[LABEL_COPY_SIZE], again[LABEL_COPY_SIZE];
	struct random random = { 4 };
	int accepted = 0;
	for (int i = 0; i < FUZZ_ITERATIONS; i++) {
		if (i % 64 == 0) {
			random_label(&random, &label, i % 256 == 0);
			label_encode(&label, 1, 0, raw);
		}
		uint8_t *input = fuzz_input(&random, raw, sizeof(raw));
		if (i % 8)
			fix_label(input, 1, 0);
		int error = label_decode(input, 1, 0, &back);
		assert_true(error == 0 || error == -POOL_EFORMAT || error == -POOL_EFEATURE);
		if (error != -POOL_EFORMAT) {
			assert_true((error == 0) == (label_unknown_feature(&back) == NULL));
			label_encode(&back, 1, 0, again);
			assert_memory_equal(again, input, sizeof(again));
			accepted++;
		}
		free(input);
	}
	assert_true(accepted > FUZZ_ITERATIONS / 50);
}

static void random_au(struct random *random, struct au_header *header)
{
	memset(header, 0, sizeof(*header));
	struct segment_record record = random_segment(random, 64);
	random_bytes(random, &header->pool, 16);
	random_bytes(random, &header->disk, 16);
	header->segment = (uint32_t)random_below(random, SEGMENTS_MAX);
	header->k = record.k;
	header->m = record.m;
	header->class = record.class;
	header->column = (uint8_t)random_below(random, record.k + record.m);
	header->alloc_txg = random_magnitude(random);
	header->sequence = random_magnitude(random);
	memcpy(header->columns, record.columns, sizeof(header->columns));
	header->columns[header->column] = (struct segment_column){ DISKS_MAX - 1, 1 };
}

static void fix_au(uint8_t *raw)
{
	uint32_t crc = crc32c(0, raw, AU_CRC_OFFSET);
	for (unsigned i = 0; i < 4; i++)
		raw[AU_CRC_OFFSET + i] = (uint8_t)(crc >> 8 * i);
}

static void au_header(void **state)
{
	(void)state;
	static struct au_header header, back;
	uint8_t raw[AU_HEADER_SIZE], again[AU_HEADER_SIZE];
	struct random random = { 5 };
	int accepted = 0;
	for (int i = 0; i < FUZZ_ITERATIONS; i++) {
		if (i % 16 == 0) {
			random_au(&random, &header);
			au_header_encode(&header, raw);
			memcpy(again, raw, sizeof(raw));
			fix_au(again);
			assert_memory_equal(raw, again, sizeof(raw));
			assert_int_equal(au_header_decode(raw, &back), 0);
			assert_int_equal(header.segment, back.segment);
			assert_int_equal(header.column, back.column);
			assert_int_equal(header.alloc_txg, back.alloc_txg);
			assert_int_equal(header.sequence, back.sequence);
			assert_int_equal(header.class, back.class);
			for (unsigned c = 0; c < COLUMNS_MAX; c++) {
				assert_int_equal(header.columns[c].disk, back.columns[c].disk);
				assert_int_equal(header.columns[c].au, back.columns[c].au);
			}
		}
		uint8_t *input = fuzz_input(&random, raw, sizeof(raw));
		if (i % 8)
			fix_au(input);
		int error = au_header_decode(input, &back);
		assert_true(error == 0 || error == -POOL_EFORMAT);
		if (error == 0) {
			au_header_encode(&back, again);
			assert_memory_equal(again, input, sizeof(again));
			accepted++;
		}
		free(input);
	}
	assert_true(accepted > FUZZ_ITERATIONS / 20);
	random_au(&random, &header);
	au_header_encode(&header, raw);
	for (unsigned at = 0; at < sizeof(raw); at++) {
		uint8_t saved = raw[at];
		raw[at] = (uint8_t)(saved + 1 + random_below(&random, 255));
		assert_int_equal(au_header_decode(raw, &back), -POOL_EFORMAT);
		raw[at] = saved;
	}
	header.columns[header.column] = (struct segment_column){ DISK_ABSENT, 0 };
	au_header_encode(&header, raw);
	assert_int_equal(au_header_decode(raw, &back), -POOL_EFORMAT);
}

static void golden(void **state)
{
	(void)state;
	static struct label label;
	static uint8_t raw[LABEL_COPY_SIZE];
	label = (struct label){ .name = "tank", .config_txg = 0x0102030405060708, .created_ns = 0x1112131415161718,
				.disk_index = 0x21, .au_shift = 20, .k = 4, .m = 2, .destroyed = 1, .size = 0x31323334000,
				.disk_count = 2, .feature_count = 1, .features = { "teleport" },
				.disks = { { .index = 0x20, .role = ROLE_DATA, .state = DISK_REMOVED, .size = 0x41 },
					   { .index = 0x21, .role = ROLE_SPARE, .state = DISK_ONLINE, .size = 0x31323334000 } } };
	memset(&label.pool, 0x99, 16);
	memset(&label.disks[0].guid, 0x87, 16);
	memset(&label.disks[1].guid, 0x88, 16);
	label.disk = label.disks[1].guid;
	label_encode(&label, 1, 0, raw);
	assert_golden(raw, sizeof(raw),
		      "0000: 706f6f6c4c41424c0100001001000000\n"
		      "0010: 99999999999999999999999999999999\n"
		      "0020: 88888888888888888888888888888888\n"
		      "0030: 08070605040302011817161514131211\n"
		      "0040: 00403323130300002100140402010000\n"
		      "0050: 02000100000000000000000000000000\n"
		      "0080: 74616e6b000000000000000000000000\n"
		      "0180: 74656c65706f72740000000000000000\n"
		      "1000: 87878787878787878787878787878787\n"
		      "1010: 20000004410000000000000000000000\n"
		      "1020: 00000000000000008888888888888888\n"
		      "1030: 88888888888888882100020000403323\n"
		      "1040: 13030000000000000000000000000000\n"
		      "7ff0: f02f16cb28de58bb7d228a18b846d5a5\n");

	struct au_header header = { .segment = 0x010203, .column = 2, .k = 2, .m = 1, .class = CLASS_HOT,
				    .alloc_txg = 0x1112131415161718, .sequence = 0x2122232425262728,
				    .columns = { { 1, 0x31 }, { DISK_ABSENT, 0 }, { 3, 0x33343536 } } };
	header.pool = label.pool;
	header.disk = label.disk;
	au_header_encode(&header, raw);
	assert_golden(raw, AU_HEADER_SIZE,
		      "0000: 706f6f6c415548440100001000000000\n"
		      "0010: 99999999999999999999999999999999\n"
		      "0020: 88888888888888888888888888888888\n"
		      "0030: 03020100020201031817161514131211\n"
		      "0040: 28272625242322210000000000000000\n"
		      "0050: 010031000000ffff0000000003003635\n"
		      "0060: 3433ffff00000000ffff00000000ffff\n"
		      "0070: 00000000ffff00000000ffff00000000\n"
		      "0080: ffff00000000ffff00000000ffff0000\n"
		      "0090: 0000ffff00000000ffff00000000ffff\n"
		      "00a0: 00000000ffff00000000ffff00000000\n"
		      "0ff0: 00000000000000000000000098def5ed\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(label_round_trip), cmocka_unit_test(every_changed_byte_of_a_label_is_seen),
		cmocka_unit_test(labels_that_contradict_themselves), cmocka_unit_test(fuzz_labels),
		cmocka_unit_test(au_header), cmocka_unit_test(golden),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
