/* Pools with volumes for the tests of dataset: a machine with its datasets open, and content that tells where it belongs. */
#ifndef TESTS_UNIT_DATASET_VOLUMES_H
#define TESTS_UNIT_DATASET_VOLUMES_H

#include "libpool/dataset/dataset.h"
#include "tests/unit/txg/machine.h"

static inline struct datasets *pool_open(struct machine *machine)
{
	struct datasets *datasets;

	expect_done(machine, machine_import(machine));
	expect_done(machine, datasets_open(machine->core, &datasets, &machine->error));
	return datasets;
}

static inline void pool_close(struct machine *machine, struct datasets *datasets)
{
	core_stop(machine->core);
	datasets_close(datasets);
	expect_done(machine, core_export(machine->core, &machine->error));
}

static inline void pool_abandon(struct machine *machine, struct datasets *datasets)
{
	core_halt(machine->core, "abandoned");
	core_stop(machine->core);
	datasets_close(datasets);
	core_abandon(machine->core);
}

static inline struct volume *pool_volume(struct machine *machine, struct datasets *datasets, const char *name)
{
	struct volume *volume;

	expect_done(machine, volume_open(datasets, name, &volume, &machine->error));
	return volume;
}

/* The content of version `version` of a block; version 0 is zeroes. */
static inline void block_fill(uint8_t *data, size_t size, uint64_t block, unsigned version)
{
	struct sim_random random;

	memset(data, 0, size);
	if (!version)
		return;
	sim_random_seed(&random, block * 1000003 + version);
	for (size_t i = 0; i < size; i += 64) {
		uint64_t value = sim_random_next(&random);
		memcpy(data + i, &value, sizeof(value));
	}
}

static inline bool block_is(const uint8_t *data, size_t size, uint64_t block, unsigned version)
{
	uint8_t *wanted = malloc(size);

	block_fill(wanted, size, block, version);
	bool same = memcmp(data, wanted, size) == 0;
	free(wanted);
	return same;
}

#endif
