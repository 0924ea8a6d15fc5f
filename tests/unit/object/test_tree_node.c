/* Tree nodes on disk: one form for each content, and pages that no writer makes. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "libpool/base/error.h"
#include "libpool/base/hash_table.h"
#include "libpool/format/block_pointer.h"
#include "libpool/format/tree_node.h"

#define SIZE TREE_NODE_SIZE_MIN

static uint64_t seed = 1;

static uint64_t random_below(uint64_t limit)
{
	return hash_u64(++seed) % limit;
}

/* A page with keys 0, 1, ... of 2 bytes. */
static unsigned make_page(uint8_t *page, unsigned level, unsigned count, size_t value_length)
{
	struct tree_entry entries[400];
	static uint8_t keys[400][2], value[TREE_VALUE_MAX];

	for (unsigned i = 0; i < count; i++) {
		keys[i][0] = (uint8_t)(i >> 8);
		keys[i][1] = (uint8_t)i;
		entries[i] = (struct tree_entry){ keys[i], value, 2, (uint16_t)value_length };
	}
	tree_node_encode(level, entries, count, SIZE, page);
	return count;
}

static void test_round_trip(void **state)
{
	static uint8_t page[SIZE];
	struct tree_entry entry;
	unsigned index;
	bool equal;

	(void)state;
	make_page(page, 3, 200, BLOCK_POINTER_SIZE);
	assert_int_equal(tree_node_check(page, SIZE, 3), 0);
	assert_int_equal(tree_node_check(page, SIZE, 2), -POOL_EFORMAT);
	assert_int_equal(tree_node_count(page, SIZE, 3), 200);
	for (unsigned i = 0; i < 200; i++) {
		uint8_t key[3] = { (uint8_t)(i >> 8), (uint8_t)i, 0 };

		assert_int_equal(tree_node_entry(page, SIZE, i, &entry), 0);
		assert_memory_equal(entry.key, key, 2);
		assert_int_equal(tree_node_search(page, SIZE, 200, key, 2, &index, &equal), 0);
		assert_true(equal && index == i);
		assert_int_equal(tree_node_search(page, SIZE, 200, key, 3, &index, &equal), 0);
		assert_true(!equal && index == i + 1);
	}
	assert_int_equal(tree_node_search(page, SIZE, 200, NULL, 0, &index, &equal), 0);
	assert_true(!equal && index == 0);
}

/* Byte by byte from the first on, whatever the lengths; what begins another comes before it. */
static void test_order(void **state)
{
	(void)state;
	for (unsigned round = 0; round < 100000; round++) {
		uint8_t left[20], right[20];
		size_t lengths[2] = { random_below(sizeof(left) + 1), random_below(sizeof(right) + 1) };
		size_t common = lengths[0] < lengths[1] ? lengths[0] : lengths[1], i = 0;

		/* Few values, so that keys differ late as well. */
		for (size_t j = 0; j < sizeof(left); j++) {
			left[j] = (uint8_t)(random_below(16) ? 1 : 254 + random_below(2));
			right[j] = random_below(8) ? left[j] : (uint8_t)random_below(256);
		}
		while (i < common && left[i] == right[i])
			i++;
		int expected = i < common ? (left[i] > right[i]) - (left[i] < right[i]) : (lengths[0] > lengths[1]) - (lengths[0] < lengths[1]);
		int order = tree_key_compare(left, lengths[0], right, lengths[1]);
		assert_int_equal((order > 0) - (order < 0), expected);
	}
}

static void test_largest(void **state)
{
	static uint8_t page[SIZE], key[3][TREE_KEY_MAX], value[TREE_VALUE_MAX];
	struct tree_entry entries[3];

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		memset(key[i], (int)i, TREE_KEY_MAX);
		entries[i] = (struct tree_entry){ key[i], value, TREE_KEY_MAX, TREE_VALUE_MAX };
	}
	assert_true(3 * tree_entry_size(TREE_KEY_MAX, TREE_VALUE_MAX) <= tree_node_room(SIZE));
	tree_node_encode(0, entries, 3, SIZE, page);
	assert_int_equal(tree_node_check(page, SIZE, 0), 0);
	entries[0].key_length = entries[0].value_length = 0;
	entries[0].key = entries[0].value = NULL;
	tree_node_encode(0, entries, 1, SIZE, page);
	assert_int_equal(tree_node_check(page, SIZE, 0), 0);
}

static void expect_bad(const uint8_t *good, size_t offset, uint8_t byte, unsigned level)
{
	static uint8_t page[SIZE];

	memcpy(page, good, SIZE);
	page[offset] = byte;
	assert_int_equal(tree_node_check(page, SIZE, level), -POOL_EFORMAT);
}

static void test_hostile(void **state)
{
	static uint8_t page[SIZE];

	(void)state;
	make_page(page, 0, 10, 5);
	for (size_t offset = 0; offset < 32; offset++)
		expect_bad(page, offset, (uint8_t)(page[offset] + 1), 0); /* every byte of the header */
	for (size_t offset = 32; offset < 32 + 20; offset++)
		expect_bad(page, offset, (uint8_t)(page[offset] ^ 0x80), 0); /* every offset */
	expect_bad(page, SIZE - 1, 1, 0);
	expect_bad(page, 52 + 2, 6, 0);  /* a longer value: overlaps the next */
	expect_bad(page, 52 + 5, 9, 0);  /* order of keys */
	expect_bad(page, 52 + 11 + 5, 0, 0); /* two equal keys */
	make_page(page, 1, 10, 5);
	assert_int_equal(tree_node_check(page, SIZE, 1), -POOL_EFORMAT); /* no block pointers */
	memset(page, 0, SIZE);
	assert_int_equal(tree_node_check(page, SIZE, 0), -POOL_EFORMAT);
	make_page(page, 0, 1, 5);
	assert_int_equal(tree_node_check(page, 512, 0), -POOL_EFORMAT);
}

/* Nothing reads outside the page, whatever it holds; the sanitizers watch. */
static void test_garbage(void **state)
{
	uint8_t *page = malloc(SIZE);

	(void)state;
	for (unsigned round = 0; round < 20000; round++) {
		unsigned count = make_page(page, 0, 1 + (unsigned)random_below(300), random_below(40)), index;
		struct tree_entry entry;
		uint8_t key[8] = { 0 };
		bool equal;
		int result;

		for (unsigned i = (unsigned)random_below(8); i-- > 0;)
			page[random_below(random_below(2) ? SIZE : 32 + 2 * count)] = (uint8_t)random_below(256);
		result = tree_node_count(page, SIZE, 0);
		if (tree_node_check(page, SIZE, 0) == 0)
			assert_true(result > 0);
		if (result <= 0)
			continue;
		key[0] = (uint8_t)random_below(3);
		key[1] = (uint8_t)random_below(256);
		tree_node_search(page, SIZE, (unsigned)result, key, random_below(9), &index, &equal);
		for (unsigned i = 0; i < (unsigned)result; i++)
			if (tree_node_entry(page, SIZE, i, &entry) == 0)
				assert_true(entry.value + entry.value_length <= page + SIZE);
	}
	free(page);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip), cmocka_unit_test(test_order), cmocka_unit_test(test_largest), cmocka_unit_test(test_hostile), cmocka_unit_test(test_garbage),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
