/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Flushes: which wait for whom, and how a group of changes becomes blocks.
 *
 * What must always hold: a group contains every change that came before it and that no commit and no earlier group contains;
 * it is acknowledged when all copies of all its blocks are durable, and never before the group ahead of it. When a group
 * can't be written, whatever the reason, a commit of the open txg takes its place, and until then no further group begins.
 */
#include "libpool/txg/intent.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "libpool/base/check.h"
#include "libpool/txg/internal.h"

#define BLOCK_BYTES_FIRST (4 * CELL_SIZE)
#define COMPANY_NS_MAX (NS_PER_MS / 5)
#define COMPANY_LEFT_OUT_MAX 63u

void intent_init(struct intent *intent)
{
	*intent = (struct intent){ 0 };
	array_init(&intent->extents, sizeof(struct intent_extent));
	array_init(&intent->replay, sizeof(struct intent_part));
	array_init(&intent->pending.blocks, sizeof(struct intent_part));
	rt_queue_init(&intent->ended);
	rt_queue_init(&intent->company.complete);
}

static void parts_release(struct array *parts)
{
	for (size_t i = 0; i < parts->count; i++)
		buffer_unref(array_at(parts, struct intent_part, i)->buffer);
	array_release(parts);
}

void intent_release(struct intent *intent)
{
	array_release(&intent->extents);
	parts_release(&intent->replay);
	intent_group_release(&intent->pending);
}

/* ---- groups ---- */

void intent_group_init(struct intent_group *group, struct core *core, size_t cells_max)
{
	*group = (struct intent_group){ .core = core, .cells_max = cells_max };
	array_init(&group->blocks, sizeof(struct intent_part));
	array_init(&group->aheads, sizeof(struct intent_ahead));
}

void intent_group_release(struct intent_group *group)
{
	for (size_t i = 0; i < group->aheads.count; i++)
		ahead_block_unref(array_at(&group->aheads, struct intent_ahead, i)->block);
	array_release(&group->aheads);
	array_init(&group->aheads, sizeof(struct intent_ahead));
	parts_release(&group->blocks);
	array_init(&group->blocks, sizeof(struct intent_part));
	group->cells = 0;
	group->txg = 0;
}

/* Room for so many bytes more in the last block, or in a new one. */
static struct intent_part *part_with_room(struct intent_group *group, size_t bytes)
{
	struct intent_part *part = group->blocks.count ? array_at(&group->blocks, struct intent_part, group->blocks.count - 1) : NULL;

	if (!part || part->block.payload_bytes + bytes > INTENT_PAYLOAD_MAX) {
		struct intent_part fresh = { .buffer = buffer_new(BLOCK_BYTES_FIRST) };
		if (!fresh.buffer || array_push(&group->blocks, &fresh) < 0) {
			buffer_unref(fresh.buffer);
			return NULL;
		}
		group->cells++;
		part = array_at(&group->blocks, struct intent_part, group->blocks.count - 1);
	}
	size_t used = INTENT_HEADER_SIZE + part->block.payload_bytes, size = part->buffer->size;
	while (size < used + bytes)
		size *= 2;
	if (size > part->buffer->size) {
		struct buffer *grown = buffer_new(size);
		if (!grown)
			return NULL;
		memcpy(grown->data + INTENT_HEADER_SIZE, part->buffer->data + INTENT_HEADER_SIZE, part->block.payload_bytes);
		buffer_unref(part->buffer);
		part->buffer = grown;
	}
	return part;
}

static int append(struct intent_group *group, const struct intent_record *record)
{
	size_t bytes = intent_record_bytes(record);
	struct intent_part *part = part_with_room(group, bytes);

	if (!part)
		return -ENOMEM;
	group->cells -= intent_block_cells(part->block.payload_bytes);
	intent_record_encode(record, part->buffer->data + INTENT_HEADER_SIZE + part->block.payload_bytes);
	part->block.payload_bytes += (uint32_t)bytes;
	part->block.record_count++;
	group->cells += intent_block_cells(part->block.payload_bytes);
	if (record->txg > part->block.txg)
		part->block.txg = record->txg;
	if (record->txg > group->txg)
		group->txg = record->txg;
	return group->cells > group->cells_max ? -ENOSPC : 0;
}

int core_log_add(struct intent_group *group, const struct intent_record *record)
{
	struct intent_record piece = *record;
	int status = 0;

	if (record->type != INTENT_WRITE)
		return append(group, record); /* in one piece */
	while (piece.size && status == 0) {
		uint64_t left = piece.size, room = INTENT_PAYLOAD_MAX - INTENT_RECORD_SIZE;
		piece.size = left < room ? left : room;
		status = append(group, &piece);
		piece.content += piece.size;
		piece.offset += piece.size;
		piece.size = left - piece.size;
	}
	return status;
}

/* All that the txg has changed and no group has, in one step. */
static int gather(struct core *core, uint64_t txg, struct intent_group *group)
{
	struct intent *intent = &core->intent;
	int status = core->participant.gather ? core->participant.gather(core->participant.argument, txg, group) : 0;

	intent->gathered = intent->changes;
	intent->unlogged_bytes = 0;
	return status;
}

bool intent_gather_closing(struct core *core, uint64_t txg)
{
	struct intent *intent = &core->intent;

	intent_group_init(&intent->pending, core, intent_capacity_cells(core) / 4);
	return gather(core, txg, &intent->pending) == 0;
}

/* ---- writing ---- */

static int write_blocks(struct core *core, struct intent_group *group, struct store_ahead_write *ahead)
{
	struct store_log_run *runs = calloc(group->blocks.count, sizeof(*runs));
	struct store_log_block *blocks = calloc(group->blocks.count, sizeof(*blocks));
	unsigned count = 0;
	int status = runs && blocks ? 0 : -ENOMEM;

	for (size_t i = 0; i < group->blocks.count && status == 0; i++) {
		const struct intent_part *part = array_at(&group->blocks, struct intent_part, i);
		blocks[i] = (struct store_log_block){ part->buffer, intent_block_cells(part->block.payload_bytes) };
		/* Neighbours go out in one request. */
		const struct intent_part *before = part - 1;
		if (i && before->segment == part->segment && before->row + blocks[i - 1].cells == part->row)
			runs[count - 1].count++;
		else
			runs[count++] = (struct store_log_run){ part->segment, part->row, 1, &blocks[i] };
	}
	if (status == 0)
		status = store_log_write(core->store, runs, count, ahead);
	free(runs);
	free(blocks);
	return status;
}

/* From now on flushes are served by the commit of the open txg. */
static void give_up_on_log(struct core *core)
{
	core->intent.barrier_txg = core->open_txg;
	core->touched[core->open_txg & 1] = true;
}

/* A log that lacks a copy, or numbers of which some were never written, is of no use any more. */
static void group_failed(struct core *core, int status, bool numbered)
{
	core->intent.broken |= numbered || (status != -ENOSPC && status != -ENOMEM);
	core->intent.counters.fallbacks++;
	give_up_on_log(core);
}

/* To the disks; meanwhile a commit may have put another log in the place of this one. */
static int write_placed(struct core *core, struct intent_group *group, struct store_ahead_write *ahead, uint64_t covered)
{
	struct intent *intent = &core->intent;
	uint64_t generation = intent->generation, last = intent->next_sequence - 1;
	uint64_t began = rt_now(core->rt);

	int status = write_blocks(core, group, ahead);
	if (status < 0)
		return status;
	if (intent->generation == generation)
		intent->acknowledged = last;
	if (covered > intent->durable)
		intent->durable = covered;
	intent->counters.groups++;
	intent->counters.blocks += group->blocks.count;
	intent->counters.cells += group->cells;
	uint64_t took = rt_now(core->rt) - began;
	intent->counters.ns += took;
	intent->company.group_ns = intent->company.group_ns ? (3 * intent->company.group_ns + took) / 4 : took;
	return 0;
}

/* With what is written beside it. */
static int write_gathered(struct core *core, struct intent_group *group, struct store_ahead_write *ahead, uint64_t covered, bool *ret_placed)
{
	int status = group->aheads.count ? intent_ahead_write(core, group, ahead) : 0;

	if (status == 0)
		status = intent_is_whole(core) ? intent_place(core, group) : -EIO;
	*ret_placed = status == 0;
	return status == 0 ? write_placed(core, group, ahead, covered) : status;
}

/* Everything that no group has, as one group. A failure leaves it to the commit of the open txg. */
static void write_group(struct core *core)
{
	struct intent *intent = &core->intent;
	struct intent_group group = intent->pending;
	struct store_ahead_write ahead;
	bool placed = false;

	if (!group.core)
		intent_group_init(&group, core, intent_capacity_cells(core) / 4);
	intent_group_init(&intent->pending, NULL, 0);
	store_ahead_begin(&ahead);
	group.takes_blocks = true;
	bool fits = intent->unlogged_bytes / CELL_SIZE <= group.cells_max;
	int status = fits ? gather(core, core->open_txg, &group) : -ENOSPC;
	uint64_t covered = intent->gathered, generation = intent->generation;
	intent->writing = true;
	intent->ahead_txg = group.aheads.count ? core->open_txg : 0;
	if (status == 0 && group.blocks.count + group.aheads.count == 0)
		intent->durable = covered; /* nothing was changed after all */
	else if (status == 0)
		status = write_gathered(core, &group, &ahead, covered, &placed);
	store_ahead_end(core->store, &ahead, status == 0);
	/* What was on its way to a log that is gone is in the commit that made the next one. */
	if (status < 0 && intent->generation == generation)
		group_failed(core, status, placed);
	intent_group_release(&group);
	intent->writing = false;
	intent->ahead_txg = 0;
	intent->company.expected = intent->company.flushing;
	rt_queue_wake_all(core->rt, &intent->ended);
	if (intent_pressing(core))
		rt_queue_wake_all(core->rt, &core->sync_wake);
}

/* ---- flushes ---- */

void core_changed(struct core *core, uint64_t txg, uint64_t bytes)
{
	struct intent *intent = &core->intent;

	POOL_CHECK(txg == core->open_txg);
	intent->changes++;
	intent->unlogged_bytes += bytes;
}

void core_changed_unloggable(struct core *core, uint64_t txg)
{
	core->intent.changes++;
	if (txg > core->intent.barrier_txg)
		core->intent.barrier_txg = txg;
}

bool core_flush_is_commit(const struct core *core, uint64_t txg)
{
	return core->intent.barrier_txg >= txg;
}

void core_flush_by_commit(struct core *core)
{
	core_changed_unloggable(core, core->open_txg);
}

/* A step towards a log: the commit under way, or one of the open txg, which makes one. */
static int wait_without_log(struct core *core)
{
	struct intent *intent = &core->intent;

	if (core->syncing && (intent->switching || !core->touched[core->open_txg & 1])) {
		rt_queue_wait(core->rt, &core->changed);
		return 0;
	}
	intent->wanted = true;
	return core_commit_forced(core);
}

static int wait_barrier(struct core *core)
{
	if (core->intent.barrier_txg >= core->open_txg)
		return core_commit_forced(core);
	rt_queue_wait(core->rt, &core->changed);
	return 0;
}

/*
 * Of several that flush again and again, those that the last group served come back soon after it, when the others would have begun the next one: each
 * would then wait for two groups, of half of them. So whoever begins one waits for them, for less than a group takes; less and less often if nobody comes.
 */
static bool lacks_company(struct intent_company *company)
{
	if (company->flushing >= company->expected)
		return false;
	if (company->left_out == 0)
		return true;
	company->left_out--;
	return false;
}

static void await_company(struct core *core)
{
	struct intent_company *company = &core->intent.company;
	uint64_t most = company->group_ns * 3 / 4, until = rt_now(core->rt) + (most < COMPANY_NS_MAX ? most : COMPANY_NS_MAX);
	unsigned before = company->flushing;

	company->awaited = true;
	while (company->flushing < company->expected && rt_queue_wait_until(core->rt, &company->complete, until))
		continue;
	company->awaited = false;
	company->vain = company->flushing > before ? 0 : 2 * company->vain + 1;
	if (company->vain > COMPANY_LEFT_OUT_MAX)
		company->vain = COMPANY_LEFT_OUT_MAX;
	company->left_out = company->vain;
}

static bool may_begin_group(const struct core *core)
{
	const struct intent *intent = &core->intent;

	return !core->halted && !core->stopped && intent->barrier_txg <= core->committed_txg && intent->active && !intent->broken && !intent->writing;
}

static void begin_group(struct core *core, uint64_t mine)
{
	struct intent *intent = &core->intent;

	if (lacks_company(&intent->company))
		await_company(core);
	/* A commit may have come meanwhile. */
	if (intent->durable < mine && may_begin_group(core))
		write_group(core);
	else
		rt_queue_wake_all(core->rt, &intent->ended);
}

static int flush_up_to(struct core *core, uint64_t mine)
{
	struct intent *intent = &core->intent;
	bool waited = false;

	while (intent->durable < mine) {
		int status = 0;

		if (core->halted || core->stopped)
			return -POOL_EHALTED;
		intent->used = true;
		if (intent->barrier_txg > core->committed_txg)
			status = wait_barrier(core);
		else if (!intent->active || intent->broken)
			status = wait_without_log(core);
		else if (intent->writing || intent->company.awaited)
			rt_queue_wait(core->rt, &intent->ended);
		else if (!waited && rt_others_run(core->rt)) {
			waited = true; /* who came together is served by one group, not the first one by its own */
			rt_yield(core->rt);
		} else {
			begin_group(core, mine);
		}
		if (status < 0)
			return status;
	}
	return core->halted ? -POOL_EHALTED : 0;
}

static void count_flush(struct core_log_counters *counters, uint64_t ns)
{
	unsigned i = 0;

	while (i + 1 < CORE_FLUSH_TIMES && ns >> i >= NS_PER_MS / 1000)
		i++;
	counters->flush_times[i]++;
	counters->flushes++;
}

int core_flush(struct core *core)
{
	struct intent *intent = &core->intent;
	uint64_t mine = intent->changes, began = rt_now(core->rt);

	POOL_CHECK(rt_may_block(core->rt));
	if (core->read_only)
		return 0;
	if (intent->durable >= mine)
		return core->halted ? -POOL_EHALTED : 0;
	struct intent_company *company = &intent->company;
	if (++company->flushing >= company->expected && company->awaited)
		rt_queue_wake_all(core->rt, &company->complete);
	int status = flush_up_to(core, mine);
	company->flushing--;
	if (status == 0)
		count_flush(&intent->counters, rt_now(core->rt) - began);
	return status;
}

const struct core_log_counters *core_log_counters(const struct core *core)
{
	return &core->intent.counters;
}

uint64_t core_log_capacity(const struct core *core)
{
	return core->intent.active ? (uint64_t)intent_capacity_cells(core) * CELL_SIZE : 0;
}
