/*
 * What lies on a disk that is about to be overwritten: labels of libpool, whatever libblkid knows, and whether
 * the host uses it now. Looks only; runs in a helper thread (libblkid needs stack and may block).
 *
 * What must always hold: when in doubt, the answer is the one that keeps data: two signatures that contradict
 * each other are foreign data, and a device that can't be opened exclusively is in use.
 */
#include <blkid/blkid.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "libpool/disk/holder.h"
#include "libpool/disk/host_private.h"
#include "libpool/disk/loop.h"
#include "libpool/disk/label_probe.h"
#include "libpool/disk/sysfs.h"

static bool read_all(int descriptor, uint64_t offset, uint8_t *to, size_t length)
{
	while (length > 0) {
		ssize_t got = pread(descriptor, to, length, (off_t)offset);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return false;
		to += got;
		offset += (uint64_t)got;
		length -= (size_t)got;
	}
	return true;
}

static int probe_labels(int descriptor, uint64_t size, struct disk_probe *probe)
{
	uint8_t *raw = malloc(DISK_LABEL_PROBE_SIZE);
	uint64_t starts[2] = {0, disk_label_area_b(size)};

	if (!raw)
		return -ENOMEM;
	for (unsigned area = 0; area < 2 && starts[1] && !probe->pool_member; area++)
		if (read_all(descriptor, starts[area], raw, DISK_LABEL_PROBE_SIZE))
			probe->pool_member = disk_label_describe(raw, area, probe->what, sizeof(probe->what));
	free(raw);
	return 0;
}

static const char *value_of(blkid_probe blkid, const char *name)
{
	const char *value;

	return blkid_probe_lookup_value(blkid, name, &value, NULL) == 0 ? value : NULL;
}

static void describe(blkid_probe blkid, char *what, size_t size)
{
	const char *type = value_of(blkid, "TYPE"), *usage = value_of(blkid, "USAGE");
	const char *table = value_of(blkid, "PTTYPE"), *label = value_of(blkid, "LABEL");
	const char *noun = !usage || !strcmp(usage, "filesystem") ? "file system"
			   : !strcmp(usage, "raid")              ? "member of a RAID or volume group"
			   : !strcmp(usage, "crypto")            ? "encrypted volume"
								 : "data";

	if (type && label)
		snprintf(what, size, "%s %s \"%s\"", type, noun, label);
	else if (type)
		snprintf(what, size, "%s %s", type, noun);
	else if (table)
		snprintf(what, size, "%s partition table", table);
	else
		snprintf(what, size, "data of unknown kind");
}

static int probe_blkid(int descriptor, const char *path, struct disk_probe *probe, struct pool_error *error)
{
	blkid_probe blkid = blkid_new_probe();
	char what[sizeof(probe->what)] = "";
	int result;

	if (!blkid)
		return pool_error_set(error, -ENOMEM, "probing %s: no memory", path);
	if (blkid_probe_set_device(blkid, descriptor, 0, 0) < 0) {
		blkid_free_probe(blkid);
		return pool_error_set(error, -EIO, "probing %s: can't read it", path);
	}
	blkid_probe_enable_superblocks(blkid, 1);
	blkid_probe_set_superblocks_flags(blkid, BLKID_SUBLKS_LABEL | BLKID_SUBLKS_TYPE | BLKID_SUBLKS_USAGE);
	blkid_probe_enable_partitions(blkid, 1);
	result = blkid_do_safeprobe(blkid);
	if (result == 0)
		describe(blkid, what, sizeof(what));
	else if (result == -2)
		snprintf(what, sizeof(what), "several kinds of data that contradict each other");
	blkid_free_probe(blkid);
	if (result == -1)
		return pool_error_set(error, -EIO, "probing %s: read error", path);
	probe->foreign = result != 1;
	if (probe->foreign && !probe->pool_member)
		snprintf(probe->what, sizeof(probe->what), "%s", what);
	return 0;
}

/* ---- in use ---- */

/* Undoes the octal escapes of /proc/self/mountinfo. */
static void unescape(char *text)
{
	char *to = text;

	for (const char *from = text; *from; to++) {
		unsigned code;

		if (*from == '\\' && sscanf(from + 1, "%3o", &code) == 1) {
			*to = (char)code;
			from += 4;
		} else {
			*to = *from++;
		}
	}
	*to = 0;
}

struct use {
	char where[200];
};

static bool is_mounted(dev_t device, struct use *use)
{
	FILE *mounts = fopen("/proc/self/mountinfo", "re");
	char *line = NULL;
	size_t room = 0;
	bool found = false;

	while (mounts && !found && getline(&line, &room, mounts) > 0) {
		unsigned major_number, minor_number;
		char point[sizeof(use->where)];

		if (sscanf(line, "%*d %*d %u:%u %*s %199s", &major_number, &minor_number, point) == 3 &&
		    makedev(major_number, minor_number) == device) {
			unescape(point);
			snprintf(use->where, sizeof(use->where), "%s", point);
			found = true;
		}
	}
	free(line);
	if (mounts)
		fclose(mounts);
	return found;
}

static bool is_swap(const struct stat *status)
{
	FILE *swaps = fopen("/proc/swaps", "re");
	char line[600], path[500];
	bool found = false;

	while (swaps && !found && fgets(line, sizeof(line), swaps)) {
		struct stat swap;

		if (sscanf(line, "%499s", path) != 1 || path[0] != '/')
			continue;
		unescape(path);
		if (stat(path, &swap) < 0)
			continue;
		found = S_ISBLK(swap.st_mode) ? S_ISBLK(status->st_mode) && swap.st_rdev == status->st_rdev
					      : swap.st_dev == status->st_dev && swap.st_ino == status->st_ino;
	}
	if (swaps)
		fclose(swaps);
	return found;
}

static bool child_is_mounted(dev_t child, void *argument)
{
	return is_mounted(child, argument) || sysfs_each_child(child, child_is_mounted, argument);
}

static bool device_is_held(const char *path)
{
	int descriptor = open(path, O_RDONLY | O_EXCL | O_NONBLOCK | O_CLOEXEC);

	if (descriptor >= 0)
		close(descriptor);
	return descriptor < 0 && errno == EBUSY;
}

static bool file_is_locked(int descriptor)
{
	if (flock(descriptor, LOCK_SH | LOCK_NB) == 0) {
		flock(descriptor, LOCK_UN);
		return false;
	}
	return errno == EWOULDBLOCK;
}

static void probe_use(int descriptor, const char *path, const struct stat *status, struct disk_probe *probe)
{
	bool is_device = S_ISBLK(status->st_mode);
	struct use use = {""};
	const char *how = NULL;
	size_t length = strlen(probe->what);

	if (is_device && (is_mounted(status->st_rdev, &use) || sysfs_each_child(status->st_rdev, child_is_mounted, &use)))
		how = "mounted on";
	else if (is_swap(status))
		how = "used as swap space";
	else if (!is_device && loop_lies_on(status))
		how = "used by a loop device";
	else if (is_device ? device_is_held(path) : file_is_locked(descriptor))
		how = disk_holder(status, use.where, sizeof(use.where)) ? "in use by" : "in use by another program or driver";
	if (!how)
		return;
	probe->mounted = true;
	snprintf(probe->what + length, sizeof(probe->what) - length, "%s%s%s%.60s", length ? ", " : "", how,
		 use.where[0] ? " " : "", use.where);
}

int host_probe(const char *path, struct disk_probe *ret_probe, struct pool_error *error)
{
	struct disk_probe probe = {0};
	struct stat status;
	uint64_t size;
	int descriptor, result = 0;

	if (stat(path, &status) < 0)
		return pool_error_set(error, -errno, "probing %s: %s", path, pool_error_string(-errno));
	if (!S_ISREG(status.st_mode) && !S_ISBLK(status.st_mode))
		return pool_error_set(error, -ENOTBLK, "%s is neither a block device nor a regular file", path);
	descriptor = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (descriptor < 0)
		return pool_error_set(error, -errno, "probing %s: %s", path, pool_error_string(-errno));
	size = (uint64_t)status.st_size;
	if (S_ISBLK(status.st_mode) && ioctl(descriptor, BLKGETSIZE64, &size) < 0)
		result = pool_error_set(error, -errno, "reading the size of %s: %s", path, pool_error_string(-errno));
	if (result == 0 && probe_labels(descriptor, size, &probe) < 0)
		result = pool_error_set(error, -ENOMEM, "probing %s: no memory", path);
	/* libblkid refuses what is too small to carry anything it knows. */
	if (result == 0 && size >= 1024)
		result = probe_blkid(descriptor, path, &probe, error);
	if (result == 0)
		probe_use(descriptor, path, &status, &probe);
	close(descriptor);
	if (result == 0)
		*ret_probe = probe;
	return result;
}
