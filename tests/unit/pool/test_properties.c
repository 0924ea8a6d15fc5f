/* Properties, history and events: what is set stays, what happened can be read later. */
#include "tests/unit/pool/support.h"

static bool get(struct bench *bench_pointer, libpool_pool *pool, const char *dataset, const char *name, struct libpool_property *ret)
{
	struct bench bench = *bench_pointer;
	struct libpool_property *all;
	size_t count;
	bool found = false;

	OK(libpool_properties(pool, dataset, &all, &count, &bench.error));
	for (size_t i = 0; i < count; i++) {
		assert_int_equal(all[i].size, sizeof(all[i]));
		assert_true(strlen(all[i].help) > 10);
		assert_int_equal(all[i].read_only, strcmp(all[i].source, "-") == 0);
		if (!strcmp(all[i].name, name)) {
			*ret = all[i];
			found = true;
		}
	}
	libpool_free(all);
	return found;
}

static void is(struct bench *bench, libpool_pool *pool, const char *dataset, const char *name, const char *value, const char *source)
{
	struct libpool_property property;

	if (!get(bench, pool, dataset, name, &property))
		fail_msg("no property %s", name);
	assert_string_equal(property.value, value);
	assert_string_equal(property.source, source);
}
#define IS(dataset, name, value, source) is(&bench, pool, dataset, name, value, source)
#define SET(dataset, name, value) libpool_property_set(pool, dataset, name, value, &bench.error)

static void test_properties(void **state)
{
	struct bench bench;
	libpool_pool *pool;
	char longest[300];
	struct libpool_import_options reading = {.size = sizeof(reading), .name = "tank", .read_only = 1};

	(void)state;
	bench_begin(&bench, 3, 64 * MIB);
	OK(bench_create(&bench, "tank", "raid5", 0, 3));
	OK(bench_import(&bench, "tank", &pool));
	OK(bench_volume(&bench, pool, "vm", 10 * MIB, 4096));
	IS(NULL, "comment", "", "default");
	IS("", "multihost", "off", "default");
	IS(NULL, "degraded", "allow", "default");
	IS(NULL, "scrub-rate", "none", "default");
	IS(NULL, "cache-size", "auto", "default");
	IS(NULL, "name", "tank", "-");
	IS(NULL, "profile", "raid5:2+1", "-");
	OK(SET(NULL, "comment", "what people say"));
	OK(SET("", "scrub-rate", "100M"));
	OK(SET(NULL, "cache-size", "1024"));
	OK(SET(NULL, "multihost", "off"));
	IS(NULL, "comment", "what people say", "local");
	IS(NULL, "scrub-rate", "100M", "local");
	IS(NULL, "cache-size", "1K", "local");
	IS(NULL, "multihost", "off", "local");
	OK(SET(NULL, "multihost", "on"));
	IS(NULL, "multihost", "on", "local");
	REFUSED(SET(NULL, "multihost", "maybe"), -EINVAL, "maybe");
	OK(SET(NULL, "degraded", "readonly"));
	OK(SET(NULL, "degraded", "narrow"));
	IS(NULL, "degraded", "narrow", "local");
	REFUSED(SET(NULL, "degraded", "wide"), -EINVAL, "wide");
	REFUSED(SET(NULL, "scrub-rate", "fast"), -EINVAL, "fast");
	REFUSED(SET(NULL, "cache-size", "-1"), -EINVAL, "-1");
	REFUSED(SET(NULL, "comment", "two\nlines"), -EINVAL, "control");
	REFUSED(SET(NULL, "used", "1"), -EPERM, "figure");
	IS(NULL, "reserve", "6.25%", "default");
	OK(SET(NULL, "reserve", "10"));
	IS(NULL, "reserve", "10%", "local");
	OK(SET(NULL, "reserve", "50%"));
	OK(SET(NULL, "reserve", "12.5%"));
	IS(NULL, "reserve", "12.5%", "local");
	REFUSED(SET(NULL, "reserve", "0.99%"), -EINVAL, "out of range: 1% to 50%");
	REFUSED(SET(NULL, "reserve", "50.01"), -EINVAL, "out of range");
	REFUSED(SET(NULL, "reserve", "99999999999"), -EINVAL, "no percentage");
	REFUSED(SET(NULL, "reserve", "-1"), -EINVAL, "no percentage");
	REFUSED(SET(NULL, "reserve", "1."), -EINVAL, "no percentage");
	REFUSED(SET(NULL, "reserve", "much"), -EINVAL, "no percentage");
	REFUSED(SET(NULL, "colour", "blue"), -ENOENT, "colour");
	REFUSED(SET("nothing", "compression", "off"), -ENOENT, "nothing");
	REFUSED(SET("vm", "comment", "x"), -ENOENT, "comment");
	REFUSED(SET("vm", "blocksize", "8K"), -EPERM, "figure");
	REFUSED(SET("vm", "compression", "lz4"), -EINVAL, "lz4");
	REFUSED(SET("vm", "volsize", "0"), -EINVAL, "0");
	memset(longest, 'x', sizeof(longest));
	longest[299] = 0;
	REFUSED(SET(NULL, "comment", longest), -EINVAL, "too long");
	IS("vm", "compression", "auto", "default");
	IS("vm", "volsize", "10M", "local");
	IS("vm", "blocksize", "4K", "-");
	OK(SET("vm", "compression", "zstd-3"));
	OK(SET("vm", "volsize", "20M"));
	IS("vm", "compression", "zstd-3", "local");
	OK(libpool_close(pool, &bench.error));

	OK(bench_import(&bench, "tank", &pool));
	IS(NULL, "comment", "what people say", "local");
	IS(NULL, "scrub-rate", "100M", "local");
	IS("vm", "compression", "zstd-3", "local");
	IS("vm", "volsize", "20M", "local");
	IS(NULL, "reserve", "12.5%", "local");
	IS(NULL, "multihost", "on", "local");
	OK(SET(NULL, "multihost", "default"));
	IS(NULL, "multihost", "off", "default");
	OK(SET(NULL, "scrub-rate", "default"));
	IS(NULL, "scrub-rate", "none", "default");
	OK(libpool_close(pool, &bench.error));

	OK(libpool_import(&bench.host, &reading, &pool, &bench.error));
	IS(NULL, "comment", "what people say", "local");
	REFUSED(SET(NULL, "comment", "x"), -EROFS, "read-only");
	REFUSED(SET("vm", "compression", "off"), -EROFS, "");
	OK(libpool_close(pool, &bench.error));
	bench_end(&bench);
}

static void test_history(void **state)
{
	struct bench bench;
	libpool_pool *pool;
	struct libpool_history *history;
	char text[1000];
	size_t count;

	(void)state;
	bench_begin(&bench, 2, 64 * MIB);
	OK(bench_create(&bench, "tank", "raid1", 0, 2));
	OK(bench_import(&bench, "tank", &pool));
	OK(libpool_history(pool, &history, &count));
	assert_int_equal(count, 1);
	assert_string_equal(history[0].text, "create tank raid1, 2 disks");
	libpool_free(history);
	OK(libpool_history_add(pool, "poolctl create tank\nraid1", &bench.error));
	OK(libpool_close(pool, &bench.error));
	OK(bench_import(&bench, "tank", &pool));
	memset(text, 'y', sizeof(text));
	text[999] = 0;
	OK(libpool_history_add(pool, text, &bench.error));
	OK(libpool_history_add(pool, "", &bench.error));
	OK(libpool_history(pool, &history, &count));
	assert_int_equal(count, 4);
	assert_string_equal(history[1].text, "poolctl create tank raid1");
	assert_int_equal(strlen(history[2].text), 2 * LIBPOOL_TEXT_MAX - 1);
	assert_string_equal(history[3].text, "");
	assert_true(history[0].time_ns <= history[1].time_ns && history[0].txg < history[1].txg && history[0].txg > 0);
	assert_true(history[1].time_ns <= history[2].time_ns && history[1].txg < history[2].txg);
	libpool_free(history);
	OK(libpool_close(pool, &bench.error));
	OK(libpool_destroy(&bench.host, "tank", &bench.error));
	OK(libpool_undestroy(&bench.host, "tank", &bench.error));
	OK(bench_import(&bench, "tank", &pool));
	OK(libpool_history(pool, &history, &count));
	assert_int_equal(count, 6);
	assert_string_equal(history[4].text, "destroy tank");
	assert_string_equal(history[5].text, "undestroy tank");
	libpool_free(history);
	OK(libpool_close(pool, &bench.error));
	bench_end(&bench);
}

static bool has_event(const struct libpool_event *events, size_t count, const char *kind)
{
	bool found = false;

	for (size_t i = 0; i < count; i++) {
		assert_true(i == 0 || events[i].sequence > events[i - 1].sequence);
		found |= !strcmp(events[i].kind, kind);
	}
	return found;
}

static void test_events(void **state)
{
	struct bench bench;
	libpool_pool *pool;
	struct libpool_event *events;
	uint64_t last;
	size_t count;

	(void)state;
	bench_begin(&bench, 3, 64 * MIB);
	OK(bench_create(&bench, "tank", "raid5", 0, 3));
	OK(bench_import(&bench, "tank", &pool));
	OK(libpool_disk_offline(pool, "#1", &bench.error));
	OK(libpool_events(pool, 0, &events, &count));
	assert_true(has_event(events, count, "pool.imported"));
	assert_true(has_event(events, count, "disk.offline"));
	last = events[count - 1].sequence;
	libpool_free(events);
	OK(libpool_events(pool, last, &events, &count));
	assert_int_equal(count, 0);
	libpool_free(events);
	OK(libpool_close(pool, &bench.error));
	/* What matters is still known later, in order. */
	OK(bench_import(&bench, "tank", &pool));
	OK(libpool_events(pool, 0, &events, &count));
	assert_true(has_event(events, count, "disk.offline"));
	assert_true(events[count - 1].sequence > last);
	libpool_free(events);
	OK(libpool_events(pool, last, &events, &count));
	assert_false(has_event(events, count, "disk.offline"));
	libpool_free(events);
	OK(libpool_close(pool, &bench.error));
	bench_end(&bench);
}

/* Tells how often each level of filling was told, after `after`. */
static unsigned levels_told(struct bench *bench_pointer, libpool_pool *pool, uint64_t *after, unsigned ret_severities[3])
{
	struct bench bench = *bench_pointer;
	struct libpool_event *events;
	unsigned told = 0;
	size_t count;

	memset(ret_severities, 0, 3 * sizeof(ret_severities[0]));
	OK(libpool_events(pool, *after, &events, &count));
	for (size_t i = 0; i < count; i++) {
		*after = events[i].sequence;
		if (strcmp(events[i].kind, "pool.space") != 0)
			continue;
		assert_string_equal(events[i].object, "tank");
		assert_non_null(strstr(events[i].text, "% of the usable space"));
		ret_severities[events[i].severity]++;
		told++;
	}
	libpool_free(events);
	return told;
}

/* A pool that fills up says so at 80, 90 and 95 %, once; the reserve that was asked for stays free. */
static void test_space(void **state)
{
	struct bench bench;
	libpool_pool *pool;
	libpool_volume *volume;
	struct libpool_pool_info info = {.size = sizeof(info)};
	static uint8_t data[64 << 10];
	unsigned severities[3], told;
	uint64_t after = 0, at = 0, usable, filled;
	int status = 0;

	(void)state;
	bench_begin(&bench, 2, 64 * MIB);
	OK(bench_create(&bench, "tank", "raid1", 0, 2));
	OK(bench_import(&bench, "tank", &pool));
	OK(libpool_pool_info(pool, &info));
	usable = info.usable_bytes;
	assert_int_equal(info.reserve_bytes / 4096, (info.usable_bytes + info.reserve_bytes) / 4096 / 16);
	OK(bench_volume(&bench, pool, "v", 256 * MIB, 16384));
	OK(libpool_volume_open(pool, "v", NULL, &volume, &bench.error));
	OK(SET(NULL, "reserve", "30%"));
	OK(libpool_pool_info(pool, &info));
	assert_true(info.usable_bytes * 100 < usable * 75 && info.free_bytes <= info.usable_bytes);
	for (unsigned round = 0; round < 3; round++) {
		for (; status == 0 && at < 256 * MIB; at += status == 0 ? sizeof(data) : 0) {
			pattern(data, at, sizeof(data), 1 + round);
			status = libpool_volume_write(volume, at, sizeof(data), data);
			if (at % MIB == 0)
				OK(libpool_volume_flush(volume));
		}
		assert_int_equal(status, -ENOSPC);
		OK(libpool_volume_flush(volume));
		OK(libpool_pool_info(pool, &info));
		assert_true(info.used_bytes <= info.usable_bytes && info.free_bytes < 2 * MIB);
		told = levels_told(&bench, pool, &after, severities);
		if (round == 0) {
			assert_int_equal(told, 3);
			assert_int_equal(severities[1], 2);
			assert_int_equal(severities[2], 1);
			filled = at;
			/* Also when it is full, for that is when it helps. */
			OK(SET(NULL, "reserve", "1%"));
			OK(libpool_pool_info(pool, &info));
			assert_true(info.usable_bytes > usable);
			status = 0;
		} else if (round == 1) {
			assert_true(at > filled + usable / 8);
			OK(libpool_volume_trim(volume, 0, 256 * MIB));
			for (unsigned i = 0; i < 5; i++) {
				OK(libpool_volume_write(volume, 0, sizeof(data), data));
				OK(libpool_volume_flush(volume));
			}
			at = 0;
			status = 0;
		} else {
			assert_int_equal(told, 3);
		}
	}
	OK(libpool_volume_close(volume));
	OK(libpool_close(pool, &bench.error));
	bench_end(&bench);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_properties),
		cmocka_unit_test(test_history),
		cmocka_unit_test(test_events),
		cmocka_unit_test(test_space),
	};

	return cmocka_run_group_tests_name("pool_properties", tests, NULL, NULL);
}
