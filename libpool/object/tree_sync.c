/*
 * Sync of one tree, second half: from the leaves up. For each node the new list of entries is made, of those on disk
 * and the changes, or of the pages that its children became; lists that are short are joined with a neighbour's (tree_join.c);
 * lists that don't fit into one page are split; and the pages are written.
 *
 * A list that has only grown at its end is split into full pages, so that keys that come in order fill their
 * leaves; any other into equal ones. Nothing is borrowed from a neighbour: a short page costs less than a second write.
 *
 * What must always hold: an unchanged node keeps its pointer, a changed one's is killed once and no page refers to it.
 * The key above a page is its lowest key.
 */
#include <stdlib.h>
#include <string.h>

#include "libpool/base/check.h"
#include "libpool/object/tree_sync.h"

static bool same_value(const struct tree_entry *entry, const struct tree_change *change)
{
	return entry->value_length == change->value_length &&
	       memcmp(entry->value, change->data + change->key_length, change->value_length) == 0;
}

/* Merges a leaf's entries on disk with its changes. */
static int build_leaf(struct plan *plan, struct tree_node *node)
{
	size_t next = node->first;
	unsigned index = 0;
	int64_t entries_change = 0;

	node->entries = calloc(node->count + (node->end - node->first) + 1, sizeof(*node->entries));
	if (!node->entries)
		return -ENOMEM;
	node->appended = true;
	node->changed = node->lost;
	while (index < node->count || next < node->end) {
		const struct tree_change *change = next < node->end ? tree_plan_change(plan->tree, next) : NULL;
		struct tree_entry entry, new_entry;
		int order = index < node->count ? tree_old_entry(plan, node, index, &entry) : 1;

		if (order < 0)
			return order;
		if (order == 0)
			order = change ? tree_key_compare(entry.key, entry.key_length, change->data, change->key_length) : -1;
		if (order >= 0 && change && change->touched) {
			node->changed = true;
			next++;
			continue;
		}
		if (order < 0) {
			tree_append_entry(node, &entry);
			index++;
			continue;
		}
		if (order == 0)
			index++;
		next++;
		if (index < node->count || order == 0)
			node->appended = false;
		if (change->deleted) {
			node->changed |= order == 0;
			entries_change -= order == 0;
			continue;
		}
		if (order == 0 && same_value(&entry, change)) {
			tree_append_entry(node, &entry);
			continue;
		}
		new_entry = (struct tree_entry){ change->data, change->data + change->key_length, change->key_length, change->value_length };
		tree_append_entry(node, &new_entry);
		node->changed = true;
		entries_change += order != 0;
	}
	plan->dnode.max_block += (uint64_t)entries_change;
	return 0;
}

static void append_pages(struct tree_node *node, const struct tree_node *child)
{
	for (size_t i = 0; i < child->page_count; i++) {
		const struct tree_page *page = &child->pages[i];
		struct tree_entry entry = { page->first.key, page->pointer.bytes, page->first.key_length, BLOCK_POINTER_SIZE };

		tree_append_entry(node, &entry);
	}
}

/* Puts the pages of the children in the place of the entries that referred to them. */
static int build_inner(struct plan *plan, struct tree_node *node, struct tree_node **children, size_t child_count)
{
	size_t pages = 0, next = 0;

	for (size_t i = 0; i < child_count; i++)
		pages += children[i]->page_count;
	node->entries = calloc(node->count + pages + 1, sizeof(*node->entries));
	if (!node->entries)
		return -ENOMEM;
	node->appended = child_count == 1 && children[0]->slot + 1 == node->count;
	for (unsigned index = 0; index < node->count; index++) {
		struct tree_node *child = next < child_count && children[next]->slot == index ? children[next++] : NULL;
		struct tree_entry entry;
		int result = tree_old_entry(plan, node, index, &entry);

		if (result < 0)
			return result;
		if (!child || !child->changed) {
			tree_append_entry(node, &entry);
			continue;
		}
		append_pages(node, child);
		node->changed = true;
	}
	/* A lost node, or one that there wasn't: what its one child became is all it has. */
	for (; !node->buffer && next < child_count; next++)
		append_pages(node, children[next]);
	node->changed |= !node->buffer;
	return 0;
}

static int build_level(struct plan *plan, unsigned level)
{
	struct array *nodes = &plan->tree->levels[level], *children = level ? &plan->tree->levels[level - 1] : NULL;
	size_t child = 0;
	int result = 0;

	for (size_t i = 0; i < nodes->count && result == 0; i++) {
		struct tree_node *node = *array_at(nodes, struct tree_node *, i);
		size_t first = child;

		if (level == 0) {
			result = build_leaf(plan, node);
			continue;
		}
		while (child < children->count && (*array_at(children, struct tree_node *, child))->parent == node)
			child++;
		result = build_inner(plan, node, array_at(children, struct tree_node *, first), child - first);
	}
	if (level == 0 && plan->overlay->complete.count)
		plan->dnode.max_block = plan->overlay->entries; /* what lost leaves held was counted once already */
	return result;
}

/* How many of the entries from `first` on go into the next page. */
static size_t page_entries(const struct plan *plan, const struct tree_node *node, size_t first, size_t target)
{
	size_t room = tree_node_room(tree_node_size(plan->object)), bytes = 0, i = first;

	for (; i < node->entry_count; i++) {
		size_t entry = tree_entry_bytes(&node->entries[i]);

		if (bytes + entry > room || (i > first && bytes >= target))
			break;
		bytes += entry;
	}
	return i - first;
}

static int write_page(struct plan *plan, struct tree_node *node, size_t first, size_t count)
{
	size_t size = tree_node_size(plan->object);
	struct tree_page *page = &node->pages[node->page_count];
	struct sync_write_options options = {
		.plan = plan, .slot = &page->pointer, .changed = &page->written, .level = node->level, .fill = node->level ? 0 : 1,
	};
	int result = 0;

	if (!POOL_CHECK(count > 0)) /* no entry is larger than a page */
		return -POOL_EHALTED;
	for (size_t i = first; i < first + count && node->level; i++) {
		struct block_pointer child;

		result = block_pointer_decode((const struct raw_block_pointer *)node->entries[i].value, &child);
		if (result < 0)
			return result;
		options.fill += child.fill;
	}
	options.buffer = buffer_new(size);
	if (!options.buffer)
		return -ENOMEM;
	tree_node_encode(node->level, node->entries + first, count, size, options.buffer->data);
	page->first = node->entries[first];
	node->page_count++;
	result = sync_write(plan->part->run, &options);
	buffer_unref(options.buffer);
	return result;
}

/* Writes a changed node's entries. */
static int emit(struct plan *plan, struct tree_node *node)
{
	size_t room = tree_node_room(tree_node_size(plan->object)), pages = (node->bytes + room - 1) / room, target = room;
	int result = 0;

	plan_kill(plan, &node->old);
	node->old = (struct block_pointer){ 0 };
	if (!node->entry_count)
		return 0;
	if (!node->appended)
		target = node->bytes / pages;
	/* Pages are cut at the target or short of a large entry: each two of them hold more than a page's room or the target. */
	node->pages = calloc(2 * (node->bytes / target) + 2, sizeof(*node->pages));
	if (!node->pages)
		return -ENOMEM;
	for (size_t first = 0, count; first < node->entry_count && result == 0; first += count) {
		count = page_entries(plan, node, first, target);
		result = write_page(plan, node, first, count);
	}
	return result;
}

/* A root with one child gives way to it, one without entries to an empty tree. Whether that is the end. */
static bool shrink(struct plan *plan, struct tree_node *root)
{
	struct block_pointer hole = plan_hole(plan, 0, plan->overlay->txg);

	if (root->entry_count > 1 || (root->entry_count == 1 && root->level == 0))
		return false;
	plan_kill(plan, &root->old);
	if (root->entry_count == 1)
		memcpy(plan->dnode.root.bytes, root->entries[0].value, BLOCK_POINTER_SIZE);
	else if (!block_pointer_is_hole(&root->old))
		block_pointer_encode(&hole, &plan->dnode.root);
	root->old = (struct block_pointer){ 0 };
	plan->dnode.levels = (uint8_t)(root->entry_count ? root->level : 0);
	if (!root->entry_count)
		plan->dnode.max_block = 0;
	plan->root_changed = true;
	return true;
}

/* What is above the topmost level: the root of the tree, or pages that need one more level. */
static int write_top(struct plan *plan)
{
	struct tree_plan *tree = plan->tree;
	struct tree_node *below = tree->top, *top;

	if (below->page_count == 1) {
		plan->dnode.root = below->pages[0].pointer;
		plan->dnode.levels = (uint8_t)(below->level + 1);
		plan->root_changed = true;
		tree->done = true;
		return 0;
	}
	if (!POOL_CHECK(below->level + 1 < TREE_LEVELS_MAX))
		return -POOL_EHALTED;
	top = tree_node_new(NULL, below->level + 1, 0);
	if (!top || array_push(&tree->levels[top->level], &top) < 0) {
		tree_node_free(top);
		return -ENOMEM;
	}
	tree->top = top;
	top->entries = calloc(below->page_count, sizeof(*top->entries));
	if (!top->entries)
		return -ENOMEM;
	top->changed = true;
	append_pages(top, below);
	return emit(plan, top);
}

bool tree_plan_done(const struct plan *plan)
{
	return !plan->tree || plan->tree->done;
}

/* All of a level that is in the plan, but for a top that nothing has changed, or that gives way. */
static int write_level(struct plan *plan, unsigned level)
{
	struct tree_plan *tree = plan->tree;
	struct array *nodes = &tree->levels[level];
	int result = build_level(plan, level);

	if (result == 0)
		result = tree_add_neighbours(plan, level);
	if (result == 0)
		result = tree_join_level(plan, level);
	if (result == 0 && level == tree->top->level && (!tree->top->changed || shrink(plan, tree->top))) {
		tree->done = true;
		return 0;
	}
	for (size_t i = 0; i < nodes->count && result == 0; i++) {
		struct tree_node *node = *array_at(nodes, struct tree_node *, i);

		if (node->changed)
			result = emit(plan, node);
		if (i % 64 == 63)
			rt_yield(plan->part->run->rt);
	}
	return result;
}

/* Its pages have their addresses: of all the rest only their keys are needed, by the node above. */
static int forget_content(struct tree_node *node)
{
	size_t bytes = 0;

	for (size_t i = 0; i < node->page_count; i++)
		bytes += node->pages[i].first.key_length;
	uint8_t *at = node->keys = malloc(bytes ? bytes : 1);

	if (!at)
		return -ENOMEM;
	for (size_t i = 0; i < node->page_count; i++) {
		struct tree_entry *first = &node->pages[i].first;

		memcpy(at, first->key, first->key_length);
		*first = (struct tree_entry){ .key = at, .key_length = first->key_length };
		at += first->key_length;
	}
	return 0;
}

/* In a loop of its own, since joined nodes have each other's keys. */
static void free_content(struct tree_node *node)
{
	buffer_unref(node->buffer);
	free(node->entries);
	node->buffer = NULL;
	node->entries = NULL;
}

/* The end of a portion that begins at `first`. Nodes with the same parent stay together: they may be joined. */
static size_t portion_end(const struct array *leaves, size_t first)
{
	size_t end = first;

	while (end < leaves->count && (end - first < TREE_LEAVES_AT_ONCE || (*array_at(leaves, struct tree_node *, end))->parent ==
										    (*array_at(leaves, struct tree_node *, end - 1))->parent))
		end++;
	return end;
}

/* Those in the level's array, which are read now. */
static int write_portion(struct plan *plan)
{
	struct tree_plan *tree = plan->tree;
	struct array *leaves = &tree->levels[0];
	int result = tree_nodes_load(plan, leaves->items, leaves->count);

	if (result == 0)
		result = write_level(plan, 0);
	int placing = sync_place(plan->part->run); /* also after an error: what is written knows its page */

	if (result == 0)
		result = placing;
	for (size_t i = 0; i < leaves->count && result == 0; i++)
		result = forget_content(*array_at(leaves, struct tree_node *, i));
	if (result == 0)
		result = array_reserve(&tree->written, tree->written.count + leaves->count);
	for (size_t i = 0; i < leaves->count && result == 0; i++) {
		struct tree_node **leaf = array_at(leaves, struct tree_node *, i);

		free_content(*leaf);
		array_push(&tree->written, leaf); /* room was reserved */
	}
	if (result == 0)
		array_clear(leaves);
	return result;
}

static int write_leaves(struct plan *plan)
{
	struct array *leaves = &plan->tree->levels[0], all = *leaves;
	size_t next = 0;
	int result = 0;

	array_init(leaves, sizeof(struct tree_node *));
	while (next < all.count && result == 0) {
		size_t end = portion_end(&all, next);

		result = array_reserve(leaves, end - next);
		for (; next < end && result == 0; next++)
			array_push(leaves, array_at(&all, struct tree_node *, next)); /* room was reserved */
		if (result == 0)
			result = write_portion(plan);
	}
	for (; next < all.count; next++)
		tree_node_free(*array_at(&all, struct tree_node *, next));
	array_release(&all);
	if (result == 0) {
		array_release(leaves);
		*leaves = plan->tree->written;
		array_init(&plan->tree->written, sizeof(struct tree_node *));
	}
	return result;
}

int tree_plan_write(struct plan *plan, unsigned level)
{
	if (tree_plan_done(plan))
		return 0;
	if (level > plan->tree->top->level)
		return write_top(plan);
	return level == 0 && plan->tree->in_portions ? write_leaves(plan) : write_level(plan, level);
}
