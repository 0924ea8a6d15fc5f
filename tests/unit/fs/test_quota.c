/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Whose space it is, and limits: sums equal what is there, after power cuts too; nothing ever exceeds a limit, who is refused keeps what
 * he has, and what only makes room is never refused.
 */
#include "tests/unit/fs/filesystems.h"

#define LIMIT (UINT64_C(2) << 20)
/* A record, the nodes above, an inode: what may be left when somebody is refused. */
#define SLACK (UINT64_C(256) << 10)

static struct world world;

static void boot_with(void (*program)(struct machine *machine), uint64_t size)
{
	struct machine *machine = machine_new(3, size, 2, 1, 1);

	machine_boot(machine, machine_create_program);
	machine_boot(machine, program);
	machine_free(machine);
}

static void boot(void (*program)(struct machine *machine))
{
	boot_with(program, 64 * MIB);
}

static struct space_usage usage(enum owner_kind kind, uint32_t id)
{
	struct space_usage *all, found = { .kind = kind, .id = id };
	size_t count;

	expect_done(world.machine, filesystem_owners(world.datasets, "fs", &all, &count, &world.machine->error));
	for (size_t i = 0; i < count; i++) {
		expect(i == 0 || all[i - 1].kind < all[i].kind || (all[i - 1].kind == all[i].kind && all[i - 1].id < all[i].id));
		if (all[i].kind == kind && all[i].id == id)
			found = all[i];
	}
	free(all);
	return found;
}

static uint64_t user_bytes(uint32_t id)
{
	expect_done(world.machine, core_commit_forced(world.machine->core));
	return usage(OWNER_USER, id).cells * CELL_SIZE;
}

static void limit(enum owner_kind kind, uint32_t id, bool objects, uint64_t amount)
{
	expect_done(world.machine, filesystem_set_owner_limit(world.datasets, "fs", kind, id, objects, amount, &world.machine->error));
}

static struct fs_node *make_as(uint32_t uid, const char *name)
{
	struct fs_new options = { .mode = S_IFREG | 0644, .uid = uid, .gid = uid + 100 };
	struct fs_node *node;

	expect_done(world.machine, fs_make(world.root, name, strlen(name), &options, &node));
	return node;
}

static int try_make_as(uint32_t uid, const char *name)
{
	struct fs_new options = { .mode = S_IFREG | 0644, .uid = uid, .gid = uid + 100 };
	struct fs_node *node = NULL;
	int status = fs_make(world.root, name, strlen(name), &options, &node);

	fs_put(node);
	return status;
}

/* Bytes that nothing compresses, the same wherever they are written anew. */
static void pattern(uint8_t *data, uint64_t offset, size_t length, unsigned seed)
{
	for (size_t i = 0; i < length; i++) {
		uint64_t word = hash_u64((offset + i) / 8 * 1000003 + seed);
		data[i] = (uint8_t)(word >> (offset + i) % 8 * 8);
	}
}

/* Writes until it is refused; what was written. */
static uint64_t fill(struct fs_node *node, uint64_t offset, uint64_t most, size_t piece, unsigned seed, int *ret_status)
{
	uint8_t *data = malloc(piece);
	uint64_t done = 0;
	int status = 0;

	while (done < most && status == 0) {
		size_t written = 0;
		pattern(data, offset + done, piece, seed);
		status = fs_write(node, offset + done, piece, data, 0, &written);
		done += written;
		if (status == 0)
			expect(written > 0);
	}
	*ret_status = status;
	free(data);
	return done;
}

static void holds(struct fs_node *node, uint64_t offset, uint64_t length, unsigned seed)
{
	uint8_t *data = malloc(65536), *wanted = malloc(65536);

	for (uint64_t at = 0; at < length; at += 65536) {
		size_t piece = length - at < 65536 ? (size_t)(length - at) : 65536;
		expect_equal(get_bytes(&world, node, offset + at, data, piece), piece);
		pattern(wanted, offset + at, piece, seed);
		expect(memcmp(data, wanted, piece) == 0);
	}
	free(data);
	free(wanted);
}

/* ---- Sums ---- */

static void sums_program(struct machine *machine)
{
	uint8_t *data = malloc(MIB);
	struct fs_set chown = { .what = FS_SET_UID, .uid = 8 }, project = { .what = FS_SET_PROJECT, .project = 77 };

	world_open(&world, machine, 0);
	pattern(data, 0, MIB, 1);
	struct fs_node *first = make_as(7, "first"), *second = make_as(7, "second");
	put_bytes(&world, first, 0, data, MIB);
	put_bytes(&world, second, 0, data, 100);
	expect_done(machine, fs_xattr_set(second, "user.large", data, 60000, 0));
	expect_equal(usage(OWNER_USER, 7).objects, 0); /* as of the last commit */
	uint64_t bytes = user_bytes(7);
	expect(bytes >= MIB + 60000 && bytes < MIB + 60000 + 2 * SLACK);
	expect_equal(usage(OWNER_USER, 7).objects, 2);
	expect_equal(usage(OWNER_GROUP, 107).objects, 2);
	expect_equal(usage(OWNER_PROJECT, 0).objects, 3);
	expect_equal(usage(OWNER_USER, 0).objects, 1); /* the root */
	world_check(&world);
	/* What it has goes along with it, attributes too. */
	expect_done(machine, fs_set(second, &chown));
	expect_done(machine, fs_set(first, &project));
	expect(user_bytes(8) >= 60000 && user_bytes(8) < 60000 + SLACK);
	expect(user_bytes(7) >= MIB && user_bytes(7) < MIB + SLACK);
	expect_equal(usage(OWNER_GROUP, 107).objects, 2);
	expect_equal(usage(OWNER_PROJECT, 77).objects, 1);
	world_check(&world);
	expect_done(machine, unlink_name(world.root, "second"));
	expect_equal(usage(OWNER_USER, 8).objects, 1);
	fs_put(second); /* it was open */
	expect_equal(user_bytes(8), 0);
	expect_equal(usage(OWNER_USER, 8).objects, 0);
	expect_done(machine, unlink_name(world.root, "first"));
	fs_put(first);
	expect_equal(user_bytes(7), 0);
	expect_equal(filesystem_usage_count(fs_dataset(world.fs)), 3);
	world_check(&world);
	world_close(&world);
	free(data);
}

static void test_sums(void **state)
{
	(void)state;
	boot(sums_program);
}

/* ---- Limits of users ---- */

static void user_program(struct machine *machine)
{
	int status;

	world_open(&world, machine, 0);
	limit(OWNER_USER, 7, false, LIMIT);
	struct fs_node *node = make_as(7, "file"), *other = make_as(8, "other"), *small = make_as(7, "small");
	put_bytes(&world, small, 0, "earlier", 7);
	uint64_t done = fill(node, 0, 8 * MIB, 100000, 1, &status);
	expect_equal(status, -EDQUOT);
	expect(user_bytes(7) <= LIMIT && user_bytes(7) + SLACK > LIMIT);
	holds(node, 0, done, 1);
	char earlier[7];
	expect_equal(get_bytes(&world, small, 0, earlier, 7), 7);
	expect(memcmp(earlier, "earlier", 7) == 0);
	/* What is there may be written anew, and others have nothing to do with it. */
	expect_equal(fill(node, 0, done / 4096 * 4096, 4096, 2, &status), done / 4096 * 4096);
	expect_equal(status, 0);
	holds(node, 0, done / 4096 * 4096, 2);
	expect_equal(fill(other, 0, 4 * MIB, 65536, 3, &status), 4 * MIB);
	expect(user_bytes(7) <= LIMIT);
	/* Room can be made, and is there at once. */
	struct fs_set cut = { .what = FS_SET_SIZE, .size = MIB };
	expect_done(machine, fs_set(node, &cut));
	expect(fill(node, MIB, 8 * MIB, 65536, 1, &status) + 2 * SLACK > MIB);
	expect_equal(status, -EDQUOT);
	expect(user_bytes(7) <= LIMIT);
	expect_done(machine, unlink_name(world.root, "file"));
	fs_put(node);
	node = make_as(7, "again");
	expect(fill(node, 0, 8 * MIB, 65536, 1, &status) + SLACK > LIMIT);
	expect_equal(status, -EDQUOT);
	/* Nobody is made to take what he has no room for, and lowering a limit takes nothing away. */
	struct fs_set chown = { .what = FS_SET_UID, .uid = 7 };
	expect_equal(fs_set(other, &chown), -EDQUOT);
	expect_equal(attributes(other).uid, 8);
	limit(OWNER_USER, 7, false, LIMIT / 2);
	size_t written;
	expect_equal(fs_write(node, 8 * MIB, 5000, (uint8_t[5000]){ 1 }, 0, &written), -EDQUOT);
	expect_done(machine, fs_set(node, &cut));
	expect_done(machine, unlink_name(world.root, "again"));
	fs_put(node);
	limit(OWNER_USER, 7, false, 0);
	expect_done(machine, fs_set(other, &chown));
	expect(user_bytes(7) >= 4 * MIB);
	fs_put(other);
	fs_put(small);
	world_check(&world);
	world_close(&world);
}

static void test_user(void **state)
{
	(void)state;
	boot(user_program);
}

static void objects_program(struct machine *machine)
{
	char name[16];

	world_open(&world, machine, 0);
	limit(OWNER_GROUP, 107, true, 10);
	limit(OWNER_PROJECT, 5, true, 1);
	for (unsigned i = 0; i < 10; i++) {
		snprintf(name, sizeof(name), "%u", i);
		expect_equal(try_make_as(7, name), 0);
	}
	expect_equal(try_make_as(7, "one more"), -EDQUOT);
	expect_done(machine, unlink_name(world.root, "3"));
	expect_equal(try_make_as(7, "one more"), 0);
	expect_equal(try_make_as(7, "and another"), -EDQUOT);
	expect_equal(try_make_as(8, "of another"), 0);
	struct fs_node *node = look(world.root, "1"), *second = look(world.root, "2");
	struct fs_set project = { .what = FS_SET_PROJECT, .project = 5 };
	expect_done(machine, fs_set(node, &project));
	expect_equal(fs_set(second, &project), -EDQUOT);
	expect_done(machine, fs_set(node, &project)); /* it is already */
	expect_done(machine, core_commit_forced(machine->core));
	expect_equal(usage(OWNER_GROUP, 107).objects, 10);
	expect_equal(usage(OWNER_PROJECT, 5).objects, 1);
	expect_equal(usage(OWNER_PROJECT, 5).limit_objects, 1);
	fs_put(node);
	fs_put(second);
	world_check(&world);
	world_close(&world);
}

static void test_objects(void **state)
{
	(void)state;
	boot(objects_program);
}

/* ---- Limits of datasets ---- */

static void set_limit(const char *path, enum dataset_limit which, uint64_t bytes, int wanted)
{
	expect_equal(dataset_set_limit(world.datasets, path, which, bytes, false, &world.machine->error), wanted);
}

static struct dataset_space space_of(const char *path)
{
	struct dataset_space space;

	expect_done(world.machine, core_commit_forced(world.machine->core));
	expect_equal(dataset_space(world.datasets, path, &space), 0);
	return space;
}

static void quota_program(struct machine *machine)
{
	struct fs_create_options options = { .mode = 0755 };
	struct fs_space space;
	struct fs *child;
	int status;

	world_open(&world, machine, 0);
	expect_done(machine, fs_create(world.datasets, "fs/child", &options, &machine->error));
	expect_done(machine, volume_create(world.datasets, "fs/volume", 16 * MIB, 16384, 0, &machine->error));
	set_limit("fs", LIMIT_QUOTA, 4 * LIMIT, 0);
	set_limit("fs", LIMIT_REFQUOTA, LIMIT, 0);
	fs_space(world.fs, &space);
	expect_equal(space.total_bytes, LIMIT);
	struct fs_node *node = make_as(7, "file");
	uint64_t done = fill(node, 0, 8 * MIB, 65536, 1, &status);
	expect_equal(status, -EDQUOT);
	expect(space_of("fs").referenced_cells * CELL_SIZE <= LIMIT && done + 2 * SLACK > LIMIT);
	fs_space(world.fs, &space);
	expect_equal(space.total_bytes, LIMIT);
	expect(space.free_bytes < SLACK);
	/* What lies in it counts for its quota: first the child takes some, then the volume what is left. */
	expect_done(machine, fs_open(world.datasets, "fs/child", &child, &machine->error));
	struct fs_node *root, *inner;
	struct fs_new new = { .mode = S_IFREG | 0644 };
	expect_done(machine, fs_root(child, &root));
	expect_done(machine, fs_make(root, "inner", 5, &new, &inner));
	expect_equal(fill(inner, 0, LIMIT, 65536, 2, &status), LIMIT);
	struct volume *volume = pool_volume(machine, world.datasets, "fs/volume");
	uint8_t *data = malloc(65536);
	uint64_t at = 0;
	for (status = 0; status == 0 && at < 16 * MIB; at += status == 0 ? 65536 : 0) {
		pattern(data, at, 65536, 3);
		status = volume_write(volume, at, 65536, data);
	}
	expect_equal(status, -EDQUOT);
	expect(space_of("fs").used_cells * CELL_SIZE <= 4 * LIMIT && space_of("fs").used_cells * CELL_SIZE + 2 * SLACK > 4 * LIMIT);
	/* What would be said is known beforehand, when nothing is on its way any more. */
	for (unsigned i = 0; i < 2; i++)
		expect_done(machine, core_commit(machine->core));
	expect(volume_try_write(volume, at + MIB, MIB) == -EDQUOT && volume_try_write(volume, 0, 65536) == 0);
	size_t written;
	expect_equal(fs_write(inner, LIMIT, 60000, data, 0, &written), -EDQUOT);
	/* Rewriting needs no room; trimming makes some, for anybody in it. */
	pattern(data, 0, 65536, 4);
	expect_done(machine, volume_write(volume, 0, 65536, data));
	expect_done(machine, volume_trim(volume, 0, MIB));
	expect_equal(fill(inner, LIMIT, MIB / 2, 65536, 2, &status), MIB / 2);
	holds(inner, 0, LIMIT + MIB / 2, 2);
	/* Moved elsewhere it counts there. */
	volume_close(volume);
	expect_done(machine, dataset_rename(world.datasets, "fs/volume", "volume", &machine->error));
	expect(space_of("fs").used_cells * CELL_SIZE < 3 * LIMIT);
	expect_equal(fill(inner, LIMIT + MIB / 2, MIB, 65536, 2, &status), MIB);
	free(data);
	fs_put(inner);
	fs_put(root);
	fs_close(child);
	fs_put(node);
	world_check(&world);
	world_close(&world);
	/* All of it is known after the next import. */
	world_open(&world, machine, 0);
	expect(space_of("fs").used_cells * CELL_SIZE > 2 * LIMIT);
	world_close(&world);
}

static void test_quota(void **state)
{
	(void)state;
	boot(quota_program);
}

static void reservation_program(struct machine *machine)
{
	struct fs_create_options options = { .mode = 0755 };
	struct fs *other;
	int status;

	/* Small records: three of 128 KiB leave a quarter of a segment of this pool's size unused. */
	world_open(&world, machine, 14);
	expect_done(machine, fs_create(world.datasets, "other", &options, &machine->error));
	uint64_t free_bytes = space_of("fs").available_cells * CELL_SIZE, reserved = free_bytes / 2;
	set_limit("fs", LIMIT_RESERVATION, 2 * free_bytes, -ENOSPC);
	set_limit("fs", LIMIT_QUOTA, MIB, 0);
	set_limit("fs", LIMIT_RESERVATION, reserved, -EINVAL);
	set_limit("fs", LIMIT_QUOTA, 0, 0);
	set_limit("fs", LIMIT_RESERVATION, reserved, 0);
	expect(space_of("other").available_cells * CELL_SIZE <= free_bytes - reserved);
	expect(space_of("fs").available_cells * CELL_SIZE + SLACK > free_bytes);
	set_limit("other", LIMIT_RESERVATION, free_bytes - reserved + MIB, -ENOSPC);
	/* Another one fills what isn't reserved, and no more. */
	expect_done(machine, fs_open(world.datasets, "other", &other, &machine->error));
	struct fs_node *root, *node;
	struct fs_new new = { .mode = S_IFREG | 0644 };
	expect_done(machine, fs_root(other, &root));
	expect_done(machine, fs_make(root, "file", 4, &new, &node));
	uint64_t done = fill(node, 0, 2 * free_bytes, 131072, 1, &status);
	expect_equal(status, -ENOSPC);
	expect(done <= free_bytes - reserved);
	/* What was reserved is there: most of it, as metadata and the ends of segments take some. */
	struct fs_node *own = make_as(7, "own");
	expect(fill(own, 0, reserved * 3 / 4, 131072, 2, &status) >= reserved * 3 / 4);
	expect_equal(status, 0);
	holds(node, 0, done, 1);
	holds(own, 0, reserved * 3 / 4, 2);
	fs_put(own);
	fs_put(node);
	fs_put(root);
	fs_close(other);
	world_check(&world);
	world_close(&world);
}

static void test_reservation(void **state)
{
	(void)state;
	boot(reservation_program);
}

/* ---- Limits and places: what is absorbed by a reservation, and what a rename takes along ---- */

static void place_program(struct machine *machine)
{
	struct fs_create_options options = { .mode = 0755 };
	uint64_t free_bytes;
	int status;

	world_open(&world, machine, 0);
	free_bytes = space_of("fs").available_cells * CELL_SIZE;
	expect_done(machine, fs_create(world.datasets, "parent", &options, &machine->error));
	expect_done(machine, fs_create(world.datasets, "parent/inner", &options, &machine->error));
	expect_done(machine, fs_create(world.datasets, "parent/inner/child", &options, &machine->error));
	/* What the inner one has reserved is enough for its child: nobody above needs more. */
	set_limit("parent", LIMIT_QUOTA, 9 * LIMIT, 0);
	set_limit("parent/inner", LIMIT_RESERVATION, 8 * LIMIT, 0);
	set_limit("parent/inner/child", LIMIT_RESERVATION, 4 * LIMIT, 0);
	set_limit("parent/inner/child", LIMIT_RESERVATION, 10 * LIMIT, -EDQUOT);
	set_limit("parent/inner", LIMIT_RESERVATION, 0, 0);
	set_limit("parent/inner/child", LIMIT_RESERVATION, 0, 0);
	set_limit("parent", LIMIT_QUOTA, LIMIT, 0);
	/* Content, written a moment ago, and what is reserved. */
	struct fs_node *node = make_as(7, "file");
	expect_equal(fill(node, 0, 2 * LIMIT, 65536, 1, &status), 2 * LIMIT);
	fs_put(node);
	expect_done(machine, fs_create(world.datasets, "reserved", &options, &machine->error));
	set_limit("reserved", LIMIT_RESERVATION, 2 * LIMIT, 0);
	struct pool_error error = { 0 };
	expect_equal(dataset_rename(world.datasets, "fs", "parent/inner/fs", &error), -EDQUOT);
	expect(strstr(error.text, "quota of"));
	expect_equal(dataset_check_rename(world.datasets, "fs", "parent/inner/fs", &error), -EDQUOT);
	expect_equal(dataset_rename(world.datasets, "reserved", "parent/reserved", &error), -EDQUOT);
	set_limit("parent", LIMIT_QUOTA, 5 * LIMIT, 0);
	expect_done(machine, dataset_rename(world.datasets, "fs", "parent/inner/fs", &machine->error));
	expect_done(machine, dataset_rename(world.datasets, "reserved", "parent/reserved", &machine->error));
	expect(space_of("parent").used_cells * CELL_SIZE >= 4 * LIMIT && space_of("parent").used_cells * CELL_SIZE <= 5 * LIMIT);
	/* Above its quota by now: what is within it may still move about. */
	set_limit("parent", LIMIT_QUOTA, LIMIT, 0);
	expect_done(machine, dataset_rename(world.datasets, "parent/inner/fs", "parent/fs", &machine->error));
	/* Out of a reservation that covers it, into a pool that has less. */
	set_limit("parent", LIMIT_QUOTA, 0, 0);
	set_limit("parent", LIMIT_RESERVATION, free_bytes - 4 * LIMIT, 0);
	expect_done(machine, dataset_rename(world.datasets, "parent/reserved", "reserved", &machine->error));
	set_limit("parent", LIMIT_RESERVATION, free_bytes - 3 * LIMIT, 0);
	expect_equal(dataset_rename(world.datasets, "parent/fs", "fs", &error), -ENOSPC);
	expect_done(machine, dataset_rename(world.datasets, "parent/fs", "parent/again", &machine->error));
	world_check(&world);
	world_close(&world);
}

static void test_place(void **state)
{
	(void)state;
	boot(place_program);
}

/* ---- Content that gets harder to compress must not exceed a limit either ---- */

static void overwrite_program(struct machine *machine)
{
	uint8_t *zeroes = calloc(1, 131072);
	int status;

	memset(zeroes, 1, 131072);
	world_open(&world, machine, 17);
	expect_done(machine, dataset_set(world.datasets, "fs", SETTING_COMPRESSION, &(uint8_t){ 2 }, &machine->error));
	limit(OWNER_USER, 7, false, LIMIT);
	struct fs_node *node = make_as(7, "file");
	for (uint64_t at = 0; at < 8 * MIB; at += 131072)
		put_bytes(&world, node, at, zeroes, 131072);
	expect(user_bytes(7) <= LIMIT);
	uint64_t done = fill(node, 0, 8 * MIB, 131072, 1, &status);
	expect_equal(status, -EDQUOT);
	expect(user_bytes(7) <= LIMIT && done + LIMIT / 2 > LIMIT / 2);
	holds(node, 0, done, 1);
	uint8_t byte;
	expect_equal(get_bytes(&world, node, 8 * MIB - 1, &byte, 1), 1);
	expect_equal(byte, 1);
	fs_put(node);
	free(zeroes);
	world_check(&world);
	world_close(&world);
}

static void test_overwrite(void **state)
{
	(void)state;
	boot(overwrite_program);
}

/* ---- A change of owner waits for a commit only where a limit may refuse it ---- */

static void chown_program(struct machine *machine)
{
	struct fs_set to_limited = { .what = FS_SET_UID, .uid = 7 }, to_other = { .what = FS_SET_UID | FS_SET_GID, .uid = 9, .gid = 109 };
	char name[16];
	int status;

	world_open(&world, machine, 0);
	limit(OWNER_USER, 7, false, LIMIT);
	limit(OWNER_GROUP, 8, true, 1000); /* one of another kind */
	set_limit("fs", LIMIT_QUOTA, 32 * MIB, 0);
	expect_done(machine, core_commit_forced(machine->core));
	struct fs_node *large = make_as(8, "large");
	expect_equal(fill(large, 0, 2 * LIMIT, 65536, 1, &status), 2 * LIMIT);
	uint64_t commits = core_commits(machine->core);
	for (unsigned i = 0; i < 20; i++) {
		snprintf(name, sizeof(name), "%u", i);
		struct fs_node *node = make_as(8, name);
		expect_done(machine, fs_xattr_set(node, "user.a", "value", 5, 0));
		expect_done(machine, fs_set(node, &to_other));
		fs_put(node);
	}
	expect_equal(core_commits(machine->core), commits);
	/* What the open txg wrote counts for the one who is to have it. */
	expect_equal(fs_set(large, &to_limited), -EDQUOT);
	expect(core_commits(machine->core) > commits);
	expect(user_bytes(7) <= LIMIT);
	expect_equal(usage(OWNER_USER, 9).objects, 20);
	fs_put(large);
	world_check(&world);
	world_close(&world);
}

static void test_chown(void **state)
{
	(void)state;
	boot(chown_program);
}

/* ---- Who is refused for what is committed waits for nothing ---- */

static void refused_program(struct machine *machine)
{
	struct dataset_space before;

	world_open(&world, machine, 0);
	/* The inode of 7 fits, its name in the root's directory doesn't: the root's owner, then one whom both count for, then a dataset. */
	for (unsigned i = 0; i < 3; i++) {
		uint64_t few = user_bytes(0) + 10 * CELL_SIZE;
		if (i == 0)
			limit(OWNER_USER, 0, false, few);
		else if (i == 1)
			limit(OWNER_PROJECT, 0, false, few);
		else
			set_limit("fs", LIMIT_REFQUOTA, space_of("fs").referenced_cells * CELL_SIZE + 10 * CELL_SIZE, 0);
		before = space_of("fs");
		uint64_t commits = core_commits(machine->core);
		for (unsigned j = 0; j < 3; j++)
			expect_equal(try_make_as(7, "file"), -EDQUOT);
		expect_equal(core_commits(machine->core), commits);
		/* Nothing stays charged. */
		struct dataset_space after;
		expect_equal(dataset_space(world.datasets, "fs", &after), 0);
		expect_equal(after.available_cells, before.available_cells);
		if (i == 0)
			limit(OWNER_USER, 0, false, 0);
		else if (i == 1)
			limit(OWNER_PROJECT, 0, false, 0);
		else
			set_limit("fs", LIMIT_REFQUOTA, 0, 0);
	}
	expect_equal(try_make_as(7, "file"), 0);
	world_check(&world);
	world_close(&world);
}

static void test_refused(void **state)
{
	(void)state;
	boot(refused_program);
}

/* ---- What a crash left to be freed is freed only when it is known whose it is ---- */

#define LEFT_BLOCKS (OBJECT_KILLS_PER_SYNC + 3000u)
#define MANY_OWNERS 12000u /* so that reading their rows takes a few commits */

static void leave_program(struct machine *machine)
{
	struct fs_set cut_off = { .what = FS_SET_SIZE, .size = 0 };
	uint8_t *data = malloc(MIB);
	char name[16];

	memset(data, 1, MIB);
	world_open(&world, machine, 12);
	expect_done(machine, dataset_set(world.datasets, "fs", SETTING_COMPRESSION, &(uint8_t){ BLOCK_COMPRESS_OFF }, &machine->error));
	for (unsigned i = 0; i < MANY_OWNERS; i++) {
		snprintf(name, sizeof(name), "%u", i);
		fs_put(make_as(1000 + i, name));
	}
	struct fs_node *node = make_as(7, "file");
	for (uint64_t at = 0; at < LEFT_BLOCKS * UINT64_C(4096); at += MIB)
		put_bytes(&world, node, at, data, MIB);
	expect_done(machine, core_commit_forced(machine->core));
	expect_done(machine, fs_set(node, &cut_off));
	expect_done(machine, core_commit(machine->core));
	expect(usage(OWNER_USER, 7).cells > 1000);
	expect(objset_has_pending_kills(filesystem_objset(fs_dataset(world.fs))));
	core_halt(machine->core, "crash");
	fs_put(node);
	fs_put(world.root);
	fs_close(world.fs);
	pool_abandon(machine, world.datasets);
	free(data);
}

struct opening {
	struct rt_group group;
	bool done;
};

static void open_fiber(void *argument)
{
	struct opening *opening = argument;

	expect_done(world.machine, fs_open(world.datasets, "fs", &world.fs, &world.machine->error));
	opening->done = true;
	rt_group_done(world.machine->rt, &opening->group, 0);
}

static void left_program(struct machine *machine)
{
	struct opening opening = { .done = false };

	world.machine = machine;
	world.datasets = pool_open(machine);
	blocks_drop_cache(core_blocks(machine->core));
	rt_group_init(&opening.group);
	rt_group_add(&opening.group);
	expect_equal(rt_spawn(machine->rt, "open", open_fiber, &opening), 0);
	while (!opening.done)
		expect_done(machine, core_commit_forced(machine->core));
	(void)rt_group_wait(machine->rt, &opening.group);
	expect_done(machine, fs_root(world.fs, &world.root));
	expect_done(machine, core_commit_forced(machine->core));
	expect(!objset_has_pending_kills(filesystem_objset(fs_dataset(world.fs))));
	expect(usage(OWNER_USER, 7).cells < 10);
	world_check(&world);
	world_close(&world);
}

static void test_left(void **state)
{
	struct machine *machine = machine_new(2, 512 * MIB, 1, 1, 1);

	(void)state;
	machine_boot(machine, machine_create_program);
	machine_boot(machine, leave_program);
	machine_boot(machine, left_program);
	machine_free(machine);
}

/* ---- The target of a link takes a cell, however large records are ---- */

static void link_program(struct machine *machine)
{
	char target[4001], name[16], text[FS_SYMLINK_MAX + 1];

	for (size_t i = 0; i < sizeof(target) - 1; i++)
		target[i] = (char)('A' + hash_u64(i) % 26);
	target[sizeof(target) - 1] = 0;
	world_open(&world, machine, 17);
	expect_done(machine, dataset_set(world.datasets, "fs", SETTING_COMPRESSION, &(uint8_t){ BLOCK_COMPRESS_OFF }, &machine->error));
	limit(OWNER_USER, 7, false, MIB);
	for (unsigned i = 0; i < 20; i++) {
		struct fs_new options = { .mode = S_IFLNK | 0777, .uid = 7, .gid = 107, .target = target };
		struct fs_node *node;
		snprintf(name, sizeof(name), "link %u", i);
		expect_done(machine, fs_make(world.root, name, strlen(name), &options, &node));
		expect_done(machine, core_commit_forced(machine->core));
		expect(attributes(node).blocks * 512 <= 2 * CELL_SIZE);
		expect_equal(fs_read_link(node, text), 0);
		expect(strcmp(text, target) == 0);
		fs_put(node);
	}
	expect(user_bytes(7) <= MIB);
	world_check(&world);
	world_close(&world);
}

static void test_link(void **state)
{
	(void)state;
	boot(link_program);
}

/* ---- At random, with power cuts ---- */

#define FILES 8u
#define USERS 3u
#define RANDOM_LIMIT (UINT64_C(600) << 10)

static struct sim_random random_source;
static bool cut;

static unsigned below(unsigned end)
{
	return (unsigned)sim_random_below(&random_source, end);
}

static void no_limit_exceeded(void)
{
	for (uint32_t user = 1; user <= USERS; user++) {
		struct space_usage one = usage(OWNER_USER, user);
		expect(!one.limit_bytes || one.cells * CELL_SIZE <= one.limit_bytes);
		expect(!one.limit_objects || one.objects <= one.limit_objects);
	}
	struct dataset_space space;
	expect_equal(dataset_space(world.datasets, "fs", &space), 0);
	expect(fs_record(world.fs)->refquota == 0 || space.referenced_cells * CELL_SIZE <= fs_record(world.fs)->refquota);
}

static void random_step(uint8_t *data)
{
	unsigned file = below(FILES);
	char name[8];
	int status = 0;

	snprintf(name, sizeof(name), "f%u", file);
	struct fs_node *node = look(world.root, name);
	unsigned what = below(12);
	if (!node) {
		status = try_make_as(1 + below(USERS), name);
	} else if (what < 6) {
		uint64_t offset = below(4) ? below(400) * 1024 : below(3000) * 100;
		size_t length = 1 + below(below(2) ? 70000 : 5000), written;
		if (below(3))
			pattern(data, offset, length, file);
		else
			memset(data, 1, length);
		status = fs_write(node, offset, length, data, 0, &written);
	} else if (what < 8) {
		struct fs_set chown = { .what = FS_SET_UID | FS_SET_GID, .uid = 1 + below(USERS), .gid = 101 + below(USERS) };
		status = fs_set(node, &chown);
	} else if (what < 9) {
		struct fs_set cut_to = { .what = FS_SET_SIZE, .size = below(300) * 1024 };
		expect_done(world.machine, fs_set(node, &cut_to));
	} else if (what < 10) {
		expect_done(world.machine, fs_allocate(node, 3, below(200) * 1024, 1 + below(100) * 1024, 0));
	} else if (what < 11) {
		status = fs_xattr_set(node, "user.a", data, below(20000), 0);
	} else {
		expect_done(world.machine, unlink_name(world.root, name));
	}
	fs_put(node);
	expect(status == 0 || status == -EDQUOT);
}

static void random_program(struct machine *machine)
{
	uint8_t *data = calloc(1, 1 << 17);

	world_open(&world, machine, 0);
	world_check(&world);
	for (uint32_t user = 1; user < USERS; user++)
		limit(OWNER_USER, user, false, RANDOM_LIMIT);
	limit(OWNER_USER, 1, true, 3);
	set_limit("fs", LIMIT_REFQUOTA, 3 * RANDOM_LIMIT, 0);
	for (unsigned step = 0; step < 120; step++) {
		random_step(data);
		if (below(10) == 0) {
			expect_done(machine, core_commit(machine->core));
			no_limit_exceeded();
		}
	}
	free(data);
	cut = below(2);
	if (cut) {
		core_halt(machine->core, "crash");
		fs_put(world.root);
		fs_close(world.fs);
		pool_abandon(machine, world.datasets);
		return;
	}
	world_check(&world);
	no_limit_exceeded();
	world_close(&world);
}

static void test_random(void **state)
{
	(void)state;
	for (unsigned seed = 0; seed < 12; seed++) {
		struct machine *machine = machine_new(3, 64 * MIB, 2, 1, seed);
		sim_random_stream(&random_source, seed, "quota", 0);
		machine_boot(machine, machine_create_program);
		for (unsigned i = 0; i < 5; i++)
			machine_boot(machine, random_program);
		machine_free(machine);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sums),	    cmocka_unit_test(test_user),      cmocka_unit_test(test_objects), cmocka_unit_test(test_quota),
		cmocka_unit_test(test_reservation), cmocka_unit_test(test_place), cmocka_unit_test(test_overwrite), cmocka_unit_test(test_random),
		cmocka_unit_test(test_link),	    cmocka_unit_test(test_chown),     cmocka_unit_test(test_refused),
		cmocka_unit_test(test_left),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
