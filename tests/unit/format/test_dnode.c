/* Dnodes and objset blocks. */
#include "libpool/format/dnode.h"
#include "tests/unit/format/support.h"

static struct dnode random_dnode(struct random *random)
{
	static const uint8_t shifts[] = { 12, 14, 15 };
	struct dnode dnode = { .kind = (uint8_t)random_between(random, DNODE_BLOB, DNODE_TREE) };
	dnode.block_shift = (uint8_t)random_between(random, 12, 20);
	dnode.indirect_shift = shifts[dnode.kind == DNODE_TREE ? 1 + random_below(random, 2) : random_below(random, 3)];
	dnode.levels = (uint8_t)random_below(random, 10);
	dnode.sectors = random_magnitude(random);
	dnode.generation = random_magnitude(random);
	dnode.bonus_length = (uint16_t)random_below(random, DNODE_BONUS_MAX + 1);
	random_bytes(random, dnode.bonus, dnode.bonus_length);
	if (dnode.levels > 0) {
		unsigned bits = (dnode.levels - 1u) * (dnode.indirect_shift - 6u);
		dnode.max_block = random_magnitude(random) & ((UINT64_C(1) << (bits < 48 ? bits : 48)) - 1);
		dnode.root = random_raw(random, TYPE_DATA, dnode.levels - 1);
	}
	return dnode;
}

static void assert_dnode_equal(const struct dnode *a, const struct dnode *b)
{
	assert_int_equal(a->kind, b->kind);
	assert_int_equal(a->block_shift, b->block_shift);
	assert_int_equal(a->indirect_shift, b->indirect_shift);
	assert_int_equal(a->levels, b->levels);
	assert_int_equal(a->flags, b->flags);
	assert_int_equal(a->bonus_length, b->bonus_length);
	assert_int_equal(a->max_block, b->max_block);
	assert_int_equal(a->sectors, b->sectors);
	assert_int_equal(a->generation, b->generation);
	assert_memory_equal(&a->root, &b->root, sizeof(a->root));
	assert_memory_equal(a->bonus, b->bonus, sizeof(a->bonus));
}

static void round_trip(void **state)
{
	(void)state;
	struct random random = { 1 };
	for (int i = 0; i < ROUND_TRIPS; i++) {
		struct dnode dnode = random_dnode(&random), back;
		uint8_t raw[DNODE_SIZE];
		dnode_encode(&dnode, raw);
		assert_int_equal(dnode_decode(raw, &back), 0);
		assert_dnode_equal(&dnode, &back);
	}
	uint8_t zero[DNODE_SIZE] = { 0 }, raw[DNODE_SIZE];
	struct dnode dnode;
	assert_int_equal(dnode_decode(zero, &dnode), 0);
	assert_int_equal(dnode.kind, DNODE_FREE);
	dnode_encode(&dnode, raw);
	assert_memory_equal(raw, zero, sizeof(raw));
}

static void shapes_that_cannot_be(void **state)
{
	(void)state;
	struct random random = { 2 };
	struct dnode good = { .kind = DNODE_BLOB, .block_shift = 14, .indirect_shift = 12, .levels = 2, .max_block = 63,
			      .root = random_raw(&random, TYPE_DATA, 1) }, bad, back;
	uint8_t raw[DNODE_SIZE];
	dnode_encode(&good, raw);
	assert_int_equal(dnode_decode(raw, &back), 0);
#define REFUSED(change)                                                        \
	do {                                                                   \
		bad = good;                                                    \
		bad.change;                                                    \
		dnode_encode(&bad, raw);                                       \
		assert_int_equal(dnode_decode(raw, &back), -POOL_EFORMAT);     \
	} while (0)
	REFUSED(kind = 3);
	REFUSED(block_shift = 11);
	REFUSED(block_shift = 21);
	REFUSED(indirect_shift = 13);
	REFUSED(levels = 0);
	REFUSED(levels = 1);
	REFUSED(levels = 3);
	REFUSED(levels = 10);
	REFUSED(max_block = 64);
	REFUSED(flags = 1);
	REFUSED(root = random_raw(&random, TYPE_DATA, 2));
	REFUSED(root.bytes[23] = 0xFF);
#undef REFUSED
	for (size_t at = 96; at < 192; at++) {
		dnode_encode(&good, raw);
		raw[at] = 1;
		assert_int_equal(dnode_decode(raw, &back), -POOL_EFORMAT);
	}
}

static void objset_round_trip(void **state)
{
	(void)state;
	struct random random = { 3 };
	int accepted = 0;
	for (int i = 0; i < FUZZ_ITERATIONS / 2; i++) {
		struct objset_block objset = { .id = (uint32_t)random_next(&random) }, back;
		objset.next_object = random_magnitude(&random) >> 16;
		objset.object_count = random_below(&random, objset.next_object + 1);
		do
			objset.dnodes = random_dnode(&random);
		while (objset.dnodes.kind != DNODE_BLOB);
		objset.dnodes.block_shift = 14;
		uint8_t raw[OBJSET_SIZE], again[OBJSET_SIZE];
		objset_block_encode(&objset, raw);
		assert_int_equal(objset_block_decode(raw, &back), 0);
		assert_int_equal(objset.id, back.id);
		assert_int_equal(objset.next_object, back.next_object);
		assert_int_equal(objset.object_count, back.object_count);
		assert_dnode_equal(&objset.dnodes, &back.dnodes);
		uint8_t *input = fuzz_input(&random, raw, sizeof(raw));
		if (objset_block_decode(input, &back) == 0) {
			objset_block_encode(&back, again);
			assert_memory_equal(again, input, sizeof(again));
			accepted++;
		}
		free(input);
	}
	assert_true(accepted > 100);
}

static void fuzz(void **state)
{
	(void)state;
	struct random random = { 4 };
	int accepted = 0;
	for (int i = 0; i < FUZZ_ITERATIONS; i++) {
		struct dnode dnode = random_dnode(&random);
		uint8_t raw[DNODE_SIZE], again[DNODE_SIZE];
		dnode_encode(&dnode, raw);
		uint8_t *input = fuzz_input(&random, raw, sizeof(raw));
		int error = dnode_decode(input, &dnode);
		assert_true(error == 0 || error == -POOL_EFORMAT);
		if (error == 0) {
			dnode_encode(&dnode, again);
			assert_memory_equal(again, input, sizeof(again));
			accepted++;
		}
		free(input);
	}
	assert_true(accepted > FUZZ_ITERATIONS / 20);
}

static void golden(void **state)
{
	(void)state;
	struct block_pointer root = { .dva = dva_pack((struct dva){ 7, 1, 1, 0 }), .place = 5, .birth = 5, .fill = 3,
				      .lsect = 1, .psect = 1, .type = TYPE_DATA, .level = 1 };
	struct objset_block objset = { .id = 0x01020304, .next_object = 0x111213141516, .object_count = 0x2122,
				       .dnodes = { .kind = DNODE_BLOB, .block_shift = 14, .indirect_shift = 14,
						   .levels = 2, .bonus_length = 3, .max_block = 0x93, .sectors = 0x4142,
						   .generation = 0x51525354, .bonus = "abc" } };
	block_pointer_encode(&root, &objset.dnodes.root);
	uint8_t raw[OBJSET_SIZE];
	objset_block_encode(&objset, raw);
	assert_golden(raw, sizeof(raw),
		      "0000: 706f6f6c4f424a530100400200000000\n"
		      "0010: 04030201000000001615141312110000\n"
		      "0020: 22210000000000000000000000000000\n"
		      "0040: 010e0e02000003009300000000000000\n"
		      "0050: 42410000000000005453525100000000\n"
		      "0060: 00001000070000000500000000000000\n"
		      "0070: 00000024010000000500000000000000\n"
		      "0080: 03000000000000000000000000000000\n"
		      "0100: 61626300000000000000000000000000\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(round_trip), cmocka_unit_test(shapes_that_cannot_be),
		cmocka_unit_test(objset_round_trip), cmocka_unit_test(fuzz), cmocka_unit_test(golden),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
