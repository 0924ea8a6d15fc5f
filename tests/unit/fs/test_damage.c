/* SPDX-License-Identifier: BSD-2-Clause */
/* Nodes that can't be read: what needs them fails, everything else goes on, and no commit does. */
#include "libpool/txg/internal.h"
#include "tests/unit/dataset/damage.h"
#include "tests/unit/fs/filesystems.h"

#define FILES 400u

static struct world world;

/* The pool goes on: something else can be made, and is durable. */
static void goes_on(struct machine *machine, struct fs_node *directory, const char *name)
{
	fs_put(make(&world, directory, name, S_IFREG | 0644));
	expect_done(machine, fs_sync(world.fs));
	expect(!core_halted(machine->core, NULL));
}

static void expect_range(struct machine *machine, uint64_t object, unsigned level, uint64_t block, uint64_t offset, uint64_t length)
{
	uint64_t is_offset, is_length;

	expect_done(machine, dataset_block_range(world.datasets, fs_record(world.fs)->id, object, level, block, &is_offset, &is_length));
	expect_equal(is_offset, offset);
	expect_equal(is_length, length);
}

static int check_block(uint64_t object, unsigned level, uint64_t block)
{
	return dataset_block_check(world.datasets, fs_record(world.fs)->id, object, level, block);
}

static struct fs_node *fill_directory(struct machine *machine, const char *name)
{
	struct fs_node *directory = make(&world, world.root, name, S_IFDIR | 0755);

	for (unsigned i = 0; i < FILES; i++) {
		char text[200];
		snprintf(text, sizeof(text), "%u, with a name that is long enough to fill a few leaves of the tree of this directory", i);
		fs_put(make(&world, directory, text, S_IFREG | 0644));
	}
	expect_done(machine, fs_sync(world.fs));
	expect_done(machine, core_commit_forced(machine->core));
	return directory;
}

static void directory_program(struct machine *machine)
{
	char text[16];
	unsigned failed = 0;

	world_open(&world, machine, 0);
	struct fs_node *directory = fill_directory(machine, "d");
	struct wanted leaf = { .objset = fs_record(world.fs)->id, .object = fs_number(directory), .level = 0, .type = TYPE_TREE };
	expect_equal(check_block(leaf.object, 0, 0), 0);
	damage(machine, world.datasets, &leaf);
	expect_equal(check_block(leaf.object, 0, 0), -POOL_EDAMAGED);
	uint64_t offset, length;
	expect_done(machine, dataset_block_range(world.datasets, leaf.objset, leaf.object, 0, 0, &offset, &length));
	expect(offset == 0 && length >= 2 * CELL_SIZE); /* all of it, compressed */
	for (unsigned i = 0; i < 40; i++) {
		snprintf(text, sizeof(text), "new %u", i);
		int status = make_fails(directory, text, S_IFREG | 0644);
		expect(status == 0 || status == -POOL_EDAMAGED);
		failed += status != 0;
		status = rename_to(directory, text, world.root, text, 0);
		expect(status == 0 || status == -POOL_EDAMAGED);
		expect_done(machine, fs_sync(world.fs));
	}
	expect(failed > 0);
	goes_on(machine, world.root, "after");
	fs_put(directory);
	world_close(&world);
}

static void file_program(struct machine *machine)
{
	uint8_t *data = calloc(1, MIB);
	struct fs_set set = { .what = FS_SET_SIZE, .size = 4096 };
	struct sim_random random;
	size_t done;

	world_open(&world, machine, 12);
	sim_random_stream(&random, 1, "file", 0);
	sim_random_fill(&random, data, MIB);
	struct fs_node *file = make(&world, world.root, "f", S_IFREG | 0644), *other = make(&world, world.root, "g", S_IFREG | 0644);
	put_bytes(&world, file, 0, data, MIB);
	put_bytes(&world, other, 0, data, MIB);
	expect_done(machine, fs_sync(world.fs));
	expect_done(machine, core_commit_forced(machine->core));
	/* The second node of 64 pointers; the others are written again, so that they aren't in its rows. */
	put_bytes(&world, file, 0, data, 10);
	put_bytes(&world, file, 130 * 4096, data, 10);
	put_bytes(&world, other, 0, data, MIB);
	expect_done(machine, fs_sync(world.fs));
	struct wanted node = { .objset = fs_record(world.fs)->id, .object = fs_number(file), .block = 1, .level = 1, .type = TYPE_DATA };
	damage(machine, world.datasets, &node);
	expect_range(machine, node.object, 0, 70, 70 * 4096, 4096);
	expect_range(machine, node.object, 1, 1, 64 * 4096, 64 * 4096);
	expect_range(machine, node.object, 1, 3, 192 * 4096, 64 * 4096);
	expect_range(machine, node.object, 2, 0, 0, MIB);
	expect_range(machine, node.object, 7, 0, 0, MIB); /* it has no such level any more */
	expect_equal(check_block(node.object, 1, 1), -POOL_EDAMAGED);
	expect_equal(check_block(node.object, 0, 70), -POOL_EDAMAGED);
	expect_equal(check_block(node.object, 1, 0), 0);
	expect_equal(check_block(node.object, 0, 130), 0);
	expect_equal(check_block(node.object, 2, 0), 0);
	expect_equal(check_block(node.object + 1000000, 0, 0), -ENOENT);
	expect_equal(fs_write(file, 70 * 4096, 10, data, 0, &done), -POOL_EDAMAGED);
	expect_equal(fs_allocate(file, 3, 70 * 4096, 4096, 0), -POOL_EDAMAGED);
	put_bytes(&world, file, 0, data, 4096);
	put_bytes(&world, other, 70 * 4096, data, 10);
	goes_on(machine, world.root, "after");
	/* What is cut off as a whole need not be read. */
	expect_equal(fs_set(file, &set), 0);
	expect_done(machine, core_commit_forced(machine->core));
	expect_equal(check_block(node.object, 1, 1), 0);
	goes_on(machine, world.root, "after that");
	fs_put(file);
	fs_put(other);
	world_close(&world);
	free(data);
}

static void dnodes_program(struct machine *machine)
{
	struct fs_set set = { .what = FS_SET_MODE, .mode = 0600 };
	struct fs_node *node;

	world_open(&world, machine, 0);
	struct fs_node *directory = fill_directory(machine, "d");
	uint64_t number = fs_number(directory) + 64;
	expect_done(machine, fs_get(world.fs, number, 0, &node));
	struct wanted block = { .objset = fs_record(world.fs)->id, .object = 0, .block = number / DNODES_PER_BLOCK, .level = 0, .type = TYPE_DNODES };
	damage(machine, world.datasets, &block);
	expect_range(machine, 0, 0, block.block, block.block * DNODES_PER_BLOCK * DNODE_SIZE, DNODES_PER_BLOCK * DNODE_SIZE);
	expect_equal(check_block(0, 0, block.block), -POOL_EDAMAGED);
	expect_equal(check_block(0, 0, block.block - 1), 0);
	expect_equal(fs_set(node, &set), -POOL_EDAMAGED);
	fs_put(node);
	expect_equal(fs_get(world.fs, number, 0, &node), -POOL_EDAMAGED);
	goes_on(machine, directory, "after");
	fs_put(directory);
	world_close(&world);
}

/* Who has what: changes fail, the rest goes on; a read-only import does without. */
static void owners_program(struct machine *machine)
{
	struct fs_set set = { .what = FS_SET_MODE, .mode = 0600 };

	world_open(&world, machine, 0);
	fs_put(fill_directory(machine, "d"));
	struct wanted rows = { .objset = 0, .object = MOS_SPACE, .level = 0, .type = TYPE_TREE };
	damage(machine, world.datasets, &rows);
	struct fs_node *directory = look(world.root, "d");
	expect_equal(fs_set(directory, &set), -POOL_EDAMAGED);
	expect_equal(make_fails(directory, "new", S_IFREG | 0644), -POOL_EDAMAGED);
	expect_done(machine, fs_sync(world.fs));
	expect_done(machine, core_commit_forced(machine->core));
	fs_put(directory);
	world_close(&world);
}

/* It can't be opened then, as often as it is tried, and the pool goes on. */
static void owners_closed_program(struct machine *machine)
{
	struct datasets *datasets = pool_open(machine);

	for (unsigned i = 0; i < 2; i++) {
		struct fs *fs;
		expect_equal(fs_open(datasets, "fs", &fs, &machine->error), -POOL_EDAMAGED);
		machine->error = (struct pool_error){ 0 };
		expect_done(machine, volume_create(datasets, i ? "b" : "a", MIB, 4096, 0, &machine->error));
		expect_done(machine, core_commit_forced(machine->core));
	}
	expect(!core_halted(machine->core, NULL));
	pool_close(machine, datasets);
}

/* It can be destroyed, which has an end: nothing of it is left to be tried in each import. */
static void owners_destroy_program(struct machine *machine)
{
	struct datasets *datasets = pool_open(machine);
	struct dataset_record *records;
	size_t count;

	expect_done(machine, filesystem_destroy(datasets, "fs", false, &machine->error));
	for (unsigned i = 0; i < 6; i++)
		expect_done(machine, core_commit_forced(machine->core));
	pool_close(machine, datasets);
	datasets = NULL;
	expect_done(machine, machine_import(machine));
	expect_done(machine, datasets_open(machine->core, &datasets, &machine->error));
	expect_done(machine, filesystems_list(datasets, &records, &count));
	expect_equal(count, 0);
	free(records);
	pool_close(machine, datasets);
}

static void owners_read_program(struct machine *machine)
{
	struct fs_check check = { 0 };
	struct space_usage *usage;
	size_t count;

	world_open(&world, machine, 0);
	struct fs_node *directory = look(world.root, "d");
	expect(directory && fs_record(world.fs)->id == 1);
	expect_done(machine, fs_check(world.fs, &check));
	expect(check.damaged > 0 && check.violations == 0);
	expect_equal(filesystem_owners(world.datasets, "fs", &usage, &count, &machine->error), -POOL_EDAMAGED);
	fs_put(directory);
	world_close(&world);
}

/* Leaves of the rows in their order; the one in the middle is kept. */
struct leaves {
	unsigned count, kept;
	struct block_pointer pointer;
};

static int note_leaf(void *argument, const struct block_pointer *pointer, const struct block_owner *owner)
{
	struct leaves *leaves = argument;

	if (owner->objset == 0 && owner->object == MOS_SPACE && owner->level == 0 && pointer->type == TYPE_TREE && leaves->count++ == leaves->kept)
		leaves->pointer = *pointer;
	return 0;
}

#define OWNERS 1500u

/* Of some who have files in the directory of another: what is theirs can't be changed, and no commit fails. */
static void victims_program(struct machine *machine)
{
	struct leaves leaves = { .kept = ~0u };
	unsigned failed = 0;
	char name[16];

	world_open(&world, machine, 0);
	struct fs_node *directory = make(&world, world.root, "d", S_IFDIR | 0755);
	for (unsigned i = 0; i < OWNERS; i++) {
		struct fs_new options = { .mode = S_IFREG | 0644, .uid = 1000 + i, .gid = 2 };
		struct fs_node *node;
		snprintf(name, sizeof(name), "%u", i);
		expect_done(machine, fs_make(directory, name, strlen(name), &options, &node));
		fs_put(node);
	}
	expect_done(machine, core_commit_forced(machine->core));
	expect_done(machine, datasets_walk(world.datasets, note_leaf, &leaves));
	expect(leaves.count >= 3);
	leaves = (struct leaves){ .kept = leaves.count / 2 };
	expect_done(machine, datasets_walk(world.datasets, note_leaf, &leaves));
	damage_pointed(machine, &leaves.pointer);
	for (unsigned i = 0; i < OWNERS; i += 10) {
		snprintf(name, sizeof(name), "%u", i);
		int status = unlink_name(directory, name);
		expect(status == 0 || status == -POOL_EDAMAGED);
		failed += status < 0;
	}
	expect(failed > 0 && failed < OWNERS / 10);
	goes_on(machine, directory, "after");
	expect_done(machine, core_commit_forced(machine->core));
	fs_put(directory);
	world_close(&world);
}

static void owners(void **state)
{
	struct machine *machine = machine_new(4, 128 * MIB, 2, 1, 7);

	(void)state;
	machine_boot(machine, machine_create_program);
	machine_boot(machine, owners_program);
	machine_boot(machine, owners_closed_program);
	machine->read_only = true;
	machine_boot(machine, owners_read_program);
	machine->read_only = false;
	machine_boot(machine, owners_destroy_program);
	machine_free(machine);
}

static void boot(void (*program)(struct machine *machine))
{
	struct machine *machine = machine_new(4, 128 * MIB, 2, 1, 7);

	machine_boot(machine, machine_create_program);
	machine_boot(machine, program);
	machine_free(machine);
}

static void directory(void **state)
{
	(void)state;
	boot(directory_program);
}

static void file(void **state)
{
	(void)state;
	boot(file_program);
}

static void victims(void **state)
{
	(void)state;
	boot(victims_program);
}

static void dnodes(void **state)
{
	(void)state;
	boot(dnodes_program);
}

/* ---- A write that fails while the file gets another name ---- */

struct failing {
	struct rt_group group;
	struct fs_node *node;
	int status;
};

static void write_fiber(void *argument)
{
	struct failing *failing = argument;
	size_t done;

	failing->status = fs_write(failing->node, 10, 5, "hello", 0, &done);
	rt_group_done(world.machine->rt, &failing->group, 0);
}

static void begin_write(struct machine *machine, struct failing *failing)
{
	rt_group_init(&failing->group);
	rt_group_add(&failing->group);
	expect_done(machine, rt_spawn(machine->rt, "write", write_fiber, failing));
	while (!machine->core->handles[core_open_txg(machine->core) & 1])
		rt_yield(machine->rt);
}

static void linked_program(struct machine *machine)
{
	uint8_t *data = calloc(1, 65536);
	struct failing failing;

	world_open(&world, machine, 14);
	failing.node = make(&world, world.root, "one", S_IFREG | 0644);
	for (uint32_t i = 0; i < 65536; i++)
		data[i] = (uint8_t)(i * 2654435761u >> 13 ^ i >> 8); /* nothing that is stored in a pointer */
	put_bytes(&world, failing.node, 0, data, 65536);
	expect_done(machine, fs_sync(world.fs));
	expect_done(machine, core_commit_forced(machine->core));
	struct wanted block = { .objset = fs_record(world.fs)->id, .object = fs_number(failing.node), .level = 0, .type = TYPE_DATA };
	damage(machine, world.datasets, &block);
	fs_put(look(world.root, "one")); /* the folder is in memory: the names don't wait */
	begin_write(machine, &failing);
	expect_done(machine, fs_link(failing.node, world.root, "two", 3));
	expect(failing.group.pending);
	expect(rt_group_wait(machine->rt, &failing.group) == 0 && failing.status < 0);
	expect_equal(attributes(failing.node).links, 2);
	expect_done(machine, unlink_name(world.root, "one"));
	begin_write(machine, &failing);
	expect_done(machine, fs_link(failing.node, world.root, "one", 3));
	expect_done(machine, unlink_name(world.root, "two"));
	(void)rt_group_wait(machine->rt, &failing.group);
	expect_equal(attributes(failing.node).links, 1);
	fs_put(failing.node);
	fs_put(look(world.root, "one"));
	goes_on(machine, world.root, "after");
	world_check(&world);
	world_close(&world);
	free(data);
}

static void linked_again(struct machine *machine)
{
	world_open(&world, machine, 0);
	struct fs_node *node = look(world.root, "one");
	expect_equal(attributes(node).links, 1);
	fs_put(node);
	world_check(&world);
	world_close(&world);
}

static void test_linked(void **state)
{
	struct machine *machine = machine_new(4, 128 * MIB, 2, 1, 7);

	(void)state;
	machine_boot(machine, machine_create_program);
	machine_boot(machine, linked_program);
	machine_boot(machine, linked_again);
	machine_free(machine);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_linked), cmocka_unit_test(directory), cmocka_unit_test(file), cmocka_unit_test(dnodes), cmocka_unit_test(owners),
					  cmocka_unit_test(victims) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
