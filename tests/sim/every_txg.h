/*
 * What is reachable is compared with what is live after every commit, in histories that draw it. In the others commits follow one another as they
 * do without anybody who looks, and the same is done now and then.
 */
#ifndef TESTS_SIM_EVERY_TXG_H
#define TESTS_SIM_EVERY_TXG_H

#include "tests/sim/world.h"

/* From here on, if the plan says so. While a commit is looked at the next one waits. */
void every_txg_start(struct world *world);
/* Returns when the last one was looked at. */
void every_txg_stop(struct world *world);

#endif
