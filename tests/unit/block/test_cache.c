/* The cache alone: its limit, what it keeps and what it lets go, and that identity decides. */
#include "libpool/block/cache.h"
#include "tests/unit/block/fake_store.h"

static struct block_pointer pointer_of(uint64_t number, unsigned lsect)
{
	struct block_pointer pointer = {.dva = number + 1,
					.place = number % 7 + 1,
					.birth = 10,
					.lsect = (uint16_t)lsect,
					.psect = (uint16_t)lsect,
					.type = TYPE_DATA};

	memcpy(pointer.checksum, &number, sizeof(number));
	return pointer;
}

/* The access of a reader: true if it was a hit. */
static bool reader(struct cache *cache, uint64_t number, unsigned lsect)
{
	struct block_pointer pointer = pointer_of(number, lsect);
	struct buffer *content = cache_get(cache, &pointer);
	bool hit = content != NULL;

	if (!content) {
		content = buffer_new((size_t)lsect * CELL_SIZE);
		memcpy(content->data, &number, sizeof(number));
		cache_put(cache, &pointer, content);
	}
	assert_memory_equal(content->data, &number, sizeof(number));
	buffer_unref(content);
	return hit;
}

static void test_identity(void **state)
{
	(void)state;
	struct blocks_counters counters = {0};
	struct cache cache;
	struct block_pointer pointer = pointer_of(1, 1);
	struct buffer *content = buffer_new_zero(CELL_SIZE), *found;

	cache_init(&cache, 1 << 20, &counters);
	assert_null(cache_get(&cache, &pointer));
	cache_put(&cache, &pointer, content);
	found = cache_get(&cache, &pointer);
	assert_ptr_equal(found, content);
	buffer_unref(found);

	struct block_pointer other = pointer;

	other.birth++; /* a reflink: the same block */
	found = cache_get(&cache, &other);
	assert_ptr_equal(found, content);
	buffer_unref(found);
	other.place++;
	assert_null(cache_get(&cache, &other));
	other = pointer;
	other.checksum[3] ^= 1;
	assert_null(cache_get(&cache, &other));
	other = pointer;
	other.lsect = 2; /* forged: its reader would run past the end */
	assert_null(cache_get(&cache, &other));

	struct buffer *newer = buffer_new_zero(CELL_SIZE);

	cache_put(&cache, &pointer, newer);
	found = cache_get(&cache, &pointer);
	assert_ptr_equal(found, newer);
	buffer_unref(found);
	assert_int_equal(counters.cached_blocks, 1);
	assert_true(buffer_is_sole(content));
	cache_remove(&cache, &pointer);
	assert_null(cache_get(&cache, &pointer));
	assert_int_equal(counters.cached_blocks, 0);
	buffer_unref(content);
	buffer_unref(newer);
	cache_release(&cache);
	assert_int_equal(counters.cached_bytes, 0);
}

static void test_limit_is_never_exceeded(void **state)
{
	(void)state;
	struct blocks_counters counters = {0};
	struct cache cache;
	uint64_t seed = 5, content_bytes;

	cache_init(&cache, 0, &counters);
	for (unsigned round = 0; round < 60; round++) {
		uint64_t limit = round % 9 == 0 ? 0 : random_next(&seed) % (6 << 20);

		cache_set_limit(&cache, limit);
		assert_true(counters.cached_bytes <= limit);
		for (unsigned i = 0; i < 2000; i++) {
			uint64_t number = random_next(&seed) % 3000;

			number = number % 4 ? number % 50 : number;
			reader(&cache, number,
			       number % 97 == 0	  ? 256
			       : number % 13 == 0 ? 32
						  : 1 + number % 2);
			assert_true(counters.cached_bytes <= limit);
		}
		if (round % 7 == 0)
			cache_clear(&cache);
	}
	cache_set_limit(&cache, 8 << 20);
	cache_clear(&cache);
	for (uint64_t i = 0; i < 5000; i++)
		reader(&cache, i + 100000, 1);
	content_bytes = counters.cached_blocks * CELL_SIZE;
	/* Full to the last block, and not more than 600 bytes for each beyond its content. */
	assert_true(counters.cached_bytes > (8 << 20) - 3 * CELL_SIZE);
	assert_true(counters.cached_bytes - content_bytes <= 600 * counters.cached_blocks);
	cache_set_limit(&cache, 100);
	assert_int_equal(counters.cached_bytes, 0);
	cache_release(&cache);
}

static void test_small_limits(void **state)
{
	(void)state;
	struct blocks_counters counters = {0};
	struct cache cache;

	for (uint64_t limit = 0; limit < 80000; limit += 997) {
		cache_init(&cache, limit, &counters);
		for (uint64_t i = 0; i < 200; i++) {
			reader(&cache, i % 23, 1 + i % 3);
			assert_true(counters.cached_bytes <= limit);
		}
		if (limit > 15000)
			assert_true(counters.cached_blocks > 0);
		cache_release(&cache);
	}
}

/* Limits at which the table of identities is due to double when the cache is just full. */
static void test_limit_where_the_table_grows(void **state)
{
	(void)state;
	struct blocks_counters counters = {0};
	struct cache cache;

	for (uint64_t limit = 62 * CELL_SIZE; limit < 74 * CELL_SIZE; limit += 101) {
		cache_init(&cache, limit, &counters);
		for (uint64_t i = 0; i < 100; i++) {
			reader(&cache, i, 1);
			assert_true(counters.cached_bytes <= limit);
		}
		cache_release(&cache);
	}
}

/* A large block that fits must not be kept out by tables that small blocks made grow. */
static void test_large_after_small(void **state)
{
	(void)state;
	struct blocks_counters counters = {0};
	struct cache cache;

	cache_init(&cache, (256 + 16) * CELL_SIZE, &counters);
	for (uint64_t i = 0; i < 5000; i++)
		reader(&cache, i, 1);
	reader(&cache, 9999, 256);
	assert_true(reader(&cache, 9999, 256));
	cache_release(&cache);
}

static void test_one_hit_wonders_pass_through(void **state)
{
	(void)state;
	enum { HOT = 600 };
	struct blocks_counters counters = {0};
	struct cache cache;
	unsigned hits = 0, reads = 0;
	uint64_t seed = 3, cold = 1000000;

	cache_init(&cache, 1000 * (CELL_SIZE + 200), &counters);
	for (unsigned round = 0; round < 4; round++) {
		for (uint64_t i = 0; i < HOT; i++)
			reader(&cache, i, 1);
	}
	/* Ten blocks that are read once for each read of the hot set: LRU would keep none of it. */
	for (unsigned i = 0; i < 20000; i++) {
		for (unsigned j = 0; j < 10; j++)
			reader(&cache, cold++, 1);
		hits += reader(&cache, random_next(&seed) % HOT, 1);
		reads++;
	}
	assert_true(hits > reads * 95 / 100);
	assert_true(counters.evictions > 190000);
	cache_release(&cache);
}

/* What left the small queue and comes back soon is kept at the next try. */
static void test_ghosts_return_to_the_main_queue(void **state)
{
	(void)state;
	enum { COUNT = 1000 };
	struct blocks_counters counters = {0};
	struct cache cache;
	uint64_t cold = 1000000;
	unsigned kept = 0;

	cache_init(&cache, COUNT * (CELL_SIZE + 200), &counters);
	for (uint64_t i = 0; i < COUNT; i++)
		reader(&cache, cold++, 1);
	for (uint64_t i = 0; i < 100; i++)
		reader(&cache, i, 1);
	for (uint64_t i = 0; i < COUNT; i++)
		reader(&cache, cold++, 1);
	for (uint64_t i = 0; i < 100; i++)
		assert_false(reader(&cache, i, 1)); /* gone, but remembered */
	for (uint64_t i = 0; i < COUNT / 2; i++)
		reader(&cache, cold++, 1);
	for (uint64_t i = 0; i < 100; i++)
		kept += reader(&cache, i, 1);
	assert_true(kept > 95);
	cache_release(&cache);
}

static void test_ghost_table(void **state)
{
	(void)state;
	struct ghost ghost = {0};
	unsigned found = 0;

	assert_false(ghost_take(&ghost, 1, 100));
	ghost_insert(&ghost, hash_u64(1), 10, 100); /* not allowed any memory */
	assert_int_equal(ghost_bytes(&ghost), 0);
	for (uint64_t i = 0; i < 20000; i++)
		ghost_insert(&ghost, hash_u64(i), 10000, 1 << 20);
	assert_true(ghost_bytes(&ghost) <= 10000 * 32);
	for (uint64_t i = 0; i < 20000; i++) {
		bool young = i >= 10000, there = ghost_take(&ghost, hash_u64(i), 10000);

		assert_true(young || !there);
		found += there;
		assert_false(ghost_take(&ghost, hash_u64(i), 10000));
	}
	assert_true(found > 9500);
	ghost_release(&ghost);
}

static void test_buffers_held_elsewhere_survive(void **state)
{
	(void)state;
	struct blocks_counters counters = {0};
	struct cache cache;
	struct block_pointer pointer = pointer_of(77, 1);
	struct buffer *held = make_content(CONTENT_RANDOM, 1, 9), *copy = make_content(CONTENT_RANDOM, 1, 9);

	cache_init(&cache, 20 * CELL_SIZE, &counters);
	cache_put(&cache, &pointer, held);
	assert_false(buffer_is_sole(held));
	for (uint64_t i = 1000; i < 1100; i++)
		reader(&cache, i, 1);
	assert_null(cache_get(&cache, &pointer));
	assert_true(buffer_is_sole(held));
	assert_same_content(held, copy);
	buffer_unref(held);
	buffer_unref(copy);
	cache_release(&cache);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_identity),
	    cmocka_unit_test(test_limit_is_never_exceeded),
	    cmocka_unit_test(test_small_limits),
	    cmocka_unit_test(test_limit_where_the_table_grows),
	    cmocka_unit_test(test_large_after_small),
	    cmocka_unit_test(test_one_hit_wonders_pass_through),
	    cmocka_unit_test(test_ghosts_return_to_the_main_queue),
	    cmocka_unit_test(test_ghost_table),
	    cmocka_unit_test(test_buffers_held_elsewhere_survive),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
