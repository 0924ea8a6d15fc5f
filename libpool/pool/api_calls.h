/*
 * How many calls run in something that can be closed. One word has the count and whether it is closed, so a call that begins or ends takes
 * no lock, and waits for nobody: the engine's thread ends calls that other threads began.
 *
 * What must always hold: none begins after it was closed, and who closes it goes on only when none is left. An end that finds it closed goes
 * through the lock, so that it wakes who waits, and touches nothing when that one has gone on.
 */
#ifndef LIBPOOL_POOL_API_CALLS_H
#define LIBPOOL_POOL_API_CALLS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

/* Zero: open, none. */
struct api_calls {
	atomic_uint word;
};

/* False if it is closed. */
bool api_calls_begin(struct api_calls *calls, unsigned count);
/* More of them while one runs, closed or not. */
void api_calls_add(struct api_calls *calls, unsigned count);
/* The lock isn't held; with the last one `calls` and both others may be gone. */
void api_calls_end(struct api_calls *calls, unsigned count, pthread_mutex_t *lock, pthread_cond_t *idle);
void api_calls_close(struct api_calls *calls);
/* With the lock held, after the close: until none runs. */
void api_calls_wait(struct api_calls *calls, pthread_mutex_t *lock, pthread_cond_t *idle);

#endif
