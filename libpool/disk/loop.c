/* See loop.h. */
#include "libpool/disk/loop.h"

#include <fcntl.h>
#include <glob.h>
#include <limits.h>
#include <linux/loop.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

bool loop_backing(int descriptor, struct loop_backing *ret_backing)
{
	struct loop_info64 info = {0};

	if (ioctl(descriptor, LOOP_GET_STATUS64, &info) < 0)
		return false;
	*ret_backing = (struct loop_backing){(dev_t)info.lo_device, info.lo_inode, info.lo_offset};
	return true;
}

/* Where the device can't be asked, for lack of rights, its path is all there is. */
static bool path_names(const char *attribute, const struct stat *status)
{
	FILE *file = fopen(attribute, "re");
	char path[PATH_MAX];
	struct stat backing;
	bool named = false;

	if (file && fgets(path, sizeof(path), file)) {
		path[strcspn(path, "\n")] = 0;
		named = stat(path, &backing) == 0 && backing.st_dev == status->st_dev && backing.st_ino == status->st_ino;
	}
	if (file)
		fclose(file);
	return named;
}

static bool lies_on(const char *attribute, const struct stat *status)
{
	struct loop_backing backing;
	char device[32];
	unsigned number;
	int descriptor;

	if (sscanf(attribute, "/sys/block/loop%u/", &number) != 1)
		return false;
	snprintf(device, sizeof(device), "/dev/loop%u", number);
	descriptor = open(device, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (descriptor < 0)
		return path_names(attribute, status);
	bool known = loop_backing(descriptor, &backing);

	close(descriptor);
	return known ? backing.device == status->st_dev && backing.inode == status->st_ino : path_names(attribute, status);
}

bool loop_lies_on(const struct stat *status)
{
	glob_t found;
	bool lies = false;

	if (glob("/sys/block/loop*/loop/backing_file", 0, NULL, &found) != 0)
		return false;
	for (size_t i = 0; i < found.gl_pathc && !lies; i++)
		lies = lies_on(found.gl_pathv[i], status);
	globfree(&found);
	return lies;
}
