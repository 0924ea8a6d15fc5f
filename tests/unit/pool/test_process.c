/* SPDX-License-Identifier: BSD-2-Clause */
/* What happens to the host's process: it forks and execs while a pool is open; its disks are cut off below the pool. */
#include "tests/unit/pool/support.h"

#include <pthread.h>
#include <stdatomic.h>
#include <signal.h>
#include <sys/wait.h>

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
/* ThreadSanitizer ends such a child; AddressSanitizer's own memory may be locked in it for ever by a thread of the parent's. */
#define CHILD_MAY_START_THREADS 0
#else
#define CHILD_MAY_START_THREADS 1
#endif

#define BYTES (4 * MIB)

struct load {
	pthread_t thread;
	libpool_volume *volume;
	atomic_bool stop;
	int result;
};

static void *write_on(void *argument)
{
	struct load *load = argument;
	static uint8_t data[65536];

	for (uint64_t i = 0; !atomic_load(&load->stop) && load->result == 0; i++) {
		load->result = libpool_volume_write(load->volume, i * sizeof(data) % BYTES, sizeof(data), data);
		if (load->result == 0 && i % 16 == 0)
			load->result = libpool_volume_flush(load->volume);
	}
	return NULL;
}

/* The child opens a pool of its own, then waits to be killed. */
static void child(struct bench *parent, int ready)
{
	struct bench bench = *parent;
	libpool_pool *pool;
	char said = 'y';

	if (CHILD_MAY_START_THREADS && (bench_import(&bench, "other", &pool) < 0 || libpool_close(pool, &bench.error) < 0))
		said = 'n';
	if (write(ready, &said, 1) != 1)
		_exit(1);
	for (;;)
		pause();
}

static void test_fork(void **state)
{
	struct bench bench;
	struct load load = {.result = 0};
	libpool_pool *pool;
	int pipes[2], status;
	char said = 0;
	pid_t process;

	(void)state;
	bench_begin(&bench, 3, 64 * MIB);
	OK(bench_create(&bench, "tank", "raid1", 0, 2));
	OK(bench_create(&bench, "other", "single", 2, 1));
	OK(bench_import(&bench, "tank", &pool));
	OK(bench_volume(&bench, pool, "v", BYTES, 0));
	OK(libpool_volume_open(pool, "v", NULL, &load.volume, &bench.error));
	assert_int_equal(pthread_create(&load.thread, NULL, write_on, &load), 0);
	usleep(50000);
	assert_int_equal(pipe(pipes), 0);
	process = fork();
	assert_true(process >= 0);
	if (process == 0)
		child(&bench, pipes[1]);
	assert_int_equal(read(pipes[0], &said, 1), 1);
	assert_int_equal(said, 'y');
	atomic_store(&load.stop, true);
	pthread_join(load.thread, NULL);
	assert_int_equal(load.result, 0);
	/* The child still has its descriptors; the disks are free nevertheless. */
	OK(libpool_volume_close(load.volume));
	OK(libpool_close(pool, &bench.error));
	OK(bench_import(&bench, "tank", &pool));
	OK(libpool_close(pool, &bench.error));
	kill(process, SIGKILL);
	assert_int_equal(waitpid(process, &status, 0), process);
	close(pipes[0]);
	close(pipes[1]);
	bench_end(&bench);
}

/* A program that the host starts finds none of the library's descriptors. */
static void test_exec(void **state)
{
	struct bench bench;
	libpool_pool *pool;
	libpool_queue *queue;
	char line[300];
	unsigned descriptors = 0;
	FILE *listing;

	(void)state;
	bench_begin(&bench, 2, 64 * MIB);
	OK(bench_create(&bench, "tank", "raid1", 0, 2));
	listing = popen("ls /proc/self/fd | wc -l", "re");
	assert_non_null(fgets(line, sizeof(line), listing));
	descriptors = (unsigned)atoi(line);
	pclose(listing);
	OK(bench_import(&bench, "tank", &pool));
	OK(libpool_queue_open(pool, NULL, &queue, &bench.error));
	assert_true(libpool_queue_descriptor(queue) >= 0);
	listing = popen("ls /proc/self/fd | wc -l", "re");
	assert_non_null(fgets(line, sizeof(line), listing));
	assert_int_equal(atoi(line), descriptors);
	pclose(listing);
	libpool_queue_close(queue);
	OK(libpool_close(pool, &bench.error));
	bench_end(&bench);
}

static void cut_off(unsigned disks)
{
	struct bench bench;
	uint8_t *data = malloc(BYTES), *again = malloc(BYTES);
	libpool_pool *pool;
	libpool_volume *volume;
	int result;

	bench_begin(&bench, 2, 64 * MIB);
	bench.host.cache_bytes = 1;
	OK(bench_create(&bench, "tank", "raid1", 0, 2));
	OK(bench_import(&bench, "tank", &pool));
	OK(bench_volume(&bench, pool, "v", BYTES, 0));
	OK(libpool_volume_open(pool, "v", NULL, &volume, &bench.error));
	pattern(data, 0, BYTES, 1);
	OK(libpool_volume_write(volume, 0, BYTES, data));
	OK(libpool_volume_flush(volume));
	for (unsigned i = 0; i < disks; i++)
		assert_int_equal(truncate(bench.paths[i], MIB), 0);
	result = libpool_volume_read(volume, 0, BYTES, again);
	if (disks == 1) {
		OK(result);
		assert_memory_equal(data, again, BYTES);
		OK(libpool_volume_write(volume, 0, MIB, data));
		OK(libpool_volume_flush(volume));
	} else {
		assert_true(result == -EIO || result == -LIBPOOL_EDAMAGED || result == -LIBPOOL_EHALTED);
		(void)libpool_volume_write(volume, 0, MIB, data);
		(void)libpool_volume_flush(volume);
	}
	OK(libpool_volume_close(volume));
	result = libpool_close(pool, &bench.error);
	if (disks == 1)
		OK(result);
	bench_end(&bench);
	free(data);
	free(again);
}

static void test_cut_off(void **state)
{
	(void)state;
	cut_off(1);
	cut_off(2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fork),
		cmocka_unit_test(test_exec),
		cmocka_unit_test(test_cut_off),
	};

	return cmocka_run_group_tests_name("pool_process", tests, NULL, NULL);
}
