/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Segments that a compactor empties: those in which least is live, as what is live has to be written elsewhere, and what is dead is gained.
 * While one is being emptied it gives no rows of its own.
 */
#ifndef LIBPOOL_ALLOC_VICTIMS_H
#define LIBPOOL_ALLOC_VICTIMS_H

#include "libpool/alloc/alloc.h"

struct victim {
	uint32_t segment, live;
	uint32_t dead; /* what is gained: with summaries and what was never written, without rows that can be written again as they are */
	uint64_t alloc_txg;
};
/*
 * Up to `most` of them, those with the smallest share of live cells first. Such that are FULL, that nobody has pinned, reads or writes rows of, and that
 * haven't just refused; of whose cells one in dead_share is dead at least. Runs of dead rows with room for a block of so many cells are no gain.
 */
unsigned alloc_victims(const struct alloc *alloc, unsigned dead_share, unsigned block_cells, unsigned most, struct victim *ret_victims);
/* Of all that are listed, whether at rest or not: by the share that lives. */
#define VICTIM_SHARES 64u
struct victim_sum {
	uint64_t live, dead; /* cells; dead: with summaries and what was never written, and rows that can be written again */
};
struct victim_sum alloc_victim_sum(const struct alloc *alloc, unsigned share);
/* It couldn't be emptied: it isn't a victim before a commit changes it. */
void alloc_victim_refused(struct alloc *alloc, struct segment *segment);

/* What its dead rows have room for, of blocks of so many cells, as far as they may be promised. */
uint64_t alloc_rows_room(const struct alloc *alloc, const struct segment *segment, unsigned block_cells);
/* What rows have room for without those of a segment, of `promised` as it was at the last commit. */
struct row_space alloc_rows_without(const struct alloc *alloc, const struct segment *segment, const struct row_space *promised);
/* From now on it gives no rows; those it had are taken out of `promised`. */
void alloc_rows_withhold(struct alloc *alloc, struct segment *segment, struct row_space *promised);
/* It does again. Nothing if it did. */
void alloc_rows_release(struct alloc *alloc, struct segment *segment);

#endif
