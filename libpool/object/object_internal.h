/*
 * What the files of this layer share: the object in RAM, the objset, and the home they have in common.
 *
 * An object is `disk`, its dnode as of the last finished sync, under at most two overlays: that of the syncing txg and
 * that of the open one. A lookup that begins with an overlay and ends on disk takes all it needs from both in one step
 * without waiting (a view); the switch at the end of a sync exchanges dnode and overlay in one step too.
 */
#ifndef LIBPOOL_OBJECT_OBJECT_INTERNAL_H
#define LIBPOOL_OBJECT_OBJECT_INTERNAL_H

#include "libpool/base/hash_table.h"
#include "libpool/object/object.h"
#include "libpool/object/overlay.h"

/* Where an object's blocks go. One for each objset, one for each bare blob. */
struct object_home {
	struct rt *rt;
	struct blocks *blocks;
	uint32_t objset_id;
	enum segment_class data_class, node_class;
	uint8_t metadata_compression;
	void (*dirty)(void *argument, uint64_t txg, int64_t bytes);
	void *argument;
	struct rt_group background; /* fibers that read ahead */
	unsigned background_count;
};

struct object {
	struct hash_node node;
	struct object_home *home;
	struct objset *objset; /* NULL: bare */
	uint64_t number;
	unsigned references;   /* of callers and fibers; overlays keep an object in RAM as well */
	uint8_t block_type;    /* of all its blocks */
	uint8_t compression;   /* of level-0 blob blocks */
	uint8_t in_vain, left_out; /* compression.c */
	bool destroyed;
	struct dnode disk;
	uint64_t generation;   /* counts the switches: a pointer found in an older one may be gone */
	struct overlay *overlays[2]; /* by txg & 1 */
};

struct objset {
	struct object_home home;
	struct hash_table objects; /* by number: those with references or overlays */
	struct object *dnodes;     /* the blob of dnode blocks; not in the table */
	struct object *orphans;    /* pointers that later syncs have to kill (orphans.c) */
	uint64_t orphans_from;     /* of them, the txg that was the last to add some; 0: not known */
	struct list overlays[2];   /* by txg & 1 */
	bool header_dirty[2];      /* by txg & 1: created */
	int64_t count_change[2];   /* by txg & 1: objects created less those destroyed */
	uint64_t next_object, object_count; /* the newest; object_count without the orphans' tree */
	uint64_t disk_next_object, disk_object_count;
	int64_t cells_change;      /* of finished syncs, since objset_cells */
	struct raw_block_pointer root;
	objset_observer *observer;
	void *observer_argument;
	void *user;
};

#define OBJECT_NUMBER_ORPHANS UINT64_C(15)
#define OBJECT_NUMBER_FIRST UINT64_C(16)
#define OBJECT_NUMBER_MAX ((UINT64_C(1) << 48) - 1)
#define DNODE_BLOCK_SHIFT 14u
#define METADATA_INDIRECT_SHIFT 14u

#define BLOB_BLOCKS_MAX (UINT64_C(1) << 48)
#define BLOB_LEVELS_MAX 9u

/* compression.c: the setting for the next block of data, and what came of one. */
uint8_t object_compression(struct object *object);
void object_compression_learn(struct object *object, uint8_t setting, const struct block_pointer *pointer);

/* object.c */
struct object *object_allocate(struct object_home *home, struct objset *objset, uint64_t number, const struct dnode *dnode, uint8_t block_type);
void object_free(struct object *object);
/* Frees the object if nothing holds it any more. */
void object_settle(struct object *object);
void object_reference(struct object *object);
/* The overlay of txg, made if need be; NULL without memory. */
struct overlay *object_overlay(struct object *object, uint64_t txg);
struct overlay *object_overlay_if_any(const struct object *object, uint64_t txg);
/* Tells the throttle what the overlay's memory grew by since `before`. */
void overlay_account(struct overlay *overlay, int64_t before);
/* And that all of it goes. */
void overlay_forget(const struct overlay *overlay);
/* Newest first; NULLs at the end. */
void object_overlays(const struct object *object, struct overlay *ret_overlays[2]);
struct object *objset_find(struct objset *objset, uint64_t number);
/* As object_open, the orphans included. */
int objset_open_number(struct objset *objset, uint64_t number, struct object **ret_object);

/* The shape of an empty blob. */
static inline void blob_reshape(struct object *object, uint8_t block_shift)
{
	object->disk.block_shift = block_shift;
	object->disk.indirect_shift = block_shift <= 14 ? 12 : 14;
}

static inline struct block_owner object_owner(const struct object *object, unsigned level, uint64_t block)
{
	return (struct block_owner){ .objset = object->home->objset_id, .object = object->number, .block = block, .level = (uint8_t)level };
}

/* Counts how often a reader found the same pointer stale: if it is still there after so many times, that was no coincidence. */
struct stale_count {
	uint64_t dva, place;
	unsigned times;
};
#define STALE_TIMES_MAX 8u

/* An object's disk state, taken in one step. Whether it is still the newest decides what a mismatch means. */
struct object_view {
	const struct object *object;
	uint64_t generation;
	uint8_t levels, block_shift, indirect_shift;
	struct raw_block_pointer root;
	struct stale_count stale; /* zero at first; a reader that starts over keeps it */
};

static inline void object_view_take(struct object_view *view, const struct object *object)
{
	view->object = object;
	view->generation = object->generation;
	view->levels = object->disk.levels;
	view->block_shift = object->disk.block_shift;
	view->indirect_shift = object->disk.indirect_shift;
	view->root = object->disk.root;
}

static inline bool object_view_current(const struct object_view *view)
{
	return view->object->generation == view->generation;
}

/* node_read.c: one block of the object. -POOL_ESTALE: take a new view and look up again. With `wait` false, -EAGAIN if it would have to wait. */
int object_read(struct object_view *view, const struct block_pointer *pointer, const struct block_owner *owner, size_t size, bool wait,
		struct buffer **ret_buffer);
/* Decodes a pointer found where one of `level` has to be: a hole, or a block of the object's type and of this level and size. */
int object_decode(const struct object *object, const struct raw_block_pointer *raw, unsigned level, size_t size,
		  struct block_pointer *ret_pointer);

/* Many blocks at once, for sync and walks, whose pointers nobody replaces. */
struct node_request {
	struct block_pointer pointer;
	struct block_owner owner;
	struct buffer *buffer; /* the result */
	int error;
};
/* 0, or the first error; each request has its own. Waits. */
int nodes_read(struct object_home *home, struct node_request *requests, size_t count);

/* Geometry of a blob. */
static inline unsigned blob_fanout_shift(unsigned indirect_shift)
{
	return indirect_shift - 6;
}

/* How many blocks a root with so many levels covers. */
static inline uint64_t blob_capacity(unsigned levels, unsigned indirect_shift)
{
	return levels ? UINT64_C(1) << (levels - 1) * blob_fanout_shift(indirect_shift) : 0;
}

static inline size_t blob_node_size(unsigned level, unsigned block_shift, unsigned indirect_shift)
{
	return (size_t)1 << (level ? indirect_shift : block_shift);
}

static inline struct raw_block_pointer *node_slot(struct buffer *node, size_t index)
{
	return (struct raw_block_pointer *)node->data + index;
}

/*
 * blob_read.c: the pointer of a block on disk, a hole included, and *ret_end, up to which (exclusive) all blocks
 * are of its kind, hole or data, as far as the nodes on its path tell; ret_end may be NULL, as finding it out takes most of the
 * time. Waits only if `wait`, else -EAGAIN.
 */
int blob_find(struct object_view *view, uint64_t number, bool wait, struct block_pointer *ret_pointer, uint64_t *ret_end);
/* What the changes of txgs <= txg say about a block: false if nothing, else its buffer or NULL for a hole. */
bool blob_find_change(const struct object *object, uint64_t txg, uint64_t number, struct buffer **ret_buffer);
/* The block with the changes of txgs <= txg. Waits. */
int blob_read_block_as_of(struct object *object, uint64_t txg, uint64_t number, struct buffer **ret_buffer);

#endif
