/* SPDX-License-Identifier: BSD-2-Clause */
/* Log disks: what they hold, what is durable with them, and what it means to lose one or all of them, at any moment. */
#include "tests/unit/dataset/intent.h"

static unsigned log_disks; /* of this case, behind those of the pool */

static struct machine *machine_with_logs(unsigned number, unsigned count, struct log_test *test, uint64_t seed)
{
	struct machine *machine = machine_made(number, test, seed);

	log_disks = count;
	for (unsigned i = 0; i < count; i++)
		sim_disks_add(machine->set, 64 * MIB)->fua = (seed + i) % 2;
	return machine;
}

static uint32_t mask_of_logs(const struct machine *machine)
{
	return ((1u << log_disks) - 1) << machine->disks;
}

static void add_logs(struct machine *machine)
{
	unsigned index;

	for (unsigned i = 0; i < log_disks; i++) {
		expect_done(machine, core_disk_add(machine->core, machine_open_disk(machine, machine->disks + i), ROLE_LOG, &index,
						   &machine->error));
		expect_equal(index, machine->disks + i);
	}
	expect(core_label(machine->core)->feature_count == 1);
	expect_done(machine, core_log_disks_use(machine->core));
}

static bool is_log_disk(const struct machine *machine, unsigned index)
{
	return index >= machine->disks && index < machine->disks + log_disks;
}

/* Nothing but the log is on log disks; and the log is nowhere else, if it is there at all. */
static void expect_places(struct machine *machine, bool on_log_disks, unsigned copies)
{
	const struct intent *intent = &machine->core->intent;

	expect(intent->active && intent->segment_count >= 2);
	for (unsigned i = 0; i < intent->segment_count; i++)
		expect_equal(store_log_is_on_log_disks(machine->core->store, intent->segments[i].id), on_log_disks);
	for (uint32_t id = 0; id < alloc_segment_count(machine->core->alloc); id++) {
		const struct segment *segment = alloc_segment(machine->core->alloc, id);
		if (!segment || alloc_segment_is_free(segment))
			continue;
		bool is_log = segment->record.state == SEGMENT_LOG;
		if (is_log && on_log_disks)
			expect_equal(segment->record.m + 1, copies);
		for (unsigned c = 0; c < (unsigned)segment->record.k + segment->record.m; c++)
			if (segment->record.columns[c].disk != DISK_ABSENT)
				expect_equal(is_log_disk(machine, segment->record.columns[c].disk), is_log && on_log_disks);
	}
}

static unsigned copies_of(const struct machine *machine)
{
	unsigned copies = machine->m ? machine->m + 1 : 2;

	return log_disks < copies ? log_disks : copies;
}

static void flush_some_more(struct machine *machine, struct volume *volume, unsigned count)
{
	struct log_test *test = machine->test;

	for (unsigned i = 0; i < count; i++) {
		write_version(machine, volume, (unsigned)sim_random_below(&test->random, BLOCKS), ++test->count);
		flush(machine, volume);
	}
}

/* ---- They come, serve, and go ---- */

static void add_and_flush(struct machine *machine)
{
	struct log_test *test = machine->test;
	struct volume *volume = pool_volume(machine, pool_open(machine), "v");
	struct space before, after;

	flush_some_more(machine, volume, 3);
	core_space(machine->core, &before);
	add_logs(machine);
	core_space(machine->core, &after);
	expect_equal(before.raw_aus, after.raw_aus);
	expect_equal(before.usable_cells, after.usable_cells);
	flush_some_more(machine, volume, 2);
	expect_places(machine, true, copies_of(machine));
	uint64_t txg = core_committed_txg(machine->core), fallbacks = core_log_counters(machine->core)->fallbacks;
	flush_some_more(machine, volume, 20);
	expect_equal(core_committed_txg(machine->core), txg);
	expect_equal(core_log_counters(machine->core)->fallbacks, fallbacks);
	write_version(machine, volume, 1, ++test->count);
	power_off(machine);
}

static void remove_logs(struct machine *machine)
{
	struct datasets *datasets = pool_open(machine);
	struct volume *volume = pool_volume(machine, datasets, "v");

	flush_some_more(machine, volume, 5);
	expect_places(machine, true, copies_of(machine));
	for (unsigned i = 0; i < log_disks; i++)
		expect_done(machine, core_disk_remove(machine->core, machine->disks + i, &machine->error));
	expect(core_label(machine->core)->feature_count == 0);
	flush_some_more(machine, volume, 5);
	expect_places(machine, false, 0);
	flush_some_more(machine, volume, 5);
	volume_close(volume);
	pool_close(machine, datasets);
}

static void test_life(void **state)
{
	(void)state;
	for (unsigned number = 0; number < GEOMETRIES; number++)
		for (unsigned count = 1; count <= 4; count++) {
			struct log_test test;
			struct machine *machine = machine_with_logs(number, count, &test, 10 * number + count);

			machine_boot(machine, make_volume);
			expect(!machine_boot_mode(machine, add_and_flush, SIM_CRASH_NONE));
			machine_boot(machine, see_flushed);
			machine_boot(machine, see_clean);
			machine_boot(machine, remove_logs);
			machine->hidden = mask_of_logs(machine);
			machine_boot(machine, see_flushed);
			machine_free(machine);
		}
}

/* ---- A crash at any write, and up to all but one copy lost with it ---- */

static void live_with_logs(struct machine *machine)
{
	struct log_test *test = machine->test;
	struct datasets *datasets = pool_open(machine);
	struct volume *volume = pool_volume(machine, datasets, "v");

	add_logs(machine);
	for (unsigned i = 0; i < 6; i++) {
		for (unsigned block = 0; block < BLOCKS; block++)
			if (block < 2 || (i % 3 == 2 && block < LARGE))
				write_version(machine, volume, block, test->first + i + 1);
		expect_done(machine, volume_flush(volume));
		test->flushed = test->first + i + 1;
		if (i == 4)
			expect_done(machine, core_disk_remove(machine->core, machine->disks, &machine->error));
	}
	volume_close(volume);
	pool_close(machine, datasets);
}

static void expect_prefix(struct machine *machine, struct volume *volume)
{
	struct log_test *test = machine->test;
	uint8_t data[BLOCK];
	unsigned version = 0;

	expect_done(machine, volume_read(volume, 0, BLOCK, data));
	for (unsigned i = test->flushed; i <= test->first + 6 && !version; i++)
		version = block_is(data, BLOCK, 0, i) ? i : 0;
	expect(version >= test->flushed || (test->flushed == 0 && block_is(data, BLOCK, 0, 0)));
	for (unsigned block = 0; block < BLOCKS; block++) {
		unsigned wanted = version;
		while (block >= 2 && wanted && wanted % 3)
			wanted--;
		if (block >= LARGE)
			wanted = 0;
		expect_done(machine, volume_read(volume, (uint64_t)block * BLOCK, BLOCK, data));
		expect(block_is(data, BLOCK, block, wanted));
	}
	test->flushed = version;
}

static void see_prefix(struct machine *machine)
{
	struct log_test *test = machine->test;
	struct datasets *datasets = pool_open(machine);
	struct volume *volume = pool_volume(machine, datasets, "v");

	expect(!core_log_loss(machine->core)->lost);
	expect_prefix(machine, volume);
	volume_close(volume);
	if (test->clean)
		pool_close(machine, datasets);
	else
		pool_abandon(machine, datasets);
}

/* Two log disks: any of them may go with the crash, and a disk of the pool as well where it has parity. */
static void test_crashes(void **state)
{
	(void)state;
	for (unsigned number = 0; number < GEOMETRIES; number++) {
		bool ended = false;

		for (unsigned step = 0; !ended; step += number ? 3 : 1) {
			struct log_test test;
			struct machine *machine = machine_with_logs(number, 2, &test, 100 * number + step);

			machine_boot(machine, make_volume);
			sim_disks_cut_at(machine->set, machine->set->operations + step);
			ended = machine_boot_mode(machine, live_with_logs, SIM_CRASH_ANY);
			/* When the first is being removed the second has the log alone. */
			unsigned away = machine->disks + (test.flushed < 5 ? step % 2 : 0);
			machine->hidden = 1u << away | (machine->m && step % 4 > 1 ? 1u << step % machine->disks : 0);
			for (unsigned again = 0; again < 6; again++) {
				sim_disks_cut_at(machine->set, machine->set->operations + again * 9);
				if (machine_boot_mode(machine, see_prefix, SIM_CRASH_ANY))
					break;
				/* Who was away is back, and has an old log, or none. */
				machine->hidden = again % 2 ? 1u << away : 0;
			}
			test.clean = true;
			machine_boot(machine, see_prefix);
			machine->hidden = 0;
			machine_boot(machine, see_prefix);
			machine_free(machine);
		}
	}
}

/* ---- All copies lost ---- */

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

	expect(loss->lost && loss->first_txg == test->first + 1 && loss->last_txg == test->first + 2);
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

	expect(!core_log_loss(machine->core)->lost);
	expect_content(machine, volume, test->versions);
	for (unsigned i = 0; i < log_disks; i++)
		expect_equal(store_disk(machine->core->store, machine->disks + i)->state, DISK_ONLINE);
	flush_some_more(machine, volume, 5);
	expect_places(machine, true, copies_of(machine));
	volume_close(volume);
	pool_close(machine, datasets);
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
			machine_boot(machine, see_back);
			machine_boot(machine, see_clean);
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

/* Two that are to mirror each other: the first isn't used before the second is there. */
static void add_one_by_one(struct machine *machine)
{
	struct volume *volume = pool_volume(machine, pool_open(machine), "v");
	unsigned index;

	flush_some_more(machine, volume, 2);
	for (unsigned i = 0; i < 2; i++) {
		expect_done(machine, core_disk_add(machine->core, machine_open_disk(machine, machine->disks + i), ROLE_LOG, &index,
						   &machine->error));
		flush_some_more(machine, volume, 2);
		expect_places(machine, false, 0);
	}
	expect_done(machine, core_log_disks_use(machine->core));
	flush_some_more(machine, volume, 2);
	expect_places(machine, true, 2);
	power_off(machine);
}

static void test_together(void **state)
{
	struct log_test test;
	struct machine *machine = machine_with_logs(0, 2, &test, 360);

	(void)state;
	machine_boot(machine, make_volume);
	expect(!machine_boot_mode(machine, add_one_by_one, SIM_CRASH_NONE));
	machine_boot(machine, see_flushed);
	machine_free(machine);
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

/* ---- Lost while they are in use ---- */

static unsigned vanish_at, vanish_count;

static void flush_over_loss(struct machine *machine)
{
	struct volume *volume = pool_volume(machine, pool_open(machine), "v");

	add_logs(machine);
	for (unsigned i = 0; i < 24; i++) {
		if (i == vanish_at)
			for (unsigned n = 0; n < vanish_count; n++)
				sim_disk_vanish(machine->set->disks[machine->disks + n], SIM_CRASH_NONE);
		flush_some_more(machine, volume, 1);
		if (i == vanish_at && i % 3 == 0)
			expect_done(machine, core_commit_forced(machine->core));
	}
	expect_places(machine, vanish_count < log_disks, 1);
	for (unsigned n = 0; n < vanish_count; n++)
		expect_equal(store_disk(machine->core->store, machine->disks + n)->state, DISK_FAULTY);
	expect(!store_halted(machine->core->store, NULL));
	power_off(machine);
}

static void test_vanishing(void **state)
{
	(void)state;
	for (unsigned number = 0; number < GEOMETRIES; number++)
		for (vanish_count = 1; vanish_count <= 2; vanish_count++)
			for (vanish_at = 0; vanish_at < 8; vanish_at++) {
				struct log_test test;
				struct machine *machine = machine_with_logs(number, 2, &test, 500 + 10 * number + vanish_at);

				machine_boot(machine, make_volume);
				expect(!machine_boot_mode(machine, flush_over_loss, SIM_CRASH_ANY));
				machine_boot(machine, see_flushed);
				machine_free(machine);
			}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_life),	cmocka_unit_test(test_crashes),	 cmocka_unit_test(test_lost),
		cmocka_unit_test(test_given_up), cmocka_unit_test(test_exported), cmocka_unit_test(test_emptied), cmocka_unit_test(test_together), cmocka_unit_test(test_vanishing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
