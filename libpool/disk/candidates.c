/*
 * Paths that may carry labels: the host's block devices, and regular files in given folders. What can't be one
 * (loop devices without a file, RAM disks, nothing inside, too small for a pool's disk) is left out;
 * whether the rest can be opened is for whoever opens it. Runs in a helper thread.
 */
#include <dirent.h>
#include <libudev.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libpool/base/array.h"
#include "libpool/disk/host_private.h"
#include "libpool/format/constants.h"

static int add_path(struct array *paths, const char *path)
{
	char *copy = strdup(path);

	if (!copy || array_push(paths, &copy) < 0) {
		free(copy);
		return -ENOMEM;
	}
	return 0;
}

static uint64_t attribute_number(struct udev_device *device, const char *attribute)
{
	const char *value = udev_device_get_sysattr_value(device, attribute);

	return value ? strtoull(value, NULL, 10) : 0;
}

static bool may_carry_label(struct udev_device *device)
{
	const char *name = udev_device_get_sysname(device), *node = udev_device_get_devnode(device);

	if (!name || !node || !strncmp(name, "ram", 3) || access(node, F_OK) < 0)
		return false;
	/* A loop device without a file has size 0, as has a drive without a medium. */
	return attribute_number(device, "size") * 512 >= DISK_SIZE_MIN;
}

static int add_devices(struct array *paths)
{
	struct udev *udev = udev_new();
	struct udev_enumerate *enumerate = udev ? udev_enumerate_new(udev) : NULL;
	struct udev_list_entry *entry;
	int result = enumerate ? 0 : -ENOMEM;

	if (result == 0 && (udev_enumerate_add_match_subsystem(enumerate, "block") < 0 ||
			    udev_enumerate_scan_devices(enumerate) < 0))
		result = -EIO;
	if (result == 0)
		udev_list_entry_foreach(entry, udev_enumerate_get_list_entry(enumerate)) {
			struct udev_device *device =
				udev_device_new_from_syspath(udev, udev_list_entry_get_name(entry));

			if (device && may_carry_label(device))
				result = add_path(paths, udev_device_get_devnode(device));
			udev_device_unref(device);
			if (result < 0)
				break;
		}
	udev_enumerate_unref(enumerate);
	udev_unref(udev);
	return result;
}

static int add_folder(struct array *paths, const char *folder)
{
	DIR *entries = opendir(folder);
	struct dirent *entry;
	int result = 0;

	/* One that can't be read has nothing for us. */
	if (!entries)
		return errno == ENOMEM ? -ENOMEM : 0;
	while (result == 0 && (entry = readdir(entries))) {
		struct stat status;
		char *path;

		if (fstatat(dirfd(entries), entry->d_name, &status, 0) < 0 || !S_ISREG(status.st_mode) ||
		    (uint64_t)status.st_size < DISK_SIZE_MIN)
			continue;
		if (asprintf(&path, "%s/%s", folder, entry->d_name) < 0) {
			result = -ENOMEM;
			break;
		}
		result = add_path(paths, path);
		free(path);
	}
	closedir(entries);
	return result;
}

static int compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* One allocation: pointers, then the text they point at. */
static int pack(const struct array *paths, char ***ret_paths)
{
	size_t bytes = paths->count * sizeof(char *) + 1;

	for (size_t i = 0; i < paths->count; i++)
		bytes += strlen(*array_at(paths, char *, i)) + 1;
	char **packed = malloc(bytes), *text;

	if (!packed)
		return -ENOMEM;
	text = (char *)(packed + paths->count);
	for (size_t i = 0; i < paths->count; i++) {
		packed[i] = strcpy(text, *array_at(paths, char *, i));
		text += strlen(text) + 1;
	}
	*ret_paths = packed;
	return 0;
}

int host_candidates(const char *const *folders, size_t folder_count, bool devices, char ***ret_paths,
		    size_t *ret_count, struct pool_error *error)
{
	struct array paths;
	int result = 0;

	array_init(&paths, sizeof(char *));
	for (size_t i = 0; i < folder_count && result == 0; i++)
		result = add_folder(&paths, folders[i]);
	if (result == 0 && devices)
		result = add_devices(&paths);
	if (result == 0) {
		if (paths.count)
			qsort(paths.items, paths.count, sizeof(char *), compare);
		result = pack(&paths, ret_paths);
	}
	if (result == 0)
		*ret_count = paths.count;
	for (size_t i = 0; i < paths.count; i++)
		free(*array_at(&paths, char *, i));
	array_release(&paths);
	return result < 0 ? pool_error_set(error, result, "searching for disks: %s", pool_error_string(result)) : 0;
}
