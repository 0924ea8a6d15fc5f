/*
 * The engine's thread: environment, scheduler and disks are made in it, run in it, and go with it.
 *
 * What must always hold: the thread blocks all signals; a broken invariant halts its pool and nothing else; no
 * process-wide state is touched. The ring of the disks belongs to the thread that made it, so everything is set up inside.
 */
#include "libpool/pool/api_thread.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "checksum/xxh3.h"
#include "libpool/base/check.h"
#include "libpool/pool/api_text.h"
#include "libpool/rt/env_host.h"

/* Longer than any deadline of a request: what hasn't ended by then waits for something that won't come. */
#define GUARD_NS (90 * NS_PER_S)
#define DIRTY_MAX (UINT64_C(512) << 20)

/* ---- what the host gives ---- */

static unsigned processors(void)
{
	cpu_set_t set;

	return sched_getaffinity(0, sizeof(set), &set) == 0 ? (unsigned)CPU_COUNT(&set) : 1;
}

static uint64_t memory_bytes(void)
{
	long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);

	return pages > 0 && size > 0 ? (uint64_t)pages * (uint64_t)size : UINT64_C(1) << 30;
}

/* Which host this is: stays the same over restarts, and can't be traced back to the machine id. */
static void host_guid(struct guid *ret_guid)
{
	static const char context[] = "libpool host";
	char text[300] = "";
	struct hash128 hash;
	int descriptor = open("/etc/machine-id", O_RDONLY | O_CLOEXEC);
	ssize_t length = descriptor >= 0 ? read(descriptor, text, sizeof(text) - 1) : -1;

	if (descriptor >= 0)
		close(descriptor);
	if (length < 32) {
		memset(text, 0, sizeof(text));
		if (gethostname(text, sizeof(text) - 1) < 0)
			text[0] = 0;
		length = (ssize_t)strlen(text);
	}
	xxh3_128_context(context, sizeof(context), text, (size_t)length, &hash);
	memcpy(ret_guid->bytes, hash.bytes, sizeof(ret_guid->bytes));
}

static int copy_folders(struct api_thread *thread, const struct libpool_host *host)
{
	if (host->folder_count && !host->folders)
		return -EINVAL;
	thread->folders = calloc(host->folder_count + 1, sizeof(char *));
	for (size_t i = 0; thread->folders && i < host->folder_count; i++) {
		thread->folders[i] = host->folders[i] ? strdup(host->folders[i]) : NULL;
		if (!thread->folders[i])
			return host->folders[i] ? -ENOMEM : -EINVAL;
	}
	thread->host.folders = (const char *const *)thread->folders;
	thread->host.folder_count = host->folder_count;
	return thread->folders ? 0 : -ENOMEM;
}

static int take_host(struct api_thread *thread, const struct libpool_host *given, struct pool_error *error)
{
	struct libpool_host host;
	int result = api_options_copy(&host, sizeof(host), given);

	if (result == 0)
		result = copy_folders(thread, &host);
	if (result < 0)
		return pool_error_set(error, result, "struct libpool_host: %s", pool_error_string(result));
	thread->host.no_devices = host.no_devices;
	thread->no_uring = host.no_uring;
	thread->workers = host.workers ? host.workers : processors() > 1 ? processors() : 0;
	thread->spinning_max = processors() - 1;
	thread->host.core.cache_limit = host.cache_bytes == 0 ? memory_bytes() / 4 : host.cache_bytes == 1 ? 0 : host.cache_bytes;
	thread->host.core.dirty_limit = memory_bytes() / 10 < DIRTY_MAX ? memory_bytes() / 10 : DIRTY_MAX;
	host_guid(&thread->host.core.host);
	return 0;
}

static void thread_free(struct api_thread *thread)
{
	for (size_t i = 0; thread->folders && thread->folders[i]; i++)
		free(thread->folders[i]);
	free(thread->folders);
	sem_destroy(&thread->started);
	free(thread);
}

/* ---- inside ---- */

/* May be called anywhere in the engine, also before there is a pool. */
static void check_failed(void *argument, const char *file, int line, const char *expression)
{
	struct api_thread *thread = argument;

	if (!thread->broken[0])
		snprintf(thread->broken, sizeof(thread->broken), "an invariant failed: %s:%d: %.160s", file, line, expression);
	if (thread->engine)
		engine_halt(thread->engine, thread->broken);
}

static void main_fiber(void *argument)
{
	struct api_thread *thread = argument;

	sem_post(&thread->started);
	while (!thread->stop)
		rt_queue_wait(thread->rt, &thread->stopped);
}

static int set_up(struct api_thread *thread)
{
	struct disk_host_options options = {.no_uring = thread->no_uring};
	int result = env_host_new(thread->workers, &thread->env);

	if (result == 0)
		result = rt_new(thread->env, &thread->rt);
	if (result == 0)
		result = disk_host_new(thread->rt, &options, &thread->provider);
	if (result < 0) {
		rt_free(thread->rt);
		env_host_free(thread->env);
		return result;
	}
	rt_queue_init(&thread->stopped);
	thread->host.rt = thread->rt;
	thread->host.provider = thread->provider;
	return 0;
}

static void *thread_main(void *argument)
{
	struct api_thread *thread = argument;
	int result;

	pool_check_set_handler(check_failed, thread);
	thread->start_result = set_up(thread);
	if (thread->start_result < 0) {
		sem_post(&thread->started);
		return NULL;
	}
	result = rt_run(thread->rt, main_fiber, thread);
	if (result == -ENOMEM) {
		/* Not even the first fiber: nobody has been told that the thread runs. */
		thread->start_result = result;
		sem_post(&thread->started);
	}
	rt_timer_cancel(thread->rt, &thread->guard);
	disk_host_free(thread->provider);
	rt_abandon(thread->rt);
	env_host_free(thread->env);
	return NULL;
}

/* ---- from outside ---- */

int api_thread_start(const struct libpool_host *host, struct api_thread **ret_thread, struct pool_error *error)
{
	struct api_thread *thread = calloc(1, sizeof(*thread));
	sigset_t all, before;
	int result;

	if (!thread)
		return pool_error_set(error, -ENOMEM, "no memory");
	sem_init(&thread->started, 0, 0);
	result = take_host(thread, host, error);
	if (result < 0) {
		thread_free(thread);
		return result;
	}
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	result = -pthread_create(&thread->thread, NULL, thread_main, thread);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (result == 0) {
		pthread_setname_np(thread->thread, "pool-engine");
		while (sem_wait(&thread->started) < 0 && errno == EINTR)
			continue;
		result = thread->start_result;
		if (result < 0)
			pthread_join(thread->thread, NULL);
	}
	if (result < 0) {
		thread_free(thread);
		return pool_error_set(error, result, "the engine's thread can't be started: %s", pool_error_string(result));
	}
	*ret_thread = thread;
	return 0;
}

static void give_up(struct rt_timer *timer)
{
	struct api_thread *thread = container_of(timer, struct api_thread, guard);

	rt_stop(thread->rt);
}

struct stop_message {
	struct rt_message message;
	struct api_thread *thread;
};

static void stop(struct rt_message *message)
{
	struct api_thread *thread = container_of(message, struct stop_message, message)->thread;

	thread->stop = true;
	thread->guard.fire = give_up;
	rt_timer_arm(thread->rt, &thread->guard, rt_now(thread->rt) + GUARD_NS);
	rt_queue_wake_all(thread->rt, &thread->stopped);
}

void api_thread_stop(struct api_thread *thread)
{
	struct stop_message message = {.message = {.run = stop}, .thread = thread};

	rt_post(thread->rt, &message.message);
	pthread_join(thread->thread, NULL);
	thread_free(thread);
}

static void request_fiber(void *argument)
{
	struct api_request *request = argument;

	request->function(request);
	sem_post(&request->done); /* the caller may free it at once */
}

static void request_run(struct rt_message *message)
{
	struct api_request *request = container_of(message, struct api_request, message);

	if (rt_spawn(request->thread->rt, "request", request_fiber, request) == 0)
		return;
	request->result = -ENOMEM;
	sem_post(&request->done);
}

static void prepare(struct api_thread *thread, struct api_request *request, void (*function)(struct api_request *request))
{
	request->message = (struct rt_message){.run = request_run};
	request->thread = thread;
	request->function = function;
	request->result = 0;
	sem_init(&request->done, 0, 0);
}

void api_post(struct api_thread *thread, struct api_request *request, void (*function)(struct api_request *request))
{
	prepare(thread, request, function);
	rt_post(thread->rt, &request->message);
}

/* As the engine's thread: no signal's handler runs on the small stack of a fiber, and a broken invariant halts the pool. */
void api_start(struct api_thread *thread, struct api_request *request, void (*function)(struct api_request *request))
{
	sigset_t all, before;
	int result = -EBUSY;

	prepare(thread, request, function);
	if (rt_may_run_here(thread->rt)) {
		struct check_handler handler = pool_check_replace_handler((struct check_handler){check_failed, thread});

		sigfillset(&all);
		pthread_sigmask(SIG_SETMASK, &all, &before);
		result = rt_run_here(thread->rt, "request", request_fiber, request);
		pthread_sigmask(SIG_SETMASK, &before, NULL);
		pool_check_replace_handler(handler);
	}
	if (result == -EBUSY) {
		request->message.anywhere = true;
		rt_post(thread->rt, &request->message);
	} else if (result < 0) {
		request->result = result;
		sem_post(&request->done);
	}
}

bool api_look_begin(struct api_thread *thread)
{
	return atomic_fetch_add(&thread->spinning, 1) < thread->spinning_max;
}

void api_look_end(struct api_thread *thread)
{
	atomic_fetch_sub(&thread->spinning, 1);
}

static bool spin_for(struct api_thread *thread, struct api_request *request, struct spin_wait *wait)
{
	bool done = false;

	if (api_look_begin(thread))
		while (!(done = sem_trywait(&request->done) == 0) && spin_again(wait))
			continue;
	api_look_end(thread);
	return done;
}

int api_wait(struct api_request *request)
{
	struct api_thread *thread = request->thread;
	struct spin_wait wait;

	if (sem_trywait(&request->done) == 0) {
		sem_destroy(&request->done);
		return request->result;
	}
	spin_begin(&wait, &thread->spin);
	if (!spin_for(thread, request, &wait))
		while (sem_wait(&request->done) < 0 && errno == EINTR)
			continue;
	spin_end(&wait);
	sem_destroy(&request->done);
	return request->result;
}

int api_call(struct api_thread *thread, struct api_request *request, void (*function)(struct api_request *request))
{
	api_post(thread, request, function);
	return api_wait(request);
}

uint64_t api_thread_enters(const struct api_thread *thread)
{
	return disk_host_enters(thread->provider);
}
