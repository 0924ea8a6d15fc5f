/*
 * The threads that run an engine's jobs; private to rt. A job goes out by a locked queue and comes back
 * by a lock-free stack that the engine takes whole. Without threads, jobs run in workers_deliver: on the
 * stack of the engine's thread, never on a fiber's.
 *
 * To wake a worker takes longer than many a brief job. So nobody is woken for little of them: the engine is about to look
 * for something to do, and runs them then one by one, or wakes a worker if it has something else to do.
 */
#ifndef LIBPOOL_RT_WORKERS_H
#define LIBPOOL_RT_WORKERS_H

#include "libpool/rt/rt.h"

struct workers;

/* wake(argument) is called in a worker when there is something to deliver. 0, -ENOMEM, -EAGAIN. */
int workers_new(unsigned count, void (*wake)(void *argument), void *argument, struct workers **ret_workers);
/* Waits for the jobs that run; those that wait are dropped. NULL is accepted. */
void workers_free(struct workers *workers);
void workers_submit(struct workers *workers, struct rt_job *job);
/* In the engine: runs a brief job that no worker has taken, done included, unless it takes longer. False if there is none. */
bool workers_help(struct workers *workers, unsigned microseconds);
/* The engine has other things to do than the brief jobs that wait. */
void workers_rouse(struct workers *workers);
/* Calls done of each job that has run, in the order of their ends. Returns how many. */
int workers_deliver(struct workers *workers);
/* In the engine: jobs that have been submitted and not delivered. */
unsigned workers_pending(const struct workers *workers);
/* Drops all jobs, delivered to nobody; waits for those that run. */
void workers_cancel(struct workers *workers);

#endif
