/*
 * SYS rows: those that are always reused one by one (row_runs.c has the others). `busy` has a bit for every row that may not be given
 * out: row 0, live rows, rows given out in this txg, rows freed less than two commits ago, quarantined ones.
 */
#include "libpool/alloc/internal.h"

#include <errno.h>

#include "libpool/base/check.h"

#define SYS_LACKS_COPY (1u << 16) /* more than any run */
#define SYS_ON_FAILING (1u << 18) /* more than anything else */

int alloc_sys_register(struct alloc *alloc, uint32_t id)
{
	struct segment *segment = alloc->segments[id];

	bitmap_set(segment->busy, 0);
	alloc->sysmap_dirty = true;
	return array_push(&alloc->sys_ids, &id);
}

/* The shortest run of free rows that is long enough: first fit would cut up the long ones, which final batches need. */
static size_t tightest_run(const struct alloc *alloc, const struct segment *segment, unsigned rows, size_t *ret_length)
{
	size_t best = BITMAP_NONE, end = alloc->geometry.rows, row = segment->pins ? end : 1;

	while (row < end && (row = bitmap_next_clear(segment->busy, row, end)) != BITMAP_NONE) {
		size_t stop = bitmap_next_set(segment->busy, row, end);
		stop = stop == BITMAP_NONE ? end : stop;
		if (stop - row >= rows && (best == BITMAP_NONE || stop - row < *ret_length)) {
			best = row;
			*ret_length = stop - row;
		}
		row = stop;
	}
	return best;
}

/* Copies that a row written there now would lack. */
static unsigned copies_lacking(const struct alloc *alloc, const struct segment *segment)
{
	unsigned lacking = 0;

	for (unsigned c = 0; c < (unsigned)segment->record.k + segment->record.m; c++) {
		uint16_t disk = segment->record.columns[c].disk;
		lacking += disk == DISK_ABSENT || !alloc->disks[disk].usable;
	}
	return lacking;
}

/* A row without any copy can't be committed. */
static bool has_copies(const struct alloc *alloc, const struct segment *segment)
{
	return copies_lacking(alloc, segment) <= segment->record.m;
}

/* Whether a SYS segment opened now would have all its copies. */
static bool whole_is_formable(const struct alloc *alloc)
{
	unsigned copies = alloc->geometry.m ? alloc->geometry.m + 1u : 2u, disks = 0, most = 0;

	for (unsigned i = 0; i < DISKS_MAX; i++)
		if (alloc->disks[i].configured && alloc->disks[i].usable && alloc->disks[i].au_free && !alloc->disks[i].log) {
			disks++;
			most = alloc->disks[i].au_free > most ? alloc->disks[i].au_free : most;
		}
	return disks >= copies || (alloc->geometry.m == 0 && most >= 2);
}

unsigned alloc_sys_fit(const struct alloc *alloc, uint32_t id, unsigned rows)
{
	const struct segment *segment = alloc->segments[id];
	size_t length = 0;

	if (!has_copies(alloc, segment) || tightest_run(alloc, segment, rows, &length) == BITMAP_NONE)
		return 0;
	return (unsigned)length + (copies_lacking(alloc, segment) ? SYS_LACKS_COPY : 0);
}

int alloc_sys_take_in(struct alloc *alloc, uint32_t id, unsigned rows, uint16_t *ret_row)
{
	struct segment *segment = alloc->segments[id];
	size_t length = 0, row = tightest_run(alloc, segment, rows, &length);

	if (row == BITMAP_NONE)
		return -ENOSPC;
	if (alloc_batch_trim(alloc, id, (unsigned)row, rows) < 0)
		return -ENOMEM;
	bitmap_set_range(segment->busy, row, rows);
	if (row + rows > segment->record.rows_used) {
		segment->record.rows_used = (uint16_t)(row + rows);
		alloc_segment_touch(alloc, segment);
	}
	segment->placed_in_txg = true;
	alloc_touch(alloc, id);
	*ret_row = (uint16_t)row;
	return 0;
}

int alloc_sys_take(struct alloc *alloc, unsigned rows, uint32_t *ret_id, uint16_t *ret_row)
{
	unsigned best = 0;
	uint32_t best_id = 0;

	for (size_t i = 0; i < alloc->sys_ids.count; i++) {
		uint32_t id = *array_at(&alloc->sys_ids, uint32_t, i);
		unsigned length = alloc_sys_fit(alloc, id, rows);
		if (length && (!best || length < best)) {
			best = length;
			best_id = id;
		}
	}
	if (!best)
		return -ENOSPC;
	*ret_id = best_id;
	return alloc_sys_take_in(alloc, best_id, rows, ret_row);
}

static bool is_on_any(const struct segment *segment, const uint64_t *disks)
{
	for (unsigned c = 0; c < (unsigned)segment->record.k + segment->record.m; c++)
		if (segment->record.columns[c].disk != DISK_ABSENT && bitmap_get(disks, segment->record.columns[c].disk))
			return true;
	return false;
}

int alloc_sys_take_elsewhere(struct alloc *alloc, unsigned rows, const uint64_t *disks, uint32_t failed, uint32_t *ret_id,
			     uint16_t *ret_row)
{
	unsigned best = 0;

	for (size_t i = 0; i < alloc->sys_ids.count; i++) {
		uint32_t id = *array_at(&alloc->sys_ids, uint32_t, i);
		unsigned fit = alloc_sys_fit(alloc, id, rows);
		if (!fit)
			continue;
		fit += (is_on_any(alloc->segments[id], disks) ? SYS_ON_FAILING : 0) + (id == failed ? SYS_LACKS_COPY : 0);
		if (!best || fit < best) {
			best = fit;
			*ret_id = id;
		}
	}
	return best ? alloc_sys_take_in(alloc, *ret_id, rows, ret_row) : -ENOSPC;
}

const uint32_t *alloc_sys_segments(const struct alloc *alloc, size_t *ret_count)
{
	*ret_count = alloc->sys_ids.count;
	return alloc->sys_ids.items;
}

void alloc_sys_give_back(struct alloc *alloc, uint32_t id, unsigned row, unsigned rows)
{
	bitmap_clear_range(alloc->segments[id]->busy, row, rows);
}

uint64_t alloc_sys_free_rows(const struct alloc *alloc)
{
	bool formable = whole_is_formable(alloc);
	uint64_t rows = 0;

	for (size_t i = 0; i < alloc->sys_ids.count; i++) {
		const struct segment *segment = alloc->segments[*array_at(&alloc->sys_ids, uint32_t, i)];
		if (!segment->pins && has_copies(alloc, segment) && !(formable && copies_lacking(alloc, segment)))
			rows += alloc->geometry.rows - bitmap_count(segment->busy, 0, alloc->geometry.rows);
	}
	return rows;
}

bool alloc_sys_low(const struct alloc *alloc)
{
	size_t total = 0, busy = 0;
	bool run = false, formable = whole_is_formable(alloc);

	for (size_t i = 0; i < alloc->sys_ids.count; i++) {
		const struct segment *segment = alloc->segments[*array_at(&alloc->sys_ids, uint32_t, i)];
		if (!has_copies(alloc, segment) || (formable && copies_lacking(alloc, segment)))
			continue; /* its free rows don't count, or not while there is better */
		total += alloc->geometry.rows;
		busy += bitmap_count(segment->busy, 0, alloc->geometry.rows);
		run |= !segment->pins &&
		       bitmap_find_clear_run(segment->busy, 1, alloc->geometry.rows, FINAL_BATCH_ROWS_MAX) != BITMAP_NONE;
	}
	return !run || (total - busy) * 8 < total;
}

unsigned alloc_sysmap(const struct alloc *alloc, struct sysmap_segment *ret_segments)
{
	for (size_t i = 0; i < alloc->sys_ids.count; i++) {
		uint32_t id = *array_at(&alloc->sys_ids, uint32_t, i);
		const struct segment_record *record = &alloc->segments[id]->record;
		struct sysmap_segment *entry = &ret_segments[i];
		*entry = (struct sysmap_segment){ .segment = id, .rows = alloc->geometry.rows, .flags = record->flags,
						  .column_count = (uint8_t)(record->k + record->m) };
		for (unsigned c = 0; c < SYS_COLUMNS_MAX; c++)
			entry->columns[c] = record->columns[c];
	}
	return (unsigned)alloc->sys_ids.count;
}

bool alloc_sysmap_dirty(const struct alloc *alloc)
{
	return alloc->sysmap_dirty;
}

void alloc_sysmap_written(struct alloc *alloc)
{
	alloc->sysmap_dirty = false;
}
