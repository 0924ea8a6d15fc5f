/* SPDX-License-Identifier: BSD-2-Clause */
/* Log disks that are lost, all copies of a part of the log with them: nothing is passed over, what is given up is told until it is cleared, nothing comes back. */
#include "tests/unit/dataset/log_disks.h"

static void commit_and_flush(struct machine *machine)
{
	struct volume *volume = pool_volume(machine, pool_open(machine), "v");
	struct log_test *test = machine->test;

	add_logs(machine);
	flush_some_more(machine, volume, 10);
	expect_done(machine, core_commit(machine->core));
	test->first = (unsigned)core_committed_txg(machine->core);
	unsigned committed[BLOCKS];
	memcpy(committed, test->versions, sizeof(committed));
	flush_some_more(machine, volume, 10);
	expect_equal(core_committed_txg(machine->core), test->first);
	/* What only the log has is no part of what is expected below. */
	memcpy(test->written, test->versions, sizeof(committed));
	memcpy(test->versions, committed, sizeof(committed));
	power_off(machine);
}

static void see_refused(struct machine *machine)
{
	struct log_test *test = machine->test;
	char txgs[64];

	expect_equal(machine_import(machine), -POOL_EDEGRADED);
	expect(strstr(machine->error.text, "--missing-log"));
	snprintf(txgs, sizeof(txgs), "in txgs %u and %u", test->first + 1, test->first + 2);
	expect(strstr(machine->error.text, txgs));
	snprintf(txgs, sizeof(txgs), "log disk #%u", machine->disks);
	expect(strstr(machine->error.text, txgs));
}

static void give_up(struct machine *machine)
{
	struct log_test *test = machine->test;
	struct datasets *datasets = pool_open(machine);
	struct volume *volume = pool_volume(machine, datasets, "v");
	const struct core_log_loss *loss = core_log_loss(machine->core);

	expect(loss->count == 1 && loss->fresh && loss->first_txg == test->first + 1 && loss->last_txg == test->first + 2);
	expect_equal(loss->blocks, 0);
	expect_content(machine, volume, test->versions);
	memcpy(test->written, test->versions, sizeof(test->written));
	for (unsigned i = 0; i < log_disks; i++)
		expect_equal(store_disk(machine->core->store, machine->disks + i)->state, DISK_MISSING);
	/* The log is on the pool's own disks until one of them is back. */
	flush_some_more(machine, volume, 5);
	expect_places(machine, false, 0);
	power_off(machine);
}

static void see_back(struct machine *machine)
{
	struct datasets *datasets = pool_open(machine);
	struct volume *volume = pool_volume(machine, datasets, "v");
	struct log_test *test = machine->test;

	expect_content(machine, volume, test->versions);
	for (unsigned i = 0; i < log_disks; i++)
		expect_equal(store_disk(machine->core->store, machine->disks + i)->state, DISK_ONLINE);
	flush_some_more(machine, volume, 5);
	expect_places(machine, true, copies_of(machine));
	volume_close(volume);
	pool_close(machine, datasets);
}

/* Later imports tell what an earlier one has given up. */
static void expect_told(struct machine *machine, uint64_t count)
{
	const struct log_test *test = machine->test;
	const struct core_log_loss *loss = core_log_loss(machine->core);

	expect_equal(loss->count, count);
	expect(!loss->fresh);
	if (count)
		expect(loss->first_txg == test->first + 1 && loss->last_txg == test->first + 2 && loss->blocks == 0 && loss->time_ns);
}

static void see_told(struct machine *machine)
{
	expect_done(machine, machine_import(machine));
	expect_told(machine, 1);
	core_abandon(machine->core);
}

static void clear_loss(struct machine *machine)
{
	expect_done(machine, machine_import(machine));
	expect_done(machine, core_log_loss_clear(machine->core));
	expect_equal(core_log_loss(machine->core)->count, 0);
	expect_done(machine, core_commit(machine->core));
	core_abandon(machine->core);
}

static void see_untold(struct machine *machine)
{
	expect_done(machine, machine_import(machine));
	expect_told(machine, 0);
	core_abandon(machine->core);
}

static void give_up_and_crash(struct machine *machine)
{
	struct datasets *datasets = pool_open(machine);
	pool_close(machine, datasets);
}

static void see_either(struct machine *machine)
{
	struct log_test *test = machine->test;
	struct datasets *datasets = pool_open(machine);
	struct volume *volume = pool_volume(machine, datasets, "v");
	uint8_t data[BLOCK];
	bool old = true, all = true;

	for (unsigned block = 0; block < BLOCKS; block++) {
		expect_done(machine, volume_read(volume, (uint64_t)block * BLOCK, BLOCK, data));
		old &= block_is(data, BLOCK, block, test->versions[block]);
		all &= block_is(data, BLOCK, block, test->written[block]);
	}
	expect(old || all);
	/* Who gives it up has it told from the same commit on. */
	expect_told(machine, old);
	volume_close(volume);
	pool_close(machine, datasets);
}

static void test_lost(void **state)
{
	(void)state;
	for (unsigned number = 0; number < GEOMETRIES; number++)
		for (unsigned count = 1; count <= 2; count++) {
			struct log_test test;
			struct machine *machine = machine_with_logs(number, count, &test, 200 + 10 * number + count);

			machine_boot(machine, make_volume);
			expect(!machine_boot_mode(machine, commit_and_flush, SIM_CRASH_NONE));
			machine->hidden = mask_of_logs(machine);
			machine_boot(machine, see_refused);
			machine->read_only = true;
			machine_boot(machine, see_refused);
			machine->read_only = false;
			machine->missing_log = true;
			expect(!machine_boot_mode(machine, give_up, SIM_CRASH_NONE));
			/* The log that was given up is there again: nothing of it counts any more. */
			machine->missing_log = number % 2;
			machine->hidden = 0;
			machine_boot(machine, see_told);
			machine_boot(machine, see_back);
			machine_boot(machine, see_clean);
			machine->read_only = true;
			machine_boot(machine, see_told);
			machine->read_only = false;
			machine_boot(machine, clear_loss);
			machine_boot(machine, see_untold);
			machine_free(machine);
		}
}

/* The label is there, and nothing else: that is no empty log. */
static void test_emptied(void **state)
{
	(void)state;
	for (unsigned count = 1; count <= 2; count++) {
		struct log_test test;
		struct machine *machine = machine_with_logs(0, count, &test, 350 + count);
		uint8_t *zeros = sim_allocate(MIB);

		machine_boot(machine, make_volume);
		expect(!machine_boot_mode(machine, commit_and_flush, SIM_CRASH_NONE));
		for (unsigned i = 0; i < count; i++)
			for (uint64_t at = DATA_START; at < 63 * MIB; at += MIB)
				sim_disk_poke(machine->set->disks[machine->disks + i], at, zeros, MIB);
		machine_boot(machine, see_refused);
		free(zeros);
		machine_free(machine);
	}
}

/* Power goes while the log is being given up, and the log is back: all of it counts, or nothing. */
static void test_given_up(void **state)
{
	bool ended = false;

	(void)state;
	for (unsigned step = 0; !ended; step++) {
		struct log_test test;
		struct machine *machine = machine_with_logs(0, 1, &test, 300 + step);

		machine_boot(machine, make_volume);
		expect(!machine_boot_mode(machine, commit_and_flush, SIM_CRASH_NONE));
		machine->hidden = mask_of_logs(machine);
		machine->missing_log = true;
		sim_disks_cut_at(machine->set, machine->set->operations + step);
		ended = machine_boot_mode(machine, give_up_and_crash, SIM_CRASH_ANY);
		machine->hidden = 0;
		machine->missing_log = step % 2;
		machine_boot(machine, see_either);
		machine_free(machine);
	}
}

/* A clean export leaves nothing in the log: nobody has to be asked. */
static void export_with_logs(struct machine *machine)
{
	struct datasets *datasets = pool_open(machine);
	struct volume *volume = pool_volume(machine, datasets, "v");

	add_logs(machine);
	flush_some_more(machine, volume, 10);
	volume_close(volume);
	pool_close(machine, datasets);
}

static void test_exported(void **state)
{
	struct log_test test;
	struct machine *machine = machine_with_logs(0, 2, &test, 400);

	(void)state;
	machine_boot(machine, make_volume);
	machine_boot(machine, export_with_logs);
	machine->hidden = mask_of_logs(machine);
	machine_boot(machine, see_flushed);
	machine->hidden = 0;
	machine_boot(machine, see_clean);
	machine_boot(machine, see_back);
	machine_free(machine);
}

/* ---- A part of it is lost ---- */

/* Where a row of the log lies: of the segment that it is written to now. */
static uint64_t place_of_row(const struct segment_record *record, unsigned column, unsigned row)
{
	return DATA_START + ((uint64_t)record->columns[column].au << 18) + (uint64_t)row * CELL_SIZE;
}

static void log_programs(struct machine *machine)
{
	struct volume *volume = pool_volume(machine, pool_open(machine), "v");
	struct log_test *test = machine->test;

	add_logs(machine);
	flush_some_more(machine, volume, 4);
	expect_done(machine, core_commit(machine->core));
	test->first = (unsigned)core_committed_txg(machine->core);
	flush_some_more(machine, volume, 10);
	expect_equal(core_committed_txg(machine->core), test->first);
	note_log(machine);
	/* The last one is what is going to be lost. */
	write_version(machine, volume, 0, ++test->count);
	expect_done(machine, volume_flush(volume));
	expect_equal(core_committed_txg(machine->core), test->first);
	power_off(machine);
}

static void hide_last(struct machine *machine, bool unreadable)
{
	const struct segment_record *record = &spoil.records[spoil.head];
	uint8_t zeros[CELL_SIZE] = { 0 };

	for (unsigned c = 0; c < (unsigned)record->k + record->m; c++) {
		struct sim_disk *disk = machine->set->disks[record->columns[c].disk];
		if (unreadable)
			sim_disk_set_unreadable(disk, place_of_row(record, c, spoil.row), CELL_SIZE);
		else
			sim_disk_poke(disk, place_of_row(record, c, spoil.row), zeros, sizeof(zeros));
	}
}

static void replay_prefix(struct machine *machine)
{
	struct datasets *datasets = pool_open(machine);
	struct volume *volume = pool_volume(machine, datasets, "v");
	const struct core_log_loss *loss = core_log_loss(machine->core);
	struct log_test *test = machine->test;

	expect(loss->count == 1 && loss->first_txg == test->first + 1 && loss->blocks == 10);
	expect_content(machine, volume, test->versions);
	power_off(machine);
}

static void try_replay(struct machine *machine)
{
	struct datasets *datasets = pool_open(machine);
	pool_close(machine, datasets);
}

/* What comes before the loss is replayed, and the record of the loss is in the commit with that: in none before, and in all that follow. */
static void test_part(void **state)
{
	bool ended = false;

	(void)state;
	for (unsigned step = 0; !ended; step++) {
		struct log_test test;
		struct machine *machine = machine_with_logs(0, 1 + step % 2, &test, 500 + step);

		machine_boot(machine, make_volume);
		expect(!machine_boot_mode(machine, log_programs, SIM_CRASH_NONE));
		hide_last(machine, true);
		if (step % 5 == 0)
			machine_boot(machine, see_refused);
		machine->missing_log = true;
		sim_disks_cut_at(machine->set, machine->set->operations + step);
		ended = machine_boot_mode(machine, try_replay, SIM_CRASH_ANY);
		expect(!machine_boot_mode(machine, replay_prefix, SIM_CRASH_NONE));
		machine->missing_log = false;
		machine_boot(machine, see_flushed);
		machine_free(machine);
	}
}

/* ---- Whose word counts ---- */

static void log_all(struct machine *machine)
{
	struct volume *volume = pool_volume(machine, pool_open(machine), "v");
	struct log_test *test = machine->test;

	add_logs(machine);
	flush_some_more(machine, volume, 4);
	expect_done(machine, core_commit(machine->core));
	test->first = (unsigned)core_committed_txg(machine->core);
	flush_some_more(machine, volume, 10);
	note_log(machine);
	write_version(machine, volume, 0, ++test->count);
	flush(machine, volume);
	expect_equal(core_committed_txg(machine->core), test->first);
}

static void list_as_good(struct machine *machine)
{
	log_all(machine);
	power_off(machine);
}

/* The last uberblock still names the log, and lists the first log disk as failed. */
static void list_as_failed(struct machine *machine)
{
	log_all(machine);
	store_disk(machine->core->store, machine->disks)->state = DISK_FAULTY;
	struct uberblock uberblock = machine->core->uberblock;
	uberblock.rewrite++;
	expect_done(machine, uberblock_commit(machine->core, &uberblock));
	expect(uberblock.state_count == 1 && uberblock.log.segment_count >= 2);
	power_off(machine);
}

static void see_all(struct machine *machine)
{
	struct log_test *test = machine->test;
	struct datasets *datasets = pool_open(machine);
	struct volume *volume = pool_volume(machine, datasets, "v");

	expect_equal(core_log_loss(machine->core)->count, 0);
	expect_content(machine, volume, test->versions);
	volume_close(volume);
	pool_abandon(machine, datasets);
}

/* A disk that failed may have forgotten what it was told last: that it has nothing there says nothing. What it has counts. */
static void test_failed(void **state)
{
	(void)state;
	for (unsigned forgets = 0; forgets < 2; forgets++)
		for (unsigned away = 0; away < 2; away++) {
			struct log_test test;
			struct machine *machine = machine_with_logs(0, 2, &test, 600 + forgets);
			uint8_t zeros[CELL_SIZE] = { 0 };

			machine_boot(machine, make_volume);
			expect(!machine_boot_mode(machine, list_as_failed, SIM_CRASH_NONE));
			const struct segment_record *record = &spoil.records[spoil.head];
			for (unsigned c = 0; c < 2 && forgets; c++)
				if (record->columns[c].disk == machine->disks)
					sim_disk_poke(machine->set->disks[machine->disks], place_of_row(record, c, spoil.row), zeros, sizeof(zeros));
			machine->hidden = away << (machine->disks + 1);
			machine_boot(machine, away ? see_refused : see_all);
			machine->hidden = 0;
			machine_boot(machine, see_all);
			machine_free(machine);
		}
}

static void see_damaged(struct machine *machine)
{
	expect_equal(machine_import(machine), -POOL_EDAMAGED);
	expect(!strstr(machine->error.text, "--missing-log"));
}

/* The block that is wrong lies on a disk that is there: that another log disk isn't is no reason to pass over it. */
static void test_wrong_reason(void **state)
{
	struct log_test test;
	struct machine *machine = machine_with_logs(0, 4, &test, 700);

	(void)state;
	machine_boot(machine, make_volume);
	expect(!machine_boot_mode(machine, log_programs, SIM_CRASH_NONE));
	/* An earlier one, so that a later one tells that it was acknowledged. */
	spoil.row -= 4;
	hide_last(machine, false);
	const struct segment_record *record = &spoil.records[spoil.head];
	machine->hidden = mask_of_logs(machine);
	for (unsigned c = 0; c < (unsigned)record->k + record->m; c++)
		machine->hidden &= ~(1u << record->columns[c].disk);
	expect(machine->hidden);
	machine->missing_log = true;
	machine_boot(machine, see_damaged);
	machine_free(machine);
}

/* ---- Labels of others ---- */

static void exchange_labels(struct machine *machine, unsigned a, unsigned b)
{
	struct sim_disk *disks[2] = { machine->set->disks[a], machine->set->disks[b] };
	uint8_t *areas[2] = { sim_allocate(MIB), sim_allocate(MIB) };

	for (unsigned area = 0; area < 2; area++) {
		for (unsigned i = 0; i < 2; i++)
			sim_disk_peek(disks[i], label_area_offset(disks[i]->size, area), areas[i], MIB);
		for (unsigned i = 0; i < 2; i++)
			sim_disk_poke(disks[i], label_area_offset(disks[i]->size, area), areas[!i], MIB);
	}
	free(areas[0]);
	free(areas[1]);
}

static void see_exchanged(struct machine *machine)
{
	expect_equal(machine_import(machine), -POOL_EDAMAGED);
	expect(strstr(machine->error.text, "labels of others"));
}

static void test_exchanged(void **state)
{
	(void)state;
	for (unsigned number = 0; number < 2; number++) {
		struct log_test test;
		struct machine *machine = machine_with_logs(number, 2, &test, 800);

		machine_boot(machine, make_volume);
		expect(!machine_boot_mode(machine, list_as_good, SIM_CRASH_NONE));
		exchange_labels(machine, machine->disks, machine->disks + 1);
		machine->missing_log = number;
		machine_boot(machine, see_exchanged);
		exchange_labels(machine, machine->disks, machine->disks + 1);
		/* Two disks of the pool are as many as it bears: log disks, which have no uberblocks, aren't counted with them. */
		if (machine->m == 2)
			exchange_labels(machine, 0, 1);
		machine_boot(machine, see_all);
		machine_free(machine);
	}
}

/* ---- After an export nothing is lost with them ---- */

static void import_and_export(struct machine *machine)
{
	struct datasets *datasets = pool_open(machine);
	struct volume *volume = pool_volume(machine, datasets, "v");

	flush_some_more(machine, volume, 1);
	volume_close(volume);
	pool_close(machine, datasets);
}

static void test_exported_and_cut(void **state)
{
	bool ended = false;

	(void)state;
	for (unsigned step = 0; !ended; step++) {
		struct log_test test;
		struct machine *machine = machine_with_logs(0, 2, &test, 900 + step);

		machine_boot(machine, make_volume);
		machine_boot(machine, export_with_logs);
		machine->hidden = mask_of_logs(machine);
		sim_disks_cut_at(machine->set, machine->set->operations + step);
		ended = machine_boot_mode(machine, import_and_export, SIM_CRASH_ANY);
		machine_boot(machine, see_untold);
		machine->hidden = 0;
		machine_boot(machine, see_untold);
		machine_free(machine);
	}
}

/* ---- Going back to a time when one was there that has left since ---- */

static void remove_and_go_on(struct machine *machine)
{
	struct log_test *test = machine->test;
	struct datasets *datasets = pool_open(machine);
	struct volume *volume = pool_volume(machine, datasets, "v");

	add_logs(machine);
	flush_some_more(machine, volume, 4);
	expect_places(machine, true, copies_of(machine));
	expect_done(machine, core_commit(machine->core));
	test->first = (unsigned)core_committed_txg(machine->core);
	memcpy(test->versions, test->written, sizeof(test->versions));
	unsigned committed[BLOCKS];
	memcpy(committed, test->versions, sizeof(committed));
	flush_some_more(machine, volume, 2);
	expect_done(machine, core_disk_remove(machine->core, machine->disks, &machine->error));
	expect(core_committed_txg(machine->core) <= test->first + 4);
	memcpy(test->versions, committed, sizeof(committed));
	volume_close(volume);
	pool_close(machine, datasets);
}

static void test_back(void **state)
{
	(void)state;
	for (unsigned count = 1; count <= 3; count++)
		for (unsigned back = 0; back < 3; back++) {
			struct log_test test;
			struct machine *machine = machine_with_logs(0, count, &test, 1000 + count);

			machine_boot(machine, make_volume);
			machine_boot(machine, remove_and_go_on);
			machine->rewind_txg = test.first + back;
			machine_boot(machine, back ? see_untold : see_flushed);
			machine->rewind_txg = 0;
			if (back == 0)
				machine_boot(machine, see_clean);
			machine_free(machine);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lost),
		cmocka_unit_test(test_emptied),
		cmocka_unit_test(test_given_up),
		cmocka_unit_test(test_exported),
		cmocka_unit_test(test_part),
		cmocka_unit_test(test_failed),
		cmocka_unit_test(test_wrong_reason),
		cmocka_unit_test(test_exchanged),
		cmocka_unit_test(test_exported_and_cut),
		cmocka_unit_test(test_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
