/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One connection of a client: a handle of the volume that it named as its export, and the requests on it. All but opening and
 * closing may be called from several threads at a time. Requests return 0, or -1 with the client's error set; the log
 * gets a line when the kind of error changes, not for each request.
 */
#ifndef CLI_NBDKIT_CONNECTION_H
#define CLI_NBDKIT_CONNECTION_H

#include "cli/nbdkit/server.h"

#define NBDKIT_API_VERSION 2
#include <nbdkit-plugin.h>

struct connection;

/* NULL after nbdkit_error. */
struct connection *connection_open(struct server *server, const char *volume, bool read_only);
void connection_close(struct connection *connection);

/* As it was when the client connected: a client that sees another size must connect again. */
const struct libpool_volume_info *connection_volume(const struct connection *connection);

int connection_read(struct connection *connection, void *buffer, uint32_t count, uint64_t offset);
/* `durable`: when it returns. */
int connection_write(struct connection *connection, const void *buffer, uint32_t count, uint64_t offset, bool durable);
int connection_zero(struct connection *connection, uint32_t count, uint64_t offset, bool durable);
int connection_trim(struct connection *connection, uint32_t count, uint64_t offset, bool durable);
/* Covers what was acknowledged on every connection. */
int connection_flush(struct connection *connection);
/* `one`: only the extent at offset. */
int connection_extents(struct connection *connection, uint32_t count, uint64_t offset, bool one, struct nbdkit_extents *extents);

#endif
