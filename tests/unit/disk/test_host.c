/*
 * The host's provider on real files, with io_uring and with threads; on a loop device too where the test may
 * make one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <linux/magic.h>
#include <unistd.h>
#include <cmocka.h>

#include "checksum/crc32c.h"
#include "libpool/base/buffer.h"
#include "libpool/disk/provider.h"
#include "libpool/format/label.h"
#include "libpool/rt/env_host.h"

#define MIB ((uint64_t)1 << 20)

static struct rt *rt;
static struct disk_provider *provider;
static struct disk_host_options options;
static char folder[64], path[128];
static void (*current)(void);

static void main_fiber(void *argument)
{
	(void)argument;
	current();
}

static void run(void (*body)(void))
{
	struct pool_env *env;

	assert_int_equal(env_host_new(1, &env), 0);
	assert_int_equal(rt_new(env, &rt), 0);
	assert_int_equal(disk_host_new(rt, &options, &provider), 0);
	current = body;
	assert_int_equal(rt_run(rt, main_fiber, NULL), 0);
	disk_host_free(provider);
	rt_free(rt);
	env_host_free(env);
}

static void make_file(const char *name, uint64_t size)
{
	snprintf(path, sizeof(path), "%s/%s", folder, name);
	int descriptor = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(descriptor >= 0);
	assert_int_equal(ftruncate(descriptor, (off_t)size), 0);
	close(descriptor);
}

static struct disk *open_disk(unsigned flags)
{
	struct pool_error error = {0};
	struct disk *disk = NULL;
	int result = provider->ops->open(provider, rt, path, flags, &disk, &error);

	if (result < 0)
		fail_msg("%s", error.text);
	return disk;
}

static int open_fails(unsigned flags, char *ret_text)
{
	struct pool_error error = {0};
	struct disk *disk = NULL;
	int result = provider->ops->open(provider, rt, path, flags, &disk, &error);

	assert_null(disk);
	assert_int_equal(error.code, result);
	strcpy(ret_text, error.text);
	return result;
}

static bool disk_is_in_memory(void)
{
	struct statfs file_system;

	return statfs(path, &file_system) == 0 && file_system.f_type == TMPFS_MAGIC;
}

static void fill(struct buffer *buffer, uint64_t from)
{
	for (size_t i = 0; i < buffer->size / 8; i++)
		((uint64_t *)buffer->data)[i] = (from + i) * UINT64_C(0x9e3779b97f4a7c15);
}

static void transfers(struct disk *disk)
{
	CLEANUP_BUFFER struct buffer *data = buffer_new(MIB), *back = buffer_new(MIB), *expected = buffer_new(MIB);

	fill(data, 1);
	assert_int_equal(disk_write(disk, 4 * MIB, MIB, data, 0, false), 0);
	assert_int_equal(disk_flush(disk), 0);
	assert_int_equal(disk_read(disk, 4 * MIB, MIB, back, 0), 0);
	assert_memory_equal(data->data, back->data, MIB);
	assert_int_equal(disk_write(disk, 4 * MIB + 8192, 4096, data, 65536, true), 0);
	memcpy(expected->data, data->data, MIB);
	memcpy(expected->data + 8192, data->data + 65536, 4096);
	assert_int_equal(disk_read(disk, 4 * MIB, MIB, back, 0), 0);
	assert_memory_equal(expected->data, back->data, MIB);
	assert_int_equal(disk->counters.writes, 2);
	assert_int_equal(disk->counters.bytes_read, 2 * MIB);
	assert_int_equal(disk->in_flight, 0);
}

static void transfers_body(void)
{
	struct disk *disk = open_disk(DISK_OPEN_EXCLUSIVE);

	assert_true(disk->info.is_file);
	assert_int_equal(disk->info.size, 16 * MIB);
	assert_string_equal(disk->info.path, path);
	assert_int_equal(strncmp(disk->info.serial, "file:", 5), 0);
	transfers(disk);
	disk_close(disk);
}

static void trim_body(void)
{
	struct disk *disk = open_disk(0);
	CLEANUP_BUFFER struct buffer *data = buffer_new(MIB), *back = buffer_new(MIB);
	struct stat before, after;

	fill(data, 7);
	assert_int_equal(disk_write(disk, 0, MIB, data, 0, true), 0);
	stat(path, &before);
	assert_int_equal(disk_trim(disk, 65536, MIB - 131072), 0);
	stat(path, &after);
	assert_true(after.st_blocks < before.st_blocks);
	memset(data->data + 65536, 0, MIB - 131072);
	assert_int_equal(disk_read(disk, 0, MIB, back, 0), 0);
	assert_memory_equal(data->data, back->data, MIB);
	assert_int_equal(disk->counters.bytes_trimmed, MIB - 131072);
	disk_close(disk);
}

/* ---- CRCs made on the way ---- */

struct read_with_sums {
	struct disk_io io;
	struct iovec iov;
	struct rt_queue queue;
	bool done;
};

static void sums_done(struct disk_io *io)
{
	struct read_with_sums *read = container_of(io, struct read_with_sums, io);

	read->done = true;
	rt_queue_wake_all(rt, &read->queue);
}

/* Whoever moves the bytes in this process makes what is asked for. */
static bool makes_sums(const struct disk_io *io)
{
	return io->result == 0 && (options.no_uring || disk_is_in_memory());
}

static void read_with_sums(struct disk *disk, uint64_t offset, struct buffer *buffer, uint32_t *crcs, struct hash128 *hash)
{
	struct read_with_sums read = {.io = {.operation = DISK_READ, .offset = offset, .length = buffer->size, .iov_count = 1}};

	read.iov = (struct iovec){buffer->data, buffer->size};
	read.io.iov = &read.iov;
	read.io.crcs = crcs;
	read.io.hash = hash;
	read.io.done = sums_done;
	rt_queue_init(&read.queue);
	disk_submit(disk, &read.io);
	while (!read.done)
		rt_queue_wait(rt, &read.queue);
	for (size_t i = 0; crcs && i < buffer->size / 4096; i++)
		assert_int_equal(crcs[i], read.io.has_crcs ? crc32c((uint32_t)i * 7, buffer->data + i * 4096, 4096) : (uint32_t)i * 7);
	assert_int_equal(read.io.has_crcs, crcs && makes_sums(&read.io));
	assert_int_equal(read.io.has_hash, hash && makes_sums(&read.io));
	if (read.io.has_hash) {
		buffer_hash(buffer);
		assert_memory_equal(hash, &buffer->hash, sizeof(*hash));
	}
	assert_int_equal(read.io.result, offset < 16 * MIB ? 0 : -EIO);
}

static void sums_body(void)
{
	struct disk *disk = open_disk(0);
	CLEANUP_BUFFER struct buffer *data = buffer_new(3 * MIB), *back = buffer_new(3 * MIB), *cell = buffer_new(4096);
	uint32_t crcs[3 * MIB / 4096];
	struct hash128 hash;

	fill(data, 3);
	assert_int_equal(disk_write(disk, MIB, 3 * MIB, data, 0, false), 0);
	for (uint32_t i = 0; i < 3 * MIB / 4096; i++)
		crcs[i] = i * 7;
	read_with_sums(disk, MIB, back, crcs, NULL);
	assert_memory_equal(data->data, back->data, 3 * MIB);
	crcs[0] = 0;
	read_with_sums(disk, 2 * MIB + 4096, cell, crcs, NULL);
	assert_memory_equal(data->data + MIB + 4096, cell->data, 4096);
	crcs[0] = 0;
	read_with_sums(disk, 17 * MIB, cell, crcs, NULL);
	memset(back->data, 0, back->size);
	read_with_sums(disk, MIB, back, NULL, &hash);
	assert_memory_equal(data->data, back->data, 3 * MIB);
	read_with_sums(disk, 2 * MIB + 4096, cell, NULL, &hash);
	assert_memory_equal(data->data + MIB + 4096, cell->data, 4096);
	read_with_sums(disk, 17 * MIB, cell, NULL, &hash);
	disk_close(disk);
}

static void test_sums(void **state)
{
	(void)state;
	make_file("sums", 16 * MIB);
	run(sums_body);
}

/* ---- many requests at once ---- */

struct one_io {
	struct disk_io io;
	struct iovec iov;
	struct rt_group *group;
	unsigned *released;
	int done;
};

static void one_done(struct disk_io *io)
{
	struct one_io *one = container_of(io, struct one_io, io);

	assert_int_equal(one->done++, 0);
	if (one->group)
		rt_group_done(rt, one->group, io->result);
}

static void one_released(struct disk_io *io)
{
	struct one_io *one = container_of(io, struct one_io, io);

	assert_int_equal(one->done, 1);
	__atomic_add_fetch(one->released, 1, __ATOMIC_SEQ_CST);
}

#define MANY 500u

static struct one_io many[MANY];
static unsigned many_released;
static struct buffer *many_data;

static void submit_many(struct disk *disk, enum disk_operation operation, struct rt_group *group)
{
	many_released = 0;
	for (unsigned i = 0; i < MANY; i++) {
		many[i] = (struct one_io){
			.io = {.operation = operation,
			       .offset = i * UINT64_C(8192),
			       .length = 8192,
			       .iov_count = 1,
			       .done = one_done,
			       .released = one_released},
			.iov = {many_data->data + i * 8192, 8192},
			.group = group,
			.released = &many_released,
		};
		many[i].io.iov = &many[i].iov;
		if (group)
			rt_group_add(group);
		disk_submit(disk, &many[i].io);
	}
}

static void many_body(void)
{
	struct disk *disk = open_disk(0);
	struct rt_group group;
	CLEANUP_BUFFER struct buffer *expected = buffer_new(MANY * 8192);
	uint64_t calls;

	many_data = buffer_new(MANY * 8192);
	fill(many_data, 3);
	fill(expected, 3);
	rt_group_init(&group);
	submit_many(disk, DISK_WRITE, &group);
	assert_int_equal(rt_group_wait(rt, &group), 0);
	memset(many_data->data, 0, many_data->size);
	calls = disk_host_enters(provider);
	submit_many(disk, DISK_READ, &group);
	assert_int_equal(rt_group_wait(rt, &group), 0);
	rt_yield(rt);
	assert_int_equal(many_released, MANY);
	assert_memory_equal(many_data->data, expected->data, expected->size);
	/* Submitted by turns, not one by one. */
	assert_true(disk_host_enters(provider) - calls < MANY / 2 || options.queue_depth == 4);
	buffer_unref(many_data);
	disk_close(disk);
}

/* A request of more iovecs than one system call takes. */
static void scattered_body(void)
{
	enum { CELLS = 3000 };
	struct disk *disk = open_disk(0);
	struct rt_group group;
	struct iovec *iov = calloc(CELLS, sizeof(*iov));
	CLEANUP_BUFFER struct buffer *data = buffer_new(CELLS * 4096), *back = buffer_new(CELLS * 4096);
	unsigned released = 0;
	struct one_io one = {.io = {.operation = DISK_WRITE,
				    .offset = 4096,
				    .length = CELLS * 4096,
				    .iov = iov,
				    .iov_count = CELLS,
				    .done = one_done,
				    .released = one_released},
			     .group = &group,
			     .released = &released};

	fill(data, 11);
	for (unsigned i = 0; i < CELLS; i++)
		iov[i] = (struct iovec){data->data + (size_t)(CELLS - 1 - i) * 4096, 4096};
	rt_group_init(&group);
	rt_group_add(&group);
	disk_submit(disk, &one.io);
	assert_int_equal(rt_group_wait(rt, &group), 0);
	assert_int_equal(disk_read(disk, 4096, CELLS * 4096, back, 0), 0);
	for (unsigned i = 0; i < CELLS; i++)
		assert_memory_equal(back->data + (size_t)i * 4096, iov[i].iov_base, 4096);
	free(iov);
	disk_close(disk);
}

static void short_body(void)
{
	struct disk *disk = open_disk(0);
	CLEANUP_BUFFER struct buffer *buffer = buffer_new(MIB);

	assert_int_equal(truncate(path, 6 * MIB + 8192), 0);
	assert_int_equal(disk_read(disk, 6 * MIB, MIB, buffer, 0), -EIO);
	assert_int_equal(disk_read(disk, 8 * MIB, MIB, buffer, 0), -EIO);
	assert_int_equal(disk_read(disk, 6 * MIB, 8192, buffer, 0), 0);
	assert_int_equal(disk->counters.read_errors, 2);
	disk_close(disk);
}

/* Closed with everything in flight: each request is told at once, and released when the kernel is through. */
static void close_in_flight_body(void)
{
	struct disk *disk = open_disk(DISK_OPEN_EXCLUSIVE);

	many_data = buffer_new_zero(MANY * 8192);
	submit_many(disk, DISK_WRITE, NULL);
	rt_yield(rt);
	disk_close(disk);
	for (unsigned i = 0; i < MANY; i++)
		assert_int_equal(many[i].done, 1);
}

static void close_then_open_body(void)
{
	close_in_flight_body();
	while (many_released < MANY)
		rt_sleep(rt, NS_PER_MS);
	/* The last release gives up the lock in the same step. */
	disk_close(open_disk(DISK_OPEN_EXCLUSIVE));
	buffer_unref(many_data);
}

static void lock_body(void)
{
	struct disk *disk = open_disk(DISK_OPEN_EXCLUSIVE), *reader;
	char text[600];

	assert_int_equal(open_fails(DISK_OPEN_EXCLUSIVE, text), -EBUSY);
	assert_non_null(strstr(text, path));
	reader = open_disk(DISK_OPEN_READ_ONLY);
	CLEANUP_BUFFER struct buffer *buffer = buffer_new_zero(4096);

	assert_true(disk_write(reader, 0, 4096, buffer, 0, false) < 0);
	assert_int_equal(disk_read(reader, 0, 4096, buffer, 0), 0);
	disk_close(reader);
	disk_close(disk);
	disk_close(open_disk(DISK_OPEN_EXCLUSIVE));
}

static void kinds_body(void)
{
	char text[600];

	strcpy(path, folder);
	assert_int_equal(open_fails(0, text), -ENOTBLK);
	strcpy(path, "/dev/null");
	assert_int_equal(open_fails(0, text), -ENOTBLK);
	snprintf(path, sizeof(path), "%s/fifo", folder);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(open_fails(0, text), -ENOTBLK);
	unlink(path);
	assert_int_equal(open_fails(0, text), -ENOENT);
}

/* ---- probing and searching ---- */

static struct disk_probe probe(void)
{
	struct disk_probe result;
	struct pool_error error = {0};

	if (provider->ops->probe(provider, rt, path, &result, &error) < 0)
		fail_msg("%s", error.text);
	return result;
}

static bool run_tool(const char *format)
{
	char command[400];

	snprintf(command, sizeof(command), format, path);
	return system(command) == 0;
}

static void probe_body(void)
{
	struct disk_probe found = probe();
	struct pool_error error = {0};

	assert_false(found.foreign || found.pool_member || found.mounted);
	assert_string_equal(found.what, "");
	if (run_tool("mke2fs -q -F -L home %s >/dev/null 2>&1")) {
		found = probe();
		assert_true(found.foreign && !found.pool_member && !found.mounted);
		assert_non_null(strstr(found.what, "ext2 file system \"home\""));
	}
	make_file("disk", 64 * MIB);
	if (run_tool("echo 'label: gpt' | sfdisk -q %s >/dev/null 2>&1")) {
		found = probe();
		assert_true(found.foreign);
		assert_string_equal(found.what, "gpt partition table");
	}
	make_file("disk", 64 * MIB);
	struct disk *disk = open_disk(DISK_OPEN_EXCLUSIVE);

	found = probe();
	assert_true(found.mounted && !found.foreign);
	disk_close(disk);
	assert_false(probe().mounted);
	strcpy(path, "/dev/null");
	assert_int_equal(provider->ops->probe(provider, rt, path, &found, &error), -ENOTBLK);
}

static void probe_label_body(void)
{
	struct label *label = calloc(1, sizeof(*label));
	struct disk *disk = open_disk(0);
	CLEANUP_BUFFER struct buffer *raw = buffer_new_zero(LABEL_COPY_SIZE);

	strcpy(label->name, "tank");
	label->pool.bytes[0] = label->disk.bytes[0] = 1;
	label->au_shift = 18;
	label->k = label->m = 1;
	label->size = 64 * MIB;
	label->disk_count = 1;
	label->disks[0].guid = label->disk;
	label->disks[0].size = label->size;
	label_encode(label, 1, 1, raw->data);
	/* Only the second copy of area B is left. */
	assert_int_equal(disk_write(disk, 63 * MIB + LABEL_OFFSET + LABEL_COPY_SIZE, LABEL_COPY_SIZE, raw, 0, true), 0);
	struct disk_probe found = probe();

	assert_true(found.pool_member);
	assert_non_null(strstr(found.what, "pool"));
	/* A damaged one still counts. */
	raw->data[LABEL_COPY_SIZE - 1] ^= 1;
	assert_int_equal(disk_write(disk, 63 * MIB + LABEL_OFFSET + LABEL_COPY_SIZE, LABEL_COPY_SIZE, raw, 0, true), 0);
	found = probe();
	assert_true(found.pool_member);
	assert_non_null(strstr(found.what, "damaged"));
	disk_close(disk);
	free(label);
}

static void candidates_body(void)
{
	const char *folders[] = {folder, "/nonexistent"};
	struct pool_error error = {0};
	char **paths, expected[128];
	size_t count;

	make_file("small", MIB);
	make_file("b-disk", 64 * MIB);
	make_file("a-disk", 64 * MIB);
	assert_int_equal(provider->ops->candidates(provider, rt, folders, 2, false, &paths, &count, &error), 0);
	assert_int_equal(count, 3);
	snprintf(expected, sizeof(expected), "%s/a-disk", folder);
	assert_string_equal(paths[0], expected);
	free(paths);
	assert_int_equal(provider->ops->candidates(provider, rt, NULL, 0, true, &paths, &count, &error), 0);
	for (size_t i = 0; i < count; i++)
		assert_null(strstr(paths[i], "/dev/ram"));
	free(paths);
}

static char loop_path[64];

static void loop_body(void)
{
	struct disk_probe found = probe();
	struct pool_error error = {0};
	char text[600], **paths;
	size_t count;
	bool listed = false;

	assert_true(found.mounted);
	assert_non_null(strstr(found.what, "loop"));
	strcpy(path, loop_path);
	found = probe();
	assert_false(found.mounted || found.foreign);
	assert_int_equal(provider->ops->candidates(provider, rt, NULL, 0, true, &paths, &count, &error), 0);
	for (size_t i = 0; i < count; i++)
		listed |= !strcmp(paths[i], loop_path);
	assert_true(listed);
	free(paths);
	struct disk *disk = open_disk(DISK_OPEN_EXCLUSIVE);

	assert_false(disk->info.is_file);
	assert_int_equal(disk->info.size, 64 * MIB);
	assert_int_equal(open_fails(DISK_OPEN_EXCLUSIVE, text), -EBUSY);
	assert_true(probe().mounted);
	transfers(disk);
	assert_true(disk->info.trims);
	assert_int_equal(disk_trim(disk, 4 * MIB, MIB), 0);
	disk_close(disk);
	disk_close(open_disk(DISK_OPEN_EXCLUSIVE));
}

/* ---- groups ---- */

static void on_file(void (*body)(void), uint64_t size)
{
	make_file("disk", size);
	run(body);
}

#define HOST_TEST(name, size)                                                                                \
	static void test_##name(void **state)                                                                \
	{                                                                                                    \
		(void)state;                                                                                 \
		on_file(name##_body, size);                                                                  \
	}

HOST_TEST(transfers, 16 * MIB + 1000)
HOST_TEST(trim, 16 * MIB)
HOST_TEST(many, 16 * MIB)
HOST_TEST(scattered, 16 * MIB)
HOST_TEST(short, 16 * MIB)
HOST_TEST(close_then_open, 16 * MIB)
HOST_TEST(lock, 16 * MIB)
HOST_TEST(kinds, 16 * MIB)
HOST_TEST(probe, 64 * MIB)
HOST_TEST(probe_label, 64 * MIB)
HOST_TEST(candidates, 64 * MIB)

/* The engine ends while the kernel or the threads still have the requests. */
static void test_close_in_flight(void **state)
{
	(void)state;
	for (int i = 0; i < 20; i++) {
		on_file(close_in_flight_body, 16 * MIB);
		for (int wait = 0; wait < 5000 && __atomic_load_n(&many_released, __ATOMIC_SEQ_CST) < MANY; wait++)
			usleep(1000);
		assert_int_equal(many_released, MANY);
		buffer_unref(many_data);
	}
}

static void test_small_queue(void **state)
{
	(void)state;
	options.queue_depth = 4;
	on_file(many_body, 16 * MIB);
	options.queue_depth = 0;
}

static void test_loop_device(void **state)
{
	char command[300];
	FILE *tool;

	(void)state;
	make_file("disk", 64 * MIB);
	snprintf(command, sizeof(command), "losetup --find --show %s 2>/dev/null", path);
	tool = popen(command, "re");
	bool made = tool && fgets(loop_path, sizeof(loop_path), tool);

	if (tool)
		pclose(tool);
	if (!made)
		skip();
	loop_path[strcspn(loop_path, "\n")] = 0;
	run(loop_body);
	snprintf(command, sizeof(command), "losetup -d %s", loop_path);
	assert_int_equal(system(command), 0);
}

static const char *parent = "/tmp";

static int make_folder(void **state)
{
	(void)state;
	snprintf(folder, sizeof(folder), "%s/libpool-host-XXXXXX", parent);
	return mkdtemp(folder) ? 0 : -1;
}

/* A file system in RAM: its files are read and written by the workers. */
static bool memory_folder(void)
{
	struct statfs file_system;

	parent = "/dev/shm";
	return access(parent, W_OK) == 0 && statfs(parent, &file_system) == 0 && file_system.f_type == TMPFS_MAGIC;
}

/* ---- a process that was stopped ---- */

static uint64_t stopped_ns;
static uint64_t (*real_monotonic_ns)(struct pool_env *env);

static uint64_t late_monotonic_ns(struct pool_env *env)
{
	return real_monotonic_ns(env) + stopped_ns;
}

/* While the disk is being opened, which its lock holds up, a minute passes in which nobody runs. */
static void stop_fiber(void *argument)
{
	rt_sleep(rt, 50 * NS_PER_MS);
	stopped_ns = 60 * NS_PER_S;
	for (unsigned i = 0; i < 10; i++)
		rt_yield(rt); /* timers fire */
	assert_int_equal(flock(*(int *)argument, LOCK_UN), 0);
}

static void stopped_body(void)
{
	struct pool_env *env = rt_env(rt);
	const struct pool_env_ops *ops = env->ops;
	struct pool_env_ops late = *ops;

	make_file("stopped", MIB);
	int locked = open(path, O_RDWR | O_CLOEXEC);
	assert_int_equal(flock(locked, LOCK_EX), 0);
	stopped_ns = 0;
	real_monotonic_ns = ops->monotonic_ns;
	late.monotonic_ns = late_monotonic_ns;
	env->ops = &late;
	assert_int_equal(rt_spawn(rt, "stop", stop_fiber, &locked), 0);
	struct disk *disk = open_disk(DISK_OPEN_EXCLUSIVE);
	assert_true(stopped_ns > 0);
	disk_close(disk);
	close(locked);
	env->ops = ops;
}

static void test_stopped(void **state)
{
	(void)state;
	run(stopped_body);
}

static int remove_folder(void **state)
{
	char command[100];

	(void)state;
	snprintf(command, sizeof(command), "rm -rf %s", folder);
	return system(command);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_transfers),   cmocka_unit_test(test_trim),
		cmocka_unit_test(test_sums),
		cmocka_unit_test(test_many),        cmocka_unit_test(test_small_queue),
		cmocka_unit_test(test_scattered),   cmocka_unit_test(test_short),
		cmocka_unit_test(test_close_then_open), cmocka_unit_test(test_close_in_flight),
		cmocka_unit_test(test_lock),        cmocka_unit_test(test_kinds),
		cmocka_unit_test(test_probe),       cmocka_unit_test(test_probe_label),
		cmocka_unit_test(test_candidates),  cmocka_unit_test(test_loop_device),
		cmocka_unit_test(test_stopped),
	};
	int failed = cmocka_run_group_tests_name("io_uring", tests, make_folder, remove_folder);

	options.no_uring = true;
	failed += cmocka_run_group_tests_name("threads", tests, make_folder, remove_folder);
	if (memory_folder())
		failed += cmocka_run_group_tests_name("memory", tests, make_folder, remove_folder);
	return failed;
}
