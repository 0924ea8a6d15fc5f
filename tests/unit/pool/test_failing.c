/*
 * The engine over simulated disks that vanish, hang and come back: the pool goes on while it can, halts with a reason when
 * it can't, and is exported in any case. One thread, virtual time.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libpool/pool/engine.h"
#include "tests/sim/sim_env.h"
#include "tests/sim/simdisk.h"

#define DISKS 4u
#define MIB (UINT64_C(1) << 20)
#define BLOCK 16384u

struct test {
	struct sim_env *sim;
	struct rt *rt;
	struct sim_disks *set;
	struct engine_host host;
	struct engine *engine;
	struct volume *volume;
	struct pool_error error;
	const char *profile;
	void (*body)(struct test *test);
	bool ended;
};

#define OK(call)                                                                       \
	do {                                                                           \
		int ok_result = (call);                                                \
		if (ok_result < 0)                                                     \
			fail_msg("%s: %d: %s", #call, ok_result, test->error.text);    \
	} while (0)

static void create(struct test *test)
{
	const char *paths[DISKS];
	struct libpool_create_options options = {
		.size = sizeof(options), .name = "tank", .profile = test->profile, .disks = paths, .disk_count = DISKS};

	for (unsigned i = 0; i < DISKS; i++)
		paths[i] = test->set->disks[i]->path;
	OK(engine_create(&test->host, &options, NULL, &test->error));
}

static void import(struct test *test)
{
	struct libpool_import_options options = {.size = sizeof(options), .name = "tank"};

	OK(engine_import(&test->host, &options, &test->engine, &test->error));
}

static void fill(struct test *test, uint64_t first, uint64_t count, uint8_t value)
{
	uint8_t *block = malloc(BLOCK);

	for (uint64_t i = first; i < first + count; i++) {
		memset(block, value + (int)i, BLOCK);
		block[0] = (uint8_t)i;
		OK(volume_write(test->volume, i * BLOCK, BLOCK, block));
	}
	free(block);
}

static void compare(struct test *test, uint64_t first, uint64_t count, uint8_t value)
{
	uint8_t *block = malloc(BLOCK);

	for (uint64_t i = first; i < first + count; i++) {
		OK(volume_read(test->volume, i * BLOCK, BLOCK, block));
		assert_int_equal(block[0], (uint8_t)i);
		assert_int_equal(block[BLOCK - 1], (uint8_t)(value + i));
	}
	free(block);
}

static void open_volume(struct test *test)
{
	OK(volume_open(engine_datasets(test->engine), "v", &test->volume, &test->error));
}

static void main_fiber(void *argument)
{
	struct test *test = argument;

	create(test);
	import(test);
	OK(volume_create(engine_datasets(test->engine), "v", 8 * MIB, BLOCK, 0, &test->error));
	open_volume(test);
	test->body(test);
	test->ended = true;
}

static void run(const char *profile, void (*body)(struct test *test))
{
	struct test test = {.profile = profile, .body = body, .sim = sim_env_new(1)};

	test.set = sim_disks_new(1);
	for (unsigned i = 0; i < DISKS; i++)
		sim_disks_add(test.set, 64 * MIB);
	assert_int_equal(rt_new(&test.sim->env, &test.rt), 0);
	test.host = (struct engine_host){.rt = test.rt, .no_devices = false, .core = {.cache_limit = 4 * MIB}};
	test.host.provider = sim_disks_provider(test.set, test.sim, test.rt);
	assert_int_equal(rt_run(test.rt, main_fiber, &test), 0);
	assert_false(test.sim->deadlock);
	assert_true(test.ended);
	sim_disks_provider_free(test.host.provider);
	rt_free(test.rt);
	sim_disks_free(test.set);
	sim_env_free(test.sim);
}

/* What the pool says of itself, for a failure that is hard to understand without it. */
static void is_healthy(struct test *test)
{
	struct libpool_pool_info info;
	struct libpool_event *events;
	size_t count;

	assert_int_equal(engine_info(test->engine, &info), 0);
	if (info.health == LIBPOOL_HEALTHY)
		return;
	assert_int_equal(engine_events(test->engine, 0, &events, &count), 0);
	for (size_t i = 0; i < count; i++)
		print_error("%s %s: %s\n", events[i].kind, events[i].object, events[i].text);
	free(events);
	fail_msg("%s", info.problem);
}

static struct libpool_pool_info info_of(struct test *test)
{
	struct libpool_pool_info info;

	assert_int_equal(engine_info(test->engine, &info), 0);
	return info;
}

static unsigned events_of(struct test *test, const char *kind)
{
	struct libpool_event *events;
	unsigned found = 0;
	size_t count;

	assert_int_equal(engine_events(test->engine, 0, &events, &count), 0);
	for (size_t i = 0; i < count; i++)
		found += !strcmp(events[i].kind, kind);
	free(events);
	return found;
}

/* ---- one disk vanishes, then more than the profile survives ---- */

static void vanish_body(struct test *test)
{
	fill(test, 0, 100, 1);
	OK(volume_flush(test->volume));
	sim_disk_vanish(test->set->disks[1], SIM_CRASH_ALL);
	fill(test, 100, 100, 1);
	OK(volume_flush(test->volume));
	compare(test, 0, 200, 1);
	assert_int_equal(info_of(test).health, LIBPOOL_DEGRADED);
	assert_int_equal(info_of(test).disks_online, DISKS - 1);
	assert_true(events_of(test, "disk.faulty") > 0);
	/* New rows have one parity column again, over three disks: two of them are too many. */
	sim_disk_vanish(test->set->disks[2], SIM_CRASH_ALL);
	sim_disk_vanish(test->set->disks[3], SIM_CRASH_ALL);
	fill(test, 200, 100, 1);
	assert_true(volume_flush(test->volume) < 0);
	assert_int_equal(info_of(test).health, LIBPOOL_UNUSABLE);
	assert_true(info_of(test).halted && info_of(test).problem[0] && info_of(test).action[0]);
	assert_int_equal(volume_write(test->volume, 0, BLOCK, test->volume), -POOL_EHALTED);
	assert_int_equal(events_of(test, "pool.halted"), 1);
	compare(test, 200, 100, 1); /* still in memory */
	assert_int_equal(engine_export(test->engine, &test->error), -EBUSY);
	assert_non_null(strstr(test->error.text, "open: v"));
	test->error = (struct pool_error){0};
	volume_close(test->volume);
	assert_int_equal(engine_export(test->engine, &test->error), -POOL_EHALTED);
	/* With the disks back, everything that was durable is there. */
	test->error = (struct pool_error){0};
	sim_disk_return(test->set->disks[1]);
	sim_disk_return(test->set->disks[2]);
	sim_disk_return(test->set->disks[3]);
	import(test);
	open_volume(test);
	compare(test, 0, 200, 1);
	/* The one that had failed isn't trusted again before somebody says so. */
	assert_int_equal(info_of(test).health, LIBPOOL_DEGRADED);
	OK(engine_disk_online(test->engine, "#1", NULL, false, &test->error));
	OK(engine_jobs_wait(test->engine, 0, 0));
	is_healthy(test);
	volume_close(test->volume);
	OK(engine_export(test->engine, &test->error));
}

static void test_vanish(void **state)
{
	(void)state;
	run("raid5", vanish_body);
}

/* ---- a disk that doesn't answer ---- */

static void hang_body(struct test *test)
{
	uint64_t begin;

	fill(test, 0, 100, 1);
	OK(volume_flush(test->volume));
	sim_disk_set_hanging(test->set->disks[0], true);
	fill(test, 100, 100, 1);
	begin = rt_now(test->rt);
	OK(volume_flush(test->volume));
	assert_true(rt_now(test->rt) - begin < 120 * NS_PER_S);
	compare(test, 0, 200, 1);
	assert_int_equal(info_of(test).health, LIBPOOL_DEGRADED);
	volume_close(test->volume);
	begin = rt_now(test->rt);
	OK(engine_export(test->engine, &test->error));
	assert_true(rt_now(test->rt) - begin < 120 * NS_PER_S);
	sim_disk_set_hanging(test->set->disks[0], false);
}

static void test_hang(void **state)
{
	(void)state;
	run("raid5", hang_body);
}

/* All of them hang while the pool is closed. */
static void hang_at_export_body(struct test *test)
{
	uint64_t begin;

	fill(test, 0, 50, 1);
	volume_close(test->volume);
	for (unsigned i = 0; i < DISKS; i++)
		sim_disk_set_hanging(test->set->disks[i], true);
	begin = rt_now(test->rt);
	assert_true(engine_export(test->engine, &test->error) < 0);
	assert_true(rt_now(test->rt) - begin < 300 * NS_PER_S);
	for (unsigned i = 0; i < DISKS; i++)
		sim_disk_set_hanging(test->set->disks[i], false);
}

static void test_hang_at_export(void **state)
{
	(void)state;
	run("raid6", hang_at_export_body);
}

/* ---- a faulty disk comes back ---- */

static void come_back_body(struct test *test)
{
	fill(test, 0, 100, 1);
	OK(volume_flush(test->volume));
	sim_disk_vanish(test->set->disks[3], SIM_CRASH_NONE);
	fill(test, 50, 100, 7);
	OK(volume_flush(test->volume));
	assert_int_equal(info_of(test).health, LIBPOOL_DEGRADED);
	assert_true(engine_disk_online(test->engine, "#3", NULL, false, &test->error) < 0);
	test->error = (struct pool_error){0};
	sim_disk_return(test->set->disks[3]);
	OK(engine_disk_online(test->engine, "#3", NULL, false, &test->error));
	OK(engine_jobs_wait(test->engine, 0, 0));
	is_healthy(test);
	/* Now it counts: without another one everything is there. */
	OK(engine_disk_offline(test->engine, "#0", false, &test->error));
	compare(test, 0, 50, 1);
	compare(test, 50, 100, 7);
	volume_close(test->volume);
	OK(engine_export(test->engine, &test->error));
}

static void test_come_back(void **state)
{
	(void)state;
	run("raid5", come_back_body);
}

/* ---- the same over a replacement: a crash in the middle of the rebuild ---- */

static void replace_body(struct test *test)
{
	struct libpool_replace_options options = {.size = sizeof(options), .old_disk = "#2"};
	struct libpool_disk_info *disks;
	size_t count;

	sim_disks_add(test->set, 64 * MIB);
	options.new_disk = test->set->disks[DISKS]->path;
	fill(test, 0, 400, 1);
	OK(volume_flush(test->volume));
	volume_close(test->volume);
	OK(engine_disk_replace(test->engine, &options, &test->error));
	rt_sleep(test->rt, 30 * NS_PER_MS);
	engine_abandon(test->engine);
	import(test);
	OK(engine_jobs_wait(test->engine, 0, 0));
	assert_int_equal(engine_disks(test->engine, &disks, &count), 0);
	assert_int_equal(count, DISKS);
	for (size_t i = 0; i < count; i++) {
		assert_int_not_equal(disks[i].index, 2);
		assert_int_equal(disks[i].state, LIBPOOL_DISK_ONLINE);
	}
	free(disks);
	open_volume(test);
	compare(test, 0, 400, 1);
	volume_close(test->volume);
	OK(engine_export(test->engine, &test->error));
}

static void test_replace(void **state)
{
	(void)state;
	run("raid6", replace_body);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vanish),    cmocka_unit_test(test_hang),    cmocka_unit_test(test_hang_at_export),
		cmocka_unit_test(test_come_back), cmocka_unit_test(test_replace),
	};

	return cmocka_run_group_tests_name("pool_failing", tests, NULL, NULL);
}
