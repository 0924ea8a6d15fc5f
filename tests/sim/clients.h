/*
 * Clients of the pool's volumes: fibers that do random operations at the same time and compare everything they
 * see with the model.
 */
#ifndef TESTS_SIM_CLIENTS_H
#define TESTS_SIM_CLIENTS_H

#include "tests/sim/world.h"

/* Runs `count` clients of `operations` each; returns when all are done. */
void clients_run(struct world *world, unsigned count, unsigned operations);
/* After an import: what is there must be a state of the model; opens all volumes. `all`: reads every block, not only doubtful ones. */
void clients_recover(struct world *world, bool all);
/* Reads every block of every volume that may hold something, and looks for data where there should be none. */
void clients_check_all(struct world *world);
void clients_close_volumes(struct world *world);
/* A commit, of which the model is told. */
void clients_commit(struct world *world, bool forced);
/* A flush, of which the model is told. */
void clients_flush(struct world *world, struct model_volume *volume);
/* One write of a pattern; locks nothing. 0 or -ENOSPC. */
int clients_write(struct world *world, struct model_volume *volume, uint64_t offset, uint64_t length);
/* A trim, and the end of a volume that nobody uses: neither has a reason to fail. */
void clients_trim(struct world *world, struct model_volume *volume, uint64_t offset, uint64_t length);
void clients_destroy(struct world *world, struct model_volume *volume);
/* The same with zeroes. */
void clients_zero(struct world *world, struct model_volume *volume, uint64_t offset, uint64_t length);
/* Creates and opens. For scenarios. */
struct model_volume *clients_create(struct world *world, const char *name, uint64_t bytes, uint32_t block_bytes, uint8_t compression);
/* The same without compression, or NULL: there is no room. */
struct model_volume *clients_try_create(struct world *world, const char *name, uint64_t bytes, uint32_t block_bytes);

#endif
