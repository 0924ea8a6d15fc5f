/*
 * Work for callgrind to count: `count_instructions WORK COUNT` does the work that often, in the simulator, where nothing depends
 * on time or on other threads. instructions.py runs it with two counts; the difference is the cost of the work alone.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libpool/block/block.h"
#include "tests/sim/clients.h"
#include "tests/sim/content.h"

#define MIB (UINT64_C(1) << 20)

enum work { SEQUENTIAL_WRITE, RANDOM_WRITE, SCATTERED_WRITE, CACHED_READ, COLD_READ, RANDOM_READ };

static const struct {
	const char *name;
	uint32_t block_bytes, request_bytes;
	uint64_t volume_bytes;
} works[] = {
	[SEQUENTIAL_WRITE] = {"sequential-write-128k", 131072, 1048576, 32 * MIB},
	[RANDOM_WRITE] = {"random-write-4k", 4096, 4096, 32 * MIB},
	/* More of them in one txg than the intent log notes. */
	[SCATTERED_WRITE] = {"scattered-write-4k", 4096, 4096, 128 * MIB},
	[CACHED_READ] = {"cached-read-4k", 4096, 4096, 32 * MIB},
	[COLD_READ] = {"cold-read-4k", 4096, 4096, 32 * MIB},
	/* Nodes are cached, blocks seldom. */
	[RANDOM_READ] = {"random-read-4k", 4096, 4096, 64 * MIB},
};

static enum work work;
static unsigned count;

static void create(struct world *world)
{
	struct pool_error error = {0};

	world_expect(world, world_create(world, &error), &error, "create");
}

static void write_at(struct world *world, struct volume *volume, uint8_t *data, uint64_t at, size_t length, uint64_t stamp)
{
	data[0] = (uint8_t)stamp; /* the same otherwise: what is counted isn't the content's making */
	data[1] = (uint8_t)(stamp >> 8);
	world_expect(world, volume_write(volume, at, length, data), NULL, "write");
}

static void body(struct world *world)
{
	struct pool_error error = {0};
	struct volume *volume;
	size_t size = works[work].request_bytes;
	uint64_t volume_bytes = works[work].volume_bytes;
	uint8_t *data = sim_allocate(MIB);

	world_expect(world, world_import(world, true, &error), &error, "import");
	world_expect(world, volume_create(world->datasets, "v", volume_bytes, works[work].block_bytes, BLOCK_COMPRESS_OFF, &error), &error,
		     "create volume");
	world_expect(world, volume_open(world->datasets, "v", &volume, &error), &error, "open volume");
	content_fill(data, MIB, CONTENT_PLAIN, 1, 0, 1);
	for (uint64_t at = 0; at < volume_bytes; at += MIB)
		write_at(world, volume, data, at, MIB, at / MIB);
	world_expect(world, core_commit(world->core), NULL, "commit");
	for (unsigned i = 0; i < count; i++) {
		uint64_t places = volume_bytes / size, place = work == SEQUENTIAL_WRITE ? i : sim_random_below(&world->random, places);

		if (work == COLD_READ)
			blocks_drop_cache(core_blocks(world->core));
		if (work == CACHED_READ || work == COLD_READ || work == RANDOM_READ)
			world_expect(world, volume_read(volume, place % places * size, size, data), NULL, "read");
		else
			write_at(world, volume, data, place % places * size, size, i);
	}
	world_expect(world, core_commit(world->core), NULL, "commit");
	free(data);
	volume_close(volume);
	world_expect(world, world_export(world, &error), &error, "export");
}

int main(int argc, char **argv)
{
	struct plan plan = {.seed = 1, .disks = 6, .k = 4, .m = 2, .cache_limit = 64 * MIB, .commit_interval_ns = 5 * NS_PER_S,
			    .dirty_limit = 512 * MIB, .fifo = true};
	size_t number = 0;

	while (number < sizeof(works) / sizeof(works[0]) && (argc != 3 || strcmp(argv[1], works[number].name) != 0))
		number++;
	if (argc != 3 || number == sizeof(works) / sizeof(works[0])) {
		fprintf(stderr, "usage: count_instructions WORK COUNT\n");
		return 2;
	}
	work = (enum work)number;
	if (work == RANDOM_READ)
		plan.cache_limit = 4 * MIB;
	count = (unsigned)strtoul(argv[2], NULL, 10);
	for (unsigned i = 0; i < plan.disks; i++) {
		plan.disk_bytes[i] = 1024 * MIB;
		plan.fua[i] = true;
	}
	struct world *world = world_new(&plan);

	world_boot(world, create);
	if (world_boot(world, body) != WORLD_ENDED)
		world_fail(world, "the boot did not end by itself");
	world_free(world);
	return 0;
}
