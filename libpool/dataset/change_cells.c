/* SPDX-License-Identifier: BSD-2-Clause */
/* The space that a change of a blob needs at most: what a transaction handle reserves. */
#include "libpool/dataset/dataset.h"

/*
 * Cells that `blocks` data blocks take, with their share of what the end of a segment is too short for. Segments may get as
 * narrow as one data column while disks are missing or full.
 */
static uint64_t data_cells(const struct geometry *geometry, uint64_t blocks, unsigned block_cells)
{
	uint64_t segment = geometry->rows - 1u, room = segment - segment / 64 - 2; /* without the summary */
	uint64_t whole = room / block_cells ? room / block_cells : 1;

	return (blocks * segment + whole - 1) / whole;
}

/* Cells of the nodes above neighbouring blocks, up to the root of a blob of this size. */
static uint64_t node_cells(unsigned block_shift, uint64_t size, uint64_t blocks)
{
	unsigned indirect_shift = block_shift <= 14 ? 12 : 14, fanout_shift = indirect_shift - 6;
	uint64_t all = size >> block_shift, below = blocks, nodes = 0;

	for (uint64_t span = 1; span < all; span <<= fanout_shift) {
		below = below == 1 ? 1 : ((below - 1) >> fanout_shift) + 2;
		nodes += below;
	}
	/* Stripes of metadata are short: nodes of several cells may leave half of one unused. */
	return nodes * (indirect_shift == 12 ? 1 : 8);
}

uint64_t blob_change_cells(struct core *core, uint32_t block_bytes, uint64_t size, uint64_t offset, uint64_t length, uint64_t *ret_nodes)
{
	unsigned shift = (unsigned)__builtin_ctz(block_bytes);
	uint64_t blocks = ((offset + length - 1) >> shift) - (offset >> shift) + 1, nodes = node_cells(shift, size, blocks);

	*ret_nodes = nodes;
	return data_cells(alloc_geometry(core_alloc(core)), blocks, 1u << (shift - CELL_SHIFT)) + nodes;
}

/* The blocks at its ends are below nodes that stay, all others below nodes that go; a small blob's root may be a block. */
uint64_t blob_removed_blocks(uint32_t block_bytes, uint64_t offset, uint64_t length)
{
	unsigned shift = (unsigned)__builtin_ctz(block_bytes), indirect_shift = shift <= 14 ? 12 : 14;
	uint64_t blocks = length ? ((offset + length - 1) >> shift) - (offset >> shift) + 1 : 0, most = UINT64_C(2) << (indirect_shift - 6);

	return blocks < most ? blocks : most;
}
