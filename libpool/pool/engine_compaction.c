/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the compactor does, for people: what it has moved, what each byte of content costs in bytes written, and whether it keeps up. Since the import,
 * and over the last minute, of which a few samples are kept, taken after commits: all that is counted here is counted by these.
 */
#include "libpool/pool/internal.h"
#include "libpool/txg/compact.h"

#define SAMPLE_NS (5 * NS_PER_S)
#define MINUTE_NS (60 * NS_PER_S)

static struct compaction_sample look(struct engine *engine)
{
	const struct store_counters *counters = store_counters(core_store(engine->core));
	const struct label *label = core_label(engine->core);
	const struct core_compact_counters *compact = core_compact_counters(engine->core);
	struct compaction_sample now = {.time_ns = rt_now(engine->rt), .moved_cells = compact->cells, .waits = compact->rounds};
	uint64_t mirrored = 0;

	for (unsigned i = 0; i < STORE_PURPOSES; i++) {
		now.placed_cells += counters->placed[i];
		mirrored += counters->placed_sys[i];
	}
	/* SYS rows are copies, two even without parity: they take more than its share. */
	now.placed_cells += mirrored * (label->m ? label->m + 1u : 2u) * label->k / (label->k + label->m);
	now.data_cells = counters->placed[STORE_DATA];
	return now;
}

void compaction_note(struct engine *engine)
{
	struct compaction_sample now = look(engine), *newest = &engine->compaction[engine->compaction_next];

	if (newest->time_ns && now.time_ns - newest->time_ns < SAMPLE_NS)
		return;
	engine->compaction_next = (engine->compaction_next + 1) % COMPACTION_SAMPLES;
	engine->compaction[engine->compaction_next] = now;
}

/* As it was a minute ago, give or take what commits within five seconds did. Or at the import, if that was later. */
static struct compaction_sample minute_ago(const struct engine *engine, const struct compaction_sample *now)
{
	const struct compaction_sample *found = &engine->compaction[engine->compaction_next];

	for (unsigned i = 1; i < COMPACTION_SAMPLES && now->time_ns - found->time_ns < MINUTE_NS; i++) {
		const struct compaction_sample *older = &engine->compaction[(engine->compaction_next + COMPACTION_SAMPLES - i) % COMPACTION_SAMPLES];

		if (!older->time_ns)
			break;
		found = older;
	}
	return *found;
}

void compaction_fill(struct engine *engine, struct libpool_pool_info *info)
{
	const struct core_compact_counters *counters = core_compact_counters(engine->core);
	struct compaction_sample now = look(engine), before = minute_ago(engine, &now);
	uint64_t moving = core_compact_waiting(engine->core);

	info->placed_bytes = now.placed_cells * CELL_SIZE;
	info->data_bytes = now.data_cells * CELL_SIZE;
	info->minute_placed_bytes = (now.placed_cells - before.placed_cells) * CELL_SIZE;
	info->minute_data_bytes = (now.data_cells - before.data_cells) * CELL_SIZE;
	info->moved_blocks = counters->blocks;
	info->moved_bytes = counters->cells * CELL_SIZE;
	info->moving_bytes = moving;
	info->unmoved_bytes = (counters->died_cells + counters->crowded_cells) * CELL_SIZE;
	info->compaction = now.waits > before.waits ? LIBPOOL_COMPACTION_BEHIND :
			   moving || now.moved_cells > before.moved_cells ? LIBPOOL_COMPACTION_WORKING : LIBPOOL_COMPACTION_IDLE;
}
