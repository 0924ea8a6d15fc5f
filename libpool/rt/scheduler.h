/*
 * The inside of the scheduler, shared by the files of rt only. A fiber that has not ended is in exactly
 * one state: running (rt->current), runnable (its node in rt->runnable or rt->yielded), or waiting (its
 * node in a queue or unlinked, with something that will call fiber_ready).
 */
#ifndef LIBPOOL_RT_SCHEDULER_H
#define LIBPOOL_RT_SCHEDULER_H

#include <stdatomic.h>

#include "libpool/rt/fiber_context.h"
#include "libpool/rt/rt.h"
#include "libpool/rt/timer_heap.h"

enum fiber_state { FIBER_RUNNABLE, FIBER_RUNNING, FIBER_WAITING, FIBER_ENDED, FIBER_EXITED };

struct fiber {
	struct fiber_context context;
	struct list node; /* in runnable, yielded or a queue */
	struct list all;  /* in rt->fibers or rt->idle */
	struct rt *rt;
	const char *name;
	fiber_function *function;
	void *argument, *local;
	struct rt_timer timer; /* the deadline of what it waits for */
	enum fiber_state state;
	unsigned no_block;
	int group_error;
	bool timed_out;
};

struct rt {
	struct pool_env *env;
	struct loop_context loop;
	struct fiber *current;
	struct list fibers, idle;       /* not ended, oldest first; ended, kept for their stacks */
	struct list runnable, yielded;  /* this turn, next turn */
	size_t runnable_count, yielded_count;
	unsigned fiber_count, idle_count;
	struct timer_heap timers;
	uint64_t fired_ns; /* timers were last fired up to this time */
	uint64_t turns;
	bool stopping;
	_Atomic(struct rt_message *) messages; /* newest first */
	struct rt_message *taken, **taken_end; /* not run yet, oldest first */
	atomic_uint posting; /* threads inside of rt_post and rt_run_here */
	uint64_t submitted;  /* jobs and disk requests so far */
	unsigned in_flight;  /* disk requests that are waited for */
};

/* The running fiber, after checking that there is one; NULL outside fibers. */
struct fiber *fiber_current(struct rt *rt);
/* Leaves the running fiber until fiber_ready is called for it. */
void fiber_block(struct rt *rt, struct fiber *fiber);
/* A waiting fiber whose node is unlinked becomes runnable; its deadline is cancelled. */
void fiber_ready(struct rt *rt, struct fiber *fiber);
/* Runs one runnable fiber until it waits or ends. */
void fiber_run_next(struct rt *rt);
/* Runs what other threads posted. */
void messages_run(struct rt *rt);
/* Waits until nobody is inside of rt_post or rt_run_here any more. */
void posts_end(struct rt *rt);

#endif
