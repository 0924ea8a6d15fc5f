/*
 * Sync of one tree, second half: from the leaves up. For each node the new list of entries is made, of those on disk
 * and the changes, or of the pages that its children became; lists that are short are joined with a neighbour's, if both fit
 * into a page; lists that don't fit into one are split; and the pages are written.
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

/* Nodes with less than a third of a page look for a neighbour; what two make together leaves some room. */
static size_t short_of(const struct plan *plan)
{
	return tree_node_room(tree_node_size(plan->object)) / 3;
}

static size_t joined_max(const struct plan *plan)
{
	return tree_node_room(tree_node_size(plan->object)) * 7 / 8;
}

static size_t entry_bytes(const struct tree_entry *entry)
{
	return tree_entry_size(entry->key_length, entry->value_length);
}

static void append_entry(struct tree_node *node, const struct tree_entry *entry)
{
	node->entries[node->entry_count++] = *entry;
	node->bytes += entry_bytes(entry);
}

static int old_entry(const struct plan *plan, const struct tree_node *node, unsigned index, struct tree_entry *ret_entry)
{
	return tree_node_entry(node->buffer->data, tree_node_size(plan->object), index, ret_entry);
}

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
		int order = index < node->count ? old_entry(plan, node, index, &entry) : 1;

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
			append_entry(node, &entry);
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
			append_entry(node, &entry);
			continue;
		}
		new_entry = (struct tree_entry){ change->data, change->data + change->key_length, change->key_length, change->value_length };
		append_entry(node, &new_entry);
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

		append_entry(node, &entry);
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
		int result = old_entry(plan, node, index, &entry);

		if (result < 0)
			return result;
		if (!child || !child->changed) {
			append_entry(node, &entry);
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
	*error = old_entry(plan, parent, slot, &entry);
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
		int result = old_entry(plan, node, i, &entry);

		if (result < 0)
			return result;
		append_entry(node, &entry);
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
static int add_neighbours(struct plan *plan, unsigned level)
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

static int join_level(struct plan *plan, unsigned level)
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

/* How many of the entries from `first` on go into the next page. */
static size_t page_entries(const struct plan *plan, const struct tree_node *node, size_t first, size_t target)
{
	size_t room = tree_node_room(tree_node_size(plan->object)), bytes = 0, i = first;

	for (; i < node->entry_count; i++) {
		size_t entry = entry_bytes(&node->entries[i]);

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

int tree_plan_write(struct plan *plan, unsigned level)
{
	struct tree_plan *tree = plan->tree;
	struct array *nodes;
	int result;

	if (tree_plan_done(plan))
		return 0;
	if (level > tree->top->level)
		return write_top(plan);
	nodes = &tree->levels[level];
	result = build_level(plan, level);
	if (result == 0)
		result = add_neighbours(plan, level);
	if (result == 0)
		result = join_level(plan, level);
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
