/* One seed: a pool's life over several boots, with crashes, faults and repairs, and a full check at its end. */
#ifndef TESTS_SIM_HISTORY_H
#define TESTS_SIM_HISTORY_H

#include "tests/sim/world.h"

void history_run(struct world *world);

#endif
