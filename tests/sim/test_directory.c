/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A directory of ten times as many names costs what one more level of its trees does, and nothing else: what a look-up reads, a part of a listing, and what one name made or taken
 * away, with its commit, reads and writes.
 *
 * usage: sim_directory [FEW MANY]
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libpool/fs/fs.h"
#include "tests/sim/world.h"

#define MIB (UINT64_C(1) << 20)
#define ROUNDS 24u
#define LISTED 100u

struct cost {
	double reads, bytes_written; /* of disks, by one of them */
};

enum operation { LOOK_UP, LIST, MAKE, UNLINK, OPERATIONS };
static const struct {
	const char *name;
	/* What more a directory of ten times as many names may cost: a node of the directory, of the tree of names of nodes, and of the records of nodes, each on one disk or two. */
	double reads, bytes_written;
} operations[OPERATIONS] = {
	[LOOK_UP] = {"look up", 4, 0},
	[LIST] = {"list 100 names", 3, 0},
	[MAKE] = {"make one, commit", 6, 3 * 16384 * 1.5},
	[UNLINK] = {"unlink one, commit", 6, 3 * 16384 * 1.5},
};

static unsigned few_names = 10000, many_names = 100000, failures;

static uint64_t bytes_written(const struct world *world)
{
	uint64_t bytes = 0;

	for (unsigned i = 0; i < world->set->count; i++)
		bytes += world->set->disks[i]->counters.bytes_written;
	return bytes;
}

static uint64_t device_reads(const struct world *world)
{
	uint64_t reads = 0;

	for (unsigned i = 0; i < world->set->count; i++)
		reads += world->set->disks[i]->counters.reads;
	return reads;
}

static size_t name_of(unsigned number, char ret_name[32])
{
	return (size_t)snprintf(ret_name, 32, "a-file-called-%u", number);
}

static void make(struct world *world, struct fs_node *directory, unsigned number)
{
	struct fs_new new = {.mode = 0100644};
	struct fs_node *node;
	char name[32];
	size_t length = name_of(number, name);

	world_expect(world, fs_make(directory, name, length, &new, &node), NULL, "make");
	fs_put(node);
}

static void do_one(struct world *world, struct fs_node *directory, enum operation operation, unsigned number)
{
	struct directory_entry entry;
	struct fs_node *node;
	char name[32];
	size_t length = name_of(number, name);

	switch (operation) {
	case LOOK_UP:
		world_expect(world, fs_lookup(directory, name, length, &node), NULL, "look up");
		fs_put(node);
		break;
	case LIST:
		for (uint64_t cookie = sim_random_below(&world->random, UINT64_C(1) << 62), i = 0; i < LISTED; i++)
			world_expect(world, fs_next_entry(directory, cookie, &cookie, &entry), NULL, "list");
		break;
	case MAKE:
		make(world, directory, number);
		world_expect(world, core_commit(world->core), NULL, "commit");
		break;
	default:
		world_expect(world, fs_unlink(directory, name, length), NULL, "unlink");
		world_expect(world, core_commit(world->core), NULL, "commit");
	}
}

/* With nothing cached, of a directory that has names 0 to count - 1. */
static struct cost measure(struct world *world, struct fs_node *directory, enum operation operation, unsigned count)
{
	uint64_t reads = 0, bytes = 0;

	for (unsigned i = 0; i < ROUNDS; i++) {
		unsigned number = operation == MAKE || operation == UNLINK ? count + i : (unsigned)sim_random_below(&world->random, count);

		blocks_drop_cache(core_blocks(world->core));
		reads -= device_reads(world);
		bytes -= bytes_written(world);
		do_one(world, directory, operation, number);
		reads += device_reads(world);
		bytes += bytes_written(world);
	}
	return (struct cost){(double)reads / ROUNDS, (double)bytes / ROUNDS};
}

static void grow(struct world *world, struct fs_node *directory, unsigned from, unsigned to, struct cost costs[OPERATIONS])
{
	for (unsigned number = from; number < to; number++)
		make(world, directory, number);
	world_expect(world, core_commit(world->core), NULL, "commit");
	rt_sleep(world->rt, 30 * NS_PER_S);
	for (enum operation operation = 0; operation < OPERATIONS; operation++)
		costs[operation] = measure(world, directory, operation, to);
}

static void body(struct world *world)
{
	struct fs_create_options options = {.mode = 0755};
	struct pool_error error = {0};
	struct cost few[OPERATIONS], many[OPERATIONS];
	struct fs_node *root;
	struct fs *fs;

	world_expect(world, world_import(world, true, &error), &error, "import");
	world_expect(world, fs_create(world->datasets, "f", &options, &error), &error, "create file system");
	world_expect(world, fs_open(world->datasets, "f", &fs, &error), &error, "open file system");
	world_expect(world, fs_root(fs, &root), NULL, "root");
	grow(world, root, 0, few_names, few);
	grow(world, root, few_names, many_names, many);
	for (enum operation operation = 0; operation < OPERATIONS; operation++) {
		bool holds = many[operation].reads <= few[operation].reads + operations[operation].reads &&
			     many[operation].bytes_written <= few[operation].bytes_written + operations[operation].bytes_written;

		printf("%-20s reads %6.2f with %u names, %6.2f with %u; bytes written %10.0f and %10.0f  %s\n", operations[operation].name,
		       few[operation].reads, few_names, many[operation].reads, many_names, few[operation].bytes_written, many[operation].bytes_written,
		       holds ? "ok" : "FAILED");
		failures += !holds;
	}
	fs_put(root);
	fs_close(fs);
	world_expect(world, world_export(world, &error), &error, "export");
}

static void create(struct world *world)
{
	struct pool_error error = {0};

	world_expect(world, world_create(world, &error), &error, "create");
}

int main(int argc, char **argv)
{
	if (argc == 3) {
		few_names = (unsigned)strtoul(argv[1], NULL, 10);
		many_names = (unsigned)strtoul(argv[2], NULL, 10);
	}
	struct plan plan = {.seed = 1, .disks = 6, .k = 4, .m = 2, .cache_limit = 256 * MIB, .commit_interval_ns = 5 * NS_PER_S, .dirty_limit = 512 * MIB, .fifo = true};

	for (unsigned i = 0; i < plan.disks; i++) {
		plan.disk_bytes[i] = (2048 + many_names / 500) * MIB;
		plan.fua[i] = true;
	}
	struct world *world = world_new(&plan);
	world_boot(world, create);
	if (world_boot(world, body) != WORLD_ENDED)
		world_fail(world, "the boot did not end by itself");
	world_free(world);
	return failures != 0;
}
