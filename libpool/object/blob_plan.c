/*
 * Sync of one blob. Planning opens the nodes above dirty blocks and above the edges of punched ranges, from the
 * root down; writing goes through them from the lowest level up.
 *
 * What must always hold: a hole has the birth of the txg in which the content went away, at every level. So a node made in
 * the place of a hole starts with holes of that birth, and a node of which only holes remain becomes a hole of this txg;
 * a send that skips what is older than its base never misses a punch. Holes never written have no birth.
 */
#include <stdlib.h>
#include <string.h>

#include "libpool/base/bitmap.h"
#include "libpool/object/sync_internal.h"

#define FANOUT_MAX 512u
#define BLOCKS_AT_A_TIME 64u /* between looks at who else wants to run */

struct blob_node {
	struct blob_node *parent; /* NULL: the root of the blob refers to it */
	uint32_t slot;            /* in the parent */
	bool changed;
	uint64_t number;          /* within its level */
	size_t first, end;        /* the dirty blocks below it */
	struct buffer *buffer;    /* its new content */
};

struct blob_plan {
	struct map_node **blocks; /* dirty_block, sorted */
	size_t block_count;
	unsigned levels;
	/* A root that gets new levels above it: where it was, and what it was. */
	unsigned old_levels;
	struct raw_block_pointer old_root;
	struct array nodes[BLOB_LEVELS_MAX]; /* blob_node, by level, sorted; the parents' are complete before they are pointed at */
};

/* Whoever reads or writes meanwhile waits for a commit's thousands of blocks otherwise. */
static void let_others_run(const struct plan *plan, size_t done)
{
	if (done % BLOCKS_AT_A_TIME == BLOCKS_AT_A_TIME - 1)
		rt_yield(plan->part->run->rt);
}

static struct dirty_block *dirty(const struct blob_plan *blob, size_t index)
{
	return container_of(blob->blocks[index], struct dirty_block, node);
}

static struct raw_block_pointer *slot_of(struct plan *plan, const struct blob_node *node)
{
	return node->parent ? node_slot(node->parent->buffer, node->slot) : &plan->dnode.root;
}

static bool *changed_of(struct plan *plan, const struct blob_node *node)
{
	return node->parent ? &node->parent->changed : &plan->root_changed;
}

static unsigned fanout_shift(const struct plan *plan)
{
	return blob_fanout_shift(plan->object->disk.indirect_shift);
}

static size_t size_at(const struct plan *plan, unsigned level)
{
	return blob_node_size(level, plan->object->disk.block_shift, plan->object->disk.indirect_shift);
}

/* Takes what a slot refers to out of the blob; the slot becomes a hole. */
static int detach(struct plan *plan, struct raw_block_pointer *slot, bool *changed, unsigned level, uint64_t number)
{
	struct block_pointer pointer, hole = plan_hole(plan, level, plan->overlay->txg);
	int result = object_decode(plan->object, slot, level, size_at(plan, level), &pointer);

	if (result < 0 || block_pointer_is_hole(&pointer))
		return result;
	if (level == 0) {
		plan_replace(plan, slot, changed, &hole);
		return 0;
	}
	result = orphan_push(plan, &pointer, slot, number);
	if (result < 0)
		return result;
	block_pointer_encode(&hole, slot);
	*changed = true;
	return 0;
}

static struct punched_range *range_from(const struct plan *plan, uint64_t block)
{
	uint64_t beyond = block + 1;
	struct map_node *node = sorted_map_before(&plan->overlay->ranges, &beyond);

	if (node && container_of(node, struct punched_range, node)->end > block)
		return container_of(node, struct punched_range, node);
	node = sorted_map_at_or_after(&plan->overlay->ranges, &block);
	return node ? container_of(node, struct punched_range, node) : NULL;
}

/* New content of a node as it was before this txg. */
static int load(struct plan *plan, struct blob_node *node, unsigned level, struct buffer *read)
{
	struct blob_plan *blob = plan->blob;
	size_t size = size_at(plan, level), fanout = (size_t)1 << fanout_shift(plan);
	struct block_pointer pointer;

	if (read) {
		node->buffer = buffer_new_copy(read->data, size);
		return node->buffer ? 0 : -ENOMEM;
	}
	node->buffer = buffer_new_zero(size);
	if (!node->buffer)
		return -ENOMEM;
	if (blob->old_levels && level >= blob->old_levels && node->number == 0) {
		node->changed = true;
		if (level == blob->old_levels)
			*node_slot(node->buffer, 0) = blob->old_root;
		return 0;
	}
	if (block_pointer_decode(slot_of(plan, node), &pointer) == 0 && pointer.birth) {
		struct block_pointer hole = plan_hole(plan, level - 1, pointer.birth);

		for (size_t i = 0; i < fanout; i++)
			block_pointer_encode(&hole, node_slot(node->buffer, i));
	}
	return 0;
}

static int load_level(struct plan *plan, unsigned level)
{
	struct array *nodes = &plan->blob->nodes[level];
	struct node_request *requests = calloc(nodes->count ? nodes->count : 1, sizeof(*requests));
	int result = 0;

	if (!requests)
		return -ENOMEM;
	for (size_t i = 0; i < nodes->count && result == 0; i++) {
		const struct blob_node *node = array_at(nodes, struct blob_node, i);

		requests[i].owner = object_owner(plan->object, level, node->number);
		result = object_decode(plan->object, slot_of(plan, node), level, size_at(plan, level), &requests[i].pointer);
	}
	if (result == 0)
		result = nodes_read(plan->part->home, requests, nodes->count);
	for (size_t i = 0; i < nodes->count; i++) {
		if (result == 0)
			result = load(plan, array_at(nodes, struct blob_node, i), level, requests[i].buffer);
		buffer_unref(requests[i].buffer);
		let_others_run(plan, i);
	}
	free(requests);
	return result;
}

/* Punches what lies below the node: whole children are detached, partial ones have to be opened. */
static int punch_children(struct plan *plan, struct blob_node *node, unsigned level, uint64_t *open)
{
	unsigned child_bits = (level - 1) * fanout_shift(plan);
	uint64_t low = node->number << level * fanout_shift(plan), high = low + (UINT64_C(1) << level * fanout_shift(plan));
	struct punched_range *range;
	int result = 0;

	for (uint64_t from = low; from < high && (range = range_from(plan, from)) && range->first < high; from = range->end) {
		uint64_t first = range->first > low ? range->first : low, end = range->end < high ? range->end : high;

		for (uint64_t i = (first - low) >> child_bits; i <= (end - 1 - low) >> child_bits && result == 0; i++) {
			uint64_t child = low + (i << child_bits), child_end = child + (UINT64_C(1) << child_bits);
			struct raw_block_pointer *slot = node_slot(node->buffer, i);
			struct block_pointer pointer;

			if (first <= child && child_end <= end) {
				result = detach(plan, slot, &node->changed, level - 1, child >> child_bits);
				continue;
			}
			result = object_decode(plan->object, slot, level - 1, size_at(plan, level - 1), &pointer);
			if (result == 0 && !block_pointer_is_hole(&pointer))
				bitmap_set(open, i);
		}
		if (result < 0)
			return result;
	}
	return 0;
}

static int open_children(struct plan *plan, struct blob_node *node, unsigned level)
{
	struct blob_plan *blob = plan->blob;
	unsigned shift = fanout_shift(plan), child_bits = (level - 1) * shift;
	size_t fanout = (size_t)1 << shift, next = node->first;
	uint64_t open[BITMAP_WORDS(FANOUT_MAX)] = { 0 };
	int result = punch_children(plan, node, level, open);

	if (result < 0 || level == 1)
		return result;
	if (blob->old_levels && level > blob->old_levels && node->number == 0)
		bitmap_set(open, 0); /* the way to the old root */
	for (size_t i = node->first; i < node->end; i++)
		bitmap_set(open, dirty(blob, i)->number >> child_bits & (fanout - 1));
	for (size_t i = bitmap_next_set(open, 0, fanout); i != BITMAP_NONE && i < fanout; i = bitmap_next_set(open, i + 1, fanout)) {
		struct blob_node child = { .parent = node, .slot = (uint32_t)i, .number = node->number << shift | i, .first = next };

		while (next < node->end && dirty(blob, next)->number >> child_bits == child.number)
			next++;
		child.end = next;
		result = array_push(&blob->nodes[level - 1], &child);
		if (result < 0)
			return result;
	}
	return 0;
}

/* Whether the root, a node, has to be opened. */
static bool root_opens(struct plan *plan)
{
	struct blob_plan *blob = plan->blob;
	struct block_pointer root;
	struct punched_range *range;

	if (blob->levels < 2)
		return false;
	if (blob->block_count)
		return true;
	range = range_from(plan, 0);
	return range && range->first < blob_capacity(blob->levels, plan->object->disk.indirect_shift) &&
	       block_pointer_decode(&plan->dnode.root, &root) == 0 && !block_pointer_is_hole(&root);
}

static int plan_root(struct plan *plan)
{
	struct blob_plan *blob = plan->blob;
	unsigned indirect_shift = plan->object->disk.indirect_shift;
	struct punched_range *range = range_from(plan, 0);
	struct block_pointer root;
	int result = 0;

	blob->levels = plan->dnode.levels;
	if (blob->levels && range && range->first == 0 && range->end >= blob_capacity(blob->levels, indirect_shift))
		result = detach(plan, &plan->dnode.root, &plan->root_changed, blob->levels - 1u, 0);
	if (result < 0 || !blob->block_count)
		return result;
	while (dirty(blob, blob->block_count - 1)->number >= blob_capacity(blob->levels, indirect_shift))
		blob->levels++;
	if (plan->dnode.levels && blob->levels > plan->dnode.levels) {
		result = block_pointer_decode(&plan->dnode.root, &root);
		if (result < 0)
			return result;
		if (!block_pointer_is_hole(&root) || root.birth) {
			blob->old_levels = plan->dnode.levels;
			blob->old_root = plan->dnode.root;
		}
		plan->dnode.root = (struct raw_block_pointer){ 0 };
		plan->root_changed = true;
	}
	plan->dnode.levels = (uint8_t)blob->levels;
	return 0;
}

int blob_plan(struct plan *plan)
{
	struct blob_plan *blob = plan->blob = calloc(1, sizeof(*blob));
	int result;

	if (!blob)
		return -ENOMEM;
	for (unsigned i = 0; i < BLOB_LEVELS_MAX; i++)
		array_init(&blob->nodes[i], sizeof(struct blob_node));
	blob->block_count = plan->overlay->blocks.count;
	blob->blocks = calloc(blob->block_count ? blob->block_count : 1, sizeof(struct map_node *));
	if (!blob->blocks)
		return -ENOMEM;
	sorted_map_list(&plan->overlay->blocks, blob->blocks);
	if (blob->block_count && dirty(blob, blob->block_count - 1)->number > plan->dnode.max_block)
		plan->dnode.max_block = dirty(blob, blob->block_count - 1)->number;
	result = plan_root(plan);
	if (result == 0 && root_opens(plan)) {
		struct blob_node root = { .end = blob->block_count };

		result = array_push(&blob->nodes[blob->levels - 1], &root);
	}
	for (unsigned level = blob->levels; level-- > 1 && result == 0;) {
		struct array *nodes = &blob->nodes[level];

		if (nodes->count)
			result = load_level(plan, level);
		for (size_t i = 0; i < nodes->count && result == 0; i++)
			result = open_children(plan, array_at(nodes, struct blob_node, i), level);
	}
	return result;
}

void blob_plan_free(struct blob_plan *blob)
{
	if (!blob)
		return;
	for (unsigned level = 0; level < BLOB_LEVELS_MAX; level++) {
		for (size_t i = 0; i < blob->nodes[level].count; i++)
			buffer_unref(array_at(&blob->nodes[level], struct blob_node, i)->buffer);
		array_release(&blob->nodes[level]);
	}
	free(blob->blocks);
	free(blob);
}

static int write_data(struct plan *plan, size_t first, size_t end, struct blob_node *node)
{
	size_t fanout = (size_t)1 << fanout_shift(plan);
	int result = 0;

	for (size_t i = first; i < end && result == 0; i++) {
		struct dirty_block *block = dirty(plan->blob, i);
		struct sync_write_options options = {
			.plan = plan,
			.slot = node ? node_slot(node->buffer, block->number & (fanout - 1)) : &plan->dnode.root,
			.changed = node ? &node->changed : &plan->root_changed,
			.buffer = block->buffer,
			.block = block->number,
			.fill = 1,
			.data = true,
		};
		struct block_pointer before;

		result = object_decode(plan->object, options.slot, 0, size_at(plan, 0), &before);
		if (result == 0 && block->ahead && block->ahead->durable) {
			plan_replace(plan, options.slot, options.changed, &block->ahead->pointer);
			object_compression_learn(plan->object, block->ahead->compression, &block->ahead->pointer);
			block_ahead_take(plan->part->home->blocks, block->ahead, block->buffer);
			continue;
		}
		if (result == 0)
			result = sync_write(plan->part->run, &options);
		let_others_run(plan, i);
	}
	return result;
}

static int become_hole(struct plan *plan, struct blob_node *node, unsigned level, bool ever_written)
{
	struct raw_block_pointer *slot = slot_of(plan, node);
	struct block_pointer hole = plan_hole(plan, level, plan->overlay->txg), before;
	int result = block_pointer_decode(slot, &before);

	if (result < 0)
		return result;
	plan_replace(plan, slot, changed_of(plan, node), &hole);
	/* A new level above an old root that was a hole takes its birth over. */
	if (block_pointer_is_hole(&before) && before.birth == 0 && ever_written) {
		block_pointer_encode(&hole, slot);
		*changed_of(plan, node) = true;
	}
	return 0;
}

static int write_node(struct plan *plan, struct blob_node *node, unsigned level)
{
	size_t fanout = (size_t)1 << fanout_shift(plan);
	struct sync_write_options options = {
		.plan = plan,
		.slot = slot_of(plan, node),
		.changed = changed_of(plan, node),
		.buffer = node->buffer,
		.block = node->number,
		.level = level,
	};
	bool only_holes = true, ever_written = false;
	int result = 0;

	for (size_t i = 0; i < fanout && result == 0; i++) {
		struct block_pointer child;

		result = object_decode(plan->object, node_slot(node->buffer, i), level - 1, size_at(plan, level - 1), &child);
		if (result < 0)
			return result;
		ever_written |= child.birth != 0;
		if (block_pointer_is_hole(&child))
			continue;
		only_holes = false;
		options.fill += level == 1 ? 1 : child.fill;
	}
	if (!only_holes)
		return sync_write(plan->part->run, &options);
	return become_hole(plan, node, level, ever_written);
}

bool blob_plan_done(const struct plan *plan, unsigned level)
{
	return !plan->blob || level >= plan->blob->levels;
}

int blob_plan_write(struct plan *plan, unsigned level)
{
	struct blob_plan *blob = plan->blob;
	int result = 0;

	if (blob_plan_done(plan, level))
		return 0;
	if (level == 0 && blob->levels == 1)
		return write_data(plan, 0, blob->block_count, NULL);
	for (size_t i = 0; i < blob->nodes[level ? level : 1].count && result == 0; i++) {
		struct blob_node *node = array_at(&blob->nodes[level ? level : 1], struct blob_node, i);

		if (level == 0) {
			result = write_data(plan, node->first, node->end, node);
			continue;
		}
		if (node->changed)
			result = write_node(plan, node, level);
		buffer_unref(node->buffer);
		node->buffer = NULL;
		let_others_run(plan, i);
	}
	return result;
}
