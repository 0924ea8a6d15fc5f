/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <libgen.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/importing.h"
#include "cli/options.h"

#define MORE_MAX 16 /* folders beside those that are searched anyway */

struct folders {
	const char *all[FOLDERS_MAX + MORE_MAX];
	size_t count;
	char *more[MORE_MAX];
	size_t more_count;
};

static bool is_searched(const struct folders *folders, const char *folder)
{
	for (size_t i = 0; i < folders->count; i++) {
		if (strcmp(folders->all[i], folder) == 0)
			return true;
	}
	return false;
}

static void add(struct folders *folders, const struct libpool_disk_info *disk)
{
	char path[LIBPOOL_PATH_MAX], *folder;
	struct stat status;

	if (disk->state != LIBPOOL_DISK_MISSING || folders->more_count == MORE_MAX || stat(disk->path, &status) != 0 ||
	    !S_ISREG(status.st_mode))
		return;
	snprintf(path, sizeof(path), "%s", disk->path);
	folder = realpath(dirname(path), NULL);
	if (!folder || is_searched(folders, folder)) {
		free(folder);
		return;
	}
	folders->all[folders->count++] = folders->more[folders->more_count++] = folder;
}

/* Whether there is somewhere else to look. */
static bool find_more(libpool_pool *pool, struct folders *folders)
{
	struct libpool_disk_info *disks = NULL;
	size_t count = 0;

	if (libpool_disks(pool, &disks, &count) < 0)
		return false;
	for (size_t i = 0; i < count; i++)
		add(folders, LIBPOOL_ELEMENT(libpool_disk_info, disks, i));
	libpool_free(disks);
	return folders->more_count > 0;
}

int import_pool(const struct libpool_host *host, const struct libpool_import_options *options, libpool_pool **ret_pool,
		struct libpool_error *error)
{
	struct libpool_host wider = *host;
	struct folders folders = {.count = 0};
	libpool_pool *pool;
	int code = libpool_import(host, options, &pool, error);

	if (code < 0)
		return code;
	for (size_t i = 0; i < host->folder_count && i < FOLDERS_MAX; i++)
		folders.all[folders.count++] = host->folders[i];
	if (options->rewind_txg == 0 && find_more(pool, &folders)) {
		wider.folders = folders.all;
		wider.folder_count = folders.count;
		code = libpool_close(pool, error);
		if (code == 0)
			code = libpool_import(&wider, options, &pool, error);
	}
	for (size_t i = 0; i < folders.more_count; i++)
		free(folders.more[i]);
	if (code == 0)
		*ret_pool = pool;
	return code;
}
