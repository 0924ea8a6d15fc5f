/* SPDX-License-Identifier: BSD-2-Clause */
/* Looking again is for those who waited for a short time of late. Times are made up: nothing here depends on the machine's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "libpool/rt/spin.h"

static void wait_for(struct spin *spin, uint64_t ns)
{
	struct spin_wait wait;

	spin_begin(&wait, spin);
	wait.start_ns -= ns;
	spin_end(&wait);
}

static bool is_worth(struct spin *spin)
{
	struct spin_wait wait;

	spin_begin(&wait, spin);
	return wait.until_ns != 0;
}

static void test_short_and_long(void **state)
{
	struct spin spin = {0};
	unsigned waits;

	(void)state;
	assert_true(is_worth(&spin));
	wait_for(&spin, 10 * 1000000000ull);
	for (waits = 0; waits < 20; waits++)
		wait_for(&spin, 1000000);
	assert_false(is_worth(&spin));
	for (waits = 0; waits < 100000 && !is_worth(&spin); waits++)
		wait_for(&spin, 0);
	assert_true(is_worth(&spin));
}

static void test_it_ends(void **state)
{
	struct spin spin = {0};
	struct spin_wait wait;
	unsigned looks = 0;

	(void)state;
	spin_begin(&wait, &spin);
	while (spin_again(&wait))
		looks++;
	assert_true(looks < 1000000);
	spin_end(&wait);
	for (unsigned i = 0; i < 20; i++)
		wait_for(&spin, 1000000);
	spin_begin(&wait, &spin);
	assert_false(spin_again(&wait));
	spin_end(&wait);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_short_and_long), cmocka_unit_test(test_it_ends)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
