/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Packing into runs of dead rows (alloc/row_runs.c): a batch takes the runs of one segment one after the other, upward, each for
 * stripes of its own. No block crosses the end of a run. Rows for the summary are taken first, where they fit tightest; what of all that
 * isn't used is dead again with the commit.
 *
 * A segment is used in one txg and by one stream at a time. No row of it is taken once it is pinned; rows taken before are nobody's else.
 */
#include "libpool/store/internal.h"

#include <errno.h>

#include "libpool/base/check.h"

/* Metadata takes single rows of its own from the runs of so many on that data takes. */
#define META_RUNS_FROM 64u
#define RUN_STRIPES_MAX 200u /* each may be a range, and a summary has 256 */

static unsigned first_cells(const struct stream *stream)
{
	return container_of(stream->queue.next, struct store_block, node)->psect;
}

bool runs_open(struct store *store, struct stream *stream, bool scarce, bool lacking)
{
	enum segment_class other = stream->class == CLASS_HOT ? CLASS_COLD : CLASS_HOT;
	unsigned least = scarce ? 1 : alloc_runs_least(store->alloc), cells = first_cells(stream);

	/* Nobody else gets these, and they live briefly: taken in time they keep its segments few. */
	if (stream->class == CLASS_META && least && least <= META_RUNS_FROM)
		least = 1;
	bool found = least && (alloc_runs_find(store->alloc, stream->class, lacking, least, cells, &stream->segment) ||
			       (scarce && stream->class != CLASS_META &&
				alloc_runs_find(store->alloc, other, lacking, least, cells, &stream->segment)));

	if (!found)
		return false;
	stream->has_segment = stream->runs = true;
	stream->retire = false;
	stream->runs_least = least;
	stream->run_next = stream->run_end = 1;
	return true;
}

void runs_drop(struct store *store, struct stream *stream, bool spent)
{
	POOL_CHECK(stream->runs && !stream->batch);
	alloc_runs_give_up(store->alloc, stream->segment, spent && stream->runs_least == 1);
	stream->has_segment = stream->runs = stream->retire = false;
}

/* Cells of a summary of all that the segment gives, or, if that is less, of what waits. */
static unsigned summary_cells_wanted(const struct store *store, const struct stream *stream, const struct segment *segment)
{
	unsigned k = segment->record.k, rows = segment->dead_rows, waiting = (stream->queued_cells + k - 1) / k;

	rows = rows < waiting ? rows : waiting;
	size_t size = summary_size(rows < RUN_STRIPES_MAX ? rows + 1 : RUN_STRIPES_MAX, rows < RUN_STRIPES_MAX ? rows + 1 : RUN_STRIPES_MAX, rows * k, stream->class == CLASS_SURV ? rows * k : 0,
				   (rows + SUMMARY_CELLS_MAX / k + 1) * (k + segment->record.m));
	unsigned cells = (unsigned)((size + CELL_SIZE - 1) / CELL_SIZE);
	(void)store;
	return cells < SUMMARY_CELLS_MAX ? cells : SUMMARY_CELLS_MAX;
}

int runs_begin_batch(struct store *store, struct stream *stream)
{
	const struct segment *segment = alloc_segment(store->alloc, stream->segment);
	unsigned k = segment->record.k, rows = (summary_cells_wanted(store, stream, segment) + k - 1) / k;
	unsigned base = alloc_run_tightest(store->alloc, stream->segment, &rows);

	if (base == 0)
		return -ENOSPC;
	int status = alloc_run_take(store->alloc, stream->segment, base, rows);
	if (status == 0)
		status = batch_new(store, (enum segment_class)segment->record.class, stream->segment, &stream->batch);
	if (status < 0)
		return status;
	stream->batch->runs = true;
	stream->batch->moved = stream->class == CLASS_SURV;
	stream->batch->summary_base = (uint16_t)base;
	stream->batch->summary_rows = (uint16_t)rows;
	return 0;
}

int runs_close_batch(struct store *store, struct stream *stream)
{
	struct batch *batch = stream->batch;

	if (batch->stripe_count == 0) {
		stream->batch = NULL;
		batch_free(batch);
		return 0;
	}
	unsigned height, cells = batch_summary_fit(batch, 0, 0, &height);
	POOL_CHECK(height <= batch->summary_rows);
	struct stripe *stripe = stream_stripe(store, stream, batch->summary_base, height);
	if (!stripe)
		return -ENOMEM;
	stream->batch = NULL;
	stripe->summary_cells = stripe->fill = (uint16_t)cells;
	stripe_encode(stripe);
	unit_close(&stream->unit);
	batch_finish(batch, stripe);
	return 0;
}

/* The run in hand is used up: the next one. */
static int next_run(struct store *store, struct stream *stream)
{
	unsigned rows, base = alloc_run_next(store->alloc, stream->segment, stream->run_end, stream->runs_least, &rows);

	if (base == 0)
		return -ENOSPC;
	stream->run_next = base;
	stream->run_end = base + rows;
	return alloc_run_take(store->alloc, stream->segment, base, rows);
}

/* Whether both records of the batch take so much more: the summary in the rows kept for it, and the log's. */
static bool has_room(const struct batch *batch, unsigned rows, unsigned blocks)
{
	return batch->stripe_count + 2 <= RUN_STRIPES_MAX && batch->unused_bound + 2u * batch->k <= ALLOC_BATCH_UNUSED_MAX &&
	       batch_summary_cells(batch, rows + batch->summary_rows, 2, blocks, 2) <= (unsigned)batch->summary_rows * batch->k &&
	       batch_summary_cells(batch, rows + batch->summary_rows, 2, blocks, 2) <= SUMMARY_CELLS_MAX;
}

/* The most rows, up to so many, whose blocks the summary has room for; 0: none. */
static unsigned rows_described(struct store *store, const struct stream *stream, unsigned limit, unsigned *ret_cells, unsigned *ret_blocks)
{
	const struct batch *batch = stream->batch;

	for (; limit; limit--) {
		*ret_cells = stream_queue_fit(store, stream, limit * batch->k, true, ret_blocks);
		if (*ret_cells == 0)
			return limit;
		limit = (*ret_cells + batch->k - 1) / batch->k;
		if (has_room(batch, limit, *ret_blocks))
			return limit;
	}
	return 0;
}

int runs_cut_stripe(struct store *store, struct stream *stream)
{
	struct batch *batch = stream->batch;
	unsigned cells, blocks;

	if (stream->run_next == stream->run_end) {
		int status = next_run(store, stream);
		if (status < 0)
			return status;
	}
	unsigned left = stream->run_end - stream->run_next, target = stream_stripe_rows(store, stream, batch->k);
	unsigned height = rows_described(store, stream, left < target ? left : target, &cells, &blocks);
	if (height == 0) {
		/* The summary is full: another batch goes on here, unless this one was for too little. */
		return batch->stripe_count ? runs_close_batch(store, stream) : -ENOSPC;
	}
	if (cells == 0) {
		stream->run_next = stream->run_end; /* nothing that waits fits into what is left of it */
		return 0;
	}
	struct stripe *stripe = stream_stripe(store, stream, stream->run_next, height);
	if (!stripe)
		return -ENOMEM;
	stream->run_next += height;
	int status = stream_fill(store, stream, stripe, cells, true);
	if (status < 0) {
		unit_give_up(stripe);
		return status;
	}
	stripe_encode(stripe);
	return 0;
}
