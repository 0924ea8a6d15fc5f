/*
 * Sync of one tree, first half: from the root down to the leaves that have changes, each node read once. Many leaves are left for the second
 * half, which reads and writes them in portions.
 *
 * What must always hold: the changes are sorted, and a node's are a range of them; so the nodes of a level are in the
 * order of their keys.
 */
#include <stdlib.h>

#include "libpool/object/tree_sync.h"

struct tree_node *tree_node_new(struct tree_node *parent, unsigned level, unsigned slot)
{
	struct tree_node *node = calloc(1, sizeof(*node));

	if (!node)
		return NULL;
	node->parent = parent;
	node->level = level;
	node->slot = slot;
	return node;
}

void tree_node_free(struct tree_node *node)
{
	if (!node)
		return;
	buffer_unref(node->buffer);
	free(node->entries);
	free(node->pages);
	free(node->keys);
	free(node);
}

/* All that was below it is among the changes. */
static bool is_dispensable(const struct plan *plan, const struct tree_node *node, int error)
{
	const struct array *ranges = &plan->overlay->complete;

	if ((error != -POOL_EDAMAGED && error != -POOL_EFORMAT) || node->first == node->end)
		return false;
	const struct tree_change *change = tree_plan_change(plan->tree, node->first);
	for (size_t i = 0; i < ranges->count; i++) {
		const struct tree_range *range = array_at(ranges, struct tree_range, i);
		if (node->level <= range->level && tree_key_compare(change->data, change->key_length, range->low, range->low_length) >= 0 &&
		    (!range->high_length || tree_key_compare(change->data, change->key_length, range->high, range->high_length) < 0))
			return true;
	}
	return false;
}

int tree_nodes_load(struct plan *plan, struct tree_node **nodes, size_t count)
{
	struct node_request *requests = calloc(count ? count : 1, sizeof(*requests));
	size_t size = tree_node_size(plan->object);
	int result;

	if (!requests)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		requests[i].pointer = nodes[i]->old;
		requests[i].owner = object_owner(plan->object, nodes[i]->level, 0);
	}
	(void)nodes_read(plan->part->home, requests, count);
	result = 0;
	for (size_t i = 0; i < count; i++) {
		int error = requests[i].error;

		nodes[i]->buffer = requests[i].buffer;
		if (error == 0 && requests[i].buffer)
			error = tree_node_check(requests[i].buffer->data, size, nodes[i]->level);
		if (error == 0 && requests[i].buffer)
			nodes[i]->count = (unsigned)tree_node_count(requests[i].buffer->data, size, nodes[i]->level);
		nodes[i]->lost = is_dispensable(plan, nodes[i], error);
		if (nodes[i]->lost) {
			buffer_unref(nodes[i]->buffer);
			nodes[i]->buffer = NULL;
		}
		if (!nodes[i]->lost && result == 0)
			result = error;
	}
	free(requests);
	return result;
}

/* The node that an entry of `parent` refers to. */
static int add_child(struct plan *plan, struct tree_node *parent, unsigned slot, struct tree_node **ret_child)
{
	size_t size = tree_node_size(plan->object);
	struct tree_node *child;
	struct tree_entry entry;
	int result = tree_node_entry(parent->buffer->data, size, slot, &entry);

	if (result < 0)
		return result;
	child = tree_node_new(parent, parent->level - 1, slot);
	if (!child)
		return -ENOMEM;
	result = object_decode(plan->object, (const struct raw_block_pointer *)entry.value, child->level, size, &child->old);
	if (result == 0 && !block_pointer_is_placed(&child->old))
		result = -POOL_EFORMAT;
	if (result == 0)
		result = array_push(&plan->tree->levels[child->level], &child);
	if (result < 0) {
		tree_node_free(child);
		return result;
	}
	*ret_child = child;
	return 0;
}

/* Below a lost node: one that there isn't on disk, for all of its changes. */
static int add_blank(struct plan *plan, struct tree_node *parent)
{
	struct tree_node *child = tree_node_new(parent, parent->level - 1, 0);
	int result = child ? array_push(&plan->tree->levels[child->level], &child) : -ENOMEM;

	if (result < 0) {
		tree_node_free(child);
		return result;
	}
	child->first = parent->first;
	child->end = parent->end;
	return 0;
}

static int open_children(struct plan *plan, struct tree_node *node)
{
	size_t size = tree_node_size(plan->object), next = node->first;
	int result = 0;

	if (!node->buffer)
		return add_blank(plan, node);
	while (next < node->end) {
		const struct tree_change *change = tree_plan_change(plan->tree, next);
		struct tree_entry beyond = { 0 };
		struct tree_node *child = NULL;
		unsigned slot;

		result = tree_child(node->buffer->data, size, node->count, change->data, change->key_length, &slot);
		if (result == 0)
			result = add_child(plan, node, slot, &child);
		if (result == 0 && slot + 1 < node->count)
			result = tree_node_entry(node->buffer->data, size, slot + 1, &beyond);
		if (result < 0)
			return result;
		child->first = next++;
		while (next < node->end) {
			change = tree_plan_change(plan->tree, next);
			if (beyond.key && tree_key_compare(change->data, change->key_length, beyond.key, beyond.key_length) >= 0)
				break;
			next++;
		}
		child->end = next;
	}
	return 0;
}

/* The changes, and what only touches, in one order. */
static int list_changes(const struct overlay *overlay, struct map_node **changes)
{
	size_t count = overlay->changes.count, more = overlay->touched.count, at = count + more;
	struct map_node **touched = calloc(more ? more : 1, sizeof(*touched));

	if (!touched)
		return -ENOMEM;
	sorted_map_list(&overlay->changes, changes);
	sorted_map_list(&overlay->touched, touched);
	while (more) {
		const struct tree_change *last = container_of(touched[more - 1], struct tree_change, node);
		const struct tree_change *change = count ? container_of(changes[count - 1], struct tree_change, node) : NULL;

		if (change && tree_key_compare(change->data, change->key_length, last->data, last->key_length) > 0)
			changes[--at] = changes[--count];
		else
			changes[--at] = touched[--more];
	}
	free(touched);
	return 0;
}

int tree_plan(struct plan *plan)
{
	struct tree_plan *tree = plan->tree = calloc(1, sizeof(*tree));
	unsigned top_level = plan->dnode.levels ? plan->dnode.levels - 1u : 0;
	int result;

	if (!tree)
		return -ENOMEM;
	array_init(&tree->written, sizeof(struct tree_node *));
	for (unsigned i = 0; i < TREE_LEVELS_MAX; i++)
		array_init(&tree->levels[i], sizeof(struct tree_node *));
	if (plan->dnode.levels > TREE_LEVELS_MAX)
		return -POOL_EFORMAT;
	tree->change_count = plan->overlay->changes.count + plan->overlay->touched.count;
	tree->changes = calloc(tree->change_count ? tree->change_count : 1, sizeof(*tree->changes));
	tree->top = tree_node_new(NULL, top_level, 0);
	if (!tree->changes || !tree->top || array_push(&tree->levels[top_level], &tree->top) < 0) {
		tree_node_free(tree->top);
		return -ENOMEM;
	}
	result = list_changes(plan->overlay, tree->changes);
	if (result < 0)
		return result;
	tree->top->end = tree->change_count;
	if (plan->dnode.levels) {
		result = object_decode(plan->object, &plan->dnode.root, top_level, tree_node_size(plan->object), &tree->top->old);
		if (result < 0)
			return result;
		if (!block_pointer_is_placed(&tree->top->old))
			return -POOL_EFORMAT;
	}
	for (unsigned level = top_level + 1; level-- > 0;) {
		struct array *nodes = &tree->levels[level];

		tree->in_portions = level == 0 && nodes->count > TREE_LEAVES_AT_ONCE;
		if (tree->in_portions)
			break;
		result = tree_nodes_load(plan, nodes->items, nodes->count);
		for (size_t i = 0; i < nodes->count && result == 0 && level > 0; i++)
			result = open_children(plan, *array_at(nodes, struct tree_node *, i));
		if (result < 0)
			return result;
	}
	return 0;
}

void tree_plan_free(struct tree_plan *tree)
{
	if (!tree)
		return;
	for (size_t i = 0; i < tree->written.count; i++)
		tree_node_free(*array_at(&tree->written, struct tree_node *, i));
	array_release(&tree->written);
	for (unsigned level = 0; level < TREE_LEVELS_MAX; level++) {
		for (size_t i = 0; i < tree->levels[level].count; i++)
			tree_node_free(*array_at(&tree->levels[level], struct tree_node *, i));
		array_release(&tree->levels[level]);
	}
	free(tree->changes);
	free(tree);
}
