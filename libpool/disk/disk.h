/*
 * One disk: asynchronous requests with a deadline each. The backend (io_uring, threads with pread, or the
 * simulator) only moves bytes; this layer owns deadlines, abandonment, and the counters.
 *
 * Life of a request: disk_submit, then done() exactly once, with the backend's result, or with -ETIMEDOUT
 * when the deadline passed first. An overdue request is abandoned, never cancelled: its buffers belong to
 * the device until released() is called, exactly once, when the backend has really finished with it (right after
 * done() when the request wasn't overdue). For an overdue one `late_result` then has what became of it.
 * A disk with an abandoned write isn't trusted: disk_abandoned_writes() is not 0. An abandoned trim says nothing of the
 * rest of the disk: devices may take very long over one.
 *
 * Engine thread only, but for released(): after disk_close, if the engine has ended before the backend has, it
 * is called in a thread of the backend's. Deadlines are measured from submission in time in which the engine
 * itself ran: time in which the process was stopped or starved doesn't count against a disk.
 */
#ifndef LIBPOOL_DISK_DISK_H
#define LIBPOOL_DISK_DISK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "checksum/xxh3.h"
#include "libpool/base/error.h"
#include "libpool/rt/rt.h"

enum disk_operation { DISK_READ, DISK_WRITE, DISK_FLUSH, DISK_TRIM };

struct disk;

struct disk_io {
	/* Set by the submitter; offset and length are multiples of 4096, iov entries too, and 4096-aligned in memory. */
	enum disk_operation operation;
	bool fua; /* a write is durable when done */
	uint64_t offset, length;
	struct iovec *iov; /* owned by the submitter until released() */
	unsigned iov_count;
	/*
	 * For reads into one iovec: an initial value for each 4096 bytes, which becomes their CRC-32C where a thread of this process
	 * moves the bytes and has them at hand (then has_crcs is set; else nothing is changed). Owned like iov; may be NULL.
	 */
	uint32_t *crcs;
	/* The same for the hash of all that is read: has_hash. Owned like iov; may be NULL, and isn't asked for together with CRCs. */
	struct hash128 *hash;
	uint64_t deadline_ns; /* duration; 0: the default, 30 s */
	void (*done)(struct disk_io *io);
	void (*released)(struct disk_io *io); /* may free the io; may be NULL */
	/* Set by the layer. */
	struct disk *disk;
	int result; /* 0 or negative errno; a short transfer is -EIO */
	int late_result;
	bool overdue;
	bool has_crcs, has_hash;
	/* Private. */
	struct list node;
	struct rt_timer timer;
	uint64_t submitted_ns, remaining_ns;
	bool finished; /* done() was called */
	union {
		void *backend;
		uint64_t backend_space[8]; /* for what the backend knows of the request, so that submission can't fail */
	};
};

struct disk_counters {
	uint64_t reads, writes, flushes, trims; /* completed requests */
	uint64_t bytes_read, bytes_written, bytes_trimmed;
	uint64_t read_errors, write_errors, flush_errors, trim_errors, overdue;
	uint64_t read_ns, write_ns, flush_ns; /* sums of latencies */
	uint64_t latency_ns_max;
};

struct disk_info {
	char path[512];   /* as opened, for people */
	char serial[128]; /* stable name (serial number, wwn, or "file:" device:inode), "" if unknown */
	uint64_t size;    /* bytes, rounded down to 4096 */
	bool is_file, rotational, read_only, fua;
	bool trims; /* cleared when the disk refuses one */
	uint32_t physical_block;
};

struct disk_backend_ops {
	/* Starts or queues the request; completes through disk_complete, never from inside submit. */
	void (*submit)(struct disk *disk, struct disk_io *io);
	/*
	 * The disk was closed and its last request has ended: give up descriptor and lock (without blocking) and free
	 * the memory of the disk, which is the backend's. Called once, by disk_close or by the last completion.
	 */
	void (*close)(struct disk *disk);
};

struct disk {
	const struct disk_backend_ops *ops;
	void *backend;
	struct rt *rt;
	struct disk_info info;
	struct disk_counters counters;
	unsigned in_flight;         /* submitted, not done */
	unsigned abandoned_writes;  /* overdue writes and flushes whose completion hasn't arrived */
	unsigned abandoned_reads, abandoned_trims;
	struct list requests;       /* not released yet */
	bool closed;                /* by its user; it lives on until requests is empty */
};

/* For backends: a new disk without requests, zeroed but for these. */
void disk_init(struct disk *disk, const struct disk_backend_ops *ops, struct rt *rt);

void disk_submit(struct disk *disk, struct disk_io *io);
/* For backends: the request ended. Engine thread, outside fibers or inside. */
void disk_complete(struct disk_io *io, int result);
/*
 * For backends: the same for a request of a closed disk when the engine is gone, in one thread at a time. The
 * backend then calls released() itself (which may not use io->disk any more). True if it was the disk's last
 * request: the backend then frees the disk, ops->close is not called.
 */
bool disk_forget(struct disk_io *io, int result);

/*
 * Blocking forms for fibers, over one buffer that the function keeps alive until released (hence refcounted).
 * offset in bytes; length multiple of 4096, at most buffer capacity - buffer_offset. 0 or negative errno.
 */
struct buffer;
int disk_read(struct disk *disk, uint64_t offset, uint64_t length, struct buffer *buffer, size_t buffer_offset);
int disk_write(struct disk *disk, uint64_t offset, uint64_t length, struct buffer *buffer, size_t buffer_offset, bool fua);
int disk_flush(struct disk *disk);
int disk_trim(struct disk *disk, uint64_t offset, uint64_t length); /* -EOPNOTSUPP: it can't */

static inline unsigned disk_abandoned_writes(const struct disk *disk) { return disk->abandoned_writes; }

/*
 * Closes at once: requests in flight are done() with -ECANCELED first, and released() when the backend is through.
 * The lock on the disk is held until then: what was submitted may still reach it. NULL is accepted.
 */
void disk_close(struct disk *disk);

#endif
