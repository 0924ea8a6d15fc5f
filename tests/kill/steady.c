/*
 * One process for a long time: what it holds doesn't grow with what it does, and the cache keeps its limit.
 *
 * Counts, not times. The first rounds fill pools of buffers, the allocator and the cache; after them, each
 * round does the same as the one before, so memory that is still growing is memory that nobody gives back.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/kill/content.h"
#include "tests/kill/disks.h"
#include "tests/kill/watchdog.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define VOLUME_BYTES   (64 * MIB)
#define PIECE	       MIB
#define UNITS_OF_PIECE (PIECE / UNIT)
#define WARM_UP	       12
#define ROUNDS	       30
#define GROWTH_MAX                                                                                           \
	(16 * MIB) /* noise of the allocator; a leak of 64 KiB for each MiB written is four times that */

static struct libpool_error error;

static void ok(int result, const char *what, int line)
{
	if (result == 0)
		return;
	print_error("line %d: %s: %d (%s) %s\n", line, what, result, libpool_strerror(result), error.text);
	fail();
}

#define OK(call) ok(WATCHED(call), #call, __LINE__)

static uint64_t resident_bytes(void)
{
	FILE *file = fopen("/proc/self/statm", "re");
	unsigned long pages = 0;

	assert_non_null(file);
	assert_int_equal(fscanf(file, "%*u %lu", &pages), 1);
	fclose(file);
	return (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static unsigned descriptors(void)
{
	unsigned count = 0;

	for (int i = 0; i < 4096; i++)
		count += lseek(i, 0, SEEK_CUR) >= 0;
	return count;
}

static void cache_within_limit(libpool_pool *pool, uint64_t limit)
{
	struct libpool_pool_info info = {.size = sizeof(info)};

	OK(libpool_pool_info(pool, &info));
	assert_int_equal(info.cache_limit, limit);
	assert_true(info.cache_bytes <= limit);
}

static void write_all(libpool_pool *pool, libpool_volume *volume, uint8_t *buffer, uint64_t version,
		      uint64_t cache)
{
	for (uint64_t at = 0; at < VOLUME_BYTES; at += PIECE) {
		for (uint64_t i = 0; i < UNITS_OF_PIECE; i++)
			content_fill(buffer + i * UNIT, at / UNIT + i, version);
		OK(libpool_volume_write(volume, at, PIECE, buffer));
		cache_within_limit(pool, cache);
	}
	OK(libpool_volume_flush(volume));
}

static void read_all(libpool_pool *pool, libpool_volume *volume, uint8_t *buffer, uint64_t version,
		     uint64_t cache)
{
	for (uint64_t at = 0; at < VOLUME_BYTES; at += PIECE) {
		OK(libpool_volume_read(volume, at, PIECE, buffer));
		for (uint64_t i = 0; i < UNITS_OF_PIECE; i++) {
			uint64_t found;

			assert_true(content_version(buffer + i * UNIT, at / UNIT + i, &found));
			assert_int_equal(found, version);
		}
		cache_within_limit(pool, cache);
	}
}

static void trim_and_zero(libpool_volume *volume, uint8_t *buffer)
{
	OK(libpool_volume_trim(volume, 0, VOLUME_BYTES / 2));
	OK(libpool_volume_zero(volume, VOLUME_BYTES / 2, VOLUME_BYTES / 2));
	OK(libpool_volume_flush(volume));
	OK(libpool_volume_read(volume, VOLUME_BYTES / 2 - PIECE / 2, PIECE, buffer));
	for (uint64_t i = 0; i < PIECE; i++)
		assert_int_equal(buffer[i], 0);
}

static void scrub(libpool_pool *pool)
{
	struct libpool_job *jobs;
	size_t count;

	OK(libpool_scrub_start(pool, NULL, &error));
	OK(libpool_jobs_wait(pool, 0, 0));
	OK(libpool_jobs(pool, &jobs, &count));
	for (size_t i = 0; i < count; i++) {
		assert_int_equal(jobs[i].state, LIBPOOL_JOB_FINISHED);
		assert_int_equal(jobs[i].errors_found, 0);
		assert_int_equal(jobs[i].cells_unrepaired, 0);
	}
	libpool_free(jobs);
}

/*
 * How much the resident memory after the last round exceeds the most that there was during the warm-up: memory that nothing
 * needs is given back now and then, so after one round there may be less than after its neighbours.
 */
static void report(const char *what, const uint64_t *resident)
{
	uint64_t before = 0, after = resident[ROUNDS - 1];

	for (unsigned i = 0; i <= WARM_UP; i++)
		before = resident[i] > before ? resident[i] : before;

	print_message("%s: %" PRIu64 " MiB at most in %d rounds, %" PRIu64 " MiB after %d\n", what, before / MIB,
		      WARM_UP + 1, after / MIB, ROUNDS);
	if (after > before + GROWTH_MAX) {
		for (unsigned i = 0; i < ROUNDS; i++)
			print_error("  round %u: %" PRIu64 " KiB\n", i, resident[i] / 1024);
		fail();
	}
}

static void open_both(struct disks *disks, libpool_pool **ret_pool, libpool_volume **ret_volume)
{
	OK(disks_import(disks, "tank", ret_pool, &error));
	OK(libpool_volume_open(*ret_pool, "data", NULL, ret_volume, &error));
}

static void close_both(libpool_pool *pool, libpool_volume *volume)
{
	OK(libpool_volume_close(volume));
	OK(libpool_close(pool, &error));
}

static void make(struct disks *disks, uint64_t cache_bytes)
{
	struct libpool_volume_options options = {.size = sizeof(options), .volume_bytes = VOLUME_BYTES};
	libpool_pool *pool;

	disks_make(disks, 4, 128 * MIB);
	disks->host.cache_bytes = cache_bytes;
	OK(disks_create_pool(disks, "tank", "raid5", &error));
	OK(disks_import(disks, "tank", &pool, &error));
	OK(libpool_volume_create(pool, "data", &options, &error));
	OK(libpool_close(pool, &error));
}

/* The pool stays open. */
static void test_one_import(void **state)
{
	struct disks disks;
	uint64_t resident[ROUNDS], cache = 8 * MIB;
	uint8_t *buffer = malloc(PIECE);
	libpool_pool *pool;
	libpool_volume *volume;

	(void)state;
	make(&disks, cache);
	open_both(&disks, &pool, &volume);
	for (unsigned round = 0; round < ROUNDS; round++) {
		write_all(pool, volume, buffer, round + 1, cache);
		read_all(pool, volume, buffer, round + 1, cache);
		scrub(pool);
		trim_and_zero(volume, buffer);
		resident[round] = resident_bytes();
	}
	report("write, read, scrub, trim", resident);
	close_both(pool, volume);
	disks_remove(&disks);
	free(buffer);
}

/* Each round has the pool imported and exported, or abandoned, many times. */
static void test_many_imports(void **state)
{
	struct disks disks;
	uint64_t resident[ROUNDS];
	unsigned open_before;
	libpool_pool *pool;
	libpool_volume *volume;
	uint8_t block[4 * UNIT] = {1};

	(void)state;
	make(&disks, 8 * MIB);
	open_before = descriptors();
	for (unsigned round = 0; round < ROUNDS; round++) {
		for (unsigned i = 0; i < 4; i++) {
			open_both(&disks, &pool, &volume);
			OK(libpool_volume_write(volume, i * sizeof(block), sizeof(block), block));
			if (i % 2 == 0) {
				close_both(pool, volume);
			} else {
				OK(libpool_volume_close(volume));
				libpool_abandon(pool);
			}
		}
		resident[round] = resident_bytes();
	}
	report("import, export, abandon", resident);
	assert_int_equal(descriptors(), open_before);
	disks_remove(&disks);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_one_import),
	    cmocka_unit_test(test_many_imports),
	};

	watchdog_start(120);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
