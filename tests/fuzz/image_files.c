/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * File systems of an image in use: all that can be looked at, and then changes of what was found. A forged one may name anything
 * as anything, itself included, so the walk has a depth and a number of nodes.
 */
#include <sys/stat.h>

#include "libpool/base/error.h"
#include "libpool/pool/engine.h"
#include "tests/fuzz/image.h"

#define DEPTH_MAX 4u
#define NODES_MAX 120u
#define ENTRIES_MAX 40u
#define PIECE (64u << 10)

struct walk {
	unsigned nodes;
	bool changes;
	struct fs_node *some_file; /* the first one found */
};

static uint8_t piece[PIECE];

static void use_attributes(const struct walk *walk, struct fs_node *node)
{
	static char names[16384];
	size_t length = 0, value_length;

	if (fs_xattr_list(node, names, sizeof(names), &length) == 0)
		for (size_t at = 0; at < length; at += strlen(names + at) + 1) {
			fuzz_expect(memchr(names + at, 0, length - at));
			(void)fs_xattr_get(node, names + at, piece, sizeof(piece), &value_length);
		}
	if (!walk->changes)
		return;
	(void)fs_xattr_set(node, "user.fuzz", "a value", 7, 0);
	(void)fs_xattr_remove(node, "user.many");
}

static void use_file(struct walk *walk, struct fs_node *node, uint64_t size)
{
	uint64_t at = 0;
	size_t length;

	for (unsigned i = 0; i < 8 && fs_seek(node, at, i % 2 == 0, &at) == 0; i++)
		if (fs_read(node, at, PIECE, piece, &length) == 0)
			fuzz_expect(length <= PIECE && at + length <= size);
	fs_touch(node);
	if (!walk->changes)
		return;
	(void)fs_write(node, size / 2, 5000, piece, 0, &length);
	(void)fs_set(node, &(struct fs_set){ .what = FS_SET_SIZE, .size = size / 3 });
	if (!walk->some_file)
		walk->some_file = fs_ref(node);
	else
		(void)fs_copy_range(node, 0, walk->some_file, 4096, 20000, 0, &at);
}

static void use_node(struct walk *walk, struct fs *fs, struct fs_node *node, unsigned depth);

static void use_directory(struct walk *walk, struct fs *fs, struct fs_node *node, unsigned depth)
{
	static const struct fs_new directory = { .mode = S_IFDIR | 0755 }, file = { .mode = S_IFREG | 0644 };
	struct directory_entry entry, last = { .name_length = 0 };
	struct fs_node *found;
	uint64_t cookie = 0;

	for (unsigned i = 0; i < ENTRIES_MAX && fs_next_entry(node, cookie, &cookie, &entry) == 0; i++) {
		fuzz_expect(entry.name_length > 0 && entry.name[entry.name_length] == 0);
		if (fs_lookup(node, entry.name, entry.name_length, &found) < 0)
			continue;
		use_node(walk, fs, found, depth + 1);
		fs_put(found);
		last = entry;
	}
	if (fs_parent(node, &found) == 0)
		fs_put(found);
	if (!walk->changes)
		return;
	if (fs_make(node, "new", 3, &directory, &found) == 0)
		fs_put(found);
	if (fs_make(node, "file", 4, &file, &found) == 0) {
		(void)fs_link(found, node, "again", 5);
		fs_put(found);
	}
	if (last.name_length) {
		struct fs_place from = { node, last.name, last.name_length }, to = { node, "new", 3 };
		(void)fs_rename(&from, &to, FS_RENAME_EXCHANGE);
		if (fs_remove_directory(node, last.name, last.name_length) < 0)
			(void)fs_unlink(node, last.name, last.name_length);
	}
	(void)fs_unlink(node, "file", 4);
}

static void use_node(struct walk *walk, struct fs *fs, struct fs_node *node, unsigned depth)
{
	static char text[FS_SYMLINK_MAX + 1];
	struct fs_attributes attributes;
	struct fs_node *same;

	fs_attributes(node, &attributes);
	if (++walk->nodes > NODES_MAX || depth > DEPTH_MAX)
		return;
	(void)fs_path(node, text, sizeof(text));
	if (fs_get(fs, attributes.number, attributes.generation, &same) == 0)
		fs_put(same);
	use_attributes(walk, node);
	if (S_ISDIR(attributes.mode))
		use_directory(walk, fs, node, depth);
	else if (S_ISREG(attributes.mode))
		use_file(walk, node, attributes.size);
	else
		(void)fs_read_link(node, text);
}

static void use_filesystem(struct fs *fs, bool changes)
{
	struct walk walk = { .changes = changes };
	struct fs_check check;
	struct fs_space space;
	struct fs_node *root;

	fs_space(fs, &space);
	if (fs_root(fs, &root) == 0) {
		use_node(&walk, fs, root, 0);
		fs_put(root);
	}
	fs_put(walk.some_file);
	if (changes)
		(void)fs_sync(fs);
	(void)fs_check(fs, &check);
}

void image_use_filesystems(struct engine *engine, bool changes)
{
	struct dataset_record *records = NULL;
	struct pool_error error = { 0 };
	size_t count = 0;

	if (filesystems_list(engine_datasets(engine), &records, &count) < 0)
		return;
	for (size_t i = 0; i < count && i < 3; i++) {
		struct engine_user user = { .text = "fuzz" };
		if (engine_dataset_open(engine, records[i].name, true, &user, &error) < 0)
			continue;
		use_filesystem(engine_fs(user.fs), changes);
		engine_dataset_close(&user);
	}
	if (count > 1 && changes)
		(void)engine_dataset_rename(engine, records[1].name, "moved", &error);
	if (count > 0 && changes)
		(void)engine_fs_destroy(engine, records[0].name, true, &error);
	free(records);
}

/* ---- What seeds begin with ---- */

static void make_name(char name[16], unsigned i)
{
	snprintf(name, 16, "n%u", i);
}

static struct fs_node *make(struct fs_node *directory, const char *name, uint32_t mode, const char *target)
{
	struct fs_node *node;

	fuzz_expect(fs_make(directory, name, strlen(name), &(struct fs_new){ .mode = mode, .target = target }, &node) == 0);
	return node;
}

static void make_file(struct fs_node *directory, const char *name, uint64_t offset, size_t size)
{
	struct fs_node *node = make(directory, name, S_IFREG | 0644, NULL);
	size_t length;

	memset(piece, 'f', sizeof(piece));
	fuzz_expect(fs_write(node, offset, size, piece, 0, &length) == 0 && length == size);
	fs_put(node);
}

void image_make_files(struct fs *fs)
{
	/* posix_acl_xattr: version 2; user::rwx, user:7:rw-, group::r--, mask::rw-, other::--- */
	static const uint8_t list[] = { 2, 0, 0, 0, 1, 0, 7, 0, 255, 255, 255, 255, 2, 0, 6, 0, 7, 0, 0, 0, 4, 0, 4, 0, 255, 255, 255, 255,
					16, 0, 6, 0, 255, 255, 255, 255, 32, 0, 0, 0, 255, 255, 255, 255 };
	struct fs_node *root, *directory, *node;
	char name[16];

	fuzz_expect(fs_root(fs, &root) == 0);
	directory = make(root, "directory", S_IFDIR | 02755, NULL);
	make_file(root, "small", 0, 100);
	make_file(root, "block", 0, 5000);
	make_file(directory, "holes", 1 << 20, sizeof(piece));
	fs_put(make(root, "link", S_IFLNK | 0777, "directory/holes"));
	memset(piece, 'l', 1000);
	piece[1000] = 0;
	fs_put(make(root, "long", S_IFLNK | 0777, (const char *)piece));
	fs_put(make(directory, "pipe", S_IFIFO | 0600, NULL));
	for (unsigned i = 0; i < 30; i++) {
		make_name(name, i);
		fs_put(make(directory, name, i % 10 == 0 ? S_IFDIR | 0700 : S_IFREG | 0600, NULL));
	}
	fuzz_expect(fs_lookup(root, "block", 5, &node) == 0 && fs_link(node, directory, "second", 6) == 0 && fs_link(node, root, "third", 5) == 0);
	fuzz_expect(fs_xattr_set(node, "user.short", "x", 1, 0) == 0 && fs_xattr_set(node, "user.many", piece, 6000, 0) == 0);
	fuzz_expect(fs_xattr_set(node, "system.posix_acl_access", list, sizeof(list), 0) == 0);
	fs_put(node);
	fuzz_expect(fs_xattr_set(directory, "system.posix_acl_default", list, sizeof(list), 0) == 0);
	fs_put(directory);
	fs_put(root);
}
