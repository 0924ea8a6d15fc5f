/*
 * Where the cells of a block lie. A stripe is filled column by column, so that a small block lies on one
 * disk. What must always hold: the runs of a valid address lie in rows 1 to R - 1 and name each cell once.
 */
#include "libpool/format/dva.h"

bool dva_valid(struct dva dva, unsigned cells, unsigned k, unsigned rows_per_au)
{
	if (dva.segment >= SEGMENTS_MAX || k == 0 || k > COLUMNS_MAX || cells == 0 || cells > STRIPE_CELLS_MAX)
		return false;
	if (dva.base == 0 || dva.height == 0 || dva.height > STRIPE_ROWS_MAX ||
	    (unsigned)dva.base + dva.height > rows_per_au)
		return false;
	unsigned stripe_cells = k * dva.height;
	return stripe_cells <= STRIPE_CELLS_MAX && dva.offset + cells <= stripe_cells;
}

unsigned dva_runs(struct dva dva, unsigned cells, struct cell_run *ret_runs)
{
	unsigned column = dva.offset / dva.height, row = dva.offset % dva.height, count = 0;
	while (cells > 0 && count < COLUMNS_MAX) {
		unsigned rows = dva.height - row;
		if (rows > cells)
			rows = cells;
		ret_runs[count++] = (struct cell_run){ .column = (uint16_t)column,
						       .row = (uint16_t)(dva.base + row),
						       .rows = (uint16_t)rows };
		cells -= rows;
		column++;
		row = 0;
	}
	return count;
}
