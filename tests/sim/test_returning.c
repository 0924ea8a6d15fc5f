/*
 * A disk comes back one of whose copies of the label is torn, in both areas: as it was pulled out, or lost power, in the middle of a change. What is
 * written to it as it joins must not be the copy that is left before the torn one is whole again.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libpool/pool/engine.h"
#include "libpool/txg/core.h"
#include "libpool/txg/internal.h"
#include "tests/sim/world.h"

#define MIB (UINT64_C(1) << 20)
#define WAIT_NS (UINT64_C(1000) * NS_PER_S)
#define BACK 1u

static unsigned torn, written;

static uint64_t label_at(const struct sim_disk *disk, unsigned area, unsigned copy)
{
	return label_area_offset(disk->size, area) + LABEL_OFFSET + copy * LABEL_COPY_SIZE;
}

static bool is_whole(struct sim_disk *disk, unsigned copy)
{
	struct label *label = sim_allocate(sizeof(*label));
	uint8_t *raw = sim_allocate(LABEL_COPY_SIZE);
	bool whole = false;

	for (unsigned area = 0; area < 2; area++) {
		sim_disk_peek_durable(disk, label_at(disk, area, copy), raw, LABEL_COPY_SIZE);
		whole |= label_decode(raw, area, copy, label) == 0;
	}
	free(raw);
	free(label);
	return whole;
}

static void on_submit(void *argument, struct sim_disk *disk, const struct disk_io *io)
{
	struct world *world = argument;

	if (io->operation != DISK_WRITE || disk->index != BACK)
		return;
	for (unsigned i = 0; i < 4; i++) {
		if (io->offset != label_at(disk, i / 2, i % 2))
			continue;
		if (!is_whole(disk, 1 - i % 2))
			world_fail(world, "copy %u of the label is written while there is no other one", i % 2);
		written++;
	}
}

static void create_body(struct world *world)
{
	struct pool_error error = {0};

	world_expect(world, world_create(world, &error), &error, "create");
}

static void return_body(struct world *world)
{
	struct sim_disk *disk = world->set->disks[BACK];
	struct pool_error error = {0};

	world_expect(world, world_import(world, true, &error), &error, "import");
	world_expect(world, engine_disk_offline(world->engine, disk->path, false, &error), &error, "offline");
	for (unsigned area = 0; area < 2; area++)
		sim_disk_rot(disk, label_at(disk, area, torn) + SIM_CELL);
	world->set->hooks.argument = world;
	world->set->hooks.on_submit = on_submit;
	world_expect(world, engine_disk_online(world->engine, disk->path, disk->path, false, &error), &error, "online");
	world_expect(world, engine_jobs_wait(world->engine, 0, WAIT_NS), NULL, "wait");
	world->set->hooks.on_submit = NULL;
	if (written < 4 || !is_whole(disk, 0) || !is_whole(disk, 1))
		world_fail(world, "%u copies of the label are written, and not all are whole", written);
	world_expect(world, world_export(world, &error), &error, "export");
}

int main(void)
{
	struct plan plan = {.seed = 1, .disks = 3, .k = 2, .m = 1, .au_shift = 18, .commit_interval_ns = 100 * NS_PER_MS, .dirty_limit = 8 * MIB};

	for (unsigned i = 0; i < plan.disks; i++)
		plan.disk_bytes[i] = 64 * MIB;
	for (torn = 0; torn < 2; torn++) {
		struct world *world = world_new(&plan);

		written = 0;
		world->doing = torn ? "a disk comes back without copy 1 of its label" : "a disk comes back without copy 0 of its label";
		if (world_boot(world, create_body) != WORLD_ENDED || world_boot(world, return_body) != WORLD_ENDED)
			world_fail(world, "a boot was interrupted without a reason");
		printf("ok  %s\n", world->doing);
		world_free(world);
	}
	return 0;
}
