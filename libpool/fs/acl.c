/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * POSIX access control lists, in the form in which Linux passes them as extended attributes: a version, 2, and
 * entries of tag, permissions and id, sorted. The rules are those of the draft POSIX 1003.1e and of acl(5): the access list
 * and the mode say the same of owner and others, the group bits of the mode are the mask when there is one, and a
 * directory's default list becomes the access list of what is made in it.
 */
#include "libpool/fs/internal.h"

#include "libpool/base/endian.h"

enum { TAG_OWNER = 0x01, TAG_USER = 0x02, TAG_GROUP_OWNER = 0x04, TAG_GROUP = 0x08, TAG_MASK = 0x10, TAG_OTHER = 0x20 };

struct raw_acl_entry {
	le16 tag, permissions;
	le32 id;
};
_Static_assert(sizeof(struct raw_acl_entry) == 8 && AT(raw_acl_entry, tag, 0) && AT(raw_acl_entry, permissions, 2) &&
		       AT(raw_acl_entry, id, 4), "on disk");

#define ACL_VERSION 2u
#define ACL_HEAD sizeof(le32)

static struct raw_acl_entry *entry_at(const void *value, size_t index)
{
	return (struct raw_acl_entry *)((uint8_t *)(uintptr_t)value + ACL_HEAD) + index;
}

static size_t entry_count(size_t length)
{
	return (length - ACL_HEAD) / sizeof(struct raw_acl_entry);
}

static struct raw_acl_entry *find_tag(const void *value, size_t length, unsigned tag)
{
	for (size_t i = 0; i < entry_count(length); i++)
		if (le16_get(entry_at(value, i)->tag) == tag)
			return entry_at(value, i);
	return NULL;
}

/* In the order of the tags, users and groups by ascending id, each of the others at most once. */
static bool entries_valid(const void *value, size_t length, unsigned *ret_tags)
{
	unsigned last_tag = 0, tags = 0;
	uint32_t last_id = 0;

	for (size_t i = 0; i < entry_count(length); i++) {
		const struct raw_acl_entry *entry = entry_at(value, i);
		unsigned tag = le16_get(entry->tag);
		bool named = tag == TAG_USER || tag == TAG_GROUP;
		if (le16_get(entry->permissions) & ~7u || tag < last_tag || __builtin_popcount(tag) != 1 || tag > TAG_OTHER)
			return false;
		if (tag == last_tag && (!named || le32_get(entry->id) <= last_id))
			return false;
		last_tag = tag;
		last_id = le32_get(entry->id);
		tags |= tag;
	}
	*ret_tags = tags;
	return true;
}

int acl_check(const void *value, size_t length, uint32_t *mode, bool *ret_minimal)
{
	const unsigned needed = TAG_OWNER | TAG_GROUP_OWNER | TAG_OTHER;
	unsigned tags = 0;
	le32 version;

	if (length < ACL_HEAD || (length - ACL_HEAD) % sizeof(struct raw_acl_entry) || length > ACL_SIZE_MAX)
		return -EINVAL;
	memcpy(&version, value, sizeof(version));
	if (le32_get(version) != ACL_VERSION || !entries_valid(value, length, &tags) || (tags & needed) != needed ||
	    ((tags & (TAG_USER | TAG_GROUP)) && !(tags & TAG_MASK)))
		return -EINVAL;
	*ret_minimal = tags == needed;
	if (mode) {
		unsigned group = tags & TAG_MASK ? TAG_MASK : TAG_GROUP_OWNER;
		*mode = (*mode & ~0777u) | (uint32_t)le16_get(find_tag(value, length, TAG_OWNER)->permissions) << 6 |
			(uint32_t)le16_get(find_tag(value, length, group)->permissions) << 3 |
			(uint32_t)le16_get(find_tag(value, length, TAG_OTHER)->permissions);
	}
	return 0;
}

/* A list that is stored, or NULL. */
static int load_list(struct fs_node *node, const char *name, struct acl_list **ret_list)
{
	bool minimal;

	*ret_list = NULL;
	if (!node->inode.xattrs)
		return 0;
	struct acl_list *list = malloc(sizeof(*list));
	if (!list)
		return -ENOMEM;
	int status = xattr_read(node, name, list->value, sizeof(list->value), &list->length);
	if (status == 0)
		status = acl_check(list->value, list->length, NULL, &minimal);
	if (status == 0)
		*ret_list = list;
	else
		free(list);
	return status == -ENODATA ? 0 : status;
}

static void put_mode(uint8_t *value, size_t length, uint32_t mode)
{
	struct raw_acl_entry *mask = find_tag(value, length, TAG_MASK);
	struct raw_acl_entry *group = mask ? mask : find_tag(value, length, TAG_GROUP_OWNER);

	find_tag(value, length, TAG_OWNER)->permissions = le16_make(mode >> 6 & 7);
	group->permissions = le16_make(mode >> 3 & 7);
	find_tag(value, length, TAG_OTHER)->permissions = le16_make(mode & 7);
}

int acl_load_access(struct fs_node *node, struct acl_list **ret_list)
{
	return load_list(node, ACL_ACCESS, ret_list);
}

int acl_set_mode(struct acl_list *list, struct fs_node *node, uint64_t txg)
{
	if (!list)
		return 0;
	put_mode(list->value, list->length, node->inode.mode);
	return xattr_put(node, txg, ACL_ACCESS, list->value, list->length, list->length);
}

int acl_load_default(struct fs_node *directory, struct acl_list **ret_list)
{
	*ret_list = NULL;
	if (fs_setting(directory->fs, SETTING_ACL) == ACL_OFF)
		return 0;
	rt_mutex_lock(directory->fs->rt, &directory->content);
	int status = load_list(directory, ACL_DEFAULT, ret_list);
	rt_mutex_unlock(directory->fs->rt, &directory->content);
	return status;
}

int acl_inherit(struct acl_list *list, struct fs_node *node, uint64_t txg, uint32_t mode, uint32_t umask)
{
	uint32_t granted = mode;
	bool minimal;
	int status = 0;

	if (!list) {
		node->inode.mode &= ~(umask & 0777u);
		return 0;
	}
	if (node_is_directory(node))
		status = xattr_put(node, txg, ACL_DEFAULT, list->value, list->length, 0);
	if (status == 0)
		status = acl_check(list->value, list->length, &granted, &minimal);
	if (status < 0)
		return status;
	/* The list limits what was asked for, and the other way round. */
	granted &= mode;
	node->inode.mode = (node->inode.mode & ~0777u) | (granted & 0777u);
	if (minimal)
		return 0;
	put_mode(list->value, list->length, granted);
	return xattr_put(node, txg, ACL_ACCESS, list->value, list->length, 0);
}
