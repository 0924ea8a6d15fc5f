/* Disks that were used apart from each other, and those that only seem so. */
#include "libpool/txg/internal.h"
#include "tests/unit/txg/commits.h"

static void write_half(struct machine *machine)
{
	expect_done(machine, machine_import(machine));
	record_commit(machine, 20 + machine->hidden);
	record_commit(machine, 20 + machine->hidden);
	machine_export(machine);
}

/* Of the other half nothing counts, however much of it may be the same. */
static void go_on_with(struct machine *machine, uint32_t value)
{
	expect_done(machine, machine_import(machine));
	expect_equal(record_get(machine, 1), value);
	const struct store_disk *other = store_disk(core_store(machine->core), value == 21 ? 0 : 1);
	expect_equal(other->state, DISK_RESYNC);
	expect_equal(other->stale_from, 1);
	machine_export(machine);
}

static void split_program(struct machine *machine)
{
	expect_equal(machine_import(machine), -POOL_ESPLIT);
	machine->force = true;
	go_on_with(machine, 22);
}

static void test_split(void **state)
{
	struct numbers numbers = { 0 };
	struct machine *machine = six_commits(2, 1, 1, &numbers);

	(void)state;
	for (machine->hidden = 1; machine->hidden <= 2; machine->hidden++)
		machine_boot(machine, write_half);
	machine->hidden = 0;
	machine_boot(machine, split_program);
	machine_free(machine);
}

static void commit_once(struct machine *machine)
{
	expect_done(machine, machine_import(machine));
	((struct numbers *)machine->test)->txgs[7] = record_commit(machine, 7);
	machine_abandon(machine);
}

static void refused(struct machine *machine)
{
	expect_equal(machine_import(machine), -POOL_ESPLIT);
}

/* Of each half a single uberblock: what it needed, it had. */
static void test_split_by_one(void **state)
{
	struct numbers numbers = { 0 };
	struct machine *machine = six_commits(2, 1, 1, &numbers);

	(void)state;
	machine_boot(machine, see_six);
	for (machine->hidden = 1; machine->hidden <= 2; machine->hidden++)
		machine_boot(machine, commit_once);
	machine->hidden = 0;
	machine_boot(machine, refused);
	machine_free(machine);
}

static void torn_program(struct machine *machine)
{
	go_on_with(machine, 21);
}

/* One disk has an import's only uberblock, the quorum needs two, and the next import sees only the other disk: no other half. */
static void test_torn(void **state)
{
	struct numbers numbers = { 0 };
	struct machine *machine = six_commits(2, 1, 1, &numbers);

	(void)state;
	machine_boot(machine, see_six);
	machine_boot(machine, commit_once);
	for (unsigned area = 0; area < 2; area++)
		poke_garbage(machine, 1, slot_offset(machine, 1, area, numbers.txgs[7]), UBERBLOCK_SIZE);
	machine->hidden = 1;
	machine_boot(machine, write_half);
	machine->hidden = 0;
	machine_boot(machine, torn_program);
	machine_free(machine);
}

static void import_only(struct machine *machine)
{
	(void)machine_import(machine);
	sim_disks_power_off(machine->set);
	rt_yield(machine->rt);
}

/* What is newest without the first disk: 0 the sixth commit, 1 the claim of the import that saw just these, 2 that import's first commit. */
static void look(struct machine *machine)
{
	struct numbers *numbers = machine->test;

	expect_done(machine, machine_import(machine));
	const struct uberblock *newest = &machine->core->uberblock;
	numbers->txgs[0] = newest->txg > numbers->txgs[7] ? 2 : newest->state_count > 0;
	machine_abandon(machine);
}

static void go_on(struct machine *machine)
{
	struct numbers *numbers = machine->test;

	expect_done(machine, machine_import(machine));
	expect_equal(record_get(machine, 1), numbers->txgs[0] ? 6 : 7);
	expect_equal(store_disk(core_store(machine->core), 0)->state, numbers->txgs[0] ? DISK_RESYNC : DISK_ONLINE);
	machine_export(machine);
}

/*
 * As before, but the import that sees the other disks only ends after so many of their operations. From its claim on it may have written where the torn
 * commit has its blocks.
 */
static unsigned run_passed_over(unsigned disks, unsigned k, unsigned m, unsigned operations)
{
	struct numbers numbers = { 0 };
	struct machine *machine = six_commits(disks, k, m, &numbers);

	machine_boot(machine, see_six);
	machine_boot(machine, commit_once);
	for (unsigned disk = 1; disk < disks; disk++)
		for (unsigned area = 0; area < 2; area++)
			poke_garbage(machine, disk, slot_offset(machine, disk, area, numbers.txgs[7]), UBERBLOCK_SIZE);
	machine->hidden = 1;
	sim_disks_cut_at(machine->set, machine->set->operations + operations);
	expect(!machine_boot_mode(machine, import_only, operations % 2 ? SIM_CRASH_ALL : SIM_CRASH_NONE));
	machine->read_only = true;
	machine_boot(machine, look);
	machine->hidden = 0;
	machine->read_only = false;
	machine_boot(machine, go_on);
	machine_free(machine);
	return (unsigned)numbers.txgs[0];
}

static void run_all_passed_over(unsigned disks, unsigned k, unsigned m)
{
	unsigned ends[3] = { 0 };

	for (unsigned operations = 0; ends[2] == 0; operations++)
		ends[run_passed_over(disks, k, m, operations)]++;
	expect(ends[0] > 0 && ends[1] > 5);
}

static void test_passed_over(void **state)
{
	(void)state;
	run_all_passed_over(2, 1, 1);
	run_all_passed_over(4, 2, 2);
	run_all_passed_over(5, 3, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_split),
		cmocka_unit_test(test_split_by_one),
		cmocka_unit_test(test_torn),
		cmocka_unit_test(test_passed_over),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
