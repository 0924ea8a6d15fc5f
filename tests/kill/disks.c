#include "tests/kill/disks.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void die(const char *what)
{
	perror(what);
	exit(1);
}

void disks_make(struct disks *disks, unsigned count, uint64_t bytes)
{
	const char *base = getenv("TMPDIR");

	memset(disks, 0, sizeof(*disks));
	snprintf(disks->folder, sizeof(disks->folder), "%s/pool-kill-XXXXXX",
		 base && strlen(base) < 100 ? base : "/tmp");
	if (!mkdtemp(disks->folder))
		die(disks->folder);
	disks->count = count;
	for (unsigned i = 0; i < count; i++) {
		int file;

		snprintf(disks->paths[i], sizeof(disks->paths[i]), "%s/disk%u", disks->folder, i);
		file = open(disks->paths[i], O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		if (file < 0 || ftruncate(file, (off_t)bytes) != 0)
			die(disks->paths[i]);
		close(file);
	}
	disks->folders[0] = disks->folder;
	disks->host = (struct libpool_host){
	    .size = sizeof(disks->host),
	    .folders = disks->folders,
	    .folder_count = 1,
	    .no_devices = 1,
	    .cache_bytes = 16 * MIB,
	};
}

/* In a folder that is not searched. */
static void hidden_path(const struct disks *disks, unsigned index, char *path, size_t size)
{
	snprintf(path, size, "%s/hidden/disk%u", disks->folder, index);
}

void disks_hide(struct disks *disks, unsigned index)
{
	char folder[160], path[200];

	snprintf(folder, sizeof(folder), "%s/hidden", disks->folder);
	if (mkdir(folder, 0700) != 0 && errno != EEXIST)
		die(folder);
	hidden_path(disks, index, path, sizeof(path));
	if (rename(disks->paths[index], path) != 0)
		die(path);
	disks->hidden |= 1u << index;
}

void disks_show(struct disks *disks, unsigned index)
{
	char path[200];

	hidden_path(disks, index, path, sizeof(path));
	if (rename(path, disks->paths[index]) != 0)
		die(path);
	disks->hidden &= ~(1u << index);
}

void disks_remove(struct disks *disks)
{
	char path[200];

	for (unsigned i = 0; i < disks->count; i++) {
		hidden_path(disks, i, path, sizeof(path));
		unlink(path);
		unlink(disks->paths[i]);
	}
	snprintf(path, sizeof(path), "%s/hidden", disks->folder);
	rmdir(path);
	rmdir(disks->folder);
}

int disks_create_pool(struct disks *disks, const char *name, const char *profile, struct libpool_error *error)
{
	const char *paths[DISKS_MAX];
	struct libpool_create_options options = {.size = sizeof(options),
						 .name = name,
						 .profile = profile,
						 .disks = paths,
						 .disk_count = disks->count};

	for (unsigned i = 0; i < disks->count; i++)
		paths[i] = disks->paths[i];
	return libpool_create(&disks->host, &options, NULL, error);
}

int disks_import(struct disks *disks, const char *name, libpool_pool **ret_pool, struct libpool_error *error)
{
	struct libpool_import_options options = {.size = sizeof(options), .name = name};

	return libpool_import(&disks->host, &options, ret_pool, error);
}
