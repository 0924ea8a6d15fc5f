/*
 * Where the engine meets other threads: messages posted to it and jobs sent to workers.
 *
 * Messages form a stack that any thread pushes on with one compare-and-swap, and that the engine takes
 * whole and reverses. Only the thread that finds the stack empty wakes the engine: the others know that
 * this one has done so or is about to, and the engine takes their messages with the first. The engine may run the last
 * message and end while its poster is still on the way to wake it: `posting` keeps the rt until all of them are through.
 *
 * While the engine sleeps, nothing in it can run but what comes from outside. So who comes with a request may be the engine for its first leg,
 * instead of waking a thread and waiting for it: of a request that is served from memory that is all. Others who come meanwhile post theirs, and it does
 * them, too. It looks for messages once more after it has given the engine back, and who posts looks whether it is borrowed after that: so one of them
 * sees the other.
 */
#include <errno.h>
#include <sched.h>

#include "libpool/base/check.h"

#include "libpool/rt/scheduler.h"

/* How much a thread that has borrowed the engine does for others who came meanwhile, before its own thread takes over. */
#define BORROWED_ROUNDS 2

void rt_post(struct rt *rt, struct rt_message *message)
{
	struct rt_message *newest;

	atomic_fetch_add_explicit(&rt->posting, 1, memory_order_relaxed);
	newest = atomic_load_explicit(&rt->messages, memory_order_relaxed);
	do {
		message->next = newest;
	} while (!atomic_compare_exchange_weak(&rt->messages, &newest, message));
	if (!newest)
		(rt->env->ops->wake_for_message ? rt->env->ops->wake_for_message : rt->env->ops->wake)(rt->env);
	atomic_fetch_sub_explicit(&rt->posting, 1, memory_order_release); /* the last that is touched */
}

bool rt_may_run_here(struct rt *rt)
{
	return rt->env->ops->lends && rt->env->ops->lends(rt->env);
}

void posts_end(struct rt *rt)
{
	while (atomic_load_explicit(&rt->posting, memory_order_acquire) > 0)
		sched_yield();
}

/* From the stack to the end of those that have been taken. */
static void take_messages(struct rt *rt)
{
	if (!atomic_load_explicit(&rt->messages, memory_order_relaxed))
		return;
	struct rt_message *newest = atomic_exchange(&rt->messages, NULL), *oldest = NULL, *last = newest;

	while (newest) {
		struct rt_message *next = newest->next;

		newest->next = oldest;
		oldest = newest;
		newest = next;
	}
	*rt->taken_end = oldest;
	rt->taken_end = &last->next;
}

static struct rt_message *next_message(struct rt *rt)
{
	struct rt_message *message = rt->taken;

	rt->taken = message->next;
	if (!rt->taken)
		rt->taken_end = &rt->taken;
	return message; /* run may free it */
}

void messages_run(struct rt *rt)
{
	take_messages(rt);
	while (rt->taken) {
		struct rt_message *message = next_message(rt);

		message->run(message);
	}
}

/* Whether there is something that only the engine's thread can go on with. */
static bool busy(const struct rt *rt, uint64_t submitted)
{
	return rt->stopping || rt->fiber_count == 0 || rt->taken || rt->runnable_count > 0 || rt->yielded_count > 0 || rt->submitted != submitted;
}

/* Up to one that is for the engine's thread; of fibers, only those that the messages spawn: others that they wake aren't for this thread. */
static void run_messages_of_others(struct rt *rt)
{
	take_messages(rt);
	while (rt->taken && rt->taken->anywhere) {
		struct rt_message *message = next_message(rt);

		message->run(message);
	}
	for (size_t count = rt->runnable_count; count > 0 && !rt->stopping; count--)
		fiber_run_next(rt);
}

int rt_run_here(struct rt *rt, const char *name, fiber_function *function, void *argument)
{
	const struct pool_env_ops *ops = rt->env->ops;
	int result = -EBUSY;

	if (!ops->borrow)
		return result;
	atomic_fetch_add_explicit(&rt->posting, 1, memory_order_relaxed);
	if (ops->borrow(rt->env)) {
		uint64_t submitted = rt->submitted;

		if (POOL_CHECK(rt->runnable_count == 0)) /* it would not have slept */
			result = rt_spawn(rt, name, function, argument);
		if (result == 0)
			fiber_run_next(rt);
		for (int round = 0; round < BORROWED_ROUNDS && !busy(rt, submitted) && atomic_load(&rt->messages) && ops->may_keep(rt->env); round++)
			run_messages_of_others(rt);
		ops->give_back(rt->env, busy(rt, submitted), rt->timers.top ? rt->timers.top->at_ns : UINT64_MAX);
		/* Who posted while the engine was borrowed may have left the rest to us. */
		if (atomic_load(&rt->messages))
			ops->wake(rt->env);
	}
	atomic_fetch_sub_explicit(&rt->posting, 1, memory_order_release); /* the last that is touched */
	return result;
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
	rt->submitted++;
	rt->env->ops->work(rt->env, job);
}

void rt_io_began(struct rt *rt)
{
	rt->submitted++;
	rt->in_flight++;
}

void rt_io_ended(struct rt *rt)
{
	rt->in_flight--;
}

unsigned rt_io_in_flight(const struct rt *rt)
{
	return rt->in_flight;
}
