/*
 * The handles behind libpool.h. A pool's handle lives as long as anybody refers to it: its user until libpool_close,
 * its volume handles, its queues. After the close all of them say -ENODEV.
 */
#ifndef LIBPOOL_POOL_API_POOL_H
#define LIBPOOL_POOL_API_POOL_H

#include "libpool/pool/api_calls.h"
#include "libpool/pool/api_text.h"
#include "libpool/pool/api_thread.h"

struct libpool_pool {
	struct api_thread *thread; /* gone once closed and no call is running */
	struct api_calls calls;
	pthread_mutex_t lock;      /* of what follows; closed calls of the pool and its volumes end under it */
	pthread_cond_t idle;       /* a count of calls went down while somebody waits for it */
	unsigned references;       /* the user's one and those of volume handles and queues */
	bool users_closed;         /* after that: the engine refers to no handle any more */
};

struct libpool_volume {
	struct libpool_pool *pool;
	struct engine_user user;   /* engine thread; its volume is NULL when the pool is gone */
	unsigned block_shift;      /* constant, as the next */
	bool read_only, rehearses; /* rehearses: writes are only checked */
	struct api_calls calls;    /* each is one of the pool's, too */
};

/* Who opens a dataset, for people: `text`, or the process where it is NULL. ret_text: LIBPOOL_TEXT_MAX. */
int api_take_user(const char *name, const char *text, char *ret_text, struct pool_error *error);

/* A call on the pool (volume NULL) or on a volume begins: 0, or -ENODEV. What begins must end. */
int api_begin(struct libpool_pool *pool, struct libpool_volume *volume);
void api_end(struct libpool_pool *pool, struct libpool_volume *volume);
void api_end_several(struct libpool_pool *pool, struct libpool_volume **volumes, unsigned count);
void api_pool_ref(struct libpool_pool *pool);
void api_pool_unref(struct libpool_pool *pool);

/* One call of the fiber side with its arguments. */
typedef int api_function(struct libpool_pool *pool, struct engine *engine, void *arguments, struct pool_error *error);
/* Runs it in the engine, on behalf of the pool or of one of its volumes. Error text included. */
int api_run(struct libpool_pool *pool, struct libpool_volume *volume, api_function *function, void *arguments,
	    struct libpool_error *ret_error);
/* The same for a request for content or names, whose first leg the calling thread may run (api_start). */
int api_run_here(struct libpool_pool *pool, struct libpool_volume *volume, api_function *function, void *arguments);
/*
 * The same for what closes the handle of a dataset, and doesn't fail: the engine no longer refers to it afterwards, as when the
 * pool was closed, and the handle with it.
 */
void api_run_close(struct libpool_pool *pool, api_function *function, void *handle);

#endif
