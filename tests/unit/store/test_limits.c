/* Where the store meets its bounds: no space, little memory in flight, records that would get too large, largest blocks. */
#include "tests/unit/store/harness.h"

static void run(const struct world_options *options, void (*body)(struct world *world))
{
	struct world *world = world_new(options);

	world_run(world, body);
	world_free(world);
}

/* ---- no space ---- */

static void forget_unplaced(struct world *world)
{
	size_t kept = 0;

	for (size_t i = 0; i < world->blocks.count; i++) {
		struct world_block *block = world_block(world, i);
		if (!block->placed) {
			buffer_unref(block->block.payload); /* ours again */
			free(block);
			continue;
		}
		*array_at(&world->blocks, struct world_block *, kept++) = block;
	}
	world->blocks.count = kept;
}

static void until_full(struct world *world)
{
	int status = 0;

	for (unsigned txg = 0; txg < 100 && status == 0; txg++) {
		world_begin(world);
		for (unsigned i = 0; i < 100; i++)
			world_place(world, CLASS_HOT, (unsigned)sim_random_between(&world->random, 1, 32));
		status = store_cut(world->store, CLASS_HOT);
		if (status == 0)
			world_commit(world);
	}
	assert_int_equal(status, -ENOSPC);
	assert_int_equal(store_cut(world->store, CLASS_HOT), -ENOSPC); /* the first reason stays */
	assert_true(store_halted(world->store, NULL));
	unsigned unplaced = 0;
	for (size_t i = 0; i < world->blocks.count; i++)
		unplaced += !world_block(world, i)->placed;
	assert_int_not_equal(unplaced, 0);
	forget_unplaced(world);
	/* What comes after is not placed either, and not kept. */
	world_place(world, CLASS_META, 1);
	world_place(world, CLASS_SYS, 1);
	assert_true(store_cut(world->store, CLASS_META) < 0);
	assert_true(store_finish(world->store, CLASS_SYS) < 0);
	forget_unplaced(world);
	assert_int_equal(store_wait_writes(world->store), -POOL_EHALTED);
	for (size_t i = 0; i < world->blocks.count; i++)
		if (world_block(world, i)->pointer.place <= world->committed)
			assert_int_equal(world_read(world, world_block(world, i), 0), 0);
}

static void test_no_space(void **state)
{
	struct world_options options = {.k = 4, .m = 2, .disks = 6, .plain = true};

	(void)state;
	run(&options, until_full);
}

/* ---- a limit of memory in flight that is smaller than a stripe ---- */

static void much_in_one_txg(struct world *world)
{
	static const enum segment_class classes[] = {CLASS_HOT, CLASS_COLD, CLASS_META};

	for (unsigned txg = 0; txg < 3; txg++) {
		world_begin(world);
		for (unsigned i = 0; i < 600; i++) {
			world_place(world, classes[i % 3], (unsigned)sim_random_between(&world->random, 1, 4));
			if (i % 40 == 0)
				assert_int_equal(store_cut(world->store, CLASS_META), 0);
		}
		world_commit(world);
	}
	world_verify(world);
}

static void test_little_memory(void **state)
{
	struct world_options options = {.k = 2, .m = 1, .disks = 3, .plain = true, .store = {.in_flight_limit = 1}};

	(void)state;
	run(&options, much_in_one_txg);
}

/* ---- many small stripes in one txg ---- */

static void many_cuts(struct world *world)
{
	for (unsigned txg = 0; txg < 2; txg++) {
		world_begin(world);
		for (unsigned i = 0; i < 2500; i++) {
			world_place(world, CLASS_META, i % 50 ? 1 : 3);
			assert_int_equal(store_cut(world->store, CLASS_META), 0);
		}
		world_commit(world);
	}
	world_verify(world);
}

static void test_many_cuts(void **state)
{
	struct world_options options = {.k = 13, .m = 3, .disks = 16, .au_shift = 24, .plain = true,
					.disk_size = DATA_START + LABEL_AREA_SIZE + (UINT64_C(8) << 24)};

	(void)state;
	run(&options, many_cuts);
}

/* ---- the largest blocks, and stripes as large as they get ---- */

static void largest(struct world *world)
{
	for (unsigned txg = 0; txg < 3; txg++) {
		world_begin(world);
		for (unsigned i = 0; i < 40; i++)
			world_place(world, CLASS_COLD, BLOCK_CELLS_MAX - i % 3);
		for (unsigned i = 0; i < 4000; i++)
			world_place(world, CLASS_HOT, 1);
		for (unsigned i = 0; i < 10; i++)
			world_place(world, CLASS_META, BLOCK_CELLS_MAX - i);
		world_place(world, CLASS_SYS, BLOCK_CELLS_MAX);
		world_commit(world);
	}
	world_verify(world);
}

static void test_largest(void **state)
{
	static const struct {
		unsigned k, m;
	} shapes[] = {{1, 1}, {1, 0}, {2, 2}, {13, 3}, {16, 0}};

	(void)state;
	for (unsigned i = 0; i < 5; i++) {
		struct world_options options = {.k = shapes[i].k, .m = shapes[i].m, .disks = shapes[i].k + shapes[i].m, .plain = true,
						.au_shift = 22, .disk_size = DATA_START + LABEL_AREA_SIZE + (UINT64_C(80) << 22)};
		run(&options, largest);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_no_space), cmocka_unit_test(test_little_memory),
					   cmocka_unit_test(test_many_cuts), cmocka_unit_test(test_largest)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
