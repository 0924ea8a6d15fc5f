/* Disks that were used apart from each other, and those that only seem so. */
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_split),
		cmocka_unit_test(test_split_by_one),
		cmocka_unit_test(test_torn),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
