/*
 * Scrub: every row with a live cell, in the order of segments and, within one, of rows. The summary of a batch is taken
 * from the rows that are read anyway, so each cell is read once. No tree is walked unless a summary is lost (owners.c),
 * and nothing is decoded unless a cell is wrong.
 *
 * Windows are handled by fibers of their own, some at a time, so that the disks stay busy while CRCs are checked on
 * workers. Each holds a pin of its segment until its last write has ended; before the job sleeps, all have ended.
 *
 * Where batches are short, several windows' rows, and the headers, are read with one request for each column (store/span.h), and those of the
 * next segments while this one is looked at.
 */
#include "scrub/scrub.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "libpool/store/span.h"
#include "libpool/txg/core.h"
#include "scrub/internal.h"

#define WINDOWS_MAX 3u
#define YIELD_SEGMENTS 256u
#define AHEAD_SEGMENTS 64u /* that are looked through for one with something in it */
#define AHEAD_MAX 4u
#define PIN_SHARE 256u /* no more than one of so many segments, but one */
#define AHEAD_BYTES (UINT64_C(8) << 20) /* of what is read ahead, in all columns; one segment in any case */

struct scrub {
	struct job *job;
	const struct job_host *host;
	struct store *store;
	struct alloc *alloc;
	unsigned windows; /* fibers on windows */
	unsigned tasks;   /* all fibers */
	struct rt_queue ended;
	int error;        /* -ENOMEM of a fiber */
	struct array lost_batches; /* struct batch_index: their summaries can't be read */
	uint64_t *missing; /* a verification: cells of each disk that were not there */
	/* Segments after the one at hand, in the order of their turns: some are being read. Each stays where it is until its turn. */
	struct segment_look *ahead[AHEAD_MAX];
	unsigned ahead_count;
};

struct ahead_task {
	struct scrub *scrub;
	struct segment_look *look;
};

struct window_task {
	struct scrub *scrub;
	struct segment *segment;
	struct summary_entry *summary;
	struct shared_span *span;
	struct row_window window;
	unsigned rows;
};

struct header_task {
	struct scrub *scrub;
	struct segment *segment;
	unsigned column;
};

static void task_ended(struct scrub *scrub, struct segment *segment)
{
	alloc_unpin(scrub->alloc, segment);
	scrub->tasks--;
	rt_queue_wake_all(scrub->host->rt, &scrub->ended);
}

static void drain(struct scrub *scrub)
{
	while (scrub->tasks)
		rt_queue_wait(scrub->host->rt, &scrub->ended);
}

/* No fiber is left, and no pin but the caller's. */
static void settle(struct scrub *scrub)
{
	drain(scrub);
	while (scrub->ahead_count) {
		struct segment_look *look = scrub->ahead[--scrub->ahead_count];

		look_end(scrub->alloc, look);
		free(look);
	}
}

static void account_rows(struct scrub *scrub, const struct row_window *window, unsigned rows)
{
	job_account(scrub->job, scrub->host, (uint64_t)rows * (window->k + window->m) * CELL_SIZE);
}

/* Cells that the disk did give, with other content than was written. */
static void note_missing(struct scrub *scrub, const struct segment *segment, const struct row_window *window)
{
	for (unsigned c = 0; scrub->missing && c < (unsigned)window->k + window->m; c++) {
		uint16_t disk = segment->record.columns[c].disk;

		for (unsigned r = 0; r < window->rows && disk != DISK_ABSENT; r++) {
			uint8_t state = window->state[c][r];
			scrub->missing[disk] += (state == CELL_REBUILT ? window->origin[c][r] : state) == CELL_BAD;
		}
	}
}

static void window_fiber(void *argument)
{
	struct window_task *task = argument;
	struct scrub *scrub = task->scrub;
	int status = window_read(&task->window, columns_in_service(scrub->store, task->segment));

	scrub->job->unchecked += cells_unchecked(scrub->store, task->segment, &task->window);
	if (status == 0)
		status = settle_window(scrub->job, scrub->host, &task->window);
	if (status < 0)
		scrub->error = status;
	else
		note_missing(scrub, task->segment, &task->window);
	account_rows(scrub, &task->window, task->rows);
	window_release(&task->window);
	shared_span_put(task->span);
	summary_put(scrub->store, task->summary);
	struct segment *segment = task->segment;
	free(task);
	scrub->windows--;
	task_ended(scrub, segment);
}

/* The AU's header is a cell outside of every row: it is written anew from the segment table. */
static void header_fiber(void *argument)
{
	struct header_task *task = argument;
	struct scrub *scrub = task->scrub;
	struct job *job = scrub->job;
	struct segment *segment = task->segment;
	struct segment_column column = segment->record.columns[task->column];
	int status = store_check_au_header(scrub->store, segment, task->column);

	/* Of one that doesn't answer nothing is known. */
	if (status < 0 && status != -ENOMEM && columns_that_answer(scrub->store, segment) >> task->column & 1) {
		job->errors_found++;
		if (store_write_au_header(scrub->store, segment, task->column, column,
					  scrub->host->committed(scrub->host->argument) + 1) == 0)
			job->cells_repaired++;
		else
			job->cells_unrepaired++;
	}
	free(task);
	task_ended(scrub, segment);
}

static void check_headers(struct scrub *scrub, struct segment *segment, const struct shared_span *span)
{
	uint32_t mask = columns_in_service(scrub->store, segment);

	for (unsigned c = 0; c < COLUMNS_MAX; c++) {
		const uint8_t *cell = span && mask >> c & 1 ? span_cell(&span->span, c, 0) : NULL;

		if (cell && store_judge_au_header(scrub->store, segment, c, cell) == 0)
			continue;
		struct header_task *task = mask >> c & 1 ? malloc(sizeof(*task)) : NULL;
		if (!task)
			continue;
		*task = (struct header_task){ scrub, segment, c };
		alloc_pin(segment);
		scrub->tasks++;
		if (rt_spawn(scrub->host->rt, "scrub header", header_fiber, task) < 0)
			header_fiber(task);
	}
}

/*
 * Before the next piece. What was read before a rest isn't used after it: first its windows have their turn, so that nothing is read twice.
 * -EAGAIN: what was planned for is gone.
 */
static int breathe(struct scrub *scrub, struct segment_look *look, size_t piece)
{
	if (!job_must_rest(scrub->job, scrub->host) || (look->span && piece < look->span_end))
		return scrub->error;
	settle(scrub);
	shared_span_put(look->span);
	look->span = NULL;
	alloc_unpin(scrub->alloc, look->segment);
	int status = job_rest(scrub->job, scrub->host);
	alloc_pin(look->segment);
	if (status == 0 && !plan_holds(look->plan, look->segment))
		status = -EAGAIN;
	return status;
}

static int start_window(struct scrub *scrub, const struct segment_look *look, const struct row_piece *piece, struct summary_entry *summary)
{
	const struct segment_plan *plan = look->plan;
	struct segment *segment = look->segment;

	while (scrub->windows >= WINDOWS_MAX)
		rt_queue_wait(scrub->host->rt, &scrub->ended);
	struct window_task *task = malloc(sizeof(*task));
	if (!task)
		return -ENOMEM;
	task->scrub = scrub;
	task->segment = segment;
	task->rows = plan_window(plan, piece, scrub->store, segment, summary, &task->window);
	if (task->rows == 0) {
		free(task);
		return 0;
	}
	task->span = look->span;
	if (task->span) {
		task->span->references++;
		window_set_span(&task->window, &task->span->span);
	}
	/* A reference of its own. */
	task->summary = summary_cached(scrub->store, array_at(&plan->batches, struct batch_index, piece->batch));
	if (task->summary)
		task->window.summary = task->summary;
	alloc_pin(segment);
	scrub->tasks++;
	scrub->windows++;
	/* One that left the cache lives as long as the caller holds it: the window must be done by then. */
	if (!task->summary || rt_spawn(scrub->host->rt, "scrub window", window_fiber, task) < 0)
		window_fiber(task);
	return 0;
}

static int lose_summary(struct scrub *scrub, uint32_t segment, const struct batch_index *batch)
{
	return report_lost_summary(scrub->job, scrub->host, segment, batch) ? array_push(&scrub->lost_batches, batch) : 0;
}

/* The piece that has the summary: read, understood, judged by it. *ret_summary is NULL when it is lost. */
static int scrub_summary_piece(struct scrub *scrub, const struct segment_look *look, const struct row_piece *piece,
			       struct summary_entry **ret_summary)
{
	const struct segment_plan *plan = look->plan;
	struct segment *segment = look->segment;
	const struct batch_index *batch = array_at(&plan->batches, struct batch_index, piece->batch);
	struct row_window *window = malloc(sizeof(*window));
	struct summary_entry *summary = summary_cached(scrub->store, batch);

	if (!window) {
		summary_put(scrub->store, summary);
		return -ENOMEM;
	}
	unsigned rows = plan_window(plan, piece, scrub->store, segment, summary, window);
	if (look->span)
		window_set_span(window, &look->span->span);
	int status = rows ? window_read(window, columns_in_service(scrub->store, segment)) : 0;
	scrub->job->unchecked += rows ? cells_unchecked(scrub->store, segment, window) : 0;
	if (status == 0 && rows && !summary) {
		status = window_find_summary(window, batch, &summary);
		if (status == -POOL_EDAMAGED)
			status = summary_get(scrub->store, segment, piece->row, &summary);
		if (status == 0)
			window_set_summary(window, summary);
	}
	if (status == 0 && rows) {
		window_restore_summary(window); /* what is cached can be put back */
		status = settle_window(scrub->job, scrub->host, window);
		note_missing(scrub, segment, window);
	} else if (status == -POOL_EDAMAGED || status == -ENOENT) {
		status = lose_summary(scrub, segment->id, batch);
	}
	account_rows(scrub, window, rows);
	window_release(window);
	free(window);
	if (status < 0)
		summary_put(scrub->store, summary);
	else
		*ret_summary = summary;
	return status;
}

static int scrub_batches(struct scrub *scrub, struct segment_look *look)
{
	const struct segment_plan *plan = look->plan;
	struct segment *segment = look->segment;
	struct summary_entry *summary = NULL;
	int status = 0, batch = -1;

	for (size_t i = 0; i < plan->pieces.count && status == 0; i++) {
		const struct row_piece *piece = array_at(&plan->pieces, struct row_piece, i);
		status = breathe(scrub, look, i);
		if (status < 0)
			break;
		if (i >= look->span_end)
			look_read(scrub->store, look, i);
		unsigned row = plan_first_row(plan, piece, segment);
		if (row == 0)
			continue; /* while the segment wasn't pinned its rows died, and may be another batch's */
		if (piece->batch != batch) {
			batch = piece->batch;
			summary_put(scrub->store, summary);
			summary = NULL;
			if (piece->summary) {
				status = scrub_summary_piece(scrub, look, piece, &summary);
				continue;
			}
			status = summary_get(scrub->store, segment, row, &summary);
			if (status == -POOL_EDAMAGED || status == -ENOENT)
				status = lose_summary(scrub, segment->id,
						      array_at(&plan->batches, struct batch_index, piece->batch));
		}
		if (status == 0 && summary)
			status = start_window(scrub, look, piece, summary);
	}
	summary_put(scrub->store, summary);
	return status;
}

/* What its blocks say is judged by who replays them; here all that counts is that each row can be read. */
static int scrub_log(struct scrub *scrub, struct segment *segment)
{
	struct core_log_repair repair = { 0 };

	alloc_pin(segment);
	check_headers(scrub, segment, NULL);
	int status = scrub->host->repair_log ? scrub->host->repair_log(scrub->host->argument, segment->id, &repair) : 0;
	alloc_unpin(scrub->alloc, segment);
	scrub->job->errors_found += repair.found;
	scrub->job->cells_repaired += repair.repaired;
	scrub->job->cells_unrepaired += repair.unrepaired;
	return status;
}

/* The rows that the job is about; how many. */
static unsigned wanted_rows(const struct scrub *scrub, const struct segment *segment, uint64_t *ret_rows)
{
	const struct job *job = scrub->job;

	return job->kind == JOB_VERIFY ? live_rows_of(scrub->alloc, segment, job->first_txg, job->last_txg, ret_rows) :
					 live_rows(scrub->alloc, segment, ret_rows);
}

static int begin_look(struct scrub *scrub, uint32_t id, struct segment_look *ret_look)
{
	struct segment *segment = alloc_segment(scrub->alloc, id);
	uint64_t rows[ROW_WORDS];

	ret_look->segment = NULL;
	if (!segment_has_content(segment) || wanted_rows(scrub, segment, rows) == 0)
		return 0;
	return look_begin(scrub->alloc, segment, scrub->host->committed(scrub->host->argument), rows, ret_look);
}

static void ahead_fiber(void *argument)
{
	struct ahead_task *task = argument;
	struct scrub *scrub = task->scrub;
	struct segment *segment = task->look->segment;

	look_read(scrub->store, task->look, 0);
	task->look->reading = false;
	free(task);
	task_ended(scrub, segment);
}

/* So many that the disks have something to do whenever the engine, or who judges, takes a while; but pins are dear where segments are few. */
static unsigned ahead_max(const struct scrub *scrub)
{
	const struct geometry *geometry = alloc_geometry(scrub->alloc);
	unsigned rows = geometry->rows < WINDOW_ROWS_MAX ? geometry->rows : WINDOW_ROWS_MAX;
	uint64_t count = AHEAD_BYTES / ((uint64_t)rows * (geometry->k + geometry->m) * CELL_SIZE);
	uint32_t share = alloc_segment_count(scrub->alloc) / PIN_SHARE;

	/* A job with a limit rests often, and what was read ahead goes with each rest. */
	if (scrub->job->bytes_per_second)
		return 0;
	count = count < share ? count : share;
	return count < 1 ? 1 : count < AHEAD_MAX ? (unsigned)count : AHEAD_MAX;
}

/* One more: false if there is none, or no memory for it, as its turn will tell. */
static bool look_further(struct scrub *scrub, uint32_t *from)
{
	uint32_t all = alloc_segment_count(scrub->alloc), end = *from + AHEAD_SEGMENTS < all ? *from + AHEAD_SEGMENTS : all;
	struct segment_look *look = malloc(sizeof(*look));
	struct ahead_task *task = malloc(sizeof(*task));
	bool found = false;

	for (; look && task && *from < end && !found; ++*from) {
		const struct segment *segment = alloc_segment(scrub->alloc, *from);

		if (!segment || segment->record.class == CLASS_LOG)
			continue;
		/* One that takes rows waits for them as long as it is pinned: no more than one of these. */
		if (scrub->ahead_count && segment_has_content(segment) && segment->record.state != SEGMENT_FULL)
			break;
		if (begin_look(scrub, *from, look) < 0)
			break;
		found = look->segment;
	}
	if (!found) {
		free(look);
		free(task);
		return false;
	}
	scrub->ahead[scrub->ahead_count++] = look;
	if (look->plan->pieces.count == 0) {
		free(task);
		return true;
	}
	*task = (struct ahead_task){ scrub, look };
	look->reading = true;
	alloc_pin(look->segment);
	scrub->tasks++;
	if (rt_spawn(scrub->host->rt, "scrub ahead", ahead_fiber, task) < 0)
		ahead_fiber(task);
	return true;
}

/* The segments that come after this one are read meanwhile, unless the job is about to rest. */
static void look_ahead(struct scrub *scrub, uint32_t id)
{
	unsigned most = ahead_max(scrub);
	uint32_t from = (scrub->ahead_count ? scrub->ahead[scrub->ahead_count - 1]->segment->id : id) + 1;

	while (scrub->ahead_count < most && look_further(scrub, &from))
		continue;
}

/* The look at a segment, if it was begun ahead; waits until it is read. */
static bool take_ahead(struct scrub *scrub, const struct segment *segment, struct segment_look *ret_look)
{
	struct segment_look *look = scrub->ahead_count ? scrub->ahead[0] : NULL;

	if (!look || look->segment != segment)
		return false;
	while (look->reading)
		rt_queue_wait(scrub->host->rt, &scrub->ended);
	*ret_look = *look;
	free(look);
	scrub->ahead_count--;
	memmove(scrub->ahead, scrub->ahead + 1, scrub->ahead_count * sizeof(struct segment_look *));
	return true;
}

static int scrub_segment(struct scrub *scrub, uint32_t id)
{
	struct segment *segment = alloc_segment(scrub->alloc, id);
	struct segment_look look = { .segment = NULL };
	int status = 0;

	/* What was in the log has been made again by the import, or it was refused. */
	if (scrub->job->kind == JOB_SCRUB && segment && segment->record.class == CLASS_LOG && !alloc_segment_is_free(segment) &&
	    !segment->released)
		return scrub_log(scrub, segment);
	if (!take_ahead(scrub, segment, &look))
		status = begin_look(scrub, id, &look);
	if (status < 0 || !look.segment)
		return status;
	scrub->job->unsaved++;
	if (look.plan->pieces.count) {
		if (look.span_end == 0)
			look_read(scrub->store, &look, 0);
		if (!job_must_rest(scrub->job, scrub->host))
			look_ahead(scrub, id);
		check_headers(scrub, segment, look.span);
		status = scrub_batches(scrub, &look);
	}
	look_end(scrub->alloc, &look);
	return status == -EAGAIN ? 0 : status;
}

/* What is ahead from the cursor on. */
static uint64_t count_bytes(struct scrub *scrub)
{
	uint64_t rows[ROW_WORDS], bytes = 0;

	for (uint32_t id = scrub->job->cursor; id < alloc_segment_count(scrub->alloc); id++) {
		const struct segment *segment = alloc_segment(scrub->alloc, id);
		if (segment_has_content(segment))
			bytes += (uint64_t)wanted_rows(scrub, segment, rows) *
				 (segment->record.k + segment->record.m) * CELL_SIZE;
		if (id % YIELD_SEGMENTS == 0)
			rt_yield(scrub->host->rt);
	}
	return bytes;
}

/* Labels, the sysmap, a scrub's batch map: before the cells, of which some may be dead then. */
static int check_areas(struct job *job, const struct job_host *host)
{
	unsigned wrong = 0, healed = 0;
	int (*check)(void *, unsigned *, unsigned *) = job->kind == JOB_VERIFY ? host->label_areas : host->areas;
	int status = check ? check(host->argument, &wrong, &healed) : 0;

	job->errors_found += wrong;
	job->cells_repaired += healed;
	job->cells_unrepaired += wrong - healed;
	return status;
}

static int run(struct job *job, const struct job_host *host, uint64_t *missing)
{
	struct scrub scrub = { .job = job, .host = host, .store = host->store, .alloc = store_alloc(host->store), .missing = missing };
	struct array told, remade;
	uint32_t done_before = job->cells_unrepaired ? job->cursor : 0;
	int status = 0;

	rt_queue_init(&scrub.ended);
	array_init(&scrub.lost_batches, sizeof(struct batch_index));
	array_init(&told, sizeof(uint64_t));
	array_init(&remade, sizeof(uint32_t));
	job->told = &told;
	job_begin(job, host);
	job->total_bytes = job->done_bytes + count_bytes(&scrub);
	uint64_t repaired = job->cells_repaired;
	status = job_rest(job, host); /* one that is paused begins when it goes on */
	if (status == 0)
		status = check_areas(job, host);
	while (status == 0 && job->cursor < alloc_segment_count(scrub.alloc)) {
		if (job_must_rest(job, host)) {
			settle(&scrub);
			status = job_rest(job, host);
		}
		if (status == 0)
			status = scrub_segment(&scrub, job->cursor);
		if (status == 0 && scrub.error)
			status = scrub.error;
		if (status < 0)
			break;
		if (++job->cursor % YIELD_SEGMENTS == 0)
			rt_yield(host->rt);
		if (job_save_is_due(job, host)) {
			drain(&scrub);
			job_save(job, host);
		}
	}
	settle(&scrub);
	if (status == 0)
		status = scrub.error;
	if (status == 0)
		status = scrub_lost_before(job, host, done_before, &scrub.lost_batches);
	if (status == 0)
		status = scrub_owners(job, host, &scrub.lost_batches, &remade);
	for (size_t i = 0; i < remade.count && status == 0; i++)
		status = scrub_segment(&scrub, *array_at(&remade, uint32_t, i));
	settle(&scrub);
	if (status == 0)
		status = scrub.error;
	array_release(&remade);
	job->told = NULL;
	array_release(&told);
	array_release(&scrub.lost_batches);
	/* What was rewritten is flushed with a commit; one that isn't possible (read-only) is no failure of the scrub. */
	if (job->cells_repaired != repaired)
		(void)host->commit(host->argument);
	return job_end(job, host, status);
}

int scrub_run(struct job *job, const struct job_host *host)
{
	return run(job, host, NULL);
}

int verify_last_run(struct job *job, const struct job_host *host)
{
	uint64_t *missing = calloc(DISKS_MAX, sizeof(*missing));

	if (!missing)
		return job_end(job, host, -ENOMEM);
	/* What it had found to be lost is looked at again, to name it. */
	if (job->cells_unrepaired) {
		job->cursor = 0;
		job->done_bytes = job->errors_found = job->cells_repaired = job->cells_unrepaired = job->unchecked = 0;
	}
	int status = run(job, host, missing);
	for (unsigned i = 0; i < DISKS_MAX && host->missing; i++)
		if (missing[i])
			host->missing(host->argument, i, missing[i]);
	free(missing);
	return status;
}
