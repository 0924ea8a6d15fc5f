/*
 * Reading blobs: the newest change of a block wins, then the older one, then the block on disk.
 *
 * What must always hold: overlays and the root on disk are looked at in one step, so a block that a sync is moving from one
 * to the other is never missed. What is found is the content as of that step or later.
 */
#include <stdlib.h>
#include <string.h>

#include "libpool/object/object_internal.h"

#define PREFETCH_BLOCKS_MAX 256u
#define PREFETCH_FIBERS_MAX 16u
#define PREFETCH_OF_HOME_MAX 64u

/* Up to where the pointers of a lowest node, from `index` on, are holes or data like the first of them. */
static size_t run_end(const struct raw_block_pointer *pointers, size_t index, size_t fanout, bool hole)
{
	for (; index < fanout; index++) {
		struct block_pointer pointer;

		if (block_pointer_decode(&pointers[index], &pointer) < 0 || block_pointer_is_hole(&pointer) != hole)
			break;
	}
	return index;
}

int blob_find(struct object_view *view, uint64_t number, bool wait, struct block_pointer *ret_pointer, uint64_t *ret_end)
{
	const struct object *object = view->object;
	unsigned shift = blob_fanout_shift(view->indirect_shift), level = view->levels;
	struct block_pointer pointer;
	uint64_t end = number + 1;
	int result;

	if (number >= blob_capacity(view->levels, view->indirect_shift)) {
		*ret_pointer = (struct block_pointer){ 0 };
		if (ret_end)
			*ret_end = UINT64_MAX;
		return 0;
	}
	level--;
	result = object_decode(object, &view->root, level, blob_node_size(level, view->block_shift, view->indirect_shift), &pointer);
	while (result == 0 && level > 0 && !block_pointer_is_hole(&pointer)) {
		size_t index = number >> (level - 1) * shift & (((size_t)1 << shift) - 1);
		struct block_owner owner = object_owner(object, level, number >> level * shift);
		struct buffer *node;

		result = object_read(view, &pointer, &owner, blob_node_size(level, view->block_shift, view->indirect_shift), wait, &node);
		if (result < 0)
			return result;
		level--;
		result = object_decode(object, node_slot(node, index), level,
				       blob_node_size(level, view->block_shift, view->indirect_shift), &pointer);
		if (result == 0 && level == 0 && ret_end)
			end = number - index + run_end(node_slot(node, 0), index + 1, (size_t)1 << shift, block_pointer_is_hole(&pointer));
		buffer_unref(node);
	}
	if (result < 0)
		return result;
	if (level > 0)
		end = ((number >> level * shift) + 1) << level * shift;
	if (ret_end)
		*ret_end = end;
	*ret_pointer = pointer;
	return 0;
}

bool blob_find_change(const struct object *object, uint64_t txg, uint64_t number, struct buffer **ret_buffer)
{
	struct overlay *overlays[2];
	struct dirty_block *block;
	uint64_t end;

	object_overlays(object, overlays);
	for (int i = 0; i < 2; i++) {
		enum overlay_state state;

		if (!overlays[i] || overlays[i]->txg > txg)
			continue;
		state = overlay_lookup(overlays[i], number, &block, &end);
		if (state == OVERLAY_NONE)
			continue;
		*ret_buffer = state == OVERLAY_DIRTY ? buffer_ref(block->buffer) : NULL;
		return true;
	}
	return false;
}

static int read_block(struct object *object, uint64_t txg, uint64_t number, bool wait, struct buffer **ret_buffer)
{
	struct object_view view = { 0 };
	struct block_pointer pointer;
	struct block_owner owner = object_owner(object, 0, number);
	int result;

	do {
		if (object->destroyed) {
			*ret_buffer = NULL;
			return 0;
		}
		if (blob_find_change(object, txg, number, ret_buffer))
			return 0;
		object_view_take(&view, object);
		result = blob_find(&view, number, wait, &pointer, NULL);
		if (result == 0 && block_pointer_is_hole(&pointer)) {
			*ret_buffer = NULL;
			return 0;
		}
		if (result == 0)
			result = object_read(&view, &pointer, &owner, blob_block_size(object), wait, ret_buffer);
	} while (result == -POOL_ESTALE);
	return result;
}

uint32_t blob_block_size(const struct object *object)
{
	return (uint32_t)1 << object->disk.block_shift;
}

int blob_read_block_as_of(struct object *object, uint64_t txg, uint64_t number, struct buffer **ret_buffer)
{
	return read_block(object, txg, number, true, ret_buffer);
}

int blob_read_block(struct object *object, uint64_t number, struct buffer **ret_buffer)
{
	if (object->disk.kind == DNODE_TREE)
		return -EINVAL;
	return read_block(object, UINT64_MAX, number, true, ret_buffer);
}

int blob_read_block_cached(struct object *object, uint64_t number, struct buffer **ret_buffer)
{
	int result;

	if (object->disk.kind == DNODE_TREE)
		return -EINVAL;
	result = read_block(object, UINT64_MAX, number, false, ret_buffer);
	if (result == -EAGAIN)
		return 0;
	return result < 0 ? result : 1;
}

int blob_read(struct object *object, uint64_t offset, size_t length, void *destination)
{
	size_t size = blob_block_size(object);
	uint8_t *to = destination;

	if (object->disk.kind == DNODE_TREE)
		return -EINVAL;
	if (length > UINT64_MAX - offset)
		return -EINVAL;
	if (length > size)
		blob_prefetch(object, offset / size, (offset + length - 1) / size - offset / size + 1);
	while (length) {
		size_t within = offset % size, part = size - within < length ? size - within : length;
		struct buffer *buffer;
		int result = blob_read_block(object, offset / size, &buffer);

		if (result < 0)
			return result;
		if (buffer)
			memcpy(to, buffer->data + within, part);
		else
			memset(to, 0, part);
		buffer_unref(buffer);
		to += part;
		offset += part;
		length -= part;
	}
	return 0;
}

/* Reading ahead: a few fibers that take one number after the other. */
struct prefetch {
	struct object *object;
	uint64_t next, end;
	unsigned fibers;
};

static void prefetch_fiber(void *argument)
{
	struct prefetch *prefetch = argument;
	struct object *object = prefetch->object;
	struct object_home *home = object->home;

	while (prefetch->next < prefetch->end) {
		struct buffer *buffer;

		if (blob_read_block(object, prefetch->next++, &buffer) == 0)
			buffer_unref(buffer);
	}
	if (--prefetch->fibers == 0)
		free(prefetch);
	home->background_count--;
	object->references--;
	if (object->objset)
		object_settle(object);
	rt_group_done(home->rt, &home->background, 0);
}

static bool prefetch_spawn(struct prefetch *prefetch)
{
	struct object_home *home = prefetch->object->home;

	if (home->background_count >= PREFETCH_OF_HOME_MAX)
		return false;
	if (rt_spawn(home->rt, "read ahead", prefetch_fiber, prefetch) < 0)
		return false;
	object_reference(prefetch->object);
	rt_group_add(&home->background);
	home->background_count++;
	prefetch->fibers++;
	return true;
}

void blob_prefetch(struct object *object, uint64_t first, uint64_t count)
{
	struct prefetch *prefetch;
	struct buffer *buffer;

	if (object->disk.kind == DNODE_TREE)
		return;
	if (count > PREFETCH_BLOCKS_MAX)
		count = PREFETCH_BLOCKS_MAX;
	for (; count && blob_read_block_cached(object, first, &buffer) == 1; first++, count--)
		buffer_unref(buffer);
	if (!count)
		return;
	prefetch = malloc(sizeof(*prefetch));
	if (!prefetch)
		return;
	*prefetch = (struct prefetch){ .object = object, .next = first, .end = first + count };
	while (prefetch->fibers < count && prefetch->fibers < PREFETCH_FIBERS_MAX && prefetch_spawn(prefetch))
		;
	if (!prefetch->fibers)
		free(prefetch);
}
