/* SPDX-License-Identifier: BSD-2-Clause */
/* What writers leave is enough for the SYS segments that commits need, whatever segments can be formed of it: on disks of any sizes, without some, and when these are back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "libpool/alloc/form.h"
#include "libpool/base/error.h"

#define ROWS 64u
#define SYS_NEEDED 12u /* 700 rows, of 63 each */

struct pool {
	struct alloc *alloc;
	unsigned k, m, disks;
	uint32_t aus[12];
};

static void pool_open(struct pool *pool)
{
	struct geometry geometry = {.k = (uint8_t)pool->k, .m = (uint8_t)pool->m, .au_shift = 18, .rows = ROWS};

	assert_int_equal(alloc_new(&geometry, &pool->alloc), 0);
	for (unsigned i = 0; i < pool->disks; i++)
		assert_int_equal(alloc_disk_add(pool->alloc, i, pool->aus[i], true), 0);
	alloc_txg_begin(pool->alloc, 1);
}

/* As writers do, until nothing is left above the floors: how many segments they took. */
static unsigned fill(struct pool *pool)
{
	unsigned count = 0;
	uint32_t id;

	while (!alloc_is_scarce(pool->alloc)) {
		assert_int_equal(alloc_segment_open(pool->alloc, CLASS_HOT, &id), 0);
		count++;
	}
	return count;
}

static uint64_t floor_now(const struct pool *pool)
{
	struct space space;

	alloc_space(pool->alloc, &space);
	return space.floor_segments;
}

/* SYS segments that can still be opened with all the copies that the disks which are there allow. */
static unsigned sys_segments(struct pool *pool, unsigned usable)
{
	unsigned wanted = pool->m ? pool->m + 1 : 2, count = 0;
	uint32_t id;

	if (pool->m && usable < wanted)
		wanted = usable;
	while (alloc_segment_open(pool->alloc, CLASS_SYS, &id) == 0) {
		const struct segment_record *record = &alloc_segment(pool->alloc, id)->record;
		unsigned present = 0;
		for (unsigned c = 0; c < COLUMNS_MAX; c++)
			present += record->columns[c].disk != DISK_ABSENT;
		if (present < wanted)
			break;
		count++;
	}
	return count;
}

/* Two large disks less than a segment has columns: when the small ones are full segments are narrower, and more of them have to be left. */
static void test_small_disks(void **state)
{
	struct pool pool = {.k = 4, .m = 2, .disks = 6, .aus = {60, 60, 60, 60, 4, 4}};

	(void)state;
	pool_open(&pool);
	(void)fill(&pool);
	assert_int_equal(floor_now(&pool), 9 + 1); /* twelve of three units in such of four, and one for copies */
	assert_true(sys_segments(&pool, 6) >= SYS_NEEDED);
	alloc_free_all(pool.alloc);
}

/* A disk that went when it was full: nothing is to be had of it when it is back, and as much is left as was. */
static void test_full_and_back(void **state)
{
	struct pool pool = {.k = 4, .m = 2, .disks = 6, .aus = {60, 60, 60, 60, 60, 2}};

	(void)state;
	pool_open(&pool);
	for (unsigned i = 0; i < 2; i++) {
		uint32_t id;
		assert_int_equal(alloc_segment_open(pool.alloc, CLASS_HOT, &id), 0);
	}
	assert_int_equal(alloc_disk(pool.alloc, 5)->au_free, 0);
	alloc_disk_set_usable(pool.alloc, 5, false);
	(void)fill(&pool);
	uint64_t floor = floor_now(&pool);
	assert_int_equal(floor, 8 + 1); /* of five units */
	alloc_disk_set_usable(pool.alloc, 5, true);
	assert_int_equal(floor_now(&pool), floor);
	assert_int_equal(fill(&pool), 0);
	assert_true(sys_segments(&pool, 6) >= SYS_NEEDED);
	alloc_free_all(pool.alloc);
}

/* So much is told as room for nodes: the last segments are the narrow ones. */
static void test_room(void **state)
{
	struct pool pool = {.k = 4, .m = 2, .disks = 6, .aus = {60, 60, 60, 60, 4, 4}};

	(void)state;
	pool_open(&pool);
	struct formed formed = form_now(pool.alloc, 60, pool.aus, 6);
	assert_int_equal(formed.segments, 4 + 56);
	assert_int_equal(formed_sys(&formed, 9), 12);
	assert_int_equal(formed_sys(&formed, 60), (4 * 6 + 56 * 4) / 3);
	assert_int_equal(formed_sys(&formed, 70), (4 * 6 + 56 * 4) / 3);
	alloc_free_all(pool.alloc);
}

static unsigned draw(uint64_t *random, unsigned bound)
{
	*random = *random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (unsigned)(*random >> 33) % bound;
}

/* Some disks large, some small; up to m of them away at some time, and back at another. */
static void try(uint64_t seed)
{
	uint64_t random = seed;
	struct pool pool = {.k = 1 + draw(&random, 6), .m = draw(&random, 3)};
	unsigned away, segments;

	pool.disks = pool.k + pool.m + draw(&random, 3);
	if (pool.disks < 2)
		pool.disks = 2;
	for (unsigned i = 0; i < pool.disks; i++)
		pool.aus[i] = draw(&random, 3) ? 40 + draw(&random, 40) : 1 + draw(&random, 30);
	pool_open(&pool);
	away = pool.m ? draw(&random, pool.m + 1) : 0;
	segments = draw(&random, 40);
	for (unsigned i = 0; i < segments && !alloc_is_scarce(pool.alloc); i++) {
		uint32_t id;
		assert_int_equal(alloc_segment_open(pool.alloc, CLASS_HOT, &id), 0);
	}
	for (unsigned i = 0; i < away; i++)
		alloc_disk_set_usable(pool.alloc, i, false);
	bool had_room = fill(&pool) > 0;
	if (away && draw(&random, 2)) {
		for (unsigned i = 0; i < away; i++)
			alloc_disk_set_usable(pool.alloc, i, true);
		if (fill(&pool) > 0) { /* else they may be full: there are as many copies as without them */
			had_room = true;
			away = 0;
		}
	}
	/* What goes when nothing is above the floors takes its part of these along. */
	unsigned left = had_room ? sys_segments(&pool, pool.disks - away) : SYS_NEEDED;
	/* But for what less than a segment has room for, where units are left over. */
	if (left + (pool.k + pool.m) / (pool.m ? pool.m + 1 : 2) < SYS_NEEDED)
		fail_msg("seed %u: %u+%u on %u disks, %u away: %u SYS segments are left", (unsigned)seed, pool.k, pool.m, pool.disks, away, left);
	alloc_free_all(pool.alloc);
}

static void test_any(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 3000; seed++)
		try(seed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_small_disks), cmocka_unit_test(test_full_and_back), cmocka_unit_test(test_room), cmocka_unit_test(test_any)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
