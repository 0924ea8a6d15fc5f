/* Ways to end before the end: a fiber that exits, an engine that is stopped and abandoned. */
#include "tests/unit/rt/fake_env.h"

#include <errno.h>
#include <stdlib.h>

struct test {
	struct fake_env fake;
	struct rt *rt;
	struct journal journal;
	struct rt_queue queue;
};

static struct test *test_new(uint64_t seed)
{
	struct test *test = calloc(1, sizeof(*test));

	test->rt = fake_new(&test->fake, seed);
	rt_queue_init(&test->queue);
	return test;
}

static void test_run(struct test *test, fiber_function *function)
{
	assert_int_equal(rt_run(test->rt, function, test), 0);
	assert_int_equal(rt_fiber_count(test->rt), 0);
}

static void test_end(struct test *test)
{
	rt_free(test->rt);
	assert_null(test->fake.env.rt);
	free(test);
}

static void spawn(struct test *test, const char *name, fiber_function *function)
{
	assert_int_equal(rt_spawn(test->rt, name, function, test), 0);
}

static void exit_deep(struct test *test, int depth)
{
	volatile char frame[256];

	memset((void *)frame, depth, sizeof(frame));
	if (depth > 0)
		exit_deep(test, depth - 1);
	else if (frame[0] == 0)
		rt_exit(test->rt);
	frame[0]++;
}

static void exit_early(void *argument)
{
	exit_deep(argument, 20);
}

static void exit_main(void *argument)
{
	struct test *test = argument;

	for (int i = 0; i < 50; i++) {
		spawn(test, "short", exit_early);
		rt_yield(test->rt);
		assert_int_equal(rt_fiber_count(test->rt), 1);
	}
}

static void test_exit(void **state)
{
	struct test *test = test_new(0);

	(void)state;
	test_run(test, exit_main);
	test_end(test);
}

static void list_fiber(const struct fiber *fiber, void *arg)
{
	struct test *test = arg;

	journal_add(&test->journal, "%s ", fiber_name(fiber));
}

static void wait_for_ever(void *argument)
{
	struct test *test = argument;

	rt_queue_wait(test->rt, &test->queue);
	fail();
}

static void sleep_for_ever(void *argument)
{
	struct test *test = argument;

	rt_sleep(test->rt, UINT64_MAX);
	fail();
}

static void end_at_once(void *argument)
{
	struct test *test = argument;

	journal_add(&test->journal, "ended ");
}

static void leave_waiting(void *argument)
{
	struct test *test = argument;

	spawn(test, "waits", wait_for_ever);
	spawn(test, "sleeps", sleep_for_ever);
	spawn(test, "ends", end_at_once);
}

static void test_deadlock_and_abandon(void **state)
{
	struct test *test = test_new(0);

	(void)state;
	assert_int_equal(rt_run(test->rt, leave_waiting, test), -ECANCELED);
	assert_true(test->fake.deadlocked);
	test->journal.length = 0;
	rt_each_fiber(test->rt, list_fiber, test);
	assert_string_equal(test->journal.text, "waits sleeps ");
	assert_int_equal(rt_run(test->rt, leave_waiting, test), -ECANCELED);
	rt_abandon(test->rt);
	free(test);
}

static void stop_here(void *argument)
{
	struct test *test = argument;

	leave_waiting(test);
	rt_yield(test->rt);
	for (int i = 0; i < 5; i++)
		spawn(test, "never", sleep_for_ever);
	rt_stop(test->rt);
	journal_add(&test->journal, "stopped ");
	rt_yield(test->rt);
	fail();
}

static void test_stop_in_fiber(void **state)
{
	(void)state;
	for (int i = 0; i < 50; i++) {
		struct test *test = test_new(0);

		assert_int_equal(rt_run(test->rt, stop_here, test), -ECANCELED);
		assert_string_equal(test->journal.text, "ended stopped ");
		assert_int_equal(rt_fiber_count(test->rt), 8);
		rt_abandon(test->rt);
		free(test);
	}
}

struct stop_timer {
	struct rt_timer timer;
	struct rt *rt;
};

static void stop_now(struct rt_timer *timer)
{
	rt_stop(container_of(timer, struct stop_timer, timer)->rt);
}

static void test_stop_in_timer(void **state)
{
	struct test *test = test_new(0);
	struct stop_timer stop = {.timer.fire = stop_now, .rt = test->rt};

	(void)state;
	rt_timer_arm(test->rt, &stop.timer, 5000);
	assert_int_equal(rt_run(test->rt, leave_waiting, test), -ECANCELED);
	assert_false(test->fake.deadlocked);
	assert_int_equal(test->fake.now, 5000);
	rt_abandon(test->rt);
	free(test);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_exit),
		cmocka_unit_test(test_deadlock_and_abandon),
		cmocka_unit_test(test_stop_in_fiber),
		cmocka_unit_test(test_stop_in_timer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
