/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a commit leaves without anything live: entries of the index of batches, whole batches, of which the next txg frees the
 * summary, and whole segments.
 *
 * What it freed tells where to look, so a commit that frees little of a large pool looks at little, however many entries the segments have.
 * Where more than that may be dead (entries_unsure: rows were cut out of an entry, a pin kept one, a segment was just closed, or the pool
 * imported) all entries of the segment are looked at, once.
 */
#include "libpool/alloc/internal.h"

#include "libpool/base/check.h"
#include "libpool/format/dva.h"

/* Live cells in an entry's rows; not all of them, when they are more than `enough`. */
static size_t entry_live(const struct alloc *alloc, const struct segment *segment, const struct batch_index *batch, size_t enough)
{
	size_t live = 0;

	for (unsigned c = 0; c < segment->bits_k && live <= enough; c++)
		live += bitmap_count(segment->bits, cell_bit(alloc, c, batch->base), batch->rows);
	return live;
}

/* Whether nothing but the summary is live of the batch; `own` is what is in the entry that has the summary. */
static bool batch_is_dead(const struct alloc *alloc, const struct segment *segment, const struct batch_index *batch, size_t own)
{
	size_t live = own;

	for (size_t i = 0; i < segment->batch_count && live <= batch->summary_cells; i++) {
		const struct batch_index *part = &segment->batches[i];
		if (part != batch && part->summary_dva == batch->summary_dva && part->txg == batch->txg)
			live += entry_live(alloc, segment, part, batch->summary_cells);
	}
	return live <= batch->summary_cells;
}

static unsigned summary_row(const struct batch_index *batch)
{
	struct dva dva = dva_unpack(batch->summary_dva);

	return dva.base + dva.offset % dva.height;
}

static bool has_summary(const struct batch_index *batch)
{
	unsigned row = summary_row(batch);

	return row >= batch->base && row < (unsigned)batch->base + batch->rows;
}

/* The next txg frees it. */
static bool summary_due(struct alloc *alloc, struct segment *segment, struct batch_index *batch)
{
	struct cell_run runs[COLUMNS_MAX];
	unsigned count = dva_runs(dva_unpack(batch->summary_dva), batch->summary_cells, runs);

	for (unsigned r = 0; r < count; r++) {
		struct cell_extent extent = { segment->id, (uint8_t)runs[r].column, runs[r].row, runs[r].rows };
		if (array_push(&alloc->summaries_due, &extent) < 0)
			return false;
	}
	batch->flags |= BATCH_DYING;
	return true;
}

/* Of an entry that has a summary. */
static void look_at_batch(struct alloc *alloc, struct segment *segment, struct batch_index *batch)
{
	if (batch->flags & BATCH_DYING ||
	    !batch_is_dead(alloc, segment, batch, entry_live(alloc, segment, batch, batch->summary_cells)))
		return;
	if (!summary_due(alloc, segment, batch))
		segment->entries_unsure = true;
}

void alloc_find_dying_summaries(struct alloc *alloc, struct segment *segment)
{
	for (size_t i = 0; segment->bits && i < segment->batch_count; i++)
		if (has_summary(&segment->batches[i]))
			look_at_batch(alloc, segment, &segment->batches[i]);
}

/* Nobody asks for an entry of dead rows any more, unless he has the segment pinned: he finds the summary of what he is about through any of its rows. */
static void drop_if_dead(struct alloc *alloc, struct segment *segment, const struct batch_index *batch)
{
	if (entry_live(alloc, segment, batch, 0) > 0)
		return;
	if (segment->pins)
		segment->entries_unsure = true;
	else
		(void)alloc_batch_trim(alloc, segment->id, batch->base, batch->rows);
}

static void look_at_all(struct alloc *alloc, struct segment *segment)
{
	segment->entries_unsure = false;
	alloc_find_dying_summaries(alloc, segment);
	for (size_t i = segment->batch_count; segment->record.state == SEGMENT_FULL && segment->bits && i-- > 0;)
		drop_if_dead(alloc, segment, &segment->batches[i]);
}

/* One that is OPEN may die as a whole. */
static bool is_looked_at(const struct segment *segment)
{
	return segment->bits && (segment->record.state == SEGMENT_SYS || (segment->record.state == SEGMENT_FULL && !alloc_segment_is_free(segment)));
}

/* A live cell that isn't of the summary, without counting: of most that lose a cell. */
static bool lives_on(const struct alloc *alloc, const struct segment *segment, const struct batch_index *entry, unsigned row)
{
	struct dva summary = dva_unpack(entry->summary_dva);

	return (row < summary.base || row >= (unsigned)summary.base + summary.height) && row_is_live(alloc, segment, row);
}

static void look_at_free(struct alloc *alloc, const struct cell_extent *extent)
{
	struct segment *segment = alloc->segments[extent->segment];

	for (unsigned row = extent->row; is_looked_at(segment) && row < (unsigned)extent->row + extent->rows; row++) {
		const struct batch_index *entry = alloc_batch_find(segment, row);
		if (!entry)
			continue;
		bool lives = lives_on(alloc, segment, entry, row);
		row = entry->base + entry->rows - 1u;
		if (lives)
			continue;
		const struct batch_index *home = has_summary(entry) ? entry : alloc_batch_find(segment, summary_row(entry));
		if (home && home->summary_dva == entry->summary_dva && home->txg == entry->txg)
			look_at_batch(alloc, segment, &segment->batches[home - segment->batches]);
		if (segment->record.state == SEGMENT_FULL)
			drop_if_dead(alloc, segment, entry);
	}
}

/*
 * A segment without live cells: its AUs are released, and its summaries are freed by the next txg, the one that takes its
 * batches out of the batch map. An import between the two knows the summaries from the map; after it, from the log.
 */
void alloc_segment_died(struct alloc *alloc, struct segment *segment, uint64_t sequence)
{
	alloc_release_columns(alloc, segment->id, sequence);
	for (size_t i = 0; i < segment->batch_count; i++) {
		struct batch_index *batch = &segment->batches[i];
		if (!(batch->flags & BATCH_DYING) && has_summary(batch) && !summary_due(alloc, segment, batch))
			POOL_CHECK(!"out of memory in the allocation state");
	}
}

void alloc_find_dying(struct alloc *alloc)
{
	for (size_t i = 0; i < alloc->touched.count; i++) {
		struct segment *segment = alloc->segments[*array_at(&alloc->touched, uint32_t, i)];
		bool closed = segment->record.state == SEGMENT_FULL && !segment->runs_ready;
		if (segment->record.state != SEGMENT_NONE && alloc_segment_is_free(segment) && !segment->pins && !segment->released)
			alloc_segment_died(alloc, segment, alloc->sequence);
		else if (is_looked_at(segment) && (segment->entries_unsure || closed))
			look_at_all(alloc, segment);
	}
	for (size_t i = 0; i < alloc->txg_frees.count; i++)
		look_at_free(alloc, array_at(&alloc->txg_frees, struct cell_extent, i));
}
