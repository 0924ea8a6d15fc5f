/* SPDX-License-Identifier: BSD-2-Clause */
/* Inodes, directory entries, extended attributes. Numbers in keys are big endian, so that memcmp orders them. */
#include "libpool/format/inode.h"

#include <sys/stat.h>

#include "libpool/base/error.h"
#include "libpool/format/raw_header.h"

#define OBJECT_NUMBER_BITS 48u
#define FLAGS_KNOWN 0u

struct raw_inode {
	le32 mode;                    /* 0 */
	le32 flags;                   /* 4 */
	le32 uid;                     /* 8 */
	le32 gid;                     /* 12 */
	le32 project;                 /* 16 */
	le32 links;                   /* 20 */
	le64 size;                    /* 24 */
	le32 device_major;            /* 32 */
	le32 device_minor;            /* 36 */
	le64 directory;               /* 40 */
	le64 cookie;                  /* 48 */
	le64 xattrs;                  /* 56 */
	le64 seconds[FS_TIME_COUNT];  /* 64 */
	le32 nanoseconds[FS_TIME_COUNT]; /* 96 */
	le64 changes;                 /* 112 */
	le16 inline_length;           /* 120 */
	uint8_t reserved[6];          /* 122 */
	uint8_t inline_data[INODE_INLINE_MAX]; /* 128 */
};
_Static_assert(sizeof(struct raw_inode) == INODE_RECORD_SIZE && AT(raw_inode, mode, 0) && AT(raw_inode, flags, 4) &&
		       AT(raw_inode, uid, 8) && AT(raw_inode, gid, 12) && AT(raw_inode, project, 16) && AT(raw_inode, links, 20) &&
		       AT(raw_inode, size, 24) && AT(raw_inode, device_major, 32) && AT(raw_inode, device_minor, 36) &&
		       AT(raw_inode, directory, 40) && AT(raw_inode, cookie, 48) && AT(raw_inode, xattrs, 56) &&
		       AT(raw_inode, seconds, 64) && AT(raw_inode, nanoseconds, 96) && AT(raw_inode, changes, 112) &&
		       AT(raw_inode, inline_length, 120) && AT(raw_inode, inline_data, 128), "on disk");

struct raw_entry {
	le48 object;         /* 0 */
	uint8_t type;        /* 6 */
	uint8_t name_length; /* 7 */
};
_Static_assert(sizeof(struct raw_entry) == 8 && AT(raw_entry, object, 0) && AT(raw_entry, type, 6) && AT(raw_entry, name_length, 7), "on disk");
_Static_assert(sizeof(struct raw_entry) + FS_NAME_MAX == DIRECTORY_VALUE_MAX, "on disk");

struct raw_super {
	uint8_t hash_key[16];  /* 0 */
	uint8_t case_mode;     /* 16 */
	uint8_t normalization; /* 17 */
	uint8_t unicode[3];    /* 18 */
	uint8_t reserved[43];  /* 21 */
};
_Static_assert(sizeof(struct raw_super) == FS_SUPER_SIZE && AT(raw_super, hash_key, 0) && AT(raw_super, case_mode, 16) &&
		       AT(raw_super, normalization, 17) && AT(raw_super, unicode, 18), "on disk");

void inode_encode(const struct inode_record *inode, uint8_t *ret_raw)
{
	struct raw_inode raw = { .mode = le32_make(inode->mode), .flags = le32_make(inode->flags), .uid = le32_make(inode->uid),
				 .gid = le32_make(inode->gid), .project = le32_make(inode->project),
				 .links = le32_make(inode->links), .size = le64_make(inode->size),
				 .device_major = le32_make(inode->device_major), .device_minor = le32_make(inode->device_minor),
				 .directory = le64_make(inode->link.directory), .cookie = le64_make(inode->link.cookie),
				 .xattrs = le64_make(inode->xattrs), .changes = le64_make(inode->changes),
				 .inline_length = le16_make(inode->inline_length) };

	for (unsigned i = 0; i < FS_TIME_COUNT; i++) {
		raw.seconds[i] = le64_make((uint64_t)inode->times[i].seconds);
		raw.nanoseconds[i] = le32_make(inode->times[i].nanoseconds);
	}
	memcpy(raw.inline_data, inode->inline_data, inode->inline_length);
	memcpy(ret_raw, &raw, sizeof(raw));
}

static bool mode_valid(uint32_t mode)
{
	return !(mode & ~(S_IFMT | 07777u)) && (S_ISREG(mode) || S_ISDIR(mode) || S_ISLNK(mode) || S_ISCHR(mode) || S_ISBLK(mode) ||
						S_ISFIFO(mode) || S_ISSOCK(mode));
}

int inode_decode(const uint8_t *raw_bytes, size_t size, struct inode_record *ret_inode)
{
	struct inode_record inode = { 0 };
	struct raw_inode raw;

	if (size != sizeof(raw))
		return -POOL_EFORMAT;
	memcpy(&raw, raw_bytes, sizeof(raw));
	inode.mode = le32_get(raw.mode);
	inode.flags = le32_get(raw.flags);
	inode.uid = le32_get(raw.uid);
	inode.gid = le32_get(raw.gid);
	inode.project = le32_get(raw.project);
	inode.links = le32_get(raw.links);
	inode.size = le64_get(raw.size);
	inode.device_major = le32_get(raw.device_major);
	inode.device_minor = le32_get(raw.device_minor);
	inode.link = (struct inode_link){ le64_get(raw.directory), le64_get(raw.cookie) };
	inode.xattrs = le64_get(raw.xattrs);
	inode.changes = le64_get(raw.changes);
	inode.inline_length = le16_get(raw.inline_length);
	for (unsigned i = 0; i < FS_TIME_COUNT; i++) {
		inode.times[i] = (struct fs_time){ (int64_t)le64_get(raw.seconds[i]), le32_get(raw.nanoseconds[i]) };
		if (inode.times[i].nanoseconds >= 1000000000u)
			return -POOL_EFORMAT;
	}
	if (!mode_valid(inode.mode) || inode.flags & ~FLAGS_KNOWN || inode.size > UINT64_C(1) << 60 ||
	    inode.inline_length > INODE_INLINE_MAX || (inode.inline_length && inode.inline_length != inode.size) ||
	    !bytes_are_zero(raw.reserved, sizeof(raw.reserved)) ||
	    !bytes_are_zero(raw.inline_data + inode.inline_length, INODE_INLINE_MAX - inode.inline_length))
		return -POOL_EFORMAT;
	memcpy(inode.inline_data, raw.inline_data, inode.inline_length);
	*ret_inode = inode;
	return 0;
}

size_t directory_entry_encode(const struct directory_entry *entry, uint8_t *ret_raw)
{
	struct raw_entry raw = { le48_make(entry->object), entry->type, entry->name_length };

	memcpy(ret_raw, &raw, sizeof(raw));
	memcpy(ret_raw + sizeof(raw), entry->name, entry->name_length);
	return sizeof(raw) + entry->name_length;
}

/* What no directory has an entry for: a way out of it. */
static bool is_dots(const uint8_t *name, size_t length)
{
	return length <= 2 && name[0] == '.' && name[length - 1] == '.';
}

int directory_entry_decode(const uint8_t *raw_bytes, size_t size, struct directory_entry *ret_entry)
{
	struct raw_entry raw;

	if (size < sizeof(raw))
		return -POOL_EFORMAT;
	memcpy(&raw, raw_bytes, sizeof(raw));
	const uint8_t *name = raw_bytes + sizeof(raw);
	if (raw.name_length == 0 || size != sizeof(raw) + raw.name_length || le48_get(raw.object) < FS_OBJECT_ROOT || raw.type > 15 ||
	    memchr(name, 0, raw.name_length) || memchr(name, '/', raw.name_length) || is_dots(name, raw.name_length))
		return -POOL_EFORMAT;
	ret_entry->object = le48_get(raw.object);
	ret_entry->type = raw.type;
	ret_entry->name_length = raw.name_length;
	memcpy(ret_entry->name, name, raw.name_length);
	ret_entry->name[raw.name_length] = 0;
	return 0;
}

void number_key_encode(uint64_t number, uint8_t ret_key[8])
{
	for (unsigned i = 0; i < 8; i++)
		ret_key[i] = (uint8_t)(number >> (56 - 8 * i));
}

static uint64_t number_get(const uint8_t *key)
{
	uint64_t number = 0;

	for (unsigned i = 0; i < 8; i++)
		number = number << 8 | key[i];
	return number;
}

int number_key_decode(const uint8_t *key, size_t size, uint64_t *ret_number)
{
	if (size != 8)
		return -POOL_EFORMAT;
	*ret_number = number_get(key);
	return 0;
}

void inode_link_encode(uint64_t inode, const struct inode_link *link, uint8_t ret_key[INODE_LINK_KEY_SIZE])
{
	number_key_encode(inode, ret_key);
	number_key_encode(link->directory, ret_key + 8);
	number_key_encode(link->cookie, ret_key + 16);
}

int inode_link_decode(const uint8_t *key, size_t size, uint64_t *ret_inode, struct inode_link *ret_link)
{
	if (size != INODE_LINK_KEY_SIZE)
		return -POOL_EFORMAT;
	*ret_inode = number_get(key);
	*ret_link = (struct inode_link){ number_get(key + 8), number_get(key + 16) };
	return 0;
}

size_t xattr_key_encode(const char *name, unsigned part, uint8_t ret_key[XATTR_KEY_MAX])
{
	size_t length = strlen(name);

	memcpy(ret_key, name, length);
	ret_key[length] = 0;
	ret_key[length + 1] = (uint8_t)part;
	return length + 2;
}

void fs_super_encode(const struct fs_super *super, uint8_t ret_raw[FS_SUPER_SIZE])
{
	struct raw_super raw = { .case_mode = super->case_mode, .normalization = super->normalization };

	memcpy(raw.hash_key, super->hash_key, sizeof(raw.hash_key));
	memcpy(raw.unicode, super->unicode, sizeof(raw.unicode));
	memcpy(ret_raw, &raw, sizeof(raw));
}

int fs_super_decode(const uint8_t *raw_bytes, size_t size, struct fs_super *ret_super)
{
	struct raw_super raw;

	if (size != sizeof(raw))
		return -POOL_EFORMAT;
	memcpy(&raw, raw_bytes, sizeof(raw));
	/* Ways to compare names that this version doesn't know. */
	if (raw.case_mode >= FS_CASE_COUNT || raw.normalization >= FS_NORMALIZATION_COUNT || !bytes_are_zero(raw.reserved, sizeof(raw.reserved)))
		return -POOL_EFEATURE;
	if (bytes_are_zero(raw.unicode, sizeof(raw.unicode)) != (!raw.case_mode && !raw.normalization))
		return -POOL_EFORMAT;
	memcpy(ret_super->unicode, raw.unicode, sizeof(raw.unicode));
	memcpy(ret_super->hash_key, raw.hash_key, sizeof(raw.hash_key));
	ret_super->case_mode = raw.case_mode;
	ret_super->normalization = raw.normalization;
	return 0;
}

void object_owner_encode(const struct object_owner_ids *owner, uint8_t ret_raw[OBJECT_OWNER_SIZE])
{
	for (unsigned i = 0; i < 3; i++) {
		le32 id = le32_make(owner->ids[i]);
		memcpy(ret_raw + 4 * i, &id, sizeof(id));
	}
}

bool object_owner_decode(const uint8_t *bonus, size_t length, struct object_owner_ids *ret_owner, bool *ret_inode)
{
	*ret_inode = length == INODE_RECORD_SIZE;
	if (length != INODE_RECORD_SIZE && length != OBJECT_OWNER_SIZE)
		return false;
	const uint8_t *at = bonus + (*ret_inode ? offsetof(struct raw_inode, uid) : 0);
	for (unsigned i = 0; i < 3; i++) {
		le32 id;
		memcpy(&id, at + 4 * i, sizeof(id));
		ret_owner->ids[i] = le32_get(id);
	}
	return true;
}
