/* SPDX-License-Identifier: BSD-2-Clause */
/* Processes that have pools imported and serve them: found by their sockets, so that no disk has to be looked at. */
#ifndef CLI_OWNERS_H
#define CLI_OWNERS_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include <libpool.h>

#include "cli/connection.h"
#include "cli/names.h"

struct owner {
	char pool[LIBPOOL_NAME_MAX + 1];
	char id[GUID_TEXT_MAX];
	char state[16]; /* "healthy" ... */
	bool read_only;
	uint64_t pid;
	uint64_t usable_bytes, used_bytes, free_bytes, dead_bytes, formable_bytes, moved_bytes;
	char amplification[16]; /* "1.062"; "" as long as nothing has been written */
	char path[PATH_MAX]; /* of its socket */
};

/* Those that answer, as one array, to be freed. 0 or a negative code. */
int owners_list(struct owner **ret_owners, size_t *ret_count);
/*
 * Connects to the owner of the pool of this name or id; ret_owner may be NULL. -ENOENT: nobody serves it. -EEXIST: several pools of
 * this name are imported.
 */
int owner_connect(const char *name, struct connection *ret_connection, struct owner *ret_owner, struct libpool_error *error);

#endif
