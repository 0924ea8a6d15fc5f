/*
 * Changes of labels on disks that have only one whole copy, or may have only one: while a copy is written another one must be whole and durable, in one
 * of both areas, whatever happened to the last change.
 */
#include "tests/unit/txg/records.h"

#define DISKS 4u

struct test {
	bool watches;
	unsigned written; /* label copies, as long as it watches */
};

static uint64_t label_at(const struct sim_disk *disk, unsigned area, unsigned copy)
{
	return label_area_offset(disk->size, area) + LABEL_OFFSET + copy * LABEL_COPY_SIZE;
}

static bool is_safe(const struct machine *machine, struct sim_disk *disk, unsigned copy)
{
	struct label *label = malloc(sizeof(*label));
	uint8_t *raw = malloc(LABEL_COPY_SIZE);
	bool safe = false;

	for (unsigned area = 0; area < 2; area++) {
		sim_disk_peek(disk, label_at(disk, area, copy), raw, LABEL_COPY_SIZE);
		safe |= sim_disk_is_durable(disk, label_at(disk, area, copy), LABEL_COPY_SIZE) && label_decode(raw, area, copy, label) == 0 &&
			memcmp(&label->pool, &core_label(machine->core)->pool, sizeof(label->pool)) == 0;
	}
	free(raw);
	free(label);
	return safe;
}

static void on_submit(void *argument, struct sim_disk *disk, const struct disk_io *io)
{
	struct machine *machine = argument;
	struct test *test = machine->test;

	if (io->operation != DISK_WRITE || !test->watches)
		return;
	for (unsigned area = 0; area < 2; area++)
		for (unsigned copy = 0; copy < 2; copy++)
			if (io->offset == label_at(disk, area, copy)) {
				expect(is_safe(machine, disk, 1 - copy));
				test->written++;
			}
}

static void watch(struct machine *machine)
{
	((struct test *)machine->test)->watches = true;
	machine->set->hooks = (struct sim_disks_hooks){ .argument = machine, .on_submit = on_submit };
}

static int rename_pool(struct machine *machine, const char *name)
{
	struct label *label = malloc(sizeof(*label));

	*label = *core_label(machine->core);
	snprintf(label->name, sizeof(label->name), "%s", name);
	int status = core_label_update(machine->core, label, &machine->error);
	free(label);
	return status;
}

static void expect_name(struct sim_disk *disk, const char *name)
{
	struct label *label = malloc(sizeof(*label));
	uint8_t *raw = malloc(LABEL_COPY_SIZE);

	for (unsigned i = 0; i < 4; i++) {
		sim_disk_peek(disk, label_at(disk, i / 2, i % 2), raw, LABEL_COPY_SIZE);
		expect_equal(label_decode(raw, i / 2, i % 2, label), 0);
		expect_equal(strcmp(label->name, name), 0);
	}
	free(raw);
	free(label);
}

/* As log disks come back, which have no uberblock: nothing else is flushed. */
static void come_back(struct machine *machine, unsigned index)
{
	struct store_disk *disk = store_disk(core_store(machine->core), index);

	expect_equal(disk->state, DISK_FAULTY);
	disk->state = DISK_ONLINE;
	disk->consecutive_errors = 0;
}

/* The nth flush of one disk fails, and what its cache has may be lost; again and again, with whole changes in between. */
static void flush_program(struct machine *machine)
{
	struct sim_disk *disk = machine->set->disks[1];
	char name[16];

	expect_done(machine, machine_import(machine));
	watch(machine);
	for (unsigned i = 0; i < 24; i++) {
		snprintf(name, sizeof(name), "name%u", i);
		sim_disk_fault(disk, SIM_FLUSH_ERROR, 0, 0, i % 3 == 2, 1, 0);
		expect_done(machine, rename_pool(machine, name));
		come_back(machine, 1);
		if (i % 4)
			continue;
		expect_done(machine, rename_pool(machine, "whole"));
		for (unsigned d = 0; d < DISKS; d++)
			expect_name(machine->set->disks[d], "whole");
	}
	expect(((struct test *)machine->test)->written > 24 * DISKS);
	machine_abandon(machine);
}

static void test_flush_fails(void **state)
{
	for (uint64_t seed = 1; seed <= 10; seed++) {
		struct test test = { 0 };
		struct machine *machine = machine_new(DISKS, 64 * MIB, 1, 2, seed);

		(void)state;
		machine->test = &test;
		machine_boot(machine, machine_create_program);
		machine_boot(machine, flush_program);
		machine_free(machine);
	}
}

/* A crash has torn one copy, in both areas, of all disks: copy 1 of some. */
static void torn_program(struct machine *machine)
{
	for (unsigned d = 0; d < DISKS; d++)
		for (unsigned area = 0; area < 2; area++)
			sim_disk_rot(machine->set->disks[d], label_at(machine->set->disks[d], area, d != 2) + CELL_SIZE);
	expect_done(machine, machine_import(machine));
	watch(machine);
	expect_done(machine, rename_pool(machine, "first"));
	for (unsigned d = 0; d < DISKS; d++)
		expect_name(machine->set->disks[d], "first");
	expect_equal(((struct test *)machine->test)->written, DISKS * 4);
	expect_done(machine, rename_pool(machine, "second"));
	for (unsigned d = 0; d < DISKS; d++)
		expect_name(machine->set->disks[d], "second");
	machine_export(machine);
}

static void test_torn(void **state)
{
	struct test test = { 0 };
	struct machine *machine = machine_new(DISKS, 64 * MIB, 2, 1, 31);

	(void)state;
	machine->test = &test;
	machine_boot(machine, machine_create_program);
	machine_boot(machine, torn_program);
	machine_free(machine);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_flush_fails), cmocka_unit_test(test_torn) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
