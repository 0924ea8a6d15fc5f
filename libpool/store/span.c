/* Rows read and written with few requests: span.h. */
#include "libpool/store/span.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "checksum/crc32c.h"
#include "libpool/base/bitmap.h"
#include "libpool/base/check.h"
#include "libpool/store/internal.h"

#define ALIKE_ROWS 16u /* what spans of more than half of it are rounded up to, or to twice that, and so on */

/* The next rows of the bitmap from *row on, small gaps included but for those with a row of `others`. False: there are none. */
static bool next_run(const uint64_t *wanted, const uint64_t *others, size_t *row, size_t end, size_t *ret_stop)
{
	size_t first = bitmap_next_set(wanted, *row, end), next = first;

	if (first == BITMAP_NONE)
		return false;
	while (next != BITMAP_NONE &&
	       (next == first || (next - *ret_stop <= SPAN_GAP_ROWS && !(others && bitmap_count(others, *ret_stop, next - *ret_stop))))) {
		size_t stop = bitmap_next_clear(wanted, next, end);
		*ret_stop = stop == BITMAP_NONE ? end : stop;
		next = bitmap_next_set(wanted, *ret_stop, end);
	}
	*row = first;
	return true;
}

static bool can_be_read(const struct store *store, uint16_t index)
{
	const struct disk *disk = index == DISK_ABSENT ? NULL : store->disks[index].disk;

	return disk && !disk->abandoned_reads && !disk->abandoned_writes;
}

/* Spans of many lengths share pieces of few sizes (slab.h): those are there already, where each size of its own begins with new pages. */
static size_t span_room(unsigned rows)
{
	size_t room = ALIKE_ROWS;

	while (room < rows)
		room *= 2;
	return (rows > ALIKE_ROWS / 2 ? room : rows) * CELL_SIZE;
}

#define ABSENT_WORDS (WINDOW_ROWS_MAX / 64)

/* Rows, from `row` on, whose cell in this column counts as absent. */
static void note_absent(const struct store *store, const struct segment *segment, unsigned column, unsigned row, unsigned rows, uint64_t *ret_absent)
{
	memset(ret_absent, 0, ABSENT_WORDS * sizeof(*ret_absent));
	for (unsigned r = 0; r < rows; r++) {
		const struct batch_index *batch = alloc_batch_find(segment, row + r);

		if (batch && !cell_present(store, segment, column, row + r, batch->txg))
			bitmap_set(ret_absent, r);
	}
}

void span_read(struct row_span *span, struct store *store, const struct segment *segment, const uint64_t *wanted, unsigned row, unsigned rows,
	       uint32_t mask)
{
	uint64_t absent[COLUMNS_MAX][ABSENT_WORDS];
	struct rt_group group;

	POOL_CHECK(rows <= WINDOW_ROWS_MAX);
	memset(span->columns, 0, sizeof(span->columns));
	span->row = (uint16_t)row;
	span->rows = (uint16_t)rows;
	rt_group_init(&group);
	for (unsigned c = 0; c < (unsigned)segment->record.k + segment->record.m; c++) {
		if (!(mask >> c & 1) || !can_be_read(store, segment->record.columns[c].disk))
			continue;
		span->columns[c] = buffer_new(span_room(rows));
		if (!span->columns[c])
			continue;
		note_absent(store, segment, c, row, rows, absent[c]);
		for (unsigned r = 0; r < rows; r++)
			span->results[c][r] = SPAN_NOT_READ;
		for (size_t first = row, stop = row; next_run(wanted, NULL, &first, row + rows, &stop); first = stop) {
			for (size_t r = first - row; r < stop - row; r++) {
				span->crcs[c][r] = crc32c_cell_seed(segment->id, (uint16_t)c, (uint16_t)(row + r));
				span->results[c][r] = 0;
			}
			cells_read_start(store, segment->record.columns[c], (unsigned)first, (unsigned)(stop - first), span->columns[c],
					 (first - row) * CELL_SIZE, &span->crcs[c][first - row], &group, &span->results[c][first - row]);
		}
	}
	if (group.pending)
		(void)rt_group_wait(store->rt, &group);
	for (unsigned c = 0; c < COLUMNS_MAX; c++) {
		size_t first = row, stop = row;
		bool failed = false;

		for (; span->columns[c] && next_run(wanted, NULL, &first, row + rows, &stop); first = stop) {
			int result = span->results[c][first - row];

			failed |= result < 0;
			/* What was absent is old, also if it has been made anew and counts when a window asks. */
			for (size_t r = first - row; r < stop - row; r++)
				span->results[c][r] = bitmap_get(absent[c], r) ? SPAN_NOT_READ : result;
		}
		/* The device may still write into the buffer of a request that failed. */
		if (!failed)
			continue;
		buffer_unref(span->columns[c]);
		span->columns[c] = NULL;
	}
}

void span_release(struct row_span *span)
{
	for (unsigned c = 0; c < COLUMNS_MAX; c++) {
		buffer_unref(span->columns[c]);
		span->columns[c] = NULL;
	}
}

const uint8_t *span_cell(const struct row_span *span, unsigned column, unsigned row)
{
	if (!span->columns[column] || row < span->row || row >= (unsigned)span->row + span->rows ||
	    span->results[column][row - span->row] == SPAN_NOT_READ)
		return NULL;
	return span->columns[column]->data + (size_t)(row - span->row) * CELL_SIZE;
}

void window_set_span(struct row_window *window, const struct row_span *span)
{
	window->span = window->row >= span->row && window->row + window->rows <= span->row + span->rows ? span : NULL;
}

int store_write_rows(struct store *store, uint32_t segment, struct segment_column to, unsigned row, unsigned rows, const uint64_t *wanted,
		     const uint64_t *others, struct buffer *buffer)
{
	int *results = malloc((rows + 1) / 2 * sizeof(*results));
	unsigned count = 0;
	struct rt_group group;
	int status = 0;

	if (!results)
		return -ENOMEM;
	rt_group_init(&group);
	for (size_t first = 0, stop = 0; status == 0 && next_run(wanted, others, &first, rows, &stop); first = stop) {
		struct cell_source source = {buffer, first * CELL_SIZE, (unsigned)(stop - first)};

		for (size_t gap = bitmap_next_clear(wanted, first, stop); gap != BITMAP_NONE; gap = bitmap_next_clear(wanted, gap + 1, stop))
			memset(buffer->data + gap * CELL_SIZE, 0, CELL_SIZE);
		status = disk_takes_writes(store, to.disk) ? 0 : -EROFS;
		if (status == 0)
			status = cells_write_start(store, segment, to, row + (unsigned)first, &source, 1, false, &group, &results[count]);
		count += status == 0;
	}
	if (group.pending)
		(void)rt_group_wait(store->rt, &group);
	for (unsigned i = 0; i < count; i++) {
		cells_write_judge(store, to.disk, results[i]);
		if (status == 0)
			status = results[i];
	}
	free(results);
	return status;
}
