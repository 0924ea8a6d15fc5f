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
	return provider->ops->check(provider, disk, 64 * MIB);
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
	/* What counts is what is needed, not what was there. */
	assert_int_equal(provider->ops->check(provider, disk, 64 * MIB + 1), -ENXIO);
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

/* ---- a device ---- */

static char device[64];

static bool command_works(const char *format, const char *argument)
{
	char command[256];

	snprintf(command, sizeof(command), format, argument);
	return system(command) == 0;
}

static bool make_device(void)
{
	char command[256];
	FILE *tool;

	make_file(path);
	snprintf(command, sizeof(command), "losetup --find --show %s 2>/dev/null", path);
	tool = popen(command, "re");
	bool made = tool && fgets(device, sizeof(device), tool);

	if (tool)
		pclose(tool);
	device[strcspn(device, "\n")] = 0;
	return made;
}

/* It shrinks, as by a driver that was told so, and is as large as ever again. */
static void look_at_device(void *argument)
{
	(void)argument;
	struct disk *disk = open_path(device);

	assert_int_equal(check(disk), 0);
	assert_int_equal(truncate(path, 32 * MIB), 0);
	assert_true(command_works("losetup -c %s", device));
	assert_int_equal(check(disk), -ENXIO);
	assert_int_equal(truncate(path, 0), 0);
	assert_true(command_works("losetup -c %s", device));
	assert_int_equal(check(disk), -ENODEV);
	assert_int_equal(truncate(path, 64 * MIB), 0);
	assert_true(command_works("losetup -c %s", device));
	assert_int_equal(check(disk), 0);
	disk_close(disk);
}

static void run(fiber_function *function)
{
	struct pool_env *env;

	assert_int_equal(env_host_new(1, &env), 0);
	assert_int_equal(rt_new(env, &rt), 0);
	assert_int_equal(disk_host_new(rt, NULL, &provider), 0);
	assert_int_equal(rt_run(rt, function, NULL), 0);
	disk_host_free(provider);
	rt_free(rt);
	env_host_free(env);
}

static void test_device(void **state)
{
	(void)state;
	elsewhere = false;
	snprintf(folder, sizeof(folder), "check-XXXXXX");
	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/disk", folder);
	bool made = geteuid() == 0 && make_device();

	if (made) {
		run(look_at_device);
		assert_true(command_works("losetup -d %s", device));
	}
	(void)unlink(path);
	assert_int_equal(rmdir(folder), 0);
	if (!made)
		skip();
}

static void test_check(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		elsewhere = i;
		snprintf(folder, sizeof(folder), "check-XXXXXX");
		assert_non_null(mkdtemp(folder));
		snprintf(path, sizeof(path), "%s/disk", folder);
		snprintf(other, sizeof(other), "%s/other", folder);
		run(look);
		assert_int_equal(rmdir(folder), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_check), cmocka_unit_test(test_device)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
