/*
 * Whether a change could be committed: a sync reads the nodes above what changed, and one that can't be read would fail
 * the commit of everything. So whoever changes something asks first, and fails alone.
 *
 * What is read here is in the cache when the sync comes to it, so it is read once.
 */
#include <limits.h>

#include "libpool/object/object_internal.h"
#include "libpool/object/tree_internal.h"

/* The highest level at which the block's node covers nothing outside of [first, end); 0: the block itself. */
static unsigned covered_level(unsigned levels, unsigned shift, uint64_t number, uint64_t first, uint64_t end)
{
	unsigned level = 0;

	while (level + 1 < levels) {
		unsigned bits = (level + 1) * shift;
		uint64_t low = number >> bits << bits;

		if (low < first || end - low < UINT64_C(1) << bits)
			break;
		level++;
	}
	return level;
}

/* Behind the last block that lies below the block's node of that level, or below a node of that level that isn't there. */
static uint64_t node_end(const struct object_view *view, unsigned level, uint64_t number)
{
	unsigned shift = blob_fanout_shift(view->indirect_shift), bits = level < 64 / shift ? level * shift : 63;
	uint64_t end = ((number >> bits) + 1) << bits;

	return end < BLOB_BLOCKS_MAX ? end : BLOB_BLOCKS_MAX;
}

/* Reads the nodes above a block, down to the one on top of what [first, end) covers. *ret_level: how far it came, whatever the result. */
static int check_path(struct object_view *view, uint64_t number, uint64_t first, uint64_t end, unsigned *ret_level)
{
	unsigned shift = blob_fanout_shift(view->indirect_shift), level = view->levels;
	struct block_pointer pointer;
	int result;

	*ret_level = UINT_MAX; /* nothing is there, up to the end */
	if (number >= blob_capacity(view->levels, view->indirect_shift))
		return 0;
	unsigned lowest = covered_level(view->levels, shift, number, first, end);

	*ret_level = --level;
	result = object_decode(view->object, &view->root, level, blob_node_size(level, view->block_shift, view->indirect_shift), &pointer);
	while (result == 0 && level > lowest && !block_pointer_is_hole(&pointer)) {
		size_t index = number >> (level - 1) * shift & (((size_t)1 << shift) - 1);
		struct block_owner owner = object_owner(view->object, level, number >> level * shift);
		struct buffer *node;

		result = object_read(view, &pointer, &owner, blob_node_size(level, view->block_shift, view->indirect_shift), true, &node);
		if (result < 0)
			return result;
		*ret_level = --level;
		result = object_decode(view->object, node_slot(node, index), level,
				       blob_node_size(level, view->block_shift, view->indirect_shift), &pointer);
		buffer_unref(node);
	}
	return result;
}

static int check_current_path(struct object *object, uint64_t number, uint64_t first, uint64_t end, uint64_t *ret_end)
{
	struct object_view view = { 0 };
	unsigned level = 0;
	int result;

	do {
		if (object->destroyed)
			return -ENOENT;
		object_view_take(&view, object);
		result = check_path(&view, number, first, end, &level);
	} while (result == -POOL_ESTALE);
	if (ret_end)
		*ret_end = node_end(&view, level == 0 && result == 0 ? 1 : level, number);
	return result;
}

static int check_kind(const struct object *object, enum dnode_kind kind)
{
	if (object->destroyed)
		return -ENOENT;
	return object->disk.kind == kind ? 0 : -EINVAL;
}

static int check_dnode(struct objset *objset, uint64_t number)
{
	struct buffer *buffer;
	int result = blob_read_block(objset->dnodes, number / DNODES_PER_BLOCK, &buffer);

	if (result == 0)
		buffer_unref(buffer);
	return result;
}

/*
 * One that has changes was asked for before the first of them, and a commit writes the nodes on its way in any case: what lies there now takes no part in
 * what comes behind.
 */
int object_check(struct object *object)
{
	bool changed = object->overlays[0] || object->overlays[1];

	return object->objset && !changed ? check_dnode(object->objset, object->number) : 0;
}

int objset_check_create(struct objset *objset)
{
	return check_dnode(objset, objset->next_object);
}

int blob_check_write(struct object *object, uint64_t first, uint64_t count)
{
	unsigned shift = blob_fanout_shift(object->disk.indirect_shift);
	int result = check_kind(object, DNODE_BLOB);

	for (uint64_t number = first; result == 0 && number - first < count; number = ((number >> shift) + 1) << shift)
		result = check_current_path(object, number, number, number + 1, NULL);
	return result;
}

int blob_check_block(struct object *object, uint64_t number, uint64_t *ret_end)
{
	int result = check_kind(object, DNODE_BLOB);

	*ret_end = number + 1;
	return result < 0 ? result : check_current_path(object, number, number, number + 1, ret_end);
}

int blob_check_punch(struct object *object, uint64_t first, uint64_t count)
{
	uint64_t end = count > UINT64_MAX - first ? UINT64_MAX : first + count;
	int result = check_kind(object, DNODE_BLOB);

	if (result == 0 && count)
		result = check_current_path(object, first, first, end, NULL);
	if (result == 0 && count)
		result = check_current_path(object, end - 1, first, end, NULL);
	return result;
}
