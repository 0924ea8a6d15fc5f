/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * CRC-32C (Castagnoli polynomial 0x1EDC6F41, reflected), the checksum of one cell.
 *
 * Why it is its own layer: the bytes of a CRC are on disk, so its convention may never change, whichever library
 * computes it. The convention is the usual one (initial value and result inverted inside), and what must always hold is
 *
 *	crc32c(0, "123456789", 9) == 0xE3069283
 *	crc32c(crc32c(init, a, n), b, m) == crc32c(init, ab, n + m)
 *	crc32c(x, data, n) == crc32c(y, data, n) ^ crc32c_shift(x ^ y, n)
 *
 * Every function is pure and may be called from any thread.
 */
#ifndef CHECKSUM_CRC32C_H
#define CHECKSUM_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* The CRC of `length` bytes at `data`, any alignment. `init` is 0, a seed, or the CRC of the bytes in front of these.
 * With a length of 0 the result is `init`, and `data` may be NULL. */
uint32_t crc32c(uint32_t init, const void *data, size_t length);

/* The initial value for the CRC of a cell, which binds its content to its logical place: the CRC of the 8 bytes
 * {segment u32, column u16, row u16}, little-endian. It has no disk in it, so a column keeps its CRCs when it moves. */
uint32_t crc32c_cell_seed(uint32_t segment, uint16_t column, uint16_t row);

/* How the difference (exclusive or) of two initial values appears in the results after `length` bytes: multiplication
 * by x^(8 * length) modulo the polynomial. Lengths of one cell (4096) take eight table look-ups, others a few dozen
 * nanoseconds for each bit of `length`. Linear: shift(a ^ b) == shift(a) ^ shift(b). */
uint32_t crc32c_shift(uint32_t crc_difference, size_t length);

#endif
