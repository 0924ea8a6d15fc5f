/*
 * Requests of one disk in threads with preadv2 and pwritev2: the fallback where io_uring is refused, and the
 * way of ioctls (discard) always.
 *
 * Each disk has threads of its own, so that one that hangs takes none from the others. They are started when
 * requests wait, up to a few, and end with the disk.
 */
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

#include "checksum/crc32c.h"
#include "libpool/disk/host_private.h"

#define THREADS_MAX 4
#define PART_IOVECS 256
#define NEAR_PIECE (UINT64_C(256) << 10) /* still near when it is looked at once more */

struct host_workers {
	pthread_mutex_t lock;
	pthread_cond_t work;
	struct list queued; /* thread_request */
	unsigned queued_count, idle, threads, references;
	bool stopping;
	int descriptor;
	bool is_file;
};

struct thread_request {
	struct host_mail mail;
	struct disk_io *io;
	int result;
};
_Static_assert(sizeof(struct thread_request) <= sizeof(((struct disk_io *)0)->backend_space), "fits into the request");

static struct thread_request *request_of(struct disk_io *io)
{
	return (struct thread_request *)io->backend_space;
}

static void request_ended(struct host_mail *mail)
{
	struct thread_request *request = container_of(mail, struct thread_request, mail);

	host_performed(request->io, request->result);
	disk_complete(request->io, request->result);
}

static void workers_unref(struct host_workers *workers)
{
	pthread_mutex_lock(&workers->lock);
	bool last = --workers->references == 0;

	pthread_mutex_unlock(&workers->lock);
	if (!last)
		return;
	pthread_cond_destroy(&workers->work);
	pthread_mutex_destroy(&workers->lock);
	free(workers);
}

static void request_orphaned(struct host_mail *mail)
{
	struct thread_request *request = container_of(mail, struct thread_request, mail);
	struct host_disk *disk = container_of(request->io->disk, struct host_disk, disk);

	host_disk_forget(disk, request->io, request->result);
}

/* The iovecs of what is left up to `end` after `moved` bytes, at most PART_IOVECS; returns their number. */
static int rest_of(const struct disk_io *io, uint64_t moved, uint64_t end, struct iovec *part)
{
	uint64_t left = end - moved;
	int count = 0;

	for (unsigned i = 0; i < io->iov_count && count < PART_IOVECS && left > 0; i++) {
		uint64_t length = io->iov[i].iov_len;

		if (moved >= length) {
			moved -= length;
			continue;
		}
		length = length - moved < left ? length - moved : left;
		part[count++] = (struct iovec){(char *)io->iov[i].iov_base + moved, (size_t)length};
		left -= length;
		moved = 0;
	}
	return count;
}

static int transfer(int descriptor, const struct disk_io *io, uint64_t begin, uint64_t end)
{
	struct iovec part[PART_IOVECS];
	uint64_t moved = begin;

	while (moved < end) {
		int count = rest_of(io, moved, end, part);
		off_t offset = (off_t)(io->offset + moved);
		ssize_t result = io->operation == DISK_READ
					 ? preadv2(descriptor, part, count, offset, 0)
					 : pwritev2(descriptor, part, count, offset, io->fua ? RWF_DSYNC : 0);

		if (result < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (result <= 0)
			return result < 0 ? -errno : -EIO;
		moved += (uint64_t)result;
	}
	return 0;
}

/* In pieces, each of which is looked at before the next comes. */
static int read_and_look(int descriptor, const struct disk_io *io)
{
	const uint8_t *data = io->iov[0].iov_base;
	struct xxh3_stream stream;
	int result = 0;

	if (io->hash)
		xxh3_stream_init(&stream);
	for (uint64_t at = 0; at < io->length && result == 0; at += NEAR_PIECE) {
		uint64_t end = io->length - at < NEAR_PIECE ? io->length : at + NEAR_PIECE;

		result = transfer(descriptor, io, at, end);
		for (uint64_t cell = at; io->crcs && cell < end && result == 0; cell += 4096)
			io->crcs[cell / 4096] = crc32c(io->crcs[cell / 4096], data + cell, 4096);
		if (io->hash && result == 0)
			xxh3_stream_update(&stream, data + at, (size_t)(end - at));
	}
	if (io->hash)
		xxh3_stream_final(&stream, io->hash);
	return result;
}

static int trim(int descriptor, bool is_file, const struct disk_io *io)
{
	uint64_t range[2] = {io->offset, io->length};
	int result = is_file ? fallocate(descriptor, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)io->offset,
					 (off_t)io->length)
			     : ioctl(descriptor, BLKDISCARD, range);

	return result < 0 ? -errno : 0;
}

int host_perform(int descriptor, bool is_file, const struct disk_io *io)
{
	switch (io->operation) {
	case DISK_FLUSH:
		return fdatasync(descriptor) < 0 ? -errno : 0;
	case DISK_TRIM:
		return trim(descriptor, is_file, io);
	default:
		return io->crcs || io->hash ? read_and_look(descriptor, io) : transfer(descriptor, io, 0, io->length);
	}
}

void host_performed(struct disk_io *io, int result)
{
	io->has_crcs = io->crcs && result == 0;
	io->has_hash = io->hash && result == 0;
}

static void worker_main(void *argument)
{
	struct host_workers *workers = argument;

	pthread_mutex_lock(&workers->lock);
	for (;;) {
		struct list *node = list_pop_front(&workers->queued);

		if (node) {
			struct thread_request *request = container_of(container_of(node, struct host_mail, node),
								      struct thread_request, mail);
			struct host_disk *disk = container_of(request->io->disk, struct host_disk, disk);

			workers->queued_count--;
			pthread_mutex_unlock(&workers->lock);
			request->result = host_perform(workers->descriptor, workers->is_file, request->io);
			host_mailbox_post(disk->mailbox, &request->mail);
			pthread_mutex_lock(&workers->lock);
			continue;
		}
		if (workers->stopping)
			break;
		workers->idle++;
		pthread_cond_wait(&workers->work, &workers->lock);
		workers->idle--;
	}
	workers->threads--;
	pthread_mutex_unlock(&workers->lock);
	workers_unref(workers);
}

static struct host_workers *workers_new(const struct host_disk *disk)
{
	struct host_workers *workers = calloc(1, sizeof(*workers));

	if (!workers)
		return NULL;
	pthread_mutex_init(&workers->lock, NULL);
	pthread_cond_init(&workers->work, NULL);
	list_init(&workers->queued);
	workers->references = 1;
	workers->descriptor = disk->descriptor;
	workers->is_file = disk->disk.info.is_file;
	return workers;
}

void host_threads_submit(struct host_disk *disk, struct disk_io *io)
{
	struct thread_request *request = request_of(io);
	struct host_workers *workers = disk->workers ? disk->workers : (disk->workers = workers_new(disk));
	bool starts = false, stuck;

	*request = (struct thread_request){
		.mail = {.run = request_ended, .orphaned = request_orphaned},
		.io = io,
		.result = -ENOMEM,
	};
	if (!workers) {
		host_mailbox_post(disk->mailbox, &request->mail);
		return;
	}
	pthread_mutex_lock(&workers->lock);
	list_push_back(&workers->queued, &request->mail.node);
	workers->queued_count++;
	if (workers->idle > 0)
		pthread_cond_signal(&workers->work);
	if (workers->queued_count > workers->idle && workers->threads < THREADS_MAX) {
		starts = true;
		workers->threads++;
		workers->references++;
	}
	pthread_mutex_unlock(&workers->lock);
	if (!starts || host_thread_start(disk->mailbox, worker_main, workers) == 0)
		return;
	/* No thread to be had: those that run will do it, and may be doing it by now, if there are any. */
	pthread_mutex_lock(&workers->lock);
	stuck = --workers->threads == 0;
	workers->references--;
	if (stuck) {
		list_remove(&request->mail.node);
		workers->queued_count--;
	}
	pthread_mutex_unlock(&workers->lock);
	if (!stuck)
		return;
	request->result = -ENOMEM; /* what the process lacks: no fault of the disk */
	host_mailbox_post(disk->mailbox, &request->mail);
}

void host_threads_stop(struct host_disk *disk)
{
	struct host_workers *workers = disk->workers;

	if (!workers)
		return;
	disk->workers = NULL;
	pthread_mutex_lock(&workers->lock);
	workers->stopping = true;
	pthread_cond_broadcast(&workers->work);
	pthread_mutex_unlock(&workers->lock);
	workers_unref(workers);
}
