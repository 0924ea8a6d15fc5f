/* Queues, deadlines, mutexes, groups and timers, under a virtual clock. */
#include "tests/unit/rt/fake_env.h"

#include <errno.h>
#include <stdlib.h>

struct test {
	struct fake_env fake;
	struct rt *rt;
	struct journal journal;
	struct rt_queue queue;
	struct rt_mutex mutex;
	struct rt_group group;
	unsigned next, woken;
};

static void run(uint64_t seed, fiber_function *function, const char *expected)
{
	struct test *test = calloc(1, sizeof(*test));

	test->rt = fake_new(&test->fake, seed);
	rt_queue_init(&test->queue);
	rt_mutex_init(&test->mutex);
	rt_group_init(&test->group);
	assert_int_equal(rt_run(test->rt, function, test), 0);
	if (expected)
		assert_string_equal(test->journal.text, expected);
	assert_true(list_empty(&test->queue.waiters));
	rt_free(test->rt);
	free(test);
}

static void spawn(struct test *test, const char *name, fiber_function *function)
{
	assert_int_equal(rt_spawn(test->rt, name, function, test), 0);
}

static void spawn_abc(struct test *test, fiber_function *function)
{
	spawn(test, "a", function);
	spawn(test, "b", function);
	spawn(test, "c", function);
}

static const char *self(struct test *test)
{
	return fiber_name(rt_self(test->rt));
}

static void wait_and_say(void *argument)
{
	struct test *test = argument;

	rt_queue_wait(test->rt, &test->queue);
	journal_add(&test->journal, "%s ", self(test));
}

static void wake_in_order(void *argument)
{
	struct test *test = argument;

	rt_queue_wake_one(test->rt, &test->queue); /* of nobody: forgotten */
	spawn_abc(test, wait_and_say);
	rt_yield(test->rt);
	rt_queue_wake_one(test->rt, &test->queue);
	rt_yield(test->rt);
	journal_add(&test->journal, "| ");
	spawn(test, "d", wait_and_say);
	rt_yield(test->rt);
	rt_queue_wake_all(test->rt, &test->queue);
	rt_queue_wake_all(test->rt, &test->queue);
	rt_yield(test->rt);
}

static void test_wake_order(void **state)
{
	(void)state;
	run(0, wake_in_order, "a | b c d ");
}

static void wait_with_deadline(void *argument)
{
	struct test *test = argument;
	uint64_t until = 1000 + 10 * (uint64_t)(self(test)[0] - 'a' + 1);
	bool woken = rt_queue_wait_until(test->rt, &test->queue, until);

	journal_add(&test->journal, "%s:%d@%d ", self(test), woken, (int)rt_now(test->rt));
}

static void deadlines(void *argument)
{
	struct test *test = argument;

	spawn_abc(test, wait_with_deadline); /* 1010, 1020, 1030 */
	rt_sleep(test->rt, 15);
	rt_queue_wake_one(test->rt, &test->queue); /* b: a has gone */
	rt_sleep(test->rt, 100);
	rt_queue_wake_one(test->rt, &test->queue);
	assert_false(rt_queue_wait_until(test->rt, &test->queue, 1)); /* in the past */
	assert_false(rt_queue_wait_until(test->rt, &test->queue, 0));
	assert_int_equal(rt_now(test->rt), 1115);
}

static void test_deadlines(void **state)
{
	(void)state;
	run(0, deadlines, "a:0@1010 b:1@1015 c:0@1030 ");
}

static void wake_at_deadline(void *argument)
{
	struct test *test = argument;

	rt_sleep(test->rt, 10);
	rt_queue_wake_one(test->rt, &test->queue);
}

/*
 * A wake-up and a deadline at the same instant: one of both ends the wait, and a wake-up that ended one
 * does not end the next. One that found the deadline passed may: it comes as the fiber waits again.
 */
static void race_with_deadline(void *argument)
{
	struct test *test = argument;

	for (int i = 0; i < 100; i++) {
		uint64_t until = rt_now(test->rt) + 10;

		spawn(test, "waker", wake_at_deadline);
		if (i % 2)
			rt_yield(test->rt);
		bool first = rt_queue_wait_until(test->rt, &test->queue, until);

		assert_int_equal(rt_now(test->rt), until);
		bool second = rt_queue_wait_until(test->rt, &test->queue, until + 5);

		assert_false(first && second);
		assert_int_equal(rt_now(test->rt), second ? until : until + 5);
	}
}

static void test_race_with_deadline(void **state)
{
	(void)state;
	for (uint64_t seed = 0; seed < 10; seed++)
		run(seed, race_with_deadline, NULL);
}

static void wake_self(void *argument)
{
	struct test *test = argument;

	rt_queue_wake_all(test->rt, &test->queue);
}

static void wait_for_latest(void *argument)
{
	struct test *test = argument;

	spawn(test, "waker", wake_self);
	assert_true(rt_queue_wait_until(test->rt, &test->queue, UINT64_MAX));
	rt_sleep(test->rt, 0);
	assert_int_equal(rt_now(test->rt), 1000);
}

static void test_no_deadline(void **state)
{
	(void)state;
	run(0, wait_for_latest, "");
}

static void lock_twice(void *argument)
{
	struct test *test = argument;

	for (int i = 0; i < 2; i++) {
		rt_mutex_lock(test->rt, &test->mutex);
		assert_ptr_equal(test->mutex.owner, rt_self(test->rt));
		journal_add(&test->journal, "%s", self(test));
		rt_yield(test->rt);
		journal_add(&test->journal, "%s ", self(test));
		rt_mutex_unlock(test->rt, &test->mutex);
	}
}

static void contend(void *argument)
{
	spawn_abc(argument, lock_twice);
}

static void test_mutex_is_fair(void **state)
{
	(void)state;
	/* Each unlocks and locks again at once, and still goes to the end of the queue. */
	run(0, contend, "aa bb cc aa bb cc ");
	for (uint64_t seed = 1; seed < 20; seed++)
		run(seed, contend, NULL);
}

static void wait_for_group(void *argument)
{
	struct test *test = argument;
	int error = rt_group_wait(test->rt, &test->group);

	journal_add(&test->journal, "%s:%d ", self(test), error);
}

static void group_errors(void *argument)
{
	struct test *test = argument;

	assert_int_equal(rt_group_wait(test->rt, &test->group), 0); /* nothing pending */
	for (int i = 0; i < 4; i++)
		rt_group_add(&test->group);
	spawn_abc(test, wait_for_group);
	rt_yield(test->rt);
	rt_group_done(test->rt, &test->group, 0);
	rt_group_done(test->rt, &test->group, -EIO);
	rt_group_done(test->rt, &test->group, -ENOSPC);
	rt_yield(test->rt);
	journal_add(&test->journal, "| ");
	rt_group_done(test->rt, &test->group, 0);
	rt_group_add(&test->group); /* they saw zero all the same */
	rt_yield(test->rt);
	rt_group_done(test->rt, &test->group, -EINVAL);
	assert_int_equal(rt_group_wait(test->rt, &test->group), -EINVAL);
	assert_int_equal(rt_group_wait(test->rt, &test->group), 0);
}

static void test_group_errors(void **state)
{
	(void)state;
	run(0, group_errors, "| a:-5 b:-5 c:-5 ");
}

static void job_function(void *argument)
{
	unsigned *value = argument;

	*value *= 2;
}

static void work_twice(void *argument)
{
	struct test *test = argument;
	unsigned value = 21;

	rt_work(test->rt, job_function, &value);
	assert_int_equal(value, 42);
	rt_work(test->rt, job_function, &value);
	assert_int_equal(value, 84);
	test->woken++;
}

static void work_in_parallel(void *argument)
{
	struct test *test = argument;

	spawn_abc(test, work_twice);
	work_twice(test);
	while (test->woken < 4)
		rt_yield(test->rt);
}

static void test_work(void **state)
{
	(void)state;
	run(0, work_in_parallel, "");
	run(5, work_in_parallel, "");
}

struct named_timer {
	struct rt_timer timer;
	struct test *test;
	const char *name;
	int again;
};

static void say_timer(struct rt_timer *timer)
{
	struct named_timer *named = container_of(timer, struct named_timer, timer);

	assert_false(timer->armed);
	assert_null(rt_self(named->test->rt));
	journal_add(&named->test->journal, "%s@%d ", named->name, (int)rt_now(named->test->rt));
	if (named->again-- > 0)
		rt_timer_arm(named->test->rt, timer, 0); /* in the past */
}

static void timers(void *argument)
{
	struct test *test = argument;
	struct named_timer a = {.timer.fire = say_timer, .test = test, .name = "a"};
	struct named_timer b = a, c = a, d = a;

	b.name = "b";
	c.name = "c";
	d.name = "d";
	b.again = 2;
	rt_timer_cancel(test->rt, &a.timer); /* not armed */
	rt_timer_arm(test->rt, &a.timer, 1030);
	rt_timer_arm(test->rt, &b.timer, 1020);
	rt_timer_arm(test->rt, &c.timer, 1020);
	rt_timer_arm(test->rt, &d.timer, 1010);
	assert_true(d.timer.armed);
	rt_timer_cancel(test->rt, &d.timer);
	assert_false(d.timer.armed);
	rt_timer_arm(test->rt, &a.timer, 1020); /* now after c */
	uint64_t turns = rt_turns(test->rt);

	rt_sleep(test->rt, 50);
	assert_int_equal(rt_turns(test->rt), turns + 4);
}

static void test_timers(void **state)
{
	(void)state;
	run(0, timers, "b@1020 c@1020 a@1020 b@1020 b@1020 ");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_wake_order),
		cmocka_unit_test(test_deadlines),
		cmocka_unit_test(test_race_with_deadline),
		cmocka_unit_test(test_no_deadline),
		cmocka_unit_test(test_mutex_is_fair),
		cmocka_unit_test(test_group_errors),
		cmocka_unit_test(test_work),
		cmocka_unit_test(test_timers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
