/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * nbdkit libpool pool=NAME: the volumes of a pool as NBD exports. The process owns the pool while it runs.
 *
 * All connections share one pool, whose calls are thread-safe, so requests run in parallel; a flush is one of the whole pool's, so a client may
 * spread its requests over several connections.
 */
#include <stdio.h>
#include <string.h>

#include "cli/nbdkit/connection.h"

#define THREAD_MODEL NBDKIT_THREAD_MODEL_PARALLEL
#define REQUEST_BYTES_MAX (UINT32_C(32) << 20) /* what clients may count on by the protocol; more works */

static struct server server;

static int plugin_config(const char *key, const char *value)
{
	return config_set(&server.config, key, value);
}

static int plugin_config_complete(void)
{
	return config_finish(&server.config);
}

static int plugin_get_ready(void)
{
	return server_rehearse(&server);
}

static int plugin_after_fork(void)
{
	return server_start(&server);
}

static void plugin_cleanup(void)
{
	server_stop(&server);
}

static void plugin_unload(void)
{
	config_release(&server.config);
}

static void plugin_dump(void)
{
	printf("libpool_version=%s\n", libpool_version());
}

/* ---- exports ---- */

static bool is_exported(const char *volume)
{
	return !server.config.volume || !strcmp(volume, server.config.volume);
}

static int plugin_list_exports(int readonly, int is_tls, struct nbdkit_exports *exports)
{
	struct libpool_volume_info *volumes;
	size_t count;
	int result;

	(void)readonly, (void)is_tls;
	if (server_volumes(&server, &volumes, &count) < 0)
		return -1;
	result = 0;
	for (size_t i = 0; i < count && result == 0; i++) {
		const struct libpool_volume_info *volume = LIBPOOL_ELEMENT(libpool_volume_info, volumes, i);
		const char *description;

		if (!is_exported(volume->name))
			continue;
		description = server_describe(&server, volume);
		result = description ? nbdkit_add_export(exports, volume->name, description) : -1;
	}
	libpool_free(volumes);
	return result;
}

/* The only one, if there is only one. */
static const char *plugin_default_export(int readonly, int is_tls)
{
	struct libpool_volume_info *volumes;
	const char *name = NULL;
	size_t count;

	(void)readonly, (void)is_tls;
	if (server.config.volume)
		return server.config.volume;
	if (server_volumes(&server, &volumes, &count) < 0)
		return NULL;
	if (count == 1)
		name = nbdkit_strdup_intern(volumes[0].name);
	libpool_free(volumes);
	return name;
}

static void *plugin_open(int readonly)
{
	const char *name = nbdkit_export_name();

	if (!name)
		return NULL;
	if (!is_exported(name)) {
		nbdkit_error("there is no export '%s': only volume %s of pool %s is exported", name, server.config.volume, server.name);
		return NULL;
	}
	return connection_open(&server, name, readonly || server.config.read_only);
}

static void plugin_close(void *handle)
{
	connection_close(handle);
}

static const char *plugin_export_description(void *handle)
{
	return server_describe(&server, connection_volume(handle));
}

/* ---- what an export can do ---- */

static int64_t plugin_get_size(void *handle)
{
	return (int64_t)connection_volume(handle)->volume_bytes;
}

static int plugin_block_size(void *handle, uint32_t *minimum, uint32_t *preferred, uint32_t *maximum)
{
	*minimum = 1;
	*preferred = connection_volume(handle)->block_bytes;
	*maximum = REQUEST_BYTES_MAX;
	return 0;
}

static int plugin_is_rotational(void *handle)
{
	(void)handle;
	return server_rotational(&server);
}

static int plugin_can_write(void *handle)
{
	(void)handle;
	return !server.config.read_only;
}

static int plugin_can_fua(void *handle)
{
	(void)handle;
	return NBDKIT_FUA_NATIVE;
}

static int plugin_can_cache(void *handle)
{
	(void)handle;
	return NBDKIT_CACHE_EMULATE; /* what is read is cached by the pool */
}

static int plugin_yes(void *handle)
{
	(void)handle;
	return 1;
}

/* ---- requests ---- */

static int plugin_pread(void *handle, void *buffer, uint32_t count, uint64_t offset, uint32_t flags)
{
	(void)flags;
	return connection_read(handle, buffer, count, offset);
}

static int plugin_pwrite(void *handle, const void *buffer, uint32_t count, uint64_t offset, uint32_t flags)
{
	return connection_write(handle, buffer, count, offset, flags & NBDKIT_FLAG_FUA);
}

static int plugin_flush(void *handle, uint32_t flags)
{
	(void)flags;
	return connection_flush(handle);
}

static int plugin_trim(void *handle, uint32_t count, uint64_t offset, uint32_t flags)
{
	return connection_trim(handle, count, offset, flags & NBDKIT_FLAG_FUA);
}

/* Always fast, and a hole also without NBDKIT_FLAG_MAY_TRIM: the pool makes holes of zeroes that are written, too, and overwriting takes
 * new space anyway. */
static int plugin_zero(void *handle, uint32_t count, uint64_t offset, uint32_t flags)
{
	return connection_zero(handle, count, offset, flags & NBDKIT_FLAG_FUA);
}

static int plugin_extents(void *handle, uint32_t count, uint64_t offset, uint32_t flags, struct nbdkit_extents *extents)
{
	return connection_extents(handle, count, offset, flags & NBDKIT_FLAG_REQ_ONE, extents);
}

static struct nbdkit_plugin plugin = {
	.name = "libpool",
	.longname = "libpool storage pool",
	.version = PLUGIN_VERSION,
	.description = "Exports the volumes of a pool.",
	.config = plugin_config,
	.config_complete = plugin_config_complete,
	.config_help = config_help,
	.magic_config_key = "pool",
	.dump_plugin = plugin_dump,
	.get_ready = plugin_get_ready,
	.after_fork = plugin_after_fork,
	.cleanup = plugin_cleanup,
	.unload = plugin_unload,
	.list_exports = plugin_list_exports,
	.default_export = plugin_default_export,
	.open = plugin_open,
	.close = plugin_close,
	.export_description = plugin_export_description,
	.get_size = plugin_get_size,
	.block_size = plugin_block_size,
	.is_rotational = plugin_is_rotational,
	.can_write = plugin_can_write,
	.can_fua = plugin_can_fua,
	.can_multi_conn = plugin_yes,
	.can_fast_zero = plugin_yes,
	.can_cache = plugin_can_cache,
	.pread = plugin_pread,
	.pwrite = plugin_pwrite,
	.flush = plugin_flush,
	.trim = plugin_trim,
	.zero = plugin_zero,
	.extents = plugin_extents,
};

struct nbdkit_plugin *plugin_init(void);
NBDKIT_REGISTER_PLUGIN(plugin)
