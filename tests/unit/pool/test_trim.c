/* Trims of pools in files: the files shrink, nothing that is in use goes. The host's own discard, unlike the simulator's. */
#include <sys/stat.h>

#include "tests/unit/pool/support.h"

#define SIZE (256 * MIB)
#define DATA (48 * MIB)

static uint64_t blocks_of(const struct bench *bench)
{
	uint64_t bytes = 0;
	struct stat status;

	for (unsigned i = 0; i < bench->count; i++) {
		assert_int_equal(stat(bench->paths[i], &status), 0);
		bytes += (uint64_t)status.st_blocks * 512;
	}
	return bytes;
}

static void fill(uint8_t *data, unsigned seed)
{
	for (size_t i = 0; i < MIB; i++)
		data[i] = (uint8_t)(seed = seed * 1103515245 + 12345, seed >> 16);
}

static void write_all(struct bench *the_bench, libpool_pool *pool, const char *name)
{
	struct bench bench = *the_bench;
	libpool_volume *volume;
	uint8_t *data = malloc(MIB);

	OK(libpool_volume_open(pool, name, NULL, &volume, &bench.error));
	for (uint64_t at = 0; at < DATA; at += MIB) {
		fill(data, (unsigned)(at / MIB) + 7);
		OK(libpool_volume_write(volume, at, MIB, data));
	}
	OK(libpool_volume_close(volume));
	OK(libpool_pool_sync(pool, &bench.error));
	free(data);
}

static void check_all(struct bench *the_bench, libpool_pool *pool, const char *name)
{
	struct bench bench = *the_bench;
	libpool_volume *volume;
	uint8_t *data = malloc(MIB), *back = malloc(MIB);

	OK(libpool_volume_open(pool, name, NULL, &volume, &bench.error));
	for (uint64_t at = 0; at < DATA; at += MIB) {
		fill(data, (unsigned)(at / MIB) + 7);
		OK(libpool_volume_read(volume, at, MIB, back));
		assert_memory_equal(data, back, MIB);
	}
	OK(libpool_volume_close(volume));
	free(data);
	free(back);
}

/* What was freed may be given out when two commits have followed. */
static void commits(struct bench *the_bench, libpool_pool *pool, unsigned count)
{
	struct bench bench = *the_bench;
	char text[16];

	for (unsigned i = 0; i < count; i++) {
		snprintf(text, sizeof(text), "%u", i);
		OK(libpool_property_set(pool, NULL, "comment", text, &bench.error));
		OK(libpool_pool_sync(pool, &bench.error));
	}
}

static struct libpool_job last_trim(struct bench *the_bench, libpool_pool *pool)
{
	struct bench bench = *the_bench;
	struct libpool_job *jobs, found = {0};
	size_t count;

	OK(libpool_jobs(pool, &jobs, &count));
	for (size_t i = 0; i < count; i++)
		if (jobs[i].kind == LIBPOOL_JOB_TRIM)
			found = jobs[i];
	libpool_free(jobs);
	return found;
}

static void test_files_shrink(void **state)
{
	static const char *const profiles[] = {"raid5", "raid1", "single"};

	(void)state;
	for (unsigned p = 0; p < 3; p++) {
		struct bench bench;
		libpool_pool *pool;

		bench_begin(&bench, p == 0 ? 3 : p == 1 ? 2 : 1, SIZE);
		OK(bench_create(&bench, "tank", profiles[p], 0, bench.count));
		OK(bench_import(&bench, "tank", &pool));
		OK(bench_volume(&bench, pool, "kept", DATA, 0));
		OK(bench_volume(&bench, pool, "gone", DATA, 0));
		write_all(&bench, pool, "kept");
		uint64_t with_one = blocks_of(&bench);

		write_all(&bench, pool, "gone");
		uint64_t with_both = blocks_of(&bench);

		assert_true(with_both > with_one + DATA);
		OK(libpool_volume_destroy(pool, "gone", &bench.error));
		commits(&bench, pool, 8);
		REFUSED(libpool_trim_cancel(pool, &bench.error), -ENOENT, "no trim is running");
		OK(libpool_trim_start(pool, NULL, &bench.error));
		OK(libpool_jobs_wait(pool, 1u << LIBPOOL_JOB_TRIM, 0));
		struct libpool_job job = last_trim(&bench, pool);

		assert_int_equal(job.state, LIBPOOL_JOB_FINISHED);
		assert_string_equal(job.text, "");
		assert_true(job.done_bytes >= DATA && job.done_bytes == job.total_bytes);
		assert_true(blocks_of(&bench) < with_one + DATA / 8);
		check_all(&bench, pool, "kept");
		OK(libpool_close(pool, &bench.error));
		OK(bench_import(&bench, "tank", &pool));
		check_all(&bench, pool, "kept");
		/* The last one is remembered. */
		job = last_trim(&bench, pool);
		assert_int_equal(job.state, LIBPOOL_JOB_FINISHED);
		assert_true(job.done_bytes >= DATA);
		OK(libpool_close(pool, &bench.error));
		bench_end(&bench);
	}
}

static void test_named_disks(void **state)
{
	struct bench bench;
	libpool_pool *pool;
	struct libpool_disk_info *disks;
	size_t count;
	const char *named[] = {"#1", "#9"};
	struct libpool_trim_options options = {.size = sizeof(options), .disks = named, .disk_count = 1};

	(void)state;
	bench_begin(&bench, 3, SIZE);
	OK(bench_create(&bench, "tank", "raid5", 0, 3));
	OK(bench_import(&bench, "tank", &pool));
	OK(libpool_trim_start(pool, &options, &bench.error));
	OK(libpool_jobs_wait(pool, 1u << LIBPOOL_JOB_TRIM, 0));
	assert_string_equal(last_trim(&bench, pool).object, bench.paths[1]);
	OK(libpool_disks(pool, &disks, &count));
	assert_int_equal(count, 3);
	for (unsigned i = 0; i < 3; i++) {
		assert_true(i == 1 ? disks[i].bytes_trimmed > SIZE / 2 : disks[i].bytes_trimmed == 0);
		assert_true((disks[i].trims > 0) == (i == 1) && disks[i].trim_errors == 0);
	}
	libpool_free(disks);
	options.disk_count = 2;
	REFUSED(libpool_trim_start(pool, &options, &bench.error), -ENOENT, "#9");
	OK(libpool_disk_offline(pool, "#1", &bench.error));
	options.disk_count = 1;
	REFUSED(libpool_trim_start(pool, &options, &bench.error), -ENXIO, "can't be trimmed now");
	OK(libpool_close(pool, &bench.error));
	bench_end(&bench);
}

/* One that is stopped, and one that an export interrupts, which begins again. */
static void test_stopped(void **state)
{
	struct bench bench;
	libpool_pool *pool;
	struct libpool_trim_options options = {.size = sizeof(options), .bytes_per_second = MIB};

	(void)state;
	bench_begin(&bench, 3, SIZE);
	OK(bench_create(&bench, "tank", "raid5", 0, 3));
	OK(bench_import(&bench, "tank", &pool));
	OK(libpool_trim_start(pool, &options, &bench.error));
	REFUSED(libpool_trim_start(pool, &options, &bench.error), -EALREADY, "running already");
	OK(libpool_trim_cancel(pool, &bench.error));
	assert_int_equal(last_trim(&bench, pool).state, LIBPOOL_JOB_CANCELLED);
	OK(libpool_trim_start(pool, &options, &bench.error));
	OK(libpool_close(pool, &bench.error));
	OK(bench_import(&bench, "tank", &pool));
	assert_int_equal(last_trim(&bench, pool).state, LIBPOOL_JOB_RUNNING);
	OK(libpool_trim_cancel(pool, &bench.error));
	OK(libpool_close(pool, &bench.error));
	bench_end(&bench);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_files_shrink),
		cmocka_unit_test(test_named_disks),
		cmocka_unit_test(test_stopped),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
