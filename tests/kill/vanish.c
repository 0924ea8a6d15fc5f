/*
 * Disks that go away while a pool is imported, behind its back: unlinked, cut short, cut off altogether. No
 * call may hang, what the profile survives is served, and another pool of the same process doesn't notice.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/kill/content.h"
#include "tests/kill/disks.h"
#include "tests/kill/watchdog.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define VOLUME_BYTES	(24 * MIB)
#define UNITS_OF_VOLUME (VOLUME_BYTES / UNIT)
#define PIECE_UNITS	64
#define HANG_SECONDS	90 /* some deadlines of a disk in a row */

static struct libpool_error error;

static void ok(int result, const char *what, int line)
{
	if (result == 0)
		return;
	print_error("line %d: %s: %d (%s) %s\n", line, what, result, libpool_strerror(result), error.text);
	fail();
}

#define OK(call) ok(WATCHED(call), #call, __LINE__)

struct bench {
	struct disks disks;
	libpool_pool *pool;
	libpool_volume *volume;
};

static void open_both(struct bench *bench)
{
	OK(disks_import(&bench->disks, "tank", &bench->pool, &error));
	OK(libpool_volume_open(bench->pool, "data", NULL, &bench->volume, &error));
}

/* 0, or the first error. */
static int write_version(struct bench *bench, uint64_t version)
{
	static _Thread_local uint8_t buffer[PIECE_UNITS * UNIT];

	for (uint64_t unit = 0; unit < UNITS_OF_VOLUME; unit += PIECE_UNITS) {
		int result;

		for (unsigned i = 0; i < PIECE_UNITS; i++)
			content_fill(buffer + (size_t)i * UNIT, unit + i, version);
		result = WATCHED(libpool_volume_write(bench->volume, unit * UNIT, sizeof(buffer), buffer));
		if (result != 0)
			return result;
	}
	return 0;
}

/* Pieces that couldn't be read; those that could hold a version from `first` to `last`. */
static unsigned read_versions(struct bench *bench, uint64_t first, uint64_t last)
{
	static _Thread_local uint8_t buffer[PIECE_UNITS * UNIT];
	unsigned failed = 0;

	for (uint64_t unit = 0; unit < UNITS_OF_VOLUME; unit += PIECE_UNITS) {
		if (WATCHED(libpool_volume_read(bench->volume, unit * UNIT, sizeof(buffer), buffer)) != 0) {
			failed++;
			continue;
		}
		for (unsigned i = 0; i < PIECE_UNITS; i++) {
			uint64_t version;

			assert_true(content_version(buffer + (size_t)i * UNIT, unit + i, &version));
			assert_true(version >= first && version <= last);
		}
	}
	return failed;
}

/* An imported pool with version 1 in its volume. No cache: what is read comes from disks. */
static void begin(struct bench *bench, const char *profile, unsigned count, uint32_t no_uring)
{
	struct libpool_volume_options options = {.size = sizeof(options), .volume_bytes = VOLUME_BYTES};

	disks_make(&bench->disks, count, 96 * MIB);
	bench->disks.host.no_uring = no_uring;
	bench->disks.host.cache_bytes = 1;
	OK(disks_create_pool(&bench->disks, "tank", profile, &error));
	OK(disks_import(&bench->disks, "tank", &bench->pool, &error));
	OK(libpool_volume_create(bench->pool, "data", &options, &error));
	OK(libpool_volume_open(bench->pool, "data", NULL, &bench->volume, &error));
	OK(write_version(bench, 1));
	OK(libpool_volume_flush(bench->volume));
}

/* Every call once; what they say is theirs to say, as long as they say something. */
static void call_everything(struct bench *bench)
{
	struct libpool_pool_info info = {.size = sizeof(info)};
	struct libpool_volume_info volume = {.size = sizeof(volume)};
	struct libpool_volume_options options = {.size = sizeof(options), .volume_bytes = MIB};
	struct libpool_verify_result verified = {.size = sizeof(verified)};
	void *list = NULL;
	size_t count;
	uint64_t offset;

	OK(libpool_pool_info(bench->pool, &info));
	assert_int_not_equal(info.problem[0], info.health == LIBPOOL_HEALTHY);
	OK(libpool_volume_get_info(bench->volume, &volume));
	if (WATCHED(libpool_disks(bench->pool, (struct libpool_disk_info **)&list, &count)) == 0)
		libpool_free(list);
	if (WATCHED(libpool_damage(bench->pool, (struct libpool_damage **)&list, &count)) == 0)
		libpool_free(list);
	if (WATCHED(libpool_events(bench->pool, 0, (struct libpool_event **)&list, &count)) == 0)
		libpool_free(list);
	if (WATCHED(libpool_history(bench->pool, (struct libpool_history **)&list, &count)) == 0)
		libpool_free(list);
	if (WATCHED(libpool_jobs(bench->pool, (struct libpool_job **)&list, &count)) == 0)
		libpool_free(list);
	if (WATCHED(libpool_properties(bench->pool, NULL, (struct libpool_property **)&list, &count, NULL)) ==
	    0)
		libpool_free(list);
	if (WATCHED(libpool_volumes(bench->pool, (struct libpool_volume_info **)&list, &count)) == 0)
		libpool_free(list);
	(void)WATCHED(libpool_volume_create(bench->pool, "other", &options, NULL));
	(void)WATCHED(libpool_volume_resize(bench->pool, "other", 2 * MIB, NULL));
	(void)WATCHED(libpool_volume_destroy(bench->pool, "other", NULL));
	(void)WATCHED(libpool_volume_seek(bench->volume, 0, 0, &offset));
	(void)WATCHED(libpool_scrub_start(bench->pool, NULL, NULL));
	(void)WATCHED(libpool_scrub_pause(bench->pool, NULL));
	(void)WATCHED(libpool_scrub_start(bench->pool, NULL, NULL));
	(void)WATCHED(libpool_jobs_wait(bench->pool, 0, UINT64_C(20000000000)));
	(void)WATCHED(libpool_verify(bench->pool, NULL, &verified, NULL));
	(void)WATCHED(libpool_pool_sync(bench->pool, NULL));
}

static void cut(struct bench *bench, unsigned index, uint64_t bytes)
{
	assert_int_equal(truncate(bench->disks.paths[index], (off_t)bytes), 0);
}

/* As many disks as the profile survives are cut short: data is served, written and flushed all the same, and
 * is there when the pool is imported without them. */
static void survives(const char *profile, unsigned count, unsigned lost, uint64_t left, uint32_t no_uring)
{
	struct bench bench;

	begin(&bench, profile, count, no_uring);
	for (unsigned i = 0; i < lost; i++)
		cut(&bench, i, left);
	assert_int_equal(read_versions(&bench, 1, 1), 0);
	OK(write_version(&bench, 2));
	OK(libpool_volume_flush(bench.volume));
	call_everything(&bench);
	assert_int_equal(read_versions(&bench, 2, 2), 0);
	(void)WATCHED(libpool_volume_close(bench.volume));
	(void)WATCHED(libpool_close(bench.pool, &error));
	for (unsigned i = 0; i < lost; i++)
		disks_hide(&bench.disks, i);
	open_both(&bench);
	assert_int_equal(read_versions(&bench, 2, 2), 0);
	OK(libpool_volume_close(bench.volume));
	OK(libpool_close(bench.pool, &error));
	disks_remove(&bench.disks);
}

static void test_cut_to_nothing(void **state)
{
	(void)state;
	survives("raid5", 4, 1, 0, 0);
	survives("raid6", 5, 2, 0, 0);
	survives("raid1", 2, 1, 0, 0);
}

static void test_cut_short(void **state)
{
	(void)state;
	survives("raid5", 4, 1, 2 * MIB, 0);
	survives("raid6", 5, 2, 5 * MIB, 1);
	survives("raid1", 3, 1, 3 * MIB, 1);
}

/* A file that is unlinked still works for the process that has it open. */
static void test_unlinked(void **state)
{
	struct bench bench;

	(void)state;
	begin(&bench, "raid5", 4, 0);
	assert_int_equal(unlink(bench.disks.paths[2]), 0);
	assert_int_equal(read_versions(&bench, 1, 1), 0);
	OK(write_version(&bench, 2));
	OK(libpool_volume_flush(bench.volume));
	call_everything(&bench);
	(void)WATCHED(libpool_volume_close(bench.volume));
	(void)WATCHED(libpool_close(bench.pool, &error));
	open_both(&bench);
	assert_int_equal(read_versions(&bench, 2, 2), 0);
	OK(libpool_volume_close(bench.volume));
	OK(libpool_close(bench.pool, &error));
	disks_remove(&bench.disks);
}

/* More than the profile survives: nothing wrong is served, nothing hangs, it can be closed. */
static void beyond(const char *profile, unsigned count, unsigned lost)
{
	struct bench bench;

	begin(&bench, profile, count, 0);
	for (unsigned i = 0; i < lost; i++)
		cut(&bench, i, 0);
	(void)read_versions(&bench, 1, 1);
	(void)write_version(&bench, 2);
	(void)WATCHED(libpool_volume_flush(bench.volume));
	call_everything(&bench);
	(void)read_versions(&bench, 1, 2);
	(void)WATCHED(libpool_volume_close(bench.volume));
	(void)WATCHED(libpool_close(bench.pool, &error));
	if (WATCHED(disks_import(&bench.disks, "tank", &bench.pool, &error)) == 0)
		(void)WATCHED(libpool_close(bench.pool, &error));
	else
		assert_true(strlen(error.text) > 20);
	disks_remove(&bench.disks);
}

static void test_beyond(void **state)
{
	(void)state;
	beyond("single", 1, 1);
	beyond("single", 3, 1);
	beyond("raid1", 2, 2);
	beyond("raid5", 4, 2);
	beyond("raid6", 5, 5);
}

static void *keep_writing(void *argument)
{
	struct bench *bench = argument;

	for (uint64_t version = 2; version < 8; version++) {
		OK(write_version(bench, version));
		OK(libpool_volume_flush(bench->volume));
		assert_int_equal(read_versions(bench, version, version), 0);
	}
	return NULL;
}

/* Two pools of one name in one process, of which one loses everything. */
static void test_two_pools(void **state)
{
	struct bench good, bad;
	pthread_t thread;

	(void)state;
	begin(&good, "raid5", 4, 0);
	begin(&bad, "raid1", 2, 0);
	assert_int_equal(pthread_create(&thread, NULL, keep_writing, &good), 0);
	cut(&bad, 0, 0);
	cut(&bad, 1, 0);
	(void)write_version(&bad, 2);
	(void)WATCHED(libpool_volume_flush(bad.volume));
	call_everything(&bad);
	(void)WATCHED(libpool_close(bad.pool, &error));
	assert_int_not_equal(WATCHED(libpool_volume_flush(bad.volume)), 0); /* its pool is gone */
	(void)WATCHED(libpool_volume_close(bad.volume));
	pthread_join(thread, NULL);
	OK(libpool_volume_close(good.volume));
	OK(libpool_close(good.pool, &error));
	open_both(&good);
	assert_int_equal(read_versions(&good, 7, 7), 0);
	OK(libpool_volume_close(good.volume));
	OK(libpool_close(good.pool, &error));
	disks_remove(&good.disks);
	disks_remove(&bad.disks);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_cut_to_nothing), cmocka_unit_test(test_cut_short),
	    cmocka_unit_test(test_unlinked),	   cmocka_unit_test(test_beyond),
	    cmocka_unit_test(test_two_pools),
	};

	watchdog_start(HANG_SECONDS);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
