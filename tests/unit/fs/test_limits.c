/* SPDX-License-Identifier: BSD-2-Clause */
/* Limits, and changes of the open txg: none that nobody was charged for makes room for another, and who is refused for good waits for nothing. */
#include "tests/unit/fs/filesystems.h"

#define LIMIT (UINT64_C(2) << 20)
#define RECORD (UINT64_C(128) << 10)

static struct world world;

static void boot(void (*program)(struct machine *machine))
{
	struct machine *machine = machine_new(3, 64 * MIB, 2, 1, 1);

	machine_boot(machine, machine_create_program);
	machine_boot(machine, program);
	machine_free(machine);
}

static struct fs_node *make_as(uint32_t uid, unsigned number)
{
	struct fs_new options = { .mode = S_IFREG | 0644, .uid = uid, .gid = uid };
	struct fs_node *node;
	char name[16];

	snprintf(name, sizeof(name), "%u-%u", uid, number);
	expect_done(world.machine, fs_make(world.root, name, strlen(name), &options, &node));
	return node;
}

static uint64_t user_bytes(uint32_t uid)
{
	struct space_usage usage;

	expect_done(world.machine, core_commit_forced(world.machine->core));
	filesystem_usage(fs_dataset(world.fs), OWNER_USER, uid, &usage);
	return usage.cells * CELL_SIZE;
}

/* A record that nothing compresses. */
static int write_record(struct fs_node *node, uint64_t offset)
{
	static uint64_t state = 1;
	uint64_t *data = malloc(RECORD);
	size_t written = 0;

	for (size_t i = 0; i < RECORD / 8; i++)
		data[i] = hash_u64(state++);
	int status = fs_write(node, offset, RECORD, data, 0, &written);
	if (status == 0 && written < RECORD)
		status = -EDQUOT;
	free(data);
	return status;
}

/* ---- What is dirty already may be so for nothing ---- */

static void free_dirt_program(struct machine *machine)
{
	uint8_t *ones = malloc(RECORD);
	int status = 0;

	memset(ones, 1, RECORD);
	world_open(&world, machine, 17);
	expect_done(machine, dataset_set(world.datasets, "fs", SETTING_COMPRESSION, &(uint8_t){ 2 }, &machine->error));
	for (uint32_t uid = 7; uid < 10; uid++)
		expect_done(machine, filesystem_set_owner_limit(world.datasets, "fs", OWNER_USER, uid, false, LIMIT, &machine->error));
	/* Content that moves out of the inode as the file gets longer. */
	for (unsigned i = 0; i < 40 && status == 0; i++) {
		struct fs_node *node = make_as(7, i);
		struct fs_set longer = { .what = FS_SET_SIZE, .size = RECORD };
		size_t written;
		status = fs_write(node, 0, 6, "inside", 0, &written);
		if (status == 0)
			status = i & 1 ? fs_set(node, &longer) : fs_allocate(node, 0, 0, RECORD, 0);
		if (status == 0)
			status = write_record(node, 0);
		fs_put(node);
	}
	expect_equal(status, -EDQUOT);
	expect(user_bytes(7) <= LIMIT);
	/* A part that is made zeros, and the end of a file that gets longer. */
	for (uint32_t uid = 8; uid < 10; uid++) {
		struct fs_node *node = make_as(uid, 0), *tail;
		for (unsigned i = 0; i < 40; i++)
			put_bytes(&world, node, i * RECORD, ones, RECORD);
		expect(user_bytes(uid) <= LIMIT);
		status = 0;
		for (unsigned i = 0; i < 40 && status == 0; i++) {
			if (uid == 8) {
				expect_done(machine, fs_allocate(node, 3, i * RECORD + 10, 20, 0)); /* a hole, and the size stays */
				status = write_record(node, i * RECORD);
				continue;
			}
			struct fs_set shorter = { .what = FS_SET_SIZE, .size = 100 }, longer = { .what = FS_SET_SIZE, .size = RECORD };
			tail = make_as(uid, i + 1);
			size_t written;
			status = fs_write(tail, 0, RECORD / 2, ones, 0, &written);
			expect_done(machine, core_commit_forced(machine->core));
			expect_done(machine, fs_set(tail, &shorter));
			expect_done(machine, fs_set(tail, &longer));
			if (status == 0)
				status = write_record(tail, 0);
			fs_put(tail);
		}
		expect_equal(status, -EDQUOT);
		expect(user_bytes(uid) <= LIMIT);
		fs_put(node);
	}
	world_check(&world);
	world_close(&world);
	free(ones);
}

static void test_free_dirt(void **state)
{
	(void)state;
	boot(free_dirt_program);
}

/* ---- What was written a moment before a limit was set counts for it ---- */

static void fresh_program(struct machine *machine)
{
	struct dataset_space space;

	world_open(&world, machine, 17);
	struct fs_node *node = make_as(7, 0), *other = make_as(8, 0);
	for (unsigned i = 0; i < 12; i++)
		expect_equal(write_record(node, i * RECORD), 0);
	expect_done(machine, dataset_set_limit(world.datasets, "fs", LIMIT_REFQUOTA, LIMIT, false, &machine->error));
	int status = 0;
	for (unsigned i = 0; i < 40 && status == 0; i++)
		status = write_record(other, i * RECORD);
	expect_equal(status, -EDQUOT);
	expect_done(machine, core_commit_forced(machine->core));
	expect_done(machine, dataset_space(world.datasets, "fs", &space));
	expect(space.referenced_cells * CELL_SIZE <= LIMIT);
	expect_done(machine, dataset_set_limit(world.datasets, "fs", LIMIT_REFQUOTA, 0, false, &machine->error));
	/* The same of a user's. */
	struct fs_node *third = make_as(9, 0);
	for (unsigned i = 0; i < 12; i++)
		expect_equal(write_record(third, i * RECORD), 0);
	expect_done(machine, filesystem_set_owner_limit(world.datasets, "fs", OWNER_USER, 9, false, LIMIT, &machine->error));
	for (unsigned i = 12; i < 40 && (i == 12 || status == 0); i++)
		status = write_record(third, i * RECORD);
	expect_equal(status, -EDQUOT);
	expect(user_bytes(9) <= LIMIT);
	/* What is reserved must be there. */
	expect_done(machine, fs_create(world.datasets, "reserved", &(struct fs_create_options){ .mode = 0755 }, &machine->error));
	expect_done(machine, core_commit_forced(machine->core));
	expect_done(machine, dataset_space(world.datasets, "reserved", &space));
	for (unsigned i = 40; i < 140; i++)
		expect_equal(write_record(other, i * RECORD), 0);
	expect_equal(dataset_set_limit(world.datasets, "reserved", LIMIT_RESERVATION, (space.available_cells * CELL_SIZE) - 8 * RECORD, false, &machine->error),
		     -ENOSPC);
	fs_put(node);
	fs_put(other);
	fs_put(third);
	world_check(&world);
	world_close(&world);
}

static void test_fresh(void **state)
{
	(void)state;
	boot(fresh_program);
}

/* ---- A pool that is full but for what is reserved ---- */

static void full_program(struct machine *machine)
{
	struct dataset_space space;
	int status = 0;

	world_open(&world, machine, 17);
	expect_done(machine, fs_create(world.datasets, "reserved", &(struct fs_create_options){ .mode = 0755 }, &machine->error));
	expect_done(machine, dataset_space(world.datasets, "fs", &space));
	expect_done(machine, dataset_set_limit(world.datasets, "reserved", LIMIT_RESERVATION, space.available_cells * CELL_SIZE / 2, false, &machine->error));
	struct fs_node *node = make_as(7, 0);
	for (unsigned i = 0; status == 0; i++)
		status = write_record(node, i * RECORD);
	expect_equal(status, -ENOSPC);
	uint64_t commits = core_commits(machine->core);
	for (unsigned i = 0; i < 50; i++)
		expect_equal(write_record(node, (1000 + i) * RECORD), -ENOSPC);
	expect(core_commits(machine->core) <= commits + 4);
	/* Room that is made is there for the next one, however many commits that takes. */
	struct fs_set cut = { .what = FS_SET_SIZE, .size = 16 * RECORD };
	expect_done(machine, fs_set(node, &cut));
	expect_done(machine, core_commit(machine->core));
	for (unsigned i = 16; i < 32; i++)
		expect_equal(write_record(node, i * RECORD), 0);
	fs_put(node);
	world_check(&world);
	world_close(&world);
}

static void test_full(void **state)
{
	(void)state;
	boot(full_program);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_free_dirt), cmocka_unit_test(test_fresh), cmocka_unit_test(test_full) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
