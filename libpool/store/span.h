/*
 * Rows of one segment that are read before windows ask for their cells: with one request for each column, whatever batches and dead
 * rows lie in them. And rows that are written to another place in the same way. In a pool that was overwritten for long, windows
 * are small, and requests what rebuild spends its time on.
 *
 * A span is only a shortcut: what it couldn't read, windows ask for themselves, cell by cell if need be, and judge in any case. The
 * segment stays pinned from span_read to the last use, so no row becomes another's meanwhile.
 */
#ifndef LIBPOOL_STORE_SPAN_H
#define LIBPOOL_STORE_SPAN_H

#include "libpool/store/window.h"

/* So many rows between two that are wanted cost less than another request. */
#define SPAN_GAP_ROWS 3u

struct row_span {
	uint16_t row, rows;
	struct buffer *columns[COLUMNS_MAX];          /* NULL: not read */
	int results[COLUMNS_MAX][WINDOW_ROWS_MAX];    /* SPAN_NOT_READ (so are those that counted as absent), 0, CELLS_HAVE_CRCS */
	uint32_t crcs[COLUMNS_MAX][WINDOW_ROWS_MAX];
};
#define SPAN_NOT_READ (-1)

/*
 * Reads the rows of the bitmap (absolute) in [row, row + rows), and what little lies between two of them, of the columns of the mask. At most
 * WINDOW_ROWS_MAX rows. Waits.
 */
void span_read(struct row_span *span, struct store *store, const struct segment *segment, const uint64_t *wanted, unsigned row, unsigned rows,
	       uint32_t mask);
void span_release(struct row_span *span);
/* A cell of it; NULL: it wasn't read. */
const uint8_t *span_cell(const struct row_span *span, unsigned column, unsigned row);
/* The window takes cells that the span has without asking for them. Before window_read; the span stays until the window is released. */
void window_set_span(struct row_window *window, const struct row_span *span);

/*
 * Writes the rows of `wanted` (from `row`, with which `buffer` begins) to another place, and zeroes what little lies between them, but for those
 * of `others`, where those that are wanted don't count. Waits; nothing is flushed. 0, or the first error, which counts against the disk.
 */
int store_write_rows(struct store *store, uint32_t segment, struct segment_column to, unsigned row, unsigned rows, const uint64_t *wanted,
		     const uint64_t *others, struct buffer *buffer);

#endif
