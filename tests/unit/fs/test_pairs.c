/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * All sequences of two operations on names, content and attributes, with nothing, a commit or a sync between, and a power cut at every write: what is
 * there afterwards is what was before, or after the first, or after both, and no less than what was durable; and the checker finds nothing.
 *
 * By default every FS_PAIRS_STEP-th write is cut (17), each pair beginning elsewhere; 1 cuts at each.
 */
#include "checksum/xxh3.h"
#include "tests/unit/fs/filesystems.h"

#define TEXT_MAX 2048u

static struct world world;

static int make_it(const char *name, uint32_t mode)
{
	struct fs_new options = { .mode = mode, .target = "target" };
	struct fs_node *node = NULL;
	int status = fs_make(world.root, name, strlen(name), &options, &node);

	if (status == 0)
		fs_put(node);
	return status;
}

static int in_directory(const char *directory, const char *name, const char *new_name, unsigned flags)
{
	struct fs_node *node = look(world.root, directory);
	int status = node ? rename_to(world.root, name, node, new_name, flags) : -ENOENT;

	if (node)
		fs_put(node);
	return status;
}

static int link_it(const char *name, const char *new_name)
{
	struct fs_node *node = look(world.root, name);
	int status = node ? fs_link(node, world.root, new_name, strlen(new_name)) : -ENOENT;

	if (node)
		fs_put(node);
	return status;
}

static int create(void) { return make_it("n", S_IFREG | 0644); }
static int create_directory(void) { return make_it("n", S_IFDIR | 0755); }
static int create_link(void) { return make_it("n", S_IFLNK | 0777); }
static int hard_link(void) { return link_it("a", "n"); }
static int hard_link_again(void) { return link_it("b", "m"); }
static int remove_name(void) { return unlink_name(world.root, "a"); }
static int remove_one_of_two(void) { return unlink_name(world.root, "b"); }
static int remove_empty(void) { return remove_directory(world.root, "e"); }
static int move(void) { return rename_to(world.root, "a", world.root, "n", 0); }
static int move_over(void) { return in_directory("d", "a", "x", 0); }
static int move_over_own_link(void) { return rename_to(world.root, "b", world.root, "c", 0); }
static int move_directory(void) { return in_directory("d", "e", "n", 0); }
static int move_directory_over(void) { return rename_to(world.root, "n", world.root, "e", 0); }
static int move_where_nothing_is(void) { return rename_to(world.root, "a", world.root, "n", FS_RENAME_NOREPLACE); }
static int create_device(void) { return make_it("n", S_IFCHR | 0600); }

static int write_it(const char *name, uint64_t offset, size_t length, char fill)
{
	struct fs_node *node = look(world.root, name);
	char data[20000];
	size_t written;

	if (!node)
		return -ENOENT;
	memset(data, fill, length);
	int status = fs_write(node, offset, length, data, 0, &written);
	fs_put(node);
	return status;
}

static int write_small(void) { return write_it("a", 3, 10, 's'); }
static int write_large(void) { return write_it("a", 100, 20000, 'l'); }
static int write_linked(void) { return write_it("c", 5000, 9000, 'w'); }

static int truncate_it(void)
{
	struct fs_set set = { .what = FS_SET_SIZE, .size = 4100 };
	struct fs_node *node = look(world.root, "b");
	int status = node ? fs_set(node, &set) : -ENOENT;

	fs_put(node);
	return status;
}

static int describe_it(const char *name, size_t length)
{
	struct fs_node *node = look(world.root, name);
	static const char value[3000];
	int status = !node ? -ENOENT : length ? fs_xattr_set(node, "user.x", value, length, 0) : fs_xattr_remove(node, "user.x");

	fs_put(node);
	return status;
}

static int set_attribute(void) { return describe_it("a", 3000); }
static int remove_attribute(void) { return describe_it("b", 0); }

static int exchange(void) { return rename_to(world.root, "a", world.root, "d", FS_RENAME_EXCHANGE); }

static int (*const operations[])(void) = { create, create_directory, create_link, hard_link, hard_link_again, remove_name, remove_one_of_two, remove_empty,
					   move, move_over, move_over_own_link, move_directory, move_directory_over, exchange, move_where_nothing_is, create_device,
					   write_small, write_large, write_linked, truncate_it, set_attribute, remove_attribute };
#define COUNT (sizeof(operations) / sizeof(operations[0]))

/* ---- what is there, as a text ---- */

static struct hash128 content_hash(struct fs_node *node, const struct fs_attributes *all)
{
	static uint8_t data[64 * 1024];
	struct hash128 hash;
	size_t length = S_ISREG(all->mode) ? get_bytes(&world, node, 0, data, sizeof(data)) : 0;

	expect(!S_ISREG(all->mode) || length == all->size);
	xxh3_128(data, length, &hash);
	return hash;
}

static void describe(struct fs_node *directory, const char *path, char *text)
{
	struct directory_entry entry;
	uint64_t cookie = 0;

	while (fs_next_entry(directory, cookie, &cookie, &entry) == 0) {
		char name[300], below[400];
		snprintf(name, sizeof(name), "%.*s", (int)entry.name_length, entry.name);
		snprintf(below, sizeof(below), "%s/%s", path, name);
		struct fs_node *node = look(directory, name);
		expect(node);
		struct fs_attributes all = attributes(node);
		size_t length = strlen(text), attribute = 0;
		struct hash128 hash = content_hash(node, &all);
		if (fs_xattr_get(node, "user.x", NULL, 0, &attribute) < 0)
			attribute = 0;
		snprintf(text + length, TEXT_MAX - length, "%s %o %u %llu %llu %02x%02x%02x%02x %zu\n", below, all.mode, all.links, (unsigned long long)all.number,
			 (unsigned long long)all.size, hash.bytes[0], hash.bytes[1], hash.bytes[2], hash.bytes[3], attribute);
		if (S_ISDIR(all.mode))
			describe(node, below, text);
		fs_put(node);
	}
}

/* ---- one sequence ---- */

enum { NOTHING, COMMIT, SYNC, BETWEEN_COUNT };

static struct {
	unsigned first, second;
	unsigned between; /* NOTHING, COMMIT, SYNC */
	unsigned durable;         /* operations, in this boot */
	unsigned cuts;            /* of all sequences */
	char states[3][TEXT_MAX]; /* before, after the first, after both */
	char found[TEXT_MAX];
} sequence;

static void base_program(struct machine *machine)
{
	world_open(&world, machine, 0);
	fs_put(make(&world, world.root, "a", S_IFREG | 0644));
	fs_put(make(&world, world.root, "b", S_IFREG | 0644));
	expect_done(machine, link_it("b", "c"));
	expect_done(machine, write_it("b", 0, 6000, 'b'));
	expect_done(machine, describe_it("b", 40));
	struct fs_node *directory = make(&world, world.root, "d", S_IFDIR | 0755);
	fs_put(make(&world, directory, "x", S_IFREG | 0644));
	fs_put(directory);
	fs_put(make(&world, world.root, "e", S_IFDIR | 0755));
	world_close(&world);
}

static void note(unsigned state)
{
	char text[TEXT_MAX] = "";

	describe(world.root, "", text);
	memcpy(sequence.states[state], text, sizeof(text));
}

static void sequence_program(struct machine *machine)
{
	sequence.durable = 0;
	world_open(&world, machine, 0);
	note(0);
	(void)operations[sequence.first]();
	note(1);
	if (sequence.between == COMMIT)
		expect_done(machine, core_commit_forced(machine->core));
	else if (sequence.between == SYNC)
		expect_done(machine, fs_sync(world.fs));
	sequence.durable = sequence.between != NOTHING;
	(void)operations[sequence.second]();
	note(2);
	expect_done(machine, core_commit_forced(machine->core));
	sequence.durable = 2;
	world_close(&world);
}

static void check_program(struct machine *machine)
{
	world_open(&world, machine, 0);
	world_check(&world);
	sequence.found[0] = '\0';
	describe(world.root, "", sequence.found);
	world_close(&world);
}

static void judge(uint64_t cut)
{
	for (unsigned state = sequence.durable; state < 3; state++)
		if (strcmp(sequence.found, sequence.states[state]) == 0)
			return;
	fprintf(stderr, "operations %u, %u, %s between, cut at %llu, %u durable; found:\n%safter the first:\n%safter both:\n%s", sequence.first,
		sequence.second, sequence.between == SYNC ? "a sync" : sequence.between == COMMIT ? "a commit" : "nothing", (unsigned long long)cut, sequence.durable, sequence.found, sequence.states[1],
		sequence.states[2]);
	abort();
}

static void run_sequence(struct machine *machine, struct sim_image **base, unsigned step)
{
	struct sim_disks *set = machine->set;

	for (uint64_t cut = 0;; cut += cut ? step : 1 + (sequence.first * COUNT + sequence.second) % step) {
		for (unsigned i = 0; i < machine->disks; i++)
			sim_disk_restore(set->disks[i], base[i]);
		/* The first one isn't cut: it tells what the states are. */
		if (cut > 0)
			sim_disks_cut_at(set, set->operations + cut);
		bool done = machine_boot_mode(machine, sequence_program, SIM_CRASH_ANY);
		if (done && cut > 0)
			return;
		sequence.cuts += cut > 0;
		machine_boot(machine, check_program);
		judge(cut);
	}
}

static void pairs(void **state)
{
	struct machine *machine = machine_new(3, 64 * MIB, 2, 1, 1);
	struct sim_image *base[3];
	const char *text = getenv("FS_PAIRS_STEP");
	unsigned step = text ? (unsigned)atoi(text) : 17;

	(void)state;
	machine->options.check_every_txg = false;
	machine_boot(machine, machine_create_program);
	machine_boot(machine, base_program);
	for (unsigned i = 0; i < 3; i++)
		base[i] = sim_disk_snapshot(machine->set->disks[i]);
	for (sequence.first = 0; sequence.first < COUNT; sequence.first++) {
		for (sequence.second = 0; sequence.second < COUNT; sequence.second++) {
			for (sequence.between = 0; sequence.between < BETWEEN_COUNT; sequence.between++)
				run_sequence(machine, base, step ? step : 1);
		}
	}
	if (getenv("FS_TEST_VERBOSE"))
		fprintf(stderr, "%u power cuts\n", sequence.cuts);
	expect(sequence.cuts > COUNT * COUNT);
	for (unsigned i = 0; i < 3; i++)
		sim_snapshot_free(base[i]);
	machine_free(machine);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(pairs) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
