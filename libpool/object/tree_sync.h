/* The plan of one tree in a sync run: shared by its two halves, tree_plan.c (reading) and tree_sync.c (writing). */
#ifndef LIBPOOL_OBJECT_TREE_SYNC_H
#define LIBPOOL_OBJECT_TREE_SYNC_H

#include "libpool/object/sync_internal.h"
#include "libpool/object/tree_internal.h"

/* Leaves that are in memory at a time, with what becomes of them; and up to as many more as one node has children. */
#define TREE_LEAVES_AT_ONCE 256u

/* A page that has been written: what its parent will hold of it. */
struct tree_page {
	struct tree_entry first; /* its lowest entry; the key counts */
	struct raw_block_pointer pointer;
	bool written;
};

struct tree_node {
	struct tree_node *parent;
	unsigned level, slot;    /* slot: index of its entry in the parent */
	size_t first, end;       /* the changes below it */
	struct block_pointer old; /* a hole: there is no such node on disk */
	struct buffer *buffer;   /* its entries on disk, kept until the end: keys point into it */
	unsigned count;
	/* Its new content; entries NULL until then. */
	struct tree_entry *entries;
	size_t entry_count, bytes;
	bool lost;              /* can't be read; all that it held is among the changes */
	bool changed, appended; /* appended: only behind the last entry */
	struct tree_page *pages;
	size_t page_count;
	uint8_t *keys;          /* of the pages, when the rest is gone */
};

struct tree_plan {
	struct map_node **changes; /* tree_change, sorted */
	size_t change_count;
	struct array levels[TREE_LEVELS_MAX]; /* struct tree_node *, in the order of their keys */
	struct tree_node *top;
	struct array written;                 /* leaves of portions that are */
	bool in_portions; /* leaves are read when it is their turn to be written */
	bool done;
};

static inline const struct tree_change *tree_plan_change(const struct tree_plan *tree, size_t index)
{
	return container_of(tree->changes[index], struct tree_change, node);
}

static inline size_t tree_entry_bytes(const struct tree_entry *entry)
{
	return tree_entry_size(entry->key_length, entry->value_length);
}

static inline void tree_append_entry(struct tree_node *node, const struct tree_entry *entry)
{
	node->entries[node->entry_count++] = *entry;
	node->bytes += tree_entry_bytes(entry);
}

static inline int tree_old_entry(const struct plan *plan, const struct tree_node *node, unsigned index, struct tree_entry *ret_entry)
{
	return tree_node_entry(node->buffer->data, tree_node_size(plan->object), index, ret_entry);
}

/* A node of the plan, not in its level's array yet; freed with the plan if it gets there. */
struct tree_node *tree_node_new(struct tree_node *parent, unsigned level, unsigned slot);
void tree_node_free(struct tree_node *node);
/* Reads the nodes from disk and checks them. */
int tree_nodes_load(struct plan *plan, struct tree_node **nodes, size_t count);
/* tree_join.c: the neighbours that short nodes may be joined with come into the plan; then they are joined. */
int tree_add_neighbours(struct plan *plan, unsigned level);
int tree_join_level(struct plan *plan, unsigned level);

#endif
