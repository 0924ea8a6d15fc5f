/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Parity against an implementation of its own: a field by shift and add, a matrix from the formula, and for every k,
 * m and set of erased columns the reconstruction of random data between unmapped pages.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <errno.h>

#include "raid/parity.h"
#include "tests/unit/raid/guarded.h"

#define LENGTH_MAX (2 * RAID_CELL)

static unsigned char *column[RAID_COLUMNS_MAX];
static unsigned char *saved[RAID_COLUMNS_MAX];
static uint64_t seed = 0x243f6a8885a308d3;

static uint8_t slow_multiply(uint8_t a, uint8_t b)
{
	uint8_t product = 0;

	for (; b != 0; b >>= 1) {
		if (b & 1)
			product ^= a;
		a = (uint8_t)(a << 1 ^ (a & 0x80 ? 0x1d : 0));
	}
	return product;
}

static uint8_t slow_inverse(uint8_t a)
{
	for (unsigned x = 1; x < 256; x++)
		if (slow_multiply(a, (uint8_t)x) == 1)
			return (uint8_t)x;
	abort();
}

static uint8_t slow_power_of_two(unsigned exponent)
{
	uint8_t power = 1;

	while (exponent-- > 0)
		power = slow_multiply(power, 2);
	return power;
}

/* 1, 2^i, then 1 / (2^-i + 2^(j - 1)) over its own value for i = 0. */
static uint8_t formula(unsigned j, unsigned i)
{
	uint8_t term;

	if (j == 0)
		return 1;
	if (j == 1)
		return slow_power_of_two(i);
	term = slow_power_of_two(j - 1);
	return slow_multiply(slow_inverse(slow_inverse(slow_power_of_two(i)) ^ term), 1 ^ term);
}

static void slow_encode(unsigned k, unsigned m, size_t length, unsigned char *const *data,
			unsigned char *const *parity)
{
	for (unsigned j = 0; j < m; j++) {
		memset(parity[j], 0, length);
		for (unsigned i = 0; i < k; i++) {
			uint8_t product[256], coefficient = formula(j, i);

			for (unsigned x = 0; x < 256; x++)
				product[x] = slow_multiply(coefficient, (uint8_t)x);
			for (size_t b = 0; b < length; b++)
				parity[j][b] ^= product[data[i][b]];
		}
	}
}

static int setup(void **state)
{
	(void)state;
	for (unsigned c = 0; c < RAID_COLUMNS_MAX; c++) {
		column[c] = guarded_new(LENGTH_MAX);
		saved[c] = guarded_new(LENGTH_MAX);
	}
	return 0;
}

/* Random data and their parity in column[], at their ends, so that the guard follows; a copy in saved[]. */
static void make_codeword(unsigned k, unsigned m, size_t length, unsigned char **ret_columns,
			  unsigned char **ret_saved)
{
	for (unsigned c = 0; c < k + m; c++) {
		ret_columns[c] = column[c] + LENGTH_MAX - length;
		ret_saved[c] = saved[c] + LENGTH_MAX - length;
	}
	for (unsigned c = 0; c < k; c++)
		random_fill(&seed, ret_columns[c], length);
	slow_encode(k, m, length, ret_columns, ret_columns + k);
	for (unsigned c = 0; c < k + m; c++)
		memcpy(ret_saved[c], ret_columns[c], length);
}

static void matrix_is_the_published_one(void **state)
{
	static const uint8_t row_2[16] = { 1,	245, 210, 196, 154, 113, 241, 127,
					   252, 135, 193, 198, 25,  47,	 64,  85 };

	(void)state;
	for (unsigned i = 0; i < RAID_DATA_MAX; i++) {
		assert_int_equal(raid_coefficient(0, i), 1);
		assert_int_equal(raid_coefficient(1, i), slow_power_of_two(i));
		assert_int_equal(raid_coefficient(2, i), row_2[i]);
		for (unsigned j = 0; j < RAID_PARITY_MAX; j++)
			assert_int_equal(raid_coefficient(j, i), formula(j, i));
	}
	assert_int_equal(raid_coefficient(RAID_PARITY_MAX, 0), 0);
	assert_int_equal(raid_coefficient(0, RAID_DATA_MAX), 0);
}

static uint8_t determinant(unsigned size, const uint8_t *rows, const uint8_t *columns)
{
#define AT(r, c) raid_coefficient(rows[r], columns[c])
	uint8_t result = 0;

	if (size == 1)
		return AT(0, 0);
	if (size == 2)
		return slow_multiply(AT(0, 0), AT(1, 1)) ^ slow_multiply(AT(0, 1), AT(1, 0));
	for (unsigned c = 0; c < 3; c++) {
		const uint8_t others[2] = { columns[(c + 1) % 3], columns[(c + 2) % 3] };

		result ^= slow_multiply(AT(0, c), determinant(2, rows + 1, others));
	}
	return result;
#undef AT
}

static void every_square_submatrix_is_regular(void **state)
{
	unsigned count = 0;

	(void)state;
	for (unsigned row_mask = 1; row_mask < 1u << RAID_PARITY_MAX; row_mask++) {
		for (unsigned column_mask = 1; column_mask < 1u << RAID_DATA_MAX; column_mask++) {
			uint8_t rows[RAID_PARITY_MAX], columns[RAID_PARITY_MAX];
			unsigned size = 0, columns_found = 0;

			if (__builtin_popcount(row_mask) != __builtin_popcount(column_mask))
				continue;
			for (unsigned i = 0; i < RAID_PARITY_MAX; i++)
				if (row_mask >> i & 1)
					rows[size++] = (uint8_t)i;
			for (unsigned i = 0; i < RAID_DATA_MAX; i++)
				if (column_mask >> i & 1)
					columns[columns_found++] = (uint8_t)i;
			assert_int_not_equal(determinant(size, rows, columns), 0);
			count++;
		}
	}
	/* 3 rows: 3 * 16 of one, 3 * 120 of two, 560 of three */
	assert_int_equal(count, 3 * 16 + 3 * 120 + 560);
}

static void encode_matches_the_slow_one(void **state)
{
	(void)state;
	for (unsigned k = 1; k <= RAID_DATA_MAX; k++) {
		for (unsigned m = 0; m <= RAID_PARITY_MAX; m++) {
			for (size_t length = RAID_CELL; length <= LENGTH_MAX; length += RAID_CELL) {
				unsigned char *columns[RAID_COLUMNS_MAX], *copies[RAID_COLUMNS_MAX];

				make_codeword(k, m, length, columns, copies);
				for (unsigned j = 0; j < m; j++)
					memset(columns[k + j], 0xa5, length);
				assert_int_equal(raid_encode(k, m, length, (const void *const *)columns,
							     (void *const *)columns + k),
						 0);
				for (unsigned c = 0; c < k + m; c++)
					assert_memory_equal(columns[c], copies[c], length);
				assert_true(raid_verify(k, m, length, (const void *const *)columns));
			}
		}
	}
}

static uint32_t slow_sources(unsigned k, unsigned m, uint32_t erased)
{
	uint32_t sources = 0;

	for (unsigned c = 0, found = 0; c < k + m && found < k; c++) {
		if (erased >> c & 1)
			continue;
		sources |= 1u << c;
		found++;
	}
	return sources;
}

/* Erase `erased`, reconstruct `wanted`; nothing else may change, and no other column may be needed. */
static void check_erasure(unsigned k, unsigned m, uint32_t erased, uint32_t wanted, unsigned char **columns,
			  unsigned char **copies)
{
	uint32_t sources = raid_decode_sources(k, m, erased);
	void *pointers[RAID_COLUMNS_MAX];

	assert_int_equal(sources, slow_sources(k, m, erased));
	for (unsigned c = 0; c < k + m; c++) {
		bool needed = (sources | wanted) >> c & 1;

		pointers[c] = needed ? columns[c] : NULL;
		if (erased >> c & 1)
			memset(columns[c], 0x5a ^ (int)c, RAID_CELL);
	}
	if (wanted == erased)
		assert_int_equal(raid_decode(k, m, RAID_CELL, erased, pointers), 0);
	else
		assert_int_equal(raid_decode_subset(k, m, RAID_CELL, erased, wanted, pointers), 0);
	for (unsigned c = 0; c < k + m; c++) {
		if (erased & ~wanted & 1u << c) {
			for (size_t b = 0; b < RAID_CELL; b++)
				assert_int_equal(columns[c][b], 0x5a ^ c);
			memcpy(columns[c], copies[c], RAID_CELL);
		}
		assert_memory_equal(columns[c], copies[c], RAID_CELL);
	}
}

static void every_erasure_of_every_profile(void **state)
{
	unsigned long patterns = 0;

	(void)state;
	for (unsigned k = 1; k <= RAID_DATA_MAX; k++) {
		for (unsigned m = 0; m <= RAID_PARITY_MAX; m++) {
			unsigned char *columns[RAID_COLUMNS_MAX], *copies[RAID_COLUMNS_MAX];

			make_codeword(k, m, RAID_CELL, columns, copies);
			for (uint32_t erased = 0; erased < 1u << (k + m); erased++) {
				if ((unsigned)__builtin_popcount(erased) > m)
					continue;
				check_erasure(k, m, erased, erased, columns, copies);
				/* every proper subset of the erased columns, the empty one too */
				for (uint32_t wanted = erased; wanted != 0;) {
					wanted = (wanted - 1) & erased;
					check_erasure(k, m, erased, wanted, columns, copies);
				}
				patterns++;
			}
		}
	}
	print_message("%lu patterns of erasure\n", patterns);
}

static void decoding_longer_buffers(void **state)
{
	unsigned char *columns[RAID_COLUMNS_MAX], *copies[RAID_COLUMNS_MAX];

	(void)state;
	make_codeword(5, 3, LENGTH_MAX, columns, copies);
	for (unsigned c = 2; c < 5; c++)
		memset(columns[c], 0, LENGTH_MAX);
	assert_int_equal(raid_decode(5, 3, LENGTH_MAX, 7u << 2, (void *const *)columns), 0);
	for (unsigned c = 0; c < 8; c++)
		assert_memory_equal(columns[c], copies[c], LENGTH_MAX);
}

static void verify_sees_every_column_and_piece(void **state)
{
	(void)state;
	for (unsigned k = 1; k <= RAID_DATA_MAX; k++) {
		for (unsigned m = 1; m <= RAID_PARITY_MAX; m++) {
			unsigned char *columns[RAID_COLUMNS_MAX], *copies[RAID_COLUMNS_MAX];

			make_codeword(k, m, LENGTH_MAX, columns, copies);
			assert_true(raid_verify(k, m, LENGTH_MAX, (const void *const *)columns));
			for (unsigned c = 0; c < k + m; c++) {
				for (size_t byte = c; byte < LENGTH_MAX; byte += 511) {
					columns[c][byte] ^= 0x10;
					assert_false(raid_verify(k, m, LENGTH_MAX, (const void *const *)columns));
					columns[c][byte] ^= 0x10;
				}
			}
			columns[k + m - 1][LENGTH_MAX - 1] ^= 1;
			assert_false(raid_verify(k, m, LENGTH_MAX, (const void *const *)columns));
		}
	}
}

static int encode_with(unsigned k, unsigned m, size_t length, unsigned char **columns)
{
	return raid_encode(k, m, length, (const void *const *)columns, (void *const *)columns + k);
}

static void refuses_what_is_invalid(void **state)
{
	unsigned char *columns[RAID_COLUMNS_MAX + 1] = { NULL }, *copies[RAID_COLUMNS_MAX];
	const unsigned k = 4, m = 2;

	(void)state;
	make_codeword(k, m, RAID_CELL, columns, copies);
	assert_int_equal(encode_with(0, m, RAID_CELL, columns), -EINVAL);
	assert_int_equal(encode_with(RAID_DATA_MAX + 1, 0, RAID_CELL, columns), -EINVAL);
	assert_int_equal(encode_with(k, RAID_PARITY_MAX + 1, RAID_CELL, columns), -EINVAL);
	assert_int_equal(encode_with(k, m, 0, columns), 0);
	assert_int_equal(raid_decode(k, m, 0, 1, (void *const *)columns), 0);
	assert_true(raid_verify(k, m, 0, (const void *const *)columns));
	static const size_t lengths[] = { 1, 63, 64, 512, 4095, 4097, 6144, RAID_LENGTH_MAX + RAID_CELL, SIZE_MAX };

	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		assert_int_equal(encode_with(k, m, lengths[i], columns), -EINVAL);
		assert_int_equal(raid_decode(k, m, lengths[i], 1, (void *const *)columns), -EINVAL);
		assert_false(raid_verify(k, m, lengths[i], (const void *const *)columns));
	}

	for (unsigned c = 0; c < k + m; c++) {
		static const unsigned skips[] = { 1, 8, 16, 32, 63 };
		unsigned char *right = columns[c];

		for (size_t s = 0; s <= sizeof(skips) / sizeof(skips[0]); s++) {
			columns[c] = s < sizeof(skips) / sizeof(skips[0]) ? right + skips[s] : NULL;
			assert_int_equal(encode_with(k, m, RAID_CELL, columns), -EINVAL);
			assert_false(raid_verify(k, m, RAID_CELL, (const void *const *)columns));
			assert_int_equal(raid_decode(k, m, RAID_CELL, 1u << c, (void *const *)columns), -EINVAL);
			if (c < k)
				assert_int_equal(raid_decode(k, m, RAID_CELL, 1u << (k + 1), (void *const *)columns),
						 -EINVAL);
		}
		columns[c] = right;
	}

	assert_int_equal(raid_decode(k, m, RAID_CELL, 7, (void *const *)columns), -EINVAL);
	assert_int_equal(raid_decode(k, m, RAID_CELL, 1u << (k + m), (void *const *)columns), -EINVAL);
	assert_int_equal(raid_decode_subset(k, m, RAID_CELL, 3, 4, (void *const *)columns), -EINVAL);
	assert_int_equal(raid_decode_sources(k, m, 7), 0);
	assert_int_equal(raid_decode_sources(0, m, 0), 0);
	assert_int_equal(raid_decode_sources(k, RAID_PARITY_MAX + 1, 0), 0);
	for (unsigned c = 0; c < k + m; c++)
		assert_memory_equal(columns[c], copies[c], RAID_CELL);
}

/* Sources are never written: they may be in memory that is mapped for reading only. */
static void sources_are_only_read(void **state)
{
	unsigned char *columns[RAID_COLUMNS_MAX], *copies[RAID_COLUMNS_MAX];

	(void)state;
	make_codeword(6, 3, LENGTH_MAX, columns, copies);
	for (unsigned c = 0; c < 6; c++)
		mprotect(columns[c], LENGTH_MAX, PROT_READ);
	assert_int_equal(encode_with(6, 3, LENGTH_MAX, columns), 0);
	for (unsigned m = 0; m < 3; m++)
		mprotect(columns[6 + m], LENGTH_MAX, PROT_READ);
	mprotect(columns[1], LENGTH_MAX, PROT_READ | PROT_WRITE);
	mprotect(columns[4], LENGTH_MAX, PROT_READ | PROT_WRITE);
	memset(columns[1], 0, LENGTH_MAX);
	memset(columns[4], 0, LENGTH_MAX);
	assert_int_equal(raid_decode(6, 3, LENGTH_MAX, 1u << 1 | 1u << 4, (void *const *)columns), 0);
	for (unsigned c = 0; c < 9; c++) {
		assert_memory_equal(columns[c], copies[c], LENGTH_MAX);
		mprotect(columns[c], LENGTH_MAX, PROT_READ | PROT_WRITE);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(matrix_is_the_published_one),
		cmocka_unit_test(every_square_submatrix_is_regular),
		cmocka_unit_test(encode_matches_the_slow_one),
		cmocka_unit_test(every_erasure_of_every_profile),
		cmocka_unit_test(decoding_longer_buffers),
		cmocka_unit_test(verify_sees_every_column_and_piece),
		cmocka_unit_test(refuses_what_is_invalid),
		cmocka_unit_test(sources_are_only_read),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
