/* Nodes of a file system that callers hold, as a kernel does for what it knows. */
#include "tests/unit/pool/support.h"

#define COUNT 300

static int compare(const void *a, const void *b)
{
	uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;

	return (left > right) - (left < right);
}

/* Those of `nodes`, in ascending order, are held, and no others. */
static void check_held(struct bench *outer, libpool_fs *fs, const uint64_t *nodes, size_t count)
{
	struct bench bench = *outer;
	uint64_t *held = NULL;
	size_t held_count = 0;

	OK(libpool_fs_held(fs, &held, &held_count));
	assert_int_equal(held_count, count);
	qsort(held, held_count, sizeof(*held), compare);
	assert_memory_equal(held, nodes, count * sizeof(*nodes));
	libpool_free(held);
}

static void test_held(void **state)
{
	struct libpool_fs_options options = {.size = sizeof(options)};
	struct libpool_new new = {.size = sizeof(new), .mode = 0100644};
	struct libpool_attributes file = LIBPOOL_INIT(libpool_attributes);
	uint64_t nodes[COUNT];
	struct bench bench;
	libpool_pool *pool;
	libpool_fs *fs;
	char name[20];

	(void)state;
	bench_begin(&bench, 2, 128 * MIB);
	OK(bench_create(&bench, "tank", "raid1", 0, 2));
	OK(bench_import(&bench, "tank", &pool));
	OK(libpool_fs_create(pool, "f", &options, &bench.error));
	OK(libpool_fs_open(pool, "f", NULL, &fs, &bench.error));
	check_held(&bench, fs, NULL, 0);
	for (unsigned i = 0; i < COUNT; i++) {
		snprintf(name, sizeof(name), "%u", i);
		OK(libpool_fs_make(fs, LIBPOOL_FS_ROOT, name, &new, &file));
		nodes[i] = file.node;
	}
	/* Held twice, without a name, and both. */
	OK(libpool_fs_lookup(fs, LIBPOOL_FS_ROOT, "7", &file));
	OK(libpool_fs_unlink(fs, LIBPOOL_FS_ROOT, "7"));
	OK(libpool_fs_unlink(fs, LIBPOOL_FS_ROOT, "8"));
	check_held(&bench, fs, nodes, COUNT);
	OK(libpool_fs_forget(fs, nodes[7], 1));
	check_held(&bench, fs, nodes, COUNT);
	for (unsigned i = COUNT / 2; i < COUNT; i++)
		OK(libpool_fs_forget(fs, nodes[i], 1));
	check_held(&bench, fs, nodes, COUNT / 2);
	for (unsigned i = 0; i < COUNT / 2; i++)
		OK(libpool_fs_forget(fs, nodes[i], 1));
	check_held(&bench, fs, NULL, 0);
	assert_int_equal(libpool_fs_forget(fs, nodes[0], 1), -EINVAL);
	assert_int_equal(libpool_fs_get(fs, nodes[7], &file), -ESTALE);
	OK(libpool_fs_close(fs));
	OK(libpool_close(pool, &bench.error));
	bench_end(&bench);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_held)};

	return cmocka_run_group_tests_name("pool_nodes", tests, NULL, NULL);
}
