/*
 * Summaries that were lost: made anew where all blocks of their batch are still there and can be read, and written where they were.
 * What they cover is then scrubbed as ever.
 */
#include <errno.h>
#include <stdlib.h>

#include "libpool/format/dva.h"
#include "scrub/internal.h"

static int compare_blocks(const void *a, const void *b)
{
	const struct store_known_block *x = a, *y = b;
	struct dva left = dva_unpack(x->pointer.dva), right = dva_unpack(y->pointer.dva);

	if (left.base != right.base)
		return left.base < right.base ? -1 : 1;
	return left.offset < right.offset ? -1 : left.offset > right.offset;
}

static bool same_batch(const struct batch_index *left, const struct batch_index *right)
{
	return left && left->summary_dva == right->summary_dva && left->txg == right->txg;
}

/* Writes it over the rows that it lay in, with their parity. */
static int put_back(struct job *job, const struct job_host *host, struct segment *segment, const struct batch_index *batch,
		    struct summary_entry *summary)
{
	struct cell_run runs[COLUMNS_MAX];
	unsigned first = ROWS_MAX, end = 0, count = dva_runs(dva_unpack(batch->summary_dva), batch->summary_cells, runs);
	struct row_window *window = malloc(sizeof(*window));

	if (!window)
		return -ENOMEM;
	for (unsigned i = 0; i < count; i++) {
		first = runs[i].row < first ? runs[i].row : first;
		end = (unsigned)runs[i].row + runs[i].rows > end ? (unsigned)runs[i].row + runs[i].rows : end;
	}
	window_init(window, host->store, segment, first, end - first, batch->txg, summary);
	for (unsigned r = 0; r < window->rows; r++)
		if (!row_is_live(store_alloc(host->store), segment, first + r) || !same_batch(alloc_batch_find(segment, first + r), batch))
			window_skip(window, r);
	int status = window_read(window, columns_in_service(host->store, segment));
	if (status == 0) {
		window_restore_summary(window);
		status = settle_window(job, host, window);
	}
	window_release(window);
	free(window);
	return status;
}

/* What report_lost_summary has counted is counted as it is now. */
static void count_as_found(struct job *job, const struct batch_index *batch)
{
	job->errors_found -= batch->summary_cells < job->errors_found ? batch->summary_cells : job->errors_found;
	job->cells_unrepaired -= batch->summary_cells < job->cells_unrepaired ? batch->summary_cells : job->cells_unrepaired;
}

static int remake_one(struct job *job, const struct job_host *host, const struct batch_index *batch, const struct array *found,
		      struct array *ret_segments)
{
	struct segment *segment = alloc_segment(store_alloc(host->store), dva_unpack(batch->summary_dva).segment);
	struct store_known_block *blocks = calloc(found->count ? found->count : 1, sizeof(*blocks));
	struct summary_entry *summary = NULL;
	size_t count = 0;
	int status = blocks ? 0 : -ENOMEM;

	if (status < 0 || batch_is_gone(host->store, segment->id, batch)) {
		free(blocks);
		return status;
	}
	for (size_t i = 0; i < found->count; i++) {
		const struct store_known_block *block = array_at(found, struct store_known_block, i);
		struct dva dva = dva_unpack(block->pointer.dva);
		if (dva.segment == segment->id && same_batch(alloc_batch_find(segment, dva.base + dva.offset % dva.height), batch))
			blocks[count++] = *block;
	}
	qsort(blocks, count, sizeof(*blocks), compare_blocks);
	alloc_pin(segment);
	status = summary_remake(host->store, segment, batch, blocks, count, &summary);
	if (status == 0) {
		status = put_back(job, host, segment, batch, summary);
		if (status == 0) {
			count_as_found(job, batch);
			status = array_push(ret_segments, &segment->id);
		}
		summary_put(host->store, summary);
	}
	alloc_unpin(store_alloc(host->store), segment);
	free(blocks);
	return status == -ENOMEM ? -ENOMEM : 0; /* else it is as lost as it was */
}

int scrub_remake_summaries(struct job *job, const struct job_host *host, const struct array *lost_batches, const struct array *found,
			   struct array *ret_segments)
{
	int status = 0;

	for (size_t i = 0; i < lost_batches->count && status == 0; i++)
		status = job->cancel_requested ? -ECANCELED :
						 remake_one(job, host, array_at(lost_batches, struct batch_index, i), found, ret_segments);
	return status;
}
