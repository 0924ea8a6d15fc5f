/* SPDX-License-Identifier: BSD-2-Clause */
/* The pool that is served: from its import after the fork to its export before nbdkit ends. */
#ifndef CLI_NBDKIT_SERVER_H
#define CLI_NBDKIT_SERVER_H

#include "cli/nbdkit/config.h"

#include <pthread.h>

struct server {
	struct config config;
	char name[LIBPOOL_NAME_MAX + 1]; /* of the pool, which may have been named by its id */
	pthread_rwlock_t lock;           /* of pool: held while it is used other than through a volume */
	libpool_pool *pool;              /* NULL: not yet, or not any more */
	libpool_control *control;        /* NULL: poolctl can't reach the pool */
	libpool_volume *kept;            /* the one volume that is exported stays open, so that nobody destroys it */
	pthread_t watcher;
	pthread_mutex_t ending_lock;
	pthread_cond_t ending_changed;
	bool ending; /* nbdkit has come to its end by itself */
};

/* Here and below: 0, or -1 after nbdkit_error. */

/* Finds what would be in the way of server_start, and leaves neither threads nor locks. */
int server_rehearse(struct server *server);
int server_start(struct server *server);
void server_stop(struct server *server);

/* All volumes of the pool: one allocation for libpool_free. */
int server_volumes(struct server *server, struct libpool_volume_info **ret_volumes, size_t *ret_count);
int server_open_volume(struct server *server, const char *name, const struct libpool_open_options *options, libpool_volume **ret_volume);
/* For people: what is behind an export. Belongs to nbdkit; NULL after nbdkit_error. */
const char *server_describe(const struct server *server, const struct libpool_volume_info *volume);
/* Whether any of the pool's disks is. */
bool server_rotational(struct server *server);
/* What a pool that is halted says about it, else the text of the code. */
void server_explain(struct server *server, int code, char text[LIBPOOL_TEXT_MAX]);

#endif
