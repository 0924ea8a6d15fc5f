/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The intent log of a running pool: what makes a flush durable without a commit. docs/FORMAT.md describes it on disk,
 * docs/decisions.md (the intent log) why its order is safe.
 *
 * A flush logs a group: all changes of all volumes that neither a commit nor an earlier group contains. One group is on its
 * way at a time, and who comes meanwhile waits for the next, which serves them all, and waits a moment for those that the last one
 * served, if they flush again and again. Changes are counted as they are
 * made; `gathered` of them are in groups, `durable` of them are on disk, in groups or by a commit.
 *
 * Files: intent.c flushes and groups; intent_ahead.c data that is written beside a group; intent_place.c where blocks of the log
 * go and what a commit frees; intent_replay.c imports; intent_loss.c what an import has given up;
 * intent_repair.c rows that rot.
 */
#ifndef LIBPOOL_TXG_INTENT_H
#define LIBPOOL_TXG_INTENT_H

#include "libpool/base/array.h"
#include "libpool/format/intent_log.h"
#include "libpool/format/uberblock.h"
#include "libpool/rt/rt.h"
#include "libpool/txg/core.h"

/* Blocks under construction. */
struct intent_group {
	struct core *core;
	struct array blocks; /* struct intent_part */
	struct array aheads; /* struct intent_ahead: no record yet */
	bool takes_blocks;   /* it is written before the sync of its txg */
	uint64_t txg;        /* the highest of its records' */
	size_t cells;        /* of all blocks */
	size_t cells_max;
};

/* A block of data that may be written where it stays: its record says so, or contains it. */
struct intent_ahead {
	struct intent_record record;
	struct ahead_block *block;
};

struct intent_part {
	struct buffer *buffer; /* header, records; grows */
	struct intent_block block;
	uint32_t segment; /* set when it is placed */
	uint16_t row;
};

/* A group that was given to the disks and that no commit contains. */
struct intent_extent {
	uint64_t first_sequence, txg;
	uint16_t head, row; /* index of the segment that it begins in, and where */
};

struct intent_segment {
	uint32_t id;
	uint64_t txg; /* highest in it: free once this is committed */
};

/* Who flushes again and again, as a group that serves many costs the disks what one does that serves one. */
struct intent_company {
	unsigned flushing;   /* who waits for a flush now */
	unsigned expected;   /* when the last group ended, those it served included: they may be back soon */
	unsigned vain, left_out; /* waits at the end of which nobody had come, in powers of two, and how many are left out for that */
	uint64_t group_ns;   /* what a group takes, on average */
	bool awaited;        /* somebody is about to begin a group */
	struct rt_queue complete;
};

struct intent {
	bool active;    /* the last uberblock lists the log, in a generation that this import made */
	bool wanted;    /* somebody flushes: the next commit makes a log */
	bool broken;    /* a copy couldn't be written: the next commit makes another log */
	bool used;      /* there was a flush since the last commit */
	bool switching; /* the txg in sync makes a log, or a generation */
	bool writing;   /* a group is on its way */
	struct intent_company company;
	bool ahead_wanted; /* since the last sync began, somebody had blocks to write beside a group */
	bool ahead_refused; /* then there was no room for any segment */
	unsigned ahead_idle; /* syncs that began without */
	uint64_t ahead_txg; /* of the group on its way, with blocks beside it; 0: none */
	bool replay_due; /* an import has found changes, which aren't made yet; intent_is_kept */
	uint64_t replay_txg; /* they are made in this txg: a sync under way meanwhile is of an earlier one */

	uint64_t generation, next_sequence, acknowledged;
	struct hash128 previous;
	struct intent_segment segments[UBERBLOCK_LOG_SEGMENTS_MAX];
	unsigned segment_count;
	unsigned head;
	uint16_t row; /* next row in the head segment */
	struct array extents; /* struct intent_extent, ascending */

	/* Of the txg in sync, when it switches. */
	uint64_t new_generation;
	uint32_t new_segments[UBERBLOCK_LOG_SEGMENTS_MAX];
	unsigned new_count;

	uint64_t changes, gathered, durable, closed; /* closed: changes when the txg in sync was closed */
	uint64_t unlogged_bytes;                     /* of changes that no group has, an upper bound */
	uint64_t barrier_txg;                        /* flushes wait until it is committed */
	struct intent_group pending;                 /* gathered when the txg in sync was closed */
	struct rt_queue ended;                       /* a group has */
	struct array replay;                         /* struct intent_part, in order: what an import has found */
	struct core_log_counters counters;
	struct core_log_loss loss;
	bool loss_storable; /* it isn't stored yet, and can be */
};

void intent_init(struct intent *intent);
void intent_release(struct intent *intent);

/* intent.c */
void intent_group_init(struct intent_group *group, struct core *core, size_t cells_max);
void intent_group_release(struct intent_group *group);
/* All that the closing txg has changed and no group has goes into intent->pending; false if it has no room. */
bool intent_gather_closing(struct core *core, uint64_t txg);

/* intent_ahead.c */
/* Places the group's blocks, begins to write them, and adds their records. Waits. Afterwards, whatever it returned: store_ahead_end. */
int intent_ahead_write(struct core *core, struct intent_group *group, struct store_ahead_write *write);
/* Waits for the end of a write of this txg. */
void intent_ahead_settle(struct core *core, uint64_t txg);
/* A commit should make the first segments. */
bool intent_ahead_pressing(const struct core *core);
/* An exported pool has none of these segments: an older version may use it. True: a commit has to close some. */
bool intent_ahead_is_left(const struct core *core);
/* Inside the txg: segments for the next ones. */
int intent_ahead_sync(struct core *core);

/* intent_place.c */
/* So many segments are nobody's space: above the floors, and not promised to writers. */
bool intent_has_room(const struct core *core, unsigned segments);
/* Rows for the blocks of a group; numbers, chains and seals them. -ENOSPC: the log is full. */
int intent_place(struct core *core, struct intent_group *group);
/* Whether the group will have its rows with so many further records. */
bool intent_has_place(const struct core *core, const struct intent_group *group, size_t records, size_t record_bytes);
/* Log disks have it, all of it or the most. */
bool intent_is_on_log_disks(const struct core *core);
/* The log is so full that a commit should free it, or it lacks a log disk. */
bool intent_pressing(const struct core *core);
/* Every segment has all the copies that it can have. */
bool intent_is_whole(const struct core *core);
size_t intent_capacity_cells(const struct core *core);
/* The txg closes, in the step in which the next one opens. */
void intent_close(struct core *core, uint64_t txg);
/*
 * The commit of txg lacks changes that an import has found: the log that has them stays as it is, with all that it names. It matters
 * what the txg contains, not what has been done meanwhile.
 */
bool intent_is_kept(const struct core *core, uint64_t txg);
/* Inside the txg: makes and releases segments, if this txg switches. */
int intent_sync(struct core *core);
/* What the uberblock of txg says of the log. */
void intent_describe(struct core *core, uint64_t txg, struct uberblock_log *log);
/* That uberblock is durable. */
void intent_committed(struct core *core, uint64_t txg);
/* Of an export whose last commit is durable: nothing in the log counts. */
void intent_describe_empty(const struct core *core, struct uberblock_log *log);

/* intent_loss.c */
/* What was lost earlier. 0, -ENOMEM. Waits. */
int intent_load_loss(struct core *core);
/* This import gives it up. 0, -ENOMEM. Waits. */
int intent_note_loss(struct core *core, uint64_t first_txg, uint64_t last_txg, uint64_t blocks);
/* Into the txg of a handle: of the one whose commit no longer names the log that is given up. 0, or why not. */
int intent_store_loss(struct core *core, uint64_t txg);

/* intent_replay.c */
/* Reads what the log of the chosen uberblock has; before anything is allocated. `missing`: what lost log disks had is given up. */
int intent_load(struct core *core, bool discard, bool missing, struct pool_error *error);

#endif
