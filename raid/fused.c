/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The fused pass, in pieces of as many rows as keep a piece within the processor's second-level cache.
 *
 * Column by column first: the CRCs, and the copy, of a run of cells that are mostly neighbours in memory, which is what
 * the processor's prefetching is good at. Then row by row parity, from the cache. What nobody reads again goes around
 * the cache: the copy, the first parity, and the others when their CRCs are done. bench/NOTES.md has what else was tried.
 *
 * Some CRCs are not computed from bytes at all. A CRC is linear in the data but for its initial value, so the CRC of
 * a sum of cells is the sum of their CRCs, with the difference of the initial values moved past one cell. That gives the
 * CRC of the first parity (a plain sum), and those of all copies if k = 1. It is cheaper, and it is stricter: such a
 * CRC says what the parity must be, also if the memory that holds it is damaged before it is written.
 */
#include "raid/fused.h"

#include <assert.h>
#include <string.h>

#include "checksum/crc32c.h"
#include "raid/stream.h"

#define PIECE_BYTES ((size_t)512 << 10)

static uint32_t seed(const struct raid_fused_stripe *stripe, unsigned column, size_t row)
{
	return crc32c_cell_seed(stripe->segment, (uint16_t)column, (uint16_t)(stripe->row_base + row));
}

/* The CRC of the sum of the cells of a row, with the initial value of column `column`. The complements inside a CRC
 * cancel out in pairs; with k even one remains, which is the CRC of zeros. */
static uint32_t crc_of_sum(const struct raid_fused_stripe *stripe, size_t row, unsigned column)
{
	uint32_t difference = seed(stripe, column, row);
	uint32_t crc = 0;

	if (stripe->k % 2 == 0) {
		difference = ~difference;
		crc = ~crc;
	}
	for (unsigned c = 0; c < stripe->k; c++) {
		difference ^= seed(stripe, c, row);
		crc ^= stripe->data_crc[row * stripe->k + c];
	}
	return crc ^ crc32c_shift(difference, RAID_CELL);
}

static void *parity_cell(const struct raid_fused_stripe *stripe, unsigned parity, size_t row)
{
	return (unsigned char *)stripe->parity[parity] + row * RAID_CELL;
}

static void crc_and_copy(const struct raid_fused_stripe *stripe, const struct raid_stream_kernel *kernel,
			 size_t row_first, size_t row_end)
{
	for (unsigned c = 0; c < stripe->k; c++) {
		for (size_t row = row_first; row < row_end; row++) {
			const void *cell = stripe->cells[c * stripe->rows + row];

			stripe->data_crc[row * stripe->k + c] = crc32c(seed(stripe, c, row), cell, RAID_CELL);
			if (stripe->copy != NULL)
				kernel->copy(stripe->copy[c * stripe->rows + row], cell);
		}
	}
}

/* The third parity alone is the reconstruction of the last column. */
static void third_parity(unsigned k, const void *const *data, void *target)
{
	const uint32_t erased = 1u << (k + 2);
	void *columns[RAID_COLUMNS_MAX] = { NULL };

	memcpy(columns, data, k * sizeof(data[0]));
	columns[k + 2] = target;
	int result = raid_decode(k, 3, RAID_CELL, erased, columns);

	assert(result == 0);
	(void)result;
}

static void parity_of_row(const struct raid_fused_stripe *stripe, const struct raid_stream_kernel *kernel, size_t row)
{
	_Alignas(RAID_ALIGNMENT) unsigned char scratch[RAID_CELL];
	const void *data[RAID_DATA_MAX];
	unsigned k = stripe->k, m = stripe->m;
	uint32_t *crc = &stripe->parity_crc[row * m];

	for (unsigned c = 0; c < k; c++)
		data[c] = stripe->cells[c * stripe->rows + row];

	crc[0] = crc_of_sum(stripe, row, k);
	if (k == 1) {
		kernel->copy(parity_cell(stripe, 0, row), data[0]);
		for (unsigned j = 1; j < m; j++) {
			kernel->copy(parity_cell(stripe, j, row), data[0]);
			crc[j] = crc_of_sum(stripe, row, k + j);
		}
		return;
	}
	if (m == 1) {
		kernel->p(k, data, parity_cell(stripe, 0, row));
		return;
	}
	kernel->p_and_q(k, data, parity_cell(stripe, 0, row), scratch);
	for (unsigned j = 1; j < m; j++) {
		if (j == 2)
			third_parity(k, data, scratch);
		crc[j] = crc32c(seed(stripe, k + j, row), scratch, RAID_CELL);
		kernel->copy(parity_cell(stripe, j, row), scratch);
	}
}

void raid_fused_encode(const struct raid_fused_stripe *stripe, size_t row_first, size_t row_count)
{
	const struct raid_stream_kernel *kernel = raid_stream_kernel_at(0);
	size_t row_end = row_first + row_count;
	size_t piece_rows;

	assert(stripe->k >= 1 && stripe->k <= RAID_DATA_MAX && stripe->m <= RAID_PARITY_MAX);
	assert(row_first <= stripe->rows && row_count <= stripe->rows - row_first);
	piece_rows = PIECE_BYTES / RAID_CELL / stripe->k;
	for (size_t row = row_first; row < row_end; row += piece_rows) {
		size_t piece_end = piece_rows < row_end - row ? row + piece_rows : row_end;

		crc_and_copy(stripe, kernel, row, piece_end);
		for (size_t r = row; stripe->m > 0 && r < piece_end; r++)
			parity_of_row(stripe, kernel, r);
	}
	raid_stream_end();
}
