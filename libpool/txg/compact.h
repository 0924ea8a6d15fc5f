/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Compaction: what is live in a segment goes elsewhere, so that its rows are free again. What is to be compacted, and when, is for others to say.
 *
 * A block that moves keeps its identity, which is where it was placed first: no pointer to it changes. The tree xblk of the MOS says where it
 * is. What is moved is read and verified before, and kept in memory; one commit writes the copies, their entries of xblk, and
 * frees the old cells. So a crash leaves all of it or nothing, and what dies or finds no room meanwhile just stays out.
 */
#ifndef LIBPOOL_TXG_COMPACT_H
#define LIBPOOL_TXG_COMPACT_H

#include "libpool/format/dataset_record.h"
#include "libpool/txg/core.h"

#define COMPACT_BYTES_MAX (32u << 20)

/* What a call has done with what is live in its rows. */
struct core_compacted {
	uint64_t blocks, cells; /* the next commit moves them */
	uint64_t own_cells;     /* of the pool's own trees, which aren't moved: the next commit writes them anew */
	uint64_t left_cells;    /* live all the same: damaged, or waiting for a disk that doesn't answer. Not those of summaries */
};
/*
 * Reads what is live in rows [row, row + rows) of a segment, for the next commit to move. Blocks that only begin or end there are moved whole.
 * Summaries aren't moved: they die with the last block of their batch. Until that commit has ended the segment is pinned, and gives
 * no rows. Waits for reads, and for a handle: the caller has none. A commit comes like after any transaction; who can't wait asks for one.
 * 0; -EAGAIN: COMPACT_BYTES_MAX wait for the commit already, and *ret_compacted tells how far this got; -EBUSY: the segment isn't FULL, or
 * somebody else has to do with it, or writers were promised its rows; -EROFS, -POOL_EHALTED, -ENOMEM.
 */
int core_compact(struct core *core, uint32_t segment, unsigned row, unsigned rows, struct core_compacted *ret_compacted);
/* Bytes that the next commit is to move. */
uint64_t core_compact_waiting(const struct core *core);

struct core_compact_counters {
	uint64_t blocks, cells; /* moved by commits of this import */
	uint64_t died_cells;    /* read in vain: dead by then */
	uint64_t crowded_cells; /* read in vain: commits had no room for copies */
	uint64_t own_cells;     /* written anew */
	uint64_t rounds;        /* that writers waited for */
	uint64_t victims;       /* segments that were read to be emptied */
};
const struct core_compact_counters *core_compact_counters(const struct core *core);

/* Where the block of a pointer is, which an object of `objset` holds: as block_locate_function. */
int core_locate(struct core *core, uint32_t objset, const struct block_pointer *pointer, struct block_pointer *ret_at);
/* The entries of xblk, ascending. visit returns 0 to go on, or negative to stop. Waits. */
int core_each_moved(struct core *core, int (*visit)(void *argument, const struct moved_entry *entry), void *argument);

#endif
