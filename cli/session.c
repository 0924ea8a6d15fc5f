/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cli/errors.h"
#include "cli/importing.h"
#include "cli/session.h"

int session_join(struct session *session, const char *name, struct libpool_error *error)
{
	int code;

	*session = (struct session){.connection = {.descriptor = -1}};
	code = owner_connect(name, &session->connection, &session->owner, error);
	session->is_open = session->is_owned = code == 0;
	return code;
}

/* Both ends of the conversation. */
static int serve_oneself(struct session *session, libpool_pool *pool, struct libpool_error *error)
{
	struct libpool_control_options options = {.size = sizeof(options), .path = ""};
	int ends[2], code = libpool_serve_control(pool, &options, &session->control, error);

	if (code < 0) {
		libpool_close(pool, NULL);
		return code;
	}
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) != 0)
		return error_set(error, -errno, "making a pair of sockets: %s", strerror(errno));
	connection_begin(&session->connection, ends[0]);
	return libpool_control_attach(session->control, ends[1]);
}

int session_import(struct session *session, const struct libpool_host *host, const struct libpool_import_options *options,
		   struct libpool_error *error)
{
	libpool_pool *pool;
	int code;

	*session = (struct session){.connection = {.descriptor = -1}};
	code = import_pool(host, options, &pool, error);
	if (code < 0)
		return code;
	code = serve_oneself(session, pool, error);
	if (code < 0)
		session_close(session, NULL);
	else
		session->is_open = true;
	return code;
}

int session_close(struct session *session, struct libpool_error *error)
{
	int code = 0;

	connection_end(&session->connection);
	if (session->control)
		code = libpool_control_close(session->control, error);
	*session = (struct session){.connection = {.descriptor = -1}};
	return code;
}
