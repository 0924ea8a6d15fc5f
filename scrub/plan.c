/*
 * What is to be looked at in one segment: rows with a live cell, by batch, in pieces of the size of a window. A plan is
 * a copy, made in one engine step, of what alloc knows; its user waits for I/O, so each window checks its rows anew.
 *
 * What must always hold: while the segment is pinned, a row that the plan's window let pass keeps its content.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "libpool/base/bitmap.h"
#include "libpool/format/dva.h"
#include "scrub/internal.h"

bool segment_has_content(const struct segment *segment)
{
	return segment && segment->record.state != SEGMENT_NONE && segment->record.state != SEGMENT_LOG && segment->bits &&
	       !segment->released;
}

bool row_is_live(const struct alloc *alloc, const struct segment *segment, unsigned row)
{
	unsigned rows = alloc_geometry(alloc)->rows;

	for (unsigned c = 0; segment->bits && c < segment->bits_k; c++)
		if (bitmap_get(segment->bits, (size_t)c * rows + row))
			return true;
	return false;
}

unsigned live_rows(const struct alloc *alloc, const struct segment *segment, uint64_t *ret_rows)
{
	unsigned words = alloc_geometry(alloc)->rows / 64, count = 0;

	/* An AU has a multiple of 64 rows, so each column begins a word. */
	for (unsigned w = 0; w < words; w++) {
		uint64_t any = 0;
		for (unsigned c = 0; segment->bits && c < segment->bits_k; c++)
			any |= segment->bits[(size_t)c * words + w];
		ret_rows[w] = any;
		count += (unsigned)__builtin_popcountll(any);
	}
	return count;
}

unsigned live_rows_of(const struct alloc *alloc, const struct segment *segment, uint64_t first_txg, uint64_t last_txg, uint64_t *ret_rows)
{
	uint64_t live[ROW_WORDS];
	unsigned count = 0;

	memset(ret_rows, 0, ROW_WORDS * sizeof(*ret_rows));
	for (unsigned i = 0; i < segment->batch_count; i++) {
		const struct batch_index *batch = &segment->batches[i];
		if (batch->txg < first_txg || batch->txg > last_txg)
			continue;
		if (count == 0)
			live_rows(alloc, segment, live);
		unsigned stop = (unsigned)batch->base + batch->rows;
		for (size_t row = bitmap_next_set(live, batch->base, stop); row != BITMAP_NONE; row = bitmap_next_set(live, row + 1, stop)) {
			bitmap_set(ret_rows, row);
			count++;
		}
	}
	return count;
}

static int compare_batches(const void *a, const void *b)
{
	const struct batch_index *x = a, *y = b;

	if (x->summary_dva != y->summary_dva)
		return x->summary_dva < y->summary_dva ? -1 : 1;
	return x->base < y->base ? -1 : x->base > y->base;
}

static bool batch_has_row(const struct batch_index *batch, const struct batch_index *there)
{
	return there && there->summary_dva == batch->summary_dva && there->txg == batch->txg;
}

/* Rows [first, end) that hold the summary; true if the plan wants all that hold a cell of it. */
static bool summary_span(const struct segment_plan *plan, const struct segment *segment, const struct batch_index *batch,
			 unsigned *ret_first, unsigned *ret_end)
{
	struct dva dva = dva_unpack(batch->summary_dva);
	struct cell_run runs[COLUMNS_MAX];
	unsigned first = ROWS_MAX, end = 0;

	if (!dva_valid(dva, batch->summary_cells, segment->record.k, ROWS_MAX))
		return false;
	unsigned count = dva_runs(dva, batch->summary_cells, runs);
	for (unsigned i = 0; i < count; i++) {
		for (unsigned r = runs[i].row; r < (unsigned)runs[i].row + runs[i].rows; r++)
			if (!bitmap_get(plan->rows, r) || !batch_has_row(batch, alloc_batch_find(segment, r)))
				return false;
		first = runs[i].row < first ? runs[i].row : first;
		end = (unsigned)runs[i].row + runs[i].rows > end ? (unsigned)runs[i].row + runs[i].rows : end;
	}
	*ret_first = first;
	*ret_end = end;
	return true;
}

static unsigned rows_together(const struct alloc *alloc)
{
	unsigned most = alloc_rows_together(alloc);

	return most && most < WINDOW_ROWS_MAX ? most : WINDOW_ROWS_MAX;
}

/* The pieces of one batch, whose index entries are those given. */
static int add_batch(struct segment_plan *plan, unsigned most, const struct segment *segment, const struct batch_index *entries, unsigned count)
{
	uint16_t number = (uint16_t)plan->batches.count;
	unsigned first = 0, end = 0;
	bool summary = summary_span(plan, segment, &entries[0], &first, &end);
	struct row_piece open = { .batch = number };
	int status = array_push(&plan->batches, &entries[0]);

	if (status == 0 && summary) {
		struct row_piece piece = { number, (uint16_t)first, (uint16_t)(end - first), true };
		status = array_push(&plan->pieces, &piece);
	}
	for (unsigned i = 0; i < count && status == 0; i++) {
		unsigned stop = (unsigned)entries[i].base + entries[i].rows;
		for (size_t row = entries[i].base; status == 0; row++) {
			row = bitmap_next_set(plan->rows, row, stop);
			if (row == BITMAP_NONE)
				break;
			if (summary && row >= first && row < end)
				continue;
			bool crosses = summary && open.rows && open.row < first && row >= end;
			if (open.rows && row - open.row < most && !crosses) {
				open.rows = (uint16_t)(row - open.row + 1);
				continue;
			}
			if (open.rows)
				status = array_push(&plan->pieces, &open);
			open.row = (uint16_t)row;
			open.rows = 1;
		}
	}
	if (status == 0 && open.rows)
		status = array_push(&plan->pieces, &open);
	return status;
}

int plan_make(const struct alloc *alloc, const struct segment *segment, uint64_t committed, const uint64_t *filter,
	      struct segment_plan *plan)
{
	struct batch_index *copy = NULL;
	unsigned count = 0;
	int status = 0;

	memset(plan, 0, sizeof(*plan));
	array_init(&plan->batches, sizeof(struct batch_index));
	array_init(&plan->pieces, sizeof(struct row_piece));
	plan->segment = segment->id;
	plan->alloc_txg = segment->record.alloc_txg;
	if (!segment_has_content(segment) || segment->batch_count == 0)
		return 0;
	copy = malloc(segment->batch_count * sizeof(*copy));
	if (!copy)
		return -ENOMEM;
	uint64_t live[ROW_WORDS] = { 0 };
	live_rows(alloc, segment, live);
	for (unsigned i = 0; i < segment->batch_count; i++) {
		const struct batch_index *batch = &segment->batches[i];
		if (batch->txg > committed)
			continue;
		copy[count++] = *batch;
		unsigned stop = (unsigned)batch->base + batch->rows;
		for (size_t row = bitmap_next_set(live, batch->base, stop); row != BITMAP_NONE;
		     row = bitmap_next_set(live, row + 1, stop)) {
			if (filter && !bitmap_get(filter, row))
				continue;
			bitmap_set(plan->rows, row);
			plan->row_count++;
		}
	}
	qsort(copy, count, sizeof(*copy), compare_batches);
	for (unsigned i = 0; i < count && status == 0;) {
		unsigned stop = i + 1;
		while (stop < count && batch_has_row(&copy[i], &copy[stop]))
			stop++;
		size_t before = plan->pieces.count;
		status = add_batch(plan, rows_together(alloc), segment, &copy[i], stop - i);
		if (plan->pieces.count == before && plan->batches.count)
			plan->batches.count--;
		i = stop;
	}
	free(copy);
	return status;
}

void plan_release(struct segment_plan *plan)
{
	array_release(&plan->batches);
	array_release(&plan->pieces);
}

size_t plan_group(const struct segment_plan *plan, const struct alloc *alloc, const struct segment *segment, size_t from, uint64_t *ret_wanted,
		  unsigned *ret_first, unsigned *ret_end)
{
	unsigned first = ROWS_MAX, end = 0;
	size_t i = from;

	memset(ret_wanted, 0, sizeof(plan->rows));
	for (; i < plan->pieces.count; i++) {
		const struct row_piece *piece = array_at(&plan->pieces, struct row_piece, i);
		unsigned low = piece->row < first ? piece->row : first;
		unsigned high = (unsigned)piece->row + piece->rows > end ? (unsigned)piece->row + piece->rows : end;

		if (high - low > (i > from ? rows_together(alloc) : WINDOW_ROWS_MAX))
			break;
		first = low;
		end = high;
		const struct batch_index *batch = array_at(&plan->batches, struct batch_index, piece->batch);

		for (unsigned row = piece->row; row < (unsigned)piece->row + piece->rows; row++)
			if (bitmap_get(plan->rows, row) && batch_has_row(batch, alloc_batch_find(segment, row)))
				bitmap_set(ret_wanted, row);
	}
	*ret_first = first;
	*ret_end = end;
	return i;
}

bool plan_holds(const struct segment_plan *plan, const struct segment *segment)
{
	return segment_has_content(segment) && segment->record.alloc_txg == plan->alloc_txg;
}

unsigned plan_first_row(const struct segment_plan *plan, const struct row_piece *piece, const struct segment *segment)
{
	const struct batch_index *batch = array_at(&plan->batches, struct batch_index, piece->batch);

	for (unsigned row = piece->row; row < (unsigned)piece->row + piece->rows; row++)
		if (bitmap_get(plan->rows, row) && batch_has_row(batch, alloc_batch_find(segment, row)))
			return row;
	return 0;
}

unsigned plan_window(const struct segment_plan *plan, const struct row_piece *piece, struct store *store,
		     const struct segment *segment, struct summary_entry *summary, struct row_window *window)
{
	const struct batch_index *batch = array_at(&plan->batches, struct batch_index, piece->batch);
	unsigned left = 0;

	window_init(window, store, segment, piece->row, piece->rows, batch->txg, summary);
	for (unsigned r = 0; r < piece->rows; r++) {
		unsigned row = (unsigned)piece->row + r;
		if (bitmap_get(plan->rows, row) && row_is_live(store_alloc(store), segment, row) &&
		    batch_has_row(batch, alloc_batch_find(segment, row)))
			left++;
		else
			window_skip(window, r);
	}
	return left;
}
