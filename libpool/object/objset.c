/*
 * Objsets: the blob of dnodes, the numbers, and the objects in RAM.
 *
 * Object numbers 1 to 15 are for whoever defines the objset, apart from 15, the orphans (orphans.c). From 16 on they are
 * handed out in turn and never twice: next_object only grows, and each sync writes the newest.
 */
#include <stdlib.h>
#include <string.h>

#include "libpool/base/check.h"
#include "libpool/format/tree_node.h"
#include "libpool/object/object_internal.h"

#define FIRST_BUCKETS 64u

static int objset_new(struct rt *rt, struct blocks *blocks, const struct objset_options *options, const struct dnode *dnodes,
		      struct objset **ret_objset)
{
	struct objset *objset = calloc(1, sizeof(*objset));

	if (!objset)
		return -ENOMEM;
	objset->home = (struct object_home){
		.rt = rt,
		.blocks = blocks,
		.objset_id = options->id,
		.data_class = options->data_class,
		.node_class = CLASS_META,
		.metadata_compression = options->metadata_compression,
		.dirty = options->dirty,
		.argument = options->argument,
	};
	rt_group_init(&objset->home.background);
	list_init(&objset->overlays[0]);
	list_init(&objset->overlays[1]);
	objset->next_object = objset->disk_next_object = OBJECT_NUMBER_FIRST;
	objset->dnodes = object_allocate(&objset->home, NULL, 0, dnodes, TYPE_DNODES);
	if (!objset->dnodes || hash_table_init(&objset->objects, FIRST_BUCKETS) < 0) {
		object_free(objset->dnodes);
		free(objset);
		return -ENOMEM;
	}
	objset->dnodes->compression = options->metadata_compression;
	*ret_objset = objset;
	return 0;
}

static void free_object_in_table(struct hash_node *node, void *argument)
{
	(void)argument;
	object_free(container_of(node, struct object, node));
}

void objset_close(struct objset *objset)
{
	if (!objset)
		return;
	if (objset->home.background_count)
		rt_group_wait(objset->home.rt, &objset->home.background);
	for (int i = 0; i < 2; i++) {
		list_for_each(node, &objset->overlays[i])
			overlay_forget(container_of(node, struct overlay, node));
		if (objset->dnodes->overlays[i])
			overlay_forget(objset->dnodes->overlays[i]); /* left by a sync that failed */
	}
	hash_table_each(&objset->objects, free_object_in_table, NULL);
	hash_table_release(&objset->objects);
	object_free(objset->dnodes);
	free(objset);
}

static void add_to_table(struct objset *objset, struct object *object)
{
	hash_table_insert(&objset->objects, &object->node, hash_u64(object->number));
}

struct object *objset_find(struct objset *objset, uint64_t number)
{
	struct hash_node *node = hash_table_first(&objset->objects, hash_u64(number));

	for (; node; node = hash_table_next(node))
		if (container_of(node, struct object, node)->number == number)
			return container_of(node, struct object, node);
	return NULL;
}

/* An object that isn't on disk yet. */
static int add_new(struct objset *objset, uint64_t txg, uint64_t number, const struct dnode *dnode, struct object **ret_object)
{
	struct object *object = object_allocate(&objset->home, objset, number, dnode, dnode->kind == DNODE_TREE ? TYPE_TREE : TYPE_DATA);
	struct overlay *overlay;

	if (!object)
		return -ENOMEM;
	overlay = object_overlay(object, txg);
	if (!overlay) {
		object_free(object);
		return -ENOMEM;
	}
	overlay->created = true;
	add_to_table(objset, object);
	*ret_object = object;
	return 0;
}

int objset_create(struct rt *rt, struct blocks *blocks, const struct objset_options *options, uint64_t txg, struct objset **ret_objset)
{
	struct dnode dnodes = { .kind = DNODE_BLOB, .block_shift = DNODE_BLOCK_SHIFT, .indirect_shift = METADATA_INDIRECT_SHIFT, .generation = txg };
	struct dnode orphans = { .kind = DNODE_TREE, .indirect_shift = METADATA_INDIRECT_SHIFT, .generation = txg };
	struct objset *objset;
	int result = objset_new(rt, blocks, options, &dnodes, &objset);

	if (result < 0)
		return result;
	result = add_new(objset, txg, OBJECT_NUMBER_ORPHANS, &orphans, &objset->orphans);
	if (result < 0) {
		objset_close(objset);
		return result;
	}
	objset->header_dirty[txg & 1] = true;
	*ret_objset = objset;
	return 0;
}

static int read_header(struct blocks *blocks, const struct objset_options *options, const struct raw_block_pointer *root,
		       struct objset_block *ret_header)
{
	struct block_owner owner = { .objset = options->id };
	struct block_pointer pointer;
	struct buffer *buffer;
	int result = block_pointer_decode(root, &pointer);

	if (result == 0 && (!block_pointer_is_placed(&pointer) || pointer.type != TYPE_OBJSET || pointer.lsect != OBJSET_SIZE / CELL_SIZE))
		result = -POOL_EFORMAT;
	if (result == 0)
		result = block_read(blocks, &pointer, &owner, 0, NULL, NULL, &buffer);
	if (result < 0)
		return result;
	result = buffer->size == OBJSET_SIZE ? objset_block_decode(buffer->data, ret_header) : -POOL_EFORMAT;
	if (result == 0 && ret_header->id != options->id)
		result = -POOL_EFORMAT; /* another one's */
	buffer_unref(buffer);
	return result;
}

/* The format layer has checked that the numbers agree with each other; this is about what the descent relies on. */
static bool shape_valid(const struct dnode *dnode)
{
	if (dnode->kind == DNODE_TREE)
		return (size_t)1 << dnode->indirect_shift >= TREE_NODE_SIZE_MIN && dnode->levels <= TREE_LEVELS_MAX;
	return dnode->kind == DNODE_BLOB && dnode->indirect_shift >= 12 && dnode->indirect_shift <= 15 && dnode->block_shift >= 12 &&
	       dnode->block_shift <= 20 && dnode->levels <= BLOB_LEVELS_MAX &&
	       (dnode->levels < 2 || (dnode->levels - 2u) * blob_fanout_shift(dnode->indirect_shift) < 48);
}

int objset_open(struct rt *rt, struct blocks *blocks, const struct objset_options *options, const struct raw_block_pointer *root,
		struct objset **ret_objset)
{
	struct objset_block header;
	struct objset *objset;
	int result = read_header(blocks, options, root, &header);

	if (result < 0)
		return result;
	if (!shape_valid(&header.dnodes) || header.dnodes.kind != DNODE_BLOB || header.dnodes.block_shift != DNODE_BLOCK_SHIFT ||
	    header.next_object < OBJECT_NUMBER_FIRST)
		return -POOL_EFORMAT;
	result = objset_new(rt, blocks, options, &header.dnodes, &objset);
	if (result < 0)
		return result;
	objset->root = *root;
	objset->next_object = objset->disk_next_object = header.next_object;
	objset->object_count = objset->disk_object_count = header.object_count;
	result = objset_open_number(objset, OBJECT_NUMBER_ORPHANS, &objset->orphans);
	if (result == -ENOENT || (result == 0 && objset->orphans->disk.kind != DNODE_TREE))
		result = -POOL_EFORMAT;
	if (result < 0) {
		objset_close(objset);
		return result;
	}
	*ret_objset = objset;
	return 0;
}

uint32_t objset_id(const struct objset *objset)
{
	return objset->home.objset_id;
}

const struct raw_block_pointer *objset_root(const struct objset *objset)
{
	return &objset->root;
}

bool objset_is_dirty(const struct objset *objset, uint64_t txg)
{
	return objset->header_dirty[txg & 1] || !list_empty(&objset->overlays[txg & 1]);
}

bool objset_has_pending_kills(const struct objset *objset)
{
	return objset->orphans->disk.max_block > 0;
}

uint64_t objset_object_count(const struct objset *objset)
{
	return objset->object_count;
}

void *objset_user(const struct objset *objset)
{
	return objset->user;
}

void objset_set_user(struct objset *objset, void *user)
{
	objset->user = user;
}

/* The dnode on disk of an object that isn't in RAM; -EEXIST if it is there by the time it has been read. */
static int read_dnode(struct objset *objset, uint64_t number, struct dnode *ret_dnode)
{
	for (;;) {
		uint64_t generation = objset->dnodes->generation;
		struct buffer *buffer;
		int result = blob_read_block(objset->dnodes, number / DNODES_PER_BLOCK, &buffer);

		if (result < 0)
			return result;
		if (objset_find(objset, number)) {
			buffer_unref(buffer);
			return -EEXIST;
		}
		if (generation != objset->dnodes->generation) { /* it may have been changed, synced and closed meanwhile */
			buffer_unref(buffer);
			continue;
		}
		if (buffer)
			result = dnode_decode(buffer->data + number % DNODES_PER_BLOCK * DNODE_SIZE, ret_dnode);
		else
			*ret_dnode = (struct dnode){ 0 };
		buffer_unref(buffer);
		return result;
	}
}

int objset_open_number(struct objset *objset, uint64_t number, struct object **ret_object)
{
	struct object *object = objset_find(objset, number);
	struct dnode dnode;
	int result;

	if (!object) {
		if (number == 0 || number >= objset->next_object)
			return -ENOENT;
		result = read_dnode(objset, number, &dnode);
		if (result == -EEXIST)
			object = objset_find(objset, number);
		else if (result < 0)
			return result;
		else if (dnode.kind == DNODE_FREE)
			return -ENOENT;
	}
	if (object) {
		if (object->destroyed)
			return -ENOENT;
		object_reference(object);
		*ret_object = object;
		return 0;
	}
	if (!shape_valid(&dnode))
		return -POOL_EFORMAT;
	object = object_allocate(&objset->home, objset, number, &dnode, dnode.kind == DNODE_TREE ? TYPE_TREE : TYPE_DATA);
	if (!object)
		return -ENOMEM;
	add_to_table(objset, object);
	*ret_object = object;
	return 0;
}

int object_open(struct objset *objset, uint64_t number, struct object **ret_object)
{
	return number == OBJECT_NUMBER_ORPHANS ? -ENOENT : objset_open_number(objset, number, ret_object);
}

static int make_dnode(const struct object_create_options *options, uint64_t txg, struct dnode *ret_dnode)
{
	struct dnode dnode = { .kind = (uint8_t)options->kind, .generation = txg, .indirect_shift = options->indirect_shift };

	if (options->kind == DNODE_BLOB) {
		dnode.block_shift = options->block_shift;
		if (!dnode.indirect_shift)
			dnode.indirect_shift = dnode.block_shift <= 14 ? 12 : 14;
	} else if (!dnode.indirect_shift) {
		dnode.indirect_shift = METADATA_INDIRECT_SHIFT;
	}
	if (dnode.indirect_shift == 13 || !shape_valid(&dnode))
		return -EINVAL;
	*ret_dnode = dnode;
	return 0;
}

/* Whether a number that a caller asks for is free. */
static int check_number(struct objset *objset, uint64_t number)
{
	struct dnode dnode;
	int result;

	if (number > OBJECT_NUMBER_MAX || number == OBJECT_NUMBER_ORPHANS)
		return -EINVAL;
	if (objset_find(objset, number))
		return -EEXIST;
	if (number >= objset->next_object)
		return 0;
	result = read_dnode(objset, number, &dnode);
	if (result < 0)
		return result;
	return dnode.kind == DNODE_FREE ? 0 : -EEXIST;
}

int object_create(struct objset *objset, uint64_t txg, const struct object_create_options *options, struct object **ret_object)
{
	uint64_t number = options->number;
	struct object *object;
	struct dnode dnode;
	int result = make_dnode(options, txg, &dnode);

	if (result == 0 && number)
		result = check_number(objset, number);
	if (result < 0)
		return result;
	if (!number)
		number = objset->next_object;
	if (number > OBJECT_NUMBER_MAX)
		return -ENOSPC;
	result = add_new(objset, txg, number, &dnode, &object);
	if (result < 0)
		return result;
	object->compression = options->compression;
	if (number >= objset->next_object)
		objset->next_object = number + 1;
	objset->object_count++;
	objset->count_change[txg & 1]++;
	*ret_object = object;
	return 0;
}

int object_destroy(struct object *object, uint64_t txg)
{
	struct objset *objset = object->objset;
	struct overlay *overlays[2];

	if (!objset)
		return -EINVAL;
	if (object->destroyed)
		return -ENOENT;
	overlays[0] = object_overlay(object, txg);
	overlays[1] = object_overlay_if_any(object, txg + 1);
	if (!overlays[0])
		return -ENOMEM;
	for (int i = 0; i < 2; i++) {
		int64_t before;

		if (!overlays[i])
			continue;
		before = overlays[i]->bytes;
		overlay_clear(overlays[i]);
		overlay_account(overlays[i], before);
	}
	overlays[0]->destroyed = true;
	object->destroyed = true;
	objset->object_count--;
	objset->count_change[txg & 1]--;
	return 0;
}

void objset_observe(struct objset *objset, objset_observer *observer, void *argument)
{
	objset->observer = observer;
	objset->observer_argument = argument;
}

uint64_t objset_cells(struct objset *objset, uint64_t before)
{
	int64_t cells = (int64_t)before + objset->cells_change;

	objset->cells_change = 0;
	return cells > 0 ? (uint64_t)cells : 0;
}
