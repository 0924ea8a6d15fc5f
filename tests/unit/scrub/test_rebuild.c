/* Rebuild: columns leave lost, failing and replaced disks; stale cells are mended in place; what can't be made is named. */
#include "tests/unit/scrub/support.h"

#include "libpool/store/span.h"

#define DISK_BYTES (DATA_START + LABEL_AREA_SIZE + (UINT64_C(256) << 18))

static void run_world(struct world_options options, void (*body)(struct world *world))
{
	if (!options.disk_size)
		options.disk_size = DISK_BYTES;
	struct world *world = world_new(&options);
	world_run(world, body);
	world_free(world);
}

/* ---- a lost disk ---- */

/* Cells that the columns of a disk have in live rows; *ret_reads: what making them from k others costs. */
static uint64_t cells_of_disk(struct world *world, unsigned disk, uint64_t *ret_reads)
{
	uint64_t cells = 0;

	*ret_reads = 0;
	for (uint32_t id = 0; id < alloc_segment_count(world->alloc); id++) {
		const struct segment *segment = bench_segment(world, id);
		for (unsigned c = 0; segment && c < (unsigned)segment->record.k + segment->record.m; c++) {
			if (segment->record.columns[c].disk != disk)
				continue;
			unsigned rows = bench_live_rows(world, segment);
			cells += rows;
			*ret_reads += (uint64_t)rows * segment->record.k;
		}
	}
	return cells;
}

static void lost_body(struct world *world)
{
	struct bench bench;
	unsigned spare = world->options.disks - 1;

	bench_init(&bench, world);
	alloc_disk_set_usable(world->alloc, spare, false);
	bench_fill(&bench, 10, 50);
	world_lose_disk(world, 0);
	alloc_disk_set_usable(world->alloc, spare, true);
	bench_fill(&bench, 2, 0); /* nobody writes to a segment of the lost disk any more: all is closed */
	uint64_t reads, cells = cells_of_disk(world, 0, &reads), before = bench_bytes_read(world);
	uint64_t sys = 0;
	assert_true(cells > 100);
	assert_true(rebuild_is_needed(world->store, 0));
	assert_int_equal(bench_rebuild(&bench, 0, spare), 0);
	/* SYS segments take rows as long as it takes: their own commits add some. */
	for (uint32_t id = 0; id < alloc_segment_count(world->alloc); id++)
		sys += bench_segment(world, id) && bench_segment(world, id)->record.state == SEGMENT_SYS ? FINAL_BATCH_ROWS_MAX * bench.commits : 0;
	assert_in_range((bench_bytes_read(world) - before) / CELL_SIZE, cells, reads + sys);
	assert_int_equal(bench_columns_on(world, 0), 0);
	assert_true(bench_columns_on(world, spare) > 0);
	assert_int_equal(bench.job.state, JOB_FINISHED);
	assert_int_equal(bench.job.errors_found, 0);
	assert_in_range(bench.job.done_bytes / CELL_SIZE, cells, cells + sys);
	assert_false(rebuild_is_needed(world->store, 0));
	bench_check_all(&bench);

	/* As redundant as before: the next disks may go. */
	bench_fill(&bench, 3, 30);
	for (unsigned i = 1; i <= world->options.m; i++)
		world_lose_disk(world, i);
	world_verify(world);
	bench_release(&bench);
}

/* All of the parity lost at once: beside a summary a lost parity cell has no CRC, and lost data is its only check. */
static void all_parity_lost_body(struct world *world)
{
	struct bench bench;
	unsigned spare = world->options.disks - 1;

	bench_init(&bench, world);
	alloc_disk_set_usable(world->alloc, spare, false);
	bench_fill(&bench, 12, 30);
	for (unsigned i = 0; i < world->options.m; i++)
		world_lose_disk(world, i);
	alloc_disk_set_usable(world->alloc, spare, true);
	bench_fill(&bench, 2, 0);
	assert_int_equal(bench_rebuild(&bench, 0, spare), 0);
	assert_int_equal(bench.job.cells_unrepaired, 0);
	assert_int_equal(bench_columns_on(world, 0), 0);
	bench_check_all(&bench);
}

static void test_all_parity_lost(void **state)
{
	(void)state;
	run_world((struct world_options){ .disks = 7, .k = 4, .m = 2 }, all_parity_lost_body);
	run_world((struct world_options){ .disks = 7, .k = 3, .m = 3 }, all_parity_lost_body);
}

static void test_lost_disk(void **state)
{
	(void)state;
	run_world((struct world_options){.k = 4, .m = 2, .disks = 7, .seed = 1}, lost_body);
	run_world((struct world_options){.k = 1, .m = 1, .disks = 3, .seed = 2}, lost_body);
	run_world((struct world_options){.k = 2, .m = 1, .disks = 4, .seed = 3}, lost_body);
	run_world((struct world_options){.k = 1, .m = 2, .disks = 4, .seed = 4}, lost_body);
}

/* Onto all other disks: nothing is preferred. */
static void spread_body(struct world *world)
{
	struct bench bench;

	bench_init(&bench, world);
	bench_fill(&bench, 10, 50);
	world_lose_disk(world, 3);
	assert_int_equal(bench_rebuild(&bench, 3, DISK_ABSENT), 0);
	assert_int_equal(bench_columns_on(world, 3), 0);
	bench_check_all(&bench);
	bench_release(&bench);
}

static void test_spread(void **state)
{
	(void)state;
	run_world((struct world_options){.k = 3, .m = 1, .disks = 8, .seed = 5}, spread_body);
	run_world((struct world_options){.k = 3, .m = 2, .disks = 9, .seed = 6}, spread_body);
}

/* ---- a disk that is replaced while it works ---- */

static void replace_body(struct world *world)
{
	struct bench bench;
	unsigned spare = world->options.disks - 1;

	bench_init(&bench, world);
	alloc_disk_set_usable(world->alloc, spare, false);
	bench_fill(&bench, 10, 50);
	alloc_disk_set_usable(world->alloc, spare, true);
	uint64_t reads, cells = cells_of_disk(world, 1, &reads), before = bench_bytes_read(world);
	/* Some of its cells are wrong: they are made from the others. */
	unsigned spoilt = 0;
	for (uint32_t id = 0; id < alloc_segment_count(world->alloc) && world->options.m; id++) {
		const struct segment *segment = bench_segment(world, id);
		for (unsigned c = 0; segment && c < (unsigned)segment->record.k + segment->record.m; c++)
			for (unsigned row = 1; segment->record.columns[c].disk == 1 && row < 20; row += 5)
				if (bench_row_is_live(world, segment, row)) {
					world_rot(world, id, c, row);
					spoilt++;
				}
	}
	assert_int_equal(bench_rebuild(&bench, 1, spare), 0);
	assert_int_equal(bench_columns_on(world, 1), 0);
	assert_int_equal(bench.damage.count, 0);
	uint64_t cost = (bench_bytes_read(world) - before) / CELL_SIZE;
	assert_true(cost < reads + (uint64_t)spoilt * world->options.k + cells / 4 + 64 * bench.commits);
	bench_check_all(&bench);
	bench_release(&bench);
}

static void test_replace(void **state)
{
	(void)state;
	run_world((struct world_options){.k = 4, .m = 2, .disks = 7, .seed = 7}, replace_body);
	run_world((struct world_options){.k = 1, .m = 1, .disks = 3, .seed = 8}, replace_body);
}

/* Without parity there is only the old disk to copy from. */
static void test_replace_without_parity(void **state)
{
	(void)state;
	run_world((struct world_options){.k = 3, .m = 0, .disks = 4, .seed = 9}, replace_body);
}

/* ---- beside writers, cancelled and taken up again ---- */

static void writers_body(struct world *world)
{
	struct bench bench;

	bench_init(&bench, world);
	bench_fill(&bench, 8, 50);
	world_lose_disk(world, 2);
	bench_job(&bench, JOB_REBUILD);
	bench.job.disk = 2;
	bench.job.bytes_per_second = 4 << 20;
	for (unsigned round = 0;; round++) {
		bench_start(&bench, rebuild_run);
		for (unsigned i = 0; i < 3 && !bench.ended; i++) {
			bench_txg(&bench, 30, 25);
			rt_sleep(world->rt, NS_PER_MS * 30);
		}
		if (round < 3 && !bench.ended)
			job_cancel(&bench.job, world->rt);
		int status = bench_wait(&bench);
		bench_check_no_pins(world);
		if (status == 0)
			break;
		assert_int_equal(status, -ECANCELED);
		bench.job.cancel_requested = false;
		world_verify(world);
	}
	assert_int_equal(bench_columns_on(world, 2), 0);
	bench_txg(&bench, 10, 10);
	bench_check_all(&bench);
	bench_release(&bench);
}

static void test_beside_writers(void **state)
{
	(void)state;
	for (unsigned seed = 20; seed < 24; seed++) {
		run_world((struct world_options){.k = 4, .m = 2, .disks = 8, .seed = seed}, writers_body);
		run_world((struct world_options){.k = 1, .m = 1, .disks = 4, .seed = seed}, writers_body);
	}
}

/* ---- cells whose write failed ---- */

/* Both attempts at a write to the open segment of a class: recorded, and the disk stays ONLINE. */
static void fail_writes(struct bench *bench)
{
	struct world *world = bench->world;

	for (unsigned round = 0; round < 12; round++) {
		enum segment_class class = round % 3 ? CLASS_HOT : CLASS_META; /* SYS has the commit block: its disk would fail */
		struct segment *open = NULL;
		for (uint32_t id = 0; id < alloc_segment_count(world->alloc); id++) {
			struct segment *segment = bench_segment(world, id);
			if (segment && segment->record.class == class && segment->record.state == SEGMENT_OPEN)
				open = segment;
		}
		if (!open)
			continue;
		struct segment_column column = open->record.columns[round % (open->record.k + open->record.m)];
		sim_disk_fault(world_disk(world, column.disk), SIM_WRITE_ERROR, store_cell_offset(world->store, column.au, 0),
			       UINT64_C(1) << world->geometry.au_shift, 0, 2, 0);
		world_begin(world);
		for (unsigned i = 0; i < 5; i++)
			world_place(world, class, 1 + i);
		world_commit(world);
		sim_disk_faults_clear(world_disk(world, column.disk));
		bench_txg(bench, 8, 5);
	}
}

static void stale_body(struct world *world)
{
	struct bench bench;
	size_t count;

	bench_init(&bench, world);
	bench_fill(&bench, 4, 40);
	fail_writes(&bench);
	alloc_stale(world->alloc, &count);
	assert_true(count >= 3);
	bench_fill(&bench, 2, 20);
	world_verify(world);
	assert_true(rebuild_is_needed(world->store, DISK_ABSENT));
	assert_int_equal(bench_rebuild(&bench, DISK_ABSENT, DISK_ABSENT), 0);
	alloc_stale(world->alloc, &count);
	assert_int_equal(count, 0);
	assert_int_equal(bench.damage.count, 0);
	assert_true(bench.job.cells_repaired > 0);
	assert_false(rebuild_is_needed(world->store, DISK_ABSENT));
	for (uint32_t id = 0; id < alloc_segment_count(world->alloc); id++)
		if (bench_segment(world, id))
			assert_false(bench_segment(world, id)->record.flags & SEGMENT_DEGRADED);
	bench_check_all(&bench);
	bench_job(&bench, JOB_SCRUB);
	assert_int_equal(scrub_run(&bench.job, &bench.host), 0);
	bench_release(&bench);
}

static void test_stale(void **state)
{
	(void)state;
	for (unsigned seed = 30; seed < 34; seed++) {
		run_world((struct world_options){.k = 4, .m = 2, .disks = 6, .seed = seed}, stale_body);
		run_world((struct world_options){.k = 1, .m = 1, .disks = 2, .seed = seed}, stale_body);
	}
}

/* ---- segments that were made without a disk ---- */

static void absent_body(struct world *world)
{
	struct bench bench;
	struct space space;

	bench_init(&bench, world);
	bench_fill(&bench, 2, 30);
	world_lose_disk(world, 0);
	bench_fill(&bench, 3, 30); /* one disk is left: the other copy is absent */
	alloc_space(world->alloc, &space);
	assert_true(space.degraded_segments > 0);
	assert_false(rebuild_is_needed(world->store, DISK_ABSENT));
	assert_int_equal(bench_rebuild(&bench, DISK_ABSENT, DISK_ABSENT), 0);
	world_return_disk(world, 0);
	bench_job(&bench, JOB_RESYNC);
	bench.job.disk = 0;
	assert_int_equal(resync_run(&bench.job, &bench.host), 0);
	assert_true(rebuild_is_needed(world->store, DISK_ABSENT));
	assert_int_equal(bench_rebuild(&bench, DISK_ABSENT, DISK_ABSENT), 0);
	alloc_space(world->alloc, &space);
	assert_int_equal(space.degraded_segments, 0);
	bench_check_all(&bench);
	world_lose_disk(world, 1);
	world_verify(world);
	bench_release(&bench);
}

static void test_absent_columns(void **state)
{
	(void)state;
	run_world((struct world_options){.k = 1, .m = 1, .disks = 2, .seed = 40}, absent_body);
}

/*
 * Two columns move, one of which never had a disk, and in some rows the other one's cell is wrong, also beside summaries, where nothing but the
 * summary tells: those take the leaving disk's cell, which is asked for last.
 */
static void wrong_source_body(struct world *world)
{
	struct bench bench;
	unsigned spare = world->options.disks - 1, spoilt = 0;

	bench_init(&bench, world);
	alloc_disk_set_usable(world->alloc, spare, false);
	bench_fill(&bench, 1, 20);
	world_lose_disk(world, 0);
	bench_fill(&bench, 3, 200);
	world_return_disk(world, 0);
	bench_job(&bench, JOB_RESYNC);
	bench.job.disk = 0;
	assert_int_equal(resync_run(&bench.job, &bench.host), 0);
	for (uint32_t id = 0; id < alloc_segment_count(world->alloc); id++) {
		const struct segment *segment = bench_segment(world, id);
		unsigned absent = 0, others = 0, column = 0;
		for (unsigned c = 0; segment && c < (unsigned)segment->record.k + segment->record.m; c++) {
			unsigned disk = segment->record.columns[c].disk;
			absent += disk == DISK_ABSENT;
			others += disk != DISK_ABSENT && disk != 1;
			column = disk != DISK_ABSENT && disk != 1 ? c : column;
		}
		for (unsigned row = 40; absent == 1 && others == segment->record.k && row < 60; row += 3)
			if (bench_row_is_live(world, segment, row)) {
				world_rot(world, id, column, row);
				spoilt++;
			}
	}
	assert_true(spoilt > 20);
	alloc_disk_set_usable(world->alloc, spare, true);
	uint64_t wrong = 0;
	for (unsigned i = 0; i < world->options.disks; i++)
		wrong -= store_disk(world->store, i)->checksum_errors;
	assert_int_equal(bench_rebuild(&bench, 1, spare), 0);
	for (unsigned i = 0; i < world->options.disks; i++)
		wrong += store_disk(world->store, i)->checksum_errors;
	print_message("%u cells spoilt, %lu counted\n", spoilt, (unsigned long)wrong);
	assert_in_range(wrong, spoilt, spoilt + spoilt / 20); /* those that a summary is looked for in are read twice */
	assert_int_equal(bench.job.cells_unrepaired, 0);
	assert_int_equal(bench.damage.count, 0);
	assert_int_equal(bench_columns_on(world, 1), 0);
	bench_job(&bench, JOB_SCRUB);
	assert_int_equal(scrub_run(&bench.job, &bench.host), 0);
	assert_int_equal(bench.job.cells_unrepaired, 0);
	bench_check_all(&bench);
	bench_release(&bench);
}

static void test_wrong_source(void **state)
{
	(void)state;
	run_world((struct world_options){.k = 1, .m = 2, .disks = 4, .seed = 41}, wrong_source_body);
}

/* ---- what can't be made ---- */

static void lost_cells_body(struct world *world)
{
	struct bench bench;
	size_t count;

	bench_init(&bench, world);
	world_begin(world);
	for (unsigned i = 0; i < 40; i++)
		world_place(world, CLASS_HOT, 1 + i % 7);
	world_commit(world);
	struct world_block *lost = world_block(world, 3);
	struct dva dva = dva_unpack(lost->pointer.dva);
	const struct segment *segment = alloc_segment(world->alloc, dva.segment);
	unsigned column = dva.offset / dva.height, row = dva.base + dva.offset % dva.height;
	unsigned other = (column + 1) % 3;
	/* Its disk goes, and another cell of its row is wrong. */
	world_rot(world, dva.segment, other, row);
	world_lose_disk(world, segment->record.columns[column].disk);
	unsigned gone = segment->record.columns[column].disk;
	assert_int_equal(bench_rebuild(&bench, gone, DISK_ABSENT), 0);
	assert_int_equal(bench_columns_on(world, gone), 0);
	assert_true(bench.damage.count >= 1);
	assert_int_equal(bench.job.cells_unrepaired, 1);
	bool named = false;
	for (size_t i = 0; i < bench.damage.count; i++)
		named |= array_at(&bench.damage, struct job_damage, i)->dva == lost->pointer.dva;
	assert_true(named);
	const struct stale_record *stale = alloc_stale(world->alloc, &count);
	assert_int_equal(count, 1);
	assert_int_equal(stale->segment, dva.segment);
	assert_int_equal(stale->column, column);
	assert_int_equal(stale->base, row);
	assert_int_equal(world_read(world, lost, 0), -POOL_EDAMAGED);
	unsigned unreadable = 0;
	for (size_t i = 0; i < world->blocks.count; i++)
		unreadable += world_read(world, world_block(world, i), 0) != 0;
	assert_in_range(unreadable, 1, 2); /* the rotten cell may be a block's too */
	/* Tried once more, it ends, and says so. */
	assert_true(rebuild_is_needed(world->store, DISK_ABSENT));
	assert_int_equal(bench_rebuild(&bench, DISK_ABSENT, DISK_ABSENT), -POOL_EDAMAGED);
	assert_int_equal(bench.job.state, JOB_FAILED);
	alloc_stale(world->alloc, &count);
	assert_int_equal(count, 1);
	bench_check_no_pins(world);
	bench_release(&bench);
}

static void test_lost_cells(void **state)
{
	(void)state;
	run_world((struct world_options){.k = 2, .m = 1, .disks = 4, .seed = 50, .unchecked = true}, lost_cells_body);
}

/* ---- a target that fails ---- */

static void target_body(struct world *world)
{
	struct bench bench;
	unsigned spare = world->options.disks - 1;

	bench_init(&bench, world);
	alloc_disk_set_usable(world->alloc, spare, false);
	bench_fill(&bench, 6, 50);
	world_lose_disk(world, 0);
	alloc_disk_set_usable(world->alloc, spare, true);
	sim_disk_fault(world_disk(world, spare), SIM_WRITE_ERROR, 0, 0, 5, 1000, 0);
	/* It becomes FAULTY; the rest goes elsewhere. */
	assert_int_equal(bench_rebuild(&bench, 0, spare), 0);
	assert_int_equal(store_disk(world->store, spare)->state, DISK_FAULTY);
	assert_int_equal(bench_columns_on(world, 0), 0);
	assert_int_equal(bench_rebuild(&bench, spare, DISK_ABSENT), 0);
	assert_int_equal(bench_columns_on(world, spare), 0);
	bench_check_no_pins(world);
	world_verify(world);
	bench_release(&bench);
}

static void flush_body(struct world *world)
{
	struct bench bench;
	unsigned spare = world->options.disks - 1;

	bench_init(&bench, world);
	alloc_disk_set_usable(world->alloc, spare, false);
	bench_fill(&bench, 6, 50);
	world_lose_disk(world, 0);
	alloc_disk_set_usable(world->alloc, spare, true);
	sim_disk_fault(world_disk(world, spare), SIM_FLUSH_ERROR, 0, 0, 0, 1, 0);
	assert_int_equal(bench_rebuild(&bench, 0, spare), 0);
	assert_int_equal(store_disk(world->store, spare)->state, DISK_FAULTY);
	assert_int_equal(bench_columns_on(world, spare), 0); /* nothing that wasn't flushed was handed over */
	assert_int_equal(bench_columns_on(world, 0), 0);
	bench_check_all(&bench);
	bench_release(&bench);
}

static void test_failing_target(void **state)
{
	(void)state;
	run_world((struct world_options){.k = 3, .m = 1, .disks = 8, .seed = 60}, target_body);
	run_world((struct world_options){.k = 3, .m = 1, .disks = 8, .seed = 61}, flush_body);
}

/* ---- a target that goes, and is back before what was written to it is handed over ---- */

static bool has_gone;

/* While what was handed over is committed others are written: of these the target's cache has had all. */
static int commit_without_target(void *argument)
{
	struct bench *bench = argument;
	struct world *world = bench->world;
	unsigned spare = world->options.disks - 1;
	struct job_host host = bench->host;
	struct job job;

	if (has_gone || bench_columns_on(world, spare) == 0)
		return bench_commit(argument);
	has_gone = true;
	rt_sleep(world->rt, 50 * NS_PER_MS);
	assert_true(sim_disk_volatile_cells(world_disk(world, spare)) > 0);
	sim_disk_vanish(world_disk(world, spare), SIM_CRASH_NONE);
	store_disk_fail(world->store, spare, "it is gone");
	rt_sleep(world->rt, 50 * NS_PER_MS);
	world_lose_disk(world, spare);
	sim_disk_return(world_disk(world, spare));
	world_return_disk(world, spare);
	job_init(&job, 2, JOB_RESYNC);
	job.disk = (uint16_t)spare;
	host.commit = bench_commit;
	host.save = NULL;
	assert_int_equal(resync_run(&job, &host), 0);
	assert_int_equal(store_disk(world->store, spare)->state, DISK_ONLINE);
	return bench_commit(argument);
}

static void gone_body(struct world *world)
{
	struct bench bench;
	unsigned spare = world->options.disks - 1;

	bench_init(&bench, world);
	alloc_disk_set_usable(world->alloc, spare, false);
	while (bench_columns_on(world, 0) < 140) {
		world_begin(world);
		for (unsigned i = 0; i < 64; i++)
			world_place(world, CLASS_HOT, 32);
		world_commit(world);
	}
	world_lose_disk(world, 0);
	alloc_disk_set_usable(world->alloc, spare, true);
	bench_fill(&bench, 2, 0);
	bench.host.commit = commit_without_target;
	has_gone = false;
	assert_int_equal(bench_rebuild(&bench, 0, spare), 0);
	assert_true(has_gone);
	assert_int_equal(bench_columns_on(world, 0), 0);
	bench_check_all(&bench);
	/* All that was moved there is there. */
	world_lose_disk(world, 1);
	world_verify(world);
	bench_release(&bench);
}

/* The same while cells are repaired in place: after one of them was written, and before another one is. */
static void repaired_body(struct world *world)
{
	struct bench bench;
	struct segment *segment = NULL;
	size_t count;

	bench_init(&bench, world);
	for (unsigned batch = 0; batch < 2; batch++) {
		world_begin(world);
		for (unsigned i = 0; i < 10; i++)
			world_place(world, CLASS_HOT, 4);
		world_commit(world);
		struct dva dva = dva_unpack(world_block(world, world->blocks.count - 1)->pointer.dva);
		assert_true(!segment || segment == alloc_segment(world->alloc, dva.segment));
		segment = alloc_segment(world->alloc, dva.segment);
		struct stale_record record = {dva.segment, 1, dva.base, 1, world_block(world, world->blocks.count - 1)->pointer.place};
		assert_int_equal(alloc_stale_add(world->alloc, &record), 0);
		world_rot(world, dva.segment, 1, dva.base);
	}
	bench_commit(&bench);
	unsigned disk = segment->record.columns[1].disk;
	for (unsigned i = 0; i < world->options.disks; i++)
		if (i != disk)
			world_disk(world, i)->latency.read_ns = NS_PER_S;
	bench_job(&bench, JOB_REBUILD);
	bench_start(&bench, rebuild_run);
	while (bench.job.cells_repaired == 0)
		rt_sleep(world->rt, NS_PER_MS);
	sim_disk_vanish(world_disk(world, disk), SIM_CRASH_NONE);
	store_disk_fail(world->store, disk, "it is gone");
	world_lose_disk(world, disk);
	sim_disk_return(world_disk(world, disk));
	world_return_disk(world, disk);
	(void)bench_wait(&bench);
	alloc_stale(world->alloc, &count);
	assert_true(count > 0);
	bench_job(&bench, JOB_RESYNC);
	bench.job.disk = (uint16_t)disk;
	assert_int_equal(resync_run(&bench.job, &bench.host), 0);
	assert_int_equal(bench_rebuild(&bench, DISK_ABSENT, DISK_ABSENT), 0);
	alloc_stale(world->alloc, &count);
	assert_int_equal(count, 0);
	bench_check_all(&bench);
	bench_release(&bench);
}

static void test_gone_and_back(void **state)
{
	(void)state;
	run_world((struct world_options){.k = 2, .m = 1, .disks = 3, .seed = 63, .plain = true}, repaired_body);
	run_world((struct world_options){.k = 2, .m = 1, .disks = 4, .seed = 62, .plain = true}, gone_body);
}

/* ---- requests ---- */

/* Segments of many small batches, with dead rows among them. */
static void fragments_body(struct world *world)
{
	struct bench bench;
	unsigned spare = world->options.disks - 1;
	uint64_t requests = 0, writes = world_disk(world, spare)->counters.writes;

	bench_init(&bench, world);
	alloc_disk_set_usable(world->alloc, spare, false);
	bench_fill(&bench, 60, 6);
	world_lose_disk(world, 0);
	alloc_disk_set_usable(world->alloc, spare, true);
	bench_fill(&bench, 2, 0);
	unsigned columns = bench_columns_on(world, 0), batches = 0;

	for (uint32_t id = 0; id < alloc_segment_count(world->alloc); id++)
		batches += bench_segment(world, id) ? bench_segment(world, id)->batch_count : 0;
	for (unsigned i = 0; i < world->options.disks; i++)
		requests -= world_disk(world, i)->counters.reads;
	assert_int_equal(bench_rebuild(&bench, 0, spare), 0);
	for (unsigned i = 0; i < world->options.disks; i++)
		requests += world_disk(world, i)->counters.reads;
	writes = world_disk(world, spare)->counters.writes - writes;
	print_message("%u columns, %u batches: %lu reads, %lu writes\n", columns, batches, (unsigned long)requests, (unsigned long)writes);
	assert_true(batches > 3 * columns);
	assert_in_range(requests, columns, 2 * world->options.k * columns);
	assert_in_range(writes, columns, 3 * columns);
	bench_check_all(&bench);
	bench_release(&bench);
}

static void expect_rows(struct world *world, unsigned disk, uint32_t au, const char *content)
{
	uint8_t cell[CELL_SIZE];

	for (unsigned row = 0; content[row]; row++) {
		sim_disk_peek(world_disk(world, disk), store_cell_offset(world->store, au, row), cell, CELL_SIZE);
		assert_int_equal(cell[0], content[row] == '0' ? 0 : content[row]);
	}
}

/* What another group of pieces has written between the rows of this one stays. */
static void rows_body(struct world *world)
{
	struct bench bench;
	struct buffer *buffer = buffer_new(24 * CELL_SIZE);
	uint64_t all = (1u << 24) - 1, wanted = 1 << 0 | 1 << 1 | 1 << 4 | 1 << 5 | 1 << 8 | 1 << 20, others = 1 << 6;

	bench_init(&bench, world);
	bench_fill(&bench, 1, 10);
	uint32_t id = 0;
	while (!bench_segment(world, id))
		id++;
	struct segment_column to = {0, (uint32_t)alloc_au_reserve(world->alloc, 0)};

	world->moving = true;
	alloc_pin(alloc_segment(world->alloc, id));
	memset(buffer->data, 'a', buffer->size);
	assert_int_equal(store_write_rows(world->store, id, to, 0, 24, &all, NULL, buffer), 0);
	expect_rows(world, 0, to.au, "aaaaaaaaaaaaaaaaaaaaaaaa");
	memset(buffer->data, 'b', buffer->size);
	uint64_t writes = world_disk(world, 0)->counters.writes;
	assert_int_equal(store_write_rows(world->store, id, to, 0, 24, &wanted, &others, buffer), 0);
	expect_rows(world, 0, to.au, "bb00bbaabaaaaaaaaaaabaaa");
	assert_int_equal(world_disk(world, 0)->counters.writes - writes, 3);
	world->moving = false;
	alloc_unpin(world->alloc, alloc_segment(world->alloc, id));
	alloc_au_release(world->alloc, to.disk, to.au);
	buffer_unref(buffer);
	bench_release(&bench);
}

/* Segments of many groups, in whose rows batches of different groups take turns. */
static void turns_body(struct world *world)
{
	struct bench bench;
	unsigned spare = world->options.disks - 1;

	bench_init(&bench, world);
	alloc_disk_set_usable(world->alloc, spare, false);
	for (unsigned i = 0; i < 16; i++) {
		world_begin(world);
		for (size_t b = 0, before = world->blocks.count; b < before; b++)
			if (sim_random_below(&world->random, 100) < 25)
				world_kill(world, world_block(world, b));
		for (unsigned b = 0; b < 500; b++)
			world_place(world, CLASS_HOT, (unsigned)sim_random_between(&world->random, 1, 4));
		world_commit(world);
	}
	world_lose_disk(world, 0);
	alloc_disk_set_usable(world->alloc, spare, true);
	bench_fill(&bench, 2, 0);
	assert_true(bench_columns_on(world, 0) > 0);
	uint64_t reads, cells = cells_of_disk(world, 0, &reads), before = bench_bytes_read(world);
	assert_int_equal(bench_rebuild(&bench, 0, spare), 0);
	before = (bench_bytes_read(world) - before) / CELL_SIZE;
	print_message("%lu cells made of %lu, %lu were read\n", (unsigned long)cells, (unsigned long)reads, (unsigned long)before);
	assert_in_range(before, cells, reads + reads / 2);
	assert_int_equal(bench_columns_on(world, 0), 0);
	bench_check_all(&bench);
	/* What was made is all that is left of it. */
	world_lose_disk(world, 1);
	world_verify(world);
	bench_release(&bench);
}

static void test_turns(void **state)
{
	(void)state;
	run_world((struct world_options){.k = 2, .m = 1, .disks = 4, .seed = 72, .au_shift = 22, .eager_reuse = true, .plain = true,
					 .disk_size = DATA_START + LABEL_AREA_SIZE + (UINT64_C(48) << 22)}, turns_body);
}

/* A disk comes back while what it had before lies in a span: what it has now is asked for. */
static void returned_body(struct world *world)
{
	struct bench bench;
	struct row_span span = {0};
	struct row_window window;
	struct summary_entry *summary;
	uint64_t wanted[64] = {0};

	bench_init(&bench, world);
	world_begin(world);
	for (unsigned i = 0; i < 10; i++)
		world_place(world, CLASS_HOT, 4);
	world_commit(world);
	struct dva dva = dva_unpack(world_block(world, 4)->pointer.dva);
	struct segment *segment = alloc_segment(world->alloc, dva.segment);
	unsigned row = dva.base, disk = segment->record.columns[1].disk;

	for (unsigned stale = 0; stale < 2; stale++) {
		uint64_t errors = store_disk(world->store, disk)->checksum_errors;
		struct stale_record record = {dva.segment, 1, (uint16_t)row, 1, segment->batches[0].txg};
		if (stale) {
			assert_int_equal(alloc_stale_add(world->alloc, &record), 0);
		} else {
			store_disk(world->store, disk)->state = DISK_RESYNC;
			store_disk(world->store, disk)->stale_from = 1;
		}
		world_rot(world, dva.segment, 1, row);
		bitmap_set(wanted, row);
		alloc_pin(segment);
		span_read(&span, world->store, segment, wanted, row, 1, 7);
		assert_int_equal(summary_get(world->store, segment, row, &summary), 0);
		window_init(&window, world->store, segment, row, 1, segment->batches[0].txg, summary);
		window_set_span(&window, &span);
		assert_int_equal(window_solve(&window, 2), 0);
		assert_int_equal(window_write(&window, 1, segment->record.columns[1]), 0);
		window_release(&window);
		alloc_stale_clear(world->alloc, dva.segment, 1);
		store_disk(world->store, disk)->state = DISK_ONLINE;
		store_disk(world->store, disk)->stale_from = 0;
		window_init(&window, world->store, segment, row, 1, segment->batches[0].txg, summary);
		window_set_span(&window, &span);
		assert_int_equal(window_read(&window, 2), 0);
		assert_int_equal(window.state[1][0], CELL_GOOD);
		assert_int_equal(store_disk(world->store, disk)->checksum_errors, errors);
		window_release(&window);
		summary_put(world->store, summary);
		span_release(&span);
		alloc_unpin(world->alloc, segment);
	}
	bench_check_all(&bench);
	bench_release(&bench);
}

static void test_returned(void **state)
{
	(void)state;
	run_world((struct world_options){.k = 2, .m = 1, .disks = 3, .seed = 73}, returned_body);
}

static void test_requests(void **state)
{
	(void)state;
	run_world((struct world_options){.k = 4, .m = 2, .disks = 8, .seed = 70}, fragments_body);
	run_world((struct world_options){.k = 2, .m = 1, .disks = 4, .seed = 71}, rows_body);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lost_disk),      cmocka_unit_test(test_spread),
		cmocka_unit_test(test_all_parity_lost),
		cmocka_unit_test(test_replace),	       cmocka_unit_test(test_replace_without_parity),
		cmocka_unit_test(test_beside_writers), cmocka_unit_test(test_stale),
		cmocka_unit_test(test_absent_columns), cmocka_unit_test(test_lost_cells),
		cmocka_unit_test(test_failing_target), cmocka_unit_test(test_requests),
		cmocka_unit_test(test_turns),	       cmocka_unit_test(test_wrong_source),
		cmocka_unit_test(test_returned),       cmocka_unit_test(test_gone_and_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
