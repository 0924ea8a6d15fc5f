/* The treap: sorted by key from left to right, by priority from the root down. */
#include "libpool/object/sorted_map.h"

#include "libpool/base/hash_table.h"

void sorted_map_init(struct sorted_map *map, int (*compare)(const void *key, const struct map_node *node))
{
	*map = (struct sorted_map){ .compare = compare };
}

struct map_node *sorted_map_find(const struct sorted_map *map, const void *key)
{
	struct map_node *node = map->root;

	while (node) {
		int order = map->compare(key, node);

		if (order == 0)
			return node;
		node = order < 0 ? node->left : node->right;
	}
	return NULL;
}

struct map_node *sorted_map_at_or_after(const struct sorted_map *map, const void *key)
{
	struct map_node *node = map->root, *found = NULL;

	while (node) {
		if (map->compare(key, node) <= 0) {
			found = node;
			node = node->left;
		} else {
			node = node->right;
		}
	}
	return found;
}

struct map_node *sorted_map_after(const struct sorted_map *map, const void *key)
{
	struct map_node *node = map->root, *found = NULL;

	while (node) {
		if (map->compare(key, node) < 0) {
			found = node;
			node = node->left;
		} else {
			node = node->right;
		}
	}
	return found;
}

struct map_node *sorted_map_before(const struct sorted_map *map, const void *key)
{
	struct map_node *node = map->root, *found = NULL;

	while (node) {
		if (map->compare(key, node) > 0) {
			found = node;
			node = node->right;
		} else {
			node = node->left;
		}
	}
	return found;
}

void sorted_map_insert(struct sorted_map *map, struct map_node *node, const void *key)
{
	struct map_node **link = &map->root, **left = &node->left, **right = &node->right;

	node->priority = hash_u64(++map->random);
	while (*link && (*link)->priority >= node->priority)
		link = map->compare(key, *link) < 0 ? &(*link)->left : &(*link)->right;
	for (struct map_node *below = *link; below;) {
		if (map->compare(key, below) < 0) {
			*right = below;
			right = &below->left;
			below = below->left;
		} else {
			*left = below;
			left = &below->right;
			below = below->right;
		}
	}
	*left = *right = NULL;
	*link = node;
	map->count++;
}

static void replace_by_children(struct map_node **link)
{
	struct map_node *left = (*link)->left, *right = (*link)->right;

	while (left && right) {
		if (left->priority >= right->priority) {
			*link = left;
			link = &left->right;
			left = left->right;
		} else {
			*link = right;
			link = &right->left;
			right = right->left;
		}
	}
	*link = left ? left : right;
}

struct map_node *sorted_map_remove(struct sorted_map *map, const void *key)
{
	struct map_node **link = &map->root, *node;

	while (*link) {
		int order = map->compare(key, *link);

		if (order == 0)
			break;
		link = order < 0 ? &(*link)->left : &(*link)->right;
	}
	node = *link;
	if (!node)
		return NULL;
	replace_by_children(link);
	map->count--;
	return node;
}

/* The depth is some 50 for a million nodes, so recursion fits a fiber's stack. */
static struct map_node **list_below(struct map_node *node, struct map_node **next)
{
	for (; node; node = node->right) {
		next = list_below(node->left, next);
		*next++ = node;
	}
	return next;
}

void sorted_map_list(const struct sorted_map *map, struct map_node **ret_nodes)
{
	list_below(map->root, ret_nodes);
}

struct map_node *sorted_map_pop(struct sorted_map *map)
{
	struct map_node *node = map->root;

	if (!node)
		return NULL;
	while (node->left) { /* rotate the left spine away, so that each node is visited a constant number of times */
		struct map_node *left = node->left;

		node->left = left->right;
		left->right = node;
		node = left;
	}
	map->root = node->right;
	map->count--;
	return node;
}
