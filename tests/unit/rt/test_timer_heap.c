/* The heap of timers against a sorted model, under random operations. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "libpool/base/hash_table.h"
#include "libpool/rt/timer_heap.h"

#define TIMERS 300

static bool before(const struct rt_timer *a, const struct rt_timer *b)
{
	return a->at_ns < b->at_ns || (a->at_ns == b->at_ns && a->sequence < b->sequence);
}

static struct rt_timer *model_top(struct rt_timer *timers)
{
	struct rt_timer *top = NULL;

	for (int i = 0; i < TIMERS; i++)
		if (timers[i].armed && (!top || before(&timers[i], top)))
			top = &timers[i];
	return top;
}

static void test_against_model(void **state)
{
	struct rt_timer timers[TIMERS] = {0};
	struct timer_heap heap = {0};
	uint64_t random = 1;

	(void)state;
	for (int step = 0; step < 30000; step++) {
		random = hash_u64(random + 0x9e3779b97f4a7c15);
		struct rt_timer *timer = step % 5 == 0 && heap.top ? heap.top : &timers[random % TIMERS];

		if (timer->armed) {
			timer_heap_remove(&heap, timer);
		} else {
			timer->at_ns = (random >> 32) % 50; /* many equal times */
			timer_heap_insert(&heap, timer);
		}
		timer->armed = !timer->armed;
		assert_ptr_equal(heap.top, model_top(timers));
	}
	while (heap.top) {
		struct rt_timer *top = heap.top;

		assert_ptr_equal(top, model_top(timers));
		timer_heap_remove(&heap, top);
		top->armed = false;
	}
	assert_null(model_top(timers));
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_against_model)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
