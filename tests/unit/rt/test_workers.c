/* Jobs on worker threads, and without any. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "libpool/base/check.h"
#include "libpool/rt/env_host.h"
#include "libpool/rt/rt.h"

#define JOBS 2000

struct test {
	struct pool_env *env;
	struct rt *rt;
	struct rt_queue queue;
	unsigned count;
	char text[128];
};

static void test_begin(struct test *test, unsigned workers)
{
	*test = (struct test){0};
	assert_int_equal(env_host_new(workers, &test->env), 0);
	assert_int_equal(rt_new(test->env, &test->rt), 0);
	rt_queue_init(&test->queue);
}

static void test_end(struct test *test)
{
	rt_free(test->rt);
	env_host_free(test->env);
}

struct sum_job {
	struct rt_job job;
	struct test *test;
	pthread_t thread;
	unsigned value;
};

static void square(void *argument)
{
	struct sum_job *job = argument;

	job->value *= job->value;
	job->thread = pthread_self();
}

static void job_done(struct rt_job *job)
{
	struct sum_job *sum = job->owner;

	assert_null(rt_self(sum->test->rt));
	sum->test->count += sum->value;
	rt_queue_wake_one(sum->test->rt, &sum->test->queue);
}

static void work_and_wait(void *argument)
{
	struct sum_job *job = argument;

	for (int i = 0; i < 50; i++) {
		job->value = 2;
		rt_work(job->test->rt, square, job);
		assert_int_equal(job->value, 4);
	}
	job->test->count++;
}

static void run_jobs(void *argument)
{
	struct test *test = argument;
	struct sum_job *jobs = calloc(JOBS, sizeof(*jobs));
	unsigned expected = 0;

	for (unsigned i = 0; i < JOBS; i++) {
		jobs[i].job = (struct rt_job){
			.function = square, .argument = &jobs[i], .done = job_done, .owner = &jobs[i]};
		jobs[i].test = test;
		jobs[i].value = 1 + i % 10; /* each counts */
		expected += jobs[i].value * jobs[i].value;
		rt_work_submit(test->rt, &jobs[i].job);
	}
	while (test->count < expected)
		rt_queue_wait(test->rt, &test->queue);
	for (unsigned i = 0; i < JOBS; i++)
		assert_int_equal(!pthread_equal(jobs[i].thread, pthread_self()), rt_parallelism(test->rt) > 1);
	test->count = 0;
	for (unsigned i = 0; i < 20; i++)
		assert_int_equal(rt_spawn(test->rt, "worker's", work_and_wait, &jobs[i]), 0);
	while (test->count < 20)
		rt_yield(test->rt);
	free(jobs);
}

static void test_jobs(void **state)
{
	struct test test;

	(void)state;
	for (unsigned workers = 0; workers <= 4; workers += 2) {
		test_begin(&test, workers);
		assert_int_equal(rt_parallelism(test.rt), workers ? workers : 1);
		assert_int_equal(rt_run(test.rt, run_jobs, &test), 0);
		test_end(&test);
	}
}

static void note_done(struct rt_job *job)
{
	struct sum_job *sum = job->owner;

	sum->test->count++;
}

/* Alone it waits for the engine, which has other things to do all the time: then a worker gets it. */
static void brief_while_busy(void *argument)
{
	struct test *test = argument;
	struct sum_job job = {.test = test, .value = 3};

	for (unsigned i = 1; i <= 200; i++) {
		job.job = (struct rt_job){.function = square, .argument = &job, .done = note_done, .owner = &job, .brief_us = i % 2 ? 2 : 50};
		job.value = 3;
		rt_work_submit(test->rt, &job.job);
		while (test->count < i)
			rt_yield(test->rt);
		assert_int_equal(job.value, 9);
		/* What takes next to nothing the engine does itself. */
		if (i % 2 == 0)
			assert_int_equal(!pthread_equal(job.thread, pthread_self()), rt_parallelism(test->rt) > 1);
	}
}

/* The engine has nothing else to do: whoever is first. Never on a fiber's stack. */
static void check_stack(void *argument)
{
	struct sum_job *job = argument;

	if (pthread_equal(job->thread, pthread_self()))
		assert_null(rt_self(job->test->rt));
	job->value++;
}

static void wait_for_brief(void *argument)
{
	struct sum_job *job = argument;

	for (unsigned i = 0; i < 100; i++) {
		rt_work_brief(job->test->rt, check_stack, job, i % 30);
		if (i % 10 == 0)
			rt_work(job->test->rt, square, &(struct sum_job){.value = 1});
	}
	job->test->count += job->value;
}

static void brief_while_idle(void *argument)
{
	struct test *test = argument;
	struct sum_job jobs[8];

	test->count = 0;
	for (unsigned i = 0; i < 8; i++) {
		jobs[i] = (struct sum_job){.test = test, .thread = pthread_self()};
		assert_int_equal(rt_spawn(test->rt, "brief", wait_for_brief, &jobs[i]), 0);
	}
	while (rt_fiber_count(test->rt) > 1)
		rt_sleep(test->rt, NS_PER_MS);
	assert_int_equal(test->count, 800);
}

static void test_brief_jobs(void **state)
{
	struct test test;

	(void)state;
	for (unsigned workers = 0; workers <= 4; workers += 2) {
		test_begin(&test, workers);
		assert_int_equal(rt_run(test.rt, brief_while_busy, &test), 0);
		assert_int_equal(rt_run(test.rt, brief_while_idle, &test), 0);
		test_end(&test);
	}
}

static void look_at_thread(void *argument)
{
	struct test *test = argument;
	sigset_t blocked;

	pthread_sigmask(SIG_SETMASK, NULL, &blocked);
	test->count = sigismember(&blocked, SIGTERM) && sigismember(&blocked, SIGINT);
	pthread_getname_np(pthread_self(), test->text, sizeof(test->text));
}

static void look_at_worker(void *argument)
{
	struct test *test = argument;

	rt_work(test->rt, look_at_thread, test);
}

static void test_worker_thread(void **state)
{
	struct test test;
	sigset_t blocked;

	(void)state;
	test_begin(&test, 1);
	assert_int_equal(rt_run(test.rt, look_at_worker, &test), 0);
	assert_int_equal(test.count, 1);
	assert_string_equal(test.text, "pool-worker");
	pthread_sigmask(SIG_SETMASK, NULL, &blocked);
	assert_false(sigismember(&blocked, SIGTERM));
	test_end(&test);
}

static void note_check(void *arg, const char *file, int line, const char *expression)
{
	struct test *test = arg;

	(void)file, (void)line;
	assert_null(rt_self(test->rt));
	strncpy(test->text, expression, sizeof(test->text) - 1);
	test->count++;
}

static void break_invariant(void *argument)
{
	(void)argument;
	assert_false(POOL_CHECK(1 + 1 == 3));
}

static void break_on_worker(void *argument)
{
	struct test *test = argument;

	rt_work(test->rt, break_invariant, test);
	assert_int_equal(test->count, 1); /* reported before the job was done */
}

static void test_broken_invariant_on_worker(void **state)
{
	struct test test;

	(void)state;
	test_begin(&test, 2);
	pool_check_set_handler(note_check, &test);
	assert_int_equal(rt_run(test.rt, break_on_worker, &test), 0);
	assert_int_equal(test.count, 1);
	assert_string_equal(test.text, "1 + 1 == 3");
	pool_check_set_handler(NULL, NULL);
	test_end(&test);
}

static void slow_job(void *argument)
{
	nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	(*(unsigned *)argument)++;
}

static void wait_for_slow_job(void *argument)
{
	struct test *test = argument;
	unsigned on_stack = 0;

	rt_work(test->rt, slow_job, &on_stack);
	rt_work(test->rt, slow_job, &on_stack);
}

static void leave_jobs(void *argument)
{
	struct test *test = argument;

	for (int i = 0; i < 30; i++)
		assert_int_equal(rt_spawn(test->rt, "slow", wait_for_slow_job, test), 0);
	rt_sleep(test->rt, 3 * NS_PER_MS);
	rt_stop(test->rt);
}

/* Jobs use the stacks of the fibers that wait for them: none may run once the stacks are gone. */
static void test_abandon_with_jobs(void **state)
{
	struct test test;

	(void)state;
	for (int i = 0; i < 10; i++) {
		test_begin(&test, (unsigned)i % 3);
		assert_int_equal(rt_run(test.rt, leave_jobs, &test), -ECANCELED);
		rt_abandon(test.rt);
		env_host_free(test.env);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_jobs),
		cmocka_unit_test(test_brief_jobs),
		cmocka_unit_test(test_worker_thread),
		cmocka_unit_test(test_broken_invariant_on_worker),
		cmocka_unit_test(test_abandon_with_jobs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
