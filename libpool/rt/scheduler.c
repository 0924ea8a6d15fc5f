/*
 * The loop and the life of fibers. A fiber's stack outlives it: an ended fiber stays where it returned,
 * on the idle list, and a spawn gives it the next function to call, so that starting one costs neither
 * system calls nor fresh pages.
 */
#include "libpool/rt/scheduler.h"

#include <errno.h>
#include <stdlib.h>

#include "libpool/base/check.h"

/* Fibers run in one turn before completions are polled again. */
#define TURN_SWITCHES 256
/* Ended fibers kept for their stacks. */
#define IDLE_FIBERS_MAX 1024

int rt_new(struct pool_env *env, struct rt **ret_rt)
{
	struct rt *rt = calloc(1, sizeof(*rt));

	if (!rt)
		return -ENOMEM;
	rt->env = env;
	list_init(&rt->fibers);
	list_init(&rt->idle);
	list_init(&rt->runnable);
	list_init(&rt->yielded);
	rt->taken_end = &rt->taken;
	env->rt = rt;
	*ret_rt = rt;
	return 0;
}

static void fiber_free(struct fiber *fiber)
{
	fiber_context_release(&fiber->context);
	free(fiber);
}

void rt_abandon(struct rt *rt)
{
	struct list *node;

	if (!rt || !POOL_CHECK(!rt->current))
		return;
	posts_end(rt);
	if (rt->env->ops->work_cancel)
		rt->env->ops->work_cancel(rt->env);
	list_splice_back(&rt->idle, &rt->fibers);
	while ((node = list_pop_front(&rt->idle)))
		fiber_free(container_of(node, struct fiber, all));
	rt->env->rt = NULL;
	free(rt);
}

void rt_free(struct rt *rt)
{
	if (!rt)
		return;
	POOL_CHECK(rt->fiber_count == 0);
	rt_abandon(rt);
}

struct pool_env *rt_env(struct rt *rt)
{
	return rt->env;
}

struct fiber *fiber_current(struct rt *rt)
{
	POOL_CHECK(rt->current);
	return rt->current;
}

void fiber_block(struct rt *rt, struct fiber *fiber)
{
	POOL_CHECK(fiber == rt->current);
	fiber->state = FIBER_WAITING;
	fiber_context_leave(&fiber->context);
}

void fiber_ready(struct rt *rt, struct fiber *fiber)
{
	if (!POOL_CHECK(fiber->state == FIBER_WAITING && !list_linked(&fiber->node)))
		return;
	rt_timer_cancel(rt, &fiber->timer);
	fiber->state = FIBER_RUNNABLE;
	list_push_back(&rt->runnable, &fiber->node);
	rt->runnable_count++;
}

void rt_yield(struct rt *rt)
{
	struct fiber *fiber = fiber_current(rt);

	if (!fiber)
		return;
	fiber->state = FIBER_RUNNABLE;
	list_push_back(&rt->yielded, &fiber->node);
	rt->yielded_count++;
	fiber_context_leave(&fiber->context);
}

bool rt_others_run(const struct rt *rt)
{
	return rt->runnable_count > 0;
}

_Noreturn void rt_exit(struct rt *rt)
{
	struct fiber *fiber = fiber_current(rt);

	if (!fiber)
		abort(); /* there is nothing that could be ended */
	fiber->state = FIBER_EXITED;
	fiber_context_leave(&fiber->context);
	__builtin_unreachable();
}

/* What each fiber's stack runs: one function after the other. */
static void fiber_main(void *argument)
{
	struct fiber *fiber = argument;

	for (;;) {
		fiber->function(fiber->argument);
		fiber->state = FIBER_ENDED;
		fiber_context_leave(&fiber->context);
	}
}

static struct fiber *fiber_take(struct rt *rt)
{
	struct list *node = list_pop_front(&rt->idle);

	if (node) {
		rt->idle_count--;
		return container_of(node, struct fiber, all);
	}
	struct fiber *fiber = calloc(1, sizeof(*fiber));

	if (!fiber)
		return NULL;
	if (fiber_context_init(&fiber->context, fiber_main, fiber) < 0) {
		free(fiber);
		return NULL;
	}
	return fiber;
}

int rt_spawn(struct rt *rt, const char *name, fiber_function *function, void *argument)
{
	struct fiber *fiber = rt->fiber_count < RT_FIBERS_MAX ? fiber_take(rt) : NULL;

	if (!fiber)
		return -ENOMEM;
	fiber->rt = rt;
	fiber->name = name;
	fiber->function = function;
	fiber->argument = argument;
	fiber->local = NULL;
	fiber->no_block = 0;
	fiber->timer = (struct rt_timer){0};
	fiber->state = FIBER_WAITING;
	list_push_back(&rt->fibers, &fiber->all);
	rt->fiber_count++;
	fiber_ready(rt, fiber);
	return 0;
}

static struct fiber *take_runnable(struct rt *rt)
{
	struct list *node = rt->runnable.next;

	if (rt->runnable_count > 1) {
		size_t index = rt->env->ops->choose(rt->env, rt->runnable_count);

		if (POOL_CHECK(index < rt->runnable_count))
			while (index--)
				node = node->next;
	}
	list_remove(node);
	rt->runnable_count--;
	return container_of(node, struct fiber, node);
}

static void fiber_run(struct rt *rt, struct fiber *fiber)
{
	fiber->state = FIBER_RUNNING;
	rt->current = fiber;
	fiber_context_enter(&fiber->context, &rt->loop);
	rt->current = NULL;
	if (fiber->state != FIBER_ENDED && fiber->state != FIBER_EXITED)
		return;
	list_remove(&fiber->all);
	rt->fiber_count--;
	if (fiber->state == FIBER_ENDED && rt->idle_count < IDLE_FIBERS_MAX) {
		list_push_front(&rt->idle, &fiber->all); /* the warmest stack is used next */
		rt->idle_count++;
	} else {
		fiber_free(fiber);
	}
}

void fiber_run_next(struct rt *rt)
{
	fiber_run(rt, take_runnable(rt));
}

/* Only timers that were armed before this turn: one that arms itself in the past must not stop the loop. */
static void timers_fire(struct rt *rt)
{
	uint64_t limit = rt->timers.sequence;
	struct rt_timer *timer = rt->timers.top;

	if (!timer)
		return;
	rt->fired_ns = rt_now(rt);
	while (timer && timer->at_ns <= rt->fired_ns && timer->sequence < limit) {
		rt_timer_cancel(rt, timer);
		timer->fire(timer);
		timer = rt->timers.top;
	}
}

static void turn(struct rt *rt)
{
	rt->turns++;
	messages_run(rt);
	timers_fire(rt);
	for (int i = 0; i < TURN_SWITCHES && rt->runnable_count > 0 && !rt->stopping; i++)
		fiber_run_next(rt);
	list_splice_back(&rt->runnable, &rt->yielded);
	rt->runnable_count += rt->yielded_count;
	rt->yielded_count = 0;
}

int rt_run(struct rt *rt, fiber_function *main_function, void *argument)
{
	if (!POOL_CHECK(!rt->current))
		return -EDEADLK;
	if (rt->stopping)
		return -ECANCELED;
	int result = rt_spawn(rt, "main", main_function, argument);

	if (result < 0)
		return result;
	for (;;) {
		turn(rt);
		if (rt->stopping)
			return -ECANCELED;
		if (rt->fiber_count == 0)
			return 0;
		uint64_t until = rt->timers.top ? rt->timers.top->at_ns : UINT64_MAX;

		rt->env->ops->wait(rt->env, rt->runnable_count ? 0 : until);
		if (rt->stopping)
			return -ECANCELED;
	}
}

void rt_stop(struct rt *rt)
{
	rt->stopping = true;
}
