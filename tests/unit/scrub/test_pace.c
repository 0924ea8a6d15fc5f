/* What jobs wait for, and what they don't: counted, not timed. */
#include "tests/unit/scrub/support.h"

/* Many full segments, so that a job has something to do for a while. */
static void fill(struct world *world, unsigned segments)
{
	while (bench_columns_on(world, 1) < segments) {
		world_begin(world);
		for (unsigned i = 0; i < 64; i++)
			world_place(world, CLASS_HOT, 32);
		world_commit(world);
	}
}

static void run_world(uint64_t aus, uint64_t seed, void (*body)(struct world *world))
{
	struct world_options options = {.k = 2, .m = 1, .disks = 4, .seed = seed, .unchecked = true, .plain = true,
					.disk_size = DATA_START + LABEL_AREA_SIZE + (aus << 18)};
	struct world *world = world_new(&options);

	world_run(world, body);
	world_free(world);
}

/* ---- how far it is ---- */

static void saves_body(struct world *world)
{
	struct bench bench;

	bench_init(&bench, world);
	fill(world, 3 * JOB_SAVE_SEGMENTS);
	bench_job(&bench, JOB_SCRUB);
	uint64_t start = rt_now(world->rt);
	assert_int_equal(scrub_run(&bench.job, &bench.host), 0);
	uint64_t took = rt_now(world->rt) - start, bytes = bench.job.done_bytes;
	print_message("%lu us: saved %u times\n", (unsigned long)took / 1000, bench.saves);
	/* The end is saved, and before that nothing, unless it takes long. */
	assert_in_range(bench.saves, 1, 1 + took / JOB_SAVE_NS);

	bench.saves = 0;
	bench_job(&bench, JOB_SCRUB);
	bench.job.bytes_per_second = bytes / 10;
	assert_int_equal(scrub_run(&bench.job, &bench.host), 0);
	assert_in_range(bench.saves, 4, 11);
	bench_release(&bench);
}

static void test_saves(void **state)
{
	(void)state;
	run_world(800, 80, saves_body);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_saves),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
