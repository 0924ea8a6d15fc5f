/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * So many moved blocks that their entries fill some hundred leaves of xblk: each leaf is read once by whoever needs many of its entries, a commit in which
 * they die reads many at a time, and the checkers find the one entry that is wrong.
 */
#include "libpool/txg/internal.h"
#include "scrub/verify.h"
#include "tests/unit/dataset/volumes.h"

#define BLOCK 4096u
#define BLOCKS 60000u

struct world {
	uint8_t data[64 * BLOCK];
	struct datasets *datasets;
	struct volume *volume;
};
static struct world world;

static void write_all(struct machine *machine, unsigned version)
{
	for (unsigned block = 0; block < BLOCKS; block++) {
		block_fill(world.data, BLOCK, block, version);
		expect_done(machine, volume_write(world.volume, (uint64_t)block * BLOCK, BLOCK, world.data));
		if (block % 10000 == 9999)
			expect_done(machine, core_commit(machine->core));
	}
}

static unsigned entries(struct machine *machine)
{
	struct dnode dnode;

	object_info(core_mos_object(machine->core, MOS_XBLK), &dnode);
	return (unsigned)dnode.max_block;
}

/* All that is live in segments that are FULL. */
static void compact_all(struct machine *machine)
{
	struct alloc *alloc = core_alloc(machine->core);
	uint32_t count = alloc_segment_count(alloc);
	struct core_compacted result;

	store_retire(core_store(machine->core), CLASS_HOT);
	expect_done(machine, core_commit_forced(machine->core));
	for (uint32_t id = 0; id < count; id++) {
		const struct segment *segment = alloc_segment(alloc, id);

		if (segment && segment->record.state == SEGMENT_FULL && segment->live && segment->record.class == CLASS_HOT &&
		    core_compact(machine->core, id, 0, UINT16_MAX, &result) == -EAGAIN)
			expect_done(machine, core_commit_forced(machine->core));
	}
	expect_done(machine, core_commit_forced(machine->core));
}

static uint64_t blocks_read(struct machine *machine)
{
	return store_counters(core_store(machine->core))->read_blocks;
}

static void violations(struct machine *machine, bool found)
{
	struct verify_result result;

	expect_done(machine, verify_pool(machine->core, world.datasets, VERIFY_REACHABLE, &result));
	if (result.violations && !found)
		fprintf(stderr, "%s\n", result.first);
	expect(found == (result.violations > 0));
	expect(!found || strstr(result.first, "xblk"));
}

/* An entry that no block has, of cells that are another's: only the number of all entries tells. */
static void forge(struct machine *machine)
{
	struct object *tree = core_mos_object(machine->core, MOS_XBLK);
	uint8_t key[OBJECT_KEY_MAX], value[OBJECT_VALUE_MAX];
	struct moved_entry entry;
	size_t key_length, length;
	uint64_t txg;

	expect_done(machine, tree_next(tree, NULL, 0, false, key, &key_length, value, &length));
	expect_done(machine, moved_decode(key, key_length, value, length, &entry));
	entry.place++;
	moved_encode(&entry, key, value);
	expect_done(machine, core_hold_own(machine->core, 0, &txg));
	expect_done(machine, tree_put(tree, txg, key, key_length, value, length));
	core_release(machine->core, txg);
	expect_done(machine, core_commit(machine->core));
}

static void program(struct machine *machine)
{
	world.datasets = pool_open(machine);
	expect_done(machine, volume_create(world.datasets, "v", (uint64_t)BLOCKS * BLOCK, BLOCK, 0, &machine->error));
	world.volume = pool_volume(machine, world.datasets, "v");
	write_all(machine, 1);
	compact_all(machine);
	unsigned moved = entries(machine);
	expect(moved > BLOCKS / 10 * 9);
	violations(machine, false);
	forge(machine);
	violations(machine, true);

	/* Entries come in the order of their keys: leaves are full, and of 38 bytes an entry. */
	unsigned leaves = moved * 38 / 16352 + 10, nodes = BLOCKS / 64 * 65 / 64 + 10;

	blocks_drop_cache(core_blocks(machine->core));
	uint64_t before = blocks_read(machine);
	for (unsigned block = 0; block < BLOCKS; block += 64) {
		unsigned count = block + 64 < BLOCKS ? 64 : BLOCKS - block;

		expect_done(machine, volume_read(world.volume, (uint64_t)block * BLOCK, count * BLOCK, world.data));
	}
	uint64_t read = blocks_read(machine) - before;
	print_message("%u moved blocks of %u: %llu blocks read, %u leaves of xblk at most\n", moved, BLOCKS, (unsigned long long)read, leaves);
	expect(read <= BLOCKS + nodes + leaves);
	volume_close(world.volume);
	pool_close(machine, world.datasets);
}

/* Some of each leaf die in one commit, on disks that take their time; then all, which takes several. */
static void kill_program(struct machine *machine)
{
	world.datasets = pool_open(machine);
	world.volume = pool_volume(machine, world.datasets, "v");
	for (unsigned block = 0; block < BLOCKS; block += 400) {
		block_fill(world.data, BLOCK, block, 2);
		expect_done(machine, volume_write(world.volume, (uint64_t)block * BLOCK, BLOCK, world.data));
	}
	blocks_drop_cache(core_blocks(machine->core));
	unsigned moved = entries(machine);
	uint64_t began = rt_now(machine->rt), before = blocks_read(machine);

	expect_done(machine, core_commit(machine->core));
	uint64_t ns = rt_now(machine->rt) - began, read = blocks_read(machine) - before;

	print_message("%u of them died: %llu blocks read, in %llu ms\n", moved - entries(machine), (unsigned long long)read, (unsigned long long)(ns / NS_PER_MS));
	expect(moved - entries(machine) > BLOCKS / 400 / 10 * 9 && ns < 400 * NS_PER_MS);
	expect_done(machine, volume_trim(world.volume, 0, (uint64_t)BLOCKS * BLOCK));
	for (unsigned commits = 0; entries(machine) > 1; commits++) { /* one is forged */
		expect_done(machine, core_commit_forced(machine->core));
		expect(commits < 20);
	}
	volume_close(world.volume);
	pool_close(machine, world.datasets);
}

static void test_many(void **state)
{
	struct machine *machine = machine_new(6, 256 * MIB, 4, 2, 5);

	(void)state;
	machine_boot(machine, machine_create_program);
	machine_boot(machine, program);
	for (unsigned i = 0; i < machine->disks; i++)
		machine->set->disks[i]->latency = (struct sim_latency){.io_ns = 5 * NS_PER_MS, .bytes_per_second = UINT64_C(3000000000)};
	machine_boot(machine, kill_program);
	machine_free(machine);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_many)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
