/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A pool that fills up says so: an event each time it gets fuller than one of a few levels. And what lacks redundancy for want of room gets it
 * when there is some.
 */
#include "libpool/pool/internal.h"

static const struct {
	unsigned percent, severity;
} levels[] = {{80, 1 /* warning */}, {90, 1}, {95, 2 /* error */}};
#define LEVELS (sizeof(levels) / sizeof(levels[0]))

/* A pool that goes up and down around a level tells it once. */
#define REARM_PERCENT 5u

/* How much of what people may use can't be written any more. What waits for its commits comes back by itself. */
static unsigned filled_percent(const struct engine *engine, const struct space *space)
{
	const struct geometry *geometry = alloc_geometry(core_alloc(engine->core));
	uint64_t usable, left;

	usable = space->usable_cells - space->reserve_cells;
	left = space->writable_cells + space->deferred_aus / (geometry->k + geometry->m) * geometry->k * (geometry->rows - 1u);
	return usable == 0 || left >= usable ? 0 : (unsigned)((usable - left) * 100 / usable);
}

static unsigned level_of(unsigned percent)
{
	unsigned level = 0;

	while (level < LEVELS && percent >= levels[level].percent)
		level++;
	return level;
}

/* Units have become free: some may be for columns that found none. */
static void look_for_room(struct engine *engine, const struct space *space)
{
	bool more = space->free_segments > engine->free_segments || space->deferred_aus < engine->deferred_aus;

	engine->free_segments = space->free_segments;
	engine->deferred_aus = space->deferred_aus;
	if (more && space->degraded_segments)
		jobs_kick(engine);
}

static void committed(void *argument)
{
	struct engine *engine = argument;
	struct space space;

	amplification_note(engine);
	core_space(engine->core, &space);
	unsigned percent = filled_percent(engine, &space), level = level_of(percent);

	if (level > engine->space_level) {
		const char *pool = core_label(engine->core)->name;

		engine_eventf(engine, levels[level - 1].severity, "pool.space", pool,
			      "%u %% of the usable space is taken: free some, or add a disk", percent);
		engine->space_level = level;
	}
	unsigned armed = level_of(percent + REARM_PERCENT);

	if (armed < engine->space_level)
		engine->space_level = armed;
	look_for_room(engine, &space);
	if (engine->autotrim)
		autotrim_ask(engine);
}

void space_attach(struct engine *engine)
{
	struct space space;

	/* What an earlier owner was told is in the history. */
	core_space(engine->core, &space);
	engine->space_level = level_of(filled_percent(engine, &space));
	amplification_note(engine);
	core_set_watcher(engine->core, committed, engine);
}
