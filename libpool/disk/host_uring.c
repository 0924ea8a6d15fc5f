/*
 * All disks of an rt in one io_uring: requests are collected while fibers run and submitted with one system
 * call per turn, and completions are taken without any when there are some.
 *
 * The ring is set up with COOP_TASKRUN where the kernel has it: completions are worked off by the engine's thread whenever it is in the kernel anyway, as when it
 * sleeps, and never interrupt it. With DEFER_TASKRUN it would have to enter the ring for them, once for each moment at which some of the disks of a flush answer: as much
 * processor time, and more calls. Only the first poll enables the ring, and only its thread enters it. Files are registered while there are slots.
 *
 * A sleeping engine is woken through an eventfd, which is switched on only before it sleeps; what arrived just before is looked for once more, so no
 * completion falls between.
 *
 * What must always hold: a request is in exactly one of pending and in_ring until it is completed. What the
 * kernel still has when the engine goes is never freed before the kernel is done with it: no io_uring call
 * tells when that is once the ring is closed, but its registered files are let go only after its last
 * request; so slot 0 holds the writing end of a pipe, and the detached owner waits for the pipe's end.
 */
#include <fcntl.h>
#include <limits.h>
#include <liburing.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "libpool/base/check.h"
#include "libpool/disk/host_private.h"

#define QUEUE_DEPTH_DEFAULT 256u
#define FILE_SLOTS 256u
#define PIPE_SLOT 0
#define REAP_BATCH 64
#define THREAD_ATTEMPTS 200

struct uring_request {
	struct list node; /* in pending or in_ring */
	struct disk_io *io;
	uint64_t moved;
	struct iovec *rest; /* of a request that goes on in the middle; NULL otherwise */
};
_Static_assert(sizeof(struct uring_request) <= sizeof(((struct disk_io *)0)->backend_space), "fits into the request");

struct uring {
	struct io_uring ring;
	struct rt *rt;
	struct rt_source source;
	struct list pending, in_ring;
	unsigned in_ring_count, in_ring_max;
	bool asks;    /* completions wait in the kernel until it is entered */
	bool enabled;
	bool signals; /* the eventfd is switched on */
	int pipe_reader; /* -1: no registered files */
	uint64_t slots_used[FILE_SLOTS / 64];
	uint64_t enters;
};

static struct host_disk *disk_of(const struct uring_request *request)
{
	return container_of(request->io->disk, struct host_disk, disk);
}

/* The iovecs of what has not been moved yet, at most IOV_MAX. -ENOMEM or their number. */
static int next_iovecs(struct uring_request *request, struct iovec **ret_first)
{
	struct disk_io *io = request->io;
	uint64_t skip = request->moved;
	unsigned i = 0;

	free(request->rest);
	request->rest = NULL;
	while (i < io->iov_count && skip >= io->iov[i].iov_len)
		skip -= io->iov[i++].iov_len;
	unsigned count = io->iov_count - i < IOV_MAX ? io->iov_count - i : IOV_MAX;

	*ret_first = &io->iov[i];
	if (skip == 0)
		return (int)count;
	request->rest = malloc(count * sizeof(*request->rest));
	if (!request->rest)
		return -ENOMEM;
	for (unsigned j = 0; j < count; j++)
		request->rest[j] = io->iov[i + j];
	request->rest[0].iov_base = (char *)request->rest[0].iov_base + skip;
	request->rest[0].iov_len -= (size_t)skip;
	*ret_first = request->rest;
	return (int)count;
}

static int prepare_transfer(struct io_uring_sqe *sqe, struct uring_request *request, int descriptor)
{
	struct disk_io *io = request->io;
	struct iovec *first;
	int count = next_iovecs(request, &first);
	uint64_t offset = io->offset + request->moved;

	if (count < 0)
		return count;
	if (io->operation == DISK_READ && count == 1)
		io_uring_prep_read(sqe, descriptor, first->iov_base, (unsigned)first->iov_len, offset);
	else if (io->operation == DISK_READ)
		io_uring_prep_readv(sqe, descriptor, first, (unsigned)count, offset);
	else if (count == 1)
		io_uring_prep_write(sqe, descriptor, first->iov_base, (unsigned)first->iov_len, offset);
	else
		io_uring_prep_writev(sqe, descriptor, first, (unsigned)count, offset);
	if (io->operation == DISK_WRITE && io->fua)
		sqe->rw_flags = RWF_DSYNC;
	return 0;
}

static int prepare(struct io_uring_sqe *sqe, struct uring_request *request)
{
	struct host_disk *disk = disk_of(request);
	struct disk_io *io = request->io;
	int descriptor = disk->slot >= 0 ? disk->slot : disk->descriptor, result = 0;

	if (io->operation == DISK_FLUSH)
		io_uring_prep_fsync(sqe, descriptor, IORING_FSYNC_DATASYNC);
	else if (io->operation == DISK_TRIM)
		io_uring_prep_fallocate(sqe, descriptor, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
					(off_t)io->offset, (off_t)io->length);
	else
		result = prepare_transfer(sqe, request, descriptor);
	if (result < 0)
		io_uring_prep_nop(sqe);
	else if (disk->slot >= 0)
		sqe->flags |= IOSQE_FIXED_FILE;
	io_uring_sqe_set_data(sqe, request);
	return result;
}

/* From pending into the ring, as many as it takes. */
static void fill_ring(struct uring *uring)
{
	while (!list_empty(&uring->pending) && uring->in_ring_count < uring->in_ring_max) {
		struct uring_request *request = container_of(uring->pending.next, struct uring_request, node);
		struct io_uring_sqe *sqe = io_uring_get_sqe(&uring->ring);

		if (!sqe)
			break;
		list_remove(&request->node);
		list_push_back(&uring->in_ring, &request->node);
		uring->in_ring_count++;
		if (prepare(sqe, request) < 0) /* a nop: a short transfer that can't go on is an error */
			request->moved = UINT64_MAX;
	}
}

static void request_ended(struct uring *uring, struct uring_request *request, int result)
{
	struct disk_io *io = request->io;
	bool transfers = io->operation == DISK_READ || io->operation == DISK_WRITE;

	list_remove(&request->node);
	uring->in_ring_count--;
	if (request->moved == UINT64_MAX) {
		result = -ENOMEM;
	} else if (result == -EAGAIN || result == -EINTR) {
		list_push_back(&uring->pending, &request->node);
		return;
	} else if (transfers && result >= 0) {
		request->moved += (uint64_t)result;
		if (result > 0 && request->moved < io->length) {
			list_push_back(&uring->pending, &request->node);
			return;
		}
		result = request->moved == io->length ? 0 : -EIO;
	}
	free(request->rest);
	request->rest = NULL;
	disk_complete(io, result > 0 ? 0 : result);
}

/* Entries are given back before their requests are handled: callbacks may look at the ring. */
static int reap(struct uring *uring)
{
	struct { struct uring_request *request; int result; } ended[REAP_BATCH];
	struct io_uring_cqe *cqe;
	unsigned head, taken;
	int count = 0;

	do {
		taken = 0;
		io_uring_for_each_cqe(&uring->ring, head, cqe) {
			ended[taken].request = io_uring_cqe_get_data(cqe);
			ended[taken].result = cqe->res;
			if (++taken == REAP_BATCH)
				break;
		}
		io_uring_cq_advance(&uring->ring, taken);
		for (unsigned i = 0; i < taken; i++)
			request_ended(uring, ended[i].request, ended[i].result);
		count += (int)taken;
	} while (taken == REAP_BATCH);
	return count;
}

static void enter(struct uring *uring)
{
	bool submits = io_uring_sq_ready(&uring->ring) > 0;
	unsigned flags = IO_URING_READ_ONCE(*uring->ring.sq.kflags);

	/* With deferred work or entries that didn't fit the queue the kernel must be asked. */
	if (!submits && !(flags & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)))
		return;
	uring->enters++;
	/* What isn't accepted (-EAGAIN, -EBUSY) stays in the queue for the next turn. */
	if (submits && !uring->asks)
		io_uring_submit(&uring->ring);
	else if (submits)
		io_uring_submit_and_get_events(&uring->ring);
	else
		io_uring_get_events(&uring->ring);
}

/* Off while the engine runs: the kernel then signals nothing. What it signalled before is taken back. */
static void signals_off(struct uring *uring)
{
	eventfd_t count;

	if (!uring->signals)
		return;
	uring->signals = false;
	io_uring_cq_eventfd_toggle(&uring->ring, false);
	(void)eventfd_read(uring->source.descriptor, &count);
}

/* Whatever completes from now on wakes the engine. */
static bool uring_before_sleep(struct rt_source *source)
{
	struct uring *uring = container_of(source, struct uring, source);
	unsigned flags;

	if (uring->in_ring_count == 0)
		return true;
	uring->signals = true;
	io_uring_cq_eventfd_toggle(&uring->ring, true);
	__sync_synchronize(); /* ThreadSanitizer knows no fence of C11 */
	flags = IO_URING_READ_ONCE(*uring->ring.sq.kflags);
	return !(flags & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)) && io_uring_cq_ready(&uring->ring) == 0;
}

static int uring_poll(struct rt_source *source)
{
	struct uring *uring = container_of(source, struct uring, source);
	int count = 0;

	if (!uring->enabled) {
		/* liburing 2.3 declares io_uring_enable_rings without exporting it. */
		syscall(__NR_io_uring_register, uring->ring.ring_fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
		uring->enabled = true;
	}
	signals_off(uring);
	fill_ring(uring);
	enter(uring);
	count += reap(uring);
	/* What follows a short transfer, or found the queue full, must not wait for a turn that may be far away. */
	if (!list_empty(&uring->pending)) {
		fill_ring(uring);
		enter(uring);
		count += reap(uring);
	}
	return count;
}

void uring_submit(struct uring *uring, struct host_disk *disk, struct disk_io *io)
{
	struct uring_request *request = (struct uring_request *)io->backend_space;

	(void)disk;
	*request = (struct uring_request){.io = io};
	list_push_back(&uring->pending, &request->node);
}

/* ---- files ---- */

static void register_pipe(struct uring *uring)
{
	int ends[2];

	uring->pipe_reader = -1;
	if (pipe2(ends, O_CLOEXEC) < 0)
		return;
	if (io_uring_register_files_sparse(&uring->ring, FILE_SLOTS) == 0) {
		if (io_uring_register_files_update(&uring->ring, PIPE_SLOT, &ends[1], 1) == 1)
			uring->pipe_reader = ends[0];
		else
			io_uring_unregister_files(&uring->ring);
	}
	close(ends[1]);
	if (uring->pipe_reader < 0)
		close(ends[0]);
	uring->slots_used[0] = 1 << PIPE_SLOT;
}

int uring_register_file(struct uring *uring, int descriptor)
{
	if (uring->pipe_reader < 0)
		return -1;
	for (int slot = 0; slot < (int)FILE_SLOTS; slot++) {
		if (uring->slots_used[slot / 64] >> slot % 64 & 1)
			continue;
		if (io_uring_register_files_update(&uring->ring, (unsigned)slot, &descriptor, 1) != 1)
			return -1;
		uring->slots_used[slot / 64] |= UINT64_C(1) << slot % 64;
		return slot;
	}
	return -1;
}

void uring_unregister_file(struct uring *uring, int slot)
{
	int none = -1;

	if (slot < 0)
		return;
	int result = io_uring_register_files_update(&uring->ring, (unsigned)slot, &none, 1);

	POOL_CHECK(result != -EEXIST); /* not the ring's own thread */
	/* A slot that the kernel keeps, as for want of memory, must not be given to another file. */
	if (result != 1)
		return;
	uring->slots_used[slot / 64] &= ~(UINT64_C(1) << slot % 64);
}

uint64_t uring_enters(const struct uring *uring)
{
	return uring->enters;
}

/* ---- life ---- */

int uring_new(struct rt *rt, unsigned queue_depth, struct uring **ret_uring)
{
	static const unsigned attempts[] = {
		IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
		0,
	};
	struct uring *uring = calloc(1, sizeof(*uring));
	int result = -ENOSYS;

	if (!uring)
		return -ENOMEM;
	for (unsigned i = 0; i < sizeof(attempts) / sizeof(attempts[0]) && result < 0; i++) {
		struct io_uring_params params = {.flags = attempts[i] | IORING_SETUP_R_DISABLED | IORING_SETUP_CLAMP};

		result = io_uring_queue_init_params(queue_depth ? queue_depth : QUEUE_DEPTH_DEFAULT, &uring->ring,
						    &params);
		uring->asks = attempts[i] & IORING_SETUP_TASKRUN_FLAG;
		uring->in_ring_max = params.cq_entries;
	}
	if (result < 0) {
		free(uring);
		return result;
	}
	io_uring_ring_dontfork(&uring->ring);
	uring->source.poll = uring_poll;
	uring->source.before_sleep = uring_before_sleep;
	uring->source.descriptor = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	result = uring->source.descriptor < 0
			 ? -errno
			 : io_uring_register_eventfd(&uring->ring, uring->source.descriptor);
	if (result < 0) {
		if (uring->source.descriptor >= 0)
			close(uring->source.descriptor);
		io_uring_queue_exit(&uring->ring);
		free(uring);
		return result;
	}
	uring->signals = true; /* as the kernel starts with */
	register_pipe(uring);
	list_init(&uring->pending);
	list_init(&uring->in_ring);
	uring->rt = rt;
	rt_env(rt)->ops->source_add(rt_env(rt), &uring->source);
	*ret_uring = uring;
	return 0;
}

static void forget_all(struct list *requests)
{
	struct list *node;

	while ((node = list_pop_front(requests))) {
		struct uring_request *request = container_of(node, struct uring_request, node);

		free(request->rest);
		host_disk_forget(disk_of(request), request->io, -ECANCELED);
	}
}

/* In a thread of its own, for as long as it takes. */
static void detached_owner(void *argument)
{
	struct uring *uring = argument;
	char byte;

	io_uring_queue_exit(&uring->ring);
	close(uring->source.descriptor);
	while (read(uring->pipe_reader, &byte, 1) < 0 && errno == EINTR)
		continue;
	close(uring->pipe_reader);
	forget_all(&uring->in_ring);
	free(uring);
}

void uring_free(struct uring *uring, struct host_mailbox *mailbox)
{
	if (!uring)
		return;
	rt_env(uring->rt)->ops->source_remove(rt_env(uring->rt), &uring->source);
	forget_all(&uring->pending);
	if (list_empty(&uring->in_ring)) {
		io_uring_queue_exit(&uring->ring);
		close(uring->source.descriptor);
		if (uring->pipe_reader >= 0)
			close(uring->pipe_reader);
		free(uring);
		return;
	}
	/*
	 * Without pipe or thread nobody can tell when the kernel is done: then ring and requests stay for good, which
	 * costs memory and the disk's lock, where freeing them could cost somebody else's memory. So a thread that can't be
	 * started is tried again for a while.
	 */
	for (unsigned i = 0; uring->pipe_reader >= 0 && i < THREAD_ATTEMPTS; i++) {
		if (host_thread_start(mailbox, detached_owner, uring) == 0)
			break;
		nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
	}
}
