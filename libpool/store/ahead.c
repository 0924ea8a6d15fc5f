/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Blocks written ahead of their txg's sync: rows, stripes, and the batches that the sync closes.
 *
 * What must always hold: a stripe is written with its parity, whole, and counts as durable only with all columns, each on a
 * disk that is ONLINE; one that lacks a column is in no batch, and its rows are nobody's until the segment dies. A segment with
 * rows that no commit has stays OPEN, and its columns where they are. A batch has the rows of one txg, and the rows behind them for
 * its summary are set apart before the next txg takes any.
 */
#include "libpool/store/ahead.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "libpool/base/check.h"
#include "libpool/format/dva.h"
#include "libpool/store/internal.h"

#define WASTE_MAX 4u /* one cell in so many of a stripe may stay empty */

/* A stripe of a write under way. */
struct ahead_piece {
	struct batch *batch;
	struct stripe *stripe;
	unsigned blocks; /* the last ones of the batch */
};

struct ahead_block *ahead_block_new(struct buffer *data)
{
	struct ahead_block *block = calloc(1, sizeof(*block));

	if (block)
		*block = (struct ahead_block){ .references = 1, .data = buffer_ref(data) };
	return block;
}

void ahead_block_is_logged(struct ahead_block *block)
{
	buffer_unref(block->payload);
	block->payload = NULL;
	block->logged = true;
}

static void drop_content(struct ahead_block *block)
{
	buffer_unref(block->data);
	buffer_unref(block->payload);
	block->data = block->payload = NULL;
}

void ahead_block_unref(struct ahead_block *block)
{
	if (!block || --block->references > 0)
		return;
	drop_content(block);
	free(block);
}

/* ---- segments ---- */

static struct ahead_segment *segment_at(const struct store *store, size_t index)
{
	return array_at(&store->ahead_segments, struct ahead_segment, index);
}

static struct ahead_segment *segment_find(const struct store *store, uint32_t id)
{
	for (size_t i = 0; i < store->ahead_segments.count; i++)
		if (segment_at(store, i)->segment == id)
			return segment_at(store, i);
	return NULL;
}

/* Rows that no commit has. */
static bool has_batch(const struct store *store, uint32_t id)
{
	list_for_each(node, &store->ahead_batches)
		if (container_of(node, struct batch, node)->segment == id)
			return true;
	return false;
}

static void segment_forget(struct store *store, struct ahead_segment *segment)
{
	*segment = *segment_at(store, --store->ahead_segments.count);
}

static bool is_whole(const struct store *store, uint32_t id)
{
	const struct segment *segment = alloc_segment(store->alloc, id);

	if (segment->record.flags & SEGMENT_DEGRADED)
		return false;
	for (unsigned c = 0; c < (unsigned)segment->record.k + segment->record.m; c++) {
		uint16_t index = segment->record.columns[c].disk;
		const struct store_disk *disk = index == DISK_ABSENT ? NULL : &store->disks[index];
		if (!disk || !disk->disk || disk->state != DISK_ONLINE || disk->stale_from)
			return false;
	}
	return true;
}

bool store_ahead_possible(const struct store *store)
{
	for (size_t i = 0; i < store->ahead_segments.count; i++)
		if (segment_at(store, i)->usable && !segment_at(store, i)->retire)
			return true;
	return false;
}

unsigned store_ahead_segments(const struct store *store)
{
	unsigned count = 0;

	for (size_t i = 0; i < store->ahead_segments.count; i++)
		count += !segment_at(store, i)->retire;
	return count;
}

bool store_ahead_any(const struct store *store)
{
	return store->ahead_segments.count > 0;
}

static int open_one(struct store *store)
{
	struct ahead_segment segment = { .row = 1 };

	if (array_reserve(&store->ahead_segments, store->ahead_segments.count + 1) < 0)
		return -ENOMEM;
	int status = alloc_segment_open(store->alloc, CLASS_HOT, &segment.segment);
	if (status < 0)
		return status;
	struct segment *opened = alloc_segment(store->alloc, segment.segment);
	/* Without full redundancy nothing would be written there. */
	if (opened->record.flags & SEGMENT_DEGRADED) {
		alloc_segment_close(store->alloc, segment.segment);
		return -ENOSPC;
	}
	opened->record.flags |= SEGMENT_AHEAD;
	POOL_CHECK(array_push(&store->ahead_segments, &segment) == 0);
	return unit_write_headers(store, segment.segment);
}

int store_ahead_keep(struct store *store, unsigned segments)
{
	unsigned count = 0;
	int status = 0;

	for (size_t i = store->ahead_segments.count; i-- > 0;) {
		struct ahead_segment *segment = segment_at(store, i);
		if (segment->retire)
			continue;
		if (count < segments) {
			count++;
			continue;
		}
		if (has_batch(store, segment->segment)) {
			segment->retire = true;
			continue;
		}
		alloc_segment_close(store->alloc, segment->segment);
		segment_forget(store, segment);
	}
	for (; count < segments && status == 0; count++)
		status = open_one(store);
	return status == -ENOSPC ? 0 : status;
}

void ahead_listed(struct store *store)
{
	for (size_t i = 0; i < store->ahead_segments.count; i++)
		segment_at(store, i)->usable = true;
}

bool ahead_close(struct store *store, uint32_t id)
{
	for (size_t i = 0; i < store->ahead_held.count; i++)
		if (*array_at(&store->ahead_held, uint32_t, i) == id)
			return false;
	struct ahead_segment *segment = segment_find(store, id);
	if (!segment)
		return true;
	segment->retire = true;
	if (has_batch(store, id))
		return false;
	segment_forget(store, segment);
	return true;
}

void ahead_retire(struct store *store, uint32_t id)
{
	struct ahead_segment *segment = segment_find(store, id);

	if (segment)
		segment->retire = true;
}

void ahead_disk_failed(struct store *store, unsigned index)
{
	for (size_t i = 0; i < store->ahead_segments.count; i++) {
		const struct segment *segment = alloc_segment(store->alloc, segment_at(store, i)->segment);
		for (unsigned c = 0; c < (unsigned)segment->record.k + segment->record.m; c++)
			if (segment->record.columns[c].disk == index)
				segment_at(store, i)->retire = true;
	}
}

int ahead_resume(struct store *store, const struct segment *segment, bool hold)
{
	struct ahead_segment found = { .segment = segment->id, .row = segment->record.rows_used, .usable = true };

	if (hold)
		return array_push(&store->ahead_held, &segment->id);
	if (found.row + 2u <= store->geometry.rows && is_whole(store, found.segment))
		return array_push(&store->ahead_segments, &found);
	alloc_segment_close(store->alloc, found.segment);
	return 0;
}

void store_ahead_release(struct store *store)
{
	for (size_t i = 0; i < store->ahead_held.count; i++)
		alloc_segment_close(store->alloc, *array_at(&store->ahead_held, uint32_t, i));
	array_clear(&store->ahead_held);
}

/* ---- writing ---- */

void store_ahead_begin(struct store_ahead_write *write)
{
	*write = (struct store_ahead_write){ .failed = 0 };
	rt_group_init(&write->group);
	array_init(&write->pieces, sizeof(struct ahead_piece));
}

/* Nothing more comes into the segment's batch: its summary gets the next rows. */
static void batch_seal(struct ahead_segment *segment)
{
	struct batch *batch = segment->batch;
	unsigned rows;

	segment->batch = NULL;
	if (!batch)
		return;
	if (batch->stripe_count == 0) {
		list_remove(&batch->node);
		batch_free(batch);
		return;
	}
	batch->ahead_summary_cells = batch_summary_fit(batch, 0, 0, &rows);
	batch->summary_base = segment->row;
	batch->summary_rows = (uint16_t)rows;
	segment->row = (uint16_t)(segment->row + rows);
}

/* Rows behind so many more of the batch, for its summary; 0: it would grow too large. */
static unsigned summary_rows(const struct batch *batch, unsigned rows, unsigned blocks)
{
	unsigned cells = batch_summary_cells(batch, rows + SUMMARY_CELLS_MAX / batch->k + 1, 2, blocks, 2);

	if (cells > SUMMARY_CELLS_MAX || batch->unused_bound + (blocks + 2u) * batch->k > ALLOC_BATCH_UNUSED_MAX)
		return 0;
	return (cells + batch->k - 1) / batch->k;
}

/*
 * How many of the blocks a stripe behind the batch takes: the most that leave room for the summary, and hardly a cell empty. None:
 * *ret_full tells that another batch, or another segment, may.
 */
static unsigned stripe_takes(const struct store *store, const struct ahead_segment *segment, struct ahead_block **blocks, unsigned count,
			     unsigned *ret_rows, bool *ret_full)
{
	const struct batch *batch = segment->batch;
	unsigned k = batch->k, left = store->geometry.rows - segment->row, cells = 0, taken = 0;
	unsigned rows_max = STRIPE_CELLS_MAX / k < STRIPE_ROWS_MAX ? STRIPE_CELLS_MAX / k : STRIPE_ROWS_MAX;

	*ret_full = false;
	for (unsigned i = 0; i < count; i++) {
		cells += blocks[i]->pointer.psect;
		unsigned rows = (cells + k - 1) / k, behind = summary_rows(batch, rows, i + 1);
		if (rows > rows_max || behind == 0 || rows + behind > left) {
			*ret_full = true;
			break;
		}
		if ((rows * k - cells) * WASTE_MAX > rows * k)
			continue;
		taken = i + 1;
		*ret_rows = rows;
	}
	return taken;
}

static int stripe_place(struct store *store, struct ahead_segment *segment, struct ahead_block **blocks, unsigned count, unsigned rows,
			struct store_ahead_write *write)
{
	struct batch *batch = segment->batch;
	struct ahead_piece piece = { .batch = batch };
	struct write_unit *unit = NULL;

	if (array_reserve(&write->pieces, write->pieces.count + 1) < 0 ||
	    array_reserve(&batch->aheads, batch->aheads.count + count) < 0 || array_reserve(&batch->blocks, batch->blocks.count + count) < 0)
		return -ENOMEM;
	piece.stripe = stripe_new(store, segment->segment, segment->row, rows, batch->k, batch->m);
	if (!piece.stripe)
		return -ENOMEM;
	if (unit_add_ahead(&unit, store, piece.stripe, batch->txg, write) < 0) {
		stripe_unref(piece.stripe);
		return -ENOMEM;
	}
	segment->row = (uint16_t)(segment->row + rows);
	piece.stripe->batch = batch;
	list_push_back(&batch->stripes, &piece.stripe->batch_node);
	batch->rows += rows;
	batch->stripe_count++;
	batch->unused_bound += batch->k * (count + 1);
	int status = 0;
	while (piece.blocks < count && status == 0) {
		struct ahead_block *block = blocks[piece.blocks];
		struct store_block placement = { .payload = block->payload, .psect = block->pointer.psect, .type = block->type,
						 .owner = block->owner };
		status = batch_add_block(batch, piece.stripe, &placement);
		if (status < 0)
			break;
		block->pointer.dva = placement.dva;
		block->references++;
		POOL_CHECK(array_push(&batch->aheads, &block) == 0);
		piece.blocks++;
	}
	POOL_CHECK(array_push(&write->pieces, &piece) == 0);
	if (status < 0)
		unit_give_up(piece.stripe);
	else
		stripe_encode(piece.stripe);
	unit_close(&unit);
	return status;
}

static int batch_begin(struct store *store, struct ahead_segment *segment, uint64_t txg)
{
	int status;

	/* What an earlier txg has here is complete: its last write has ended. */
	if (segment->batch && segment->batch->txg != txg)
		batch_seal(segment);
	if (segment->batch)
		return 0;
	status = batch_new(store, CLASS_HOT, segment->segment, &segment->batch);
	if (status < 0)
		return status;
	segment->batch->txg = txg;
	segment->batch->ahead = true;
	list_push_back(&store->ahead_batches, &segment->batch->node);
	return 0;
}

/* As many of the blocks as one segment takes in one stripe. *ret_taken 0: they don't fill rows, whatever the segment. */
static int place_some(struct store *store, uint64_t txg, struct ahead_block **blocks, unsigned count, struct store_ahead_write *write,
		      unsigned *ret_taken)
{
	*ret_taken = 0;
	for (size_t i = 0; i < store->ahead_segments.count; i++) {
		struct ahead_segment *segment = segment_at(store, i);
		if (segment->retire || !segment->usable || alloc_segment(store->alloc, segment->segment)->pins)
			continue;
		segment->retire = !is_whole(store, segment->segment);
		/* A batch that its summary can't grow for makes room for another one. */
		for (unsigned tries = 0; tries < 2 && !segment->retire; tries++) {
			unsigned rows;
			bool full;
			int status = batch_begin(store, segment, txg);
			if (status < 0)
				return status;
			unsigned taken = stripe_takes(store, segment, blocks, count, &rows, &full);
			if (taken) {
				*ret_taken = taken;
				return stripe_place(store, segment, blocks, taken, rows, write);
			}
			if (!full)
				return 0;
			bool fresh = segment->batch->stripe_count == 0;
			if (segment->batch->stripe_count)
				batch_seal(segment);
			segment->retire = fresh;
		}
	}
	return 0;
}

int store_ahead_place(struct store *store, uint64_t txg, struct ahead_block **blocks, unsigned count, struct store_ahead_write *write)
{
	int status = store->halted ? -POOL_EHALTED : 0;

	for (unsigned done = 0, taken = 1; done < count && taken && status == 0; done += taken)
		status = place_some(store, txg, &blocks[done], count - done, write, &taken);
	return status;
}

/* The stripe was never there; its rows stay unused. */
static void piece_give_up(struct store *store, struct ahead_piece *piece)
{
	struct batch *batch = piece->batch;

	batch->blocks.count -= piece->blocks;
	for (unsigned i = 0; i < piece->blocks; i++)
		ahead_block_unref(*array_at(&batch->aheads, struct ahead_block *, --batch->aheads.count));
	list_remove(&piece->stripe->batch_node);
	batch->stripe_count--;
	batch->rows -= piece->stripe->height;
	stripe_unref(piece->stripe);
	ahead_retire(store, batch->segment);
}

void store_ahead_end(struct store *store, struct store_ahead_write *write, bool keep)
{
	if (write->group.pending)
		(void)rt_group_wait(store->rt, &write->group);
	POOL_CHECK(!keep || write->failed == 0);
	for (size_t i = write->pieces.count; i-- > 0;) {
		struct ahead_piece *piece = array_at(&write->pieces, struct ahead_piece, i);
		if (!keep) {
			piece_give_up(store, piece);
			continue;
		}
		/* A batch may have further pieces of this write. */
		const struct batch *batch = piece->batch;
		for (size_t b = 0; b < batch->aheads.count; b++) {
			struct ahead_block *block = *array_at(&batch->aheads, struct ahead_block *, b);
			block->durable = true;
			drop_content(block);
		}
	}
	array_release(&write->pieces);
}

/* ---- the sync of the txg ---- */

/* Blocks that nobody has taken are as if they weren't there. */
static int note_untaken(struct batch *batch)
{
	size_t kept = 0;

	for (size_t i = 0; i < batch->aheads.count; i++) {
		const struct ahead_block *block = *array_at(&batch->aheads, struct ahead_block *, i);
		struct cell_run runs[COLUMNS_MAX];
		if (block->taken) {
			*array_at(&batch->blocks, struct summary_block, kept++) = *array_at(&batch->blocks, struct summary_block, i);
			continue;
		}
		unsigned count = dva_runs(dva_unpack(block->pointer.dva), block->pointer.psect, runs);
		for (unsigned r = 0; r < count; r++) {
			struct cell_extent extent = { batch->segment, (uint8_t)runs[r].column, runs[r].row, runs[r].rows };
			if (array_push(&batch->unused, &extent) < 0)
				return -ENOMEM;
		}
	}
	batch->blocks.count = kept;
	return 0;
}

static int batch_write_summary(struct store *store, struct batch *batch)
{
	const struct segment *segment = alloc_segment(store->alloc, batch->segment);
	unsigned end = (unsigned)batch->summary_base + batch->summary_rows;
	struct write_unit *unit = NULL;

	if (note_untaken(batch) < 0)
		return -ENOMEM;
	struct stripe *stripe = stripe_new(store, batch->segment, batch->summary_base, batch->summary_rows, batch->k, batch->m);
	if (!stripe)
		return -ENOMEM;
	if (unit_add(&unit, store, stripe, UNIT_ROWS_MAX) < 0) {
		stripe_unref(stripe);
		return -ENOMEM;
	}
	(void)alloc_rows_take(store->alloc, batch->segment, end - segment->record.rows_used);
	stripe->batch = batch;
	list_push_back(&batch->stripes, &stripe->batch_node);
	batch->rows += stripe->height;
	batch->stripe_count++;
	stripe->summary_cells = stripe->fill = (uint16_t)batch->ahead_summary_cells;
	stripe_encode(stripe);
	unit_close(&unit);
	batch_finish(batch, stripe);
	return 0;
}

static struct batch *batch_in_sync(const struct store *store)
{
	list_for_each(node, &store->ahead_batches)
		if (container_of(node, struct batch, node)->txg == store->txg)
			return container_of(node, struct batch, node);
	return NULL;
}

int store_ahead_finish(struct store *store)
{
	for (size_t i = 0; i < store->ahead_segments.count; i++)
		if (segment_at(store, i)->batch && segment_at(store, i)->batch->txg == store->txg)
			batch_seal(segment_at(store, i));
	for (struct batch *batch; (batch = batch_in_sync(store));) {
		list_remove(&batch->node); /* it is gone when its summary has been made, which may be now; other flushes go on meanwhile */
		int status = batch_write_summary(store, batch);
		if (status < 0) {
			list_push_back(&store->ahead_batches, &batch->node);
			store_halt(store, "out of memory while writing a batch's summary");
			return status;
		}
	}
	for (size_t i = store->ahead_segments.count; i-- > 0;) {
		struct ahead_segment *segment = segment_at(store, i);
		if (!segment->retire || has_batch(store, segment->segment))
			continue;
		alloc_segment_close(store->alloc, segment->segment);
		segment_forget(store, segment);
	}
	return 0;
}
