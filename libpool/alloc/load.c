/*
 * Import: from the sysmap, the pages, the logs of the txgs that pages lack, and the batch map, to the state as of
 * the last commit. Pages of the two kinds may be of different age, and of the same segment's different lives:
 * alloc_txg tells lives apart, page_txg tells what a page has already.
 */
#include "libpool/alloc/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "libpool/base/check.h"
#include "libpool/format/dva.h"

/* SYS as the sysmap says, but neither page nor log has said since when: what they say is of an earlier life. */
static bool life_unknown(const struct segment *segment)
{
	return segment->busy && segment->record.alloc_txg == 0;
}

void alloc_load_record(struct segment *segment, const struct segment_record *record)
{
	struct segment_record sys = segment->record;

	if (segment->busy && record->state != SEGMENT_SYS)
		return;
	segment->record = *record;
	if (!segment->busy)
		return;
	segment->record.k = sys.k;
	segment->record.m = sys.m;
	memcpy(segment->record.columns, sys.columns, sizeof(sys.columns));
}

int alloc_load_sys(struct alloc *alloc, const struct sysmap_segment *entry)
{
	struct segment *segment = alloc_segment_make(alloc, entry->segment);

	if (!segment)
		return entry->segment >= alloc->segment_limit ? -POOL_EFORMAT : -ENOMEM;
	if (segment->busy || entry->column_count == 0)
		return -POOL_EFORMAT;
	segment->busy = calloc(BITMAP_WORDS(alloc->geometry.rows), 8);
	if (!segment->busy)
		return -ENOMEM;
	alloc->memory += BITMAP_WORDS(alloc->geometry.rows) * 8;
	segment->record = (struct segment_record){ .state = SEGMENT_SYS, .class = CLASS_SYS, .k = 1, .rows_used = 1,
						   .m = (uint8_t)(entry->column_count - 1), .flags = entry->flags };
	for (unsigned c = 0; c < COLUMNS_MAX; c++)
		segment->record.columns[c] = c < entry->column_count ? entry->columns[c] :
								       (struct segment_column){ .disk = DISK_ABSENT };
	int status = alloc_sys_register(alloc, entry->segment);
	alloc->sysmap_dirty = false;
	return status;
}

int alloc_load_limit(struct alloc *alloc, uint32_t segment_count)
{
	if (segment_count > alloc->segment_limit || alloc->segment_count > segment_count)
		return -POOL_EFORMAT;
	alloc->segment_limit = segment_count;
	return 0;
}

struct log_load {
	struct alloc *alloc;
	uint64_t txg;
	bool recent, last;
};

/* Whether the livemap page of a segment lacks a change of `txg`, and the change is of the segment's present life. */
static bool bits_lack(const struct alloc *alloc, const struct segment *segment, uint64_t txg)
{
	size_t page = alloc_page_of(alloc, true, segment->id);

	return segment->record.alloc_txg <= txg && alloc->page_loaded[1][page] < txg;
}

/* A column that moved leaves its old AU to the records before: two later commits must exist before it is used again. */
static int note_columns(struct log_load *load, const struct alloc_record *record)
{
	struct recent_column entry = { .txg = load->txg, .alloc_txg = record->record.alloc_txg, .segment = record->segment };

	for (unsigned c = 0; c < (unsigned)record->record.k + record->record.m; c++) {
		entry.column = record->record.columns[c];
		if (entry.column.disk != DISK_ABSENT && array_push(&load->alloc->recent_columns, &entry) < 0)
			return -ENOMEM;
	}
	return 0;
}

static int load_segment(struct log_load *load, const struct alloc_record *record)
{
	struct alloc *alloc = load->alloc;
	struct segment *segment = alloc_segment_make(alloc, record->segment);

	if (!segment)
		return record->segment >= alloc->segment_limit ? -POOL_EFORMAT : -ENOMEM;
	if (load->recent && note_columns(load, record) < 0)
		return -ENOMEM;
	size_t page = alloc_page_of(alloc, false, segment->id);
	if (alloc->page_loaded[0][page] >= load->txg || (segment->busy && record->record.state != SEGMENT_SYS))
		return 0;
	bool new_life = record->record.alloc_txg > segment->record.alloc_txg;
	if (new_life && record->record.alloc_txg > alloc->page_loaded[1][alloc_page_of(alloc, true, segment->id)])
		alloc_segment_drop_content(alloc, segment->id, segment);
	alloc_load_record(segment, &record->record);
	alloc_page_mark(alloc, false, segment->id, load->txg);
	return 0;
}

static int defer_rows(struct log_load *load, const struct cell_extent *extent)
{
	struct deferred rows = { .sequence = load->txg, .segment = extent->segment, .disk = DISK_ABSENT, .row = extent->row,
				 .rows = extent->rows };

	return array_push(&load->alloc->deferred, &rows);
}

static int load_batch_bits(struct log_load *load, uint32_t id, uint64_t txg, const struct summary_range *ranges, unsigned range_count,
			   const struct cell_extent *unused, size_t unused_count)
{
	struct alloc *alloc = load->alloc;
	struct segment *segment = alloc_segment(alloc, id);

	if (!segment)
		return -POOL_EFORMAT;
	if (life_unknown(segment))
		return 0;
	for (unsigned i = 0; i < range_count; i++)
		if (ranges[i].base == 0 || ranges[i].base + ranges[i].rows > alloc->geometry.rows)
			return -POOL_EFORMAT;
	for (size_t i = 0; i < unused_count; i++)
		if (unused[i].row + unused[i].rows > alloc->geometry.rows || unused[i].segment != id)
			return -POOL_EFORMAT;
	/* Rows that hold nothing at all were blocks of the intent log. */
	for (size_t i = 0; i < unused_count && load->recent && !segment->busy; i++)
		if (defer_rows(load, &unused[i]) < 0)
			return -ENOMEM;
	if (!bits_lack(alloc, segment, txg))
		return 0;
	for (size_t i = 0; i < unused_count; i++)
		if (unused[i].column >= segment->record.k)
			return -POOL_EFORMAT;
	if (segment->bits && segment->bits_k != segment->record.k)
		return -POOL_EFORMAT;
	alloc_page_mark(alloc, true, id, txg);
	return alloc_apply_batch(alloc, id, ranges, range_count, unused, unused_count);
}

static int load_index(struct alloc *alloc, uint32_t id, uint64_t txg, const struct summary_range *ranges, unsigned range_count,
		      const struct raw_block_pointer *raw)
{
	struct block_pointer summary;

	if (block_pointer_decode(raw, &summary) < 0 || summary.type != TYPE_SUMMARY || summary.place != txg ||
	    dva_unpack(summary.dva).segment != id ||
	    !dva_valid(dva_unpack(summary.dva), summary.psect, alloc->segments[id]->record.k, alloc->geometry.rows))
		return -POOL_EFORMAT;
	for (unsigned i = 0; i < range_count; i++) {
		struct batch_index entry = { .base = ranges[i].base, .rows = ranges[i].rows, .summary_cells = summary.psect,
					     .txg = txg, .summary_dva = summary.dva };
		memcpy(entry.summary_checksum, summary.checksum, 16);
		if (alloc_batch_insert(alloc, id, &entry) < 0)
			return -ENOMEM;
	}
	return 0;
}

static int load_free(struct log_load *load, const struct cell_extent *extent)
{
	struct alloc *alloc = load->alloc;
	struct segment *segment = alloc_segment(alloc, extent->segment);

	if (!segment || extent->row == 0 || extent->row + extent->rows > alloc->geometry.rows)
		return -POOL_EFORMAT;
	if (segment->record.alloc_txg > load->txg || life_unknown(segment))
		return 0;
	if (load->recent) {
		segment->freed_txg = load->txg;
		if (defer_rows(load, extent) < 0)
			return -ENOMEM;
	}
	if (!bits_lack(alloc, segment, load->txg))
		return 0;
	if (!segment->bits || extent->column >= segment->bits_k)
		return -POOL_EFORMAT;
	alloc_bits_clear(alloc, segment, extent->column, extent->row, extent->rows);
	alloc_page_mark(alloc, true, segment->id, load->txg);
	return 0;
}

static int load_record(const struct alloc_record *record, void *argument)
{
	struct log_load *load = argument;
	struct summary_range range;
	struct block_pointer summary;
	int status;

	switch (record->type) {
	case ALLOC_SEGMENT:
		return load_segment(load, record);
	case ALLOC_BATCH:
		status = load_batch_bits(load, record->segment, load->txg, record->ranges, record->range_count, record->unused,
					 record->unused_count);
		if (status == 0 && load->last)
			status = load_index(load->alloc, record->segment, load->txg, record->ranges, record->range_count,
					    &record->summary);
		return status;
	case ALLOC_PREVFINAL:
		if (block_pointer_decode(&record->final.summary, &summary) < 0)
			return -POOL_EFORMAT;
		range = (struct summary_range){ record->final.base, record->final.rows };
		return load_batch_bits(load, record->final.segment, summary.place, &range, 1, NULL, 0);
	case ALLOC_FREE:
		return load_free(load, &record->free);
	case ALLOC_STALE:
		return load->last ? alloc_stale_add(load->alloc, &record->stale) : 0;
	}
	return -POOL_EFORMAT;
}

int alloc_load_log(struct alloc *alloc, uint64_t txg, const uint8_t *records, size_t size, bool recent, bool last)
{
	struct log_load load = { alloc, txg, recent, last };

	if (recent && alloc->recent_txgs[0] != txg) {
		memmove(&alloc->recent_txgs[1], &alloc->recent_txgs[0], 2 * sizeof(uint64_t));
		alloc->recent_txgs[0] = txg;
	}
	return alloc_records_each(records, size, alloc->geometry.rows, load_record, &load);
}

int alloc_load_batch(struct alloc *alloc, uint32_t id, const struct batch_index *batch)
{
	struct segment *segment = alloc_segment(alloc, id);

	if (!segment || segment->record.alloc_txg > batch->txg) {
		struct map_deletion deletion = { id, batch->base };
		return array_push(&alloc->map_deletions, &deletion);
	}
	if (batch->base == 0 || batch->rows == 0 || batch->base + batch->rows > alloc->geometry.rows ||
	    !dva_valid(dva_unpack(batch->summary_dva), batch->summary_cells, segment->record.k, alloc->geometry.rows))
		return -POOL_EFORMAT;
	struct batch_index entry = *batch;
	entry.flags = BATCH_IN_MAP;
	return alloc_batch_insert(alloc, id, &entry);
}

static bool claim_column(struct alloc *alloc, struct segment_column column)
{
	struct alloc_disk *disk = column.disk < DISKS_MAX ? &alloc->disks[column.disk] : NULL;

	if (!disk || !disk->configured || column.au >= disk->au_count || bitmap_get(disk->au_used, column.au))
		return false;
	bitmap_set(disk->au_used, column.au);
	disk->au_free--;
	return true;
}

static int claim_columns(struct alloc *alloc, struct segment *segment)
{
	unsigned columns = segment->record.k + segment->record.m;

	for (unsigned c = 0; c < columns; c++) {
		struct segment_column *column = &segment->record.columns[c];
		/* Whoever goes back to an older commit gives up its log: log disks that have left the pool since aren't missed. */
		if (alloc->log_given_up && segment->record.state == SEGMENT_LOG && column->disk < DISKS_MAX && !alloc->disks[column->disk].configured)
			*column = (struct segment_column){ .disk = DISK_ABSENT };
		if (segment->record.columns[c].disk != DISK_ABSENT && !claim_column(alloc, segment->record.columns[c]))
			return -POOL_EFORMAT;
	}
	return 0;
}

/* Live cells without those of summaries: each summary counts in the entry that holds its first row. */
static void count_live(struct alloc *alloc, struct segment *segment)
{
	size_t live = segment->bits ? bitmap_count(segment->bits, 0, segment_bits(alloc, segment)) : 0;

	for (size_t i = 0; i < segment->batch_count && segment->bits; i++) {
		const struct batch_index *batch = &segment->batches[i];
		struct dva dva = dva_unpack(batch->summary_dva);
		unsigned first_row = dva.base + dva.offset % dva.height;
		if (first_row < batch->base || first_row >= (unsigned)batch->base + batch->rows)
			continue;
		struct cell_run runs[COLUMNS_MAX];
		unsigned count = dva_runs(dva, batch->summary_cells, runs);
		for (unsigned r = 0; r < count; r++)
			live -= bitmap_count(segment->bits, cell_bit(alloc, runs[r].column, runs[r].row), runs[r].rows);
	}
	segment->live = 0;
	count_cells(alloc, segment, (int64_t)live);
}

static int load_final(struct alloc *alloc, uint64_t txg, const struct final_batch *final)
{
	struct segment *segment = alloc_segment(alloc, final->segment);
	struct summary_range range = { final->base, final->rows };

	if (!segment || !segment->busy || final->base == 0 || final->rows == 0 ||
	    final->base + final->rows > alloc->geometry.rows)
		return -POOL_EFORMAT;
	int status = alloc_apply_batch(alloc, final->segment, &range, 1, NULL, 0);
	if (status == 0)
		status = load_index(alloc, final->segment, txg, &range, 1, &final->summary);
	/* The next log records it, and a page that has it must come before that log is dropped. */
	alloc_page_mark(alloc, true, final->segment, txg);
	alloc->previous_final = *final;
	alloc->previous_final_due = true;
	return status;
}

/* Number of the commit of one of the recent txgs. */
static uint64_t sequence_of(const struct alloc *alloc, uint64_t txg)
{
	uint64_t later = 0;

	while (later < 3 && alloc->recent_txgs[later] > txg)
		later++;
	return alloc->sequence > later ? alloc->sequence - later : 0;
}

static int finish_live(struct alloc *alloc, struct segment *segment)
{
	if (segment->bits && segment->bits_k != segment->record.k)
		return -POOL_EFORMAT;
	count_live(alloc, segment);
	if (segment->record.state == SEGMENT_SYS && !segment->busy)
		return -POOL_EFORMAT;
	if (segment->busy) {
		bitmap_set(segment->busy, 0);
		for (unsigned row = 1; row < alloc->geometry.rows; row++)
			if (segment->bits && bitmap_get(segment->bits, row))
				bitmap_set(segment->busy, row);
		alloc_find_dying_summaries(alloc, segment);
	}
	if (alloc_segment_is_free(segment))
		return 0;
	if (!segment->busy)
		alloc_rows_find(alloc, segment);
	segment->runs_ready = segment->entries_unsure = segment->record.state == SEGMENT_FULL;
	if (segment->runs_ready)
		alloc_find_dying_summaries(alloc, segment);
	return claim_columns(alloc, segment);
}

/*
 * Dead rows of which recent logs free cells wait as they would have, for the commits after the newest of these logs. Of rows that are
 * live later logs will tell.
 */
static void finish_rows(struct alloc *alloc)
{
	struct array noted = alloc->deferred;

	array_init(&alloc->deferred, sizeof(struct deferred));
	for (size_t i = noted.count; i-- > 0;) {
		const struct deferred *entry = array_at(&noted, struct deferred, i);
		struct segment *segment = alloc->segments[entry->segment];
		bool rows = entry->disk == DISK_ABSENT && entry->rows && !segment->busy;
		for (unsigned r = entry->row; rows && r < (unsigned)entry->row + entry->rows; r++)
			if (segment->dead && bitmap_get(segment->dead, r)) {
				alloc_rows_forget(segment, r, 1);
				alloc_rows_defer(alloc, segment, r, 1, entry->sequence);
			}
		if (!rows && array_push(&alloc->deferred, entry) < 0)
			POOL_CHECK(!"out of memory in the allocation state");
	}
	array_release(&noted);
}

/* Died just now, with summaries that the first txg frees, or a short time ago: its AUs wait as they would have. */
static int finish_dead(struct alloc *alloc, struct segment *segment)
{
	bool fresh = segment->bits && bitmap_count(segment->bits, 0, segment_bits(alloc, segment)) > 0;
	uint64_t sequence = segment->freed_txg ? sequence_of(alloc, segment->freed_txg) : 0;

	if (fresh && sequence < alloc->sequence)
		sequence = alloc->sequence;
	if (sequence && sequence + 2 > alloc->sequence) {
		/* Its disks may have left the pool: only what is there, and nobody else's, can be kept. */
		for (unsigned c = 0; c < (unsigned)segment->record.k + segment->record.m; c++)
			if (!claim_column(alloc, segment->record.columns[c]))
				segment->record.columns[c] = (struct segment_column){ .disk = DISK_ABSENT };
		alloc_segment_died(alloc, segment, sequence);
		return 0;
	}
	alloc_segment_drop_content(alloc, segment->id, segment);
	segment->released = true;
	return array_push(&alloc->free_ids, &segment->id);
}

/* What recent logs name, the segment of that life doesn't have any more, and nobody else has: left by a column that moved. */
static int finish_moved(struct alloc *alloc)
{
	for (size_t i = alloc->recent_columns.count; i-- > 0;) {
		const struct recent_column *entry = array_at(&alloc->recent_columns, struct recent_column, i);
		const struct segment *segment = alloc->segments[entry->segment];
		struct deferred left = { .sequence = sequence_of(alloc, entry->txg), .segment = entry->segment,
					 .au = entry->column.au, .disk = entry->column.disk };
		struct alloc_disk *disk = &alloc->disks[entry->column.disk];
		bool own = false;
		for (unsigned c = 0; c < (unsigned)segment->record.k + segment->record.m; c++)
			own |= segment->record.columns[c].disk == left.disk && segment->record.columns[c].au == left.au;
		if (own || segment->record.alloc_txg != entry->alloc_txg || !disk->configured || left.au >= disk->au_count ||
		    bitmap_get(disk->au_used, left.au) || left.sequence + 2 <= alloc->sequence)
			continue;
		bitmap_set(disk->au_used, left.au);
		disk->au_free--;
		disk->au_deferred++;
		if (array_push(&alloc->deferred, &left) < 0)
			return -ENOMEM;
	}
	array_release(&alloc->recent_columns);
	array_init(&alloc->recent_columns, sizeof(struct recent_column));
	return 0;
}

int alloc_load_finish(struct alloc *alloc, uint64_t sequence, uint64_t txg, const struct final_batch *final)
{
	alloc->sequence = sequence;
	int status = load_final(alloc, txg, final);
	for (size_t i = 0; i < alloc->deferred.count && status == 0; i++) {
		struct deferred *rows = array_at(&alloc->deferred, struct deferred, i);
		rows->sequence = sequence_of(alloc, rows->sequence);
		if (alloc->segments[rows->segment]->busy)
			bitmap_set_range(alloc->segments[rows->segment]->busy, rows->row, rows->rows);
	}
	for (uint32_t id = 0; id < alloc->segment_count && status == 0; id++) {
		struct segment *segment = alloc->segments[id];
		if (!segment) {
			segment = alloc_segment_make(alloc, id);
			if (!segment)
				return -ENOMEM;
		}
		if (segment->record.state != SEGMENT_NONE)
			status = finish_live(alloc, segment);
		else if (segment->bits)
			status = -POOL_EFORMAT;
	}
	for (uint32_t id = 0; id < alloc->segment_count && status == 0; id++)
		if (alloc_segment_is_free(alloc->segments[id]))
			status = finish_dead(alloc, alloc->segments[id]);
	if (status == 0)
		status = finish_moved(alloc);
	alloc->segment_limit = SEGMENTS_MAX;
	if (status == 0) {
		finish_rows(alloc);
		alloc_deferred_mature(alloc);
		alloc_runs_list_all(alloc);
		for (uint32_t id = 0; id < alloc->segment_count; id++) {
			if (!alloc->segments[id])
				continue;
			alloc->segments[id]->freed_txg = 0;
			alloc_victim_list(alloc, alloc->segments[id]);
			alloc_count_metadata_rows(alloc, alloc->segments[id]);
		}
		alloc_stale_drop_dead(alloc); /* as the commit did */
	}
	return status;
}
