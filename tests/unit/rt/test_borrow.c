/* Requests whose first leg runs in the thread that brings them, while the engine sleeps. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <unistd.h>

#include "libpool/rt/env_host.h"
#include "libpool/rt/rt.h"

#define CALLERS 4
#define CALLS 5000 /* of each */

struct test {
	struct pool_env *env;
	struct rt *rt;
	struct rt_queue queue, ended;
	pthread_t engine;
	pid_t id; /* of its thread */
	bool stop;
	/* Without a lock: only who has the engine touches them. */
	unsigned count, rounds;
};

struct request {
	struct rt_message message;
	struct test *test;
	fiber_function *function;
	pid_t begun, left; /* the threads that ran its first leg, and its end */
	sem_t done;
};

static void main_fiber(void *argument)
{
	struct test *test = argument;

	while (!test->stop)
		rt_queue_wait(test->rt, &test->ended);
}

static void *engine_main(void *argument)
{
	struct test *test = argument;

	test->id = gettid();
	assert_int_equal(rt_run(test->rt, main_fiber, test), 0);
	rt_free(test->rt);
	env_host_free(test->env);
	return NULL;
}

static void test_begin(struct test *test, unsigned workers)
{
	*test = (struct test){0};
	assert_int_equal(env_host_new(workers, &test->env), 0);
	assert_int_equal(rt_new(test->env, &test->rt), 0);
	rt_queue_init(&test->queue);
	rt_queue_init(&test->ended);
	assert_int_equal(pthread_create(&test->engine, NULL, engine_main, test), 0);
}

static void stop(struct rt_message *message)
{
	struct test *test = container_of(message, struct request, message)->test;

	test->stop = true;
	rt_queue_wake_all(test->rt, &test->ended);
}

static void test_end(struct test *test)
{
	struct request request = {.message.run = stop, .test = test};

	rt_post(test->rt, &request.message);
	pthread_join(test->engine, NULL);
}

static void run_request(void *argument)
{
	struct request *request = argument;

	request->begun = gettid();
	request->function(request);
	request->left = gettid(); /* pthread_self is told to the compiler not to change */
	sem_post(&request->done);
}

static void spawn_request(struct rt_message *message)
{
	struct request *request = container_of(message, struct request, message);

	assert_int_equal(rt_spawn(request->test->rt, "posted", run_request, request), 0);
}

/* True if the first leg ran here. */
static bool call(struct test *test, fiber_function *function, struct request *request)
{
	*request = (struct request){.message.run = spawn_request, .test = test, .function = function};
	sem_init(&request->done, 0, 0);
	int result = rt_run_here(test->rt, "here", run_request, request);

	if (result == -EBUSY)
		rt_post(test->rt, &request->message);
	else
		assert_int_equal(result, 0);
	while (sem_wait(&request->done) < 0 && errno == EINTR)
		continue;
	sem_destroy(&request->done);
	assert_int_equal(request->begun == gettid(), result == 0);
	return result == 0;
}

/* As often as it takes until one ran here: the engine soon falls asleep when nobody wants anything. */
static void call_here(struct test *test, fiber_function *function, struct request *request)
{
	while (!call(test, function, request))
		usleep(1000);
}

static void count_one(void *argument)
{
	((struct request *)argument)->test->count++;
}

static void test_whole(void **state)
{
	struct test test;
	struct request request;

	(void)state;
	test_begin(&test, 1);
	call_here(&test, count_one, &request);
	assert_int_equal(request.left, gettid());
	assert_true(test.count > 0);
	test_end(&test);
}

static void sleep_a_little(void *argument)
{
	rt_sleep(((struct request *)argument)->test->rt, NS_PER_MS);
}

static void work(void *argument)
{
	(void)argument;
}

static void work_a_little(void *argument)
{
	rt_work(((struct request *)argument)->test->rt, work, NULL);
}

static void work_briefly(void *argument)
{
	rt_work_brief(((struct request *)argument)->test->rt, work, NULL, 1);
}

static void let_others_go(void *argument)
{
	rt_yield(((struct request *)argument)->test->rt);
}

static void wait_in_queue(void *argument)
{
	struct test *test = ((struct request *)argument)->test;

	test->rounds++;
	rt_queue_wait(test->rt, &test->queue);
}

static void *call_and_wait(void *argument)
{
	struct request request;

	call(argument, wait_in_queue, &request);
	return NULL;
}

static void wake_others(void *argument)
{
	struct test *test = ((struct request *)argument)->test;

	rt_queue_wake_all(test->rt, &test->queue);
}

/* Whatever the first leg leaves for later, the engine's thread must hear of: it would sleep for ever. */
static void test_goes_on(void **state)
{
	static fiber_function *const functions[] = {sleep_a_little, work_a_little, work_briefly, let_others_go};
	struct test test;
	struct request request;

	(void)state;
	for (unsigned workers = 0; workers < 2; workers++) {
		test_begin(&test, workers);
		for (unsigned i = 0; i < sizeof(functions) / sizeof(functions[0]); i++) {
			call_here(&test, functions[i], &request);
			assert_int_equal(request.left, test.id);
		}
		test_end(&test);
	}
}

static void read_rounds(void *argument)
{
	struct request *request = argument;

	request->test->count = request->test->rounds;
}

static void test_wakes_a_fiber(void **state)
{
	struct test test;
	struct request request;
	pthread_t thread;

	(void)state;
	test_begin(&test, 1);
	assert_int_equal(pthread_create(&thread, NULL, call_and_wait, &test), 0);
	do
		call(&test, read_rounds, &request);
	while (test.count == 0);
	call_here(&test, wake_others, &request);
	pthread_join(thread, NULL);
	test_end(&test);
}

struct posted {
	struct rt_message message;
	struct test *test;
	bool wakes;
	pid_t ran; /* the thread */
};

static void wake_fiber(void *argument)
{
	rt_queue_wake_all(((struct test *)argument)->rt, &((struct test *)argument)->queue);
}

static void note_thread(struct rt_message *message)
{
	struct posted *posted = container_of(message, struct posted, message);

	posted->ran = gettid();
	if (posted->wakes)
		assert_int_equal(rt_spawn(posted->test->rt, "waker", wake_fiber, posted->test), 0);
}

static struct posted posted[4];
static pid_t woken; /* the thread that ran the waiter after it was woken; once, also if the messages are posted again */

static void wait_for_waker(void *argument)
{
	struct test *test = ((struct request *)argument)->test;

	test->rounds++;
	rt_queue_wait(test->rt, &test->queue);
	woken = gettid();
}

static void *call_waiter(void *argument)
{
	struct request request;

	call(argument, wait_for_waker, &request);
	return NULL;
}

static void post_some(void *argument)
{
	struct request *request = argument;

	for (unsigned i = 0; i < 4; i++) {
		posted[i] = (struct posted){.message = {.run = note_thread, .anywhere = i != 2}, .test = request->test, .wakes = i == 1};
		rt_post(request->test->rt, &posted[i].message);
	}
}

/* What others post meanwhile is done in the same thread if it may be, in order; what it wakes is the engine's. */
static void test_messages_of_others(void **state)
{
	struct test test;
	struct request request;
	pthread_t thread;

	(void)state;
	test_begin(&test, 1);
	assert_int_equal(pthread_create(&thread, NULL, call_waiter, &test), 0);
	do
		call(&test, read_rounds, &request);
	while (test.count == 0);
	/* Not if the engine's own thread wants to go on at that moment. */
	do {
		call_here(&test, post_some, &request);
		call(&test, read_rounds, &request); /* after all of them */
	} while (posted[0].ran != gettid());
	pthread_join(thread, NULL);
	assert_int_equal(posted[1].ran, gettid());
	assert_int_equal(posted[2].ran, test.id);
	assert_int_equal(posted[3].ran, test.id);
	assert_int_equal(woken, test.id);
	test_end(&test);
}

static void some_of_all(void *argument)
{
	struct request *request = argument;
	struct test *test = request->test;

	test->count++;
	if (test->count % 64 == 0)
		rt_sleep(test->rt, NS_PER_MS / 20);
	else if (test->count % 16 == 0)
		rt_work(test->rt, work, NULL);
	else if (test->count % 8 == 0)
		rt_yield(test->rt);
	test->rounds++;
}

static void *call_often(void *argument)
{
	struct request request;
	size_t here = 0;

	for (int i = 0; i < CALLS; i++) {
		here += call(argument, some_of_all, &request);
		if (i % 200 == 0)
			usleep(200); /* lets the engine fall asleep */
	}
	return (void *)here;
}

static void test_threads(void **state)
{
	struct test test;
	pthread_t threads[CALLERS];

	(void)state;
	test_begin(&test, 1);
	for (int i = 0; i < CALLERS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, call_often, &test), 0);
	for (int i = 0; i < CALLERS; i++)
		pthread_join(threads[i], NULL);
	test_end(&test);
	assert_int_equal(test.count, CALLERS * CALLS);
	assert_int_equal(test.rounds, CALLERS * CALLS);
}

static void fail_to_borrow(void *argument)
{
	fail_msg("ran, %p", argument);
}

/* An environment that doesn't know it, as the simulator's: the request is posted. */
static void test_never(void **state)
{
	struct pool_env *env;
	struct rt *rt;
	struct pool_env_ops without;
	const struct pool_env_ops *ops;

	(void)state;
	assert_int_equal(env_host_new(1, &env), 0);
	ops = env->ops;
	without = *ops;
	without.borrow = NULL;
	without.lends = NULL;
	env->ops = &without;
	assert_int_equal(rt_new(env, &rt), 0);
	assert_false(rt_may_run_here(rt));
	assert_int_equal(rt_run_here(rt, "here", fail_to_borrow, NULL), -EBUSY);
	rt_free(rt);
	env->ops = ops;
	env_host_free(env);
}

/* Before the engine runs, and after it ended, it doesn't wait: nobody may have it. */
static void test_not_running(void **state)
{
	struct pool_env *env;
	struct rt *rt;

	(void)state;
	assert_int_equal(env_host_new(1, &env), 0);
	assert_int_equal(rt_new(env, &rt), 0);
	assert_false(rt_may_run_here(rt));
	assert_int_equal(rt_run_here(rt, "here", fail_to_borrow, NULL), -EBUSY);
	rt_free(rt);
	env_host_free(env);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_whole),
		cmocka_unit_test(test_goes_on),
		cmocka_unit_test(test_wakes_a_fiber),
		cmocka_unit_test(test_messages_of_others),
		cmocka_unit_test(test_threads),
		cmocka_unit_test(test_never),
		cmocka_unit_test(test_not_running),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
