/* SPDX-License-Identifier: BSD-2-Clause */
#include "fuse-export/point.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fuse-export/mount.h"

#define DIRECTORY_FLAGS (O_PATH | O_DIRECTORY | O_CLOEXEC)

static int fail_at(const char *path, struct libpool_error *error)
{
	return mount_fail(error, -errno, errno == ENOTCONN ? "%s is a mount that nobody serves any more: unmount it first" : "%s: %m", path);
}

int point_open(struct point *point, const char *path, struct libpool_error *error)
{
	point->above = -1;
	snprintf(point->path, sizeof(point->path), "%s", path);
	point->directory = open(path, DIRECTORY_FLAGS);
	if (point->directory < 0)
		return errno == ENOTDIR ? mount_fail(error, -ENOTDIR, "%s is no directory", path) : fail_at(path, error);
	return 0;
}

/* One part of the name further down. */
static int descend(struct point *point, const char *part, struct libpool_error *error)
{
	size_t length = strlen(point->path);
	int needed = snprintf(point->path + length, sizeof(point->path) - length, "/%s", part);

	if ((size_t)needed >= sizeof(point->path) - length)
		return mount_fail(error, -ENAMETOOLONG, "%s is too long a path", point->path);
	if (point->above >= 0)
		close(point->above);
	point->above = point->directory;
	point->directory = -1;
	if (mkdirat(point->above, part, 0755) != 0 && errno != EEXIST)
		return mount_fail(error, -errno, "no directory can be made to mount at: %s: %m", point->path);
	point->directory = openat(point->above, part, DIRECTORY_FLAGS | O_NOFOLLOW);
	if (point->directory < 0)
		return errno == ENOTDIR || errno == ELOOP ? mount_fail(error, -ENOTDIR, "%s is a symbolic link or no directory", point->path)
							  : fail_at(point->path, error);
	return 0;
}

int point_make(struct point *point, const struct point *top, const char *name, struct libpool_error *error)
{
	char parts[LIBPOOL_NAME_MAX + 1], *rest = NULL;
	int code = 0;

	*point = *top;
	point->above = -1;
	point->directory = fcntl(top->directory, F_DUPFD_CLOEXEC, 0);
	if (point->directory < 0)
		return fail_at(point->path, error);
	snprintf(parts, sizeof(parts), "%s", name);
	for (char *part = strtok_r(parts, "/", &rest); part && code == 0; part = strtok_r(NULL, "/", &rest))
		code = descend(point, part, error);
	return code;
}

static bool has_something(const struct point *point)
{
	int descriptor = openat(point->directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *directory = descriptor < 0 ? NULL : fdopendir(descriptor);
	struct dirent *entry;
	bool found = false;

	while (directory && !found && (entry = readdir(directory)))
		found = strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
	if (directory)
		closedir(directory);
	else if (descriptor >= 0)
		close(descriptor);
	return found;
}

/* 1, 0, or -1 with errno. Before Linux 5.8 a subvolume of btrfs can't be told from a mount. */
static int is_mount(const struct point *point)
{
	struct stat here, there;
	struct statx status;

	if (fstat(point->directory, &here) != 0 || fstatat(point->directory, "..", &there, 0) != 0)
		return -1;
	if (statx(point->directory, "", AT_EMPTY_PATH | AT_NO_AUTOMOUNT, STATX_TYPE, &status) == 0 && status.stx_attributes_mask & STATX_ATTR_MOUNT_ROOT)
		return (status.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0;
	return here.st_dev != there.st_dev || here.st_ino == there.st_ino;
}

/* What is there would be hidden, and whoever looks for it there find something else. */
int point_check(const struct point *point, const struct mount_options *options, struct libpool_error *error)
{
	int mounted = is_mount(point);

	if (mounted < 0)
		return fail_at(point->path, error);
	if (mounted)
		return mount_fail(error, -EBUSY, "something is mounted at %s already", point->path);
	if (!options->nonempty && has_something(point))
		return mount_fail(error, -EBUSY, "%s is not empty: mount elsewhere, or hide what is there with -o nonempty", point->path);
	return 0;
}

/*
 * Whoever may rename it can have done so until it was a mount point, and a rename that had begun by then still ends. The kernel locks the directory above
 * for one: another, which can't succeed, waits for it.
 */
int point_confirm(struct point *point, struct libpool_error *error)
{
	const char *name = strrchr(point->path, '/') + 1;
	char link[64], path[PATH_MAX];
	struct stat below, here;
	int found = -1;

	if (point->above < 0)
		return 0;
	(void)renameat2(point->above, name, point->above, name, RENAME_NOREPLACE);
	found = openat(point->above, name, DIRECTORY_FLAGS | O_NOFOLLOW);
	bool is_there = found >= 0 && fstat(found, &here) == 0 && fstat(point->directory, &below) == 0 && here.st_dev != below.st_dev;
	if (found >= 0)
		close(found);
	if (is_there)
		return 0;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", point->directory);
	ssize_t length = readlink(link, path, sizeof(path) - 1);
	int code = mount_fail(error, -EBUSY, "%s was replaced while it was being mounted at", point->path);
	if (length > 0)
		snprintf(point->path, sizeof(point->path), "%.*s", (int)length, path);
	return code;
}

void point_close(struct point *point)
{
	if (point->directory >= 0)
		close(point->directory);
	if (point->above >= 0)
		close(point->above);
	point->directory = point->above = -1;
}
