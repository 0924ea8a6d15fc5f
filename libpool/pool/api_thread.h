/*
 * The engine's thread, and how other threads ask it for something. Each open pool has one; create, find and import of
 * pools that aren't open have one for the time of the call.
 */
#ifndef LIBPOOL_POOL_API_THREAD_H
#define LIBPOOL_POOL_API_THREAD_H

#include <pthread.h>
#include <semaphore.h>

#include "libpool/pool/engine.h"
#include "libpool/rt/spin.h"

struct api_thread;

/* Something for the engine's thread: `function` runs there in a fiber of its own. Owned by the caller until waited for. */
struct api_request {
	struct rt_message message;
	struct api_thread *thread;
	void (*function)(struct api_request *request);
	int result; /* set by function; -ENOMEM when there was no fiber for it */
	sem_t done;
};

struct api_thread {
	/* Set before the thread runs, constant afterwards. */
	struct pool_env *env;
	struct rt *rt;
	struct engine_host host;
	/* Engine thread only. */
	struct engine *engine;    /* the open pool, or NULL */
	char broken[256];         /* the first invariant that failed, or "" */
	/* Any thread. */
	struct spin spin;         /* of those that wait for a request */
	atomic_uint spinning;     /* see api_look_begin */
	/* Private. */
	pthread_t thread;
	struct disk_provider *provider;
	char **folders;
	bool no_uring;
	unsigned workers, spinning_max;
	bool stop;
	struct rt_queue stopped;
	struct rt_timer guard;
	int start_result;
	sem_t started;
};

/* host may be NULL: the defaults. */
int api_thread_start(const struct libpool_host *host, struct api_thread **ret_thread, struct pool_error *error);
/* Waits until what runs there has ended; what never ends is given up after a minute. Frees. No request may be under way. */
void api_thread_stop(struct api_thread *thread);

void api_post(struct api_thread *thread, struct api_request *request, void (*function)(struct api_request *request));
/* The same; what of it needs no waiting is done by the calling thread, if the engine sleeps. The function may change nothing but content and names. */
void api_start(struct api_thread *thread, struct api_request *request, void (*function)(struct api_request *request));
int api_wait(struct api_request *request);
/* Posts and waits. */
int api_call(struct api_thread *thread, struct api_request *request, void (*function)(struct api_request *request));

/* Whether one more may look again and again for what the engine does: a processor is left to whoever does it. Ends in any case. */
bool api_look_begin(struct api_thread *thread);
void api_look_end(struct api_thread *thread);

/* Calls of io_uring_enter so far. Engine thread. */
uint64_t api_thread_enters(const struct api_thread *thread);

#endif
