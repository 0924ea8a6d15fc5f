/* The administrator of a simulated pool: verify, scrub, offline, online, replace; and complete repairs. */
#ifndef TESTS_SIM_ADMIN_H
#define TESTS_SIM_ADMIN_H

#include "tests/sim/world.h"

/* The checkers (bits of VERIFY_*): no invariant may be broken; and after a repair nothing may be damaged. */
void admin_verify(struct world *world, unsigned what);
/* Starts a fiber that does random things while clients run; needs the engine, else nothing happens. */
void admin_start(struct world *world);
/* The same, doing a complete repair. */
void admin_start_repair(struct world *world);
/* Until that fiber has ended. */
void admin_wait(struct world *world);
/* Faults have stopped and disks are back: all becomes ONLINE, rebuilt and clean, or it is a failure. */
void admin_repair(struct world *world);

#endif
