/* SPDX-License-Identifier: BSD-2-Clause */
/* Flushes whose blocks lie beside the log: what crashes, torn and spoilt blocks, lost disks and failing writes leave of them. */
#include <limits.h>

#define BLOCK 16384u
#include "tests/unit/dataset/intent.h"

#define ROUNDS 8u
#define MANY 9u /* blocks of some flushes; more than a quarter of the smallest log holds is committed */

static struct placed {
	unsigned count;
	struct block_pointer pointers[64];
	struct segment_record record; /* of the segment of the last one */
} placed;

/* A volume for which there are a log, and segments for blocks beside it. */
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
	expect(store_ahead_possible(machine->core->store));
	return volume;
}

static uint64_t placed_count(struct machine *machine)
{
	return core_log_counters(machine->core)->placed;
}

static int note_placed(void *argument, const struct intent_record *record)
{
	struct machine *machine = argument;

	if (record->type != INTENT_PLACED || placed.count == 64)
		return 0;
	expect_done(machine, block_pointer_decode(&record->pointer, &placed.pointers[placed.count]));
	placed.record = alloc_segment(machine->core->alloc, dva_unpack(placed.pointers[placed.count].dva).segment)->record;
	placed.count++;
	return 0;
}

/* The pointers in the log, in order. */
static void note_pointers(struct machine *machine)
{
	uint8_t *raw = sim_allocate(256 << 10);

	note_log(machine);
	placed.count = 0;
	for (uint64_t sequence = 1; sequence < machine->core->intent.next_sequence; sequence++)
		for (unsigned i = 0; i < spoil.count; i++) {
			struct segment_column column = spoil.records[i].columns[0];
			sim_disk_peek(machine->set->disks[column.disk], DATA_START + ((uint64_t)column.au << 18), raw, 256 << 10);
			for (unsigned row = 1; row < 64; row++) {
				struct intent_block block;
				if (intent_block_decode(raw + row * CELL_SIZE, (64 - row) * CELL_SIZE, &spoil.pool, &block) == 0 &&
				    block.generation == spoil.generation && block.sequence == sequence)
					expect_done(machine, intent_records_each(raw + row * CELL_SIZE, &block, note_placed, machine));
			}
		}
	free(raw);
}

/* ---- A crash between any two writes ---- */

/*
 * Each round gives the first two blocks, and now and then many, its version. A block is written again after its flush, and
 * a commit comes in between.
 */
static void flush_on(struct machine *machine)
{
	struct log_test *test = machine->test;
	struct datasets *datasets;
	struct volume *volume = ready_volume(machine, &datasets);
	uint64_t before = placed_count(machine);

	for (unsigned i = 0; i < ROUNDS; i++) {
		for (unsigned block = 0; block < BLOCKS - 1; block++)
			if (block < 2 || (i % 3 == 2 && block < MANY))
				write_version(machine, volume, block, test->first + i + 1);
		expect_done(machine, volume_flush(volume));
		test->flushed = test->first + i + 1;
		if (i == 4)
			expect_done(machine, core_commit_forced(machine->core));
	}
	expect(placed_count(machine) >= before + 2);
	expect_equal(core_log_counters(machine->core)->fallbacks, 0);
	volume_close(volume);
	pool_close(machine, datasets);
}

static void see_prefix(struct machine *machine)
{
	struct log_test *test = machine->test;
	struct datasets *datasets = pool_open(machine);
	struct volume *volume = pool_volume(machine, datasets, "v");
	uint8_t data[BLOCK];
	unsigned version = 0;

	expect_done(machine, volume_read(volume, 0, BLOCK, data));
	for (unsigned i = test->flushed; i <= test->first + ROUNDS && !version; i++)
		version = block_is(data, BLOCK, 0, i) ? i : 0;
	expect(version >= test->flushed || (test->flushed == 0 && block_is(data, BLOCK, 0, 0)));
	for (unsigned block = 0; block < MANY + 1; block++) {
		unsigned wanted = version;
		while (block >= 2 && wanted && wanted % 3)
			wanted--;
		if (block >= MANY)
			wanted = 0;
		expect_done(machine, volume_read(volume, (uint64_t)block * BLOCK, BLOCK, data));
		expect(block_is(data, BLOCK, block, wanted));
	}
	test->flushed = version;
	volume_close(volume);
	if (test->clean)
		pool_close(machine, datasets);
	else
		pool_abandon(machine, datasets);
}

/* With as many disks gone as may be, too, and with replays that are interrupted. */
static void test_crashes(void **state)
{
	(void)state;
	for (unsigned number = 0; number < GEOMETRIES; number++) {
		bool ended = false;

		for (unsigned step = 0; !ended; step += SANITIZED ? 9 : number == 1 ? 2 : 5) {
			struct log_test test;
			struct machine *machine = machine_made(number, &test, 1000 * number + step);
			unsigned lost = step % 3 ? geometries[number].m : 0;

			machine_boot(machine, make_volume);
			sim_disks_cut_at(machine->set, machine->set->operations + step);
			ended = machine_boot_mode(machine, flush_on, SIM_CRASH_ANY);
			for (unsigned i = 0; i < lost; i++)
				sim_disk_vanish(machine->set->disks[(step / 3 + i) % geometries[number].disks], SIM_CRASH_NONE);
			for (unsigned again = 0; again < 12; again++) {
				sim_disks_cut_at(machine->set, machine->set->operations + again * 5);
				if (machine_boot_mode(machine, see_prefix, SIM_CRASH_ANY))
					break;
			}
			test.clean = true;
			machine_boot(machine, see_prefix);
			for (unsigned i = 0; i < lost; i++)
				sim_disk_return(machine->set->disks[(step / 3 + i) % geometries[number].disks]);
			machine_boot(machine, see_prefix);
			machine_free(machine);
		}
	}
}

/* ---- Blocks that are spoilt ---- */

static void flush_six(struct machine *machine)
{
	struct datasets *datasets;
	struct volume *volume = ready_volume(machine, &datasets);

	for (unsigned i = 0; i < 6; i++) {
		write_version(machine, volume, i, 100 + i);
		flush(machine, volume);
	}
	expect(placed_count(machine) >= 6);
	note_pointers(machine);
	expect_equal(placed.count, 6);
	power_off(machine);
}

/* Garbage in so many columns of the rows of a block, the data's first. */
static void spoil_placed(struct machine *machine, unsigned which, unsigned columns)
{
	struct dva dva = dva_unpack(placed.pointers[which].dva);
	uint8_t garbage[CELL_SIZE];

	memset(garbage, 0x5A, sizeof(garbage));
	for (unsigned c = 0; c < columns; c++)
		for (unsigned row = dva.base; row < (unsigned)dva.base + dva.height; row++)
			sim_disk_poke(machine->set->disks[placed.record.columns[c].disk],
				      DATA_START + ((uint64_t)placed.record.columns[c].au << 18) + row * CELL_SIZE, garbage, sizeof(garbage));
}

static void expect_damaged(struct machine *machine)
{
	expect_equal(machine_import(machine), -POOL_EDAMAGED);
	expect(strstr(machine->error.text, "intent log") && strstr(machine->error.text, "--rewind="));
}

static void test_spoilt(void **state)
{
	(void)state;
	for (unsigned number = 0; number < 2; number++) {
		const struct geometry_case *geometry = &geometries[number];

		for (unsigned which = 3; which < 6; which++)
			for (unsigned columns = 1; columns <= geometry->m + 1; columns++) {
				struct log_test test;
				struct machine *machine = machine_made(number, &test, 70 + which);

				machine_boot(machine, make_volume);
				expect(!machine_boot_mode(machine, flush_six, SIM_CRASH_NONE));
				spoil_placed(machine, which, columns);
				if (columns > geometry->m && which < 5) {
					/* A later group knows that it had been acknowledged. */
					machine_boot(machine, expect_damaged);
					machine_free(machine);
					continue;
				}
				/* The last one is vouched for by nobody: it may as well have been torn. */
				if (columns > geometry->m)
					test.versions[5] = 0;
				machine_boot(machine, see_flushed);
				machine_boot(machine, see_clean);
				machine_free(machine);
			}
	}
}

/* The next reads, so many, of the first row of the last block fail: in one column more than may be missing. */
static void spoil_reads(struct machine *machine, unsigned m, uint64_t count)
{
	struct dva dva = dva_unpack(placed.pointers[5].dva);

	for (unsigned c = 0; c < m + 1; c++)
		sim_disk_fault(machine->set->disks[placed.record.columns[c].disk], SIM_READ_ERROR,
			       DATA_START + ((uint64_t)placed.record.columns[c].au << 18) + dva.base * CELL_SIZE, CELL_SIZE, 0, count, 0);
}

/*
 * Too little can be read to say whether the block was ever there: not even when it can be read a moment later. Errors that pass are
 * waited for, the others refuse the import; nothing is lost.
 */
static void test_unreadable(void **state)
{
	static const uint64_t counts[] = { 1, 2, 3, 4, 5, 6, UINT_MAX };

	(void)state;
	for (unsigned number = 0; number < GEOMETRIES; number++)
		for (unsigned i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
			struct log_test test;
			struct machine *machine = machine_made(number, &test, 80);

			machine_boot(machine, make_volume);
			expect(!machine_boot_mode(machine, flush_six, SIM_CRASH_NONE));
			spoil_reads(machine, geometries[number].m, counts[i]);
			if (counts[i] == UINT_MAX)
				machine_boot(machine, expect_damaged);
			for (unsigned disk = 0; disk < geometries[number].disks && counts[i] == UINT_MAX; disk++)
				sim_disk_faults_clear(machine->set->disks[disk]);
			machine_boot(machine, see_flushed);
			machine_boot(machine, see_clean);
			machine_free(machine);
		}
}

/* ---- Writes that fail ---- */

static unsigned failing, victim;

/* The write of a column fails in the middle: the group becomes a commit, which has the blocks elsewhere. */
static void flush_with_failure(struct machine *machine)
{
	struct datasets *datasets;
	struct log_test *test = machine->test;
	struct volume *volume = ready_volume(machine, &datasets);

	for (uint32_t id = 0; id < alloc_segment_count(machine->core->alloc); id++) {
		const struct segment *segment = alloc_segment(machine->core->alloc, id);
		if (segment && segment->record.state == SEGMENT_OPEN && segment->record.flags & SEGMENT_AHEAD)
			sim_disk_fault(machine->set->disks[segment->record.columns[victim].disk], SIM_WRITE_ERROR,
				       DATA_START + ((uint64_t)segment->record.columns[victim].au << 18), 256 << 10, failing, 2, 0);
	}
	for (unsigned i = 0; i < 12; i++) {
		for (unsigned block = 0; block < 3; block++)
			write_version(machine, volume, (3 * i + block) % (BLOCKS - 1), ++test->count);
		flush(machine, volume);
	}
	power_off(machine);
}

static void test_failure(void **state)
{
	(void)state;
	for (unsigned number = 0; number < 2; number++)
		for (failing = 0; failing < 6; failing++)
			for (victim = 0; victim < geometries[number].k + geometries[number].m; victim++) {
				struct log_test test;
				struct machine *machine = machine_made(number, &test, 90 + failing);

				machine_boot(machine, make_volume);
				expect(!machine_boot_mode(machine, flush_with_failure, SIM_CRASH_ANY));
				/* What has all columns bears the loss of as many disks as may be. */
				for (unsigned i = 0; i < geometries[number].m; i++)
					sim_disk_vanish(machine->set->disks[(failing + 2 * i + victim) % geometries[number].disks], SIM_CRASH_NONE);
				machine_boot(machine, see_flushed);
				machine_boot(machine, see_clean);
				machine_free(machine);
			}
}

/* ---- Space, and what was in vain ---- */

/* A block that is flushed again and again lies beside the log once in a txg. */
static void flush_one_block(struct machine *machine)
{
	struct datasets *datasets;
	struct log_test *test = machine->test;
	struct volume *volume = ready_volume(machine, &datasets);
	uint64_t before = placed_count(machine);

	for (unsigned i = 0; i < 10; i++) {
		write_version(machine, volume, 7, ++test->count);
		flush(machine, volume);
	}
	expect_equal(placed_count(machine), before + 1);
	expect_done(machine, core_commit_forced(machine->core));
	/* Without any use the segments go, in time. */
	for (unsigned i = 0; i < 20; i++)
		expect_done(machine, core_commit_forced(machine->core));
	expect(store_ahead_segments(machine->core->store) <= 1);
	expect_content(machine, volume, test->versions);
	volume_close(volume);
	pool_close(machine, datasets);
}

static void test_again(void **state)
{
	(void)state;
	for (unsigned number = 0; number < GEOMETRIES; number++) {
		struct log_test test;
		struct machine *machine = machine_made(number, &test, 110);

		machine_boot(machine, make_volume);
		machine_boot(machine, flush_one_block);
		machine_boot(machine, see_clean);
		machine_free(machine);
	}
}

/* ---- A replay while an earlier txg is in its sync ---- */

static struct machine *late;
static uint64_t late_txg;
static bool late_held;

/* Keeps the sync of a txg waiting until the changes of the log are made, in the next one; the power fails between the two commits. */
static void hold_sync(void *argument)
{
	struct core *core = late->core;

	(void)argument;
	rt_mutex_lock(core->rt, &core->config);
	late_held = true;
	while (core->intent.replay_due)
		rt_yield(core->rt);
	rt_mutex_unlock(core->rt, &core->config);
	while (core->committed_txg < late_txg)
		rt_yield(core->rt);
	expect_equal(core->committed_txg, late_txg);
	power_off(late);
}

static void commit_late(void *argument)
{
	(void)argument;
	(void)core_commit_forced(late->core);
}

static void replay_meanwhile(struct machine *machine)
{
	struct datasets *datasets;

	expect_done(machine, machine_import(machine));
	late = machine;
	late_txg = machine->core->open_txg;
	late_held = false;
	expect_done(machine, rt_spawn(machine->rt, "hold", hold_sync, NULL));
	while (!late_held)
		rt_yield(machine->rt);
	expect_done(machine, rt_spawn(machine->rt, "commit", commit_late, NULL));
	while (!machine->core->syncing)
		rt_yield(machine->rt);
	expect_equal(machine->core->syncing_txg, late_txg);
	expect(machine->core->intent.replay_due);
	(void)datasets_open(machine->core, &datasets, &machine->error);
}

/* What the commit of the earlier one leaves of the log is all that the next import has. */
static void test_early_sync(void **state)
{
	(void)state;
	for (unsigned number = 0; number < GEOMETRIES; number++) {
		struct log_test test;
		struct machine *machine = machine_made(number, &test, 120);

		machine_boot(machine, make_volume);
		expect(!machine_boot_mode(machine, flush_six, SIM_CRASH_NONE));
		expect(!machine_boot_mode(machine, replay_meanwhile, SIM_CRASH_NONE));
		machine_boot(machine, see_flushed);
		machine_boot(machine, see_clean);
		machine_free(machine);
	}
}

/* ---- Segments that nobody needs any more ---- */

static unsigned open_ahead(struct machine *machine)
{
	unsigned count = 0;

	for (uint32_t id = 0; id < alloc_segment_count(machine->core->alloc); id++) {
		const struct segment *segment = alloc_segment(machine->core->alloc, id);

		count += segment && segment->record.state == SEGMENT_OPEN && segment->record.flags & SEGMENT_AHEAD;
	}
	return count;
}

static void idle_body(struct machine *machine)
{
	struct datasets *datasets;
	struct log_test *test = machine->test;
	struct volume *volume = ready_volume(machine, &datasets);

	for (unsigned i = 0; i < 3; i++) {
		write_version(machine, volume, i, ++test->count);
		flush(machine, volume);
	}
	expect(placed_count(machine) > 0 && open_ahead(machine) > 0);
	for (unsigned i = 0; i < 20; i++)
		expect_done(machine, core_commit_forced(machine->core));
	expect(open_ahead(machine) == 0);
	/* Once more, and the pool is exported with rows of them in the open txg. */
	for (unsigned i = 0; i < 3; i++) {
		write_version(machine, volume, i, ++test->count);
		flush(machine, volume);
		expect_done(machine, core_commit_forced(machine->core));
	}
	write_version(machine, volume, 5, ++test->count);
	flush(machine, volume);
	expect(open_ahead(machine) > 0);
	volume_close(volume);
	pool_close(machine, datasets);
}

static void exported_body(struct machine *machine)
{
	expect_done(machine, machine_import(machine));
	expect(open_ahead(machine) == 0);
	core_abandon(machine->core);
}

static void test_idle(void **state)
{
	struct log_test test;
	struct machine *machine = machine_made(1, &test, 80);

	(void)state;
	machine_boot(machine, make_volume);
	machine_boot(machine, idle_body);
	machine_boot(machine, exported_body);
	machine_free(machine);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_crashes), cmocka_unit_test(test_spoilt), cmocka_unit_test(test_unreadable),
		cmocka_unit_test(test_failure), cmocka_unit_test(test_again), cmocka_unit_test(test_early_sync), cmocka_unit_test(test_idle),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
