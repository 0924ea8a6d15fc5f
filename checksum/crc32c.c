/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * CRC-32C on top of ISA-L's crc32_iscsi, and its algebra.
 *
 * A CRC register is a polynomial over GF(2) of degree below 32; bit 31 is the coefficient of x^0 (reflected form).
 * Running n bytes through it multiplies what was in it by x^(8n) and adds something that depends on the bytes only, which
 * is why the difference of two initial values can be moved past the data without reading them.
 */
#include "checksum/crc32c.h"

#include <isa-l/crc.h>

#define POLYNOMIAL 0x82f63b78u
#define X_TO_0     0x80000000u
#define X_TO_8     0x00800000u

uint32_t crc32c(uint32_t init, const void *data, size_t length)
{
	const size_t piece_max = (size_t)1 << 30; /* ISA-L counts in int */
	unsigned char *bytes = (unsigned char *)(uintptr_t)data; /* only read: ISA-L lacks a const */
	uint32_t state = ~init;

	while (length > 0) {
		size_t piece = length < piece_max ? length : piece_max;

		state = crc32_iscsi(bytes, (int)piece, state);
		bytes += piece;
		length -= piece;
	}
	return ~state;
}

/* A general kernel takes 17 ns for these 8 bytes, the processor's own instruction 2; a row has a dozen seeds. */
#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t seed_by_instruction(uint64_t place)
{
	return ~(uint32_t)__builtin_ia32_crc32di(0xffffffff, place);
}
#endif

uint32_t crc32c_cell_seed(uint32_t segment, uint16_t column, uint16_t row)
{
	uint64_t place = segment | (uint64_t)column << 32 | (uint64_t)row << 48;
	unsigned char bytes[8];

#if defined(__x86_64__)
	if (__builtin_cpu_supports("sse4.2"))
		return seed_by_instruction(place);
#endif
	for (unsigned i = 0; i < sizeof(bytes); i++)
		bytes[i] = (unsigned char)(place >> (8 * i));
	return crc32c(0, bytes, sizeof(bytes));
}

static uint32_t multiply(uint32_t a, uint32_t b)
{
	uint32_t product = 0;

	for (uint32_t bit = X_TO_0; bit != 0; bit >>= 1) {
		product ^= b & -(uint32_t)((a & bit) != 0);
		b = b >> 1 ^ (POLYNOMIAL & -(b & 1));
	}
	return product;
}

/* x^(8 * 4096) times each power of x, by bit of the register, as sums for each half-byte of it. */
#define NIBBLE(b0, b1, b2, b3)                                                                                 \
	{                                                                                                      \
		0, b0, b1, b0 ^ b1, b2, b0 ^ b2, b1 ^ b2, b0 ^ b1 ^ b2,                                        \
		b3, b0 ^ b3, b1 ^ b3, b0 ^ b1 ^ b3, b2 ^ b3, b0 ^ b2 ^ b3, b1 ^ b2 ^ b3, b0 ^ b1 ^ b2 ^ b3     \
	}
static const uint32_t shift_cell[8][16] = {
	NIBBLE(0xc2a5b65e, 0x80a71a4d, 0x04a2426b, 0x094484d6),
	NIBBLE(0x128909ac, 0x25121358, 0x4a2426b0, 0x94484d60),
	NIBBLE(0x2d7cec31, 0x5af9d862, 0xb5f3b0c4, 0x6e0b1779),
	NIBBLE(0xdc162ef2, 0xbdc02b15, 0x7e6c20db, 0xfcd841b6),
	NIBBLE(0xfc5cf59d, 0xfd559dcb, 0xff474d67, 0xfb62ec3f),
	NIBBLE(0xf329ae8f, 0xe3bf2bef, 0xc292212f, 0x80c834af),
	NIBBLE(0x047c1faf, 0x08f83f5e, 0x11f07ebc, 0x23e0fd78),
	NIBBLE(0x47c1faf0, 0x8f83f5e0, 0x1aeb9d31, 0x35d73a62),
};

uint32_t crc32c_shift(uint32_t crc_difference, size_t length)
{
	uint32_t result = 0;

	if (length == 4096) {
		for (unsigned i = 0; i < 8; i++)
			result ^= shift_cell[i][crc_difference >> (4 * i) & 15];
		return result;
	}
	result = crc_difference;
	for (uint32_t power = X_TO_8; length > 0; length >>= 1) {
		if (length & 1)
			result = multiply(result, power);
		power = multiply(power, power);
	}
	return result;
}
