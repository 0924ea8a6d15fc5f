/* See faults.h. */
#include "tests/sim/faults.h"

#include <stdlib.h>

#include "libpool/alloc/alloc.h"
#include "libpool/base/bitmap.h"
#include "libpool/store/store.h"
#include "tests/sim/logs.h"

#define RATED (1u << SIM_READ_ERROR | 1u << SIM_READ_CORRUPT | 1u << SIM_READ_MISDIRECTED | 1u << SIM_READ_STALE | \
	       1u << SIM_WRITE_ERROR | 1u << SIM_WRITE_SHORT | 1u << SIM_WRITE_LOST | 1u << SIM_WRITE_MISDIRECTED | \
	       1u << SIM_FLUSH_ERROR | 1u << SIM_FLUSH_LIE | 1u << SIM_SLOW | 1u << SIM_HANG | 1u << SIM_HANG_LATE)

static bool allow_fault(void *argument, const struct sim_fault_event *event)
{
	struct world *world = argument;

	return (world->suspects | world->log_suspects) >> event->disk->index & 1;
}

void faults_init(struct world *world)
{
	world->set->hooks.argument = world;
	world->set->hooks.allow_fault = allow_fault;
}

struct sim_disk *faults_victim(struct world *world)
{
	uint32_t active = world->suspects & ~world->retired;
	unsigned suspects = (unsigned)__builtin_popcount(world->suspects), count = world->set->count;
	unsigned index = (unsigned)sim_random_below(&world->random, count);

	while ((world->retired | world->log_disks) >> index & 1)
		index = (index + 1) % count;
	if (world->suspects >> index & 1)
		return world->set->disks[index];
	if (suspects + world->rot_columns < world->plan.m) {
		world->suspects |= 1u << index;
		return world->set->disks[index];
	}
	if (!active)
		return NULL;
	while (!(active >> index & 1))
		index = (index + 1) % count;
	return world->set->disks[index];
}

static enum sim_fault draw_fault(struct world *world)
{
	uint32_t kinds = world->plan.fault_kinds;
	unsigned skip = (unsigned)sim_random_below(&world->random, (uint64_t)__builtin_popcount(kinds));

	while (skip--)
		kinds &= kinds - 1;
	return (enum sim_fault)__builtin_ctz(kinds);
}

/* Spoils cells that hold something, on one column of each of some rows. */
static void rot_somewhere(struct world *world)
{
	struct alloc *alloc = core_alloc(world->core);
	const struct geometry *geometry = alloc_geometry(alloc);
	uint32_t segments = alloc_segment_count(alloc);

	if (world->suspects || world->rot_columns > 1 || !segments)
		return;
	for (unsigned i = 0; i < 20; i++) {
		struct segment *segment = alloc_segment(alloc, (uint32_t)sim_random_below(&world->random, segments));
		unsigned row = (unsigned)sim_random_between(&world->random, 1, geometry->rows - 1);

		if (!segment || !segment->bits || row >= segment->record.rows_used)
			continue;
		/* The same column for all rows of a segment, so that no row has two. */
		unsigned column = (unsigned)(hash_u64(segment->id ^ world->plan.seed) % (segment->record.k + segment->record.m));
		struct segment_column where = segment->record.columns[column];

		struct sim_disk *disk = where.disk == DISK_ABSENT ? NULL : world_disk(world, where.disk);

		if (!disk)
			continue;
		sim_disk_rot(disk, store_cell_offset(core_store(world->core), where.au, row));
		world->rot_columns = 1;
		world->statistics.faults++;
	}
}

static void rot_on(struct world *world, struct sim_disk *disk, bool unreadable)
{
	for (unsigned i = 0; i < 30; i++) {
		/* The front of the disk: what is written first lies there. */
		uint64_t reach = sim_random_below(&world->random, 2) ? disk->size : UINT64_C(8) << 20;
		uint64_t offset = sim_random_below(&world->random, reach / SIM_CELL) * SIM_CELL;

		if (unreadable)
			sim_disk_set_unreadable(disk, offset, SIM_CELL * sim_random_between(&world->random, 1, 8));
		else
			sim_disk_rot(disk, offset);
	}
}

static void inject(struct world *world)
{
	enum sim_fault fault = draw_fault(world);
	struct sim_disk *disk;

	if (fault == SIM_ROT && !world->suspects && sim_random_below(&world->random, 2)) {
		rot_somewhere(world);
		return;
	}
	disk = faults_victim(world);
	if (!disk || !disk->present)
		return;
	world->statistics.faults++;
	sim_env_note(world->sim, "inject", (uint64_t)fault, disk->index, world->suspects);
	if (RATED >> fault & 1) {
		if (sim_random_below(&world->random, 2))
			disk->rates[fault] = (uint32_t)sim_random_between(&world->random, 1000, 200000);
		else
			sim_disk_fault(disk, fault, 0, 0, sim_random_below(&world->random, 30), sim_random_between(&world->random, 1, 5), 0);
	} else if (fault == SIM_VANISH) {
		sim_disk_vanish(disk, SIM_CRASH_ANY);
	} else {
		rot_on(world, disk, fault == SIM_UNREADABLE);
	}
}

static void fault_main(void *argument)
{
	struct world *world = argument;
	unsigned count = (unsigned)sim_random_below(&world->random, 7);

	for (unsigned i = 0; i < count && world->core; i++) {
		rt_sleep(world->rt, 1 + sim_random_below(&world->random, UINT64_C(1) << sim_random_between(&world->random, 14, 28)));
		if (world->core && world->clients_active)
			inject(world);
	}
}

void faults_start(struct world *world)
{
	if (world->plan.fault_kinds && rt_spawn(world->rt, "faults", fault_main, world))
		world_fail(world, "no memory for a fiber");
}

void faults_stop(struct world *world)
{
	for (unsigned i = 0; i < world->set->count; i++) {
		struct sim_disk *disk = world->set->disks[i];

		sim_disk_faults_clear(disk);
		sim_disk_release_hung(disk, sim_random_below(&world->random, 2));
	}
}

void faults_return_all(struct world *world)
{
	for (unsigned i = 0; i < world->set->count; i++) {
		if (!world->set->disks[i]->present && !(world->retired >> i & 1))
			sim_disk_return(world->set->disks[i]);
	}
}

void faults_forget(struct world *world)
{
	world->suspects = 0;
	logs_forget(world);
	world->rot_columns = 0;
	world->statistics.heals++;
}

void faults_between_boots(struct world *world)
{
	struct sim_disk *disk;

	if (!world->plan.fault_kinds)
		return;
	for (unsigned i = 0; i < world->set->count; i++) {
		disk = world->set->disks[i];
		if (!disk->present && !((world->retired | world->log_disks) >> i & 1) && sim_random_below(&world->random, 3) == 0)
			sim_disk_return(disk);
	}
	if (!(world->plan.fault_kinds >> SIM_VANISH & 1) || sim_random_below(&world->random, 3))
		return;
	disk = faults_victim(world);
	if (disk && disk->present) {
		sim_disk_vanish(disk, SIM_CRASH_ANY);
		world->statistics.faults++;
	}
}
