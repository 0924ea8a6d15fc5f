/* What jobs wait for, and what they don't: counted, not timed. */
#include "libpool/store/span.h"
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

/* ---- a rebuild ---- */

static uint64_t most_read; /* during one commit */

static int slow_commit(void *argument)
{
	struct bench *bench = argument;
	uint64_t before = bench_bytes_read(bench->world);

	rt_sleep(bench->world->rt, NS_PER_S);
	before = bench_bytes_read(bench->world) - before;
	most_read = before > most_read ? before : most_read;
	return bench_commit(argument);
}

/* The most requests that were under way at a time while the job ran. */
static unsigned most_in_flight;

static void watch(void *argument)
{
	struct bench *bench = argument;

	while (!bench->ended) {
		unsigned count = 0;

		for (unsigned i = 0; i < bench->world->options.disks; i++)
			count += store_disk(bench->world->store, i)->disk ? store_disk(bench->world->store, i)->disk->in_flight : 0;
		most_in_flight = count > most_in_flight ? count : most_in_flight;
		rt_sleep(bench->world->rt, NS_PER_MS / 50);
	}
}

static void lose(struct world *world, unsigned segments)
{
	unsigned spare = world->options.disks - 1;

	alloc_disk_set_usable(world->alloc, spare, false);
	fill(world, segments);
	world_lose_disk(world, 0);
	alloc_disk_set_usable(world->alloc, spare, true);
}

static void finish_body(struct world *world)
{
	struct bench bench;

	bench_init(&bench, world);
	lose(world, 140);
	unsigned columns = bench_columns_on(world, 0);
	bench_fill(&bench, 2, 0);
	bench.host.commit = slow_commit;
	most_read = 0;
	assert_int_equal(bench_rebuild(&bench, 0, world->options.disks - 1), 0);
	print_message("%u columns of %u segments: %lu KiB read during one of %u commits\n", columns, alloc_segment_count(world->alloc),
		      (unsigned long)most_read / 1024, bench.commits);
	assert_true(columns > 128);
	/* What was written is handed over, and the next segments are read: more than those that had been begun. */
	assert_true(most_read >= 8 * world->options.k * (world->geometry.rows - 1) * CELL_SIZE);
	assert_int_equal(bench_columns_on(world, 0), 0);
	bench_check_no_pins(world);
	world_verify(world);
	bench_release(&bench);
}

static void depth_body(struct world *world)
{
	struct bench bench;

	bench_init(&bench, world);
	lose(world, 600);
	bench_fill(&bench, 2, 0);
	bench_job(&bench, JOB_REBUILD);
	bench.job.disk = 0;
	bench.job.target = (uint16_t)(world->options.disks - 1);
	most_in_flight = 0;
	bench_start(&bench, rebuild_run);
	watch(&bench);
	assert_int_equal(bench_wait(&bench), 0);
	print_message("%u segments, %u requests at a time\n", alloc_segment_count(world->alloc), most_in_flight);
	/* Three segments at a time have six, and what is written of them. */
	assert_in_range(most_in_flight, 12, 48);
	bench_check_no_pins(world);
	bench_release(&bench);
}

static void test_rebuild(void **state)
{
	(void)state;
	run_world(200, 81, finish_body);
	run_world(2000, 82, depth_body);
}

/* ---- memory ---- */

/* Spans of many lengths, one after the other, need the memory of few. */
static void memory_body(struct world *world)
{
	struct row_span span;
	uint64_t wanted[64];
	uint64_t sizes = 0;
	uint32_t id = 0;

	fill(world, 1);
	while (!bench_segment(world, id))
		id++;
	struct segment *segment = alloc_segment(world->alloc, id);

	alloc_pin(segment);
	memset(wanted, 0xFF, sizeof(wanted));
	for (unsigned rows = 1; rows < world->geometry.rows; rows++) {
		span_read(&span, world->store, segment, wanted, 1, rows, 1);
		assert_non_null(span.columns[0]);
		unsigned cells = (unsigned)(span.columns[0]->size / CELL_SIZE);
		assert_in_range(cells, rows, 2 * rows);
		assert_non_null(span_cell(&span, 0, rows));
		bitmap_set(&sizes, cells - 1);
		span_release(&span);
	}
	assert_int_equal(bitmap_count(&sizes, 0, 64), 8 + 3); /* short ones as they are; 16, 32, 64 */
	alloc_unpin(world->alloc, segment);
}

static void test_memory(void **state)
{
	(void)state;
	run_world(100, 83, memory_body);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_saves),
		cmocka_unit_test(test_rebuild),
		cmocka_unit_test(test_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
