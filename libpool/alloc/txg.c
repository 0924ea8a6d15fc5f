/*
 * What one txg changes: collected between begin and commit, given to the log as records, applied when the
 * uberblock is durable. Until then bits, live counts and free AUs are those of the last commit.
 */
#include "libpool/alloc/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "libpool/base/check.h"
#include "libpool/format/dva.h"

/* Nor freed in this txg. */
static bool extent_is_live(const struct alloc *alloc, const struct segment *segment, unsigned column, unsigned row, unsigned rows)
{
	size_t first = cell_bit(alloc, column, row);

	return segment->bits && bitmap_count(segment->bits, first, rows) == rows &&
	       (!segment->freeing || bitmap_count(segment->freeing, first, rows) == 0);
}

/* How many runs a block has, all of them live; 0: it isn't. */
static unsigned live_runs(const struct alloc *alloc, const struct block_pointer *pointer, struct cell_run *ret_runs)
{
	struct dva dva = dva_unpack(pointer->dva);
	const struct segment *segment = dva.segment < alloc->segment_count ? alloc->segments[dva.segment] : NULL;

	if (!segment || pointer->place < segment->record.alloc_txg ||
	    !dva_valid(dva, pointer->psect, segment->record.k, alloc->geometry.rows))
		return 0;
	unsigned count = dva_runs(dva, pointer->psect, ret_runs);
	for (unsigned i = 0; i < count; i++) {
		const struct batch_index *batch = alloc_batch_find(segment, ret_runs[i].row);
		if (batch && batch->txg != pointer->place)
			return 0; /* the rows are another block's by now */
		if (!extent_is_live(alloc, segment, ret_runs[i].column, ret_runs[i].row, ret_runs[i].rows))
			return 0;
	}
	return count;
}

bool alloc_block_is_live(const struct alloc *alloc, const struct block_pointer *pointer)
{
	struct cell_run runs[COLUMNS_MAX];

	return live_runs(alloc, pointer, runs) > 0;
}

/* It is live. */
static int free_extent(struct alloc *alloc, struct segment *segment, unsigned column, unsigned row, unsigned rows)
{
	struct cell_extent extent = { segment->id, (uint8_t)column, (uint16_t)row, (uint16_t)rows };
	size_t first = cell_bit(alloc, column, row);

	if (!segment->freeing) {
		segment->freeing = calloc(BITMAP_WORDS(segment_bits(alloc, segment)), 8);
		if (!segment->freeing)
			return -ENOMEM;
	}
	bitmap_set_range(segment->freeing, first, rows);
	alloc_touch(alloc, segment->id);
	return array_push(&alloc->txg_frees, &extent);
}

int alloc_txg_begin(struct alloc *alloc, uint64_t txg)
{
	POOL_CHECK(alloc->txg == 0);
	alloc->txg = txg;
	alloc->log_closed = false;
	alloc->txg_frees_taken = alloc->txg_summary_frees = 0;
	for (size_t i = 0; i < alloc->summaries_due.count; i++) {
		const struct cell_extent *extent = array_at(&alloc->summaries_due, struct cell_extent, i);
		struct segment *segment = alloc->segments[extent->segment];
		const struct batch_index *batch = alloc_batch_find(segment, extent->row);
		if (batch)
			alloc_batch_remove_summary(alloc, extent->segment, batch->summary_dva, batch->txg);
		/* Cells that aren't live are claimed by an image only: they stay as they are. */
		int status = extent_is_live(alloc, segment, extent->column, extent->row, extent->rows) ?
				     free_extent(alloc, segment, extent->column, extent->row, extent->rows) : 0;
		if (status < 0)
			return status;
	}
	alloc->txg_summary_frees = alloc->txg_frees.count;
	array_clear(&alloc->summaries_due);
	return 0;
}

int alloc_txg_batch(struct alloc *alloc, uint32_t id, const struct summary_range *ranges, unsigned range_count,
		    const struct block_pointer *summary, const struct cell_extent *unused, size_t unused_count)
{
	struct txg_batch batch = { .segment = id, .first_range = (uint32_t)alloc->txg_ranges.count, .range_count = range_count,
				   .first_unused = (uint32_t)alloc->txg_unused.count,
				   .unused_count = (uint32_t)unused_count, .summary = *summary };

	POOL_CHECK(alloc->txg != 0 && range_count <= 256);
	for (unsigned i = 0; i < range_count; i++) {
		struct batch_index entry = { .base = ranges[i].base, .rows = ranges[i].rows, .summary_cells = summary->psect,
					     .txg = alloc->txg, .summary_dva = summary->dva };
		memcpy(entry.summary_checksum, summary->checksum, 16);
		if (array_push(&alloc->txg_ranges, &ranges[i]) < 0 || alloc_batch_insert(alloc, id, &entry) < 0)
			return -ENOMEM;
	}
	for (size_t i = 0; i < unused_count; i++)
		if (array_push(&alloc->txg_unused, &unused[i]) < 0)
			return -ENOMEM;
	alloc->segments[id]->placed_in_txg = true;
	alloc_touch(alloc, id);
	return array_push(&alloc->txg_batches, &batch);
}

int alloc_txg_free(struct alloc *alloc, const struct block_pointer *pointer)
{
	struct cell_run runs[COLUMNS_MAX];

	POOL_CHECK(alloc->txg != 0);
	/* All of it or nothing: the other runs may be of another block. */
	unsigned count = live_runs(alloc, pointer, runs);
	if (count == 0)
		return -EINVAL;
	struct segment *segment = alloc_segment(alloc, dva_unpack(pointer->dva).segment);
	for (unsigned i = 0; i < count; i++) {
		int status = free_extent(alloc, segment, runs[i].column, runs[i].row, runs[i].rows);
		if (status < 0)
			return status;
	}
	return 0;
}

static int record_batch(struct alloc *alloc, const struct txg_batch *batch, struct array *bytes)
{
	struct alloc_record *record = calloc(1, sizeof(*record));

	if (!record)
		return -ENOMEM;
	record->type = ALLOC_BATCH;
	record->segment = batch->segment;
	record->txg = alloc->txg;
	record->range_count = (uint16_t)batch->range_count;
	memcpy(record->ranges, array_at(&alloc->txg_ranges, struct summary_range, batch->first_range),
	       batch->range_count * sizeof(record->ranges[0]));
	block_pointer_encode(&batch->summary, &record->summary);
	record->unused_count = batch->unused_count;
	record->unused = batch->unused_count ? array_at(&alloc->txg_unused, struct cell_extent, batch->first_unused) : NULL;
	int status = alloc_record_append(bytes, record);
	free(record);
	return status;
}

int alloc_txg_take_records(struct alloc *alloc, bool last, struct array *bytes)
{
	struct alloc_record record;
	int status = 0;

	if (alloc->previous_final_due) {
		memset(&record, 0, sizeof(record));
		record.type = ALLOC_PREVFINAL;
		record.final = alloc->previous_final;
		status = alloc_record_append(bytes, &record);
		alloc->previous_final_due = false;
	}
	for (size_t i = 0; i < alloc->moved.count && status == 0; i++) {
		const struct moved_record *before = array_at(&alloc->moved, struct moved_record, i);
		memset(&record, 0, sizeof(record));
		record.type = ALLOC_SEGMENT;
		record.segment = before->segment;
		record.record = before->record;
		status = alloc_record_append(bytes, &record);
	}
	array_clear(&alloc->moved);
	alloc->log_closed |= last;
	for (size_t i = 0; i < alloc->touched.count && status == 0; i++) {
		struct segment *segment = alloc->segments[*array_at(&alloc->touched, uint32_t, i)];
		if (!segment->record_dirty)
			continue;
		memset(&record, 0, sizeof(record));
		record.type = ALLOC_SEGMENT;
		record.segment = segment->id;
		record.record = segment->record;
		status = alloc_record_append(bytes, &record);
		segment->record_dirty = false;
	}
	for (size_t i = 0; i < alloc->txg_batches.count && status == 0; i++) {
		struct txg_batch *batch = array_at(&alloc->txg_batches, struct txg_batch, i);
		if (batch->recorded)
			continue;
		status = record_batch(alloc, batch, bytes);
		batch->recorded = true;
	}
	if (status == 0 && alloc->txg_frees_taken < alloc->txg_frees.count)
		status = alloc_record_append_frees(bytes,
						   array_at(&alloc->txg_frees, struct cell_extent, alloc->txg_frees_taken),
						   alloc->txg_frees.count - alloc->txg_frees_taken);
	alloc->txg_frees_taken = alloc->txg_frees.count;
	for (size_t i = 0; last && i < alloc->stale.count && status == 0; i++) {
		memset(&record, 0, sizeof(record));
		record.type = ALLOC_STALE;
		record.stale = *array_at(&alloc->stale, struct stale_record, i);
		status = alloc_record_append(bytes, &record);
	}
	return status;
}

const uint32_t *alloc_txg_segments(const struct alloc *alloc, size_t *ret_count)
{
	*ret_count = alloc->touched.count;
	return alloc->touched.items;
}

size_t alloc_txg_record_bytes(const struct alloc *alloc)
{
	size_t bytes = alloc->previous_final_due ? 96 : 0;

	bytes += alloc->moved.count * (16 + SEGMENT_RECORD_SIZE);
	for (size_t i = 0; i < alloc->touched.count; i++)
		if (alloc->segments[*array_at(&alloc->touched, uint32_t, i)]->record_dirty)
			bytes += 16 + SEGMENT_RECORD_SIZE;
	for (size_t i = 0; i < alloc->txg_batches.count; i++) {
		const struct txg_batch *batch = array_at(&alloc->txg_batches, struct txg_batch, i);
		if (!batch->recorded)
			bytes += 128 + batch->range_count * 4 + batch->unused_count * 8;
	}
	size_t frees = alloc->txg_frees.count - alloc->txg_frees_taken;
	return bytes + frees * 8 + (frees / 1000 + 1) * 8 + alloc->stale.count * 32; /* a head for each 1000 */
}

static void apply_frees(struct alloc *alloc)
{
	for (size_t i = 0; i < alloc->txg_frees.count; i++) {
		const struct cell_extent *extent = array_at(&alloc->txg_frees, struct cell_extent, i);
		struct segment *segment = alloc->segments[extent->segment];
		size_t cleared = alloc_bits_clear(alloc, segment, extent->column, extent->row, extent->rows);
		POOL_CHECK(cleared == extent->rows);
		if (i >= alloc->txg_summary_frees) {
			POOL_CHECK(segment->live >= cleared);
			count_cells(alloc, segment, -(int64_t)cleared);
			if (segment->record.class != CLASS_META && segment->record.class != CLASS_SYS)
				alloc->freed_cells += cleared;
		}
		if (segment->record.state == SEGMENT_SYS) {
			struct deferred rows = { .sequence = alloc->sequence, .segment = extent->segment, .disk = DISK_ABSENT,
						 .row = extent->row, .rows = extent->rows };
			if (array_push(&alloc->deferred, &rows) < 0)
				POOL_CHECK(!"out of memory in the allocation state");
		} else {
			alloc_rows_defer(alloc, segment, extent->row, extent->rows, alloc->sequence);
		}
	}
}

static void apply_batches(struct alloc *alloc)
{
	for (size_t i = 0; i < alloc->txg_batches.count; i++) {
		const struct txg_batch *batch = array_at(&alloc->txg_batches, struct txg_batch, i);
		struct segment *segment = alloc->segments[batch->segment];
		const struct summary_range *ranges = array_at(&alloc->txg_ranges, struct summary_range, batch->first_range);
		const struct cell_extent *unused =
			batch->unused_count ? array_at(&alloc->txg_unused, struct cell_extent, batch->first_unused) : NULL;
		size_t cells = 0;
		for (uint32_t r = 0; r < batch->range_count; r++)
			cells += (size_t)ranges[r].rows * segment->record.k;
		for (uint32_t u = 0; u < batch->unused_count; u++)
			cells -= unused[u].rows;
		cells -= batch->summary.psect;
		if (alloc_apply_batch(alloc, batch->segment, ranges, batch->range_count, unused, batch->unused_count) < 0)
			POOL_CHECK(!"out of memory in the allocation state");
		count_cells(alloc, segment, (int64_t)cells);
		segment->entries_unsure |= batch->unused_count > 0;
		/* Rows of blocks that the log had, and that were superseded before they were taken. */
		for (uint32_t u = 0; u < batch->unused_count && !segment->busy; u++)
			alloc_rows_defer(alloc, segment, unused[u].row, unused[u].rows, alloc->sequence);
	}
}

static void apply_final(struct alloc *alloc, const struct final_batch *final, const struct block_pointer *summary)
{
	struct segment *segment = alloc->segments[final->segment];
	struct summary_range range = { final->base, final->rows };
	struct batch_index entry = { .base = final->base, .rows = final->rows, .summary_cells = summary->psect,
				     .txg = alloc->txg, .summary_dva = summary->dva };
	memcpy(entry.summary_checksum, summary->checksum, 16);
	if (alloc_apply_batch(alloc, final->segment, &range, 1, NULL, 0) < 0 ||
	    alloc_batch_insert(alloc, final->segment, &entry) < 0)
		POOL_CHECK(!"out of memory in the allocation state");
	count_cells(alloc, segment, final->rows - summary->psect);
	alloc_touch(alloc, final->segment);
	alloc->previous_final = *final;
	alloc->previous_final_due = true;
}

uint64_t alloc_freed_cells(const struct alloc *alloc)
{
	return alloc->freed_cells;
}

void alloc_txg_commit(struct alloc *alloc, const struct final_batch *final, const struct block_pointer *final_summary)
{
	alloc->sequence++;
	apply_batches(alloc);
	apply_final(alloc, final, final_summary);
	apply_frees(alloc);
	for (size_t i = 0; i < alloc->touched.count; i++) {
		uint32_t id = *array_at(&alloc->touched, uint32_t, i);
		struct segment *segment = alloc->segments[id];
		segment->placed_in_txg = segment->touched = false;
		free(segment->freeing);
		segment->freeing = NULL;
		alloc_page_mark(alloc, false, id, alloc->txg);
		alloc_page_mark(alloc, true, id, alloc->txg);
	}
	alloc->txg = 0; /* what is released below counts as freed by this commit */
	alloc_find_dying(alloc);
	alloc_runs_commit(alloc);
	/* A record that changed after the last take (rows of the final batch) goes into the next txg's log. */
	struct array again = alloc->touched;
	array_init(&alloc->touched, sizeof(uint32_t));
	for (size_t i = 0; i < again.count; i++) {
		uint32_t id = *array_at(&again, uint32_t, i);
		alloc_victim_list(alloc, alloc->segments[id]);
		alloc_count_metadata_rows(alloc, alloc->segments[id]);
		if (alloc->segments[id]->record_dirty)
			alloc_touch(alloc, id);
	}
	array_release(&again);
	alloc_stale_drop_dead(alloc);
	array_clear(&alloc->txg_batches);
	array_clear(&alloc->txg_ranges);
	array_clear(&alloc->txg_unused);
	array_clear(&alloc->txg_frees);
	alloc_deferred_mature(alloc);
}
