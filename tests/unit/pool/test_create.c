/* Creating, finding, importing and destroying pools: what is refused, with which words, and that nothing is written then. */
#include "tests/unit/pool/support.h"

#include <sys/file.h>
#include <sys/stat.h>

/* Nothing has been written: a sparse file has no blocks yet. */
static void assert_untouched(const struct bench *bench, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		struct stat status;

		assert_int_equal(stat(bench->paths[i], &status), 0);
		assert_int_equal(status.st_blocks, 0);
	}
}

static int create_with(struct bench *bench, struct libpool_create_options options)
{
	struct libpool_create_options full = options;

	full.size = sizeof(full);
	if (!full.name)
		full.name = "tank";
	if (!full.profile)
		full.profile = "raid5";
	if (!full.disks) {
		full.disks = bench->disks;
		full.disk_count = bench->count;
	}
	return libpool_create(&bench->host, &full, NULL, &bench->error);
}
#define CREATE(...) create_with(&bench, (struct libpool_create_options){__VA_ARGS__})

static void test_arguments(void **state)
{
	struct bench bench;
	const char *twice[3], *none[1] = {NULL};
	char link[128];
	libpool_pool *pool;

	(void)state;
	bench_begin(&bench, 3, 64 * MIB);
	REFUSED(CREATE(.name = ""), -EINVAL, "pool");
	REFUSED(CREATE(.name = "a/b"), -EINVAL, "\"/\"");
	REFUSED(CREATE(.name = "a b"), -EINVAL, "pool");
	REFUSED(CREATE(.profile = "raid9"), -EINVAL, "unknown");
	REFUSED(CREATE(.profile = "raid6"), -EINVAL, "at least 4 disks, 3 given");
	REFUSED(CREATE(.au_bytes = 3 << 20), -EINVAL, "power of two");
	REFUSED(CREATE(.au_bytes = 32 << 20), -EINVAL, "16 MiB");
	REFUSED(CREATE(.disks = none, .disk_count = 1, .profile = "single"), -EINVAL, "empty");
	memcpy(twice, bench.disks, sizeof(twice));
	twice[2] = twice[0];
	REFUSED(CREATE(.disks = twice, .disk_count = 3), -EINVAL, "named twice");
	snprintf(link, sizeof(link), "%s/link", bench.folder);
	assert_int_equal(symlink(bench.paths[0], link), 0);
	twice[2] = link;
	REFUSED(CREATE(.disks = twice, .disk_count = 3), -EINVAL, "same disk");
	unlink(link);
	twice[2] = "/nonexistent/disk";
	REFUSED(CREATE(.disks = twice, .disk_count = 3), -ENOENT, "/nonexistent/disk");
	twice[2] = bench.folder;
	REFUSED(CREATE(.disks = twice, .disk_count = 3), -ENOTBLK, "directory");
	bench_file(&bench, 3, 64 * MIB - 4096);
	twice[2] = bench.paths[3];
	REFUSED(CREATE(.disks = twice, .disk_count = 3), -EINVAL, "too small");
	/* Larger allocation units than such disks have room for. */
	REFUSED(CREATE(.au_bytes = 16 << 20), -EINVAL, "");
	assert_untouched(&bench, 3);
	assert_int_equal(libpool_create(NULL, NULL, NULL, NULL), -EINVAL);
	assert_int_equal(libpool_import(&bench.host, NULL, &pool, NULL), -EINVAL);
	bench_end(&bench);
}

static void test_dry_run(void **state)
{
	struct bench bench;
	struct libpool_create_options options = {.size = sizeof(options), .name = "tank", .profile = "raid6", .dry_run = 1};
	struct libpool_layout layout = {.size = sizeof(layout)};

	(void)state;
	bench_begin(&bench, 6, 128 * MIB);
	options.disks = bench.disks;
	options.disk_count = 6;
	OK(libpool_create(&bench.host, &options, &layout, &bench.error));
	assert_int_equal(layout.data_columns, 4);
	assert_int_equal(layout.parity_columns, 2);
	assert_int_equal(layout.disks_may_fail, 2);
	assert_int_equal(layout.disk_count, 6);
	assert_int_equal(layout.au_bytes, 256 << 10);
	assert_true(layout.raw_bytes > 700 * MIB && layout.raw_bytes <= 6 * 128 * MIB);
	assert_true(layout.usable_bytes + layout.reserve_bytes <= layout.raw_bytes / 6 * 4);
	assert_true(layout.usable_bytes > 400 * MIB && layout.reserve_bytes > 0);
	assert_untouched(&bench, 6);
	bench_end(&bench);
}

/* What somebody else left on a disk. */
static void test_foreign(void **state)
{
	struct bench bench;
	struct libpool_found *found;
	libpool_pool *pool;
	uint8_t page[4096] = {0};
	size_t count;
	int file;

	(void)state;
	bench_begin(&bench, 3, 64 * MIB);
	/* A swap area of version 1. */
	page[1024] = 1;
	page[1028] = 0xff;
	page[1029] = 0x3f;
	memcpy(page + 4086, "SWAPSPACE2", 10);
	file = open(bench.paths[1], O_RDWR | O_CLOEXEC);
	assert_int_equal(pwrite(file, page, sizeof(page), 0), 4096);
	REFUSED(CREATE(.profile = "raid5"), -LIBPOOL_EFOREIGN, "swap");
	/* In use: force doesn't help. */
	assert_int_equal(flock(file, LOCK_EX | LOCK_NB), 0);
	REFUSED(CREATE(.force = 1), -LIBPOOL_EINUSE, "in use");
	assert_int_equal(flock(file, LOCK_UN), 0);
	close(file);
	OK(CREATE(.force = 1));
	OK(libpool_find(&bench.host, &found, &count, &bench.error));
	assert_int_equal(count, 1);
	assert_int_equal(found[0].importable, 2);
	libpool_free(found);
	/* Nothing is left of what was there. */
	file = open(bench.paths[1], O_RDONLY | O_CLOEXEC);
	assert_int_equal(pread(file, page, sizeof(page), 0), 4096);
	close(file);
	for (size_t i = 0; i < sizeof(page); i++)
		assert_int_equal(page[i], 0);
	/* A pool is foreign too, unless it is destroyed. */
	REFUSED(CREATE(.name = "other"), -LIBPOOL_EFOREIGN, "belongs to pool tank");
	OK(bench_import(&bench, "tank", &pool));
	REFUSED(CREATE(.name = "other", .force = 1), -LIBPOOL_EINUSE, "in use");
	OK(libpool_close(pool, &bench.error));
	OK(libpool_destroy(&bench.host, "tank", &bench.error));
	OK(CREATE(.name = "other"));
	OK(CREATE(.name = "third", .force = 1));
	bench_end(&bench);
}

static void test_find(void **state)
{
	struct bench bench;
	struct libpool_found *found;
	libpool_pool *pool;
	char guid[33];
	size_t count;

	(void)state;
	bench_begin(&bench, 5, 64 * MIB);
	OK(libpool_find(&bench.host, &found, &count, &bench.error));
	assert_int_equal(count, 0);
	libpool_free(found);
	OK(bench_create(&bench, "tank", "raid5", 0, 3));
	OK(bench_create(&bench, "tank", "raid1", 3, 2));
	OK(libpool_find(&bench.host, &found, &count, &bench.error));
	assert_int_equal(count, 2);
	for (size_t i = 0; i < 2; i++) {
		assert_string_equal(found[i].name, "tank");
		assert_int_equal(found[i].size, sizeof(found[i]));
		assert_int_equal(found[i].disks_configured, found[i].disks_found);
		assert_int_equal(found[i].clean, 1);
		assert_int_equal(found[i].other_host, 0);
		assert_int_equal(found[i].in_use, 0);
		assert_int_equal(found[i].importable, 2);
		assert_string_equal(found[i].problem, "");
	}
	REFUSED(bench_import(&bench, "tank", &pool), -EEXIST, "several pools");
	REFUSED(bench_import(&bench, "nothing", &pool), -ENOENT, "no pool nothing");
	for (int i = 0; i < 16; i++)
		sprintf(guid + 2 * i, "%02X", found[0].guid[i]);
	bench_import(&bench, "tank", &pool);
	assert_non_null(strcasestr(bench.error.text, guid)); /* what to say instead */
	libpool_free(found);
	OK(bench_import(&bench, guid, &pool));
	REFUSED(bench_import(&bench, guid, &(libpool_pool *){NULL}), -LIBPOOL_EINUSE, "in use");
	OK(libpool_find(&bench.host, &found, &count, &bench.error));
	assert_int_equal(found[0].in_use + found[1].in_use, 1);
	libpool_free(found);
	OK(libpool_close(pool, &bench.error));
	unlink(bench.paths[3]);
	unlink(bench.paths[0]);
	unlink(bench.paths[1]);
	OK(libpool_find(&bench.host, &found, &count, &bench.error));
	assert_int_equal(count, 2);
	for (size_t i = 0; i < 2; i++) {
		bool mirror = found[i].disks_configured == 2;

		assert_int_equal(found[i].disks_found, 1);
		assert_int_equal(found[i].importable, mirror ? 1 : 0);
		assert_int_equal(found[i].problem[0] == 0, mirror);
	}
	libpool_free(found);
	bench_end(&bench);
}

/* A copy of a disk beside it: nobody can say which of them is the one. */
static void test_twins(void **state)
{
	struct bench bench;
	libpool_pool *pool;
	char command[300];

	(void)state;
	bench_begin(&bench, 2, 64 * MIB);
	OK(bench_create(&bench, "tank", "raid1", 0, 2));
	snprintf(bench.paths[2], sizeof(bench.paths[2]), "%s/copy", bench.folder);
	snprintf(command, sizeof(command), "cp --sparse=always %s %s", bench.paths[1], bench.paths[2]);
	assert_int_equal(system(command), 0);
	REFUSED(bench_import(&bench, "tank", &pool), -EEXIST, "both claim");
	unlink(bench.paths[2]);
	OK(bench_import(&bench, "tank", &pool));
	OK(libpool_close(pool, &bench.error));
	bench_end(&bench);
}

static void test_destroy(void **state)
{
	struct bench bench;
	struct libpool_import_options reading = {.size = sizeof(reading), .name = "tank", .destroyed = 1};
	struct libpool_found *found;
	libpool_pool *pool;
	size_t count;

	(void)state;
	bench_begin(&bench, 3, 64 * MIB);
	OK(bench_create(&bench, "tank", "raid5", 0, 3));
	REFUSED(libpool_destroy(&bench.host, "tonk", &bench.error), -ENOENT, "tonk");
	REFUSED(libpool_undestroy(&bench.host, "tank", &bench.error), -EALREADY, "not destroyed");
	OK(libpool_destroy(&bench.host, "tank", &bench.error));
	OK(libpool_find(&bench.host, &found, &count, &bench.error));
	assert_int_equal(found[0].destroyed, 1);
	libpool_free(found);
	REFUSED(bench_import(&bench, "tank", &pool), -ENOENT, "undestroy");
	OK(libpool_import(&bench.host, &reading, &pool, &bench.error));
	REFUSED(bench_volume(&bench, pool, "v", MIB, 0), -EROFS, "");
	OK(libpool_close(pool, &bench.error));
	OK(libpool_undestroy(&bench.host, "tank", &bench.error));
	OK(bench_import(&bench, "tank", &pool));
	OK(libpool_close(pool, &bench.error));
	bench_end(&bench);
}

static void test_crash(void **state)
{
	struct bench bench;
	struct libpool_found *found;
	libpool_pool *pool;
	size_t count;

	(void)state;
	bench_begin(&bench, 3, 64 * MIB);
	OK(bench_create(&bench, "tank", "raid5", 0, 3));
	OK(bench_import(&bench, "tank", &pool));
	OK(bench_volume(&bench, pool, "v", MIB, 0));
	OK(libpool_pool_sync(pool, &bench.error));
	libpool_abandon(pool);
	OK(libpool_find(&bench.host, &found, &count, &bench.error));
	assert_int_equal(found[0].clean, 0);
	assert_int_equal(found[0].in_use, 0);
	libpool_free(found);
	OK(bench_import(&bench, "tank", &pool));
	REFUSED(bench_volume(&bench, pool, "v", MIB, 0), -EEXIST, "v");
	OK(libpool_close(pool, &bench.error));
	bench_end(&bench);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_arguments), cmocka_unit_test(test_dry_run), cmocka_unit_test(test_foreign),
		cmocka_unit_test(test_find), cmocka_unit_test(test_twins), cmocka_unit_test(test_destroy), cmocka_unit_test(test_crash),
	};

	return cmocka_run_group_tests_name("pool_create", tests, NULL, NULL);
}
