/* Stacks: how many, how deep, what lies below them, and that none is left mapped. */
#include "tests/unit/rt/fake_env.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "libpool/rt/fiber_context.h"

#ifdef POOL_TSAN
#define MANY 2000 /* it counts fibers as threads, of which it knows 8,000 */
#else
#define MANY RT_FIBERS_MAX
#endif

struct test {
	struct fake_env fake;
	struct rt *rt;
	struct rt_queue queue;
	unsigned ended;
};

static struct test *test_new(void)
{
	struct test *test = calloc(1, sizeof(*test));

	test->rt = fake_new(&test->fake, 0);
	rt_queue_init(&test->queue);
	return test;
}

static unsigned map_count(void)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	unsigned count = 0;
	int letter;

	assert_non_null(maps);
	while ((letter = fgetc(maps)) != EOF)
		count += letter == '\n';
	fclose(maps);
	return count;
}

/* The sanitizers and valgrind map memory of their own. */
static bool counts_own_maps(void)
{
#if defined(POOL_TSAN) || defined(POOL_ASAN)
	return false;
#elif defined(RUNNING_ON_VALGRIND)
	return !RUNNING_ON_VALGRIND;
#else
	return true;
#endif
}

static void assert_maps_as_before(unsigned before)
{
	if (counts_own_maps())
		assert_in_range(map_count(), before - 5, before + 5);
}

static void wait_once(void *argument)
{
	struct test *test = argument;
	volatile char frame[1000];

	memset((void *)frame, 7, sizeof(frame));
	rt_queue_wait(test->rt, &test->queue);
	for (size_t i = 0; i < sizeof(frame); i++)
		if (frame[i] != 7)
			fail();
	test->ended++;
}

static void spawn_many(void *argument)
{
	struct test *test = argument;

	for (unsigned i = 1; i < MANY; i++)
		if (rt_spawn(test->rt, "many", wait_once, test) != 0)
			fail();
	assert_int_equal(rt_fiber_count(test->rt), MANY);
	if (MANY == RT_FIBERS_MAX)
		assert_int_equal(rt_spawn(test->rt, "one more", wait_once, test), -ENOMEM);
	for (int i = 0; i < 60; i++) /* turns in which all of them come to wait */
		rt_yield(test->rt);
	rt_queue_wake_all(test->rt, &test->queue);
}

static void test_many_fibers(void **state)
{
	(void)state;
	unsigned before = map_count();
	struct test *test = test_new();

	for (int round = 1; round <= 2; round++) {
		assert_int_equal(rt_run(test->rt, spawn_many, test), 0);
		assert_int_equal(test->ended, round * (MANY - 1));
	}
	rt_free(test->rt);
	free(test);
	assert_maps_as_before(before);
}

static void spawn_and_stop(void *argument)
{
	struct test *test = argument;

	for (int i = 0; i < 100; i++)
		assert_int_equal(rt_spawn(test->rt, "left", wait_once, test), 0);
	rt_yield(test->rt);
	rt_stop(test->rt);
}

static void test_abandoned_stacks_go(void **state)
{
	unsigned before = 0;

	(void)state;
	for (int i = 0; i < 20; i++) {
		struct test *test = test_new();

		assert_int_equal(rt_run(test->rt, spawn_and_stop, test), -ECANCELED);
		rt_abandon(test->rt);
		free(test);
		if (i == 5)
			before = map_count();
	}
	assert_maps_as_before(before);
}

static int use_stack(int depth)
{
	volatile char frame[1024];

	memset((void *)frame, depth, sizeof(frame));
	int below = depth > 1 ? use_stack(depth - 1) : 0;

	for (size_t i = 0; i < sizeof(frame); i++)
		if (frame[i] != (char)depth)
			fail();
	return below + 1;
}

static void use_deep_stack(void *argument)
{
	struct test *test = argument;
	char text[64];

	rt_yield(test->rt);
	assert_int_equal(use_stack(48), 48);
	snprintf(text, sizeof(text), "%d %s %f", 1, "x", 2.5); /* needs the ABI's alignment */
	assert_string_equal(text, "1 x 2.500000");
}

static void test_deep_stack(void **state)
{
	struct test *test = test_new();

	(void)state;
	assert_int_equal(rt_run(test->rt, use_deep_stack, test), 0);
	assert_int_equal(rt_run(test->rt, use_deep_stack, test), 0);
	rt_free(test->rt);
	free(test);
}

static void use_too_much(void *argument)
{
	(void)argument;
	_exit(use_stack(100) == 100 ? 1 : 2);
}

/* A frame of which only the far end is written to: it reaches beyond the page without access, into what lies there. */
static int use_large_frame(size_t at)
{
	volatile char frame[FIBER_STACK_SIZE + 32 * 1024];

	frame[at] = 1;
	return frame[at];
}

static void overstep(void *argument)
{
	char *page = (char *)((uintptr_t)&argument & ~(uintptr_t)4095);

	/* Be it mapped already or not, it can be written to. */
	for (char *at = page - FIBER_STACK_SIZE - 64 * 1024; at < page - FIBER_STACK_SIZE - 8192; at += 4096)
		(void)mmap(at, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	_exit(use_large_frame(argument ? 100 : 0) ? 1 : 2);
}

static void expect_fault(void (*body)(void *argument))
{
#if defined(POOL_TSAN) || defined(POOL_ASAN)
	skip();
#endif
	pid_t child = fork();
	int status = 0;

	if (child == 0) {
		const struct rlimit no_core = {0, 0};
		struct test *test = test_new();

		setrlimit(RLIMIT_CORE, &no_core);
		signal(SIGSEGV, SIG_DFL); /* cmocka's handler has no stack to run on */
		rt_run(test->rt, body, test);
		_exit(3);
	}
	assert_true(child > 0);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGSEGV);
}

static void test_guard_page(void **state)
{
	(void)state;
	expect_fault(use_too_much);
}

static void test_large_frame(void **state)
{
	(void)state;
	expect_fault(overstep);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_many_fibers),
		cmocka_unit_test(test_abandoned_stacks_go),
		cmocka_unit_test(test_deep_stack),
		cmocka_unit_test(test_guard_page),
		cmocka_unit_test(test_large_frame),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
