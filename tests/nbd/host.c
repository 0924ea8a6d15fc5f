/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The plugin without nbdkit, which ThreadSanitizer could not look into: this calls it as nbdkit does under load. Four connections,
 * each with two requests at a time, on one volume, connections that come and go beside them, and at last the end while
 * requests still come: first they are done, then they fail, and nothing is lost that was acknowledged.
 */
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <libpool.h>

#define NBDKIT_API_VERSION 2
#define THREAD_MODEL NBDKIT_THREAD_MODEL_PARALLEL
#include <nbdkit-plugin.h>

#define CONNECTIONS 4u
#define WORKERS (2 * CONNECTIONS)
#define REGION (UINT64_C(1) << 20) /* of one worker */
#define BLOCK 4096u
#define ROUNDS 150u
#define DISKS 3

struct nbdkit_plugin *plugin_init(void);

#define expect(condition)                                                                                              \
	do {                                                                                                           \
		if (!(condition)) {                                                                                    \
			fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);                        \
			abort();                                                                                       \
		}                                                                                                      \
	} while (0)

/* ---- nbdkit, as far as the plugin needs it ---- */

static _Thread_local int request_error;
static _Thread_local const char *export_wanted;
static atomic_uint complaints;
static atomic_bool ending;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t woken = PTHREAD_COND_INITIALIZER;
static char *interned[4096];
static unsigned interned_count;

struct nbdkit_extents {
	uint64_t covered;
};

struct nbdkit_exports {
	unsigned count;
};

void nbdkit_error(const char *format, ...)
{
	va_list arguments;

	atomic_fetch_add(&complaints, 1);
	if (atomic_load(&ending))
		return;
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fputc('\n', stderr);
}

void nbdkit_set_error(int code)
{
	request_error = code;
}

int nbdkit_parse_bool(const char *text)
{
	return strcmp(text, "true") == 0;
}

int64_t nbdkit_parse_size(const char *text)
{
	return strtoll(text, NULL, 10);
}

const char *nbdkit_export_name(void)
{
	return export_wanted;
}

int nbdkit_peer_name(struct sockaddr *address, socklen_t *length)
{
	address->sa_family = AF_UNIX;
	*length = sizeof(address->sa_family);
	return 0;
}

int64_t nbdkit_peer_pid(void)
{
	return getpid();
}

int nbdkit_add_extent(struct nbdkit_extents *extents, uint64_t offset, uint64_t length, uint32_t type)
{
	(void)offset, (void)type;
	expect(length > 0);
	extents->covered += length;
	return 0;
}

int nbdkit_add_export(struct nbdkit_exports *exports, const char *name, const char *description)
{
	expect(name[0] && description[0]);
	exports->count++;
	return 0;
}

static const char *intern(char *text)
{
	pthread_mutex_lock(&lock);
	expect(text && interned_count < sizeof(interned) / sizeof(interned[0]));
	interned[interned_count++] = text;
	pthread_mutex_unlock(&lock);
	return text;
}

const char *nbdkit_strdup_intern(const char *text)
{
	return intern(strdup(text));
}

const char *nbdkit_printf_intern(const char *format, ...)
{
	va_list arguments;
	char *text;

	va_start(arguments, format);
	expect(vasprintf(&text, format, arguments) >= 0);
	va_end(arguments);
	return intern(text);
}

/* Until nbdkit ends. */
int nbdkit_nanosleep(unsigned seconds, unsigned nanoseconds)
{
	(void)seconds, (void)nanoseconds;
	pthread_mutex_lock(&lock);
	while (!atomic_load(&ending))
		pthread_cond_wait(&woken, &lock);
	pthread_mutex_unlock(&lock);
	errno = ESHUTDOWN;
	return -1;
}

void nbdkit_shutdown(void)
{
	pthread_mutex_lock(&lock);
	atomic_store(&ending, true);
	pthread_cond_broadcast(&woken);
	pthread_mutex_unlock(&lock);
}

/* ---- a pool ---- */

static char folder[] = "/tmp/libpool-nbd-host.XXXXXX", paths[DISKS][64];
static const char *const folders[] = {folder};
static const struct libpool_host host = {.size = sizeof(host), .folders = folders, .folder_count = 1, .no_devices = 1};

static void make_pool(void)
{
	struct libpool_create_options create = LIBPOOL_INIT(libpool_create_options);
	struct libpool_import_options import = LIBPOOL_INIT(libpool_import_options);
	struct libpool_volume_options volume = LIBPOOL_INIT(libpool_volume_options);
	const char *disks[DISKS];
	struct libpool_error error = {0};
	libpool_pool *pool;

	expect(mkdtemp(folder) && setenv("LIBPOOL_RUN_PATH", folder, 1) == 0);
	for (unsigned i = 0; i < DISKS; i++) {
		snprintf(paths[i], sizeof(paths[i]), "%s/disk%u", folder, i);
		FILE *file = fopen(paths[i], "w");
		expect(file && ftruncate(fileno(file), 96 << 20) == 0);
		fclose(file);
		disks[i] = paths[i];
	}
	create.name = import.name = "tank";
	create.profile = "raid5";
	create.disks = disks;
	create.disk_count = DISKS;
	volume.volume_bytes = WORKERS * REGION;
	volume.block_bytes = BLOCK;
	if (libpool_create(&host, &create, NULL, &error) < 0 || libpool_import(&host, &import, &pool, &error) < 0 ||
	    libpool_volume_create(pool, "data", &volume, &error) < 0 || libpool_volume_create(pool, "other", &volume, &error) < 0 ||
	    libpool_close(pool, &error) < 0) {
		fprintf(stderr, "%s\n", error.text);
		abort();
	}
}

static void remove_pool(void)
{
	for (unsigned i = 0; i < DISKS; i++)
		unlink(paths[i]);
	rmdir(folder);
}

static void begin(struct nbdkit_plugin *plugin)
{
	expect(plugin->config("pool", "tank") == 0 && plugin->config("disks-folder", folder) == 0 && plugin->config("devices", "false") == 0);
	expect(plugin->config_complete() == 0 && plugin->get_ready() == 0 && plugin->after_fork() == 0);
}

static void *connect_to(struct nbdkit_plugin *plugin, const char *name)
{
	export_wanted = name;
	return plugin->open(0);
}

/* ---- load ---- */

struct worker {
	struct nbdkit_plugin *plugin;
	void *connection;
	unsigned number;
	pthread_t thread;
	uint8_t *model; /* of its region */
	unsigned state;
	bool until_it_ends;
	uint64_t refused, refused_count; /* where in its region the request lies that came too late */
};

static unsigned draw(struct worker *worker, unsigned bound)
{
	worker->state = worker->state * 1664525u + 1013904223u;
	return (unsigned)((uint64_t)(worker->state >> 8) * bound >> 24);
}

/* One request; false once the pool has gone. */
static bool request(struct worker *worker)
{
	struct nbdkit_plugin *plugin = worker->plugin;
	uint32_t count = 1 + draw(worker, 4 * BLOCK), flags = draw(worker, 8) == 0 ? NBDKIT_FLAG_FUA : 0;
	uint64_t within = draw(worker, (unsigned)REGION - count), offset = worker->number * REGION + within;
	struct nbdkit_extents extents = {0};
	uint8_t buffer[5 * BLOCK];
	int result;

	request_error = 0;
	switch (draw(worker, 8)) {
	case 0: /* of whole blocks: parts of others may stay */
		within = within / BLOCK * BLOCK;
		count = (count + BLOCK - 1) / BLOCK * BLOCK;
		offset = worker->number * REGION + within;
		result = plugin->trim(worker->connection, count, offset, flags);
		memset(worker->model + within, 0, count);
		break;
	case 1:
		result = plugin->zero(worker->connection, count, offset, flags | NBDKIT_FLAG_MAY_TRIM);
		memset(worker->model + within, 0, count);
		break;
	case 2:
		result = plugin->extents(worker->connection, count, offset, draw(worker, 2) ? NBDKIT_FLAG_REQ_ONE : 0, &extents);
		expect(result < 0 || (extents.covered > 0 && extents.covered <= count));
		break;
	case 3:
		result = plugin->flush(worker->connection, 0);
		break;
	case 4:
	case 5:
		memset(buffer, (int)(1 + draw(worker, 255)), count);
		result = plugin->pwrite(worker->connection, buffer, count, offset, flags);
		memcpy(worker->model + within, buffer, count);
		break;
	default:
		result = plugin->pread(worker->connection, buffer, count, offset, 0);
		expect(result < 0 || memcmp(buffer, worker->model + within, count) == 0);
	}
	expect(result == 0 || (worker->until_it_ends && request_error == ESHUTDOWN));
	if (result < 0) {
		worker->refused = within;
		worker->refused_count = count;
	}
	return result == 0;
}

static void *work(void *argument)
{
	struct worker *worker = argument;

	for (unsigned round = 0; worker->until_it_ends || round < ROUNDS; round++)
		if (!request(worker))
			break;
	return NULL;
}

static void start(struct nbdkit_plugin *plugin, struct worker *workers, void **connections, bool until_it_ends)
{
	for (unsigned i = 0; i < CONNECTIONS; i++)
		expect((connections[i] = connect_to(plugin, "data")) != NULL);
	for (unsigned i = 0; i < WORKERS; i++) {
		workers[i].plugin = plugin;
		workers[i].connection = connections[i / 2];
		workers[i].number = i;
		workers[i].state += i;
		workers[i].until_it_ends = until_it_ends;
		expect(pthread_create(&workers[i].thread, NULL, work, &workers[i]) == 0);
	}
}

static void finish(struct nbdkit_plugin *plugin, struct worker *workers, void **connections)
{
	for (unsigned i = 0; i < WORKERS; i++)
		pthread_join(workers[i].thread, NULL);
	for (unsigned i = 0; i < CONNECTIONS; i++)
		plugin->close(connections[i]);
}

static void compare_region(const struct worker *worker, const uint8_t *found)
{
	for (uint64_t i = 0; i < REGION; i++)
		expect(found[i] == worker->model[i] || (i >= worker->refused && i < worker->refused + worker->refused_count));
}

/* Without the plugin. */
static void compare(const struct worker *workers)
{
	struct libpool_import_options import = LIBPOOL_INIT(libpool_import_options);
	uint8_t *buffer = malloc(REGION);
	struct libpool_error error = {0};
	libpool_volume *volume;
	libpool_pool *pool;

	import.name = "tank";
	expect(buffer && libpool_import(&host, &import, &pool, &error) == 0);
	expect(libpool_volume_open(pool, "data", NULL, &volume, &error) == 0);
	for (unsigned i = 0; i < WORKERS; i++) {
		expect(libpool_volume_read(volume, i * REGION, REGION, buffer) == 0);
		compare_region(&workers[i], buffer);
	}
	libpool_volume_close(volume);
	expect(libpool_close(pool, &error) == 0);
	free(buffer);
}

/* What a client asks before it sends requests. */
static void come_and_go(struct nbdkit_plugin *plugin)
{
	for (unsigned round = 0; round < 30; round++) {
		struct nbdkit_exports exports = {0};
		expect(plugin->list_exports(0, 0, &exports) == 0 && exports.count == 2);
		expect(plugin->default_export(0, 0) == NULL);
		void *connection = connect_to(plugin, round % 2 ? "data" : "other");
		expect(connection && plugin->export_description(connection) && plugin->is_rotational(connection) >= 0);
		expect(plugin->can_write(connection) == 1 && plugin->can_multi_conn(connection) == 1 && plugin->flush(connection, 0) == 0);
		plugin->close(connection);
	}
}

int main(void)
{
	struct nbdkit_plugin *plugin = plugin_init();
	struct worker workers[WORKERS] = {0};
	void *connections[CONNECTIONS];

	make_pool();
	for (unsigned i = 0; i < WORKERS; i++)
		expect((workers[i].model = calloc(1, REGION)) != NULL);

	begin(plugin);
	start(plugin, workers, connections, false);
	come_and_go(plugin);
	finish(plugin, workers, connections);
	expect(atomic_load(&complaints) == 0);

	/* Clients that send requests until the end are told when it has come. */
	start(plugin, workers, connections, true);
	nbdkit_shutdown();
	finish(plugin, workers, connections);
	plugin->cleanup();
	plugin->unload();
	expect(atomic_load(&complaints) > 0);
	compare(workers);

	for (unsigned i = 0; i < WORKERS; i++)
		free(workers[i].model);
	while (interned_count > 0)
		free(interned[--interned_count]);
	remove_pool();
	return 0;
}
