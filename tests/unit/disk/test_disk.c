/* Requests over a backend that completes when the test says so: deadlines, abandonment, counters, close. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

#include "libpool/base/buffer.h"
#include "libpool/disk/disk.h"
#include "libpool/rt/env_host.h"

struct fake {
	struct disk disk;
	struct rt_source source;
	struct disk_io *held[64];
	unsigned held_count, closes;
	bool completes; /* at the next poll */
	int result;
};

static struct fake fake;
static struct rt *rt;

static void fake_submit(struct disk *disk, struct disk_io *io)
{
	assert_ptr_equal(disk, &fake.disk);
	fake.held[fake.held_count++] = io;
}

static void fake_close(struct disk *disk)
{
	assert_true(list_empty(&disk->requests));
	fake.closes++;
}

static const struct disk_backend_ops fake_ops = {.submit = fake_submit, .close = fake_close};

static void complete_all(int result)
{
	while (fake.held_count)
		disk_complete(fake.held[--fake.held_count], result);
}

static int fake_poll(struct rt_source *source)
{
	int count = (int)fake.held_count;

	(void)source;
	if (!fake.completes)
		return 0;
	complete_all(fake.result);
	return count;
}

static void run(fiber_function *function)
{
	struct pool_env *env;

	assert_int_equal(env_host_new(0, &env), 0);
	assert_int_equal(rt_new(env, &rt), 0);
	memset(&fake, 0, sizeof(fake));
	disk_init(&fake.disk, &fake_ops, rt);
	fake.source = (struct rt_source){.poll = fake_poll, .descriptor = -1};
	env->ops->source_add(env, &fake.source);
	assert_int_equal(rt_run(rt, function, NULL), 0);
	env->ops->source_remove(env, &fake.source);
	rt_free(rt);
	env_host_free(env);
}

struct watched {
	struct disk_io io;
	int done, released;
};

static void watched_done(struct disk_io *io)
{
	struct watched *watched = container_of(io, struct watched, io);

	assert_int_equal(watched->done++, 0);
	assert_int_equal(watched->released, 0);
}

static void watched_released(struct disk_io *io)
{
	struct watched *watched = container_of(io, struct watched, io);

	assert_int_equal(watched->done, 1);
	assert_int_equal(watched->released++, 0);
}

static void submit(struct watched *watched, enum disk_operation operation, uint64_t deadline_ns)
{
	*watched = (struct watched){.io = {.operation = operation,
					   .length = operation == DISK_FLUSH ? 0 : 8192,
					   .deadline_ns = deadline_ns,
					   .done = watched_done,
					   .released = watched_released}};
	disk_submit(&fake.disk, &watched->io);
}

static void counters_body(void *argument)
{
	struct watched ios[8];
	const struct disk_counters *counters = &fake.disk.counters;

	(void)argument;
	for (unsigned i = 0; i < 8; i++)
		submit(&ios[i], (enum disk_operation)(i % 4), 0);
	assert_int_equal(fake.disk.in_flight, 8);
	rt_sleep(rt, 2 * NS_PER_MS);
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(ios[i].done, 0);
	for (unsigned i = 0; i < 8; i++)
		disk_complete(fake.held[i], i < 4 ? 0 : -EIO);
	for (unsigned i = 0; i < 8; i++) {
		assert_int_equal(ios[i].released, 1);
		assert_int_equal(ios[i].io.result, i < 4 ? 0 : -EIO);
	}
	assert_int_equal(fake.disk.in_flight, 0);
	assert_int_equal(counters->reads, 2);
	assert_int_equal(counters->writes, 2);
	assert_int_equal(counters->flushes, 2);
	assert_int_equal(counters->trims, 2);
	assert_int_equal(counters->bytes_read, 8192);
	assert_int_equal(counters->bytes_written, 8192);
	assert_int_equal(counters->bytes_trimmed, 8192);
	assert_int_equal(counters->read_errors, 1);
	assert_int_equal(counters->write_errors, 1);
	assert_int_equal(counters->flush_errors, 1);
	assert_true(counters->latency_ns_max >= 2 * NS_PER_MS);
	assert_true(counters->read_ns >= 4 * NS_PER_MS);
}

static void overdue_body(void *argument)
{
	struct watched slow_write, slow_read, patient;

	(void)argument;
	submit(&slow_write, DISK_WRITE, 30 * NS_PER_MS);
	submit(&slow_read, DISK_READ, 30 * NS_PER_MS);
	submit(&patient, DISK_FLUSH, 10 * NS_PER_S);
	rt_sleep(rt, 15 * NS_PER_MS);
	assert_int_equal(slow_write.done, 0);
	/* On a busy machine the engine runs late, and what it was late doesn't count. */
	for (unsigned i = 0; i < 3000 && !(slow_write.done && slow_read.done); i++)
		rt_sleep(rt, NS_PER_MS);
	assert_int_equal(slow_write.done, 1);
	assert_int_equal(slow_write.released, 0);
	assert_true(slow_write.io.overdue);
	assert_int_equal(slow_write.io.result, -ETIMEDOUT);
	assert_int_equal(slow_read.io.result, -ETIMEDOUT);
	assert_int_equal(patient.done, 0);
	assert_int_equal(fake.disk.in_flight, 1);
	assert_int_equal(disk_abandoned_writes(&fake.disk), 1);
	assert_int_equal(fake.disk.abandoned_reads, 1);
	assert_int_equal(fake.disk.counters.overdue, 2);
	complete_all(-ENOSPC);
	assert_int_equal(slow_write.released, 1);
	assert_int_equal(slow_write.io.late_result, -ENOSPC);
	assert_int_equal(slow_write.io.result, -ETIMEDOUT);
	assert_int_equal(patient.io.result, -ENOSPC);
	assert_false(patient.io.overdue);
	assert_int_equal(disk_abandoned_writes(&fake.disk) + fake.disk.abandoned_reads + fake.disk.in_flight, 0);
}

/* The engine itself stands still for three times the deadline; the completion was there all the time. */
static void stalled_body(void *argument)
{
	struct watched io;

	(void)argument;
	fake.completes = true;
	submit(&io, DISK_READ, 50 * NS_PER_MS);
	nanosleep(&(struct timespec){.tv_nsec = 150000000}, NULL);
	while (!io.done)
		rt_yield(rt);
	assert_int_equal(io.io.result, 0);
	assert_false(io.io.overdue);
	assert_int_equal(io.released, 1);
}

static void close_body(void *argument)
{
	struct watched late, overdue;

	(void)argument;
	submit(&overdue, DISK_WRITE, 10 * NS_PER_MS);
	while (!overdue.done) /* time in which the engine didn't run doesn't count */
		rt_sleep(rt, 10 * NS_PER_MS);
	submit(&late, DISK_WRITE, 0);
	disk_close(&fake.disk);
	assert_int_equal(late.io.result, -ECANCELED);
	assert_int_equal(overdue.io.result, -ETIMEDOUT);
	assert_int_equal(fake.closes, 0);
	disk_complete(fake.held[1], 0);
	assert_int_equal(late.released, 1);
	assert_int_equal(late.io.late_result, 0);
	assert_int_equal(fake.closes, 0);
	disk_complete(fake.held[0], 0);
	assert_int_equal(overdue.released, 1);
	assert_int_equal(fake.closes, 1);
}

static void forget_body(void *argument)
{
	struct watched ios[2];

	(void)argument;
	submit(&ios[0], DISK_WRITE, 0);
	submit(&ios[1], DISK_READ, 0);
	disk_close(&fake.disk);
	assert_false(disk_forget(&ios[0].io, -ECANCELED));
	assert_true(disk_forget(&ios[1].io, -ECANCELED));
	assert_int_equal(fake.closes, 0);
}

/* With `released` NULL the request may be freed in done(). */
static void free_in_done(struct disk_io *io)
{
	free(io);
}

static void free_early_body(void *argument)
{
	struct disk_io *io = calloc(1, sizeof(*io));

	(void)argument;
	io->operation = DISK_FLUSH;
	io->done = free_in_done;
	disk_submit(&fake.disk, io);
	complete_all(0);
	disk_close(&fake.disk);
	assert_int_equal(fake.closes, 1);
}

static void blocking_fiber(void *argument)
{
	struct buffer *buffer = argument;

	assert_int_equal(disk_write(&fake.disk, 4096, 8192, buffer, 4096, true), -EIO);
	buffer_unref(buffer);
}

static void blocking_body(void *argument)
{
	struct buffer *buffer = buffer_new_zero(12288);

	(void)argument;
	assert_int_equal(rt_spawn(rt, "writer", blocking_fiber, buffer_ref(buffer)), 0);
	while (!fake.held_count)
		rt_yield(rt);
	struct disk_io *io = fake.held[0];

	assert_int_equal(io->offset, 4096);
	assert_int_equal(io->length, 8192);
	assert_int_equal(io->iov_count, 1);
	assert_ptr_equal(io->iov[0].iov_base, buffer->data + 4096);
	assert_true(io->fua);
	assert_int_equal(buffer->references, 3);
	complete_all(-EIO);
	rt_yield(rt);
	rt_yield(rt);
	assert_true(buffer_is_sole(buffer));
	buffer_unref(buffer);
}

static void blocking_overdue_fiber(void *argument)
{
	assert_int_equal(disk_read(&fake.disk, 0, 4096, argument, 0), -ECANCELED);
}

/* The disk is closed under a waiting fiber: it goes on, and the buffer lives until the backend is through. */
static void blocking_close_body(void *argument)
{
	struct buffer *buffer = buffer_new(4096);

	(void)argument;
	assert_int_equal(rt_spawn(rt, "reader", blocking_overdue_fiber, buffer), 0);
	while (!fake.held_count)
		rt_yield(rt);
	disk_close(&fake.disk);
	while (rt_fiber_count(rt) > 1)
		rt_yield(rt);
	assert_int_equal(buffer->references, 2);
	complete_all(0);
	assert_true(buffer_is_sole(buffer));
	assert_int_equal(fake.closes, 1);
	buffer_unref(buffer);
}

#define DISK_TEST(name)                                                                                      \
	static void test_##name(void **state)                                                                      \
	{                                                                                                    \
		(void)state;                                                                                 \
		run(name##_body);                                                                            \
	}

DISK_TEST(counters)
DISK_TEST(overdue)
DISK_TEST(stalled)
DISK_TEST(close)
DISK_TEST(forget)
DISK_TEST(free_early)
DISK_TEST(blocking)
DISK_TEST(blocking_close)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_counters),
		cmocka_unit_test(test_overdue),
		cmocka_unit_test(test_stalled),
		cmocka_unit_test(test_close),
		cmocka_unit_test(test_forget),
		cmocka_unit_test(test_free_early),
		cmocka_unit_test(test_blocking),
		cmocka_unit_test(test_blocking_close),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
