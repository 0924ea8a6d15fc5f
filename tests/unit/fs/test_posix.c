/* SPDX-License-Identifier: BSD-2-Clause */
/* What POSIX and Linux say of file systems, item by item, on one that is opened again in between. */
#include "tests/unit/fs/filesystems.h"

static struct world world;

static void boot(void (*program)(struct machine *machine), unsigned boots)
{
	struct machine *machine = machine_new(4, 128 * MIB, 2, 1, 7);

	machine_boot(machine, machine_create_program);
	for (unsigned i = 0; i < boots; i++)
		machine_boot(machine, program);
	machine_free(machine);
}

#define TEST(name, boots)                                                                                              \
	static void name(void **state)                                                                                 \
	{                                                                                                              \
		(void)state;                                                                                           \
		boot(name##_program, boots);                                                                           \
	}

/* ---- Names ---- */

static void names_program(struct machine *machine)
{
	char longest[300], text[64];
	struct fs_node *a, *b, *node;

	world_open(&world, machine, 0);
	memset(longest, 'y', sizeof(longest));
	struct fs_new file = { .mode = S_IFREG | 0644 };
	expect_equal(fs_make(world.root, longest, 256, &file, &node), -ENAMETOOLONG);
	expect_equal(fs_make(world.root, "", 0, &file, &node), -ENOENT);
	expect_equal(fs_make(world.root, "a/b", 3, &file, &node), -EINVAL);
	expect_equal(fs_make(world.root, ".", 1, &file, &node), -EINVAL);
	expect_equal(fs_make(world.root, "..", 2, &file, &node), -EINVAL);
	expect_done(machine, fs_make(world.root, longest, 255, &file, &node));
	fs_put(node);
	node = make(&world, world.root, "\xff\x01 strange\n", S_IFREG | 0600); /* any bytes but 0 and '/' */
	fs_put(node);
	a = make(&world, world.root, "a", S_IFDIR | 0755);
	b = make(&world, a, "b", S_IFDIR | 0755);
	expect_equal(make_fails(world.root, "a", S_IFREG | 0644), -EEXIST);
	expect_equal(make_fails(world.root, "x", 0644), -EINVAL);
	expect_equal(attributes(world.root).links, 3);
	expect_equal(attributes(a).links, 3);
	expect_equal(remove_directory(world.root, "a"), -ENOTEMPTY);
	expect_equal(unlink_name(world.root, "a"), -EISDIR);
	node = make(&world, b, "f", S_IFREG | 0644);
	expect_equal(remove_directory(b, "f"), -ENOTDIR);
	expect_equal(fs_link(a, world.root, "hard", 4), -EPERM);
	expect_done(machine, fs_link(node, world.root, "hard", 4));
	expect_equal(attributes(node).links, 2);
	expect_done(machine, fs_path(node, text, sizeof(text)));
	expect(strcmp(text, "/a/b/f") == 0);
	expect_equal(fs_path(node, text, 5), -ENAMETOOLONG);
	/* Nothing moves into itself; a name may move onto another of the same file, which changes nothing. */
	expect_equal(rename_to(world.root, "a", b, "c", 0), -EINVAL);
	expect_equal(rename_to(world.root, "hard", b, "f", 0), 0);
	expect_equal(attributes(node).links, 2);
	expect_equal(rename_to(world.root, "a", world.root, "hard", 0), -ENOTDIR);
	expect_equal(rename_to(world.root, "hard", world.root, "a", 0), -EISDIR);
	expect_equal(rename_to(world.root, "none", world.root, "a", 0), -ENOENT);
	expect_equal(rename_to(world.root, "hard", world.root, "a", FS_RENAME_NOREPLACE), -EEXIST);
	expect_equal(rename_to(world.root, "hard", world.root, "a", FS_RENAME_NOREPLACE | FS_RENAME_EXCHANGE), -EINVAL);
	expect_equal(rename_to(world.root, "hard", a, "b", FS_RENAME_EXCHANGE), 0);
	expect_equal(attributes(a).links, 2);
	expect_equal(attributes(world.root).links, 4);
	expect_done(machine, fs_path(node, text, sizeof(text)));
	struct fs_node *parent;
	expect_done(machine, fs_parent(b, &parent));
	expect(parent == world.root);
	fs_put(parent);
	/* In a directory that was removed nothing can be made. */
	struct fs_node *gone = make(&world, world.root, "gone", S_IFDIR | 0700);
	expect_done(machine, remove_directory(world.root, "gone"));
	expect_equal(make_fails(gone, "f", S_IFREG | 0600), -ENOENT);
	expect_equal(fs_parent(gone, &parent), -ESTALE);
	fs_put(gone);
	fs_put(node);
	fs_put(b);
	fs_put(a);
	world_check(&world);
	world_close(&world);
}
TEST(names, 1)

/* ---- Handles ---- */

static uint64_t kept_number, kept_generation, gone_number;

static void handles_program(struct machine *machine)
{
	struct fs_node *node;

	world_open(&world, machine, 0);
	if (!kept_number) {
		node = make(&world, world.root, "kept", S_IFREG | 0644);
		kept_number = fs_number(node);
		kept_generation = fs_generation(node);
		fs_put(node);
		node = make(&world, world.root, "gone", S_IFREG | 0644);
		gone_number = fs_number(node);
		expect_done(machine, unlink_name(world.root, "gone"));
		/* Open files live on without a name. */
		put_bytes(&world, node, 0, "still here", 10);
		expect_equal(attributes(node).links, 0);
		fs_put(node);
	} else {
		expect_done(machine, fs_get(world.fs, kept_number, kept_generation, &node));
		fs_put(node);
		expect_equal(fs_get(world.fs, kept_number, kept_generation + 1, &node), -ESTALE);
	}
	expect_equal(fs_get(world.fs, gone_number, 0, &node), -ESTALE);
	expect_equal(fs_get(world.fs, 3, 0, &node), -ESTALE);
	expect_equal(fs_get(world.fs, UINT64_MAX, 0, &node), -ESTALE);
	world_check(&world);
	world_close(&world);
}
TEST(handles, 2)

/* A crash while a file without a name is open: the next opening frees it. */
static void unnamed_program(struct machine *machine)
{
	struct fs_node *node, *other;
	struct fs_new file = { .mode = S_IFREG | 0600 };
	struct fs_space space;

	world_open(&world, machine, 0);
	world_check(&world);
	fs_space(world.fs, &space);
	expect_equal(space.objects, 3); /* super, links, root */
	node = make(&world, world.root, "f", S_IFREG | 0644);
	expect_done(machine, unlink_name(world.root, "f"));
	expect_done(machine, fs_make_unnamed(world.fs, world.root, &file, &other));
	expect_done(machine, fs_sync(world.fs));
	sim_env_stop(machine->sim, "the process died");
	rt_sleep(machine->rt, 1);
	fs_put(node);
	fs_put(other);
}

static void unnamed(void **state)
{
	struct machine *machine = machine_new(4, 128 * MIB, 2, 1, 7);

	(void)state;
	machine_boot(machine, machine_create_program);
	for (unsigned i = 0; i < 3; i++)
		expect(!machine_boot_mode(machine, unnamed_program, SIM_CRASH_ANY));
	machine_free(machine);
}

static void unnamed_file_program(struct machine *machine)
{
	struct fs_new file = { .mode = S_IFREG | 0666, .umask = 022 };
	struct fs_node *node;

	world_open(&world, machine, 0);
	expect_done(machine, fs_make_unnamed(world.fs, world.root, &file, &node));
	expect_equal(attributes(node).mode, S_IFREG | 0644);
	put_bytes(&world, node, 0, "later", 5);
	expect_done(machine, fs_link(node, world.root, "named", 5));
	expect_equal(attributes(node).links, 1);
	fs_put(node);
	node = look(world.root, "named");
	expect(node);
	fs_put(node);
	world_check(&world);
	world_close(&world);
}
TEST(unnamed_file, 1)

/* ---- Content ---- */

static void content_program(struct machine *machine)
{
	uint8_t *data = malloc(3 * MIB), *back = malloc(3 * MIB);
	struct fs_node *node;
	uint64_t at;
	size_t done;

	world_open(&world, machine, 0);
	for (size_t i = 0; i < 3 * MIB; i++)
		data[i] = (uint8_t)(i * 7 + i / 4096);
	/* Small files lie in the inode: no block is in use. */
	node = make(&world, world.root, "small", S_IFREG | 0644);
	put_bytes(&world, node, 0, data, INODE_INLINE_MAX);
	expect_done(machine, fs_sync(world.fs));
	expect_equal(attributes(node).blocks, 0);
	put_bytes(&world, node, INODE_INLINE_MAX, data + INODE_INLINE_MAX, 1);
	/* A file whose content isn't on disk yet doesn't look like a hole. */
	expect_equal(attributes(node).blocks, 8);
	expect_equal(get_bytes(&world, node, 0, back, 1000), INODE_INLINE_MAX + 1);
	expect(memcmp(back, data, INODE_INLINE_MAX + 1) == 0);
	expect_done(machine, fs_sync(world.fs));
	expect_equal(attributes(node).blocks, 8);
	expect_equal(attributes(node).block_size, 4096);
	fs_put(node);
	/* Records by the first write; several pieces. */
	node = make(&world, world.root, "large", S_IFREG | 0644);
	put_bytes(&world, node, 0, data, 3 * MIB);
	expect_equal(attributes(node).block_size, 131072);
	expect_equal(attributes(node).blocks, 3 * MIB / 512);
	expect_equal(get_bytes(&world, node, 0, back, 3 * MIB), 3 * MIB);
	expect(memcmp(back, data, 3 * MIB) == 0);
	/* What lay behind an end that moved comes back as zeroes. */
	struct fs_set set = { .what = FS_SET_SIZE, .size = 1000 };
	expect_done(machine, fs_set(node, &set));
	set.size = 200000;
	expect_done(machine, fs_set(node, &set));
	expect_equal(get_bytes(&world, node, 0, back, 3 * MIB), 200000);
	expect(memcmp(back, data, 1000) == 0);
	for (size_t i = 1000; i < 200000; i++)
		expect_equal(back[i], 0);
	set.size = 500;
	expect_done(machine, fs_set(node, &set));
	put_bytes(&world, node, 700, data, 10);
	expect_equal(get_bytes(&world, node, 500, back, 200), 200);
	for (size_t i = 0; i < 200; i++)
		expect_equal(back[i], 0);
	expect_done(machine, fs_write(node, 0, 3, "end", FS_WRITE_APPEND, &done));
	expect_equal(attributes(node).size, 713);
	fs_put(node);
	/* Images of disks: first their size, then content anywhere. */
	node = make(&world, world.root, "image", S_IFREG | 0644);
	set.size = UINT64_C(1) << 40;
	expect_done(machine, fs_set(node, &set));
	put_bytes(&world, node, UINT64_C(1) << 39, data, 65536);
	expect_equal(attributes(node).block_size, 16384);
	expect_done(machine, fs_seek(node, 0, true, &at));
	expect_equal(at, UINT64_C(1) << 39);
	expect_done(machine, fs_seek(node, at, false, &at));
	expect_equal(at, (UINT64_C(1) << 39) + 65536);
	expect_equal(fs_seek(node, at, true, &at), -ENXIO);
	expect_equal(fs_seek(node, UINT64_C(1) << 40, false, &at), -ENXIO);
	expect_done(machine, fs_allocate(node, 3, UINT64_C(1) << 39, 65536, 0));
	expect_equal(fs_seek(node, 0, true, &at), -ENXIO);
	expect_equal(fs_allocate(node, 2, 0, 1, 0), -EOPNOTSUPP);
	expect_equal(fs_allocate(node, 0x40, 0, 1, 0), -EOPNOTSUPP);
	expect_equal(fs_allocate(node, 0, 0, 0, 0), -EINVAL);
	/* The largest size, and beyond. */
	set.size = FS_FILE_SIZE_MAX;
	expect_done(machine, fs_set(node, &set));
	put_bytes(&world, node, FS_FILE_SIZE_MAX - 5, data, 5);
	expect_equal(fs_write(node, FS_FILE_SIZE_MAX - 5, 6, data, 0, &done), -EFBIG);
	expect_equal(fs_allocate(node, 0, FS_FILE_SIZE_MAX, 1, 0), -EFBIG);
	set.size++;
	expect_equal(fs_set(node, &set), -EFBIG);
	expect_equal(get_bytes(&world, node, FS_FILE_SIZE_MAX - 5, back, 100), 5);
	expect_done(machine, unlink_name(world.root, "image"));
	fs_put(node);
	expect_equal(fs_read(world.root, 0, 5, back, &done), -EISDIR);
	expect_equal(fs_write(world.root, 0, 5, data, 0, &done), -EISDIR);
	world_check(&world);
	world_close(&world);
	free(data);
	free(back);
}
TEST(content, 1)

static void copy_program(struct machine *machine)
{
	uint8_t *data = malloc(MIB), *back = malloc(MIB);
	struct fs_node *from, *to;
	uint64_t done, at;

	world_open(&world, machine, 15);
	for (size_t i = 0; i < MIB; i++)
		data[i] = (uint8_t)(i * 11 + i / 1000);
	from = make(&world, world.root, "from", S_IFREG | 0644);
	to = make(&world, world.root, "to", S_IFREG | 0644);
	put_bytes(&world, from, 0, data, 100000);
	put_bytes(&world, from, 500000, data + 500000, 100000);
	memset(data + 100000, 0, 400000);
	expect_done(machine, fs_copy_range(from, 0, to, 0, MIB, 0, &done));
	expect_equal(done, 600000);
	expect_equal(get_bytes(&world, to, 0, back, MIB), 600000);
	expect(memcmp(back, data, 600000) == 0);
	expect_done(machine, fs_seek(to, 131072, true, &at));
	expect_equal(at, 500000 / 32768 * 32768);
	expect_equal(fs_copy_range(to, 0, to, 1000, 5000, 0, &done), -EINVAL);
	expect_done(machine, fs_copy_range(to, 0, to, 700000, 5000, 0, &done));
	expect_equal(get_bytes(&world, to, 700000, back, MIB), 5000);
	expect(memcmp(back, data, 5000) == 0);
	expect_equal(fs_copy_range(world.root, 0, to, 0, 10, 0, &done), -EISDIR);
	expect_done(machine, fs_copy_range(from, MIB, to, 0, 10, 0, &done));
	expect_equal(done, 0);
	/* As much as fits below the limit. */
	expect_done(machine, fs_copy_range(from, 0, to, FS_FILE_SIZE_MAX - 5, 100, 0, &done));
	expect_equal(done, 5);
	expect_equal(get_bytes(&world, to, FS_FILE_SIZE_MAX - 5, back, 100), 5);
	expect(memcmp(back, data, 5) == 0);
	expect_equal(fs_copy_range(from, 0, to, FS_FILE_SIZE_MAX, 1, 0, &done), -EFBIG);
	expect_equal(fs_copy_range(from, 0, to, UINT64_MAX, 1, 0, &done), -EFBIG);
	fs_put(from);
	fs_put(to);
	world_check(&world);
	world_close(&world);
	free(data);
	free(back);
}
TEST(copy, 1)

/* ---- Attributes ---- */

static void attribute_program(struct machine *machine)
{
	struct fs_node *node, *directory, *other;
	struct fs_set set = { .what = FS_SET_MODE, .mode = 06755 };
	size_t done;

	world_open(&world, machine, 0);
	node = look(world.root, "f");
	if (node) { /* the second time: what was set is there */
		expect_equal(attributes(node).times[FS_TIME_MODIFY].seconds, -86400 * 365 * 30LL);
		expect_equal(attributes(node).times[FS_TIME_ACCESS].seconds, 5000000000LL);
		expect_equal(attributes(node).times[FS_TIME_ACCESS].nanoseconds, 999999999);
		fs_put(node);
		node = look(world.root, "device");
		expect_equal(attributes(node).device_major, 259);
		expect_equal(attributes(node).device_minor, 1048575);
		fs_put(node);
		world_check(&world);
		world_close(&world);
		return;
	}
	node = make(&world, world.root, "f", S_IFREG | 0644);
	uint64_t changes = attributes(node).changes;
	expect_done(machine, fs_set(node, &set));
	expect(attributes(node).changes > changes);
	expect_equal(attributes(node).mode, S_IFREG | 06755);
	expect_done(machine, fs_write(node, 0, 1, "x", FS_WRITE_KILL_SETID, &done));
	expect_equal(attributes(node).mode, S_IFREG | 0755);
	expect_done(machine, fs_set(node, &set));
	set = (struct fs_set){ .what = FS_SET_UID, .uid = 4000000000u };
	expect_done(machine, fs_set(node, &set));
	expect_equal(attributes(node).mode, S_IFREG | 0755);
	expect_equal(attributes(node).uid, 4000000000u);
	/* Without execution by the group the bit means mandatory locks, and stays. */
	set = (struct fs_set){ .what = FS_SET_MODE, .mode = 02644 };
	expect_done(machine, fs_set(node, &set));
	set = (struct fs_set){ .what = FS_SET_GID, .gid = 7 };
	expect_done(machine, fs_set(node, &set));
	expect_equal(attributes(node).mode, S_IFREG | 02644);
	/* Before 1970, and after 2038. */
	set = (struct fs_set){ .what = FS_SET_MODIFY | FS_SET_ACCESS };
	set.times[FS_TIME_MODIFY] = (struct fs_time){ -86400 * 365 * 30LL, 5 };
	set.times[FS_TIME_ACCESS] = (struct fs_time){ 5000000000LL, 999999999 };
	expect_done(machine, fs_set(node, &set));
	set.times[FS_TIME_ACCESS].nanoseconds = 1000000000;
	expect_equal(fs_set(node, &set), -EINVAL);
	fs_put(node);
	struct fs_new device = { .mode = S_IFBLK | 0600, .device_major = 259, .device_minor = 1048575 };
	expect_done(machine, fs_make(world.root, "device", 6, &device, &node));
	fs_put(node);
	/* A directory with the bit gives its group. */
	directory = make(&world, world.root, "d", S_IFDIR | 02775);
	set = (struct fs_set){ .what = FS_SET_GID, .gid = 50 };
	expect_done(machine, fs_set(directory, &set));
	expect_equal(attributes(directory).mode, S_IFDIR | 02775);
	node = make(&world, directory, "f", S_IFREG | 0644);
	other = make(&world, directory, "d", S_IFDIR | 0755);
	expect_equal(attributes(node).gid, 50);
	expect_equal(attributes(other).gid, 50);
	expect_equal(attributes(other).mode, S_IFDIR | 02755);
	set = (struct fs_set){ .what = FS_SET_SIZE };
	expect_equal(fs_set(directory, &set), -EISDIR);
	fs_put(node);
	fs_put(other);
	fs_put(directory);
	world_check(&world);
	world_close(&world);
}
TEST(attribute, 2)

static void symlinks_program(struct machine *machine)
{
	char target[FS_SYMLINK_MAX + 10], back[FS_SYMLINK_MAX + 1];
	static const size_t lengths[] = { 1, INODE_INLINE_MAX, INODE_INLINE_MAX + 1, FS_SYMLINK_MAX };
	struct fs_new link = { .mode = S_IFLNK | 0777, .target = target };
	struct fs_node *node;

	world_open(&world, machine, 0);
	for (unsigned i = 0; i < 4; i++) {
		char name[8];
		snprintf(name, sizeof(name), "l%u", i);
		memset(target, 'a' + (int)i, lengths[i]);
		target[lengths[i]] = 0;
		node = look(world.root, name);
		if (!node)
			expect_done(machine, fs_make(world.root, name, strlen(name), &link, &node));
		expect_equal(attributes(node).size, lengths[i]);
		expect_done(machine, fs_read_link(node, back));
		expect(strcmp(back, target) == 0);
		fs_put(node);
	}
	memset(target, 'z', sizeof(target));
	target[FS_SYMLINK_MAX + 1] = 0;
	expect_equal(fs_make(world.root, "long", 4, &link, &node), -ENAMETOOLONG);
	target[0] = 0;
	expect_equal(fs_make(world.root, "none", 4, &link, &node), -ENOENT);
	expect_equal(fs_read_link(world.root, back), -EINVAL);
	world_check(&world);
	world_close(&world);
}
TEST(symlinks, 2)

/* ---- Extended attributes and lists ---- */

static void xattrs_program(struct machine *machine)
{
	uint8_t *value = malloc(XATTR_VALUE_MAX + 1), *back = malloc(XATTR_VALUE_MAX);
	char names[1000], longest[300];
	struct fs_node *node;
	size_t length;

	world_open(&world, machine, 0);
	for (size_t i = 0; i <= XATTR_VALUE_MAX; i++)
		value[i] = (uint8_t)(i * 3 + i / 500);
	node = make(&world, world.root, "f", S_IFREG | 0644);
	expect_done(machine, fs_xattr_list(node, names, sizeof(names), &length));
	expect_equal(length, 0);
	expect_equal(fs_xattr_get(node, "user.a", NULL, 0, &length), -ENODATA);
	expect_equal(fs_xattr_set(node, "user.a", value, 5, FS_XATTR_REPLACE), -ENODATA);
	expect_done(machine, fs_xattr_set(node, "user.a", value, XATTR_VALUE_MAX, FS_XATTR_CREATE));
	expect_equal(fs_xattr_set(node, "user.a", value, 5, FS_XATTR_CREATE), -EEXIST);
	expect_equal(fs_xattr_set(node, "user.a", value, XATTR_VALUE_MAX + 1, 0), -E2BIG);
	expect_done(machine, fs_xattr_get(node, "user.a", back, XATTR_VALUE_MAX, &length));
	expect_equal(length, XATTR_VALUE_MAX);
	expect(memcmp(back, value, length) == 0);
	expect_equal(fs_xattr_get(node, "user.a", back, 100, &length), -ERANGE);
	expect_done(machine, fs_xattr_set(node, "user.a", NULL, 0, FS_XATTR_REPLACE));
	expect_done(machine, fs_xattr_get(node, "user.a", back, 100, &length));
	expect_equal(length, 0);
	memset(longest, 'n', sizeof(longest));
	longest[256] = 0;
	expect_equal(fs_xattr_set(node, longest, value, 5, 0), -ERANGE);
	longest[255] = 0;
	expect_done(machine, fs_xattr_set(node, longest, value, 3000, 0));
	expect_equal(fs_xattr_set(node, "", value, 5, 0), -EINVAL);
	expect_done(machine, fs_xattr_list(node, NULL, 0, &length));
	expect_equal(length, 256 + 7);
	expect_equal(fs_xattr_list(node, names, 100, &length), -ERANGE);
	expect_done(machine, fs_xattr_list(node, names, sizeof(names), &length));
	expect(memchr(names, 'u', length) && strcmp(names, longest) == 0);
	expect_done(machine, fs_xattr_remove(node, "user.a"));
	expect_equal(fs_xattr_remove(node, "user.a"), -ENODATA);
	expect_done(machine, unlink_name(world.root, "f"));
	fs_put(node);
	world_check(&world);
	world_close(&world);
	free(value);
	free(back);
}
TEST(xattrs, 1)

struct acl {
	uint8_t bytes[256];
	size_t length;
};

static void acl_begin(struct acl *acl)
{
	memcpy(acl->bytes, "\2\0\0\0", 4);
	acl->length = 4;
}

static void acl_add(struct acl *acl, unsigned tag, unsigned permissions, uint32_t id)
{
	uint8_t *at = acl->bytes + acl->length;

	at[0] = (uint8_t)tag;
	at[1] = 0;
	at[2] = (uint8_t)permissions;
	at[3] = 0;
	for (unsigned i = 0; i < 4; i++)
		at[4 + i] = (uint8_t)(id >> 8 * i);
	acl->length += 8;
}

static int acl_put(struct fs_node *node, const char *which, const struct acl *acl)
{
	char name[64];

	snprintf(name, sizeof(name), "system.posix_acl_%s", which);
	return fs_xattr_set(node, name, acl->bytes, acl->length, 0);
}

#define NONE 0xffffffffu

static void lists_program(struct machine *machine)
{
	struct fs_node *directory, *node;
	uint8_t back[256];
	size_t length;
	struct acl acl;

	world_open(&world, machine, 0);
	directory = make(&world, world.root, "d", S_IFDIR | 0755);
	node = make(&world, directory, "f", S_IFREG | 0640);
	/* One that the mode says as well isn't kept. */
	acl_begin(&acl);
	acl_add(&acl, 1, 7, NONE);
	acl_add(&acl, 4, 5, NONE);
	acl_add(&acl, 0x20, 1, NONE);
	expect_done(machine, acl_put(node, "access", &acl));
	expect_equal(attributes(node).mode, S_IFREG | 0751);
	expect_equal(fs_xattr_get(node, "system.posix_acl_access", back, sizeof(back), &length), -ENODATA);
	/* With a user of its own it needs a mask, which the group bits then are. */
	acl_begin(&acl);
	acl_add(&acl, 1, 6, NONE);
	acl_add(&acl, 2, 7, 1000);
	acl_add(&acl, 4, 4, NONE);
	expect_equal(acl_put(node, "access", &acl), -EINVAL);
	acl_add(&acl, 0x10, 3, NONE);
	acl_add(&acl, 0x20, 0, NONE);
	expect_done(machine, acl_put(node, "access", &acl));
	expect_equal(attributes(node).mode, S_IFREG | 0630);
	struct fs_set set = { .what = FS_SET_MODE, .mode = 0751 };
	expect_done(machine, fs_set(node, &set));
	expect_done(machine, fs_xattr_get(node, "system.posix_acl_access", back, sizeof(back), &length));
	expect_equal(length, acl.length);
	expect_equal(back[4 + 2], 7);
	expect_equal(back[4 + 24 + 2], 5);
	expect_equal(back[4 + 32 + 2], 1);
	expect_equal(back[4 + 16 + 2], 4); /* the group itself stays */
	expect_equal(acl_put(node, "default", &acl), -EACCES);
	fs_put(node);
	/* A default list is handed down. */
	expect_done(machine, acl_put(directory, "default", &acl));
	struct fs_new file = { .mode = S_IFREG | 0666, .umask = 077 };
	expect_done(machine, fs_make(directory, "g", 1, &file, &node));
	expect_equal(attributes(node).mode, S_IFREG | 0620); /* owner 6, mask 3 & 6, other 0; the umask doesn't count */
	expect_done(machine, fs_xattr_get(node, "system.posix_acl_access", back, sizeof(back), &length));
	fs_put(node);
	node = make(&world, directory, "sub", S_IFDIR | 0777);
	expect_done(machine, fs_xattr_get(node, "system.posix_acl_default", back, sizeof(back), &length));
	expect(length == acl.length && memcmp(back, acl.bytes, length) == 0);
	fs_put(node);
	/* Rubbish. */
	acl.bytes[0] = 3;
	expect_equal(acl_put(directory, "access", &acl), -EINVAL);
	acl.bytes[0] = 2;
	acl.length--;
	expect_equal(acl_put(directory, "access", &acl), -EINVAL);
	acl_begin(&acl);
	expect_done(machine, acl_put(directory, "default", &acl));
	expect_equal(fs_xattr_get(directory, "system.posix_acl_default", back, sizeof(back), &length), -ENODATA);
	fs_put(directory);
	world_check(&world);
	world_close(&world);
}
TEST(lists, 1)

/* ---- Directories ---- */

#define MANY 5000u

static void large_directory_program(struct machine *machine)
{
	struct fs_node *directory;
	struct directory_entry entry;
	uint64_t cookie = 0, last = 0;
	unsigned kept = 0, odd = 0;
	char name[32];
	int status;

	world_open(&world, machine, 0);
	directory = make(&world, world.root, "d", S_IFDIR | 0755);
	for (unsigned i = 0; i < MANY; i++) {
		snprintf(name, sizeof(name), "file number %u", i);
		fs_put(make(&world, directory, name, S_IFREG | 0644));
	}
	expect_equal(attributes(directory).size, MANY);
	/* A listing that others change: what is there all the time comes once, in the order of cookies. */
	while ((status = fs_next_entry(directory, cookie, &cookie, &entry)) == 0) {
		expect(cookie > last && cookie < UINT64_C(1) << 63 && cookie >= DIRECTORY_COOKIE_FIRST);
		last = cookie;
		unsigned number = (unsigned)atoi(entry.name + 12);
		kept += number % 2 == 0;
		odd += number % 2;
		if (number % 2 == 0 && number + 1 < MANY) {
			snprintf(name, sizeof(name), "file number %u", number + 1);
			(void)unlink_name(directory, name);
		}
	}
	expect_equal(status, -ENOENT);
	expect_equal(kept, MANY / 2);
	expect(odd < MANY / 2);
	expect_equal(attributes(directory).size, MANY / 2);
	fs_put(directory);
	world_check(&world);
	world_close(&world);
}
TEST(large_directory, 1)

/* ---- The whole ---- */

static void life_program(struct machine *machine)
{
	struct dataset_record *records;
	struct fs *again;
	struct space before, after;
	uint8_t *data = calloc(1, MIB);
	struct sim_random random;
	size_t count;

	sim_random_stream(&random, 1, "life", 0);
	world_open(&world, machine, 0);
	expect_equal(fs_create(world.datasets, "fs", &(struct fs_create_options){ 0 }, &machine->error), -EEXIST);
	expect_equal(fs_create(world.datasets, "a/b", &(struct fs_create_options){ 0 }, &machine->error), -ENOENT);
	expect_equal(fs_create(world.datasets, "x", &(struct fs_create_options){ .settings = { 1u << SETTING_RECORDSIZE, { [SETTING_RECORDSIZE] = 9 } } }, &machine->error), -EINVAL);
	expect_equal(volume_create(world.datasets, "fs", MIB, 0, 0, &machine->error), -EEXIST);
	expect_equal(fs_open(world.datasets, "fs", &again, &machine->error), -EBUSY);
	expect_equal(filesystem_destroy(world.datasets, "fs", false, &machine->error), -EBUSY);
	expect_equal(volume_destroy(world.datasets, "fs", &machine->error), -EINVAL);
	expect_done(machine, core_commit_forced(machine->core));
	core_space(machine->core, &before);
	for (unsigned i = 0; i < 600; i++) {
		char name[16];
		snprintf(name, sizeof(name), "%u", i);
		struct fs_node *node = make(&world, world.root, name, S_IFREG | 0644);
		sim_random_fill(&random, data, 30000);
		put_bytes(&world, node, 0, data, 30000);
		fs_put(node);
	}
	expect_done(machine, fs_sync(world.fs));
	expect_done(machine, core_commit_forced(machine->core));
	expect(fs_record(world.fs)->referenced_cells >= 600 * 8);
	fs_put(world.root);
	fs_close(world.fs);
	expect_done(machine, filesystem_destroy(world.datasets, "fs", false, &machine->error));
	for (unsigned i = 0; i < 8; i++)
		expect_done(machine, core_commit_forced(machine->core));
	expect_done(machine, filesystems_list(world.datasets, &records, &count));
	expect_equal(count, 0);
	free(records);
	core_space(machine->core, &after);
	expect(after.live_cells < before.live_cells + 60);
	pool_close(machine, world.datasets);
	free(data);
}
TEST(life, 1)

/* A full pool: writers are told, what is there stays, and room can be made. */
static void full_program(struct machine *machine)
{
	uint8_t *data = malloc(MIB), *back = malloc(MIB);
	struct sim_random random;
	unsigned files = 0;
	int status = 0;

	world_open(&world, machine, 0);
	sim_random_stream(&random, 5, "full", 0);
	sim_random_fill(&random, data, MIB);
	struct fs_node *kept = make(&world, world.root, "kept", S_IFREG | 0644);
	put_bytes(&world, kept, 0, data, MIB);
	while (status == 0) {
		struct fs_new file = { .mode = S_IFREG | 0644 };
		struct fs_node *node;
		char name[16];
		size_t done;
		snprintf(name, sizeof(name), "%u", files);
		status = fs_make(world.root, name, strlen(name), &file, &node);
		if (status < 0)
			break;
		files++;
		status = fs_write(node, 0, MIB, data, 0, &done);
		if (status == 0 && done < MIB)
			status = -ENOSPC;
		fs_put(node);
		expect(files < 1000);
	}
	expect_equal(status, -ENOSPC);
	expect_equal(get_bytes(&world, kept, 0, back, MIB), MIB);
	expect(memcmp(back, data, MIB) == 0);
	struct fs_set set = { .what = FS_SET_SIZE, .size = 5 };
	expect_done(machine, fs_set(kept, &set));
	for (unsigned i = 0; i < files; i++) {
		char name[16];
		snprintf(name, sizeof(name), "%u", i);
		expect_done(machine, unlink_name(world.root, name));
	}
	put_bytes(&world, kept, 0, data, MIB);
	fs_put(kept);
	world_check(&world);
	world_close(&world);
	free(data);
	free(back);
}
TEST(full, 1)

static void read_only_program(struct machine *machine)
{
	struct fs_node *node;
	struct fs_set set = { .what = FS_SET_MODE };
	size_t done;
	char byte;

	world_open(&world, machine, 0);
	if (!machine->read_only) {
		node = make(&world, world.root, "f", S_IFREG | 0644);
		put_bytes(&world, node, 0, "x", 1);
		fs_put(node);
		world_close(&world);
		machine->read_only = true;
		return;
	}
	node = look(world.root, "f");
	expect_equal(make_fails(world.root, "g", S_IFREG | 0644), -EROFS);
	expect_equal(unlink_name(world.root, "f"), -EROFS);
	expect_equal(fs_link(node, world.root, "g", 1), -EROFS);
	expect_equal(rename_to(world.root, "f", world.root, "g", 0), -EROFS);
	expect_equal(fs_set(node, &set), -EROFS);
	expect_equal(fs_write(node, 0, 1, "y", 0, &done), -EROFS);
	expect_equal(fs_allocate(node, 0, 0, 1, 0), -EROFS);
	expect_equal(fs_xattr_set(node, "user.a", "b", 1, 0), -EROFS);
	expect_equal(get_bytes(&world, node, 0, &byte, 1), 1);
	fs_touch(node);
	fs_put(node);
	world_check(&world);
	world_close(&world);
}
TEST(read_only, 2)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names),   cmocka_unit_test(handles),  cmocka_unit_test(unnamed),
		cmocka_unit_test(unnamed_file), cmocka_unit_test(content), cmocka_unit_test(copy),
		cmocka_unit_test(attribute), cmocka_unit_test(symlinks), cmocka_unit_test(xattrs),
		cmocka_unit_test(lists),   cmocka_unit_test(large_directory), cmocka_unit_test(life),
		cmocka_unit_test(full),    cmocka_unit_test(read_only),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
