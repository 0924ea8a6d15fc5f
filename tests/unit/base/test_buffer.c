/* Buffers: alignment, padding, and a count that any thread may change. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <string.h>

#include "libpool/base/buffer.h"
#include "libpool/base/check.h"

#define THREADS 4
#define ROUNDS 20000

static void test_new(void **state)
{
	static const size_t sizes[] = {1, 511, 4095, 4096, 4097, 131072, 1 << 20};

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		CLEANUP_BUFFER struct buffer *buffer = buffer_new(sizes[i]);
		size_t capacity = (sizes[i] + 4095) / 4096 * 4096;

		assert_non_null(buffer);
		assert_int_equal(buffer->size, sizes[i]);
		assert_int_equal((uintptr_t)buffer->data % BUFFER_ALIGNMENT, 0);
		assert_true(buffer_is_sole(buffer));
		memset(buffer->data, 0xee, capacity);
		buffer_pad(buffer);
		assert_int_equal(buffer->data[sizes[i] - 1], 0xee);
		for (size_t at = sizes[i]; at < capacity; at++)
			assert_int_equal(buffer->data[at], 0);
	}
}

static void test_refused(void **state)
{
	(void)state;
	assert_null(buffer_new(0));
	assert_null(buffer_new((size_t)UINT32_MAX + 1));
	assert_null(buffer_new(SIZE_MAX));
	buffer_unref(NULL);
}

static void test_zero_and_copy(void **state)
{
	CLEANUP_BUFFER struct buffer *zero = buffer_new_zero(5000);
	CLEANUP_BUFFER struct buffer *copy = buffer_new_copy("hello", 5);

	(void)state;
	for (size_t i = 0; i < 8192; i++)
		assert_int_equal(zero->data[i], 0);
	assert_int_equal(copy->size, 5);
	assert_memory_equal(copy->data, "hello", 5);
}

static void test_references(void **state)
{
	struct buffer *buffer = buffer_new(10);

	(void)state;
	assert_ptr_equal(buffer_ref(buffer), buffer);
	assert_false(buffer_is_sole(buffer));
	buffer_unref(buffer);
	assert_true(buffer_is_sole(buffer));
	buffer_unref(buffer);
}

static void test_hash(void **state)
{
	CLEANUP_BUFFER struct buffer *buffer = buffer_new_copy("hello", 5);
	struct hash128 hash;

	(void)state;
	assert_false(buffer->hashed);
	buffer_hash(buffer);
	assert_true(buffer->hashed);
	xxh3_128("hello", 5, &hash);
	assert_memory_equal(buffer->hash.bytes, hash.bytes, sizeof(hash.bytes));
	buffer_unhash(buffer);
	assert_false(buffer->hashed);
	CLEANUP_BUFFER struct buffer *copy = buffer_new(192);
	char source[192] = "hello";
	buffer_copy_hashed(copy, source);
	assert_true(copy->hashed);
	assert_memory_equal(copy->data, source, sizeof(source));
	xxh3_128(source, sizeof(source), &hash);
	assert_memory_equal(copy->hash.bytes, hash.bytes, sizeof(hash.bytes));
}

static void *take_and_drop(void *argument)
{
	struct buffer *buffer = argument;

	for (int i = 0; i < ROUNDS; i++) {
		buffer_ref(buffer);
		buffer_unref(buffer);
	}
	buffer_unref(buffer);
	return NULL;
}

static void test_threads(void **state)
{
	struct buffer *buffer = buffer_new(4096);
	pthread_t threads[THREADS];

	(void)state;
	memset(buffer->data, 1, 4096);
	for (int i = 0; i < THREADS; i++)
		pthread_create(&threads[i], NULL, take_and_drop, buffer_ref(buffer));
	buffer_unref(buffer); /* whoever is last frees it */
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
}

static void count_checks(void *arg, const char *file, int line, const char *expression)
{
	(void)file, (void)line, (void)expression;
	++*(int *)arg;
}

static void test_too_many_drops(void **state)
{
	struct buffer dead = {.size = 1};
	int broken = 0;

	(void)state;
	pool_check_set_handler(count_checks, &broken);
	buffer_unref(&dead);
	assert_int_equal(broken, 1);
	pool_check_set_handler(NULL, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_new),        cmocka_unit_test(test_refused), cmocka_unit_test(test_zero_and_copy),
		cmocka_unit_test(test_references),
		cmocka_unit_test(test_hash), cmocka_unit_test(test_threads), cmocka_unit_test(test_too_many_drops),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
