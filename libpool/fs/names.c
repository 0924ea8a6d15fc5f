/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Changes of names: make, link, unlink, rename. One at a time in each file system, in one txg each, after all that may
 * have to be read has been brought into the cache; what counts is looked up again then.
 */
#include "libpool/fs/internal.h"

/* One name that a change is about. `node` NULL: there is no such entry. */
struct target {
	struct fs_node *directory;
	const char *name;
	size_t length;
	uint64_t cookie;
	struct directory_entry entry;
	struct fs_node *node;
};

static void target_release(struct target *target)
{
	fs_put(target->node);
	target->node = NULL;
}

/* -ENOENT without a node is no failure here. */
static int target_find(struct target *target)
{
	int status = directory_find(target->directory, target->name, target->length, &target->cookie, &target->entry);

	if (status == 0)
		status = node_get(target->directory->fs, target->entry.object, &target->node);
	else if (status == -ENOENT)
		return 0;
	return status == -ESTALE ? -POOL_EDAMAGED : status;
}

/* Checks the name, reads what will be needed, and only then waits for the turn; on success `names` is held. */
static int names_begin(struct fs *fs, struct target *targets, unsigned count)
{
	int status = 0;

	for (unsigned i = 0; i < count && status == 0; i++)
		status = directory_name_check(targets[i].name, targets[i].length);
	for (unsigned i = 0; i < count && status == 0; i++) {
		status = target_find(&targets[i]);
		if (status == 0 && targets[i].node && node_is_directory(targets[i].node))
			(void)directory_is_empty(targets[i].node);
		target_release(&targets[i]);
	}
	if (status == -POOL_EDAMAGED) /* it may have been renamed meanwhile */
		status = 0;
	if (status < 0)
		return status;
	rt_mutex_lock(fs->rt, &fs->names);
	for (unsigned i = 0; i < count && status == 0; i++) {
		status = targets[i].directory->inode.links == 0 ? -ENOENT : target_find(&targets[i]);
		if (status < 0)
			target_release(&targets[i]);
	}
	if (status < 0) {
		for (unsigned i = 0; i < count; i++)
			target_release(&targets[i]);
		rt_mutex_unlock(fs->rt, &fs->names);
	}
	return status;
}

static void names_end(struct fs *fs, struct target *targets, unsigned count)
{
	rt_mutex_unlock(fs->rt, &fs->names);
	/* After the transaction and outside the lock: the last handle of something frees it. */
	for (unsigned i = 0; i < count; i++)
		target_release(&targets[i]);
}

/* What all changes of the names in `targets` need: their entries, and what these name. */
static int guard_targets(struct fs *fs, const struct target *targets, unsigned count)
{
	int status = 0;

	for (unsigned i = 0; i < count && status == 0; i++) {
		if (targets[i].cookie)
			status = guard_entry(targets[i].directory, targets[i].cookie, targets[i].node);
		if (status == 0 && targets[i].node)
			status = guard_unnamed(fs, targets[i].node->number);
	}
	return status;
}

static int store_changed(struct fs_node *directory, uint64_t txg)
{
	node_changed(directory, true);
	return node_store(directory, txg);
}

/* A txg that was begun and failed half-way must not be committed: what failed is memory, or something on disk that is gone. */
static int names_failed(struct fs *fs, int status)
{
	if (status < 0)
		core_halt(fs->core, status == -ENOMEM ? "out of memory in a change of names" : "a directory can't be changed");
	return status;
}

static void new_inode(struct fs *fs, const struct fs_node *directory, const struct fs_new *options, struct inode_record *ret_inode)
{
	struct fs_time now = fs_now(fs);
	uint32_t mode = options->mode;
	bool inherits = directory && directory->inode.mode & S_ISGID;

	if (inherits && S_ISDIR(mode))
		mode |= S_ISGID;
	*ret_inode = (struct inode_record){ .mode = mode, .uid = options->uid, .gid = inherits ? directory->inode.gid : options->gid,
					    .links = S_ISDIR(mode) ? 2 : 1, .changes = 1,
					    .project = directory ? directory->inode.project : 0 };
	if (S_ISCHR(mode) || S_ISBLK(mode)) {
		ret_inode->device_major = options->device_major;
		ret_inode->device_minor = options->device_minor;
	}
	for (unsigned i = 0; i < FS_TIME_COUNT; i++)
		ret_inode->times[i] = now;
}

static int new_check(const struct fs_new *options)
{
	uint32_t type = options->mode & S_IFMT;

	if (options->mode & ~(S_IFMT | 07777u) || !(S_ISREG(type) || S_ISDIR(type) || S_ISLNK(type) || S_ISCHR(type) || S_ISBLK(type) ||
						    S_ISFIFO(type) || S_ISSOCK(type)))
		return -EINVAL;
	if (!S_ISLNK(type))
		return 0;
	if (!options->target || !options->target[0])
		return -ENOENT;
	return strlen(options->target) > FS_SYMLINK_MAX ? -ENAMETOOLONG : 0;
}

/* The target of a symbolic link: in the inode if it fits. */
static int put_target(struct fs_node *node, uint64_t txg, const char *text)
{
	size_t length = strlen(text);

	node->inode.size = length;
	if (length > INODE_INLINE_MAX)
		return blob_write(node->object, txg, 0, length, text);
	node->inode.inline_length = (uint16_t)length;
	memcpy(node->inode.inline_data, text, length);
	return 0;
}

/* A node in txg, with what its directory hands down. */
static int make_node(struct fs *fs, struct fs_node *directory, struct acl_list *list, uint64_t txg, const struct fs_new *options, struct fs_node **ret_node)
{
	struct inode_record inode;

	new_inode(fs, directory, options, &inode);
	int status = node_new(fs, txg, &inode, ret_node);
	if (status < 0)
		return status;
	if (S_ISLNK(inode.mode))
		return put_target(*ret_node, txg, options->target);
	return acl_inherit(list, *ret_node, txg, inode.mode & 07777u, options->umask);
}

static int make_entry(struct target *target, uint64_t txg, struct fs_node *node)
{
	int status = fs_raise_version(node->fs, txg);

	if (status == 0)
		status = directory_add(target->directory, txg, target->cookie, target->name, target->length, node);
	if (status == 0)
		status = links_add(node, txg, target->directory->number, target->cookie);
	if (status == 0)
		status = node_store(node, txg);
	if (status == 0 && node_is_directory(node))
		target->directory->inode.links++;
	return status < 0 ? status : store_changed(target->directory, txg);
}

/* Whether the name can be given to something. */
static int new_name_check(const struct target *target, bool directory)
{
	if (target->node)
		return -EEXIST;
	if (directory && target->directory->inode.links >= FS_LINKS_MAX)
		return -EMLINK;
	return target->cookie ? 0 : -ENOSPC; /* so many names of one hash come from somebody who knows its key */
}

int fs_make(struct fs_node *directory, const char *name, size_t length, const struct fs_new *options, struct fs_node **ret_node)
{
	struct fs *fs = directory->fs;
	struct target target = { .directory = directory, .name = name, .length = length };
	struct acl_list *list = NULL;
	struct inode_record inode;
	uint64_t txg;
	int status = new_check(options);

	if (status == 0)
		status = names_begin(fs, &target, 1);
	if (status < 0)
		return status;
	status = new_name_check(&target, S_ISDIR(options->mode));
	if (status == 0 && !S_ISLNK(options->mode))
		status = acl_load_default(directory, &list);
	new_inode(fs, directory, options, &inode);
	struct charge_plan entry = { .owner = node_owner(&directory->inode), .cells = NAME_GROWTH };
	struct charge_plan plan = { .owner = node_owner(&inode), .cells = NODE_GROWTH, .objects = 1, .next = &entry };
	if (list)
		plan.cells += XATTR_GROWTH;
	if (status == 0)
		status = guard_targets(fs, &target, 1);
	if (status == 0)
		status = guard_new(fs, &plan.owner);
	if (status == 0)
		status = guard_version(fs);
	if (status == 0)
		status = fs_hold_charged(fs, NAMES_CELLS, &plan, &txg);
	if (status == 0) {
		struct fs_node *node = NULL;
		status = make_node(fs, directory, list, txg, options, &node);
		if (status == 0)
			status = make_entry(&target, txg, node);
		core_release(fs->core, txg);
		if (names_failed(fs, status) == 0)
			*ret_node = node;
		else
			fs_put(node);
	}
	free(list);
	names_end(fs, &target, 1);
	return status;
}

int fs_make_unnamed(struct fs *fs, const struct fs_node *directory, const struct fs_new *options, struct fs_node **ret_node)
{
	struct fs_node *node = NULL;
	struct inode_record inode;
	uint64_t txg;
	int status = new_check(options);

	if (status == 0 && !S_ISREG(options->mode))
		status = -EINVAL;
	new_inode(fs, directory, options, &inode);
	struct charge_plan plan = { .owner = node_owner(&inode), .cells = NODE_GROWTH, .objects = 1 };
	if (status == 0)
		status = guard_new(fs, &plan.owner);
	if (status == 0)
		status = guard_unnamed(fs, UINT64_MAX); /* numbers grow: at the end of the list */
	if (status == 0)
		status = fs_hold_charged(fs, NAMES_CELLS, &plan, &txg);
	if (status < 0)
		return status;
	inode.mode &= ~(options->umask & 0777u);
	inode.links = 0;
	status = node_new(fs, txg, &inode, &node);
	if (status == 0) {
		fs_ref(node); /* so that it is listed, and not freed at once */
		status = node_doom(node, txg);
		node->references--;
	}
	core_release(fs->core, txg);
	if (names_failed(fs, status) == 0)
		*ret_node = node;
	else
		fs_put(node);
	return status;
}

int fs_link(struct fs_node *node, struct fs_node *directory, const char *name, size_t length)
{
	struct fs *fs = directory->fs;
	struct target target = { .directory = directory, .name = name, .length = length };
	uint64_t txg;

	if (node_is_directory(node))
		return -EPERM;
	if (node->fs != fs)
		return -EXDEV;
	int status = names_begin(fs, &target, 1);
	if (status < 0)
		return status;
	status = new_name_check(&target, false);
	if (status == 0 && node->dying)
		status = -ENOENT;
	else if (status == 0 && node->inode.links >= FS_LINKS_MAX)
		status = -EMLINK;
	if (status == 0)
		status = guard_entry(directory, target.cookie, node);
	if (status == 0)
		status = guard_unnamed(fs, node->number);
	if (status == 0)
		status = guard_version(fs);
	struct charge_plan plan = { .owner = node_owner(&directory->inode), .cells = NAME_GROWTH };
	if (status == 0)
		status = fs_hold_charged(fs, NAMES_CELLS, &plan, &txg);
	if (status == 0) {
		uint8_t key[8];
		number_key_encode(node->number, key);
		if (node->doomed)
			status = tree_delete(fs->super, txg, key, sizeof(key));
		node->doomed = false;
		node->inode.links++;
		node_changed(node, false);
		if (status == 0)
			status = make_entry(&target, txg, node);
		core_release(fs->core, txg);
		(void)names_failed(fs, status);
	}
	names_end(fs, &target, 1);
	return status;
}

/* An entry goes, and its node loses that name. */
static int drop_name(struct fs_node *node, uint64_t txg, uint64_t directory, uint64_t cookie)
{
	bool last = node_is_directory(node) || node->inode.links == 1;
	int status = links_remove(node, txg, directory, cookie, last);

	node->inode.links = node_is_directory(node) ? 0 : node->inode.links - 1;
	node_changed(node, false);
	if (status < 0)
		return status;
	return node->inode.links ? node_store(node, txg) : node_doom(node, txg);
}

static int removable(const struct target *target, bool directory)
{
	if (!target->node)
		return -ENOENT;
	if (!directory)
		return node_is_directory(target->node) ? -EISDIR : 0;
	if (!node_is_directory(target->node))
		return -ENOTDIR;
	int empty = directory_is_empty(target->node);
	return empty < 0 ? empty : empty ? 0 : -ENOTEMPTY;
}

static int remove_name(struct fs_node *directory, const char *name, size_t length, bool is_directory)
{
	struct fs *fs = directory->fs;
	struct target target = { .directory = directory, .name = name, .length = length };
	uint64_t txg;
	int status = names_begin(fs, &target, 1);

	if (status < 0)
		return status;
	status = removable(&target, is_directory);
	if (status == 0)
		status = guard_targets(fs, &target, 1);
	if (status == 0)
		status = fs_hold(fs, 0, &txg); /* what makes room must not need any */
	if (status == 0) {
		status = directory_remove(directory, txg, target.cookie);
		if (status == 0)
			status = drop_name(target.node, txg, directory->number, target.cookie);
		if (is_directory)
			directory->inode.links--;
		if (status == 0)
			status = store_changed(directory, txg);
		core_release(fs->core, txg);
		(void)names_failed(fs, status);
	}
	names_end(fs, &target, 1);
	return status;
}

int fs_unlink(struct fs_node *directory, const char *name, size_t length)
{
	return remove_name(directory, name, length, false);
}

int fs_remove_directory(struct fs_node *directory, const char *name, size_t length)
{
	return remove_name(directory, name, length, true);
}

/* Whether `directory` is `node` or below it: 1 or 0, or an error. */
static int is_below(struct fs_node *directory, const struct fs_node *node)
{
	struct fs *fs = directory->fs;
	struct fs_node *at = fs_ref(directory);
	int status = 0;

	while (at != node && at->number != FS_OBJECT_ROOT && status == 0) {
		struct fs_node *above;
		status = fs_parent(at, &above);
		if (status == 0) {
			fs_put(at);
			at = above;
		}
	}
	bool below = at == node && node->fs == fs;
	fs_put(at);
	return status < 0 ? status : below;
}

/* Both are the same entry, by names that count as one: it gets the other spelling. */
static bool is_respelling(const struct target *from, const struct target *to)
{
	return from->node && to->node && from->directory == to->directory && from->cookie == to->cookie;
}

static bool has_spelling(const struct directory_entry *entry, const struct target *target)
{
	return entry->name_length == target->length && memcmp(entry->name, target->name, target->length) == 0;
}

static int rename_check(const struct target *from, const struct target *to, unsigned flags)
{
	bool exchange = flags & FS_RENAME_EXCHANGE;

	if (!from->node || (exchange && !to->node))
		return -ENOENT;
	if (to->node && flags & FS_RENAME_NOREPLACE && !(is_respelling(from, to) && !has_spelling(&from->entry, to)))
		return -EEXIST;
	if (!to->node && !to->cookie)
		return -ENOSPC;
	if (to->node && !exchange && to->node != from->node) {
		int status = removable(to, node_is_directory(from->node));
		if (status < 0)
			return status;
	}
	if (from->directory == to->directory)
		return 0;
	/* Nothing moves into itself. */
	int below = node_is_directory(from->node) ? is_below(to->directory, from->node) : 0;
	if (below == 0 && exchange && node_is_directory(to->node))
		below = is_below(from->directory, to->node);
	if (below)
		return below < 0 ? below : -EINVAL;
	if (node_is_directory(from->node) && !(to->node && node_is_directory(to->node)) && to->directory->inode.links >= FS_LINKS_MAX)
		return -EMLINK;
	return 0;
}

/* The node has its name elsewhere now. */
static int move_link(struct fs_node *node, uint64_t txg, const struct target *from, const struct target *to)
{
	int status = links_remove(node, txg, from->directory->number, from->cookie, false);

	if (status == 0)
		status = links_add(node, txg, to->directory->number, to->cookie);
	node_changed(node, false);
	if (status == 0)
		status = node_store(node, txg);
	if (node_is_directory(node)) {
		from->directory->inode.links--;
		to->directory->inode.links++;
	}
	return status;
}

static int exchange(struct target *from, struct target *to, uint64_t txg)
{
	int status = directory_set(from->directory, txg, from->cookie, &from->entry, to->node);

	if (status == 0)
		status = directory_set(to->directory, txg, to->cookie, &to->entry, from->node);
	if (status == 0)
		status = move_link(from->node, txg, from, to);
	return status < 0 ? status : move_link(to->node, txg, to, from);
}

static int respell(struct target *from, const struct target *to, uint64_t txg)
{
	directory_entry_rename(&from->entry, to->name, to->length);
	int status = directory_set(from->directory, txg, from->cookie, &from->entry, from->node);

	node_changed(from->node, false);
	return status < 0 ? status : node_store(from->node, txg);
}

static int move(struct target *from, struct target *to, uint64_t txg)
{
	int status = fs_raise_version(from->node->fs, txg);

	if (status < 0)
		return status;
	if (is_respelling(from, to))
		return respell(from, to, txg);
	if (to->node) {
		directory_entry_rename(&to->entry, to->name, to->length);
		status = directory_set(to->directory, txg, to->cookie, &to->entry, from->node);
		if (status == 0)
			status = drop_name(to->node, txg, to->directory->number, to->cookie);
		if (node_is_directory(to->node))
			to->directory->inode.links--;
	} else {
		status = directory_add(to->directory, txg, to->cookie, to->name, to->length, from->node);
	}
	if (status == 0)
		status = directory_remove(from->directory, txg, from->cookie);
	return status < 0 ? status : move_link(from->node, txg, from, to);
}

int fs_rename(const struct fs_place *from, const struct fs_place *to, unsigned flags)
{
	struct fs *fs = from->directory->fs;
	struct target targets[2] = { { .directory = from->directory, .name = from->name, .length = from->length },
				     { .directory = to->directory, .name = to->name, .length = to->length } };
	uint64_t txg;

	if (to->directory->fs != fs)
		return -EXDEV;
	if (flags & ~(unsigned)(FS_RENAME_NOREPLACE | FS_RENAME_EXCHANGE) || flags == (FS_RENAME_NOREPLACE | FS_RENAME_EXCHANGE))
		return -EINVAL;
	int status = names_begin(fs, targets, 2);
	if (status < 0)
		return status;
	status = rename_check(&targets[0], &targets[1], flags);
	bool respells = status == 0 && is_respelling(&targets[0], &targets[1]) && !(flags & FS_RENAME_EXCHANGE) &&
			!has_spelling(&targets[0].entry, &targets[1]);
	/* Two names of one file: nothing to do. */
	if (status < 0 || (targets[0].node == targets[1].node && !respells)) {
		names_end(fs, targets, 2);
		return status;
	}
	status = guard_targets(fs, targets, 2);
	if (status == 0)
		status = guard_entry(to->directory, targets[1].cookie, targets[0].node);
	if (status == 0 && targets[1].node)
		status = guard_entry(from->directory, targets[0].cookie, targets[1].node);
	if (status == 0)
		status = guard_version(fs);
	/* One that replaces another, or trades places, has its entry already, which only a longer spelling makes larger. */
	bool grows = !targets[1].node || (!(flags & FS_RENAME_EXCHANGE) && to->length > targets[1].entry.name_length);
	struct charge_plan plan = { .owner = node_owner(&to->directory->inode), .cells = grows ? NAME_GROWTH : 0 };
	if (status == 0)
		status = fs_hold_charged(fs, NAMES_CELLS, &plan, &txg);
	if (status == 0) {
		status = flags & FS_RENAME_EXCHANGE ? exchange(&targets[0], &targets[1], txg) : move(&targets[0], &targets[1], txg);
		if (status == 0)
			status = store_changed(from->directory, txg);
		if (status == 0 && to->directory != from->directory)
			status = store_changed(to->directory, txg);
		core_release(fs->core, txg);
		(void)names_failed(fs, status);
	}
	names_end(fs, targets, 2);
	return status;
}
