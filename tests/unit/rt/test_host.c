/* The environment of a real process: threads that post, sources, sleeping and waking. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "libpool/rt/env_host.h"
#include "libpool/rt/rt.h"

#define POSTERS 4
#define MESSAGES 100000 /* of all posters */

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

static const struct pool_env_ops *host_ops;
static atomic_bool ended; /* the engine has ended and its memory is gone */
static bool was_woken_after_its_end;

static void wake_late(struct pool_env *env)
{
	usleep(50000);
	was_woken_after_its_end = atomic_load(&ended);
	host_ops->wake(env);
}

static void stop_waiting(struct rt_message *message)
{
	container_of(message, struct numbered, message)->number = 1;
}

static void wait_for_number(void *argument)
{
	struct numbered *numbered = argument;

	while (numbered->number == 0)
		rt_sleep(numbered->poster->test->rt, NS_PER_MS);
}

static void *run_to_the_end(void *argument)
{
	struct test *test = ((struct numbered *)argument)->poster->test;

	assert_int_equal(rt_run(test->rt, wait_for_number, argument), 0);
	rt_abandon(test->rt);
	atomic_store(&ended, true);
	env_host_free(test->env);
	return NULL;
}

/* The engine takes the last message and ends before whoever posted it has got around to waking it. */
static void test_last_message(void **state)
{
	struct test test;
	struct poster poster = {.test = &test};
	struct numbered numbered = {.message.run = stop_waiting, .poster = &poster};
	struct pool_env_ops slow;
	pthread_t thread;

	(void)state;
	test_begin(&test, 1);
	host_ops = test.env->ops;
	slow = *host_ops;
	slow.wake = wake_late;
	test.env->ops = &slow;
	assert_int_equal(pthread_create(&thread, NULL, run_to_the_end, &numbered), 0);
	rt_post(test.rt, &numbered.message);
	pthread_join(thread, NULL);
	assert_true(atomic_load(&ended));
	assert_false(was_woken_after_its_end);
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

static void test_null_is_accepted(void **state)
{
	(void)state;
	env_host_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_post),
		cmocka_unit_test(test_no_wake_up_is_lost),
		cmocka_unit_test(test_last_message),
		cmocka_unit_test(test_sources),
		cmocka_unit_test(test_sleep),
		cmocka_unit_test(test_null_is_accepted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
