/* SPDX-License-Identifier: BSD-2-Clause */
/* Sizes and names: what is accepted, what is refused, and that the refusal says why. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <errno.h>

#include "cli/names.h"
#include "cli/sizes.h"

static void accepts(const char *text, uint64_t expected)
{
	struct libpool_error error = {0};
	uint64_t size = 0;

	assert_int_equal(size_read(text, "size", 0, &size, &error), 0);
	assert_true(size == expected);
}

static void refuses(const char *text, const char *reason)
{
	struct libpool_error error = {0};
	uint64_t size = 4711;

	assert_int_equal(size_read(text, "volume size", 1, &size, &error), -EINVAL);
	assert_true(size == 4711);
	assert_non_null(strstr(error.text, reason));
	assert_non_null(strstr(error.text, "volume size"));
}

static void sizes_are_accepted(void **state)
{
	(void)state;
	accepts("0", 0);
	accepts("1", 1);
	accepts("512B", 512);
	accepts("1K", 1024);
	accepts("1k", 1024);
	accepts("1KiB", 1024);
	accepts("10G", UINT64_C(10) << 30);
	accepts("1.5G", UINT64_C(3) << 29);
	accepts("0.5M", 512 << 10);
	accepts("1E", UINT64_C(1) << 60);
	accepts("1152921504606846976", UINT64_C(1) << 60);
}

static void sizes_are_refused(void **state)
{
	(void)state;
	refuses("", "empty");
	refuses("0", "zero");
	refuses("0G", "zero");
	refuses("-1G", "negative");
	refuses("abc", "not a number");
	refuses(" 1G", "not a number");
	refuses("G", "not a number");
	refuses("10Q", "ends in 'Q'");
	refuses("10GG", "ends in 'GG'");
	refuses("10GB", "ends in 'GB'");
	refuses("1e9", "ends in 'e9'");
	refuses("0x10", "ends in 'x10'");
	refuses("1,5G", "ends in ',5G'");
	refuses("1.G", "not a number");
	refuses("1.5", "whole number of bytes");
	refuses("2E", "2^60");
	refuses("1.1E", "2^60");
	refuses("1152921504606846977", "2^60");
	refuses("99999999999999999999999999999999", "2^60");
	refuses("2000P", "2^60");
}

static void sizes_print_as_they_are_typed(void **state)
{
	static const struct {
		uint64_t bytes;
		const char *text;
	} cases[] = {{0, "0B"},
		     {999, "999B"},
		     {1000, "0.98K"},
		     {1024, "1.00K"},
		     {10240, "10.0K"},
		     {1022976, "999K"},
		     {1048575, "1.00M"},
		     {UINT64_C(3) << 29, "1.50G"},
		     {UINT64_C(1) << 60, "1.00E"}};
	char text[QUANTITY_TEXT_MAX];
	uint64_t parsed;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		size_print(cases[i].bytes, text);
		assert_string_equal(text, cases[i].text);
		assert_int_equal(size_read(text, "size", 0, &parsed, NULL), 0);
	}
	duration_print(2.04, text);
	assert_string_equal(text, "2.0 s");
	duration_print(245, text);
	assert_string_equal(text, "4:05");
	duration_print(7800, text);
	assert_string_equal(text, "2:10:00");
}

static void name_refused(const char *name, const char *reason)
{
	struct libpool_error error = {0};

	assert_int_equal(name_check(name, "pool", &error), -EINVAL);
	assert_non_null(strstr(error.text, reason));
}

static void names(void **state)
{
	char longest[LIBPOOL_NAME_MAX + 2];

	(void)state;
	memset(longest, 'x', sizeof(longest));
	longest[LIBPOOL_NAME_MAX] = '\0';
	assert_int_equal(name_check(longest, "pool", NULL), 0);
	assert_int_equal(name_check("tank", "pool", NULL), 0);
	assert_int_equal(name_check("b\303\274ro_1.2:x", "pool", NULL), 0);
	longest[LIBPOOL_NAME_MAX] = 'x';
	longest[LIBPOOL_NAME_MAX + 1] = '\0';
	name_refused(longest, "256 bytes");
	name_refused("", "empty");
	name_refused("a b", "space");
	name_refused("a\tb", "control character 0x09");
	name_refused("a\nb", "control character 0x0a");
	name_refused("a\177b", "control character 0x7f");
	name_refused("a/b", "'/'");
	name_refused("a@b", "'@'");
	name_refused("-a", "begins with '-'");
	name_refused("..", "begins with '.'");
	name_refused("a\377", "not UTF-8");
	name_refused("a\300\200", "not UTF-8");
	name_refused("a\355\240\200", "not UTF-8");
}

static void targets(void **state)
{
	struct libpool_error error = {0};
	struct target target;

	(void)state;
	assert_int_equal(target_parse("tank/disk1", TARGET_VOLUME, &target, &error), 0);
	assert_string_equal(target.pool, "tank");
	assert_string_equal(target.volume, "disk1");
	assert_int_equal(target_parse("tank", TARGET_POOL_OR_DATASET, &target, &error), 0);
	assert_string_equal(target.volume, "");
	assert_int_equal(target_parse("tank", TARGET_VOLUME, &target, &error), -EINVAL);
	assert_int_equal(target_parse("tank/", TARGET_VOLUME, &target, &error), -EINVAL);
	assert_int_equal(target_parse("/disk", TARGET_VOLUME, &target, &error), -EINVAL);
	assert_int_equal(target_parse("tank/a//b", TARGET_VOLUME, &target, &error), -EINVAL);
	assert_int_equal(target_parse("tank/a/.b", TARGET_VOLUME, &target, &error), -EINVAL);
	assert_int_equal(target_parse("tank/a/b/", TARGET_VOLUME, &target, &error), -EINVAL);
	assert_int_equal(target_parse("tank/a/b", TARGET_VOLUME, &target, &error), 0);
	assert_string_equal(target.volume, "a/b");
	assert_int_equal(target_parse("tank/a", TARGET_POOL, &target, &error), -EINVAL);
	assert_int_equal(target_parse("0123456789abcdef0123456789abcdef", TARGET_POOL, &target, &error), 0);
	assert_int_equal(target_parse("0123456789abcdef0123456789abcdef", TARGET_NEW_POOL, &target, &error),
			 -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(sizes_are_accepted),
	    cmocka_unit_test(sizes_are_refused),
	    cmocka_unit_test(sizes_print_as_they_are_typed),
	    cmocka_unit_test(names),
	    cmocka_unit_test(targets),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
