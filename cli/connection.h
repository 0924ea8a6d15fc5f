/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The conversation with a server of libpool_serve_control: requests and answers of JSON-RPC 2.0, one a line (docs/json.md). One
 * request at a time; an interruption cancels it.
 */
#ifndef CLI_CONNECTION_H
#define CLI_CONNECTION_H

#include <stdbool.h>
#include <stdint.h>

#include <json-c/json.h>
#include <libpool.h>

#include "cli/progress.h"

struct connection {
	int descriptor; /* of the socket; -1: none */
	int64_t last_id;
	char *input;    /* what came and is no whole line yet */
	size_t length, room;
};

/* Takes over a connected socket. */
void connection_begin(struct connection *connection, int descriptor);
/* Connects to the socket at `path`, if its server runs as this user or as root. 0 or -errno; -ECONNREFUSED: nobody listens. */
int connection_open(struct connection *connection, const char *path);
void connection_end(struct connection *connection);
/* Until the other side has closed it, and `timeout_ms` at most, or a signal. What comes is dropped. At once if there is no connection. */
void connection_await_end(struct connection *connection, int timeout_ms);

struct connection_request {
	const char *method;
	struct json_object *params; /* taken over */
	int descriptor;             /* passed with it; -1: none */
	struct progress *progress;  /* told what the server tells, or NULL */
	int timeout_ms;             /* -1: none */
};
/*
 * 0 with the result, which the caller puts, or a negative code with the server's text. -EINTR: the user interrupted it, and the
 * server has stopped working on it. -ECONNRESET: the server has gone.
 */
int connection_call(struct connection *connection, const struct connection_request *request, struct json_object **ret_result,
		    struct libpool_error *error);

#endif
