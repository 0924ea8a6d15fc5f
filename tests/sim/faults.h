/*
 * Faults within what the profile promises to survive. At any time at most m disks are suspect: only they fail, lie,
 * hang, vanish or lose writes. With fewer suspects, single cells of other disks may rot, as long as no row has
 * more than m columns that are suspect or rotten. A complete repair (disks back, rebuilt, scrubbed) clears all.
 */
#ifndef TESTS_SIM_FAULTS_H
#define TESTS_SIM_FAULTS_H

#include "tests/sim/world.h"

/* Rates and hooks; once for each seed. */
void faults_init(struct world *world);
/* A disk that may suffer: one that does already, or one more while the profile allows it. NULL: none. */
struct sim_disk *faults_victim(struct world *world);
/* Between boots: disks that vanished may return, others vanish. */
void faults_between_boots(struct world *world);
/* Spawns the fiber that injects faults while clients run; it ends by itself. */
void faults_start(struct world *world);
/* Nothing new happens, hung requests complete; what was damaged stays. */
void faults_stop(struct world *world);
/* Every disk is there. */
void faults_return_all(struct world *world);
/* Everything was repaired. */
void faults_forget(struct world *world);

#endif
