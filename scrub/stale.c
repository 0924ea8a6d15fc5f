/*
 * Cells whose write failed come first of all: their rows have been short of redundancy since they were committed. Their
 * disk works again, as a rule, so they are made from the other columns and written in place; nothing changes hands,
 * and the segment may go on taking rows. If the disk refuses again, the column moves.
 *
 * Order: written, flushed, then the record is dropped, then a commit without it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "libpool/base/bitmap.h"
#include "scrub/internal.h"

struct stale_repair {
	struct mover *mover;
	struct segment *segment;
	unsigned column;
	struct segment_plan *plan;
	struct row_window *window;
	struct array lost; /* struct stale_record */
};

/* Rows of the column's records that are live and still those of the batch that was meant. */
static void stale_rows(const struct stale_repair *repair, uint64_t *ret_rows)
{
	size_t count;
	const struct stale_record *records = alloc_stale(repair->mover->alloc, &count);

	memset(ret_rows, 0, ROW_WORDS * sizeof(*ret_rows));
	for (size_t i = 0; i < count; i++) {
		if (records[i].segment != repair->segment->id || records[i].column != repair->column)
			continue;
		for (unsigned r = 0; r < records[i].rows; r++) {
			const struct batch_index *batch = alloc_batch_find(repair->segment, records[i].base + r);
			if (batch && batch->txg == records[i].place)
				bitmap_set(ret_rows, records[i].base + r);
		}
	}
}

static int repair_piece(struct stale_repair *repair, const struct row_piece *piece)
{
	struct mover *mover = repair->mover;
	struct row_window *window = repair->window;
	struct summary_entry *summary = NULL;
	unsigned c = repair->column;
	int status = summary_get(mover->store, repair->segment, piece->row, &summary);

	if (status < 0 && status != -POOL_EDAMAGED && status != -ENOENT)
		return status;
	unsigned rows = plan_window(repair->plan, piece, mover->store, repair->segment, summary, window);
	status = 0;
	if (!summary) {
		status = window_read(window, window_present(window) & ~(1u << c));
		window_trust(window);
	}
	if (status == 0)
		status = window_solve(window, 1u << c);
	if (status == 0 || status == -POOL_EDAMAGED)
		status = window_write(window, c, repair->segment->record.columns[c]);
	unsigned made = window_count(window, 1u << c, CELL_REBUILT) + window_count(window, 1u << c, CELL_GOOD);
	for (unsigned r = 0; r < window->rows && status == 0; r++) {
		uint8_t state = window->state[c][r];
		if (state == CELL_REBUILT || state == CELL_GOOD || state == CELL_DEAD)
			continue;
		status = note_lost(&repair->lost, window->segment, c, window->row + r, window->place);
		report_lost_row(mover->job, mover->host, window, r);
	}
	if (status == 0) {
		mover->job->errors_found += rows;
		mover->job->cells_repaired += made;
		mover->job->cells_unrepaired += rows > made ? rows - made : 0;
		job_account(mover->job, mover->host, (uint64_t)rows * CELL_SIZE);
	}
	window_release(window);
	summary_put(mover->store, summary);
	return status;
}

/* One column in place; on success its records are gone, but for cells that could not be made. The segment is pinned. */
static int repair_in_place(struct stale_repair *repair)
{
	struct mover *mover = repair->mover;
	uint64_t committed = mover->host->committed(mover->host->argument), rows[ROW_WORDS];
	uint16_t index = repair->segment->record.columns[repair->column].disk;
	const struct store_disk *disk = store_disk(mover->store, index); /* NULL: the segment has begun anew, and has none of the rows */
	unsigned failures = disk ? disk->failures : 0;

	stale_rows(repair, rows);
	int status = plan_make(mover->alloc, repair->segment, committed, rows, repair->plan);
	for (size_t i = 0; i < repair->plan->pieces.count && status == 0; i++)
		status = repair_piece(repair, array_at(&repair->plan->pieces, struct row_piece, i));
	if (status == 0 && repair->plan->pieces.count)
		status = flush_disk(mover->store, index);
	/* It went after a cell was written, and is back: a flush says nothing of that. */
	if (status == 0 && disk && disk->failures != failures)
		status = -EIO;
	plan_release(repair->plan);
	if (status < 0)
		return status;
	forget_stale(mover->alloc, repair->segment->id, repair->column, committed);
	record_lost(mover->alloc, &repair->lost);
	update_degraded(mover->store, repair->segment);
	if (mover->unsaved++ == 0)
		mover->unsaved_since_ns = rt_now(mover->host->rt);
	return 0;
}

static int repair_column(struct mover *mover, uint32_t id, unsigned column)
{
	struct stale_repair repair = { .mover = mover, .segment = alloc_segment(mover->alloc, id), .column = column,
				       .plan = malloc(sizeof(*repair.plan)), .window = malloc(sizeof(*repair.window)) };
	int status = repair.plan && repair.window ? 0 : -ENOMEM;

	array_init(&repair.lost, sizeof(struct stale_record));
	if (status == 0 && repair.segment) {
		alloc_pin(repair.segment);
		status = repair_in_place(&repair);
		alloc_unpin(mover->alloc, repair.segment);
	}
	array_release(&repair.lost);
	free(repair.plan);
	free(repair.window);
	return status;
}

int repair_stale(struct mover *mover)
{
	size_t count;
	const struct stale_record *records = alloc_stale(mover->alloc, &count);
	struct stale_record *copy = count ? malloc(count * sizeof(*copy)) : NULL;
	int status = 0;

	if (count && !copy)
		return -ENOMEM;
	if (count)
		memcpy(copy, records, count * sizeof(*copy));
	for (size_t i = 0; i < count && status == 0; i++) {
		const struct segment *segment = alloc_segment(mover->alloc, copy[i].segment);
		bool seen = false;
		for (size_t j = 0; j < i; j++)
			seen |= copy[j].segment == copy[i].segment && copy[j].column == copy[i].column;
		uint16_t disk = segment ? segment->record.columns[copy[i].column].disk : DISK_ABSENT;
		/* Those of a disk that doesn't work, or is being left, go with the whole column. */
		if (seen || disk == DISK_ABSENT || disk == mover->job->disk || store_disk(mover->store, disk)->state != DISK_ONLINE)
			continue;
		status = job_rest(mover->job, mover->host);
		if (status < 0)
			break;
		status = repair_column(mover, copy[i].segment, copy[i].column);
		if (status < 0 && status != -ENOMEM) {
			status = move_columns(mover, copy[i].segment, 1u << copy[i].column);
			if (status == 0)
				status = moves_finish(mover, false);
			else if (status != -POOL_EHALTED && status != -ENOMEM)
				status = 0; /* the record stays: tried again by the next rebuild */
		}
	}
	free(copy);
	int finished = moves_finish(mover, true);
	return status < 0 ? status : finished;
}
