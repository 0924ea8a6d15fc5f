/*
 * The checkers: what must always hold of a pool, looked at from outside of the code that keeps it. For `debug verify`, the
 * deep scrub, and for the simulator: after repairs, at the end of each history, after one operation of its clients in a hundred, and in every fourth history
 * after every txg. In the others txg/check.c runs then, which needs no walk.
 *
 * A violation is a broken invariant: a bug. Damage is what disks did: cells and blocks that can't be verified. On a pool
 * whose disks are well both must be 0.
 */
#ifndef SCRUB_VERIFY_H
#define SCRUB_VERIFY_H

#include "libpool/format/dataset_record.h"
#include "libpool/object/object.h"
#include "libpool/store/store.h"

enum {
	VERIFY_REACHABLE = 1, /* reachable blocks and summaries equal the live bitmaps; batches cover live rows; columns and AUs */
	VERIFY_BLOCKS = 2,    /* the checksum of every reachable block: reads them */
	VERIFY_CELLS = 4,     /* the CRC of every written cell, parity of every full row, the lists of the summaries: reads everything */
	VERIFY_QUICK = VERIFY_REACHABLE,
	VERIFY_DEEP = VERIFY_REACHABLE | VERIFY_BLOCKS, /* what a scrub doesn't see */
	VERIFY_FULL = VERIFY_REACHABLE | VERIFY_BLOCKS | VERIFY_CELLS,
};

struct verify_result {
	uint64_t blocks_checked, cells_checked, rows_checked;
	uint64_t violations, damaged_blocks, damaged_cells;
	char first[512]; /* the first violation, else the first damage, for people; "" */
};

/*
 * Who wants to know of each block, and not just how many there are. `at` is the pointer with the address and the txg of the block's cells. `wanted` says whether a block is read (VERIFY_BLOCKS): 1, 0, or
 * negative to stop; NULL: all are. `damaged` (or NULL) is told of each that was read in vain, with its owner; it may not wait.
 */
struct verify_hooks {
	void *argument;
	int (*wanted)(void *argument, const struct block_pointer *pointer, const struct block_pointer *at, const struct block_owner *owner);
	void (*damaged)(void *argument, const struct block_pointer *pointer, const struct block_pointer *at, const struct block_owner *owner);
	bool (*is_cancelled)(void *argument); /* -ECANCELED as soon as it says so; NULL: never */
};

/* What is verified. Until walked() is called, nothing may be committed, unless `what` is just VERIFY_CELLS. */
struct verify_source {
	struct rt *rt;
	struct store *store;
	void *argument;
	uint64_t (*committed)(void *argument);
	/* Every placed pointer but those of summaries, as of the last commit. */
	int (*walk)(void *argument, object_visit_function *visit, void *visit_argument);
	/* Where the block of a pointer is, and all that were moved, ascending; NULL: none ever was. */
	int (*locate)(void *argument, const struct block_pointer *pointer, const struct block_owner *owner, struct block_pointer *ret_at);
	int (*each_moved)(void *argument, int (*visit)(void *argument, const struct moved_entry *entry), void *visit_argument);
	void (*walked)(void *argument); /* from now on commits are fine; may be NULL */
	const struct verify_hooks *hooks; /* may be NULL */
};

/* 0 with what was found in *ret_result; negative when it couldn't be looked for. */
int verify_run(const struct verify_source *source, unsigned what, struct verify_result *ret_result);

struct core;
struct datasets;
/*
 * The whole pool. Reaching is looked at while a transaction handle keeps the open txg from closing, so commits and what
 * waits for them stand still that long. Not for callers that hold a handle.
 */
int verify_pool(struct core *core, struct datasets *datasets, unsigned what, struct verify_result *ret_result);
/* The same for who has a handle of the open txg when the one before is committed, and keeps it until this has returned. */
int verify_pool_held(struct core *core, struct datasets *datasets, unsigned what, struct verify_result *ret_result);
int verify_pool_blocks(struct core *core, struct datasets *datasets, unsigned what, const struct verify_hooks *hooks,
		       struct verify_result *ret_result);

#endif
