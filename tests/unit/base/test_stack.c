/* The way from several threads to one: nothing lost, nothing twice, what one thread pushed in its order, and one of those who push is told that it was empty. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <sched.h>

#include "libpool/base/stack.h"

#define THREADS 3u
#define EACH 20000u

struct item {
	struct list node;
	unsigned thread, number;
};

static struct stack stack;
static struct item items[THREADS][EACH];
static atomic_uint first_ones;

static void *pusher(void *argument)
{
	struct item *mine = argument;

	for (unsigned i = 0; i < EACH;) {
		struct list some;

		list_init(&some);
		for (unsigned count = i % 3 + 1; count && i < EACH; count--)
			list_push_back(&some, &mine[i++].node);
		if (stack_push_list(&stack, &some))
			atomic_fetch_add(&first_ones, 1);
		assert_true(list_empty(&some));
	}
	return NULL;
}

static void test_many_push(void **state)
{
	pthread_t threads[THREADS];
	unsigned next[THREADS] = {0}, taken = 0, takes = 0;

	(void)state;
	for (unsigned t = 0; t < THREADS; t++) {
		for (unsigned i = 0; i < EACH; i++)
			items[t][i] = (struct item){.thread = t, .number = i};
		assert_int_equal(pthread_create(&threads[t], NULL, pusher, items[t]), 0);
	}
	while (taken < THREADS * EACH) {
		struct list *node, all;
		unsigned count;

		list_init(&all);
		count = stack_take(&stack, &all);
		takes += count > 0;
		taken += count;
		if (count == 0)
			sched_yield();
		for (; (node = list_pop_front(&all)); count--) {
			struct item *item = container_of(node, struct item, node);

			assert_int_equal(item->number, next[item->thread]++);
		}
		assert_int_equal(count, 0);
	}
	for (unsigned t = 0; t < THREADS; t++)
		pthread_join(threads[t], NULL);
	assert_true(stack_empty(&stack));
	assert_int_equal(atomic_load(&first_ones), takes);
}

/* Behind what is in the list already. */
static void test_one(void **state)
{
	struct item some[3] = {{.number = 0}, {.number = 1}, {.number = 2}};
	struct stack own = {0};
	struct list list;

	(void)state;
	list_init(&list);
	assert_int_equal(stack_take(&own, &list), 0);
	list_push_back(&list, &some[0].node);
	assert_true(stack_push(&own, &some[1].node, &some[1].node));
	assert_false(stack_push(&own, &some[2].node, &some[2].node));
	assert_int_equal(stack_take(&own, &list), 2);
	for (unsigned i = 0; i < 3; i++)
		assert_ptr_equal(list_pop_front(&list), &some[i].node);
	assert_true(list_empty(&list));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one),
		cmocka_unit_test(test_many_push),
	};

	return cmocka_run_group_tests_name("base_stack", tests, NULL, NULL);
}
