/*
 * Lookups in trees: the last change of a key wins over the older one, that over the entry on disk.
 *
 * What must always hold: tree_next compares an entry found on disk with overlays that belong to the same root. After
 * a wait it therefore looks whether a sync has switched meanwhile, and if so starts over.
 */
#include <string.h>

#include "libpool/object/tree_internal.h"

struct record {
	size_t key_length, value_length;
	uint8_t key[OBJECT_KEY_MAX], value[OBJECT_VALUE_MAX];
};

/* Reads a node; one that came from disk just now is checked in full, a cached one as it is used. */
static int read_node(struct object_view *view, const struct block_pointer *pointer, struct buffer **ret_node)
{
	struct block_owner owner = object_owner(view->object, pointer->level, 0);
	size_t size = (size_t)1 << view->indirect_shift;
	int result = object_read(view, pointer, &owner, size, false, ret_node);

	if (result != -EAGAIN)
		return result;
	result = object_read(view, pointer, &owner, size, true, ret_node);
	if (result < 0)
		return result;
	result = tree_node_check((*ret_node)->data, size, pointer->level);
	if (result < 0)
		buffer_unref(*ret_node);
	return result;
}

/* The lowest key to the right of the path taken so far: where the next leaf begins. */
struct bound {
	bool exists;
	size_t length;
	uint8_t key[OBJECT_KEY_MAX];
	size_t low_length; /* and the lowest of the path itself, 0: there is none */
	uint8_t low[OBJECT_KEY_MAX];
};

static int follow(const struct object_view *view, const struct buffer *node, unsigned level, const void *key, size_t key_length,
		  struct block_pointer *ret_pointer, struct bound *bound)
{
	int count = tree_node_count(node->data, node->size, level);
	struct tree_entry entry;
	unsigned index;
	int result;

	if (count < 0)
		return count;
	result = tree_child(node->data, node->size, (unsigned)count, key, key_length, &index);
	if (result < 0)
		return result;
	if (bound && index + 1 < (unsigned)count) {
		result = tree_node_entry(node->data, node->size, index + 1, &entry);
		if (result < 0)
			return result;
		bound->exists = true;
		bound->length = entry.key_length;
		memcpy(bound->key, entry.key, entry.key_length);
	}
	result = tree_node_entry(node->data, node->size, index, &entry);
	if (result < 0)
		return result;
	if (bound && index > 0) {
		bound->low_length = entry.key_length;
		memcpy(bound->low, entry.key, entry.key_length);
	}
	if (entry.value_length != BLOCK_POINTER_SIZE)
		return -POOL_EFORMAT;
	return object_decode(view->object, (const struct raw_block_pointer *)entry.value, level - 1, (size_t)1 << view->indirect_shift, ret_pointer);
}

/* The leaf that a key belongs into. -ENOENT in an empty tree. */
static int find_leaf(struct object_view *view, const void *key, size_t key_length, struct buffer **ret_leaf, struct bound *bound)
{
	struct block_pointer pointer;
	unsigned level = view->levels;
	int result;

	if (level == 0)
		return -ENOENT;
	level--;
	result = object_decode(view->object, &view->root, level, (size_t)1 << view->indirect_shift, &pointer);
	for (;;) {
		struct buffer *node;

		if (result < 0)
			return result;
		if (!block_pointer_is_placed(&pointer))
			return -POOL_EFORMAT;
		result = read_node(view, &pointer, &node);
		if (result < 0)
			return result;
		if (level == 0) {
			*ret_leaf = node;
			return 0;
		}
		result = follow(view, node, level, key, key_length, &pointer, bound);
		buffer_unref(node);
		level--;
	}
}

static int search_leaf(const struct buffer *leaf, const void *key, size_t key_length, unsigned *ret_index, unsigned *ret_count, bool *ret_equal)
{
	int count = tree_node_count(leaf->data, leaf->size, 0);

	if (count < 0)
		return count;
	*ret_count = (unsigned)count;
	return tree_node_search(leaf->data, leaf->size, (unsigned)count, key, key_length, ret_index, ret_equal);
}

static int copy_value(const uint8_t *value, size_t length, void *to, size_t capacity, size_t *ret_length)
{
	if (ret_length)
		*ret_length = length;
	if (length > capacity)
		return -ERANGE;
	if (length)
		memcpy(to, value, length);
	return 0;
}

static int get_on_disk(struct object_view *view, const void *key, size_t key_length, void *value, size_t capacity, size_t *ret_length)
{
	struct tree_entry entry;
	struct buffer *leaf;
	unsigned index, count;
	bool equal;
	int result = find_leaf(view, key, key_length, &leaf, NULL);

	if (result < 0)
		return result;
	result = search_leaf(leaf, key, key_length, &index, &count, &equal);
	if (result == 0)
		result = equal ? tree_node_entry(leaf->data, leaf->size, index, &entry) : -ENOENT;
	if (result == 0)
		result = copy_value(entry.value, entry.value_length, value, capacity, ret_length);
	buffer_unref(leaf);
	return result;
}

static int check_tree(const struct object *object, size_t key_length)
{
	if (object->disk.kind != DNODE_TREE)
		return object->destroyed ? -ENOENT : -EINVAL;
	if (key_length > OBJECT_KEY_MAX)
		return -EINVAL;
	return object->destroyed ? -ENOENT : 0;
}

int tree_get(struct object *object, const void *key, size_t key_length, void *value, size_t value_capacity, size_t *ret_length)
{
	struct object_view view = { 0 };
	int result;

	do {
		struct overlay *overlays[2];

		result = check_tree(object, key_length);
		if (result < 0)
			return result;
		object_overlays(object, overlays);
		for (int i = 0; i < 2 && overlays[i]; i++) {
			const struct tree_change *change = overlay_change(overlays[i], key, key_length);

			if (!change)
				continue;
			if (change->deleted)
				return -ENOENT;
			return copy_value(change->data + change->key_length, change->value_length, value, value_capacity, ret_length);
		}
		object_view_take(&view, object);
		result = get_on_disk(&view, key, key_length, value, value_capacity, ret_length);
	} while (result == -POOL_ESTALE);
	return result;
}

int tree_check(struct object *object, const void *key, size_t key_length)
{
	struct object_view view = { 0 };
	struct buffer *leaf;
	int result = object_check(object);

	if (result < 0)
		return result;
	do {
		result = check_tree(object, key_length);
		if (result < 0)
			return result;
		object_view_take(&view, object);
		result = find_leaf(&view, key, key_length, &leaf, NULL);
	} while (result == -POOL_ESTALE);
	if (result == 0)
		buffer_unref(leaf);
	return result == -ENOENT ? 0 : result;
}

/* Down to the pointer of the leaf; what fails on the way does with the bound so far, at *ret_level. */
static int find_leaf_pointer(struct object_view *view, const void *key, size_t key_length, struct block_pointer *ret_pointer, struct bound *bound,
			     unsigned *ret_level)
{
	size_t size = (size_t)1 << view->indirect_shift;
	unsigned level = view->levels - 1u;
	int result = object_decode(view->object, &view->root, level, size, ret_pointer);

	for (*ret_level = level; result == 0 && level > 0; *ret_level = --level) {
		struct buffer *node;

		result = block_pointer_is_placed(ret_pointer) ? read_node(view, ret_pointer, &node) : -POOL_EFORMAT;
		if (result < 0)
			break;
		result = follow(view, node, level, key, key_length, ret_pointer, bound);
		buffer_unref(node);
		if (result < 0)
			break;
	}
	return result;
}

static bool is_current(void *view)
{
	return object_view_current(view);
}

static int check_leaf(struct object_view *view, const void *key, size_t key_length, struct bound *bound, unsigned *ret_level)
{
	struct block_owner owner = object_owner(view->object, 0, 0);
	size_t size = (size_t)1 << view->indirect_shift;
	struct block_pointer pointer;
	struct buffer *leaf;
	int result = find_leaf_pointer(view, key, key_length, &pointer, bound, ret_level);

	if (result == 0)
		result = block_pointer_is_placed(&pointer) ? 0 : -POOL_EFORMAT;
	if (result == 0)
		result = block_read(view->object->home->blocks, &pointer, &owner, BLOCK_READ_NO_CACHE, is_current, view, &leaf);
	if (result < 0)
		return result;
	result = leaf->size == size ? tree_node_check(leaf->data, size, 0) : -POOL_EFORMAT;
	buffer_unref(leaf);
	return result;
}

int tree_check_leaf(struct object *object, const void *key, size_t key_length, struct tree_range *ret_range, int *ret_damage)
{
	struct object_view view = { 0 };
	struct bound bound;
	int result;

	do {
		bound.exists = false;
		bound.low_length = 0;
		result = check_tree(object, key_length);
		if (result < 0)
			return result;
		object_view_take(&view, object);
		ret_range->level = 0;
		if (view.levels)
			result = check_leaf(&view, key, key_length, &bound, &ret_range->level);
	} while (result == -POOL_ESTALE);
	*ret_damage = result == -POOL_EDAMAGED || result == -POOL_EFORMAT ? result : 0;
	if (result < 0 && !*ret_damage)
		return result;
	ret_range->low_length = bound.low_length;
	memcpy(ret_range->low, bound.low, bound.low_length);
	ret_range->high_length = bound.exists ? bound.length : 0;
	memcpy(ret_range->high, bound.key, ret_range->high_length);
	return 0;
}

/* The first entry on disk from the key on. */
static int next_on_disk(struct object_view *view, const void *key, size_t key_length, bool after, struct record *ret_record)
{
	struct bound bound = { 0 };
	struct tree_entry entry;
	struct buffer *leaf;
	unsigned index, count;
	bool equal;
	int result = find_leaf(view, key, key_length, &leaf, &bound);

	if (result < 0)
		return result;
	result = search_leaf(leaf, key, key_length, &index, &count, &equal);
	if (result == 0 && equal && after)
		index++;
	if (result == 0 && index == count) {
		buffer_unref(leaf);
		if (!bound.exists)
			return -ENOENT;
		if (tree_key_compare(bound.key, bound.length, key, key_length) <= 0)
			return -POOL_EFORMAT;
		result = find_leaf(view, bound.key, bound.length, &leaf, NULL);
		if (result < 0)
			return result;
		index = 0;
	}
	if (result == 0)
		result = tree_node_entry(leaf->data, leaf->size, index, &entry);
	if (result == 0) {
		ret_record->key_length = entry.key_length;
		ret_record->value_length = entry.value_length;
		memcpy(ret_record->key, entry.key, entry.key_length);
		memcpy(ret_record->value, entry.value, entry.value_length);
	}
	buffer_unref(leaf);
	return result;
}

/* The lowest of the changes from the key on; the newest of equal ones. */
static const struct tree_change *next_change(const struct object *object, const void *key, size_t key_length, bool after)
{
	const struct tree_change *first = NULL;
	struct overlay *overlays[2];

	object_overlays(object, overlays);
	for (int i = 0; i < 2 && overlays[i]; i++) {
		const struct tree_change *change = overlay_next_change(overlays[i], key, key_length, after);

		if (change && (!first || tree_key_compare(change->data, change->key_length, first->data, first->key_length) < 0))
			first = change;
	}
	return first;
}

struct position {
	bool after;
	size_t length;
	uint8_t key[OBJECT_KEY_MAX];
};

static void position_set(struct position *position, const void *key, size_t length, bool after)
{
	position->after = after;
	position->length = length;
	if (length)
		memmove(position->key, key, length);
}

/* Merges an entry on disk (NULL: none) with the changes. 1 when the result is in *record, 0 to go on from *position. */
static int merge(const struct object *object, struct position *position, struct record *record, bool on_disk)
{
	for (;;) {
		const struct tree_change *change = next_change(object, position->key, position->length, position->after);
		int order;

		if (!change)
			return on_disk ? 1 : -ENOENT;
		order = on_disk ? tree_key_compare(change->data, change->key_length, record->key, record->key_length) : -1;
		if (order > 0)
			return 1;
		position_set(position, change->data, change->key_length, true);
		if (!change->deleted) {
			record->key_length = change->key_length;
			record->value_length = change->value_length;
			memcpy(record->key, change->data, change->key_length);
			memcpy(record->value, change->data + change->key_length, change->value_length);
			return 1;
		}
		if (order == 0)
			return 0; /* the entry on disk is deleted: the next one there */
	}
}

static int next(struct object *object, struct position *position, struct record *record)
{
	struct object_view view = { 0 };

	for (;;) {
		int result = check_tree(object, position->length);

		if (result < 0)
			return result;
		object_view_take(&view, object);
		result = next_on_disk(&view, position->key, position->length, position->after, record);
		if (result == -POOL_ESTALE || !object_view_current(&view))
			continue;
		if (object->destroyed)
			return -ENOENT;
		if (result < 0 && result != -ENOENT)
			return result;
		result = merge(object, position, record, result == 0);
		if (result != 0)
			return result;
	}
}

int tree_next(struct object *object, const void *key, size_t key_length, bool after, void *ret_key, size_t *ret_key_length, void *ret_value,
	      size_t *ret_value_length)
{
	struct position position;
	struct record record;
	int result = check_tree(object, key_length);

	if (result < 0)
		return result;
	position_set(&position, key, key_length, after);
	result = next(object, &position, &record);
	if (result < 0)
		return result;
	memcpy(ret_key, record.key, record.key_length);
	memcpy(ret_value, record.value, record.value_length);
	*ret_key_length = record.key_length;
	*ret_value_length = record.value_length;
	return 0;
}

int tree_first_key(const struct object *object, const struct buffer *node, unsigned level, void *ret_key, size_t *ret_key_length)
{
	struct tree_entry entry;

	if (node->size != tree_node_size(object) || tree_node_check(node->data, node->size, level) < 0 || tree_node_count(node->data, node->size, level) < 1 ||
	    tree_node_entry(node->data, node->size, 0, &entry) < 0)
		return -POOL_EFORMAT;
	memcpy(ret_key, entry.key, entry.key_length);
	*ret_key_length = entry.key_length;
	return 0;
}
