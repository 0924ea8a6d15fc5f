/* Writes and flushes that fail, hang or come late: what is recorded, what halts the pool, what is kept from being used again. */
#include "tests/unit/store/harness.h"

static void run(unsigned k, unsigned m, unsigned disks, uint64_t seed, void (*body)(struct world *world))
{
	struct world_options options = {.k = k, .m = m, .disks = disks, .seed = seed};
	struct world *world = world_new(&options);

	world_run(world, body);
	world_free(world);
}

static void place(struct world *world, unsigned count)
{
	static const enum segment_class classes[] = {CLASS_HOT, CLASS_COLD, CLASS_META, CLASS_SYS};

	for (unsigned i = 0; i < count; i++)
		world_place(world, classes[sim_random_below(&world->random, 4)], (unsigned)sim_random_between(&world->random, 1, 16));
}

static void one_txg(struct world *world, unsigned count)
{
	world_begin(world);
	place(world, count);
	world_commit(world);
}

static size_t stale_count(struct world *world)
{
	size_t count;

	(void)alloc_stale(world->alloc, &count);
	return count;
}

/* The OPEN segment of a class, which goes on being filled. */
static const struct segment *open_segment(struct world *world, enum segment_class class)
{
	for (uint32_t id = 0; id < alloc_segment_count(world->alloc); id++) {
		const struct segment *segment = alloc_segment(world->alloc, id);
		if (segment && segment->record.state == SEGMENT_OPEN && segment->record.class == class)
			return segment;
	}
	fail_msg("no segment of class %d is open", class);
	return NULL;
}

/* Faults of the next `count` writes to a column; returns its disk. */
static unsigned fault_column(struct world *world, const struct segment *segment, unsigned column, enum sim_fault fault, uint64_t count)
{
	struct segment_column at = segment->record.columns[column];

	sim_disk_fault(world_disk(world, at.disk), fault, store_cell_offset(world->store, at.au, 1),
		       (UINT64_C(1) << world->geometry.au_shift) - CELL_SIZE, 0, count, 0);
	return at.disk;
}

/* A txg with a few blocks of HOT and COLD, whose segments stay open. */
static void open_both(struct world *world)
{
	world_begin(world);
	world_place(world, CLASS_HOT, 1);
	world_place(world, CLASS_COLD, 1);
	world_commit(world);
}

/* ---- once ---- */

static void once(struct world *world)
{
	open_both(world);
	unsigned disk = fault_column(world, open_segment(world, CLASS_HOT), 0, SIM_WRITE_ERROR, 1);
	world_begin(world);
	world_place(world, CLASS_HOT, 4);
	world_commit(world);
	assert_int_equal(world_disk(world, disk)->counters.injected[SIM_WRITE_ERROR], 1);
	assert_int_equal(stale_count(world), 0);
	assert_int_equal(store_disk(world->store, disk)->state, DISK_ONLINE);
	world_verify(world);
	assert_int_equal(store_counters(world->store)->reconstructed_cells, 0);
}

static void test_once(void **state)
{
	(void)state;
	run(4, 2, 6, 1, once);
	run(2, 1, 3, 2, once);
}

/* ---- twice ---- */

static void twice(struct world *world)
{
	open_both(world);
	unsigned disk = fault_column(world, open_segment(world, CLASS_HOT), 0, SIM_WRITE_ERROR, 2);
	world_begin(world);
	for (unsigned i = 0; i < 5; i++)
		world_place(world, CLASS_HOT, 3);
	world_commit(world);
	assert_int_equal(stale_count(world), 1);
	assert_int_equal(store_disk(world->store, disk)->state, DISK_ONLINE);
	const struct stale_record stale = *alloc_stale(world->alloc, &(size_t){0});
	assert_int_equal(stale.place, world->txg);
	assert_true(alloc_segment(world->alloc, stale.segment)->record.flags & SEGMENT_DEGRADED);
	/* Reads don't ask for what isn't there, and the records outlive an import. */
	world_verify(world);
	assert_int_equal(store_disk(world->store, disk)->checksum_errors, 0);
	world_reimport(world);
	assert_true(stale_count(world) > 0);
	world_verify(world);
	assert_int_equal(store_disk(world->store, disk)->checksum_errors, 0);
	for (unsigned i = 0; i < 4; i++)
		one_txg(world, 20);
	world_verify(world);
	/* With the rows they were about, the records die. */
	world_begin(world);
	for (size_t i = 0; i < world->blocks.count; i++)
		world_kill(world, world_block(world, i));
	world_commit(world);
	one_txg(world, 5);
	assert_int_equal(stale_count(world), 0);
}

static void test_twice(void **state)
{
	(void)state;
	run(4, 2, 6, 3, twice);
	run(1, 1, 2, 4, twice);
	run(3, 1, 5, 5, twice);
}

/* ---- more than there is parity ---- */

static void too_many(struct world *world)
{
	const char *why = NULL;

	open_both(world);
	for (unsigned column = 0; column <= world->options.m; column++)
		fault_column(world, open_segment(world, CLASS_HOT), column, SIM_WRITE_ERROR, 2);
	world_begin(world);
	world_place(world, CLASS_HOT, 8);
	assert_int_equal(world_try_commit(world), -POOL_EHALTED);
	assert_true(store_halted(world->store, &why) && why);
}

static void test_too_many(void **state)
{
	(void)state;
	run(4, 2, 6, 6, too_many);
	run(2, 1, 3, 7, too_many);
	run(3, 0, 3, 8, too_many);
}

/* ---- a record in one column, and a disk that hangs in another ---- */

static void stale_and_hung(struct world *world)
{
	open_both(world);
	const struct segment *hot = open_segment(world, CLASS_HOT), *cold = open_segment(world, CLASS_COLD);
	unsigned stale = fault_column(world, hot, 0, SIM_WRITE_ERROR, 2), column = 0;
	/* In other rows, but of the same txg: all that it wrote to this disk is in doubt. */
	while (cold->record.columns[column].disk == stale)
		column++;
	unsigned hung = fault_column(world, cold, column, SIM_HANG, 1);
	world_begin(world);
	world_place(world, CLASS_HOT, 8);
	world_place(world, CLASS_COLD, 8);
	assert_int_equal(world_try_commit(world), -POOL_EHALTED);
	assert_int_equal(stale_count(world), 1);
	sim_disk_release_hung(world_disk(world, hung), true);
	rt_sleep(world->rt, NS_PER_S);
}

static void test_stale_and_hung(void **state)
{
	(void)state;
	run(2, 1, 3, 9, stale_and_hung);
}

/* ---- overdue ---- */

static void overdue(struct world *world)
{
	open_both(world);
	uint32_t pinned = open_segment(world, CLASS_HOT)->id;
	unsigned disk = fault_column(world, open_segment(world, CLASS_HOT), 1, SIM_HANG, 1);
	world_begin(world);
	world_place(world, CLASS_HOT, 8);
	world_commit(world);
	assert_int_equal(store_disk(world->store, disk)->state, DISK_FAULTY);
	assert_int_equal(store_disk(world->store, disk)->stale_from, world->txg);
	assert_int_equal(sim_disk_hung(world_disk(world, disk)), 1);
	world_verify(world);
	/* Everything dies, the segment too: its AUs stay taken until the device lets go. */
	world_begin(world);
	for (size_t i = 0; i < world->blocks.count; i++)
		world_kill(world, world_block(world, i));
	world_commit(world);
	for (unsigned i = 0; i < 6; i++)
		one_txg(world, 10);
	struct segment *segment = alloc_segment(world->alloc, pinned);
	assert_false(segment->released);
	uint16_t base = segment->record.rows_used;
	assert_int_equal(segment->pins, 1);
	sim_disk_release_hung(world_disk(world, disk), true);
	rt_sleep(world->rt, NS_PER_S);
	assert_int_equal(segment->pins, 0);
	assert_int_equal(segment->record.rows_used, base);
	for (unsigned i = 0; i < 4; i++)
		one_txg(world, 10);
	world_verify(world);
}

static void test_overdue(void **state)
{
	(void)state;
	run(4, 2, 6, 10, overdue);
	run(2, 1, 5, 11, overdue);
}

/* ---- a header that can't be written: tried again with the next txg ---- */

static void header_fails(struct world *world)
{
	open_both(world);
	const struct segment *hot = open_segment(world, CLASS_HOT);
	uint32_t before = hot->id;
	/* Where the next segment will be isn't known: on one disk every header fails twice. */
	for (uint32_t au = 0; au < 96; au++)
		sim_disk_fault(world_disk(world, 0), SIM_WRITE_SHORT, store_cell_offset(world->store, au, 0), CELL_SIZE, 0, 2, 0);
	store_retire(world->store, CLASS_HOT);
	world_begin(world);
	world_place(world, CLASS_HOT, 8);
	world_commit(world);
	hot = open_segment(world, CLASS_HOT);
	assert_int_not_equal(hot->id, before);
	for (unsigned round = 0; round < 2; round++) {
		for (unsigned c = 0; c < (unsigned)hot->record.k + hot->record.m; c++)
			assert_int_equal(store_check_au_header(world->store, hot, c) == 0, round || hot->record.columns[c].disk != 0);
		world_begin(world);
		world_commit(world);
	}
	assert_int_equal(stale_count(world), 0);
	world_verify(world);
}

static void test_header_fails(void **state)
{
	(void)state;
	run(4, 2, 6, 19, header_fails);
}

/* ---- the final batch ---- */

static void script_final(struct world *world)
{
	struct segment_column column = alloc_segment(world->alloc, world->final_segment)->record.columns[0];

	sim_disk_fault(world_disk(world, column.disk), SIM_WRITE_ERROR, store_cell_offset(world->store, column.au, world->final_base),
		       CELL_SIZE, 0, 2, 0);
}

static void final_fails(struct world *world)
{
	one_txg(world, 20);
	world->before_final = script_final;
	one_txg(world, 20);
	world->before_final = NULL;
	unsigned faulty = 0;
	for (unsigned i = 0; i < world->options.disks; i++)
		faulty += store_disk(world->store, i)->state == DISK_FAULTY && store_disk(world->store, i)->stale_from == world->txg;
	assert_int_equal(faulty, 1);
	world_verify(world);
	one_txg(world, 20);
	world_verify(world);
}

static void test_final_fails(void **state)
{
	(void)state;
	run(4, 2, 6, 12, final_fails);
	run(1, 1, 2, 13, final_fails);
}

/* ---- flushes ---- */

static void flush_fails(struct world *world)
{
	one_txg(world, 20);
	sim_disk_fault(world_disk(world, 0), SIM_FLUSH_ERROR, 0, 0, 0, 1, 0);
	one_txg(world, 20);
	assert_int_equal(store_disk(world->store, 0)->state, DISK_FAULTY);
	assert_int_equal(store_disk(world->store, 0)->stale_from, world->txg);
	world_verify(world);
	one_txg(world, 20);
	world_verify(world);
	/* As many more as there is parity left, then one too many. */
	for (unsigned i = 1; i < world->options.m; i++) {
		sim_disk_fault(world_disk(world, i), SIM_FLUSH_ERROR, 0, 0, 0, 1, 0);
		one_txg(world, 20);
		world_verify(world);
	}
	world_begin(world);
	for (unsigned i = 0; i < 20; i++)
		world_place(world, CLASS_HOT, 1);
	for (unsigned i = world->options.m; i < world->options.disks; i++)
		sim_disk_fault(world_disk(world, i), SIM_FLUSH_ERROR, 0, 0, 0, 1, 0);
	assert_int_equal(world_try_commit(world), -POOL_EHALTED);
}

static void test_flush_fails(void **state)
{
	(void)state;
	run(4, 2, 6, 15, flush_fails);
	run(2, 1, 4, 16, flush_fails);
	run(3, 3, 8, 17, flush_fails);
}

/* ---- a flush of the log, while a write of the commit is on its way ---- */

static bool on_disk(const struct segment *segment, unsigned disk)
{
	for (unsigned c = 0; c < (unsigned)segment->record.k + segment->record.m; c++)
		if (segment->record.columns[c].disk == disk)
			return true;
	return false;
}

static void flush_meanwhile(struct world *world)
{
	struct buffer *buffer = world_payload(world, 1, 1);
	struct store_log_block block = {buffer, 1};
	unsigned slow, column = 0;
	uint32_t log;

	world_begin(world);
	assert_int_equal(store_open_log(world->store, false, &log), 0);
	world_place(world, CLASS_HOT, 1);
	world_commit(world);
	world_begin(world);
	/* A disk of both that has no part in the end of the commit: nothing else asks for its flush. */
	const struct segment *hot = open_segment(world, CLASS_HOT);
	while (!on_disk(alloc_segment(world->alloc, log), hot->record.columns[column].disk) ||
	       on_disk(alloc_segment(world->alloc, world->final_segment), hot->record.columns[column].disk))
		column++;
	slow = fault_column(world, hot, column, SIM_SLOW, 1);
	for (unsigned i = 0; i < 4; i++)
		world_place(world, CLASS_HOT, 1);
	assert_int_equal(store_finish(world->store, CLASS_HOT), 0);
	rt_sleep(world->rt, NS_PER_MS / 1000);
	assert_true(sim_disk_volatile_cells(world_disk(world, slow)) > 0);
	struct store_log_run run = {log, 1, 1, &block};
	assert_int_equal(store_log_write(world->store, &run, 1, NULL), 0);
	assert_int_equal(world_disk(world, slow)->counters.injected[SIM_SLOW], 1);
	assert_true(sim_disk_volatile_cells(world_disk(world, slow)) > 0);
	world_commit(world);
	for (unsigned i = 0; i < world->options.disks; i++)
		assert_int_equal(sim_disk_volatile_cells(world_disk(world, i)), 0);
	buffer_unref(buffer);
}

static void test_flush_meanwhile(void **state)
{
	struct world_options options = {.k = 3, .m = 1, .disks = 4, .seed = 20, .unchecked = true};
	struct world *world = world_new(&options);

	(void)state;
	for (unsigned i = 0; i < options.disks; i++)
		world_disk(world, i)->fua = false;
	world_run(world, flush_meanwhile);
	world_free(world);
}

/* ---- the pool may be another host's by the time the log is written ---- */

static void lease_ends(struct world *world)
{
	struct buffer *buffer = world_payload(world, 1, 1);
	struct store_log_block block = {buffer, 1};
	uint32_t log;

	world_begin(world);
	assert_int_equal(store_open_log(world->store, false, &log), 0);
	world_commit(world);
	struct store_log_run run = {log, 1, 1, &block};
	store_set_lease(world->store, rt_now(world->rt) + NS_PER_S);
	assert_int_equal(store_log_write(world->store, &run, 1, NULL), 0);
	fault_column(world, alloc_segment(world->alloc, log), 0, SIM_HANG_LATE, 1);
	run.row++;
	assert_int_equal(store_log_write(world->store, &run, 1, NULL), -POOL_EHALTED);
	assert_true(store_halted(world->store, NULL));
	rt_sleep(world->rt, 400 * NS_PER_S);
	buffer_unref(buffer);
}

static void test_lease_ends(void **state)
{
	struct world_options options = {.k = 1, .m = 1, .disks = 2, .seed = 21, .unchecked = true,
					.store = {.write_deadline_ns = 1000 * NS_PER_S}};
	struct world *world = world_new(&options);

	(void)state;
	world_run(world, lease_ends);
	world_free(world);
}

/* ---- copies that a log could have ---- */

static void log_on_one(struct world *world)
{
	uint32_t log;

	world_lose_disk(world, 1);
	world_begin(world);
	assert_int_equal(store_open_log(world->store, false, &log), 0);
	world_commit(world);
	assert_true(store_log_is_whole(world->store, log));
	/* The disk that has it is full: it still is one of two that a log can lie on. */
	((struct alloc_disk *)alloc_disk(world->alloc, 0))->au_free = 0;
	assert_true(store_log_is_whole(world->store, log));
	world_open_disk(world, 1);
	store_disk(world->store, 1)->state = DISK_ONLINE;
	alloc_disk_set_usable(world->alloc, 1, true);
	assert_false(store_log_is_whole(world->store, log));
}

static void test_log_on_one(void **state)
{
	struct world_options options = {.k = 1, .m = 1, .disks = 2, .seed = 22, .unchecked = true};
	struct world *world = world_new(&options);

	(void)state;
	world_run(world, log_on_one);
	world_free(world);
}

/* ---- more records than a log holds ---- */

static void many_records(struct world *world)
{
	open_both(world);
	const struct segment *hot = open_segment(world, CLASS_HOT);
	uint16_t worst = hot->record.columns[0].disk, other = hot->record.columns[1].disk;
	uint64_t first = world->txg;
	world_begin(world);
	world_place(world, CLASS_HOT, 8);
	world_commit(world);
	for (unsigned i = 0; i < STALE_RECORDS_MAX; i++) {
		struct stale_record stale = {.segment = hot->id, .column = i % 8 == 0, .base = 1, .rows = 1, .place = first};
		assert_int_equal(alloc_stale_add(world->alloc, &stale), 0);
	}
	fault_column(world, hot, 1, SIM_WRITE_ERROR, 2);
	world_begin(world);
	world_place(world, CLASS_HOT, 1);
	world_commit(world);
	assert_int_equal(store_disk(world->store, worst)->state, DISK_FAULTY);
	assert_int_equal(store_disk(world->store, worst)->stale_from, first);
	assert_int_equal(store_disk(world->store, other)->state, DISK_ONLINE);
	assert_int_equal(stale_count(world), STALE_RECORDS_MAX / 8 + 1);
	world_verify(world);
}

static void test_many_records(void **state)
{
	(void)state;
	run(4, 2, 6, 18, many_records);
}

/* ---- everything at random, on as many disks as there is parity ---- */

static void chaos(struct world *world)
{
	unsigned bad = world->options.m;

	one_txg(world, 20);
	for (unsigned txg = 0; txg < 25; txg++) {
		for (unsigned i = 0; i < bad; i++) {
			struct sim_disk *disk = world_disk(world, i);
			disk->rates[SIM_WRITE_ERROR] = disk->rates[SIM_WRITE_SHORT] = 60000;
			disk->rates[SIM_HANG_LATE] = 1000;
			disk->rates[SIM_SLOW] = 20000;
			disk->rates[SIM_READ_ERROR] = disk->rates[SIM_READ_CORRUPT] = 50000;
			disk->rates[SIM_FLUSH_ERROR] = 5000;
		}
		world_begin(world);
		for (size_t i = 0; i < world->blocks.count; i++)
			if (world_block(world, i)->placed && sim_random_chance(&world->random, 250000))
				world_kill(world, world_block(world, i));
		place(world, 25);
		world_commit(world);
		world_verify(world);
	}
	for (unsigned i = 0; i < world->options.disks; i++)
		sim_disk_faults_clear(world_disk(world, i));
	world_verify(world);
	rt_sleep(world->rt, 400 * NS_PER_S);
	for (uint32_t id = 0; id < alloc_segment_count(world->alloc); id++)
		assert_int_equal(alloc_segment(world->alloc, id) ? alloc_segment(world->alloc, id)->pins : 0, 0);
	world_reimport(world);
	world_verify(world);
	one_txg(world, 20);
	world_verify(world);
}

static void test_chaos(void **state)
{
	const char *given = getenv("POOL_SEEDS");
	unsigned seeds = given ? (unsigned)atoi(given) : 6;

	(void)state;
	for (unsigned seed = 0; seed < seeds; seed++) {
		run(4, 2, 6, 1000 + seed, chaos);
		run(3, 1, 6, 2000 + seed, chaos);
		run(1, 1, 3, 3000 + seed, chaos);
		run(5, 3, 10, 4000 + seed, chaos);
		run(1, 2, 3, 5000 + seed, chaos);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_once),	     cmocka_unit_test(test_twice),	 cmocka_unit_test(test_too_many),
		cmocka_unit_test(test_stale_and_hung), cmocka_unit_test(test_overdue),	 cmocka_unit_test(test_final_fails),
		cmocka_unit_test(test_header_fails),   cmocka_unit_test(test_flush_fails),    cmocka_unit_test(test_flush_meanwhile),
		cmocka_unit_test(test_lease_ends),     cmocka_unit_test(test_log_on_one),
		cmocka_unit_test(test_many_records), cmocka_unit_test(test_chaos),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
