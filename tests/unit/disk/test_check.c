/* Disks that lose their name or their end while they are open, looked at by the engine's thread and by one of their own. */
#include <setjmp.h>
#include <stdarg.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>

#include "libpool/disk/host_private.h"
#include "libpool/rt/env_host.h"

#define MIB (UINT64_C(1) << 20)

static char folder[64], path[128], other[128];
static struct rt *rt;
static struct disk_provider *provider;
static bool elsewhere;

static struct disk *open_path(const char *name)
{
	struct pool_error error = {0};
	struct disk *disk = NULL;

	assert_int_equal(provider->ops->open(provider, rt, name, DISK_OPEN_EXCLUSIVE, &disk, &error), 0);
	container_of(disk, struct host_disk, disk)->may_block = elsewhere;
	return disk;
}

static void make_file(const char *name)
{
	int file = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	assert_true(file >= 0);
	assert_int_equal(ftruncate(file, 64 * MIB), 0);
	close(file);
}

static int check(struct disk *disk)
{
	return provider->ops->check(provider, disk);
}

static void look(void *argument)
{
	(void)argument;
	make_file(path);
	struct disk *disk = open_path(path);

	assert_int_equal(check(disk), 0);
	assert_int_equal(truncate(path, 64 * MIB + 4096), 0);
	assert_int_equal(check(disk), 0);
	assert_int_equal(truncate(path, 64 * MIB - 4096), 0);
	assert_int_equal(check(disk), -ENXIO);
	assert_int_equal(truncate(path, 64 * MIB), 0);
	assert_int_equal(check(disk), 0);
	/* Another name is one. */
	assert_int_equal(link(path, other), 0);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(check(disk), 0);
	make_file(path);
	assert_int_equal(rename(path, other), 0);
	assert_int_equal(check(disk), -ENOENT);
	disk_close(disk);
	assert_int_equal(unlink(other), 0);

	/* What never had a name can't lose it. */
	int memory = memfd_create("disk", MFD_CLOEXEC);

	assert_true(memory >= 0);
	assert_int_equal(ftruncate(memory, 64 * MIB), 0);
	snprintf(other, sizeof(other), "/proc/self/fd/%d", memory);
	disk = open_path(other);
	assert_int_equal(check(disk), 0);
	disk_close(disk);
	close(memory);
}

static void test_check(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		struct pool_env *env;

		elsewhere = i;
		snprintf(folder, sizeof(folder), "check-XXXXXX");
		assert_non_null(mkdtemp(folder));
		snprintf(path, sizeof(path), "%s/disk", folder);
		snprintf(other, sizeof(other), "%s/other", folder);
		assert_int_equal(env_host_new(1, &env), 0);
		assert_int_equal(rt_new(env, &rt), 0);
		assert_int_equal(disk_host_new(rt, NULL, &provider), 0);
		assert_int_equal(rt_run(rt, look, NULL), 0);
		disk_host_free(provider);
		rt_free(rt);
		env_host_free(env);
		assert_int_equal(rmdir(folder), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_check)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
