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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_properties),
		cmocka_unit_test(test_history),
		cmocka_unit_test(test_events),
	};

	return cmocka_run_group_tests_name("pool_properties", tests, NULL, NULL);
}
