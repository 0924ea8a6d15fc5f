/* A disk that is to be given to a pool: everything that is checked before a byte of it is written. */
#ifndef LIBPOOL_POOL_NEW_DISK_H
#define LIBPOOL_POOL_NEW_DISK_H

#include "libpool/pool/engine.h"

struct new_disk {
	const char *path;
	struct disk *disk; /* open exclusively and writable */
	bool wipe;         /* carries something else, which `force` allows to overwrite */
	/* Identity, to recognise the same disk under two names. */
	uint64_t device, inode; /* inode 0: unknown */
	char serial[128];
};

/*
 * Opens the disks at paths[0..count) into disks[], each free of anything that matters: not in use, not of another pool and
 * not foreign (unless `force`), large enough, writable, and not the same disk twice. On failure all are closed. `own` is the
 * label of the pool that they are for, NULL for a new one.
 */
int new_disks_open(const struct engine_host *host, const struct label *own, const char *const *paths, unsigned count, bool force,
		   struct new_disk *disks, struct pool_error *error);
void new_disks_close(struct new_disk *disks, unsigned count);
/* Clears both ends of the disks that carried something else, so that nobody recognises that any more. */
int new_disks_wipe(const struct new_disk *disks, unsigned count, struct pool_error *error);

#endif
