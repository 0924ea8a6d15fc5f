/* Asynchronous requests: what they do, what is refused, what closing does; several threads at one queue. */
#include "tests/unit/pool/support.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/uio.h>

#define FOREVER UINT64_MAX

struct scene {
	struct bench bench;
	libpool_pool *pool;
	libpool_volume *volume;
	libpool_queue *queue;
};
#define bench (scene->bench) /* for OK and REFUSED */

static void open_queue(struct scene *scene, uint32_t depth, uint64_t bytes)
{
	struct libpool_queue_options options = {.size = sizeof(options), .depth = depth, .bytes = bytes};

	OK(libpool_queue_open(scene->pool, &options, &scene->queue, &bench.error));
}

static void begin(struct scene *scene, uint64_t volume_bytes, uint32_t block)
{
	if (!scene)
		return; /* the compiler, with sanitizers, sees where that would lead */
	bench_begin(&bench, 3, 256 * MIB);
	OK(bench_create(&bench, "tank", "raid5", 0, 3));
	OK(bench_import(&bench, "tank", &scene->pool));
	OK(bench_volume(&bench, scene->pool, "v", volume_bytes, block));
	OK(libpool_volume_open(scene->pool, "v", NULL, &scene->volume, &bench.error));
	open_queue(scene, 0, 0);
}

static void end(struct scene *scene)
{
	libpool_queue_close(scene->queue);
	OK(libpool_volume_close(scene->volume));
	OK(libpool_close(scene->pool, &bench.error));
	bench_end(&bench);
}

static struct libpool_request request(const struct scene *scene, uint32_t operation, uint64_t offset, uint64_t length, void *buffer)
{
	return (struct libpool_request){
		.size = sizeof(struct libpool_request),
		.volume = scene->volume,
		.operation = operation,
		.offset = offset,
		.length = length,
		.buffer = buffer,
	};
}

/* Submits one and waits for it. */
static int run(struct scene *scene, struct libpool_request one)
{
	struct libpool_completion completion = {.cookie = 1, .result = 1, .reserved = 1};
	int result;

	one.cookie = UINT64_C(0x123456789abcdef0);
	result = libpool_queue_submit(scene->queue, &one, 1);
	if (result < 0)
		return result;
	assert_int_equal(result, 1);
	assert_int_equal(libpool_queue_reap(scene->queue, &completion, 1, FOREVER), 1);
	assert_true(completion.cookie == one.cookie);
	assert_int_equal(completion.reserved, 0);
	assert_true(completion.result <= 0);
	return completion.result;
}

/* What is served from memory is done in one turn of the engine, and comes back at once: nobody is woken for less. */
static void together(struct scene *scene)
{
	enum { COUNT = 32, ROUNDS = 100 };
	struct libpool_request requests[COUNT];
	struct libpool_completion completions[COUNT];
	uint8_t *data = malloc(COUNT * 4096);

	pattern(data, 0, COUNT * 4096, 1);
	OK(libpool_volume_write(scene->volume, 0, COUNT * 4096, data));
	OK(libpool_volume_flush(scene->volume));
	OK(libpool_volume_read(scene->volume, 0, COUNT * 4096, data));
	for (unsigned i = 0; i < COUNT; i++)
		requests[i] = request(scene, LIBPOOL_READ, (uint64_t)i * 4096, 4096, data + (size_t)i * 4096);
	for (unsigned round = 0; round < ROUNDS; round++) {
		assert_int_equal(libpool_queue_submit(scene->queue, requests, COUNT), COUNT);
		assert_int_equal(libpool_queue_reap(scene->queue, completions, COUNT, FOREVER), COUNT);
		for (unsigned i = 0; i < COUNT; i++)
			assert_int_equal(completions[i].result, 0);
	}
	free(data);
}

static void test_operations(void **state)
{
	struct scene local, *scene = &local;
	uint8_t *data = malloc(3 * MIB), *again = malloc(3 * MIB);
	struct libpool_request one;

	(void)state;
	begin(scene, 8 * MIB, 16384);
	pattern(data, 0, 3 * MIB, 1);
	/* Not aligned at either end, within one block, exactly one block, longer than what one transaction takes. */
	static const struct { uint64_t offset, length; } ranges[] = {
		{5000, 3 * MIB - 10000}, {100, 200}, {16384, 16384}, {16383, 2}, {7 * MIB, MIB}, {8 * MIB, 0}};
	for (unsigned i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
		OK(run(scene, request(scene, LIBPOOL_WRITE, ranges[i].offset, ranges[i].length, data + i)));
		memset(again, 0, 3 * MIB);
		OK(run(scene, request(scene, LIBPOOL_READ, ranges[i].offset, ranges[i].length, again)));
		assert_memory_equal(data + i, again, ranges[i].length);
		OK(libpool_volume_read(scene->volume, ranges[i].offset, ranges[i].length, again));
		assert_memory_equal(data + i, again, ranges[i].length);
	}
	OK(run(scene, request(scene, LIBPOOL_ZERO, 7 * MIB + 10, 1000, NULL)));
	OK(run(scene, request(scene, LIBPOOL_READ, 7 * MIB, 4096, again)));
	memset(data + 4 + 10, 0, 1000);
	assert_memory_equal(data + 4, again, 4096);
	OK(run(scene, request(scene, LIBPOOL_TRIM, 7 * MIB, MIB, NULL)));
	OK(run(scene, request(scene, LIBPOOL_READ, 7 * MIB, MIB, again)));
	assert_int_equal(again[0], 0);
	assert_memory_equal(again, again + 1, MIB - 1);
	OK(run(scene, request(scene, LIBPOOL_FLUSH, 0, 0, NULL)));

	assert_int_equal(run(scene, request(scene, LIBPOOL_READ, 8 * MIB - 1, 2, again)), -EINVAL);
	assert_int_equal(run(scene, request(scene, LIBPOOL_READ, 8 * MIB + 1, 0, again)), -EINVAL);
	assert_int_equal(run(scene, request(scene, LIBPOOL_WRITE, 8 * MIB - 1, 2, data)), -EINVAL);
	assert_int_equal(run(scene, request(scene, LIBPOOL_ZERO, 8 * MIB - 1, 2, NULL)), -EINVAL);
	assert_int_equal(run(scene, request(scene, LIBPOOL_TRIM, 0, 8 * MIB + 1, NULL)), -EINVAL);

	assert_int_equal(run(scene, request(scene, 0, 0, 1, data)), -EINVAL);
	assert_int_equal(run(scene, request(scene, LIBPOOL_TRIM + 1, 0, 1, data)), -EINVAL);
	assert_int_equal(run(scene, request(scene, LIBPOOL_READ, 0, 1, NULL)), -EINVAL);
	assert_int_equal(run(scene, request(scene, LIBPOOL_FLUSH, 0, 1, NULL)), -EINVAL);
	assert_int_equal(run(scene, request(scene, LIBPOOL_READ, UINT64_MAX, 2, again)), -EINVAL);
	assert_int_equal(run(scene, request(scene, LIBPOOL_READ, 2, UINT64_MAX, again)), -EINVAL);
	assert_int_equal(run(scene, request(scene, LIBPOOL_WRITE, 0, LIBPOOL_REQUEST_MAX + 1, data)), -E2BIG);
	one = request(scene, LIBPOOL_READ, 0, 1, again);
	one.flags = LIBPOOL_FUA;
	assert_int_equal(run(scene, one), -EINVAL);
	one = request(scene, LIBPOOL_WRITE, 0, 1, data);
	one.flags = 2;
	assert_int_equal(run(scene, one), -EINVAL);
	one.flags = 0;
	one.volume = NULL;
	assert_int_equal(run(scene, one), -EINVAL);
	one.size = 0;
	assert_int_equal(run(scene, one), -EINVAL);
	together(scene);
	end(scene);
	free(data);
	free(again);
}

/* Scattered memory, cut at places that fit nothing. */
static void test_scattered(void **state)
{
	struct scene local, *scene = &local;
	static uint8_t data[300000], again[300000];
	struct iovec parts[40], *part = parts;
	struct libpool_request one;
	size_t at = 0;

	(void)state;
	begin(scene, MIB, 4096);
	pattern(data, 0, sizeof(data), 3);
	for (unsigned i = 0; i < 38; i++, part++) {
		*part = (struct iovec){data + at, i % 5 == 3 ? 0 : i * 400 + 1};
		at += part->iov_len;
	}
	*part++ = (struct iovec){data + at, sizeof(data) - at};
	for (uint64_t offset = 0; offset < 9000; offset += 2999) {
		one = request(scene, LIBPOOL_WRITE, offset, sizeof(data), NULL);
		one.iov = parts;
		one.iov_count = 39;
		OK(run(scene, one));
		OK(libpool_volume_read(scene->volume, offset, sizeof(again), again));
		assert_memory_equal(data, again, sizeof(data));
		OK(libpool_volume_zero(scene->volume, offset, sizeof(again)));
		OK(libpool_volume_write(scene->volume, offset, sizeof(data), data));
		memset(again, 1, sizeof(again));
		for (unsigned i = 0; i < 39; i++)
			parts[i].iov_base = again + ((uint8_t *)parts[i].iov_base - data);
		one.operation = LIBPOOL_READ;
		OK(run(scene, one));
		assert_memory_equal(data, again, sizeof(data));
		for (unsigned i = 0; i < 39; i++)
			parts[i].iov_base = data + ((uint8_t *)parts[i].iov_base - again);
	}
	one.length++; /* longer than the memory */
	assert_int_equal(run(scene, one), -EINVAL);
	end(scene);
}

/* The i-th completion may be of any request; all come, each once. */
static void reap_all(struct scene *scene, unsigned count, int expected)
{
	struct libpool_completion completions[64];
	bool seen[1024] = {false};

	while (count) {
		int got = libpool_queue_reap(scene->queue, completions, count < 64 ? count : 64, FOREVER);

		assert_true(got > 0);
		for (int i = 0; i < got; i++) {
			assert_int_equal(completions[i].result, expected);
			assert_true(completions[i].cookie < 1024);
			assert_false(seen[completions[i].cookie]);
			seen[completions[i].cookie] = true;
		}
		count -= (unsigned)got;
	}
	assert_int_equal(libpool_queue_reap(scene->queue, completions, 64, 0), 0);
}

static void test_limits(void **state)
{
	struct scene local, *scene = &local;
	static uint8_t data[MIB];
	struct libpool_request requests[8];
	struct libpool_queue_options options = {.size = sizeof(options), .depth = 4097};
	libpool_queue *queue;

	(void)state;
	begin(scene, 16 * MIB, 4096);
	REFUSED(libpool_queue_open(scene->pool, &options, &queue, &bench.error), -EINVAL, "at most 4096");
	libpool_queue_close(scene->queue);
	open_queue(scene, 5, 0);
	for (unsigned i = 0; i < 8; i++) {
		requests[i] = request(scene, LIBPOOL_WRITE, i * 4096, 4096, data);
		requests[i].cookie = i;
	}
	assert_int_equal(libpool_queue_submit(scene->queue, requests, 8), 5);
	/* Completions that nobody has reaped count as well. */
	usleep(20000);
	assert_int_equal(libpool_queue_submit(scene->queue, requests, 1), -EAGAIN);
	reap_all(scene, 5, 0);
	assert_int_equal(libpool_queue_submit(scene->queue, requests + 5, 3), 3);
	reap_all(scene, 3, 0);
	/* What is wrong stops the batch before it. */
	requests[2].operation = 99;
	assert_int_equal(libpool_queue_submit(scene->queue, requests, 5), 2);
	reap_all(scene, 2, 0);
	assert_int_equal(libpool_queue_submit(scene->queue, requests + 2, 3), -EINVAL);
	assert_int_equal(libpool_queue_submit(scene->queue, requests, 0), 0);
	libpool_queue_close(scene->queue);

	open_queue(scene, 100, 2 * MIB);
	for (unsigned i = 0; i < 8; i++) {
		requests[i] = request(scene, LIBPOOL_WRITE, i * MIB, MIB, data);
		requests[i].cookie = i;
	}
	assert_int_equal(libpool_queue_submit(scene->queue, requests, 8), 2);
	assert_int_equal(libpool_queue_submit(scene->queue, requests, 1), -EAGAIN);
	requests[3] = request(scene, LIBPOOL_ZERO, 8 * MIB, 8 * MIB, NULL); /* moves nothing */
	requests[3].cookie = 3;
	assert_int_equal(libpool_queue_submit(scene->queue, requests + 3, 1), 1);
	reap_all(scene, 3, 0);
	libpool_queue_close(scene->queue);

	/* One request is accepted whatever its size. */
	open_queue(scene, 100, 4096);
	assert_int_equal(libpool_queue_submit(scene->queue, requests, 2), 1);
	reap_all(scene, 1, 0);
	end(scene);
}

/* Requests as a caller of a later version has them, larger than these; all zeroes but what is known. */
static void test_later_version(void **state)
{
	struct scene local, *scene = &local;
	struct {
		struct libpool_request known;
		uint64_t more[2];
	} later[3];
	uint8_t data[3][512], again[512];

	(void)state;
	begin(scene, MIB, 4096);
	memset(later, 0, sizeof(later));
	for (unsigned i = 0; i < 3; i++) {
		memset(data[i], (int)i + 1, 512);
		later[i].known = request(scene, LIBPOOL_WRITE, i * 512, 512, data[i]);
		later[i].known.size = sizeof(later[i]);
		later[i].known.cookie = i;
	}
	assert_int_equal(libpool_queue_submit(scene->queue, &later[0].known, 3), 3);
	reap_all(scene, 3, 0);
	OK(libpool_volume_read(scene->volume, 1024, 512, again));
	assert_memory_equal(again, data[2], 512);
	later[1].more[1] = 1; /* asks for something that this version doesn't know */
	assert_int_equal(libpool_queue_submit(scene->queue, &later[0].known, 3), 1);
	assert_int_equal(libpool_queue_submit(scene->queue, &later[1].known, 2), -E2BIG);
	reap_all(scene, 1, 0);
	end(scene);
}

static void test_read_only(void **state)
{
	struct scene local, *scene = &local;
	struct libpool_open_options options = {.size = sizeof(options), .read_only = 1};
	uint8_t data[4096] = {1};

	(void)state;
	begin(scene, MIB, 4096);
	OK(libpool_volume_close(scene->volume));
	OK(libpool_volume_open(scene->pool, "v", &options, &scene->volume, &bench.error));
	assert_int_equal(run(scene, request(scene, LIBPOOL_WRITE, 0, 4096, data)), -EROFS);
	assert_int_equal(run(scene, request(scene, LIBPOOL_ZERO, 0, 4096, NULL)), -EROFS);
	assert_int_equal(run(scene, request(scene, LIBPOOL_TRIM, 0, 4096, NULL)), -EROFS);
	OK(run(scene, request(scene, LIBPOOL_READ, 0, 4096, data)));
	assert_int_equal(data[0], 0);
	end(scene);
}

/* What a write with FUA, or a flush, has completed is there after a crash. */
static void test_durable(void **state)
{
	struct scene local, *scene = &local;
	uint8_t data[3][8192], again[8192] = {0};
	struct libpool_request one;

	(void)state;
	begin(scene, MIB, 4096);
	for (unsigned i = 0; i < 3; i++)
		pattern(data[i], 0, 8192, i);
	one = request(scene, LIBPOOL_WRITE, 0, 8192, data[0]);
	one.flags = LIBPOOL_FUA;
	OK(run(scene, one));
	for (unsigned i = 0; i < 2; i++) {
		libpool_queue_close(scene->queue);
		libpool_abandon(scene->pool);
		OK(libpool_volume_close(scene->volume));
		OK(bench_import(&bench, "tank", &scene->pool));
		OK(libpool_volume_open(scene->pool, "v", NULL, &scene->volume, &bench.error));
		open_queue(scene, 0, 0);
		OK(run(scene, request(scene, LIBPOOL_READ, 0, 8192, again)));
		assert_memory_equal(again, data[i], 8192);
		OK(run(scene, request(scene, LIBPOOL_WRITE, 0, 8192, data[i + 1])));
		OK(run(scene, request(scene, LIBPOOL_FLUSH, 0, 0, NULL)));
	}
	one = request(scene, LIBPOOL_ZERO, 0, 4096, NULL);
	one.flags = LIBPOOL_FUA;
	OK(run(scene, one));
	libpool_abandon(scene->pool);
	/* The pool is gone: the queue says so, and is there to be closed. */
	assert_int_equal(run(scene, request(scene, LIBPOOL_READ, 0, 8192, again)), -ENODEV);
	libpool_queue_close(scene->queue);
	OK(libpool_volume_close(scene->volume));
	OK(bench_import(&bench, "tank", &scene->pool));
	OK(libpool_volume_open(scene->pool, "v", NULL, &scene->volume, &bench.error));
	open_queue(scene, 0, 0);
	OK(run(scene, request(scene, LIBPOOL_READ, 0, 8192, again)));
	memset(data[2], 0, 4096);
	assert_memory_equal(again, data[2], 8192);
	end(scene);
}

static bool is_readable(int descriptor, int timeout_ms)
{
	struct pollfd poller = {.fd = descriptor, .events = POLLIN};

	return poll(&poller, 1, timeout_ms) == 1;
}

static void test_descriptor(void **state)
{
	struct scene local, *scene = &local;
	struct libpool_request requests[3];
	struct libpool_completion completions[3];
	uint8_t data[4096] = {1};
	int descriptor;

	(void)state;
	begin(scene, MIB, 4096);
	for (unsigned i = 0; i < 3; i++)
		requests[i] = request(scene, LIBPOOL_WRITE, i * 4096, 4096, data);
	/* Completions from before anybody asked for the descriptor. */
	assert_int_equal(libpool_queue_submit(scene->queue, requests, 3), 3);
	usleep(20000);
	descriptor = libpool_queue_descriptor(scene->queue);
	assert_true(is_readable(descriptor, 10000));
	for (unsigned taken = 0; taken < 3; taken++) {
		assert_true(is_readable(descriptor, 10000));
		assert_int_equal(libpool_queue_reap(scene->queue, completions, 1, 0), 1);
	}
	assert_false(is_readable(descriptor, 0));
	for (unsigned round = 0; round < 20; round++) {
		unsigned taken = 0;

		assert_int_equal(libpool_queue_submit(scene->queue, requests, 3), 3);
		while (taken < 3) {
			assert_true(is_readable(descriptor, 10000));
			taken += (unsigned)libpool_queue_reap(scene->queue, completions, 3, 0);
		}
		assert_false(is_readable(descriptor, 0));
	}
	assert_int_equal(libpool_queue_descriptor(scene->queue), descriptor);
	assert_int_equal(libpool_queue_reap(scene->queue, completions, 3, 0), 0);
	assert_int_equal(libpool_queue_reap(scene->queue, completions, 3, 1000000), 0);
	end(scene);
}

static atomic_int reaper; /* the thread that reaps, or is about to */

static void *reap_forever(void *argument)
{
	struct libpool_completion completion;
	struct scene *scene = argument;

	atomic_store(&reaper, gettid());
	return (void *)(intptr_t)libpool_queue_reap(scene->queue, &completion, 1, FOREVER);
}

/* A queue that is closed may not be called any more: so the thread must be inside, and asleep there, which nobody hurries it to on a busy machine. */
static void await_sleeping_reaper(void)
{
	unsigned asleep = 0;

	while (asleep < 3) {
		char path[64], state = 0;
		FILE *file;

		usleep(3000);
		snprintf(path, sizeof(path), "/proc/self/task/%d/stat", atomic_load(&reaper));
		file = atomic_load(&reaper) ? fopen(path, "re") : NULL;
		asleep = file && fscanf(file, "%*d (%*[^)]) %c", &state) == 1 && state == 'S' ? asleep + 1 : 0;
		if (file)
			fclose(file);
	}
	atomic_store(&reaper, 0);
}

/* Closing the queue with requests under way, completions that nobody takes, and threads that wait. */
static void test_close_queue(void **state)
{
	struct scene local, *scene = &local;
	static uint8_t data[64][16384];
	struct libpool_request requests[64];

	(void)state;
	begin(scene, 16 * MIB, 4096);
	for (unsigned round = 0; round < 6; round++) {
		pthread_t waiter;
		void *result;

		for (unsigned i = 0; i < 64; i++)
			requests[i] = request(scene, i % 9 == 8 ? LIBPOOL_FLUSH : i % 2 ? LIBPOOL_WRITE : LIBPOOL_READ, i % 9 == 8 ? 0 : i * 16384,
					      i % 9 == 8 ? 0 : 16384, data[i]);
		assert_int_equal(pthread_create(&waiter, NULL, reap_forever, scene), 0);
		await_sleeping_reaper();
		if (round % 2 == 0)
			assert_int_equal(libpool_queue_submit(scene->queue, requests, 64), 64);
		usleep(round * 500);
		libpool_queue_close(scene->queue);
		pthread_join(waiter, &result);
		assert_true((intptr_t)result == -ECANCELED || (round % 2 == 0 && (intptr_t)result == 1));
		memset(data, (int)round, sizeof(data)); /* nobody else uses it any more */
		open_queue(scene, 0, 0);
	}
	end(scene);
}

/* Closing the volume, or the pool, waits for the requests; their completions can be reaped afterwards. */
static void close_before_reaping(bool whole_pool)
{
	struct scene local, *scene = &local;
	static uint8_t data[64][16384], again[64][16384];
	struct libpool_request requests[64];
	libpool_volume *other;

	begin(scene, MIB, 4096);
	OK(libpool_volume_open(scene->pool, "v", NULL, &other, &bench.error));
	pattern(data[0], 0, sizeof(data), 7);
	OK(libpool_volume_write(scene->volume, 0, sizeof(data), data));
	for (unsigned i = 0; i < 64; i++) {
		requests[i] = request(scene, LIBPOOL_READ, i * 16384, 16384, again[i]);
		requests[i].cookie = i;
	}
	memset(again, 0, sizeof(again));
	assert_int_equal(libpool_queue_submit(scene->queue, requests, 64), 64);
	if (whole_pool) {
		OK(libpool_close(scene->pool, &bench.error));
		assert_int_equal(libpool_queue_submit(scene->queue, requests, 1), -ENODEV);
	} else {
		OK(libpool_volume_close(scene->volume));
	}
	reap_all(scene, 64, 0);
	assert_memory_equal(data, again, sizeof(data));
	libpool_queue_close(scene->queue);
	if (whole_pool)
		OK(libpool_volume_close(scene->volume));
	OK(libpool_volume_close(other));
	if (!whole_pool)
		OK(libpool_close(scene->pool, &bench.error));
	bench_end(&bench);
}

static void test_close_volume(void **state)
{
	(void)state;
	close_before_reaping(false);
}

static void test_close_pool(void **state)
{
	(void)state;
	close_before_reaping(true);
}

static void test_other_pool(void **state)
{
	struct scene local, *scene = &local;
	libpool_pool *pool;
	libpool_volume *own;
	uint8_t data[4096] = {1};

	(void)state;
	begin(scene, MIB, 4096);
	bench_file(&bench, 3, 64 * MIB);
	OK(bench_create(&bench, "other", "single", 3, 1));
	OK(bench_import(&bench, "other", &pool));
	OK(bench_volume(&bench, pool, "v", MIB, 4096));
	own = scene->volume;
	OK(libpool_volume_open(pool, "v", NULL, &scene->volume, &bench.error));
	assert_int_equal(run(scene, request(scene, LIBPOOL_WRITE, 0, 4096, data)), -EINVAL);
	OK(libpool_volume_close(scene->volume));
	OK(libpool_close(pool, &bench.error));
	scene->volume = own;
	end(scene);
}

/* ---- threads ---- */

#define CLIENTS 4u
#define CLIENT_BYTES (4 * MIB)
#define CLIENT_SLOTS 24u
#define CLIENT_ROUNDS 400u

/* Has its own part of the volume, its own queue, or shares one; every other one waits for its requests in blocking calls. */
struct client {
	pthread_t thread;
	struct scene *scene;
	libpool_queue *queue;
	uint64_t base, state;
	uint8_t *model, *memory;
	bool blocking, failed;
};

static uint64_t draw(struct client *client, uint64_t below)
{
	client->state = client->state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (client->state >> 33) % below;
}

/* A region of its own for each slot, so that requests under way together don't meet. */
#define SLOT_BYTES (CLIENT_BYTES / CLIENT_SLOTS / 4096 * 4096)

struct client_slot {
	uint64_t offset, length;
	uint32_t operation;
};

static void fill_slot(struct client *client, unsigned i, struct client_slot *slot, struct libpool_request *one)
{
	uint8_t *memory = client->memory + i * SLOT_BYTES;

	slot->offset = i * SLOT_BYTES + draw(client, SLOT_BYTES);
	slot->length = 1 + draw(client, (i + 1) * SLOT_BYTES - slot->offset);
	if (draw(client, 2))
		slot->length = slot->length < 6000 ? slot->length : 6000;
	slot->operation = (uint32_t)(1 + draw(client, 40));
	if (slot->operation > LIBPOOL_ZERO)
		slot->operation = slot->operation % 2 ? LIBPOOL_READ : LIBPOOL_WRITE;
	*one = request(client->scene, slot->operation, client->base + slot->offset, slot->length, memory);
	one->cookie = i;
	if (slot->operation == LIBPOOL_FLUSH)
		one->offset = one->length = 0;
	if (slot->operation == LIBPOOL_WRITE) {
		pattern(memory, slot->offset, slot->length, client->state);
		memcpy(client->model + slot->offset, memory, slot->length);
		one->flags = draw(client, 50) ? 0 : LIBPOOL_FUA;
	} else if (slot->operation == LIBPOOL_ZERO) {
		memset(client->model + slot->offset, 0, slot->length);
	}
}

static void check_slot(struct client *client, const struct client_slot *slot, const uint8_t *memory, int result)
{
	client->failed |= result != 0;
	if (slot->operation == LIBPOOL_READ)
		client->failed |= memcmp(memory, client->model + slot->offset, slot->length) != 0;
}

static void run_blocking(struct client *client)
{
	libpool_volume *volume = client->scene->volume;
	struct client_slot slot;
	struct libpool_request one;
	int result;

	for (unsigned round = 0; round < CLIENT_ROUNDS && !client->failed; round++) {
		fill_slot(client, round % CLIENT_SLOTS, &slot, &one);
		switch (slot.operation) {
		case LIBPOOL_READ:
			result = libpool_volume_read(volume, one.offset, one.length, one.buffer);
			break;
		case LIBPOOL_WRITE:
			result = libpool_volume_write(volume, one.offset, one.length, one.buffer);
			break;
		case LIBPOOL_ZERO:
			result = libpool_volume_zero(volume, one.offset, one.length);
			break;
		default:
			result = libpool_volume_flush(volume);
		}
		check_slot(client, &slot, one.buffer, result);
	}
}

static void run_queued(struct client *client)
{
	struct client_slot slots[CLIENT_SLOTS];
	struct libpool_request requests[CLIENT_SLOTS];
	struct libpool_completion completions[CLIENT_SLOTS];
	unsigned idle[CLIENT_SLOTS], idle_count = CLIENT_SLOTS, under_way = 0;

	for (unsigned i = 0; i < CLIENT_SLOTS; i++)
		idle[i] = i;
	for (unsigned done = 0; (done < CLIENT_ROUNDS || under_way) && !client->failed;) {
		unsigned count = 0, accepted = 0;

		while (idle_count && done < CLIENT_ROUNDS) {
			unsigned i = idle[--idle_count];

			fill_slot(client, i, &slots[i], &requests[count++]);
			done++;
		}
		while (accepted < count) {
			int result = libpool_queue_submit(client->queue, requests + accepted, count - accepted);

			client->failed |= result <= 0;
			if (result <= 0)
				return;
			accepted += (unsigned)result;
		}
		under_way += count;
		int got = libpool_queue_reap(client->queue, completions, CLIENT_SLOTS, FOREVER);

		client->failed |= got <= 0;
		for (int k = 0; k < got; k++) {
			unsigned i = (unsigned)completions[k].cookie;

			check_slot(client, &slots[i], client->memory + i * SLOT_BYTES, completions[k].result);
			idle[idle_count++] = i;
			under_way--;
		}
	}
}

static void *run_client(void *argument)
{
	struct client *client = argument;

	if (client->blocking)
		run_blocking(client);
	else
		run_queued(client);
	if (!client->failed)
		client->failed = libpool_volume_read(client->scene->volume, client->base, CLIENT_BYTES, client->memory) != 0 ||
				 memcmp(client->memory, client->model, CLIENT_BYTES) != 0;
	return NULL;
}

static void test_clients(void **state)
{
	struct scene local, *scene = &local;
	struct client clients[CLIENTS];

	(void)state;
	begin(scene, CLIENTS * CLIENT_BYTES, 16384);
	for (unsigned i = 0; i < CLIENTS; i++) {
		struct client *client = &clients[i];
		struct libpool_queue_options options = {.size = sizeof(options), .depth = CLIENT_SLOTS};

		*client = (struct client){.scene = scene, .base = i * CLIENT_BYTES, .state = i + 1, .blocking = i % 2};
		client->model = calloc(1, CLIENT_BYTES);
		client->memory = malloc(CLIENT_BYTES);
		if (!client->blocking)
			OK(libpool_queue_open(scene->pool, &options, &client->queue, &bench.error));
		assert_int_equal(pthread_create(&client->thread, NULL, run_client, client), 0);
	}
	for (unsigned i = 0; i < CLIENTS; i++) {
		pthread_join(clients[i].thread, NULL);
		assert_false(clients[i].failed);
		libpool_queue_close(clients[i].queue);
		free(clients[i].model);
		free(clients[i].memory);
	}
	end(scene);
}

/* Two threads submit to one queue and two reap from it. */
struct crowd {
	struct scene *scene;
	pthread_t thread;
	unsigned first, count; /* submitter */
	_Atomic unsigned *reaped;
	bool reaps, failed;
};

#define CROWD_REQUESTS 2000u

static void *run_crowd(void *argument)
{
	struct crowd *crowd = argument;
	struct libpool_completion completions[16];
	uint8_t data[512] = {0};

	if (crowd->reaps) {
		while (*crowd->reaped < 2 * CROWD_REQUESTS && !crowd->failed) {
			int got = libpool_queue_reap(crowd->scene->queue, completions, 16, 1000000);

			crowd->failed |= got < 0;
			for (int i = 0; i < got; i++)
				crowd->failed |= completions[i].result != 0;
			*crowd->reaped += got > 0 ? (unsigned)got : 0;
		}
		return NULL;
	}
	for (unsigned i = 0; i < CROWD_REQUESTS;) {
		struct libpool_request one = request(crowd->scene, LIBPOOL_WRITE, (crowd->first + i) * 512, 512, data);
		int result = libpool_queue_submit(crowd->scene->queue, &one, 1);

		if (result == 1)
			i++;
		else if (result != -EAGAIN)
			return crowd->failed = true, NULL;
	}
	while (*crowd->reaped < 2 * CROWD_REQUESTS) /* data must stay */
		usleep(1000);
	return NULL;
}

static void test_crowd(void **state)
{
	struct scene local, *scene = &local;
	struct crowd crowd[4];
	_Atomic unsigned reaped = 0;

	(void)state;
	begin(scene, 4 * MIB, 4096);
	libpool_queue_close(scene->queue);
	open_queue(scene, 20, 0);
	for (unsigned i = 0; i < 4; i++) {
		crowd[i] = (struct crowd){.scene = scene, .first = i * CROWD_REQUESTS, .reaps = i >= 2, .reaped = &reaped};
		assert_int_equal(pthread_create(&crowd[i].thread, NULL, run_crowd, &crowd[i]), 0);
	}
	for (unsigned i = 0; i < 4; i++) {
		pthread_join(crowd[i].thread, NULL);
		assert_false(crowd[i].failed);
	}
	assert_int_equal(reaped, 2 * CROWD_REQUESTS);
	end(scene);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_operations),   cmocka_unit_test(test_scattered),    cmocka_unit_test(test_limits),
		cmocka_unit_test(test_later_version), cmocka_unit_test(test_read_only),   cmocka_unit_test(test_durable),
		cmocka_unit_test(test_descriptor),   cmocka_unit_test(test_close_queue),  cmocka_unit_test(test_close_volume),
		cmocka_unit_test(test_close_pool),   cmocka_unit_test(test_other_pool),   cmocka_unit_test(test_clients),
		cmocka_unit_test(test_crowd),
	};

	return cmocka_run_group_tests_name("pool_queue", tests, NULL, NULL);
}
