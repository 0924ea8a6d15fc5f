/* SPDX-License-Identifier: BSD-2-Clause */
/* What a write adds to the space in use, before it is made: for those who keep somebody within a limit. */
#include "libpool/object/object_internal.h"

/* Of one block: what it has now, and whether a node may have to be made for it. */
static int examine(struct object *object, uint64_t txg, uint64_t number, unsigned block_cells, uint64_t *cells, bool *ret_new)
{
	struct overlay *overlays[2];
	struct object_view view = { 0 };
	struct block_pointer pointer;
	uint64_t end;
	int result;

	*ret_new = false;
	object_overlays(object, overlays);
	for (int i = 0; i < 2; i++) {
		struct dirty_block *block;
		enum overlay_state state = overlays[i] ? overlay_lookup(overlays[i], number, &block, &end) : OVERLAY_NONE;

		if (state == OVERLAY_NONE)
			continue;
		if (state == OVERLAY_DIRTY && overlays[i]->txg == txg && block->charged)
			return 0;
		/* How small the earlier txg will make it isn't known yet; a punched one counts until that is committed. */
		*cells += block_cells;
		*ret_new = true;
		return 0;
	}
	do {
		object_view_take(&view, object);
		result = blob_find(&view, number, true, &pointer, &end);
	} while (result == -POOL_ESTALE);
	if (result < 0)
		return result;
	*ret_new = block_pointer_is_hole(&pointer);
	*cells += block_cells > pointer.psect ? block_cells - pointer.psect : 0; /* 0 of a hole */
	return 0;
}

int blob_growth(struct object *object, uint64_t txg, uint64_t first, uint64_t count, uint64_t *ret_cells)
{
	unsigned block_cells = blob_block_size(object) / CELL_SIZE, shift = blob_fanout_shift(object->disk.indirect_shift);
	unsigned node_cells = (1u << object->disk.indirect_shift) / CELL_SIZE;
	uint64_t cells = 0, fresh = 0;

	for (uint64_t i = 0; i < count; i++) {
		bool is_new;
		int result = object->destroyed ? -ENOENT : examine(object, txg, first + i, block_cells, &cells, &is_new);

		if (result < 0)
			return result;
		fresh += is_new;
	}
	/* Nodes that exist may become less compressible too: those above the range, and up to the top. */
	if (cells)
		cells += ((count >> shift) + 2 + (fresh ? BLOB_LEVELS_MAX / 2 : object->disk.levels)) * node_cells;
	*ret_cells = cells;
	return 0;
}

void blob_charged(struct object *object, uint64_t txg, uint64_t first, uint64_t count)
{
	struct overlay *overlay = object_overlay_if_any(object, txg);

	for (uint64_t i = 0; overlay && i < count; i++) {
		struct dirty_block *block = overlay_block(overlay, first + i);
		if (block)
			block->charged = true;
	}
}

uint64_t blob_dirty_cells(const struct object *object)
{
	struct overlay *overlays[2];
	uint64_t blocks = 0;

	object_overlays(object, overlays);
	for (int i = 0; i < 2 && overlays[i]; i++)
		blocks += overlays[i]->blocks.count;
	return blocks * (blob_block_size(object) / CELL_SIZE);
}
