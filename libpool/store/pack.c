/*
 * Packing: the queue of each class is cut into stripes, filled column by column, and stripes are gathered into
 * batches. A stripe takes as many blocks as fit and has just the rows they need, so padding is less than one row.
 *
 * A batch ends with the txg's last stripe of its class, when its segment is full, or when its summary would outgrow
 * SUMMARY_CELLS_MAX. Room for the summary is kept in the segment from the first stripe on.
 *
 * That is for segments that were free. In those that give runs of dead rows run_pack.c does it.
 */
#include "libpool/store/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "libpool/base/check.h"

#define META_STRIPE_ROWS 4u
#define LAST_ROWS_QUEUE_CELLS 2048u

static struct store_block *queue_first(const struct stream *stream)
{
	return list_empty(&stream->queue) ? NULL : container_of(stream->queue.next, struct store_block, node);
}

unsigned stream_stripe_rows(const struct store *store, const struct stream *stream, unsigned k)
{
	unsigned rows = stream->class == CLASS_META ? META_STRIPE_ROWS : STRIPE_ROWS_MAX;
	const struct store_block *first = queue_first(stream);

	if (first && rows * k < first->psect)
		rows = (first->psect + k - 1) / k;
	if (rows * k > STRIPE_CELLS_MAX)
		rows = STRIPE_CELLS_MAX / k;
	return rows < store->geometry.rows ? rows : store->geometry.rows - 1u;
}

static unsigned rows_left(const struct store *store, const struct stream *stream)
{
	return store->geometry.rows - alloc_segment(store->alloc, stream->segment)->record.rows_used;
}

/* What is left may be less than a full stripe and a summary. */
static bool segment_ends(const struct store *store, const struct stream *stream, unsigned target)
{
	return rows_left(store, stream) < target + SUMMARY_CELLS_MAX;
}

static void stream_drop_segment(struct store *store, struct stream *stream)
{
	if (!stream->has_segment)
		return;
	if (stream->runs) {
		runs_drop(store, stream, false);
		return;
	}
	if (stream->header_due)
		(void)unit_write_headers(store, stream->segment); /* without memory a scrub finds it */
	alloc_segment_close(store->alloc, stream->segment);
	stream->has_segment = stream->retire = stream->header_due = false;
}

static int stream_open_segment(struct store *store, struct stream *stream)
{
	int status = alloc_segment_open(store->alloc, stream->class, &stream->segment);

	if (status < 0)
		return status;
	stream->has_segment = stream->header_due = true;
	stream->retire = false;
	return 0;
}

/* They lie before the first rows of the segment, and are written with them. */
static int stream_add_headers(struct store *store, struct stream *stream, const struct stripe *stripe)
{
	stream->header_due = false;
	return stripe->base == 1 ? unit_add_headers(stream->unit) : unit_write_headers(store, stream->segment);
}

struct stripe *stream_stripe(struct store *store, struct stream *stream, unsigned base, unsigned height)
{
	struct batch *batch = stream->batch;
	struct stripe *stripe = stripe_new(store, stream->segment, base, height, batch->k, batch->m);

	if (!stripe)
		return NULL;
	if (unit_add(&stream->unit, store, stripe, UNIT_ROWS_MAX) < 0) {
		stripe_unref(stripe);
		return NULL;
	}
	/* Without memory for them now they are written by themselves. */
	if (stream->header_due && stream_add_headers(store, stream, stripe) < 0)
		stream->header_due = true;
	stripe->batch = batch;
	list_push_back(&batch->stripes, &stripe->batch_node);
	batch->rows += height;
	batch->stripe_count++;
	batch->unused_bound += height < batch->k ? batch->k : 1;
	return stripe;
}

/* A stripe of the segment's next rows. */
static struct stripe *stream_new_stripe(struct store *store, struct stream *stream, unsigned height)
{
	return stream_stripe(store, stream, alloc_rows_take(store->alloc, stream->segment, height), height);
}

static void blocks_placed(struct list *blocks)
{
	struct list *node;

	while ((node = list_pop_front(blocks))) {
		struct store_block *block = container_of(node, struct store_block, node);
		block->placed(block);
	}
}

void stream_queue(struct stream *stream, struct store_block *block)
{
	if (list_empty(&stream->queue) || block->psect < stream->queued_least)
		stream->queued_least = block->psect;
	list_push_back(&stream->queue, &block->node);
	stream->queued_cells += block->psect;
}

int stream_fill(struct store *store, struct stream *stream, struct stripe *stripe, unsigned cells, bool skip)
{
	struct list placed;
	int status = 0;

	list_init(&placed);
	/* Up to the last one that may fit: many wait, and a run may have room for one. */
	list_for_each_safe(node, after, &stream->queue) {
		struct store_block *block = container_of(node, struct store_block, node);
		if (cells < stream->queued_least)
			break;
		store->counters.queue_looks++;
		if (block->psect > cells && skip)
			continue;
		if (block->psect > cells || (status = batch_add_block(stream->batch, stripe, block)) < 0)
			break;
		cells -= block->psect;
		stream->queued_cells -= block->psect;
		list_remove(&block->node);
		list_push_back(&placed, &block->node);
	}
	blocks_placed(&placed);
	return status;
}

unsigned stream_queue_fit(struct store *store, const struct stream *stream, unsigned cells, bool skip, unsigned *ret_blocks)
{
	unsigned sum = 0, blocks = 0;

	list_for_each(node, &stream->queue) {
		const struct store_block *block = container_of(node, struct store_block, node);
		if (cells - sum < stream->queued_least)
			break;
		store->counters.queue_looks++;
		if (sum + block->psect > cells && skip)
			continue;
		if (sum + block->psect > cells)
			break;
		sum += block->psect;
		blocks++;
	}
	*ret_blocks = blocks;
	return sum;
}

/* Closes the batch; the summary gets a stripe of its own. Rows for it were kept. */
static int stream_close_batch(struct store *store, struct stream *stream)
{
	struct batch *batch = stream->batch;

	if (!batch)
		return 0;
	if (batch->runs)
		return runs_close_batch(store, stream);
	if (batch->stripe_count == 0) {
		stream->batch = NULL;
		batch_free(batch);
		return 0;
	}
	unsigned height, cells = batch_summary_fit(batch, 0, 0, &height);
	struct stripe *stripe = stream_new_stripe(store, stream, height);
	if (!stripe)
		return -ENOMEM;
	stream->batch = NULL;
	stripe->summary_first = 0;
	stripe->summary_cells = stripe->fill = (uint16_t)cells;
	stripe_encode(stripe);
	unit_close(&stream->unit);
	batch_finish(batch, stripe);
	return 0;
}

/* Rows that must stay free for the summary when `rows` more rows, `blocks` more blocks come. */
static unsigned summary_rows(const struct batch *batch, unsigned rows, unsigned blocks)
{
	unsigned cells = batch_summary_cells(batch, rows + SUMMARY_CELLS_MAX / batch->k + 1, 2, blocks, 0);

	return (cells + batch->k - 1) / batch->k;
}

/* Whether a summary of so much more would outgrow what summaries may have. */
static bool outgrows(const struct batch *batch, unsigned rows, unsigned blocks)
{
	return batch_summary_cells(batch, rows + SUMMARY_CELLS_MAX / batch->k + 1, 2, blocks, 0) > SUMMARY_CELLS_MAX;
}

enum cut { CUT_DONE, CUT_AGAIN };

/* One stripe from the queue, of a stream that has segment and batch. Tail: also when it isn't full; last: with the summary. */
static int stream_cut_stripe(struct store *store, struct stream *stream, bool last)
{
	struct batch *batch = stream->batch;
	unsigned target = stream_stripe_rows(store, stream, batch->k);
	unsigned left = rows_left(store, stream), blocks, cells, height;

	/* As many rows as leave room for the summary that describes them. */
	unsigned limit = left < target ? left : target;
	/* What the last rows don't get is lost until the segment dies. */
	bool skip = segment_ends(store, stream, target);
	for (;;) {
		cells = stream_queue_fit(store, stream, limit * batch->k, skip, &blocks);
		height = (cells + batch->k - 1) / batch->k;
		/* A batch of its first stripe alone can't be closed before it: of moved blocks, which have names, a whole stripe may be too much. */
		if (cells == 0 || (height + summary_rows(batch, height, blocks) <= left && (batch->stripe_count || !outgrows(batch, height, blocks))))
			break;
		if (--limit == 0)
			break;
	}
	/* Both records of the batch have their bounds: the summary on disk, and the log's with the cells that hold nothing. */
	bool too_large = cells && (outgrows(batch, height, blocks) || batch->unused_bound + 2u * batch->k > ALLOC_BATCH_UNUSED_MAX);
	if (limit == 0 || cells == 0 || (too_large && batch->stripe_count)) {
		bool fresh = batch->stripe_count == 0;
		bool full = limit == 0 || cells == 0;
		int status = stream_close_batch(store, stream);
		if (status < 0)
			return status;
		if (full) {
			if (fresh && alloc_segment(store->alloc, stream->segment)->record.rows_used == 1)
				return -EINVAL; /* a block that no segment has room for */
			stream_drop_segment(store, stream);
		}
		return CUT_AGAIN;
	}
	unsigned summary_cells = 0;
	if (last && cells == stream->queued_cells && cells + SUMMARY_CELLS_MAX <= STRIPE_CELLS_MAX) {
		unsigned with;
		summary_cells = batch_summary_fit(batch, cells, blocks, &with);
		if (with <= left && with <= STRIPE_ROWS_MAX && with * batch->k <= STRIPE_CELLS_MAX)
			height = with;
		else
			summary_cells = 0;
	}
	struct stripe *stripe = stream_new_stripe(store, stream, height);
	if (!stripe)
		return -ENOMEM;
	int status = stream_fill(store, stream, stripe, cells, skip);
	if (status < 0) {
		unit_give_up(stripe);
		return status;
	}
	if (summary_cells) {
		stripe->summary_first = stripe->fill;
		stripe->summary_cells = (uint16_t)summary_cells;
		stripe->fill = (uint16_t)(stripe->fill + summary_cells);
		stream->batch = NULL;
	}
	stripe_encode(stripe);
	if (summary_cells) {
		unit_close(&stream->unit);
		batch_finish(batch, stripe);
	}
	return CUT_DONE;
}

/*
 * Where the next blocks go: with many free segments into one of them, with fewer into runs of dead rows, of which shorter ones will do
 * the fewer there are. Rows that lack a column are as good as new segments that would lack one, too. At the floors data gets rows that lack a column, where those are promised; of what is left, data that was promised rows which are
 * gone may have some. The rest is for commits, whose metadata has SYS rows then, and rows of its own that lack a column when these run short. Copies that a
 * compactor makes get new segments that writers leave alone or that are above the floors, and nothing else: they need not be made.
 */
static int stream_find_segment(struct store *store, struct stream *stream)
{
	bool scarce = alloc_is_scarce(store->alloc), data = stream->class != CLASS_META;
	uint64_t writers;
	int status = -ENOSPC;

	/* Dead rows are promised to writers. */
	if (stream->class == CLASS_SURV)
		return alloc_copy_cells(store->alloc, &writers) + writers == 0 ? -ENOSPC : stream_open_segment(store, stream);
	if (runs_open(store, stream, scarce, false))
		return 0;
	if (alloc_new_ones_lack(store->alloc) && runs_open(store, stream, scarce, true))
		return 0;
	if (!scarce)
		status = stream_open_segment(store, stream);
	if (status != -ENOSPC)
		return status;
	if (!scarce && runs_open(store, stream, true, false))
		return 0;
	if (!data)
		return alloc_is_short(store->alloc) && runs_open(store, stream, true, true) ? 0 : -ENOSPC;
	bool promised = alloc_lacking_promised(store->alloc);
	if (promised && runs_open(store, stream, true, true))
		return 0;
	if (!alloc_is_short(store->alloc))
		status = stream_open_segment(store, stream);
	if (status != -ENOSPC)
		return status;
	return !promised && runs_open(store, stream, true, true) ? 0 : stream_open_segment(store, stream);
}

/* One stripe into the segment's runs; or, when none of its runs will do, the end of its use. */
static int runs_cut(struct store *store, struct stream *stream)
{
	int status = stream->batch ? 0 : runs_begin_batch(store, stream);

	if (status == 0)
		status = runs_cut_stripe(store, stream);
	if (status != -ENOSPC)
		return status;
	status = stream_close_batch(store, stream);
	runs_drop(store, stream, true);
	return status;
}

static int stream_cut(struct store *store, struct stream *stream, bool tail, bool last)
{
	while (stream->queued_cells) {
		if (store->halted)
			return -POOL_EHALTED;
		if (stream->has_segment && stream->retire) {
			int status = stream_close_batch(store, stream);
			if (status < 0)
				return status;
			stream_drop_segment(store, stream);
		}
		if (!stream->has_segment) {
			POOL_CHECK(!stream->batch);
			int status = stream_find_segment(store, stream);
			/* Metadata must not wait for whole segments to die. */
			if (status == -ENOSPC && stream->class == CLASS_META)
				return tail ? sys_take_over(store, stream) : 0;
			if (status < 0)
				return status;
		}
		const struct segment *segment = alloc_segment(store->alloc, stream->segment);
		unsigned target = stream_stripe_rows(store, stream, segment->record.k);
		/* The last rows of a segment are filled best out of many. */
		unsigned wanted = target * segment->record.k;
		if ((stream->runs || segment_ends(store, stream, target)) && wanted < LAST_ROWS_QUEUE_CELLS)
			wanted = LAST_ROWS_QUEUE_CELLS;
		if (!tail && stream->queued_cells < wanted)
			return 0;
		if (stream->runs) {
			int status = runs_cut(store, stream);
			if (status < 0)
				return status;
			continue;
		}
		if (!stream->batch) {
			if (segment->pins || rows_left(store, stream) < 2) {
				stream_drop_segment(store, stream);
				continue;
			}
			int status = batch_new(store, stream->class, stream->segment, &stream->batch);
			if (status < 0)
				return status;
			stream->batch->moved = stream->class == CLASS_SURV;
		}
		int status = stream_cut_stripe(store, stream, last);
		if (status < 0)
			return status;
	}
	return 0;
}

/* Blocks that got no address are their submitters' again. */
static void queue_forget(struct stream *stream)
{
	while (list_pop_front(&stream->queue))
		;
	stream->queued_cells = 0;
}

static void place_failed(struct store *store, struct stream *stream, int status)
{
	if ((status == -ENOSPC || status == -EINVAL) && stream->class == CLASS_SURV) {
		queue_forget(stream);
		return;
	}
	if (store->place_error == 0)
		store->place_error = status;
	store_halt(store, status == -ENOSPC ? "no space left to write what was accepted" : "a block could not be placed");
}

void store_place(struct store *store, enum segment_class class, struct store_block *block)
{
	struct stream *stream = &store->streams[class];

	while (store->in_flight > store->options.in_flight_limit && !store->halted) {
		store_push_out(store);
		rt_queue_wait(store->rt, &store->room);
	}
	stream_queue(stream, block);
	if (class == CLASS_SYS || store->halted)
		return;
	int status = stream_cut(store, stream, false, false);
	if (status < 0)
		place_failed(store, stream, status);
}

int store_cut(struct store *store, enum segment_class class)
{
	struct stream *stream = &store->streams[class];

	if (store->halted) {
		queue_forget(stream);
		return store->place_error ? store->place_error : -POOL_EHALTED;
	}
	/* Data is placed once in a txg: its last stripe carries the summary. Metadata comes level by level. */
	int status = class == CLASS_SYS ? sys_cut(store, stream) : stream_cut(store, stream, true, class != CLASS_META);
	if (status < 0) {
		place_failed(store, stream, status);
		queue_forget(stream);
	}
	return store->halted ? status : 0;
}

int store_finish(struct store *store, enum segment_class class)
{
	struct stream *stream = &store->streams[class];
	int status = store_cut(store, class);

	if (status == 0) {
		status = class == CLASS_SYS ? sys_finish(store) : stream_close_batch(store, stream);
		if (status < 0)
			place_failed(store, stream, status);
	}
	if (stream->runs && !stream->batch)
		runs_drop(store, stream, false); /* the next txg looks for itself */
	unit_close(&stream->unit);
	return status;
}

void store_push_out(struct store *store)
{
	for (unsigned i = 0; i < CLASS_COUNT; i++)
		unit_close(&store->streams[i].unit);
}

int store_wait_writes(struct store *store)
{
	store_push_out(store);
	(void)rt_group_wait(store->rt, &store->writes);
	return store->halted ? -POOL_EHALTED : 0;
}

void store_retire(struct store *store, enum segment_class class)
{
	store->streams[class].retire = true;
}

bool store_close_segment(struct store *store, uint32_t segment)
{
	for (unsigned i = 0; i < CLASS_COUNT; i++) {
		struct stream *stream = &store->streams[i];
		if (!stream->has_segment || stream->segment != segment)
			continue;
		if (stream->batch) {
			stream->retire = true;
			return false;
		}
		stream_drop_segment(store, stream);
	}
	if (!ahead_close(store, segment))
		return false;
	alloc_segment_close(store->alloc, segment);
	return true;
}

int store_resume(struct store *store, bool hold)
{
	for (uint32_t id = 0; id < alloc_segment_count(store->alloc); id++) {
		struct segment *segment = alloc_segment(store->alloc, id);
		if (!segment || segment->record.state != SEGMENT_OPEN || segment->record.class >= CLASS_COUNT)
			continue;
		if (segment->record.flags & SEGMENT_AHEAD) {
			int status = ahead_resume(store, segment, hold);
			if (status < 0)
				return status;
			continue;
		}
		struct stream *stream = &store->streams[segment->record.class];
		bool whole = !(segment->record.flags & SEGMENT_DEGRADED);
		for (unsigned c = 0; c < (unsigned)segment->record.k + segment->record.m; c++) {
			uint16_t disk = segment->record.columns[c].disk;
			whole = whole && disk != DISK_ABSENT && store->disks[disk].state == DISK_ONLINE;
		}
		if (!whole || stream->has_segment || segment->record.rows_used + 2 > store->geometry.rows) {
			alloc_segment_close(store->alloc, id);
			continue;
		}
		stream->has_segment = true;
		stream->segment = id;
	}
	return 0;
}
