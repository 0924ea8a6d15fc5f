/* What a block that can't be read means for its object, and whether it can be read by now: for lists of damage. */
#include <stdlib.h>

#include "libpool/object/object_internal.h"

/* Object 0 is the blob of dnodes, which nobody else can open. */
static int open_any(struct objset *objset, uint64_t number, struct object **ret_object)
{
	if (number)
		return object_open(objset, number, ret_object);
	object_reference(objset->dnodes);
	*ret_object = objset->dnodes;
	return 0;
}

static void close_any(struct objset *objset, struct object *object)
{
	if (object == objset->dnodes)
		object->references--; /* lives as long as the objset */
	else
		object_close(object);
}

static void blob_range(const struct dnode *dnode, unsigned level, uint64_t block, uint64_t *ret_offset, uint64_t *ret_length)
{
	unsigned shift = dnode->block_shift + level * blob_fanout_shift(dnode->indirect_shift);
	uint64_t end = (dnode->max_block + 1) << dnode->block_shift;

	*ret_offset = 0;
	*ret_length = end;
	if (shift >= 64 || block > (end - 1) >> shift)
		return; /* the only node of its level, or of a shape that the object doesn't have any more */
	*ret_offset = block << shift;
	*ret_length = end - *ret_offset;
	if (*ret_length >> shift)
		*ret_length = UINT64_C(1) << shift;
}

int objset_block_range(struct objset *objset, uint64_t number, unsigned level, uint64_t block, uint64_t *ret_offset, uint64_t *ret_length)
{
	struct object *object;
	struct dnode dnode;
	int result = open_any(objset, number, &object);

	if (result < 0)
		return result;
	object_info(object, &dnode);
	close_any(objset, object);
	if (dnode.kind == DNODE_FREE)
		return -ENOENT;
	*ret_offset = 0;
	*ret_length = dnode.sectors * CELL_SIZE; /* of a tree nobody can say what was where */
	if (dnode.kind == DNODE_BLOB)
		blob_range(&dnode, level, block, ret_offset, ret_length);
	return 0;
}

/* The block, as it is by now; or the node on disk, with all above it. */
static int read_blob(struct object *object, unsigned level, uint64_t block)
{
	unsigned shift = level * blob_fanout_shift(object->disk.indirect_shift);
	uint64_t number = shift < 48 && block <= BLOB_BLOCKS_MAX >> shift ? block << shift : 0;
	struct object_view view = { 0 };
	struct block_pointer pointer;
	struct buffer *buffer;
	int result;

	if (level == 0) {
		result = blob_read_block(object, number, &buffer);
		if (result == 0)
			buffer_unref(buffer);
		return result;
	}
	do {
		object_view_take(&view, object);
		result = blob_find(&view, number, true, &pointer, NULL);
	} while (result == -POOL_ESTALE);
	return result;
}

static int read_tree(struct object *object)
{
	uint8_t *key = malloc(OBJECT_KEY_MAX), *value = malloc(OBJECT_VALUE_MAX);
	size_t key_length = 0, value_length;
	int result = key && value ? 0 : -ENOMEM;

	for (bool after = false; result == 0; after = true)
		result = tree_next(object, key, key_length, after, key, &key_length, value, &value_length);
	free(key);
	free(value);
	return result == -ENOENT ? 0 : result;
}

int objset_block_check(struct objset *objset, uint64_t number, unsigned level, uint64_t block)
{
	struct object *object;
	int result = open_any(objset, number, &object);

	if (result < 0)
		return result;
	if (object->destroyed || object->disk.kind == DNODE_FREE)
		result = -ENOENT;
	else
		result = object->disk.kind == DNODE_TREE ? read_tree(object) : read_blob(object, level, block);
	close_any(objset, object);
	return result;
}
