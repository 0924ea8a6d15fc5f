/* What a fiber may ask: about itself, about the engine, and about its environment. */
#include "libpool/base/check.h"
#include "libpool/rt/scheduler.h"

struct fiber *rt_self(struct rt *rt)
{
	return rt->current;
}

const char *fiber_name(const struct fiber *fiber)
{
	return fiber->name;
}

unsigned rt_fiber_count(const struct rt *rt)
{
	return rt->fiber_count;
}

void rt_each_fiber(struct rt *rt, void (*visit)(const struct fiber *fiber, void *arg), void *arg)
{
	list_for_each(node, &rt->fibers)
		visit(container_of(node, struct fiber, all), arg);
}

void rt_fiber_set_local(struct rt *rt, void *value)
{
	struct fiber *fiber = fiber_current(rt);

	if (fiber)
		fiber->local = value;
}

void *rt_fiber_local(struct rt *rt)
{
	return rt->current ? rt->current->local : NULL;
}

void rt_no_block_begin(struct rt *rt)
{
	struct fiber *fiber = fiber_current(rt);

	if (fiber)
		fiber->no_block++;
}

void rt_no_block_end(struct rt *rt)
{
	struct fiber *fiber = fiber_current(rt);

	if (fiber && POOL_CHECK(fiber->no_block > 0))
		fiber->no_block--;
}

bool rt_may_block(struct rt *rt)
{
	return rt->current && rt->current->no_block == 0;
}

void rt_assert_may_block(struct rt *rt)
{
	POOL_CHECK(rt_may_block(rt));
}

uint64_t rt_now(struct rt *rt)
{
	return rt->env->ops->monotonic_ns(rt->env);
}

uint64_t rt_realtime(struct rt *rt)
{
	return rt->env->ops->realtime_ns(rt->env);
}

uint64_t rt_random(struct rt *rt)
{
	uint64_t value = 0;

	rt->env->ops->random(rt->env, &value, sizeof(value));
	return value;
}

bool rt_buggify(struct rt *rt, const char *point)
{
	return rt->env->ops->buggify(rt->env, point);
}

uint64_t rt_turns(const struct rt *rt)
{
	return rt->turns;
}

unsigned rt_parallelism(struct rt *rt)
{
	return rt->env->ops->parallelism(rt->env);
}
