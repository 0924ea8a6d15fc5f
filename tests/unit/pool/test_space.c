/*
 * What is said of space, before a pool is made and while it fills, against what goes in: for each profile, and disks of the same and of
 * different sizes. File-backed, as only the real thing shows what a pool takes for itself.
 */
#include "tests/unit/pool/support.h"

#define FILL_PERCENT 91u
#define PIECE (UINT64_C(128) << 10)

struct shape {
	const char *profile;
	unsigned disks;
	unsigned sizes[FILES_MAX]; /* MiB */
};

static const struct shape shapes[] = {
	{"single", 1, {160}},
	{"single", 3, {64, 80, 128}},
	{"raid1", 2, {160, 160}},
	{"raid1", 3, {80, 112, 160}},
	{"raid1", 3, {96, 96, 96}},
	{"raid1", 7, {64, 64, 64, 64, 64, 72, 80}},
	{"raid1c3", 4, {96, 96, 128, 160}},
	{"raid5", 3, {96, 96, 96}},
	{"raid5", 5, {72, 80, 96, 96, 160}},
	{"raid6", 5, {96, 96, 96, 96, 96}},
	{"raid6", 6, {72, 72, 96, 96, 128, 128}},
	{"raid7", 6, {96, 96, 96, 96, 96, 96}},
};

static void fill_random(uint8_t *data, uint64_t *seed)
{
	for (size_t i = 0; i < PIECE; i += 8) {
		*seed ^= *seed << 13, *seed ^= *seed >> 7, *seed ^= *seed << 17;
		memcpy(data + i, seed, 8);
	}
}

static struct libpool_pool_info info_of(struct bench *the_bench, libpool_pool *pool)
{
	struct bench bench = *the_bench;
	struct libpool_pool_info info = {.size = sizeof(info)};

	OK(libpool_pool_info(pool, &info));
	return info;
}

/* Live, dead and formable never make more than there is, and what is told as free isn't used. */
static void check_sums(const struct libpool_pool_info *info)
{
	uint64_t all = info->usable_bytes + info->reserve_bytes;

	if (info->used_bytes + info->dead_bytes + info->formable_bytes > all)
		fail_msg("%llu used, %llu dead and %llu formable bytes of %llu", (unsigned long long)info->used_bytes,
			 (unsigned long long)info->dead_bytes, (unsigned long long)info->formable_bytes, (unsigned long long)all);
	assert_true(info->free_bytes <= info->usable_bytes);
	assert_true(info->free_bytes + info->used_bytes <= all);
}

static uint64_t fill_pool(struct bench *the_bench, libpool_pool *pool)
{
	struct bench bench = *the_bench;
	uint64_t seed = 88172645463325252u, at = 0;
	uint8_t *data = malloc(PIECE);
	libpool_volume *volume;
	int result = 0;

	OK(bench_volume(&bench, pool, "v", 2048 * MIB, 16384));
	OK(libpool_volume_open(pool, "v", NULL, &volume, &bench.error));
	while (result == 0) {
		fill_random(data, &seed);
		result = libpool_volume_write(volume, at, PIECE, data);
		at += result == 0 ? PIECE : 0;
		if (at % (16 * MIB) == 0) {
			struct libpool_pool_info info = info_of(&bench, pool);
			check_sums(&info);
		}
	}
	assert_int_equal(result, -ENOSPC);
	OK(libpool_pool_sync(pool, &bench.error));
	OK(libpool_volume_close(volume));
	free(data);
	return at;
}

/* A full pool stays usable, and gives back what is destroyed. */
static void empty_pool(struct bench *the_bench, libpool_pool *pool, uint64_t free_before)
{
	struct bench bench = *the_bench;
	struct libpool_pool_info info;

	OK(libpool_volume_destroy(pool, "v", &bench.error));
	for (unsigned i = 0; i < 200; i++) {
		char text[16];

		snprintf(text, sizeof(text), "%u", i);
		OK(libpool_property_set(pool, NULL, "comment", text, &bench.error));
		OK(libpool_pool_sync(pool, &bench.error));
		info = info_of(&bench, pool);
		if (info.free_bytes >= free_before / 100 * 95)
			break;
	}
	assert_true(info.free_bytes >= free_before / 100 * 95);
	check_sums(&info);
}

/* Where no disk is larger than the others together can make use of, nothing of any is left over. */
static void check_used_in_full(const struct shape *shape, const struct libpool_pool_info *info)
{
	unsigned width = info->data_columns + info->parity_columns, largest = 0, sum = 0;

	for (unsigned i = 0; i < shape->disks; i++) {
		largest = shape->sizes[i] > largest ? shape->sizes[i] : largest;
		sum += shape->sizes[i];
	}
	if (largest * width > sum)
		return;
	/* A row of each unit is its header. */
	uint64_t rows = info->au_bytes / 4096, best = info->raw_bytes / width * info->data_columns / rows * (rows - 1);

	assert_true(info->usable_bytes + info->reserve_bytes >= best / 100 * 98 && info->usable_bytes + info->reserve_bytes <= best);
}

static void check_shape(const struct shape *shape)
{
	struct bench bench;
	struct libpool_layout layout = {.size = sizeof(layout)};
	libpool_pool *pool;

	bench_begin(&bench, shape->disks, 0);
	for (unsigned i = 0; i < shape->disks; i++)
		assert_int_equal(truncate(bench.paths[i], (off_t)(shape->sizes[i] * MIB)), 0);
	struct libpool_create_options options = {.size = sizeof(options), .name = "tank", .profile = shape->profile, .disks = bench.disks,
						 .disk_count = shape->disks, .dry_run = 1};

	OK(libpool_create(&bench.host, &options, &layout, &bench.error));
	OK(bench_create(&bench, "tank", shape->profile, 0, shape->disks));
	OK(bench_import(&bench, "tank", &pool));
	struct libpool_pool_info empty = info_of(&bench, pool);

	/* What was said before is what there is; and nearly all of that is free. */
	assert_int_equal(layout.usable_bytes, empty.usable_bytes);
	assert_int_equal(layout.reserve_bytes, empty.reserve_bytes);
	assert_int_equal(layout.raw_bytes, empty.raw_bytes);
	check_used_in_full(shape, &empty);
	check_sums(&empty);
	uint64_t written = fill_pool(&bench, pool);
	struct libpool_pool_info full = info_of(&bench, pool);

	print_message("%-8s %u disks: usable %llu MiB, free %llu, written %llu; full: used %llu, dead %llu, formable %llu\n", shape->profile,
		      shape->disks, (unsigned long long)(empty.usable_bytes / MIB), (unsigned long long)(empty.free_bytes / MIB),
		      (unsigned long long)(written / MIB), (unsigned long long)(full.used_bytes / MIB), (unsigned long long)(full.dead_bytes / MIB),
		      (unsigned long long)(full.formable_bytes / MIB));
	/* Pointers and summaries are paid from it, and what is left of a segment that no block fits into. */
	assert_true(written <= empty.usable_bytes);
	assert_true(written >= empty.free_bytes / 100 * FILL_PERCENT);
	assert_true(full.free_bytes < 4 * MIB);
	empty_pool(&bench, pool, empty.free_bytes);
	OK(libpool_close(pool, &bench.error));
	bench_end(&bench);
}

static void test_shapes(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++)
		check_shape(&shapes[i]);
}

/* Writes from there on until the pool is full: how much it was. */
static uint64_t write_on(libpool_volume *volume, uint64_t at, uint64_t *seed)
{
	uint8_t *data = malloc(PIECE);
	uint64_t done = 0;
	int result = 0;

	while (result == 0) {
		fill_random(data, seed);
		result = libpool_volume_write(volume, at + done, PIECE, data);
		done += result == 0 ? PIECE : 0;
	}
	assert_int_equal(result, -ENOSPC);
	free(data);
	return done;
}

/* Seven blocks of 32 cells fill a segment of 252: what they leave is dead, and no compactor gains it, so it isn't free. */
static void test_ends(void **state)
{
	struct libpool_pool_info info;
	struct bench bench;
	libpool_pool *pool;
	libpool_volume *volume;
	uint64_t seed = 88172645463325252u;

	(void)state;
	bench_begin(&bench, 6, 128 * MIB);
	OK(bench_create(&bench, "tank", "raid6", 0, 6));
	OK(bench_import(&bench, "tank", &pool));
	OK(bench_volume(&bench, pool, "v", 2048 * MIB, (uint32_t)PIECE));
	OK(libpool_volume_open(pool, "v", NULL, &volume, &bench.error));
	uint64_t written = write_on(volume, 0, &seed);
	OK(libpool_pool_sync(pool, &bench.error));
	info = info_of(&bench, pool);
	print_message("128 KiB blocks: written %llu MiB, full: free %llu, dead %llu\n", (unsigned long long)(written / MIB),
		      (unsigned long long)(info.free_bytes / MIB), (unsigned long long)(info.dead_bytes / MIB));
	assert_true(info.dead_bytes > 32 * MIB && info.free_bytes < 8 * MIB);
	/* What is trimmed is told as free at once, and that much can be written. */
	OK(libpool_volume_trim(volume, 0, 63 * MIB));
	OK(libpool_pool_sync(pool, &bench.error));
	info = info_of(&bench, pool);
	assert_true(info.free_bytes > 48 * MIB && info.free_bytes < 80 * MIB);
	uint64_t again = write_on(volume, written, &seed);
	print_message("trimmed: free %llu MiB, written %llu\n", (unsigned long long)(info.free_bytes / MIB), (unsigned long long)(again / MIB));
	assert_true(again >= info.free_bytes / 10 * 8 && again <= info.free_bytes + 8 * MIB);
	OK(libpool_volume_close(volume));
	OK(libpool_close(pool, &bench.error));
	bench_end(&bench);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_shapes), cmocka_unit_test(test_ends)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
