/* Addresses and block pointers. */
#include "tests/unit/format/support.h"

static void address_round_trip(void **state)
{
	(void)state;
	struct random random = { 1 };
	for (int i = 0; i < ROUND_TRIPS; i++) {
		uint64_t raw = random_next(&random);
		assert_int_equal(dva_pack(dva_unpack(raw)), raw);
	}
	struct dva dva = { .segment = 0x123456, .base = 0x789, .height = 0xAC, .offset = 0xDEF };
	assert_int_equal(dva_pack(dva), UINT64_C(0x00123456789ABDEF));
}

static void address_bounds(void **state)
{
	(void)state;
	struct dva dva = { .segment = 5, .base = 60, .height = 4, .offset = 10 };
	assert_true(dva_valid(dva, 6, 4, 64));
	assert_false(dva_valid(dva, 7, 4, 64));
	assert_false(dva_valid(dva, 0, 4, 64));
	assert_false(dva_valid(dva, 6, 4, 63));
	assert_false(dva_valid(dva, 6, 0, 64));
	assert_false(dva_valid(dva, 6, 17, 64));
	dva.base = 0;
	assert_false(dva_valid(dva, 6, 4, 64));
	dva = (struct dva){ .segment = SEGMENTS_MAX, .base = 1, .height = 1 };
	assert_false(dva_valid(dva, 1, 1, 64));
	dva = (struct dva){ .base = 1, .height = 256, .offset = 4000 };
	assert_true(dva_valid(dva, 96, 16, 4096));
	assert_false(dva_valid(dva, UINT32_MAX - 3999, 16, 4096));
}

/* Each cell of the block once, in the order that the definition gives. */
static void runs_cover_the_block(void **state)
{
	(void)state;
	struct random random = { 2 };
	for (int i = 0; i < ROUND_TRIPS; i++) {
		unsigned k = random_between(&random, 1, 16), height = random_between(&random, 1, 256);
		struct dva dva = { .base = (uint16_t)random_between(&random, 1, ROWS_MAX - height),
				   .height = (uint16_t)height };
		unsigned cells = random_between(&random, 1, k * height);
		dva.offset = (uint16_t)random_below(&random, k * height - cells + 1);
		assert_true(dva_valid(dva, cells, k, ROWS_MAX));
		struct cell_run runs[COLUMNS_MAX];
		unsigned count = dva_runs(dva, cells, runs), cell = dva.offset;
		assert_true(count <= k);
		for (unsigned r = 0; r < count; r++)
			for (unsigned j = 0; j < runs[r].rows; j++, cell++) {
				assert_int_equal(runs[r].column, cell / height);
				assert_int_equal(runs[r].row + j, dva.base + cell % height);
			}
		assert_int_equal(cell, dva.offset + cells);
	}
	/* From pointers that weren't validated too: bounded. */
	for (int i = 0; i < FUZZ_ITERATIONS; i++) {
		struct cell_run runs[COLUMNS_MAX];
		assert_true(dva_runs(dva_unpack(random_next(&random)), random_between(&random, 0, 512), runs) <= COLUMNS_MAX);
	}
}

static void pointer_round_trip(void **state)
{
	(void)state;
	struct random random = { 3 };
	for (int i = 0; i < ROUND_TRIPS; i++) {
		struct block_pointer pointer = { 0 }, back;
		switch (i % 3) {
		case 0:
			pointer = random_placed(&random, (uint8_t)random_between(&random, 1, TYPE_COUNT - 1),
						(uint8_t)random_below(&random, 16));
			break;
		case 1:
			pointer.flags = BP_HOLE;
			pointer.birth = random_magnitude(&random) | 1;
			pointer.lsect = (uint16_t)random_between(&random, 1, BLOCK_CELLS_MAX);
			pointer.type = TYPE_DATA;
			pointer.level = (uint8_t)random_below(&random, 9);
			break;
		default:
			pointer.flags = BP_EMBED;
			pointer.birth = random_magnitude(&random) | 1;
			pointer.fill = 1;
			pointer.lsect = (uint16_t)random_between(&random, 1, BLOCK_CELLS_MAX);
			pointer.type = TYPE_DATA;
			pointer.compression = (uint8_t)random_below(&random, 2);
			pointer.embed_length = (uint8_t)random_between(&random, 1, BLOCK_POINTER_EMBED_MAX);
			random_bytes(&random, pointer.embed, pointer.embed_length);
		}
		struct raw_block_pointer raw;
		memset(&raw, 0xA5, sizeof(raw));
		block_pointer_encode(&pointer, &raw);
		assert_int_equal(block_pointer_decode(&raw, &back), 0);
		assert_int_equal(pointer.dva, back.dva);
		assert_int_equal(pointer.place, back.place);
		assert_int_equal(pointer.birth, back.birth);
		assert_int_equal(pointer.fill, back.fill);
		assert_int_equal(pointer.lsect, back.lsect);
		assert_int_equal(pointer.psect, back.psect);
		assert_int_equal(pointer.compression, back.compression);
		assert_int_equal(pointer.type, back.type);
		assert_int_equal(pointer.level, back.level);
		assert_int_equal(pointer.flags, back.flags);
		assert_int_equal(pointer.embed_length, back.embed_length);
		assert_memory_equal(pointer.checksum, back.checksum, sizeof(back.checksum));
		assert_memory_equal(pointer.embed, back.embed, sizeof(back.embed));
		assert_true(block_pointer_is_placed(&back) == (i % 3 == 0));
		assert_true(block_pointer_is_hole(&back) == (i % 3 == 1));
		assert_true(block_pointer_is_embedded(&back) == (i % 3 == 2));
	}
}

static void zero_is_a_hole(void **state)
{
	(void)state;
	struct raw_block_pointer raw = { { 0 } };
	struct block_pointer pointer;
	assert_int_equal(block_pointer_decode(&raw, &pointer), 0);
	assert_true(block_pointer_is_hole(&pointer));
	assert_int_equal(pointer.birth, 0);
	pointer = (struct block_pointer){ .flags = BP_HOLE, .lsect = 4, .type = TYPE_DATA, .psect = 9, .fill = 7 };
	memset(&raw, 0xFF, sizeof(raw));
	block_pointer_encode(&pointer, &raw);
	assert_true(raw_block_pointer_is_zero(&raw));
}

static void refused(const struct block_pointer *pointer)
{
	struct raw_block_pointer raw;
	struct block_pointer back;
	block_pointer_encode(pointer, &raw);
	assert_int_equal(block_pointer_decode(&raw, &back), -POOL_EFORMAT);
}

static void what_no_writer_makes_is_refused(void **state)
{
	(void)state;
	struct random random = { 4 };
	struct block_pointer good = random_placed(&random, TYPE_DATA, 0), bad;
#define REFUSED(change)          \
	do {                     \
		bad = good;      \
		bad.change;      \
		refused(&bad);   \
	} while (0)
	REFUSED(place = 0);
	REFUSED(birth = bad.place - 1);
	REFUSED(lsect = BLOCK_CELLS_MAX + 1);
	REFUSED(psect = (uint16_t)(bad.lsect + 1));
	REFUSED(type = TYPE_NONE);
	REFUSED(type = TYPE_COUNT);
	REFUSED(compression = 2);
	REFUSED(checksum_kind = CHECKSUM_MAC);
	REFUSED(checksum[16] = 1);
	REFUSED(checksum[23] = 1);
	REFUSED(flags = BP_ENCRYPTED);
	REFUSED(flags = 8);
	REFUSED(dva = dva_pack((struct dva){ .segment = SEGMENTS_MAX, .base = 1, .height = 256 }));
	REFUSED(dva = dva_pack((struct dva){ .segment = 1, .base = 0, .height = 256 }));
	REFUSED(dva = dva_pack((struct dva){ .segment = 1, .base = 4000, .height = 256 }));
	REFUSED(dva = dva_pack((struct dva){ .segment = 1, .base = 1, .height = 1, .offset = 16 }));
#undef REFUSED
	bad = (struct block_pointer){ .flags = BP_EMBED, .type = TYPE_DATA, .lsect = 1, .birth = 1, .embed_length = 0 };
	refused(&bad);
	bad.embed_length = 1;
	bad.birth = 0;
	refused(&bad);
}

static void fuzz(void **state)
{
	(void)state;
	struct random random = { 5 };
	int accepted = 0;
	for (int i = 0; i < FUZZ_ITERATIONS; i++) {
		struct raw_block_pointer raw = random_raw(&random, TYPE_DATA, 0), again;
		struct block_pointer pointer;
		uint8_t *input = fuzz_input(&random, raw.bytes, sizeof(raw));
		int error = block_pointer_decode((struct raw_block_pointer *)input, &pointer);
		assert_true(error == 0 || error == -POOL_EFORMAT);
		if (error == 0) {
			block_pointer_encode(&pointer, &again);
			assert_memory_equal(&again, input, sizeof(again));
			if (block_pointer_is_placed(&pointer)) {
				struct cell_run runs[COLUMNS_MAX];
				dva_runs(dva_unpack(pointer.dva), pointer.psect, runs);
			}
			accepted++;
		}
		free(input);
	}
	assert_true(accepted > FUZZ_ITERATIONS / 10);
}

static void golden(void **state)
{
	(void)state;
	struct block_pointer placed = { .dva = dva_pack((struct dva){ 0x01234, 0x56, 4, 0x9 }),
					.place = 0x1112131415161718,
					.birth = 0x2122232425262728,
					.fill = 0x313233343536,
					.lsect = 32,
					.psect = 7,
					.compression = COMPRESSION_ZSTD,
					.type = TYPE_DATA,
					.level = 2 };
	for (unsigned i = 0; i < 16; i++)
		placed.checksum[i] = (uint8_t)(0x40 + i);
	struct raw_block_pointer raw;
	block_pointer_encode(&placed, &raw);
	assert_golden(raw.bytes, sizeof(raw),
		      "0000: 09306005341200001817161514131211\n"
		      "0010: 1f0c0424020000002827262524232221\n"
		      "0020: 36353433323100004041424344454647\n"
		      "0030: 48494a4b4c4d4e4f0000000000000000\n");
	struct block_pointer hole = { .flags = BP_HOLE, .birth = 0x99, .lsect = 4, .type = TYPE_DATA, .level = 1 };
	block_pointer_encode(&hole, &raw);
	assert_golden(raw.bytes, sizeof(raw),
		      "0010: 03000024110000009900000000000000\n");
	struct block_pointer embedded = { .flags = BP_EMBED, .birth = 0x77, .fill = 1, .lsect = 4, .type = TYPE_DATA,
					  .embed_length = 40 };
	for (unsigned i = 0; i < 40; i++)
		embedded.embed[i] = (uint8_t)(i + 1);
	block_pointer_encode(&embedded, &raw);
	assert_golden(raw.bytes, sizeof(raw),
		      "0000: 0102030405060708090a0b0c0d0e0f10\n"
		      "0010: 03000024208002007700000000000000\n"
		      "0020: 01000000000000001112131415161718\n"
		      "0030: 191a1b1c1d1e1f202122232425262728\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(address_round_trip), cmocka_unit_test(address_bounds),
		cmocka_unit_test(runs_cover_the_block), cmocka_unit_test(pointer_round_trip),
		cmocka_unit_test(zero_is_a_hole), cmocka_unit_test(what_no_writer_makes_is_refused),
		cmocka_unit_test(fuzz), cmocka_unit_test(golden),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
