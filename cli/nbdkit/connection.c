/* SPDX-License-Identifier: BSD-2-Clause */
#include "cli/nbdkit/connection.h"

#include <errno.h>
#include <inttypes.h>
#include <netdb.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

struct connection {
	struct server *server;
	libpool_volume *volume;
	struct libpool_volume_info info;
	atomic_int logged; /* code of the last error in the log */
};

/* The process is known, and where its client is: a process of this host, or an address. */
static void describe_user(char text[LIBPOOL_TEXT_MAX])
{
	struct sockaddr_storage address;
	socklen_t length = sizeof(address);
	char host[NI_MAXHOST];
	int64_t client;

	snprintf(text, LIBPOOL_TEXT_MAX, "nbdkit pid %d", (int)getpid());
	if (nbdkit_peer_name((struct sockaddr *)&address, &length) < 0)
		return;
	if (address.ss_family == AF_UNIX) {
		client = nbdkit_peer_pid();
		if (client > 0)
			snprintf(text, LIBPOOL_TEXT_MAX, "nbdkit pid %d client pid %" PRIi64, (int)getpid(), client);
	} else if (getnameinfo((struct sockaddr *)&address, length, host, sizeof(host), NULL, 0, NI_NUMERICHOST) == 0) {
		snprintf(text, LIBPOOL_TEXT_MAX, "nbdkit pid %d client %.200s", (int)getpid(), host);
	}
}

struct connection *connection_open(struct server *server, const char *volume, bool read_only)
{
	struct connection *connection = calloc(1, sizeof(*connection));
	struct libpool_open_options options = {.size = sizeof(options), .read_only = read_only};
	char user[LIBPOOL_TEXT_MAX], why[LIBPOOL_TEXT_MAX];
	int result;

	if (!connection) {
		nbdkit_error("no memory for a connection");
		return NULL;
	}
	connection->server = server;
	connection->info.size = sizeof(connection->info);
	describe_user(user);
	options.user = user;
	result = server_open_volume(server, volume, &options, &connection->volume);
	if (result == 0) {
		result = libpool_volume_get_info(connection->volume, &connection->info);
		if (result < 0) {
			server_explain(server, result, why);
			nbdkit_error("volume %s/%s: %s", server->name, volume, why);
		}
	}
	if (result < 0) {
		connection_close(connection);
		return NULL;
	}
	return connection;
}

void connection_close(struct connection *connection)
{
	if (!connection)
		return;
	libpool_volume_close(connection->volume);
	free(connection);
}

const struct libpool_volume_info *connection_volume(const struct connection *connection)
{
	return &connection->info;
}

/* The protocol knows few errors, and nbdkit makes EINVAL of those that it doesn't know. */
static int client_error(int code)
{
	switch (code) {
	case -ENOSPC:
	case -ENOMEM:
	case -EINVAL:
	case -EROFS:
	case -EOPNOTSUPP:
		return -code;
	case -ENODEV:
		return ESHUTDOWN;
	default:
		return EIO;
	}
}

static int answer(struct connection *connection, int result, const char *what, uint32_t count, uint64_t offset)
{
	char why[LIBPOOL_TEXT_MAX];

	if (result >= 0)
		return 0;
	if (atomic_exchange(&connection->logged, result) != result) {
		server_explain(connection->server, result, why);
		nbdkit_error("volume %s/%s: %s, %" PRIu32 " bytes at %" PRIu64 ": %s", connection->server->name, connection->info.name,
			     what, count, offset, why);
	}
	nbdkit_set_error(client_error(result));
	return -1;
}

static int finish_change(struct connection *connection, int result, bool durable)
{
	return result == 0 && durable ? libpool_volume_flush(connection->volume) : result;
}

int connection_read(struct connection *connection, void *buffer, uint32_t count, uint64_t offset)
{
	return answer(connection, libpool_volume_read(connection->volume, offset, count, buffer), "read", count, offset);
}

int connection_write(struct connection *connection, const void *buffer, uint32_t count, uint64_t offset, bool durable)
{
	int result = libpool_volume_write(connection->volume, offset, count, buffer);

	return answer(connection, finish_change(connection, result, durable), "write", count, offset);
}

int connection_zero(struct connection *connection, uint32_t count, uint64_t offset, bool durable)
{
	int result = libpool_volume_zero(connection->volume, offset, count);

	return answer(connection, finish_change(connection, result, durable), "zero", count, offset);
}

int connection_trim(struct connection *connection, uint32_t count, uint64_t offset, bool durable)
{
	int result = libpool_volume_trim(connection->volume, offset, count);

	return answer(connection, finish_change(connection, result, durable), "trim", count, offset);
}

int connection_flush(struct connection *connection)
{
	return answer(connection, libpool_volume_flush(connection->volume), "flush", 0, 0);
}

/* The end of the data or of the hole at `at`: `end` at most, and `at` if there is none of it. */
static int run_end(struct connection *connection, uint64_t at, uint64_t end, bool data, uint64_t *ret_end)
{
	uint64_t other;
	int result = libpool_volume_seek(connection->volume, at, !data, &other);

	if (result == 0)
		*ret_end = other < end ? other : end;
	return result;
}

int connection_extents(struct connection *connection, uint32_t count, uint64_t offset, bool one, struct nbdkit_extents *extents)
{
	uint64_t end = offset + count, at = offset, next = offset;
	bool data = false;
	int result = 0;

	/* Holes and data in turn; only the first hole may be empty. */
	while (at < end && !(one && at > offset)) {
		result = run_end(connection, at, end, data, &next);
		if (result < 0 || (next == at && data))
			break;
		if (next > at && nbdkit_add_extent(extents, at, next - at, data ? 0 : NBDKIT_EXTENT_HOLE | NBDKIT_EXTENT_ZERO) < 0)
			return -1;
		at = next;
		data = !data;
	}
	/* Less than asked for is an answer; nothing isn't. What changes meanwhile counts as data. */
	if (at == offset && result == 0)
		return nbdkit_add_extent(extents, offset, count, 0);
	return answer(connection, at > offset ? 0 : result, "extents", count, offset);
}
