/* The long way to a block: with the batch's summary, which names the bad cells; without it, guess.c. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

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

static int read_by_summary(struct store *store, const struct block_pointer *pointer, const struct segment *segment, bool heal,
			   struct buffer **ret_payload)
{
	struct cell_run runs[COLUMNS_MAX];
	unsigned count = dva_runs(dva_unpack(pointer->dva), pointer->psect, runs), used = 0;
	struct summary_entry *summary;
	int status = summary_get(store, segment, runs[0].row, &summary);

	if (status < 0)
		return status;
	if (summary_of(summary)->txg != pointer->place) {
		summary_put(store, summary); /* the rows were given to somebody else */
		return -POOL_EDAMAGED;
	}
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
		if (status == 0 && heal)
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

int read_repair(struct store *store, const struct block_pointer *pointer, const struct segment *segment, bool heal,
		struct buffer **ret_payload)
{
	int status = -POOL_EDAMAGED;

	if (pointer->type != TYPE_SUMMARY)
		status = read_by_summary(store, pointer, segment, heal, ret_payload);
	if (status == 0 || status == -ENOMEM)
		return status;
	return read_by_guess(store, pointer, heal, ret_payload);
}
