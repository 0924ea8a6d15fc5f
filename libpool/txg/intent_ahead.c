/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Blocks that a group of the log names instead of containing them: they are written at the same time as the group, where
 * they stay, and the commit of their txg takes them over.
 *
 * What must always hold: a group is acknowledged when its blocks have all their columns, as when it has all its copies; one of
 * which a block can't be written is no group, and the commit writes its blocks anew. The sync of a txg begins with no such write of
 * that txg under way.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "libpool/base/check.h"
#include "libpool/txg/internal.h"

#define BLOCK_BYTES_MIN (16u << 10)
#define SEGMENTS_MAX_AHEAD 64u
#define SHARE 64u                      /* of the pool's capacity */
#define BYTES_MAX (UINT64_C(64) << 20) /* an import reads what lies there */
#define IDLE_COMMITS_MAX 16u

bool core_log_takes_blocks(struct intent_group *group, uint64_t size)
{
	struct intent *intent = &group->core->intent;

	/* A log disk is there to be waited for instead of the others. */
	if (!group->takes_blocks || size < BLOCK_BYTES_MIN || intent_is_on_log_disks(group->core))
		return false;
	intent->ahead_wanted = true;
	return store_ahead_possible(group->core->store);
}

int core_log_add_block(struct intent_group *group, const struct intent_record *record, struct ahead_block *block)
{
	struct intent_ahead ahead = { *record, block };
	int status = array_push(&group->aheads, &ahead);

	if (status < 0)
		ahead_block_unref(block);
	else if (record->txg > group->txg)
		group->txg = record->txg;
	return status;
}

/* Whether the group can still be written to the log that it was gathered for. */
static bool log_is_there(const struct core *core)
{
	return core->intent.active && !core->halted && intent_is_whole(core);
}

static int add_records(struct intent_group *group)
{
	int status = 0;

	for (size_t i = 0; i < group->aheads.count && status == 0; i++) {
		struct intent_ahead *ahead = array_at(&group->aheads, struct intent_ahead, i);
		const struct block_pointer *pointer = &ahead->block->pointer;
		if (pointer->dva) {
			ahead->record.type = INTENT_PLACED;
			block_pointer_encode(pointer, &ahead->record.pointer);
			group->core->intent.counters.placed++;
		} else if (block_pointer_is_hole(pointer) && pointer->flags & BP_HOLE) {
			ahead->record.type = INTENT_ZERO;
		} else {
			ahead->record.type = INTENT_WRITE;
			ahead->record.content = ahead->block->data->data;
		}
		status = core_log_add(group, &ahead->record);
		if (!pointer->dva)
			ahead_block_is_logged(ahead->block);
	}
	return status;
}

int intent_ahead_write(struct core *core, struct intent_group *group, struct store_ahead_write *write)
{
	size_t count = group->aheads.count;
	struct ahead_block **blocks = calloc(count, sizeof(*blocks));
	unsigned placed = 0;
	int status = blocks ? 0 : -ENOMEM;

	for (size_t i = 0; i < count && blocks; i++)
		blocks[i] = array_at(&group->aheads, struct intent_ahead, i)->block;
	if (status == 0)
		status = block_ahead_prepare(core->blocks, blocks, count);
	if (status == 0 && !log_is_there(core))
		status = -ENOSPC;
	for (size_t i = 0; i < count && status == 0; i++)
		if (blocks[i]->payload)
			blocks[placed++] = blocks[i];
	/* Before anything goes to where it would stay: what is given up there takes its segment with it. */
	if (status == 0 && !intent_has_place(core, group, placed, INTENT_PLACED_SIZE))
		status = -ENOSPC;
	if (status == 0)
		status = store_ahead_place(core->store, blocks[0]->txg, blocks, placed, write);
	free(blocks);
	return status < 0 ? status : add_records(group);
}

void intent_ahead_settle(struct core *core, uint64_t txg)
{
	while (core->intent.ahead_txg && core->intent.ahead_txg <= txg)
		rt_queue_wait(core->rt, &core->intent.ended);
}

/* Segments of which the data of one txg, and what comes during its sync, should do. */
static unsigned segments_wanted(const struct core *core)
{
	const struct geometry *geometry = alloc_geometry(core->alloc);
	uint64_t bytes = core->space.usable_cells * CELL_SIZE / SHARE;
	uint64_t segment = (uint64_t)geometry->k * (geometry->rows - 1u) * CELL_SIZE;
	uint64_t count = (bytes < BYTES_MAX ? bytes : BYTES_MAX) / segment;

	return count < 1 ? 1 : count > SEGMENTS_MAX_AHEAD ? SEGMENTS_MAX_AHEAD : (unsigned)count;
}

int intent_ahead_sync(struct core *core)
{
	struct intent *intent = &core->intent;
	unsigned there = store_ahead_segments(core->store), wanted = there;
	bool asked = intent->ahead_wanted;

	if (intent_is_kept(core, core->syncing_txg))
		return 0;
	store_ahead_release(core->store);
	intent->ahead_idle = intent->ahead_wanted ? 0 : intent->ahead_idle + 1;
	if (core->stopping)
		wanted = 0;
	else if (intent->ahead_wanted)
		wanted = segments_wanted(core);
	else if (intent->ahead_idle > IDLE_COMMITS_MAX)
		wanted = 0;
	intent->ahead_wanted = false;
	while (wanted > there && !intent_has_room(core, wanted - there))
		wanted--;
	/* The pool fills up: what is empty is better used for what comes. */
	if (there && !intent_has_room(core, 1))
		wanted = 0;
	int status = store_ahead_keep(core->store, wanted);
	intent->ahead_refused = asked && store_ahead_segments(core->store) == 0;
	return status;
}

bool intent_ahead_is_left(const struct core *core)
{
	return !core->intent.replay_due && store_ahead_any(core->store);
}

bool intent_ahead_pressing(const struct core *core)
{
	return core->intent.active && core->intent.ahead_wanted && !core->intent.ahead_refused && store_ahead_segments(core->store) == 0;
}
