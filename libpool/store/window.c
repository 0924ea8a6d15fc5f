/* Reading and judging the cells of a window. Reconstruction: solve.c. */
#include "libpool/store/window.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "checksum/crc32c.h"
#include "libpool/base/check.h"
#include "libpool/format/dva.h"
#include "libpool/store/internal.h"
#include "libpool/store/span.h"
#include "raid/parity.h"

void window_init(struct row_window *window, struct store *store, const struct segment *segment, unsigned row, unsigned rows,
		 uint64_t place, struct summary_entry *summary)
{
	memset(window, 0, sizeof(*window));
	window->store = store;
	window->segment = segment->id;
	window->row = (uint16_t)row;
	window->rows = (uint16_t)rows;
	window->k = segment->record.k;
	window->m = segment->record.m;
	window->place = place;
	window->summary = summary;
	POOL_CHECK(rows <= WINDOW_ROWS_MAX);
}

void window_release(struct row_window *window)
{
	for (unsigned c = 0; c < COLUMNS_MAX; c++) {
		buffer_unref(window->columns[c]);
		window->columns[c] = NULL;
	}
}

void window_skip(struct row_window *window, unsigned row)
{
	for (unsigned c = 0; c < COLUMNS_MAX; c++)
		window->state[c][row] = CELL_DEAD;
}

static bool can_ask(const struct row_window *window, const struct segment *segment, unsigned column, unsigned row)
{
	uint16_t index = segment->record.columns[column].disk;

	if (window->ignore_stale >> column & 1 && index != DISK_ABSENT) {
		const struct disk *disk = window->store->disks[index].disk;
		return disk && !disk->abandoned_reads && !disk->abandoned_writes;
	}
	return cell_present(window->store, segment, column, window->row + row, window->place);
}

uint32_t window_present(const struct row_window *window)
{
	const struct segment *segment = alloc_segment(window->store->alloc, window->segment);
	uint32_t mask = 0;

	for (unsigned c = 0; c < (unsigned)window->k + window->m; c++)
		for (unsigned r = 0; r < window->rows && !(mask >> c & 1); r++)
			if (window->state[c][r] != CELL_DEAD && can_ask(window, segment, c, r))
				mask |= 1u << c;
	return mask;
}

size_t cell_at(const struct row_window *window, unsigned column, unsigned row)
{
	return ((size_t)window->lead[column] + row) * CELL_SIZE;
}

uint8_t *window_cell(const struct row_window *window, unsigned column, unsigned row)
{
	return window->columns[column]->data + cell_at(window, column, row);
}

const uint8_t *summary_cell(const struct row_window *window, unsigned column, unsigned row)
{
	struct dva dva = dva_unpack(window->summary->dva);
	unsigned absolute = window->row + row;

	if (column >= window->k || absolute < dva.base || absolute >= (unsigned)dva.base + dva.height)
		return NULL;
	unsigned offset = column * dva.height + absolute - dva.base;
	if (offset < dva.offset || (size_t)(offset - dva.offset) * CELL_SIZE >= window->summary->payload->size)
		return NULL;
	return window->summary->payload->data + (size_t)(offset - dva.offset) * CELL_SIZE;
}

enum cell_state window_judge(const struct row_window *window, unsigned column, unsigned row)
{
	if (!window->summary)
		return CELL_UNVERIFIED;
	const struct summary *summary = window->summary->summary;
	int64_t index = summary_cell_index(summary, window->row + row, column);
	const uint8_t *cell = window_cell(window, column, row);

	if (index < 0)
		return CELL_UNVERIFIED;
	if (summary->nocrc[index / 8] >> index % 8 & 1) {
		const uint8_t *content = summary_cell(window, column, row);
		if (!content)
			return CELL_UNVERIFIED;
		return memcmp(cell, content, CELL_SIZE) == 0 ? CELL_GOOD : CELL_BAD;
	}
	uint32_t seed = crc32c_cell_seed(window->segment, (uint16_t)column, (uint16_t)(window->row + row));
	return crc32c(seed, cell, CELL_SIZE) == summary->crc[index] ? CELL_GOOD : CELL_BAD;
}

/* The CRC that the cell must have, if it is judged by one. */
static const uint32_t *crc_of(const struct row_window *window, unsigned column, unsigned row)
{
	const struct summary *summary = window->summary ? window->summary->summary : NULL;
	int64_t index = summary ? summary_cell_index(summary, window->row + row, column) : -1;

	return index < 0 || summary->nocrc[index / 8] >> index % 8 & 1 ? NULL : &summary->crc[index];
}

struct judge_job {
	struct row_window *window;
	uint32_t mask;
};

void window_judge_rows(struct row_window *window, unsigned column, unsigned first, unsigned end)
{
	for (unsigned r = first; r < end; r++)
		if (window->state[column][r] == CELL_READ)
			window->state[column][r] = (uint8_t)window_judge(window, column, r);
}

static void judge_run(void *argument)
{
	struct judge_job *job = argument;

	for (unsigned c = 0; c < COLUMNS_MAX; c++)
		if (job->mask >> c & 1)
			window_judge_rows(job->window, c, 0, job->window->rows);
}

void window_count_wrong(const struct row_window *window, uint32_t mask)
{
	const struct segment *segment = alloc_segment(window->store->alloc, window->segment);

	for (unsigned c = 0; c < COLUMNS_MAX; c++) {
		uint16_t index = segment->record.columns[c].disk;
		for (unsigned r = 0; (mask & ~window->ignore_stale) >> c & 1 && index != DISK_ABSENT && r < window->rows; r++) {
			uint8_t state = window->state[c][r];
			window->store->disks[index].checksum_errors += (state == CELL_REBUILT ? window->origin[c][r] : state) == CELL_BAD;
		}
	}
}

/* Judges what was read and has not been judged while it was; wrong content counts against the disk. */
static void judge_columns(struct row_window *window, uint32_t mask)
{
	struct store *store = window->store;
	struct judge_job job = { window, mask };

	for (unsigned c = 0; c < COLUMNS_MAX; c++)
		if (mask >> c & 1 && !memchr(window->state[c], CELL_READ, window->rows))
			job.mask &= ~(1u << c);
	if (!job.mask || window->rows < 16)
		judge_run(&job);
	else if (window->rows < 32)
		rt_work_brief(store->rt, judge_run, &job, rt_brief_us((uint64_t)window->rows * COLUMNS_MAX * CELL_SIZE));
	else
		rt_work(store->rt, judge_run, &job);
	window_count_wrong(window, mask);
}

struct window_reads {
	int results[COLUMNS_MAX][WINDOW_ROWS_MAX]; /* for the first cell of each run, AS_BEFORE for the others */
	uint32_t crcs[COLUMNS_MAX][WINDOW_ROWS_MAX];
};
#define AS_BEFORE 2
_Static_assert(AS_BEFORE != CELLS_HAVE_CRCS, "told apart");

/* What is known of a cell whose read has ended. */
static enum cell_state state_read(const struct row_window *window, unsigned column, unsigned row, int result, uint32_t crc)
{
	const uint32_t *right = result == CELLS_HAVE_CRCS ? crc_of(window, column, row) : NULL;

	if (result < 0)
		return CELL_UNREADABLE;
	return !right ? CELL_READ : crc == *right ? CELL_GOOD : CELL_BAD;
}

/* Reads runs of present cells of the mask's columns. Failed runs are read again cell by cell. */
static void read_cells(struct row_window *window, uint32_t mask, bool single)
{
	struct store *store = window->store;
	const struct segment *segment = alloc_segment(store->alloc, window->segment);
	struct window_reads *reads = malloc(sizeof(*reads));
	struct rt_group group;

	rt_group_init(&group);
	for (unsigned c = 0; c < COLUMNS_MAX; c++) {
		if (!(mask >> c & 1))
			continue;
		for (unsigned r = 0; r < window->rows;) {
			unsigned stop = r + 1;
			if (window->state[c][r] != CELL_UNREAD) {
				r++;
				continue;
			}
			while (!single && stop < window->rows && window->state[c][stop] == CELL_UNREAD)
				stop++;
			if (!reads) {
				memset(&window->state[c][r], CELL_UNREADABLE, stop - r);
			} else {
				for (unsigned i = r; i < stop; i++) {
					reads->results[c][i] = AS_BEFORE;
					reads->crcs[c][i] = crc32c_cell_seed(window->segment, (uint16_t)c, (uint16_t)(window->row + i));
				}
				cells_read_start(store, segment->record.columns[c], window->row + r, stop - r,
						 window->columns[c], (size_t)r * CELL_SIZE, window->summary ? &reads->crcs[c][r] : NULL,
						 &group, &reads->results[c][r]);
				window->cells_read += stop - r;
			}
			r = stop;
		}
	}
	if (group.pending)
		(void)rt_group_wait(store->rt, &group);
	for (unsigned c = 0; reads && c < COLUMNS_MAX; c++)
		for (unsigned r = 0; mask >> c & 1 && r < window->rows; r++) {
			if (window->state[c][r] != CELL_UNREAD)
				continue;
			if (reads->results[c][r] == AS_BEFORE)
				reads->results[c][r] = reads->results[c][r - 1];
			window->state[c][r] = (uint8_t)state_read(window, c, r, reads->results[c][r], reads->crcs[c][r]);
		}
	free(reads);
}

/* A column whose request failed gets a fresh buffer: the device may still write into the old one. */
static int fresh_buffer(struct row_window *window, unsigned column)
{
	struct buffer *old = window->columns[column];
	struct buffer *fresh = buffer_new((size_t)window->rows * CELL_SIZE);

	if (!fresh)
		return -ENOMEM;
	if (old)
		for (unsigned r = 0; r < window->rows; r++)
			if (window->state[column][r] == CELL_READ || window->state[column][r] == CELL_GOOD || window->state[column][r] == CELL_BAD)
				memcpy(fresh->data + (size_t)r * CELL_SIZE, window_cell(window, column, r), CELL_SIZE);
	buffer_unref(old);
	window->columns[column] = fresh;
	window->lead[column] = 0;
	return 0;
}

/* Cells that the span has. False: it lacks one that could be asked for. */
static bool take_from_span(struct row_window *window, unsigned column)
{
	const struct row_span *span = window->span;
	unsigned lead = span ? window->row - span->row : 0;

	if (!span || !span->columns[column])
		return false;
	for (unsigned r = 0; r < window->rows; r++)
		if (window->state[column][r] == CELL_UNREAD && span->results[column][lead + r] == SPAN_NOT_READ)
			return false;
	window->columns[column] = buffer_ref(span->columns[column]);
	window->lead[column] = (uint16_t)lead;
	for (unsigned r = 0; r < window->rows; r++) {
		if (window->state[column][r] != CELL_UNREAD)
			continue;
		window->state[column][r] = (uint8_t)state_read(window, column, r, span->results[column][lead + r], span->crcs[column][lead + r]);
		window->cells_read++;
	}
	return true;
}

int window_read_unjudged(struct row_window *window, uint32_t mask, uint32_t *ret_read)
{
	struct store *store = window->store;
	const struct segment *segment = alloc_segment(store->alloc, window->segment);
	uint32_t fresh = 0, failed = 0;

	*ret_read = 0;
	for (unsigned c = 0; c < (unsigned)window->k + window->m; c++) {
		if (!(mask >> c & 1) || window->columns[c])
			continue;
		fresh |= 1u << c;
		for (unsigned r = 0; r < window->rows; r++)
			if (window->state[c][r] == CELL_UNREAD && !can_ask(window, segment, c, r))
				window->state[c][r] = CELL_ABSENT;
		if (!take_from_span(window, c) && fresh_buffer(window, c) < 0)
			return -ENOMEM;
	}
	read_cells(window, fresh, false);
	for (unsigned c = 0; c < COLUMNS_MAX; c++)
		if (fresh >> c & 1 && memchr(window->state[c], CELL_UNREADABLE, window->rows))
			failed |= 1u << c;
	for (unsigned c = 0; failed && c < COLUMNS_MAX; c++) {
		if (!(failed >> c & 1))
			continue;
		if (fresh_buffer(window, c) < 0)
			return -ENOMEM;
		/* One bad sector shouldn't cost its neighbours: each cell of a failed run is asked for alone. */
		uint16_t index = segment->record.columns[c].disk;
		bool ask = window->rows > 1 && index != DISK_ABSENT && store->disks[index].disk &&
			   !store->disks[index].disk->abandoned_reads;
		for (unsigned r = 0; ask && r < window->rows; r++)
			if (window->state[c][r] == CELL_UNREADABLE)
				window->state[c][r] = CELL_UNREAD;
		if (!ask)
			failed &= ~(1u << c);
	}
	if (failed) {
		read_cells(window, failed, true);
		for (unsigned c = 0; c < COLUMNS_MAX; c++)
			if (failed >> c & 1 && memchr(window->state[c], CELL_UNREADABLE, window->rows) &&
			    fresh_buffer(window, c) < 0)
				return -ENOMEM;
	}
	*ret_read = fresh;
	return 0;
}

int window_read(struct row_window *window, uint32_t mask)
{
	uint32_t fresh;
	int status = window_read_unjudged(window, mask, &fresh);

	if (status == 0)
		judge_columns(window, fresh);
	return status;
}

void window_set_summary(struct row_window *window, struct summary_entry *summary)
{
	uint32_t mask = 0;

	window->summary = summary;
	for (unsigned c = 0; c < COLUMNS_MAX; c++) {
		if (!window->columns[c])
			continue;
		mask |= 1u << c;
		for (unsigned r = 0; r < window->rows; r++)
			if (window->state[c][r] == CELL_UNVERIFIED)
				window->state[c][r] = CELL_READ;
	}
	judge_columns(window, mask);
}

unsigned window_count(const struct row_window *window, uint32_t mask, enum cell_state state)
{
	unsigned count = 0;

	for (unsigned c = 0; c < COLUMNS_MAX; c++)
		for (unsigned r = 0; mask >> c & 1 && r < window->rows; r++)
			count += window->state[c][r] == state;
	return count;
}
