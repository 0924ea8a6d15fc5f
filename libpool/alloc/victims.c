/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * See victims.h. Segments are in lists by the share of their cells that is live, and change them with the commits that free or place some: a search
 * looks at the heads of the lists, however many segments there are.
 */
#include "libpool/alloc/victims.h"

#include "libpool/alloc/internal.h"

#define LOOKS_MAX 64u /* in one list */

_Static_assert(((1u << (AU_SHIFT_MAX - CELL_SHIFT)) - 1) * COLUMNS_MAX <= UINT16_MAX, "a segment's cells are counted in 16 bits");

static uint32_t cells_of(const struct alloc *alloc, const struct segment *segment)
{
	return (alloc->geometry.rows - 1u) * segment->record.k;
}

/*
 * What new segments have room for in the units that it gives back: with a disk away less, where it has fewer columns on the others than these take. What
 * narrow segments give back holds more, at the price of their redundancy; that isn't what they are emptied for.
 */
static uint32_t room_of(const struct alloc *alloc, const struct segment *segment)
{
	uint32_t cells = cells_of(alloc, segment), columns = 0;

	if (!alloc_lacks_disk(alloc) || alloc->widths.columns == 0)
		return cells;
	for (unsigned c = 0; c < (unsigned)segment->record.k + segment->record.m; c++) {
		uint16_t disk = segment->record.columns[c].disk;
		columns += disk != DISK_ABSENT && alloc->disks[disk].usable;
	}
	uint32_t room = (uint32_t)((uint64_t)columns * alloc->widths.k * (alloc->geometry.rows - 1u) / alloc->widths.columns);
	return room < cells ? room : cells;
}

bool alloc_gives_all_back(const struct alloc *alloc, const struct segment *segment)
{
	return room_of(alloc, segment) >= cells_of(alloc, segment);
}

static struct segment *segment_at(const struct alloc *alloc, uint32_t reference)
{
	return reference ? alloc->segments[reference - 1] : NULL;
}

void alloc_victim_unlist(struct alloc *alloc, struct segment *segment)
{
	if (!segment->victims_list)
		return;
	unsigned list = segment->victims_list - 1u;
	struct segment *next = segment_at(alloc, segment->victims.next), *prev = segment_at(alloc, segment->victims.prev);

	*(prev ? &prev->victims.next : &alloc->victims[list].first) = segment->victims.next;
	*(next ? &next->victims.prev : &alloc->victims[list].last) = segment->victims.prev;
	alloc->victims[list].sum.live -= segment->victims_live;
	alloc->victims[list].sum.dead -= segment->victims_dead;
	segment->victims.next = segment->victims.prev = 0;
	segment->victims_list = 0;
}

void alloc_victim_list(struct alloc *alloc, struct segment *segment)
{
	const struct segment_record *record = &segment->record;
	uint32_t cells = cells_of(alloc, segment), live = segment->live, room = room_of(alloc, segment);

	alloc_victim_unlist(alloc, segment);
	if (record->state != SEGMENT_FULL || record->class == CLASS_SYS || record->class == CLASS_LOG || record->class == CLASS_META || segment->released || live == 0 || live >= cells)
		return;
	unsigned list = (unsigned)((uint64_t)live * VICTIM_SHARES / cells);
	struct segment *last = segment_at(alloc, alloc->victims[list].last);

	segment->victims_list = (uint8_t)(list + 1);
	segment->victims.prev = alloc->victims[list].last;
	*(last ? &last->victims.next : &alloc->victims[list].first) = segment->id + 1;
	alloc->victims[list].last = segment->id + 1;
	segment->victims_live = (uint16_t)live;
	segment->victims_dead = (uint16_t)(room > live ? room - live : 0);
	alloc->victims[list].sum.live += segment->victims_live;
	alloc->victims[list].sum.dead += segment->victims_dead;
}

void alloc_victims_list_again(struct alloc *alloc)
{
	for (uint32_t id = 0; id < alloc->segment_count; id++)
		if (alloc->segments[id] && alloc->segments[id]->victims_list)
			alloc_victim_list(alloc, alloc->segments[id]);
}

struct victim_sum alloc_victim_sum(const struct alloc *alloc, unsigned share)
{
	return alloc->victims[share].sum;
}

/* Nobody reads or writes rows of it, and the last commit has it as FULL. */
static bool is_at_rest(const struct segment *segment)
{
	return segment->runs_ready && !segment->pins && !segment->moves && !segment->released && !segment->placed_in_txg && !segment->runs_giving;
}

unsigned alloc_victims(const struct alloc *alloc, unsigned dead_share, unsigned block_cells, unsigned most, struct victim *ret_victims)
{
	unsigned count = 0;

	for (unsigned i = 0; i < VICTIM_SHARES; i++) {
		unsigned looks = 0;
		for (const struct segment *segment = segment_at(alloc, alloc->victims[i].first); segment; segment = segment_at(alloc, segment->victims.next)) {
			uint32_t cells = cells_of(alloc, segment), dead = segment->victims_dead;

			if (count == most)
				return count;
			if (++looks > LOOKS_MAX)
				break;
			if (!is_at_rest(segment))
				continue;
			uint64_t rows = alloc_rows_room(alloc, segment, block_cells);
			dead -= rows < dead ? (uint32_t)rows : dead;
			if (dead * dead_share >= cells)
				ret_victims[count++] = (struct victim){ segment->id, segment->live, dead, segment->record.alloc_txg };
		}
	}
	return count;
}

void alloc_victim_refused(struct alloc *alloc, struct segment *segment)
{
	alloc_victim_unlist(alloc, segment);
}
