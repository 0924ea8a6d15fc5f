/* SPDX-License-Identifier: BSD-2-Clause */
/* What a file takes on disk: told as unsettled while a commit may change it, and by none later. */
#include "tests/unit/fs/filesystems.h"

#define MIBS 320u /* in records of 4 KiB: more than one commit frees */

static struct world world;

static void commit(void)
{
	expect_done(world.machine, core_commit_forced(world.machine->core));
}

/* Commits until it is settled; returns how many times it wasn't. Afterwards nothing changes. */
static unsigned settle(struct fs_node *node)
{
	unsigned count = 0;

	for (; attributes(node).unsettled; count++)
		commit();
	uint64_t blocks = attributes(node).blocks;
	for (unsigned i = 0; i < 3; i++) {
		commit();
		expect(!attributes(node).unsettled);
		expect_equal(attributes(node).blocks, blocks);
	}
	return count;
}

static void blocks_program(struct machine *machine)
{
	uint8_t *data = calloc(1, MIB);
	struct fs_node *node, *other;
	struct sim_random random;

	sim_random_seed(&random, 1);
	world_open(&world, machine, 12);
	node = make(&world, world.root, "f", S_IFREG | 0644);
	expect(attributes(world.root).unsettled);
	expect(settle(world.root) > 0);
	/* A mode isn't content, and what lies in the inode takes no blocks. */
	put_bytes(&world, node, 0, data, 100);
	expect(!attributes(node).unsettled);
	/* Compressed, it takes less than it seems to at first. */
	memset(data, 1, MIB);
	put_bytes(&world, node, 0, data, MIB);
	expect_equal(attributes(node).blocks, MIB / 512);
	expect(settle(node) > 0);
	expect(attributes(node).blocks < MIB / 512);
	/* What was cut off is freed by one commit after the other: none of them has changes of the file. */
	for (size_t i = 0; i < MIB; i += 8)
		memcpy(data + i, &(uint64_t){ sim_random_next(&random) }, 8);
	for (unsigned i = 0; i < MIBS; i++) {
		put_bytes(&world, node, i * MIB, data, MIB);
		if (i % 16 == 15)
			commit();
	}
	(void)settle(node);
	expect(attributes(node).blocks > OBJECT_KILLS_PER_SYNC * (CELL_SIZE / 512));
	struct fs_set set = { .what = FS_SET_SIZE, .size = 0 };
	expect_done(machine, fs_set(node, &set));
	commit();
	expect(attributes(node).blocks > 0);
	expect(settle(node) > 0);
	expect_equal(attributes(node).blocks, 0);
	other = make(&world, world.root, "g", S_IFREG | 0644);
	expect(!attributes(other).unsettled);
	fs_put(other);
	fs_put(node);
	world_check(&world);
	world_close(&world);
	free(data);
}

static void test_blocks(void **state)
{
	struct machine *machine = machine_new(4, 256 * MIB, 2, 1, 7);

	(void)state;
	machine_boot(machine, machine_create_program);
	machine_boot(machine, blocks_program);
	machine_free(machine);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_blocks) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
