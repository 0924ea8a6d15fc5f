/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a change will have to read in the commit is read before it is made: a node that is damaged fails that change, and not the
 * commit of everybody's. Outside of handles.
 */
#include "libpool/fs/content.h"

int guard_node(struct fs_node *node)
{
	struct object_owner_ids owner = node_owner(&node->inode);
	int status = filesystem_check(node->fs->dataset);

	if (status == 0)
		status = filesystem_check_owner(node->fs->dataset, &owner);
	return status < 0 ? status : object_check(node->object);
}

int guard_owner(struct fs_node *node, const struct object_owner_ids *owner)
{
	struct object *tree;
	int status = filesystem_check_owner(node->fs->dataset, owner);

	if (status < 0 || !node->inode.xattrs)
		return status;
	status = object_open(node->fs->objset, node->inode.xattrs, &tree);
	if (status < 0)
		return status == -ENOENT ? -POOL_EDAMAGED : status;
	status = object_check(tree);
	object_close(tree);
	return status;
}

int guard_new(struct fs *fs, const struct object_owner_ids *owner)
{
	int status = filesystem_check(fs->dataset);

	if (status == 0)
		status = filesystem_check_owner(fs->dataset, owner);
	return status < 0 ? status : objset_check_create(fs->objset);
}

int guard_unnamed(struct fs *fs, uint64_t number)
{
	uint8_t key[8];

	number_key_encode(number, key);
	return tree_check(fs->super, key, sizeof(key));
}

int guard_version(struct fs *fs)
{
	return fs_has_older_names(fs) ? object_check(fs->super) : 0;
}

int guard_entry(struct fs_node *directory, uint64_t cookie, struct fs_node *node)
{
	struct inode_link link = { directory->number, cookie };
	uint8_t key[DIRECTORY_KEY_SIZE], link_key[INODE_LINK_KEY_SIZE];

	number_key_encode(cookie, key);
	int status = guard_node(directory);
	if (status == 0)
		status = tree_check(directory->object, key, sizeof(key));
	if (status < 0 || !node)
		return status;
	inode_link_encode(node->number, &link, link_key);
	status = guard_node(node);
	return status < 0 ? status : tree_check(directory->fs->links, link_key, sizeof(link_key));
}

int guard_content(struct fs_node *node, uint64_t offset, uint64_t length)
{
	uint64_t block = blob_block_size(node->object);
	int status = guard_node(node);

	if (status < 0 || length == 0)
		return status;
	return blob_check_write(node->object, offset / block, (offset + length - 1) / block - offset / block + 1);
}

int guard_punch(struct fs_node *node, uint64_t offset, uint64_t length)
{
	uint64_t block = blob_block_size(node->object), first = (offset + block - 1) / block, end = (offset + length) / block;
	int status = guard_content(node, offset, 1);

	if (status == 0)
		status = guard_content(node, offset + length, 1);
	return status == 0 && end > first ? blob_check_punch(node->object, first, end - first) : status;
}

int guard_xattrs(struct fs_node *node, const char *name)
{
	uint8_t key[XATTR_KEY_MAX];
	struct object *tree;
	int status = guard_node(node);

	if (status < 0)
		return status;
	if (!node->inode.xattrs)
		return objset_check_create(node->fs->objset);
	status = object_open(node->fs->objset, node->inode.xattrs, &tree);
	if (status < 0)
		return status == -ENOENT ? -POOL_EDAMAGED : status;
	status = tree_check(tree, key, xattr_key_encode(name, 0, key));
	if (status == 0) /* the parts lie behind each other */
		status = tree_check(tree, key, xattr_key_encode(name, XATTR_VALUE_MAX / XATTR_PART_MAX, key));
	object_close(tree);
	return status;
}
