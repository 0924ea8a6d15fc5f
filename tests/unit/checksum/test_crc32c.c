/* SPDX-License-Identifier: BSD-2-Clause */
/* CRC-32C against known answers and a bit by bit computation, and the linearity that the mirrors rely on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "checksum/crc32c.h"

static uint32_t crc_bit_by_bit(uint32_t init, const unsigned char *data, size_t length)
{
	uint32_t state = ~init;

	for (size_t i = 0; i < length; i++) {
		state ^= data[i];
		for (int bit = 0; bit < 8; bit++)
			state = state & 1 ? state >> 1 ^ 0x82f63b78 : state >> 1;
	}
	return ~state;
}

static uint64_t random_state = 0x9e3779b97f4a7c15;

static uint64_t random_next(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

static void fill_random(unsigned char *data, size_t length)
{
	for (size_t i = 0; i < length; i++)
		data[i] = (unsigned char)(random_next() >> 32);
}

/* RFC 3720, B.4, with the bytes of its CRCs read as little-endian numbers. */
static void known_answers(void **state)
{
	unsigned char data[32];

	(void)state;
	assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283);
	assert_int_equal(crc32c(0, NULL, 0), 0);
	assert_int_equal(crc32c(0x12345678, NULL, 0), 0x12345678);
	memset(data, 0, 32);
	assert_int_equal(crc32c(0, data, 32), 0x8a9136aa);
	memset(data, 0xff, 32);
	assert_int_equal(crc32c(0, data, 32), 0x62a8ab43);
	for (unsigned i = 0; i < 32; i++)
		data[i] = (unsigned char)i;
	assert_int_equal(crc32c(0, data, 32), 0x46dd794e);
	for (unsigned i = 0; i < 32; i++)
		data[i] = (unsigned char)(31 - i);
	assert_int_equal(crc32c(0, data, 32), 0x113fdb5c);
}

static void every_length_and_alignment(void **state)
{
	unsigned char *data;

	(void)state;
	for (size_t length = 0; length <= 1100; length++) {
		/* exactly as long as it is, so that the sanitizer or valgrind sees a byte too many */
		size_t skip = length % 17;

		data = malloc(length + skip + 1);
		fill_random(data, length + skip);
		uint32_t init = (uint32_t)random_next();
		assert_int_equal(crc32c(init, data + skip, length), crc_bit_by_bit(init, data + skip, length));
		free(data);
	}
	for (size_t length = 4095; length <= 70000; length += 3011) {
		data = malloc(length);
		fill_random(data, length);
		assert_int_equal(crc32c(7, data, length), crc_bit_by_bit(7, data, length));
		free(data);
	}
}

static void chains(void **state)
{
	unsigned char data[9000];
	uint32_t whole;

	(void)state;
	fill_random(data, sizeof(data));
	whole = crc32c(5, data, sizeof(data));
	for (size_t split = 0; split <= sizeof(data); split += 13)
		assert_int_equal(crc32c(crc32c(5, data, split), data + split, sizeof(data) - split), whole);
}

static void cell_seed_is_the_crc_of_the_place(void **state)
{
	const unsigned char place[8] = { 0x78, 0x56, 0x34, 0x12, 0xbc, 0x9a, 0xf0, 0xde };

	(void)state;
	assert_int_equal(crc32c_cell_seed(0x12345678, 0x9abc, 0xdef0), crc_bit_by_bit(0, place, 8));
	for (unsigned repeat = 0; repeat < 1000; repeat++) {
		uint64_t number = random_next();
		unsigned char bytes[8];

		for (unsigned i = 0; i < 8; i++)
			bytes[i] = (unsigned char)(number >> (8 * i));
		assert_int_equal(crc32c_cell_seed((uint32_t)number, (uint16_t)(number >> 32), (uint16_t)(number >> 48)),
				 crc_bit_by_bit(0, bytes, 8));
	}
	assert_int_equal(crc32c_cell_seed(0, 0, 0), crc_bit_by_bit(0, (const unsigned char[8]){ 0 }, 8));
}

static void shift_moves_a_difference_past_the_data(void **state)
{
	static const size_t lengths[] = { 0, 1, 2, 3, 7, 8, 64, 511, 4095, 4096, 4097, 8192, 65536 };
	unsigned char *data = malloc(65536);

	(void)state;
	fill_random(data, 65536);
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		for (unsigned repeat = 0; repeat < 40; repeat++) {
			uint32_t a = repeat < 32 ? 1u << repeat : (uint32_t)random_next();
			uint32_t b = repeat < 32 ? 0 : (uint32_t)random_next();

			assert_int_equal(crc32c(b, data, lengths[i]),
					 crc32c(a, data, lengths[i]) ^ crc32c_shift(a ^ b, lengths[i]));
		}
	}
	free(data);
}

static void shift_is_linear_and_composes(void **state)
{
	(void)state;
	for (unsigned repeat = 0; repeat < 1000; repeat++) {
		uint32_t a = (uint32_t)random_next(), b = (uint32_t)random_next();
		size_t m = random_next() % 100000, n = random_next() % 100000;

		assert_int_equal(crc32c_shift(a ^ b, n), crc32c_shift(a, n) ^ crc32c_shift(b, n));
		assert_int_equal(crc32c_shift(a ^ b, 4096), crc32c_shift(a, 4096) ^ crc32c_shift(b, 4096));
		assert_int_equal(crc32c_shift(crc32c_shift(a, m), n), crc32c_shift(a, m + n));
		assert_int_equal(crc32c_shift(crc32c_shift(a, 2048), 2048), crc32c_shift(a, 4096));
	}
	assert_int_equal(crc32c_shift(0, 4096), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(known_answers),
		cmocka_unit_test(every_length_and_alignment),
		cmocka_unit_test(chains),
		cmocka_unit_test(cell_seed_is_the_crc_of_the_place),
		cmocka_unit_test(shift_moves_a_difference_past_the_data),
		cmocka_unit_test(shift_is_linear_and_composes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
