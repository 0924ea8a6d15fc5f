/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The coefficients of parity, and reconstruction as a linear map.
 *
 * At most three columns are ever unknown, so instead of inverting the k x k matrix of the surviving rows this solves
 * for the e erased data columns only: the e first surviving parities, less what the surviving data contribute to them, are
 * a square submatrix of the coefficients times the erased columns. That submatrix is non-singular for every choice of
 * rows and columns, which is what MDS means and what the tests check for all of them.
 */
#include "raid/matrix.h"

#include <assert.h>
#include <stdbool.h>
#include <string.h>

#include <isa-l/erasure_code.h>

/* An extended Cauchy matrix. Row 0 is 1, row 1 is 2^i; row j >= 2 is 1 / (2^-i + 2^(j - 1)), scaled so that its first
 * coefficient is 1. It is part of the on-disk format. */
static const uint8_t coefficients[RAID_PARITY_MAX][RAID_DATA_MAX] = {
	{ 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1 },
	{ 1, 2, 4, 8, 16, 32, 64, 128, 29, 58, 116, 232, 205, 135, 19, 38 },
	{ 1, 245, 210, 196, 154, 113, 241, 127, 252, 135, 193, 198, 25, 47, 64, 85 },
};

uint8_t raid_coefficient(unsigned parity, unsigned column)
{
	if (parity >= RAID_PARITY_MAX || column >= RAID_DATA_MAX)
		return 0;
	return coefficients[parity][column];
}

bool raid_mask_valid(unsigned k, unsigned m, uint32_t erased_mask)
{
	return k >= 1 && k <= RAID_DATA_MAX && m <= RAID_PARITY_MAX && erased_mask >> (k + m) == 0 &&
	       (unsigned)__builtin_popcount(erased_mask) <= m;
}

uint32_t raid_decode_sources(unsigned k, unsigned m, uint32_t erased_mask)
{
	uint32_t survivors, sources = 0;

	if (!raid_mask_valid(k, m, erased_mask))
		return 0;
	survivors = ((1u << (k + m)) - 1) & ~erased_mask;
	for (unsigned count = 0; count < k; count++) {
		sources |= survivors & -survivors;
		survivors &= survivors - 1;
	}
	return sources;
}

static unsigned columns_of(uint32_t mask, uint8_t *ret_columns)
{
	unsigned count = 0;

	for (; mask != 0; mask &= mask - 1)
		ret_columns[count++] = (uint8_t)__builtin_ctz(mask);
	return count;
}

/* Gauss and Jordan on rows of `width` coefficients whose left square part becomes the identity. */
static void eliminate(unsigned size, unsigned width, uint8_t rows[][RAID_PARITY_MAX + RAID_DATA_MAX])
{
	for (unsigned pivot = 0; pivot < size; pivot++) {
		unsigned swap = pivot;

		while (swap < size && rows[swap][pivot] == 0)
			swap++;
		assert(swap < size);
		for (unsigned i = 0; i < width; i++) {
			uint8_t keep = rows[pivot][i];

			rows[pivot][i] = rows[swap][i];
			rows[swap][i] = keep;
		}
		uint8_t scale = gf_inv(rows[pivot][pivot]);
		for (unsigned i = 0; i < width; i++)
			rows[pivot][i] = gf_mul(rows[pivot][i], scale);
		for (unsigned row = 0; row < size; row++) {
			uint8_t factor = rows[row][pivot];

			if (row == pivot || factor == 0)
				continue;
			for (unsigned i = 0; i < width; i++)
				rows[row][i] ^= gf_mul(rows[pivot][i], factor);
		}
	}
}

void raid_plan_make(unsigned k, unsigned m, uint32_t erased_mask, uint32_t wanted_mask, struct raid_plan *ret)
{
	/* one equation for each erased data column: erased data | sources */
	uint8_t rows[RAID_PARITY_MAX][RAID_PARITY_MAX + RAID_DATA_MAX] = { { 0 } };
	uint8_t erased[RAID_PARITY_MAX];
	unsigned erased_count = columns_of(erased_mask & ((1u << k) - 1), erased);
	unsigned known_count = k - erased_count;

	memset(ret, 0, sizeof(*ret));
	ret->source_count = columns_of(raid_decode_sources(k, m, erased_mask), ret->source);
	ret->wanted_count = columns_of(wanted_mask, ret->wanted);

	/* the sources are known_count data columns, then one parity for each equation */
	for (unsigned e = 0; e < erased_count; e++) {
		const uint8_t *parity = coefficients[ret->source[known_count + e] - k];

		for (unsigned i = 0; i < erased_count; i++)
			rows[e][i] = parity[erased[i]];
		for (unsigned s = 0; s < known_count; s++)
			rows[e][erased_count + s] = parity[ret->source[s]];
		rows[e][erased_count + known_count + e] = 1;
	}
	eliminate(erased_count, erased_count + k, rows);

	for (unsigned w = 0; w < ret->wanted_count; w++) {
		uint8_t *out = &ret->coefficient[w * k];

		if (ret->wanted[w] < k) {
			for (unsigned e = 0; e < erased_count; e++)
				if (erased[e] == ret->wanted[w])
					memcpy(out, &rows[e][erased_count], k);
			continue;
		}
		const uint8_t *parity = coefficients[ret->wanted[w] - k];

		for (unsigned s = 0; s < known_count; s++)
			out[s] = parity[ret->source[s]];
		for (unsigned e = 0; e < erased_count; e++)
			for (unsigned s = 0; s < k; s++)
				out[s] ^= gf_mul(parity[erased[e]], rows[e][erased_count + s]);
	}
}
