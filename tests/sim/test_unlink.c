/*
 * A file of 1 TiB, sparse, with parts that are scattered all over it and a dense one, is unlinked or truncated: its blocks are freed
 * by the commits that follow, each of which does a bounded part of it, so that who writes and syncs meanwhile waits no longer than else. In
 * virtual time, on disks that seek and on those that don't; with power cuts in between.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libpool/fs/fs.h"
#include "scrub/verify.h"
#include "tests/sim/admin.h"
#include "tests/sim/content.h"

#define MIB (UINT64_C(1) << 20)
#define TIB (UINT64_C(1) << 40)
#define RECORD 4096u
#define SCATTERED 24000u
#define DENSE_AT (300 * 1024 * MIB)

struct drive {
	const char *name;
	struct sim_latency latency;
	/* What a write with a sync takes at most while the file is being freed: into a file that is there, and with a new name. */
	uint64_t write_ns_max, make_ns_max;
	double seconds_max; /* until all of it is free */
};

static const struct drive drives[] = {
	{"SSD", {.io_ns = 80000, .flush_ns = 200000, .bytes_per_second = UINT64_C(3000000000)}, 150 * NS_PER_MS, 300 * NS_PER_MS, 10},
	{"HDD", {.io_ns = 100000, .flush_ns = 8000000, .seek_ns = 8000000, .bytes_per_second = UINT64_C(250000000)}, 600 * NS_PER_MS, 1000 * NS_PER_MS, 300},
};

static const struct drive *drive;
static bool truncates, cuts;
static uint64_t dense_bytes = 256 * MIB;
static unsigned failures;

static void expect(bool holds, const char *what, double got, double limit)
{
	printf("%s, %s%s: %-46s %12.3f  limit %12.3f  %s\n", drive->name, truncates ? "truncate" : "unlink", cuts ? ", power cuts" : "", what, got, limit,
	       holds ? "ok" : "FAILED");
	failures += !holds;
}

struct opened {
	struct fs *fs;
	struct fs_node *root, *small;
};

static struct fs_node *find(struct world *world, struct opened *opened, const char *name)
{
	struct fs_new new = {.mode = 0100644};
	struct fs_node *node;
	int status = fs_lookup(opened->root, name, strlen(name), &node);

	if (status == -ENOENT)
		status = fs_make(opened->root, name, strlen(name), &new, &node);
	world_expect(world, status, NULL, name);
	return node;
}

static void open_all(struct world *world, struct opened *opened)
{
	struct fs_create_options options = {.settings = {.mask = 1u << SETTING_COMPRESSION | 1u << SETTING_RECORDSIZE,
							 .values = {[SETTING_COMPRESSION] = BLOCK_COMPRESS_OFF, [SETTING_RECORDSIZE] = 12}}};
	struct pool_error error = {0};

	world_expect(world, world_import(world, true, &error), &error, "import");
	if (fs_open(world->datasets, "f", &opened->fs, &error) < 0) {
		world_expect(world, fs_create(world->datasets, "f", &options, &error), &error, "create file system");
		world_expect(world, fs_open(world->datasets, "f", &opened->fs, &error), &error, "open file system");
	}
	world_expect(world, fs_root(opened->fs, &opened->root), NULL, "root");
	opened->small = find(world, opened, "small");
}

static void close_all(struct world *world, struct opened *opened)
{
	struct pool_error error = {0};

	fs_put(opened->small);
	fs_put(opened->root);
	fs_close(opened->fs);
	world_expect(world, world_export(world, &error), &error, "export");
}

static void write_at(struct world *world, struct fs_node *node, uint64_t at, size_t length)
{
	uint8_t *data = sim_allocate(length);
	size_t written;

	content_fill(data, length, CONTENT_PLAIN, 3, at, 1);
	world_expect(world, fs_write(node, at, length, data, 0, &written), NULL, "write");
	free(data);
}

static void make_large(struct world *world, struct opened *opened)
{
	struct fs_node *large = find(world, opened, "large");
	struct fs_set set = {.what = FS_SET_SIZE, .size = TIB};

	world_expect(world, fs_set(large, &set), NULL, "size");
	for (unsigned i = 0; i < SCATTERED; i++)
		write_at(world, large, sim_random_below(&world->random, TIB / RECORD) * RECORD, RECORD);
	for (uint64_t at = 0; at < dense_bytes; at += MIB)
		write_at(world, large, DENSE_AT + at, MIB);
	fs_put(large);
	world_expect(world, core_commit(world->core), NULL, "commit");
}

static uint64_t device_bytes(const struct world *world)
{
	uint64_t bytes = 0;

	for (unsigned i = 0; i < world->set->count; i++)
		bytes += world->set->disks[i]->counters.bytes_written;
	return bytes;
}

/* What nobody refers to counts until it is freed. */
static double live_bytes(struct world *world)
{
	struct space space;

	core_space(world->core, &space);
	return (double)space.live_cells * SIM_CELL;
}

static void keep_higher(double *kept, double now)
{
	*kept = now > *kept ? now : *kept;
}

static uint64_t write_and_sync(struct world *world, struct opened *opened, bool make, unsigned number)
{
	uint64_t began = rt_now(world->rt);
	struct fs_new new = {.mode = 0100644};
	char name[20];

	if (make) {
		struct fs_node *node;

		snprintf(name, sizeof(name), "file-%u", number);
		world_expect(world, fs_make(opened->root, name, strlen(name), &new, &node), NULL, "make");
		fs_put(node);
	} else {
		write_at(world, opened->small, (uint64_t)(number % 64) * RECORD, RECORD);
	}
	world_expect(world, fs_sync(opened->fs), NULL, "sync");
	return rt_now(world->rt) - began;
}

static void take_away(struct world *world, struct opened *opened)
{
	uint64_t began = rt_now(world->rt);

	if (truncates) {
		struct fs_node *large = find(world, opened, "large");
		struct fs_set set = {.what = FS_SET_SIZE, .size = 0};

		world_expect(world, fs_set(large, &set), NULL, "truncate");
		fs_put(large);
	} else {
		world_expect(world, fs_unlink(opened->root, "large", 5), NULL, "unlink");
	}
	double ms = (double)(rt_now(world->rt) - began) / NS_PER_MS;

	expect(ms <= 100, "it returns after ms", ms, 100);
}

static double bytes_before, bytes_with;

static bool is_freed(struct world *world)
{
	return live_bytes(world) - bytes_before <= (bytes_with - bytes_before) / 100;
}

static void prepare(struct world *world, struct opened *opened)
{
	open_all(world, opened);
	write_and_sync(world, opened, false, 0);
	world_expect(world, core_commit(world->core), NULL, "commit");
	bytes_before = live_bytes(world);
	make_large(world, opened);
	bytes_with = live_bytes(world);
	rt_sleep(world->rt, 30 * NS_PER_S);
	blocks_drop_cache(core_blocks(world->core));
}

static void others(struct world *world)
{
	struct opened opened;
	double write_max = 0, make_max = 0, bytes_max = 0;
	unsigned rounds = 0;

	prepare(world, &opened);
	uint64_t first = core_commits(world->core), began = rt_now(world->rt);

	take_away(world, &opened);
	do {
		uint64_t commits = core_commits(world->core), bytes = device_bytes(world);

		keep_higher(&make_max, (double)write_and_sync(world, &opened, true, rounds));
		for (unsigned i = 0; i < 8; i++) {
			keep_higher(&write_max, (double)write_and_sync(world, &opened, false, rounds * 8 + i));
			rt_sleep(world->rt, 20 * NS_PER_MS);
		}
		commits = core_commits(world->core) - commits;
		if (commits)
			keep_higher(&bytes_max, (double)(device_bytes(world) - bytes) / (double)commits);
	} while (++rounds < 200 && !is_freed(world));
	double seconds = (double)(rt_now(world->rt) - began) / NS_PER_S, commits = (double)(core_commits(world->core) - first);

	printf("%.0f MiB are free after %.1f s, %.0f commits\n", (bytes_with - bytes_before) / MIB, seconds, commits);
	expect(write_max <= (double)drive->write_ns_max, "write and sync: ms", write_max / NS_PER_MS, (double)drive->write_ns_max / NS_PER_MS);
	expect(make_max <= (double)drive->make_ns_max, "new file and sync: ms", make_max / NS_PER_MS, (double)drive->make_ns_max / NS_PER_MS);
	expect(bytes_max <= 4 * MIB, "MiB written in a txg", bytes_max / MIB, 4);
	expect(seconds <= drive->seconds_max, "all of it is free after s", seconds, drive->seconds_max);
	close_all(world, &opened);
}

/* ---- a pool that is full ---- */

/* MiB of noise until there is no room; at most `most`. */
static double fill(struct world *world, struct opened *opened, const char *name, unsigned most)
{
	struct fs_node *node = find(world, opened, name);
	uint8_t *data = sim_allocate(MIB);
	size_t written = MIB;
	int status = 0;
	unsigned count = 0;

	content_fill(data, MIB, CONTENT_NOISE, 4, 0, 1);
	for (; status == 0 && written == MIB && count < most; count++)
		status = fs_write(node, count * MIB, MIB, data, 0, &written);
	if (status < 0 && status != -ENOSPC)
		world_expect(world, status, NULL, "fill");
	free(data);
	fs_put(node);
	return count;
}

/* Who waits for room gets what is being freed. */
static void full(struct world *world)
{
	struct opened opened;

	prepare(world, &opened);
	fill(world, &opened, "fill", 10000);
	take_away(world, &opened);
	double got = fill(world, &opened, "more", 100);

	expect(got >= 100, "MiB written while it is being freed", got, 100);
	close_all(world, &opened);
}

/* ---- with power cuts ---- */

static void begin(struct world *world)
{
	struct opened opened;

	prepare(world, &opened);
	take_away(world, &opened);
	world_expect(world, fs_sync(opened.fs), NULL, "sync");
	sim_disks_cut_at(world->set, world->set->operations + 100);
	rt_sleep(world->rt, 3600 * NS_PER_S);
	world_fail(world, "all was freed before the power went");
}

static void go_on(struct world *world)
{
	struct opened opened;

	open_all(world, &opened);
	sim_disks_cut_at(world->set, world->set->operations + 50 + sim_random_below(&world->random, 200));
	rt_sleep(world->rt, 3600 * NS_PER_S);
	world_fail(world, "all was freed before the power went");
}

static void finish(struct world *world)
{
	struct opened opened;

	sim_disks_cut_at(world->set, UINT64_MAX);
	open_all(world, &opened);
	expect(!is_freed(world), "MiB left after the last cut", (live_bytes(world) - bytes_before) / MIB, (bytes_with - bytes_before) / MIB);
	for (unsigned i = 0; i < 600 && !is_freed(world); i++)
		rt_sleep(world->rt, NS_PER_S);
	expect(is_freed(world), "MiB left at the end", (live_bytes(world) - bytes_before) / MIB, (bytes_with - bytes_before) / MIB / 100);
	admin_verify(world, VERIFY_FULL);
	close_all(world, &opened);
}

static void create(struct world *world)
{
	struct pool_error error = {0};

	world_expect(world, world_create(world, &error), &error, "create");
}

static struct world *machine(uint64_t disk_bytes)
{
	struct plan plan = {.seed = 1, .disks = 6, .k = 4, .m = 2, .cache_limit = 256 * MIB, .commit_interval_ns = 5 * NS_PER_S,
			    .dirty_limit = 512 * MIB, .fifo = true};

	for (unsigned i = 0; i < plan.disks; i++) {
		plan.disk_bytes[i] = disk_bytes;
		plan.fua[i] = true;
	}
	struct world *world = world_new(&plan);

	for (unsigned i = 0; i < plan.disks; i++)
		world->set->disks[i]->latency = drive->latency;
	world_boot(world, create);
	return world;
}

static void boot(struct world *world, void (*body)(struct world *world), enum world_end end)
{
	if (world_boot(world, body) != end)
		world_fail(world, "the boot did not end as it should");
	if (end == WORLD_POWER_CUT)
		world_power_cut(world, SIM_CRASH_ANY);
}

int main(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	for (unsigned i = 0; i < 4 && failures == 0; i++) {
		drive = &drives[i % 2];
		truncates = i / 2;
		struct world *world = machine(8192 * MIB);

		boot(world, others, WORLD_ENDED);
		world_free(world);
	}
	if (failures) /* who waits for room that never comes waits for ever */
		return 1;
	dense_bytes = 0; /* of no row are all cells freed soon */
	struct world *small = machine(448 * MIB);

	boot(small, full, WORLD_ENDED);
	world_free(small);
	dense_bytes = 256 * MIB;
	/* What one commit frees is least on disks that seek. */
	for (unsigned i = 0; i < 2; i++) {
		truncates = i;
		cuts = true;
		struct world *world = machine(8192 * MIB);

		boot(world, begin, WORLD_POWER_CUT);
		for (unsigned cut = 0; cut < 4; cut++)
			boot(world, go_on, WORLD_POWER_CUT);
		boot(world, finish, WORLD_ENDED);
		world_free(world);
	}
	printf("%u failed\n", failures);
	return failures != 0;
}
