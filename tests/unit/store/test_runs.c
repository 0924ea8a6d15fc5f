/* SPDX-License-Identifier: BSD-2-Clause */
/* Rows that were promised, and that a disk takes away before they are written: what commits need stays theirs. */
#include "tests/unit/store/harness.h"

static void fill_up(struct world *world)
{
	struct space space;

	do {
		world_begin(world);
		for (unsigned i = 0; i < 100; i++)
			world_place(world, CLASS_HOT, 2);
		world_commit(world);
		alloc_space(world->alloc, &space);
	} while (space.free_segments > 14);
}

static void promise_breaks(struct world *world)
{
	struct space space;

	fill_up(world);
	world_begin(world);
	for (size_t i = 0; i < world->blocks.count; i++)
		if (i % 50)
			world_kill(world, world_block(world, i));
	world_commit(world);
	for (unsigned i = 0; i < 3; i++) {
		world_begin(world);
		world_commit(world);
	}
	alloc_space(world->alloc, &space);
	assert_true(row_space_cells(&space.rows, 2) > 2000);
	/* Every segment has a column there, and rows without it aren't promised. */
	alloc_set_lacking_promised(world->alloc, false);
	world_lose_disk(world, 0);
	alloc_space(world->alloc, &space);
	assert_int_equal(row_space_cells(&space.rows, 2), 0);
	uint64_t before = space.free_segments;
	world_begin(world);
	for (unsigned i = 0; i < 900; i++)
		world_place(world, CLASS_HOT, 2);
	for (unsigned i = 0; i < 30; i++)
		world_place(world, CLASS_META, 1);
	world_commit(world);
	alloc_space(world->alloc, &space);
	/* The 700 rows that commits need besides metadata are there: of what the floors kept, its nodes have made SYS segments. */
	uint64_t rows = alloc_sys_free_rows(world->alloc) + space.free_segments * (alloc_geometry(world->alloc)->rows - 1u);
	assert_true(before > 8 && rows >= 700);
	world_verify(world);
}

static void test_promise_breaks(void **state)
{
	struct world_options options = {.k = 2, .m = 1, .disks = 3, .seed = 7,
					.disk_size = DATA_START + LABEL_AREA_SIZE + (UINT64_C(60) << 18)};
	struct world *world = world_new(&options);

	(void)state;
	world_run(world, promise_breaks);
	assert_int_equal(world->halts, 0);
	world_free(world);
}

static unsigned cells_of_each;

/* A mirror whose dead rows lie four by four, and a queue of many blocks: each is looked at for its own run, not for all those before it. */

static void few_by_few(struct world *world)
{
	const struct store_counters *counters = store_counters(world->store);

	fill_up(world);
	world_begin(world);
	for (size_t i = 0; i < world->blocks.count; i++)
		if (i % 4 < 2)
			world_kill(world, world_block(world, i));
	world_commit(world);
	for (unsigned i = 0; i < 3; i++) {
		world_begin(world);
		world_commit(world);
	}
	uint64_t before = counters->queue_looks, placed = counters->placed[STORE_DATA];
	world_begin(world);
	for (unsigned i = 0; i < 400; i++)
		world_place(world, CLASS_HOT, cells_of_each);
	world_commit(world);
	assert_int_equal(counters->placed[STORE_DATA] - placed, 400 * cells_of_each);
	/* Once to choose the rows, and once to fill them. */
	assert_true(counters->queue_looks - before < 1000);
	world_verify(world);
}

static void test_few_by_few(void **state)
{
	struct world_options options = {.k = 1, .m = 1, .disks = 2, .seed = 11,
					.disk_size = DATA_START + LABEL_AREA_SIZE + (UINT64_C(60) << 18)};

	(void)state;
	/* Of three cells none fits into what one leaves of a run. */
	for (cells_of_each = 1; cells_of_each <= 3; cells_of_each += 2) {
		struct world *world = world_new(&options);

		world_run(world, few_by_few);
		assert_int_equal(world->halts, 0);
		world_free(world);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_promise_breaks), cmocka_unit_test(test_few_by_few)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
