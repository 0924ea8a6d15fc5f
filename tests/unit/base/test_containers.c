/* Arrays and lists: the small containers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>

#include "libpool/base/array.h"
#include "libpool/base/list.h"

static void test_push(void **state)
{
	struct array array;

	(void)state;
	array_init(&array, sizeof(uint32_t));
	for (uint32_t i = 0; i < 1000; i++) {
		assert_int_equal(array_push(&array, &i), 0);
		assert_int_equal(array.count, i + 1);
	}
	for (uint32_t i = 0; i < 1000; i++)
		assert_int_equal(*array_at(&array, uint32_t, i), i);
	array_clear(&array);
	assert_int_equal(array.count, 0);
	assert_true(array.capacity >= 1000);
	array_release(&array);
	assert_null(array.items);
	assert_int_equal(array_push(&array, &(uint32_t){7}), 0); /* usable again */
	assert_int_equal(*array_at(&array, uint32_t, 0), 7);
	array_release(&array);
}

static void test_push_own_item(void **state)
{
	struct array array;

	(void)state;
	array_init(&array, sizeof(uint64_t));
	assert_int_equal(array_push(&array, &(uint64_t){11}), 0);
	for (int i = 0; i < 500; i++)
		assert_int_equal(array_push(&array, array_at(&array, uint64_t, array.count - 1)), 0);
	assert_int_equal(*array_at(&array, uint64_t, 500), 11);
	array_release(&array);
}

static void test_reserve(void **state)
{
	struct array array;

	(void)state;
	array_init(&array, 24);
	assert_int_equal(array_reserve(&array, 100), 0);
	assert_int_equal(array.capacity, 100);
	assert_int_equal(array.count, 0);
	void *items = array.items;

	assert_int_equal(array_reserve(&array, 10), 0);
	assert_ptr_equal(array.items, items);
	assert_int_equal(array_reserve(&array, SIZE_MAX / 8), -ENOMEM);
	assert_ptr_equal(array.items, items);
	assert_int_equal(array.capacity, 100);
	array_release(&array);
}

struct item {
	struct list node;
	int value;
};

static int sum(const struct list *head)
{
	int total = 0;

	list_for_each(node, head)
		total = total * 10 + container_of(node, struct item, node)->value;
	return total;
}

static void test_list(void **state)
{
	struct item items[5] = {{.value = 1}, {.value = 2}, {.value = 3}, {.value = 4}, {.value = 5}};
	struct list head, other;

	(void)state;
	list_init(&head);
	list_init(&other);
	assert_true(list_empty(&head));
	assert_null(list_pop_front(&head));
	assert_false(list_linked(&items[0].node));
	list_push_back(&head, &items[0].node);
	list_push_back(&head, &items[1].node);
	list_push_front(&head, &items[2].node);
	assert_true(list_linked(&items[0].node));
	assert_int_equal(sum(&head), 312);
	list_remove(&items[0].node);
	assert_false(list_linked(&items[0].node));
	assert_int_equal(sum(&head), 32);
	list_splice_back(&head, &other);
	assert_int_equal(sum(&head), 32);
	list_push_back(&other, &items[3].node);
	list_push_back(&other, &items[4].node);
	list_splice_back(&head, &other);
	assert_true(list_empty(&other));
	assert_int_equal(sum(&head), 3245);
	list_for_each_safe(node, after, &head)
		if (container_of(node, struct item, node)->value % 2 == 0)
			list_remove(node);
	assert_int_equal(sum(&head), 35);
	assert_ptr_equal(list_pop_front(&head), &items[2].node);
	assert_ptr_equal(list_pop_front(&head), &items[4].node);
	assert_true(list_empty(&head));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_push),
		cmocka_unit_test(test_push_own_item),
		cmocka_unit_test(test_reserve),
		cmocka_unit_test(test_list),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
