/* SPDX-License-Identifier: BSD-2-Clause */
/* How this process reaches disks: folders from -d and LIBPOOL_DISK_PATH, made absolute. */
#ifndef CLI_CONTEXT_H
#define CLI_CONTEXT_H

#include <libpool.h>

#include "cli/options.h"

struct context {
	struct libpool_host host;
	char *folders[FOLDERS_MAX];
	size_t folder_count;
};

/* A folder of -d must exist; one of the environment that doesn't is skipped. 0 or a negative code. */
int context_init(struct context *context, const struct options *options, struct libpool_error *error);
void context_release(struct context *context);
/* "/a, /b and the block devices": where a search looks, for error texts. */
void context_describe_search(const struct libpool_host *host, char *text, size_t room);

#endif
