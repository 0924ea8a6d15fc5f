/* SPDX-License-Identifier: BSD-2-Clause */
/* Where commits have little room for nodes: changes of files tell of those that they write anew, with the leaves of xblk when blocks were moved. */
#include <fcntl.h>
#include <linux/falloc.h>

#include "libpool/txg/compact.h"
#include "libpool/txg/internal.h"
#include "tests/unit/fs/filesystems.h"

#define BLOCK 4096u
#define BLOCKS 30062u /* the last ones below a node of their own */
#define TXG_BLOCKS 600u

static struct world world;
static uint8_t data[MIB];

static uint64_t placed(enum store_purpose purpose)
{
	const struct store_counters *counters = store_counters(core_store(world.machine->core));

	return counters->placed[purpose] + counters->placed_sys[purpose];
}

static void commit(void)
{
	expect_done(world.machine, core_commit_forced(world.machine->core));
}

/* Neighbours come from many txgs, and so their entries lie in many leaves. */
static struct fs_node *fill(void)
{
	static uint16_t order[BLOCKS];
	struct fs_node *node = make(&world, world.root, "f", S_IFREG | 0644);
	struct sim_random random;

	sim_random_seed(&random, 1);
	for (unsigned i = 0; i < BLOCKS; i++) {
		unsigned j = (unsigned)sim_random_below(&random, i + 1);
		order[i] = order[j];
		order[j] = (uint16_t)i;
	}
	for (unsigned i = 0; i < BLOCKS; i++) {
		for (size_t at = 0; at < BLOCK; at += 8)
			memcpy(data + at, &(uint64_t){ sim_random_next(&random) }, 8);
		put_bytes(&world, node, (uint64_t)order[i] * BLOCK, data, BLOCK);
		if (i % TXG_BLOCKS == TXG_BLOCKS - 1)
			commit();
	}
	return node;
}

static void move_all(void)
{
	struct core *core = world.machine->core;
	struct alloc *alloc = core_alloc(core);
	uint32_t count = alloc_segment_count(alloc);
	struct core_compacted result;

	store_retire(core_store(core), CLASS_HOT);
	store_retire(core_store(core), CLASS_COLD);
	commit();
	for (uint32_t id = 0; id < count; id++) {
		const struct segment *segment = alloc_segment(alloc, id);

		while (segment && segment->record.state == SEGMENT_FULL && segment->live && segment->record.class != CLASS_META &&
		       segment->record.class != CLASS_SURV && core_compact(core, id, 0, UINT16_MAX, &result) == -EAGAIN)
			commit();
	}
	commit();
	commit();
}

/* What the handles of this txg have told of is at least what its commit writes. */
static void told_suffices(const char *what, uint64_t least)
{
	struct core *core = world.machine->core;
	uint64_t told = core->node_cells[core->open_txg & 1], nodes = placed(STORE_NODES), moved = placed(STORE_MOVED);

	commit();
	nodes = placed(STORE_NODES) - nodes;
	moved = placed(STORE_MOVED) - moved;
	print_message("%s: %llu told, %llu of xblk and %llu of other nodes written\n", what, (unsigned long long)told, (unsigned long long)moved,
		      (unsigned long long)nodes);
	expect(moved >= least && moved + nodes <= told);
}

/* Were xblk as large, each block that is replaced or removed would have a leaf of its own. */
static void each_counts(uint64_t blocks)
{
	struct core *core = world.machine->core;

	expect(core->node_cells[core->open_txg & 1] >= 4 * blocks);
	commit();
	core->moved_cells = 1u << 30;
}

static void program(struct machine *machine)
{
	const int punch = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
	struct core *core;

	world_open(&world, machine, 12);
	core = machine->core;
	struct fs_node *node = fill(), *other;
	move_all();
	print_message("xblk has %llu cells\n", (unsigned long long)core->moved_cells);
	struct fs_set set = { .what = FS_SET_SIZE, .size = (uint64_t)(BLOCKS - BLOCKS % 64 - 2) * BLOCK };
	expect_done(machine, fs_set(node, &set));
	told_suffices("cut off", 1);
	put_bytes(&world, node, 5 * MIB, data, MIB);
	told_suffices("overwritten", 1);
	expect_done(machine, fs_allocate(node, punch, 20 * MIB + 4 * BLOCK, 126 * BLOCK, 0));
	told_suffices("punched", 1);
	expect_done(machine, fs_allocate(node, FALLOC_FL_ZERO_RANGE, 30 * MIB + BLOCK + 5, 60 * BLOCK, 0));
	told_suffices("zeroed", 1);

	core->moved_cells = 1u << 30;
	put_bytes(&world, node, 6 * MIB, data, MIB);
	each_counts(MIB / BLOCK);
	expect_done(machine, fs_allocate(node, punch, 22 * MIB + 4 * BLOCK, 126 * BLOCK, 0));
	each_counts(126);
	set.size = 40 * MIB + 30 * BLOCK;
	expect_done(machine, fs_set(node, &set));
	each_counts(128);
	commit();
	/* Others don't take the room of all that they might have. */
	put_bytes(&world, node, 39 * MIB, data, BLOCK);
	expect(core->node_cells[core->open_txg & 1] < 64);
	commit();
	other = make(&world, world.root, "g", S_IFREG | 0644);
	put_bytes(&world, other, 0, data, MIB);
	told_suffices("new", 0);
	fs_put(other);
	fs_put(node);
	world_close(&world);
}

static void test_narrow(void **state)
{
	struct machine *machine = machine_new(6, 64 * MIB, 4, 2, 1);

	(void)state;
	machine->options.check_every_txg = false;
	machine_boot(machine, machine_create_program);
	machine_boot(machine, program);
	machine_free(machine);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_narrow) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
