/*
 * Cells of committed rows that were never written: one record for each column and run of rows, repeated in every log
 * until the cells are repaired, moved, or dead.
 */
#include <string.h>

#include "libpool/alloc/internal.h"

int alloc_stale_add(struct alloc *alloc, const struct stale_record *stale)
{
	return array_push(&alloc->stale, stale);
}

const struct stale_record *alloc_stale(const struct alloc *alloc, size_t *ret_count)
{
	*ret_count = alloc->stale.count;
	return alloc->stale.items;
}

bool alloc_is_stale(const struct alloc *alloc, uint32_t segment, unsigned column, unsigned row, uint64_t place)
{
	for (size_t i = 0; i < alloc->stale.count; i++) {
		const struct stale_record *stale = array_at(&alloc->stale, struct stale_record, i);
		if (stale->segment == segment && stale->column == column && row >= stale->base &&
		    row < (unsigned)stale->base + stale->rows && place == stale->place)
			return true;
	}
	return false;
}

void alloc_stale_clear(struct alloc *alloc, uint32_t segment, unsigned column)
{
	size_t kept = 0;

	for (size_t i = 0; i < alloc->stale.count; i++) {
		struct stale_record *stale = array_at(&alloc->stale, struct stale_record, i);
		if (stale->segment != segment || stale->column != column)
			*array_at(&alloc->stale, struct stale_record, kept++) = *stale;
	}
	alloc->stale.count = kept;
}

static uint16_t disk_of(const struct alloc *alloc, const struct stale_record *stale)
{
	return alloc->segments[stale->segment]->record.columns[stale->column].disk;
}

unsigned alloc_stale_worst(const struct alloc *alloc, uint64_t *ret_oldest)
{
	unsigned counts[DISKS_MAX] = { 0 }, worst = DISK_ABSENT;

	for (size_t i = 0; i < alloc->stale.count; i++) {
		uint16_t disk = disk_of(alloc, array_at(&alloc->stale, struct stale_record, i));
		if (disk < DISKS_MAX && (++counts[disk], worst == DISK_ABSENT || counts[disk] > counts[worst]))
			worst = disk;
	}
	*ret_oldest = UINT64_MAX;
	for (size_t i = 0; i < alloc->stale.count; i++) {
		const struct stale_record *stale = array_at(&alloc->stale, struct stale_record, i);
		if (disk_of(alloc, stale) == worst && stale->place < *ret_oldest)
			*ret_oldest = stale->place;
	}
	return worst;
}

void alloc_stale_drop_disk(struct alloc *alloc, unsigned disk)
{
	size_t kept = 0;

	for (size_t i = 0; i < alloc->stale.count; i++) {
		struct stale_record *stale = array_at(&alloc->stale, struct stale_record, i);
		if (disk_of(alloc, stale) != disk)
			*array_at(&alloc->stale, struct stale_record, kept++) = *stale;
	}
	alloc->stale.count = kept;
}

/* That is still the batch's which was meant: another one may have been given the rows. */
static bool has_live_row(const struct alloc *alloc, const struct stale_record *stale)
{
	const struct segment *segment = stale->segment < alloc->segment_count ? alloc->segments[stale->segment] : NULL;

	if (!segment || stale->column >= segment->record.k + segment->record.m || !segment->bits || segment->released || stale->place < segment->record.alloc_txg)
		return false;
	for (unsigned row = stale->base; row < (unsigned)stale->base + stale->rows; row++) {
		const struct batch_index *batch = alloc_batch_find(segment, row);
		if (batch && batch->txg == stale->place && row_is_live(alloc, segment, row))
			return true;
	}
	return false;
}

/* Rows without a live cell of that batch don't exist for repair, and may be written again. */
void alloc_stale_drop_dead(struct alloc *alloc)
{
	size_t kept = 0;

	for (size_t i = 0; i < alloc->stale.count; i++) {
		struct stale_record *stale = array_at(&alloc->stale, struct stale_record, i);
		if (has_live_row(alloc, stale))
			*array_at(&alloc->stale, struct stale_record, kept++) = *stale;
	}
	alloc->stale.count = kept;
}
