/* SPDX-License-Identifier: BSD-2-Clause */
/* What the tests of syncs through the intent log share: files of which each piece has a version. */
#ifndef TESTS_UNIT_FS_LOG_H
#define TESTS_UNIT_FS_LOG_H

#include "libpool/txg/internal.h"
#include "tests/unit/fs/filesystems.h"

#define PIECE 4096u

static struct world world;

static inline struct machine *machine_made(unsigned k, unsigned m)
{
	struct machine *machine = machine_new(k + m + (k > 1), 64 * MIB, k, m, k);

	machine->options.commit_interval_ns = 1000 * NS_PER_S;
	machine_boot(machine, machine_create_program);
	return machine;
}

static inline void put_version(struct fs_node *node, unsigned piece, unsigned version)
{
	uint8_t data[PIECE];

	block_fill(data, PIECE, piece, version);
	put_bytes(&world, node, (uint64_t)piece * PIECE, data, PIECE);
}

static inline bool has_version(struct fs_node *node, unsigned piece, unsigned version)
{
	uint8_t data[PIECE];

	expect_equal(get_bytes(&world, node, (uint64_t)piece * PIECE, data, PIECE), PIECE);
	return block_is(data, PIECE, piece, version);
}

static inline void sync_it(void)
{
	expect_done(world.machine, fs_sync(world.fs));
}

/* Whether this sync is a commit. */
static inline bool commits(void)
{
	uint64_t txg = core_committed_txg(world.machine->core), groups = core_log_counters(world.machine->core)->groups;

	sync_it();
	bool commit = core_committed_txg(world.machine->core) != txg;
	expect(commit || core_log_counters(world.machine->core)->groups == groups + 1);
	return commit;
}

static inline void cut(struct machine *machine)
{
	sim_disks_power_off(machine->set);
	rt_yield(machine->rt);
}

#endif
