/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which blocks may have been moved by a compactor: what the segment table says of it. A block's identity is where it was placed first.
 * A segment that blocks were moved out of is PARTIAL: of those placed up to evac_txg some lie elsewhere. One that has begun another
 * life since has none of its older blocks: those that still live are elsewhere.
 *
 * What must always hold: a block that lies elsewhere than its identity says is found by this, for as long as it lives. evac_txg never sinks
 * in one life of a segment, and alloc_txg never sinks.
 */
#include "libpool/alloc/internal.h"

#include "libpool/base/check.h"
#include "libpool/format/dva.h"

static const struct segment *segment_of(const struct alloc *alloc, uint64_t dva)
{
	uint32_t id = dva_unpack(dva).segment;

	return id < alloc->segment_count ? alloc->segments[id] : NULL;
}

bool alloc_may_have_moved(const struct alloc *alloc, const struct block_pointer *pointer)
{
	const struct segment *segment = segment_of(alloc, pointer->dva);

	if (!segment)
		return false;
	return pointer->place < segment->record.alloc_txg ||
	       (segment->record.flags & SEGMENT_PARTIAL && pointer->place <= segment->record.evac_txg);
}

uint64_t alloc_place_of(const struct alloc *alloc, uint64_t address)
{
	const struct segment *segment = segment_of(alloc, address);
	struct dva dva = dva_unpack(address);
	const struct batch_index *batch = segment ? alloc_batch_find(segment, dva.base + dva.offset % dva.height) : NULL;

	return batch ? batch->txg : segment ? segment->record.alloc_txg : 0;
}

void alloc_block_moves(struct alloc *alloc, uint64_t dva, uint64_t place)
{
	struct segment *segment = alloc_segment(alloc, dva_unpack(dva).segment);
	struct segment_record *record = segment ? &segment->record : NULL;

	POOL_CHECK(alloc->txg != 0);
	if (!record || place < record->alloc_txg || (record->flags & SEGMENT_PARTIAL && place <= record->evac_txg))
		return;
	record->flags |= SEGMENT_PARTIAL;
	record->evac_txg = place;
	alloc_segment_touch(alloc, segment);
}
