/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * File systems on disk: the record of an inode in the bonus of its dnode, directory entries, extended attributes, the
 * links of files that have more than one, and the record of the file system itself.
 */
#ifndef LIBPOOL_FORMAT_INODE_H
#define LIBPOOL_FORMAT_INODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "libpool/format/space_record.h"

/* Fixed object numbers in the objset of a file system. */
enum {
	FS_OBJECT_SUPER = 1, /* tree of inodes without a name that wait to be freed: key number u64 BE; its bonus is the fs_super */
	FS_OBJECT_LINKS = 2, /* tree of the further links of inodes that have several: inode_link_encode */
	FS_OBJECT_ROOT = 16
};

#define FS_NAME_MAX 255u
#define INODE_RECORD_SIZE 320u
#define INODE_INLINE_MAX 192u /* bytes of a small file or of a symbolic link's target */
#define XATTR_NAME_MAX 255u
#define XATTR_VALUE_MAX (64u << 10)
#define XATTR_PART_MAX 2048u
#define DIRECTORY_COOKIE_FIRST 256u /* 0 to 255 name no entry: the beginning, "." and ".." */
#define DIRECTORY_COLLISION_BITS 8u

enum { FS_TIME_ACCESS, FS_TIME_MODIFY, FS_TIME_CHANGE, FS_TIME_BIRTH, FS_TIME_COUNT };

struct fs_time {
	int64_t seconds; /* since 1970, may be negative */
	uint32_t nanoseconds;
};

/* Where a name of the inode is: the directory and the key of the entry. All zero: nowhere. */
struct inode_link {
	uint64_t directory, cookie;
};

struct inode_record {
	uint32_t mode; /* type and permissions, as st_mode */
	uint32_t flags;
	uint32_t uid, gid, project;
	uint32_t links;
	uint64_t size;   /* files: bytes; links: length of the target; directories: number of entries */
	uint32_t device_major, device_minor;
	struct inode_link link; /* one of the names; further ones of files are in FS_OBJECT_LINKS */
	uint64_t xattrs;        /* number of the tree of extended attributes, 0: none */
	struct fs_time times[FS_TIME_COUNT];
	uint64_t changes;       /* grows with every change of content or attributes */
	uint16_t inline_length; /* content that is here and not in blocks: all of it, so size; or 0 */
	uint8_t inline_data[INODE_INLINE_MAX];
};
/* The bonus of a tree of extended attributes. */
void object_owner_encode(const struct object_owner_ids *owner, uint8_t ret_raw[OBJECT_OWNER_SIZE]);
/* Of any object by its bonus: false when it is nobody's. *ret_inode: it is an inode, which counts as an object. */
bool object_owner_decode(const uint8_t *bonus, size_t length, struct object_owner_ids *ret_owner, bool *ret_inode);

void inode_encode(const struct inode_record *inode, uint8_t *ret_raw /* INODE_RECORD_SIZE */);
int inode_decode(const uint8_t *raw, size_t size, struct inode_record *ret_inode); /* 0 or -POOL_EFORMAT */

/* Directory: key = cookie u64 BE, value below. */
#define DIRECTORY_KEY_SIZE 8u
#define DIRECTORY_VALUE_MAX (8u + FS_NAME_MAX)
struct directory_entry {
	uint64_t object; /* 48 bits */
	uint8_t type;    /* mode >> 12 */
	uint8_t name_length;
	char name[FS_NAME_MAX + 1]; /* with a 0 behind it in RAM */
};
size_t directory_entry_encode(const struct directory_entry *entry, uint8_t *ret_raw); /* the size */
int directory_entry_decode(const uint8_t *raw, size_t size, struct directory_entry *ret_entry);
void number_key_encode(uint64_t number, uint8_t ret_key[8]); /* of directories, unlinked inodes */
int number_key_decode(const uint8_t *key, size_t size, uint64_t *ret_number);

/* Further links: key = inode u64 BE, directory u64 BE, cookie u64 BE; the value is one zero byte. */
#define INODE_LINK_KEY_SIZE 24u
void inode_link_encode(uint64_t inode, const struct inode_link *link, uint8_t ret_key[INODE_LINK_KEY_SIZE]);
int inode_link_decode(const uint8_t *key, size_t size, uint64_t *ret_inode, struct inode_link *ret_link);

/* Extended attributes: key = name, 0, part u8; value of part 0 = total length u32, then the first bytes; of others the bytes that follow. */
#define XATTR_KEY_MAX (XATTR_NAME_MAX + 2u)
#define XATTR_HEAD_SIZE 4u
size_t xattr_key_encode(const char *name, unsigned part, uint8_t ret_key[XATTR_KEY_MAX]);

/* The bonus of FS_OBJECT_SUPER. */
#define FS_SUPER_SIZE 64u
struct fs_super {
	uint8_t hash_key[16]; /* names are hashed with it */
	uint8_t case_mode;    /* FS_CASE_ */
	uint8_t normalization; /* FS_NORMALIZATION_ */
	uint8_t unicode[3];    /* the newest version of Unicode by which names are compared; zeroes if names are bytes */
};
enum { FS_CASE_SENSITIVE, FS_CASE_INSENSITIVE, FS_CASE_COUNT };
enum { FS_NORMALIZATION_NONE, FS_NORMALIZATION_D, FS_NORMALIZATION_KD, FS_NORMALIZATION_COUNT };
/* Whether names are compared as they are, whatever they are. */
static inline bool fs_names_are_bytes(const struct fs_super *super)
{
	return super->case_mode == FS_CASE_SENSITIVE && super->normalization == FS_NORMALIZATION_NONE;
}
void fs_super_encode(const struct fs_super *super, uint8_t ret_raw[FS_SUPER_SIZE]);
int fs_super_decode(const uint8_t *raw, size_t size, struct fs_super *ret_super);

#endif
