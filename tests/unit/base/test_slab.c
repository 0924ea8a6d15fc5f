/* Pieces of memory: each its own, aligned, used again, and given back to the system when there is too much of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "libpool/base/buffer.h"
#include "libpool/base/slab.h"

struct piece {
	uint8_t *data;
	size_t size;
	struct slab_region *region;
	uint8_t mark;
};

/* 0 under ThreadSanitizer, whose shadow grows with what is touched. */
static size_t resident(void)
{
#ifdef __SANITIZE_THREAD__
	return 0;
#endif
	unsigned long size, pages = 0;
	FILE *file = fopen("/proc/self/statm", "r");

	assert_non_null(file);
	assert_int_equal(fscanf(file, "%lu %lu", &size, &pages), 2);
	fclose(file);
	return pages * 4096;
}

static void take(struct piece *piece, size_t size, uint8_t mark)
{
	*piece = (struct piece){.size = size, .mark = mark};
	piece->data = slab_take(size, &piece->region);
	assert_non_null(piece->data);
	assert_int_equal((uintptr_t)piece->data % 4096, 0);
	for (size_t at = 0; at < size; at += 4096)
		piece->data[at] = piece->data[at + 4095] = mark;
}

static void give(struct piece *piece)
{
	for (size_t at = 0; at < piece->size; at += 4096)
		if (piece->data[at] != piece->mark || piece->data[at + 4095] != piece->mark)
			abort(); /* cmocka's assertions are for one thread */
	slab_give(piece->region, piece->data);
	piece->data = NULL;
}

/* Time passes in which nothing is needed. */
static void settle(void)
{
	static uint64_t now_ns;

	for (unsigned i = 0; i < SLAB_KEEP_MAX / SLAB_SETTLE_BYTES + 2; i++)
		slab_settle(now_ns += SLAB_SETTLE_NS);
}

static void test_sizes(void **state)
{
	static struct piece pieces[256 * 4];

	(void)state;
	for (unsigned i = 0; i < 256 * 4; i++)
		take(&pieces[i], (i % 256 + 1) * (size_t)4096, (uint8_t)i);
	for (unsigned i = 0; i < 256 * 4; i++)
		give(&pieces[i * 7 % 1024]);
	assert_true(slab_kept() <= SLAB_KEEP_IDLE);
}

static void test_used_again(void **state)
{
	struct piece stays, first, second;

	(void)state;
	take(&stays, 4096, 1);
	take(&first, 16384, 2);
	uint8_t *data = first.data;
	give(&first);
	assert_true(slab_kept() >= 16384);
	take(&second, 16384, 3);
	assert_ptr_equal(second.data, data);
	give(&second);
	give(&stays);
}

/* Small pieces that come and go, with as much kept besides as may be: their memory stays, it isn't mapped anew each time. */
static void test_come_and_go(void **state)
{
	enum { SMALL = 3, COUNT = SLAB_KEEP_IDLE / 8192 };
	static struct piece others[COUNT];
	struct piece small[SMALL];
	size_t count = 0;

	(void)state;
	while (count < COUNT && slab_kept() + (count + 1) * 8192 <= SLAB_KEEP_IDLE)
		take(&others[count++], 8192, 5);
	while (count > 0)
		give(&others[--count]);
	assert_true(slab_kept() > SLAB_KEEP_IDLE - 8192 && slab_kept() <= SLAB_KEEP_IDLE);
	for (unsigned round = 0; round < 4; round++) {
		for (unsigned i = 0; i < SMALL; i++) {
			small[i].size = 4096;
			small[i].mark = 77;
			small[i].data = slab_take(4096, &small[i].region);
			assert_true(round < 2 || small[i].data[0] == 77); /* what was too much besides went in the first rounds */
			small[i].data[0] = small[i].data[4095] = 77;
		}
		for (unsigned i = 0; i < SMALL; i++)
			give(&small[i]);
		assert_true(slab_kept() <= SLAB_KEEP_IDLE);
	}
}

/* As many buffers of 4 KiB as a cache has, half of them freed, all of them freed. */
static void test_memory(void **state)
{
	enum { COUNT = 50000 };
	struct piece *pieces = calloc(COUNT, sizeof(*pieces));
	size_t before = resident();

	(void)state;
	for (unsigned i = 0; i < COUNT; i++)
		take(&pieces[i], 4096, (uint8_t)i);
	assert_true(resident() - before < (size_t)COUNT * 4096 * 11 / 10);
	for (unsigned i = 0; i < COUNT; i += 2)
		give(&pieces[i]);
	settle();
	assert_true(slab_kept() <= SLAB_KEEP);
	assert_true(resident() - before < (size_t)COUNT / 2 * 4096 * 11 / 10 + SLAB_KEEP);
	for (unsigned i = 1; i < COUNT; i += 2)
		give(&pieces[i]);
	assert_true(slab_kept() <= SLAB_KEEP_IDLE);
	assert_true(resident() - before < SLAB_KEEP_IDLE + (4u << 20));
	free(pieces);
}

/* What is needed again and again stays; the rest goes, a part at a time. */
static void test_settle(void **state)
{
	enum { COUNT = 400, AGAIN = 150 };
	static struct piece pieces[COUNT];
	struct piece stays;
	uint64_t now_ns = UINT64_C(1) << 60;

	(void)state;
	take(&stays, 4096, 9);
	for (unsigned i = 0; i < COUNT; i++)
		take(&pieces[i], SLAB_PIECE_MAX, (uint8_t)i);
	for (unsigned i = 0; i < COUNT; i++)
		give(&pieces[i]);
	assert_true(slab_kept() >= COUNT * SLAB_PIECE_MAX);
	slab_settle(now_ns); /* a time begins */
	for (unsigned round = 0; round < 20; round++) {
		size_t before = slab_kept();
		for (unsigned i = 0; i < AGAIN; i++)
			take(&pieces[i], SLAB_PIECE_MAX, (uint8_t)i);
		for (unsigned i = 0; i < AGAIN; i++)
			give(&pieces[i]);
		slab_settle(now_ns + 1);
		assert_true(slab_kept() >= before); /* not yet */
		slab_settle(now_ns += SLAB_SETTLE_NS);
		assert_true(slab_kept() + SLAB_SETTLE_BYTES + SLAB_PIECE_MAX >= before);
	}
	assert_true(slab_kept() >= (AGAIN - 4) * SLAB_PIECE_MAX);
	assert_true(slab_kept() <= (AGAIN + 4) * SLAB_PIECE_MAX);
	give(&stays);
}

/* What one size keeps doesn't stay when another needs it. */
static void test_other_sizes(void **state)
{
	enum { COUNT = 100 };
	static struct piece pieces[COUNT];
	struct piece stays;

	(void)state;
	take(&stays, 4096, 9);
	for (unsigned round = 0; round < 28; round++) {
		for (unsigned i = 0; i < COUNT; i++)
			take(&pieces[i], SLAB_PIECE_MAX - round * 32768, (uint8_t)i);
		for (unsigned i = 0; i < COUNT; i++)
			give(&pieces[i]);
		assert_true(slab_kept() <= SLAB_KEEP_MAX);
	}
	give(&stays);
}

static void *stress(void *argument)
{
	struct piece pieces[64] = {0};
	uint64_t random = (uintptr_t)argument * UINT64_C(0x9E3779B97F4A7C15) + 1;

	for (unsigned i = 0; i < 40000; i++) {
		random ^= random << 13, random ^= random >> 7, random ^= random << 17;
		struct piece *piece = &pieces[random % 64];
		if (piece->data) {
			give(piece);
			continue;
		}
		size_t size = ((random >> 8) % (random >> 16 & 7 ? 16 : 256) + 1) * 4096;
		*piece = (struct piece){.size = size, .mark = (uint8_t)(random >> 32)};
		piece->data = slab_take(size, &piece->region);
		for (size_t at = 0; at < size; at += 4096)
			piece->data[at] = piece->data[at + 4095] = piece->mark;
	}
	for (unsigned i = 0; i < 64; i++)
		if (pieces[i].data)
			give(&pieces[i]);
	return NULL;
}

static void test_threads(void **state)
{
	pthread_t threads[4];

	(void)state;
	for (uintptr_t i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, stress, (void *)(i + 1)), 0);
	for (unsigned i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	assert_true(slab_kept() <= SLAB_KEEP_IDLE);
}

static atomic_bool hammering;

static void *hammer(void *argument)
{
	struct piece piece;

	(void)argument;
	while (atomic_load(&hammering)) {
		piece.data = slab_take(8192, &piece.region);
		if (!piece.data)
			abort();
		slab_give(piece.region, piece.data);
	}
	return NULL;
}

/* The child of a fork has memory, whatever other threads of its parent did in that moment. */
static void test_fork(void **state)
{
	pthread_t threads[3];
	struct piece piece;

	(void)state;
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
	skip(); /* their own memory may be locked in the child */
#endif
	take(&piece, 8192, 1);
	give(&piece);
	atomic_store(&hammering, true);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, hammer, NULL), 0);
	for (unsigned i = 0; i < 300; i++) {
		int status;
		pid_t child = fork();

		assert_true(child >= 0);
		if (child == 0) {
			struct slab_region *region;

			signal(SIGALRM, SIG_DFL);
			alarm(20); /* far longer than it takes: whoever waits for a lock waits for ever */
			_exit(!slab_take(8192, &region));
		}
		assert_int_equal(waitpid(child, &status, 0), child);
		assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	}
	atomic_store(&hammering, false);
	for (unsigned i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_sizes), cmocka_unit_test(test_used_again),
		cmocka_unit_test(test_memory),
					   cmocka_unit_test(test_settle),
					   cmocka_unit_test(test_other_sizes), cmocka_unit_test(test_come_and_go),
		cmocka_unit_test(test_threads), cmocka_unit_test(test_fork)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
