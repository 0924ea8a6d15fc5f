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
	unsigned block_cells;     /* of those who wait */
	bool urgent;              /* nothing is left for them */
	uint64_t placed_cells;    /* by writers, when it looked last */
	uint64_t followed_died;   /* cells that had died when it looked last at what metadata needs */
	unsigned rounds;          /* since some were judged: */
	uint64_t hoped_cells;     /* what was dead in their victims */
	int64_t gained_cells;     /* what came of it */
	unsigned barren;          /* how often, one after the other, that was nothing */
	uint64_t barren_died;     /* cells that had died by then */
};

void compactor_init(struct compactor *compactor);
int compactor_start(struct core *core);
/* A commit has ended, or the core. */
void compactor_wake(struct core *core);
/*
 * For a writer who has to wait for a commit, as there is no room for blocks of so many cells that nobody else was promised; urgent: none at all. 1: it has waited for
 * commits, ask again; 0: nothing is to be gained; -POOL_EHALTED.
 */
int compactor_round(struct core *core, unsigned block_cells, bool urgent);

#endif
