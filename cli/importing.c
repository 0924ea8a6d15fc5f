/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <libgen.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/errors.h"
#include "cli/importing.h"
#include "cli/options.h"
#include "cli/pools.h"

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

static void find_more(libpool_pool *pool, struct folders *folders)
{
	struct libpool_disk_info *disks = NULL;
	size_t count = 0;

	if (libpool_disks(pool, &disks, &count) < 0)
		return;
	for (size_t i = 0; i < count; i++)
		add(folders, LIBPOOL_ELEMENT(libpool_disk_info, disks, i));
	libpool_free(disks);
}

/*
 * What a pool knows of its disks is in the pool itself: it is looked at read-only. To import it in order to write, without
 * those that will be found a moment later, would leave each of them with rows to catch up on.
 */
static int look_for_more(const struct libpool_host *host, const struct libpool_import_options *options, struct folders *folders)
{
	struct libpool_import_options look = *options;
	struct libpool_found found;
	libpool_pool *pool;

	if (options->rewind_txg || pools_find(host, options->name, &found, NULL) < 0 || found.in_use ||
	    found.disks_found >= found.disks_configured)
		return 0;
	look.read_only = look.force = 1; /* as far as it goes */
	if (libpool_import(host, &look, &pool, NULL) < 0)
		return 0;
	for (size_t i = 0; i < host->folder_count && i < FOLDERS_MAX; i++)
		folders->all[folders->count++] = host->folders[i];
	find_more(pool, folders);
	return libpool_close(pool, NULL);
}

int import_pool(const struct libpool_host *host, const struct libpool_import_options *options, libpool_pool **ret_pool,
		struct libpool_error *error)
{
	struct libpool_host wider = *host;
	struct folders folders = {.count = 0};
	int code = look_for_more(host, options, &folders);

	if (code < 0)
		return error_set(error, code, "importing pool %s: its disks stay in use", options->name);
	if (folders.more_count) {
		wider.folders = folders.all;
		wider.folder_count = folders.count;
	}
	code = libpool_import(&wider, options, ret_pool, error);
	for (size_t i = 0; i < folders.more_count; i++)
		free(folders.more[i]);
	return code;
}
