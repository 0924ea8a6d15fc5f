/*
 * A sorted map in RAM for the changes of a txg: a treap of intrusive nodes. Chosen for its size: insertion,
 * removal and search are a few lines each and need no parent pointers, and the expected depth is logarithmic whatever
 * the keys, because priorities come from a generator of the map's own. Same sequence of calls, same shape.
 */
#ifndef LIBPOOL_OBJECT_SORTED_MAP_H
#define LIBPOOL_OBJECT_SORTED_MAP_H

#include <stddef.h>
#include <stdint.h>

struct map_node {
	struct map_node *left, *right;
	uint64_t priority;
};

struct sorted_map {
	struct map_node *root;
	size_t count;
	uint64_t random;
	int (*compare)(const void *key, const struct map_node *node); /* as memcmp */
};

void sorted_map_init(struct sorted_map *map, int (*compare)(const void *key, const struct map_node *node));
struct map_node *sorted_map_find(const struct sorted_map *map, const void *key);
/* The first node with a key >= key, > key, or the last with a key < key; NULL if there is none. */
struct map_node *sorted_map_at_or_after(const struct sorted_map *map, const void *key);
struct map_node *sorted_map_after(const struct sorted_map *map, const void *key);
struct map_node *sorted_map_before(const struct sorted_map *map, const void *key);
/* `key` is the node's key, and not in the map. */
void sorted_map_insert(struct sorted_map *map, struct map_node *node, const void *key);
/* Takes the node with this key out and returns it, or NULL. */
struct map_node *sorted_map_remove(struct sorted_map *map, const void *key);
/* All nodes in order; ret_nodes has room for map->count. */
void sorted_map_list(const struct sorted_map *map, struct map_node **ret_nodes);
/* Takes any node out, NULL when empty: a loop of it empties the map in linear time. */
struct map_node *sorted_map_pop(struct sorted_map *map);

#endif
