/*
 * The inside of the host's provider, shared by host_*.c only.
 *
 * Three threads of execution meet here: the engine's thread, helper threads (opening, closing, probing, and
 * requests of a disk when io_uring isn't used), and at the end detached owners of what never came back.
 * They exchange only mail; nothing else is touched by two of them at a time.
 */
#ifndef LIBPOOL_DISK_HOST_PRIVATE_H
#define LIBPOOL_DISK_HOST_PRIVATE_H

#include <pthread.h>

#include "libpool/disk/provider.h"

/* ---- host_mailbox.c: from helpers to the engine, which may be gone ---- */

struct host_mail {
	struct list node;
	void (*run)(struct host_mail *mail);      /* in the engine's thread, outside fibers */
	void (*orphaned)(struct host_mail *mail); /* instead, in any thread, when the engine is gone */
};

struct host_mailbox {
	pthread_mutex_t lock; /* for mails, rt, references, threads */
	pthread_cond_t fewer_threads;
	struct list mails;
	struct rt *rt; /* NULL: the engine is gone */
	pthread_t engine; /* while rt is set */
	unsigned references, threads;
	struct rt_source source;
};

int host_mailbox_new(struct rt *rt, struct host_mailbox **ret_mailbox);
struct host_mailbox *host_mailbox_ref(struct host_mailbox *mailbox);
void host_mailbox_unref(struct host_mailbox *mailbox);
/* Any thread that holds a reference. */
void host_mailbox_post(struct host_mailbox *mailbox, struct host_mail *mail);
/* Engine thread: what is posted from now on, and what wasn't run yet, is orphaned. Drops the engine's reference. */
void host_mailbox_close(struct host_mailbox *mailbox);
/*
 * Starts a detached thread, with all signals blocked, which holds a reference of the mailbox. 0 or -EAGAIN.
 */
int host_thread_start(struct host_mailbox *mailbox, void (*function)(void *argument), void *argument);
/* Waits until no such thread is left, but not for long: for the last closes. */
void host_threads_settle(struct host_mailbox *mailbox, unsigned milliseconds);

/* ---- host_call.c: a function in a thread of its own that a fiber waits for ---- */

struct host_call {
	void (*function)(struct host_call *call); /* in the helper */
	/* Frees the call and what the function produced: by whoever is last interested. Any thread. */
	void (*discard)(struct host_call *call);
	/* Private. */
	struct host_mail mail;
	struct host_mailbox *mailbox;
	struct rt_queue queue;
	bool finished, given_up;
};

/*
 * Runs call->function and waits. 0: the caller owns the call again and discards it. -ETIMEDOUT or -EAGAIN: the call
 * is discarded by itself, and must not be touched any more.
 */
int host_call_run(struct rt *rt, struct host_mailbox *mailbox, struct host_call *call);

/* ---- disks ---- */

struct host_disk {
	struct disk disk;
	struct list node; /* in host->disks, until the last request has ended */
	struct host *host; /* NULL once the provider is gone */
	struct host_mailbox *mailbox;
	int descriptor, slot; /* slot: of the ring's registered files, or -1 */
	bool locked;
	bool may_block, in_memory, had_name; /* see host_opened */
	bool check_stuck; /* a look at it hasn't come back */
	pthread_mutex_t forget_lock; /* for disk.requests, once the engine is gone */
	struct host_workers *workers; /* NULL until the first request that needs a thread */
};

struct host {
	struct disk_provider provider;
	struct rt *rt;
	struct host_mailbox *mailbox;
	struct uring *uring; /* NULL: threads only */
	struct list disks;
};

/* Gives up lock, descriptor and memory; the close itself happens in a helper. Any thread. */
void host_disk_free(struct host_disk *disk);
/* A request of a closed disk ended and the engine is gone: releases it, and with the last one the disk. Any thread. */
void host_disk_forget(struct host_disk *disk, struct disk_io *io, int result);

/* ---- host_threads.c: requests by preadv2, pwritev2, fdatasync, ioctl ---- */

/* One request in a thread of the disk; without any, its result is -ENOMEM, through the mailbox. */
void host_threads_submit(struct host_disk *disk, struct disk_io *io);
/* No request is left: lets the threads end. */
void host_threads_stop(struct host_disk *disk);

/* The request by system calls in the calling thread: its result. */
int host_perform(int descriptor, bool is_file, const struct disk_io *io);
/* Before the request is completed: which of its sums it has. */
void host_performed(struct disk_io *io, int result);

/* ---- host_memory.c: requests of files in RAM, by the workers of the rt ---- */

void host_memory_submit(struct host_disk *disk, struct disk_io *io);
/*
 * The engine is going: ends the requests of these disks, which may free them. Requests that have begun are waited for,
 * as they only copy memory; no job of the rt runs any more.
 */
void host_memory_end(struct host *host);

/* ---- host_check.c ---- */

int host_check(struct disk_provider *provider, struct disk *disk, uint64_t size);

/* ---- host_uring.c ---- */

/* -errno if the kernel refuses. The ring belongs to the thread that polls it first. */
int uring_new(struct rt *rt, unsigned queue_depth, struct uring **ret_uring);
/* The engine is gone for all disks; requests still in the ring go to a detached owner. NULL is accepted. */
void uring_free(struct uring *uring, struct host_mailbox *mailbox);
void uring_submit(struct uring *uring, struct host_disk *disk, struct disk_io *io);
int uring_register_file(struct uring *uring, int descriptor); /* slot or -1 */
void uring_unregister_file(struct uring *uring, int slot);
uint64_t uring_enters(const struct uring *uring);

/* ---- host_open.c, probe.c, candidates.c: in helpers ---- */

struct host_opened {
	int descriptor;
	bool locked;
	bool may_block; /* a file whose file system isn't known never to block a submission: threads do its I/O */
	bool in_memory; /* a file whose content is in RAM: the rt's workers do its I/O */
	bool had_name;  /* of a file: it can lose it */
	struct disk_info info;
};

int host_open(const char *path, unsigned flags, struct host_opened *ret_opened, struct pool_error *error);
int host_probe(const char *path, struct disk_probe *ret_probe, struct pool_error *error);
int host_candidates(const char *const *folders, size_t folder_count, bool devices, char ***ret_paths,
		    size_t *ret_count, struct pool_error *error);

#endif
