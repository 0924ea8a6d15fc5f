/*
 * Rebuild: which columns have to go where, in which order. The segment table is the only record of progress: a rebuild that
 * was cut off begins again by looking at it, and finds less.
 *
 * Several segments are worked on at the same time, so that all disks are busy; those that lack most columns come first.
 * SYS segments are done one by one, because each takes no rows meanwhile.
 */
#include <errno.h>
#include <stdlib.h>

#include "scrub/internal.h"

#define SEGMENTS_AT_ONCE_MAX 16u
#define AT_ONCE_BYTES (UINT64_C(16) << 20) /* that are read and written for them, if that is more than what keeps the disks busy */
#define PIN_SHARE 64u                      /* and no more than one of so many segments */
#define YIELD_SEGMENTS 256u
#define FRUITLESS_PASSES_MAX 2u

struct rebuild_item {
	uint32_t segment, columns;
	uint8_t missing;
};

struct rebuild {
	struct mover mover;
	unsigned tasks;
	bool finishing; /* what was written is being handed over, in a fiber of its own */
	struct rt_queue ended;
	int fatal;  /* -ENOMEM, -POOL_EHALTED, or what a commit failed with */
	int failed; /* the last reason why a column could not be moved in this pass */
};

struct move_task {
	struct rebuild *rebuild;
	struct rebuild_item item;
};

/* The columns of a segment that have to move; *ret_missing counts those without a disk that works. */
static uint32_t wanted_columns(struct store *store, const struct segment *segment, unsigned leaving, uint8_t *ret_missing)
{
	uint32_t mask = 0;

	*ret_missing = 0;
	if (!segment || alloc_segment_is_free(segment) || segment->record.state == SEGMENT_LOG)
		return 0;
	for (unsigned c = 0; c < (unsigned)segment->record.k + segment->record.m; c++) {
		uint16_t disk = segment->record.columns[c].disk;
		/* A column without a disk waits until there is one. */
		if (disk == DISK_ABSENT ? move_is_possible(store, segment, c, leaving) : disk == leaving)
			mask |= 1u << c;
		if (disk == DISK_ABSENT || store_disk(store, disk)->state != DISK_ONLINE)
			++*ret_missing;
	}
	return mask;
}

bool rebuild_is_needed(struct store *store, unsigned leaving)
{
	struct alloc *alloc = store_alloc(store);
	size_t count;
	const struct stale_record *stale = alloc_stale(alloc, &count);

	for (size_t i = 0; i < count; i++) {
		const struct segment *segment = alloc_segment(alloc, stale[i].segment);
		uint16_t disk = segment ? segment->record.columns[stale[i].column].disk : DISK_ABSENT;
		if (disk != DISK_ABSENT && store_disk(store, disk)->state == DISK_ONLINE)
			return true;
	}
	for (uint32_t id = 0; id < alloc_segment_count(alloc); id++) {
		const struct segment *segment = alloc_segment(alloc, id);
		uint8_t missing;
		if (degraded_is_outdated(store, segment))
			return true;
		uint32_t columns = wanted_columns(store, segment, leaving, &missing);
		for (unsigned c = 0; c < COLUMNS_MAX; c++)
			if (columns >> c & 1 && move_is_possible(store, segment, c, leaving))
				return true;
	}
	return false;
}

static int compare_items(const void *a, const void *b)
{
	const struct rebuild_item *x = a, *y = b;

	if (x->missing != y->missing)
		return x->missing > y->missing ? -1 : 1;
	return x->segment < y->segment ? -1 : x->segment > y->segment;
}

static int list_items(struct rebuild *rebuild, struct array *items)
{
	struct mover *mover = &rebuild->mover;
	uint64_t rows[ROW_WORDS], bytes = 0;

	array_init(items, sizeof(struct rebuild_item));
	for (uint32_t id = 0; id < alloc_segment_count(mover->alloc); id++) {
		const struct segment *segment = alloc_segment(mover->alloc, id);
		struct rebuild_item item = { .segment = id };
		item.columns = wanted_columns(mover->store, segment, mover->job->disk, &item.missing);
		if (item.columns) {
			bytes += (uint64_t)live_rows(mover->alloc, segment, rows) *
				 (unsigned)__builtin_popcount(item.columns) * CELL_SIZE;
			if (array_push(items, &item) < 0)
				return -ENOMEM;
		}
		if (id % YIELD_SEGMENTS == 0)
			rt_yield(mover->host->rt);
	}
	if (items->count)
		qsort(items->items, items->count, sizeof(struct rebuild_item), compare_items);
	mover->job->total_bytes = mover->job->done_bytes + bytes;
	return 0;
}

static void move_result(struct rebuild *rebuild, int status)
{
	if (status == -ENOMEM || status == -POOL_EHALTED)
		rebuild->fatal = status;
	else if (status < 0 && status != -EAGAIN)
		rebuild->failed = status;
}

static void move_fiber(void *argument)
{
	struct move_task *task = argument;
	struct rebuild *rebuild = task->rebuild;

	move_result(rebuild, move_columns(&rebuild->mover, task->item.segment, task->item.columns));
	free(task);
	rebuild->tasks--;
	rt_queue_wake_all(rebuild->mover.host->rt, &rebuild->ended);
}

static void wait_for_tasks(struct rebuild *rebuild, unsigned at_most)
{
	while (rebuild->tasks > at_most)
		rt_queue_wait(rebuild->mover.host->rt, &rebuild->ended);
}

/* ---- handing over, while others are read and written ---- */

static void finish_fiber(void *argument)
{
	struct rebuild *rebuild = argument;
	int status = moves_finish(&rebuild->mover, false);

	if (status < 0)
		rebuild->fatal = status;
	rebuild->finishing = false;
	rt_queue_wake_all(rebuild->mover.host->rt, &rebuild->ended);
}

/* One at a time: no more than twice what is due is pinned. */
static void wait_for_finish(struct rebuild *rebuild)
{
	while (rebuild->finishing)
		rt_queue_wait(rebuild->mover.host->rt, &rebuild->ended);
}

static void start_finish(struct rebuild *rebuild)
{
	wait_for_finish(rebuild);
	rebuild->finishing = true;
	if (rt_spawn(rebuild->mover.host->rt, "rebuild finish", finish_fiber, rebuild) < 0)
		finish_fiber(rebuild);
}

/* Nothing is under way. */
static int finish_all(struct rebuild *rebuild, bool commit)
{
	wait_for_tasks(rebuild, 0);
	wait_for_finish(rebuild);
	return moves_finish(&rebuild->mover, commit);
}

/*
 * As many as keep all disks busy: each reads k columns and writes one. Of small ones more, as each of them waits for its reads, for who decodes it and for
 * its write in turn, and whoever is woken for so little has hardly begun when it sleeps again.
 */
static unsigned segments_at_once(struct store *store)
{
	const struct geometry *geometry = alloc_geometry(store_alloc(store));
	unsigned online = 0, k = geometry->k, rows = geometry->rows < WINDOW_ROWS_MAX ? geometry->rows : WINDOW_ROWS_MAX;
	uint64_t many = AT_ONCE_BYTES / ((uint64_t)rows * (k + 1) * CELL_SIZE), share = alloc_segment_count(store_alloc(store)) / PIN_SHARE;

	for (unsigned i = 0; i < DISKS_MAX; i++)
		online += store_disk_holds_data(store_disk(store, i)) && store_disk(store, i)->state == DISK_ONLINE;
	unsigned count = 2 + online / (k + 1);
	many = many < share ? many : share;
	count = many > count ? (unsigned)many : count;
	return count < SEGMENTS_AT_ONCE_MAX ? count : SEGMENTS_AT_ONCE_MAX;
}

static int start_item(struct rebuild *rebuild, const struct rebuild_item *item)
{
	struct mover *mover = &rebuild->mover;
	const struct segment *segment = alloc_segment(mover->alloc, item->segment);

	if (segment->record.state == SEGMENT_SYS) {
		wait_for_tasks(rebuild, 0);
		wait_for_finish(rebuild);
		move_result(rebuild, move_columns(mover, item->segment, item->columns));
		return moves_finish(mover, false);
	}
	wait_for_tasks(rebuild, segments_at_once(mover->store) - 1);
	if (moves_are_due(mover))
		start_finish(rebuild);
	struct move_task *task = malloc(sizeof(*task));
	if (!task)
		return -ENOMEM;
	*task = (struct move_task){ rebuild, *item };
	rebuild->tasks++;
	if (rt_spawn(mover->host->rt, "rebuild segment", move_fiber, task) < 0)
		move_fiber(task);
	return 0;
}

/* All that has to move now, once. *ret_moved: columns. */
static int pass(struct rebuild *rebuild, size_t *ret_items, unsigned *ret_moved)
{
	struct mover *mover = &rebuild->mover;
	struct array items;
	unsigned before = mover->moved;
	int status = list_items(rebuild, &items);

	rebuild->failed = 0;
	for (size_t i = 0; i < items.count && status == 0; i++) {
		if (job_must_rest(mover->job, mover->host)) {
			status = finish_all(rebuild, mover->job->cancel_requested || mover->job->pause_requested);
			if (status == 0)
				status = job_rest(mover->job, mover->host);
		}
		if (status == 0)
			status = start_item(rebuild, array_at(&items, struct rebuild_item, i));
		if (status == 0)
			status = rebuild->fatal;
		mover->job->unsaved++;
		if (job_save_is_due(mover->job, mover->host))
			job_save(mover->job, mover->host);
	}
	int finished = finish_all(rebuild, true);
	*ret_items = items.count;
	*ret_moved = mover->moved - before;
	array_release(&items);
	return status < 0 ? status : finished < 0 ? finished : rebuild->fatal;
}

/* Cells that were stale when the job began and still are, though their disk works: nothing makes them, and trying again won't. */
static bool stale_remain(const struct mover *mover, uint64_t committed)
{
	size_t count;
	const struct stale_record *stale = alloc_stale(mover->alloc, &count);

	for (size_t i = 0; i < count; i++) {
		const struct segment *segment = alloc_segment(mover->alloc, stale[i].segment);
		uint16_t disk = segment ? segment->record.columns[stale[i].column].disk : DISK_ABSENT;
		if (stale[i].place <= committed && disk != DISK_ABSENT && store_disk(mover->store, disk)->state == DISK_ONLINE)
			return true;
	}
	return false;
}

/* Flags that nothing stands behind any more go without a rebuild. */
static int tidy_flags(struct mover *mover)
{
	bool changed = false;

	for (uint32_t id = 0; id < alloc_segment_count(mover->alloc); id++) {
		struct segment *segment = alloc_segment(mover->alloc, id);
		if (!degraded_is_outdated(mover->store, segment))
			continue;
		update_degraded(mover->store, segment);
		changed = true;
	}
	return changed ? mover->host->commit(mover->host->argument) : 0;
}

int rebuild_run(struct job *job, const struct job_host *host)
{
	struct rebuild rebuild = { .tasks = 0 };
	struct mover *mover = &rebuild.mover;
	unsigned fruitless = 0, moved;
	size_t items = 1;

	mover_init(mover, job, host);
	rt_queue_init(&rebuild.ended);
	job_begin(job, host);
	/* Also if a resync of it ends meanwhile: what was placed there anew would have to be moved again, pass after pass. */
	if (job->disk != DISK_ABSENT && alloc_disk(mover->alloc, job->disk))
		alloc_disk_set_leaving(mover->alloc, job->disk, true);
	uint64_t committed = host->committed(host->argument);
	int status = repair_stale(mover);
	if (status == 0)
		status = tidy_flags(mover);
	while (status == 0 && items && fruitless < FRUITLESS_PASSES_MAX) {
		status = pass(&rebuild, &items, &moved);
		fruitless = moved ? 0 : fruitless + 1;
	}
	if (status == 0 && items)
		status = rebuild.failed ? rebuild.failed : -EIO;
	/* A disk that is being left is left all the same: what was lost with it stays recorded. */
	if (status == 0 && job->disk == DISK_ABSENT && stale_remain(mover, committed))
		status = -POOL_EDAMAGED;
	array_release(&mover->written);
	if (status < 0 && job->disk != DISK_ABSENT)
		alloc_disk_set_leaving(mover->alloc, job->disk, false);
	return job_end(job, host, status);
}
