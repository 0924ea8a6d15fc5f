/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * File systems that fill their pool: with empty files, with attributes, with one file, with small files. Whoever wants more gets
 * ENOSPC; unlink, truncate and destroy have room all the same, and what they free can be written again, over power cuts too.
 */
#include "tests/unit/fs/filesystems.h"

enum kind { EMPTY, ATTRIBUTES, ONE_FILE, SMALL_FILES, KINDS };

struct filling {
	struct world world;
	enum kind kind;
	unsigned files;    /* names are numbers below this */
	bool begun;        /* an earlier boot left something */
	unsigned most;     /* files, attributes or pieces that fitted the first time */
	struct sim_random random;
};

#define PIECE (256u << 10)
#define ATTRIBUTES_OF_A_FILE 40u

static void alive(struct filling *filling)
{
	const char *why = "";

	if (core_halted(filling->world.machine->core, &why)) {
		fprintf(stderr, "halted: %s\n", why);
		abort();
	}
}

static void name_of(unsigned number, char *ret_name)
{
	snprintf(ret_name, 48, "a rather ordinary name %u", number);
}

/* One more of whatever it is. */
static int add(struct filling *filling, unsigned number)
{
	static uint8_t data[PIECE];
	struct world *world = &filling->world;
	struct fs_new options = { .mode = S_IFREG | 0644 };
	struct fs_node *node = NULL;
	char name[48], attribute[32];
	size_t written = 0;
	int status;

	name_of(filling->kind == ONE_FILE ? 0 : filling->kind == ATTRIBUTES ? number / ATTRIBUTES_OF_A_FILE : number, name);
	status = fs_lookup(world->root, name, strlen(name), &node);
	if (status == -ENOENT)
		status = fs_make(world->root, name, strlen(name), &options, &node);
	if (status < 0)
		return status;
	memset(data, (int)(number % 251 + 1), sizeof(data));
	for (size_t i = 0; i < sizeof(data); i += 8)
		memcpy(data + i, &(uint64_t){ sim_random_next(&filling->random) }, 8);
	if (filling->kind == ATTRIBUTES) {
		snprintf(attribute, sizeof(attribute), "user.%u", number % ATTRIBUTES_OF_A_FILE);
		status = fs_xattr_set(node, attribute, data, 3000, 0);
	} else if (filling->kind == ONE_FILE) {
		status = fs_write(node, (uint64_t)number * PIECE, PIECE, data, 0, &written);
	} else if (filling->kind == SMALL_FILES) {
		status = fs_write(node, 0, 5000, data, 0, &written);
	}
	fs_put(node);
	return status;
}

static unsigned fill(struct filling *filling)
{
	unsigned number = 0;
	int status = 0;

	while (status == 0 && number < 2000000)
		status = add(filling, number++);
	alive(filling);
	expect_equal(status, -ENOSPC);
	/* Nothing changes: the answer is there at once. */
	uint64_t now = rt_now(filling->world.machine->rt);
	for (unsigned i = 0; i < 20; i++)
		(void)add(filling, number + i);
	expect(rt_now(filling->world.machine->rt) - now < 20 * NS_PER_S);
	alive(filling);
	filling->files = number + 20;
	return number - 1;
}

/* Everything with a number from `first` on goes: none of it may fail. */
static void empty(struct filling *filling, unsigned first)
{
	struct world *world = &filling->world;

	for (unsigned number = first; number < filling->files; number++) {
		char name[48], attribute[32];
		unsigned file = filling->kind == ONE_FILE ? 0 : filling->kind == ATTRIBUTES ? number / ATTRIBUTES_OF_A_FILE : number;

		name_of(file, name);
		struct fs_node *node = look(world->root, name);
		if (!node)
			continue;
		if (filling->kind == ONE_FILE && first) {
			struct fs_set set = { .what = FS_SET_SIZE, .size = (uint64_t)first * PIECE + 1 };
			if (set.size < attributes(node).size)
				expect_done(world->machine, fs_set(node, &set));
			fs_put(node);
			break;
		}
		if (filling->kind == ATTRIBUTES && (first || number % ATTRIBUTES_OF_A_FILE != ATTRIBUTES_OF_A_FILE - 1)) {
			snprintf(attribute, sizeof(attribute), "user.%u", number % ATTRIBUTES_OF_A_FILE);
			int status = fs_xattr_remove(node, attribute);
			expect(status == 0 || status == -ENODATA);
		} else {
			expect_done(world->machine, unlink_name(world->root, name));
		}
		fs_put(node);
		if (number % 3000 == 2999)
			expect_done(world->machine, fs_sync(world->fs));
		alive(filling);
	}
	expect_done(world->machine, fs_sync(world->fs));
	for (unsigned i = 0; i < 6; i++)
		expect_done(world->machine, core_commit_forced(world->machine->core));
	alive(filling);
}

static void program(struct machine *machine)
{
	struct filling *filling = machine->test;
	struct world *world = &filling->world;
	struct fs_space before, after;

	world_open(world, machine, 0);
	bool again = filling->begun;
	if (again) {
		world_check(world);
		empty(filling, 0); /* as full as it may be */
	}
	filling->begun = true;
	filling->files = 100000;
	fs_space(world->fs, &before);
	unsigned most = fill(filling);
	if (!filling->most)
		filling->most = most;
	expect(most * 10 >= filling->most * 8);
	if (!again) {
		world_check(world);
		empty(filling, most / 2);
		(void)fill(filling);
		empty(filling, 0);
		fs_space(world->fs, &after);
		expect(after.free_bytes * 10 >= before.free_bytes * 8);
		world_check(world);
		(void)fill(filling);
	}
	/* Destroyed as a whole while the pool is full. */
	fs_put(world->root);
	fs_close(world->fs);
	expect_done(machine, filesystem_destroy(world->datasets, "fs", false, &machine->error));
	for (unsigned i = 0; i < 8; i++)
		expect_done(machine, core_commit_forced(machine->core));
	alive(filling);
	pool_close(machine, world->datasets);
	filling->begun = false;
}

static void run(enum kind kind, unsigned disks, unsigned k, unsigned m, unsigned cuts)
{
	struct filling filling = { .kind = kind };
	struct machine *machine = machine_new(disks, 64 * MIB, k, m, 100u * disks + kind);
	unsigned happened = 0;

	sim_random_stream(&filling.random, machine->sim->seed, "filling", 0);
	machine->test = &filling;
	/* Many commits: whoever wants room in a full pool looks for it in them. */
	machine->options.check_every_txg = kind == ONE_FILE;
	machine_boot(machine, machine_create_program);
	machine_boot(machine, program);
	uint64_t operations = machine->set->operations; /* of a boot */
	for (unsigned cut = 0; cut < cuts; cut++) {
		sim_disks_cut_at(machine->set, machine->set->operations + 100 + sim_random_below(&filling.random, operations / 4));
		happened += !machine_boot_mode(machine, program, SIM_CRASH_ANY);
	}
	if (cuts)
		machine_boot(machine, program);
	expect(cuts == 0 || happened);
	if (getenv("FS_TEST_VERBOSE"))
		fprintf(stderr, "%u fitted, %llu operations, %u power cuts\n", filling.most, (unsigned long long)operations, happened);
	machine_free(machine);
}

static void test_empty_files(void **state)
{
	(void)state;
	if (!SANITIZED)
		run(EMPTY, 2, 1, 1, 0);
}

static void test_attributes(void **state)
{
	(void)state;
	run(ATTRIBUTES, 2, 1, 1, 1);
}

static void test_one_file(void **state)
{
	(void)state;
	if (!SANITIZED)
		run(ONE_FILE, 6, 4, 2, 3);
	run(ONE_FILE, 2, 1, 1, SANITIZED ? 1 : 3);
}

static void test_small_files(void **state)
{
	(void)state;
	if (!SANITIZED)
		run(SMALL_FILES, 2, 1, 1, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_empty_files),
		cmocka_unit_test(test_attributes),
		cmocka_unit_test(test_one_file),
		cmocka_unit_test(test_small_files),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
