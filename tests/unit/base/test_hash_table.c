/* The hash table against a plain array, with few and with equal hashes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "libpool/base/check.h"
#include "libpool/base/hash_table.h"
#include "libpool/base/list.h"

#define ITEMS 2000

struct item {
	struct hash_node node;
	uint64_t key;
	bool inside;
	unsigned visits;
};

static struct item items[ITEMS]; /* too large for a stack */

static void items_init(void)
{
	memset(items, 0, sizeof(items));
	for (size_t i = 0; i < ITEMS; i++)
		items[i].key = i;
}

static size_t found(const struct hash_table *table, uint64_t hash, uint64_t key)
{
	size_t count = 0;

	for (struct hash_node *node = hash_table_first(table, hash); node; node = hash_table_next(node)) {
		assert_true(node->hash == hash);
		count += container_of(node, struct item, node)->key == key;
	}
	return count;
}

static void random_operations(uint64_t (*hash_of)(uint64_t key))
{
	struct hash_table table;
	uint64_t random = 1;
	size_t inside = 0;

	items_init();
	assert_int_equal(hash_table_init(&table, 1), 0);
	for (int step = 0; step < 20000; step++) {
		random = hash_u64(random + UINT64_C(0x9e3779b97f4a7c15));
		struct item *item = &items[random % ITEMS];

		if (item->inside)
			hash_table_remove(&table, &item->node);
		else
			hash_table_insert(&table, &item->node, hash_of(item->key));
		item->inside = !item->inside;
		inside += item->inside ? 1 : -(size_t)1;
		assert_int_equal(table.count, inside);
		assert_int_equal(found(&table, hash_of(item->key), item->key), item->inside);
	}
	for (size_t i = 0; i < ITEMS; i++)
		assert_int_equal(found(&table, hash_of(i), i), items[i].inside);
	hash_table_release(&table);
}

static uint64_t few_hashes(uint64_t key)
{
	return key % 50;
}

static uint64_t high_bits_only(uint64_t key)
{
	return (key % 30) << 60 | key % 30;
}

static void test_random_operations(void **state)
{
	(void)state;
	random_operations(hash_u64);
	random_operations(few_hashes);
	random_operations(high_bits_only);
}

static void test_grows(void **state)
{
	struct hash_table table;

	(void)state;
	items_init();
	assert_int_equal(hash_table_init(&table, 4), 0);
	for (size_t i = 0; i < ITEMS; i++)
		hash_table_insert(&table, &items[i].node, hash_u64(i));
	assert_int_equal(table.mask, 2047);
	hash_table_release(&table);
	assert_null(hash_table_first(&table, 5));
}

struct walk {
	struct hash_table *table;
	uint64_t order, count;
};

static void visit(struct hash_node *node, void *arg)
{
	struct item *item = container_of(node, struct item, node);
	struct walk *walk = arg;

	item->visits++;
	walk->count++;
	walk->order = hash_u64(walk->order ^ item->key);
	if (item->key % 3 == 0)
		hash_table_remove(walk->table, node);
}

static uint64_t walk_order(void)
{
	struct hash_table table;
	struct walk walk = {.table = &table};

	items_init();
	assert_int_equal(hash_table_init(&table, 2), 0);
	hash_table_each(&table, visit, &walk);
	assert_int_equal(walk.count, 0);
	for (size_t i = 0; i < ITEMS; i++)
		hash_table_insert(&table, &items[i].node, few_hashes(i));
	hash_table_each(&table, visit, &walk);
	assert_int_equal(walk.count, ITEMS);
	hash_table_each(&table, visit, &walk);
	for (size_t i = 0; i < ITEMS; i++)
		assert_int_equal(items[i].visits, i % 3 ? 2 : 1);
	hash_table_release(&table);
	return walk.order;
}

static void test_walk(void **state)
{
	(void)state;
	assert_true(walk_order() == walk_order());
}

static void count_checks(void *arg, const char *file, int line, const char *expression)
{
	(void)file, (void)line, (void)expression;
	++*(int *)arg;
}

static void test_misuse(void **state)
{
	struct hash_table table;
	struct item stranger = {0};
	int broken = 0;

	(void)state;
	assert_int_equal(hash_table_init(&table, 3), -EINVAL);
	assert_int_equal(hash_table_init(&table, 0), -EINVAL);
	assert_int_equal(hash_table_init(&table, 1), 0);
	pool_check_set_handler(count_checks, &broken);
	hash_table_remove(&table, &stranger.node);
	assert_int_equal(broken, 1);
	assert_int_equal(table.count, 0);
	pool_check_set_handler(NULL, NULL);
	hash_table_release(&table);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random_operations),
		cmocka_unit_test(test_grows),
		cmocka_unit_test(test_walk),
		cmocka_unit_test(test_misuse),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
