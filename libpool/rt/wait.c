/*
 * What fibers wait for: queues, time, mutexes, groups. A fiber leaves its queue in the same step that
 * makes it runnable, so a wake-up and a deadline can't both claim it, and no wake-up goes to a fiber
 * that has already given up.
 */
#include "libpool/base/check.h"
#include "libpool/rt/scheduler.h"

void rt_timer_arm(struct rt *rt, struct rt_timer *timer, uint64_t at_ns)
{
	rt_timer_cancel(rt, timer);
	/* A time long past must not overtake those that are due: what re-arms itself so would starve them. */
	timer->at_ns = at_ns > rt->fired_ns ? at_ns : rt->fired_ns;
	timer->armed = true;
	timer_heap_insert(&rt->timers, timer);
}

void rt_timer_cancel(struct rt *rt, struct rt_timer *timer)
{
	if (!timer->armed)
		return;
	timer->armed = false;
	timer_heap_remove(&rt->timers, timer);
}

static void deadline_passed(struct rt_timer *timer)
{
	struct fiber *fiber = container_of(timer, struct fiber, timer);

	if (list_linked(&fiber->node))
		list_remove(&fiber->node);
	fiber->timed_out = true;
	fiber_ready(fiber->rt, fiber);
}

static void arm_deadline(struct rt *rt, struct fiber *fiber, uint64_t until_ns)
{
	fiber->timed_out = false;
	fiber->timer.fire = deadline_passed;
	if (until_ns != UINT64_MAX)
		rt_timer_arm(rt, &fiber->timer, until_ns);
}

void rt_sleep(struct rt *rt, uint64_t duration_ns)
{
	struct fiber *fiber = fiber_current(rt);
	uint64_t until_ns;

	if (!fiber)
		return;
	if (__builtin_add_overflow(rt_now(rt), duration_ns, &until_ns))
		until_ns = UINT64_MAX;
	arm_deadline(rt, fiber, until_ns);
	fiber_block(rt, fiber);
}

void rt_queue_init(struct rt_queue *queue)
{
	list_init(&queue->waiters);
}

bool rt_queue_wait_until(struct rt *rt, struct rt_queue *queue, uint64_t until_ns)
{
	struct fiber *fiber = fiber_current(rt);

	if (!fiber)
		return false;
	list_push_back(&queue->waiters, &fiber->node);
	arm_deadline(rt, fiber, until_ns);
	fiber_block(rt, fiber);
	return !fiber->timed_out;
}

void rt_queue_wait(struct rt *rt, struct rt_queue *queue)
{
	rt_queue_wait_until(rt, queue, UINT64_MAX);
}

static struct fiber *wake_first(struct rt *rt, struct rt_queue *queue)
{
	struct list *node = list_pop_front(&queue->waiters);

	if (!node)
		return NULL;
	struct fiber *fiber = container_of(node, struct fiber, node);

	fiber_ready(rt, fiber);
	return fiber;
}

void rt_queue_wake_one(struct rt *rt, struct rt_queue *queue)
{
	wake_first(rt, queue);
}

void rt_queue_wake_all(struct rt *rt, struct rt_queue *queue)
{
	while (wake_first(rt, queue))
		continue;
}

void rt_mutex_init(struct rt_mutex *mutex)
{
	rt_queue_init(&mutex->queue);
	mutex->owner = NULL;
}

/* A mutex that is given up goes to its first waiter at once, so nobody can overtake the queue. */
void rt_mutex_lock(struct rt *rt, struct rt_mutex *mutex)
{
	struct fiber *fiber = fiber_current(rt);

	if (!fiber || !POOL_CHECK(mutex->owner != fiber))
		return;
	if (!mutex->owner)
		mutex->owner = fiber;
	else
		rt_queue_wait(rt, &mutex->queue);
}

void rt_mutex_unlock(struct rt *rt, struct rt_mutex *mutex)
{
	if (POOL_CHECK(rt->current && mutex->owner == rt->current))
		mutex->owner = wake_first(rt, &mutex->queue);
}

void rt_group_init(struct rt_group *group)
{
	rt_queue_init(&group->queue);
	group->pending = 0;
	group->error = 0;
}

void rt_group_done(struct rt *rt, struct rt_group *group, int error)
{
	if (!POOL_CHECK(group->pending > 0))
		return;
	if (error < 0 && group->error == 0)
		group->error = error;
	if (--group->pending > 0 || list_empty(&group->queue.waiters))
		return;
	int first_error = group->error;
	struct fiber *fiber;

	group->error = 0;
	while ((fiber = wake_first(rt, &group->queue)))
		fiber->group_error = first_error;
}

int rt_group_wait(struct rt *rt, struct rt_group *group)
{
	struct fiber *fiber = fiber_current(rt);

	if (group->pending > 0 && fiber) {
		rt_queue_wait(rt, &group->queue);
		return fiber->group_error;
	}
	int error = group->error;

	group->error = 0;
	return error;
}
