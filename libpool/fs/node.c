/* SPDX-License-Identifier: BSD-2-Clause */
/* Inodes in RAM: found, made, stored, and freed when the last name and the last handle are gone. */
#include "libpool/fs/internal.h"

static struct fs_node *find_node(const struct fs *fs, uint64_t number)
{
	for (struct hash_node *hash = hash_table_first(&fs->nodes, hash_u64(number)); hash; hash = hash_table_next(hash)) {
		struct fs_node *node = container_of(hash, struct fs_node, hash);
		if (node->number == number)
			return node;
	}
	return NULL;
}

static struct fs_node *add_node(struct fs *fs, struct object *object, const struct inode_record *inode, uint64_t generation)
{
	struct fs_node *node = calloc(1, sizeof(*node));

	if (!node)
		return NULL;
	node->fs = fs;
	node->object = object;
	node->references = 1;
	node->number = object_number(object);
	node->generation = generation;
	node->inode = *inode;
	rt_mutex_init(&node->content);
	hash_table_insert(&fs->nodes, &node->hash, hash_u64(node->number));
	if (S_ISREG(inode->mode))
		object_set_compression(object, fs_setting(fs, SETTING_COMPRESSION));
	return node;
}

static bool kind_fits(const struct dnode *dnode, uint32_t mode)
{
	return (dnode->kind == DNODE_TREE) == S_ISDIR(mode);
}

int node_get(struct fs *fs, uint64_t number, struct fs_node **ret_node)
{
	struct inode_record inode;
	struct object *object;
	struct dnode dnode;
	struct fs_node *node = find_node(fs, number);

	if (!node) {
		if (number < FS_OBJECT_ROOT)
			return -ESTALE;
		int status = object_open(fs->objset, number, &object);
		if (status < 0)
			return status == -ENOENT ? -ESTALE : status;
		node = find_node(fs, number); /* others were quicker */
		if (node)
			object_close(object);
	}
	if (node) {
		if (node->dying)
			return -ESTALE;
		node->references++;
		*ret_node = node;
		return 0;
	}
	object_info(object, &dnode);
	int status = dnode.kind == DNODE_FREE ? -ESTALE : inode_decode(dnode.bonus, dnode.bonus_length, &inode);
	if (status == 0 && !kind_fits(&dnode, inode.mode))
		status = -POOL_EFORMAT;
	node = status == 0 ? add_node(fs, object, &inode, dnode.generation) : NULL;
	if (!node) {
		object_close(object);
		return status < 0 ? status : -ENOMEM;
	}
	node->doomed = inode.links == 0;
	*ret_node = node;
	return 0;
}

int node_new(struct fs *fs, uint64_t txg, const struct inode_record *inode, struct fs_node **ret_node)
{
	/* The target of a link is small: it must not take a whole record. */
	uint8_t shift = S_ISREG(inode->mode) ? fs_setting(fs, SETTING_RECORDSIZE) : 0;
	struct object_create_options options = { .kind = S_ISDIR(inode->mode) ? DNODE_TREE : DNODE_BLOB,
						 .block_shift = shift ? shift : CELL_SHIFT };
	struct object *object;

	if (options.kind == DNODE_TREE)
		options.block_shift = 0;
	int status = object_create(fs->objset, txg, &options, &object);
	if (status < 0)
		return status;
	struct fs_node *node = add_node(fs, object, inode, txg);
	if (!node) {
		(void)object_destroy(object, txg);
		object_close(object);
		return -ENOMEM;
	}
	*ret_node = node;
	return 0;
}

static void node_not_lazy(struct fs_node *node)
{
	if (list_linked(&node->lazy))
		list_remove(&node->lazy);
}

int node_store(struct fs_node *node, uint64_t txg)
{
	struct object_owner_ids owner = node_owner(&node->inode);
	uint8_t raw[INODE_RECORD_SIZE];

	/* Whatever changed, something of it may have become smaller. */
	filesystem_freeing(node->fs->dataset, txg, &owner);
	node->fs->stored++;
	inode_encode(&node->inode, raw);
	node_not_lazy(node);
	return object_set_bonus(node->object, txg, raw, sizeof(raw));
}

int node_change_begin(struct fs_node *node, uint64_t txg, struct inode_record *ret_before)
{
	*ret_before = node->inode;
	return node_store(node, txg);
}

/*
 * As it was, but for what a change of names may have made of it meanwhile: those hold the names of a node, not its content.
 */
static void restore(struct fs_node *node, const struct inode_record *before)
{
	struct inode_record now = node->inode;

	node->inode = *before;
	node->inode.links = now.links;
	node->inode.link = now.link;
	node->inode.changes = now.changes;
	node->inode.times[FS_TIME_CHANGE] = now.times[FS_TIME_CHANGE];
	if (node_is_directory(node)) {
		node->inode.size = now.size;
		node->inode.times[FS_TIME_MODIFY] = now.times[FS_TIME_MODIFY];
	}
}

int node_change_end(struct fs_node *node, uint64_t txg, const struct inode_record *before, int status)
{
	if (status == 0)
		status = node_store(node, txg);
	if (status < 0) {
		restore(node, before);
		(void)node_store(node, txg); /* a change of names may have stored half of this one */
	}
	return status;
}

struct fs_time fs_now(struct fs *fs)
{
	uint64_t now = rt_realtime(fs->rt);

	return (struct fs_time){ (int64_t)(now / NS_PER_S), (uint32_t)(now % NS_PER_S) };
}

void node_changed(struct fs_node *node, bool content)
{
	struct fs_time now = fs_now(node->fs);

	node->inode.times[FS_TIME_CHANGE] = now;
	if (content)
		node->inode.times[FS_TIME_MODIFY] = now;
	node->inode.changes++;
}

static int destroy_number(struct fs *fs, uint64_t txg, uint64_t number)
{
	struct object *object;
	int status = object_open(fs->objset, number, &object);

	if (status < 0)
		return status;
	status = object_destroy(object, txg);
	object_close(object);
	return status;
}

/* All of it in txg; its blocks follow in the background. */
static int free_node(struct fs_node *node, uint64_t txg)
{
	struct object_owner_ids owner = node_owner(&node->inode);

	filesystem_freeing(node->fs->dataset, txg, &owner);
	/* Attributes that can't be read stay allocated: the file goes all the same. */
	if (node->inode.xattrs)
		(void)destroy_number(node->fs, txg, node->inode.xattrs);
	return object_destroy(node->object, txg);
}

int node_doom(struct fs_node *node, uint64_t txg)
{
	uint8_t key[8], value = 0;
	int status;

	if (node->references == 1) {
		status = free_node(node, txg);
		node->dying = status == 0;
		return status;
	}
	number_key_encode(node->number, key);
	status = tree_put(node->fs->super, txg, key, sizeof(key), &value, sizeof(value));
	if (status == 0)
		status = node_store(node, txg);
	node->doomed = status == 0;
	return status;
}

static void free_doomed(struct fs_node *node)
{
	uint8_t key[8];
	uint64_t txg;

	if (guard_node(node) < 0 || guard_unnamed(node->fs, node->number) < 0)
		return; /* damaged: it stays */
	/* Where nothing can be written it waits, listed, for the next time that the file system is opened. */
	if (core_hold(node->fs->core, 0, &txg) < 0)
		return;
	filesystem_changed(node->fs->dataset, txg);
	node->fs->freed++;
	number_key_encode(node->number, key);
	if (free_node(node, txg) == 0)
		(void)tree_delete(node->fs->super, txg, key, sizeof(key));
	core_release(node->fs->core, txg);
}

static void store_lazily(struct fs_node *node)
{
	uint64_t txg;

	if (guard_node(node) < 0 || core_hold(node->fs->core, ATTRIBUTE_CELLS, &txg) < 0)
		return;
	(void)node_store(node, txg);
	filesystem_file_changed(node->fs->dataset, txg, node->object, 0, 0);
	core_release(node->fs->core, txg);
}

void fs_put(struct fs_node *node)
{
	if (!node || !POOL_CHECK(node->references > 0))
		return;
	/* The last one works with the handle still there, as others may come meanwhile. */
	if (node->references == 1 && list_linked(&node->lazy) && !node->doomed && !node->dying) {
		store_lazily(node);
		node_not_lazy(node);
	}
	if (node->references == 1 && node->doomed && !node->dying) {
		node->dying = true;
		free_doomed(node);
	}
	if (--node->references)
		return;
	hash_table_remove(&node->fs->nodes, &node->hash);
	node_not_lazy(node);
	object_close(node->object);
	free(node);
}

struct fs_node *fs_ref(struct fs_node *node)
{
	node->references++;
	return node;
}

uint64_t fs_number(const struct fs_node *node)
{
	return node->number;
}

uint64_t fs_generation(const struct fs_node *node)
{
	return node->generation;
}

int fs_get(struct fs *fs, uint64_t number, uint64_t generation, struct fs_node **ret_node)
{
	struct fs_node *node;
	int status = node_get(fs, number, &node);

	if (status < 0)
		return status;
	if (generation && node->generation != generation) {
		fs_put(node);
		return -ESTALE;
	}
	*ret_node = node;
	return 0;
}

int fs_root(struct fs *fs, struct fs_node **ret_node)
{
	return node_get(fs, FS_OBJECT_ROOT, ret_node);
}
