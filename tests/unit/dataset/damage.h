/* SPDX-License-Identifier: BSD-2-Clause */
/* Garbage over one block of a dataset or of the MOS, beyond what parity can repair. */
#ifndef TESTS_UNIT_DATASET_DAMAGE_H
#define TESTS_UNIT_DATASET_DAMAGE_H

#include "tests/unit/dataset/volumes.h"

/* The pointer of one block: of a node of the volume's content, of its dnodes, of a tree of the MOS. */
struct wanted {
	uint32_t objset;
	uint64_t object, block;
	unsigned level, type;
	bool found;
	struct block_pointer pointer;
};

static inline int find_pointer(void *argument, const struct block_pointer *pointer, const struct block_owner *owner)
{
	struct wanted *wanted = argument;

	if (owner->objset != wanted->objset || owner->level != wanted->level || pointer->type != wanted->type ||
	    owner->object != wanted->object || owner->block != wanted->block)
		return 0;
	wanted->found = true;
	wanted->pointer = *pointer;
	return 0;
}

/* All columns of the rows, so that nothing can be reconstructed. */
static inline void damage_pointed(struct machine *machine, const struct block_pointer *pointer)
{
	struct core *core = machine->core;
	uint8_t garbage[CELL_SIZE];

	memset(garbage, 0x5A, sizeof(garbage));
	struct dva dva = dva_unpack(pointer->dva);
	const struct segment *segment = alloc_segment(core_alloc(core), dva.segment);
	for (unsigned c = 0; c < (unsigned)segment->record.k + segment->record.m; c++)
		for (unsigned i = 0; i < pointer->psect; i++)
			sim_disk_poke(machine->set->disks[segment->record.columns[c].disk],
				      store_cell_offset(core_store(core), segment->record.columns[c].au,
							dva.base + (dva.offset + i) % dva.height),
				      garbage, sizeof(garbage));
	blocks_drop_cache(core_blocks(core));
}

static inline void damage(struct machine *machine, struct datasets *datasets, struct wanted *wanted)
{
	expect_done(machine, datasets_walk(datasets, find_pointer, wanted));
	expect(wanted->found);
	damage_pointed(machine, &wanted->pointer);
}

#endif
