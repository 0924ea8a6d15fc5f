/*
 * The long way to a block: with the batch's summary, which names the bad cells; without it, by trying which
 * columns to leave out until the block's own checksum agrees.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "libpool/base/check.h"
#include "libpool/format/dva.h"
#include "libpool/store/internal.h"

/* One run of the block: its own column first, reconstruction where that isn't good. */
static int repair_run(struct store *store, const struct segment *segment, uint64_t place, struct summary_entry *summary,
		      struct cell_run run, struct row_window *window)
{
	window_init(window, store, segment, run.row, run.rows, place, summary);
	int status = window_read(window, 1u << run.column);
	if (status == 0 && window_count(window, 1u << run.column, CELL_GOOD) < run.rows)
		status = window_solve(window, 1u << run.column);
	return status;
}

static int read_by_summary(struct store *store, const struct block_pointer *pointer, const struct segment *segment,
			   struct buffer **ret_payload)
{
	struct cell_run runs[COLUMNS_MAX];
	unsigned count = dva_runs(dva_unpack(pointer->dva), pointer->psect, runs), used = 0;
	struct summary_entry *summary;
	int status = summary_get(store, segment, runs[0].row, &summary);

	if (status < 0)
		return status;
	struct row_window *windows = calloc(count, sizeof(*windows));
	struct buffer *payload = buffer_new((size_t)pointer->psect * CELL_SIZE);
	size_t offset = 0;
	if (!windows || !payload)
		status = -ENOMEM;
	for (unsigned i = 0; i < count && status == 0; i++) {
		used = i + 1;
		status = repair_run(store, segment, pointer->place, summary, runs[i], &windows[i]);
		if (status < 0)
			break;
		memcpy(payload->data + offset, windows[i].columns[runs[i].column]->data, (size_t)runs[i].rows * CELL_SIZE);
		offset += (size_t)runs[i].rows * CELL_SIZE;
	}
	if (status == 0 && !payload_matches(pointer, payload->data))
		status = -POOL_EDAMAGED;
	for (unsigned i = 0; i < used; i++) {
		if (status == 0)
			window_heal(&windows[i], 1u << runs[i].column);
		window_release(&windows[i]);
	}
	free(windows);
	summary_put(store, summary);
	if (status < 0) {
		buffer_unref(payload);
		return status;
	}
	*ret_payload = payload;
	return 0;
}

/* The payload as the window's columns have it now. */
static void gather(const struct row_window *window, const struct cell_run *runs, unsigned count, uint8_t *payload)
{
	for (unsigned i = 0; i < count; i++) {
		memcpy(payload, window_cell(window, runs[i].column, runs[i].row - window->row), (size_t)runs[i].rows * CELL_SIZE);
		payload += (size_t)runs[i].rows * CELL_SIZE;
	}
}

/* Decodes with `erased` left out into fresh columns and asks the checksum. On success the window's cells are those. */
static bool guess(struct row_window *window, const struct block_pointer *pointer, const struct cell_run *runs, unsigned count,
		  uint32_t erased, uint8_t *payload)
{
	uint32_t all = (1u << (window->k + window->m)) - 1, wanted = 0;
	struct row_window attempt = *window;

	for (unsigned i = 0; i < count; i++)
		wanted |= 1u << runs[i].column;
	wanted &= erased;
	for (unsigned c = 0; c < COLUMNS_MAX; c++) {
		for (unsigned r = 0; r < window->rows && all >> c & 1; r++)
			attempt.state[c][r] = erased >> c & 1 ? CELL_BAD : CELL_GOOD;
		attempt.columns[c] = NULL;
		if (wanted >> c & 1)
			attempt.columns[c] = buffer_new((size_t)window->rows * CELL_SIZE);
		else if (window->columns[c])
			attempt.columns[c] = buffer_ref(window->columns[c]);
	}
	attempt.summary = NULL;
	bool right = false, ready = true;
	for (unsigned c = 0; c < COLUMNS_MAX; c++)
		ready = ready && (!(all >> c & 1) || attempt.columns[c] || erased >> c & 1);
	if (ready && (!wanted || window_solve(&attempt, wanted) == 0)) {
		gather(&attempt, runs, count, payload);
		right = payload_matches(pointer, payload);
	}
	/* Cells of the block that differ from what was read were wrong: they are healed. */
	for (unsigned i = 0; right && i < count; i++) {
		unsigned c = runs[i].column;
		for (unsigned r = 0; r < attempt.rows; r++) {
			unsigned absolute = attempt.row + r;
			bool own = absolute >= runs[i].row && absolute < (unsigned)runs[i].row + runs[i].rows;
			bool same = window->columns[c] && window->state[c][r] == CELL_UNVERIFIED && attempt.columns[c] &&
				    memcmp(window_cell(window, c, r), window_cell(&attempt, c, r), CELL_SIZE) == 0;
			if (!own || same || window->state[c][r] == CELL_ABSENT) {
				attempt.state[c][r] = CELL_GOOD;
			} else if (erased >> c & 1) {
				attempt.state[c][r] = CELL_REBUILT;
				attempt.origin[c][r] = window->state[c][r] == CELL_UNREADABLE ? CELL_UNREADABLE : CELL_BAD;
			}
		}
	}
	if (right)
		window_heal(&attempt, wanted);
	window_release(&attempt);
	return right;
}

int read_by_guess(struct store *store, const struct block_pointer *pointer, struct buffer **ret_payload)
{
	struct dva dva = dva_unpack(pointer->dva);
	const struct segment *segment = alloc_segment(store->alloc, dva.segment);
	struct cell_run runs[COLUMNS_MAX];
	unsigned count = dva_runs(dva, pointer->psect, runs);
	unsigned first = runs[0].row, end = 0, columns = segment->record.k + segment->record.m;
	uint32_t all = (1u << columns) - 1, absent = 0;

	for (unsigned i = 0; i < count; i++) {
		first = runs[i].row < first ? runs[i].row : first;
		end = (unsigned)runs[i].row + runs[i].rows > end ? (unsigned)runs[i].row + runs[i].rows : end;
	}
	struct row_window *window = malloc(sizeof(*window));
	struct buffer *payload = buffer_new((size_t)pointer->psect * CELL_SIZE);
	if (!window || !payload) {
		free(window);
		buffer_unref(payload);
		return -ENOMEM;
	}
	window_init(window, store, segment, first, end - first, pointer->place, NULL);
	int status = window_read(window, all);
	for (unsigned c = 0; c < columns; c++)
		if (window_count(window, 1u << c, CELL_UNVERIFIED) < window->rows)
			absent |= 1u << c;
	bool found = false;
	for (unsigned size = 0; status == 0 && !found && size <= segment->record.m; size++)
		for (uint32_t erased = 0; erased <= all && !found; erased++)
			if ((unsigned)__builtin_popcount(erased) == size && (erased & absent) == absent)
				found = guess(window, pointer, runs, count, erased, payload->data);
	window_release(window);
	free(window);
	if (!found) {
		buffer_unref(payload);
		return status < 0 ? status : -POOL_EDAMAGED;
	}
	*ret_payload = payload;
	return 0;
}

int read_repair(struct store *store, const struct block_pointer *pointer, const struct segment *segment, struct buffer **ret_payload)
{
	int status = -POOL_EDAMAGED;

	if (pointer->type != TYPE_SUMMARY)
		status = read_by_summary(store, pointer, segment, ret_payload);
	if (status == 0 || status == -ENOMEM)
		return status;
	return read_by_guess(store, pointer, ret_payload);
}
