/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a pool says of the price of each byte of content, beside what the simulated devices were told to write. Blocks that are moved add to it.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libpool/block/block.h"
#include "libpool/txg/compact.h"
#include "tests/sim/content.h"
#include "tests/sim/world.h"

#define MIB (UINT64_C(1) << 20)
#define BLOCK 16384u
#define BLOCKS 4096u

static void expect(struct world *world, bool holds, const char *what)
{
	if (!holds)
		world_fail(world, "not so: %s", what);
}
#define EXPECT(condition) expect(world, condition, #condition)

static struct libpool_pool_info ask(struct world *world)
{
	struct libpool_pool_info info;

	world_expect(world, engine_info(world->engine, &info), NULL, "info");
	return info;
}

static uint64_t bytes_written(const struct world *world)
{
	uint64_t bytes = 0;

	for (unsigned i = 0; i < world->set->count; i++)
		bytes += world->set->disks[i]->counters.bytes_written;
	return bytes;
}

static void write_blocks(struct world *world, struct volume *volume, unsigned step, uint64_t version)
{
	uint8_t data[BLOCK];

	for (unsigned block = 0; block < BLOCKS; block += step) {
		content_fill(data, BLOCK, CONTENT_NOISE, 1, (uint64_t)block * BLOCK, version);
		world_expect(world, volume_write(volume, (uint64_t)block * BLOCK, BLOCK, data), NULL, "write");
	}
	world_expect(world, core_commit(world->core), NULL, "commit");
}

static void compact(struct world *world)
{
	uint32_t count = alloc_segment_count(core_alloc(world->core));

	for (uint32_t id = 0; id < count; id++) {
		const struct segment *segment = alloc_segment(core_alloc(world->core), id);
		struct core_compacted result;

		if (segment && segment->record.state == SEGMENT_FULL && segment->live && segment->record.class == CLASS_HOT)
			(void)core_compact(world->core, id, 0, UINT16_MAX, &result);
	}
}

static void create(struct world *world)
{
	struct pool_error error = {0};

	world_expect(world, world_create(world, &error), &error, "create");
}

static void body(struct world *world)
{
	struct pool_error error = {0};
	struct volume *volume;

	world_expect(world, world_import(world, true, &error), &error, "import");
	EXPECT(ask(world).data_bytes == 0);
	world_expect(world, volume_create(world->datasets, "v", (uint64_t)BLOCKS * BLOCK, BLOCK, BLOCK_COMPRESS_OFF, &error), &error, "create volume");
	world_expect(world, volume_open(world->datasets, "v", &volume, &error), &error, "open volume");
	uint64_t before = bytes_written(world);

	write_blocks(world, volume, 1, 1);
	struct libpool_pool_info info = ask(world);
	double cost = (double)(bytes_written(world) - before) * 4 / 6 / ((double)BLOCKS * BLOCK), said = (double)info.placed_bytes / (double)info.data_bytes;

	printf("devices were told to write %.4f bytes for each, parity apart; the pool says %.4f\n", cost, said);
	EXPECT(info.data_bytes == (uint64_t)BLOCKS * BLOCK && said > cost * 0.98 && said < cost);
	EXPECT(info.minute_data_bytes == info.data_bytes && info.minute_placed_bytes == info.placed_bytes);

	write_blocks(world, volume, 2, 2);
	rt_sleep(world->rt, 120 * NS_PER_S);
	info = ask(world);
	EXPECT(info.minute_data_bytes == 0 && info.minute_placed_bytes == 0);
	compact(world);
	uint64_t moving = core_compact_waiting(world->core);

	EXPECT(moving > 8 * MIB);
	world_expect(world, core_commit_forced(world->core), NULL, "commit");
	info = ask(world);
	EXPECT(info.minute_data_bytes == 0 && info.minute_placed_bytes > moving);
	EXPECT(info.moved_bytes > moving / 2 && info.moved_bytes <= moving && info.minute_moved_bytes == info.moved_bytes);
	rt_sleep(world->rt, 50 * NS_PER_S);
	EXPECT(ask(world).minute_placed_bytes == info.minute_placed_bytes);
	rt_sleep(world->rt, 15 * NS_PER_S);
	EXPECT(ask(world).minute_placed_bytes == 0 && ask(world).placed_bytes == info.placed_bytes);
	EXPECT(ask(world).minute_moved_bytes == 0 && ask(world).moved_bytes == info.moved_bytes);
	volume_close(volume);
	world_expect(world, world_export(world, &error), &error, "export");
}

int main(void)
{
	struct plan plan = {.seed = 1, .disks = 6, .k = 4, .m = 2, .cache_limit = 64 * MIB, .commit_interval_ns = 5 * NS_PER_S, .dirty_limit = 512 * MIB,
			    .fifo = true};

	for (unsigned i = 0; i < plan.disks; i++) {
		plan.disk_bytes[i] = 256 * MIB;
		plan.fua[i] = true;
	}
	struct world *world = world_new(&plan);

	world_boot(world, create);
	if (world_boot(world, body) != WORLD_ENDED)
		world_fail(world, "the boot did not end by itself");
	world_free(world);
	return 0;
}
