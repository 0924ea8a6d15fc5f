/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A host whose memory is short: the n-th allocation of everything that the public interface does fails, once or several times in a
 * row. Calls succeed, or say -ENOMEM, or that the pool is halted; nothing crashes or hangs, closing always works, and
 * the next import finds what was acknowledged.
 *
 *     test_memory [FIRST STEP]      lets allocation FIRST, FIRST + STEP, ... fail; 0 1 is all of them
 */
#include "tests/unit/pool/support.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/uio.h>

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
char *__real_strdup(const char *text);
int __real_posix_memalign(void **ret, size_t alignment, size_t size);
void *__real_mmap(void *address, size_t length, int protection, int flags, int file, off_t offset);
int __real_pthread_create(pthread_t *ret, const pthread_attr_t *attributes, void *(*function)(void *), void *argument);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *memory, size_t size);
char *__wrap_strdup(const char *text);
int __wrap_posix_memalign(void **ret, size_t alignment, size_t size);
void *__wrap_mmap(void *address, size_t length, int protection, int flags, int file, off_t offset);
int __wrap_pthread_create(pthread_t *ret, const pthread_attr_t *attributes, void *(*function)(void *), void *argument);

static struct {
	atomic_bool armed;
	bool threads_only;
	atomic_ullong count;
	uint64_t first, in_a_row; /* numbers of the allocations that fail */
} memory;

static bool one_fails(bool is_thread)
{
	uint64_t number;

	if (!atomic_load(&memory.armed) || (memory.threads_only && !is_thread))
		return false;
	number = atomic_fetch_add(&memory.count, 1);
	return number >= memory.first && number - memory.first < memory.in_a_row;
}

static bool fails(void)
{
	return one_fails(false);
}

void *__wrap_malloc(size_t size)
{
	return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
	return fails() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *old, size_t size)
{
	return fails() ? NULL : __real_realloc(old, size);
}

char *__wrap_strdup(const char *text)
{
	return fails() ? NULL : __real_strdup(text);
}

int __wrap_posix_memalign(void **ret, size_t alignment, size_t size)
{
	return fails() ? ENOMEM : __real_posix_memalign(ret, alignment, size);
}

void *__wrap_mmap(void *address, size_t length, int protection, int flags, int file, off_t offset)
{
	if (fails()) {
		errno = ENOMEM;
		return MAP_FAILED;
	}
	return __real_mmap(address, length, protection, flags, file, offset);
}

int __wrap_pthread_create(pthread_t *ret, const pthread_attr_t *attributes, void *(*function)(void *), void *argument)
{
	return one_fails(true) ? EAGAIN : __real_pthread_create(ret, attributes, function, argument);
}

static void arm(uint64_t first, uint64_t in_a_row)
{
	memory.first = first;
	memory.in_a_row = in_a_row;
	atomic_store(&memory.count, 0);
	atomic_store(&memory.armed, true);
}

/* Whether all of them came to pass. */
static bool disarm(void)
{
	atomic_store(&memory.armed, false);
	return atomic_load(&memory.count) >= memory.first + memory.in_a_row;
}

/* ---- what is done meanwhile ---- */

#define BLOCK 4096u
#define BLOCKS 24u
#define BYTES (BLOCKS * BLOCK)

struct scene {
	struct bench bench;
	unsigned written; /* the version of the content that was written last */
	unsigned safe;    /* and the one that must be there, or a later one */
};
#define bench (scene->bench) /* for OK */

static void try(struct scene *scene, int result, int line)
{
	if (result >= 0 || result == -ENOMEM || result == -LIBPOOL_EHALTED)
		return;
	/* A thread that can't be started; what a change that failed before left or didn't leave; a scrub that goes on. */
	if (result == -EAGAIN || result == -EEXIST || result == -ENOENT || result == -EALREADY)
		return;
	atomic_store(&memory.armed, false);
	print_error("line %d: allocation %llu: %d %s: %s\n", line, (unsigned long long)memory.first, result, libpool_strerror(result),
		    bench.error.text);
	fail();
}
#define TRY(call) try(scene, (call), __LINE__)

static void ask(struct scene *scene, libpool_pool *pool)
{
	struct libpool_pool_info info = {.size = sizeof(info)};
	struct libpool_disk_info *disks = NULL;
	struct libpool_volume_info *volumes = NULL;
	struct libpool_user *users = NULL;
	struct libpool_event *events = NULL;
	struct libpool_property *properties = NULL;
	struct libpool_history *history = NULL;
	size_t count;

	TRY(libpool_pool_info(pool, &info));
	TRY(libpool_disks(pool, &disks, &count));
	TRY(libpool_volumes(pool, &volumes, &count));
	TRY(libpool_users(pool, &users, &count));
	TRY(libpool_events(pool, 0, &events, &count));
	TRY(libpool_history(pool, &history, &count));
	TRY(libpool_properties(pool, NULL, &properties, &count, &bench.error));
	libpool_free(disks);
	libpool_free(volumes);
	libpool_free(users);
	libpool_free(events);
	libpool_free(properties);
	libpool_free(history);
}

static void change(struct scene *scene, libpool_pool *pool)
{
	struct libpool_scrub_options scrub = {.size = sizeof(scrub)};

	TRY(bench_volume(&bench, pool, "x", MIB, 0));
	TRY(libpool_property_set(pool, NULL, "comment", "short of memory", &bench.error));
	TRY(libpool_volume_resize(pool, "x", 2 * MIB, &bench.error));
	TRY(libpool_history_add(pool, "short of memory", &bench.error));
	TRY(libpool_scrub_start(pool, &scrub, &bench.error));
	TRY(libpool_jobs_wait(pool, 0, 0));
	TRY(libpool_volume_destroy(pool, "x", &bench.error));
}

/* Half of the content in a blocking call, half through a queue; then all is flushed. */
static void write_version(struct scene *scene, libpool_volume *volume, libpool_queue *queue)
{
	static uint8_t data[BYTES], back[BYTES / 2];
	struct iovec parts[2] = {{data + BYTES / 2, 5000}, {data + BYTES / 2 + 5000, BYTES / 2 - 5000}};
	struct libpool_request requests[2];
	struct libpool_completion completions[2];
	int result, submitted, left;

	scene->written++;
	for (unsigned i = 0; i < BLOCKS; i++)
		pattern(data + i * BLOCK, i * BLOCK, BLOCK, scene->written);
	result = libpool_volume_write(volume, 0, BYTES / 2, data);
	TRY(result);
	requests[0] = (struct libpool_request){.size = sizeof(requests[0]), .volume = volume, .operation = LIBPOOL_WRITE, .offset = BYTES / 2,
					       .length = BYTES / 2, .iov = parts, .iov_count = 2};
	requests[1] = (struct libpool_request){.size = sizeof(requests[0]), .volume = volume, .operation = LIBPOOL_READ,
					       .length = BYTES / 2, .buffer = back};
	submitted = libpool_queue_submit(queue, requests, 2);
	TRY(submitted);
	for (left = submitted; left > 0;) {
		int got = libpool_queue_reap(queue, completions, 2, UINT64_MAX);

		assert_true(got > 0);
		for (int i = 0; i < got; i++) {
			TRY(completions[i].result);
			result = completions[i].result < 0 ? completions[i].result : result;
		}
		left -= got;
	}
	if (libpool_volume_flush(volume) == 0 && result == 0 && submitted == 2)
		scene->safe = scene->written;
}

static void use(struct scene *scene)
{
	libpool_pool *pool = NULL;
	libpool_volume *volume = NULL;
	libpool_queue *queue = NULL;
	int result = bench_import(&bench, "tank", &pool);

	TRY(result);
	if (result < 0)
		return;
	ask(scene, pool);
	change(scene, pool);
	result = libpool_volume_open(pool, "v", NULL, &volume, &bench.error);
	TRY(result);
	if (result == 0) {
		result = libpool_queue_open(pool, NULL, &queue, &bench.error);
		TRY(result);
	}
	if (result == 0)
		write_version(scene, volume, queue);
	libpool_queue_close(queue);
	assert_int_equal(libpool_volume_close(volume), 0);
	TRY(libpool_close(pool, &bench.error));
}

/* ---- what must be there afterwards ---- */

static void check_content(struct scene *scene, const uint8_t *data)
{
	for (unsigned i = 0; i < BLOCKS; i++) {
		uint8_t expected[BLOCK];
		unsigned version = scene->written + 1;

		do {
			assert_true(version-- > scene->safe);
			pattern(expected, i * BLOCK, BLOCK, version);
		} while (memcmp(expected, data + i * BLOCK, BLOCK) != 0);
	}
}

static void check_pool(struct scene *scene, bool whole)
{
	static uint8_t data[BYTES];
	struct libpool_verify_result verified = {.size = sizeof(verified)};
	struct libpool_pool_info info = {.size = sizeof(info)};
	libpool_pool *pool;
	libpool_volume *volume;

	OK(bench_import(&bench, "tank", &pool));
	OK(libpool_volume_open(pool, "v", NULL, &volume, &bench.error));
	OK(libpool_volume_read(volume, 0, BYTES, data));
	check_content(scene, data);
	OK(libpool_volume_close(volume));
	/* No disk is blamed for what memory did. */
	OK(libpool_pool_info(pool, &info));
	assert_int_equal(info.disks_online, 2);
	if (whole) {
		OK(libpool_verify(pool, NULL, &verified, &bench.error));
		assert_int_equal(verified.violations, 0);
	}
	OK(libpool_close(pool, &bench.error));
}

static __attribute__((nonnull)) void begin(struct scene *scene)
{
	static uint8_t data[BYTES];
	libpool_pool *pool;
	libpool_volume *volume;

	*scene = (struct scene){.written = 0};
	bench_begin(&bench, 2, 64 * MIB);
	OK(bench_create(&bench, "tank", "raid1", 0, 2));
	OK(bench_import(&bench, "tank", &pool));
	OK(bench_volume(&bench, pool, "v", MIB, BLOCK));
	OK(libpool_volume_open(pool, "v", NULL, &volume, &bench.error));
	for (unsigned i = 0; i < BLOCKS; i++)
		pattern(data + i * BLOCK, i * BLOCK, BLOCK, 0);
	OK(libpool_volume_write(volume, 0, BYTES, data));
	OK(libpool_volume_close(volume));
	OK(libpool_close(pool, &bench.error));
}

static uint64_t start = 0, step = 0;

static void test_use(void **state)
{
	struct scene local, *scene = &local;
	uint64_t all, number, in_a_row = 1, rounds = 0;

	(void)state;
	begin(scene);
	arm(UINT64_MAX / 2, 0);
	use(scene);
	atomic_store(&memory.armed, false);
	all = atomic_load(&memory.count);
	print_message("%llu allocations\n", (unsigned long long)all);
	assert_true(all > 200);
	if (!step)
		step = all / 30 + 1;
	for (number = start; number < all; number += step) {
		arm(number, in_a_row);
		use(scene);
		disarm();
		check_pool(scene, rounds++ % 16 == 0);
		in_a_row = in_a_row == 1 ? 3 : in_a_row == 3 ? 40 : 1;
	}
	check_pool(scene, true);
	bench_end(&bench);
}

/* Creating, finding and destroying pools. */
static void test_create(void **state)
{
	struct scene local, *scene = &local;
	struct libpool_found *found;
	size_t count;
	int result;

	(void)state;
	begin(scene);
	bench_file(&bench, 2, 64 * MIB);
	bench.count = 3;
	for (uint64_t number = start, done = 0; !done; number += step > 20 ? step / 20 : 1) {
		arm(number, 1);
		result = bench_create(&bench, "other", "single", 2, 1);
		TRY(result);
		found = NULL;
		TRY(libpool_find(&bench.host, &found, &count, &bench.error));
		libpool_free(found);
		if (result == 0)
			TRY(libpool_destroy(&bench.host, "other", &bench.error));
		done = !disarm();
		unlink(bench.paths[2]);
		bench_file(&bench, 2, 64 * MIB);
	}
	check_pool(scene, true);
	bench_end(&bench);
}

/* Without io_uring each disk needs threads of its own. A disk isn't missing for lack of one: the pool would go on without it. */
static void test_threads(void **state)
{
	struct scene local, *scene = &local;
	struct libpool_pool_info info = {.size = sizeof(info)};
	libpool_pool *pool;
	unsigned refused = 0;
	bool done = false;

	(void)state;
	begin(scene);
	bench.host.no_uring = 1;
	memory.threads_only = true;
	for (uint64_t number = 0; !done; number++) {
		arm(number, number % 2 ? 1 : 20); /* what lacks does so for a while: labels have copies */
		int result = bench_import(&bench, "tank", &pool);
		done = !disarm() && result == 0;
		if (result < 0) {
			if (result != -ENOMEM && result != -EAGAIN && result != -LIBPOOL_EHALTED)
				fail_msg("thread %llu: %d: %s", (unsigned long long)number, result, bench.error.text);
			refused++;
			continue;
		}
		OK(libpool_pool_info(pool, &info));
		assert_int_equal(info.disks_online, 2);
		OK(libpool_close(pool, &bench.error));
	}
	memory.threads_only = false;
	print_message("%u imports refused for lack of a thread\n", refused);
	assert_true(refused > 0);
	check_pool(scene, true);
	bench_end(&bench);
}

int main(int count, char **arguments)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_use),
		cmocka_unit_test(test_create),
		cmocka_unit_test(test_threads),
	};

	if (count == 3) {
		start = strtoull(arguments[1], NULL, 10);
		step = strtoull(arguments[2], NULL, 10);
	}
	return cmocka_run_group_tests_name("pool_memory", tests, NULL, NULL);
}
