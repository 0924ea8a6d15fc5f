/*
 * What the writer was about to do, did, and was promised, in memory that outlives it.
 *
 * A process that dies by SIGKILL takes its own memory with it, but not what it shares with its parent. So
 * each thread of the writer notes an operation before it calls the library, counts it when the call returned,
 * and after each flush notes how many operations had returned before the flush was called: these are
 * acknowledged.
 */
#ifndef TESTS_KILL_JOURNAL_H
#define TESTS_KILL_JOURNAL_H

#include "tests/kill/content.h"

#include <stdatomic.h>

#define THREADS	       2
#define UNITS	       4096  /* of the volume */
#define OPERATIONS_MAX 60000 /* of a thread in a round */

struct operation {
	uint64_t version; /* VERSION_NONE: zeroed or trimmed */
	uint32_t unit, count;
};

struct thread_journal {
	_Atomic uint32_t issued, returned,
	    acknowledged; /* numbers of operations; each but the last issued one returned */
	struct operation operations[OPERATIONS_MAX];
};

struct journal {
	uint32_t chunk; /* units: neighbouring chunks belong to different threads */
	uint64_t next_version;
	uint64_t base[UNITS]; /* what the volume held when the round began */
	struct thread_journal threads[THREADS];
	_Atomic uint32_t imported; /* the writer has the pool */
	_Atomic uint32_t flushes;
	/* The reader's report. */
	uint64_t found[UNITS];
	uint32_t healthy, busy_imports;
	/* Of writer and reader: what went wrong. */
	_Atomic uint32_t failed;
	char failure[1024];
};

struct journal *journal_make(void);
void journal_begin_round(struct journal *journal); /* with base as it is */
static inline unsigned journal_owner(const struct journal *journal, uint32_t unit)
{
	return unit / journal->chunk % THREADS;
}
/* The first failure is kept. */
__attribute__((format(printf, 2, 3))) void journal_fail(struct journal *journal, const char *format, ...);

/* For each thread: what was found is the state after one prefix of its operations, no shorter than what was
 * acknowledged. A call over several units may be cut anywhere. False: journal->failure says what is wrong. */
bool journal_evaluate(struct journal *journal);

#endif
