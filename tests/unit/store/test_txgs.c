/* Random blocks over many txgs, most of them freed again, with imports in between, on pools that get nearly full. */
#include "tests/unit/store/harness.h"

#define TXGS 60

static unsigned left; /* how often a disk could leave */

static unsigned block_cells(struct world *world, enum segment_class class)
{
	unsigned most = world->geometry.rows > 128 ? 128 : 32;

	if (class == CLASS_META)
		most = 8;
	return sim_random_chance(&world->random, 500000) ? 1 : (unsigned)sim_random_between(&world->random, 1, most);
}

/* So many that the pool stays between empty and 60 % full. */
static unsigned blocks_to_place(struct world *world)
{
	struct space space;

	alloc_space(world->alloc, &space);
	if (space.live_cells * 10 > space.usable_cells * 6 || space.free_segments < 12)
		return (unsigned)sim_random_below(&world->random, 3);
	return (unsigned)sim_random_below(&world->random, 40);
}

static void kill_some(struct world *world)
{
	uint32_t chance = (uint32_t)sim_random_below(&world->random, sim_random_chance(&world->random, 100000) ? 1000000 : 250000);

	for (size_t i = 0; i < world->blocks.count; i++)
		if (sim_random_chance(&world->random, chance))
			world_kill(world, world_block(world, i));
}

static void many_txgs(struct world *world)
{
	static const enum segment_class classes[] = {CLASS_HOT, CLASS_COLD, CLASS_META, CLASS_SYS, CLASS_HOT, CLASS_SURV};

	for (unsigned txg = 0; txg < TXGS; txg++) {
		world_begin(world);
		kill_some(world);
		unsigned count = blocks_to_place(world);
		for (unsigned i = 0; i < count; i++) {
			enum segment_class class = classes[sim_random_below(&world->random, 6)];
			world_place(world, class, block_cells(world, class));
			/* Metadata comes level by level. */
			if (class == CLASS_META && sim_random_chance(&world->random, 200000))
				assert_int_equal(store_cut(world->store, class), 0);
		}
		world_commit(world);
		if (txg % 8 == 7)
			world_verify(world);
		if (sim_random_chance(&world->random, 100000)) {
			world_reimport(world);
			world_check_live(world);
			world_check_columns(world);
		}
	}
	world_verify(world);
	world_check_disks(world, 0);
	assert_int_equal(world->heals, 0);
	assert_int_equal(store_counters(world->store)->reconstructed_cells, 0);
}

static void test_seeds(void **state)
{
	static const struct {
		unsigned k, m, disks, shift;
	} shapes[] = {{1, 0, 1, 18}, {1, 1, 2, 18}, {2, 1, 3, 18}, {4, 2, 6, 18}, {4, 2, 8, 20}, {8, 3, 12, 18}, {3, 0, 4, 18}, {1, 2, 5, 18}};
	const char *given = getenv("POOL_SEEDS");
	unsigned seeds = given ? (unsigned)atoi(given) : 4;

	(void)state;
	for (unsigned seed = 1; seed <= seeds; seed++)
		for (unsigned i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
			struct world_options options = {.k = shapes[i].k, .m = shapes[i].m, .disks = shapes[i].disks,
							.au_shift = shapes[i].shift, .seed = seed * 100 + i, .plain = seed % 2, .eager_reuse = seed % 4 > 1};
			struct world *world = world_new(&options);
			world_run(world, many_txgs);
			world_free(world);
		}
}

/* A disk leaves the pool when no live segment has a column there; dead ones, not yet given back, may. */
static void disk_leaves(struct world *world)
{
	world_begin(world);
	world_place(world, CLASS_HOT, 8);
	world_commit(world);
	const struct segment *segment = alloc_segment(world->alloc, dva_unpack(world_block(world, 0)->pointer.dva).segment);
	unsigned leaves = segment->record.columns[1].disk;
	alloc_disk_set_usable(world->alloc, leaves, false);
	store_retire(world->store, CLASS_HOT);
	world_begin(world);
	world_kill(world, world_block(world, 0));
	world_place(world, CLASS_HOT, 8);
	world_commit(world);
	for (uint32_t id = 0; id < alloc_segment_count(world->alloc); id++) /* SYS has to be elsewhere */
		for (unsigned c = 0; alloc_segment(world->alloc, id)->record.state == SEGMENT_SYS && c < 2; c++)
			if (alloc_segment(world->alloc, id)->record.columns[c].disk == leaves)
				return;
	assert_true(alloc_segment_is_free(segment));
	disk_close(store_disk(world->store, leaves)->disk);
	*store_disk(world->store, leaves) = (struct store_disk){0};
	alloc_disk_remove(world->alloc, leaves);
	world_replay_check(world);
	for (unsigned i = 0; i < 5; i++) {
		world_begin(world);
		world_place(world, CLASS_HOT, 8);
		world_commit(world);
		world_reimport(world);
	}
	world_verify(world);
	left++;
}

static void test_disk_leaves(void **state)
{
	(void)state;
	for (unsigned seed = 1; seed <= 10; seed++) {
		struct world_options options = {.k = 2, .m = 1, .disks = 7, .seed = seed};
		struct world *world = world_new(&options);
		world_run(world, disk_leaves);
		world_free(world);
	}
	assert_true(left > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_seeds), cmocka_unit_test(test_disk_leaves)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
