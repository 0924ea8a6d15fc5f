/* Who has a volume open: the list of users, exclusive and read-only handles, and what is refused meanwhile. */
#include "tests/unit/pool/support.h"

struct scene {
	struct bench bench;
	libpool_pool *pool;
};

static void begin(struct scene *scene)
{
	struct bench bench;

	bench_begin(&scene->bench, 2, 64 * MIB);
	bench = scene->bench;
	OK(bench_create(&scene->bench, "tank", "raid1", 0, 2));
	OK(bench_import(&scene->bench, "tank", &scene->pool));
	OK(bench_volume(&scene->bench, scene->pool, "a", MIB, 4096));
	OK(bench_volume(&scene->bench, scene->pool, "b", MIB, 4096));
}

static void end(struct scene *scene)
{
	assert_int_equal(libpool_close(scene->pool, &scene->bench.error), 0);
	bench_end(&scene->bench);
}

static int open_as(struct scene *scene, const char *name, const char *user, uint32_t read_only, uint32_t exclusive,
		   libpool_volume **ret_volume)
{
	struct libpool_open_options options = {
		.size = sizeof(options), .user = user, .read_only = read_only, .exclusive = exclusive};

	return libpool_volume_open(scene->pool, name, &options, ret_volume, &scene->bench.error);
}

#define bench (scene.bench) /* for OK and REFUSED */

static void test_list(void **state)
{
	struct scene scene;
	libpool_volume *first, *second, *third;
	struct libpool_user *users;
	struct libpool_volume_info info = {.size = sizeof(info)};
	size_t count;
	char own[64];

	(void)state;
	begin(&scene);
	OK(libpool_users(scene.pool, &users, &count));
	assert_int_equal(count, 0);
	libpool_free(users);
	OK(open_as(&scene, "a", "nbdkit pid 1 export a", 0, 0, &first));
	OK(open_as(&scene, "b", "reader", 1, 1, &second));
	OK(libpool_volume_open(scene.pool, "a", NULL, &third, &bench.error));
	OK(libpool_users(scene.pool, &users, &count));
	assert_int_equal(count, 3);
	assert_int_equal(users->size, sizeof(*users));
	assert_string_equal(users->dataset, "a");
	assert_string_equal(users->user, "nbdkit pid 1 export a");
	assert_true(users->since_ns > UINT64_C(1700000000) * 1000000000);
	assert_int_equal(users->read_only, 0);
	assert_string_equal(LIBPOOL_ELEMENT(libpool_user, users, 1)->dataset, "b");
	assert_string_equal(LIBPOOL_ELEMENT(libpool_user, users, 1)->user, "reader");
	assert_int_equal(LIBPOOL_ELEMENT(libpool_user, users, 1)->read_only, 1);
	assert_int_equal(LIBPOOL_ELEMENT(libpool_user, users, 1)->exclusive, 1);
	snprintf(own, sizeof(own), " pid %ld", (long)getpid());
	assert_non_null(strstr(LIBPOOL_ELEMENT(libpool_user, users, 2)->user, own));
	libpool_free(users);
	OK(libpool_volume_info(scene.pool, "a", &info, &bench.error));
	assert_int_equal(info.open_count, 2);
	assert_int_equal(info.volume_bytes, MIB);
	OK(libpool_volume_close(first));
	OK(libpool_volume_info(scene.pool, "a", &info, &bench.error));
	assert_int_equal(info.open_count, 1);
	REFUSED(libpool_volume_info(scene.pool, "c", &info, &bench.error), -ENOENT, "no volume c");
	OK(libpool_volume_close(second));
	OK(libpool_volume_close(third));
	OK(libpool_users(scene.pool, &users, &count));
	assert_int_equal(count, 0);
	libpool_free(users);
	end(&scene);
}

static void test_user_text(void **state)
{
	struct scene scene;
	libpool_volume *volume;
	char text[LIBPOOL_TEXT_MAX + 1];

	(void)state;
	begin(&scene);
	memset(text, 'x', sizeof(text));
	text[LIBPOOL_TEXT_MAX] = 0;
	REFUSED(open_as(&scene, "a", text, 0, 0, &volume), -EINVAL, "at most 255 bytes");
	REFUSED(open_as(&scene, "a", "two\nlines", 0, 0, &volume), -EINVAL, "one line");
	text[LIBPOOL_TEXT_MAX - 1] = 0;
	OK(open_as(&scene, "a", text, 0, 1, &volume));
	/* A user's text never makes a message longer than it may be. */
	REFUSED(libpool_close_prepare(scene.pool, 0, &bench.error), -LIBPOOL_EINUSE, "stop that first");
	OK(libpool_volume_close(volume));
	end(&scene);
}

static void test_exclusive(void **state)
{
	struct scene scene;
	libpool_volume *volume, *other;

	(void)state;
	begin(&scene);
	OK(open_as(&scene, "a", "first", 0, 1, &volume));
	REFUSED(open_as(&scene, "a", "second", 0, 1, &other), -LIBPOOL_EINUSE, "tank/a is in use, exclusively, by first");
	REFUSED(open_as(&scene, "a", "second", 1, 0, &other), -LIBPOOL_EINUSE, "exclusively, by first");
	OK(open_as(&scene, "b", "second", 0, 0, &other));
	OK(libpool_volume_close(volume));
	REFUSED(open_as(&scene, "b", "third", 0, 1, &volume), -LIBPOOL_EINUSE, "tank/b is in use by second");
	OK(libpool_volume_close(other));
	OK(open_as(&scene, "b", "third", 0, 1, &volume));
	OK(libpool_volume_close(volume));
	end(&scene);
}

static void test_read_only(void **state)
{
	struct scene scene;
	libpool_volume *volume;
	uint8_t data[4096] = {1};

	(void)state;
	begin(&scene);
	OK(open_as(&scene, "a", "reader", 1, 0, &volume));
	assert_int_equal(libpool_volume_write(volume, 0, sizeof(data), data), -EROFS);
	assert_int_equal(libpool_volume_zero(volume, 0, 4096), -EROFS);
	assert_int_equal(libpool_volume_trim(volume, 0, 4096), -EROFS);
	OK(libpool_volume_read(volume, 0, sizeof(data), data));
	assert_int_equal(data[0], 0);
	OK(libpool_volume_flush(volume));
	OK(libpool_volume_close(volume));
	end(&scene);
}

static void test_resize(void **state)
{
	struct scene scene;
	libpool_volume *volume;
	struct libpool_volume_info info = {.size = sizeof(info)};
	uint8_t data[4096] = {1};

	(void)state;
	begin(&scene);
	OK(open_as(&scene, "a", "vm 7", 0, 0, &volume));
	OK(libpool_volume_resize(scene.pool, "a", 2 * MIB, &bench.error));
	OK(libpool_volume_get_info(volume, &info));
	assert_int_equal(info.volume_bytes, 2 * MIB);
	OK(libpool_volume_write(volume, 2 * MIB - sizeof(data), sizeof(data), data));
	OK(libpool_volume_resize(scene.pool, "a", 2 * MIB, &bench.error));
	REFUSED(libpool_volume_resize(scene.pool, "a", 2 * MIB - 4096, &bench.error), -LIBPOOL_EINUSE, "made smaller while it is in use by vm 7");
	REFUSED(libpool_property_set(scene.pool, "a", "volsize", "1M", &bench.error), -LIBPOOL_EINUSE, "vm 7");
	REFUSED(libpool_volume_destroy(scene.pool, "a", &bench.error), -LIBPOOL_EINUSE, "destroyed while it is in use by vm 7");
	OK(libpool_volume_read(volume, 2 * MIB - sizeof(data), sizeof(data), data));
	assert_int_equal(data[0], 1);
	OK(libpool_volume_close(volume));
	OK(libpool_volume_resize(scene.pool, "a", 2 * MIB - 4096, &bench.error));
	OK(libpool_property_set(scene.pool, "a", "volsize", "1M", &bench.error));
	OK(libpool_volume_destroy(scene.pool, "a", &bench.error));
	end(&scene);
}

static void test_close_prepare(void **state)
{
	struct scene scene;
	libpool_volume *volumes[5], *other;
	uint8_t data[4096] = {1};

	(void)state;
	begin(&scene);
	for (unsigned i = 0; i < 5; i++) {
		char name[16];

		snprintf(name, sizeof(name), "user%u", i);
		OK(open_as(&scene, i % 2 ? "b" : "a", name, 0, 0, &volumes[i]));
	}
	REFUSED(libpool_close_prepare(scene.pool, 0, &bench.error), -LIBPOOL_EINUSE, "a by user0, b by user1, a by user2 and 2 more");
	/* Nothing has changed. */
	OK(open_as(&scene, "b", "more", 0, 0, &other));
	OK(libpool_volume_close(other));
	OK(libpool_close_prepare(scene.pool, 1, &bench.error));
	REFUSED(open_as(&scene, "b", "late", 0, 0, &other), -ENODEV, "being closed");
	OK(libpool_volume_write(volumes[0], 0, sizeof(data), data));
	OK(libpool_volume_flush(volumes[0]));
	for (unsigned i = 0; i < 4; i++)
		OK(libpool_volume_close(volumes[i]));
	OK(libpool_close(scene.pool, &bench.error));
	assert_int_equal(libpool_volume_read(volumes[4], 0, sizeof(data), data), -ENODEV);
	OK(libpool_volume_close(volumes[4]));

	OK(bench_import(&bench, "tank", &scene.pool));
	OK(libpool_close_prepare(scene.pool, 0, &bench.error));
	REFUSED(open_as(&scene, "b", "late", 0, 0, &other), -ENODEV, "being closed");
	end(&scene);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_list),      cmocka_unit_test(test_user_text), cmocka_unit_test(test_exclusive),
		cmocka_unit_test(test_read_only), cmocka_unit_test(test_resize),    cmocka_unit_test(test_close_prepare),
	};

	return cmocka_run_group_tests_name("pool_users", tests, NULL, NULL);
}
