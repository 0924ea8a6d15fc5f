/*
 * The disk that another one is replaced by loses its name while it is filled: it takes all that is written to it, and none of that is there when
 * it is closed. The other one may not leave the pool for it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libpool/block/block.h"
#include "libpool/pool/engine.h"
#include "libpool/txg/core.h"
#include "tests/sim/admin.h"
#include "tests/sim/clients.h"

#define MIB (UINT64_C(1) << 20)
#define WAIT_NS (UINT64_C(1000) * NS_PER_S)
#define TARGET "sim:3"

static bool nameless;

static int check(struct disk_provider *provider, struct disk *disk, uint64_t size)
{
	(void)provider;
	(void)size;
	return nameless && strcmp(disk->info.path, TARGET) == 0 ? -ENOENT : 0;
}

static void open_pool(struct world *world)
{
	static struct disk_provider_ops ops;
	struct pool_error error = {0};

	ops = *world->provider->ops;
	ops.check = check;
	world->provider->ops = &ops;
	world_expect(world, world_import(world, true, &error), &error, "import");
	world_note_members(world);
	clients_recover(world, true);
}

static void close_pool(struct world *world)
{
	struct pool_error error = {0};
	uint64_t begin = model_now(&world->model);

	clients_close_volumes(world);
	world_expect(world, world_export(world, &error), &error, "export");
	model_durable(&world->model, NULL, begin);
}

static void create_body(struct world *world)
{
	struct pool_error error = {0};

	world_expect(world, world_create(world, &error), &error, "create");
}

static const struct store_disk *disk_of(struct world *world, const char *path)
{
	for (unsigned i = 0; i < DISKS_MAX; i++) {
		const struct store_disk *disk = store_disk(core_store(world->core), i);

		if (disk->configured && strcmp(disk->path, path) == 0)
			return disk;
	}
	return NULL;
}

static void replace_body(struct world *world)
{
	struct libpool_replace_options options = {.size = sizeof(options), .old_disk = "sim:1", .new_disk = TARGET};
	struct pool_error error = {0};
	struct libpool_job *jobs;
	size_t count;
	bool failed = false;

	open_pool(world);
	struct model_volume *volume = clients_create(world, "v", 2 * MIB, 4096, BLOCK_COMPRESS_OFF);

	clients_write(world, volume, 0, 2 * MIB);
	clients_commit(world, false);
	sim_disks_add(world->set, 64 * MIB);
	world_expect(world, engine_disk_replace(world->engine, &options, &error), &error, "replace");
	nameless = true;
	world_expect(world, engine_jobs_wait(world->engine, 0, WAIT_NS), NULL, "wait");
	if (engine_jobs(world->engine, &jobs, &count) < 0)
		world_fail(world, "no list of jobs");
	for (size_t i = 0; i < count; i++)
		failed |= jobs[i].kind == LIBPOOL_JOB_REBUILD;
	free(jobs);
	if (!failed || !disk_of(world, "sim:1"))
		world_fail(world, "the disk that was replaced has left the pool");
	if (disk_of(world, TARGET))
		world_fail(world, "the disk without a name is still in the pool");
	close_pool(world);
}

/* All that was written is there, with all its redundancy: another disk may go. */
static void check_body(struct world *world)
{
	open_pool(world);
	clients_check_all(world);
	close_pool(world);
}

int main(void)
{
	struct plan plan = {.seed = 1, .disks = 3, .k = 2, .m = 1, .au_shift = 18, .commit_interval_ns = 100 * NS_PER_MS, .dirty_limit = 8 * MIB};

	for (unsigned i = 0; i < plan.disks; i++) {
		plan.disk_bytes[i] = 64 * MIB;
		plan.fua[i] = true;
	}
	struct world *world = world_new(&plan);

	world->doing = "the disk that another one is replaced by loses its name";
	if (world_boot(world, create_body) != WORLD_ENDED || world_boot(world, replace_body) != WORLD_ENDED)
		world_fail(world, "a boot was interrupted without a reason");
	sim_disk_vanish(world->set->disks[3], SIM_CRASH_ALL);
	sim_disk_vanish(world->set->disks[0], SIM_CRASH_ALL);
	if (world_boot(world, check_body) != WORLD_ENDED)
		world_fail(world, "the last boot was interrupted without a reason");
	printf("ok  %s\n", world->doing);
	world_free(world);
	return 0;
}
