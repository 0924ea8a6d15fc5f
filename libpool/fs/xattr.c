/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Extended attributes: a tree for each node that has any. Values are cut into parts, as a node of a tree has to hold several
 * entries; all parts change in one txg.
 */
#include "libpool/fs/internal.h"

#include "libpool/base/endian.h"

static unsigned part_count(size_t length)
{
	return length ? (unsigned)((length + XATTR_PART_MAX - 1) / XATTR_PART_MAX) : 1;
}

static int open_tree(const struct fs_node *node, struct object **ret_tree)
{
	if (!node->inode.xattrs)
		return -ENODATA;
	int status = object_open(node->fs->objset, node->inode.xattrs, ret_tree);
	return status == -ENOENT ? -POOL_EDAMAGED : status;
}

static int xattr_set_owner(const struct fs_node *node, uint64_t txg, struct object *tree)
{
	struct object_owner_ids owner = node_owner(&node->inode);
	uint8_t raw[OBJECT_OWNER_SIZE];

	object_owner_encode(&owner, raw);
	return object_set_bonus(tree, txg, raw, sizeof(raw));
}

int xattrs_follow_owner(struct fs_node *node, uint64_t txg)
{
	struct object *tree;
	int status = open_tree(node, &tree);

	if (status < 0)
		return status == -ENODATA ? 0 : status;
	status = xattr_set_owner(node, txg, tree);
	object_close(tree);
	return status;
}

int xattrs_cells(const struct fs_node *node, uint64_t *ret_cells)
{
	struct object *tree;
	struct dnode dnode;
	int status = open_tree(node, &tree);

	*ret_cells = 0;
	if (status < 0)
		return status == -ENODATA ? 0 : status;
	object_info(tree, &dnode);
	object_close(tree);
	*ret_cells = dnode.sectors;
	return 0;
}

static int open_or_create(struct fs_node *node, uint64_t txg, struct object **ret_tree)
{
	struct object_create_options options = { .kind = DNODE_TREE };

	if (node->inode.xattrs)
		return open_tree(node, ret_tree);
	int status = object_create(node->fs->objset, txg, &options, ret_tree);
	if (status < 0)
		return status;
	node->inode.xattrs = object_number(*ret_tree);
	status = xattr_set_owner(node, txg, *ret_tree);
	if (status < 0)
		object_close(*ret_tree);
	return status;
}

static int delete_parts(struct object *tree, uint64_t txg, const char *name, unsigned first, unsigned end)
{
	uint8_t key[XATTR_KEY_MAX];
	int status = 0;

	for (unsigned part = first; part < end && status == 0; part++)
		status = tree_delete(tree, txg, key, xattr_key_encode(name, part, key));
	return status;
}

int xattr_put(struct fs_node *node, uint64_t txg, const char *name, const void *value, size_t length, size_t before)
{
	uint8_t key[XATTR_KEY_MAX], part_value[XATTR_HEAD_SIZE + XATTR_PART_MAX];
	bool fresh = !node->inode.xattrs;
	unsigned part = 0;
	struct object *tree;
	int status = open_or_create(node, txg, &tree);

	if (status < 0)
		return status;
	for (; part < part_count(length) && status == 0; part++) {
		size_t at = (size_t)part * XATTR_PART_MAX, size = length - at < XATTR_PART_MAX ? length - at : XATTR_PART_MAX;
		size_t head = part == 0 ? XATTR_HEAD_SIZE : 0;
		le32 total = le32_make((uint32_t)length);
		memcpy(part_value, &total, sizeof(total));
		if (size)
			memcpy(part_value + head, (const uint8_t *)value + at, size);
		status = tree_put(tree, txg, key, xattr_key_encode(name, part, key), part_value, head + size);
	}
	if (status == 0)
		status = delete_parts(tree, txg, name, part_count(length), before ? part_count(before) : 0);
	object_close(tree);
	/* Parts of two values, or a tree that belongs to nobody, must not be committed. */
	if (status < 0 && (part > 1 || fresh))
		core_halt(node->fs->core, "out of memory in a change of extended attributes");
	return status;
}

int xattr_delete(struct fs_node *node, uint64_t txg, const char *name, size_t before)
{
	struct object *tree;
	int status = open_tree(node, &tree);

	if (status < 0)
		return status;
	status = delete_parts(tree, txg, name, 0, part_count(before));
	object_close(tree);
	return status;
}

/* Part 0: the length of the whole, and how many bytes of it are here. */
static int read_head(struct object *tree, const char *name, uint8_t *value, size_t *ret_total, size_t *ret_here)
{
	uint8_t key[XATTR_KEY_MAX];
	le32 total;
	size_t size;
	int status = tree_get(tree, key, xattr_key_encode(name, 0, key), value, XATTR_HEAD_SIZE + XATTR_PART_MAX, &size);

	if (status < 0)
		return status == -ENOENT ? -ENODATA : status;
	if (size < XATTR_HEAD_SIZE)
		return -POOL_EFORMAT;
	memcpy(&total, value, sizeof(total));
	*ret_total = le32_get(total);
	*ret_here = size - XATTR_HEAD_SIZE;
	return *ret_total > XATTR_VALUE_MAX || *ret_here != (*ret_total < XATTR_PART_MAX ? *ret_total : XATTR_PART_MAX) ? -POOL_EFORMAT : 0;
}

static int read_parts(struct object *tree, const char *name, uint8_t *ret_value, size_t total, size_t done)
{
	uint8_t key[XATTR_KEY_MAX];
	int status = 0;

	for (unsigned part = 1; done < total && status == 0; part++) {
		size_t wanted = total - done < XATTR_PART_MAX ? total - done : XATTR_PART_MAX, size = 0;
		status = tree_get(tree, key, xattr_key_encode(name, part, key), ret_value + done, wanted, &size);
		if (status == -ENOENT || status == -ERANGE || (status == 0 && size != wanted))
			status = -POOL_ESTALE; /* another value is being set */
		done += size;
	}
	return status;
}

static int name_valid(const char *name)
{
	size_t length = strlen(name);

	return length == 0 ? -EINVAL : length > XATTR_NAME_MAX ? -ERANGE : 0;
}

int xattr_read(struct fs_node *node, const char *name, void *ret_value, size_t capacity, size_t *ret_length)
{
	uint8_t head[XATTR_HEAD_SIZE + XATTR_PART_MAX];
	size_t total = 0, here = 0;
	struct object *tree;
	int status = open_tree(node, &tree);

	if (status < 0)
		return status;
	status = read_head(tree, name, head, &total, &here);
	if (status == 0 && capacity) {
		if (total > capacity) {
			status = -ERANGE;
		} else {
			memcpy(ret_value, head + XATTR_HEAD_SIZE, here);
			status = read_parts(tree, name, ret_value, total, here);
		}
	}
	object_close(tree);
	if (status == 0)
		*ret_length = total;
	return status == -POOL_ESTALE ? -POOL_EDAMAGED : status;
}

/* What the file system's settings turn off is as if the file system had none. */
static bool is_turned_on(const struct fs_node *node, const char *name)
{
	bool list = strcmp(name, ACL_ACCESS) == 0 || strcmp(name, ACL_DEFAULT) == 0;

	return list ? fs_setting(node->fs, SETTING_ACL) == ACL_POSIX : fs_setting(node->fs, SETTING_XATTR) == XATTR_ON;
}

static int name_check(const struct fs_node *node, const char *name)
{
	int status = name_valid(name);

	return status == 0 && !is_turned_on(node, name) ? -EOPNOTSUPP : status;
}

int fs_xattr_get(struct fs_node *node, const char *name, void *ret_value, size_t capacity, size_t *ret_length)
{
	int status = name_check(node, name);

	if (status < 0)
		return status;
	rt_mutex_lock(node->fs->rt, &node->content);
	status = xattr_read(node, name, ret_value, capacity, ret_length);
	rt_mutex_unlock(node->fs->rt, &node->content);
	return status;
}

int fs_xattr_list(struct fs_node *node, char *ret_names, size_t capacity, size_t *ret_length)
{
	uint8_t key[OBJECT_KEY_MAX], value[OBJECT_VALUE_MAX];
	size_t key_length = 0, value_length, length = 0;
	struct object *tree;
	int status = open_tree(node, &tree);

	if (status < 0) {
		*ret_length = 0;
		return status == -ENODATA ? 0 : status;
	}
	for (bool after = false; status == 0; after = true) {
		status = tree_next(tree, key, key_length, after, key, &key_length, value, &value_length);
		if (status < 0)
			break;
		if (key_length < 3 || key_length > XATTR_KEY_MAX || key[key_length - 2] != 0) {
			status = -POOL_EFORMAT;
			break;
		}
		if (key[key_length - 1] != 0)
			continue; /* a further part */
		if (!is_turned_on(node, (const char *)key))
			continue;
		size_t size = key_length - 1;
		if (capacity && length + size > capacity)
			status = -ERANGE;
		else if (capacity)
			memcpy(ret_names + length, key, size);
		length += size;
	}
	object_close(tree);
	if (status != -ENOENT)
		return status;
	*ret_length = length;
	return 0;
}

struct change {
	const char *name;
	const void *value; /* NULL: it goes */
	size_t length, before;
	bool exists;
	uint32_t mode;
};

/* Lists have rules of their own: a mode that says all is kept instead of an access list; a list without entries is none. */
static int apply_acl_rules(const struct fs_node *node, struct change *change)
{
	bool access = strcmp(change->name, ACL_ACCESS) == 0, minimal;

	if (!access && strcmp(change->name, ACL_DEFAULT) != 0)
		return 0;
	if (S_ISLNK(node->inode.mode))
		return -EOPNOTSUPP;
	if (!change->value)
		return 0;
	if (!access && !node_is_directory(node))
		return -EACCES;
	if (change->length == sizeof(le32)) {
		change->value = NULL;
		return 0;
	}
	int status = acl_check(change->value, change->length, access ? &change->mode : NULL, &minimal);
	if (status == 0 && access && minimal)
		change->value = NULL;
	return status;
}

static int change_apply(struct fs_node *node, const struct change *change)
{
	struct core *core = node->fs->core;
	struct inode_record before;
	uint64_t txg;
	struct charge_plan plan = { .owner = node_owner(&node->inode),
				    .cells = change->value ? XATTR_GROWTH + 2 * (change->length / CELL_SIZE) : 0 };
	int status = fs_hold_charged(node->fs, change->value ? NAMES_CELLS : 0, &plan, &txg); /* what is removed needs no room */

	if (status < 0)
		return status;
	status = node_change_begin(node, txg, &before);
	if (status < 0)
		goto out;
	node->inode.mode = change->mode;
	if (change->value)
		status = xattr_put(node, txg, change->name, change->value, change->length, change->exists ? change->before : 0);
	else if (change->exists)
		status = xattr_delete(node, txg, change->name, change->before);
	node_changed(node, false);
	status = node_change_end(node, txg, &before, status);
out:
	core_release(core, txg);
	return status;
}

static int change_make(struct fs_node *node, struct change *change, unsigned flags)
{
	int status = name_check(node, change->name);

	if (status == 0 && fs_is_read_only(node->fs))
		status = -EROFS;
	if (status < 0)
		return status;
	rt_mutex_lock(node->fs->rt, &node->content);
	change->mode = node->inode.mode;
	status = xattr_read(node, change->name, NULL, 0, &change->before);
	change->exists = status == 0;
	if (status == -ENODATA)
		status = flags & FS_XATTR_REPLACE ? -ENODATA : 0;
	else if (status == 0 && flags & FS_XATTR_CREATE)
		status = -EEXIST;
	if (status == 0)
		status = apply_acl_rules(node, change);
	if (status == 0)
		status = guard_xattrs(node, change->name);
	if (status == 0)
		status = change_apply(node, change);
	rt_mutex_unlock(node->fs->rt, &node->content);
	return status;
}

int fs_xattr_set(struct fs_node *node, const char *name, const void *value, size_t length, unsigned flags)
{
	struct change change = { .name = name, .value = length ? value : "", .length = length };

	if (length > XATTR_VALUE_MAX)
		return -E2BIG;
	if (flags & ~(unsigned)(FS_XATTR_CREATE | FS_XATTR_REPLACE))
		return -EINVAL;
	return change_make(node, &change, flags);
}

int fs_xattr_remove(struct fs_node *node, const char *name)
{
	struct change change = { .name = name };

	return change_make(node, &change, FS_XATTR_REPLACE);
}
