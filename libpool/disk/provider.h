/*
 * Where disks come from: the host's devices and files, or the simulator's. The engine names disks by path;
 * opening and probing may block, so a provider runs them in threads of their own and the fiber waits.
 */
#ifndef LIBPOOL_DISK_PROVIDER_H
#define LIBPOOL_DISK_PROVIDER_H

#include "libpool/disk/disk.h"

enum {
	DISK_OPEN_READ_ONLY = 1, /* shared; no lock is needed to look at labels */
	DISK_OPEN_EXCLUSIVE = 2, /* O_EXCL on block devices, a lock (flock) on files; -EBUSY when held elsewhere */
};

/* What lies on a disk that is to be overwritten. */
struct disk_probe {
	bool foreign;      /* carries something: a file system, partition table, RAID or LVM member ... */
	bool pool_member;  /* carries a libpool label (whether valid is the pool's to decide) */
	bool mounted;      /* the device or a partition of it is mounted, swap, or held by another driver */
	char what[128];    /* for people: "ext4 file system \"home\"" */
};

struct disk_provider {
	const struct disk_provider_ops *ops;
};

struct disk_provider_ops {
	/* Fibers only. 0 with *ret_disk, or: -ENOENT, -EACCES, -EBUSY, -EROFS, -ENOTBLK (neither file nor block device), ... with a text. */
	int (*open)(struct disk_provider *provider, struct rt *rt, const char *path, unsigned flags, struct disk **ret_disk,
		    struct pool_error *error);
	/* Looks, without writing, at what the disk carries (libblkid). */
	int (*probe)(struct disk_provider *provider, struct rt *rt, const char *path, struct disk_probe *ret_probe,
		     struct pool_error *error);
	/*
	 * Paths that may carry pool labels: regular files in the given folders (not below them) and, when `devices`,
	 * the host's block devices (libudev). *ret_paths is an array of strings in one allocation, freed with free().
	 */
	int (*candidates)(struct disk_provider *provider, struct rt *rt, const char *const *folders, size_t folder_count, bool devices,
			  char ***ret_paths, size_t *ret_count, struct pool_error *error);
	/*
	 * Whether an open disk is still what was opened, without a request to it: 0 (also if nobody can tell), -ENOENT (a file that has
	 * lost its last name), -ENXIO (it has less than `size` bytes), -ENODEV (the device is gone). Fibers only; may wait for half a minute,
	 * once. NULL: no disk goes without a word.
	 */
	int (*check)(struct disk_provider *provider, struct disk *disk, uint64_t size);
};

/*
 * The host's provider: one io_uring for all disks of an rt (COOP_TASKRUN where allowed), or
 * threads with preadv/pwritev where io_uring is refused. One provider serves one rt.
 */
struct disk_host_options {
	bool no_uring; /* use threads */
	unsigned queue_depth; /* entries of the ring; 0: 256 */
};
int disk_host_new(struct rt *rt, const struct disk_host_options *options, struct disk_provider **ret_provider);
/* All disks must be closed; detached requests keep what they need. */
void disk_host_free(struct disk_provider *provider);
/* Number of io_uring_enter calls so far (0 with threads): see struct libpool_pool_info. */
uint64_t disk_host_enters(const struct disk_provider *provider);

#endif
