/* Resync: a disk that comes back gets what it missed, also while more is written, and is trusted only then. */
#include "tests/unit/scrub/support.h"

#define DISK_BYTES (DATA_START + LABEL_AREA_SIZE + (UINT64_C(256) << 18))

static void run_world(struct world_options options, void (*body)(struct world *world))
{
	options.disk_size = DISK_BYTES;
	struct world *world = world_new(&options);
	world_run(world, body);
	world_free(world);
}

static void start_resync(struct bench *bench, unsigned disk)
{
	bench_job(bench, JOB_RESYNC);
	bench->job.disk = (uint16_t)disk;
}

static void check_online(struct world *world, unsigned disk)
{
	assert_int_equal(store_disk(world->store, disk)->state, DISK_ONLINE);
	assert_int_equal(store_disk(world->store, disk)->stale_from, 0);
	assert_true(alloc_disk(world->alloc, disk)->usable);
}

/* All parity may go elsewhere afterwards. */
static void check_redundant(struct bench *bench, unsigned disk)
{
	struct world *world = bench->world;

	/* The first writes that failed were recorded, before the disk counted as faulty. */
	if (rebuild_is_needed(world->store, DISK_ABSENT)) {
		bench_job(bench, JOB_REBUILD);
		assert_int_equal(rebuild_run(&bench->job, &bench->host), 0);
	}
	bench_check_all(bench);
	for (unsigned i = 0, lost = 0; lost < world->options.m; i++)
		if (i != disk) {
			world_lose_disk(world, i);
			lost++;
		}
	world_verify(world);
}

static uint64_t repaired;

/* What a disk missed because its writes failed all at once, in the middle of a txg. */
static void away_body(struct world *world)
{
	struct bench bench;

	bench_init(&bench, world);
	bench_fill(&bench, 4, 40);
	sim_disk_vanish(world_disk(world, 1), SIM_CRASH_SUBSET);
	bench_fill(&bench, 5, 30);
	assert_int_equal(store_disk(world->store, 1)->state, DISK_FAULTY);
	assert_true(store_disk(world->store, 1)->stale_from > 0);
	world_lose_disk(world, 1);
	bench_fill(&bench, 1, 30);
	sim_disk_return(world_disk(world, 1));
	world_return_disk(world, 1);
	start_resync(&bench, 1);
	assert_int_equal(resync_run(&bench.job, &bench.host), 0);
	assert_int_equal(bench.job.state, JOB_FINISHED);
	repaired += bench.job.cells_repaired; /* what it missed may be dead: later rows, SYS too, went to other disks */
	assert_int_equal(bench.job.cells_unrepaired, 0);
	assert_int_equal(bench.job.errors_found, 0); /* that it missed something is known */
	assert_int_equal(store_disk(world->store, 1)->checksum_errors, 0);
	assert_int_equal(bench.damage.count, 0);
	check_online(world, 1);
	check_redundant(&bench, 1);
	bench_release(&bench);
}

static void test_away(void **state)
{
	(void)state;
	repaired = 0;
	for (unsigned seed = 1; seed < 5; seed++) {
		run_world((struct world_options){.k = 4, .m = 2, .disks = 6, .seed = seed}, away_body);
		run_world((struct world_options){.k = 2, .m = 1, .disks = 4, .seed = seed}, away_body);
		run_world((struct world_options){.k = 1, .m = 2, .disks = 4, .seed = seed}, away_body);
	}
	assert_true(repaired > 0);
}

/* As much as one read of each missed cell, and k for each that is wrong: what is still right isn't written. */
static void cost_body(struct world *world)
{
	struct bench bench;

	bench_init(&bench, world);
	bench_fill(&bench, 6, 40);
	world_lose_disk(world, 2);
	world_return_disk(world, 2);
	uint64_t writes = world_disk(world, 2)->counters.bytes_written;
	start_resync(&bench, 2);
	assert_int_equal(resync_run(&bench.job, &bench.host), 0);
	check_online(world, 2);
	assert_int_equal(bench.job.cells_repaired, 0);
	/* Commits while it resynced: their rows, and nothing more. */
	assert_true(world_disk(world, 2)->counters.bytes_written - writes <= (uint64_t)bench.commits * 64 * CELL_SIZE);
	bench_release(&bench);
}

static void test_nothing_missed(void **state)
{
	(void)state;
	run_world((struct world_options){.k = 3, .m = 1, .disks = 4, .seed = 10, .unchecked = true}, cost_body);
}

static void writers_body(struct world *world)
{
	struct bench bench;

	bench_init(&bench, world);
	bench_fill(&bench, 4, 40);
	world_lose_disk(world, 1);
	bench_fill(&bench, 4, 30);
	world_return_disk(world, 1);
	start_resync(&bench, 1);
	bench.job.bytes_per_second = 1 << 20;
	bench_start(&bench, resync_run);
	for (unsigned i = 0; i < 6; i++) {
		/* Writes to the returning disk may fail too: recorded, for rebuild to mend. */
		if (i == 2)
			sim_disk_fault(world_disk(world, 1), SIM_WRITE_ERROR, 0, 0, 1, 1, 0);
		bench_txg(&bench, 30, 25);
		rt_sleep(world->rt, NS_PER_MS * 50);
	}
	job_cancel(&bench.job, world->rt);
	int status = bench_wait(&bench);
	if (status != 0) {
		assert_int_equal(status, -ECANCELED);
		assert_int_equal(store_disk(world->store, 1)->state, DISK_RESYNC);
		start_resync(&bench, 1);
		assert_int_equal(resync_run(&bench.job, &bench.host), 0);
	}
	check_online(world, 1);
	assert_int_equal(bench.damage.count, 0);
	bench_job(&bench, JOB_REBUILD);
	assert_int_equal(rebuild_run(&bench.job, &bench.host), 0);
	size_t count;
	alloc_stale(world->alloc, &count);
	assert_int_equal(count, 0);
	bench_fill(&bench, 2, 20);
	check_redundant(&bench, 1);
	bench_release(&bench);
}

static void test_beside_writers(void **state)
{
	(void)state;
	for (unsigned seed = 20; seed < 24; seed++) {
		run_world((struct world_options){.k = 4, .m = 2, .disks = 6, .seed = seed}, writers_body);
		run_world((struct world_options){.k = 1, .m = 1, .disks = 3, .seed = seed}, writers_body);
	}
}

/* A disk with something else on it: nothing is right, all is made anew. */
static void blank_body(struct world *world)
{
	struct bench bench;

	bench_init(&bench, world);
	bench_fill(&bench, 5, 40);
	world_lose_disk(world, 0);
	sim_disk_resize(world_disk(world, 0), 4096);
	sim_disk_resize(world_disk(world, 0), world->options.disk_size);
	world_return_disk(world, 0);
	store_disk(world->store, 0)->stale_from = 1;
	start_resync(&bench, 0);
	assert_int_equal(resync_run(&bench.job, &bench.host), 0);
	check_online(world, 0);
	check_redundant(&bench, 0);
	bench_job(&bench, JOB_SCRUB);
	bench_release(&bench);
}

static void test_blank(void **state)
{
	(void)state;
	run_world((struct world_options){.k = 3, .m = 2, .disks = 5, .seed = 30}, blank_body);
}

/* It fails again while it resyncs. */
static void fails_body(struct world *world)
{
	struct bench bench;

	bench_init(&bench, world);
	bench_fill(&bench, 4, 40);
	sim_disk_vanish(world_disk(world, 1), SIM_CRASH_ALL);
	bench_fill(&bench, 1, 30);
	world_lose_disk(world, 1);
	sim_disk_return(world_disk(world, 1));
	uint64_t stale_from = store_disk(world->store, 1)->stale_from;
	world_return_disk(world, 1);
	start_resync(&bench, 1);
	world_disk(world, 1)->latency.io_ns = 400 * NS_PER_MS; /* so that it is in the middle of it */
	bench_start(&bench, resync_run);
	rt_sleep(world->rt, NS_PER_S);
	sim_disk_vanish(world_disk(world, 1), SIM_CRASH_NONE);
	assert_int_equal(bench_wait(&bench), -EIO);
	assert_int_equal(store_disk(world->store, 1)->state, DISK_FAULTY);
	assert_int_equal(store_disk(world->store, 1)->stale_from, stale_from);
	bench_check_no_pins(world);
	world_verify(world);
	bench_release(&bench);
}

/* A disk is back that missed so many txgs, and is to be brought up to date. */
static void begin_behind(struct bench *bench, struct world *world, unsigned txgs)
{
	bench_init(bench, world);
	bench_fill(bench, 4, 40);
	sim_disk_vanish(world_disk(world, 1), SIM_CRASH_ALL);
	bench_fill(bench, txgs, 30);
	world_lose_disk(world, 1);
	sim_disk_return(world_disk(world, 1));
	world_return_disk(world, 1);
	start_resync(bench, 1);
}

static void flush_body(struct world *world)
{
	struct bench bench;

	begin_behind(&bench, world, 1);
	sim_disk_fault(world_disk(world, 1), SIM_FLUSH_ERROR, 0, 0, world->options.seed % 2, 1, 0);
	assert_int_equal(resync_run(&bench.job, &bench.host), -EIO);
	assert_int_equal(store_disk(world->store, 1)->state, DISK_FAULTY);
	world_verify(world);
	bench_release(&bench);
}

static unsigned rested;

/* It goes while the job rests, and what its cache had of what was made goes along. The job goes on when it is back: from the beginning. */
static void rests_body(struct world *world)
{
	struct bench bench;

	begin_behind(&bench, world, 5);
	bench.job.bytes_per_second = 1 << 16;
	bench_start(&bench, resync_run);
	while (bench.job.cells_repaired == 0 && !bench.ended)
		rt_sleep(world->rt, NS_PER_MS);
	job_pause(&bench.job, world->rt);
	while (bench.job.state != JOB_PAUSED && !bench.ended)
		rt_sleep(world->rt, NS_PER_MS);
	if (bench.ended) { /* there was too little to do */
		bench_release(&bench);
		return;
	}
	rested++;
	sim_disk_vanish(world_disk(world, 1), SIM_CRASH_NONE);
	store_disk_fail(world->store, 1, "it is gone");
	world_lose_disk(world, 1);
	sim_disk_return(world_disk(world, 1));
	world_return_disk(world, 1);
	job_resume(&bench.job, world->rt);
	assert_int_equal(bench_wait(&bench), 0);
	check_online(world, 1);
	check_redundant(&bench, 1);
	bench_release(&bench);
}

static void test_goes_while_it_rests(void **state)
{
	(void)state;
	rested = 0;
	for (unsigned seed = 44; seed < 52; seed++)
		run_world((struct world_options){.k = 3, .m = 1, .disks = 4, .seed = seed}, rests_body);
	assert_true(rested > 2);
}

static void test_fails_again(void **state)
{
	(void)state;
	run_world((struct world_options){.k = 3, .m = 1, .disks = 4, .seed = 40}, fails_body);
	run_world((struct world_options){.k = 3, .m = 1, .disks = 4, .seed = 41}, flush_body);
	run_world((struct world_options){.k = 3, .m = 1, .disks = 4, .seed = 42}, flush_body);
}

/* ---- a disk that is being replaced when it comes back ---- */

static void rebuild_fiber(void *argument)
{
	struct bench *bench = argument;

	bench->result = rebuild_run(&bench->job, &bench->host);
	bench->ended = true;
	rt_queue_wake_all(bench->world->rt, &bench->wake);
}

/* Brought up to date it works, but nothing new may be placed there: the rebuild would find columns to move for ever. */
static void replaced_body(struct world *world)
{
	struct bench bench, second;

	bench_init(&bench, world);
	bench_init(&second, world);
	second.host.argument = &bench; /* one lock for commits */
	second.host.save = NULL;
	bench_fill(&bench, 4, 40);
	world_lose_disk(world, 1);
	bench_fill(&bench, 2, 30);
	world_return_disk(world, 1);
	bench_job(&second, JOB_REBUILD);
	second.job.disk = 1;
	second.job.bytes_per_second = 1 << 20;
	world->moving = true;
	assert_int_equal(rt_spawn(world->rt, "rebuild", rebuild_fiber, &second), 0);
	rt_sleep(world->rt, NS_PER_MS);
	start_resync(&bench, 1);
	assert_int_equal(resync_run(&bench.job, &bench.host), 0);
	assert_int_equal(store_disk(world->store, 1)->state, DISK_ONLINE);
	assert_false(second.ended);
	assert_false(alloc_disk(world->alloc, 1)->usable);
	for (unsigned i = 0; i < 6; i++)
		bench_txg(&bench, 30, 25);
	if (world->options.seed % 2) {
		job_cancel(&second.job, world->rt);
		assert_int_equal(bench_wait(&second), -ECANCELED);
		assert_true(alloc_disk(world->alloc, 1)->usable);
	} else {
		second.job.bytes_per_second = 0;
		assert_int_equal(bench_wait(&second), 0);
		assert_int_equal(bench_columns_on(world, 1), 0);
		assert_false(alloc_disk(world->alloc, 1)->usable);
	}
	world->moving = false;
	bench_check_all(&bench);
	bench_release(&second);
	bench_release(&bench);
}

static void test_while_it_is_replaced(void **state)
{
	(void)state;
	for (unsigned seed = 50; seed < 54; seed++)
		run_world((struct world_options){.k = 3, .m = 1, .disks = 6, .seed = seed}, replaced_body);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_away),  cmocka_unit_test(test_nothing_missed), cmocka_unit_test(test_beside_writers),
		cmocka_unit_test(test_blank), cmocka_unit_test(test_fails_again), cmocka_unit_test(test_goes_while_it_rests),
		cmocka_unit_test(test_while_it_is_replaced),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
