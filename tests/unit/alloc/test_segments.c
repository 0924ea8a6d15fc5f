/* Which disks new segments get, and when AUs and ids come back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "libpool/alloc/alloc.h"
#include "libpool/base/error.h"

static struct alloc *new_alloc(unsigned k, unsigned m, unsigned disks, const uint32_t *aus)
{
	struct geometry geometry = {.k = (uint8_t)k, .m = (uint8_t)m, .au_shift = 18, .rows = 64};
	struct alloc *alloc;

	assert_int_equal(alloc_new(&geometry, &alloc), 0);
	for (unsigned i = 0; i < disks; i++)
		assert_int_equal(alloc_disk_add(alloc, i, aus[i], true), 0);
	return alloc;
}

/* A commit in which nothing was placed; its final batch lies in the given rows of a SYS segment. */
static void commit(struct alloc *alloc, uint32_t sys, uint16_t base)
{
	struct dva dva = {sys, base, 3, 2};
	struct block_pointer summary = {.dva = dva_pack(dva), .place = 1, .birth = 1, .lsect = 1, .psect = 1, .type = TYPE_SUMMARY, .fill = 1};
	struct final_batch final = {.segment = sys, .base = base, .rows = 3};
	struct array bytes;

	array_init(&bytes, 1);
	assert_int_equal(alloc_txg_take_records(alloc, true, &bytes), 0);
	array_release(&bytes);
	block_pointer_encode(&summary, &final.summary);
	alloc_txg_commit(alloc, &final, &summary);
}

static uint32_t open_sys(struct alloc *alloc)
{
	uint32_t sys;

	assert_int_equal(alloc_segment_open(alloc, CLASS_SYS, &sys), 0);
	return sys;
}

static uint16_t sys_rows(struct alloc *alloc, uint32_t sys, unsigned rows)
{
	uint16_t row;

	assert_int_equal(alloc_sys_take_in(alloc, sys, rows, &row), 0);
	return row;
}

/* ---- equal disks ---- */

static void test_every_pair(void **state)
{
	uint32_t aus[12], shared[12][12] = {{0}}, parity[12] = {0};
	struct alloc *alloc;

	(void)state;
	for (unsigned i = 0; i < 12; i++)
		aus[i] = 1000;
	alloc = new_alloc(4, 2, 12, aus);
	alloc_txg_begin(alloc, 1);
	for (unsigned i = 0; i < 600; i++) {
		uint32_t id;
		assert_int_equal(alloc_segment_open(alloc, CLASS_HOT, &id), 0);
		const struct segment_record *record = &alloc_segment(alloc, id)->record;
		for (unsigned a = 0; a < 6; a++) {
			parity[record->columns[a].disk] += a >= 4;
			for (unsigned b = 0; b < 6; b++) {
				assert_true(a == b || record->columns[a].disk != record->columns[b].disk);
				shared[record->columns[a].disk][record->columns[b].disk]++;
			}
		}
	}
	/* 600 segments of 6 columns: 300 on each disk, of which each other disk shares about 136. */
	for (unsigned a = 0; a < 12; a++) {
		assert_in_range(alloc_disk(alloc, a)->au_free, 690, 710);
		assert_in_range(parity[a], 60, 140);
		for (unsigned b = 0; b < 12; b++)
			assert_true(a == b || (shared[a][b] > 80 && shared[a][b] < 200));
	}
	alloc_free_all(alloc);
}

/* ---- disks of different sizes fill at the same time ---- */

static void test_sizes(void **state)
{
	const uint32_t aus[] = {100, 200, 300, 300, 300};
	struct alloc *alloc = new_alloc(2, 1, 5, aus);
	unsigned full = 0, narrow = 0;
	uint32_t id;

	(void)state;
	alloc_txg_begin(alloc, 1);
	while (alloc_segment_open(alloc, CLASS_HOT, &id) == 0) {
		const struct segment_record *record = &alloc_segment(alloc, id)->record;
		full += record->k == 2;
		narrow += record->k != 2;
	}
	assert_int_equal(full, 400); /* all 1200 AUs */
	assert_int_equal(narrow, 0);
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(alloc_disk(alloc, i)->au_free, 0);
	alloc_free_all(alloc);
}

/* ---- fewer disks than columns ---- */

static void test_narrow(void **state)
{
	const uint32_t aus[] = {100, 100, 100, 100, 100, 100};
	struct alloc *alloc = new_alloc(4, 2, 6, aus);
	const struct segment_record *record;
	uint32_t id;

	(void)state;
	alloc_txg_begin(alloc, 1);
	for (unsigned left = 5; left >= 1; left--) {
		alloc_disk_set_usable(alloc, left, false);
		assert_int_equal(alloc_segment_open(alloc, CLASS_HOT, &id), 0);
		record = &alloc_segment(alloc, id)->record;
		assert_int_equal(record->k, left > 2 ? left - 2 : 1);
		assert_int_equal(record->m, 2);
		assert_int_equal(!!(record->flags & SEGMENT_DEGRADED), left < 3);
		unsigned present = 0;
		for (unsigned c = 0; c < COLUMNS_MAX; c++)
			present += record->columns[c].disk != DISK_ABSENT;
		assert_int_equal(present, left);
	}
	alloc_disk_set_usable(alloc, 0, false);
	assert_int_equal(alloc_segment_open(alloc, CLASS_HOT, &id), -ENOSPC);
	alloc_free_all(alloc);
}

/* A disk goes while more is promised than narrower segments take: then they keep their width, and a parity column is absent. */
static void test_promised(void **state)
{
	const uint32_t aus[] = {200, 200, 200, 200};
	struct alloc *alloc = new_alloc(2, 2, 4, aus);
	const struct segment_record *record;
	struct space space;
	uint32_t id;

	(void)state;
	alloc_txg_begin(alloc, 1);
	alloc_space(alloc, &space);
	alloc_set_promised(alloc, space.whole_cells);
	alloc_disk_set_usable(alloc, 1, false);
	assert_int_equal(alloc_disks_lost(alloc), 1);
	assert_false(alloc_promises_fit(alloc));
	uint64_t placed = 0;
	while (placed < space.whole_cells) {
		assert_int_equal(alloc_segment_open(alloc, CLASS_HOT, &id), 0);
		record = &alloc_segment(alloc, id)->record;
		assert_int_equal(record->k, 2);
		assert_true(record->flags & SEGMENT_DEGRADED && record->columns[0].disk != DISK_ABSENT && record->columns[1].disk != DISK_ABSENT);
		assert_int_equal(record->columns[3].disk, DISK_ABSENT);
		placed += 2 * (alloc_geometry(alloc)->rows - 1u);
	}
	alloc_set_promised(alloc, 0);
	assert_false(alloc_is_short(alloc));
	alloc_free_all(alloc);

	/* Disks that are full aren't away: no redundancy is given up for them. */
	const uint32_t unequal[] = {20, 30, 100, 100};
	alloc = new_alloc(2, 2, 4, unequal);
	alloc_txg_begin(alloc, 1);
	alloc_set_promised(alloc, UINT32_MAX);
	while (alloc_segment_open(alloc, CLASS_HOT, &id) == 0) {
		record = &alloc_segment(alloc, id)->record;
		if (record->columns[2].disk != DISK_ABSENT)
			assert_false(record->flags & SEGMENT_DEGRADED);
		assert_int_equal(record->k, record->columns[3].disk == DISK_ABSENT ? 1 : 2);
	}
	alloc_free_all(alloc);
}

static const struct segment_record *opened(struct alloc *alloc, enum segment_class class)
{
	uint32_t id;

	assert_int_equal(alloc_segment_open(alloc, class, &id), 0);
	return &alloc_segment(alloc, id)->record;
}

/* Without a disk: narrow while there is plenty, all data columns and a parity column absent when segments are scarce; and so much is promised. */
static void test_scarce(void **state)
{
	const uint32_t aus[] = {400, 400, 400, 400, 400, 400};
	struct alloc *alloc = new_alloc(4, 2, 6, aus);
	unsigned narrow = 0, lacking = 0;
	uint64_t placed = 0, copies, writers;
	struct space space, now;

	(void)state;
	alloc_txg_begin(alloc, 1);
	alloc_disk_set_usable(alloc, 5, false);
	alloc_space(alloc, &space);
	assert_false(alloc_new_ones_lack(alloc));
	while (!alloc_is_scarce(alloc)) {
		alloc_space(alloc, &now);
		bool plenty = now.free_segments - now.floor_segments > 16;
		assert_int_equal(alloc_new_ones_lack(alloc), !plenty);
		const struct segment_record *record = opened(alloc, CLASS_HOT);
		assert_int_equal(record->k, plenty ? 3 : 4);
		assert_int_equal(!!(record->flags & SEGMENT_DEGRADED), !plenty);
		for (unsigned c = 0; c < 5; c++)
			assert_int_not_equal(record->columns[c].disk, DISK_ABSENT);
		placed += record->k * 63u;
		*(plenty ? &narrow : &lacking) += 1;
	}
	assert_true(narrow > 100 && lacking == 16);
	assert_int_equal(placed, space.whole_cells);
	copies = alloc_copy_cells(alloc, &writers);
	assert_int_equal(copies, 6 * 4 * 63);
	assert_int_equal(opened(alloc, CLASS_SURV)->k, 4);

	/* Where full redundancy is asked for, copies have it or aren't made. */
	alloc_set_lacking_promised(alloc, false);
	assert_false(alloc_new_ones_lack(alloc));
	assert_int_equal(alloc_copy_cells(alloc, &writers), 5 * 3 * 63);
	alloc_set_promised(alloc, 1000);
	assert_int_equal(opened(alloc, CLASS_SURV)->k, 3);
	assert_int_equal(opened(alloc, CLASS_HOT)->k, 4); /* which was promised */
	alloc_free_all(alloc);
}

/* A disk that goes when it is full is full when it is back, and then segments are narrower. */
static void test_scarce_and_full(void **state)
{
	const uint32_t aus[] = {100, 100, 100, 100, 100, 2};
	struct alloc *alloc = new_alloc(4, 2, 6, aus);
	struct space space;

	(void)state;
	alloc_txg_begin(alloc, 1);
	alloc_disk_set_usable(alloc, 5, false);
	do {
		(void)opened(alloc, CLASS_HOT);
		alloc_space(alloc, &space);
	} while (space.free_segments - space.floor_segments > space.plenty_segments);
	alloc_set_promised(alloc, space.whole_cells);
	alloc_disk_set_usable(alloc, 5, true);
	assert_true(alloc_promises_fit(alloc));
	alloc_set_promised(alloc, space.whole_cells + 2 * 63);
	assert_false(alloc_promises_fit(alloc));
	alloc_free_all(alloc);
}

/* Writers leave some to copies, and these leave to commits what they can't do without. */
static void test_copies(void **state)
{
	const uint32_t aus[] = {256, 256, 256, 256};
	struct alloc *alloc = new_alloc(2, 2, 4, aus);
	uint64_t cells = 2 * (alloc_geometry(alloc)->rows - 1u), copies, writers;
	struct space space;
	uint32_t id;

	(void)state;
	alloc_txg_begin(alloc, 1);
	alloc_space(alloc, &space);
	assert_int_equal(space.copy_segments, 4);
	while (!alloc_is_scarce(alloc))
		assert_int_equal(alloc_segment_open(alloc, CLASS_HOT, &id), 0);
	copies = alloc_copy_cells(alloc, &writers);
	assert_int_equal(writers, 0);
	assert_int_equal(copies, 4 * cells);
	while (alloc_copy_cells(alloc, &writers) > 0)
		assert_int_equal(alloc_segment_open(alloc, CLASS_SURV, &id), 0);
	assert_int_equal(alloc_copy_segments_cells(alloc), 4 * cells);
	alloc_space(alloc, &space);
	assert_int_equal(space.copy_cells, 0);
	assert_int_equal(space.free_segments + space.copy_segments, space.floor_segments);
	alloc_free_all(alloc);
}

/* ---- one disk ---- */

static void test_one_disk(void **state)
{
	const uint32_t aus[] = {100};
	struct alloc *alloc = new_alloc(1, 0, 1, aus);
	uint32_t id;

	(void)state;
	alloc_txg_begin(alloc, 1);
	assert_int_equal(alloc_segment_open(alloc, CLASS_META, &id), 0);
	const struct segment_record *record = &alloc_segment(alloc, id)->record;
	assert_int_equal(record->k + record->m, 2);
	assert_int_equal(record->columns[0].disk, 0);
	assert_int_equal(record->columns[1].disk, 0);
	assert_true(record->columns[1].au >= 50 && record->columns[0].au < 50);
	assert_int_equal(alloc_segment_open(alloc, CLASS_HOT, &id), 0);
	assert_int_equal(alloc_segment(alloc, id)->record.m, 0);
	alloc_free_all(alloc);
}

/* ---- the reuse rule, counted in commits ---- */

static void test_reuse(void **state)
{
	const uint32_t aus[] = {100, 100, 100};
	struct alloc *alloc = new_alloc(2, 1, 3, aus);
	uint32_t sys, id, other;

	(void)state;
	alloc_txg_begin(alloc, 5);
	sys = open_sys(alloc);
	assert_int_equal(alloc_segment_open(alloc, CLASS_HOT, &id), 0);
	uint32_t free_before = alloc_disk(alloc, 0)->au_free;
	alloc_segment_close(alloc, id); /* nothing was ever placed in it: dead with this commit */
	commit(alloc, sys, sys_rows(alloc, sys, 3));
	assert_true(alloc_segment(alloc, id)->released);
	for (unsigned later = 1; later <= 2; later++) {
		assert_int_equal(alloc_disk(alloc, 0)->au_free, free_before);
		alloc_txg_begin(alloc, 5 + 70 * later); /* commits count, numbers don't */
		assert_int_equal(alloc_segment_open(alloc, CLASS_HOT, &other), 0);
		assert_int_not_equal(other, id);
		free_before--;
		commit(alloc, sys, sys_rows(alloc, sys, 3));
	}
	assert_int_equal(alloc_disk(alloc, 0)->au_free, free_before + 1);
	alloc_txg_begin(alloc, 200);
	assert_int_equal(alloc_segment_open(alloc, CLASS_SYS, &other), 0); /* the sysmap doesn't say which life is meant */
	assert_int_not_equal(other, id);
	assert_int_equal(alloc_segment_open(alloc, CLASS_HOT, &other), 0);
	assert_int_equal(other, id);
	assert_int_equal(alloc_segment(alloc, id)->record.alloc_txg, 200);
	alloc_free_all(alloc);
}

static void test_pinned(void **state)
{
	const uint32_t aus[] = {100, 100, 100};
	struct alloc *alloc = new_alloc(2, 1, 3, aus);
	uint32_t sys, id;
	uint16_t row;

	(void)state;
	alloc_txg_begin(alloc, 1);
	sys = open_sys(alloc);
	assert_int_equal(alloc_segment_open(alloc, CLASS_HOT, &id), 0);
	alloc_segment_close(alloc, id);
	alloc_pin(alloc_segment(alloc, id));
	commit(alloc, sys, sys_rows(alloc, sys, 3));
	for (uint64_t txg = 2; txg < 8; txg++) {
		assert_false(alloc_segment(alloc, id)->released);
		alloc_txg_begin(alloc, txg);
		commit(alloc, sys, sys_rows(alloc, sys, 3));
	}
	alloc_unpin(alloc, alloc_segment(alloc, id));
	assert_true(alloc_segment(alloc, id)->released);
	/* A pinned SYS segment gives no rows. */
	alloc_txg_begin(alloc, 8);
	alloc_pin(alloc_segment(alloc, sys));
	assert_int_equal(alloc_sys_take_in(alloc, sys, 1, &row), -ENOSPC);
	alloc_unpin(alloc, alloc_segment(alloc, sys));
	assert_int_equal(alloc_sys_take_in(alloc, sys, 1, &row), 0);
	alloc_free_all(alloc);
}

/* ---- SYS rows when a disk is away ---- */

static void test_sys_degraded(void **state)
{
	const uint32_t aus[] = {100, 100, 100, 100};
	struct alloc *alloc = new_alloc(2, 1, 4, aus);
	uint32_t first, second, id;
	uint16_t row;

	(void)state;
	alloc_txg_begin(alloc, 1);
	first = open_sys(alloc);
	assert_false(alloc_sys_low(alloc));
	unsigned away = alloc_segment(alloc, first)->record.columns[0].disk;
	alloc_disk_set_usable(alloc, away, false);
	assert_true(alloc_sys_low(alloc)); /* there are disks for both copies */
	second = open_sys(alloc);
	assert_false(alloc_sys_low(alloc));
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(alloc_sys_take(alloc, 20, &id, &row), 0);
		assert_int_equal(id, second);
	}
	assert_true(alloc_sys_low(alloc));
	assert_int_equal(alloc_sys_take(alloc, 20, &id, &row), 0); /* better one copy than none */
	assert_int_equal(id, first);
	/* With one disk left nothing better can be had. */
	for (unsigned i = 0; i < 4; i++)
		alloc_disk_set_usable(alloc, i, i == alloc_segment(alloc, first)->record.columns[1].disk);
	assert_false(alloc_sys_low(alloc));
	alloc_disk_set_usable(alloc, away, true);
	alloc_free_all(alloc);
}

/* ---- a table stays as long as it ever was; what an import allows depends on the disks that there are ---- */

static void test_table_bound(void **state)
{
	const uint32_t aus[] = {50000, 50000};
	struct alloc *alloc = new_alloc(1, 1, 2, aus);
	uint32_t id;

	(void)state;
	assert_int_equal(alloc_segments_bound(0), 65536);
	assert_int_equal(alloc_segments_bound(1000), 69536);
	assert_int_equal(alloc_segments_bound(UINT64_MAX), SEGMENTS_MAX);

	alloc_txg_begin(alloc, 1);
	for (unsigned i = 0; i < 40000; i++)
		assert_int_equal(alloc_segment_open(alloc, CLASS_HOT, &id), 0);
	/* With the other disk missing, 4 x 3000 AUs and 65536 allow 40000, but not that they grow; 4000 AUs are enough. */
	assert_false(alloc_table_fits(alloc, 1, 3000));
	assert_true(alloc_table_fits(alloc, 1, 4000));
	assert_true(alloc_table_fits(alloc, 1, 50000));

	assert_int_equal(alloc_load_limit(alloc, 39999), -POOL_EFORMAT); /* one is beyond it */
	assert_int_equal(alloc_load_limit(alloc, 40000), 0);
	assert_int_equal(alloc_load_limit(alloc, 40001), -POOL_EFORMAT); /* limits only fall */
	alloc_free_all(alloc);
}

/* ---- what isn't all in use isn't freed in part ---- */

static void test_free_of_what_is_dead_in_part(void **state)
{
	const uint32_t aus[] = {100, 100, 100, 100, 100, 100};
	struct alloc *alloc = new_alloc(4, 2, 6, aus);
	uint32_t id;

	(void)state;
	alloc_txg_begin(alloc, 1);
	uint32_t sys = open_sys(alloc);
	uint16_t base = sys_rows(alloc, sys, 3);
	assert_int_equal(alloc_segment_open(alloc, CLASS_HOT, &id), 0);
	uint16_t row = alloc_rows_take(alloc, id, 4);
	struct summary_range range = {.base = row, .rows = 4};
	struct dva at = {id, row, 4, 0};
	struct block_pointer summary = {.dva = dva_pack(at), .place = 1, .birth = 1, .lsect = 1, .psect = 1, .type = TYPE_SUMMARY, .fill = 1};
	struct cell_extent unused = {id, 1, row, 4};
	assert_int_equal(alloc_txg_batch(alloc, id, &range, 1, &summary, &unused, 1), 0);
	commit(alloc, sys, base);

	/* Behind the summary the rest of the first column, and the second one, which holds nothing. */
	alloc_txg_begin(alloc, 2);
	at.offset = 1;
	struct block_pointer block = {.dva = dva_pack(at), .place = 1, .birth = 1, .lsect = 7, .psect = 7, .type = TYPE_SUMMARY, .fill = 1};
	assert_int_equal(alloc_txg_free(alloc, &block), -EINVAL);
	block.lsect = block.psect = 3;
	assert_int_equal(alloc_txg_free(alloc, &block), 0);
	assert_int_equal(alloc_txg_free(alloc, &block), -EINVAL);
	alloc_free_all(alloc);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_table_bound), cmocka_unit_test(test_free_of_what_is_dead_in_part),
					   cmocka_unit_test(test_every_pair), cmocka_unit_test(test_sizes), cmocka_unit_test(test_narrow), cmocka_unit_test(test_promised), cmocka_unit_test(test_scarce),
					   cmocka_unit_test(test_scarce_and_full), cmocka_unit_test(test_copies),
					   cmocka_unit_test(test_one_disk),   cmocka_unit_test(test_reuse), cmocka_unit_test(test_pinned),
					   cmocka_unit_test(test_sys_degraded)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
