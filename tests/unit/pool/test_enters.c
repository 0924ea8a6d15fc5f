/* System calls of asynchronous requests: what one submission brings goes to the kernel together. */
#include "tests/unit/pool/support.h"

#define BLOCK 4096u
#define DEPTH 32u
#define NODE_BLOCKS 64u /* data blocks below one node of the volume's tree */
#define VOLUME_BYTES (32 * MIB)

static uint64_t enters(libpool_pool *pool)
{
	struct libpool_pool_info info = {.size = sizeof(info)};

	assert_int_equal(libpool_pool_info(pool, &info), 0);
	return info.io_uring_enters;
}

struct reading {
	libpool_pool *pool;
	libpool_volume *volume;
	libpool_queue *queue;
	uint64_t block; /* the next one that hasn't been read */
	uint8_t *data;
};

/* Never the same again, so never out of the cache. Nodes were read before, with the first block of each. */
static uint64_t next_offset(struct reading *reading)
{
	reading->block += reading->block % NODE_BLOCKS == NODE_BLOCKS - 1 ? 2 : 1;
	return reading->block * BLOCK;
}

static void read_some(struct reading *reading, unsigned depth)
{
	struct libpool_request requests[DEPTH];
	struct libpool_completion completions[DEPTH];
	unsigned left = depth;

	for (unsigned i = 0; i < depth; i++)
		requests[i] = (struct libpool_request){
			.size = sizeof(requests[i]),
			.volume = reading->volume,
			.operation = LIBPOOL_READ,
			.offset = next_offset(reading),
			.length = BLOCK,
			.buffer = reading->data + i * BLOCK,
		};
	assert_int_equal(libpool_queue_submit(reading->queue, requests, depth), depth);
	while (left) {
		int got = libpool_queue_reap(reading->queue, completions, left, UINT64_MAX);

		assert_true(got > 0);
		for (int i = 0; i < got; i++)
			assert_int_equal(completions[i].result, 0);
		left -= (unsigned)got;
	}
}

static int compare(const void *one, const void *other)
{
	uint64_t a = *(const uint64_t *)one, b = *(const uint64_t *)other;

	return a < b ? -1 : a > b;
}

#define ROUNDS 200u

/* Calls for each request, in the median of the rounds: others use the disk, and the pool has work of its own, now and then. */
static double measure(struct reading *reading, unsigned depth)
{
	uint64_t counts[ROUNDS];

	for (unsigned i = 0; i < ROUNDS; i++) {
		uint64_t before = enters(reading->pool);

		read_some(reading, depth);
		counts[i] = enters(reading->pool) - before;
	}
	qsort(counts, ROUNDS, sizeof(counts[0]), compare);
	return (double)counts[ROUNDS / 2] / depth;
}

static void test_enters(void **state)
{
	struct bench bench;
	struct reading reading = {.block = 0};
	uint8_t *content = malloc(VOLUME_BYTES);
	double one, many;

	(void)state;
	bench_begin(&bench, 3, 256 * MIB);
	OK(bench_create(&bench, "tank", "raid5", 0, 3));
	OK(bench_import(&bench, "tank", &reading.pool));
	OK(bench_volume(&bench, reading.pool, "v", VOLUME_BYTES, BLOCK));
	OK(libpool_volume_open(reading.pool, "v", NULL, &reading.volume, &bench.error));
	pattern(content, 0, VOLUME_BYTES, 1);
	OK(libpool_volume_write(reading.volume, 0, VOLUME_BYTES, content));
	OK(libpool_volume_close(reading.volume));
	OK(libpool_close(reading.pool, &bench.error));

	OK(bench_import(&bench, "tank", &reading.pool));
	OK(libpool_volume_open(reading.pool, "v", NULL, &reading.volume, &bench.error));
	OK(libpool_queue_open(reading.pool, NULL, &reading.queue, &bench.error));
	reading.data = malloc(DEPTH * BLOCK);
	for (uint64_t offset = 0; offset < VOLUME_BYTES; offset += NODE_BLOCKS * BLOCK)
		OK(libpool_volume_read(reading.volume, offset, BLOCK, reading.data));
	one = measure(&reading, 1);
	many = measure(&reading, DEPTH);
	print_message("io_uring_enter for each request: %.3f at depth 1, %.3f at depth %u\n", one, many, DEPTH);
	if (enters(reading.pool) == 0)
		print_message("no io_uring here\n");
	assert_true(one <= 2);
	assert_true(many <= 0.1);
	libpool_queue_close(reading.queue);
	OK(libpool_volume_close(reading.volume));
	OK(libpool_close(reading.pool, &bench.error));
	bench_end(&bench);
	free(reading.data);
	free(content);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_enters),
	};

	return cmocka_run_group_tests_name("pool_enters", tests, NULL, NULL);
}
