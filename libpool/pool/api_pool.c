/*
 * Life of a pool's handle: create, find, import, close, destroy; and the way of every call to the engine.
 *
 * What must always hold: the engine's thread ends only when no call is running and none can begin; closing closes
 * the volumes that are still open, so it never fails because of them, and their handles stay valid for libpool_volume_close.
 */
#include "libpool/pool/api_pool.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define CLOSE_ATTEMPTS 200

/* ---- calls ---- */

int api_begin(struct libpool_pool *pool, struct libpool_volume *volume)
{
	if (!api_calls_begin(&pool->calls, 1))
		return -ENODEV;
	if (!volume || api_calls_begin(&volume->calls, 1))
		return 0;
	api_end(pool, NULL);
	return -ENODEV;
}

/* The volumes' first: as long as calls of the pool run it is there, and a volume may be gone with its last one. */
void api_end_several(struct libpool_pool *pool, struct libpool_volume **volumes, unsigned count)
{
	for (unsigned i = 0, same; i < count; i += same) {
		for (same = 1; i + same < count && volumes[i + same] == volumes[i]; same++)
			continue;
		if (volumes[i])
			api_calls_end(&volumes[i]->calls, same, &pool->lock, &pool->idle);
	}
	api_calls_end(&pool->calls, count, &pool->lock, &pool->idle);
}

void api_end(struct libpool_pool *pool, struct libpool_volume *volume)
{
	api_end_several(pool, &volume, 1);
}

struct call {
	struct api_request request;
	struct libpool_pool *pool;
	api_function *function;
	void *arguments;
	struct pool_error error;
};

/* Whatever failed because the pool is halted: people want to know why it is. */
static void tell_halted(struct engine *engine, struct pool_error *error)
{
	const char *why = NULL;

	if (!core_halted(engine_core(engine), &why) || strstr(error->text, why))
		return;
	*error = (struct pool_error){0};
	pool_error_set(error, -POOL_EHALTED, "pool %s is halted: %s; close it, check its disks, import it again",
		       core_label(engine_core(engine))->name, why);
}

static void call_fiber(struct api_request *request)
{
	struct call *call = container_of(request, struct call, request);

	request->result = call->function(call->pool, request->thread->engine, call->arguments, &call->error);
	if (request->result == -POOL_EHALTED)
		tell_halted(request->thread->engine, &call->error);
}

typedef void start_function(struct api_thread *thread, struct api_request *request, void (*function)(struct api_request *request));

static int run(struct call *call, struct libpool_volume *volume, start_function *start)
{
	int result = call->pool ? api_begin(call->pool, volume) : -EINVAL;

	if (result < 0)
		return result;
	start(call->pool->thread, &call->request, call_fiber);
	result = api_wait(&call->request);
	api_end(call->pool, volume);
	return result;
}

int api_run(struct libpool_pool *pool, struct libpool_volume *volume, api_function *function, void *arguments,
	    struct libpool_error *ret_error)
{
	struct call call = {.pool = pool, .function = function, .arguments = arguments};
	int result = run(&call, volume, api_post);

	return api_error(ret_error, result, &call.error);
}

int api_run_here(struct libpool_pool *pool, struct libpool_volume *volume, api_function *function, void *arguments)
{
	struct call call = {.pool = pool, .function = function, .arguments = arguments};

	return run(&call, volume, api_start);
}

void api_run_close(struct libpool_pool *pool, api_function *function, void *handle)
{
	int result;

	/* Without memory for a fiber: again. */
	while ((result = api_run(pool, NULL, function, handle, NULL)) == -ENOMEM)
		sched_yield();
	if (result != -ENODEV)
		return;
	pthread_mutex_lock(&pool->lock);
	while (!pool->users_closed)
		pthread_cond_wait(&pool->idle, &pool->lock);
	pthread_mutex_unlock(&pool->lock);
}

/* ---- calls without an open pool ---- */

struct host_call {
	struct api_request request;
	const struct libpool_create_options *create;
	struct libpool_layout *layout;
	const struct libpool_import_options *import;
	const char *name;
	bool destroyed;
	struct libpool_found *found;
	size_t count;
	struct pool_error error;
};

static int host_run(const struct libpool_host *host, struct host_call *call, void (*function)(struct api_request *request),
		    struct libpool_error *ret_error)
{
	struct api_thread *thread;
	int result = api_thread_start(host, &thread, &call->error);

	if (result == 0) {
		result = api_call(thread, &call->request, function);
		api_thread_stop(thread);
	}
	return api_error(ret_error, result, &call->error);
}

/* An invariant that failed, as for want of memory, is why whatever failed did; and what seems done isn't to be trusted. */
static void tell_broken(struct api_request *request, struct pool_error *error)
{
	const char *broken = request->thread->broken;

	if (!broken[0])
		return;
	*error = (struct pool_error){0};
	request->result = pool_error_set(error, -POOL_EHALTED, "%s", broken);
}

static void create_fiber(struct api_request *request)
{
	struct host_call *call = container_of(request, struct host_call, request);

	request->result = engine_create(&request->thread->host, call->create, call->layout, &call->error);
	tell_broken(request, &call->error);
}

int libpool_create(const struct libpool_host *host, const struct libpool_create_options *options, struct libpool_layout *ret_layout,
		   struct libpool_error *error)
{
	struct libpool_create_options copy;
	struct libpool_layout layout;
	struct host_call call = {.create = &copy, .layout = &layout};
	int result = options ? api_options_copy(&copy, sizeof(copy), options) : -EINVAL;

	if (result == 0 && ret_layout)
		result = api_result_check(ret_layout);
	if (result < 0)
		return api_error(error, result, NULL);
	result = host_run(host, &call, create_fiber, error);
	if (result == 0 && ret_layout)
		api_result_copy(ret_layout, &layout, sizeof(layout));
	return result;
}

static void find_fiber(struct api_request *request)
{
	struct host_call *call = container_of(request, struct host_call, request);

	request->result = engine_find(&request->thread->host, &call->found, &call->count, &call->error);
}

int libpool_find(const struct libpool_host *host, struct libpool_found **ret_found, size_t *ret_count, struct libpool_error *error)
{
	struct host_call call = {.found = NULL};
	int result = ret_found && ret_count ? host_run(host, &call, find_fiber, error) : api_error(error, -EINVAL, NULL);

	if (result == 0) {
		*ret_found = call.found;
		*ret_count = call.count;
	}
	return result;
}

static void destroy_fiber(struct api_request *request)
{
	struct host_call *call = container_of(request, struct host_call, request);

	request->result = engine_set_destroyed(&request->thread->host, call->name, call->destroyed, &call->error);
	tell_broken(request, &call->error);
}

static int set_destroyed(const struct libpool_host *host, const char *name, bool destroyed, struct libpool_error *error)
{
	struct host_call call = {.name = name, .destroyed = destroyed};

	return name ? host_run(host, &call, destroy_fiber, error) : api_error(error, -EINVAL, NULL);
}

int libpool_destroy(const struct libpool_host *host, const char *name, struct libpool_error *error)
{
	return set_destroyed(host, name, true, error);
}

int libpool_undestroy(const struct libpool_host *host, const char *name, struct libpool_error *error)
{
	return set_destroyed(host, name, false, error);
}

/* ---- import ---- */

static void import_fiber(struct api_request *request)
{
	struct host_call *call = container_of(request, struct host_call, request);
	struct api_thread *thread = request->thread;

	request->result = engine_import(&thread->host, call->import, &thread->engine, &call->error);
	/* An invariant that failed before there was a pool to halt. */
	if (request->result == 0 && thread->broken[0])
		engine_halt(thread->engine, thread->broken);
}

static struct libpool_pool *pool_new(void)
{
	struct libpool_pool *pool = calloc(1, sizeof(*pool));

	if (!pool)
		return NULL;
	pthread_mutex_init(&pool->lock, NULL);
	pthread_cond_init(&pool->idle, NULL);
	pool->references = 1;
	return pool;
}

static void pool_free(struct libpool_pool *pool)
{
	pthread_cond_destroy(&pool->idle);
	pthread_mutex_destroy(&pool->lock);
	free(pool);
}

void api_pool_ref(struct libpool_pool *pool)
{
	pthread_mutex_lock(&pool->lock);
	pool->references++;
	pthread_mutex_unlock(&pool->lock);
}

void api_pool_unref(struct libpool_pool *pool)
{
	pthread_mutex_lock(&pool->lock);
	unsigned left = --pool->references;

	pthread_mutex_unlock(&pool->lock);
	if (left == 0)
		pool_free(pool);
}

int libpool_import(const struct libpool_host *host, const struct libpool_import_options *options, libpool_pool **ret_pool,
		   struct libpool_error *error)
{
	struct libpool_import_options copy;
	struct host_call call = {.import = &copy};
	struct libpool_pool *pool;
	int result = options && ret_pool ? api_options_copy(&copy, sizeof(copy), options) : -EINVAL;

	if (result < 0)
		return api_error(error, result, NULL);
	pool = pool_new();
	if (!pool)
		return api_error(error, -ENOMEM, NULL);
	result = api_thread_start(host, &pool->thread, &call.error);
	if (result == 0) {
		result = api_call(pool->thread, &call.request, import_fiber);
		if (result < 0)
			api_thread_stop(pool->thread);
	}
	if (result < 0) {
		pool_free(pool);
		return api_error(error, result, &call.error);
	}
	*ret_pool = pool;
	return 0;
}

/* ---- close ---- */

struct closing {
	struct api_request request;
	struct libpool_pool *pool;
	struct pool_error error;
	bool abandon;
};

/* Calls that wait for something far away end. */
static void hurry_fiber(struct api_request *request)
{
	struct closing *closing = container_of(request, struct closing, request);

	engine_hurry(request->thread->engine);
	if (closing->abandon)
		engine_halt(request->thread->engine, "abandoned");
}

static void users_closed(struct libpool_pool *pool)
{
	pthread_mutex_lock(&pool->lock);
	pool->users_closed = true;
	pthread_cond_broadcast(&pool->idle);
	pthread_mutex_unlock(&pool->lock);
}

static void close_fiber(struct api_request *request)
{
	struct closing *closing = container_of(request, struct closing, request);
	struct engine *engine = request->thread->engine;

	engine_users_close(engine);
	users_closed(closing->pool);
	if (closing->abandon)
		engine_abandon(engine);
	else
		request->result = engine_export(engine, &closing->error);
	if (request->result == -EBUSY) /* can't be: all volumes were closed */
		engine_abandon(engine);
	request->thread->engine = NULL;
}

static int run_retire(struct libpool_pool *pool, struct engine *engine, void *data, struct pool_error *error)
{
	(void)pool;
	return engine_retire(engine, *(const bool *)data, error);
}

int libpool_close_prepare(libpool_pool *pool, int force, struct libpool_error *error)
{
	bool forced = force != 0;

	return api_run(pool, NULL, run_retire, &forced, error);
}

static int pool_close(struct libpool_pool *pool, bool abandon, struct libpool_error *error)
{
	struct closing closing = {.pool = pool, .abandon = abandon};
	int result;

	api_calls_close(&pool->calls);
	api_call(pool->thread, &closing.request, hurry_fiber);
	pthread_mutex_lock(&pool->lock);
	api_calls_wait(&pool->calls, &pool->lock, &pool->idle);
	pthread_mutex_unlock(&pool->lock);
	/* Again without memory for a fiber; a close that failed on its own has taken the engine away. */
	for (unsigned attempt = 0;; attempt++) {
		result = api_call(pool->thread, &closing.request, close_fiber);
		if (result != -ENOMEM || !pool->thread->engine || attempt == CLOSE_ATTEMPTS)
			break;
		nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
	}
	api_thread_stop(pool->thread);
	pool->thread = NULL;
	users_closed(pool);
	api_error(error, result, &closing.error);
	api_pool_unref(pool);
	return result;
}

int libpool_close(libpool_pool *pool, struct libpool_error *error)
{
	return pool ? pool_close(pool, false, error) : 0;
}

void libpool_abandon(libpool_pool *pool)
{
	if (pool)
		pool_close(pool, true, NULL);
}
