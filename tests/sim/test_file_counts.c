/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Device bytes for each byte that is written to a file and synced, whole records at a time, with the commits that come later: six disks of 8 GiB, raid6 4+2.
 * They are written where they stay, and the log only names them.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libpool/fs/fs.h"
#include "tests/sim/content.h"
#include "tests/sim/world.h"

#define MIB (UINT64_C(1) << 20)
#define FILE_BYTES (512 * MIB)
#define LIMIT 2.8

static unsigned failures;
static uint8_t record_shift;

static void create(struct world *world)
{
	struct pool_error error = {0};

	world_expect(world, world_create(world, &error), &error, "create");
}

static uint64_t bytes_written(const struct world *world)
{
	uint64_t bytes = 0;

	for (unsigned i = 0; i < world->set->count; i++)
		bytes += world->set->disks[i]->counters.bytes_written;
	return bytes;
}

static void write_at(struct world *world, struct fs_node *node, uint64_t offset, size_t length, uint64_t version)
{
	uint8_t *data = sim_allocate(length);
	size_t written;

	content_fill(data, length, CONTENT_NOISE, 1, offset, version);
	world_expect(world, fs_write(node, offset, length, data, 0, &written), NULL, "write");
	free(data);
}

/* `append`: at the end of the file, else anywhere. */
static void write_and_sync(struct world *world, struct fs *fs, struct fs_node *node, unsigned count, bool append)
{
	size_t length = (size_t)1 << record_shift;
	const struct core_log_counters *log = core_log_counters(world->core);
	struct core_log_counters log_before = *log;
	uint64_t before = bytes_written(world);

	for (unsigned i = 0; i < count; i++) {
		uint64_t record = append ? FILE_BYTES / length + i : sim_random_below(&world->random, FILE_BYTES / length);
		write_at(world, node, record * length, length, i + 2);
		world_expect(world, fs_sync(fs), NULL, "sync");
	}
	world_expect(world, core_commit(world->core), NULL, "commit");
	double ratio = (double)(bytes_written(world) - before) / count / (double)length;
	double logged = (double)(log->groups - log_before.groups) / count, placed = (double)(log->placed - log_before.placed) / count;
	bool holds = ratio <= LIMIT && logged >= 0.99 && placed >= 0.9;

	printf("%3zu KiB %s + fsync: device bytes / user byte %7.4f, limit %.1f; by the log %.4f, beside it %.4f  %s\n", length / 1024,
	       append ? "append   " : "overwrite", ratio, LIMIT, logged, placed, holds ? "ok" : "FAILED");
	failures += !holds;
}

static void body(struct world *world)
{
	struct fs_create_options options = {.settings = {.mask = 1u << SETTING_RECORDSIZE, .values = {[SETTING_RECORDSIZE] = record_shift}}, .mode = 0755};
	struct fs_new file = {.mode = 0100644};
	struct pool_error error = {0};
	struct fs_node *root, *node;
	struct fs *fs;

	world_expect(world, world_import(world, true, &error), &error, "import");
	world_expect(world, fs_create(world->datasets, "f", &options, &error), &error, "create file system");
	world_expect(world, fs_open(world->datasets, "f", &fs, &error), &error, "open file system");
	world_expect(world, fs_root(fs, &root), NULL, "root");
	world_expect(world, fs_make(root, "file", 4, &file, &node), NULL, "make");
	for (uint64_t at = 0; at < FILE_BYTES; at += MIB)
		write_at(world, node, at, MIB, 1);
	/* The first sync makes the log, the second asks for segments beside it. */
	for (unsigned i = 0; i < 2; i++) {
		write_at(world, node, 0, (size_t)1 << record_shift, 1);
		world_expect(world, fs_sync(fs), NULL, "sync");
	}
	world_expect(world, core_commit(world->core), NULL, "commit");
	unsigned count = (unsigned)(64 * MIB >> record_shift);
	write_and_sync(world, fs, node, count, false);
	write_and_sync(world, fs, node, count, true);
	fs_put(node);
	fs_put(root);
	fs_close(fs);
	world_expect(world, world_export(world, &error), &error, "export");
}

int main(void)
{
	for (record_shift = 14; record_shift <= 17; record_shift++) {
		struct plan plan = {.seed = 1, .disks = 6, .k = 4, .m = 2, .cache_limit = 256 * MIB, .commit_interval_ns = 5 * NS_PER_S,
				    .dirty_limit = 512 * MIB, .fifo = true};
		for (unsigned i = 0; i < plan.disks; i++) {
			plan.disk_bytes[i] = 8192 * MIB;
			plan.fua[i] = true;
		}
		struct world *world = world_new(&plan);
		world_boot(world, create);
		if (world_boot(world, body) != WORLD_ENDED)
			world_fail(world, "the boot did not end by itself");
		world_free(world);
	}
	return failures != 0;
}
