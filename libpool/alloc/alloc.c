/* Life of the allocation state, its disks, and the table of segments. */
#include "libpool/alloc/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "libpool/base/check.h"

int alloc_new(const struct geometry *geometry, struct alloc **ret_alloc)
{
	struct alloc *alloc = calloc(1, sizeof(*alloc));

	if (!alloc)
		return -ENOMEM;
	alloc->geometry = *geometry;
	alloc->memory = sizeof(*alloc);
	alloc->segment_limit = SEGMENTS_MAX;
	alloc->reserve_per_ten_thousand = ALLOC_RESERVE_DEFAULT;
	alloc_set_commit_metadata(alloc, 0);
	array_init(&alloc->free_ids, sizeof(uint32_t));
	array_init(&alloc->sys_ids, sizeof(uint32_t));
	array_init(&alloc->txg_batches, sizeof(struct txg_batch));
	array_init(&alloc->txg_ranges, sizeof(struct summary_range));
	array_init(&alloc->txg_unused, sizeof(struct cell_extent));
	array_init(&alloc->txg_frees, sizeof(struct cell_extent));
	array_init(&alloc->touched, sizeof(uint32_t));
	array_init(&alloc->deferred, sizeof(struct deferred));
	array_init(&alloc->moved, sizeof(struct moved_record));
	array_init(&alloc->recent_columns, sizeof(struct recent_column));
	array_init(&alloc->stale, sizeof(struct stale_record));
	array_init(&alloc->summaries_due, sizeof(struct cell_extent));
	array_init(&alloc->map_deletions, sizeof(struct map_deletion));
	array_init(&alloc->map_dirty, sizeof(uint32_t));
	alloc_runs_init(&alloc->runs);
	*ret_alloc = alloc;
	return 0;
}

void alloc_set_rows_together(struct alloc *alloc, unsigned rows)
{
	alloc->rows_together = rows;
}

unsigned alloc_rows_together(const struct alloc *alloc)
{
	return alloc->rows_together;
}

void alloc_free_all(struct alloc *alloc)
{
	if (!alloc)
		return;
	/* Capacity: memory may have run out between making a segment and counting it. */
	for (uint32_t id = 0; id < alloc->segment_capacity; id++) {
		struct segment *segment = alloc->segments[id];
		if (!segment)
			continue;
		free(segment->bits);
		free(segment->freeing);
		free(segment->busy);
		free(segment->batches);
		free(segment->dead);
		free(segment);
	}
	free(alloc->segments);
	for (unsigned i = 0; i < DISKS_MAX; i++)
		free(alloc->disks[i].au_used);
	struct array *arrays[] = { &alloc->free_ids,   &alloc->sys_ids, &alloc->txg_batches, &alloc->txg_ranges,
				   &alloc->txg_unused, &alloc->txg_frees, &alloc->touched,   &alloc->deferred,
				   &alloc->stale,      &alloc->summaries_due, &alloc->map_deletions, &alloc->map_dirty, &alloc->moved, &alloc->recent_columns };
	for (size_t i = 0; i < sizeof(arrays) / sizeof(arrays[0]); i++)
		array_release(arrays[i]);
	alloc_runs_release(&alloc->runs);
	for (int i = 0; i < 2; i++) {
		free(alloc->page_first[i]);
		free(alloc->page_loaded[i]);
	}
	free(alloc);
}

const struct geometry *alloc_geometry(const struct alloc *alloc)
{
	return &alloc->geometry;
}

uint64_t alloc_sequence(const struct alloc *alloc)
{
	return alloc->sequence;
}

int alloc_disk_add(struct alloc *alloc, unsigned index, uint32_t au_count, bool usable)
{
	if (index >= DISKS_MAX || alloc->disks[index].configured)
		return -EINVAL;
	size_t words = BITMAP_WORDS(au_count);
	uint64_t *used = calloc(3 * words, 8);
	if (!used)
		return -ENOMEM;
	alloc->memory += 3 * words * 8;
	alloc->disks[index] = (struct alloc_disk){ .configured = true, .usable = usable, .works = usable, .au_count = au_count,
						   .au_free = au_count, .au_used = used, .au_due = used + words,
						   .au_trimmed = used + 2 * words };
	alloc_count_disks(alloc);
	return 0;
}

static void disk_changed(struct alloc *alloc, struct alloc_disk *disk)
{
	bool usable = disk->works && !disk->leaving;

	if (disk->usable == usable)
		return;
	disk->usable = usable;
	alloc->disks_lost += !usable;
}

void alloc_disk_set_usable(struct alloc *alloc, unsigned index, bool works)
{
	if (index >= DISKS_MAX)
		return;
	alloc->disks[index].works = works;
	disk_changed(alloc, &alloc->disks[index]);
	alloc_count_disks(alloc);
}

void alloc_disk_set_leaving(struct alloc *alloc, unsigned index, bool leaving)
{
	if (index >= DISKS_MAX)
		return;
	alloc->disks[index].leaving = leaving;
	disk_changed(alloc, &alloc->disks[index]);
	alloc_count_disks(alloc);
}

void alloc_disk_set_log(struct alloc *alloc, unsigned index)
{
	alloc->disks[index].log = true;
	alloc->log_disks++;
	alloc_count_disks(alloc);
}

void alloc_load_without_log(struct alloc *alloc)
{
	alloc->log_given_up = true;
}

void alloc_disk_remove(struct alloc *alloc, unsigned index)
{
	if (index >= DISKS_MAX)
		return;
	for (size_t i = 0; i < alloc->deferred.count;) {
		if (array_at(&alloc->deferred, struct deferred, i)->disk == index)
			array_at(&alloc->deferred, struct deferred, i)->au = UINT32_MAX;
		i++;
	}
	free(alloc->disks[index].au_used);
	alloc->log_disks -= alloc->disks[index].log;
	alloc->disks[index] = (struct alloc_disk){ 0 };
	alloc_count_disks(alloc);
}

const struct alloc_disk *alloc_disk(const struct alloc *alloc, unsigned index)
{
	return index < DISKS_MAX && alloc->disks[index].configured ? &alloc->disks[index] : NULL;
}

uint32_t alloc_segment_count(const struct alloc *alloc)
{
	return alloc->segment_count;
}

struct segment *alloc_segment(struct alloc *alloc, uint32_t id)
{
	return id < alloc->segment_count ? alloc->segments[id] : NULL;
}

struct segment *alloc_segment_make(struct alloc *alloc, uint32_t id)
{
	if (id >= alloc->segment_limit)
		return NULL;
	if (id >= alloc->segment_capacity) {
		uint32_t capacity = alloc->segment_capacity ? alloc->segment_capacity : 64;
		while (capacity <= id)
			capacity *= 2;
		struct segment **grown = realloc(alloc->segments, capacity * sizeof(*grown));
		if (!grown)
			return NULL;
		memset(grown + alloc->segment_capacity, 0, (capacity - alloc->segment_capacity) * sizeof(*grown));
		alloc->memory += (capacity - alloc->segment_capacity) * sizeof(*grown);
		alloc->segments = grown;
		alloc->segment_capacity = capacity;
	}
	if (!alloc->segments[id]) {
		struct segment *segment = calloc(1, sizeof(*segment));
		if (!segment)
			return NULL;
		for (unsigned c = 0; c < COLUMNS_MAX; c++)
			segment->record.columns[c].disk = DISK_ABSENT;
		segment->id = id;
		alloc->memory += sizeof(*segment);
		alloc->segments[id] = segment;
	}
	if (id >= alloc->segment_count) {
		uint32_t before = alloc->segment_count;
		alloc->segment_count = id + 1;
		if (alloc_pages_grow(alloc) < 0) {
			alloc->segment_count = before;
			return NULL;
		}
	}
	return alloc->segments[id];
}

bool alloc_segment_is_free(const struct segment *segment)
{
	return segment->record.state == SEGMENT_NONE ||
	       ((segment->record.state == SEGMENT_FULL || segment->record.state == SEGMENT_EVAC) && segment->live == 0 &&
		!segment->placed_in_txg);
}

void alloc_pin(struct segment *segment)
{
	segment->pins++;
}

void alloc_unpin(struct alloc *alloc, struct segment *segment)
{
	POOL_CHECK(segment->pins > 0);
	if (--segment->pins > 0 || segment->released || segment->record.state == SEGMENT_NONE || !alloc_segment_is_free(segment))
		return;
	/* While an import loads the state, nothing is counted yet: a segment that was read from only seems to be free. */
	if (alloc->sequence == 0 && alloc->txg == 0)
		return;
	/* It died while it was pinned: its AUs are released now. The txg in sync may be too far to free its summaries. */
	alloc_segment_died(alloc, segment, alloc->sequence + (alloc->txg ? 1 : 0));
}

void alloc_segment_touch(struct alloc *alloc, struct segment *segment)
{
	segment->record_dirty = true;
	alloc_touch(alloc, segment->id);
}

void alloc_touch(struct alloc *alloc, uint32_t id)
{
	struct segment *segment = alloc->segments[id];

	if (segment->touched)
		return;
	segment->touched = true;
	if (array_push(&alloc->touched, &id) < 0)
		POOL_CHECK(!"out of memory in the allocation state");
}

int64_t alloc_au_reserve(struct alloc *alloc, unsigned index)
{
	struct alloc_disk *disk = &alloc->disks[index];

	if (!disk->configured || disk->au_free == 0)
		return -ENOSPC;
	size_t au = bitmap_next_clear(disk->au_used, 0, disk->au_count);
	POOL_CHECK(au != BITMAP_NONE);
	bitmap_set(disk->au_used, au);
	disk->au_free--;
	return (int64_t)au;
}

void alloc_au_release(struct alloc *alloc, unsigned index, uint32_t au)
{
	struct alloc_disk *disk = &alloc->disks[index];

	if (!disk->configured || au >= disk->au_count)
		return;
	POOL_CHECK(bitmap_get(disk->au_used, au));
	bitmap_clear(disk->au_used, au);
	disk->au_free++;
	alloc_trim_forget(disk, au);
}

static void defer_au(struct alloc *alloc, uint32_t id, struct segment_column column, uint64_t sequence, bool last)
{
	struct deferred entry = { .sequence = sequence, .segment = id, .au = column.au, .disk = column.disk,
				  .last_of_segment = last };

	if (column.disk != DISK_ABSENT && alloc->disks[column.disk].configured)
		alloc->disks[column.disk].au_deferred++;
	else
		entry.au = UINT32_MAX;
	if (array_push(&alloc->deferred, &entry) < 0)
		POOL_CHECK(!"out of memory in the allocation state");
}

void alloc_release_columns(struct alloc *alloc, uint32_t id, uint64_t sequence)
{
	struct segment *segment = alloc->segments[id];
	unsigned columns = segment->record.k + segment->record.m;

	if (segment->released || segment->pins)
		return;
	segment->released = true;
	alloc_runs_unlist(alloc, segment);
	alloc_count_metadata_rows(alloc, segment);
	for (unsigned c = 0; c < columns; c++)
		defer_au(alloc, id, segment->record.columns[c], sequence, c + 1 == columns);
}

void alloc_column_move(struct alloc *alloc, uint32_t id, unsigned column, struct segment_column to)
{
	struct segment *segment = alloc->segments[id];

	if (segment->record.columns[column].disk != DISK_ABSENT) {
		struct moved_record before = { id, segment->record };
		/* The record is in the next commit's log, or, when that log is closed already, in the one after. */
		defer_au(alloc, id, segment->record.columns[column], alloc->sequence + (alloc->txg && alloc->log_closed ? 2 : 1), false);
		if (array_push(&alloc->moved, &before) < 0)
			POOL_CHECK(!"out of memory in the allocation state");
	}
	segment->record.columns[column] = to;
	bool absent = false;
	for (unsigned c = 0; c < (unsigned)segment->record.k + segment->record.m; c++)
		absent |= segment->record.columns[c].disk == DISK_ABSENT;
	if (!absent)
		segment->record.flags &= (uint16_t)~SEGMENT_DEGRADED;
	alloc_segment_touch(alloc, segment);
	if (segment->record.state == SEGMENT_SYS)
		alloc->sysmap_dirty = true;
}

/* Entries whose two later commits exist. */
void alloc_deferred_mature(struct alloc *alloc)
{
	size_t kept = 0;

	for (size_t i = 0; i < alloc->deferred.count; i++) {
		struct deferred *entry = array_at(&alloc->deferred, struct deferred, i);
		struct segment *segment = alloc_segment(alloc, entry->segment);
		if (entry->sequence + 2 > alloc->sequence) {
			*array_at(&alloc->deferred, struct deferred, kept++) = *entry;
			continue;
		}
		if (entry->disk == DISK_ABSENT && entry->rows) {
			if (segment && segment->busy)
				bitmap_clear_range(segment->busy, entry->row, entry->rows);
			else if (segment)
				alloc_rows_mature(alloc, segment, entry->row, entry->rows);
			continue;
		}
		if (entry->au != UINT32_MAX) {
			alloc->disks[entry->disk].au_deferred--;
			alloc_au_release(alloc, entry->disk, entry->au);
		}
		if (entry->last_of_segment && array_push(&alloc->free_ids, &entry->segment) < 0)
			POOL_CHECK(!"out of memory in the allocation state");
	}
	alloc->deferred.count = kept;
	alloc_runs_settle(alloc);
}
