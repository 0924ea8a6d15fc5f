/* Which AUs are to be trimmed, what is set apart meanwhile, and what is remembered. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "libpool/alloc/trim.h"

#define AUS 200u

static struct alloc *new_alloc(unsigned disks)
{
	struct geometry geometry = {.k = 2, .m = 1, .au_shift = 18, .rows = 64};
	struct alloc *alloc;

	assert_int_equal(alloc_new(&geometry, &alloc), 0);
	for (unsigned i = 0; i < disks; i++)
		assert_int_equal(alloc_disk_add(alloc, i, AUS, true), 0);
	return alloc;
}

static void test_runs(void **state)
{
	struct alloc *alloc = new_alloc(1);
	uint32_t first = 0;

	(void)state;
	assert_int_equal(alloc_trim_left(alloc, 0, false), AUS);
	assert_int_equal(alloc_trim_left(alloc, 0, true), 0);
	assert_int_equal(alloc_trim_find(alloc, 0, true, 0, 100, &first), 0);
	for (unsigned i = 0; i < 70; i++)
		assert_int_equal(alloc_au_reserve(alloc, 0), i);
	alloc_au_release(alloc, 0, 3);
	alloc_au_release(alloc, 0, 64);
	alloc_au_release(alloc, 0, 65);
	assert_int_equal(alloc_trim_find(alloc, 0, true, 0, 100, &first), 1);
	assert_int_equal(first, 3);
	assert_int_equal(alloc_trim_find(alloc, 0, true, 4, 100, &first), 2);
	assert_int_equal(first, 64);
	assert_int_equal(alloc_trim_find(alloc, 0, true, 66, 100, &first), 0);
	assert_int_equal(alloc_trim_find(alloc, 0, false, 66, 100, &first), 100);
	assert_int_equal(first, 70);
	assert_int_equal(alloc_trim_find(alloc, 0, false, 190, 100, &first), 10);
	assert_int_equal(alloc_trim_find(alloc, 0, false, AUS, 100, &first), 0);
	assert_int_equal(alloc_trim_find(alloc, 9, false, 0, 100, &first), 0);
	alloc_free_all(alloc);
}

static void test_set_apart(void **state)
{
	struct alloc *alloc = new_alloc(1);
	const struct alloc_disk *disk = alloc_disk(alloc, 0);
	uint32_t first = 0;

	(void)state;
	alloc_trim_begin(alloc, 0, 0, 150);
	assert_int_equal(disk->au_free, AUS - 150);
	assert_int_equal(disk->au_trimming, 150);
	assert_int_equal(alloc_au_reserve(alloc, 0), 150);
	alloc_trim_end(alloc, 0, 0, 100, false, true);
	alloc_trim_abandon(alloc, 0, 50);
	assert_int_equal(disk->au_free, AUS - 51);
	assert_int_equal(disk->au_trimming, 0);
	/* What was trimmed isn't trimmed again until it has been somebody's. */
	assert_int_equal(alloc_trim_left(alloc, 0, false), AUS - 151);
	assert_int_equal(alloc_au_reserve(alloc, 0), 0);
	alloc_au_release(alloc, 0, 0);
	assert_int_equal(alloc_trim_find(alloc, 0, false, 0, 100, &first), 1);
	assert_int_equal(first, 0);
	/* A trim that failed leaves things as they were. */
	alloc_trim_end(alloc, 0, 100, 50, true, false);
	assert_int_equal(disk->au_free, AUS - 1);
	assert_int_equal(alloc_trim_find(alloc, 0, false, 1, 100, &first), 50);
	assert_int_equal(first, 100);
	assert_int_equal(alloc_trim_left(alloc, 0, true), 1);
	alloc_free_all(alloc);
}

/* Space is counted as if what is set apart were free; what can't be placed meanwhile is told apart from it. */
static void test_space(void **state)
{
	struct alloc *alloc = new_alloc(3);
	struct space before, meanwhile;

	(void)state;
	alloc_space(alloc, &before);
	assert_int_equal(alloc_trim_cells(alloc, 0, 0), 0);
	assert_int_equal(alloc_trim_cells(alloc, 0, 10), 10 * 63); /* the others make narrower segments */
	for (unsigned i = 0; i < 3; i++)
		alloc_trim_begin(alloc, i, 0, 10);
	alloc_space(alloc, &meanwhile);
	assert_int_equal(before.free_segments, meanwhile.free_segments);
	assert_int_equal(before.available_cells, meanwhile.available_cells);
	assert_int_equal(alloc_trim_cells(alloc, 0, 0), 10 * 2 * 63);
	alloc_trim_abandon(alloc, 1, 10);
	alloc_space(alloc, &meanwhile);
	assert_true(meanwhile.available_cells < before.available_cells);
	/* Whatever device still has it, when the disk has left the pool there is nobody to give it to. */
	alloc_disk_remove(alloc, 1);
	alloc_trim_end(alloc, 1, 0, 10, true, true);
	alloc_trim_end(alloc, 0, 0, 10, false, true);
	alloc_trim_end(alloc, 2, 0, 10, false, true);
	assert_int_equal(alloc_disk(alloc, 0)->au_free, AUS);
	alloc_free_all(alloc);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_runs),
		cmocka_unit_test(test_set_apart),
		cmocka_unit_test(test_space),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
