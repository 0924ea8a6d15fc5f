/* The process that is killed: imports the pool and writes into its volume from several threads until it dies.
 */
#ifndef TESTS_KILL_WRITER_H
#define TESTS_KILL_WRITER_H

#include "tests/kill/disks.h"
#include "tests/kill/journal.h"

#define POOL_NAME   "tank"
#define VOLUME_NAME "data"

/* Now and then it exports the pool and imports it again. Never returns: it is killed, or exits with 1
 * after journal_fail, or with 0 when the journal is full. */
_Noreturn void writer_run(struct disks *disks, struct journal *journal, uint64_t seed);

/* Imports, waiting for a predecessor whose requests the kernel still has in flight to let go of the disks. */
int import_patiently(struct disks *disks, struct journal *journal, libpool_pool **ret_pool,
		     struct libpool_error *error);

#endif
