/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The fused pass, one row at a time: a row of up to 16 cells fits the processor's second-level cache, so its data come from
 * memory once, for the CRCs, and are found in the cache by the copy and by parity.
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

static uint32_t seed(const struct raid_fused_stripe *stripe, unsigned column, size_t row)
{
	return crc32c_cell_seed(stripe->segment, (uint16_t)column, (uint16_t)(stripe->row_base + row));
}

/* The CRC of the sum of k cells, with the initial value of column `column`, from the CRCs of the cells. The complements
 * inside a CRC cancel out in pairs; with k even one remains, which is the CRC of zeros with initial value 0. */
static uint32_t crc_of_sum(const struct raid_fused_stripe *stripe, size_t row, unsigned column,
			   uint32_t seeds_of_data, const uint32_t *crcs)
{
	uint32_t difference = seeds_of_data ^ seed(stripe, column, row);
	uint32_t crc = 0;

	if (stripe->k % 2 == 0) {
		difference = ~difference;
		crc = ~crc;
	}
	for (unsigned c = 0; c < stripe->k; c++)
		crc ^= crcs[c];
	return crc ^ crc32c_shift(difference, RAID_CELL);
}

static void encode_row(const struct raid_fused_stripe *stripe, size_t row)
{
	const void *data[RAID_DATA_MAX];
	void *parity[RAID_PARITY_MAX];
	uint32_t *data_crc = &stripe->data_crc[row * stripe->k];
	uint32_t *parity_crc = stripe->m > 0 ? &stripe->parity_crc[row * stripe->m] : NULL;
	uint32_t seeds = 0;

	for (unsigned c = 0; c < stripe->k; c++) {
		uint32_t init = seed(stripe, c, row);

		data[c] = stripe->cells[c * stripe->rows + row];
		data_crc[c] = crc32c(init, data[c], RAID_CELL);
		seeds ^= init;
		if (stripe->copy != NULL)
			memcpy(stripe->copy[c * stripe->rows + row], data[c], RAID_CELL);
	}
	for (unsigned j = 0; j < stripe->m; j++)
		parity[j] = (char *)stripe->parity[j] + row * RAID_CELL;
	int result = raid_encode(stripe->k, stripe->m, RAID_CELL, data, parity);

	assert(result == 0);
	(void)result;
	for (unsigned j = 0; j < stripe->m; j++) {
		unsigned column = stripe->k + j;

		if (j == 0 || stripe->k == 1)
			parity_crc[j] = crc_of_sum(stripe, row, column, seeds, data_crc);
		else
			parity_crc[j] = crc32c(seed(stripe, column, row), parity[j], RAID_CELL);
	}
}

void raid_fused_encode(const struct raid_fused_stripe *stripe, size_t row_first, size_t row_count)
{
	assert(stripe->k >= 1 && stripe->k <= RAID_DATA_MAX && stripe->m <= RAID_PARITY_MAX);
	assert(row_first <= stripe->rows && row_count <= stripe->rows - row_first);
	for (size_t row = row_first; row < row_first + row_count; row++)
		encode_row(stripe, row);
}
