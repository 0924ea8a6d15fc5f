/* The loop and the life of fibers, under a virtual clock. */
#include "tests/unit/rt/fake_env.h"

#include <stdlib.h>

#include "libpool/base/check.h"

struct test {
	struct fake_env fake;
	struct rt *rt;
	struct journal journal;
	struct rt_queue queue;
	int count;
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

static void say_name(void *argument)
{
	struct test *test = argument;
	const char *name = fiber_name(rt_self(test->rt));

	journal_add(&test->journal, "%s1 ", name);
	rt_yield(test->rt);
	journal_add(&test->journal, "%s2 ", name);
}

static void spawn_three(void *argument)
{
	struct test *test = argument;

	spawn(test, "a", say_name);
	spawn(test, "b", say_name);
	spawn(test, "c", say_name);
	assert_int_equal(rt_fiber_count(test->rt), 4);
	say_name(test);
}

static void test_order(void **state)
{
	struct test *test = test_new(0);

	(void)state;
	assert_null(rt_self(test->rt));
	assert_ptr_equal(rt_env(test->rt), &test->fake.env);
	test_run(test, spawn_three);
	assert_string_equal(test->journal.text, "main1 a1 b1 c1 main2 a2 b2 c2 ");
	assert_int_equal(test->fake.most_runnable, 4);
	assert_int_equal(test->fake.waits, 0);
	test_end(test);
}

static void test_runs_again(void **state)
{
	struct test *test = test_new(0);

	(void)state;
	for (int i = 0; i < 100; i++) {
		test->journal.length = 0;
		test_run(test, spawn_three);
		assert_string_equal(test->journal.text, "main1 a1 b1 c1 main2 a2 b2 c2 ");
	}
	test_end(test);
}

static void wake_from_spawned(void *argument)
{
	struct test *test = argument;

	journal_add(&test->journal, "%d ", test->count++);
	rt_queue_wake_one(test->rt, &test->queue);
}

static void wait_five_times(void *argument)
{
	struct test *test = argument;
	uint64_t turns = rt_turns(test->rt);

	for (int i = 0; i < 5; i++) {
		spawn(test, "waker", wake_from_spawned);
		rt_queue_wait(test->rt, &test->queue);
	}
	assert_int_equal(rt_turns(test->rt), turns); /* wake-ups run in the turn they happen in */
	rt_yield(test->rt);
	assert_int_equal(rt_turns(test->rt), turns + 1);
}

static void test_turns(void **state)
{
	struct test *test = test_new(0);

	(void)state;
	test_run(test, wait_five_times);
	assert_string_equal(test->journal.text, "0 1 2 3 4 ");
	assert_int_equal(test->fake.polls, 1);
	test_end(test);
}

struct player {
	struct test *test;
	struct rt_queue queue;
	struct player *other;
};

static void play(void *argument)
{
	struct player *player = argument;
	struct test *test = player->test;

	while (test->fake.polls < 3) {
		rt_queue_wake_one(test->rt, &player->other->queue);
		rt_queue_wait(test->rt, &player->queue);
	}
	rt_queue_wake_one(test->rt, &player->other->queue);
}

/* Two fibers that wake each other for ever must not keep completions from being polled. */
static void test_polls_while_fibers_run(void **state)
{
	struct test *test = test_new(0);
	struct player a = {.test = test}, b = {.test = test, .other = &a};

	(void)state;
	a.other = &b;
	rt_queue_init(&a.queue);
	rt_queue_init(&b.queue);
	assert_int_equal(rt_spawn(test->rt, "b", play, &b), 0);
	assert_int_equal(rt_run(test->rt, play, &a), 0);
	assert_int_equal(test->fake.polls, 3);
	test_end(test);
}

static void wander(void *argument)
{
	struct test *test = argument;
	const char *name = fiber_name(rt_self(test->rt));

	for (int i = 0; i < 6; i++) {
		journal_add(&test->journal, "%s%d@%d ", name, i, (int)rt_now(test->rt));
		if (i % 3 == 0)
			rt_sleep(test->rt, 10 + (uint64_t)(name[0] - 'a'));
		else if (i % 3 == 1)
			rt_queue_wait_until(test->rt, &test->queue, rt_now(test->rt) + 5);
		else
			rt_yield(test->rt);
		rt_queue_wake_one(test->rt, &test->queue);
	}
}

static void wander_all(void *argument)
{
	static const char *const names[] = {"a", "b", "c", "d", "e", "f"};

	for (size_t i = 0; i < 6; i++)
		spawn(argument, names[i], wander);
}

static void wander_journal(uint64_t seed, char text[4096])
{
	struct test *test = test_new(seed);

	test_run(test, wander_all);
	memcpy(text, test->journal.text, sizeof(test->journal.text));
	test_end(test);
}

static void test_deterministic(void **state)
{
	char first[4096], again[4096], other[4096];
	int different = 0;

	(void)state;
	for (uint64_t seed = 0; seed < 20; seed++) {
		wander_journal(seed * 7919, first);
		wander_journal(seed * 7919, again);
		assert_string_equal(first, again);
		wander_journal(seed * 7919 + 1, other);
		different += strcmp(first, other) != 0;
	}
	assert_true(different > 15);
}

static void ask_environment(void *argument)
{
	struct test *test = argument;

	assert_int_equal(rt_now(test->rt), 1000);
	assert_int_equal(rt_realtime(test->rt), 1000);
	assert_true(rt_random(test->rt) == UINT64_C(0x5a5a5a5a5a5a5a5a));
	assert_true(rt_buggify(test->rt, "rare"));
	assert_false(rt_buggify(test->rt, "common"));
	assert_int_equal(rt_parallelism(test->rt), 3);

	assert_null(rt_fiber_local(test->rt));
	rt_fiber_set_local(test->rt, test);
	assert_ptr_equal(rt_fiber_local(test->rt), test);

	assert_true(rt_may_block(test->rt));
	rt_assert_may_block(test->rt);
	rt_no_block_begin(test->rt);
	rt_no_block_begin(test->rt);
	rt_no_block_end(test->rt);
	assert_false(rt_may_block(test->rt));
	rt_yield(test->rt);
	assert_false(rt_may_block(test->rt));
	rt_no_block_end(test->rt);
	assert_true(rt_may_block(test->rt));
}

static void test_environment(void **state)
{
	struct test *test = test_new(0);

	(void)state;
	assert_false(rt_may_block(test->rt));
	assert_null(rt_fiber_local(test->rt));
	test_run(test, ask_environment);
	test_run(test, ask_environment); /* the next fiber on this stack starts afresh */
	test_end(test);
}

static void note_check(void *arg, const char *file, int line, const char *expression)
{
	struct test *test = arg;

	(void)file, (void)line, (void)expression;
	journal_add(&test->journal, "broken ");
}

static void block_where_forbidden(void *argument)
{
	struct test *test = argument;

	rt_no_block_begin(test->rt);
	rt_assert_may_block(test->rt);
	rt_no_block_end(test->rt);
	rt_no_block_end(test->rt);
}

static void test_broken_invariants(void **state)
{
	struct test *test = test_new(0);
	struct rt_group group;
	struct rt_mutex mutex;

	(void)state;
	pool_check_set_handler(note_check, test);
	test_run(test, block_where_forbidden);
	assert_string_equal(test->journal.text, "broken broken ");
	test->journal.length = 0;
	rt_yield(test->rt);
	rt_sleep(test->rt, 1);
	rt_queue_wait(test->rt, &test->queue);
	rt_mutex_init(&mutex);
	rt_mutex_lock(test->rt, &mutex);
	rt_mutex_unlock(test->rt, &mutex);
	rt_group_init(&group);
	rt_group_done(test->rt, &group, 0);
	rt_fiber_set_local(test->rt, test);
	assert_string_equal(test->journal.text,
			    "broken broken broken broken broken broken broken ");
	pool_check_set_handler(NULL, NULL);
	test_end(test);
}

static void test_null_is_accepted(void **state)
{
	(void)state;
	rt_free(NULL);
	rt_abandon(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_runs_again),
		cmocka_unit_test(test_turns),
		cmocka_unit_test(test_polls_while_fibers_run),
		cmocka_unit_test(test_deterministic),
		cmocka_unit_test(test_environment),
		cmocka_unit_test(test_broken_invariants),
		cmocka_unit_test(test_null_is_accepted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
