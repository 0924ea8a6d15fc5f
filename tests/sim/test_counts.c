/*
 * Counts that don't depend on the machine: device bytes for each user byte, device reads for each block, what an idle
 * pool writes, and what scrub and rebuild read. Six disks of 8 GiB, raid6 4+2.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libpool/base/bitmap.h"
#include "libpool/block/block.h"
#include "tests/sim/clients.h"
#include "tests/sim/content.h"

#define MIB (UINT64_C(1) << 20)
#define CHUNK MIB

static unsigned failures;
static uint32_t block_bytes;
static uint64_t written_bytes;

static void expect(bool holds, const char *what, double got, double limit)
{
	printf("%-62s %10.4f  limit %10.4f  %s\n", what, got, limit, holds ? "ok" : "FAILED");
	failures += !holds;
}

static struct sim_disk_counters sum(const struct world *world)
{
	struct sim_disk_counters all = {0};

	for (unsigned i = 0; i < world->set->count; i++) {
		const struct sim_disk_counters *one = &world->set->disks[i]->counters;

		all.reads += one->reads;
		all.writes += one->writes;
		all.flushes += one->flushes;
		all.bytes_read += one->bytes_read;
		all.bytes_written += one->bytes_written;
	}
	return all;
}

static struct world *machine(void)
{
	struct plan plan = {.seed = 1, .disks = 6, .k = 4, .m = 2, .cache_limit = 256 * MIB, .commit_interval_ns = 5 * NS_PER_S,
			    .dirty_limit = 512 * MIB, .fifo = true};

	for (unsigned i = 0; i < plan.disks; i++) {
		plan.disk_bytes[i] = 8192 * MIB;
		plan.fua[i] = true;
	}
	return world_new(&plan);
}

static void create(struct world *world)
{
	struct pool_error error = {0};

	world_expect(world, world_create(world, &error), &error, "create");
}

static void import(struct world *world)
{
	struct pool_error error = {0};

	world_expect(world, world_import(world, true, &error), &error, "import");
}

static void finish(struct world *world, struct volume *volume)
{
	struct pool_error error = {0};

	volume_close(volume);
	world_expect(world, world_export(world, &error), &error, "export");
}

static struct volume *filled_volume(struct world *world, uint64_t bytes)
{
	struct pool_error error = {0};
	struct volume *volume;
	uint8_t *data = sim_allocate(CHUNK);

	world_expect(world, volume_create(world->datasets, "v", bytes, block_bytes, BLOCK_COMPRESS_OFF, &error), &error, "create volume");
	world_expect(world, volume_open(world->datasets, "v", &volume, &error), &error, "open volume");
	world_expect(world, core_commit(world->core), NULL, "commit");
	written_bytes = sum(world).bytes_written;
	for (uint64_t at = 0; at < bytes; at += CHUNK) {
		content_fill(data, CHUNK, CONTENT_PLAIN, 1, at, at / CHUNK);
		world_expect(world, volume_write(volume, at, CHUNK, data), NULL, "write");
	}
	world_expect(world, core_commit(world->core), NULL, "commit");
	written_bytes = sum(world).bytes_written - written_bytes;
	free(data);
	return volume;
}

static void sequential_write(struct world *world)
{
	uint64_t bytes = 128 * MIB;
	char what[80];

	import(world);
	struct volume *volume = filled_volume(world, bytes);
	double ratio = (double)written_bytes / (double)bytes, limit = block_bytes >= 16384 ? 1.53 : 1.56;

	snprintf(what, sizeof(what), "sequential write, %u KiB blocks: device bytes / user byte", block_bytes / 1024);
	expect(ratio <= limit, what, ratio, limit);

	/* What nobody asks for isn't done. */
	rt_sleep(world->rt, 30 * NS_PER_S);
	uint64_t before = world->set->operations;

	rt_sleep(world->rt, 600 * NS_PER_S);
	expect(world->set->operations == before, "idle for 10 minutes: writes and flushes", (double)(world->set->operations - before), 0);
	finish(world, volume);
}

static void random_reads(struct world *world)
{
	uint64_t bytes = 64 * MIB;
	uint8_t *data = sim_allocate(block_bytes);
	char what[80];

	import(world);
	struct volume *volume = filled_volume(world, bytes);

	blocks_drop_cache(core_blocks(world->core));
	struct store_counters before = *store_counters(core_store(world->core));

	for (unsigned i = 0; i < 1000; i++) {
		uint64_t block = sim_random_below(&world->random, bytes / block_bytes);

		world_expect(world, volume_read(volume, block * block_bytes, block_bytes, data), NULL, "read");
	}
	const struct store_counters *after = store_counters(core_store(world->core));
	double blocks = (double)(after->read_blocks - before.read_blocks), reads = (double)(after->read_ios - before.read_ios);

	snprintf(what, sizeof(what), "random reads, %u KiB blocks: device reads / block", block_bytes / 1024);
	expect(reads <= blocks * 1.05, what, reads / blocks, 1.05);
	free(data);
	finish(world, volume);
}

/* Rows with a live cell, as cells of all their columns, or of those on one disk only. */
static uint64_t live_cells(struct world *world, int disk)
{
	struct alloc *alloc = core_alloc(world->core);
	unsigned rows = alloc_geometry(alloc)->rows;
	uint64_t cells = 0;

	for (uint32_t id = 0; id < alloc_segment_count(alloc); id++) {
		const struct segment *segment = alloc_segment(alloc, id);
		unsigned live = 0, columns = 0;

		if (!segment || !segment->bits)
			continue;
		for (unsigned row = 1; row < rows; row++) {
			bool any = false;

			for (unsigned column = 0; column < segment->bits_k; column++)
				any |= bitmap_get(segment->bits, (size_t)column * rows + row);
			live += any;
		}
		for (unsigned column = 0; column < (unsigned)segment->record.k + segment->record.m; column++)
			columns += disk < 0 || segment->record.columns[column].disk == disk;
		cells += (uint64_t)live * columns;
	}
	return cells;
}

static void scrub_and_rebuild(struct world *world)
{
	struct libpool_scrub_options scrub = {.size = sizeof(scrub)};
	struct libpool_replace_options replace = {.size = sizeof(replace), .old_disk = "sim:2", .new_disk = "sim:6"};
	struct pool_error error = {0};

	import(world);
	struct volume *volume = filled_volume(world, 64 * MIB);

	rt_sleep(world->rt, 10 * NS_PER_S);
	blocks_drop_cache(core_blocks(world->core));
	uint64_t before = sum(world).bytes_read;
	double cells = (double)live_cells(world, -1);

	world_expect(world, engine_scrub_start(world->engine, &scrub, &error), &error, "scrub");
	world_expect(world, engine_jobs_wait(world->engine, 0, 0), NULL, "scrub");
	double read = (double)(sum(world).bytes_read - before) / SIM_CELL;

	expect(read >= cells && read <= cells * 1.01 + 64, "scrub: cells read / cells of live rows", read / cells, 1.01 + 64 / cells);
	before = sum(world).bytes_read;
	cells = (double)live_cells(world, 2);
	world_expect(world, engine_disk_replace(world->engine, &replace, &error), &error, "replace");
	world_expect(world, engine_jobs_wait(world->engine, 0, 0), NULL, "rebuild");
	read = (double)(sum(world).bytes_read - before) / SIM_CELL;
	expect(read <= cells * 4 * 1.02 + 512, "rebuild: cells read / cells rebuilt", read / cells, 4 * 1.02 + 512 / cells);
	finish(world, volume);
}

static void run(uint32_t size, void (*body)(struct world *world))
{
	struct world *world = machine();

	block_bytes = size;
	if (body == scrub_and_rebuild)
		sim_disks_add(world->set, 8192 * MIB);
	world_boot(world, create);
	if (world_boot(world, body) != WORLD_ENDED)
		world_fail(world, "the boot did not end by itself");
	world_free(world);
}

int main(void)
{
	run(4096, sequential_write);
	run(16384, sequential_write);
	run(131072, sequential_write);
	run(4096, random_reads);
	run(65536, random_reads);
	run(16384, scrub_and_rebuild);
	printf("%u failed\n", failures);
	return failures != 0;
}
