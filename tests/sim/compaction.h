/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A compactor of a simulated pool, without policy: while clients, faults and administrators do what they do, it moves what is live out of
 * segments, or some rows of them, that it draws, whether that gains anything or not.
 */
#ifndef TESTS_SIM_COMPACTION_H
#define TESTS_SIM_COMPACTION_H

#include "tests/sim/world.h"

/* Starts a fiber that does so while clients run, in histories that have it. */
void compaction_start(struct world *world);
/* Until that fiber has ended. */
void compaction_wait(struct world *world);
/* Once all segments that are FULL, whatever that takes: nothing is damaged, and none may be refused for long. */
void compaction_all(struct world *world);

#endif
