/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What each byte of content costs in bytes written. Since the import, and over the last minute, of which a few samples are kept, taken after commits: all that
 * is counted here is counted by these.
 */
#include "libpool/pool/internal.h"
#include "libpool/txg/compact.h"

#define SAMPLE_NS (5 * NS_PER_S)
#define MINUTE_NS (60 * NS_PER_S)

static struct amplification_sample look(struct engine *engine)
{
	const struct store_counters *counters = store_counters(core_store(engine->core));
	const struct label *label = core_label(engine->core);
	struct amplification_sample now = {.time_ns = rt_now(engine->rt)};
	uint64_t mirrored = 0;

	for (unsigned i = 0; i < STORE_PURPOSES; i++) {
		now.placed_cells += counters->placed[i];
		mirrored += counters->placed_sys[i];
	}
	/* SYS rows are copies, two even without parity: they take more than its share. */
	now.placed_cells += mirrored * (label->m ? label->m + 1u : 2u) * label->k / (label->k + label->m);
	now.data_cells = counters->placed[STORE_DATA];
	now.moved_cells = core_compact_counters(engine->core)->cells;
	return now;
}

void amplification_note(struct engine *engine)
{
	struct amplification_sample now = look(engine), *newest = &engine->amplification[engine->amplification_next];

	if (newest->time_ns && now.time_ns - newest->time_ns < SAMPLE_NS)
		return;
	engine->amplification_next = (engine->amplification_next + 1) % AMPLIFICATION_SAMPLES;
	engine->amplification[engine->amplification_next] = now;
}

/* As it was a minute ago, give or take what commits within five seconds did. Or at the import, if that was later. */
static struct amplification_sample minute_ago(const struct engine *engine, const struct amplification_sample *now)
{
	const struct amplification_sample *found = &engine->amplification[engine->amplification_next];

	for (unsigned i = 1; i < AMPLIFICATION_SAMPLES && now->time_ns - found->time_ns < MINUTE_NS; i++) {
		const struct amplification_sample *older = &engine->amplification[(engine->amplification_next + AMPLIFICATION_SAMPLES - i) % AMPLIFICATION_SAMPLES];

		if (!older->time_ns)
			break;
		found = older;
	}
	return *found;
}

void amplification_fill(struct engine *engine, struct libpool_pool_info *info)
{
	struct amplification_sample now = look(engine), before = minute_ago(engine, &now);

	info->placed_bytes = now.placed_cells * CELL_SIZE;
	info->data_bytes = now.data_cells * CELL_SIZE;
	info->minute_placed_bytes = (now.placed_cells - before.placed_cells) * CELL_SIZE;
	info->minute_data_bytes = (now.data_cells - before.data_cells) * CELL_SIZE;
	info->moved_bytes = now.moved_cells * CELL_SIZE;
	info->minute_moved_bytes = (now.moved_cells - before.moved_cells) * CELL_SIZE;
}
