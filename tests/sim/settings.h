/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Changes of settings in a random history: of the pool, of volumes and of file systems, while everything else happens. Which of them say what a flush
 * promises is told to the clients, who tell their models.
 */
#ifndef TESTS_SIM_SETTINGS_H
#define TESTS_SIM_SETTINGS_H

#include "tests/sim/world.h"

/* All of these do nothing in histories without changes. */
void settings_init(struct world *world);
/* A fiber that changes settings while clients run. */
void settings_start(struct world *world);
void settings_wait(struct world *world);

/* Whether it is what degraded= makes of a change while disks are away. */
bool settings_refuse(struct world *world, int result);

/* What held for a dataset when a request began. */
struct settings_sync {
	uint64_t changes;
	uint8_t sync;
};
struct settings_sync settings_sync(struct world *world, const char *dataset);
/* The request has ended. Whether a flush promises something: not if it was, or became, one that does nothing. */
bool settings_flush_counts(struct world *world, struct settings_sync before);
/* Whether a change is durable without a flush. */
bool settings_is_always(struct world *world, struct settings_sync before);

#endif
