/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Runs of dead rows in segments that have live ones: where blocks go when free segments get scarce.
 *
 * `dead` of a segment has a bit for each row that may be written again: all its cells are dead, two later commits exist after the
 * txg that freed the last of them, and it wasn't given out in the txg in sync. Which segments have some is kept in lists, by how
 * many and by the longest run, so that a search looks at a bounded number of segments, however many there are.
 *
 * What must always hold: only a segment that was FULL at the last commit gives rows, so not one in which the intent log may name
 * some (SEGMENT_AHEAD means OPEN); nor does a pinned one, from the moment of the pin on. A row that is taken leaves its old batch in the
 * same step; one that isn't written after all is dead again with the commit. A segment whose index of batches has grown
 * too long gives none until it is shorter.
 */
#include "libpool/alloc/internal.h"

#include <errno.h>
#include <stdlib.h>

#include "libpool/alloc/victims.h"
#include "libpool/base/check.h"

#define ROWS_WORTH 4u  /* fewer aren't worth a summary */
/*
 * Nor, where each row has one block, less than this share of all: blocks die one by one, and a summary lives as long as the last of its batch, which
 * for a few blocks is half as long again as they do. So summaries would come to take what is dead. What isn't given is gained by a compactor, unless the
 * segment has a column on a disk that is away, and copies would take one more than it has. What has been given once, and so promised, is given until it is used up.
 */
#define ROWS_WORTH_SHARE 4u
#define LOOKS_MAX 16u  /* in one list */
#define GROUP_NONE UINT32_MAX

static unsigned log2_floor(unsigned number)
{
	return 31u - (unsigned)__builtin_clz(number);
}

static unsigned log2_ceiling(unsigned number)
{
	return number > 1 ? log2_floor(number - 1) + 1 : 0;
}

void alloc_runs_init(struct run_index *runs)
{
	for (unsigned group = 0; group < RUN_GROUPS; group++)
		for (unsigned i = 0; i < RUN_LOGS; i++)
			for (unsigned j = 0; j < RUN_CELL_LOGS; j++)
				list_init(&runs->lists[group][i][j]);
	runs->promises_lacking = true;
	array_init(&runs->taken, sizeof(struct cell_extent));
	array_init(&runs->changed, sizeof(uint32_t));
}

void alloc_runs_release(struct run_index *runs)
{
	array_release(&runs->taken);
	array_release(&runs->changed);
}

/* ---- which rows are dead ---- */

void alloc_rows_defer(struct alloc *alloc, const struct segment *segment, unsigned row, unsigned rows, uint64_t sequence)
{
	unsigned end = row + rows;

	while (segment->bits && row < end) {
		unsigned stop = row;
		while (stop < end && !row_is_live(alloc, segment, stop))
			stop++;
		if (stop == row) {
			row++;
			continue;
		}
		struct deferred entry = { .sequence = sequence, .segment = segment->id, .disk = DISK_ABSENT, .row = (uint16_t)row,
					  .rows = (uint16_t)(stop - row) };
		if (array_push(&alloc->deferred, &entry) < 0)
			POOL_CHECK(!"out of memory in the allocation state");
		row = stop;
	}
}

/* Without memory they stay unused until an import. */
static bool need_dead(struct alloc *alloc, struct segment *segment)
{
	size_t words = BITMAP_WORDS(alloc->geometry.rows);

	if (!segment->dead && (segment->dead = calloc(words, 8)))
		alloc->memory += words * 8;
	return segment->dead != NULL;
}

static void rows_set_dead(struct alloc *alloc, struct segment *segment, unsigned row, unsigned rows)
{
	if (!segment->bits || segment->released || segment->busy || segment->record.state == SEGMENT_LOG || !need_dead(alloc, segment))
		return;
	for (unsigned r = row; r < row + rows && r < segment->record.rows_used; r++)
		if (!row_is_live(alloc, segment, r) && !bitmap_get(segment->dead, r)) {
			bitmap_set(segment->dead, r);
			segment->dead_rows++;
		}
}

/* Takes it out of the lists before its rows change; alloc_runs_settle puts all those in again. */
static void set_aside(struct alloc *alloc, struct segment *segment)
{
	alloc_runs_unlist(alloc, segment);
	if (segment->runs_changed)
		return;
	segment->runs_changed = true;
	if (array_push(&alloc->runs.changed, &segment->id) < 0)
		POOL_CHECK(!"out of memory in the allocation state");
}

void alloc_rows_mature(struct alloc *alloc, struct segment *segment, unsigned row, unsigned rows)
{
	set_aside(alloc, segment);
	rows_set_dead(alloc, segment, row, rows);
}

void alloc_rows_find(struct alloc *alloc, struct segment *segment)
{
	if (segment->record.rows_used > 1)
		rows_set_dead(alloc, segment, 1, segment->record.rows_used - 1u);
}

void alloc_rows_forget(struct segment *segment, unsigned row, unsigned rows)
{
	for (unsigned r = row; segment->dead && r < row + rows; r++)
		if (bitmap_get(segment->dead, r)) {
			bitmap_clear(segment->dead, r);
			segment->dead_rows--;
		}
}

void alloc_rows_drop(struct alloc *alloc, struct segment *segment)
{
	alloc_runs_unlist(alloc, segment);
	if (segment->dead)
		alloc->memory -= BITMAP_WORDS(alloc->geometry.rows) * 8;
	free(segment->dead);
	segment->dead = NULL;
	segment->dead_rows = 0;
	segment->runs_given = 0;
	segment->runs_spent = segment->runs_giving = segment->runs_ready = segment->runs_worth = false;
}

/* ---- the lists ---- */

/* Of a class, and whether rows written there now would have all their columns. */
static unsigned group_of(const struct alloc *alloc, const struct segment *segment)
{
	unsigned lacking = 0, group = segment->record.class == CLASS_META ? 0 : segment->record.class == CLASS_HOT ? 1 : 2;

	if (segment->record.class == CLASS_SYS || segment->record.class == CLASS_LOG)
		return GROUP_NONE;
	for (unsigned c = 0; c < (unsigned)segment->record.k + segment->record.m; c++) {
		uint16_t disk = segment->record.columns[c].disk;
		lacking += disk == DISK_ABSENT || !alloc->disks[disk].usable;
	}
	return lacking > segment->record.m ? GROUP_NONE : 2 * group + (lacking > 0);
}

static bool is_worth(const struct alloc *alloc, const struct segment *segment)
{
	unsigned share = segment->record.k == 1 && alloc_gives_all_back(alloc, segment) ? alloc->geometry.rows / ROWS_WORTH_SHARE : 0;

	return segment->dead_rows >= ROWS_WORTH && (segment->runs_worth || segment->dead_rows >= share);
}

static bool gives_rows(const struct segment *segment)
{
	return segment->runs_ready && segment->record.state == SEGMENT_FULL && !segment->released && segment->live && segment->runs_worth &&
	       !segment->runs_giving && !segment->runs_spent && segment->batch_count + 2u * segment->runs_given + 8u <= ALLOC_BATCHES_REUSED;
}

static unsigned run_at(const struct alloc *alloc, const struct segment *segment, unsigned from, unsigned *ret_rows)
{
	size_t end = alloc->geometry.rows, row = segment->dead && from < end ? bitmap_next_set(segment->dead, from, end) : BITMAP_NONE;

	if (row == BITMAP_NONE)
		return 0;
	size_t stop = bitmap_next_clear(segment->dead, row, end);
	*ret_rows = (unsigned)((stop == BITMAP_NONE ? end : stop) - row);
	return (unsigned)row;
}

/* Adds the runs of the segment to what can be promised, or takes them away; the longest one. space NULL: for that alone. */
static unsigned count_runs(const struct alloc *alloc, const struct segment *segment, struct row_space *space, int sign)
{
	unsigned longest = 0, rows;

	for (unsigned row = 1; (row = run_at(alloc, segment, row, &rows)) != 0; row += rows) {
		unsigned cells = rows * segment->record.k;
		if (space) {
			space->cells[log2_floor(cells)] += sign * (int64_t)cells;
			space->runs[log2_floor(cells)] += sign;
		}
		longest = rows > longest ? rows : longest;
	}
	if (space)
		space->summary_cells += sign * (int64_t)segment->record.k * (1 + segment->dead_rows / 16);
	return longest;
}

static struct row_space *counted_in(struct alloc *alloc, const struct segment *segment)
{
	return segment->runs_counted ? &alloc->runs.space[segment->runs_counted - 1] : NULL;
}

void alloc_runs_unlist(struct alloc *alloc, struct segment *segment)
{
	if (!list_linked(&segment->runs_node))
		return;
	list_remove(&segment->runs_node);
	if (segment->runs_counted)
		(void)count_runs(alloc, segment, counted_in(alloc, segment), -1);
	segment->runs_counted = 0;
}

void alloc_runs_list(struct alloc *alloc, struct segment *segment)
{
	alloc_runs_unlist(alloc, segment);
	segment->runs_worth = is_worth(alloc, segment);
	unsigned group = gives_rows(segment) && !segment->emptied ? group_of(alloc, segment) : GROUP_NONE;
	if (group == GROUP_NONE)
		return;
	/* Metadata has SYS rows when there are no segments for it: nobody is promised these. */
	segment->runs_counted = group > 1 ? 1 + group % 2 : 0;
	segment->dead_longest = (uint16_t)count_runs(alloc, segment, counted_in(alloc, segment), 1);
	unsigned cells = (unsigned)segment->dead_longest * segment->record.k;
	list_push_back(&alloc->runs.lists[group][log2_floor(segment->dead_rows)][log2_floor(cells)], &segment->runs_node);
}

void alloc_runs_settle(struct alloc *alloc)
{
	for (size_t i = 0; i < alloc->runs.changed.count; i++) {
		struct segment *segment = alloc->segments[*array_at(&alloc->runs.changed, uint32_t, i)];
		segment->runs_changed = false;
		alloc_runs_list(alloc, segment);
	}
	array_clear(&alloc->runs.changed);
}

void alloc_runs_commit(struct alloc *alloc)
{
	for (size_t i = 0; i < alloc->runs.taken.count; i++) {
		const struct cell_extent *run = array_at(&alloc->runs.taken, struct cell_extent, i);
		struct segment *segment = alloc->segments[run->segment];
		set_aside(alloc, segment);
		rows_set_dead(alloc, segment, run->row, run->rows);
		segment->runs_given = 0;
		segment->runs_spent = segment->runs_giving = false;
	}
	array_clear(&alloc->runs.taken);
	for (size_t i = 0; i < alloc->touched.count; i++) {
		struct segment *segment = alloc->segments[*array_at(&alloc->touched, uint32_t, i)];
		segment->runs_spent = segment->runs_giving = false;
		segment->runs_ready = segment->record.state == SEGMENT_FULL;
		set_aside(alloc, segment);
	}
}

void alloc_runs_list_all(struct alloc *alloc)
{
	for (uint32_t id = 0; id < alloc->segment_count; id++)
		if (alloc->segments[id] && alloc->segments[id]->dead)
			alloc_runs_list(alloc, alloc->segments[id]);
}

/* ---- segments that are being emptied ---- */

static bool is_promised(const struct alloc *alloc, const struct segment *segment)
{
	return list_linked(&segment->runs_node) && segment->runs_counted && (segment->runs_counted == 1 || alloc->runs.promises_lacking);
}

uint64_t alloc_rows_room(const struct alloc *alloc, const struct segment *segment, unsigned block_cells)
{
	struct row_space space = { .summary_cells = 0 };

	if (is_promised(alloc, segment))
		(void)count_runs(alloc, segment, &space, 1);
	return row_space_cells(&space, block_cells);
}

struct row_space alloc_rows_without(const struct alloc *alloc, const struct segment *segment, const struct row_space *promised)
{
	struct row_space space = *promised;

	if (is_promised(alloc, segment))
		(void)count_runs(alloc, segment, &space, -1);
	return space;
}

void alloc_rows_withhold(struct alloc *alloc, struct segment *segment, struct row_space *promised)
{
	*promised = alloc_rows_without(alloc, segment, promised);
	alloc_runs_unlist(alloc, segment);
	segment->emptied = true;
}

void alloc_rows_release(struct alloc *alloc, struct segment *segment)
{
	if (!segment->emptied)
		return;
	segment->emptied = false;
	if (segment->dead && !segment->runs_changed)
		alloc_runs_list(alloc, segment);
}

/* ---- taking ---- */

static bool fits(const struct segment *segment, unsigned rows, unsigned cells)
{
	return segment->pins == 0 && segment->dead_longest >= rows && (unsigned)segment->dead_longest * segment->record.k >= cells;
}

static struct segment *find_in(struct alloc *alloc, struct list *list, unsigned rows, unsigned cells)
{
	unsigned looks = 0;

	list_for_each(node, list) {
		struct segment *segment = container_of(node, struct segment, runs_node);
		alloc->runs.looks++;
		if (fits(segment, rows, cells))
			return segment;
		if (++looks == LOOKS_MAX)
			break;
	}
	return NULL;
}

bool alloc_runs_find(struct alloc *alloc, enum segment_class class, bool lacking, unsigned rows, unsigned cells, uint32_t *ret_id)
{
	unsigned group = 2 * (class == CLASS_META ? 0 : class == CLASS_HOT ? 1 : 2) + lacking;

	unsigned least = log2_floor(cells > rows ? cells : rows);
	/*
	 * A run with room for the block surely lies in the lists from the next power of two on, one that may have it in that before. What is
	 * promised (row_space_cells) lies in the former: no number of looks keeps it from being found, whatever k is.
	 */
	for (unsigned i = RUN_LOGS; i-- > 0;)
		for (unsigned j = RUN_CELL_LOGS; j-- > least;) {
			struct segment *segment = find_in(alloc, &alloc->runs.lists[group][i][j], rows, cells);
			if (!segment)
				continue;
			alloc_runs_unlist(alloc, segment);
			segment->runs_giving = true;
			alloc_touch(alloc, segment->id);
			*ret_id = segment->id;
			return true;
		}
	return false;
}

void alloc_runs_give_up(struct alloc *alloc, uint32_t id, bool spent)
{
	struct segment *segment = alloc->segments[id];

	segment->runs_giving = false;
	segment->runs_spent |= spent;
	alloc_runs_list(alloc, segment);
}

unsigned alloc_run_next(const struct alloc *alloc, uint32_t id, unsigned from, unsigned least, unsigned *ret_rows)
{
	const struct segment *segment = alloc->segments[id];
	unsigned row = from, rows;

	/* Each run may cut an entry of the index in two, and adds one. */
	if (segment->pins || segment->batch_count + 2u * segment->runs_given + 4u > ALLOC_BATCHES_REUSED)
		return 0;
	while ((row = run_at(alloc, segment, row, &rows)) != 0) {
		if (rows >= least) {
			*ret_rows = rows;
			return row;
		}
		row += rows;
	}
	return 0;
}

unsigned alloc_run_tightest(const struct alloc *alloc, uint32_t id, unsigned *rows)
{
	unsigned best = 0, best_rows = 0, length, wanted = *rows;

	for (unsigned row = 1; (row = alloc_run_next(alloc, id, row, 1, &length)) != 0; row += length) {
		bool better = best_rows < wanted ? length > best_rows : length >= wanted && length < best_rows;
		if (!best || better) {
			best = row;
			best_rows = length;
		}
	}
	*rows = best_rows < wanted ? best_rows : wanted;
	return best;
}

int alloc_run_take(struct alloc *alloc, uint32_t id, unsigned row, unsigned rows)
{
	struct segment *segment = alloc->segments[id];
	struct cell_extent taken = { .segment = id, .row = (uint16_t)row, .rows = (uint16_t)rows };

	POOL_CHECK(alloc->txg != 0 && segment->runs_giving && !segment->pins && bitmap_count(segment->dead, row, rows) == rows);
	if (array_push(&alloc->runs.taken, &taken) < 0 || alloc_batch_trim(alloc, id, row, rows) < 0)
		return -ENOMEM;
	alloc_rows_forget(segment, row, rows);
	segment->runs_given++;
	alloc_touch(alloc, id);
	return 0;
}

uint64_t alloc_runs_looks(const struct alloc *alloc)
{
	return alloc->runs.looks;
}

void alloc_set_eager_reuse(struct alloc *alloc, bool eager)
{
	alloc->runs.eager = eager;
}

void alloc_set_lacking_promised(struct alloc *alloc, bool promised)
{
	alloc->runs.promises_lacking = promised;
	alloc_count_disks(alloc);
}

bool alloc_lacking_promised(const struct alloc *alloc)
{
	return alloc->runs.promises_lacking;
}

uint64_t row_space_cells(const struct row_space *space, unsigned block_cells)
{
	int64_t cells = -space->summary_cells;

	/* What is left at the end of a run is less than a block. */
	for (unsigned i = log2_ceiling(block_cells); i < ROW_SPACE_LOGS; i++)
		cells += space->cells[i] - (int64_t)(block_cells - 1) * space->runs[i];
	return cells > 0 ? (uint64_t)cells : 0;
}
