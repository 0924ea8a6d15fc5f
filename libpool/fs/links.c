/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where a node's names are, for paths in messages and for checks: one in the inode, the others of a file that has several in
 * a tree of the file system.
 */
#include "libpool/fs/internal.h"

#include <stdio.h>

static bool is_link(const struct inode_link *link, uint64_t directory, uint64_t cookie)
{
	return link->directory == directory && link->cookie == cookie;
}

int links_add(struct fs_node *node, uint64_t txg, uint64_t directory, uint64_t cookie)
{
	struct inode_link link = { directory, cookie };
	uint8_t key[INODE_LINK_KEY_SIZE], value = 0;

	if (node->inode.link.directory == 0) {
		node->inode.link = link;
		return 0;
	}
	inode_link_encode(node->number, &link, key);
	return tree_put(node->fs->links, txg, key, sizeof(key), &value, sizeof(value));
}

/* Any further link takes the place of the one in the inode. */
static int promote(struct fs_node *node, uint64_t txg)
{
	struct inode_link none = { 0, 0 }, link;
	uint8_t key[OBJECT_KEY_MAX], value[OBJECT_VALUE_MAX];
	size_t key_length, value_length;
	uint64_t number;

	inode_link_encode(node->number, &none, key);
	int status = tree_next(node->fs->links, key, INODE_LINK_KEY_SIZE, false, key, &key_length, value, &value_length);
	if (status == 0)
		status = inode_link_decode(key, key_length, &number, &link);
	/* What can't be read costs messages a path, and nothing else. */
	if (status < 0 || number != node->number)
		return status == -ENOMEM ? status : 0;
	status = tree_delete(node->fs->links, txg, key, key_length);
	if (status == 0)
		node->inode.link = link;
	return status;
}

int links_remove(struct fs_node *node, uint64_t txg, uint64_t directory, uint64_t cookie, bool last)
{
	const struct inode_link none = { 0, 0 };
	struct inode_link link = { directory, cookie };
	uint8_t key[INODE_LINK_KEY_SIZE];

	if (is_link(&node->inode.link, directory, cookie)) {
		node->inode.link = none;
		return last ? 0 : promote(node, txg);
	}
	inode_link_encode(node->number, &link, key);
	return tree_delete(node->fs->links, txg, key, sizeof(key));
}

/* The name under which `link` has the node, put before the path so far, which ends at `end`. Returns its new beginning. */
static int put_before(struct fs *fs, const struct inode_link *link, uint64_t number, char *path, size_t *at, uint64_t *ret_directory)
{
	struct directory_entry entry;
	struct fs_node *directory;
	uint64_t cookie = 0;
	int status = node_get(fs, link->directory, &directory);

	if (status < 0)
		return status;
	status = node_is_directory(directory) ? directory_next(directory->object, link->cookie - 1, &cookie, &entry) : -POOL_EFORMAT;
	fs_put(directory);
	if (status == 0 && (cookie != link->cookie || entry.object != number))
		status = -ENOENT; /* renamed this moment */
	if (status < 0)
		return status;
	if (*at < entry.name_length + 1u)
		return -ENAMETOOLONG;
	*at -= entry.name_length;
	memcpy(path + *at, entry.name, entry.name_length);
	path[--*at] = '/';
	*ret_directory = link->directory;
	return 0;
}

int fs_path(struct fs_node *node, char *ret_path, size_t size)
{
	struct inode_link link = node->inode.link;
	uint64_t number = node->number, above = 0;
	size_t at = size;
	int status = 0;

	if (size < 2)
		return -ENAMETOOLONG;
	ret_path[--at] = 0;
	if (number == FS_OBJECT_ROOT)
		ret_path[--at] = '/';
	/* A path has at most size / 2 names: a ring of directories ends there. */
	while (number != FS_OBJECT_ROOT) {
		struct fs_node *next;
		if (link.directory == 0)
			return -ENOENT;
		status = put_before(node->fs, &link, number, ret_path, &at, &above);
		if (status == 0)
			status = node_get(node->fs, above, &next);
		if (status < 0)
			return status;
		number = above;
		link = next->inode.link;
		fs_put(next);
	}
	memmove(ret_path, ret_path + at, size - at);
	return 0;
}
