/* System calls of asynchronous requests: what one submission brings goes to the kernel together, and what the pool writes for one flush, too; one at a time wakes nobody. */
#include "tests/unit/pool/support.h"

#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define BLOCK 4096u
#define DEPTH 32u
#define NODE_BLOCKS 64u /* data blocks below one node of the volume's tree */
#define VOLUME_BYTES (32 * MIB)

static _Thread_local unsigned yields;

/* Instead of the C library's: who looks for an end offers the processor to others between its looks. */
int sched_yield(void)
{
	yields++;
	return (int)syscall(SYS_sched_yield);
}

static uint64_t enters(libpool_pool *pool)
{
	struct libpool_pool_info info = {.size = sizeof(info)};

	assert_int_equal(libpool_pool_info(pool, &info), 0);
	return info.io_uring_enters;
}

struct load {
	libpool_pool *pool;
	libpool_volume *volume;
	libpool_queue *queue;
	uint64_t block; /* the next one that hasn't been read, or written */
	uint8_t *data;
};

/* Never the same again, so never out of the cache. Nodes were read before, with the first block of each. */
static uint64_t next_offset(struct load *load)
{
	load->block += load->block % NODE_BLOCKS == NODE_BLOCKS - 1 ? 2 : 1;
	return load->block * BLOCK;
}

static void run(struct load *load, const struct libpool_request *requests, unsigned count)
{
	struct libpool_completion completions[DEPTH];
	unsigned left = count;

	assert_int_equal(libpool_queue_submit(load->queue, requests, count), count);
	while (left) {
		int got = libpool_queue_reap(load->queue, completions, left, UINT64_MAX);

		assert_true(got > 0);
		for (int i = 0; i < got; i++)
			assert_int_equal(completions[i].result, 0);
		left -= (unsigned)got;
	}
}

static void each(struct load *load, uint32_t operation, uint32_t flags, unsigned count)
{
	struct libpool_request requests[DEPTH];

	for (unsigned i = 0; i < count; i++)
		requests[i] = (struct libpool_request){
			.size = sizeof(requests[i]),
			.volume = load->volume,
			.operation = operation,
			.flags = flags,
			.offset = next_offset(load),
			.length = BLOCK,
			.buffer = load->data + i * BLOCK,
		};
	run(load, requests, count);
}

static void read_some(struct load *load, unsigned depth)
{
	each(load, LIBPOOL_READ, 0, depth);
}

static void write_durably(struct load *load, unsigned depth)
{
	each(load, LIBPOOL_WRITE, LIBPOOL_FUA, depth);
}

static void write_and_flush(struct load *load, unsigned depth)
{
	struct libpool_request flush = { .size = sizeof(flush), .volume = load->volume, .operation = LIBPOOL_FLUSH };

	each(load, LIBPOOL_WRITE, 0, depth);
	run(load, &flush, 1);
}

static int compare(const void *one, const void *other)
{
	uint64_t a = *(const uint64_t *)one, b = *(const uint64_t *)other;

	return a < b ? -1 : a > b;
}

#define ROUNDS 200u

/*
 * Calls for each request, in the quarter of the rounds that take least: others use the disk, the pool has work of its own now and
 * then, and on a busy machine completions of one request come one by one, each with a call of its own.
 */
static double measure(struct load *load, void (*some)(struct load *load, unsigned depth), unsigned depth)
{
	uint64_t counts[ROUNDS];

	for (unsigned i = 0; i < ROUNDS; i++) {
		uint64_t before = enters(load->pool);

		some(load, depth);
		counts[i] = enters(load->pool) - before;
	}
	qsort(counts, ROUNDS, sizeof(counts[0]), compare);
	return (double)counts[ROUNDS / 4] / depth;
}

/* After a new import, with all nodes in the cache and none of what is read from here on. */
static void try(struct bench *of, const char *what, void (*some)(struct load *load, unsigned depth))
{
	struct bench bench = *of;
	struct load load = {.data = malloc(DEPTH * BLOCK)};

	pattern(load.data, 0, DEPTH * BLOCK, 2);
	OK(bench_import(&bench, "tank", &load.pool));
	OK(libpool_volume_open(load.pool, "v", NULL, &load.volume, &bench.error));
	OK(libpool_queue_open(load.pool, NULL, &load.queue, &bench.error));
	for (uint64_t offset = 0; offset < VOLUME_BYTES; offset += NODE_BLOCKS * BLOCK)
		OK(libpool_volume_read(load.volume, offset, BLOCK, load.data));
	double one = measure(&load, some, 1), many = measure(&load, some, DEPTH);
	print_message("%s: io_uring_enter for each request: %.3f at depth 1, %.3f at depth %u\n", what, one, many, DEPTH);
	if (enters(load.pool) == 0)
		print_message("no io_uring here\n");
	libpool_queue_close(load.queue);
	OK(libpool_volume_close(load.volume));
	OK(libpool_close(load.pool, &bench.error));
	free(load.data);
	assert_true(one <= 2);
	assert_true(many <= 0.1);
}

static void test_enters(void **state)
{
	struct bench bench;
	libpool_pool *pool;
	libpool_volume *volume;
	uint8_t *content = malloc(VOLUME_BYTES);

	(void)state;
	bench_begin(&bench, 3, 256 * MIB);
	OK(bench_create(&bench, "tank", "raid5", 0, 3));
	OK(bench_import(&bench, "tank", &pool));
	OK(bench_volume(&bench, pool, "v", VOLUME_BYTES, BLOCK));
	OK(libpool_volume_open(pool, "v", NULL, &volume, &bench.error));
	pattern(content, 0, VOLUME_BYTES, 1);
	OK(libpool_volume_write(volume, 0, VOLUME_BYTES, content));
	OK(libpool_volume_close(volume));
	OK(libpool_close(pool, &bench.error));
	try(&bench, "reads", read_some);
	try(&bench, "durable writes", write_durably);
	try(&bench, "writes, then a flush", write_and_flush);
	bench_end(&bench);
	free(content);
}

#define CALM_READS 64u
#define CALM_NS UINT64_C(30000) /* a read, where waits are worth no sleep: half of what spin.c says */

static uint64_t now_ns(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

/* Of cached blocks, one at a time: how long one took, and how often this thread slept. */
static uint64_t read_one_by_one(struct load *load, uint64_t *ret_sleeps)
{
	struct rusage before, after;
	uint64_t start = now_ns();

	getrusage(RUSAGE_THREAD, &before);
	for (unsigned i = 0; i < CALM_READS; i++) {
		struct libpool_request request = {.size = sizeof(request), .volume = load->volume, .operation = LIBPOOL_READ, .offset = i * BLOCK,
						  .length = BLOCK, .buffer = load->data};

		run(load, &request, 1);
	}
	getrusage(RUSAGE_THREAD, &after);
	*ret_sleeps = (uint64_t)(after.ru_nvcsw - before.ru_nvcsw);
	return (now_ns() - start) / CALM_READS;
}

/* Who waits for the only request of a queue looks for its end instead of falling asleep, where waits are short: on a machine that is too busy nothing can be said. */
static void test_one_at_a_time(void **state)
{
	struct load load = {.data = malloc(BLOCK)};
	uint64_t least = UINT64_MAX, calm = 0;
	struct bench bench;
	cpu_set_t set;

	(void)state;
	bench_begin(&bench, 3, 256 * MIB);
	OK(bench_create(&bench, "tank", "raid5", 0, 3));
	OK(bench_import(&bench, "tank", &load.pool));
	OK(bench_volume(&bench, load.pool, "v", VOLUME_BYTES, BLOCK));
	OK(libpool_volume_open(load.pool, "v", NULL, &load.volume, &bench.error));
	OK(libpool_queue_open(load.pool, NULL, &load.queue, &bench.error));
	for (unsigned i = 0; i < ROUNDS; i++) {
		uint64_t sleeps;

		if (read_one_by_one(&load, &sleeps) > CALM_NS)
			continue;
		calm++;
		least = sleeps < least ? sleeps : least;
	}
	print_message("%llu calm rounds of %u reads, the caller slept %lld times in one\n", (unsigned long long)calm, CALM_READS, (long long)least);
	libpool_queue_close(load.queue);
	OK(libpool_volume_close(load.volume));
	OK(libpool_close(load.pool, &bench.error));
	bench_end(&bench);
	free(load.data);
	assert_int_equal(sched_getaffinity(0, sizeof(set), &set), 0);
	if (calm >= ROUNDS / 10 && CPU_COUNT(&set) > 1)
		assert_true(least <= CALM_READS / 2);
}

#define MANY 8u

/* Whose queue is new doesn't know yet how long its waits are: the first of them looks, if it is for one request, and sleeps if it is for many. */
static unsigned yields_of_first_waits(struct load *load, unsigned depth)
{
	unsigned looked = 0;

	for (unsigned i = 0; i < ROUNDS; i++) {
		struct libpool_request requests[MANY];
		struct libpool_completion completions[MANY];
		unsigned left = depth, before = yields;

		assert_int_equal(libpool_queue_open(load->pool, NULL, &load->queue, NULL), 0);
		for (unsigned j = 0; j < depth; j++)
			requests[j] = (struct libpool_request){.size = sizeof(requests[j]), .volume = load->volume, .operation = LIBPOOL_FLUSH};
		assert_int_equal(libpool_queue_submit(load->queue, requests, depth), depth);
		for (bool first = true; left; first = false) {
			int got = libpool_queue_reap(load->queue, completions, left, UINT64_MAX);

			assert_true(got > 0);
			left -= (unsigned)got;
			looked += first ? yields - before : 0;
		}
		libpool_queue_close(load->queue);
	}
	return looked;
}

static void test_looks(void **state)
{
	struct load load = {.data = NULL};
	struct bench bench;
	cpu_set_t set;

	(void)state;
	assert_int_equal(sched_getaffinity(0, sizeof(set), &set), 0);
	bench_begin(&bench, 3, 256 * MIB);
	OK(bench_create(&bench, "tank", "raid5", 0, 3));
	OK(bench_import(&bench, "tank", &load.pool));
	OK(bench_volume(&bench, load.pool, "v", VOLUME_BYTES, BLOCK));
	OK(libpool_volume_open(load.pool, "v", NULL, &load.volume, &bench.error));
	unsigned one = yields_of_first_waits(&load, 1), many = yields_of_first_waits(&load, MANY);
	print_message("looks while one request was waited for: %u, many: %u\n", one, many);
	OK(libpool_volume_close(load.volume));
	OK(libpool_close(load.pool, &bench.error));
	bench_end(&bench);
	assert_int_equal(many, 0);
	if (CPU_COUNT(&set) > 1)
		assert_true(one > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_enters),
		cmocka_unit_test(test_one_at_a_time),
		cmocka_unit_test(test_looks),
	};

	return cmocka_run_group_tests_name("pool_enters", tests, NULL, NULL);
}
