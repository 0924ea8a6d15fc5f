/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Sync of one tree: nodes that have become short are joined with a neighbour, if both fit into a page. The neighbour is of the same parent,
 * and read from disk if nothing of it has changed.
 */
#include <stdlib.h>
#include <string.h>

#include "libpool/object/tree_sync.h"

/* Nodes with less than a third of a page look for a neighbour; what two make together leaves some room. */
static size_t short_of(const struct plan *plan)
{
	return tree_node_room(tree_node_size(plan->object)) / 3;
}

static size_t joined_max(const struct plan *plan)
{
	return tree_node_room(tree_node_size(plan->object)) * 7 / 8;
}

static bool is_short(const struct plan *plan, const struct tree_node *node)
{
	return node->changed && node->entry_count && node->bytes < short_of(plan);
}

static bool neighbours(const struct tree_node *left, const struct tree_node *right)
{
	return left && right && left->parent && left->parent == right->parent && left->slot + 1 == right->slot;
}

/*
 * The neighbour to read for a short node that has none in the plan: the right one, or for the last the left one. NULL
 * with *error 0: there is none.
 */
static struct tree_node *missing_neighbour(struct plan *plan, struct tree_node *left, struct tree_node *node, struct tree_node *right, int *error)
{
	struct tree_node *parent = node->parent, *neighbour;
	struct tree_entry entry;
	unsigned slot;

	*error = 0;
	if (!is_short(plan, node) || !parent || parent->count < 2 || neighbours(left, node) || neighbours(node, right))
		return NULL;
	slot = node->slot + 1 < parent->count ? node->slot + 1 : node->slot - 1;
	*error = tree_old_entry(plan, parent, slot, &entry);
	if (*error < 0)
		return NULL;
	neighbour = tree_node_new(parent, node->level, slot);
	if (!neighbour) {
		*error = -ENOMEM;
		return NULL;
	}
	*error = object_decode(plan->object, (const struct raw_block_pointer *)entry.value, node->level, tree_node_size(plan->object), &neighbour->old);
	if (*error == 0 && !block_pointer_is_placed(&neighbour->old))
		*error = -POOL_EFORMAT;
	if (*error == 0)
		return neighbour;
	tree_node_free(neighbour);
	return NULL;
}

/* As it is on disk, and without changes. */
static int build_unchanged(struct plan *plan, struct tree_node *node)
{
	node->entries = calloc(node->count + 1u, sizeof(*node->entries));
	if (!node->entries)
		return -ENOMEM;
	for (unsigned i = 0; i < node->count; i++) {
		struct tree_entry entry;
		int result = tree_old_entry(plan, node, i, &entry);

		if (result < 0)
			return result;
		tree_append_entry(node, &entry);
	}
	return 0;
}

/* A neighbour that can't be read stays as it is: short nodes are no harm. */
static int leave_unreadable(struct plan *plan, unsigned level, struct array *added)
{
	struct array *nodes = &plan->tree->levels[level];
	size_t kept = 0;

	for (size_t i = 0; i < added->count; i++) {
		struct tree_node *node = *array_at(added, struct tree_node *, i);
		size_t before = 0;

		if (node->buffer) {
			buffer_unref(node->buffer);
			node->buffer = NULL;
			*array_at(added, struct tree_node *, kept++) = node;
			continue;
		}
		while (*array_at(nodes, struct tree_node *, before) != node)
			before++;
		nodes->count--;
		memmove((struct tree_node **)nodes->items + before, (struct tree_node **)nodes->items + before + 1,
			(nodes->count - before) * sizeof(struct tree_node *));
		tree_node_free(node);
	}
	added->count = kept;
	return tree_nodes_load(plan, added->items, added->count);
}

/* Takes the neighbours that short nodes may be joined with into the plan. */
int tree_add_neighbours(struct plan *plan, unsigned level)
{
	struct array *nodes = &plan->tree->levels[level], all, added;
	int result = 0;

	array_init(&all, sizeof(struct tree_node *));
	array_init(&added, sizeof(struct tree_node *));
	result = array_reserve(&all, 2 * nodes->count);
	if (result == 0)
		result = array_reserve(&added, nodes->count);
	for (size_t i = 0; i < nodes->count && result == 0; i++) {
		struct tree_node *node = *array_at(nodes, struct tree_node *, i);
		struct tree_node *left = all.count ? *array_at(&all, struct tree_node *, all.count - 1) : NULL;
		struct tree_node *right = i + 1 < nodes->count ? *array_at(nodes, struct tree_node *, i + 1) : NULL;
		struct tree_node *neighbour = missing_neighbour(plan, left, node, right, &result);

		if (neighbour)
			array_push(&added, &neighbour); /* room was reserved */
		if (neighbour && neighbour->slot < node->slot)
			array_push(&all, &neighbour);
		array_push(&all, &node);
		if (neighbour && neighbour->slot > node->slot)
			array_push(&all, &neighbour);
	}
	if (result == 0) {
		struct array before = *nodes;

		*nodes = all;
		all = before;
		result = tree_nodes_load(plan, added.items, added.count);
		if (result == -POOL_EDAMAGED || result == -POOL_EDEGRADED || result == -EIO)
			result = leave_unreadable(plan, level, &added);
		for (size_t i = 0; i < added.count && result == 0; i++)
			result = build_unchanged(plan, *array_at(&added, struct tree_node *, i));
	} else {
		for (size_t i = 0; i < added.count; i++)
			tree_node_free(*array_at(&added, struct tree_node *, i));
	}
	array_release(&all);
	array_release(&added);
	return result;
}

/* Moves the right node's entries to the left one. */
static int join(struct tree_node *left, struct tree_node *right)
{
	struct tree_entry *entries = realloc(left->entries, (left->entry_count + right->entry_count + 1) * sizeof(*entries));

	if (!entries)
		return -ENOMEM;
	left->entries = entries;
	memcpy(entries + left->entry_count, right->entries, right->entry_count * sizeof(*entries));
	left->entry_count += right->entry_count;
	left->bytes += right->bytes;
	left->changed = right->changed = true;
	left->appended = false;
	right->entry_count = right->bytes = 0;
	return 0;
}

int tree_join_level(struct plan *plan, unsigned level)
{
	struct array *nodes = &plan->tree->levels[level];
	struct tree_node *left = NULL;
	unsigned last_slot = 0; /* of the nodes joined into left */

	for (size_t i = 0; i < nodes->count; i++) {
		struct tree_node *node = *array_at(nodes, struct tree_node *, i);
		bool next_to_left = left && left->parent && left->parent == node->parent && last_slot + 1 == node->slot;

		last_slot = node->slot;
		if (next_to_left && left->bytes + node->bytes <= joined_max(plan) && left->entry_count && node->entry_count &&
		    (is_short(plan, left) || is_short(plan, node))) {
			int result = join(left, node);

			if (result < 0)
				return result;
			continue;
		}
		left = node;
	}
	return 0;
}
