/*
 * The checks of a new disk, in the order in which people want to hear of them: is it there, is it named twice, is it
 * in use, does it carry something, is it large enough, can it be written.
 *
 * What must always hold: all checks of all disks have passed before anything is written to any of them; what is
 * in use is never overwritten, with or without `force`.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "libpool/base/buffer.h"
#include "libpool/pool/internal.h"
#include "libpool/pool/new_disk.h"

/* ---- the same disk twice ---- */

struct identify {
	struct new_disk *disks;
	unsigned count;
};

/* On a worker: a path on a dead network drive may take its time. Simulated disks have no inode. */
static void identify(void *argument)
{
	struct identify *all = argument;

	for (unsigned i = 0; i < all->count; i++) {
		struct stat status;

		if (stat(all->disks[i].path, &status) < 0)
			continue;
		all->disks[i].device = S_ISBLK(status.st_mode) ? 0 : status.st_dev;
		all->disks[i].inode = S_ISBLK(status.st_mode) ? status.st_rdev : status.st_ino;
	}
}

static bool same_disk(const struct new_disk *a, const struct new_disk *b)
{
	if (!strcmp(a->path, b->path))
		return true;
	if (a->inode && a->inode == b->inode && a->device == b->device)
		return true;
	return a->serial[0] && !strcmp(a->serial, b->serial);
}

static int check_twice(const struct new_disk *disks, unsigned count, struct pool_error *error)
{
	for (unsigned i = 0; i < count; i++)
		for (unsigned j = 0; j < i; j++)
			if (same_disk(&disks[i], &disks[j]))
				return strcmp(disks[i].path, disks[j].path)
					       ? pool_error_set(error, -EINVAL, "disks %s and %s are the same disk: name it once",
								disks[j].path, disks[i].path)
					       : pool_error_set(error, -EINVAL, "disk %s is named twice: name it once",
								disks[i].path);
	return 0;
}

/* ---- what it carries ---- */

/* A disk that carries a label of the very pool that it is to join. */
static int refuse_own(const struct new_disk *new, const struct label *own, const struct label *label, struct pool_error *error)
{
	for (unsigned i = 0; i < own->disk_count; i++)
		if (own->disks[i].state != DISK_REMOVED && guid_equal(&own->disks[i].guid, &label->disk))
			return pool_error_set(error, -POOL_EFOREIGN,
					      "disk %s is disk #%u of pool %s itself: bring it back online, or overwrite it with force",
					      new->path, own->disks[i].index, own->name);
	return pool_error_set(error, -POOL_EFOREIGN,
			      "disk %s is a former disk of pool %s, which has no data on it any more: overwrite it with force (--force)",
			      new->path, own->name);
}

/* Whether the label on a disk is of a pool that somebody may still want. */
static int check_label(const struct engine_host *host, const struct label *own, struct new_disk *new, const char *what, bool force,
		       struct pool_error *error)
{
	struct disk *disk;
	struct label *label = NULL;
	int result = host->provider->ops->open(host->provider, host->rt, new->path, DISK_OPEN_READ_ONLY, &disk, error);

	if (result < 0)
		return result;
	result = core_label_read(disk, &label);
	disk_close(disk);
	if (label && label->destroyed)
		result = 0;
	else if (force)
		result = 0;
	else if (label && own && guid_equal(&label->pool, &own->pool))
		result = refuse_own(new, own, label, error);
	else if (label)
		result = pool_error_set(error, -POOL_EFOREIGN,
					"disk %s belongs to pool %s: destroy that pool, or overwrite it with force", new->path,
					label->name);
	else
		result = pool_error_set(error, -POOL_EFOREIGN, "disk %s carries %s: overwrite it with force if it isn't needed",
					new->path, what[0] ? what : "a damaged label of libpool");
	free(label);
	return result;
}

static int check_content(const struct engine_host *host, const struct label *own, struct new_disk *new, bool force,
			 struct pool_error *error)
{
	struct disk_probe probe = {0};
	int result = host->provider->ops->probe(host->provider, host->rt, new->path, &probe, error);

	if (result < 0)
		return result;
	if (probe.mounted)
		return pool_error_set(error, -POOL_EINUSE, "disk %s is in use (%s): free it first; force doesn't change that",
				      new->path, probe.what[0] ? probe.what : "by another program");
	if (probe.pool_member)
		result = check_label(host, own, new, probe.what, force, error);
	if (result == 0 && probe.foreign && !force)
		result = pool_error_set(error, -POOL_EFOREIGN, "disk %s carries %s: overwrite it with force if it isn't needed",
					new->path, probe.what[0] ? probe.what : "data");
	new->wipe = probe.foreign || probe.pool_member;
	return result;
}

/* ---- opening ---- */

static int look_at(const struct engine_host *host, struct new_disk *new, struct pool_error *error)
{
	struct disk *disk;
	int result = host->provider->ops->open(host->provider, host->rt, new->path, DISK_OPEN_READ_ONLY, &disk, error);

	if (result < 0)
		return result;
	snprintf(new->serial, sizeof(new->serial), "%s", disk->info.serial);
	if (disk->info.size < DISK_SIZE_MIN)
		result = pool_error_set(error, -EINVAL, "disk %s is too small: it has %llu bytes, %llu (64 MiB) are needed",
					new->path, (unsigned long long)disk->info.size, (unsigned long long)DISK_SIZE_MIN);
	disk_close(disk);
	return result;
}

static int open_writable(const struct engine_host *host, struct new_disk *new, struct pool_error *error)
{
	struct pool_error cause = {0};
	int result = host->provider->ops->open(host->provider, host->rt, new->path, DISK_OPEN_EXCLUSIVE, &new->disk, &cause);

	switch (result) {
	case 0:
		return 0;
	case -EBUSY:
		return pool_error_set(error, -POOL_EINUSE, "disk %s: free it first", cause.text);
	case -EROFS:
		return pool_error_set(error, result, "disk %s is read-only: a pool needs disks it can write to", new->path);
	case -EACCES:
		return pool_error_set(error, result, "disk %s can't be written: no permission", new->path);
	default:
		return pool_error_set(error, result, "disk %s can't be opened: %s", new->path, pool_error_string(result));
	}
}

int new_disks_open(const struct engine_host *host, const struct label *own, const char *const *paths, unsigned count, bool force,
		   struct new_disk *disks, struct pool_error *error)
{
	struct identify all = {disks, count};
	int result = 0;

	for (unsigned i = 0; i < count; i++) {
		if (!paths[i] || !paths[i][0] || strlen(paths[i]) >= LIBPOOL_PATH_MAX)
			return pool_error_set(error, -EINVAL, "disk number %u: its path is %s", i + 1,
					      paths[i] && paths[i][0] ? "too long" : "empty");
		disks[i] = (struct new_disk){.path = paths[i]};
	}
	rt_work(host->rt, identify, &all);
	for (unsigned i = 0; i < count && result == 0; i++)
		result = look_at(host, &disks[i], error);
	if (result == 0)
		result = check_twice(disks, count, error);
	for (unsigned i = 0; i < count && result == 0; i++)
		result = check_content(host, own, &disks[i], force, error);
	for (unsigned i = 0; i < count && result == 0; i++)
		result = open_writable(host, &disks[i], error);
	if (result < 0)
		new_disks_close(disks, count);
	return result;
}

void new_disks_close(struct new_disk *disks, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		disk_close(disks[i].disk);
		disks[i].disk = NULL;
	}
}

/* ---- wiping ---- */

#define MIB (UINT64_C(1) << 20)

int new_disks_wipe(const struct new_disk *disks, unsigned count, struct pool_error *error)
{
	struct buffer *zeroes = NULL;
	int result = 0;

	for (unsigned i = 0; i < count && result == 0; i++) {
		uint64_t size = disks[i].disk->info.size, end = size / MIB * MIB;

		if (!disks[i].wipe)
			continue;
		if (!zeroes)
			zeroes = buffer_new_zero(MIB);
		if (!zeroes)
			return pool_error_set(error, -ENOMEM, "no memory");
		/* What lies behind the last whole MiB too: a backup partition table is in the very last sectors. */
		result = disk_write(disks[i].disk, 0, MIB, zeroes, 0, false);
		if (result == 0)
			result = disk_write(disks[i].disk, end - MIB, MIB, zeroes, 0, false);
		if (result == 0 && size > end)
			result = disk_write(disks[i].disk, end, size - end, zeroes, 0, false);
		if (result == 0)
			result = disk_flush(disks[i].disk);
		if (result < 0)
			pool_error_set(error, result, "writing to disk %s: %s", disks[i].path, pool_error_string(result));
	}
	buffer_unref(zeroes);
	return result;
}
