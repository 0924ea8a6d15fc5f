/* SPDX-License-Identifier: BSD-2-Clause */
/* Blocks beside the log while disks fail, return and are left, and while a commit comes in between. */
#define BLOCK 16384u
#include "libpool/store/ahead.h"
#include "tests/unit/dataset/intent.h"

#define TWO_AND_TWO 1u /* of the geometries */

static unsigned victim; /* a disk with a column of the first segment for such blocks */

static bool is_ahead(const struct segment *segment)
{
	return segment && segment->record.state == SEGMENT_OPEN && segment->record.flags & SEGMENT_AHEAD;
}

static bool has_column(const struct segment *segment, unsigned disk)
{
	for (unsigned c = 0; c < (unsigned)segment->record.k + segment->record.m; c++)
		if (segment->record.columns[c].disk == disk)
			return true;
	return false;
}

static const struct segment *ahead_segment(struct machine *machine)
{
	for (uint32_t id = 0; id < alloc_segment_count(machine->core->alloc); id++) {
		const struct segment *segment = alloc_segment(machine->core->alloc, id);

		if (is_ahead(segment))
			return segment;
	}
	return NULL;
}

static uint64_t placed(struct machine *machine)
{
	return core_log_counters(machine->core)->placed;
}

/* Segments for such blocks are there, and no change that no commit has. */
static struct volume *ready_volume(struct machine *machine, struct datasets **ret_datasets)
{
	struct log_test *test = machine->test;

	*ret_datasets = pool_open(machine);
	struct volume *volume = pool_volume(machine, *ret_datasets, "v");
	for (unsigned i = 0; i < 2; i++) { /* the first makes the log, the second wants the segments */
		write_version(machine, volume, BLOCKS - 1, ++test->count);
		flush(machine, volume);
		expect_done(machine, core_commit_forced(machine->core));
	}
	expect(ahead_segment(machine));
	victim = ahead_segment(machine)->record.columns[1].disk;
	return volume;
}

static void flush_few(struct machine *machine, struct volume *volume)
{
	struct log_test *test = machine->test;

	for (unsigned i = 0; i < 6; i++) {
		write_version(machine, volume, i, ++test->count);
		flush(machine, volume);
	}
}

/* Nothing that is placed: a part of a block, which has been as it is. */
static void flush_little(struct machine *machine, struct volume *volume)
{
	struct log_test *test = machine->test;
	uint8_t data[BLOCK];

	block_fill(data, BLOCK, BLOCKS - 1, test->versions[BLOCKS - 1]);
	expect_done(machine, volume_write(volume, (BLOCKS - 1) * BLOCK, CELL_SIZE, data));
	expect_done(machine, volume_flush(volume));
}

static void lose_others(struct machine *machine, unsigned count)
{
	for (unsigned i = 0; i < machine->disks && count; i++)
		if (i != victim) {
			sim_disk_vanish(machine->set->disks[i], SIM_CRASH_NONE);
			count--;
		}
}

/* With disks lost beside the one that no uberblock calls up to date. */
static void see_without_others(struct machine *machine, unsigned count)
{
	lose_others(machine, count);
	machine_boot(machine, see_flushed);
	for (unsigned i = 0; i < machine->disks; i++)
		if (!machine->set->disks[i]->present)
			sim_disk_return(machine->set->disks[i]);
	machine_boot(machine, see_flushed);
	machine_free(machine);
}

/* ---- A disk that is up to date again in memory, and not yet on disk ---- */

static void online_program(struct machine *machine)
{
	struct datasets *datasets;
	struct volume *volume = ready_volume(machine, &datasets);
	struct store *store = core_store(machine->core);
	struct store_disk *disk = store_disk(store, victim);

	store_disk_fail(store, victim, "test");
	expect_done(machine, core_commit_forced(machine->core));
	disk->state = DISK_RESYNC;
	disk->consecutive_errors = 0;
	expect_done(machine, core_commit_forced(machine->core));
	expect(disk->stale_from);
	flush_little(machine, volume); /* for the log, of which a commit has made another one */
	expect_done(machine, core_commit_forced(machine->core));
	/* As the end of a resync does it. */
	disk->state = DISK_ONLINE;
	disk->stale_from = 0;
	disk->state_dirty = true;
	alloc_disk_set_usable(core_alloc(machine->core), victim, true);
	uint64_t txg = core_committed_txg(machine->core);
	flush_few(machine, volume);
	expect_equal(core_committed_txg(machine->core), txg); /* that would say so */
	power_off(machine);
}

static void test_online(void **state)
{
	struct log_test test;
	struct machine *machine = machine_made(TWO_AND_TWO, &test, 10);

	(void)state;
	machine_boot(machine, make_volume);
	expect(!machine_boot_mode(machine, online_program, SIM_CRASH_NONE));
	see_without_others(machine, machine->m);
}

/* ---- A disk that an import finds again, and that isn't up to date ---- */

static void leave_program(struct machine *machine)
{
	struct datasets *datasets;

	(void)ready_volume(machine, &datasets);
	power_off(machine);
}

/* Its labels are there, and nothing that says of which history it is. */
static void wipe_uberblocks(struct machine *machine)
{
	struct sim_disk *disk = machine->set->disks[victim];
	uint8_t *zeros = sim_allocate(UBERBLOCK_COMMIT_SLOTS * UBERBLOCK_SIZE);

	for (unsigned area = 0; area < 2; area++)
		sim_disk_poke(disk, label_area_offset(disk->size, area) + UBERBLOCK_OFFSET, zeros, UBERBLOCK_COMMIT_SLOTS * UBERBLOCK_SIZE);
	free(zeros);
}

static void flush_program(struct machine *machine)
{
	struct volume *volume = pool_volume(machine, pool_open(machine), "v");

	expect_equal(store_disk(core_store(machine->core), victim)->state, DISK_RESYNC);
	for (uint32_t id = 0; id < alloc_segment_count(machine->core->alloc); id++)
		expect(!is_ahead(alloc_segment(machine->core->alloc, id)) || !has_column(alloc_segment(machine->core->alloc, id), victim));
	flush_few(machine, volume);
	expect(core_log_counters(machine->core)->groups);
	expect_equal(core_log_counters(machine->core)->fallbacks, 0);
	power_off(machine);
}

static void test_returned(void **state)
{
	struct log_test test;
	struct machine *machine = machine_made(TWO_AND_TWO, &test, 20);

	(void)state;
	machine_boot(machine, make_volume);
	expect(!machine_boot_mode(machine, leave_program, SIM_CRASH_NONE));
	wipe_uberblocks(machine);
	expect(!machine_boot_mode(machine, flush_program, SIM_CRASH_NONE));
	see_without_others(machine, machine->m - 1);
}

/* ---- A segment whose columns are to move ---- */

static void close_program(struct machine *machine)
{
	struct datasets *datasets;
	struct volume *volume = ready_volume(machine, &datasets);
	struct store *store = core_store(machine->core);
	uint32_t id = ahead_segment(machine)->id;
	uint64_t before = placed(machine);

	flush_few(machine, volume);
	expect(placed(machine) > before);
	/* What no commit has stays where the log says; nothing more comes. */
	expect(!store_close_segment(store, id));
	const struct segment *segment = alloc_segment(machine->core->alloc, id);
	expect(segment->record.state == SEGMENT_OPEN && segment->record.flags & SEGMENT_AHEAD);
	unsigned rows = segment->record.rows_used;
	flush_few(machine, volume);
	expect(!store_close_segment(store, id));
	expect_done(machine, core_commit_forced(machine->core));
	expect(store_close_segment(store, id));
	expect(segment->record.state != SEGMENT_OPEN && !(segment->record.flags & SEGMENT_AHEAD) && segment->record.rows_used > rows);
	flush_few(machine, volume);
	expect_done(machine, core_commit_forced(machine->core));
	power_off(machine);
}

static void test_close(void **state)
{
	(void)state;
	for (unsigned number = 0; number < GEOMETRIES; number++) {
		struct log_test test;
		struct machine *machine = machine_made(number, &test, 30);

		machine_boot(machine, make_volume);
		expect(!machine_boot_mode(machine, close_program, SIM_CRASH_NONE));
		machine_boot(machine, see_flushed);
		machine_boot(machine, see_clean);
		machine_free(machine);
	}
}

/* ---- A commit that comes while a group and its blocks are on their way ---- */

struct slow {
	struct machine *machine;
	struct volume *volume;
	bool ended;
};

static void slow_flush(void *argument)
{
	struct slow *slow = argument;

	flush(slow->machine, slow->volume);
	slow->ended = true;
}

static void commit_other(void *argument)
{
	(void)core_commit_forced(((struct slow *)argument)->machine->core);
}

static void slow_program(struct machine *machine)
{
	struct datasets *datasets;
	struct log_test *test = machine->test;
	struct slow slow = { machine, ready_volume(machine, &datasets), false };
	struct core *core = machine->core;
	const struct segment_column column = ahead_segment(machine)->record.columns[0];

	sim_disk_fault(machine->set->disks[column.disk], SIM_SLOW, DATA_START + ((uint64_t)column.au << 18), 256 << 10, 0, 1, 5000);
	for (unsigned i = 0; i < 4; i++)
		write_version(machine, slow.volume, i, ++test->count);
	uint64_t txg = core->open_txg;
	expect_done(machine, rt_spawn(machine->rt, "flush", slow_flush, &slow));
	while (core->intent.ahead_txg != txg)
		rt_yield(machine->rt);
	rt_sleep(machine->rt, NS_PER_S / 100);
	expect(!slow.ended && core->intent.ahead_txg == txg);
	expect_done(machine, rt_spawn(machine->rt, "commit", commit_other, &slow));
	while (core->open_txg == txg)
		rt_yield(machine->rt);
	rt_mutex_lock(machine->rt, &core->config); /* the configuration isn't kept from others meanwhile */
	expect(!slow.ended);
	rt_mutex_unlock(machine->rt, &core->config);
	while (core->committed_txg < txg)
		rt_yield(machine->rt);
	expect(slow.ended);
	volume_close(slow.volume);
	pool_close(machine, datasets);
}

static void test_slow(void **state)
{
	(void)state;
	for (unsigned number = 0; number < GEOMETRIES; number++) {
		struct log_test test;
		struct machine *machine = machine_made(number, &test, 40);

		machine_boot(machine, make_volume);
		machine_boot(machine, slow_program);
		machine_boot(machine, see_clean);
		machine_free(machine);
	}
}

/* ---- A log without room, and blocks that find none beside it ---- */

static void full_program(struct machine *machine)
{
	struct datasets *datasets;
	struct log_test *test = machine->test;
	struct volume *volume = ready_volume(machine, &datasets);
	struct intent *intent = &machine->core->intent;
	uint32_t id = ahead_segment(machine)->id;
	uint64_t fallbacks = core_log_counters(machine->core)->fallbacks;

	write_version(machine, volume, 0, ++test->count);
	flush(machine, volume);
	uint64_t before = placed(machine);
	/* All of it is needed until the next commit. */
	intent->row = (uint16_t)alloc_geometry(machine->core->alloc)->rows;
	for (unsigned i = 0; i < intent->segment_count; i++)
		intent->segments[i].txg = machine->core->open_txg;
	write_version(machine, volume, 1, ++test->count);
	flush(machine, volume);
	expect_equal(core_log_counters(machine->core)->fallbacks, fallbacks + 1);
	expect_equal(placed(machine), before);
	/* Nothing was begun that would have to be given up. */
	expect(is_ahead(alloc_segment(machine->core->alloc, id)));
	flush_few(machine, volume);
	expect(placed(machine) > before);
	volume_close(volume);
	pool_close(machine, datasets);
}

/* One cell of the two that a row has: the log contains it. When it is written again there is no reason not to place it. */
static void small_program(struct machine *machine)
{
	struct datasets *datasets;
	struct log_test *test = machine->test;
	struct volume *volume = ready_volume(machine, &datasets);
	uint64_t before;
	uint8_t data[BLOCK] = { 0 };

	expect_done(machine, dataset_set(datasets, "v", SETTING_COMPRESSION, &(uint8_t){ BLOCK_COMPRESS_AUTO }, &machine->error));
	flush_little(machine, volume);
	before = placed(machine);
	block_fill(data, 2048, 3, 77);
	expect_done(machine, volume_write(volume, 3 * BLOCK, BLOCK, data));
	expect_done(machine, volume_flush(volume));
	expect_equal(placed(machine), before);
	for (unsigned i = 0; i < 2; i++) { /* once in a txg */
		sim_random_fill(&test->random, data, BLOCK);
		expect_done(machine, volume_write(volume, 3 * BLOCK, BLOCK, data));
		expect_done(machine, volume_flush(volume));
		expect_equal(placed(machine), before + 1);
	}
	write_version(machine, volume, 3, 5);
	flush(machine, volume);
	volume_close(volume);
	pool_close(machine, datasets);
}

static void test_room(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		struct log_test test;
		struct machine *machine = machine_made(TWO_AND_TWO, &test, 50);

		machine_boot(machine, make_volume);
		machine_boot(machine, i ? small_program : full_program);
		machine_boot(machine, see_clean);
		machine_free(machine);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_online), cmocka_unit_test(test_returned), cmocka_unit_test(test_close),
					    cmocka_unit_test(test_slow), cmocka_unit_test(test_room) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
