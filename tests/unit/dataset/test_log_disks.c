/* SPDX-License-Identifier: BSD-2-Clause */
/* Log disks: what they hold, what is durable with them, and what it means to lose one of them, at any moment. */
#include <limits.h>

#include "tests/unit/dataset/log_disks.h"

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

/* They are anybody's: nothing says that they were of a pool. */
static void expect_no_labels(struct machine *machine)
{
	for (unsigned i = 0; i < log_disks; i++) {
		struct disk *disk;
		struct label *label = NULL;

		expect_done(machine, machine->provider->ops->open(machine->provider, machine->rt, machine->set->disks[machine->disks + i]->path,
								  DISK_OPEN_READ_ONLY, &disk, &machine->error));
		expect(core_label_read(disk, &label) < 0 && !label);
		disk_close(disk);
	}
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
	expect_no_labels(machine);
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

	expect(!core_log_loss(machine->core)->count);
	expect_prefix(machine, volume);
	volume_close(volume);
	if (test->clean)
		pool_close(machine, datasets);
	else
		pool_abandon(machine, datasets);
}

/* From moment to moment: fewer with a sanitizer, where each takes ten times as long. */
static unsigned stride(unsigned number)
{
	return SANITIZED ? 7 : number ? 3 : 1;
}

/* Two log disks: any of them may go with the crash, and a disk of the pool as well where it has parity. */
static void test_crashes(void **state)
{
	(void)state;
	for (unsigned number = 0; number < GEOMETRIES; number++) {
		bool ended = false;

		for (unsigned step = 0; !ended; step += stride(number)) {
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

/* ---- A crash at any write of their joining ---- */

static unsigned join_step;

static void join_and_crash(struct machine *machine)
{
	struct volume *volume = pool_volume(machine, pool_open(machine), "v");

	flush_some_more(machine, volume, 2);
	sim_disks_cut_at(machine->set, machine->set->operations + join_step);
	add_logs(machine);
	sim_disks_cut_at(machine->set, UINT64_MAX);
	join_step = UINT_MAX;
	power_off(machine);
}

/* What was flushed has as many copies as before, on the pool's disks or on all log disks that were named. */
static void flush_after_joining(struct machine *machine)
{
	struct volume *volume = pool_volume(machine, pool_open(machine), "v");
	unsigned joined = 0;

	for (unsigned i = 0; i < log_disks; i++) {
		const struct store_disk *disk = store_disk(machine->core->store, machine->disks + i);
		joined += disk->configured && disk->disk && disk->state == DISK_ONLINE;
	}
	expect(joined == 0 || joined == log_disks);
	flush_some_more(machine, volume, 3);
	expect_places(machine, joined > 0, copies_of(machine));
	power_off(machine);
}

static void test_joining(void **state)
{
	(void)state;
	for (unsigned number = 0; number < 2; number++)
		for (unsigned step = 0; join_step != UINT_MAX || step == 0; step += stride(number)) {
			struct log_test test;
			unsigned count = geometries[number].m + 1;
			struct machine *machine = machine_with_logs(number, count, &test, 500 * number + step);

			join_step = step;
			machine_boot(machine, make_volume);
			expect(!machine_boot_mode(machine, join_and_crash, SIM_CRASH_ANY));
			expect(!machine_boot_mode(machine, flush_after_joining, SIM_CRASH_ANY));
			/* All but one of them, which is as many as the profile has parity. */
			machine->hidden = mask_of_logs(machine) & ~(1u << (machine->disks + step % count));
			machine_boot(machine, see_flushed);
			machine->hidden = 0;
			machine_boot(machine, see_flushed);
			machine_free(machine);
		}
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

/* ---- One that can't go yet ---- */

static void remove_busy(struct machine *machine)
{
	struct datasets *datasets = pool_open(machine);
	struct volume *volume = pool_volume(machine, datasets, "v");

	add_logs(machine);
	flush_some_more(machine, volume, 3);
	expect_places(machine, true, 2);
	/* As long as changes of the last import's log aren't made again, every commit keeps the log. */
	uint64_t replay_txg = machine->core->intent.replay_txg;
	machine->core->intent.replay_txg = UINT64_MAX;
	expect_equal(core_disk_remove(machine->core, machine->disks, &machine->error), -EBUSY);
	expect(alloc_disk(machine->core->alloc, machine->disks)->usable);
	machine->core->intent.replay_txg = replay_txg;
	/* It is used again, as if nobody had asked. */
	flush_some_more(machine, volume, 3);
	expect_places(machine, true, 2);
	volume_close(volume);
	pool_close(machine, datasets);
}

static void test_busy(void **state)
{
	struct log_test test;
	struct machine *machine = machine_with_logs(0, 2, &test, 370);

	(void)state;
	machine_boot(machine, make_volume);
	machine_boot(machine, remove_busy);
	machine_boot(machine, see_flushed);
	machine_free(machine);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_life),
		cmocka_unit_test(test_crashes),
		cmocka_unit_test(test_joining),
		cmocka_unit_test(test_together),
		cmocka_unit_test(test_busy),
		cmocka_unit_test(test_vanishing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
