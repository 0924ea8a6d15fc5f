/* The environment of a real process: threads that post, workers, sources, sleeping and waking. */
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
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "libpool/base/check.h"
#include "libpool/rt/env_host.h"
#include "libpool/rt/rt.h"

#define POSTERS 4
#define MESSAGES 100000 /* of all posters */
#define JOBS 2000

struct numbered {
	struct rt_message message;
	struct poster *poster;
	unsigned number;
};

struct poster {
	struct test *test;
	pthread_t thread;
	unsigned next;
	struct numbered messages[MESSAGES / POSTERS];
};

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

static void receive(struct rt_message *message)
{
	struct numbered *numbered = container_of(message, struct numbered, message);
	struct test *test = numbered->poster->test;

	if (numbered->number != numbered->poster->next++ || rt_self(test->rt))
		fail();
	if (++test->count == MESSAGES)
		rt_queue_wake_one(test->rt, &test->queue);
}

static void *post_all(void *argument)
{
	struct poster *poster = argument;

	for (unsigned i = 0; i < MESSAGES / POSTERS; i++) {
		poster->messages[i].message.run = receive;
		poster->messages[i].poster = poster;
		poster->messages[i].number = i;
		rt_post(poster->test->rt, &poster->messages[i].message);
		if (i % 1000 == 0)
			nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL); /* lets the engine fall asleep */
	}
	return NULL;
}

static void wait_in_queue(void *argument)
{
	struct test *test = argument;

	rt_queue_wait(test->rt, &test->queue);
}

static void test_post(void **state)
{
	struct test test;
	struct poster *posters[POSTERS];

	(void)state;
	test_begin(&test, 1);
	for (int i = 0; i < POSTERS; i++) {
		posters[i] = calloc(1, sizeof(*posters[i]));
		posters[i]->test = &test;
		pthread_create(&posters[i]->thread, NULL, post_all, posters[i]);
	}
	assert_int_equal(rt_run(test.rt, wait_in_queue, &test), 0);
	assert_int_equal(test.count, MESSAGES);
	for (int i = 0; i < POSTERS; i++) {
		pthread_join(posters[i]->thread, NULL);
		free(posters[i]);
	}
	test_end(&test);
}

struct ping {
	struct rt_message message;
	struct test *test;
	pthread_mutex_t lock;
	pthread_cond_t answered;
	bool answer;
};

static void answer_ping(struct rt_message *message)
{
	struct ping *ping = container_of(message, struct ping, message);

	pthread_mutex_lock(&ping->lock);
	ping->answer = true;
	pthread_cond_signal(&ping->answered);
	pthread_mutex_unlock(&ping->lock);
	if (++ping->test->count == 20000)
		rt_queue_wake_one(ping->test->rt, &ping->test->queue);
}

static void *ping_many(void *argument)
{
	struct ping *ping = argument;

	for (int i = 0; i < 20000; i++) {
		pthread_mutex_lock(&ping->lock);
		ping->answer = false;
		rt_post(ping->test->rt, &ping->message);
		while (!ping->answer)
			pthread_cond_wait(&ping->answered, &ping->lock);
		pthread_mutex_unlock(&ping->lock);
	}
	return NULL;
}

/* One message at a time: a single lost wake-up would hang the test. */
static void test_no_wake_up_is_lost(void **state)
{
	struct test test;
	struct ping ping = {.message.run = answer_ping, .test = &test};
	pthread_t thread;

	(void)state;
	test_begin(&test, 1);
	pthread_mutex_init(&ping.lock, NULL);
	pthread_cond_init(&ping.answered, NULL);
	pthread_create(&thread, NULL, ping_many, &ping);
	assert_int_equal(rt_run(test.rt, wait_in_queue, &test), 0);
	pthread_join(thread, NULL);
	pthread_cond_destroy(&ping.answered);
	pthread_mutex_destroy(&ping.lock);
	test_end(&test);
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
		jobs[i].value = i % 10;
		expected += (i % 10) * (i % 10);
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

struct event_source {
	struct rt_source source;
	struct test *test;
	bool remove;
};

static int poll_event(struct rt_source *source)
{
	struct event_source *event = container_of(source, struct event_source, source);
	uint64_t value;

	if (event->remove)
		event->test->env->ops->source_remove(event->test->env, source);
	if (read(source->descriptor, &value, sizeof(value)) < 0)
		return 0;
	event->test->count += (unsigned)value;
	rt_queue_wake_all(event->test->rt, &event->test->queue);
	return 1;
}

static void *write_later(void *argument)
{
	struct event_source *event = argument;
	uint64_t value = 5;

	nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
	assert_int_equal(write(event->source.descriptor, &value, sizeof(value)), sizeof(value));
	return NULL;
}

static void test_sources(void **state)
{
	struct test test;
	struct event_source events[3];
	pthread_t thread;

	(void)state;
	test_begin(&test, 0);
	for (int i = 0; i < 3; i++) {
		events[i] = (struct event_source){.source.poll = poll_event, .test = &test, .remove = i < 2};
		events[i].source.descriptor = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		test.env->ops->source_add(test.env, &events[i].source);
	}
	pthread_create(&thread, NULL, write_later, &events[2]);
	assert_int_equal(rt_run(test.rt, wait_in_queue, &test), 0);
	assert_int_equal(test.count, 5);
	assert_false(list_linked(&events[0].source.node));
	assert_false(list_linked(&events[1].source.node));
	pthread_join(thread, NULL);
	test.env->ops->source_remove(test.env, &events[2].source);
	for (int i = 0; i < 3; i++)
		close(events[i].source.descriptor);
	test_end(&test);
}

static void sleep_twice(void *argument)
{
	struct test *test = argument;
	uint64_t begin = rt_now(test->rt);

	rt_sleep(test->rt, 2 * NS_PER_MS);
	assert_true(rt_now(test->rt) - begin >= 2 * NS_PER_MS);
	assert_false(rt_queue_wait_until(test->rt, &test->queue, rt_now(test->rt) + NS_PER_MS));
	assert_true(rt_now(test->rt) - begin >= 3 * NS_PER_MS);
	assert_true(rt_realtime(test->rt) > UINT64_C(1600000000) * NS_PER_S);
	assert_true(rt_random(test->rt) != rt_random(test->rt));
	assert_false(rt_buggify(test->rt, "never"));
}

static void test_sleep(void **state)
{
	struct test test;

	(void)state;
	test_begin(&test, 0);
	assert_int_equal(rt_run(test.rt, sleep_twice, &test), 0);
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

static void test_refused(void **state)
{
	(void)state;
	env_host_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_post),
		cmocka_unit_test(test_no_wake_up_is_lost),
		cmocka_unit_test(test_jobs),
		cmocka_unit_test(test_worker_thread),
		cmocka_unit_test(test_broken_invariant_on_worker),
		cmocka_unit_test(test_sources),
		cmocka_unit_test(test_sleep),
		cmocka_unit_test(test_abandon_with_jobs),
		cmocka_unit_test(test_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
