/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The intent log at import: which blocks count, and making their changes again.
 *
 * What must always hold: all or nothing of each group, and no group after one that is missing; until the changes are committed
 * the log on disk stays as it is, so that a crash at any time leaves the next import the same work. A log that lacks what was
 * acknowledged is damage: nobody goes on without saying so.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libpool/base/check.h"
#include "libpool/txg/internal.h"

struct reading {
	struct core *core;
	const struct uberblock_log *log;
	struct array found; /* struct intent_part */
	uint64_t acknowledged; /* the highest that any block knows of */
	/* Of each segment: rows that can be read in no copy that proves anything. */
	uint64_t lost[UBERBLOCK_LOG_SEGMENTS_MAX][STORE_ROW_WORDS];
	struct array torn; /* struct torn_block */
	unsigned head, row; /* where the block would begin that comes after the last one in sequence */
	uint64_t next;      /* its number */
	bool ended; /* by a block beside the log that was never written as a whole: nothing follows, and nothing can be hidden */
};

/* A header, of a block that isn't whole. */
struct torn_block {
	unsigned segment, row, cells;
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

/*
 * The blocks of one copy of a segment; `unreadable`: rows that it has from others; `taken`: by row, the block that another copy had there. A disk that
 * reads from somewhere else has blocks in rows that aren't theirs, and hides nothing that others have. *ret_any: it has one of this log, by itself.
 */
static int scan_copy(struct reading *reading, unsigned index, const struct buffer *copy, const uint64_t *unreadable, uint64_t *taken, bool *ret_any)
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
			struct torn_block torn = { index, (unsigned)row, intent_block_cells(part.block.payload_bytes), part.block.sequence };
			if (array_push(&reading->torn, &torn) < 0)
				return -ENOMEM;
			continue;
		}
		step = intent_block_cells(part.block.payload_bytes);
		*ret_any |= bitmap_count(unreadable, row, step) == 0;
		if (part.block.acknowledged > reading->acknowledged)
			reading->acknowledged = part.block.acknowledged;
		if (part.block.sequence < reading->log->first_seq || taken[row] == part.block.sequence)
			continue;
		taken[row] = part.block.sequence;
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
	uint64_t *taken = calloc(alloc_geometry(reading->core->alloc)->rows, sizeof(*taken)); /* no block has number 0 */

	if (!copies || !taken) {
		free(copies);
		free(taken);
		return -ENOMEM;
	}
	int status = store_log_read(reading->core->store, reading->log->segments[index], copies);
	memset(reading->lost[index], 0xff, sizeof(reading->lost[index]));
	for (unsigned c = 0; c < SYS_COLUMNS_MAX && status == 0; c++) {
		bool any = false;
		if (!copies->copies[c])
			continue;
		status = scan_copy(reading, index, copies->copies[c], copies->unreadable[c], taken, &any);
		/* Others may have lost more than what they have shows. */
		if (!copies->failed[c] && (!copies->foreign[c] || any))
			for (unsigned i = 0; i < STORE_ROW_WORDS; i++)
				reading->lost[index][i] &= copies->unreadable[c][i];
	}
	store_log_copies_release(copies);
	free(copies);
	free(taken);
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
		if (torn->segment == segment && torn->row == row && torn->sequence == reading->next &&
		    bitmap_count(reading->lost[segment], row, torn->cells))
			return true;
	}
	return false;
}

/* Where the block that would come next may be, and can't be read: in the segment `head`, in the one after it. */
static bool is_hidden(const struct reading *reading, bool after)
{
	unsigned rows = alloc_geometry(reading->core->alloc)->rows;

	if (after)
		return reading->row + INTENT_BLOCK_CELLS_MAX > rows && may_begin(reading, (reading->head + 1) % reading->log->segment_count, 1);
	return reading->row < rows && may_begin(reading, reading->head, reading->row);
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

/* ---- blocks that lie beside the log ---- */

#define VERIFY_AT_ONCE 32u
#define VERIFY_TRIES 4u

struct placed_block {
	struct block_pointer pointer;
	size_t group;      /* of the parts: where its group begins */
	uint64_t sequence; /* of that part */
};

struct verification {
	struct core *core;
	struct array blocks; /* struct placed_block, in order */
	size_t group, next;  /* next: to be verified */
	uint64_t sequence;
};

/* An import leaves the rows behind rows_used alone where the commit says that such blocks may be; anything else is a forgery. */
static bool may_be_placed(const struct core *core, const struct block_pointer *pointer)
{
	struct dva dva = dva_unpack(pointer->dva);
	const struct segment *segment = alloc_segment(core->alloc, dva.segment);

	return segment && segment->record.state == SEGMENT_OPEN && segment->record.flags & SEGMENT_AHEAD &&
	       dva.base >= segment->record.rows_used &&
	       dva_valid(dva, pointer->psect, segment->record.k, alloc_geometry(core->alloc)->rows);
}

static int note_placed(void *argument, const struct intent_record *record)
{
	struct verification *verification = argument;
	struct placed_block block = { .group = verification->group, .sequence = verification->sequence };

	if (record->type != INTENT_PLACED || record->txg <= verification->core->uberblock.log.base_txg)
		return 0;
	if (block_pointer_decode(&record->pointer, &block.pointer) < 0 || !may_be_placed(verification->core, &block.pointer))
		return -POOL_EFORMAT;
	return array_push(&verification->blocks, &block);
}

/*
 * 0; -POOL_ECHECKSUM: something else is there; -POOL_EDAMAGED: too little of it can be read to tell. Errors may pass, so it is asked for
 * more than once, but each answer is that of one read: cells that can be read now say nothing of those that a moment ago couldn't.
 */
static int verify_one(void *argument, unsigned index)
{
	struct verification *verification = argument;
	const struct placed_block *block = array_at(&verification->blocks, struct placed_block, verification->next + index);
	int status = -POOL_EDAMAGED;

	for (unsigned i = 0; i < VERIFY_TRIES && status == -POOL_EDAMAGED; i++) {
		struct buffer *payload = NULL;
		status = store_read(verification->core->store, &block->pointer, STORE_READ_TENTATIVE, &payload);
		buffer_unref(payload);
	}
	return status;
}

/* Ends the log before the first group of which a block isn't there. */
static int verify_all(struct verification *verification, struct reading *reading, uint64_t *complete)
{
	struct array *parts = &reading->core->intent.replay;
	int results[VERIFY_AT_ONCE], status = 0;

	for (unsigned count = 0; verification->next < verification->blocks.count && status == 0; verification->next += count) {
		size_t left = verification->blocks.count - verification->next;
		count = left < VERIFY_AT_ONCE ? (unsigned)left : VERIFY_AT_ONCE;
		run_each(reading->core->rt, "verify", count, verify_one, verification, results);
		for (unsigned i = 0; i < count && status == 0; i++) {
			const struct placed_block *block = array_at(&verification->blocks, struct placed_block, verification->next + i);
			status = results[i];
			if (status != -POOL_ECHECKSUM && status != -POOL_EDAMAGED && status != -POOL_EDEGRADED)
				continue;
			reading->ended = status == -POOL_ECHECKSUM;
			if (!reading->ended)
				reading->acknowledged = UINT64_MAX;
			*complete = block->sequence - 1;
			while (parts->count > block->group)
				buffer_unref(array_at(parts, struct intent_part, --parts->count)->buffer);
			return 0;
		}
	}
	return status;
}

static int verify_placed(struct reading *reading, uint64_t *complete)
{
	struct verification verification = { .core = reading->core };
	const struct array *parts = &reading->core->intent.replay;
	int status = 0;

	array_init(&verification.blocks, sizeof(struct placed_block));
	for (size_t i = 0; i < parts->count && status == 0; i++) {
		const struct intent_part *part = array_at(parts, struct intent_part, i);
		if (part->block.flags & INTENT_GROUP_FIRST) {
			verification.group = i;
			verification.sequence = part->block.sequence;
		}
		status = intent_records_each(part->buffer->data, &part->block, note_placed, &verification);
	}
	if (status == 0)
		status = verify_all(&verification, reading, complete);
	array_release(&verification.blocks);
	return status;
}

static int damaged(const struct core *core, uint64_t sequence, struct pool_error *error)
{
	return pool_error_set(error, -POOL_EDAMAGED,
			      "pool %s: its intent log can't be read from block %llu on: flushed changes would be lost; attach missing "
			      "disks, or give up what came after txg %llu with --rewind=%llu",
			      core->label->name, (unsigned long long)sequence, (unsigned long long)core->uberblock.txg,
			      (unsigned long long)core->uberblock.txg);
}

/* Of the log disks that had the part of the log with which the loss begins, and which now none has: how many, with the first of them. */
static unsigned lost_log_disks(const struct reading *reading, unsigned *ret_first)
{
	const struct core *core = reading->core;
	uint64_t counted[BITMAP_WORDS(DISKS_MAX)] = { 0 };
	unsigned count = 0;

	for (unsigned i = 0; i < 2; i++) {
		uint32_t id = reading->log->segments[(reading->head + i) % reading->log->segment_count];
		const struct segment_record *record = &alloc_segment(core->alloc, id)->record;
		if (!is_hidden(reading, i) || !store_log_is_on_log_disks(core->store, id))
			continue;
		for (unsigned c = 0; c < (unsigned)record->k + record->m; c++) {
			uint16_t index = record->columns[c].disk;
			if (index >= DISKS_MAX || bitmap_get(counted, index))
				continue;
			bitmap_set(counted, index);
			*ret_first = count == 0 || index < *ret_first ? index : *ret_first;
			count++;
		}
	}
	return count;
}

static int log_disks_lost(const struct core *core, unsigned count, unsigned first, struct pool_error *error)
{
	unsigned long long txg = core->uberblock.log.base_txg;
	char more[40] = "";

	if (count > 1)
		snprintf(more, sizeof(more), " and %u more", count - 1);
	return pool_error_set(error, -POOL_EDEGRADED,
			      "pool %s: log disk #%u%s %s missing or can't be read: what was flushed in txgs %llu and %llu would be lost; attach "
			      "%s, or give that up with --missing-log",
			      core->label->name, first, more, count > 1 ? "are" : "is", txg + 1, txg + 2, count > 1 ? "them" : "it");
}

/* The log has lost something. What comes before that counts, if what came after it is given up. */
static int judge_loss(struct reading *reading, bool missing, uint64_t complete, struct pool_error *error)
{
	struct core *core = reading->core;
	unsigned first = 0, count = lost_log_disks(reading, &first);

	if (count == 0)
		return damaged(core, complete + 1, error);
	if (!missing)
		return log_disks_lost(core, count, first, error);
	/* One was being committed, and one open. */
	return intent_note_loss(core, reading->log->base_txg + 1, reading->log->base_txg + 2, complete + 1 - reading->log->first_seq);
}

static int read_log(struct reading *reading, bool missing, struct pool_error *error)
{
	struct core *core = reading->core;
	uint64_t complete = 0;
	int status = 0;

	for (unsigned i = 0; i < core->intent.segment_count && status == 0; i++)
		status = scan_segment(reading, i);
	if (status == 0)
		status = keep_groups(reading, &complete);
	if (status == 0)
		status = verify_placed(reading, &complete);
	if (status < 0)
		return pool_error_set(error, status, "pool %s: its intent log can't be read: %s", core->label->name,
				      pool_error_string(status));
	if (reading->acknowledged > complete || (!reading->ended && (is_hidden(reading, false) || is_hidden(reading, true))))
		status = judge_loss(reading, missing, complete, error);
	core->intent.replay_due = status == 0 && core->intent.replay.count > 0;
	return status;
}

int intent_load(struct core *core, bool discard, bool missing, struct pool_error *error)
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
	/* Of no generation is what a clean export has left: nothing. */
	if (discard || intent->segment_count == 0 || log->generation == 0)
		return 0;
	struct reading *reading = calloc(1, sizeof(*reading));
	if (!reading)
		return pool_error_set(error, -ENOMEM, "out of memory");
	reading->core = core;
	reading->log = log;
	array_init(&reading->found, sizeof(struct intent_part));
	array_init(&reading->torn, sizeof(struct torn_block));
	int status = read_log(reading, missing, error);
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

/* Read again, so that the memory for all of them isn't needed twice. */
static int replay_placed(struct replay *replay, const struct intent_record *record)
{
	struct block_owner owner = { .objset = record->objset, .object = record->object, .block = record->offset / record->size };
	struct intent_record change = *record;
	struct block_pointer pointer;
	struct buffer *content;
	int status = block_pointer_decode(&record->pointer, &pointer);

	if (status < 0)
		return status;
	/* It was there a moment ago, if only just: what a power cut took from one disk isn't healed yet. So errors that pass are waited for here too. */
	status = -POOL_EDAMAGED;
	for (unsigned i = 0; i < VERIFY_TRIES && status == -POOL_EDAMAGED; i++)
		status = block_read(replay->core->blocks, &pointer, &owner, BLOCK_READ_NO_INSERT, NULL, NULL, &content);
	if (status < 0)
		return status;
	change.type = INTENT_WRITE;
	change.content = content->data;
	status = replay->apply(replay->argument, replay->txg, &change);
	buffer_unref(content);
	return status;
}

static int replay_record(void *argument, const struct intent_record *record)
{
	struct replay *replay = argument;
	struct core *core = replay->core;

	if (record->txg <= core->uberblock.log.base_txg)
		return 0;
	core->intent.counters.replayed++;
	return record->type == INTENT_PLACED ? replay_placed(replay, record) : replay->apply(replay->argument, replay->txg, record);
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
		status = intent_store_loss(core, replay.txg);
	if (status == 0) {
		core->intent.replay_txg = replay.txg;
		core->intent.replay_due = false;
	} else { /* half of it must not be committed */
		core_halt(core, "the changes of the intent log can't be made again");
	}
	core_release(core, replay.txg);
	if (status < 0)
		return status;
	forget_blocks(core);
	return core_commit_forced(core);
}
