/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What is compacted, and when (decision 110). Nothing outside txg/ includes this.
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
	unsigned block_cells;     /* of who waits: blocks of so many, and room for so many cells */
	uint64_t wanted_cells;
	uint64_t until_ns;        /* so long the round reads */
	bool late;                /* and it was cut short by that */
	uint64_t placed_cells;    /* by writers, when it looked last */
	uint64_t copied_cells, copied_into;   /* what was moved of late, and the cells of the segments that it took: large blocks leave ends of these empty */
	uint64_t counted_cells, counted_into; /* as counted so far */
	unsigned rounds;          /* since it was judged last */
	uint64_t hoped_cells;     /* what these were for, and what came of them */
	int64_t gained_cells;
	unsigned barren;          /* judgements, one after the other, of next to nothing */
	uint64_t barren_died;     /* cells that had died by then */
};

void compactor_init(struct compactor *compactor);
int compactor_start(struct core *core);
/* A commit has ended, or the core. */
void compactor_wake(struct core *core);
/* Rounds gained next to nothing, and not enough has died since to try again. */
bool compactor_is_barren(const struct core *core);
/* Cells that rounds would gain by emptying what is worth it: with dead rows that can be written again anyway. */
uint64_t compactor_gain(const struct core *core);
/* Less is free for writers than should be, as far as there is something to be gained. */
bool compactor_is_behind(const struct core *core);
/*
 * For a writer who has to wait, as there is no room for so many cells in blocks of so many. 1: it has waited for commits, ask again; 0: nothing is to
 * be gained; -POOL_EHALTED.
 */
int compactor_round(struct core *core, unsigned block_cells, uint64_t cells);

#endif
