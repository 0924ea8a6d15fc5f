/* A pool with six commits behind it, and its uberblocks. */
#ifndef TESTS_UNIT_TXG_COMMITS_H
#define TESTS_UNIT_TXG_COMMITS_H

#include "tests/unit/txg/records.h"

static inline uint64_t slot_offset(struct machine *machine, unsigned disk, unsigned area, uint64_t txg)
{
	return label_area_offset(machine->set->disks[disk]->size, area) + UBERBLOCK_OFFSET +
	       txg % UBERBLOCK_COMMIT_SLOTS * UBERBLOCK_SIZE;
}

static inline void poke_garbage(struct machine *machine, unsigned disk, uint64_t offset, size_t length)
{
	uint8_t *garbage = malloc(length);

	memset(garbage, 0xA5, length);
	sim_disk_poke(machine->set->disks[disk], offset, garbage, length);
	free(garbage);
}

struct numbers {
	uint64_t txgs[8];
	uint64_t first; /* txg of the first commit after the next import */
};

static inline void commit_six(struct machine *machine)
{
	struct numbers *numbers = machine->test;

	expect_done(machine, machine_import(machine));
	for (unsigned i = 1; i <= 6; i++)
		numbers->txgs[i] = record_commit(machine, i);
	machine_abandon(machine);
}

static inline void see_six(struct machine *machine)
{
	struct numbers *numbers = machine->test;

	expect_done(machine, machine_import(machine));
	expect_equal(record_get(machine, 1), 6);
	expect(!core_imported_clean(machine->core));
	expect(core_committed_txg(machine->core) >= numbers->txgs[6] + TXG_REWIND_GAP); /* the jump is durable */
	numbers->first = record_commit(machine, 6);
	expect(numbers->first >= numbers->txgs[6] + TXG_REWIND_GAP);
	machine_export(machine);
}

static inline struct machine *six_commits(unsigned disks, unsigned k, unsigned m, struct numbers *numbers)
{
	struct machine *machine = machine_new(disks, 64 * MIB, k, m, 7);

	machine->test = numbers;
	machine_boot(machine, machine_create_program);
	machine_boot(machine, commit_six);
	return machine;
}

#endif
