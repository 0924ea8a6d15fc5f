/*
 * The host's disks as a provider: what the engine opens, probes and closes, put together from the ring or the
 * threads, and from helpers for all that may block.
 *
 * What must always hold: a disk's descriptor and lock are given up after its last request, never before; what
 * outlives the engine holds what it needs (mailbox, ring) and nothing of the provider.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "libpool/base/check.h"
#include "libpool/disk/host_private.h"

static struct host *host_of(struct disk_provider *provider)
{
	return container_of(provider, struct host, provider);
}

/* ---- disks ---- */

static void host_submit(struct disk *base, struct disk_io *io)
{
	struct host_disk *disk = container_of(base, struct host_disk, disk);
	bool needs_ioctl = io->operation == DISK_TRIM && !base->info.is_file;

	if (disk->in_memory)
		host_memory_submit(disk, io);
	else if (disk->host->uring && !needs_ioctl && !disk->may_block)
		uring_submit(disk->host->uring, disk, io);
	else
		host_threads_submit(disk, io);
}

static void host_close(struct disk *base)
{
	host_disk_free(container_of(base, struct host_disk, disk));
}

static const struct disk_backend_ops host_backend_ops = {
	.submit = host_submit,
	.close = host_close,
};

static void close_thread(void *argument)
{
	close((int)(intptr_t)argument);
}

void host_disk_free(struct host_disk *disk)
{
	if (disk->host) {
		list_remove(&disk->node);
		if (disk->host->uring)
			uring_unregister_file(disk->host->uring, disk->slot);
	}
	host_threads_stop(disk);
	/* At once, so that whoever is told that the disk is closed can open it. */
	if (disk->locked && disk->disk.info.is_file)
		flock(disk->descriptor, LOCK_UN);
	if (host_thread_start(disk->mailbox, close_thread, (void *)(intptr_t)disk->descriptor) < 0)
		close(disk->descriptor);
	host_mailbox_unref(disk->mailbox);
	pthread_mutex_destroy(&disk->forget_lock);
	free(disk);
}

void host_disk_forget(struct host_disk *disk, struct disk_io *io, int result)
{
	void (*released)(struct disk_io *) = io->released;

	pthread_mutex_lock(&disk->forget_lock);
	bool last = disk_forget(io, result);

	pthread_mutex_unlock(&disk->forget_lock);
	if (released)
		released(io);
	if (last)
		host_disk_free(disk);
}

/* ---- opening, probing, searching ---- */

struct open_call {
	struct host_call call;
	char *path;
	unsigned flags;
	int result;
	struct host_opened opened; /* descriptor -1: none, or taken over */
	struct pool_error error;
};

static void open_function(struct host_call *call)
{
	struct open_call *open = container_of(call, struct open_call, call);

	open->result = host_open(open->path, open->flags, &open->opened, &open->error);
}

static void open_discard(struct host_call *call)
{
	struct open_call *open = container_of(call, struct open_call, call);

	if (open->opened.descriptor >= 0)
		close(open->opened.descriptor);
	free(open->path);
	free(open);
}

static int call_failed(struct pool_error *error, int result, const char *what, const char *path)
{
	if (result == -ETIMEDOUT)
		return pool_error_set(error, result, "%s %s: the device doesn't answer", what, path);
	return pool_error_set(error, result, "%s %s: no thread for it", what, path);
}

static int host_provider_open(struct disk_provider *provider, struct rt *rt, const char *path, unsigned flags,
			      struct disk **ret_disk, struct pool_error *error)
{
	struct host *host = host_of(provider);
	struct open_call *open = calloc(1, sizeof(*open));
	struct host_disk *disk = calloc(1, sizeof(*disk));
	int result;

	if (!open || !disk || !(open->path = strdup(path))) {
		free(open);
		free(disk);
		return pool_error_set(error, -ENOMEM, "opening %s: no memory", path);
	}
	open->call.function = open_function;
	open->call.discard = open_discard;
	open->flags = flags;
	open->opened.descriptor = -1;
	result = host_call_run(rt, host->mailbox, &open->call);
	if (result < 0) {
		free(disk);
		return call_failed(error, result, "opening", path);
	}
	result = open->result;
	if (result < 0) {
		pool_error_set(error, result, "%s", open->error.text);
		free(disk);
		goto out;
	}
	disk_init(&disk->disk, &host_backend_ops, rt);
	disk->disk.info = open->opened.info;
	disk->host = host;
	disk->mailbox = host_mailbox_ref(host->mailbox);
	disk->descriptor = open->opened.descriptor;
	disk->locked = open->opened.locked;
	disk->may_block = open->opened.may_block;
	disk->in_memory = open->opened.in_memory;
	disk->had_name = open->opened.had_name;
	open->opened.descriptor = -1;
	disk->slot = host->uring ? uring_register_file(host->uring, disk->descriptor) : -1;
	pthread_mutex_init(&disk->forget_lock, NULL);
	list_push_back(&host->disks, &disk->node);
	*ret_disk = &disk->disk;
out:
	open_discard(&open->call);
	return result;
}

struct probe_call {
	struct host_call call;
	char *path;
	int result;
	struct disk_probe probe;
	struct pool_error error;
};

static void probe_function(struct host_call *call)
{
	struct probe_call *probe = container_of(call, struct probe_call, call);

	probe->result = host_probe(probe->path, &probe->probe, &probe->error);
}

static void probe_discard(struct host_call *call)
{
	struct probe_call *probe = container_of(call, struct probe_call, call);

	free(probe->path);
	free(probe);
}

static int host_provider_probe(struct disk_provider *provider, struct rt *rt, const char *path,
			       struct disk_probe *ret_probe, struct pool_error *error)
{
	struct probe_call *probe = calloc(1, sizeof(*probe));
	int result;

	if (!probe || !(probe->path = strdup(path))) {
		free(probe);
		return pool_error_set(error, -ENOMEM, "probing %s: no memory", path);
	}
	probe->call.function = probe_function;
	probe->call.discard = probe_discard;
	result = host_call_run(rt, host_of(provider)->mailbox, &probe->call);
	if (result < 0)
		return call_failed(error, result, "probing", path);
	result = probe->result;
	if (result == 0)
		*ret_probe = probe->probe;
	else
		pool_error_set(error, result, "%s", probe->error.text);
	probe_discard(&probe->call);
	return result;
}

struct candidates_call {
	struct host_call call;
	char **folders;
	size_t folder_count;
	bool devices;
	int result;
	char **paths;
	size_t count;
	struct pool_error error;
};

static void candidates_function(struct host_call *call)
{
	struct candidates_call *search = container_of(call, struct candidates_call, call);

	search->result = host_candidates((const char *const *)search->folders, search->folder_count, search->devices,
					 &search->paths, &search->count, &search->error);
}

static void candidates_discard(struct host_call *call)
{
	struct candidates_call *search = container_of(call, struct candidates_call, call);

	for (size_t i = 0; search->folders && i < search->folder_count; i++)
		free(search->folders[i]);
	free(search->folders);
	free(search->paths);
	free(search);
}

/* The caller's strings may be gone before a search that got stuck. */
static struct candidates_call *candidates_call_new(const char *const *folders, size_t folder_count, bool devices)
{
	struct candidates_call *search = calloc(1, sizeof(*search));

	if (!search)
		return NULL;
	search->call.function = candidates_function;
	search->call.discard = candidates_discard;
	search->devices = devices;
	search->folders = calloc(folder_count + 1, sizeof(*search->folders));
	for (size_t i = 0; search->folders && i < folder_count; i++) {
		search->folders[i] = strdup(folders[i]);
		search->folder_count = i + 1;
		if (!search->folders[i])
			break;
	}
	if (search->folders && (folder_count == 0 || search->folders[folder_count - 1]))
		return search;
	candidates_discard(&search->call);
	return NULL;
}

static int host_provider_candidates(struct disk_provider *provider, struct rt *rt, const char *const *folders,
				    size_t folder_count, bool devices, char ***ret_paths, size_t *ret_count,
				    struct pool_error *error)
{
	struct candidates_call *search = candidates_call_new(folders, folder_count, devices);
	int result;

	if (!search)
		return pool_error_set(error, -ENOMEM, "searching for disks: no memory");
	result = host_call_run(rt, host_of(provider)->mailbox, &search->call);
	if (result < 0)
		return call_failed(error, result, "searching for", "disks");
	result = search->result;
	if (result == 0) {
		*ret_paths = search->paths;
		*ret_count = search->count;
		search->paths = NULL;
	} else {
		pool_error_set(error, result, "%s", search->error.text);
	}
	candidates_discard(&search->call);
	return result;
}

static const struct disk_provider_ops host_provider_ops = {
	.open = host_provider_open,
	.probe = host_provider_probe,
	.candidates = host_provider_candidates,
	.check = host_check,
};

/* ---- life ---- */

int disk_host_new(struct rt *rt, const struct disk_host_options *options, struct disk_provider **ret_provider)
{
	struct host *host = calloc(1, sizeof(*host));
	int result;

	if (!host)
		return -ENOMEM;
	host->provider.ops = &host_provider_ops;
	host->rt = rt;
	list_init(&host->disks);
	result = host_mailbox_new(rt, &host->mailbox);
	if (result < 0) {
		free(host);
		return result;
	}
	/* A refusal (seccomp, sysctl, limits, an old kernel) is no error: there are threads. */
	if (!(options && options->no_uring) && uring_new(rt, options ? options->queue_depth : 0, &host->uring) < 0)
		host->uring = NULL;
	*ret_provider = &host->provider;
	return 0;
}

/* A disk of an engine that was given up without closing it: nobody is told of its requests. */
static void close_silently(struct host_disk *disk, struct rt *rt)
{
	disk->disk.closed = true;
	list_for_each(node, &disk->disk.requests)
		rt_timer_cancel(rt, &container_of(node, struct disk_io, node)->timer);
}

void disk_host_free(struct disk_provider *provider)
{
	if (!provider)
		return;
	struct host *host = host_of(provider);
	struct host_mailbox *mailbox = host_mailbox_ref(host->mailbox);

	list_for_each_safe(node, after, &host->disks) {
		struct host_disk *disk = container_of(node, struct host_disk, node);

		if (!disk->disk.closed)
			close_silently(disk, host->rt);
		if (list_empty(&disk->disk.requests))
			host_disk_free(disk);
	}
	host_memory_end(host);
	/* From here on disks belong to whoever has their requests. */
	list_for_each_safe(node, after, &host->disks) {
		struct host_disk *disk = container_of(node, struct host_disk, node);

		list_remove(&disk->node);
		disk->host = NULL;
	}
	host_mailbox_close(host->mailbox);
	uring_free(host->uring, mailbox);
	host_threads_settle(mailbox, 500);
	host_mailbox_unref(mailbox);
	free(host);
}

uint64_t disk_host_enters(const struct disk_provider *provider)
{
	const struct host *host = container_of(provider, const struct host, provider);

	return host->uring ? uring_enters(host->uring) : 0;
}
