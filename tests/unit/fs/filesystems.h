/* SPDX-License-Identifier: BSD-2-Clause */
/* A machine with a file system open, for the tests of fs. */
#ifndef TESTS_UNIT_FS_FILESYSTEMS_H
#define TESTS_UNIT_FS_FILESYSTEMS_H

#include <sys/stat.h>

#include "libpool/fs/fs.h"
#include "tests/unit/dataset/volumes.h"

struct world {
	struct machine *machine;
	struct datasets *datasets;
	struct fs *fs;
	struct fs_node *root;
};

static inline void world_check(struct world *world)
{
	struct fs_check check;

	expect_done(world->machine, fs_check(world->fs, &check));
	if (check.violations || check.damaged) {
		fprintf(stderr, "%llu violations, %llu damaged: %s\n", (unsigned long long)check.violations,
			(unsigned long long)check.damaged, check.first);
		abort();
	}
}

/* The pool imported, and its file system "fs", made if it isn't there. */
static inline void world_open(struct world *world, struct machine *machine, uint8_t record_shift)
{
	struct fs_create_options options = { .settings = { .mask = record_shift ? 1u << SETTING_RECORDSIZE : 0, .values = { [SETTING_RECORDSIZE] = record_shift } },
					     .mode = 0755 };
	struct dataset_record *records;
	size_t count;

	world->machine = machine;
	world->datasets = pool_open(machine);
	expect_done(machine, filesystems_list(world->datasets, &records, &count));
	free(records);
	if (!count)
		expect_done(machine, fs_create(world->datasets, "fs", &options, &machine->error));
	expect_done(machine, fs_open(world->datasets, "fs", &world->fs, &machine->error));
	expect_done(machine, fs_root(world->fs, &world->root));
}

static inline void world_close(struct world *world)
{
	fs_put(world->root);
	fs_close(world->fs);
	pool_close(world->machine, world->datasets);
}

static inline struct fs_node *make(struct world *world, struct fs_node *directory, const char *name, uint32_t mode)
{
	struct fs_new options = { .mode = mode, .uid = 1, .gid = 2, .target = "target" };
	struct fs_node *node;

	expect_done(world->machine, fs_make(directory, name, strlen(name), &options, &node));
	return node;
}

static inline int make_fails(struct fs_node *directory, const char *name, uint32_t mode)
{
	struct fs_new options = { .mode = mode, .target = "target" };
	struct fs_node *node = NULL;
	int status = fs_make(directory, name, strlen(name), &options, &node);

	if (status == 0)
		fs_put(node);
	return status;
}

static inline int rename_to(struct fs_node *from, const char *name, struct fs_node *to, const char *new_name, unsigned flags)
{
	struct fs_place old_place = { from, name, strlen(name) }, new_place = { to, new_name, strlen(new_name) };

	return fs_rename(&old_place, &new_place, flags);
}

static inline int unlink_name(struct fs_node *directory, const char *name)
{
	return fs_unlink(directory, name, strlen(name));
}

static inline int remove_directory(struct fs_node *directory, const char *name)
{
	return fs_remove_directory(directory, name, strlen(name));
}

/* NULL when it isn't there. */
static inline struct fs_node *look(struct fs_node *directory, const char *name)
{
	struct fs_node *node;
	int status = fs_lookup(directory, name, strlen(name), &node);

	if (status == 0)
		return node;
	expect_equal(status, -ENOENT);
	return NULL;
}

static inline struct fs_attributes attributes(const struct fs_node *node)
{
	struct fs_attributes result;

	fs_attributes(node, &result);
	return result;
}

static inline void put_bytes(struct world *world, struct fs_node *node, uint64_t offset, const void *data, size_t length)
{
	size_t written;

	expect_done(world->machine, fs_write(node, offset, length, data, 0, &written));
	expect_equal(written, length);
}

static inline size_t get_bytes(struct world *world, struct fs_node *node, uint64_t offset, void *data, size_t length)
{
	size_t done;

	expect_done(world->machine, fs_read(node, offset, length, data, &done));
	return done;
}

#endif
