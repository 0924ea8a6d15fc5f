/*
 * Requests of one disk: deadlines, abandonment, counters, and the blocking forms.
 *
 * A request is in disk->requests from submission until it is released, and in one of these states:
 *
 *	in flight   submit ... until the backend completes it: done(), released()
 *	overdue     the deadline passed: done(-ETIMEDOUT) now, released() when the backend completes it
 *	cancelled   the disk was closed: done(-ECANCELED) now, released() when the backend completes it
 *
 * What must always hold: done() and released() are called once each, in this order; until released() the
 * backend may use io, iov and buffers; in_flight and what was abandoned of all kinds make the length of the list.
 *
 * A deadline is counted down in slices, each slice's timer armed when the one before fired. A slice counts
 * with its nominal length however late its timer came, so whatever kept the engine from running costs
 * the disk one slice at most; and if the last timer came late, completions that wait to be polled get one more.
 */
#include "libpool/disk/disk.h"

#include <stdlib.h>

#include "libpool/base/buffer.h"
#include "libpool/base/check.h"

#define DEADLINE_DEFAULT_NS (30 * NS_PER_S)
#define DEADLINE_SLICES 8
#define LATE_NS (20 * NS_PER_MS)

void disk_init(struct disk *disk, const struct disk_backend_ops *ops, struct rt *rt)
{
	*disk = (struct disk){.ops = ops, .rt = rt};
	list_init(&disk->requests);
}

static void arm_slice(struct disk_io *io, uint64_t now_ns)
{
	uint64_t slice_ns = (io->deadline_ns ? io->deadline_ns : DEADLINE_DEFAULT_NS) / DEADLINE_SLICES + 1;

	if (slice_ns > io->remaining_ns)
		slice_ns = io->remaining_ns;
	io->remaining_ns -= slice_ns;
	rt_timer_arm(io->disk->rt, &io->timer, now_ns + slice_ns);
}

static unsigned *abandoned(struct disk_io *io)
{
	if (io->operation == DISK_TRIM)
		return &io->disk->abandoned_trims;
	return io->operation == DISK_READ ? &io->disk->abandoned_reads : &io->disk->abandoned_writes;
}

/* The submitter hears of the end of a request that the backend still has. */
static void abandon(struct disk_io *io, int result)
{
	rt_timer_cancel(io->disk->rt, &io->timer);
	io->disk->in_flight--;
	rt_io_ended(io->disk->rt);
	++*abandoned(io);
	io->result = result;
	io->overdue = result == -ETIMEDOUT;
	io->finished = true;
	io->done(io);
}

static void slice_ended(struct rt_timer *timer)
{
	struct disk_io *io = container_of(timer, struct disk_io, timer);
	uint64_t now_ns = rt_now(io->disk->rt);

	if (io->remaining_ns == 0 && now_ns - timer->at_ns > LATE_NS)
		io->remaining_ns = LATE_NS;
	if (io->remaining_ns > 0) {
		arm_slice(io, now_ns);
		return;
	}
	io->disk->counters.overdue++;
	abandon(io, -ETIMEDOUT);
}

void disk_submit(struct disk *disk, struct disk_io *io)
{
	io->disk = disk;
	io->result = io->late_result = 0;
	io->overdue = io->finished = io->has_crcs = io->has_hash = false;
	io->backend = NULL;
	io->submitted_ns = rt_now(disk->rt);
	io->remaining_ns = io->deadline_ns ? io->deadline_ns : DEADLINE_DEFAULT_NS;
	io->timer = (struct rt_timer){.fire = slice_ended};
	list_push_back(&disk->requests, &io->node);
	disk->in_flight++;
	rt_io_began(disk->rt);
	arm_slice(io, io->submitted_ns);
	disk->ops->submit(disk, io);
}

static void count(struct disk_io *io, int result)
{
	struct disk_counters *counters = &io->disk->counters;
	uint64_t latency_ns = rt_now(io->disk->rt) - io->submitted_ns;

	if (latency_ns > counters->latency_ns_max)
		counters->latency_ns_max = latency_ns;
	switch (io->operation) {
	case DISK_READ:
		counters->reads++;
		counters->read_ns += latency_ns;
		counters->read_errors += result < 0;
		counters->bytes_read += result < 0 ? 0 : io->length;
		break;
	case DISK_WRITE:
		counters->writes++;
		counters->write_ns += latency_ns;
		counters->write_errors += result < 0;
		counters->bytes_written += result < 0 ? 0 : io->length;
		break;
	case DISK_FLUSH:
		counters->flushes++;
		counters->flush_ns += latency_ns;
		counters->flush_errors += result < 0;
		break;
	case DISK_TRIM:
		counters->trims++;
		counters->trim_errors += result < 0;
		io->disk->info.trims &= result != -EOPNOTSUPP;
		counters->bytes_trimmed += result < 0 ? 0 : io->length;
		break;
	}
}

void disk_complete(struct disk_io *io, int result)
{
	struct disk *disk = io->disk;
	void (*released)(struct disk_io *) = io->released;

	if (!POOL_CHECK(list_linked(&io->node)))
		return;
	count(io, result);
	list_remove(&io->node);
	if (io->finished) {
		--*abandoned(io);
		io->late_result = result;
	} else {
		rt_timer_cancel(disk->rt, &io->timer);
		disk->in_flight--;
		rt_io_ended(disk->rt);
		io->result = result;
		io->finished = true;
		io->done(io); /* may free the io if nothing is called for its release */
	}
	if (released)
		released(io);
	if (disk->closed && list_empty(&disk->requests))
		disk->ops->close(disk);
}

bool disk_forget(struct disk_io *io, int result)
{
	list_remove(&io->node);
	io->late_result = result;
	return list_empty(&io->disk->requests);
}

void disk_close(struct disk *disk)
{
	if (!disk || !POOL_CHECK(!disk->closed))
		return;
	disk->closed = true;
	list_for_each_safe(node, after, &disk->requests) {
		struct disk_io *io = container_of(node, struct disk_io, node);

		if (!io->finished)
			abandon(io, -ECANCELED);
	}
	if (list_empty(&disk->requests))
		disk->ops->close(disk);
}

/* ---- blocking forms ---- */

/* On the fiber's stack, until done(). */
struct waiter {
	struct rt_queue queue;
	bool done;
	int result;
};

/* Lives until the backend is through, which may be long after the fiber went on. */
struct blocking_io {
	struct disk_io io;
	struct iovec iov;
	struct buffer *buffer;
	struct waiter *waiter;
};

static void blocking_done(struct disk_io *io)
{
	struct waiter *waiter = container_of(io, struct blocking_io, io)->waiter;

	waiter->done = true;
	waiter->result = io->result;
	rt_queue_wake_all(io->disk->rt, &waiter->queue);
}

static void blocking_released(struct disk_io *io)
{
	struct blocking_io *blocking = container_of(io, struct blocking_io, io);

	buffer_unref(blocking->buffer);
	free(blocking);
}

static int run(struct disk *disk, const struct disk_io *request, struct buffer *buffer, size_t buffer_offset)
{
	struct blocking_io *blocking = calloc(1, sizeof(*blocking));
	struct waiter waiter = {.done = false};

	if (!blocking)
		return -ENOMEM;
	rt_queue_init(&waiter.queue);
	blocking->io = *request;
	blocking->io.done = blocking_done;
	blocking->io.released = blocking_released;
	blocking->waiter = &waiter;
	if (buffer) {
		blocking->buffer = buffer_ref(buffer);
		blocking->iov = (struct iovec){buffer->data + buffer_offset, (size_t)request->length};
		blocking->io.iov = &blocking->iov;
		blocking->io.iov_count = 1;
	}
	disk_submit(disk, &blocking->io);
	while (!waiter.done)
		rt_queue_wait(disk->rt, &waiter.queue);
	return waiter.result;
}

int disk_read(struct disk *disk, uint64_t offset, uint64_t length, struct buffer *buffer, size_t buffer_offset)
{
	struct disk_io request = {.operation = DISK_READ, .offset = offset, .length = length};

	return run(disk, &request, buffer, buffer_offset);
}

int disk_write(struct disk *disk, uint64_t offset, uint64_t length, struct buffer *buffer, size_t buffer_offset, bool fua)
{
	struct disk_io request = {.operation = DISK_WRITE, .offset = offset, .length = length, .fua = fua};

	return run(disk, &request, buffer, buffer_offset);
}

int disk_flush(struct disk *disk)
{
	struct disk_io request = {.operation = DISK_FLUSH};

	return run(disk, &request, NULL, 0);
}

int disk_trim(struct disk *disk, uint64_t offset, uint64_t length)
{
	struct disk_io request = {.operation = DISK_TRIM, .offset = offset, .length = length};

	return run(disk, &request, NULL, 0);
}
