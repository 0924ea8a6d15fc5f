/* SPDX-License-Identifier: BSD-2-Clause */
/* What settings do to a file system that is open: each holds at once, and what it turned off is there again when it is turned on. */
#include "tests/unit/fs/filesystems.h"

static struct world world;

static void set(enum dataset_setting setting, uint8_t value)
{
	expect_done(world.machine, dataset_set(world.datasets, "fs", setting, &value, &world.machine->error));
}

static void boot(void (*program)(struct machine *machine))
{
	struct machine *machine = machine_new(3, 64 * MIB, 2, 1, 1);

	machine_boot(machine, machine_create_program);
	machine_boot(machine, program);
	machine_free(machine);
}

static int write_fails(struct fs_node *node)
{
	size_t written;

	return fs_write(node, 0, 1, "x", 0, &written);
}

static void read_only_program(struct machine *machine)
{
	uint64_t done;

	world_open(&world, machine, 0);
	struct fs_node *node = make(&world, world.root, "file", S_IFREG | 0644), *other = make(&world, world.root, "other", S_IFREG | 0644);
	put_bytes(&world, node, 0, "content", 7);
	set(SETTING_READONLY, READONLY_ON);
	struct fs_set chmod = { .what = FS_SET_MODE, .mode = 0600 };
	uint64_t changes = attributes(node).changes;
	expect_equal(make_fails(world.root, "new", S_IFREG | 0644), -EROFS);
	expect_equal(unlink_name(world.root, "file"), -EROFS);
	expect_equal(rename_to(world.root, "file", world.root, "new", 0), -EROFS);
	expect_equal(fs_link(node, world.root, "link", 4), -EROFS);
	expect_equal(write_fails(node), -EROFS);
	expect_equal(fs_allocate(node, 0, 0, 100, 0), -EROFS);
	expect_equal(fs_set(node, &chmod), -EROFS);
	expect_equal(fs_xattr_set(node, "user.a", "b", 1, 0), -EROFS);
	expect_equal(fs_copy_range(node, 0, other, 0, 7, 0, &done), -EROFS);
	fs_touch(node);
	expect_equal(attributes(node).changes, changes);
	char back[7];
	expect_equal(get_bytes(&world, node, 0, back, 7), 7);
	set(SETTING_READONLY, READONLY_OFF);
	expect_done(machine, unlink_name(world.root, "file"));
	/* What was removed and is still open is freed even so. */
	set(SETTING_READONLY, READONLY_ON);
	fs_put(node);
	fs_put(other);
	world_check(&world);
	world_close(&world);
}

static void test_read_only(void **state)
{
	(void)state;
	boot(read_only_program);
}

static bool same_time(const struct fs_time *left, const struct fs_time *right)
{
	return left->seconds == right->seconds && left->nanoseconds == right->nanoseconds;
}

static bool touch_counts(struct machine *machine, struct fs_node *node)
{
	struct fs_time before = attributes(node).times[FS_TIME_ACCESS];

	rt_sleep(machine->rt, NS_PER_MS * 10);
	fs_touch(node);
	struct fs_time after = attributes(node).times[FS_TIME_ACCESS];
	return !same_time(&before, &after);
}

static void access_program(struct machine *machine)
{
	world_open(&world, machine, 0);
	struct fs_node *node = make(&world, world.root, "file", S_IFREG | 0644);
	expect(touch_counts(machine, node));
	expect(!touch_counts(machine, node));
	set(SETTING_ATIME, ATIME_ON);
	expect(touch_counts(machine, node));
	expect(touch_counts(machine, node));
	set(SETTING_ATIME, ATIME_OFF);
	put_bytes(&world, node, 0, "x", 1);
	expect(!touch_counts(machine, node));
	set(SETTING_ATIME, ATIME_RELATIVE);
	expect(touch_counts(machine, node));
	expect(!touch_counts(machine, node));
	fs_put(node);
	world_close(&world);
}

static void test_access(void **state)
{
	(void)state;
	boot(access_program);
}

static unsigned commits_of(struct machine *machine, int (*function)(struct fs *fs))
{
	uint64_t before = core_commits(machine->core);

	fs_put(make(&world, world.root, "file", S_IFREG | 0644));
	expect_done(machine, function(world.fs));
	expect_done(machine, fs_unlink(world.root, "file", 4));
	return (unsigned)(core_commits(machine->core) - before);
}

static void sync_program(struct machine *machine)
{
	machine->options.commit_interval_ns = 1000 * NS_PER_S;
	world_open(&world, machine, 0);
	expect_equal(commits_of(machine, fs_sync), 1);
	expect_equal(commits_of(machine, fs_changed), 0);
	set(SETTING_SYNC, SYNC_ALWAYS);
	expect_equal(commits_of(machine, fs_sync), 1);
	expect_equal(commits_of(machine, fs_changed), 1);
	set(SETTING_SYNC, SYNC_DISABLED);
	expect_equal(commits_of(machine, fs_sync), 0);
	expect_equal(commits_of(machine, fs_changed), 0);
	world_close(&world);
}

static void test_sync(void **state)
{
	(void)state;
	boot(sync_program);
}

/* Of mode 0640, with user 7 beside. */
static const uint8_t list[] = { 2, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255, 2, 0, 4, 0, 7, 0, 0, 0, 4, 0, 4, 0, 255, 255, 255, 255,
				16, 0, 4, 0, 255, 255, 255, 255, 32, 0, 0, 0, 255, 255, 255, 255 };

static size_t names_length(struct fs_node *node)
{
	size_t length;

	expect_done(world.machine, fs_xattr_list(node, NULL, 0, &length));
	return length;
}

static void attributes_program(struct machine *machine)
{
	uint8_t value[64];
	size_t length;

	world_open(&world, machine, 0);
	struct fs_node *node = make(&world, world.root, "directory", S_IFDIR | 0755);
	expect_done(machine, fs_xattr_set(node, "user.a", "b", 1, 0));
	expect_done(machine, fs_xattr_set(node, "system.posix_acl_default", list, sizeof(list), 0));
	expect_equal(names_length(node), sizeof("user.a") + sizeof("system.posix_acl_default"));
	set(SETTING_XATTR, XATTR_OFF);
	expect_equal(fs_xattr_get(node, "user.a", value, sizeof(value), &length), -EOPNOTSUPP);
	expect_equal(fs_xattr_set(node, "user.c", "b", 1, 0), -EOPNOTSUPP);
	expect_equal(fs_xattr_remove(node, "user.a"), -EOPNOTSUPP);
	expect_equal(names_length(node), sizeof("system.posix_acl_default"));
	expect_done(machine, fs_xattr_get(node, "system.posix_acl_default", value, sizeof(value), &length));
	set(SETTING_ACL, ACL_OFF);
	expect_equal(fs_xattr_get(node, "system.posix_acl_default", value, sizeof(value), &length), -EOPNOTSUPP);
	expect_equal(fs_xattr_set(node, "system.posix_acl_access", list, sizeof(list), 0), -EOPNOTSUPP);
	expect_equal(names_length(node), 0);
	/* A default list that is turned off hands nothing down; the mask of the process counts instead. */
	struct fs_new options = { .mode = S_IFREG | 0666, .umask = 022 };
	struct fs_node *file;
	expect_done(machine, fs_make(node, "off", 3, &options, &file));
	expect_equal(attributes(file).mode, S_IFREG | 0644);
	fs_put(file);
	set(SETTING_ACL, ACL_POSIX);
	set(SETTING_XATTR, XATTR_ON);
	expect_equal(names_length(node), sizeof("user.a") + sizeof("system.posix_acl_default"));
	expect_done(machine, fs_make(node, "on", 2, &options, &file));
	expect_equal(attributes(file).mode, S_IFREG | 0640);
	fs_put(file);
	fs_put(node);
	world_check(&world);
	world_close(&world);
}

static void test_attributes(void **state)
{
	(void)state;
	boot(attributes_program);
}

static uint64_t blocks_of(const char *name, uint8_t byte)
{
	struct fs_node *node = make(&world, world.root, name, S_IFREG | 0644);
	uint8_t *data = malloc(MIB);

	memset(data, byte, MIB);
	put_bytes(&world, node, 0, data, MIB);
	expect_done(world.machine, fs_sync(world.fs));
	uint64_t blocks = attributes(node).blocks;
	free(data);
	fs_put(node);
	return blocks;
}

static uint32_t record_of(const char *name, size_t length)
{
	struct fs_node *node = make(&world, world.root, name, S_IFREG | 0644);
	uint8_t *data = calloc(1, length);

	put_bytes(&world, node, 0, data, length);
	uint32_t bytes = attributes(node).block_size;
	free(data);
	fs_put(node);
	return bytes;
}

static void content_program(struct machine *machine)
{
	world_open(&world, machine, 0);
	set(SETTING_COMPRESSION, BLOCK_COMPRESS_OFF);
	expect(blocks_of("plain", 1) >= MIB / 512);
	set(SETTING_COMPRESSION, 4);
	expect(blocks_of("packed", 1) < MIB / 512 / 8);
	/* Of a file that is in use as well: what is written from now on. */
	struct fs_node *node = look(world.root, "packed");
	set(SETTING_COMPRESSION, BLOCK_COMPRESS_OFF);
	uint8_t *data = malloc(MIB);
	memset(data, 2, MIB);
	put_bytes(&world, node, 0, data, MIB);
	expect_done(machine, fs_sync(world.fs));
	expect(attributes(node).blocks >= MIB / 512);
	free(data);
	fs_put(node);
	expect_equal(record_of("auto", 300), 4096);
	expect_equal(record_of("auto large", 100000), 128 << 10);
	set(SETTING_RECORDSIZE, 14);
	expect_equal(record_of("16K", 300), 16384);
	expect_equal(record_of("16K large", 100000), 16384);
	set(SETTING_RECORDSIZE, 0);
	expect_equal(record_of("auto again", 300), 4096);
	/* A file that was made under one setting and gets its content under another. */
	node = make(&world, world.root, "late", S_IFREG | 0644);
	set(SETTING_RECORDSIZE, 16);
	put_bytes(&world, node, 0, (uint8_t[1000]){ 1 }, 1000);
	expect_equal(attributes(node).block_size, 1 << 16);
	fs_put(node);
	world_check(&world);
	world_close(&world);
}

static void test_content(void **state)
{
	(void)state;
	boot(content_program);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_read_only), cmocka_unit_test(test_sync), cmocka_unit_test(test_access), cmocka_unit_test(test_attributes),
					    cmocka_unit_test(test_content) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
