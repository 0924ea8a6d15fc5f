/* Checkpoint pages: each has one encoding, and anything else is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "libpool/alloc/alloc.h"

static struct alloc *new_alloc(void)
{
	struct geometry geometry = {.k = 2, .m = 1, .au_shift = 18, .rows = 64};
	struct alloc *alloc;

	assert_int_equal(alloc_new(&geometry, &alloc), 0);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(alloc_disk_add(alloc, i, 100, true), 0);
	return alloc;
}

static int load(bool livemap, const uint8_t *raw, size_t size)
{
	struct alloc *alloc = new_alloc();
	int status = alloc_load_page(alloc, livemap, 0, raw, size);

	alloc_free_all(alloc);
	return status;
}

static uint8_t *encoded_page(bool livemap)
{
	struct alloc *alloc = new_alloc();
	size_t size = livemap ? LIVEMAP_PAGE_SIZE : SEGTAB_PAGE_SIZE;
	uint8_t *raw = calloc(1, size + CELL_SIZE);
	struct block_pointer summary = {.place = 1, .birth = 1, .lsect = 1, .psect = 1, .type = TYPE_SUMMARY, .fill = 1};
	struct final_batch final = {.rows = 3};
	uint32_t id;
	uint16_t row;

	alloc_txg_begin(alloc, 1);
	assert_int_equal(alloc_segment_open(alloc, CLASS_SYS, &id), 0);
	assert_int_equal(alloc_sys_take_in(alloc, id, 3, &row), 0);
	summary.dva = dva_pack((struct dva){id, row, 3, 2});
	final.segment = id;
	final.base = row;
	block_pointer_encode(&summary, &final.summary);
	alloc_txg_commit(alloc, &final, &summary);
	alloc_page_encode(alloc, livemap, 0, 1, raw);
	alloc_free_all(alloc);
	return raw;
}

static void test_livemap(void **state)
{
	uint8_t *raw = encoded_page(true);
	static const size_t spots[] = {LIVEMAP_PAGE_SIZE - 1, LIVEMAP_PAGE_SIZE / 2, 64 + 512 + 8};

	(void)state;
	assert_int_equal(load(true, raw, LIVEMAP_PAGE_SIZE), 0);
	assert_int_equal(load(true, raw, LIVEMAP_PAGE_SIZE - CELL_SIZE), -POOL_EFORMAT);
	assert_int_equal(load(true, raw, LIVEMAP_PAGE_SIZE + CELL_SIZE), -POOL_EFORMAT);
	/* Behind the last bitmap, which is of 8 bytes, there is nothing. */
	for (unsigned i = 0; i < sizeof(spots) / sizeof(spots[0]); i++) {
		raw[spots[i]] = 1;
		assert_int_equal(load(true, raw, LIVEMAP_PAGE_SIZE), -POOL_EFORMAT);
		raw[spots[i]] = 0;
	}
	assert_int_equal(load(true, raw, LIVEMAP_PAGE_SIZE), 0);
	free(raw);
}

static void test_segtab(void **state)
{
	uint8_t *raw = encoded_page(false);

	(void)state;
	assert_int_equal(load(false, raw, SEGTAB_PAGE_SIZE), 0);
	assert_int_equal(load(false, raw, SEGTAB_PAGE_SIZE + CELL_SIZE), -POOL_EFORMAT);
	assert_int_equal(load(false, raw, SEGTAB_PAGE_SIZE - CELL_SIZE), -POOL_EFORMAT);
	raw[SEGTAB_PAGE_SIZE - 1] = 1;
	assert_int_equal(load(false, raw, SEGTAB_PAGE_SIZE), -POOL_EFORMAT);
	free(raw);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_livemap), cmocka_unit_test(test_segtab)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
