/*
 * The content of all rows with a live cell: CRCs (I3), the parity equation of every row that is complete and right by its
 * CRCs (I4), and the summaries' lists of blocks: each live cell is named, and each reachable block by its own address and size.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "libpool/base/bitmap.h"
#include "libpool/format/dva.h"
#include "raid/parity.h"
#include "scrub/verify_internal.h"

struct parity_job {
	const struct row_window *window;
	unsigned rows;  /* checked */
	int wrong;      /* the first row that is wrong although the CRC of every cell is right, or -1 */
	int doubtful;   /* the first that is wrong and has cells that no CRC vouches for, or -1 */
	unsigned doubtful_rows;
};

static bool row_is_complete(const struct row_window *window, unsigned row)
{
	for (unsigned c = 0; c < (unsigned)window->k + window->m; c++)
		if (window->state[c][row] != CELL_GOOD && window->state[c][row] != CELL_UNVERIFIED)
			return false;
	return true;
}

/* Every cell was judged by a CRC: not so for a batch without its summary, and beside summaries. */
static bool row_is_vouched_for(const struct row_window *window, unsigned row)
{
	for (unsigned c = 0; c < (unsigned)window->k + window->m; c++)
		if (window->state[c][row] != CELL_GOOD)
			return false;
	return true;
}

static void parity_run(void *argument)
{
	struct parity_job *job = argument;
	const struct row_window *window = job->window;

	for (unsigned r = 0; r < window->rows; r++) {
		const void *columns[COLUMNS_MAX];
		if (!row_is_complete(window, r))
			continue;
		for (unsigned c = 0; c < (unsigned)window->k + window->m; c++)
			columns[c] = window_cell(window, c, r);
		job->rows++;
		if (raid_verify(window->k, window->m, CELL_SIZE, columns))
			continue;
		if (row_is_vouched_for(window, r)) {
			job->wrong = job->wrong < 0 ? (int)r : job->wrong;
			continue;
		}
		job->doubtful = job->doubtful < 0 ? (int)r : job->doubtful;
		job->doubtful_rows++;
	}
}

static void check_window(struct verify *verify, struct row_window *window, unsigned rows)
{
	struct parity_job job = { .window = window, .wrong = -1, .doubtful = -1 };
	uint32_t all = (1u << (window->k + window->m)) - 1;
	unsigned damaged = window_count(window, all, CELL_BAD) + window_count(window, all, CELL_UNREADABLE);

	verify->result.rows_checked += rows;
	verify->result.cells_checked += window_count(window, all, CELL_GOOD) + window_count(window, all, CELL_UNVERIFIED) + damaged;
	verify->result.damaged_cells += damaged;
	if (damaged)
		verify_damage(verify, "segment %u, rows from %u on: %u cells differ from their CRC or can't be read", window->segment,
			      window->row, damaged);
	rt_work(verify->rt, parity_run, &job);
	if (job.wrong >= 0)
		verify_violation(verify, "segment %u, row %u: parity doesn't belong to the data, though every CRC is right",
				 window->segment, window->row + (unsigned)job.wrong);
	/* At least one cell of each is wrong; which, nothing tells. */
	verify->result.damaged_cells += job.doubtful_rows;
	if (job.doubtful_rows)
		verify_damage(verify, "segment %u, row %u: parity doesn't belong to the data, and not every cell has a CRC that is right",
			      window->segment, window->row + (unsigned)job.doubtful);
}

/* Marks what the summary names; blocks that the walk reached are compared. */
static void name_blocks(struct verify *verify, const struct segment *segment, const struct summary *summary, uint64_t *named,
			uint64_t *covered)
{
	const uint64_t *starts = verify->segments[segment->id].starts;

	for (uint32_t i = 0; i < summary->block_count; i++) {
		const struct summary_block *block = &summary->blocks[i];
		uint64_t address;
		struct cell_run runs[COLUMNS_MAX];
		if (block_at(summary, block->column, block->row, &address) != block)
			continue; /* the decoder has judged shapes; an overlap shows below */
		unsigned count = dva_runs(dva_unpack(address), block->psect, runs);
		size_t start = (size_t)block->column * verify->rows + block->row;
		bool reached = starts && bitmap_get(starts, start);
		for (unsigned r = 0; r < count; r++) {
			size_t first = (size_t)runs[r].column * verify->rows + runs[r].row;
			bitmap_set_range(named, first, runs[r].rows);
			if (reached && covered)
				bitmap_set_range(covered, first, runs[r].rows);
		}
	}
}

static void name_summary(struct verify *verify, const struct batch_index *batch, uint64_t *named, uint64_t *covered)
{
	struct cell_run runs[COLUMNS_MAX];
	unsigned count = dva_runs(dva_unpack(batch->summary_dva), batch->summary_cells, runs);

	for (unsigned r = 0; r < count; r++) {
		size_t first = (size_t)runs[r].column * verify->rows + runs[r].row;
		bitmap_set_range(named, first, runs[r].rows);
		bitmap_set_range(covered, first, runs[r].rows);
	}
}

static void compare_names(struct verify *verify, const struct segment *segment, const struct segment_plan *plan,
			  const uint64_t *named, const uint64_t *covered)
{
	size_t bits = (size_t)segment->record.k * verify->rows;
	const uint64_t *reached = verify->segments[segment->id].cells;
	bool compare = verify->walked_txg && verify->walked_txg == verify->source->committed(verify->source->argument);

	for (size_t bit = 0; segment->bits && (bit = bitmap_next_set(segment->bits, bit, bits)) != BITMAP_NONE; bit++) {
		unsigned column = (unsigned)(bit / verify->rows), row = (unsigned)(bit % verify->rows);
		if (!bitmap_get(plan->rows, row))
			continue; /* became live meanwhile */
		if (!bitmap_get(named, bit))
			verify_violation(verify, "segment %u: live cell in column %u, row %u is named by no summary", segment->id, column, row);
		else if (compare && reached && bitmap_get(reached, bit) && !bitmap_get(covered, bit))
			verify_violation(verify, "segment %u: the block at column %u, row %u is named with another address or size",
					 segment->id, column, row);
	}
}

static int check_batch_window(struct verify *verify, const struct segment_plan *plan, const struct segment *segment,
			      const struct row_piece *piece, struct summary_entry *summary)
{
	struct row_window *window = malloc(sizeof(*window));

	if (!window)
		return -ENOMEM;
	unsigned rows = plan_window(plan, piece, verify->store, segment, summary, window);
	int status = rows ? window_read(window, columns_in_service(verify->store, segment)) : 0;
	if (status == 0 && rows)
		check_window(verify, window, rows);
	window_release(window);
	free(window);
	return status;
}

static int check_content(struct verify *verify, struct segment *segment, struct segment_plan *plan, uint64_t *named,
			 uint64_t *covered)
{
	struct summary_entry *summary = NULL;
	int status = 0, at = -1;
	bool lost = false;

	for (size_t i = 0; i < plan->pieces.count && status == 0; i++) {
		const struct row_piece *piece = array_at(&plan->pieces, struct row_piece, i);
		const struct batch_index *batch = array_at(&plan->batches, struct batch_index, piece->batch);
		if (piece->batch != at) {
			at = piece->batch;
			summary_put(verify->store, summary);
			summary = NULL;
			status = summary_get(verify->store, segment, piece->row, &summary);
			if ((status == -POOL_EDAMAGED || status == -ENOENT) && batch_is_gone(verify->store, segment->id, batch)) {
				lost = true;
				status = 0;
			} else if (status == -POOL_EDAMAGED || status == -ENOENT) {
				verify->result.damaged_blocks++;
				verify_damage(verify, "segment %u: the summary of txg %llu can't be read", segment->id,
					      (unsigned long long)batch->txg);
				lost = true;
				status = 0;
			} else if (status == 0) {
				name_summary(verify, batch, named, covered);
				name_blocks(verify, segment, summary_of(summary), named, covered);
			}
		}
		if (status == 0)
			status = verify_is_cancelled(verify) ? -ECANCELED : check_batch_window(verify, plan, segment, piece, summary);
	}
	summary_put(verify->store, summary);
	if (status == 0 && !lost)
		compare_names(verify, segment, plan, named, covered);
	return status;
}

static int check_segment(struct verify *verify, struct segment *segment)
{
	struct segment_plan *plan = malloc(sizeof(*plan));
	size_t words = BITMAP_WORDS((size_t)segment->record.k * verify->rows);
	uint64_t *named = calloc(words, 8), *covered = calloc(words, 8);
	int status = plan && named && covered ? 0 : -ENOMEM;

	alloc_pin(segment);
	if (status == 0) {
		status = plan_make(verify->alloc, segment, verify->source->committed(verify->source->argument), NULL, plan);
		if (status == 0)
			status = check_content(verify, segment, plan, named, covered);
		plan_release(plan);
	}
	alloc_unpin(verify->alloc, segment);
	free(plan);
	free(named);
	free(covered);
	return status;
}

int verify_cells(struct verify *verify)
{
	int status = 0;

	for (uint32_t id = 0; id < verify->segment_count && status == 0; id++) {
		struct segment *segment = alloc_segment(verify->alloc, id);
		if (segment_has_content(segment) && !alloc_segment_is_free(segment))
			status = check_segment(verify, segment);
	}
	return status;
}
