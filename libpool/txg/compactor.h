/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What is compacted, and when (decision 80). Nothing outside txg/ includes this.
 */
#ifndef LIBPOOL_TXG_COMPACTOR_H
#define LIBPOOL_TXG_COMPACTOR_H

#include <stdbool.h>
#include <stdint.h>

#include "libpool/rt/rt.h"

struct core;

struct compactor {
	struct rt_queue wake;
	bool runs;                /* its fiber */
	uint64_t asked, answered; /* rounds for writers that wait */
	int answer;               /* of the last one */
	unsigned block_cells;     /* of who waits */
	uint64_t kept_cells;      /* writers leave so much alone, for copies; 0: nothing is to be gained, and nothing kept from them */
	uint64_t placed_cells;    /* by writers, when it looked last */
	uint64_t copied_cells, copied_into; /* what was moved of late, and the cells of the segments that it took: large blocks leave ends of these empty */
	uint64_t counted_cells, counted_into; /* as counted so far */
	unsigned barren;          /* rounds, one after the other, that gained next to nothing */
	uint64_t barren_died;     /* cells that had died by then */
};

void compactor_init(struct compactor *compactor);
int compactor_start(struct core *core);
/* A commit has ended, or the core. */
void compactor_wake(struct core *core);
/*
 * For a writer who has to wait for a commit, as there is no room for blocks of so many cells beside what is kept for copies. 1: it has waited for
 * commits, ask again; 0: nothing is to be gained, and nothing is kept any more; -POOL_EHALTED.
 */
int compactor_round(struct core *core, unsigned block_cells);
/* He has waited for as many as he may, and there is still no room: what is kept is his, until enough has died to try again. */
void compactor_give_up(struct core *core);

#endif
