/* See holder.h. The kernel lists locks of files with their processes; who opened a device has to be looked for. */
#include "libpool/disk/holder.h"

#include <ctype.h>
#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* 0 if it has ended; a lock may outlive its process for as long as requests are under way. */
static bool describe(int process, char *text, size_t size)
{
	char path[40], name[40] = "";
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/comm", process);
	file = fopen(path, "re");
	if (!file)
		return false;
	if (fgets(name, sizeof(name), file))
		name[strcspn(name, "\n")] = 0;
	fclose(file);
	for (char *c = name; *c; c++)
		if (iscntrl((unsigned char)*c))
			*c = '?';
	snprintf(text, size, "process %d (%s)", process, name);
	return true;
}

/* Of one line: "1: FLOCK  ADVISORY  WRITE 1234 fd:01:131 0 EOF". */
static int lock_owner(const char *line, const struct stat *status)
{
	unsigned device_major, device_minor;
	unsigned long long inode;
	int process;

	if (sscanf(line, "%*u: FLOCK %*s %*s %d %x:%x:%llu", &process, &device_major, &device_minor, &inode) != 4 ||
	    makedev(device_major, device_minor) != status->st_dev || inode != status->st_ino)
		return 0;
	return process > 0 ? process : 0;
}

static bool find_lock(const struct stat *status, char *text, size_t size)
{
	FILE *locks = fopen("/proc/locks", "re");
	char line[200];
	bool found = false;

	while (locks && !found && fgets(line, sizeof(line), locks)) {
		int process = lock_owner(line, status);

		found = process && describe(process, text, size);
	}
	if (locks)
		fclose(locks);
	return found;
}

static bool has_open(const char *process, dev_t device)
{
	char path[PATH_MAX];
	struct dirent *entry;
	bool found = false;
	DIR *folder;

	snprintf(path, sizeof(path), "/proc/%s/fd", process);
	folder = opendir(path);
	while (folder && !found && (entry = readdir(folder))) {
		struct stat status;

		found = fstatat(dirfd(folder), entry->d_name, &status, 0) == 0 && S_ISBLK(status.st_mode) && status.st_rdev == device;
	}
	if (folder)
		closedir(folder);
	return found;
}

static bool find_opener(dev_t device, char *text, size_t size)
{
	DIR *processes = opendir("/proc");
	struct dirent *entry;
	bool found = false;

	while (processes && !found && (entry = readdir(processes))) {
		int process = atoi(entry->d_name);

		found = process > 0 && process != getpid() && has_open(entry->d_name, device) && describe(process, text, size);
	}
	if (processes)
		closedir(processes);
	return found;
}

bool disk_holder(const struct stat *status, char *ret_text, size_t size)
{
	ret_text[0] = 0;
	return S_ISBLK(status->st_mode) ? find_opener(status->st_rdev, ret_text, size) : find_lock(status, ret_text, size);
}
