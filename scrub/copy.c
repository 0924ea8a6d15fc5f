/*
 * The rows of columns that move, made at their new places. Pieces of a segment that lie close together are read with one request for each
 * column and written with one, whatever batches they are of: a segment that was overwritten here and there has many.
 *
 * Each piece is judged by its own batch's summary. What a request for many couldn't read, the piece's window asks for again.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "libpool/base/bitmap.h"
#include "libpool/format/dva.h"
#include "scrub/internal.h"

#define OUTPUT_ROWS_MAX (WINDOW_ROWS_MAX + SPAN_GAP_ROWS)

/* Of one column: what the pieces of a group made, to be written at once. */
struct row_output {
	struct buffer *buffer;
	/*
	 * Rows from `first`: made in this group, and all that are live. Of those, what isn't made here another group makes or has made,
	 * also where it lies between the rows of a piece.
	 */
	uint64_t made[(OUTPUT_ROWS_MAX + 63) / 64], live[(OUTPUT_ROWS_MAX + 63) / 64];
	unsigned first;                             /* row; 0: begins with the AU's header */
};

struct row_copy {
	struct mover *mover;
	const struct segment_plan *plan;
	struct segment *segment;
	struct summary_entry *summary; /* of the batch at hand */
	bool blind;                    /* which is lost: what is read is trusted, for the blocks' own checksums to judge */
	uint32_t columns;
	struct column_move *moves;
	unsigned move_count;
	struct row_window *window, *again;
	uint64_t txg;             /* of the headers; 0: they are written */
	size_t group_end;         /* pieces up to here lie in `span`, and in `outputs` if they are several */
	bool several;
	struct row_span *span;
	struct row_output *outputs; /* one for each move */
};

/* The first k columns that are there, those to be moved last: what rows are made from when nothing can judge them yet. */
static int read_sources(struct row_copy *copy, struct row_window *window)
{
	uint32_t present = window_present(window), mask = 0;
	unsigned count = 0;

	for (unsigned pass = 0; pass < 2; pass++)
		for (unsigned c = 0; c < (unsigned)window->k + window->m && count < window->k; c++) {
			bool moving = copy->columns >> c & 1;
			if (!(present >> c & 1) || moving != (pass == 1))
				continue;
			mask |= 1u << c;
			count++;
		}
	return window_read(window, mask);
}

static int solve(struct row_copy *copy, struct row_window *window)
{
	int status = copy->blind ? read_sources(copy, window) : 0;

	if (status == 0 && copy->blind)
		window_trust(window);
	for (unsigned i = 0; copy->several && i < copy->move_count; i++) {
		window->into[copy->moves[i].column] = copy->outputs[i].buffer;
		window->into_row = (uint16_t)copy->outputs[i].first;
	}
	if (status == 0)
		status = window_solve(window, copy->columns);
	return status == -POOL_EDAMAGED ? 0 : status; /* states tell */
}

static bool cell_is_made(const struct row_window *window, unsigned column, unsigned row)
{
	uint8_t state = window->state[column][row];

	return state == CELL_GOOD || state == CELL_REBUILT;
}

/* Skips the rows of `again` that `window` has for all wanted columns; returns how many are left. */
static unsigned skip_made_rows(const struct row_copy *copy, const struct row_window *window, struct row_window *again)
{
	unsigned left = 0;

	for (unsigned r = 0; r < window->rows; r++) {
		bool made = true;
		if (again->state[0][r] == CELL_DEAD)
			continue;
		for (unsigned c = 0; c < COLUMNS_MAX; c++)
			made &= !(copy->columns >> c & 1) || cell_is_made(window, c, r);
		if (made)
			window_skip(again, r);
		else
			left++;
	}
	return left;
}

/* Cells of wanted columns that neither window has. */
static int note_lost_rows(struct row_copy *copy, const struct row_window *window, const struct row_window *again)
{
	struct job *job = copy->mover->job;

	for (unsigned r = 0; r < window->rows; r++) {
		bool lost = false;
		for (unsigned i = 0; i < copy->move_count; i++) {
			unsigned c = copy->moves[i].column;
			if (window->state[c][r] == CELL_DEAD || cell_is_made(window, c, r) || (again && cell_is_made(again, c, r)))
				continue;
			int status = note_lost(&copy->moves[i].lost, window->segment, c, window->row + r, window->place);
			if (status < 0)
				return status;
			job->errors_found++;
			job->cells_unrepaired++;
			lost = true;
		}
		if (lost)
			report_lost_row(copy->mover->job, copy->mover->host, again ? again : window, r);
	}
	return 0;
}

/* What a window has made, to where a group gathers it, or to the disk when it is all that the group has. */
static int write_rows(struct row_copy *copy, struct row_window *window)
{
	int status = 0;

	for (unsigned i = 0; i < copy->move_count && status == 0; i++) {
		struct row_output *output = &copy->outputs[i];
		unsigned c = copy->moves[i].column;

		if (!window->columns[c])
			continue;
		if (!copy->several)
			status = window_write(window, c, copy->moves[i].to);
		for (unsigned r = 0; copy->several && r < window->rows; r++) {
			unsigned at = window->row + r - output->first;

			if (!cell_is_made(window, c, r))
				continue;
			if (window->columns[c] != output->buffer) /* it wasn't made there */
				memcpy(output->buffer->data + (size_t)at * CELL_SIZE, window_cell(window, c, r), CELL_SIZE);
			bitmap_set(output->made, at);
		}
	}
	return status;
}

/* Those that can be copied; if one can't, also k others that it is made from. */
static uint32_t source_columns(const struct row_copy *copy)
{
	uint32_t service = columns_in_service(copy->mover->store, copy->segment), mask = copy->columns & service;
	unsigned lacking = mask == copy->columns ? 0 : copy->segment->record.k;

	for (unsigned c = 0; lacking && c < COLUMNS_MAX; c++) {
		if (!(service & ~copy->columns & 1u << c))
			continue;
		mask |= 1u << c;
		lacking--;
	}
	return mask;
}

static int write_headers(struct row_copy *copy)
{
	int status = 0;

	for (unsigned i = 0; copy->txg && i < copy->move_count && status == 0; i++)
		status = store_write_au_header(copy->mover->store, copy->segment, copy->moves[i].column, copy->moves[i].to, copy->txg);
	copy->txg = 0;
	return status;
}

/* The pieces from `from` on that are read together. The first of a segment take the headers along. */
static int begin_group(struct row_copy *copy, size_t from)
{
	uint64_t wanted[ROW_WORDS];
	unsigned first, end;

	copy->group_end = plan_group(copy->plan, copy->mover->alloc, copy->segment, from, wanted, &first, &end);
	copy->several = copy->group_end - from > 1;
	bool headers = copy->several && copy->txg && first <= SPAN_GAP_ROWS;

	if (copy->txg && !headers) {
		int status = write_headers(copy);
		if (status < 0)
			return status;
	}
	for (unsigned i = 0; copy->several && i < copy->move_count; i++) {
		struct row_output *output = &copy->outputs[i];

		*output = (struct row_output){ .first = headers ? 0 : first };
		output->buffer = buffer_new((size_t)(end - output->first) * CELL_SIZE);
		if (!output->buffer)
			return -ENOMEM;
		for (unsigned row = output->first; row < end; row++)
			if (bitmap_get(copy->plan->rows, row))
				bitmap_set(output->live, row - output->first);
		if (!headers)
			continue;
		store_fill_au_header(copy->mover->store, copy->segment, copy->moves[i].column, copy->moves[i].to, copy->txg, output->buffer->data);
		bitmap_set(output->made, 0);
	}
	if (headers)
		copy->txg = 0;
	span_read(copy->span, copy->mover->store, copy->segment, wanted, first, end - first, source_columns(copy));
	return 0;
}

static void release_group(struct row_copy *copy)
{
	span_release(copy->span);
	for (unsigned i = 0; i < copy->move_count; i++) {
		buffer_unref(copy->outputs[i].buffer);
		copy->outputs[i].buffer = NULL;
	}
}

static int end_group(struct row_copy *copy)
{
	int status = 0;

	for (unsigned i = 0; i < copy->move_count && status == 0; i++) {
		struct row_output *output = &copy->outputs[i];

		if (output->buffer)
			status = store_write_rows(copy->mover->store, copy->segment->id, copy->moves[i].to, output->first,
						  output->buffer->size / CELL_SIZE, output->made, output->live, output->buffer);
	}
	release_group(copy);
	return status;
}

/*
 * Copied from the old places where those can be read, made from other columns where not. *ret_again: `again` was used. Where nothing can judge what is read, a copy
 * is as good as what it was copied from, and what is made of others may be wrong where that is right.
 */
static int make_rows(struct row_copy *copy, const struct row_piece *piece, bool *ret_again)
{
	uint32_t old = copy->columns & columns_in_service(copy->mover->store, copy->segment) & window_present(copy->window);
	int status = 0;

	if (!old)
		return solve(copy, copy->window);
	status = window_read(copy->window, old);
	if (status < 0)
		return status;
	if (copy->blind)
		window_trust(copy->window);
	(void)plan_window(copy->plan, piece, copy->mover->store, copy->segment, copy->summary, copy->again);
	window_set_span(copy->again, copy->span);
	if (skip_made_rows(copy, copy->window, copy->again) == 0)
		return 0;
	*ret_again = true;
	return solve(copy, copy->again);
}

/* The piece with the summary's own rows: k columns are read, the summary is found in them, and judges them. */
static int make_summary_rows(struct row_copy *copy, const struct row_piece *piece, bool *ret_again)
{
	const struct batch_index *batch = array_at(&copy->plan->batches, struct batch_index, piece->batch);
	struct mover *mover = copy->mover;
	int status = read_sources(copy, copy->window);

	if (status == 0)
		status = window_find_summary(copy->window, batch, &copy->summary);
	if (status == -POOL_EDAMAGED)
		status = summary_get(mover->store, copy->segment, piece->row, &copy->summary);
	if (status == -POOL_EDAMAGED || status == -ENOENT) {
		report_lost_summary(mover->job, mover->host, copy->segment->id, batch);
		copy->blind = true;
		return make_rows(copy, piece, ret_again);
	}
	if (status < 0)
		return status;
	window_set_summary(copy->window, copy->summary);
	return solve(copy, copy->window);
}

static int copy_piece(struct row_copy *copy, const struct row_piece *piece)
{
	bool again = false;
	unsigned rows = plan_window(copy->plan, piece, copy->mover->store, copy->segment, copy->summary, copy->window);

	if (rows == 0)
		return 0;
	window_set_span(copy->window, copy->span);
	int status = piece->summary && !copy->summary ? make_summary_rows(copy, piece, &again) : make_rows(copy, piece, &again);
	if (status == 0)
		status = write_rows(copy, copy->window);
	if (status == 0 && again)
		status = write_rows(copy, copy->again);
	if (status == 0)
		status = note_lost_rows(copy, copy->window, again ? copy->again : NULL);
	window_release(copy->window);
	if (again)
		window_release(copy->again);
	if (status == 0)
		job_account(copy->mover->job, copy->mover->host, (uint64_t)rows * copy->move_count * CELL_SIZE);
	return status;
}

static int copy_rows(struct row_copy *copy)
{
	struct mover *mover = copy->mover;
	int status = 0, batch = -1;

	for (size_t i = 0; i < copy->plan->pieces.count && status == 0; i++) {
		const struct row_piece *piece = array_at(&copy->plan->pieces, struct row_piece, i);
		if (i >= copy->group_end)
			status = begin_group(copy, i);
		if (status == 0 && piece->batch != batch) {
			const struct batch_index *index = array_at(&copy->plan->batches, struct batch_index, piece->batch);
			batch = piece->batch;
			summary_put(mover->store, copy->summary);
			copy->summary = summary_cached(mover->store, index);
			copy->blind = false;
			if (!copy->summary && !piece->summary)
				status = summary_get(mover->store, copy->segment, piece->row, &copy->summary);
			if (status == -POOL_EDAMAGED || status == -ENOENT) {
				report_lost_summary(mover->job, mover->host, copy->segment->id, index);
				copy->blind = true;
				status = 0;
			}
		}
		if (status == 0)
			status = copy_piece(copy, piece);
		if (status == 0 && i + 1 == copy->group_end)
			status = end_group(copy);
	}
	release_group(copy);
	summary_put(mover->store, copy->summary);
	copy->summary = NULL;
	return status == 0 ? write_headers(copy) : status;
}

int copy_columns(struct mover *mover, struct segment *segment, struct column_move *moves, unsigned count)
{
	struct segment_plan *plan = malloc(sizeof(*plan));
	uint64_t committed = mover->host->committed(mover->host->argument);
	struct row_copy copy = { .mover = mover, .plan = plan, .segment = segment, .moves = moves, .move_count = count, .txg = committed + 1,
				 .window = malloc(sizeof(struct row_window)), .again = malloc(sizeof(struct row_window)),
				 .span = calloc(1, sizeof(struct row_span)), .outputs = calloc(count, sizeof(struct row_output)) };
	int status = -ENOMEM;

	if (plan && copy.window && copy.again && copy.span && copy.outputs) {
		status = plan_make(mover->alloc, segment, committed, NULL, plan);
		for (unsigned i = 0; i < count; i++)
			copy.columns |= 1u << moves[i].column;
		if (status == 0)
			status = copy_rows(&copy);
		plan_release(plan);
	}
	free(plan);
	free(copy.window);
	free(copy.again);
	free(copy.span);
	free(copy.outputs);
	return status;
}
