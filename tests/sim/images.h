/*
 * The end of a history as files, for programs that read pools without libpool: an image of each disk that is there, and what
 * volumes and file systems must contain.
 */
#ifndef TESTS_SIM_IMAGES_H
#define TESTS_SIM_IMAGES_H

#include "tests/sim/world.h"

/*
 * Between boots: takes some more disks away, within what the profile promises to survive, and writes the others to
 * world->images as sparse files. Nothing may change on the disks before images_expect.
 */
void images_save(struct world *world);
/* After the import that follows, when the model agrees with it: each volume as a file, what file systems contain, and expected.json, which names all. */
void images_expect(struct world *world);

#endif
