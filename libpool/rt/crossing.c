/*
 * Where the engine meets other threads: messages posted to it and jobs sent to workers.
 *
 * Messages form a stack that any thread pushes on with one compare-and-swap, and that the engine takes
 * whole and reverses. Only the thread that finds the stack empty wakes the engine: the others know that
 * this one has done so or is about to, and the engine takes their messages with the first. The engine may run the last
 * message and end while its poster is still on the way to wake it: `posting` keeps the rt until all of them are through.
 */
#include <sched.h>

#include "libpool/rt/scheduler.h"

void rt_post(struct rt *rt, struct rt_message *message)
{
	struct rt_message *newest;

	atomic_fetch_add_explicit(&rt->posting, 1, memory_order_relaxed);
	newest = atomic_load_explicit(&rt->messages, memory_order_relaxed);
	do {
		message->next = newest;
	} while (!atomic_compare_exchange_weak_explicit(&rt->messages, &newest, message, memory_order_acq_rel,
							memory_order_relaxed));
	if (!newest)
		rt->env->ops->wake(rt->env);
	atomic_fetch_sub_explicit(&rt->posting, 1, memory_order_release); /* the last that is touched */
}

void posts_end(struct rt *rt)
{
	while (atomic_load_explicit(&rt->posting, memory_order_acquire) > 0)
		sched_yield();
}

void messages_run(struct rt *rt)
{
	if (!atomic_load_explicit(&rt->messages, memory_order_relaxed))
		return;
	struct rt_message *newest = atomic_exchange_explicit(&rt->messages, NULL, memory_order_acq_rel);
	struct rt_message *oldest = NULL;

	while (newest) {
		struct rt_message *next = newest->next;

		newest->next = oldest;
		oldest = newest;
		newest = next;
	}
	while (oldest) {
		struct rt_message *next = oldest->next; /* run may free it */

		oldest->run(oldest);
		oldest = next;
	}
}

struct waiting_job {
	struct rt_job job;
	struct rt *rt;
	struct fiber *fiber;
};

static void waiting_job_done(struct rt_job *job)
{
	struct waiting_job *waiting = container_of(job, struct waiting_job, job);

	fiber_ready(waiting->rt, waiting->fiber);
}

static void work(struct rt *rt, void (*function)(void *argument), void *argument, uint16_t brief_us)
{
	struct waiting_job waiting = {
		.job = {.function = function, .argument = argument, .done = waiting_job_done, .brief_us = brief_us},
		.rt = rt,
		.fiber = fiber_current(rt),
	};

	if (!waiting.fiber)
		return;
	rt_work_submit(rt, &waiting.job);
	fiber_block(rt, waiting.fiber);
}

void rt_work(struct rt *rt, void (*function)(void *argument), void *argument)
{
	work(rt, function, argument, 0);
}

void rt_work_brief(struct rt *rt, void (*function)(void *argument), void *argument, unsigned microseconds)
{
	work(rt, function, argument, (uint16_t)(microseconds ? microseconds : 1));
}

void rt_work_submit(struct rt *rt, struct rt_job *job)
{
	rt->env->ops->work(rt->env, job);
}
