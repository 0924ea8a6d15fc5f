/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the files of fs/ share. Nothing outside includes this.
 *
 * Locks, in this order, and all before a transaction handle: `names`, which every change of names holds, then `content` of
 * one node. Attributes are changed by whoever holds a handle, between two waits: they need no lock of their own.
 * So that nobody reads from disk while he holds `names`, what a change of names will look at is looked up before.
 */
#ifndef LIBPOOL_FS_INTERNAL_H
#define LIBPOOL_FS_INTERNAL_H

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "libpool/base/array.h"
#include "libpool/base/check.h"
#include "libpool/base/hash_table.h"
#include "libpool/base/list.h"
#include "libpool/fs/fs.h"

#define NAMES_CELLS 96u      /* what a change of names, or of attributes, places at most: nodes on the way to a few leaves */
#define ATTRIBUTE_CELLS 32u

struct fs {
	struct dataset *dataset;
	struct core *core;
	struct rt *rt;
	struct objset *objset;
	struct object *super, *links; /* FS_OBJECT_SUPER, FS_OBJECT_LINKS */
	struct fs_super record;
	struct hash_table nodes;
	struct list lazy; /* of them, those whose time of access isn't stored yet */
	struct rt_mutex names;
	uint64_t stored; /* inodes that were changed, so far */
	uint64_t freed; /* nodes without a name, so far: that happens at any time */
};

struct fs_node {
	struct hash_node hash; /* by number */
	struct list lazy;      /* in fs->lazy, or unlinked */
	struct fs *fs;
	struct object *object;
	unsigned references;
	uint64_t number, generation;
	struct inode_record inode; /* the newest */
	struct rt_mutex content;
	bool doomed; /* without a name, listed under FS_OBJECT_SUPER: freed with the last handle */
	bool dying;  /* it is being freed */
};

static inline uint8_t fs_setting(const struct fs *fs, enum dataset_setting setting)
{
	return filesystem_setting(fs->dataset, setting);
}
static inline struct object_owner_ids node_owner(const struct inode_record *inode)
{
	return (struct object_owner_ids){ { inode->uid, inode->gid, inode->project } };
}
/* charge.c */
/* What a change adds to somebody's space at most: `cells`, and for blocks that are written blob_growth. */
struct charge_plan {
	struct object_owner_ids owner;
	uint64_t cells, objects;
	struct fs_node *node; /* content is written: this range, or NULL */
	uint64_t offset, length;
	uint32_t moved_kinds; /* a change of owner: those of 1 << OWNER_ that change */
	bool told; /* by the caller: fs_hold_untold */
	const struct charge_plan *next; /* of another owner */
};
/* As fs_hold, and charged: -EDQUOT, or -ENOSPC for what others have reserved. */
int fs_hold_charged(struct fs *fs, uint64_t cells, const struct charge_plan *plan, uint64_t *ret_txg);
/* The same for a change of content. */
int fs_hold_content(struct fs *fs, const struct core_change *change, const struct charge_plan *plan, uint64_t *ret_txg);
/* The content of the plan's node is written: who writes it again in this txg needs no more room. */
void fs_charged(const struct charge_plan *plan, uint64_t txg);
#define NODE_GROWTH 6u   /* an inode among others, and the target of a link */
#define XATTR_GROWTH 12u
#define NAME_GROWTH 16u /* cells: a directory's leaf that is cut in two, up to its root, and the links' */
/* fs.c: as core_hold, for a change that somebody asked for. */
int fs_hold(struct fs *fs, uint64_t cells, uint64_t *ret_txg);
/* The same of a change that the caller tells the dataset of: fs_hold says that it has no record in the intent log. */
int fs_hold_untold(struct fs *fs, const struct core_change *change, uint64_t *ret_txg);
bool fs_is_read_only(const struct fs *fs);
/*
 * The version of Unicode in the record is that of the newest library that has made a name, since that name may have what older ones
 * don't know. So it is raised in the txg of a name, and by nothing else: opening a file system writes nothing.
 */
bool fs_has_older_names(const struct fs *fs);
int fs_raise_version(struct fs *fs, uint64_t txg); /* the caller has guard_version's consent */

/* node.c */
/* Opens number's object and its record. */
int node_get(struct fs *fs, uint64_t number, struct fs_node **ret_node);
/* A new inode in txg; inode->mode tells what kind of object. */
int node_new(struct fs *fs, uint64_t txg, const struct inode_record *inode, struct fs_node **ret_node);
/* The record, as it now is, becomes part of txg. */
int node_store(struct fs_node *node, uint64_t txg);
/*
 * Around a change of one node that may fail half-way: begin makes sure that the record can be stored in txg, end stores it, or,
 * with a negative status, makes it again what it was before, but for what belongs to its names. end returns the status.
 */
int node_change_begin(struct fs_node *node, uint64_t txg, struct inode_record *ret_before);
int node_change_end(struct fs_node *node, uint64_t txg, const struct inode_record *before, int status);
/* A change: of attributes, or of content too. Sets times and the counter; node_store is the caller's. */
void node_changed(struct fs_node *node, bool content);
struct fs_time fs_now(struct fs *fs);
/* It lost its last name: freed now or with the last handle, in txg. */
int node_doom(struct fs_node *node, uint64_t txg);
static inline bool node_is_directory(const struct fs_node *node)
{
	return S_ISDIR(node->inode.mode);
}

/* fold.c: what names are compared by. It depends on nothing but the name and the file system's record, as long as that is read by a
 * library that knows its version of Unicode. */
#define NAME_KEY_MAX 4096u
struct name_key {
	size_t length;
	uint8_t bytes[NAME_KEY_MAX];
};
/* -EILSEQ: the file system compares names as text, and this is none, or has characters that aren't assigned. */
int name_key_make(const struct fs *fs, const char *name, size_t length, struct name_key *ret_key);
bool name_key_equal(const struct name_key *left, const struct name_key *right);
/* This library's version of Unicode. */
void unicode_version(uint8_t ret_version[3]);

/* directory.c: entries, with no regard to what they name. The caller holds `names` for changes. */
int directory_name_check(const char *name, size_t length);
/* -ENOENT: then *ret_cookie is what the name would get, 0 if it can't be had. */
int directory_find(struct fs_node *directory, const char *name, size_t length, uint64_t *ret_cookie, struct directory_entry *ret_entry);
/* `cookie` is what directory_find gave with -ENOENT. */
int directory_add(struct fs_node *directory, uint64_t txg, uint64_t cookie, const char *name, size_t length, const struct fs_node *node);
/* What the entry names instead. */
int directory_set(struct fs_node *directory, uint64_t txg, uint64_t cookie, const struct directory_entry *entry, const struct fs_node *node);
int directory_remove(struct fs_node *directory, uint64_t txg, uint64_t cookie);
/* The lowest cookie that names of this key's hash have. */
uint64_t directory_first_cookie(const struct fs *fs, const struct name_key *key);
/* The entry in RAM gets another spelling of its name. */
void directory_entry_rename(struct directory_entry *entry, const char *name, size_t length);
int directory_is_empty(struct fs_node *directory); /* 1, 0, or an error */
int directory_next(struct object *object, uint64_t cookie, uint64_t *ret_cookie, struct directory_entry *ret_entry);

/* links.c: where a node's names are. */
int links_add(struct fs_node *node, uint64_t txg, uint64_t directory, uint64_t cookie);
/* last: it has no other name, so none is looked for. */
int links_remove(struct fs_node *node, uint64_t txg, uint64_t directory, uint64_t cookie, bool last);

/* guard.c: 0, or why a change can't be committed. `node`: what the entry names or will name, or NULL. */
int guard_node(struct fs_node *node);
int guard_new(struct fs *fs, const struct object_owner_ids *owner);
int guard_unnamed(struct fs *fs, uint64_t number);
int guard_version(struct fs *fs); /* of a change that makes a name */
int guard_entry(struct fs_node *directory, uint64_t cookie, struct fs_node *node);
int guard_xattrs(struct fs_node *node, const char *name);
/* Of a change of owner, in which its extended attributes go along. */
int guard_owner(struct fs_node *node, const struct object_owner_ids *owner);

/* acl.c: access control lists in the form of the kernel's attributes. */
#define ACL_ACCESS "system.posix_acl_access"
#define ACL_DEFAULT "system.posix_acl_default"
/* Whether the value is one; and for an access list the mode it stands for. *ret_minimal: the mode says all of it. */
int acl_check(const void *value, size_t length, uint32_t *mode, bool *ret_minimal);
/* Lists are read before a transaction, so that a damaged one is told while nothing is changed. NULL: there is none. */
#define ACL_SIZE_MAX 8196u
struct acl_list {
	size_t length;
	uint8_t value[ACL_SIZE_MAX];
};
/* The caller holds `content`. */
int acl_load_access(struct fs_node *node, struct acl_list **ret_list);
int acl_load_default(struct fs_node *directory, struct acl_list **ret_list);
/* The node's mode goes into its access list. */
int acl_set_mode(struct acl_list *list, struct fs_node *node, uint64_t txg);
/* What a new node gets from its directory's default list: its mode and its own lists. */
int acl_inherit(struct acl_list *list, struct fs_node *node, uint64_t txg, uint32_t mode, uint32_t umask);

/* xattr.c: in a txg whose handle the caller has; `before` is the length of the value that is there, 0 if there is none. */
int xattr_put(struct fs_node *node, uint64_t txg, const char *name, const void *value, size_t length, size_t before);
/* As fs_xattr_get; the caller holds `content`. */
int xattr_read(struct fs_node *node, const char *name, void *ret_value, size_t capacity, size_t *ret_length);
/* The tree of attributes is whose the node is; and what it has on disk. */
int xattrs_follow_owner(struct fs_node *node, uint64_t txg);
int xattrs_cells(const struct fs_node *node, uint64_t *ret_cells);
int xattr_delete(struct fs_node *node, uint64_t txg, const char *name, size_t before);

#endif
