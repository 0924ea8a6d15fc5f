/* Blocks of all sizes and classes, placed, read back and freed, in every geometry that a pool can have. */
#include "tests/unit/store/harness.h"

static void some_txgs(struct world *world)
{
	static const enum segment_class classes[] = {CLASS_HOT, CLASS_COLD, CLASS_META, CLASS_SYS};
	unsigned largest = world->geometry.rows > 128 ? 128 : 32;

	for (unsigned txg = 0; txg < 6; txg++) {
		world_begin(world);
		for (size_t i = 0; i < world->blocks.count; i++)
			if (world_block(world, i)->placed && sim_random_chance(&world->random, 300000))
				world_kill(world, world_block(world, i));
		for (unsigned i = 0; i < 12; i++) {
			enum segment_class class = classes[sim_random_below(&world->random, 4)];
			unsigned most = class == CLASS_META ? 8 : largest;
			world_place(world, class, (unsigned)sim_random_between(&world->random, 1, most));
		}
		world_commit(world);
		world_verify(world);
	}
	assert_int_equal(world->heals, 0);
	assert_int_equal(store_counters(world->store)->reconstructed_cells, 0);
}

static void run(unsigned k, unsigned m, unsigned disks, unsigned shift)
{
	struct world_options options = {.k = k, .m = m, .disks = disks, .au_shift = shift, .seed = k * 1000 + m * 100 + disks};
	struct world *world = world_new(&options);

	world_run(world, some_txgs);
	world_free(world);
}

static void test_all(void **state)
{
	(void)state;
	for (unsigned m = 0; m <= 3; m++)
		for (unsigned k = 1; k <= 8; k++)
			for (unsigned disks = 1; disks <= 12; disks += disks < 4 || disks + 1 == k + m || disks == k + m ? 1 : 3)
				run(k, m, disks, 18);
}

static void test_large_aus(void **state)
{
	(void)state;
	for (unsigned m = 0; m <= 3; m++)
		for (unsigned k = 1; k <= 8; k += 3)
			run(k, m, k + m + 1, 20);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_all), cmocka_unit_test(test_large_aus)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
