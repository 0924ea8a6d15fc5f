/* SPDX-License-Identifier: BSD-2-Clause */
/* The fused pass gives, bit for bit, what separate passes of parity, CRC and copy give, and touches nothing else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "checksum/crc32c.h"
#include "raid/fused.h"
#include "tests/unit/raid/guarded.h"

#define ROWS_MAX 45 /* with k >= 3 more than a piece of the pass, and not a multiple of one */

static uint64_t random_state = 0x452821e638d01377;
static unsigned char *data_area, *copy_area, *parity_area[RAID_PARITY_MAX], *expected_area;

static int setup(void **state)
{
	(void)state;
	data_area = guarded_new(RAID_DATA_MAX * ROWS_MAX * RAID_CELL);
	copy_area = guarded_new(RAID_DATA_MAX * ROWS_MAX * RAID_CELL);
	expected_area = guarded_new(RAID_PARITY_MAX * RAID_CELL);
	for (unsigned j = 0; j < RAID_PARITY_MAX; j++)
		parity_area[j] = guarded_new(ROWS_MAX * RAID_CELL);
	return 0;
}

/* A place for each cell, in another order than that of the stripe and each used once: 13 has no factor in common with
 * a count that isn't its multiple. */
static size_t scattered(size_t index, size_t count)
{
	return count % 13 == 0 ? count - 1 - index : index * 13 % count;
}

static void check_row(const struct raid_fused_stripe *stripe, size_t row)
{
	void *expected[RAID_PARITY_MAX];
	const void *data[RAID_DATA_MAX];

	for (unsigned c = 0; c < stripe->k; c++) {
		uint32_t seed = crc32c_cell_seed(stripe->segment, (uint16_t)c, (uint16_t)(stripe->row_base + row));

		data[c] = stripe->cells[c * stripe->rows + row];
		assert_int_equal(stripe->data_crc[row * stripe->k + c], crc32c(seed, data[c], RAID_CELL));
		if (stripe->copy != NULL)
			assert_memory_equal(stripe->copy[c * stripe->rows + row], data[c], RAID_CELL);
	}
	for (unsigned j = 0; j < stripe->m; j++)
		expected[j] = expected_area + j * RAID_CELL;
	assert_int_equal(raid_encode(stripe->k, stripe->m, RAID_CELL, data, expected), 0);
	for (unsigned j = 0; j < stripe->m; j++) {
		uint32_t seed = crc32c_cell_seed(stripe->segment, (uint16_t)(stripe->k + j),
						 (uint16_t)(stripe->row_base + row));

		assert_memory_equal((char *)stripe->parity[j] + row * RAID_CELL, expected[j], RAID_CELL);
		assert_int_equal(stripe->parity_crc[row * stripe->m + j], crc32c(seed, expected[j], RAID_CELL));
	}
}

static void check_untouched(const struct raid_fused_stripe *stripe, size_t row)
{
	for (unsigned c = 0; c < stripe->k; c++)
		assert_int_equal(stripe->data_crc[row * stripe->k + c], 0xdddddddd);
	for (unsigned j = 0; j < stripe->m; j++) {
		assert_int_equal(stripe->parity_crc[row * stripe->m + j], 0xdddddddd);
		for (size_t b = 0; b < RAID_CELL; b++)
			assert_int_equal(((unsigned char *)stripe->parity[j])[row * RAID_CELL + b], 0xdd);
	}
}

static void check_shape(unsigned k, unsigned m, size_t rows, bool with_copy, size_t first, size_t count)
{
	static const void *cells[RAID_DATA_MAX * ROWS_MAX];
	static void *copies[RAID_DATA_MAX * ROWS_MAX];
	static uint32_t data_crc[RAID_DATA_MAX * ROWS_MAX], parity_crc[RAID_PARITY_MAX * ROWS_MAX];
	struct raid_fused_stripe stripe = {
		.k = k,
		.m = m,
		.rows = rows,
		.cells = cells,
		.copy = with_copy ? copies : NULL,
		.parity = m > 0 ? (void *const *)parity_area : NULL,
		.data_crc = data_crc,
		.parity_crc = m > 0 ? parity_crc : NULL,
		.segment = (uint32_t)random_next(&random_state),
		.row_base = (uint16_t)(random_next(&random_state) % 4096),
	};

	for (size_t i = 0; i < k * rows; i++) {
		cells[i] = data_area + scattered(i, k * rows) * RAID_CELL;
		copies[i] = copy_area + scattered(k * rows - 1 - i, k * rows) * RAID_CELL;
	}
	memset(data_crc, 0xdd, sizeof(data_crc));
	memset(parity_crc, 0xdd, sizeof(parity_crc));
	for (unsigned j = 0; j < m; j++)
		memset(parity_area[j], 0xdd, ROWS_MAX * RAID_CELL);
	memset(copy_area, 0xdd, k * rows * RAID_CELL);

	raid_fused_encode(&stripe, first, count);
	for (size_t row = 0; row < rows; row++)
		if (row >= first && row < first + count)
			check_row(&stripe, row);
		else
			check_untouched(&stripe, row);
}

static void every_profile(void **state)
{
	static const size_t rows[] = { 1, 2, 3, 9, ROWS_MAX };

	(void)state;
	random_fill(&random_state, data_area, RAID_DATA_MAX * ROWS_MAX * RAID_CELL);
	for (unsigned k = 1; k <= RAID_DATA_MAX; k++)
		for (unsigned m = 0; m <= RAID_PARITY_MAX; m++)
			for (size_t r = 0; r < sizeof(rows) / sizeof(rows[0]); r++)
				for (unsigned copy = 0; copy < 2; copy++)
					check_shape(k, m, rows[r], copy, 0, rows[r]);
}

static void parts_of_a_stripe(void **state)
{
	(void)state;
	random_fill(&random_state, data_area, RAID_DATA_MAX * ROWS_MAX * RAID_CELL);
	for (size_t first = 0; first <= 9; first++)
		for (size_t count = 0; first + count <= 9; count++) {
			check_shape(1, 2, 9, true, first, count);
			check_shape(4, 2, 9, false, first, count);
			check_shape(5, 3, 9, true, first, count);
			check_shape(6, 0, 9, false, first, count);
		}
	check_shape(16, 3, ROWS_MAX, true, 3, 33);
}

/* All zeros and all ones, where a mistake in an initial value or a complement can't hide behind the data. */
static void constant_data(void **state)
{
	(void)state;
	for (unsigned value = 0; value < 256; value += 255) {
		memset(data_area, (int)value, RAID_DATA_MAX * ROWS_MAX * RAID_CELL);
		for (unsigned k = 1; k <= RAID_DATA_MAX; k++)
			for (unsigned m = 1; m <= RAID_PARITY_MAX; m++)
				check_shape(k, m, 3, false, 0, 3);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_profile),
		cmocka_unit_test(parts_of_a_stripe),
		cmocka_unit_test(constant_data),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
