/*
 * What one engine gets from outside: clock, randomness, workers, the choice among runnable fibers, and
 * the wait for events. Production has one implementation (rt/env_host.h), the simulator another;
 * everything above sees only this. All functions are called in the engine's thread only, except those
 * that say otherwise.
 */
#ifndef LIBPOOL_RT_ENV_H
#define LIBPOOL_RT_ENV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "libpool/base/list.h"

#define NS_PER_MS UINT64_C(1000000)
#define NS_PER_S UINT64_C(1000000000)

struct rt;
struct rt_job;

/* Something that brings completions into the engine (an io_uring, an eventfd queue, simulated disks). */
struct rt_source {
	struct list node;
	/*
	 * Hands over what has completed, by calling the owners' callbacks (which make fibers runnable), and
	 * starts what was queued. Never blocks. Returns the number of completions.
	 */
	int (*poll)(struct rt_source *source);
	/*
	 * The engine is about to sleep, and polls next when it is awake: from now on `descriptor` becomes readable, or
	 * ops->wake is called, when poll would find something. False if it would by now. NULL: it is always so.
	 */
	bool (*before_sleep)(struct rt_source *source);
	/*
	 * A descriptor that becomes readable when poll would find something, or -1 if there is none: simulated
	 * sources, and those that call ops->wake when they have something.
	 */
	int descriptor;
};

struct pool_env {
	const struct pool_env_ops *ops;
	struct rt *rt; /* set by rt_init */
};

struct pool_env_ops {
	uint64_t (*monotonic_ns)(struct pool_env *env); /* for deadlines and rates; starts anywhere */
	uint64_t (*realtime_ns)(struct pool_env *env);  /* since 1970, for people */
	void (*random)(struct pool_env *env, void *buffer, size_t size);
	/* Index of the fiber to run next among `count` runnable ones in FIFO order: 0 in production. */
	size_t (*choose)(struct pool_env *env, size_t count);
	/* Chance points: true when the simulator wants the rare path here; false in production. */
	bool (*buggify)(struct pool_env *env, const char *point);
	/* Run job->function(job->argument) on a worker, then job->done in the engine's thread. */
	void (*work)(struct pool_env *env, struct rt_job *job);
	/* How many jobs run in parallel: pieces worth cutting work into, at least 1. */
	unsigned (*parallelism)(struct pool_env *env);
	void (*source_add)(struct pool_env *env, struct rt_source *source);
	void (*source_remove)(struct pool_env *env, struct rt_source *source);
	/* Poll all sources; if none had anything, block until one has, rt_wake is called or `until_ns` passed. */
	void (*wait)(struct pool_env *env, uint64_t until_ns);
	/* Ends a wait. Any thread. */
	void (*wake)(struct pool_env *env);
	/* The same for a message, which whoever has borrowed the engine finds before it gives it back, or right after. NULL: as wake. */
	void (*wake_for_message)(struct pool_env *env);
	/*
	 * Any thread but the engine's: takes the engine over while it waits; everything that is called "in the engine's thread" may be called
	 * by this one then, but for `wait` and what the sources do. False if it isn't waiting, or another has it. NULL: never.
	 */
	bool (*borrow)(struct pool_env *env);
	/* Whether that is worth a try. Any thread. */
	bool (*lends)(struct pool_env *env);
	/* Whether somebody who has borrowed it may keep it a little longer: the engine's thread doesn't want it. */
	bool (*may_keep)(struct pool_env *env);
	/* Ends that. The engine's thread goes on if it has something to do (`busy`), or had not slept until `until_ns`. */
	void (*give_back)(struct pool_env *env, bool busy, uint64_t until_ns);
	/*
	 * Forget all jobs: those that have not begun never run, those that run are waited for, done is called
	 * for none. NULL if jobs never run in another thread. Called by rt_abandon.
	 */
	void (*work_cancel)(struct pool_env *env);
};

#endif
