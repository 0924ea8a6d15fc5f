/* Bitmaps against the same operations done bit by bit, over random and all small ranges. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "libpool/base/bitmap.h"
#include "libpool/base/hash_table.h"

#define BITS 200
#define GUARD UINT64_C(0x123456789abcdef0)

struct maps {
	uint64_t words[BITMAP_WORDS(BITS) + 1]; /* and one that nobody may touch */
	bool model[BITS];
	uint64_t random;
};

static size_t next_random(struct maps *maps, size_t limit)
{
	maps->random = hash_u64(maps->random + UINT64_C(0x9e3779b97f4a7c15));
	return (size_t)(maps->random % limit);
}

static void maps_init(struct maps *maps, uint64_t seed)
{
	memset(maps, 0, sizeof(*maps));
	maps->words[BITMAP_WORDS(BITS)] = GUARD;
	maps->random = seed;
}

static void compare(const struct maps *maps)
{
	for (size_t i = 0; i < BITS; i++)
		if (bitmap_get(maps->words, i) != maps->model[i])
			fail();
	for (size_t i = BITS; i < BITMAP_WORDS(BITS) * 64; i++)
		if (bitmap_get(maps->words, i))
			fail();
	assert_true(maps->words[BITMAP_WORDS(BITS)] == GUARD);
}

static void set_range(struct maps *maps, size_t first, size_t count, bool value)
{
	for (size_t i = first; i < first + count; i++)
		maps->model[i] = value;
	if (value)
		bitmap_set_range(maps->words, first, count);
	else
		bitmap_clear_range(maps->words, first, count);
}

static size_t model_next(const struct maps *maps, size_t from, size_t limit, bool value)
{
	for (size_t i = from; i < limit; i++)
		if (maps->model[i] == value)
			return i;
	return BITMAP_NONE;
}

static size_t model_run(const struct maps *maps, size_t from, size_t limit, size_t count)
{
	for (size_t first = from; first + count <= limit; first++) {
		size_t set = model_next(maps, first, first + count, true);

		if (set == BITMAP_NONE)
			return first;
	}
	return BITMAP_NONE;
}

static void check_queries(struct maps *maps)
{
	size_t from = next_random(maps, BITS), limit = from + next_random(maps, BITS + 1 - from), total = 0;
	size_t run = next_random(maps, 20);

	for (size_t i = from; i < limit; i++)
		total += maps->model[i];
	assert_int_equal(bitmap_count(maps->words, from, limit - from), total);
	assert_int_equal(bitmap_next_set(maps->words, from, limit), model_next(maps, from, limit, true));
	assert_int_equal(bitmap_next_clear(maps->words, from, limit), model_next(maps, from, limit, false));
	assert_int_equal(bitmap_find_clear_run(maps->words, from, limit, run), model_run(maps, from, limit, run));
}

static void test_random_operations(void **state)
{
	struct maps maps;

	(void)state;
	maps_init(&maps, 1);
	for (int step = 0; step < 20000; step++) {
		size_t first = next_random(&maps, BITS);
		size_t longest = step % 3 ? 12 : BITS;
		size_t count = next_random(&maps, longest < BITS - first ? longest : BITS + 1 - first);

		set_range(&maps, first, count, step % 2);
		compare(&maps);
		check_queries(&maps);
	}
}

static void test_every_range(void **state)
{
	struct maps maps;

	(void)state;
	for (size_t first = 0; first <= 130; first++)
		for (size_t count = 0; count <= 130 && first + count <= BITS; count += count < 4 ? 1 : 7) {
			maps_init(&maps, 1);
			set_range(&maps, first, count, true);
			compare(&maps);
			assert_int_equal(bitmap_count(maps.words, 0, BITS), count);
			assert_int_equal(bitmap_next_set(maps.words, 0, BITS), count ? first : BITMAP_NONE);
			set_range(&maps, 0, BITS, true);
			set_range(&maps, first, count, false);
			compare(&maps);
			assert_int_equal(bitmap_next_clear(maps.words, 0, BITS), count ? first : BITMAP_NONE);
			assert_int_equal(bitmap_find_clear_run(maps.words, 0, BITS, count), count ? first : 0);
			assert_int_equal(bitmap_find_clear_run(maps.words, 0, BITS, count + 1), BITMAP_NONE);
		}
}

static void test_single_bits(void **state)
{
	struct maps maps;

	(void)state;
	maps_init(&maps, 1);
	for (size_t i = 0; i < BITS; i += 7) {
		bitmap_set(maps.words, i);
		maps.model[i] = true;
	}
	compare(&maps);
	for (size_t i = 0; i < BITS; i += 14) {
		bitmap_clear(maps.words, i);
		maps.model[i] = false;
	}
	compare(&maps);
}

/* A range that ends with a word must not read the next one, nor an empty range any. */
static void test_ends_with_word(void **state)
{
	uint64_t *words = test_malloc(2 * sizeof(*words)); /* cmocka guards both ends, ASan the rest */

	(void)state;
	words[0] = words[1] = 0;
	bitmap_set_range(words, 64, 64);
	assert_true(words[0] == 0 && words[1] == UINT64_MAX);
	assert_int_equal(bitmap_count(words, 0, 128), 64);
	assert_int_equal(bitmap_next_clear(words, 64, 128), BITMAP_NONE);
	assert_int_equal(bitmap_find_clear_run(words, 0, 128, 64), 0);
	assert_int_equal(bitmap_find_clear_run(words, 1, 128, 64), BITMAP_NONE);
	assert_int_equal(bitmap_find_clear_run(words, 128, 128, 0), 128);
	assert_int_equal(bitmap_find_clear_run(words, 129, 128, 0), BITMAP_NONE);
	assert_int_equal(bitmap_find_clear_run(words, 0, 128, SIZE_MAX), BITMAP_NONE);
	bitmap_set_range(words, 128, 0);
	bitmap_clear_range(words, 128, 0);
	assert_int_equal(bitmap_count(words, 128, 0), 0);
	assert_int_equal(bitmap_next_set(words, 128, 128), BITMAP_NONE);
	test_free(words);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random_operations),
		cmocka_unit_test(test_every_range),
		cmocka_unit_test(test_single_bits),
		cmocka_unit_test(test_ends_with_word),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
