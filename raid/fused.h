/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a stripe needs before it is written, in one pass over memory: parity, a CRC of every cell of data and parity,
 * and, if asked for, a copy of the data.
 *
 * Why: memory bandwidth is the limit of the write path, and three passes read the data three times. Here a row is
 * read from memory once and everything else finds it in the processor's cache. What must always hold: the result is
 * the same, bit for bit, as that of raid_encode() and crc32c() with crc32c_cell_seed() one after the other.
 */
#ifndef RAID_FUSED_H
#define RAID_FUSED_H

#include <stddef.h>
#include <stdint.h>

#include "raid/parity.h"

/* All buffers belong to the caller; cells, copies and parity are aligned to RAID_ALIGNMENT and don't overlap. */
struct raid_fused_stripe {
	unsigned k;			/* data columns, 1..16 */
	unsigned m;			/* parity columns, 0..3 */
	size_t rows;			/* rows of the stripe */
	const void *const *cells;	/* k * rows cells of RAID_CELL bytes; row r of column c is cells[c * rows + r] */
	void *const *copy;		/* NULL, or where to copy each cell to, in the same order */
	void *const *parity;		/* m buffers of rows * RAID_CELL bytes; NULL if m is 0 */
	uint32_t *data_crc;		/* k * rows results; row r of column c is data_crc[r * k + c] */
	uint32_t *parity_crc;		/* m * rows results; row r of parity j is parity_crc[r * m + j] */
	uint32_t segment;		/* for the seeds: the CRC of row r, column c (parity j: k + j) starts with */
	uint16_t row_base;		/* crc32c_cell_seed(segment, c, row_base + r) */
};

/* Do rows row_first .. row_first + row_count - 1 of the stripe. Several threads may do disjoint ranges of one stripe at
 * the same time. Arguments out of range break an invariant of the caller: they are asserted in debug builds. Parity and
 * copies bypass the cache, and are visible to other threads and to devices as after ordinary stores. Misaligned pointers
 * trap. Less than 8 KiB of stack. */
void raid_fused_encode(const struct raid_fused_stripe *stripe, size_t row_first, size_t row_count);

#endif
