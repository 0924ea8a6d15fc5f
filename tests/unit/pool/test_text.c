/* Profiles, sizes, compression, guids and records as text and bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "libpool/pool/internal.h"
#include "libpool/pool/text.h"

static void accepts(const char *text, unsigned disks, unsigned k, unsigned m)
{
	struct pool_error error = {0};
	unsigned got_k = 99, got_m = 99;
	int result = profile_parse(text, disks, &got_k, &got_m, &error);

	if (result < 0 || got_k != k || got_m != m)
		fail_msg("%s on %u disks: %d %u+%u: %s", text, disks, result, got_k, got_m, error.text);
}

static void refuses(const char *text, unsigned disks, const char *part)
{
	struct pool_error error = {0};
	unsigned k = 99, m = 99;
	int result = profile_parse(text, disks, &k, &m, &error);

	if (result != -EINVAL || !strstr(error.text, part) || strchr(error.text, '\n') || k != 99 || m != 99)
		fail_msg("%s on %u disks: %d: \"%s\", expected \"%s\"", text ? text : "(null)", disks, result, error.text, part);
}

static void test_profiles(void **state)
{
	(void)state;
	accepts("single", 1, 1, 0);
	accepts("single", 5, 5, 0);
	accepts("raid1", 2, 1, 1);
	accepts("raid1", 7, 1, 1);
	accepts("raid1c3", 3, 1, 2);
	accepts("raid1c4", 4, 1, 3);
	accepts("raid5", 3, 2, 1);
	accepts("raid6", 4, 2, 2);
	accepts("raid6", 6, 4, 2);
	accepts("raid6", 16, 14, 2);
	accepts("raid6", 17, 10, 2);
	accepts("raid7", 100, 9, 3);
	accepts("raid7", 5, 2, 3);
	accepts("raid6:4+2", 6, 4, 2);
	accepts("raid6:4+2", 24, 4, 2);
	accepts("raid5:15+1", 16, 15, 1);
	accepts("single:3+0", 4, 3, 0);
	accepts("raid1:1+1", 2, 1, 1);
	refuses(NULL, 3, "no profile");
	refuses("", 3, "no profile");
	refuses("raid10", 4, "unknown");
	refuses("RAID6", 6, "unknown");
	refuses("raid6", 3, "use raid1c3");
	refuses("raid6", 1, "use single");
	refuses("raid5", 2, "use raid1");
	refuses("raid1", 1, "use single");
	refuses("single", 0, "at least 1 disk,");
	refuses("raid6:", 6, "written as");
	refuses("raid6:4", 6, "written as");
	refuses("raid6:4+2x", 6, "written as");
	refuses("raid6: 4+2", 6, "written as");
	refuses("raid6:4+-2", 6, "written as");
	refuses("raid6:4++2", 6, "written as");
	refuses("raid6:4+3", 7, "has 2 parity columns");
	refuses("raid6:1+2", 6, "at least 2 data columns");
	refuses("raid6:15+2", 20, "at most 16");
	refuses("raid6:0+2", 6, "at least 2");
	refuses("raid1:2+1", 6, "one data column");
	refuses("raid6:4+2", 5, "at least 6 disks, 5 given");
}

static void test_profile_names(void **state)
{
	char text[32];
	unsigned k, m;

	(void)state;
	for (unsigned parity = 0; parity <= 3; parity++)
		for (unsigned data = 1; data + parity <= 16; data++) {
			profile_format(data, parity, text, sizeof(text));
			assert_int_equal(profile_parse(text, data + parity, &k, &m, NULL), 0);
			assert_int_equal(k, data);
			assert_int_equal(m, parity);
		}
	profile_format(4, 2, text, sizeof(text));
	assert_string_equal(text, "raid6:4+2");
	profile_format(1, 2, text, sizeof(text));
	assert_string_equal(text, "raid1c3");
}

static void size_is(const char *text, uint64_t expected)
{
	uint64_t bytes = 1;

	if (!size_parse(text, &bytes) || bytes != expected)
		fail_msg("%s: %llu", text, (unsigned long long)bytes);
}

static void test_sizes(void **state)
{
	static const char *const bad[] = {"", "K", "1.5", "-1", "1 K", "1KK", "1Kb", "0x10", "9223372036854775808", "8E", ".5K", "1e3"};
	uint64_t bytes;
	char text[32];

	(void)state;
	size_is("0", 0);
	size_is("4096", 4096);
	size_is("16K", 16384);
	size_is("16k", 16384);
	size_is("16KiB", 16384);
	size_is("1B", 1);
	size_is("1.5M", 1536 * 1024);
	size_is("0.5K", 512);
	size_is("2T", UINT64_C(2) << 40);
	size_is("1E", UINT64_C(1) << 60);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (size_parse(bad[i], &bytes))
			fail_msg("%s", bad[i]);
	size_format(16384, text, sizeof(text));
	assert_string_equal(text, "16K");
	size_format(1000, text, sizeof(text));
	assert_string_equal(text, "1000");
	size_format(0, text, sizeof(text));
	assert_string_equal(text, "0");
	size_format_rounded(1023, text, sizeof(text));
	assert_string_equal(text, "1023");
	size_format_rounded(1536, text, sizeof(text));
	assert_string_equal(text, "1.50K");
	size_format_rounded((UINT64_C(5) << 40) - 1, text, sizeof(text));
	assert_string_equal(text, "4.99T");
	size_format_rounded(UINT64_MAX, text, sizeof(text));
	assert_string_equal(text, "15.99E");
	time_format(UINT64_C(1700000000) * 1000000000, text, sizeof(text));
	assert_string_equal(text, "2023-11-14 22:13:20 UTC");
}

static void test_compression(void **state)
{
	static const char *const good[] = {"off", "auto", "zstd-1", "zstd-3", "zstd-19"};
	static const char *const bad[] = {"", "on", "zstd", "zstd-", "zstd-0", "zstd-20", "zstd-1x", "zstd--1", "lz4", "AUTO"};
	char text[16];
	uint8_t level;

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_true(compression_parse(good[i], &level));
		compression_format(level, text, sizeof(text));
		assert_string_equal(text, good[i]);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(compression_parse(bad[i], &level));
}

static void test_guids(void **state)
{
	struct guid guid, again;
	char text[GUID_TEXT_SIZE];

	(void)state;
	assert_true(guid_parse("00112233-4455-6677-8899-AABBCCDDEEFF", &guid));
	guid_format(&guid, text);
	assert_string_equal(text, "00112233445566778899aabbccddeeff");
	assert_true(guid_parse(text, &again));
	assert_true(guid_equal(&guid, &again));
	assert_false(guid_parse("00112233445566778899aabbccddeef", &guid));
	assert_false(guid_parse("00112233445566778899aabbccddeeff0", &guid));
	assert_false(guid_parse("00112233445566778899aabbccddeefg", &guid));
	assert_false(guid_parse("", &guid));
}

static void test_records(void **state)
{
	struct libpool_event event = {.sequence = 7, .time_ns = 123, .severity = 2}, event_again;
	struct history_record record = {.txg = 5}, again;
	struct damage_record damage = {.dataset = 3, .object = 16, .level = 1, .block = 77, .cells = 4, .dva = 1, .place = 2, .found_ns = 9};
	struct damage_record damage_again;
	uint8_t value[HISTORY_SIZE_MAX], key[DAMAGE_KEY_SIZE], damage_value[DAMAGE_VALUE_SIZE];
	size_t length;

	(void)state;
	strcpy(event.kind, "disk.faulty");
	strcpy(event.object, "/dev/sdb");
	strcpy(event.text, "writes fail");
	history_from_event(&event, &record);
	length = history_encode(&record, value);
	assert_int_equal(history_decode(value, length, &again), 0);
	history_to_event(&again, 7, &event_again);
	assert_string_equal(event_again.kind, event.kind);
	assert_string_equal(event_again.object, event.object);
	assert_string_equal(event_again.text, event.text);
	assert_int_equal(event_again.severity, 2);
	assert_int_equal(again.txg, 5);
	/* The longest there can be, and any piece of one. */
	memset(event.kind, 'k', sizeof(event.kind) - 1);
	memset(event.object, 'o', sizeof(event.object) - 1);
	memset(event.text, 't', sizeof(event.text) - 1);
	history_from_event(&event, &record);
	length = history_encode(&record, value);
	assert_true(length <= sizeof(value));
	for (size_t cut = 0; cut <= length; cut++)
		if (history_decode(value, cut, &again) == 0)
			history_to_event(&again, 7, &event_again);
	assert_string_equal(event_again.text, event.text);
	assert_true(history_decode(value, HISTORY_HEAD_SIZE - 1, &again) < 0);
	/* What isn't known, or is reserved: kind, severity, and the 6 bytes after them. */
	for (size_t at = 16; at < HISTORY_HEAD_SIZE; at++) {
		uint8_t kept = value[at];
		value[at] = 3;
		assert_true(history_decode(value, length, &again) < 0);
		value[at] = kept;
	}
	assert_int_equal(history_decode(value, length, &again), 0);

	damage_encode(&damage, key, damage_value);
	assert_int_equal(damage_decode(key, sizeof(key), damage_value, sizeof(damage_value), &damage_again), 0);
	assert_int_equal(damage_again.dataset, 3);
	assert_int_equal(damage_again.object, 16);
	assert_int_equal(damage_again.level, 1);
	assert_int_equal(damage_again.block, 77);
	assert_int_equal(damage_again.cells, 4);
	assert_int_equal(damage_again.dva, 1);
	assert_int_equal(damage_again.place, 2);
	assert_int_equal(damage_again.found_ns, 9);
	assert_true(damage_decode(key, sizeof(key) - 1, damage_value, sizeof(damage_value), &damage_again) < 0);
	assert_true(damage_decode(key, sizeof(key), damage_value, 5, &damage_again) < 0);
	damage_value[DAMAGE_VALUE_SIZE - 1] = 1;
	assert_true(damage_decode(key, sizeof(key), damage_value, sizeof(damage_value), &damage_again) < 0);

	history_key_encode(UINT64_C(0x0102030405060708), key);
	assert_int_equal(key[0], 1);
	assert_int_equal(history_key_decode(key, HISTORY_KEY_SIZE), UINT64_C(0x0102030405060708));
	assert_int_equal(history_key_decode(key, 3), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_profiles), cmocka_unit_test(test_profile_names), cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_compression), cmocka_unit_test(test_guids), cmocka_unit_test(test_records),
	};

	return cmocka_run_group_tests_name("pool_text", tests, NULL, NULL);
}
