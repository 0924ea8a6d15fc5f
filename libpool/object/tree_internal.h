/* What lookup and sync of trees share: the descent on disk. */
#ifndef LIBPOOL_OBJECT_TREE_INTERNAL_H
#define LIBPOOL_OBJECT_TREE_INTERNAL_H

#include "libpool/format/tree_node.h"
#include "libpool/object/object_internal.h"

_Static_assert(OBJECT_KEY_MAX == TREE_KEY_MAX && OBJECT_VALUE_MAX == TREE_VALUE_MAX, "one limit");

static inline size_t tree_node_size(const struct object *object)
{
	return (size_t)1 << object->disk.indirect_shift;
}

/* The child to follow for a key: the last one whose key isn't above it, the first for keys below all. */
static inline int tree_child(const uint8_t *node, size_t size, unsigned count, const void *key, size_t key_length, unsigned *ret_index)
{
	bool equal;
	int result = tree_node_search(node, size, count, key, key_length, ret_index, &equal);

	if (result == 0 && !equal && *ret_index > 0)
		--*ret_index;
	return result;
}

#endif
