/*
 * Several threads, several volumes, several pools in one process; closing while others are at work; handles that outlive
 * their pool.
 */
#include "libpool/base/check.h"
#include "libpool/pool/api_pool.h"
#include "tests/unit/pool/support.h"

#include <dirent.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/time.h>

#define VOLUME_BYTES (16 * MIB)
#define REGION (VOLUME_BYTES / 2) /* of each thread: two threads share a volume */
#define ROUNDS 60

struct worker {
	pthread_t thread;
	libpool_pool *pool;
	libpool_volume *volume;
	uint64_t base, seed;
	unsigned rounds;
	int result;
	bool differs;
};

static uint64_t next(uint64_t *state)
{
	*state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return *state >> 33;
}

/* Random ranges of its own region, written and read back; a model beside it says what must be there. */
static void *work(void *argument)
{
	struct worker *worker = argument;
	uint8_t *model = calloc(1, REGION), *buffer = malloc(REGION);
	uint64_t state = worker->seed;

	for (unsigned round = 0; round < worker->rounds && worker->result == 0; round++) {
		uint64_t offset = next(&state) % REGION, length = 1 + next(&state) % (round % 8 == 0 ? 3 * MIB : 50000);

		if (length > REGION - offset)
			length = REGION - offset;
		switch (next(&state) % 8) {
		case 0:
			worker->result = libpool_volume_zero(worker->volume, worker->base + offset, length);
			memset(model + offset, 0, length);
			break;
		case 1:
			worker->result = libpool_volume_flush(worker->volume);
			break;
		case 2:
		case 3:
		case 4:
			worker->result = libpool_volume_read(worker->volume, worker->base + offset, length, buffer);
			worker->differs |= worker->result == 0 && memcmp(buffer, model + offset, length) != 0;
			break;
		default:
			pattern(model + offset, offset, length, worker->seed + round);
			worker->result = libpool_volume_write(worker->volume, worker->base + offset, length, model + offset);
		}
	}
	if (worker->result == 0)
		worker->result = libpool_volume_read(worker->volume, worker->base, REGION, buffer);
	worker->differs |= worker->result == 0 && memcmp(buffer, model, REGION) != 0;
	free(buffer);
	free(model);
	return NULL;
}

static void open_two(struct bench *bench_pointer, libpool_pool *pool, libpool_volume **volumes)
{
	struct bench bench = *bench_pointer;

	OK(bench_volume(&bench, pool, "a", VOLUME_BYTES, 4096));
	OK(bench_volume(&bench, pool, "b", VOLUME_BYTES, 65536));
	OK(libpool_volume_open(pool, "a", NULL, &volumes[0], &bench.error));
	OK(libpool_volume_open(pool, "b", NULL, &volumes[1], &bench.error));
}

static void start(struct worker *worker, libpool_volume *volume, unsigned half, uint64_t seed)
{
	*worker = (struct worker){.volume = volume, .base = half * REGION, .seed = seed, .rounds = ROUNDS};
	assert_int_equal(pthread_create(&worker->thread, NULL, work, worker), 0);
}

static void join(struct worker *worker)
{
	pthread_join(worker->thread, NULL);
	assert_int_equal(worker->result, 0);
	assert_false(worker->differs);
}

static void test_two_volumes(void **state)
{
	struct bench bench;
	struct worker workers[4];
	libpool_pool *pool;
	libpool_volume *volumes[2];

	(void)state;
	bench_begin(&bench, 4, 128 * MIB);
	OK(bench_create(&bench, "tank", "raid5", 0, 4));
	OK(bench_import(&bench, "tank", &pool));
	open_two(&bench, pool, volumes);
	for (unsigned i = 0; i < 4; i++)
		start(&workers[i], volumes[i / 2], i % 2, i + 1);
	for (unsigned i = 0; i < 4; i++)
		join(&workers[i]);
	OK(libpool_volume_close(volumes[0]));
	OK(libpool_volume_close(volumes[1]));
	OK(libpool_close(pool, &bench.error));
	bench_end(&bench);
}

static void test_two_pools(void **state)
{
	struct bench bench;
	struct worker workers[4];
	libpool_pool *pools[2];
	libpool_volume *volumes[2][2];

	(void)state;
	bench_begin(&bench, 6, 128 * MIB);
	OK(bench_create(&bench, "one", "raid5", 0, 3));
	OK(bench_create(&bench, "two", "raid1c3", 3, 3));
	OK(bench_import(&bench, "one", &pools[0]));
	OK(bench_import(&bench, "two", &pools[1]));
	for (unsigned i = 0; i < 2; i++)
		open_two(&bench, pools[i], volumes[i]);
	for (unsigned i = 0; i < 4; i++)
		start(&workers[i], volumes[i / 2][i % 2], 0, 100 + i);
	for (unsigned i = 0; i < 4; i++)
		join(&workers[i]);
	for (unsigned i = 0; i < 4; i++)
		OK(libpool_volume_close(volumes[i / 2][i % 2]));
	/* One goes, the other doesn't notice. */
	OK(libpool_close(pools[0], &bench.error));
	OK(libpool_pool_sync(pools[1], &bench.error));
	OK(libpool_close(pools[1], &bench.error));
	bench_end(&bench);
}

static void *work_until_closed(void *argument)
{
	struct worker *worker = argument;
	uint8_t *buffer = malloc(MIB);
	int result = 0;

	pattern(buffer, 0, MIB, worker->seed);
	for (uint64_t i = 0; result == 0; i++)
		result = i % 3 == 2 ? libpool_volume_read(worker->volume, i % 8 * MIB, MIB, buffer)
				    : libpool_volume_write(worker->volume, i % 8 * MIB, MIB, buffer);
	worker->result = result;
	free(buffer);
	return NULL;
}

static void *wait_until_closed(void *argument)
{
	struct worker *worker = argument;

	worker->result = libpool_jobs_wait(worker->pool, 0, 0);
	return NULL;
}

static void close_under_load(bool abandon)
{
	struct bench bench;
	struct worker workers[3] = {{.seed = 1}, {.seed = 2}, {.seed = 3}};
	struct libpool_scrub_options slow = {.size = sizeof(slow), .bytes_per_second = 1000};
	libpool_pool *pool;
	libpool_volume *volumes[2];
	uint8_t byte = 7;

	bench_begin(&bench, 3, 1024 * MIB); /* sparse; what is overwritten is free only two commits later */
	OK(bench_create(&bench, "tank", "raid5", 0, 3));
	OK(bench_import(&bench, "tank", &pool));
	open_two(&bench, pool, volumes);
	OK(libpool_volume_write(volumes[0], 0, 1, &byte));
	OK(libpool_pool_sync(pool, &bench.error));
	OK(libpool_scrub_start(pool, &slow, &bench.error));
	for (unsigned i = 0; i < 2; i++) {
		workers[i].volume = volumes[i];
		assert_int_equal(pthread_create(&workers[i].thread, NULL, work_until_closed, &workers[i]), 0);
	}
	workers[2].pool = pool;
	assert_int_equal(pthread_create(&workers[2].thread, NULL, wait_until_closed, &workers[2]), 0);
	usleep(300000);
	if (abandon)
		libpool_abandon(pool);
	else
		OK(libpool_close(pool, &bench.error));
	for (unsigned i = 0; i < 3; i++)
		pthread_join(workers[i].thread, NULL);
	for (unsigned i = 0; i < 2; i++) {
		if (!abandon)
			assert_int_equal(workers[i].result, -ENODEV);
		else
			assert_true(workers[i].result == -ENODEV || workers[i].result == -LIBPOOL_EHALTED);
		assert_int_equal(libpool_volume_read(volumes[i], 0, 1, &byte), -ENODEV);
		assert_int_equal(libpool_volume_flush(volumes[i]), -ENODEV);
		assert_int_equal(libpool_volume_close(volumes[i]), 0);
	}
	assert_true(workers[2].result < 0);
	/* It can be imported again, and goes on with the scrub. */
	OK(bench_import(&bench, "tank", &pool));
	OK(libpool_close(pool, &bench.error));
	bench_end(&bench);
}

static void test_close_under_load(void **state)
{
	(void)state;
	close_under_load(false);
}

static void test_abandon_under_load(void **state)
{
	(void)state;
	close_under_load(true);
}

static unsigned threads_that_take(int signal)
{
	DIR *tasks = opendir("/proc/self/task");
	struct dirent *entry;
	unsigned count = 0;

	assert_non_null(tasks);
	while ((entry = readdir(tasks))) {
		char path[300], line[200];
		FILE *file;

		snprintf(path, sizeof(path), "/proc/self/task/%s/status", entry->d_name);
		file = entry->d_name[0] == '.' ? NULL : fopen(path, "re");
		while (file && fgets(line, sizeof(line), file)) {
			unsigned long long blocked;

			if (sscanf(line, "SigBlk: %llx", &blocked) == 1)
				count += !(blocked >> (signal - 1) & 1);
		}
		if (file)
			fclose(file);
	}
	closedir(tasks);
	return count;
}

/* Signals of the process go to threads of the host, never to the library's; the caller's mask stays. */
static void test_signals(void **state)
{
	struct bench bench;
	libpool_pool *pool;
	sigset_t before, after;
	unsigned own = threads_that_take(SIGTERM); /* a sanitizer has threads too */

	(void)state;
	bench_begin(&bench, 2, 64 * MIB);
	pthread_sigmask(SIG_SETMASK, NULL, &before);
	OK(bench_create(&bench, "tank", "raid1", 0, 2));
	OK(bench_import(&bench, "tank", &pool));
	pthread_sigmask(SIG_SETMASK, NULL, &after);
	for (int signal = 1; signal < 32; signal++)
		assert_int_equal(sigismember(&before, signal), sigismember(&after, signal));
	assert_int_equal(threads_that_take(SIGTERM), own);
	assert_int_equal(threads_that_take(SIGUSR1), own);
	OK(libpool_close(pool, &bench.error));
	bench_end(&bench);
}

static char *stack_bottom, *stack_top;
static volatile sig_atomic_t signals, strays;

static void on_alarm(int signal)
{
	char here;

	(void)signal;
	signals++;
	strays += &here < stack_bottom || &here >= stack_top;
}

/* Also while the calling thread does the engine's work: a handler may need more stack than a fiber has. */
static void test_handlers_keep_off_fibers(void **state)
{
	struct bench bench;
	libpool_pool *pool;
	libpool_volume *volume;
	pthread_attr_t attributes;
	void *bottom;
	size_t size;
	static char data[4096];
	struct sigaction action = {.sa_handler = on_alarm, .sa_flags = SA_RESTART}, before;
	struct itimerval each = {.it_interval.tv_usec = 100, .it_value.tv_usec = 100}, never = {0};

	(void)state;
	pthread_getattr_np(pthread_self(), &attributes);
	pthread_attr_getstack(&attributes, &bottom, &size);
	pthread_attr_destroy(&attributes);
	stack_bottom = bottom;
	stack_top = stack_bottom + size;
	bench_begin(&bench, 2, 64 * MIB);
	OK(bench_create(&bench, "tank", "raid1", 0, 2));
	OK(bench_import(&bench, "tank", &pool));
	OK(bench_volume(&bench, pool, "v", MIB, 4096));
	OK(libpool_volume_open(pool, "v", NULL, &volume, &bench.error));
	OK(libpool_volume_write(volume, 0, sizeof(data), data));
	sigaction(SIGALRM, &action, &before);
	setitimer(ITIMER_REAL, &each, NULL);
	while (signals < 500)
		for (int i = 0; i < 100; i++)
			OK(libpool_volume_read(volume, 0, sizeof(data), data));
	setitimer(ITIMER_REAL, &never, NULL);
	sigaction(SIGALRM, &before, NULL);
	assert_int_equal(strays, 0);
	OK(libpool_volume_close(volume));
	OK(libpool_close(pool, &bench.error));
	bench_end(&bench);
}

static int fail_check(struct libpool_pool *pool, struct engine *engine, void *arguments, struct pool_error *error)
{
	(void)pool, (void)engine, (void)arguments, (void)error;
	return POOL_CHECK(!"what a test says") ? 0 : -LIBPOOL_EHALTED;
}

/* A broken invariant halts its pool; the process, and other pools, go on. */
static void test_invariant(void **state)
{
	struct bench bench;
	libpool_pool *pools[2];
	libpool_volume *volumes[2];
	struct libpool_pool_info info = {.size = sizeof(info)};
	uint8_t data[4096], again[4096];

	(void)state;
	bench_begin(&bench, 4, 128 * MIB);
	OK(bench_create(&bench, "one", "raid1", 0, 2));
	OK(bench_create(&bench, "two", "raid1", 2, 2));
	OK(bench_import(&bench, "one", &pools[0]));
	OK(bench_import(&bench, "two", &pools[1]));
	open_two(&bench, pools[0], volumes);
	pattern(data, 0, sizeof(data), 1);
	OK(libpool_volume_write(volumes[0], 0, sizeof(data), data));
	OK(libpool_volume_flush(volumes[0]));
	REFUSED(api_run(pools[0], NULL, fail_check, NULL, &bench.error), -LIBPOOL_EHALTED, "what a test says");
	OK(libpool_pool_info(pools[0], &info));
	assert_int_equal(info.halted, 1);
	assert_int_equal(info.health, LIBPOOL_UNUSABLE);
	assert_int_equal(libpool_volume_write(volumes[0], 0, sizeof(data), data), -LIBPOOL_EHALTED);
	assert_int_equal(libpool_volume_flush(volumes[0]), -LIBPOOL_EHALTED);
	REFUSED(libpool_pool_sync(pools[0], &bench.error), -LIBPOOL_EHALTED, "what a test says");
	OK(libpool_volume_read(volumes[0], 0, sizeof(again), again));
	assert_memory_equal(data, again, sizeof(data));
	OK(libpool_pool_sync(pools[1], &bench.error));
	OK(bench_volume(&bench, pools[1], "v", MIB, 0));
	for (unsigned i = 0; i < 2; i++)
		OK(libpool_volume_close(volumes[i]));
	REFUSED(libpool_close(pools[0], &bench.error), -LIBPOOL_EHALTED, "halted");
	OK(libpool_close(pools[1], &bench.error));
	OK(bench_import(&bench, "one", &pools[0]));
	OK(libpool_volume_open(pools[0], "a", NULL, &volumes[0], &bench.error));
	OK(libpool_volume_read(volumes[0], 0, sizeof(again), again));
	assert_memory_equal(data, again, sizeof(data));
	OK(libpool_volume_close(volumes[0]));
	OK(libpool_close(pools[0], &bench.error));
	bench_end(&bench);
}

struct checker {
	pthread_t thread;
	libpool_pool *pool;
	atomic_bool stop;
	unsigned rounds;
	uint64_t violations;
};

static void *check_again(void *argument)
{
	struct checker *checker = argument;

	while (!checker->stop) {
		struct libpool_verify_result result = LIBPOOL_INIT(libpool_verify_result);

		checker->violations += libpool_verify(checker->pool, NULL, &result, NULL) < 0 || result.violations;
		checker->rounds++;
	}
	return NULL;
}

/* Who closes a file system waits for who checks it. */
static void test_closed_while_checked(void **state)
{
	struct libpool_pool_info info = {.size = sizeof(info)};
	struct libpool_fs_options options = {.size = sizeof(options)};
	struct libpool_new new = {.size = sizeof(new), .mode = 0100644};
	struct libpool_attributes file = LIBPOOL_INIT(libpool_attributes);
	struct checker checker = {.rounds = 0};
	struct bench bench;
	libpool_fs *fs;

	(void)state;
	bench_begin(&bench, 2, 128 * MIB);
	OK(bench_create(&bench, "tank", "raid1", 0, 2));
	OK(bench_import(&bench, "tank", &checker.pool));
	OK(libpool_fs_create(checker.pool, "f", &options, &bench.error));
	OK(libpool_fs_open(checker.pool, "f", NULL, &fs, &bench.error));
	for (unsigned i = 0; i < 1000; i++) {
		char text[20];

		snprintf(text, sizeof(text), "%u", i);
		OK(libpool_fs_make(fs, LIBPOOL_FS_ROOT, text, &new, &file));
	}
	OK(libpool_fs_close(fs));
	assert_int_equal(pthread_create(&checker.thread, NULL, check_again, &checker), 0);
	for (unsigned i = 0; i < 200; i++) {
		/* The check may have opened it itself. */
		int opened = libpool_fs_open(checker.pool, "f", NULL, &fs, &bench.error);

		if (opened == -EBUSY)
			continue;
		OK(opened);
		usleep(i % 10 * 300);
		OK(libpool_fs_close(fs));
	}
	checker.stop = true;
	pthread_join(checker.thread, NULL);
	assert_int_equal(checker.violations, 0);
	OK(libpool_pool_info(checker.pool, &info));
	assert_int_equal(info.halted, 0);
	OK(libpool_close(checker.pool, &bench.error));
	bench_end(&bench);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_two_volumes), cmocka_unit_test(test_two_pools), cmocka_unit_test(test_close_under_load),
		cmocka_unit_test(test_abandon_under_load), cmocka_unit_test(test_invariant), cmocka_unit_test(test_closed_while_checked),
		cmocka_unit_test(test_signals),
		cmocka_unit_test(test_handlers_keep_off_fibers),
	};

	return cmocka_run_group_tests_name("pool_threads", tests, NULL, NULL);
}
