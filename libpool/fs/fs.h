/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * File systems: a POSIX namespace over objects. A directory is a tree of entries, a file a blob, an inode the bonus of its
 * object's dnode; the inode number is the object's number, and is never used again, so that number and generation name a
 * node for ever. Engine thread; fibers. 0 or negative errno; functions that read or change may wait for reads, for
 * space and for the commit under way.
 *
 * What is atomic: every change of names, of attributes, and each write of up to 1 MiB within one txg; a crash keeps it as a
 * whole or not at all, and keeps all earlier ones too. fs_sync makes durable what returned before.
 *
 * Permissions are checked by who calls (the kernel, for a mount); here are the rules that belong to changes themselves:
 * times, set-id bits, access control lists that directories hand down.
 */
#ifndef LIBPOOL_FS_FS_H
#define LIBPOOL_FS_FS_H

#include <stdbool.h>

#include "libpool/dataset/dataset.h"
#include "libpool/format/inode.h"

struct fs;
struct fs_node; /* an inode in use; handles are counted, and those of one number are the same pointer */

#define FS_FILE_SIZE_MAX (UINT64_C(1) << 60)
#define FS_LINKS_MAX 1000000000u
#define FS_SYMLINK_MAX 4095u
#define FS_RECORD_SHIFT_MAX 17u

struct fs_create_options {
	struct dataset_settings settings;
	uint32_t mode, uid, gid; /* of the root directory; mode without type, 0: 0755 */
	uint8_t case_mode, normalization; /* how names are compared, for ever: FS_CASE_, FS_NORMALIZATION_ */
};
int fs_create(struct datasets *datasets, const char *name, const struct fs_create_options *options, struct pool_error *error);
/* What the file system keeps of itself, whether it is open or not. Waits. */
int fs_peek(struct datasets *datasets, const char *name, struct fs_super *ret_super, struct pool_error *error);
/*
 * Whether a file system may be called `path`, which `except` (or NULL) gives up: it is mounted in a folder of the one it lies in, where no two
 * folders have names that count as one, and must be names. -EEXIST, -EILSEQ. Waits.
 */
int fs_place_check(struct datasets *datasets, const char *path, const char *except, struct pool_error *error);
/* One struct fs for each open dataset: who opens one that is open already gets -EBUSY. Frees what a crash left without a name. */
int fs_open(struct datasets *datasets, const char *name, struct fs **ret_fs, struct pool_error *error);
/* Every node must have been put. */
void fs_close(struct fs *fs);
const struct dataset_record *fs_record(const struct fs *fs);
/* For what belongs to the dataset: space, limits, settings. */
struct dataset *fs_dataset(const struct fs *fs);
const char *fs_dataset_path(const struct fs *fs);
/* As libpool_pool_sync for what this file system did; -POOL_EHALTED ... With sync=disabled nothing happens. */
int fs_sync(struct fs *fs);
/* Before anybody hears of a change that was made: with sync=always it is durable on return. */
int fs_changed(struct fs *fs);

struct fs_space {
	uint64_t total_bytes, free_bytes, used_bytes; /* used: by this file system; free: within its quotas, and what others have reserved */
	uint64_t objects;
};
void fs_space(struct fs *fs, struct fs_space *ret_space);

/* ---- Nodes ---- */

int fs_root(struct fs *fs, struct fs_node **ret_node);
/* Any node by its number, whether it was looked up before or not; generation 0: any. -ESTALE when there is no such. */
int fs_get(struct fs *fs, uint64_t number, uint64_t generation, struct fs_node **ret_node);
struct fs_node *fs_ref(struct fs_node *node);
/* The last handle of a file without names frees it. Waits then. NULL is accepted. */
void fs_put(struct fs_node *node);
uint64_t fs_number(const struct fs_node *node);
uint64_t fs_generation(const struct fs_node *node);

struct fs_attributes {
	uint64_t number, generation, size, blocks /* of 512 bytes, on disk as of the last commit, and what is written since */, changes;
	uint32_t mode, links, uid, gid, project, device_major, device_minor, block_size;
	bool unsettled; /* a later commit changes `blocks`, though nobody changes the node */
	struct fs_time times[FS_TIME_COUNT];
};
void fs_attributes(const struct fs_node *node, struct fs_attributes *ret_attributes);

enum {
	FS_SET_MODE = 1, FS_SET_UID = 2, FS_SET_GID = 4, FS_SET_SIZE = 8, FS_SET_ACCESS = 16, FS_SET_MODIFY = 32, FS_SET_CHANGE = 64,
	FS_SET_BIRTH = 128, FS_SET_PROJECT = 256,
	FS_SET_KILL_SETID = 512 /* the change is made by someone whose changes drop set-id bits */
};
struct fs_set {
	uint32_t what; /* FS_SET_ */
	uint32_t mode, uid, gid, project;
	uint64_t size;
	struct fs_time times[FS_TIME_COUNT]; /* of the times in `what` */
};
int fs_set(struct fs_node *node, const struct fs_set *set);

/* ---- Names ---- */

struct fs_new {
	uint32_t mode; /* type and permissions */
	uint32_t umask; /* applies unless the directory has a default list */
	uint32_t uid, gid; /* a directory with the set-group-id bit gives its own group */
	uint32_t device_major, device_minor;
	const char *target; /* symbolic links */
};

/*
 * Name lengths in bytes; names are any bytes but 0 and '/', 1 to 255 of them: -ENAMETOOLONG, -EINVAL; "." and ".." are refused. Where
 * names aren't compared as bytes, those that are no UTF-8, or have characters that aren't assigned, are -EILSEQ. A name stays as it
 * was given; a rename to another spelling of itself changes it.
 */
int fs_lookup(struct fs_node *directory, const char *name, size_t length, struct fs_node **ret_node);
/* The directory that a directory is in; the root's is itself. -ESTALE for one that was removed. */
int fs_parent(struct fs_node *directory, struct fs_node **ret_node);
int fs_make(struct fs_node *directory, const char *name, size_t length, const struct fs_new *options, struct fs_node **ret_node);
/* A file without a name, which fs_link can give one. */
int fs_make_unnamed(struct fs *fs, const struct fs_node *directory, const struct fs_new *options, struct fs_node **ret_node);
int fs_link(struct fs_node *node, struct fs_node *directory, const char *name, size_t length);
int fs_unlink(struct fs_node *directory, const char *name, size_t length);
int fs_remove_directory(struct fs_node *directory, const char *name, size_t length);
enum { FS_RENAME_NOREPLACE = 1, FS_RENAME_EXCHANGE = 2 };
struct fs_place {
	struct fs_node *directory;
	const char *name;
	size_t length;
};
int fs_rename(const struct fs_place *from, const struct fs_place *to, unsigned flags);
int fs_read_link(struct fs_node *node, char *ret_target /* FS_SYMLINK_MAX + 1 */);
/*
 * The first entry behind `cookie` (0: the first of all; "." and ".." aren't among them); its own in *ret_cookie, below 2^63. An
 * entry that is there all the time is seen exactly once, whatever happens meanwhile. -ENOENT at the end.
 */
int fs_next_entry(struct fs_node *directory, uint64_t cookie, uint64_t *ret_cookie, struct directory_entry *ret_entry);
/* A path from the root, for messages: with one of a file's names. -ENOENT for what has none, -ENAMETOOLONG. */
int fs_path(struct fs_node *node, char *ret_path, size_t size);

/* ---- Content ---- */

/* Up to the end of the file; *ret_length is what was read. */
int fs_read(struct fs_node *node, uint64_t offset, size_t length, void *destination, size_t *ret_length);
enum { FS_WRITE_KILL_SETID = 1, FS_WRITE_APPEND = 2 };
/* -EFBIG beyond 2^60. *ret_length is what was written, all of it unless an error came in between: then 0 with a shorter length. */
int fs_write(struct fs_node *node, uint64_t offset, size_t length, const void *source, unsigned flags, size_t *ret_length);
/* It was read: the time of access becomes now, with atime=relatime if it lies before the last change or a day back. Stored with the next change or last handle. */
void fs_touch(struct fs_node *node);
/* `mode` as of fallocate(2): 0, KEEP_SIZE, PUNCH_HOLE | KEEP_SIZE, ZERO_RANGE (| KEEP_SIZE); others -EOPNOTSUPP. Space isn't set aside. */
int fs_allocate(struct fs_node *node, int mode, uint64_t offset, uint64_t length, unsigned flags);
/* -ENXIO behind the end. */
int fs_seek(struct fs_node *node, uint64_t offset, bool data, uint64_t *ret_offset);
/* Holes stay holes; whole records are shared in memory, not copied. */
int fs_copy_range(struct fs_node *from, uint64_t from_offset, struct fs_node *to, uint64_t to_offset, uint64_t length, unsigned flags,
		  uint64_t *ret_length);

/* ---- Extended attributes ---- */

enum { FS_XATTR_CREATE = 1, FS_XATTR_REPLACE = 2 };
/* Any name of 1 to 255 bytes. Lists in system.posix_acl_access and _default are checked, and change the mode as they say. */
int fs_xattr_set(struct fs_node *node, const char *name, const void *value, size_t length, unsigned flags);
/* capacity 0 asks for the length; -ERANGE when it is too small, -ENODATA when there is none. */
int fs_xattr_get(struct fs_node *node, const char *name, void *ret_value, size_t capacity, size_t *ret_length);
/* Names, each with a 0 behind it. */
int fs_xattr_list(struct fs_node *node, char *ret_names, size_t capacity, size_t *ret_length);
int fs_xattr_remove(struct fs_node *node, const char *name);

/* ---- Checking ---- */

struct fs_check {
	uint64_t inodes, entries, violations, damaged; /* damaged: nodes that can't be read */
	char first[512]; /* the first violation */
};
/* Walks everything: entries name inodes that are there, of the right type; counts of links; nothing without a name but what waits to
 * be freed; back references. Changes of names wait meanwhile. */
int fs_check(struct fs *fs, struct fs_check *ret_check);

#endif
