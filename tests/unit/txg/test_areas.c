/* Copies of labels and of the sysmap that nothing reads while a pool is imported: what is wrong with them is found and mended. */
#include "tests/unit/txg/records.h"

#define DISKS 4u
#define COPIES 4u

static uint64_t label_at(const struct machine *machine, unsigned disk, unsigned number)
{
	return label_area_offset(machine->set->disks[disk]->size, number / 2) + LABEL_OFFSET + number % 2 * LABEL_COPY_SIZE;
}

static uint64_t sysmap_at(const struct machine *machine, unsigned disk, unsigned area)
{
	return label_area_offset(machine->set->disks[disk]->size, area) + SYSMAP_OFFSET +
	       (uint64_t)machine->core->uberblock.sysmap_slot * SYSMAP_SLOT_SIZE;
}

/* All copies but the one numbered as the disk: unreadable, rotten, or of an older configuration. */
static void spoil(struct machine *machine, uint8_t *older)
{
	for (unsigned disk = 0; disk < DISKS; disk++)
		for (unsigned number = 0; number < COPIES; number++) {
			uint64_t offset = label_at(machine, disk, number);
			if (number == disk)
				continue;
			if ((disk + number) % 3 == 0)
				sim_disk_set_unreadable(machine->set->disks[disk], offset + CELL_SIZE, CELL_SIZE);
			else if ((disk + number) % 3 == 1)
				sim_disk_rot(machine->set->disks[disk], offset);
			else
				sim_disk_poke(machine->set->disks[disk], offset, older + (disk * COPIES + number) * LABEL_COPY_SIZE,
					      LABEL_COPY_SIZE);
		}
}

static void expect_found(struct machine *machine, unsigned count)
{
	unsigned wrong, healed;

	expect_done(machine, core_check_areas(machine->core, &wrong, &healed));
	expect_equal(wrong, count);
	expect_equal(healed, count);
}

static uint64_t slot_at(const struct machine *machine, unsigned disk, unsigned area, unsigned slot)
{
	return label_area_offset(machine->set->disks[disk]->size, area) + UBERBLOCK_OFFSET + (uint64_t)slot * UBERBLOCK_SIZE;
}

/* Of each disk: an older slot in each area that can't be read, and the last commit's, which can't either, or is rotten. */
static void spoil_rings(struct machine *machine)
{
	const struct uberblock *last = &machine->core->uberblock;
	unsigned slot = last->txg % UBERBLOCK_COMMIT_SLOTS, area = (last->txg + last->rewrite) % 2;

	for (unsigned disk = 0; disk < DISKS; disk++) {
		sim_disk_set_unreadable(machine->set->disks[disk], slot_at(machine, disk, 0, (slot + 7) % UBERBLOCK_COMMIT_SLOTS), CELL_SIZE);
		sim_disk_set_unreadable(machine->set->disks[disk], slot_at(machine, disk, 1, (slot + 119) % UBERBLOCK_COMMIT_SLOTS), CELL_SIZE);
		if (disk % 2)
			sim_disk_set_unreadable(machine->set->disks[disk], slot_at(machine, disk, area, slot), CELL_SIZE);
		else
			sim_disk_rot(machine->set->disks[disk], slot_at(machine, disk, area, slot));
	}
}

static void expect_last(struct machine *machine)
{
	for (unsigned i = 0; i < DISKS; i++) {
		struct uberblock newest;
		struct store_disk *disk = store_disk(core_store(machine->core), i);
		struct label *label;
		expect_done(machine, core_label_read(disk->disk, &label));
		expect_done(machine, core_uberblock_newest(disk->disk, label, &newest));
		expect_equal(newest.txg, machine->core->uberblock.txg);
		expect_equal(newest.rewrite, machine->core->uberblock.rewrite);
		expect_equal(newest.disk_index, i);
		free(label);
	}
}

static void mend(struct machine *machine)
{
	struct label *label = malloc(sizeof(*label));
	uint8_t *older = malloc(DISKS * COPIES * LABEL_COPY_SIZE);

	expect_done(machine, machine_import(machine));
	expect_found(machine, 0);
	for (unsigned i = 0; i < DISKS * COPIES; i++)
		sim_disk_peek(machine->set->disks[i / COPIES], label_at(machine, i / COPIES, i % COPIES), older + i * LABEL_COPY_SIZE,
			      LABEL_COPY_SIZE);
	*label = *core_label(machine->core);
	strcpy(label->name, "renamed");
	expect_done(machine, core_label_update(machine->core, label, &machine->error));
	free(label);
	spoil(machine, older);
	free(older);
	expect_found(machine, DISKS * (COPIES - 1));
	expect_found(machine, 0);

	/* Both copies of the sysmap on one disk, one on another. */
	uint32_t slot = machine->core->uberblock.sysmap_slot;
	sim_disk_poke(machine->set->disks[0], sysmap_at(machine, 0, 0), "spoilt", 6);
	sim_disk_set_unreadable(machine->set->disks[0], sysmap_at(machine, 0, 1), CELL_SIZE);
	sim_disk_poke(machine->set->disks[2], sysmap_at(machine, 2, 1), "spoilt", 6);
	expect_found(machine, 2);
	expect(machine->core->uberblock.sysmap_slot != slot);
	expect_found(machine, 0);
	spoil_rings(machine);
	expect_found(machine, 3 * DISKS);
	expect_last(machine);
	expect_found(machine, 0);
	machine_export(machine);
}

/* The copy that was left is the one that goes now. */
static void without_the_others(struct machine *machine)
{
	expect_done(machine, machine_import(machine));
	expect_equal(strcmp(core_label(machine->core)->name, "renamed"), 0);
	machine_export(machine);
}

static void test_mended(void **state)
{
	struct machine *machine = machine_new(DISKS, 64 * MIB, 2, 1, 11);

	(void)state;
	machine_boot(machine, machine_create_program);
	machine_boot(machine, mend);
	for (unsigned disk = 0; disk < DISKS; disk++)
		sim_disk_rot(machine->set->disks[disk], label_at(machine, disk, disk));
	machine_boot(machine, without_the_others);
	machine_free(machine);
}

/* A disk that takes no writes there is faulty, the others get theirs; one that doesn't answer is left alone. */
static void fail_one(struct machine *machine)
{
	unsigned wrong, healed;

	expect_done(machine, machine_import(machine));
	sim_disk_rot(machine->set->disks[0], label_at(machine, 0, 1));
	sim_disk_rot(machine->set->disks[1], label_at(machine, 1, 2));
	sim_disk_rot(machine->set->disks[2], label_at(machine, 2, 3));
	sim_disk_fault(machine->set->disks[1], SIM_WRITE_ERROR, 0, 0, 0, 1, 0);
	sim_disk_set_hanging(machine->set->disks[2], true);
	expect_done(machine, core_check_areas(machine->core, &wrong, &healed));
	expect_equal(wrong, 2);
	expect_equal(healed, 1);
	expect_equal(store_disk(machine->core->store, 1)->state, DISK_FAULTY);
	sim_disk_set_hanging(machine->set->disks[2], false);
	machine_abandon(machine);
}

static void test_failing(void **state)
{
	struct machine *machine = machine_new(DISKS, 64 * MIB, 1, 2, 12);

	(void)state;
	machine_boot(machine, machine_create_program);
	machine_boot(machine, fail_one);
	machine_free(machine);
}

/* A ring that is misread once doesn't hide the last commit: whoever goes on from an older one takes its rows. */
static void misread(struct machine *machine)
{
	expect_done(machine, machine_import(machine));
	for (unsigned area = 0; area < 2; area++)
		for (unsigned disk = 0; disk < DISKS; disk++)
			sim_disk_fault(machine->set->disks[disk], SIM_READ_MISDIRECTED, slot_at(machine, disk, area, 0),
				       (uint64_t)UBERBLOCK_COMMIT_SLOTS * UBERBLOCK_SIZE, 0, 1, DATA_START);
	expect_last(machine);
	machine_export(machine);
}

static void test_misread(void **state)
{
	struct machine *machine = machine_new(DISKS, 64 * MIB, 2, 1, 13);

	(void)state;
	machine_boot(machine, machine_create_program);
	machine_boot(machine, misread);
	machine_free(machine);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_mended), cmocka_unit_test(test_failing), cmocka_unit_test(test_misread) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
