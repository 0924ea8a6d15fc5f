/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The intent log at import: which blocks count, and making their changes again.
 *
 * What must always hold: all or nothing of each group, and no group after one that is missing; until the changes are committed
 * the log on disk stays as it is, so that a crash at any time leaves the next import the same work. A log that lacks what was
 * acknowledged is damage: nobody goes on without saying so.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "libpool/base/check.h"
#include "libpool/txg/internal.h"

struct reading {
	struct core *core;
	const struct uberblock_log *log;
	struct array found; /* struct intent_part */
	uint64_t acknowledged; /* the highest that any block knows of */
	/* Of each segment: rows that can be read in no copy. */
	uint64_t lost[UBERBLOCK_LOG_SEGMENTS_MAX][STORE_ROW_WORDS];
	struct array torn; /* struct torn_block */
	unsigned head, row; /* where the block would begin that comes after the last one in sequence */
	uint64_t next;      /* its number */
};

/* A header that can be read, of a block of which rows can't. */
struct torn_block {
	unsigned segment, row;
	uint64_t sequence;
};

static int compare_parts(const void *a, const void *b)
{
	const struct intent_part *x = a, *y = b;

	return x->block.sequence < y->block.sequence ? -1 : x->block.sequence > y->block.sequence;
}

static int ignore_record(void *argument, const struct intent_record *record)
{
	(void)argument, (void)record;
	return 0;
}

/* The blocks of one copy of a segment; `taken`: rows where another copy had one. */
static int scan_copy(struct reading *reading, unsigned index, const struct buffer *copy, uint64_t *taken)
{
	size_t rows = copy->size / CELL_SIZE + 1, step;

	for (size_t row = 1; row < rows; row += step) {
		const uint8_t *raw = copy->data + (row - 1) * CELL_SIZE;
		struct intent_part part = { .segment = index, .row = (uint16_t)row };
		bool whole = intent_block_decode(raw, (rows - row) * CELL_SIZE, &reading->core->label->pool, &part.block) == 0;
		step = 1;
		if (!whole && intent_block_peek(raw, (rows - row) * CELL_SIZE, &reading->core->label->pool, &part.block) < 0)
			continue;
		if (part.block.generation != reading->log->generation)
			continue;
		if (!whole) {
			struct torn_block torn = { index, (unsigned)row, part.block.sequence };
			if (bitmap_count(reading->lost[index], row, intent_block_cells(part.block.payload_bytes)) &&
			    array_push(&reading->torn, &torn) < 0)
				return -ENOMEM;
			continue;
		}
		step = intent_block_cells(part.block.payload_bytes);
		if (part.block.acknowledged > reading->acknowledged)
			reading->acknowledged = part.block.acknowledged;
		if (part.block.sequence < reading->log->first_seq || bitmap_get(taken, row))
			continue;
		bitmap_set(taken, row);
		part.buffer = buffer_new_copy(raw, step * CELL_SIZE);
		if (!part.buffer || array_push(&reading->found, &part) < 0) {
			buffer_unref(part.buffer);
			return -ENOMEM;
		}
	}
	return 0;
}

static int scan_segment(struct reading *reading, unsigned index)
{
	struct store_log_copies *copies = malloc(sizeof(*copies));
	uint64_t taken[STORE_ROW_WORDS] = { 0 };

	if (!copies)
		return -ENOMEM;
	int status = store_log_read(reading->core->store, reading->log->segments[index], copies);
	memcpy(reading->lost[index], copies->lost, sizeof(copies->lost));
	for (unsigned c = 0; c < SYS_COLUMNS_MAX && status == 0; c++)
		if (copies->copies[c])
			status = scan_copy(reading, index, copies->copies[c], taken);
	store_log_copies_release(copies);
	free(copies);
	return status;
}

/*
 * Whether the end of the log can be told from a loss. The block that would come next begins where the last one ends, or in the
 * next segment, if it found no room there; a row that was not written since can be read as what it was before, and if that was a
 * block its number was another one.
 */
static bool may_begin(const struct reading *reading, unsigned segment, unsigned row)
{
	if (bitmap_get(reading->lost[segment], row))
		return true;
	for (size_t i = 0; i < reading->torn.count; i++) {
		const struct torn_block *torn = array_at(&reading->torn, struct torn_block, i);
		if (torn->segment == segment && torn->row == row && torn->sequence == reading->next)
			return true;
	}
	return false;
}

static bool end_is_known(const struct reading *reading)
{
	const struct geometry *geometry = alloc_geometry(reading->core->alloc);
	unsigned next = (reading->head + 1) % reading->log->segment_count;

	if (reading->row < geometry->rows && may_begin(reading, reading->head, reading->row))
		return false;
	return reading->row + INTENT_BLOCK_CELLS_MAX <= geometry->rows || !may_begin(reading, next, 1);
}

/* Keeps the groups that are whole, from first_seq on without a gap. *ret_complete: the last block of them. */
static int keep_groups(struct reading *reading, uint64_t *ret_complete)
{
	struct intent *intent = &reading->core->intent;
	uint64_t next = reading->log->first_seq;
	size_t kept = 0;
	const struct intent_part *before = NULL;

	*ret_complete = next - 1;
	reading->head = reading->log->head;
	reading->row = reading->log->row;
	if (reading->found.count)
		qsort(reading->found.items, reading->found.count, sizeof(struct intent_part), compare_parts);
	for (size_t i = 0; i < reading->found.count; i++) {
		struct intent_part *part = array_at(&reading->found, struct intent_part, i);
		if (part->block.sequence < next) /* the same block, found twice */
			continue;
		bool first = !before || before->block.flags & INTENT_GROUP_LAST;
		if (part->block.sequence > next || first != !!(part->block.flags & INTENT_GROUP_FIRST) ||
		    (before && memcmp(&part->block.previous, &before->block.checksum, sizeof(struct hash128)) != 0))
			break;
		int status = intent_records_each(part->buffer->data, &part->block, ignore_record, NULL);
		if (status < 0)
			return status;
		before = part;
		if (array_push(&intent->replay, part) < 0)
			return -ENOMEM;
		(void)buffer_ref(part->buffer);
		if (part->block.flags & INTENT_GROUP_LAST) {
			*ret_complete = next;
			kept = intent->replay.count;
		}
		next++;
		reading->head = part->segment;
		reading->row = part->row + intent_block_cells(part->block.payload_bytes);
	}
	reading->next = next;
	while (intent->replay.count > kept)
		buffer_unref(array_at(&intent->replay, struct intent_part, --intent->replay.count)->buffer);
	return 0;
}

static int damaged(const struct core *core, uint64_t sequence, struct pool_error *error)
{
	return pool_error_set(error, -POOL_EDAMAGED,
			      "pool %s: its intent log can't be read from block %llu on: flushed changes would be lost; attach missing "
			      "disks, or give up what came after txg %llu with --rewind=%llu",
			      core->label->name, (unsigned long long)sequence, (unsigned long long)core->uberblock.txg,
			      (unsigned long long)core->uberblock.txg);
}

static int read_log(struct reading *reading, struct pool_error *error)
{
	struct core *core = reading->core;
	uint64_t complete = 0;
	int status = 0;

	for (unsigned i = 0; i < core->intent.segment_count && status == 0; i++)
		status = scan_segment(reading, i);
	if (status == 0)
		status = keep_groups(reading, &complete);
	if (status < 0)
		return pool_error_set(error, status, "pool %s: its intent log can't be read: %s", core->label->name,
				      pool_error_string(status));
	if (reading->acknowledged > complete || !end_is_known(reading))
		return damaged(core, complete + 1, error);
	core->intent.replay_due = core->intent.replay.count > 0;
	return 0;
}

int intent_load(struct core *core, bool discard, struct pool_error *error)
{
	struct intent *intent = &core->intent;
	const struct uberblock_log *log = &core->uberblock.log;

	for (unsigned i = 0; i < log->segment_count; i++) {
		const struct segment *segment = alloc_segment(core->alloc, log->segments[i]);
		if (!segment || segment->record.state != SEGMENT_LOG)
			return pool_error_set(error, -POOL_EFORMAT, "pool %s: segment %u of its intent log is none", core->label->name,
					      log->segments[i]);
		intent->segments[intent->segment_count++].id = log->segments[i];
	}
	if (log->segment_count && log->row > alloc_geometry(core->alloc)->rows)
		return pool_error_set(error, -POOL_EFORMAT, "pool %s: its intent log begins in row %u of %u", core->label->name, log->row,
				      alloc_geometry(core->alloc)->rows);
	if (discard || intent->segment_count == 0)
		return 0;
	struct reading *reading = calloc(1, sizeof(*reading));
	if (!reading)
		return pool_error_set(error, -ENOMEM, "out of memory");
	reading->core = core;
	reading->log = log;
	array_init(&reading->found, sizeof(struct intent_part));
	array_init(&reading->torn, sizeof(struct torn_block));
	int status = read_log(reading, error);
	for (size_t i = 0; i < reading->found.count; i++)
		buffer_unref(array_at(&reading->found, struct intent_part, i)->buffer);
	array_release(&reading->found);
	array_release(&reading->torn);
	free(reading);
	return status;
}

struct replay {
	struct core *core;
	uint64_t txg;
	int (*apply)(void *argument, uint64_t txg, const struct intent_record *record);
	void *argument;
};

static int replay_record(void *argument, const struct intent_record *record)
{
	struct replay *replay = argument;
	struct core *core = replay->core;

	if (record->txg <= core->uberblock.log.base_txg)
		return 0;
	core->intent.counters.replayed++;
	return replay->apply(replay->argument, replay->txg, record);
}

static int replay_blocks(struct replay *replay)
{
	struct array *parts = &replay->core->intent.replay;
	int status = 0;

	for (size_t i = 0; i < parts->count && status == 0; i++) {
		const struct intent_part *part = array_at(parts, struct intent_part, i);
		status = intent_records_each(part->buffer->data, &part->block, replay_record, replay);
	}
	return status;
}

static void forget_blocks(struct core *core)
{
	struct array *parts = &core->intent.replay;

	for (size_t i = 0; i < parts->count; i++)
		buffer_unref(array_at(parts, struct intent_part, i)->buffer);
	array_clear(parts);
}

int core_replay(struct core *core, int (*apply)(void *argument, uint64_t txg, const struct intent_record *record), void *argument)
{
	struct replay replay = { .core = core, .txg = core->open_txg, .apply = apply, .argument = argument };

	if (!core->intent.replay_due)
		return 0;
	if (core->read_only) {
		int status = replay_blocks(&replay);
		forget_blocks(core);
		return status;
	}
	/* What was promised to the writers is promised to them still: the floors stand for it if need be. */
	int status = core_hold(core, 0, &replay.txg);
	if (status < 0)
		return status;
	status = replay_blocks(&replay);
	/* The handle holds the txg open: its commit is the first that may give up the log. */
	if (status == 0)
		core->intent.replay_due = false;
	else /* half of it must not be committed */
		core_halt(core, "the changes of the intent log can't be made again");
	core_release(core, replay.txg);
	if (status < 0)
		return status;
	forget_blocks(core);
	return core_commit_forced(core);
}
