/*
 * Packing of the SYS class: mirrored, and the one that reuses single rows first of all. Blocks go where runs of free rows
 * are, so a txg's blocks may lie in several SYS segments: one batch for each, with rows kept for its summary.
 */
#include "libpool/store/internal.h"

#include <errno.h>
#include <stdlib.h>

#include "libpool/base/check.h"

#define SYS_SUMMARY_CELLS 4u
#define SYS_STRIPES_MAX 200u

static struct batch *find_batch(struct store *store, uint32_t segment)
{
	list_for_each(node, &store->sys_batches) {
		struct batch *batch = container_of(node, struct batch, node);
		if (batch->segment == segment)
			return batch;
	}
	return NULL;
}

static int finish_one(struct store *store, struct batch *batch)
{
	struct stream *stream = &store->streams[CLASS_SYS];
	unsigned height, cells = batch_summary_fit(batch, 0, 0, &height);

	POOL_CHECK(cells <= batch->summary_rows);
	if (cells < batch->summary_rows)
		alloc_sys_give_back(store->alloc, batch->segment, batch->summary_base + cells, batch->summary_rows - cells);
	struct stripe *stripe = stripe_new(store, batch->segment, batch->summary_base, cells, batch->k, batch->m);
	if (!stripe)
		return -ENOMEM;
	if (unit_add(&stream->unit, store, stripe, UNIT_ROWS_MAX) < 0) {
		stripe_unref(stripe);
		return -ENOMEM;
	}
	stripe->batch = batch;
	list_push_back(&batch->stripes, &stripe->batch_node);
	batch->rows += cells;
	batch->stripe_count++;
	stripe->summary_cells = stripe->fill = (uint16_t)cells;
	stripe_encode(stripe);
	list_remove(&batch->node);
	batch_finish(batch, stripe);
	return 0;
}

/* A batch that its summary has no room to describe more of. */
static bool batch_is_full(const struct batch *batch, unsigned cells, unsigned blocks)
{
	return batch->stripe_count >= SYS_STRIPES_MAX ||
	       batch_summary_cells(batch, cells + batch->summary_rows, 2, blocks, 2) > batch->summary_rows;
}

/* What is to be placed, and where: in the SYS segments from number `first` on, up to `end`. */
struct wish {
	unsigned cells, blocks, summary_rows;
	size_t first, end;
};

/*
 * Rows in the segment where they fit tightest, and its batch; a new batch keeps `summary_rows` for its summary.
 * -ENOSPC when no segment has such a run.
 */
static int take_rows(struct store *store, const struct wish *wish, struct batch **ret_batch, uint16_t *ret_row)
{
	unsigned cells = wish->cells, blocks = wish->blocks, summary_rows = wish->summary_rows;
	size_t count;
	const uint32_t *ids = alloc_sys_segments(store->alloc, &count);
	uint32_t best_id = 0;
	unsigned best = 0;
	int status = 0;

	for (size_t i = wish->first; i < count && i < wish->end; i++) {
		struct batch *batch = find_batch(store, ids[i]);
		if (batch && batch_is_full(batch, cells, blocks)) {
			status = finish_one(store, batch);
			if (status < 0)
				return status;
			batch = NULL;
		}
		/* Where a batch is open already no other summary is needed. */
		unsigned length = alloc_sys_fit(store->alloc, ids[i], batch ? cells : cells + summary_rows);
		length = length && !batch ? length + summary_rows : length;
		if (length && (!best || length < best)) {
			best = length;
			best_id = ids[i];
		}
	}
	if (!best)
		return -ENOSPC;
	struct batch *batch = find_batch(store, best_id);
	status = alloc_sys_take_in(store->alloc, best_id, batch ? cells : cells + summary_rows, ret_row);
	if (status == 0 && !batch) {
		status = batch_new(store, CLASS_SYS, best_id, &batch);
		if (status < 0)
			return status;
		batch->summary_base = (uint16_t)(*ret_row + cells);
		batch->summary_rows = (uint16_t)summary_rows;
		list_push_back(&store->sys_batches, &batch->node);
	}
	*ret_batch = batch;
	return status;
}

static int place_run(struct store *store, struct stream *stream, struct batch *batch, uint16_t row, unsigned cells)
{
	struct stripe *stripe = stripe_new(store, batch->segment, row, cells, batch->k, batch->m);

	if (!stripe)
		return -ENOMEM;
	if (unit_add(&stream->unit, store, stripe, UNIT_ROWS_MAX) < 0) {
		stripe_unref(stripe);
		return -ENOMEM;
	}
	stripe->batch = batch;
	list_push_back(&batch->stripes, &stripe->batch_node);
	batch->rows += cells;
	batch->stripe_count++;
	while (stripe->fill < cells) {
		struct store_block *block = container_of(list_pop_front(&stream->queue), struct store_block, node);
		int status = batch_add_block(batch, stripe, block);
		if (status < 0) {
			unit_give_up(stripe);
			return status;
		}
		stream->queued_cells -= block->psect;
		block->placed(block);
	}
	stripe_encode(stripe);
	return 0;
}

int store_open_sys(struct store *store)
{
	uint32_t id;
	int status = alloc_segment_open(store->alloc, CLASS_SYS, &id);

	return status == 0 ? unit_write_headers(store, id) : status;
}

/* As many blocks of the queue as one run can take, or else the first one, or that with the shortest summary. */
static int place_some(struct store *store, struct stream *stream, size_t first_segment, size_t end_segment)
{
	struct wish wish = { .summary_rows = SYS_SUMMARY_CELLS, .first = first_segment, .end = end_segment };
	unsigned room = store->geometry.rows - 1u - SYS_SUMMARY_CELLS;
	unsigned first = container_of(stream->queue.next, struct store_block, node)->psect;
	struct batch *batch;
	uint16_t row;

	if (first > room)
		return -EINVAL; /* a block that no segment has room for */
	list_for_each(node, &stream->queue) {
		unsigned cells = container_of(node, struct store_block, node)->psect;
		if (wish.cells + cells > STRIPE_ROWS_MAX || wish.cells + cells > room)
			break;
		wish.cells += cells;
		wish.blocks++;
	}
	int status = take_rows(store, &wish, &batch, &row);
	if (status == -ENOSPC && wish.blocks > 1) {
		wish.cells = first;
		wish.blocks = 1;
		status = take_rows(store, &wish, &batch, &row);
	}
	if (status == -ENOSPC) {
		wish.cells = first;
		wish.blocks = wish.summary_rows = 1;
		status = take_rows(store, &wish, &batch, &row);
	}
	return status == 0 ? place_run(store, stream, batch, row, wish.cells) : status;
}

int sys_cut(struct store *store, struct stream *stream)
{
	while (!list_empty(&stream->queue)) {
		if (store->halted)
			return -POOL_EHALTED;
		int status = place_some(store, stream, 0, alloc_sys_base(store->alloc));
		if (status == -ENOSPC)
			status = place_some(store, stream, 0, SIZE_MAX);
		if (status == -ENOSPC)
			status = store_open_sys(store);
		if (status < 0)
			return status;
	}
	return 0;
}

/* Single cells, away from the segments where logs and pages find their long runs. */
static int cut_singles(struct store *store, struct stream *stream)
{
	while (!list_empty(&stream->queue)) {
		if (store->halted)
			return -POOL_EHALTED;
		int status = place_some(store, stream, alloc_sys_base(store->alloc), SIZE_MAX);
		if (status == -ENOSPC)
			status = store_open_sys(store);
		if (status == -ENOSPC)
			status = place_some(store, stream, 0, SIZE_MAX);
		if (status < 0)
			return status;
	}
	return 0;
}

/* Moves the blocks of one cell, or the others, to the end of the SYS queue. */
static void move_blocks(struct stream *from, struct stream *sys, bool singles)
{
	list_for_each_safe(node, after, &from->queue) {
		struct store_block *block = container_of(node, struct store_block, node);
		if ((block->psect == 1) != singles)
			continue;
		list_remove(node);
		stream_queue(sys, block);
		from->queued_cells -= block->psect;
	}
}

int sys_take_over(struct store *store, struct stream *stream)
{
	struct stream *sys = &store->streams[CLASS_SYS];

	/* Small nodes may live as long as the data below them. */
	move_blocks(stream, sys, true);
	int status = cut_singles(store, sys);
	if (status == 0) {
		move_blocks(stream, sys, false);
		status = sys_cut(store, sys);
	}
	if (status < 0) { /* what got no address is its submitters' again */
		while (list_pop_front(&sys->queue))
			;
		sys->queued_cells = 0;
	}
	return status;
}

int sys_finish(struct store *store)
{
	while (!list_empty(&store->sys_batches)) {
		int status = finish_one(store, container_of(store->sys_batches.next, struct batch, node));
		if (status < 0)
			return status;
	}
	unit_close(&store->streams[CLASS_SYS].unit);
	return 0;
}
