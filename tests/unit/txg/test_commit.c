/* Commits while disks fail, hang or come: what is acknowledged is there after a crash, and nobody waits longer than a deadline. */
#include "tests/unit/txg/records.h"

static struct machine *machine_made(unsigned disks, unsigned k, unsigned m)
{
	struct machine *machine = machine_new(disks, 64 * MIB, k, m, disks * 10 + m);

	machine_boot(machine, machine_create_program);
	return machine;
}

static void fail_uberblocks(struct machine *machine, unsigned disk)
{
	uint64_t length = UBERBLOCK_COMMIT_SLOTS * UBERBLOCK_SIZE;

	for (unsigned area = 0; area < 2; area++)
		sim_disk_fault(machine->set->disks[disk], SIM_WRITE_ERROR,
			       label_area_offset(machine->set->disks[disk]->size, area) + UBERBLOCK_OFFSET, length, 0, 1000, 0);
}

static void heal_disks(struct machine *machine)
{
	for (unsigned i = 0; i < machine->set->count; i++)
		sim_disk_faults_clear(machine->set->disks[i]);
}

/* ---- Uberblocks that can't be written ---- */

static void lose_uberblocks(struct machine *machine)
{
	unsigned losers = *(unsigned *)machine->test;

	expect_done(machine, machine_import(machine));
	record_commit(machine, 1);
	for (unsigned i = 0; i < losers; i++)
		fail_uberblocks(machine, i);
	expect_done(machine, record_put(machine, 1, 2));
	int status = core_commit(machine->core);
	if (losers <= machine->m) {
		expect_equal(status, 0);
		for (unsigned i = 0; i < machine->disks; i++)
			expect_equal(store_disk(core_store(machine->core), i)->state, i < losers ? DISK_FAULTY : DISK_ONLINE);
	} else {
		/* What the failed ones have of this txg counts as absent, and that is more than parity can replace. */
		expect_equal(status, -POOL_EHALTED);
		expect(core_halted(machine->core, NULL));
		expect_equal(record_put(machine, 1, 3), -POOL_EHALTED);
		expect(core_export(machine->core, &machine->error) < 0);
		heal_disks(machine);
		return;
	}
	heal_disks(machine);
	machine_abandon(machine);
}

static void see_two(struct machine *machine)
{
	expect_done(machine, machine_import(machine));
	unsigned losers = *(unsigned *)machine->test;
	uint32_t value = record_get(machine, 1);
	expect(losers <= machine->m ? value == 2 : value == 1 || value == 2);
	machine_export(machine);
}

static void test_uberblocks_fail(void **state)
{
	(void)state;
	for (unsigned losers = 1; losers < 6; losers++) {
		struct machine *machine = machine_made(6, 4, 2);
		machine->test = &losers;
		machine_boot(machine, lose_uberblocks);
		machine_boot(machine, see_two);
		machine_free(machine);
	}
	for (unsigned losers = 1; losers < 3; losers++) {
		struct machine *machine = machine_made(2, 1, 1);
		machine->test = &losers;
		machine_boot(machine, lose_uberblocks);
		machine_boot(machine, see_two);
		machine_free(machine);
	}
}

/* ---- More states than an uberblock lists ---- */

static void many_offline(struct machine *machine)
{
	unsigned off = 0;
	bool used[MACHINE_MANY] = { false };

	expect_done(machine, machine_import(machine));
	for (uint32_t id = 0; id < alloc_segment_count(machine->core->alloc); id++)
		for (unsigned c = 0; c < COLUMNS_MAX; c++) {
			const struct segment *segment = alloc_segment(machine->core->alloc, id);
			if (segment && segment->record.columns[c].disk != DISK_ABSENT)
				used[segment->record.columns[c].disk] = true;
		}
	for (unsigned i = 0; i < machine->disks && off < UBERBLOCK_STATES_MAX; i++) {
		if (used[i])
			continue;
		store_disk(machine->core->store, i)->state = DISK_OFFLINE;
		alloc_disk_set_usable(machine->core->alloc, i, false);
		off++;
	}
	expect_equal(off, UBERBLOCK_STATES_MAX);
	record_commit(machine, 2);
	for (unsigned i = 0; i < machine->disks; i++)
		if (!used[i] && store_disk(machine->core->store, i)->state == DISK_ONLINE) {
			store_disk(machine->core->store, i)->state = DISK_OFFLINE;
			break;
		}
	const char *why = NULL;
	expect_equal(core_commit_forced(machine->core), -POOL_EHALTED);
	expect(core_halted(machine->core, &why));
	expect(strstr(why, "more disks have failed"));
	machine_abandon(machine);
}

static void see_many(struct machine *machine)
{
	expect_done(machine, machine_import(machine));
	expect_equal(record_get(machine, 1), 2);
	unsigned off = 0;
	for (unsigned i = 0; i < machine->disks; i++)
		off += store_disk(machine->core->store, i)->state == DISK_OFFLINE && !store_disk(machine->core->store, i)->disk;
	expect_equal(off, UBERBLOCK_STATES_MAX);
	machine_export(machine);
}

static void test_many_states(void **state)
{
	struct machine *machine = machine_made(MACHINE_MANY, 1, 1);

	(void)state;
	machine_boot(machine, many_offline);
	machine_boot(machine, see_many);
	machine_free(machine);
}

/* ---- Devices that hang ---- */

static void export_hung(struct machine *machine)
{
	expect_done(machine, machine_import(machine));
	record_commit(machine, 1);
	expect_done(machine, record_put(machine, 1, 2));
	for (unsigned i = 0; i < *(unsigned *)machine->test; i++)
		sim_disk_set_hanging(machine->set->disks[i], true);
	uint64_t began = rt_now(machine->rt);
	int status = core_export(machine->core, &machine->error);
	expect(rt_now(machine->rt) - began < 100 * NS_PER_S);
	expect(*(unsigned *)machine->test <= machine->m ? status == 0 : status < 0);
	for (unsigned i = 0; i < machine->disks; i++) {
		sim_disk_set_hanging(machine->set->disks[i], false);
		sim_disk_release_hung(machine->set->disks[i], i % 2);
	}
}

static void committer(void *argument)
{
	struct machine *machine = argument;

	(void)core_commit(machine->core);
	rt_group_done(machine->rt, machine->test, 0);
}

static void abandon_hung(struct machine *machine)
{
	struct rt_group group;

	expect_done(machine, machine_import(machine));
	record_commit(machine, 1);
	expect_done(machine, record_put(machine, 1, 2));
	sim_disk_set_hanging(machine->set->disks[0], true);
	sim_disk_set_hanging(machine->set->disks[1], true);
	rt_group_init(&group);
	machine->test = &group;
	rt_group_add(&group);
	expect_equal(rt_spawn(machine->rt, "committer", committer, machine), 0);
	rt_sleep(machine->rt, NS_PER_S);
	uint64_t began = rt_now(machine->rt);
	core_halt(machine->core, "given up");
	core_stop(machine->core);
	(void)rt_group_wait(machine->rt, &group);
	core_abandon(machine->core);
	expect(rt_now(machine->rt) - began < NS_PER_S);
	for (unsigned i = 0; i < 2; i++) {
		sim_disk_set_hanging(machine->set->disks[i], false);
		sim_disk_release_hung(machine->set->disks[i], true);
	}
}

static void see_one_or_two(struct machine *machine)
{
	expect_done(machine, machine_import(machine));
	uint32_t value = record_get(machine, 1);
	expect(value == 1 || value == 2);
	machine_export(machine);
}

static void test_hung(void **state)
{
	(void)state;
	for (unsigned hung = 1; hung <= 6; hung++) {
		struct machine *machine = machine_made(6, 4, 2);
		machine->test = &hung;
		machine_boot(machine, export_hung);
		machine_boot(machine, see_one_or_two);
		machine_free(machine);
	}
	struct machine *machine = machine_made(4, 2, 1);
	machine_boot(machine, abandon_hung);
	machine_boot(machine, see_one_or_two);
	machine_free(machine);
}

/* ---- Labels ---- */

static void rename_twice(struct machine *machine)
{
	struct label *label = malloc(sizeof(*label));

	expect_done(machine, machine_import(machine));
	*label = *core_label(machine->core);
	uint64_t before = label->config_txg;
	snprintf(label->name, sizeof(label->name), "%s", "first");
	expect_done(machine, core_label_update(machine->core, label, &machine->error));
	uint64_t between = core_label(machine->core)->config_txg;
	snprintf(label->name, sizeof(label->name), "%s", "second");
	expect_done(machine, core_label_update(machine->core, label, &machine->error));
	expect(before < between && between < core_label(machine->core)->config_txg);
	free(label);
	machine_abandon(machine);
}

static void see_second(struct machine *machine)
{
	expect_done(machine, machine_import(machine));
	expect(strcmp(core_label(machine->core)->name, "second") == 0);
	machine_export(machine);
}

static void refuse_second(struct machine *machine)
{
	expect_equal(machine_import(machine), -POOL_EDEGRADED);
	expect(strncmp(machine->error.text, "pool second:", 12) == 0);
}

/* The newest label is written to disks that were away when it came. */
static void test_labels(void **state)
{
	struct machine *machine = machine_made(3, 1, 2);

	(void)state;
	machine->hidden = 4;
	machine_boot(machine, rename_twice);
	machine->hidden = 0;
	machine_boot(machine, see_second);
	machine->hidden = 3; /* two of three copies are gone: the third lacks what was written without it, but has the label */
	machine_boot(machine, refuse_second);
	machine_free(machine);
}

/* ---- Handles ---- */

struct crowd {
	struct machine *machine;
	struct rt_group group;
	unsigned holding, most;
	uint64_t cells, reserved_most;
	bool late;
};

static void crowd_fiber(void *argument)
{
	struct crowd *crowd = argument;
	struct core *core = crowd->machine->core;

	for (unsigned i = 0; i < 20; i++) {
		uint64_t txg;
		int status = core_hold(core, crowd->cells, &txg);
		expect_equal(status, 0);
		expect_equal(txg, core->open_txg);
		uint64_t reserved = core->reserved_cells[0] + core->reserved_cells[1];
		expect(reserved <= core->space.available_cells);
		expect_done(crowd->machine, tree_put(core_mos_object(core, MOS_PROPERTIES), txg, &i, sizeof(i), &i, sizeof(i)));
		if (i % 3 == 0)
			rt_sleep(core->rt, NS_PER_MS);
		core_release(core, txg);
		if (i % 5 == 0)
			expect_done(crowd->machine, core_commit(core));
	}
	rt_group_done(core->rt, &crowd->group, 0);
}

/* Many that want a quarter of the pool each: they take turns, and never is more promised than there is. */
static void crowd_program(struct machine *machine)
{
	struct crowd crowd = { .machine = machine };

	expect_done(machine, machine_import(machine));
	crowd.cells = machine->core->space.available_cells / 4;
	machine->core->options.dirty_limit = UINT64_C(1) << 40;
	rt_group_init(&crowd.group);
	for (unsigned i = 0; i < 40; i++) {
		rt_group_add(&crowd.group);
		expect_equal(rt_spawn(machine->rt, "crowd", crowd_fiber, &crowd), 0);
	}
	(void)rt_group_wait(machine->rt, &crowd.group);
	expect_equal(machine->core->admitted[0] + machine->core->admitted[1], 0);
	expect_done(machine, core_commit(machine->core));
	expect_equal(machine->core->dirty_bytes[0] + machine->core->dirty_bytes[1], 0);
	uint64_t txg;
	uint64_t began = core_commits(machine->core);
	expect_equal(core_hold(machine->core, machine->core->space.available_cells * 2, &txg), -ENOSPC);
	expect(core_commits(machine->core) - began <= 6);
	machine_export(machine);
}

static void test_crowd(void **state)
{
	struct machine *machine = machine_made(2, 1, 1);

	(void)state;
	machine_boot(machine, crowd_program);
	machine_free(machine);
}

/* ---- What a commit costs ---- */

static void small_commits(struct machine *machine)
{
	expect_done(machine, machine_import(machine));
	for (unsigned i = 0; i < 10; i++)
		record_commit(machine, i);
	uint64_t before = machine_device_bytes(machine);
	for (unsigned i = 0; i < 150; i++)
		record_commit(machine, i);
	uint64_t each = (machine_device_bytes(machine) - before) / 150;
	expect(each <= 384 << 10);
	before = machine_device_bytes(machine);
	rt_sleep(machine->rt, 600 * NS_PER_S);
	expect_equal(machine_device_bytes(machine), before);
	machine_export(machine);
}

static void test_cost(void **state)
{
	struct machine *machine = machine_made(6, 4, 2);

	(void)state;
	machine_boot(machine, small_commits);
	machine_free(machine);
}

/* ---- Metadata that frees what isn't in use ---- */

struct contradiction {
	struct machine *machine;
	struct block_pointer before; /* what the last commit's own block was: it is free by now */
	unsigned frees, told;
	uint64_t cells;
};

static int free_the_free(void *argument, struct object_sync *sync)
{
	struct contradiction *contradiction = argument;

	if (contradiction->frees++ == 0) {
		core_kill(sync, NULL, &contradiction->before);
		core_kill(sync, NULL, &contradiction->before);
	}
	return 0;
}

static void count_leaks(void *argument, enum store_event event, unsigned disk, uint64_t count, const char *text)
{
	struct contradiction *contradiction = argument;

	(void)disk, (void)text;
	if (event == STORE_LEAKED) {
		contradiction->told++;
		contradiction->cells += count;
	}
}

static void contradict(struct machine *machine)
{
	struct contradiction *contradiction = machine->test;
	struct core_participant participant = { .sync = free_the_free, .argument = contradiction };

	expect_done(machine, machine_import(machine));
	record_commit(machine, 1);
	contradiction->before = machine->core->commit_pointer;
	for (unsigned i = 2; i < 8; i++)
		record_commit(machine, i);
	store_set_event_callback(core_store(machine->core), count_leaks, contradiction);
	core_set_participant(machine->core, &participant);
	record_commit(machine, 8);
	record_commit(machine, 9);
	expect(contradiction->frees > 0);
	expect_equal(contradiction->told, 2);
	expect_equal(contradiction->cells, 2 * contradiction->before.psect);
	core_set_participant(machine->core, &(struct core_participant){ 0 });
	machine_export(machine);
}

static void see_nine(struct machine *machine)
{
	expect_done(machine, machine_import(machine));
	expect_equal(record_get(machine, 1), 9);
	machine_export(machine);
}

/* It would be freed at each import again: that is told, and halts nothing. */
static void test_free_of_the_free(void **state)
{
	struct machine *machine = machine_made(3, 2, 1);
	struct contradiction contradiction = { .machine = machine };

	(void)state;
	machine->options.check_every_txg = false;
	machine->test = &contradiction;
	machine_boot(machine, contradict);
	machine_boot(machine, see_nine);
	machine_free(machine);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_free_of_the_free), cmocka_unit_test(test_uberblocks_fail), cmocka_unit_test(test_many_states), cmocka_unit_test(test_hung),
		cmocka_unit_test(test_labels),		cmocka_unit_test(test_crowd),	    cmocka_unit_test(test_cost),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
