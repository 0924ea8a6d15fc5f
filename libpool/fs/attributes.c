/* SPDX-License-Identifier: BSD-2-Clause */
/* Attributes of nodes: what stat tells, and what chmod, chown, truncate and utimes change, all of one call in one txg. */
#include "libpool/fs/internal.h"
#include "libpool/fs/content.h"

/*
 * What lies on disk, and what will: tar --sparse takes a file that has no blocks for one hole and reads nothing of it. Of what
 * is written again nobody knows how much it will add, but the content has no more than its length.
 */
static uint64_t cells_in_use(const struct fs_node *node, uint64_t on_disk)
{
	uint64_t dirty = S_ISDIR(node->inode.mode) ? 0 : blob_dirty_cells(node->object);
	uint64_t content = (node->inode.size + CELL_SIZE - 1) / CELL_SIZE;

	if (on_disk + dirty <= content)
		return on_disk + dirty;
	return on_disk > content ? on_disk : content;
}

void fs_attributes(const struct fs_node *node, struct fs_attributes *ret_attributes)
{
	const struct inode_record *inode = &node->inode;
	struct dnode dnode;

	object_info(node->object, &dnode);
	*ret_attributes = (struct fs_attributes){
		.number = node->number, .generation = node->generation, .size = inode->size, .changes = inode->changes,
		.blocks = cells_in_use(node, dnode.sectors) * (CELL_SIZE / 512), .mode = inode->mode, .links = inode->links, .uid = inode->uid,
		.gid = inode->gid, .project = inode->project, .device_major = inode->device_major,
		.device_minor = inode->device_minor,
		.block_size = S_ISREG(inode->mode) ? blob_block_size(node->object) : CELL_SIZE,
		/* What was cut off counts until it is freed, which may take many commits. */
		.unsettled = object_has_changes(node->object) || objset_has_pending_kills(node->fs->objset),
	};
	memcpy(ret_attributes->times, inode->times, sizeof(inode->times));
}

void drop_setid(struct inode_record *inode)
{
	if (S_ISDIR(inode->mode))
		return;
	inode->mode &= ~(uint32_t)S_ISUID;
	if (inode->mode & S_IXGRP)
		inode->mode &= ~(uint32_t)S_ISGID;
}

static void set_ids(struct inode_record *inode, const struct fs_set *set)
{
	if (set->what & FS_SET_UID)
		inode->uid = set->uid;
	if (set->what & FS_SET_GID)
		inode->gid = set->gid;
	if (set->what & FS_SET_PROJECT)
		inode->project = set->project;
	if (set->what & (FS_SET_UID | FS_SET_GID | FS_SET_KILL_SETID))
		drop_setid(inode);
	if (set->what & FS_SET_MODE)
		inode->mode = (inode->mode & S_IFMT) | (set->mode & 07777u);
}

static void set_times(struct inode_record *inode, const struct fs_set *set)
{
	static const uint32_t flags[FS_TIME_COUNT] = { [FS_TIME_ACCESS] = FS_SET_ACCESS, [FS_TIME_MODIFY] = FS_SET_MODIFY,
						       [FS_TIME_CHANGE] = FS_SET_CHANGE, [FS_TIME_BIRTH] = FS_SET_BIRTH };

	for (unsigned i = 0; i < FS_TIME_COUNT; i++)
		if (set->what & flags[i])
			inode->times[i] = set->times[i];
}

static int set_check(const struct fs_node *node, const struct fs_set *set)
{
	for (unsigned i = 0; i < FS_TIME_COUNT; i++)
		if (set->times[i].nanoseconds >= NS_PER_S)
			return -EINVAL;
	if (!(set->what & FS_SET_SIZE))
		return 0;
	if (node_is_directory(node))
		return -EISDIR;
	if (!S_ISREG(node->inode.mode))
		return -EINVAL;
	return set->size > FS_FILE_SIZE_MAX ? -EFBIG : 0;
}

/* A file that gets shorter loses blocks; one that gets longer may have its last one changed. */
static int guard_set(struct fs_node *node, const struct fs_set *set, const struct acl_list *list)
{
	uint64_t size = node->inode.size;
	int status = list ? guard_xattrs(node, ACL_ACCESS) : guard_node(node);

	if (status < 0 || !(set->what & FS_SET_SIZE))
		return status;
	return set->size < size ? guard_punch(node, set->size, size - set->size) : guard_content(node, size, 1);
}

/* Whose it is to be; *ret_kinds: which of these change. */
static struct object_owner_ids new_owner(const struct fs_node *node, const struct fs_set *set, uint32_t *ret_kinds)
{
	struct object_owner_ids owner = node_owner(&node->inode), before = owner;

	if (set->what & FS_SET_UID)
		owner.ids[OWNER_USER] = set->uid;
	if (set->what & FS_SET_GID)
		owner.ids[OWNER_GROUP] = set->gid;
	if (set->what & FS_SET_PROJECT)
		owner.ids[OWNER_PROJECT] = set->project;
	*ret_kinds = 0;
	for (unsigned kind = 0; kind < OWNER_KINDS; kind++)
		*ret_kinds |= (uint32_t)(owner.ids[kind] != before.ids[kind]) << kind;
	return owner;
}

/* What the new owner is charged for: all that the node has, also what a commit hasn't counted yet. */
static int plan_owner(struct fs_node *node, const struct fs_set *set, struct charge_plan *ret_plan)
{
	struct dnode dnode;
	uint64_t attributes;

	*ret_plan = (struct charge_plan){ .objects = 1 };
	ret_plan->owner = new_owner(node, set, &ret_plan->moved_kinds);
	if (!ret_plan->moved_kinds) {
		ret_plan->objects = 0;
		return 0;
	}
	int status = guard_owner(node, &ret_plan->owner);
	/* How much that is a commit tells; it matters only to who could be refused. */
	if (status == 0 && filesystem_limits_owner(node->fs->dataset, &ret_plan->owner, ret_plan->moved_kinds) &&
	    (object_has_changes(node->object) || node->inode.xattrs))
		status = core_commit(node->fs->core);
	if (status == 0)
		status = xattrs_cells(node, &attributes);
	if (status < 0)
		return status;
	object_info(node->object, &dnode);
	ret_plan->cells = dnode.sectors + attributes;
	return 0;
}

static int set_apply(struct fs_node *node, const struct fs_set *set, struct acl_list *list, uint64_t txg)
{
	bool sized = set->what & FS_SET_SIZE;
	struct inode_record before;
	int status = node_change_begin(node, txg, &before);

	if (status < 0)
		return status;
	if (sized)
		status = content_resize(node, txg, set->size);
	set_ids(&node->inode, set);
	struct object_owner_ids owner = node_owner(&before), new_one = node_owner(&node->inode);
	bool moves = memcmp(&owner, &new_one, sizeof(owner)) != 0;
	if (status == 0 && moves)
		status = xattrs_follow_owner(node, txg);
	node_changed(node, sized);
	set_times(&node->inode, set);
	if (status == 0 && set->what & FS_SET_MODE)
		status = acl_set_mode(list, node, txg);
	status = node_change_end(node, txg, &before, status);
	if (moves && status == 0)
		filesystem_freeing(node->fs->dataset, txg, &owner);
	else if (moves)
		(void)xattrs_follow_owner(node, txg); /* back to whose the node is */
	return status;
}

int fs_set(struct fs_node *node, const struct fs_set *set)
{
	struct core *core = node->fs->core;
	struct acl_list *list = NULL;
	uint64_t txg;
	int status = set_check(node, set);

	if (status == 0 && fs_is_read_only(node->fs))
		status = -EROFS;
	if (status < 0)
		return status;
	rt_mutex_lock(node->fs->rt, &node->content);
	if (set->what & FS_SET_MODE)
		status = acl_load_access(node, &list);
	if (status == 0)
		status = guard_set(node, set, list);
	/* What makes a file smaller must not need any room. */
	struct core_change change = core_change_of(set->what & FS_SET_SIZE ? 0 : ATTRIBUTE_CELLS);
	if (set->what & FS_SET_SIZE && set->size > node->inode.size)
		content_change(node, node->inode.size, 1, &change);
	else if (set->what & FS_SET_SIZE)
		content_removal(node, set->size, node->inode.size - set->size, &change);
	struct charge_plan plan = { .cells = 0 };
	if (status == 0)
		status = plan_owner(node, set, &plan);
	/* Charged to whom it belongs before, as the rest of it. */
	struct charge_plan growth = { .owner = node_owner(&node->inode), .next = &plan };
	if (set->what & FS_SET_SIZE)
		growth.cells = content_resize_cells(node, set->size);
	if (status == 0)
		status = fs_hold_content(node->fs, &change, &growth, &txg);
	if (status == 0) {
		status = set_apply(node, set, list, txg);
		core_release(core, txg);
	}
	rt_mutex_unlock(node->fs->rt, &node->content);
	free(list);
	return status;
}
