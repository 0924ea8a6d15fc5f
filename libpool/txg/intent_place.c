/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The segments of the intent log: a ring in which a commit frees what it contains.
 *
 * What must always hold: a row is written again only when all changes in its segment are in a committed txg, that is when an
 * uberblock that says so is durable; a log, or a new generation of one, is used only when an uberblock that lists it is
 * durable, and from the moment its txg closes until then no other is used, as that uberblock would disown what is in it.
 */
#include <errno.h>
#include <string.h>

#include "libpool/base/check.h"
#include "libpool/txg/internal.h"

#define SHARE 64u                       /* of the pool's capacity */
#define BYTES_MAX (UINT64_C(64) << 20)  /* an import keeps what the log holds in memory */

static unsigned rows_of_segment(const struct core *core)
{
	return alloc_geometry(core->alloc)->rows - 1u;
}

size_t intent_capacity_cells(const struct core *core)
{
	return (size_t)core->intent.segment_count * rows_of_segment(core);
}

static bool is_free(const struct core *core, const struct intent_segment *segment)
{
	return segment->txg <= core->committed_txg;
}

bool intent_is_on_log_disks(const struct core *core)
{
	return core->intent.segment_count && store_log_is_on_log_disks(core->store, core->intent.segments[0].id);
}

/* What was flushed may have no other copy than in memory: a commit at once, not with the interval. */
static bool has_lost_log_disk(const struct core *core)
{
	return core->intent.active && !core->intent.switching && intent_is_on_log_disks(core) && !intent_is_whole(core);
}

bool intent_pressing(const struct core *core)
{
	const struct intent *intent = &core->intent;
	unsigned live = 0;

	for (unsigned i = 0; i < intent->segment_count; i++)
		live += !is_free(core, &intent->segments[i]);
	return intent_ahead_pressing(core) || (intent->active && live > intent->segment_count * 3 / 4) || has_lost_log_disk(core);
}

/* From the head on. */
struct ring_walk {
	unsigned head, row, entered;
};

/* Past the next block, if there is room for it. */
static bool step(const struct core *core, struct ring_walk *walk, size_t payload_bytes)
{
	const struct intent *intent = &core->intent;
	unsigned cells = intent_block_cells(payload_bytes);

	if (walk->row + cells > rows_of_segment(core) + 1) {
		walk->head = (walk->head + 1) % intent->segment_count;
		walk->row = 1;
		/* Not into what is needed, nor into what this group began with. */
		if (!is_free(core, &intent->segments[walk->head]) || ++walk->entered == intent->segment_count)
			return false;
	}
	walk->row += cells;
	return true;
}

/* Whether the blocks fit; with `take` they get their places. */
static bool walk_blocks(struct core *core, struct intent_group *group, bool take)
{
	struct intent *intent = &core->intent;
	struct ring_walk walk = { intent->head, intent->row, 0 };

	for (size_t i = 0; i < group->blocks.count; i++) {
		struct intent_part *part = array_at(&group->blocks, struct intent_part, i);
		if (!step(core, &walk, part->block.payload_bytes))
			return false;
		if (!take)
			continue;
		part->segment = intent->segments[walk.head].id;
		part->row = (uint16_t)(walk.row - intent_block_cells(part->block.payload_bytes));
		intent->segments[walk.head].txg = group->txg;
	}
	if (take) {
		intent->head = walk.head;
		intent->row = (uint16_t)walk.row;
	}
	return true;
}

bool intent_has_place(const struct core *core, const struct intent_group *group, size_t records, size_t record_bytes)
{
	struct ring_walk walk = { core->intent.head, core->intent.row, 0 };
	size_t payload = 0;

	for (size_t i = 0; i < group->blocks.count; i++) {
		payload = array_at(&group->blocks, struct intent_part, i)->block.payload_bytes;
		if (i + 1 < group->blocks.count && !step(core, &walk, payload))
			return false;
	}
	for (size_t i = 0; i < records; i++) {
		if (payload + record_bytes > INTENT_PAYLOAD_MAX) {
			if (!step(core, &walk, payload))
				return false;
			payload = 0;
		}
		payload += record_bytes;
	}
	return payload == 0 || step(core, &walk, payload);
}

int intent_place(struct core *core, struct intent_group *group)
{
	struct intent *intent = &core->intent;
	struct intent_extent extent = { intent->next_sequence, group->txg, 0, 0 };

	if (!walk_blocks(core, group, false))
		return -ENOSPC;
	if (array_reserve(&intent->extents, intent->extents.count + 1) < 0)
		return -ENOMEM;
	(void)walk_blocks(core, group, true);
	const struct intent_part *first = array_at(&group->blocks, struct intent_part, 0);
	while (intent->segments[extent.head].id != first->segment)
		extent.head++;
	extent.row = first->row;
	POOL_CHECK(array_push(&intent->extents, &extent) == 0);
	for (size_t i = 0; i < group->blocks.count; i++) {
		struct intent_part *part = array_at(&group->blocks, struct intent_part, i);
		part->block.pool = core->label->pool;
		part->block.generation = intent->generation;
		part->block.sequence = intent->next_sequence++;
		part->block.acknowledged = intent->acknowledged;
		part->block.previous = intent->previous;
		part->block.flags = (i == 0 ? INTENT_GROUP_FIRST : 0) | (i + 1 == group->blocks.count ? INTENT_GROUP_LAST : 0);
		intent_block_encode(&part->block, part->buffer->data);
		intent->previous = part->block.checksum;
	}
	return 0;
}

/* ---- with the commits ---- */

bool intent_is_whole(const struct core *core)
{
	for (unsigned i = 0; i < core->intent.segment_count; i++)
		if (!store_log_is_whole(core->store, core->intent.segments[i].id))
			return false;
	return true;
}

static uint64_t random_generation(struct core *core)
{
	uint64_t generation;

	rt_env(core->rt)->ops->random(rt_env(core->rt), &generation, sizeof(generation));
	return generation | 1; /* 0 means none */
}

bool intent_is_kept(const struct core *core, uint64_t txg)
{
	return core->intent.replay_due || txg < core->intent.replay_txg;
}

void intent_close(struct core *core, uint64_t txg)
{
	struct intent *intent = &core->intent;
	bool unlogged = intent->changes > intent->gathered;

	intent->closed = intent->changes;
	/* An import's log is not this one's: its first commit begins a new generation. */
	intent->switching = !intent_is_kept(core, txg) && (intent->segment_count || intent->wanted) &&
			    (!intent->active || intent->broken || !intent_is_whole(core));
	if (intent->switching)
		intent->active = false;
	bool used = intent->used;
	intent->used = false;
	if (!unlogged)
		return;
	/* What no group has is kept in one that nobody writes yet: a flush needn't wait for this commit. */
	bool kept = intent->active && used && intent->barrier_txg <= core->committed_txg &&
		    intent->unlogged_bytes / CELL_SIZE <= intent_capacity_cells(core) / 4 && intent_gather_closing(core, txg);
	if (!kept) {
		intent_group_release(&intent->pending);
		if (intent->barrier_txg < txg)
			intent->barrier_txg = txg;
	}
	intent->gathered = intent->changes;
	intent->unlogged_bytes = 0;
}

static unsigned segments_of(const struct core *core, unsigned most, uint64_t bytes)
{
	uint64_t segment = (uint64_t)rows_of_segment(core) * CELL_SIZE, count = (bytes < BYTES_MAX ? bytes : BYTES_MAX) / segment;

	return count < STORE_LOG_SEGMENTS_MIN ? STORE_LOG_SEGMENTS_MIN : count > most ? most : (unsigned)count;
}

static unsigned segments_wanted(const struct core *core)
{
	return segments_of(core, UBERBLOCK_LOG_SEGMENTS_MAX, core->space.usable_cells * CELL_SIZE / SHARE);
}

bool intent_has_room(const struct core *core, unsigned segments)
{
	const struct geometry *geometry = alloc_geometry(core->alloc);
	uint64_t promised = core->reserved_cells[0] + core->reserved_cells[1];
	uint64_t needed = (uint64_t)segments * geometry->k * rows_of_segment(core);

	uint64_t room = core->space.whole_cells < core->space.limit_cells ? core->space.whole_cells : core->space.limit_cells;

	return room > promised && room - promised > 2 * needed;
}

/* As many as there is room for; fewer than two are none. Without any, flushes are commits. */
static int make_segments(struct core *core)
{
	struct intent *intent = &core->intent;
	unsigned wanted = segments_wanted(core);
	int status = 0;

	uint64_t room = alloc_log_room(core->alloc);
	bool on_log_disks = room >= STORE_LOG_SEGMENTS_MIN;

	if (on_log_disks)
		wanted = segments_of(core, room < UBERBLOCK_LOG_SEGMENTS_MAX ? (unsigned)room : UBERBLOCK_LOG_SEGMENTS_MAX, BYTES_MAX);
	while (!on_log_disks && wanted > 2 && !intent_has_room(core, wanted))
		wanted /= 2;
	if (!on_log_disks && !intent_has_room(core, wanted))
		return 0;
	while (intent->new_count < wanted && status == 0) {
		status = store_open_log(core->store, on_log_disks, &intent->new_segments[intent->new_count]);
		intent->new_count += status == 0;
	}
	if (status < 0 && status != -ENOSPC)
		return status;
	while (intent->new_count == 1)
		alloc_log_release(core->alloc, intent->new_segments[--intent->new_count]);
	return 0;
}

int intent_sync(struct core *core)
{
	struct intent *intent = &core->intent;

	if (!intent->switching)
		return 0;
	intent->new_generation = random_generation(core);
	intent->new_count = 0;
	if (intent->segment_count && !intent->broken && intent_is_whole(core)) {
		for (unsigned i = 0; i < intent->segment_count; i++)
			intent->new_segments[intent->new_count++] = intent->segments[i].id;
		return 0;
	}
	/* After a failure the disks have to show first what they are worth: the next flush asks for another log. */
	for (unsigned i = 0; i < intent->segment_count; i++)
		alloc_log_release(core->alloc, intent->segments[i].id);
	return intent->wanted ? make_segments(core) : 0;
}

void intent_describe(struct core *core, uint64_t txg, struct uberblock_log *log)
{
	const struct intent *intent = &core->intent;

	if (intent_is_kept(core, txg))
		return;
	if (intent->switching) {
		*log = (struct uberblock_log){ 0 };
		if (intent->new_count == 0)
			return;
		*log = (struct uberblock_log){ .generation = intent->new_generation, .first_seq = 1, .base_txg = txg,
					       .segment_count = (uint16_t)intent->new_count, .row = 1 };
		memcpy(log->segments, intent->new_segments, intent->new_count * sizeof(log->segments[0]));
		return;
	}
	if (!intent->active)
		return;
	log->base_txg = txg;
	log->first_seq = intent->next_sequence;
	log->head = (uint16_t)intent->head;
	log->row = intent->row;
	for (size_t i = 0; i < intent->extents.count; i++) {
		const struct intent_extent *extent = array_at(&intent->extents, struct intent_extent, i);
		if (extent->txg <= txg)
			continue;
		log->first_seq = extent->first_sequence;
		log->head = extent->head;
		log->row = extent->row;
		return;
	}
}

void intent_describe_empty(const struct core *core, struct uberblock_log *log)
{
	if (!core->intent.active)
		return;
	log->base_txg = core->committed_txg;
	log->first_seq = core->intent.next_sequence;
	log->head = (uint16_t)core->intent.head;
	log->row = core->intent.row;
}

static void install(struct core *core)
{
	struct intent *intent = &core->intent;

	intent->switching = intent->wanted = intent->broken = false;
	intent->generation = intent->new_generation;
	intent->next_sequence = 1;
	intent->acknowledged = 0;
	intent->previous = (struct hash128){ { 0 } };
	intent->segment_count = intent->new_count;
	for (unsigned i = 0; i < intent->new_count; i++)
		intent->segments[i] = (struct intent_segment){ intent->new_segments[i], 0 };
	intent->head = 0;
	intent->row = 1;
	array_clear(&intent->extents);
	intent->active = intent->new_count > 0;
}

void intent_committed(struct core *core, uint64_t txg)
{
	struct intent *intent = &core->intent;
	size_t covered = 0;

	if (intent->closed > intent->durable)
		intent->durable = intent->closed;
	/* What was gathered at its end is of this txg alone. */
	intent_group_release(&intent->pending);
	intent_group_init(&intent->pending, NULL, 0);
	if (intent->switching) {
		install(core);
		return;
	}
	while (covered < intent->extents.count && array_at(&intent->extents, struct intent_extent, covered)->txg <= txg)
		covered++;
	if (covered == 0)
		return;
	intent->extents.count -= covered;
	memmove(intent->extents.items, array_at(&intent->extents, struct intent_extent, covered),
		intent->extents.count * sizeof(struct intent_extent));
}
