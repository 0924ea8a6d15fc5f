/* The process that looks at what a kill has left. */
#ifndef TESTS_KILL_READER_H
#define TESTS_KILL_READER_H

#include "tests/kill/writer.h"

/* Imports, reads the whole volume into journal->found, runs the checkers, waits for repairs, exports. With
 * all disks there the pool must be healthy in the end. Exits with 0, or with 1 after journal_fail. */
_Noreturn void reader_run(struct disks *disks, struct journal *journal, uint64_t seed);

/* Imports, does a little of what is due, exports: to be killed in the middle of it. */
_Noreturn void importer_run(struct disks *disks, struct journal *journal);

#endif
