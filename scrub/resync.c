/*
 * Resync: a disk that was away comes back with old content. Every batch since its stale_from is read from it raw,
 * though the cells count as absent for everybody else, and judged; what is wrong is made from the other columns.
 *
 * Why this ends with nothing missed: a write to a RESYNC disk that fails is recorded as stale, so every txg that began
 * after the state became RESYNC looks after itself. The first thing done is a commit: what was under way when the state
 * changed is then among the batches to be read. Order at the end: healed, flushed, ONLINE, commit. A crash before
 * that commit leaves stale_from as it was, and the resync begins again. So it does when the disk goes and is back meanwhile: what was made
 * and not flushed may be gone.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "libpool/base/bitmap.h"
#include "scrub/internal.h"

#define SEGMENTS_AT_ONCE 4u
#define YIELD_SEGMENTS 256u

struct resync {
	struct job *job;
	const struct job_host *host;
	struct store *store;
	struct alloc *alloc;
	uint64_t first_txg, last_txg; /* batches of this pass */
	unsigned tasks, failures; /* of the disk, when this try began */
	struct rt_queue ended;
	struct array lost; /* struct stale_record */
	int error;
};

struct resync_task {
	struct resync *resync;
	struct segment *segment;
	unsigned column;
	struct segment_plan plan;
	struct row_window window, again;
};

static int column_of(const struct segment *segment, unsigned disk)
{
	if (!segment || alloc_segment_is_free(segment) || segment->record.state == SEGMENT_LOG)
		return -1;
	for (unsigned c = 0; c < (unsigned)segment->record.k + segment->record.m; c++)
		if (segment->record.columns[c].disk == disk)
			return (int)c;
	return -1;
}

/* The summary is lost, so nothing can say whether the cells are old: they are made anew from the others. */
static int rewrite_blindly(struct resync_task *task)
{
	struct row_window *window = &task->window;
	uint32_t column = 1u << task->column;
	int status = window_read(window, window_present(window) & ~column);

	window_trust(window);
	if (status == 0)
		status = window_solve(window, column);
	if (status == 0 || status == -POOL_EDAMAGED)
		status = window_write(window, task->column, task->segment->record.columns[task->column]);
	return status;
}

/* Rows whose cell isn't right, or has no CRC: with k columns more everything can be said and done about them. */
static int settle_rows(struct resync_task *task, const struct row_piece *piece, struct summary_entry *summary)
{
	struct resync *resync = task->resync;
	struct row_window *window = &task->window, *again = &task->again;
	uint32_t column = 1u << task->column, sources = 0;
	unsigned count = 0, left = 0;

	(void)plan_window(&task->plan, piece, resync->store, task->segment, summary, again);
	for (unsigned r = 0; r < window->rows; r++) {
		if (window->state[task->column][r] == CELL_GOOD)
			window_skip(again, r);
		left += again->state[task->column][r] != CELL_DEAD;
	}
	if (left == 0)
		return 0;
	again->ignore_stale = column;
	uint32_t present = window_present(again);
	for (unsigned c = 0; c < (unsigned)again->k + again->m && count < again->k; c++)
		if (present >> c & 1 && !(column >> c & 1)) {
			sources |= 1u << c;
			count++;
		}
	int status = window_read(again, column | sources);
	if (status == 0)
		status = settle_window(resync->job, resync->host, again);
	for (unsigned r = 0; r < again->rows && status == 0; r++) {
		uint8_t state = again->state[task->column][r];
		if (state != CELL_GOOD && state != CELL_REBUILT && state != CELL_DEAD)
			status = note_lost(&resync->lost, again->segment, task->column, again->row + r, again->place);
	}
	window_release(again);
	return status;
}

static int resync_piece(struct resync_task *task, const struct row_piece *piece)
{
	struct resync *resync = task->resync;
	struct row_window *window = &task->window;
	struct summary_entry *summary = NULL;
	int status = summary_get(resync->store, task->segment, piece->row, &summary);

	if (status < 0 && status != -POOL_EDAMAGED && status != -ENOENT)
		return status;
	unsigned rows = plan_window(&task->plan, piece, resync->store, task->segment, summary, window);
	if (summary) {
		window->ignore_stale = 1u << task->column;
		status = window_read(window, 1u << task->column);
		if (status == 0)
			status = settle_rows(task, piece, summary);
	} else {
		report_lost_summary(resync->job, resync->host, task->segment->id,
				    array_at(&task->plan.batches, struct batch_index, piece->batch));
		status = rewrite_blindly(task);
	}
	window_release(window);
	summary_put(resync->store, summary);
	job_account(resync->job, resync->host, (uint64_t)rows * CELL_SIZE);
	return status;
}

static bool still_resync(const struct resync *resync)
{
	const struct store_disk *disk = store_disk(resync->store, resync->job->disk);

	return disk->disk && disk->state == DISK_RESYNC && disk->failures == resync->failures;
}

static bool is_back(const struct resync *resync)
{
	const struct store_disk *disk = store_disk(resync->store, resync->job->disk);

	return disk->disk && disk->state == DISK_RESYNC && disk->failures != resync->failures;
}

/* The header of an AU that was given out while the disk was failing. */
static int resync_header(struct resync_task *task)
{
	struct resync *resync = task->resync;
	struct segment *segment = task->segment;

	if (!still_resync(resync))
		return -EIO; /* it went while the rows were read */
	if (segment->record.alloc_txg < resync->first_txg || store_check_au_header(resync->store, segment, task->column) == 0)
		return 0;
	return store_write_au_header(resync->store, segment, task->column, segment->record.columns[task->column],
				     resync->last_txg + 1);
}

static void resync_fiber(void *argument)
{
	struct resync_task *task = argument;
	struct resync *resync = task->resync;
	uint64_t rows[ROW_WORDS];
	int status = 0;

	if (live_rows_of(resync->alloc, task->segment, resync->first_txg, resync->last_txg, rows)) {
		status = plan_make(resync->alloc, task->segment, resync->last_txg, rows, &task->plan);
		for (size_t i = 0; i < task->plan.pieces.count && status == 0; i++)
			status = resync_piece(task, array_at(&task->plan.pieces, struct row_piece, i));
		plan_release(&task->plan);
	}
	if (status == 0)
		status = resync_header(task);
	alloc_unpin(resync->alloc, task->segment);
	if (status < 0)
		resync->error = status;
	free(task);
	resync->tasks--;
	rt_queue_wake_all(resync->host->rt, &resync->ended);
}

static void wait_for_tasks(struct resync *resync, unsigned at_most)
{
	while (resync->tasks > at_most)
		rt_queue_wait(resync->host->rt, &resync->ended);
}

static uint64_t count_bytes(struct resync *resync)
{
	uint64_t rows[ROW_WORDS], bytes = 0;

	for (uint32_t id = 0; id < alloc_segment_count(resync->alloc); id++) {
		const struct segment *segment = alloc_segment(resync->alloc, id);
		if (column_of(segment, resync->job->disk) >= 0)
			bytes += (uint64_t)live_rows_of(resync->alloc, segment, resync->first_txg, resync->last_txg, rows) * CELL_SIZE;
		if (id % YIELD_SEGMENTS == 0)
			rt_yield(resync->host->rt);
	}
	return bytes;
}

static int pass(struct resync *resync)
{
	struct job *job = resync->job;
	int status = 0;

	job->total_bytes = job->done_bytes + count_bytes(resync);
	for (uint32_t id = 0; id < alloc_segment_count(resync->alloc) && status == 0; id++) {
		struct segment *segment = alloc_segment(resync->alloc, id);
		int column = column_of(segment, job->disk);
		if (column < 0)
			continue;
		if (job_must_rest(job, resync->host)) {
			wait_for_tasks(resync, 0);
			status = job_rest(job, resync->host);
			if (status < 0)
				break;
		}
		wait_for_tasks(resync, SEGMENTS_AT_ONCE - 1);
		column = column_of(segment, job->disk); /* as it is now */
		if (column < 0)
			continue;
		struct resync_task *task = malloc(sizeof(*task));
		if (!task) {
			status = -ENOMEM;
			break;
		}
		task->resync = resync;
		task->segment = segment;
		task->column = (unsigned)column;
		alloc_pin(segment); /* from here on: another move mustn't take the column away before the fiber runs */
		resync->tasks++;
		if (rt_spawn(resync->host->rt, "resync segment", resync_fiber, task) < 0)
			resync_fiber(task);
		status = still_resync(resync) ? resync->error : -EIO;
	}
	wait_for_tasks(resync, 0);
	if (status == 0)
		status = still_resync(resync) ? resync->error : -EIO;
	return status;
}

/* No wait between the last look at the commits and the new state, but for the flush: later txgs look after themselves. */
static int make_online(struct resync *resync)
{
	struct store_disk *disk = store_disk(resync->store, resync->job->disk);

	if (flush_disk(resync->store, resync->job->disk) < 0 || !still_resync(resync))
		return -EIO;
	disk->state = DISK_ONLINE;
	disk->stale_from = 0;
	disk->state_dirty = true;
	disk->consecutive_errors = 0;
	record_lost(resync->alloc, &resync->lost);
	for (uint32_t id = 0; id < alloc_segment_count(resync->alloc); id++)
		if (column_of(alloc_segment(resync->alloc, id), resync->job->disk) >= 0)
			update_degraded(resync->store, alloc_segment(resync->alloc, id));
	alloc_disk_set_usable(resync->alloc, resync->job->disk, true);
	int status = resync->host->commit(resync->host->argument);
	return status == 0 && disk->state != DISK_ONLINE ? -EIO : status;
}

/* All that it missed, and ONLINE. */
static int bring_up_to_date(struct resync *resync)
{
	const struct job_host *host = resync->host;

	resync->failures = store_disk(resync->store, resync->job->disk)->failures;
	resync->first_txg = store_disk(resync->store, resync->job->disk)->stale_from;
	resync->error = 0;
	array_clear(&resync->lost);
	int status = host->commit(host->argument);
	while (status == 0) {
		resync->last_txg = host->committed(host->argument);
		if (resync->first_txg && resync->last_txg >= resync->first_txg)
			status = pass(resync);
		else if (resync->first_txg == 0)
			break; /* it missed nothing */
		if (status < 0 || host->committed(host->argument) == resync->last_txg)
			break;
		resync->first_txg = resync->last_txg + 1;
	}
	return status == 0 ? make_online(resync) : status;
}

int resync_run(struct job *job, const struct job_host *host)
{
	struct resync resync = { .job = job, .host = host, .store = host->store, .alloc = store_alloc(host->store) };
	int status;

	rt_queue_init(&resync.ended);
	array_init(&resync.lost, sizeof(struct stale_record));
	job_begin(job, host);
	if (job->disk == DISK_ABSENT)
		return job_end(job, host, -EIO);
	resync.failures = store_disk(resync.store, job->disk)->failures;
	if (!still_resync(&resync))
		return job_end(job, host, -EIO);
	/* Nobody else begins another resync of it as long as this one goes on. */
	do
		status = bring_up_to_date(&resync);
	while (status < 0 && status != -ECANCELED && status != -POOL_EHALTED && status != -ENOMEM && is_back(&resync));
	array_release(&resync.lost);
	return job_end(job, host, status);
}
