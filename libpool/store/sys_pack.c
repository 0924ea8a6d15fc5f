/*
 * Packing of the SYS class: mirrored, and the only one that reuses single rows. Blocks go where runs of free rows
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

/* Rows for `cells` in some segment, and its batch. -ENOSPC when no SYS segment has such a run. */
static int take_rows(struct store *store, unsigned cells, unsigned blocks, struct batch **ret_batch, uint16_t *ret_row)
{
	size_t count;
	const uint32_t *ids = alloc_sys_segments(store->alloc, &count);

	for (size_t i = 0; i < count; i++) {
		uint32_t id = ids[i];
		struct batch *batch = find_batch(store, id);
		if (batch && (batch->stripe_count >= SYS_STRIPES_MAX ||
			      batch_summary_cells(batch, cells + SYS_SUMMARY_CELLS, 2, blocks, 2) > SYS_SUMMARY_CELLS)) {
			int status = finish_one(store, batch);
			if (status < 0)
				return status;
			batch = NULL;
		}
		int status = alloc_sys_take_in(store->alloc, id, batch ? cells : cells + SYS_SUMMARY_CELLS, ret_row);
		if (status == -ENOSPC)
			continue;
		if (status < 0)
			return status;
		if (!batch) {
			status = batch_new(store, CLASS_SYS, id, &batch);
			if (status < 0)
				return status;
			batch->summary_base = (uint16_t)(*ret_row + cells);
			batch->summary_rows = SYS_SUMMARY_CELLS;
			list_push_back(&store->sys_batches, &batch->node);
		}
		*ret_batch = batch;
		return 0;
	}
	return -ENOSPC;
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

int sys_cut(struct store *store, struct stream *stream)
{
	while (!list_empty(&stream->queue)) {
		unsigned all = 0, all_blocks = 0;
		unsigned first = container_of(stream->queue.next, struct store_block, node)->psect;
		struct batch *batch;
		uint16_t row;

		if (store->halted)
			return -POOL_EHALTED;
		unsigned room = store->geometry.rows - 1u - SYS_SUMMARY_CELLS;
		if (first > room)
			return -EINVAL; /* a block that no segment has room for */
		list_for_each(node, &stream->queue) {
			unsigned cells = container_of(node, struct store_block, node)->psect;
			if (all + cells > STRIPE_ROWS_MAX || all + cells > room)
				break;
			all += cells;
			all_blocks++;
		}
		unsigned cells = all;
		int status = take_rows(store, cells, all_blocks, &batch, &row);
		if (status == -ENOSPC && cells != first) {
			cells = first;
			status = take_rows(store, cells, 1, &batch, &row);
		}
		if (status == -ENOSPC) {
			status = store_open_sys(store);
			if (status < 0)
				return status;
			continue;
		}
		if (status == 0)
			status = place_run(store, stream, batch, row, cells);
		if (status < 0)
			return status;
	}
	return 0;
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
