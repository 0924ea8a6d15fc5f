/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A pool that verbs can ask something of: through the process that has it imported, or, where nobody has, imported by this process
 * for the time of the session and served to itself. Both answer the same requests, so a verb can't tell them apart.
 */
#ifndef CLI_SESSION_H
#define CLI_SESSION_H

#include <stdbool.h>

#include <libpool.h>

#include "cli/connection.h"
#include "cli/owners.h"

struct session {
	struct connection connection;
	libpool_control *control; /* NULL: another process's */
	struct owner owner;	  /* of another process */
	bool is_open, is_owned;	  /* owned: by another process */
};

/* -ENOENT: nobody has it imported and serves it. */
int session_join(struct session *session, const char *name, struct libpool_error *error);
int session_import(struct session *session, const struct libpool_host *host, const struct libpool_import_options *options,
		   struct libpool_error *error);
/* Exports what was imported. The session is over in any case. */
int session_close(struct session *session, struct libpool_error *error);

#endif
