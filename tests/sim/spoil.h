/* Damage beyond parity that takes just one thing with it: for scenarios. In fibers, with the pool open. */
#ifndef TESTS_SIM_SPOIL_H
#define TESTS_SIM_SPOIL_H

#include "tests/sim/world.h"

/* All copies of a leaf of the batch map. For mirrors: elsewhere other blocks lie in its rows. */
void spoil_map_leaf(struct world *world);
/* The summary of the batch that the last content of a volume lies in, with the parity of its rows. */
void spoil_newest_summary(struct world *world, uint32_t objset);

#endif
