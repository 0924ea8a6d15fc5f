/*
 * The reference model: what a pool's volumes must contain, as plain maps.
 *
 * Every change is an operation with a begin and an end on the model's clock. A block keeps its possible
 * versions in order: the first is the last one known to be durable, the last one is what reads see now. A commit
 * that was acknowledged makes everything durable that had ended before the commit was asked for. After a crash
 * each block must hold one of its versions, and all of them together must be a state that some commit can have
 * written: if a change is there, everything that had ended before that change began is there too.
 *
 * Changes of one block, or of one volume's size or existence, are made one after the other by the clients
 * (model_volume_lock); everything else runs at the same time. With a lost log (log_is_lost) flushes have made nothing durable, but commits have. Functions that can find a contradiction return
 * false and leave a sentence in model->problem.
 */
#ifndef TESTS_SIM_MODEL_H
#define TESTS_SIM_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "libpool/base/hash_table.h"
#include "libpool/base/list.h"

#define MODEL_RUNNING UINT64_MAX

/* Content of one block, owned by one version; zeros are NULL. */
struct model_content {
	uint8_t bytes[32]; /* block_bytes of them */
};

struct model_version {
	uint64_t begin, end; /* of the operation; end is MODEL_RUNNING until it returns */
	struct model_content *content;
};

struct model_block {
	struct hash_node node;
	uint64_t number;
	struct model_volume *volume;
	struct list unsettled; /* in model->unsettled when it has more than one version */
	struct model_version *versions;
	unsigned count, capacity;
	unsigned durable; /* those before this one are gone for good, but a read that began earlier may still see them */
	unsigned committed; /* the same if the log is lost: at most `durable` */
};

struct model_size {
	uint64_t begin, end, bytes;
};

/* One life of a volume, from create to destroy; a name may have several, one after the other. */
struct model_volume {
	struct list node; /* in model->volumes */
	char name[32];
	uint32_t id;      /* of the dataset; 0 while unknown */
	uint32_t block_bytes;
	uint64_t create_begin, create_end, destroy_begin, destroy_end; /* 0: not yet */
	bool created_durable;
	struct model_size sizes[16]; /* possible ones, in order; never more than fit between two commits */
	unsigned size_count, size_durable; /* durable: those before this one come back only if the log is lost */
	struct hash_table blocks;
	bool matched;     /* recovery found it */

	/* For the clients. */
	void *handle;
	unsigned users;   /* operations under way */
	bool exclusive;   /* one of them changes size or existence */
	struct list locks;
};

/* A range of blocks that one operation changes. */
struct model_lock {
	struct list node;
	uint64_t first, last;
};

/* A read or seek under way, since `begin`. */
struct model_observer {
	struct list node;
	uint64_t begin;
};

struct model {
	uint64_t clock;
	struct list observers;
	struct list volumes;
	struct list unsettled;
	bool log_may_go; /* flushes may be lost, commits not: what the last commit had is kept besides */
	bool each_alone; /* a state of each volume, and not one of all; a flush of one says nothing of another's size */
	bool log_is_lost; /* in this recovery only commits count */
	char problem[512];
	/* Statistics. */
	uint64_t operations, crashes, versions_dropped, blocks_checked;
};

void model_init(struct model *model);
void model_release(struct model *model);

/* ---- changes ---- */

struct model_volume *model_create_begin(struct model *model, const char *name, uint64_t bytes, uint32_t block_bytes);
/* Not created: the volume is forgotten. */
void model_create_end(struct model *model, struct model_volume *volume, bool created);
void model_destroy_begin(struct model *model, struct model_volume *volume);
void model_destroy_end(struct model *model, struct model_volume *volume, bool destroyed);
/* False if the sizes that are possible now are too many: commit first. */
bool model_resize_begin(struct model *model, struct model_volume *volume, uint64_t bytes);
void model_resize_end(struct model *model, struct model_volume *volume);

struct model_change {
	struct model_volume *volume;
	uint64_t begin, first, last; /* blocks */
	bool none;                   /* changes nothing: a trim within a block */
};
/* `data` NULL: zeros. */
void model_write_begin(struct model *model, struct model_volume *volume, uint64_t offset, uint64_t length, const void *data,
		       struct model_change *ret_change);
/* Whole blocks inside the range become zeros. */
void model_trim_begin(struct model *model, struct model_volume *volume, uint64_t offset, uint64_t length,
		      struct model_change *ret_change);
void model_change_end(struct model *model, const struct model_change *change);
/* It failed: each of its blocks may be old or new; what a read gives decides (model_settle). */
bool model_settle(struct model *model, struct model_volume *volume, uint64_t block, const void *data);

/* ---- observations ---- */

/* The time to remember before a commit is asked for. */
uint64_t model_now(struct model *model);
void model_observe(struct model *model, struct model_observer *observer);
/* What was read, by a read that has just returned; it ends the observation. */
bool model_check_read(struct model *model, struct model_observer *observer, struct model_volume *volume, uint64_t offset,
		      uint64_t length, const void *data);
bool model_check_seek(struct model *model, struct model_observer *observer, struct model_volume *volume, uint64_t offset, bool data,
		      uint64_t found);
/* A commit (volume NULL) or flush of one volume that was asked for at `begin` was acknowledged. */
void model_durable(struct model *model, struct model_volume *volume, uint64_t begin);
/* A change that has ended was acknowledged as durable (sync=always). What ended beside it may have come too late for the flush in it. */
void model_change_durable(struct model *model, const struct model_change *change);

uint64_t model_size(const struct model_volume *volume);
bool model_exists(const struct model_volume *volume);
struct model_volume *model_find(struct model *model, const char *name);
/* Calls visit for each block that may hold something, lowest first. `unsettled_only`: those with several versions. */
void model_each_block(struct model_volume *volume, bool unsettled_only, void (*visit)(struct model_block *block, void *argument),
		      void *argument);

/* ---- locks of clients ---- */

/* False if an operation on the range is under way, or an exclusive one. */
bool model_lock(struct model_volume *volume, struct model_lock *lock, uint64_t first, uint64_t last);
void model_unlock(struct model_volume *volume, struct model_lock *lock);

/* ---- recovery ---- */

/* The pool died: what was under way may have happened or not. Locks and handles are gone. */
void model_crash(struct model *model);
/* After an import: each volume that is there, then its blocks that are unsettled, then the end. */
void model_recover_begin(struct model *model);
bool model_recover_volume(struct model *model, const char *name, uint32_t id, uint64_t bytes, uint32_t block_bytes,
			  struct model_volume **ret_volume);
bool model_recover_block(struct model *model, struct model_block *block, const void *data);
/* All of its blocks have been looked at. */
bool model_recover_volume_end(struct model *model);
/* Checks that it is one state, and takes it as the base. */
bool model_recover_end(struct model *model);

#endif
