/* Changes of one object in one txg: see overlay.h. */
#include "libpool/object/overlay.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "libpool/format/tree_node.h"
#include "libpool/object/object.h"
#include "libpool/store/ahead.h"

static int compare_block(const void *key, const struct map_node *node)
{
	uint64_t left = *(const uint64_t *)key, right = container_of(node, struct dirty_block, node)->number;

	return left < right ? -1 : left > right;
}

static int compare_range(const void *key, const struct map_node *node)
{
	uint64_t left = *(const uint64_t *)key, right = container_of(node, struct punched_range, node)->first;

	return left < right ? -1 : left > right;
}

static int compare_change(const void *key, const struct map_node *node)
{
	const struct tree_key *left = key;
	const struct tree_change *right = container_of(node, struct tree_change, node);

	return tree_key_compare(left->bytes, left->length, right->data, right->key_length);
}

struct overlay *overlay_new(struct object *object, uint64_t txg)
{
	struct overlay *overlay = calloc(1, sizeof(*overlay));

	if (!overlay)
		return NULL;
	overlay->object = object;
	overlay->txg = txg;
	overlay->bytes = sizeof(*overlay);
	sorted_map_init(&overlay->blocks, compare_block);
	sorted_map_init(&overlay->ranges, compare_range);
	sorted_map_init(&overlay->changes, compare_change);
	sorted_map_init(&overlay->touched, compare_change);
	array_init(&overlay->complete, sizeof(struct tree_range));
	return overlay;
}

static int64_t block_bytes(const struct dirty_block *block)
{
	return (int64_t)(sizeof(*block) + sizeof(*block->buffer) + block->buffer->size);
}

static int64_t change_bytes(const struct tree_change *change)
{
	return (int64_t)(sizeof(*change) + change->key_length + change->value_length);
}

void dirty_block_changes(struct dirty_block *block)
{
	block->rewritten |= block->ahead && !block->ahead->logged;
	ahead_block_unref(block->ahead);
	block->ahead = NULL;
}

static void block_free(struct dirty_block *block)
{
	ahead_block_unref(block->ahead);
	buffer_unref(block->buffer);
	free(block);
}

void overlay_clear(struct overlay *overlay)
{
	struct map_node *node;

	while ((node = sorted_map_pop(&overlay->blocks)))
		block_free(container_of(node, struct dirty_block, node));
	while ((node = sorted_map_pop(&overlay->ranges)))
		free(container_of(node, struct punched_range, node));
	while ((node = sorted_map_pop(&overlay->changes)) || (node = sorted_map_pop(&overlay->touched)))
		free(container_of(node, struct tree_change, node));
	overlay->bytes = sizeof(*overlay);
}

void overlay_free(struct overlay *overlay)
{
	if (!overlay)
		return;
	overlay_clear(overlay);
	array_release(&overlay->complete);
	free(overlay);
}

struct dirty_block *overlay_block(const struct overlay *overlay, uint64_t number)
{
	struct map_node *node = sorted_map_find(&overlay->blocks, &number);

	return node ? container_of(node, struct dirty_block, node) : NULL;
}

int overlay_put_block(struct overlay *overlay, uint64_t number, struct buffer *buffer)
{
	struct dirty_block *block = overlay_block(overlay, number);

	if (block) {
		dirty_block_changes(block);
		buffer_unref(block->buffer);
		block->buffer = buffer;
		return 0;
	}
	block = malloc(sizeof(*block));
	if (!block)
		return -ENOMEM;
	*block = (struct dirty_block){ .number = number, .buffer = buffer };
	sorted_map_insert(&overlay->blocks, &block->node, &number);
	overlay->bytes += block_bytes(block);
	if (!overlay->any_written || number > overlay->max_written)
		overlay->max_written = number;
	overlay->any_written = true;
	return 0;
}

static void drop_blocks(struct overlay *overlay, uint64_t first, uint64_t end)
{
	struct map_node *node;

	while ((node = sorted_map_at_or_after(&overlay->blocks, &first))) {
		struct dirty_block *block = container_of(node, struct dirty_block, node);

		if (block->number >= end)
			break;
		sorted_map_remove(&overlay->blocks, &block->number);
		overlay->bytes -= block_bytes(block);
		block_free(block);
	}
}

static void drop_range(struct overlay *overlay, struct punched_range *range)
{
	sorted_map_remove(&overlay->ranges, &range->first);
	overlay->bytes -= (int64_t)sizeof(*range);
	free(range);
}

int overlay_punch(struct overlay *overlay, uint64_t first, uint64_t end)
{
	struct punched_range *range = malloc(sizeof(*range));
	struct map_node *node;
	uint64_t from = first;

	if (!range)
		return -ENOMEM;
	drop_blocks(overlay, first, end);
	node = sorted_map_before(&overlay->ranges, &first);
	if (node) {
		struct punched_range *before = container_of(node, struct punched_range, node);

		if (before->end >= first)
			from = before->first;
	}
	range->first = from;
	range->end = end;
	while ((node = sorted_map_at_or_after(&overlay->ranges, &from))) {
		struct punched_range *touching = container_of(node, struct punched_range, node);

		if (touching->first > range->end)
			break;
		if (touching->end > range->end)
			range->end = touching->end;
		drop_range(overlay, touching);
	}
	sorted_map_insert(&overlay->ranges, &range->node, &range->first);
	overlay->bytes += (int64_t)sizeof(*range);
	return 0;
}

enum overlay_state overlay_lookup(const struct overlay *overlay, uint64_t number, struct dirty_block **ret_block, uint64_t *ret_end)
{
	struct map_node *node = sorted_map_at_or_after(&overlay->blocks, &number);
	struct dirty_block *next = node ? container_of(node, struct dirty_block, node) : NULL;
	uint64_t end = next ? next->number : UINT64_MAX, beyond = number + 1;
	struct punched_range *range;

	if (next && next->number == number) {
		*ret_block = next;
		*ret_end = number + 1;
		return OVERLAY_DIRTY;
	}
	node = sorted_map_before(&overlay->ranges, &beyond);
	range = node ? container_of(node, struct punched_range, node) : NULL;
	if (range && number < range->end) {
		*ret_end = end < range->end ? end : range->end;
		return OVERLAY_PUNCHED;
	}
	node = sorted_map_at_or_after(&overlay->ranges, &number);
	range = node ? container_of(node, struct punched_range, node) : NULL;
	*ret_end = range && range->first < end ? range->first : end;
	return OVERLAY_NONE;
}

struct tree_change *overlay_change(const struct overlay *overlay, const void *key, size_t key_length)
{
	struct tree_key wanted = { key, key_length };
	struct map_node *node = sorted_map_find(&overlay->changes, &wanted);

	return node ? container_of(node, struct tree_change, node) : NULL;
}

struct tree_change *overlay_next_change(const struct overlay *overlay, const void *key, size_t key_length, bool after)
{
	struct tree_key wanted = { key, key_length };
	struct map_node *node = after ? sorted_map_after(&overlay->changes, &wanted) : sorted_map_at_or_after(&overlay->changes, &wanted);

	return node ? container_of(node, struct tree_change, node) : NULL;
}

static int put_change(struct overlay *overlay, struct sorted_map *map, const void *key, size_t key_length, const void *value, size_t value_length)
{
	struct tree_key wanted = { key, key_length };
	struct map_node *node = sorted_map_find(map, &wanted);
	struct tree_change *before = node ? container_of(node, struct tree_change, node) : NULL, *change = before;

	/* In the place of what it was before, if there is room. */
	if (!before || before->value_length < value_length) {
		change = malloc(sizeof(*change) + key_length + value_length);
		if (!change)
			return -ENOMEM;
		change->key_length = (uint16_t)key_length;
		if (key_length)
			memcpy(change->data, key, key_length);
	}
	if (before)
		overlay->bytes -= change_bytes(before);
	change->value_length = (uint16_t)value_length;
	change->touched = map == &overlay->touched;
	change->deleted = !value && !change->touched;
	if (value && value_length)
		memmove(change->data + key_length, value, value_length);
	overlay->bytes += change_bytes(change);
	if (change == before)
		return 0;
	if (before) {
		sorted_map_remove(map, &wanted);
		free(before);
	}
	wanted.bytes = change->data;
	sorted_map_insert(map, &change->node, &wanted);
	return 0;
}

int overlay_put_change(struct overlay *overlay, const void *key, size_t key_length, const void *value, size_t value_length)
{
	return put_change(overlay, &overlay->changes, key, key_length, value, value_length);
}

int overlay_touch(struct overlay *overlay, const void *key, size_t key_length)
{
	return put_change(overlay, &overlay->touched, key, key_length, NULL, 0);
}
