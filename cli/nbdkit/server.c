/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * nbdkit forks into the background between two callbacks, .get_ready and .after_fork. Threads don't survive a fork, so the pool
 * is imported behind it; but what is said there only reaches the system log. So a read-only import before it rehearses: it
 * finds what would be in the way, and says so to whoever started nbdkit.
 *
 * When nbdkit is told to end, it waits until each client has sent another request or has gone, however long that takes; a service
 * manager kills it some time. So a thread of ours notices, and exports the pool if nbdkit has not come to it by
 * itself soon. From then on clients are told that the server is shutting down.
 */
#include "cli/nbdkit/server.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define NBDKIT_API_VERSION 2
#include <nbdkit-plugin.h>

#define GRACE_SECONDS 2
#define SLEEP_SECONDS 86400 /* nbdkit wakes us */

static int import(const struct config *config, bool read_only, libpool_pool **ret_pool, struct libpool_error *error)
{
	struct libpool_import_options options = {.size = sizeof(options)};

	options.name = config->pool;
	options.read_only = read_only;
	options.force = config->force;
	return libpool_import(&config->host, &options, ret_pool, error);
}

/* A read-only import doesn't mind who had the pool before. */
static int check_other_host(const struct config *config, const struct libpool_pool_info *info, struct libpool_error *error)
{
	struct libpool_found *found;
	size_t count;
	int result = libpool_find(&config->host, &found, &count, error);

	if (result < 0)
		return result;
	for (size_t i = 0; i < count; i++) {
		const struct libpool_found *each = LIBPOOL_ELEMENT(libpool_found, found, i);

		if (memcmp(each->guid, info->guid, sizeof(info->guid)) || !each->other_host || each->clean)
			continue;
		result = -LIBPOOL_EOTHERHOST;
		snprintf(error->text, sizeof(error->text),
			 "pool %s was last used by another host and not exported: if that host is down, add force=true", info->name);
	}
	libpool_free(found);
	return result;
}

int server_rehearse(struct server *server)
{
	const struct config *config = &server->config;
	struct libpool_pool_info info = {.size = sizeof(info)};
	struct libpool_volume_info volume = {.size = sizeof(volume)};
	struct libpool_error error;
	libpool_pool *pool;
	int result = import(config, true, &pool, &error);

	if (result == 0) {
		result = libpool_pool_info(pool, &info);
		if (result < 0)
			snprintf(error.text, sizeof(error.text), "pool %s: %s", config->pool, libpool_strerror(result));
		if (result == 0 && config->volume)
			result = libpool_volume_info(pool, config->volume, &volume, &error);
		libpool_close(pool, NULL);
	}
	if (result == 0 && !config->read_only && !config->force)
		result = check_other_host(config, &info, &error);
	if (result < 0) {
		nbdkit_error("%s", error.text);
		return -1;
	}
	return 0;
}

/* ---- the end ---- */

static void close_pool(struct server *server)
{
	struct libpool_error error;
	int result;

	pthread_rwlock_wrlock(&server->lock);
	libpool_volume_close(server->kept);
	server->kept = NULL;
	result = server->control ? libpool_control_close(server->control, &error) : libpool_close(server->pool, &error);
	if (result < 0)
		nbdkit_error("%s", error.text);
	server->control = NULL;
	server->pool = NULL;
	pthread_rwlock_unlock(&server->lock);
}

static bool ends_by_itself(struct server *server)
{
	struct timespec until;
	int result = 0;
	bool ending;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += GRACE_SECONDS;
	pthread_mutex_lock(&server->ending_lock);
	while (!server->ending && result == 0)
		result = pthread_cond_timedwait(&server->ending_changed, &server->ending_lock, &until);
	ending = server->ending;
	pthread_mutex_unlock(&server->ending_lock);
	return ending;
}

static void *watch(void *argument)
{
	struct server *server = argument;

	while (nbdkit_nanosleep(SLEEP_SECONDS, 0) == 0)
		continue;
	if (errno == ESHUTDOWN && !ends_by_itself(server))
		close_pool(server);
	return NULL;
}

static int start_watcher(struct server *server)
{
	sigset_t all, before;
	int result;

	pthread_mutex_init(&server->ending_lock, NULL);
	pthread_cond_init(&server->ending_changed, NULL);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	result = pthread_create(&server->watcher, NULL, watch, server);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return -result;
}

void server_stop(struct server *server)
{
	pthread_mutex_lock(&server->ending_lock);
	server->ending = true;
	pthread_cond_signal(&server->ending_changed);
	pthread_mutex_unlock(&server->ending_lock);
	pthread_join(server->watcher, NULL);
	close_pool(server);
}

/* ---- the beginning ---- */

static void export_asked(void *argument)
{
	(void)argument;
	nbdkit_shutdown();
}

/* So that poolctl sees and steers the pool. Clients of NBD are served without it as well. */
static void start_control(struct server *server)
{
	struct libpool_control_options options = {.size = sizeof(options), .export_asked = export_asked};
	struct libpool_error error;

	if (libpool_serve_control(server->pool, &options, &server->control, &error) < 0)
		nbdkit_error("poolctl can't reach pool %s while it is served: %s", server->name, error.text);
}

int server_start(struct server *server)
{
	struct libpool_pool_info info = {.size = sizeof(info)};
	struct libpool_open_options options = {.size = sizeof(options), .read_only = server->config.read_only};
	struct libpool_error error;
	int result = import(&server->config, server->config.read_only, &server->pool, &error);

	if (result < 0) {
		nbdkit_error("%s", error.text);
		return -1;
	}
	pthread_rwlock_init(&server->lock, NULL);
	result = libpool_pool_info(server->pool, &info);
	if (result == 0)
		result = start_watcher(server);
	if (result < 0)
		snprintf(error.text, sizeof(error.text), "pool %s: %s", server->config.pool, libpool_strerror(result));
	if (result == 0 && server->config.volume)
		result = libpool_volume_open(server->pool, server->config.volume, &options, &server->kept, &error);
	if (result < 0) {
		nbdkit_error("%s", error.text);
		close_pool(server);
		return -1;
	}
	snprintf(server->name, sizeof(server->name), "%s", info.name);
	start_control(server);
	return 0;
}

/* ---- in between ---- */

/* The pool, until give_back. NULL after nbdkit_error: it has gone, nothing to be given back. */
static libpool_pool *borrow(struct server *server)
{
	pthread_rwlock_rdlock(&server->lock);
	if (server->pool)
		return server->pool;
	pthread_rwlock_unlock(&server->lock);
	nbdkit_error("pool %s has been exported: nbdkit is shutting down", server->name);
	return NULL;
}

static void give_back(struct server *server)
{
	pthread_rwlock_unlock(&server->lock);
}

int server_volumes(struct server *server, struct libpool_volume_info **ret_volumes, size_t *ret_count)
{
	libpool_pool *pool = borrow(server);
	char why[LIBPOOL_TEXT_MAX];
	int result;

	if (!pool)
		return -1;
	result = libpool_volumes(pool, ret_volumes, ret_count);
	give_back(server);
	if (result == 0)
		return 0;
	server_explain(server, result, why);
	nbdkit_error("the volumes of pool %s can't be listed: %s", server->name, why);
	return -1;
}

int server_open_volume(struct server *server, const char *name, const struct libpool_open_options *options, libpool_volume **ret_volume)
{
	libpool_pool *pool = borrow(server);
	struct libpool_error error;
	int result;

	if (!pool)
		return -1;
	result = libpool_volume_open(pool, name, options, ret_volume, &error);
	give_back(server);
	if (result == 0)
		return 0;
	nbdkit_error("%s", error.text);
	return -1;
}

const char *server_describe(const struct server *server, const struct libpool_volume_info *volume)
{
	return nbdkit_printf_intern("volume %s of pool %s, in blocks of %u KiB", volume->name, server->name, volume->block_bytes >> 10);
}

bool server_rotational(struct server *server)
{
	libpool_pool *pool = borrow(server);
	struct libpool_disk_info *disks;
	bool rotational = false;
	size_t count;

	if (!pool)
		return false;
	if (libpool_disks(pool, &disks, &count) == 0) {
		for (size_t i = 0; i < count; i++)
			rotational |= LIBPOOL_ELEMENT(libpool_disk_info, disks, i)->rotational;
		libpool_free(disks);
	}
	give_back(server);
	return rotational;
}

void server_explain(struct server *server, int code, char text[LIBPOOL_TEXT_MAX])
{
	struct libpool_pool_info info = {.size = sizeof(info)};
	libpool_pool *pool;

	snprintf(text, LIBPOOL_TEXT_MAX, "%s", libpool_strerror(code));
	if (code != -LIBPOOL_EHALTED)
		return;
	pool = borrow(server);
	if (!pool)
		return;
	if (libpool_pool_info(pool, &info) == 0 && info.problem[0])
		snprintf(text, LIBPOOL_TEXT_MAX, "%s", info.problem);
	give_back(server);
}
