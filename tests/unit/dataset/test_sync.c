/* SPDX-License-Identifier: BSD-2-Clause */
/* The settings sync and logbias of volumes: when what is durable, and who writes it. */
#include "tests/unit/dataset/intent.h"

static void set(struct machine *machine, struct datasets *datasets, const char *name, enum dataset_setting setting, uint8_t value)
{
	expect_done(machine, dataset_set(datasets, name, setting, &value, &machine->error));
}

static void make_volumes(struct machine *machine)
{
	struct datasets *datasets = pool_open(machine);

	expect_done(machine, volume_create(datasets, "v", BLOCKS * BLOCK, BLOCK, 0, &machine->error));
	expect_done(machine, volume_create(datasets, "w", BLOCKS * BLOCK, BLOCK, 0, &machine->error));
	pool_close(machine, datasets);
}

static struct machine *made(struct log_test *test, uint64_t seed)
{
	struct machine *machine = machine_made(1, test, seed);

	machine_boot(machine, make_volumes);
	return machine;
}

/* Two volumes with a log, to which both have flushed. */
static void open_both(struct machine *machine, struct datasets **ret_datasets, struct volume *volumes[2])
{
	*ret_datasets = pool_open(machine);
	volumes[0] = pool_volume(machine, *ret_datasets, "v");
	volumes[1] = pool_volume(machine, *ret_datasets, "w");
	for (unsigned i = 0; i < 2; i++) {
		expect_done(machine, volume_write(volumes[1], 0, 5, "begin"));
		expect_done(machine, volume_flush(volumes[1]));
	}
	expect(machine->core->intent.active);
}

static void end_as_flushed(struct machine *machine)
{
	struct log_test *test = machine->test;

	memcpy(test->versions, test->written, sizeof(test->versions));
	power_off(machine);
}

static void change_always(struct machine *machine)
{
	struct log_test *test = machine->test;
	struct datasets *datasets;
	struct volume *volumes[2];

	open_both(machine, &datasets, volumes);
	write_version(machine, volumes[0], 7, 1);
	set(machine, datasets, "v", SETTING_SYNC, SYNC_ALWAYS);
	for (unsigned i = 0; i < 10; i++)
		write_version(machine, volumes[0], i, i + 2);
	uint64_t txg = core_committed_txg(machine->core), groups = core_log_counters(machine->core)->groups;
	write_version(machine, volumes[0], 3, 20);
	expect_done(machine, volume_zero(volumes[0], 4 * BLOCK, BLOCK));
	expect_done(machine, volume_trim(volumes[0], 5 * BLOCK, BLOCK));
	test->written[4] = test->written[5] = 0;
	expect_equal(core_log_counters(machine->core)->groups, groups + 3);
	expect_equal(core_committed_txg(machine->core), txg);
	end_as_flushed(machine);
}

static void change_disabled(struct machine *machine)
{
	struct datasets *datasets;
	struct volume *volumes[2];

	open_both(machine, &datasets, volumes);
	set(machine, datasets, "v", SETTING_SYNC, SYNC_DISABLED);
	write_version(machine, volumes[0], 1, 1);
	flush(machine, volumes[0]);
	expect_done(machine, core_commit(machine->core));
	uint64_t txg = core_committed_txg(machine->core), groups = core_log_counters(machine->core)->groups;
	uint64_t operations = machine->set->operations;
	write_version(machine, volumes[0], 2, 1);
	expect_done(machine, volume_flush(volumes[0]));
	expect_equal(core_committed_txg(machine->core), txg);
	expect_equal(core_log_counters(machine->core)->groups, groups);
	expect_equal(machine->set->operations, operations);
	power_off(machine); /* the second is gone */
}

/* The flush is a commit, and what the other one logs doesn't have it. */
static void change_throughput(struct machine *machine)
{
	struct datasets *datasets;
	struct volume *volumes[2];
	struct core_log_counters before;

	open_both(machine, &datasets, volumes);
	set(machine, datasets, "v", SETTING_LOGBIAS, LOGBIAS_THROUGHPUT);
	expect_done(machine, core_commit(machine->core));
	for (unsigned i = 0; i < BLOCKS; i++)
		write_version(machine, volumes[0], i, 1);
	before = *core_log_counters(machine->core);
	expect_done(machine, volume_write(volumes[1], 0, 5, "other"));
	expect_done(machine, volume_flush(volumes[1]));
	expect_equal(core_log_counters(machine->core)->groups, before.groups + 1);
	expect_equal(core_log_counters(machine->core)->cells, before.cells + 1);
	uint64_t commits = core_commits(machine->core);
	flush(machine, volumes[0]);
	expect_equal(core_commits(machine->core), commits + 1);
	expect_equal(core_log_counters(machine->core)->groups, before.groups + 1);
	/* Back again: what was written before isn't in the log, and yet has to be durable. */
	write_version(machine, volumes[0], 8, 2);
	set(machine, datasets, "v", SETTING_LOGBIAS, LOGBIAS_LATENCY);
	flush(machine, volumes[0]);
	write_version(machine, volumes[0], 9, 2);
	commits = core_commits(machine->core);
	flush(machine, volumes[0]);
	expect_equal(core_commits(machine->core), commits);
	power_off(machine);
}

/* The pool's own setting, with which volumes are without one. */
static void change_of_pool(struct machine *machine)
{
	struct datasets *datasets;
	struct volume *volumes[2];

	open_both(machine, &datasets, volumes);
	datasets_set_pool(datasets, SETTING_LOGBIAS, &(uint8_t){ LOGBIAS_THROUGHPUT });
	core_flush_by_commit(machine->core);
	write_version(machine, volumes[0], 8, 2);
	datasets_set_pool(datasets, SETTING_LOGBIAS, NULL);
	core_flush_by_commit(machine->core);
	flush(machine, volumes[0]);
	power_off(machine);
}

static void test_settings(void **state)
{
	static void (*const programs[])(struct machine *machine) = { change_always, change_disabled, change_throughput, change_of_pool };

	(void)state;
	for (unsigned i = 0; i < sizeof(programs) / sizeof(programs[0]); i++) {
		struct log_test test;
		struct machine *machine = made(&test, 400 + i);

		expect(!machine_boot_mode(machine, programs[i], SIM_CRASH_NONE));
		machine_boot(machine, see_flushed);
		machine_free(machine);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_settings),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
