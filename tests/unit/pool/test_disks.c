/* Disks that go, come back, and are replaced; scrubs that find and repair what is wrong on them. */
#include "tests/unit/pool/support.h"

#define VOLUME_BYTES (24 * MIB)

static void fill(struct bench *bench_pointer, libpool_pool *pool, uint64_t seed)
{
	struct bench bench = *bench_pointer;
	uint8_t *data = malloc(VOLUME_BYTES);
	libpool_volume *volume;

	pattern(data, 0, VOLUME_BYTES, seed);
	OK(libpool_volume_open(pool, "v", NULL, &volume, &bench.error));
	OK(libpool_volume_write(volume, 0, VOLUME_BYTES, data));
	OK(libpool_volume_flush(volume));
	OK(libpool_volume_close(volume));
	free(data);
}

static void compare(struct bench *bench_pointer, libpool_pool *pool, uint64_t seed)
{
	struct bench bench = *bench_pointer;
	uint8_t *data = malloc(VOLUME_BYTES), *expected = malloc(VOLUME_BYTES);
	libpool_volume *volume;

	pattern(expected, 0, VOLUME_BYTES, seed);
	OK(libpool_volume_open(pool, "v", NULL, &volume, &bench.error));
	OK(libpool_volume_read(volume, 0, VOLUME_BYTES, data));
	assert_memory_equal(data, expected, VOLUME_BYTES);
	OK(libpool_volume_close(volume));
	free(expected);
	free(data);
}

static void is_sound(struct bench *bench_pointer, libpool_pool *pool, uint32_t health, unsigned disks)
{
	struct bench bench = *bench_pointer;
	struct libpool_verify_result verified = {.size = sizeof(verified)};
	struct libpool_pool_info info = {.size = sizeof(info)};

	OK(libpool_verify(pool, NULL, &verified, &bench.error));
	if (verified.violations || verified.damaged_blocks)
		print_error("%s\n", verified.first);
	assert_int_equal(verified.violations, 0);
	assert_int_equal(verified.damaged_blocks, 0);
	OK(libpool_pool_info(pool, &info));
	if (info.health != health)
		print_error("health: %s\n", info.problem);
	assert_int_equal(info.health, health);
	assert_int_equal(info.disk_count, disks);
	assert_int_equal(info.problem[0] != 0, health != LIBPOOL_HEALTHY);
}

/* The last job of a kind. */
static struct libpool_job job_of(struct bench *bench_pointer, libpool_pool *pool, uint32_t kind)
{
	struct bench bench = *bench_pointer;
	struct libpool_job *jobs, job = {0};
	size_t count;

	OK(libpool_jobs(pool, &jobs, &count));
	for (size_t i = 0; i < count; i++)
		if (jobs[i].kind == kind)
			job = jobs[i];
	libpool_free(jobs);
	return job;
}

static void begin(struct bench *bench_pointer, unsigned files, unsigned disks, const char *profile, libpool_pool **ret_pool)
{
	struct bench bench;

	bench_begin(&bench, files, 64 * MIB);
	*bench_pointer = bench;
	bench_pointer->folders[0] = bench_pointer->folder;
	bench_pointer->host.folders = bench_pointer->folders;
	for (unsigned i = 0; i < files; i++)
		bench_pointer->disks[i] = bench_pointer->paths[i];
	check(bench_pointer, bench_create(bench_pointer, "tank", profile, 0, disks), "create", __LINE__);
	check(bench_pointer, bench_import(bench_pointer, "tank", ret_pool), "import", __LINE__);
	check(bench_pointer, bench_volume(bench_pointer, *ret_pool, "v", VOLUME_BYTES, 16384), "volume", __LINE__);
}

static void test_offline_online(void **state)
{
	struct bench bench;
	libpool_pool *pool;
	struct libpool_disk_info *disks;
	size_t count;

	(void)state;
	begin(&bench, 4, 4, "raid5", &pool);
	fill(&bench, pool, 1);
	REFUSED(libpool_disk_offline(pool, "#9", &bench.error), -ENOENT, "#9");
	REFUSED(libpool_disk_offline(pool, NULL, &bench.error), -EINVAL, "no disk");
	REFUSED(libpool_disk_online(pool, "#1", NULL, &bench.error), -EALREADY, "online already");
	OK(libpool_disk_offline(pool, bench.paths[1], &bench.error));
	REFUSED(libpool_disk_offline(pool, bench.paths[1], &bench.error), -EALREADY, "not online");
	REFUSED(libpool_disk_offline(pool, "#2", &bench.error), -LIBPOOL_EDEGRADED, "could not be read");
	OK(libpool_disks(pool, &disks, &count));
	assert_int_equal(count, 4);
	assert_int_equal(disks[1].state, LIBPOOL_DISK_OFFLINE);
	assert_string_equal(disks[1].path, bench.paths[1]);
	libpool_free(disks);
	compare(&bench, pool, 1);
	fill(&bench, pool, 2);
	is_sound(&bench, pool, LIBPOOL_DEGRADED, 4);
	/* It stays so over an import, and is known by its last path. */
	OK(libpool_close(pool, &bench.error));
	OK(bench_import(&bench, "tank", &pool));
	compare(&bench, pool, 2);
	REFUSED(libpool_disk_online(pool, "#1", bench.paths[0], &bench.error), -EBUSY, "in use");
	OK(libpool_disk_online(pool, bench.paths[1], NULL, &bench.error));
	OK(libpool_jobs_wait(pool, 0, 0));
	assert_int_equal(job_of(&bench, pool, LIBPOOL_JOB_RESYNC).state, LIBPOOL_JOB_FINISHED);
	compare(&bench, pool, 2);
	is_sound(&bench, pool, LIBPOOL_HEALTHY, 4);
	/* Now another one may go. */
	OK(libpool_disk_offline(pool, "#2", &bench.error));
	compare(&bench, pool, 2);
	OK(libpool_close(pool, &bench.error));
	bench_end(&bench);
}

/* A disk that no import has seen is known by the path that it had when the pool was created. */
static void test_lost_early(void **state)
{
	struct bench bench;
	libpool_pool *pool;
	struct libpool_disk_info *disks;
	size_t count;

	(void)state;
	bench_begin(&bench, 4, 64 * MIB);
	bench.folders[0] = bench.folder;
	bench.host.folders = bench.folders;
	for (unsigned i = 0; i < 4; i++)
		bench.disks[i] = bench.paths[i];
	OK(bench_create(&bench, "tank", "raid5", 0, 4));
	assert_int_equal(unlink(bench.paths[1]), 0);
	OK(bench_import(&bench, "tank", &pool));
	OK(libpool_disks(pool, &disks, &count));
	assert_int_equal(count, 4);
	assert_int_equal(disks[1].state, LIBPOOL_DISK_MISSING);
	assert_string_equal(disks[1].path, bench.paths[1]);
	libpool_free(disks);
	OK(libpool_close(pool, &bench.error));
	bench_end(&bench);
}

static void test_returning(void **state)
{
	struct bench bench;
	libpool_pool *pool;
	char away[160];

	(void)state;
	begin(&bench, 4, 4, "raid6", &pool);
	fill(&bench, pool, 1);
	OK(libpool_close(pool, &bench.error));
	snprintf(away, sizeof(away), "%s/../pool-test-away-%d", bench.folder, getpid());
	assert_int_equal(rename(bench.paths[2], away), 0);
	OK(bench_import(&bench, "tank", &pool));
	fill(&bench, pool, 2);
	is_sound(&bench, pool, LIBPOOL_DEGRADED, 4);
	OK(libpool_close(pool, &bench.error));
	assert_int_equal(rename(away, bench.paths[2]), 0);
	/* Nobody asks for the resync: it begins by itself. */
	OK(bench_import(&bench, "tank", &pool));
	OK(libpool_jobs_wait(pool, 0, 0));
	is_sound(&bench, pool, LIBPOOL_HEALTHY, 4);
	OK(libpool_disk_offline(pool, "#0", &bench.error));
	OK(libpool_disk_offline(pool, "#1", &bench.error));
	compare(&bench, pool, 2);
	OK(libpool_close(pool, &bench.error));
	bench_end(&bench);
}

static int replace(struct bench *bench, libpool_pool *pool, const char *old_disk, const char *new_disk, bool dry_run)
{
	struct libpool_replace_options options = {
		.size = sizeof(options), .old_disk = old_disk, .new_disk = new_disk, .dry_run = dry_run};

	return libpool_disk_replace(pool, &options, &bench->error);
}

static void test_replace(void **state)
{
	struct bench bench;
	libpool_pool *pool;
	struct libpool_disk_info *disks;
	size_t count;

	(void)state;
	begin(&bench, 6, 4, "raid5", &pool);
	fill(&bench, pool, 1);
	REFUSED(replace(&bench, pool, "#7", bench.paths[4], false), -ENOENT, "#7");
	REFUSED(replace(&bench, pool, "#1", bench.paths[1], false), -EINVAL, "replace itself");
	REFUSED(replace(&bench, pool, "#1", "/nonexistent", false), -ENOENT, "/nonexistent");
	REFUSED(replace(&bench, pool, "#1", "", false), -EINVAL, "no new disk");
	REFUSED(replace(&bench, pool, "#1", bench.paths[2], true), -EINVAL, "disk #2 of this pool already");
	REFUSED(replace(&bench, pool, "#1", bench.paths[2], false), -EINVAL, "disk #2 of this pool already");
	bench_file(&bench, 5, 65 * MIB / 2);
	REFUSED(replace(&bench, pool, "#1", bench.paths[5], false), -EINVAL, "too small");
	OK(replace(&bench, pool, "#1", bench.paths[4], true));
	is_sound(&bench, pool, LIBPOOL_HEALTHY, 4);
	OK(replace(&bench, pool, "#1", bench.paths[4], false));
	OK(libpool_jobs_wait(pool, 0, 0));
	assert_int_equal(job_of(&bench, pool, LIBPOOL_JOB_REBUILD).state, LIBPOOL_JOB_FINISHED);
	is_sound(&bench, pool, LIBPOOL_HEALTHY, 4);
	OK(libpool_disks(pool, &disks, &count));
	assert_int_equal(count, 4);
	for (size_t i = 0; i < count; i++)
		assert_string_not_equal(disks[i].path, bench.paths[1]);
	libpool_free(disks);
	compare(&bench, pool, 1);
	OK(libpool_close(pool, &bench.error));
	/* A dry run in a read-only import, and a disk that was once of this pool. */
	struct libpool_import_options read_only = {.size = sizeof(read_only), .name = "tank", .read_only = 1};
	OK(libpool_import(&bench.host, &read_only, &pool, &bench.error));
	REFUSED(replace(&bench, pool, "#2", bench.paths[1], true), -LIBPOOL_EFOREIGN, "former disk of pool tank");
	REFUSED(replace(&bench, pool, "#2", bench.paths[3], true), -EINVAL, "already");
	REFUSED(replace(&bench, pool, "#2", bench.paths[3], false), -EROFS, "read-only");
	bench_file(&bench, 1, 64 * MIB);
	OK(replace(&bench, pool, "#2", bench.paths[1], true));
	OK(libpool_close(pool, &bench.error));
	unlink(bench.paths[1]);
	/* A disk that is gone. */
	unlink(bench.paths[2]);
	OK(bench_import(&bench, "tank", &pool));
	bench_file(&bench, 5, 64 * MIB);
	OK(replace(&bench, pool, bench.paths[2], bench.paths[5], false));
	OK(libpool_jobs_wait(pool, 0, 0));
	is_sound(&bench, pool, LIBPOOL_HEALTHY, 4);
	compare(&bench, pool, 1);
	OK(libpool_close(pool, &bench.error));
	unlink(bench.paths[0]);
	OK(bench_import(&bench, "tank", &pool));
	compare(&bench, pool, 1);
	OK(libpool_close(pool, &bench.error));
	bench_end(&bench);
}

/* Spoils the data area of a disk behind the pool's back. */
static void spoil(struct bench *bench, unsigned disk, uint64_t begin_at, uint64_t end_at)
{
	int file = open(bench->paths[disk], O_RDWR | O_CLOEXEC);
	uint8_t junk[4096];

	memset(junk, 0x5a, sizeof(junk));
	for (uint64_t at = begin_at; at < end_at; at += 16 * 4096)
		assert_int_equal(pwrite(file, junk, sizeof(junk), (off_t)at), 4096);
	close(file);
}

static uint64_t checksum_errors(struct bench *bench_pointer, libpool_pool *pool, unsigned index)
{
	struct bench bench = *bench_pointer;
	struct libpool_disk_info *disks;
	uint64_t errors;
	size_t count;

	OK(libpool_disks(pool, &disks, &count));
	assert_true(index < count);
	errors = disks[index].checksum_errors;
	libpool_free(disks);
	return errors;
}

/* They count since they were cleared, whatever was imported and exported in between. */
static void test_counters(void **state)
{
	struct libpool_scrub_options options = {.size = sizeof(options)};
	struct bench bench;
	libpool_pool *pool;
	uint64_t errors;

	(void)state;
	begin(&bench, 4, 4, "raid5", &pool);
	fill(&bench, pool, 1);
	OK(libpool_close(pool, &bench.error));
	spoil(&bench, 2, 2 * MIB, 60 * MIB);
	OK(bench_import(&bench, "tank", &pool));
	OK(libpool_scrub_start(pool, &options, &bench.error));
	OK(libpool_jobs_wait(pool, 0, 0));
	errors = checksum_errors(&bench, pool, 2);
	assert_true(errors > 0);
	for (unsigned i = 0; i < 2; i++) {
		OK(libpool_close(pool, &bench.error));
		OK(bench_import(&bench, "tank", &pool));
		assert_int_equal(checksum_errors(&bench, pool, 2), errors);
		assert_int_equal(checksum_errors(&bench, pool, 1), 0);
	}
	OK(libpool_clear(pool, "#2", &bench.error));
	assert_int_equal(checksum_errors(&bench, pool, 2), 0);
	OK(libpool_close(pool, &bench.error));
	OK(bench_import(&bench, "tank", &pool));
	assert_int_equal(checksum_errors(&bench, pool, 2), 0);
	OK(libpool_close(pool, &bench.error));
	bench_end(&bench);
}

static void test_scrub(void **state)
{
	struct bench bench;
	struct libpool_scrub_options options = {.size = sizeof(options)}, slow = {.size = sizeof(slow), .bytes_per_second = 1 << 20};
	struct libpool_import_options read_only = {.size = sizeof(read_only), .name = "tank", .read_only = 1};
	struct libpool_job job;
	libpool_pool *pool;

	(void)state;
	begin(&bench, 4, 4, "raid5", &pool);
	fill(&bench, pool, 1);
	REFUSED(libpool_scrub_pause(pool, &bench.error), -ENOENT, "no scrub");
	REFUSED(libpool_scrub_cancel(pool, &bench.error), -ENOENT, "no scrub");
	OK(libpool_scrub_start(pool, &options, &bench.error));
	OK(libpool_jobs_wait(pool, 1 << LIBPOOL_JOB_SCRUB, 0));
	job = job_of(&bench, pool, LIBPOOL_JOB_SCRUB);
	assert_int_equal(job.state, LIBPOOL_JOB_FINISHED);
	assert_int_equal(job.errors_found, 0);
	assert_true(job.done_bytes > VOLUME_BYTES && job.ended_ns >= job.started_ns);
	OK(libpool_close(pool, &bench.error));

	spoil(&bench, 2, 2 * MIB, 60 * MIB);
	OK(bench_import(&bench, "tank", &pool));
	options.deep = 1;
	OK(libpool_scrub_start(pool, &options, &bench.error));
	OK(libpool_jobs_wait(pool, 0, 0));
	job = job_of(&bench, pool, LIBPOOL_JOB_SCRUB);
	assert_int_equal(job.state, LIBPOOL_JOB_FINISHED);
	assert_true(job.errors_found > 0 && job.cells_repaired > 0);
	assert_int_equal(job.cells_unrepaired, 0);
	is_sound(&bench, pool, LIBPOOL_HEALTHY, 4);
	compare(&bench, pool, 1);

	/* Paused over an import, and gone on with. */
	OK(libpool_scrub_start(pool, &slow, &bench.error));
	REFUSED(libpool_scrub_start(pool, &slow, &bench.error), -EALREADY, "already");
	assert_int_equal(libpool_jobs_wait(pool, 1 << LIBPOOL_JOB_SCRUB, 50000000), -ETIMEDOUT);
	OK(libpool_scrub_pause(pool, &bench.error));
	assert_int_equal(job_of(&bench, pool, LIBPOOL_JOB_SCRUB).state, LIBPOOL_JOB_PAUSED);
	OK(libpool_jobs_wait(pool, 0, 0));
	OK(libpool_close(pool, &bench.error));
	OK(bench_import(&bench, "tank", &pool));
	OK(libpool_jobs_wait(pool, 0, 0));
	job = job_of(&bench, pool, LIBPOOL_JOB_SCRUB);
	assert_int_equal(job.state, LIBPOOL_JOB_PAUSED);
	/* It goes on with the limit that it had. */
	OK(libpool_scrub_start(pool, &(struct libpool_scrub_options){.size = sizeof(options)}, &bench.error));
	assert_int_equal(libpool_jobs_wait(pool, 1 << LIBPOOL_JOB_SCRUB, 500000000), -ETIMEDOUT);
	OK(libpool_scrub_pause(pool, &bench.error));
	OK(libpool_close(pool, &bench.error));
	/* Shown where nothing runs. */
	OK(libpool_import(&bench.host, &read_only, &pool, &bench.error));
	job = job_of(&bench, pool, LIBPOOL_JOB_SCRUB);
	assert_int_equal(job.state, LIBPOOL_JOB_PAUSED);
	assert_true(job.total_bytes > 0 && job.done_bytes < job.total_bytes);
	OK(libpool_close(pool, &bench.error));
	OK(bench_import(&bench, "tank", &pool));
	options.bytes_per_second = UINT64_C(1) << 40;
	OK(libpool_scrub_start(pool, &options, &bench.error));
	OK(libpool_jobs_wait(pool, 0, 0));
	assert_int_equal(job_of(&bench, pool, LIBPOOL_JOB_SCRUB).id, job.id);
	assert_int_equal(job_of(&bench, pool, LIBPOOL_JOB_SCRUB).state, LIBPOOL_JOB_FINISHED);
	/* Running over an import. */
	OK(libpool_scrub_start(pool, &slow, &bench.error));
	job = job_of(&bench, pool, LIBPOOL_JOB_SCRUB);
	OK(libpool_close(pool, &bench.error));
	OK(libpool_import(&bench.host, &read_only, &pool, &bench.error));
	assert_int_equal(job_of(&bench, pool, LIBPOOL_JOB_SCRUB).state, LIBPOOL_JOB_PAUSED);
	assert_non_null(strstr(job_of(&bench, pool, LIBPOOL_JOB_SCRUB).text, "interrupted"));
	OK(libpool_close(pool, &bench.error));
	OK(bench_import(&bench, "tank", &pool));
	assert_int_equal(job_of(&bench, pool, LIBPOOL_JOB_SCRUB).id, job.id);
	assert_int_equal(job_of(&bench, pool, LIBPOOL_JOB_SCRUB).state, LIBPOOL_JOB_RUNNING);
	OK(libpool_scrub_cancel(pool, &bench.error));
	assert_int_equal(job_of(&bench, pool, LIBPOOL_JOB_SCRUB).state, LIBPOOL_JOB_CANCELLED);
	OK(libpool_close(pool, &bench.error));
	bench_end(&bench);
}

/* More is spoilt than there is parity: named by volume and range, kept over imports, cleared by rewriting. */
static void test_damage(void **state)
{
	struct bench bench;
	struct libpool_scrub_options options = {.size = sizeof(options)};
	struct libpool_damage *damage;
	libpool_pool *pool;
	libpool_volume *volume;
	uint8_t *data = malloc(VOLUME_BYTES);
	uint64_t bytes = 0;
	size_t count;

	(void)state;
	begin(&bench, 3, 3, "raid5", &pool);
	fill(&bench, pool, 1);
	OK(libpool_close(pool, &bench.error));
	spoil(&bench, 1, 2 * MIB, 12 * MIB);
	spoil(&bench, 2, 2 * MIB, 12 * MIB);
	OK(bench_import(&bench, "tank", &pool));
	OK(libpool_volume_open(pool, "v", NULL, &volume, &bench.error));
	assert_int_equal(libpool_volume_read(volume, 0, VOLUME_BYTES, data), -LIBPOOL_EDAMAGED);
	for (uint64_t at = 0; at < VOLUME_BYTES; at += 16384)
		if (libpool_volume_read(volume, at, 16384, data) == -LIBPOOL_EDAMAGED)
			bytes += 16384;
	OK(libpool_damage(pool, &damage, &count));
	assert_true(count > 0);
	for (size_t i = 0; i < count; i++) {
		assert_string_equal(damage[i].dataset, "v");
		assert_int_equal(damage[i].object, 16);
		assert_int_equal(damage[i].offset % 16384, 0);
		bytes -= damage[i].length;
	}
	assert_int_equal(bytes, 0);
	libpool_free(damage);
	OK(libpool_volume_close(volume));
	OK(libpool_close(pool, &bench.error));

	OK(bench_import(&bench, "tank", &pool));
	OK(libpool_damage(pool, &damage, &count));
	assert_true(count > 0);
	libpool_free(damage);
	OK(libpool_scrub_start(pool, &options, &bench.error));
	OK(libpool_jobs_wait(pool, 0, 0));
	assert_true(job_of(&bench, pool, LIBPOOL_JOB_SCRUB).cells_unrepaired > 0);
	OK(libpool_damage(pool, &damage, &count));
	assert_true(count > 0);
	libpool_free(damage);
	fill(&bench, pool, 3);
	OK(libpool_scrub_start(pool, &options, &bench.error));
	OK(libpool_jobs_wait(pool, 0, 0));
	assert_int_equal(job_of(&bench, pool, LIBPOOL_JOB_SCRUB).cells_unrepaired, 0);
	OK(libpool_damage(pool, &damage, &count));
	assert_int_equal(count, 0);
	libpool_free(damage);
	compare(&bench, pool, 3);
	is_sound(&bench, pool, LIBPOOL_HEALTHY, 3);
	OK(libpool_close(pool, &bench.error));
	free(data);
	bench_end(&bench);
}

/* All pieces of the file that can't be read are on the list, and nothing else; how many. */
static unsigned damaged_pieces(struct bench *bench_pointer, libpool_pool *pool, uint64_t node)
{
	struct bench bench = *bench_pointer;
	struct libpool_damage *damage;
	libpool_fs *fs;
	uint8_t data[16384];
	unsigned pieces = 0;
	size_t count;

	OK(libpool_fs_open(pool, "f", NULL, &fs, &bench.error));
	OK(libpool_damage(pool, &damage, &count));
	for (uint64_t at = 0; at < VOLUME_BYTES; at += sizeof(data)) {
		bool listed = false, lost = libpool_fs_read(fs, node, at, sizeof(data), data) != (int64_t)sizeof(data);
		for (size_t i = 0; i < count; i++)
			listed |= !strcmp(damage[i].dataset, "f") && damage[i].object == node && at >= damage[i].offset &&
				  at < damage[i].offset + damage[i].length;
		assert_int_equal(lost, listed);
		pieces += lost;
	}
	libpool_free(damage);
	OK(libpool_fs_close(fs));
	return pieces;
}

/* The same in a file: a scrub doesn't take it for healed. */
static void test_damaged_file(void **state)
{
	struct bench bench;
	struct libpool_fs_options options = {.size = sizeof(options), .record_bytes = 16384};
	struct libpool_scrub_options scrub = {.size = sizeof(scrub)};
	struct libpool_new new = {.size = sizeof(new), .mode = S_IFREG | 0644};
	struct libpool_attributes file = {.size = sizeof(file)};
	uint8_t *data = malloc(VOLUME_BYTES);
	libpool_pool *pool;
	libpool_fs *fs;

	(void)state;
	begin(&bench, 3, 3, "raid5", &pool);
	pattern(data, 0, VOLUME_BYTES, 5);
	OK(libpool_fs_create(pool, "f", &options, &bench.error));
	OK(libpool_fs_open(pool, "f", NULL, &fs, &bench.error));
	OK(libpool_fs_make(fs, LIBPOOL_FS_ROOT, "file", &new, &file));
	assert_int_equal(libpool_fs_write(fs, file.node, 0, VOLUME_BYTES, data, 0), VOLUME_BYTES);
	OK(libpool_fs_close(fs));
	OK(libpool_close(pool, &bench.error));
	spoil(&bench, 1, 2 * MIB, 12 * MIB);
	spoil(&bench, 2, 2 * MIB, 12 * MIB);
	OK(bench_import(&bench, "tank", &pool));
	for (unsigned round = 0; round < 2; round++) {
		OK(libpool_scrub_start(pool, &scrub, &bench.error));
		OK(libpool_jobs_wait(pool, 0, 0));
		assert_true(damaged_pieces(&bench, pool, file.node) > 10);
		OK(libpool_close(pool, &bench.error));
		OK(bench_import(&bench, "tank", &pool));
	}
	OK(libpool_fs_open(pool, "f", NULL, &fs, &bench.error));
	assert_int_equal(libpool_fs_write(fs, file.node, 0, VOLUME_BYTES, data, 0), VOLUME_BYTES);
	OK(libpool_fs_close(fs));
	OK(libpool_scrub_start(pool, &scrub, &bench.error));
	OK(libpool_jobs_wait(pool, 0, 0));
	assert_int_equal(damaged_pieces(&bench, pool, file.node), 0);
	OK(libpool_close(pool, &bench.error));
	free(data);
	bench_end(&bench);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_offline_online), cmocka_unit_test(test_returning), cmocka_unit_test(test_replace),
		cmocka_unit_test(test_lost_early),
		cmocka_unit_test(test_counters), cmocka_unit_test(test_scrub), cmocka_unit_test(test_damage), cmocka_unit_test(test_damaged_file),
	};

	return cmocka_run_group_tests_name("pool_disks", tests, NULL, NULL);
}
