/*
 * The changes one txg makes to one object, until its sync has put them on disk.
 *
 * Blob: dirty blocks, and ranges punched out. A dirty block counts before a range that contains it: a punch takes
 * the dirty blocks of its range away, so whatever is in the map was written later. Tree: the last put or
 * delete of each key. Dnode: created, destroyed, the bonus.
 *
 * An overlay knows neither disk nor fibers; nothing here waits.
 */
#ifndef LIBPOOL_OBJECT_OVERLAY_H
#define LIBPOOL_OBJECT_OVERLAY_H

#include <stdbool.h>
#include <stdint.h>

#include "libpool/base/array.h"
#include "libpool/base/buffer.h"
#include "libpool/base/list.h"
#include "libpool/format/dnode.h"
#include "libpool/object/sorted_map.h"

struct object;

struct ahead_block;

struct dirty_block {
	struct map_node node;
	uint64_t number;
	struct buffer *buffer;
	bool charged; /* whoever keeps limits knows of it */
	struct ahead_block *ahead; /* NULL, or what is written of this very content before the sync */
	bool rewritten;            /* such a write was in vain */
};

struct punched_range {
	struct map_node node;
	uint64_t first, end;
};

struct tree_change {
	struct map_node node;
	uint16_t key_length, value_length;
	bool deleted;
	bool touched;   /* changes nothing, but the leaf that its key belongs into is written anew */
	uint8_t data[]; /* the key, the value */
};

struct tree_key {
	const void *bytes;
	size_t length;
};

struct overlay {
	struct list node; /* of the objset's overlays of this txg */
	struct object *object;
	uint64_t txg;
	bool created, destroyed, bonus_set;
	uint8_t block_shift;       /* the blob's, set while it was empty; 0: as it was */
	uint16_t bonus_length;
	uint8_t bonus[DNODE_BONUS_MAX];
	struct sorted_map blocks;  /* dirty_block by number */
	struct sorted_map ranges;  /* punched_range by first; neither overlapping nor touching */
	struct sorted_map changes; /* tree_change by key */
	struct sorted_map touched; /* the same, of those that only touch: lookups know nothing of them */
	/* Tree: ranges of nodes that can't be read; whatever they are to hold is among the changes. And how many entries there are then. */
	struct array complete; /* struct tree_range */
	uint64_t entries;
	bool any_written;
	uint64_t max_written; /* highest block written, if any was; punches don't lower it */
	int64_t bytes;        /* memory in use: what the throttle was told */
	int64_t cells_change; /* during sync: cells the object gains or loses */
};

/* NULL without memory. overlay_free frees all it holds. */
struct overlay *overlay_new(struct object *object, uint64_t txg);
void overlay_free(struct overlay *overlay);
/* Forgets all changes of content; the dnode's changes stay. */
void overlay_clear(struct overlay *overlay);

/* The content is about to change. */
void dirty_block_changes(struct dirty_block *block);
struct dirty_block *overlay_block(const struct overlay *overlay, uint64_t number);
/* Puts a block in, or replaces its buffer; takes over the reference. -ENOMEM leaves all as it was, the reference too. */
int overlay_put_block(struct overlay *overlay, uint64_t number, struct buffer *buffer);
/* Punches blocks [first, end). -ENOMEM leaves all as it was. */
int overlay_punch(struct overlay *overlay, uint64_t first, uint64_t end);

enum overlay_state { OVERLAY_NONE, OVERLAY_DIRTY, OVERLAY_PUNCHED };
/* What the overlay says of a block. *ret_end: from there on it may say something else. */
enum overlay_state overlay_lookup(const struct overlay *overlay, uint64_t number, struct dirty_block **ret_block, uint64_t *ret_end);

struct tree_change *overlay_change(const struct overlay *overlay, const void *key, size_t key_length);
/* The first change with a key >= key (> if `after`), or NULL. */
struct tree_change *overlay_next_change(const struct overlay *overlay, const void *key, size_t key_length, bool after);
/* value NULL: a delete. */
int overlay_put_change(struct overlay *overlay, const void *key, size_t key_length, const void *value, size_t value_length);
int overlay_touch(struct overlay *overlay, const void *key, size_t key_length);

#endif
