/* Writes of the final batch that fail: it goes elsewhere, and nobody loses a disk or a pool over one bad sector. */
#include "tests/unit/txg/records.h"

#define COMMITS 6u

struct bad_sector {
	bool there;
	unsigned column;
	struct final_batch expected; /* where the last commit's final batch goes when all is well */
};

static struct segment_column final_column(struct machine *machine, const struct final_batch *final, unsigned column)
{
	return alloc_segment(core_alloc(machine->core), final->segment)->record.columns[column];
}

static void break_row(struct machine *machine, struct segment_column column, unsigned row, unsigned rows)
{
	sim_disk_fault(machine->set->disks[column.disk], SIM_WRITE_ERROR, store_cell_offset(core_store(machine->core), column.au, row),
		       (uint64_t)rows * CELL_SIZE, 0, UINT32_MAX, 0);
}

static void expect_online(struct machine *machine)
{
	const char *why = "";

	if (core_halted(machine->core, &why))
		fprintf(stderr, "halted: %s\n", why);
	expect(!core_halted(machine->core, &why));
	for (unsigned i = 0; i < machine->disks; i++)
		expect_equal(store_disk(core_store(machine->core), i)->state, DISK_ONLINE);
}

static void commits_program(struct machine *machine)
{
	struct bad_sector *bad = machine->test;

	expect_done(machine, machine_import(machine));
	for (unsigned i = 1; i < COMMITS; i++)
		record_commit(machine, i);
	if (bad->there)
		break_row(machine, final_column(machine, &bad->expected, bad->column), bad->expected.base, 1);
	record_commit(machine, COMMITS);
	const struct final_batch *final = &machine->core->uberblock.final;
	if (!bad->there) {
		bad->expected = *final;
	} else {
		size_t count;
		expect(final->segment != bad->expected.segment || final->base + final->rows <= bad->expected.base ||
		       final->base > bad->expected.base);
		(void)alloc_stale(core_alloc(machine->core), &count);
		expect_equal(count, 0);
		expect_online(machine);
		for (unsigned i = 1; i < 4; i++)
			record_commit(machine, COMMITS + i);
		expect_online(machine);
	}
	machine_abandon(machine);
}

static void see_program(struct machine *machine)
{
	expect_done(machine, machine_import(machine));
	expect_equal(record_get(machine, 1), COMMITS + 3);
	record_commit(machine, 20);
	expect_online(machine);
	machine_export(machine);
}

static void run_commits(unsigned disks, unsigned k, unsigned m, struct bad_sector *bad)
{
	struct machine *machine = machine_new(disks, 64 * MIB, k, m, 11);

	machine->test = bad;
	machine_boot(machine, machine_create_program);
	machine_boot(machine, commits_program);
	if (bad->there)
		machine_boot(machine, see_program);
	machine_free(machine);
}

/* One sector that can't be written, under each column of the final batch in turn. */
static void test_bad_sector(void **state)
{
	static const struct { unsigned disks, k, m; } shapes[] = { { 1, 1, 0 }, { 2, 1, 1 }, { 5, 3, 1 }, { 4, 1, 3 } };

	(void)state;
	for (unsigned i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
		unsigned columns = shapes[i].m ? shapes[i].m + 1 : 2;
		struct bad_sector bad = { .there = false };
		run_commits(shapes[i].disks, shapes[i].k, shapes[i].m, &bad);
		for (bad.there = true; bad.column < columns; bad.column++)
			run_commits(shapes[i].disks, shapes[i].k, shapes[i].m, &bad);
	}
}

/* ---- Where all rows of a column are bad ---- */

static void break_column(struct machine *machine)
{
	size_t count;
	const uint32_t *ids = alloc_sys_segments(core_alloc(machine->core), &count);

	for (size_t i = 0; i < count; i++)
		break_row(machine, alloc_segment(core_alloc(machine->core), ids[i])->record.columns[0], 0, 64);
}

static void expect_recorded(struct machine *machine)
{
	const struct final_batch *final = &machine->core->uberblock.final;
	uint64_t txg = core_committed_txg(machine->core);

	for (unsigned row = 0; row < final->rows; row++)
		expect(alloc_is_stale(core_alloc(machine->core), final->segment, 0, final->base + row, txg));
}

static void column_program(struct machine *machine)
{
	expect_done(machine, machine_import(machine));
	record_commit(machine, 1);
	break_column(machine);
	for (unsigned i = 2; i < 5; i++) {
		record_commit(machine, i);
		expect_recorded(machine);
		expect_online(machine);
	}
	machine_abandon(machine);
}

static void see_column_program(struct machine *machine)
{
	machine->read_only = true;
	expect_done(machine, machine_import(machine));
	expect_equal(record_get(machine, 1), 4);
	expect_recorded(machine);
	machine_export(machine);
}

/* The only disk: what a column of the final batch lacks is in the batch's own log. */
static void test_bad_column(void **state)
{
	struct machine *machine = machine_new(1, 64 * MIB, 1, 0, 12);

	(void)state;
	machine_boot(machine, machine_create_program);
	machine_boot(machine, column_program);
	machine_boot(machine, see_column_program);
	machine_free(machine);
}

/* ---- A disk that takes no writes of it at all ---- */

static void disk_program(struct machine *machine)
{
	expect_done(machine, machine_import(machine));
	record_commit(machine, 1);
	sim_disk_fault(machine->set->disks[0], SIM_WRITE_ERROR, DATA_START, 60 * MIB, 0, UINT32_MAX, 0);
	record_commit(machine, 2);
	record_commit(machine, 3);
	expect_equal(store_disk(core_store(machine->core), 0)->state, DISK_FAULTY);
	expect_equal(store_disk(core_store(machine->core), 1)->state, DISK_ONLINE);
	machine_abandon(machine);
}

static void see_disk_program(struct machine *machine)
{
	expect_done(machine, machine_import(machine));
	expect_equal(record_get(machine, 1), 3);
	machine_export(machine);
}

static void test_bad_disk(void **state)
{
	struct machine *machine = machine_new(2, 64 * MIB, 1, 1, 13);

	(void)state;
	machine_boot(machine, machine_create_program);
	machine_boot(machine, disk_program);
	machine_boot(machine, see_disk_program);
	machine_free(machine);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bad_sector),
		cmocka_unit_test(test_bad_column),
		cmocka_unit_test(test_bad_disk),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
