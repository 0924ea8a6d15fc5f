/* SPDX-License-Identifier: BSD-2-Clause */
/* See compaction.h. Draws from a random stream of its own, so that histories without it stay what they are. */
#include "tests/sim/compaction.h"

#include <inttypes.h>

#include "libpool/store/store.h"
#include "libpool/txg/compact.h"

#define ATTEMPTS_MAX 200u

static unsigned running; /* fibers */
static struct sim_random draws;

static bool is_victim(struct world *world, uint32_t id)
{
	const struct segment *segment = alloc_segment(core_alloc(world->core), id);

	return segment && segment->record.state == SEGMENT_FULL && segment->live && segment->record.class != CLASS_SYS &&
	       segment->record.class != CLASS_LOG;
}

/* The first victim from a segment on that is drawn, around; or 0 and none. */
static bool draw_victim(struct world *world, uint32_t *ret_id)
{
	uint32_t count = alloc_segment_count(core_alloc(world->core)), first = count ? (uint32_t)sim_random_below(&draws, count) : 0;

	for (uint32_t i = 0; i < count; i++) {
		*ret_id = (first + i) % count;
		if (is_victim(world, *ret_id))
			return true;
	}
	return false;
}

static void note_moved(struct world *world)
{
	static uint64_t before; /* of this import: its counters begin at 0 */
	uint64_t now = core_compact_counters(world->core)->blocks;

	world->statistics.blocks_moved += now >= before ? now - before : now;
	before = now;
}

static void compact_one(struct world *world)
{
	unsigned rows = alloc_geometry(core_alloc(world->core))->rows, first = 0, count = rows;
	struct core_compacted result;
	uint32_t id;

	if (!draw_victim(world, &id))
		return;
	if (sim_random_below(&draws, 3) == 0) {
		first = (unsigned)sim_random_below(&draws, rows);
		count = 1 + (unsigned)sim_random_below(&draws, rows);
	}
	world->statistics.compactions++;
	(void)core_compact(world->core, id, first, count, &result);
	if (sim_random_below(&draws, 3) == 0)
		(void)core_commit_forced(world->core);
	note_moved(world);
}

/* Segments of these sizes hardly ever fill up in a history: what is open is closed early. */
static void close_early(struct world *world)
{
	static const enum segment_class classes[] = {CLASS_META, CLASS_HOT, CLASS_COLD, CLASS_SURV};

	store_retire(core_store(world->core), classes[sim_random_below(&draws, 4)]);
}

static void compaction_main(void *argument)
{
	struct world *world = argument;

	while (world->clients_active) {
		rt_sleep(world->rt, 1 + sim_random_below(&draws, UINT64_C(1) << sim_random_between(&draws, 18, 28)));
		if (!world->clients_active)
			break;
		if (sim_random_below(&draws, 3) == 0)
			close_early(world);
		compact_one(world);
	}
	running--;
}

void compaction_start(struct world *world)
{
	running = 0;
	if (!world->plan.compacts)
		return;
	sim_random_stream(&draws, world->plan.seed, "compaction", world->boot);
	running = 1;
	if (rt_spawn(world->rt, "compaction", compaction_main, world))
		world_fail(world, "no memory for a fiber");
}

void compaction_wait(struct world *world)
{
	while (running)
		rt_sleep(world->rt, NS_PER_MS);
}

void compaction_all(struct world *world)
{
	uint32_t count = alloc_segment_count(core_alloc(world->core));
	struct core_compacted result = {0};

	for (uint32_t id = 0; id < count && world->plan.compacts; id++) {
		int status = 0;

		for (unsigned attempt = 0; is_victim(world, id); attempt++) {
			status = core_compact(world->core, id, 0, UINT16_MAX, &result);
			if (status == 0 || attempt == ATTEMPTS_MAX)
				break;
			if (core_commit_forced(world->core))
				world_fail(world, "a commit of what was compacted failed");
			if (status == -EBUSY)
				rt_sleep(world->rt, NS_PER_S);
		}
		if (status || result.left_cells)
			world_fail(world, "segment %u can't be compacted: %s, %" PRIu64 " cells left", id, pool_error_string(status), result.left_cells);
		if (core_commit_forced(world->core))
			world_fail(world, "a commit of what was compacted failed");
		result = (struct core_compacted){0};
	}
	if (world->plan.compacts)
		note_moved(world);
}
