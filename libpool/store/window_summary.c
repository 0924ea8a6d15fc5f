/*
 * The summary of a batch out of a window on its rows: scrub and rebuild read these rows anyway, and no cell
 * more than once. The summary's own checksum judges; a missing column is decoded on trust for that.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "libpool/format/dva.h"
#include "libpool/store/internal.h"

void window_trust(struct row_window *window)
{
	for (unsigned c = 0; c < COLUMNS_MAX; c++)
		for (unsigned r = 0; r < window->rows; r++)
			if (window->state[c][r] == CELL_UNVERIFIED)
				window->state[c][r] = CELL_GOOD;
}

/* Columns of the runs with a cell that wasn't read; *ret_inside tells whether the window has all rows. */
static uint32_t missing_columns(const struct row_window *window, const struct cell_run *runs, unsigned count, bool *ret_inside)
{
	uint32_t missing = 0;

	*ret_inside = true;
	for (unsigned i = 0; i < count; i++) {
		if (runs[i].row < window->row || runs[i].row + runs[i].rows > window->row + window->rows) {
			*ret_inside = false;
			continue;
		}
		for (unsigned r = 0; r < runs[i].rows; r++)
			if (window->state[runs[i].column][runs[i].row - window->row + r] != CELL_UNVERIFIED)
				missing |= 1u << runs[i].column;
	}
	return missing;
}

static void gather(const struct row_window *window, const struct cell_run *runs, unsigned count, uint8_t *payload)
{
	for (unsigned i = 0; i < count; i++) {
		memcpy(payload, window_cell(window, runs[i].column, runs[i].row - window->row), (size_t)runs[i].rows * CELL_SIZE);
		payload += (size_t)runs[i].rows * CELL_SIZE;
	}
}

/*
 * A copy of the window in which what was read counts as good, with columns of its own for those missing, solved. What is made so may be wrong: the span keeps
 * what the disks gave, and lends nothing.
 */
static int solve_copy(const struct row_window *window, uint32_t missing, struct row_window *copy)
{
	*copy = *window;
	memset(copy->into, 0, sizeof(copy->into));
	copy->span = NULL;
	window_trust(copy);
	for (unsigned c = 0; c < COLUMNS_MAX; c++) {
		if (!window->columns[c])
			continue;
		if (!(missing >> c & 1)) {
			copy->columns[c] = buffer_ref(window->columns[c]);
			continue;
		}
		copy->columns[c] = buffer_new((size_t)window->rows * CELL_SIZE);
		if (!copy->columns[c])
			return -ENOMEM;
		copy->lead[c] = 0;
		memcpy(copy->columns[c]->data, window_cell(window, c, 0), (size_t)window->rows * CELL_SIZE);
	}
	return window_solve(copy, missing);
}

int window_find_summary(struct row_window *window, const struct batch_index *batch, struct summary_entry **ret_entry)
{
	struct block_pointer pointer;
	struct cell_run runs[COLUMNS_MAX];
	struct row_window *copy = NULL;
	bool inside;

	alloc_summary_pointer(batch, &pointer);
	unsigned count = dva_runs(dva_unpack(pointer.dva), pointer.psect, runs);
	uint32_t missing = missing_columns(window, runs, count, &inside);
	if (!inside)
		return -POOL_EDAMAGED;
	struct buffer *payload = buffer_new((size_t)pointer.psect * CELL_SIZE);
	int status = payload ? 0 : -ENOMEM;
	if (status == 0 && missing) {
		copy = malloc(sizeof(*copy));
		status = copy ? solve_copy(window, missing, copy) : -ENOMEM;
	}
	if (status == 0) {
		gather(copy ? copy : window, runs, count, payload->data);
		status = payload_matches(&pointer, payload->data) ? 0 : -POOL_EDAMAGED;
	}
	if (status == 0)
		status = summary_adopt(window->store, window->segment, &pointer, payload, ret_entry);
	if (copy)
		window_release(copy);
	free(copy);
	buffer_unref(payload);
	return status;
}
