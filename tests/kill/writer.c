#include "tests/kill/writer.h"
#include "tests/kill/random.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define BUSY_LIMIT_NS UINT64_C(5000000000)

struct writer {
	struct journal *journal;
	libpool_pool *pool;
	libpool_volume *volume;
	uint32_t block_units;
};

struct thread {
	pthread_t thread;
	struct writer *writer;
	unsigned number;
	struct random random;
	uint64_t until_ns;
	uint8_t *buffer;
	uint64_t current[UNITS]; /* what its units hold now */
};

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

static void pause_us(uint64_t us)
{
	struct timespec time = {.tv_nsec = (long)us * 1000};

	nanosleep(&time, NULL);
}

_Noreturn static void give_up(struct journal *journal, int result, const char *what, const char *text)
{
	journal_fail(journal, "writer: %s: %d (%s) %s", what, result, libpool_strerror(result), text);
	_exit(1);
}

int import_patiently(struct disks *disks, struct journal *journal, libpool_pool **ret_pool,
		     struct libpool_error *error)
{
	uint64_t limit = now_ns() + BUSY_LIMIT_NS;
	int result;

	while ((result = disks_import(disks, POOL_NAME, ret_pool, error)) == -LIBPOOL_EINUSE &&
	       now_ns() < limit) {
		journal->busy_imports++;
		pause_us(2000);
	}
	return result;
}

/* Notes the operation before it is made known, and makes it known before it is begun. */
static const struct operation *issue(struct thread *thread, uint32_t unit, uint32_t count, bool data)
{
	struct thread_journal *list = &thread->writer->journal->threads[thread->number];
	uint32_t index = atomic_load(&list->issued);
	struct operation *operation = &list->operations[index];

	operation->unit = unit;
	operation->count = count;
	operation->version = VERSION_NONE;
	if (data) /* odd for one thread, even for the other */
		operation->version =
		    thread->writer->journal->next_version + (uint64_t)index * THREADS + thread->number + 1;
	atomic_store(&list->issued, index + 1);
	return operation;
}

static void returned(struct thread *thread, const struct operation *operation, int result, const char *what)
{
	struct journal *journal = thread->writer->journal;

	if (result != 0)
		give_up(journal, result, what, "");
	for (uint32_t unit = operation->unit; unit < operation->unit + operation->count; unit++)
		thread->current[unit] = operation->version;
	atomic_fetch_add(&journal->threads[thread->number].returned, 1);
}

/* A run of units of one of its chunks. */
static void choose(struct thread *thread, uint32_t *ret_unit, uint32_t *ret_count)
{
	struct journal *journal = thread->writer->journal;
	uint32_t chunks = UNITS / journal->chunk / THREADS;
	uint32_t first =
	    ((uint32_t)random_below(&thread->random, chunks) * THREADS + thread->number) * journal->chunk;
	uint32_t skip = (uint32_t)random_below(&thread->random, journal->chunk);
	uint32_t most = journal->chunk - skip;

	if (random_percent(&thread->random, 50))
		most = 1;
	else if (most > 16 && random_percent(&thread->random, 60))
		most = 16;
	*ret_unit = first + skip;
	*ret_count = 1 + (uint32_t)random_below(&thread->random, most);
}

static void write_units(struct thread *thread, uint32_t unit, uint32_t count)
{
	const struct operation *operation = issue(thread, unit, count, true);

	for (uint32_t i = 0; i < count; i++)
		content_fill(thread->buffer + (size_t)i * UNIT, unit + i, operation->version);
	returned(thread, operation,
		 libpool_volume_write(thread->writer->volume, (uint64_t)unit * UNIT, (size_t)count * UNIT,
				      thread->buffer),
		 "write");
}

static void zero_units(struct thread *thread, uint32_t unit, uint32_t count)
{
	const struct operation *operation = issue(thread, unit, count, false);

	returned(thread, operation,
		 libpool_volume_zero(thread->writer->volume, (uint64_t)unit * UNIT, (uint64_t)count * UNIT),
		 "zero");
}

/* Only whole blocks become holes, so it asks for whole blocks. */
static void trim_units(struct thread *thread, uint32_t unit, uint32_t count)
{
	uint32_t block = thread->writer->block_units, first = (unit + block - 1) / block * block;
	uint32_t last = (unit + count) / block * block;
	const struct operation *operation;

	if (first >= last)
		return;
	operation = issue(thread, first, last - first, false);
	returned(thread, operation,
		 libpool_volume_trim(thread->writer->volume, (uint64_t)first * UNIT,
				     (uint64_t)(last - first) * UNIT),
		 "trim");
}

static void read_units(struct thread *thread, uint32_t unit, uint32_t count)
{
	struct journal *journal = thread->writer->journal;
	int result = libpool_volume_read(thread->writer->volume, (uint64_t)unit * UNIT, (size_t)count * UNIT,
					 thread->buffer);

	if (result != 0)
		give_up(journal, result, "read", "");
	for (uint32_t i = 0; i < count; i++) {
		uint8_t expected[UNIT];
		char text[256];

		content_fill(expected, unit + i, thread->current[unit + i]);
		if (memcmp(expected, thread->buffer + (size_t)i * UNIT, UNIT) == 0)
			continue;
		content_describe(thread->buffer + (size_t)i * UNIT, text, sizeof(text));
		journal_fail(journal,
			     "writer: unit %" PRIu32 " was read as %s; version %#" PRIx64 " was written",
			     unit + i, text, thread->current[unit + i]);
		_exit(1);
	}
}

/* A flush covers what had returned before it was called, whoever wrote it. */
static void acknowledge(struct journal *journal, const uint32_t *covered)
{
	for (unsigned i = 0; i < THREADS; i++) {
		uint32_t before = atomic_load(&journal->threads[i].acknowledged);

		while (before < covered[i] &&
		       !atomic_compare_exchange_weak(&journal->threads[i].acknowledged, &before, covered[i]))
			;
	}
	atomic_fetch_add(&journal->flushes, 1);
}

static void sample(struct journal *journal, uint32_t *covered)
{
	for (unsigned i = 0; i < THREADS; i++)
		covered[i] = atomic_load(&journal->threads[i].returned);
}

static void flush(struct thread *thread, bool whole_pool)
{
	struct writer *writer = thread->writer;
	struct libpool_error error = {0};
	uint32_t covered[THREADS];
	int result;

	sample(writer->journal, covered);
	result = whole_pool ? libpool_pool_sync(writer->pool, &error) : libpool_volume_flush(writer->volume);
	if (result != 0)
		give_up(writer->journal, result, "flush", error.text);
	acknowledge(writer->journal, covered);
}

static void *work(void *argument)
{
	struct thread *thread = argument;
	struct thread_journal *list = &thread->writer->journal->threads[thread->number];

	while (now_ns() < thread->until_ns) {
		uint32_t unit, count;
		uint64_t what = random_below(&thread->random, 100);

		if (atomic_load(&list->issued) == OPERATIONS_MAX)
			break;
		choose(thread, &unit, &count);
		if (what < 65)
			write_units(thread, unit, count);
		else if (what < 72)
			zero_units(thread, unit, count);
		else if (what < 78)
			trim_units(thread, unit, count);
		else if (what < 88)
			read_units(thread, unit, count);
		else if (what < 95)
			flush(thread, what == 88);
		else if (what < 99)
			pause_us(random_below(&thread->random, 3000));
		else /* beside all this; -EALREADY and the like are fine */
			(void)libpool_scrub_start(thread->writer->pool, NULL, NULL);
	}
	return NULL;
}

static void run_threads(struct writer *writer, struct thread *threads, uint64_t duration_ns)
{
	uint64_t until_ns = now_ns() + duration_ns;

	for (unsigned i = 0; i < THREADS; i++) {
		threads[i].until_ns = until_ns;
		if (pthread_create(&threads[i].thread, NULL, work, &threads[i]) != 0)
			give_up(writer->journal, -errno, "pthread_create", "");
	}
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(threads[i].thread, NULL);
}

static void open_all(struct writer *writer, struct disks *disks)
{
	struct libpool_error error = {0};
	struct libpool_volume_info info = {.size = sizeof(info)};
	int result = import_patiently(disks, writer->journal, &writer->pool, &error);

	if (result != 0)
		give_up(writer->journal, result, "import", error.text);
	result = libpool_volume_open(writer->pool, VOLUME_NAME, NULL, &writer->volume, &error);
	if (result == 0)
		result = libpool_volume_get_info(writer->volume, &info);
	if (result != 0)
		give_up(writer->journal, result, "open", error.text);
	writer->block_units = info.block_bytes / UNIT;
}

/* An export is a flush of everything. */
static void close_all(struct writer *writer)
{
	struct libpool_error error = {0};
	uint32_t covered[THREADS];
	int result;

	sample(writer->journal, covered);
	result = libpool_volume_close(writer->volume);
	if (result == 0)
		result = libpool_close(writer->pool, &error);
	if (result != 0)
		give_up(writer->journal, result, "close", error.text);
	acknowledge(writer->journal, covered);
}

static bool journal_is_full(struct journal *journal)
{
	for (unsigned i = 0; i < THREADS; i++)
		if (atomic_load(&journal->threads[i].issued) == OPERATIONS_MAX)
			return true;
	return false;
}

_Noreturn void writer_run(struct disks *disks, struct journal *journal, uint64_t seed)
{
	struct writer writer = {.journal = journal};
	struct thread *threads = calloc(THREADS, sizeof(*threads));
	struct random random = {seed};

	for (unsigned i = 0; i < THREADS; i++) {
		threads[i].writer = &writer;
		threads[i].number = i;
		threads[i].random.state = random_next(&random);
		threads[i].buffer = malloc((size_t)journal->chunk * UNIT);
		memcpy(threads[i].current, journal->base, sizeof(journal->base));
	}
	while (!journal_is_full(journal)) {
		open_all(&writer, disks);
		atomic_store(&journal->imported, 1);
		run_threads(&writer, threads, (20 + random_below(&random, 400)) * 1000000);
		close_all(&writer);
	}
	_exit(0);
}
