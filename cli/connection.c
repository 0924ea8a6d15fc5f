/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "cli/connection.h"
#include "cli/document.h"
#include "cli/errors.h"
#include "cli/interrupt.h"

#define LINE_MAX_BYTES (64u << 20) /* an answer that is longer is none */
#define STEP_BYTES     65536u

/* ---- life ---- */

void connection_begin(struct connection *connection, int descriptor)
{
	*connection = (struct connection){.descriptor = descriptor};
}

static bool is_trusted(int descriptor)
{
	struct ucred peer;
	socklen_t length = sizeof(peer);

	return getsockopt(descriptor, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0 && (peer.uid == 0 || peer.uid == geteuid());
}

int connection_open(struct connection *connection, const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int descriptor, code = 0;

	if (strlen(path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	strcpy(address.sun_path, path);
	descriptor = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (descriptor < 0)
		return -errno;
	if (connect(descriptor, (const struct sockaddr *)&address, sizeof(address)) != 0)
		code = -errno;
	else if (!is_trusted(descriptor))
		code = -EPERM;
	if (code < 0) {
		close(descriptor);
		return code;
	}
	connection_begin(connection, descriptor);
	return 0;
}

void connection_end(struct connection *connection)
{
	if (connection->descriptor >= 0)
		close(connection->descriptor);
	free(connection->input);
	*connection = (struct connection){.descriptor = -1};
}

/* ---- sending ---- */

/* All of it; the descriptor goes with the first byte. */
static int send_line(struct connection *connection, const char *line, size_t length, int descriptor)
{
	while (length > 0) {
		union {
			struct cmsghdr align;
			char bytes[CMSG_SPACE(sizeof(int))];
		} ancillary = {.bytes = {0}};
		struct iovec what = {.iov_base = (void *)(uintptr_t)line, .iov_len = length};
		struct msghdr header = {.msg_iov = &what, .msg_iovlen = 1};
		ssize_t step;

		if (descriptor >= 0) {
			header.msg_control = &ancillary;
			header.msg_controllen = sizeof(ancillary);
			ancillary.align = (struct cmsghdr){
			    .cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
			memcpy(CMSG_DATA(&ancillary.align), &descriptor, sizeof(int));
		}
		step = sendmsg(connection->descriptor, &header, MSG_NOSIGNAL);
		if (step < 0 && errno == EAGAIN) {
			struct pollfd watched = {.fd = connection->descriptor, .events = POLLOUT};

			poll(&watched, 1, -1);
			continue;
		}
		if (step < 0 && errno == EINTR)
			continue;
		if (step < 0)
			return -errno;
		descriptor = -1;
		line += step;
		length -= (size_t)step;
	}
	return 0;
}

/* Takes the message over. */
static int send_message(struct connection *connection, struct json_object *message, int descriptor)
{
	size_t length;
	const char *text =
	    json_object_to_json_string_length(message, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE, &length);
	char *line = text ? malloc(length + 1) : NULL;
	int code = -ENOMEM;

	if (line) {
		memcpy(line, text, length);
		line[length] = '\n';
		code = send_line(connection, line, length + 1, descriptor);
	}
	free(line);
	json_object_put(message);
	return code;
}

static int send_request(struct connection *connection, const struct connection_request *request)
{
	struct json_object *message = json_object_new_object();

	document_text(message, "jsonrpc", "2.0");
	document_number(message, "id", (uint64_t)++connection->last_id);
	document_text(message, "method", request->method);
	json_object_object_add(message, "params", request->params ? request->params : json_object_new_object());
	if (request->descriptor >= 0)
		document_number(message, "descriptors", 1);
	if (request->progress)
		document_flag(message, "progress", true);
	return send_message(connection, message, request->descriptor);
}

static int send_cancel(struct connection *connection)
{
	struct json_object *message = json_object_new_object(), *params = json_object_new_object();

	document_text(message, "jsonrpc", "2.0");
	document_text(message, "method", "cancel");
	document_number(params, "id", (uint64_t)connection->last_id);
	json_object_object_add(message, "params", params);
	return send_message(connection, message, -1);
}

/* ---- receiving ---- */

static int make_room(struct connection *connection)
{
	size_t room = connection->room ? 2 * connection->room : STEP_BYTES;
	char *larger;

	if (connection->length < connection->room)
		return 0;
	larger = room <= LINE_MAX_BYTES ? realloc(connection->input, room) : NULL;
	if (!larger)
		return -EMSGSIZE;
	connection->input = larger;
	connection->room = room;
	return 0;
}

/* Reads what has come. -EAGAIN: nothing. */
static int receive(struct connection *connection)
{
	int code = make_room(connection);
	ssize_t step;

	if (code < 0)
		return code;
	step = recv(connection->descriptor, connection->input + connection->length, connection->room - connection->length,
		    MSG_DONTWAIT);
	if (step < 0)
		return -errno;
	if (step == 0)
		return -ECONNRESET;
	connection->length += (size_t)step;
	return 0;
}

/* The next message that is here, or NULL. */
static struct json_object *next_message(struct connection *connection)
{
	char *end = connection->length ? memchr(connection->input, '\n', connection->length) : NULL;
	struct json_tokener *tokener;
	struct json_object *message = NULL;
	size_t length;

	if (!end)
		return NULL;
	length = (size_t)(end - connection->input);
	tokener = json_tokener_new();
	if (tokener)
		message = json_tokener_parse_ex(tokener, connection->input, (int)length);
	json_tokener_free(tokener);
	connection->length -= length + 1;
	memmove(connection->input, end + 1, connection->length);
	return message;
}

static void take_error(struct json_object *object, struct libpool_error *error)
{
	struct json_object *data = document_get(object, "data");
	int code = data ? (int)document_get_number(data, "code") : EPROTO;

	error_set(error, code ? -code : -EPROTO, "%s", document_get_text(object, "message"));
}

/* 1: that was the answer; 0: something else. A negative code: it is an error. */
static int take(struct connection *connection, const struct connection_request *request, struct json_object *message,
		struct json_object **ret_result, struct libpool_error *error)
{
	struct json_object *id = document_get(message, "id"), *failure = document_get(message, "error"),
			   *params = document_get(message, "params");

	if (strcmp(document_get_text(message, "method"), "progress") == 0 && params && request->progress) {
		if (document_get_number(params, "id") == (uint64_t)connection->last_id)
			progress_update(request->progress, document_get_number(params, "done_bytes"),
					document_get_number(params, "total_bytes"), document_get_number(params, "rate"));
		return 0;
	}
	/* An error without an id ends the conversation. */
	if (failure && (!id || json_object_get_int64(id) == connection->last_id)) {
		take_error(failure, error);
		return error->code < 0 ? error->code : -EPROTO;
	}
	if (!id || json_object_get_int64(id) != connection->last_id || !document_get(message, "result"))
		return 0;
	*ret_result = json_object_get(document_get(message, "result"));
	return 1;
}

static int take_all(struct connection *connection, const struct connection_request *request, struct json_object **ret_result,
		    struct libpool_error *error)
{
	struct json_object *message;
	int code = 0;

	while (code == 0 && (message = next_message(connection))) {
		code = take(connection, request, message, ret_result, error);
		json_object_put(message);
	}
	return code;
}

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static int wait_for_answer(struct connection *connection, const struct connection_request *request,
			   struct json_object **ret_result, struct libpool_error *error)
{
	uint64_t limit = now_ms() + (uint64_t)(request->timeout_ms > 0 ? request->timeout_ms : 0);
	bool cancelled = false;
	int code;

	for (;;) {
		int left = request->timeout_ms < 0 ? -1 : limit > now_ms() ? (int)(limit - now_ms()) : 0;

		code = take_all(connection, request, ret_result, error);
		if (code != 0)
			return code < 0 ? code : 0;
		/* Once told to stop it is waited for, as it says what was done. */
		code = interrupt_wait(connection->descriptor, POLLIN, left, !cancelled);
		if (code == -EINTR && !cancelled) {
			cancelled = true;
			code = send_cancel(connection);
			if (code < 0)
				return code;
			continue;
		}
		if (code == 0)
			code = receive(connection);
		if (code < 0 && code != -EAGAIN)
			return code;
	}
}

int connection_call(struct connection *connection, const struct connection_request *request, struct json_object **ret_result,
		    struct libpool_error *error)
{
	int code;

	if (interrupt_requested()) {
		json_object_put(request->params);
		return error_set(error, -EINTR, "%s was interrupted before it began", request->method);
	}
	error->text[0] = '\0';
	code = send_request(connection, request);
	/* A server that ended the conversation has said why. */
	if (code == 0 || code == -EPIPE || code == -ECONNRESET)
		code = wait_for_answer(connection, request, ret_result, error);
	if (code >= 0 || error->text[0])
		return code;
	if (code == -ETIMEDOUT)
		return error_set(error, code, "the process that has the pool imported doesn't answer");
	return error_set(error, code, "the process that has the pool imported ended, or stopped serving it: %s", libpool_strerror(code));
}

void connection_await_end(struct connection *connection, int timeout_ms)
{
	uint64_t limit = now_ms() + (uint64_t)timeout_ms, now;

	while (connection->descriptor >= 0 && (now = now_ms()) < limit) {
		struct pollfd end = {.fd = connection->descriptor, .events = POLLIN};
		char bytes[256];

		if (poll(&end, 1, (int)(limit - now)) <= 0)
			return;
		ssize_t step = recv(connection->descriptor, bytes, sizeof(bytes), MSG_DONTWAIT);
		if (step == 0 || (step < 0 && errno != EAGAIN))
			return;
	}
}
