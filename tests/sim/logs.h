/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Log disks of a random history: they join, one or several in one change, leave, are taken offline, pulled and put back, and fail, while
 * everything else happens and between boots. What an import says of them is judged: with as many away as the copies of the log survive
 * nothing is lost and nobody is asked; with more it may want them, and goes on without if told so: then it tells the loss, and what was committed is there.
 */
#ifndef TESTS_SIM_LOGS_H
#define TESTS_SIM_LOGS_H

#include "tests/sim/world.h"

/* All of these do nothing in histories without changes; but for logs_import, which isn't for them. */
void logs_init(struct world *world);
/* After the pool was made: those it begins with. Not in a fiber. */
void logs_create(struct world *world);
/* Some are pulled, others put back. */
void logs_between_boots(struct world *world);
/* In place of world_import. What was flushed may be lost then, for clients_recover and files_recover (model.log_is_lost). */
void logs_import(struct world *world, bool with_engine);
/* What is there was judged. */
void logs_recovered(struct world *world);
void logs_exported(struct world *world);
/* A fiber that does such things while clients run. */
void logs_start(struct world *world);
void logs_wait(struct world *world);
/* All disks were repaired. In a fiber. */
void logs_forget(struct world *world);

#endif
