/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Clients of the pool's file systems: each changes what is in a directory of its own, a lane (lane.h), at the same time as the others and
 * as the clients of volumes, and compares what it sees with the lane's model.
 */
#ifndef TESTS_SIM_FILES_H
#define TESTS_SIM_FILES_H

#include "tests/sim/world.h"

struct json_object;

/* For a plan with file systems; the others do nothing in worlds without. */
struct files *files_new(const struct plan *plan);
void files_free(struct files *files);
/* After an import: makes what isn't there yet, judges what is, and runs the checker of each file system. */
void files_recover(struct world *world);
/* Starts a fiber for each lane; wait returns when all have ended. */
void files_start(struct world *world);
void files_wait(struct world *world);
/* Of every lane files are written and synced, and no names are changed: then the log has it. */
void files_overwrite(struct world *world);
/* Every lane is what its model says. */
void files_check_all(struct world *world);
void files_close(struct world *world);
/* The handles are gone, with what was under way. */
void files_crash(struct world *world);
/* A commit that was asked for at `begin` was acknowledged. */
uint64_t files_now(struct world *world);
void files_durable(struct world *world, uint64_t begin);
/* For images.c: notes which file systems there are; and what they contain, after the import that follows, as JSON that names files in the folder. */
void files_images_saved(struct world *world);
struct json_object *files_images_expect(struct world *world, const char *folder);

#endif
