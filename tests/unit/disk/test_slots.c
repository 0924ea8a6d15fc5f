/*
 * Files of a ring that the kernel can't let go of, as for want of memory: that is no broken invariant, which would end this
 * program, and no other disk gets their slots.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <fcntl.h>
#include <liburing.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "libpool/base/buffer.h"
#include "libpool/disk/host_private.h"
#include "libpool/rt/env_host.h"

int __real_io_uring_register_files_update(struct io_uring *ring, unsigned slot, const int *files, unsigned count);
int __wrap_io_uring_register_files_update(struct io_uring *ring, unsigned slot, const int *files, unsigned count);

static unsigned refusals, refused;

int __wrap_io_uring_register_files_update(struct io_uring *ring, unsigned slot, const int *files, unsigned count)
{
	if (refusals > 0 && files[0] < 0) {
		refusals--;
		refused++;
		return -ENOMEM;
	}
	return __real_io_uring_register_files_update(ring, slot, files, count);
}

#define MIB (UINT64_C(1) << 20)
#define DISKS 5u

static char folder[64];
static struct rt *rt;
static struct disk_provider *provider;
static bool has_slots;

static struct disk *open_one(unsigned number)
{
	struct pool_error error = {0};
	struct disk *disk = NULL;
	char path[128];

	snprintf(path, sizeof(path), "%s/%u", folder, number);
	int file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	assert_true(file >= 0);
	assert_int_equal(ftruncate(file, 64 * MIB), 0);
	close(file);
	assert_int_equal(provider->ops->open(provider, rt, path, DISK_OPEN_EXCLUSIVE, &disk, &error), 0);
	return disk;
}

static int slot_of(struct disk *disk)
{
	return container_of(disk, struct host_disk, disk)->slot;
}

static void put(struct disk *disk, uint8_t value)
{
	CLEANUP_BUFFER struct buffer *buffer = buffer_new(4096);

	memset(buffer->data, value, 4096);
	assert_int_equal(disk_write(disk, MIB, 4096, buffer, 0, false), 0);
}

static void expect_content(struct disk *disk, uint8_t value)
{
	CLEANUP_BUFFER struct buffer *buffer = buffer_new_zero(4096);

	assert_int_equal(disk_read(disk, MIB, 4096, buffer, 0), 0);
	assert_int_equal(buffer->data[0], value);
	assert_int_equal(buffer->data[4095], value);
}

static void close_and_open(void *argument)
{
	struct disk *disks[DISKS];
	int slots[DISKS];

	(void)argument;
	for (unsigned i = 0; i < DISKS; i++) {
		disks[i] = open_one(i);
		slots[i] = slot_of(disks[i]);
		put(disks[i], (uint8_t)(i + 1));
	}
	has_slots = slots[0] >= 0;
	if (!has_slots)
		goto out;
	refusals = 2;
	disk_close(disks[1]);
	disk_close(disks[2]);
	assert_int_equal(refused, 2);
	disk_close(disks[3]); /* as ever */
	for (unsigned i = 1; i <= 3; i++) {
		disks[i] = open_one(10 + i);
		assert_int_not_equal(slot_of(disks[i]), slots[1]);
		assert_int_not_equal(slot_of(disks[i]), slots[2]);
		put(disks[i], (uint8_t)(100 + i));
	}
	assert_int_equal(slot_of(disks[1]), slots[3]);
	for (unsigned i = 0; i < DISKS; i++)
		expect_content(disks[i], (uint8_t)(i >= 1 && i <= 3 ? 100 + i : i + 1));
out:
	for (unsigned i = 0; i < DISKS; i++)
		disk_close(disks[i]);
}

static void test_kept_slots(void **state)
{
	struct pool_env *env;

	(void)state;
	assert_int_equal(env_host_new(1, &env), 0);
	assert_int_equal(rt_new(env, &rt), 0);
	assert_int_equal(disk_host_new(rt, NULL, &provider), 0);
	assert_int_equal(rt_run(rt, close_and_open, NULL), 0);
	disk_host_free(provider);
	rt_free(rt);
	env_host_free(env);
	if (!has_slots)
		skip(); /* no io_uring here */
}

static int make_folder(void **state)
{
	(void)state;
	snprintf(folder, sizeof(folder), "slots-XXXXXX");
	return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
	char command[96];

	(void)state;
	snprintf(command, sizeof(command), "rm -rf %s", folder);
	return system(command) == 0 ? 0 : -1;
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_kept_slots)};

	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
