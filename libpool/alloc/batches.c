/*
 * The index of batches, in RAM: which summary covers a row. It mirrors the batch map in the MOS, which is
 * one txg behind: batches of T enter the map in T + 1, and a batch that lost rows or died is mended there too.
 *
 * Entries of a segment are disjoint and ascending; where a newer batch takes rows of an older one, the older is
 * trimmed in the same step.
 */
#include "libpool/alloc/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "libpool/format/dva.h"

static size_t first_after(const struct segment *segment, unsigned row)
{
	size_t low = 0, high = segment->batch_count;

	while (low < high) {
		size_t middle = (low + high) / 2;
		if (segment->batches[middle].base <= row)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

const struct batch_index *alloc_batch_find(const struct segment *segment, unsigned row)
{
	size_t after = first_after(segment, row);

	if (after == 0)
		return NULL;
	const struct batch_index *batch = &segment->batches[after - 1];
	return row < (unsigned)batch->base + batch->rows ? batch : NULL;
}

void alloc_summary_pointer(const struct batch_index *batch, struct block_pointer *ret_pointer)
{
	*ret_pointer = (struct block_pointer){ .dva = batch->summary_dva, .place = batch->txg, .birth = batch->txg,
					       .lsect = batch->summary_cells, .psect = batch->summary_cells,
					       .type = TYPE_SUMMARY, .fill = 1 };
	memcpy(ret_pointer->checksum, batch->summary_checksum, 16);
}

static int slot_insert(struct alloc *alloc, struct segment *segment, size_t at, const struct batch_index *batch)
{
	if (segment->batch_count == segment->batch_capacity) {
		unsigned capacity = segment->batch_capacity ? segment->batch_capacity * 2u : 1u; /* many have one */
		if (capacity > UINT16_MAX)
			capacity = UINT16_MAX;
		if (segment->batch_count == capacity)
			return -ENOMEM;
		struct batch_index *grown = realloc(segment->batches, capacity * sizeof(*grown));
		if (!grown)
			return -ENOMEM;
		alloc->memory += (capacity - segment->batch_capacity) * sizeof(*grown);
		segment->batches = grown;
		segment->batch_capacity = (uint16_t)capacity;
	}
	memmove(&segment->batches[at + 1], &segment->batches[at], (segment->batch_count - at) * sizeof(*batch));
	segment->batches[at] = *batch;
	segment->batch_count++;
	return 0;
}

static void slot_remove(struct segment *segment, size_t at)
{
	segment->batch_count--;
	memmove(&segment->batches[at], &segment->batches[at + 1], (segment->batch_count - at) * sizeof(segment->batches[0]));
}

static int note_deletion(struct alloc *alloc, uint32_t id, const struct batch_index *batch)
{
	struct map_deletion deletion = { id, batch->base };

	return batch->flags & BATCH_IN_MAP ? array_push(&alloc->map_deletions, &deletion) : 0;
}

static int note_addition(struct alloc *alloc, uint32_t id)
{
	size_t count = alloc->map_dirty.count;

	if (count && *array_at(&alloc->map_dirty, uint32_t, count - 1) == id)
		return 0;
	return array_push(&alloc->map_dirty, &id);
}

/* Takes [base, base + rows) out of one entry; the rest stays as up to two entries that the map lacks. */
static int entry_cut(struct alloc *alloc, uint32_t id, size_t at, unsigned base, unsigned rows)
{
	struct segment *segment = alloc->segments[id];
	struct batch_index old = segment->batches[at];
	unsigned end = base + rows, old_end = (unsigned)old.base + old.rows;

	if (note_deletion(alloc, id, &old) < 0)
		return -ENOMEM;
	slot_remove(segment, at);
	old.flags &= (uint16_t)~BATCH_IN_MAP;
	/* What is left of it may be rows that were dead before. */
	segment->entries_unsure |= !segment->busy && (end < old_end || old.base < base);
	if (end < old_end) {
		struct batch_index right = old;
		right.base = (uint16_t)end;
		right.rows = (uint16_t)(old_end - end);
		if (slot_insert(alloc, segment, at, &right) < 0 || note_addition(alloc, id) < 0)
			return -ENOMEM;
	}
	if (old.base < base) {
		old.rows = (uint16_t)(base - old.base);
		if (slot_insert(alloc, segment, at, &old) < 0 || note_addition(alloc, id) < 0)
			return -ENOMEM;
	}
	return 0;
}

int alloc_batch_trim(struct alloc *alloc, uint32_t id, unsigned base, unsigned rows)
{
	struct segment *segment = alloc->segments[id];

	for (;;) {
		size_t at = first_after(segment, base + rows - 1);
		if (at == 0)
			return 0;
		struct batch_index *batch = &segment->batches[at - 1];
		if ((unsigned)batch->base + batch->rows <= base)
			return 0;
		if (entry_cut(alloc, id, at - 1, base, rows) < 0)
			return -ENOMEM;
	}
}

int alloc_batch_insert(struct alloc *alloc, uint32_t id, const struct batch_index *batch)
{
	struct segment *segment = alloc->segments[id];
	struct batch_index rest = *batch;
	unsigned end = (unsigned)rest.base + rest.rows;

	/* Rows that a newer batch has already stay with it: the given one enters in pieces. */
	for (unsigned row = rest.base; row < end;) {
		const struct batch_index *there = alloc_batch_find(segment, row);
		if (there && there->txg >= batch->txg) {
			if (note_deletion(alloc, id, &rest) < 0)
				return -ENOMEM;
			rest.flags &= (uint16_t)~BATCH_IN_MAP;
			row = (unsigned)there->base + there->rows;
			continue;
		}
		unsigned stop = row + 1;
		while (stop < end) {
			there = alloc_batch_find(segment, stop);
			if (there && there->txg >= batch->txg)
				break;
			stop++;
		}
		struct batch_index piece = rest;
		piece.base = (uint16_t)row;
		piece.rows = (uint16_t)(stop - row);
		if (piece.rows != batch->rows && piece.flags & BATCH_IN_MAP) {
			if (note_deletion(alloc, id, &rest) < 0)
				return -ENOMEM;
			rest.flags &= (uint16_t)~BATCH_IN_MAP;
			piece.flags &= (uint16_t)~BATCH_IN_MAP;
		}
		if (alloc_batch_trim(alloc, id, row, stop - row) < 0 ||
		    slot_insert(alloc, segment, first_after(segment, row), &piece) < 0)
			return -ENOMEM;
		if (!(piece.flags & BATCH_IN_MAP) && note_addition(alloc, id) < 0)
			return -ENOMEM;
		row = stop;
	}
	return 0;
}

void alloc_batches_drop(struct alloc *alloc, uint32_t id)
{
	struct segment *segment = alloc->segments[id];

	for (size_t i = 0; i < segment->batch_count; i++)
		(void)note_deletion(alloc, id, &segment->batches[i]);
	alloc->memory -= segment->batch_capacity * sizeof(segment->batches[0]);
	free(segment->batches);
	segment->batches = NULL;
	segment->batch_count = segment->batch_capacity = 0;
}

void alloc_batch_remove_summary(struct alloc *alloc, uint32_t id, uint64_t summary_dva, uint64_t txg)
{
	struct segment *segment = alloc->segments[id];

	for (size_t i = segment->batch_count; i-- > 0;)
		if (segment->batches[i].summary_dva == summary_dva && segment->batches[i].txg == txg) {
			(void)note_deletion(alloc, id, &segment->batches[i]);
			slot_remove(segment, i);
		}
}

void alloc_batch_map_all(struct alloc *alloc,
			 void (*change)(void *argument, uint32_t segment, const struct batch_index *batch, bool present), void *argument)
{
	for (uint32_t id = 0; id < alloc->segment_count; id++) {
		const struct segment *segment = alloc_segment(alloc, id);
		for (size_t b = 0; segment && b < segment->batch_count; b++)
			if (segment->batches[b].flags & BATCH_IN_MAP)
				change(argument, id, &segment->batches[b], true);
	}
}

void alloc_batch_map_changes(struct alloc *alloc,
			     void (*change)(void *argument, uint32_t segment, const struct batch_index *batch, bool present),
			     void *argument)
{
	for (size_t i = 0; i < alloc->map_deletions.count; i++) {
		const struct map_deletion *deletion = array_at(&alloc->map_deletions, struct map_deletion, i);
		struct batch_index batch = { .base = deletion->base };
		change(argument, deletion->segment, &batch, false);
	}
	array_clear(&alloc->map_deletions);
	size_t kept = 0, count = alloc->map_dirty.count;
	for (size_t i = 0; i < count; i++) {
		uint32_t id = *array_at(&alloc->map_dirty, uint32_t, i);
		struct segment *segment = alloc_segment(alloc, id);
		bool later = false;
		for (size_t b = 0; segment && b < segment->batch_count; b++) {
			struct batch_index *batch = &segment->batches[b];
			if (batch->flags & BATCH_IN_MAP)
				continue;
			if (batch->txg >= alloc->txg) {
				later = true;
				continue;
			}
			change(argument, id, batch, true);
			batch->flags |= BATCH_IN_MAP;
		}
		if (later)
			*array_at(&alloc->map_dirty, uint32_t, kept++) = id;
	}
	alloc->map_dirty.count = kept;
}
