/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Files in RAM (tmpfs). There is no device: a request is a copy by whoever makes the system call, and never waits. The
 * kernel has no way to start one without doing it, so io_uring hands each to a thread of its own, which writes one
 * file at a time. Here the workers of the rt do them, as many as there are, or the engine's thread itself where a
 * request is small and it would have to wait for it anyway.
 */
#include <stddef.h>

#include "libpool/disk/host_private.h"

/* Copied in some ten microseconds. */
#define BRIEF_BYTES (UINT64_C(256) << 10)

struct memory_request {
	struct rt_job job;
	int result;
};
_Static_assert(sizeof(struct memory_request) <= sizeof(((struct disk_io *)0)->backend_space), "fits into the request");

static struct disk_io *io_of(struct memory_request *request)
{
	return (struct disk_io *)((char *)request - offsetof(struct disk_io, backend_space));
}

static void perform(void *argument)
{
	struct memory_request *request = argument;
	struct disk_io *io = io_of(request);

	request->result = host_perform(container_of(io->disk, struct host_disk, disk)->descriptor, true, io);
}

static void performed(struct rt_job *job)
{
	struct memory_request *request = container_of(job, struct memory_request, job);

	host_performed(io_of(request), request->result);
	disk_complete(io_of(request), request->result);
}

void host_memory_submit(struct host_disk *disk, struct disk_io *io)
{
	struct memory_request *request = (struct memory_request *)io->backend_space;
	bool transfers = io->operation == DISK_READ || io->operation == DISK_WRITE;

	*request = (struct memory_request){
		.job = {.function = perform,
			.argument = request,
			.done = performed,
			.brief_us = io->operation == DISK_FLUSH ? 1 : transfers && io->length <= BRIEF_BYTES ? rt_brief_us(io->crcs || io->hash ? 2 * io->length : io->length) : 0},
	};
	rt_work_submit(disk->disk.rt, &request->job);
}

/* The last one takes the disk along. */
static void forget_requests(struct host_disk *disk)
{
	for (bool last = list_empty(&disk->disk.requests); !last;) {
		struct list *node = disk->disk.requests.next;

		last = node->next == &disk->disk.requests;
		host_disk_forget(disk, container_of(node, struct disk_io, node), -ECANCELED);
	}
}

void host_memory_end(struct host *host)
{
	struct pool_env *env = rt_env(host->rt);
	bool any = false;

	list_for_each(node, &host->disks)
		any |= container_of(node, struct host_disk, node)->in_memory;
	if (any && env->ops->work_cancel)
		env->ops->work_cancel(env);
	list_for_each_safe(node, after, &host->disks) {
		struct host_disk *disk = container_of(node, struct host_disk, node);

		if (disk->in_memory)
			forget_requests(disk);
	}
}
