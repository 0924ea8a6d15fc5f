/* See sysfs.h. */
#include "libpool/disk/sysfs.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

static bool read_file(const char *path, char *ret_text, size_t size)
{
	int descriptor = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t length;

	if (descriptor < 0)
		return false;
	length = read(descriptor, ret_text, size - 1);
	close(descriptor);
	if (length < 0)
		return false;
	ret_text[length] = 0;
	ret_text[strcspn(ret_text, "\n")] = 0;
	return true;
}

bool sysfs_read(dev_t device, const char *attribute, char *ret_text, size_t size)
{
	char path[300];

	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/%s", major(device), minor(device), attribute);
	if (read_file(path, ret_text, size))
		return true;
	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/partition", major(device), minor(device));
	if (access(path, F_OK) < 0)
		return false;
	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/../%s", major(device), minor(device), attribute);
	return read_file(path, ret_text, size);
}

uint64_t sysfs_number(dev_t device, const char *attribute, uint64_t otherwise)
{
	char text[64];

	return sysfs_read(device, attribute, text, sizeof(text)) ? strtoull(text, NULL, 10) : otherwise;
}

static bool each_in(const char *folder, bool (*visit)(dev_t child, void *argument), void *argument)
{
	DIR *entries = opendir(folder);
	struct dirent *entry;
	bool found = false;

	if (!entries)
		return false;
	while (!found && (entry = readdir(entries))) {
		char path[600], text[64];
		unsigned major_number, minor_number;

		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/%s/dev", folder, entry->d_name);
		if (read_file(path, text, sizeof(text)) && sscanf(text, "%u:%u", &major_number, &minor_number) == 2)
			found = visit(makedev(major_number, minor_number), argument);
	}
	closedir(entries);
	return found;
}

bool sysfs_each_child(dev_t device, bool (*visit)(dev_t child, void *argument), void *argument)
{
	char folder[100];

	snprintf(folder, sizeof(folder), "/sys/dev/block/%u:%u", major(device), minor(device));
	if (each_in(folder, visit, argument))
		return true;
	snprintf(folder, sizeof(folder), "/sys/dev/block/%u:%u/holders", major(device), minor(device));
	return each_in(folder, visit, argument);
}
