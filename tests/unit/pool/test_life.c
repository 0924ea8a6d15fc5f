/* A pool's life through the public API: created, used, closed, opened again, with disks missing. */
#include "tests/unit/pool/support.h"

#include <pthread.h>

#define VOLUME_BYTES (256 * MIB)
#define CHUNK (3 * MIB + 12288) /* crosses blocks and pieces */

static void write_all(struct bench *bench_pointer, libpool_volume *volume, uint64_t bytes, uint64_t seed)
{
	struct bench bench = *bench_pointer;
	uint8_t *chunk = malloc(CHUNK);

	for (uint64_t at = 0; at < bytes; at += CHUNK) {
		size_t length = bytes - at < CHUNK ? (size_t)(bytes - at) : CHUNK;

		pattern(chunk, at, length, seed);
		OK(libpool_volume_write(volume, at, length, chunk));
	}
	free(chunk);
}

static void compare_all(struct bench *bench_pointer, libpool_volume *volume, uint64_t bytes, uint64_t seed)
{
	struct bench bench = *bench_pointer;
	uint8_t *chunk = malloc(CHUNK), *expected = malloc(CHUNK);

	for (uint64_t at = 0; at < bytes; at += CHUNK) {
		size_t length = bytes - at < CHUNK ? (size_t)(bytes - at) : CHUNK;

		pattern(expected, at, length, seed);
		OK(libpool_volume_read(volume, at, length, chunk));
		assert_memory_equal(chunk, expected, length);
	}
	free(expected);
	free(chunk);
}

static void check_healthy(struct bench *bench_pointer, libpool_pool *pool, uint32_t health)
{
	struct bench bench = *bench_pointer;
	struct libpool_pool_info info = {.size = sizeof(info)};
	struct libpool_verify_result verified = {.size = sizeof(verified)};

	OK(libpool_pool_info(pool, &info));
	if (info.health != health)
		print_error("%s\n", info.problem);
	assert_int_equal(info.health, health);
	OK(libpool_verify(pool, NULL, &verified, &bench.error));
	if (verified.violations || verified.damaged_blocks)
		print_error("%s\n", verified.first);
	assert_int_equal(verified.violations, 0);
	assert_int_equal(verified.damaged_blocks, 0);
	assert_true(verified.blocks_checked > 0);
}

static void test_life(void **state)
{
	struct bench bench;
	libpool_pool *pool;
	libpool_volume *volume;

	(void)state;
	bench_begin(&bench, 6, 256 * MIB);
	OK(bench_create(&bench, "tank", "raid6", 0, 6));
	OK(bench_import(&bench, "tank", &pool));
	OK(bench_volume(&bench, pool, "vm1", VOLUME_BYTES, 0));
	OK(libpool_volume_open(pool, "vm1", NULL, &volume, &bench.error));
	write_all(&bench, volume, VOLUME_BYTES, 1);
	OK(libpool_volume_flush(volume));
	compare_all(&bench, volume, VOLUME_BYTES, 1);
	OK(libpool_volume_close(volume));
	check_healthy(&bench, pool, LIBPOOL_HEALTHY);
	OK(libpool_close(pool, &bench.error));

	OK(bench_import(&bench, "tank", &pool));
	OK(libpool_volume_open(pool, "vm1", NULL, &volume, &bench.error));
	compare_all(&bench, volume, VOLUME_BYTES, 1);
	OK(libpool_volume_close(volume));
	OK(libpool_close(pool, &bench.error));

	/* One file less, then two. */
	for (unsigned gone = 1; gone <= 2; gone++) {
		unlink(bench.paths[gone]);
		OK(bench_import(&bench, "tank", &pool));
		OK(libpool_volume_open(pool, "vm1", NULL, &volume, &bench.error));
		compare_all(&bench, volume, VOLUME_BYTES, 1);
		write_all(&bench, volume, 10 * MIB, 1);
		OK(libpool_volume_close(volume));
		check_healthy(&bench, pool, LIBPOOL_DEGRADED);
		OK(libpool_close(pool, &bench.error));
	}
	unlink(bench.paths[3]);
	REFUSED(bench_import(&bench, "tank", &pool), -LIBPOOL_EDEGRADED, "3 of its 6 disks");
	bench_end(&bench);
}

struct submission {
	libpool_queue *queue;
	struct libpool_request request;
};

static void *submit_one(void *argument)
{
	struct submission *submission = argument;

	assert_int_equal(libpool_queue_submit(submission->queue, &submission->request, 1), 1);
	return NULL;
}

/* Who reaps a queue's last completion may close it, although the thread that submitted isn't back yet. Sanitizers see what it touches then. */
static void test_queue_ends(void **state)
{
	struct libpool_queue_options options = {.size = sizeof(options)};
	struct bench bench;
	libpool_pool *pool;
	libpool_volume *volume;
	uint8_t data[4096];

	(void)state;
	bench_begin(&bench, 3, 256 * MIB);
	OK(bench_create(&bench, "tank", "raid5", 0, 3));
	OK(bench_import(&bench, "tank", &pool));
	OK(bench_volume(&bench, pool, "v", MIB, sizeof(data)));
	OK(libpool_volume_open(pool, "v", NULL, &volume, &bench.error));
	for (unsigned round = 0; round < 200; round++) {
		struct submission submission = {.request = {.size = sizeof(struct libpool_request), .volume = volume, .operation = LIBPOOL_READ,
							    .length = sizeof(data), .buffer = data}};
		struct libpool_completion completion;
		pthread_t submitter;

		OK(libpool_queue_open(pool, &options, &submission.queue, &bench.error));
		assert_int_equal(pthread_create(&submitter, NULL, submit_one, &submission), 0);
		assert_int_equal(libpool_queue_reap(submission.queue, &completion, 1, UINT64_MAX), 1);
		libpool_queue_close(submission.queue);
		pthread_join(submitter, NULL);
	}
	OK(libpool_volume_close(volume));
	OK(libpool_close(pool, &bench.error));
	bench_end(&bench);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_life),
		cmocka_unit_test(test_queue_ends),
	};

	return cmocka_run_group_tests_name("pool_life", tests, NULL, NULL);
}
