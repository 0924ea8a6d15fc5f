/* SPDX-License-Identifier: BSD-2-Clause */
/* What nbdkit's command line says. */
#ifndef CLI_NBDKIT_CONFIG_H
#define CLI_NBDKIT_CONFIG_H

#include <libpool.h>
#include <stdbool.h>

#define CONFIG_FOLDERS_MAX 64

struct config {
	const char *pool;
	const char *volume; /* NULL: all */
	bool read_only, force;
	char *folders[CONFIG_FOLDERS_MAX];
	struct libpool_host host;
};

extern const char config_help[];

/* One parameter, whose value stays valid. Here and below: 0, or -1 after nbdkit_error. */
int config_set(struct config *config, const char *key, const char *value);
/* When all parameters are there. */
int config_finish(struct config *config);
void config_release(struct config *config);

#endif
