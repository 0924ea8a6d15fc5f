/*
 * Looks at every write as it is submitted: no row that was live in one of the last three commits is written with
 * anything else than what it holds (I10, I14, I18). So a row is reused only after two later commits, a live one never, and
 * a heal writes exactly what is missing. Trusts the live bitmaps, which the checkers compare with what is reachable.
 */
#ifndef TESTS_SIM_WATCH_H
#define TESTS_SIM_WATCH_H

#include "tests/sim/world.h"

/* Takes the set's on_submit hook. */
void watch_start(struct world *world);
void watch_stop(struct world *world);

#endif
