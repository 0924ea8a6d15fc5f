/* SPDX-License-Identifier: BSD-2-Clause */
/* Every kernel that this processor runs gives the bytes of raid_encode(), and touches nothing beside its cells. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "raid/parity.h"
#include "raid/stream.h"
#include "tests/unit/raid/guarded.h"

static unsigned char *data[RAID_DATA_MAX], *p, *q, *expected[2];

static int setup(void **state)
{
	uint64_t seed = 0x13198a2e03707344;

	(void)state;
	for (unsigned c = 0; c < RAID_DATA_MAX; c++) {
		data[c] = guarded_new(RAID_CELL);
		random_fill(&seed, data[c], RAID_CELL);
		mprotect(data[c], RAID_CELL, PROT_READ);
	}
	p = guarded_new(RAID_CELL);
	q = guarded_new(RAID_CELL);
	expected[0] = guarded_new(RAID_CELL);
	expected[1] = guarded_new(RAID_CELL);
	return 0;
}

static void check_kernel(const struct raid_stream_kernel *kernel)
{
	const void *const *cells = (const void *const *)data;

	for (unsigned k = 2; k <= RAID_DATA_MAX; k++) {
		assert_int_equal(raid_encode(k, 2, RAID_CELL, cells, (void *const *)expected), 0);
		memset(p, 0xee, RAID_CELL);
		memset(q, 0xee, RAID_CELL);
		kernel->p_and_q(k, cells, p, q);
		assert_memory_equal(p, expected[0], RAID_CELL);
		assert_memory_equal(q, expected[1], RAID_CELL);
		memset(p, 0xee, RAID_CELL);
		kernel->p(k, cells, p);
		assert_memory_equal(p, expected[0], RAID_CELL);
	}
	kernel->copy(p, data[3]);
	assert_memory_equal(p, data[3], RAID_CELL);
	raid_stream_end();
}

static void kernels_agree_with_parity(void **state)
{
	unsigned count = 0;

	(void)state;
	for (; raid_stream_kernel_at(count) != NULL; count++) {
		check_kernel(raid_stream_kernel_at(count));
		print_message("tested: %s\n", raid_stream_kernel_at(count)->name);
	}
	assert_true(count > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(kernels_agree_with_parity),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
