/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Parity of k data columns in up to three parity columns, and the reconstruction of what is lost.
 *
 * The code is over GF(2^8) with polynomial 0x11d. Parity j is the sum of raid_coefficient(j, i) times data column i,
 * byte by byte. The coefficients are on disk in the form of parity, so they may never change. What must always hold:
 *
 *  - the first row is all ones and the second is 2^i: P and Q of Linux RAID-6;
 *  - the code is MDS: any k of the k + m columns give back all others;
 *  - the first coefficient of each row is 1, so with k = 1 parity is a copy and a mirror needs no code of its own.
 *
 * Columns are numbered 0..k-1 (data) and k..k+m-1 (parity), and a mask has bit c for column c.
 *
 * Buffers: every length is in bytes, a multiple of RAID_CELL, at most RAID_LENGTH_MAX; every pointer is aligned to
 * RAID_ALIGNMENT; anything else is refused with -EINVAL before a byte is written. Columns must not overlap. The caller
 * owns all buffers. The functions are pure, allocate nothing, use less than 8 KiB of stack, and may be called from any
 * thread.
 */
#ifndef RAID_PARITY_H
#define RAID_PARITY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RAID_CELL 4096
#define RAID_DATA_MAX 16
#define RAID_PARITY_MAX 3
#define RAID_COLUMNS_MAX (RAID_DATA_MAX + RAID_PARITY_MAX)
#define RAID_ALIGNMENT 64
#define RAID_LENGTH_MAX ((size_t)1 << 30)

/* The coefficient of data column `column` (0..15) in parity `parity` (0..2); 0 outside of these ranges. */
uint8_t raid_coefficient(unsigned parity, unsigned column);

/* Compute all m parity columns (0..3) of k data columns (1..16). m = 0 does nothing. 0, or -EINVAL. */
int raid_encode(unsigned k, unsigned m, size_t length, const void *const *data, void *const *parity);

/* Reconstruct in place exactly the columns in `erased_mask`, data and parity both, from the others. -EINVAL if more
 * than m columns are erased or the mask names a column that doesn't exist. `columns` has k + m pointers; those of
 * surviving columns that raid_decode_sources() doesn't name may be NULL. The content of survivors is not verified. */
int raid_decode(unsigned k, unsigned m, size_t length, uint32_t erased_mask, void *const *columns);

/* The same, but only the columns in `wanted_mask`, a subset of `erased_mask`, are reconstructed. The pointers of other
 * erased columns are not used and may be NULL. */
int raid_decode_subset(unsigned k, unsigned m, size_t length, uint32_t erased_mask, uint32_t wanted_mask,
		       void *const *columns);

/* The columns that decoding reads: the k first survivors, so data are preferred to parity. 0 if there are fewer than
 * k, or an argument is out of range. */
uint32_t raid_decode_sources(unsigned k, unsigned m, uint32_t erased_mask);

/* True if parity columns match the data columns. False if not, or if an argument is invalid. */
bool raid_verify(unsigned k, unsigned m, size_t length, const void *const *columns);

#endif
