/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Clients that keep a pool full: each fills a volume of its own, deletes here and there, and fills again, so that old data lies scattered
 * among new. Who only frees is never refused; who writes hears of a full pool soon, and not while there is room.
 */
#ifndef TESTS_SIM_FULL_H
#define TESTS_SIM_FULL_H

#include "tests/sim/world.h"

/* Runs the plan's clients; returns when all are done. */
void full_run(struct world *world);
/* With nobody else at work and all disks there: as much can be written as is said to be available, and it is available again afterwards. */
void full_check_available(struct world *world);
/* What has to be done when a full pool has no room for what it lacks of its redundancy: something goes. */
void full_make_room(struct world *world);

#endif
