/* SPDX-License-Identifier: BSD-2-Clause */
/* Folders are made absolute here: nbdkit changes to / before the pool is imported. */
#include "cli/nbdkit/config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define NBDKIT_API_VERSION 2
#include <nbdkit-plugin.h>

const char config_help[] =
	"pool=NAME           (required) The pool: its name, or its id in hex.\n"
	"volume=NAME         Export this volume only; else each volume is an export.\n"
	"disks-folder=DIR    Search this folder for disks that are files (may be repeated).\n"
	"devices=BOOL        Search the block devices (default: true).\n"
	"readonly=BOOL       Import the pool read-only (default: false).\n"
	"force=BOOL          Also if another host used the pool last (default: false).\n"
	"cache=SIZE          Limit of the cache (default: a quarter of the memory; 0: none).";

static int set_text(const char **text, const char *key, const char *value)
{
	if (*text) {
		nbdkit_error("%s is given twice: '%s' and '%s'", key, *text, value);
		return -1;
	}
	if (!value[0]) {
		nbdkit_error("%s is empty: it needs a name", key);
		return -1;
	}
	*text = value;
	return 0;
}

static int set_bool(bool *truth, const char *value)
{
	int result = nbdkit_parse_bool(value);

	if (result < 0)
		return -1;
	*truth = result;
	return 0;
}

static int add_folder(struct config *config, const char *folder)
{
	struct stat status;
	char *absolute;

	if (config->host.folder_count == CONFIG_FOLDERS_MAX) {
		nbdkit_error("more than %d folders to search: name fewer", CONFIG_FOLDERS_MAX);
		return -1;
	}
	absolute = realpath(folder, NULL);
	if (!absolute) {
		nbdkit_error("disks-folder: '%s' can't be searched: %m", folder);
		return -1;
	}
	if (stat(absolute, &status) != 0 || !S_ISDIR(status.st_mode)) {
		nbdkit_error("disks-folder: '%s' is not a folder", folder);
		free(absolute);
		return -1;
	}
	config->folders[config->host.folder_count++] = absolute;
	return 0;
}

static int set_cache(struct config *config, const char *value)
{
	int64_t bytes = nbdkit_parse_size(value);

	if (bytes < 0)
		return -1;
	config->host.cache_bytes = bytes ? (uint64_t)bytes : 1;
	return 0;
}

int config_set(struct config *config, const char *key, const char *value)
{
	bool devices;

	if (!strcmp(key, "pool"))
		return set_text(&config->pool, key, value);
	if (!strcmp(key, "volume"))
		return set_text(&config->volume, key, value);
	if (!strcmp(key, "disks-folder"))
		return add_folder(config, value);
	if (!strcmp(key, "readonly"))
		return set_bool(&config->read_only, value);
	if (!strcmp(key, "force"))
		return set_bool(&config->force, value);
	if (!strcmp(key, "cache"))
		return set_cache(config, value);
	if (!strcmp(key, "devices")) {
		if (set_bool(&devices, value) < 0)
			return -1;
		config->host.no_devices = !devices;
		return 0;
	}
	nbdkit_error("unknown parameter '%s': nbdkit libpool --help lists them", key);
	return -1;
}

int config_finish(struct config *config)
{
	if (!config->pool) {
		nbdkit_error("no pool is named: pool=NAME");
		return -1;
	}
	config->host.size = sizeof(config->host);
	config->host.folders = (const char *const *)config->folders;
	return 0;
}

void config_release(struct config *config)
{
	for (size_t i = 0; i < config->host.folder_count; i++)
		free(config->folders[i]);
	config->host.folder_count = 0;
}
