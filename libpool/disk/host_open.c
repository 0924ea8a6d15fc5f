/*
 * Opening a device or file of the host, in a helper thread: what it is, its lock, and what is known about it.
 *
 * What must always hold: nothing but a regular file or a block device is ever opened (a FIFO blocks, a tape
 * rewinds), and an exclusive open holds the lock from before the first look at the size.
 */
#include <fcntl.h>
#include <libudev.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#include "libpool/disk/holder.h"
#include "libpool/disk/host_private.h"
#include "libpool/disk/loop.h"
#include "libpool/disk/sysfs.h"

/*
 * How long a disk may be busy that somebody is about to let go: udev or another search looks at it. Where no living process
 * has it, its owner was killed and the kernel is still ending the requests of its ring: that may take longer.
 */
#define BUSY_RETRIES 25
#define DEAD_RETRIES 150
#define BUSY_RETRY_NS 20000000

static int check_kind(mode_t mode, const char *path, struct pool_error *error)
{
	if (S_ISREG(mode) || S_ISBLK(mode))
		return 0;
	if (S_ISDIR(mode))
		return pool_error_set(error, -ENOTBLK, "%s is a directory, not a block device or a file", path);
	return pool_error_set(error, -ENOTBLK, "%s is neither a block device nor a regular file", path);
}

static int busy_error(const char *path, struct pool_error *error)
{
	struct stat status;
	char holder[80] = "";

	if (stat(path, &status) == 0)
		disk_holder(&status, holder, sizeof(holder));
	return pool_error_set(error, -EBUSY, "%s is in use by %s", path, holder[0] ? holder : "somebody else");
}

/* Whether to go on trying. */
static bool await_release(const struct stat *status, int retry)
{
	char holder[80];

	if (retry >= DEAD_RETRIES || (retry >= BUSY_RETRIES && retry % BUSY_RETRIES == 0 && disk_holder(status, holder, sizeof(holder))))
		return false;
	nanosleep(&(struct timespec){.tv_nsec = BUSY_RETRY_NS}, NULL);
	return true;
}

static int open_error(int code, const char *path, struct pool_error *error)
{
	switch (code) {
	case -ENOENT:
		return pool_error_set(error, code, "%s doesn't exist", path);
	case -EACCES:
	case -EPERM:
		return pool_error_set(error, -EACCES, "no permission to open %s", path);
	case -EBUSY:
		return busy_error(path, error);
	case -EROFS:
		return pool_error_set(error, code, "%s is read-only", path);
	default:
		return pool_error_set(error, code, "opening %s: %s", path, pool_error_string(code));
	}
}

/* File systems without direct I/O (tmpfs, some network ones) refuse O_DIRECT with EINVAL: then buffered. */
static int open_descriptor(const char *path, const struct stat *status, unsigned flags)
{
	int access = flags & DISK_OPEN_READ_ONLY ? O_RDONLY : O_RDWR, descriptor;

	access |= O_CLOEXEC | O_NONBLOCK;
	if (S_ISBLK(status->st_mode) && flags & DISK_OPEN_EXCLUSIVE)
		access |= O_EXCL;
	for (int retry = 0;; retry++) {
		descriptor = open(path, access | O_DIRECT);
		if (descriptor < 0 && errno == EINVAL)
			descriptor = open(path, access);
		if (descriptor >= 0) {
			/* Only for the open: io_uring gives -EAGAIN instead of waiting where it is set. */
			fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) & ~O_NONBLOCK);
			return descriptor;
		}
		if (errno == EINTR)
			continue;
		if (errno != EBUSY)
			return errno == EAGAIN ? -EBUSY : -errno; /* somebody's lease */
		if (!await_release(status, retry))
			return -EBUSY;
	}
}

/* Files are exclusive by agreement. */
static int lock_file(int descriptor, const struct stat *status)
{
	for (int retry = 0;; retry++) {
		if (flock(descriptor, LOCK_EX | LOCK_NB) == 0)
			return 0;
		if (errno == EINTR)
			continue;
		if (errno != EWOULDBLOCK)
			return -errno;
		if (!await_release(status, retry))
			return -EBUSY;
	}
}

static void copy_text(char *to, size_t size, const char *from)
{
	snprintf(to, size, "%s", from ? from : "");
}

/* Two loop devices over one file are one disk, unless they are of different parts of it. */
static void loop_serial(int descriptor, char *ret_serial, size_t size)
{
	struct loop_backing backing;

	if (loop_backing(descriptor, &backing))
		snprintf(ret_serial, size, "loop:%x:%x:%ju+%ju", major(backing.device), minor(backing.device), (uintmax_t)backing.inode,
			 (uintmax_t)backing.offset);
}

/* The name that stays when cables are moved: udev's serial number or WWN, else what the driver says. */
static void device_serial(int descriptor, dev_t device, char *ret_serial, size_t size)
{
	struct udev *udev = udev_new();
	struct udev_device *found = udev ? udev_device_new_from_devnum(udev, 'b', device) : NULL;
	static const char *const properties[] = {"ID_SERIAL", "ID_WWN", "DM_UUID", "MD_UUID"};
	static const char *const attributes[] = {"device/serial", "wwid", "device/wwid"};
	char text[100], number[20];

	ret_serial[0] = 0;
	for (unsigned i = 0; found && i < 4 && !ret_serial[0]; i++)
		copy_text(ret_serial, size, udev_device_get_property_value(found, properties[i]));
	for (unsigned i = 0; i < 3 && !ret_serial[0]; i++)
		if (sysfs_read(device, attributes[i], text, sizeof(text)))
			copy_text(ret_serial, size, text);
	if (!ret_serial[0])
		loop_serial(descriptor, ret_serial, size);
	if (ret_serial[0] && sysfs_read(device, "partition", number, sizeof(number))) {
		size_t length = strlen(ret_serial);

		snprintf(ret_serial + length, size - length, "-part%s", number);
	}
	udev_device_unref(found);
	udev_unref(udev);
}

static int device_info(int descriptor, dev_t device, struct disk_info *info, const char *path,
		       struct pool_error *error)
{
	unsigned physical = 0;
	int logical = 0, read_only = 0;

	if (ioctl(descriptor, BLKGETSIZE64, &info->size) < 0 || ioctl(descriptor, BLKSSZGET, &logical) < 0)
		return pool_error_set(error, -errno, "reading the size of %s: %s", path, pool_error_string(-errno));
	if (logical > 4096)
		return pool_error_set(error, -EINVAL, "%s has sectors of %d bytes; up to 4096 are supported", path,
				      logical);
	if (ioctl(descriptor, BLKPBSZGET, &physical) < 0 || physical == 0)
		physical = (unsigned)logical;
	if (ioctl(descriptor, BLKROGET, &read_only) == 0)
		info->read_only = read_only;
	info->physical_block = physical;
	info->rotational = sysfs_number(device, "queue/rotational", 0);
	info->trims = sysfs_number(device, "queue/discard_max_bytes", 1) > 0; /* where nobody says so, it is tried */
	device_serial(descriptor, device, info->serial, sizeof(info->serial));
	return 0;
}

/*
 * io_uring starts a request in the thread that submits it and moves it to another only if the file system says
 * that it would block. FUSE says so too late: a daemon that doesn't answer would stop the engine in
 * io_uring_enter. So the ring is for file systems that are known to keep their word.
 */
static bool may_block_submission(uint32_t file_system)
{
	static const uint32_t trusted[] = {EXT4_SUPER_MAGIC, XFS_SUPER_MAGIC, BTRFS_SUPER_MAGIC, F2FS_SUPER_MAGIC,
					   TMPFS_MAGIC};

	for (size_t i = 0; i < sizeof(trusted) / sizeof(trusted[0]); i++)
		if (file_system == trusted[i])
			return false;
	return true;
}

static int fill_info(const char *path, unsigned flags, struct host_opened *opened, struct pool_error *error)
{
	struct stat status;
	struct statfs file_system;
	struct disk_info *info = &opened->info;
	int result = 0;

	if (fstat(opened->descriptor, &status) < 0)
		return open_error(-errno, path, error);
	result = check_kind(status.st_mode, path, error);
	if (result < 0)
		return result;
	copy_text(info->path, sizeof(info->path), path);
	info->is_file = S_ISREG(status.st_mode);
	info->fua = true; /* RWF_DSYNC is kept everywhere, by a flush where the device has no FUA */
	if (info->is_file) {
		uint32_t type = fstatfs(opened->descriptor, &file_system) < 0 ? 0 : (uint32_t)file_system.f_type;

		opened->may_block = may_block_submission(type);
		opened->in_memory = type == TMPFS_MAGIC;
		opened->had_name = status.st_nlink > 0;
		info->size = (uint64_t)status.st_size;
		info->physical_block = 4096;
		info->trims = true;
		info->rotational = sysfs_number(status.st_dev, "queue/rotational", 0);
		snprintf(info->serial, sizeof(info->serial), "file:%x:%x:%ju", major(status.st_dev), minor(status.st_dev),
			 (uintmax_t)status.st_ino);
	} else {
		result = device_info(opened->descriptor, status.st_rdev, info, path, error);
	}
	info->size -= info->size % 4096;
	if (result == 0 && info->read_only && !(flags & DISK_OPEN_READ_ONLY))
		return open_error(-EROFS, path, error);
	return result;
}

int host_open(const char *path, unsigned flags, struct host_opened *ret_opened, struct pool_error *error)
{
	struct host_opened opened = {.descriptor = -1};
	struct stat status;
	int result;

	if (stat(path, &status) < 0)
		return open_error(-errno, path, error);
	result = check_kind(status.st_mode, path, error);
	if (result < 0)
		return result;
	opened.descriptor = open_descriptor(path, &status, flags);
	if (opened.descriptor < 0)
		return open_error(opened.descriptor, path, error);
	opened.locked = flags & DISK_OPEN_EXCLUSIVE;
	if (opened.locked && S_ISREG(status.st_mode)) {
		result = lock_file(opened.descriptor, &status);
		if (result < 0)
			open_error(result, path, error);
	}
	if (result == 0)
		result = fill_info(path, flags, &opened, error);
	if (result < 0) {
		close(opened.descriptor);
		return result;
	}
	*ret_opened = opened;
	return 0;
}
