/*
 * One run of sync: what is planned for each object, and the writes under way.
 *
 * A run has two halves. Planning goes from the roots down: it reads the nodes that will change and moves whole subtrees that
 * were punched or destroyed to the orphans. Writing goes from level 0 up, one level of all objects at a time: a node is
 * encoded when all its children have their addresses.
 *
 * What must always hold: a pointer is taken out of its place and killed, or made an orphan, in the same step
 * (plan_replace, blob_plan's detach, tree_sync's emission), so that none is killed twice or forgotten.
 */
#ifndef LIBPOOL_OBJECT_SYNC_INTERNAL_H
#define LIBPOOL_OBJECT_SYNC_INTERNAL_H

#include "libpool/base/array.h"
#include "libpool/object/object_internal.h"

/* A pointer that nothing refers to but the list of orphans, with all that is below it. */
struct orphan {
	struct raw_block_pointer pointer;
	uint64_t object, block;
};

/* The share of one objset (or one bare blob) in a run. */
struct sync_part {
	struct sync_run *run;
	struct object_home *home;
	struct objset *objset; /* NULL: bare */
	struct array plans;    /* struct plan * */
	struct array orphans;  /* struct orphan: a stack */
	struct plan *dnodes;   /* of the blob of dnodes; not in plans */
	struct raw_block_pointer root; /* the objset block */
	bool root_changed;
};

/* What becomes of one object. */
struct plan {
	struct sync_part *part;
	struct object *object;
	struct overlay *overlay;
	bool planned;
	struct dnode dnode;  /* root, levels and max_block while planning, in full afterwards */
	bool root_changed;
	struct blob_plan *blob; /* NULL if there is nothing to do */
	struct tree_plan *tree;
};

struct sync_run {
	struct object_sync *request;
	struct rt *rt;
	struct sync_part *parts;
	size_t part_count;
	size_t kills_left;        /* that orphans may still use */
	uint64_t kills_until_ns;  /* by the clock; 0: none was killed yet */
	struct list writes, free_writes; /* under way; done, to be used again */
	unsigned classes;         /* bits: with writes since the last placing */
};

/* sync_write.c */
struct sync_write_options {
	struct plan *plan;
	struct raw_block_pointer *slot; /* where the pointer goes; what is there is killed */
	bool *changed;                  /* set when the slot changes */
	struct buffer *buffer;
	uint64_t block;
	uint64_t fill;
	unsigned level;
	uint8_t type;                   /* 0: the object's */
	bool data;                      /* content of a blob: may become a hole or go into the pointer */
};
int sync_write(struct sync_run *run, const struct sync_write_options *options);
/* Waits until all blocks submitted so far are in their slots. */
int sync_place(struct sync_run *run);
void sync_writes_release(struct sync_run *run);
void plan_kill(struct plan *plan, const struct block_pointer *pointer);
void plan_replace(struct plan *plan, struct raw_block_pointer *slot, bool *changed, const struct block_pointer *pointer);
/* The pointer of a hole that came to be in this txg (or `birth`). */
struct block_pointer plan_hole(const struct plan *plan, unsigned level, uint64_t birth);
/* Calls function for each item in some fibers; the first error. Items that come after one don't run. */
int sync_parallel(struct sync_run *run, size_t count, int (*function)(void *argument, size_t item), void *argument);

/*
 * blob_plan.c; tree_plan.c and tree_sync.c. Plan first; then write level 0, 1, ... until done, with a sync_place
 * after each.
 */
int blob_plan(struct plan *plan);
int blob_plan_write(struct plan *plan, unsigned level);
bool blob_plan_done(const struct plan *plan, unsigned level);
void blob_plan_free(struct blob_plan *blob);
int tree_plan(struct plan *plan);
int tree_plan_write(struct plan *plan, unsigned level);
bool tree_plan_done(const struct plan *plan);
void tree_plan_free(struct tree_plan *tree);

/* orphans.c */
int orphan_push(struct plan *plan, const struct block_pointer *pointer, const struct raw_block_pointer *raw, uint64_t block);
/* Kills as many as this run may, and puts the rest on the objset's list. */
int orphans_kill(struct sync_part *part);
int orphan_decode(const void *value, size_t length, struct orphan *ret_orphan);
/* Reads a node and calls visit for each pointer in it that isn't a hole. -POOL_EFORMAT for what no writer makes. */
int node_children(const struct block_pointer *pointer, const struct buffer *node, uint64_t block,
		  int (*visit)(void *argument, const struct raw_block_pointer *raw, const struct block_pointer *pointer, uint64_t block),
		  void *argument);

#endif
