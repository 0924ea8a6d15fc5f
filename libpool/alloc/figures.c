/* Figures for people that no decision depends on. */
#include "libpool/alloc/figures.h"

#include "libpool/alloc/internal.h"

uint64_t alloc_dead_cells(const struct alloc *alloc)
{
	uint64_t cells = 0;

	for (uint32_t id = 0; id < alloc->segment_count; id++) {
		const struct segment *segment = alloc->segments[id];

		if (!segment || alloc_segment_is_free(segment))
			continue;
		const struct segment_record *record = &segment->record;
		if (record->state != SEGMENT_OPEN && record->state != SEGMENT_FULL && record->state != SEGMENT_EVAC)
			continue;
		/* What is still to be given out of an OPEN one isn't dead. */
		uint64_t rows = (record->state == SEGMENT_OPEN ? record->rows_used : alloc->geometry.rows) - 1u;
		cells += rows * record->k > segment->live ? rows * record->k - segment->live : 0;
	}
	return cells;
}
