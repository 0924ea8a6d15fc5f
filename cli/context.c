/* SPDX-License-Identifier: BSD-2-Clause */
/* Folders are made absolute here, because the engine's threads and the pool's memory outlive a working
 * directory. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/context.h"
#include "cli/errors.h"
#include "cli/text.h"

#define ENVIRONMENT "LIBPOOL_DISK_PATH"

/* 0, or a negative code when it is no folder. */
static int add(struct context *context, const char *folder, const char *origin, struct libpool_error *error)
{
	struct stat status;
	char *absolute;

	if (context->folder_count == FOLDERS_MAX)
		return error_set(error, -EINVAL, "more than %d folders to search: name fewer", FOLDERS_MAX);
	absolute = realpath(folder, NULL);
	if (!absolute)
		return error_set(error, -errno, "%s: can't search folder '%s': %s", origin, folder,
				 strerror(errno));
	if (stat(absolute, &status) != 0 || !S_ISDIR(status.st_mode)) {
		free(absolute);
		return error_set(error, -ENOTDIR, "%s: can't search '%s': it is not a folder", origin,
				 folder);
	}
	for (size_t i = 0; i < context->folder_count; i++) {
		if (strcmp(context->folders[i], absolute) == 0) {
			free(absolute);
			return 0;
		}
	}
	context->folders[context->folder_count++] = absolute;
	return 0;
}

static void add_environment(struct context *context)
{
	const char *value = getenv(ENVIRONMENT);
	char *copy, *rest = NULL;

	copy = value ? strdup(value) : NULL;
	if (!copy)
		return;
	for (char *folder = strtok_r(copy, ":", &rest); folder; folder = strtok_r(NULL, ":", &rest))
		add(context, folder, ENVIRONMENT, NULL);
	free(copy);
}

int context_init(struct context *context, const struct options *options, struct libpool_error *error)
{
	*context = (struct context){.host = {.size = sizeof(struct libpool_host)}};
	for (size_t i = 0; i < options->folder_count; i++) {
		int code = add(context, options->folders[i], "-d", error);

		if (code < 0) {
			context_release(context);
			return code;
		}
	}
	add_environment(context);
	context->host.folders = (const char *const *)context->folders;
	context->host.folder_count = context->folder_count;
	context->host.no_devices = options_have(options, OPTION_NO_DEVICES);
	return 0;
}

void context_release(struct context *context)
{
	for (size_t i = 0; i < context->folder_count; i++)
		free(context->folders[i]);
	context->folder_count = 0;
}

void context_describe_search(const struct libpool_host *host, char *text, size_t room)
{
	text[0] = '\0';
	for (size_t i = 0; i < host->folder_count; i++)
		text_append(text, room, "%s%s", text[0] ? ", " : "", host->folders[i]);
	if (!host->no_devices)
		text_append(text, room, "%sthe block devices", text[0] ? " and " : "");
	if (!text[0])
		text_append(text, room, "no folder at all");
}
