/*
 * The engine's scheduler: stackful fibers in one thread at a time. A fiber runs until it waits; nothing else of
 * the engine runs meanwhile, so state needs no locks between waits. Every function is for the engine's
 * thread, except rt_post, rt_run_here and rt_may_run_here; what is run by rt_run_here is in it for the time being.
 *
 * The loop goes in turns: run the messages posted, fire the timers that are due, run fibers until none is
 * runnable (or some hundreds have run, or those left have yielded), let the environment poll its sources.
 * Given the same environment, two runs are identical: fibers run in the order they became runnable unless
 * env->choose says otherwise, timers fire in the order of (time, arming).
 *
 * A fiber has 64 KiB of stack above a guard page: no large arrays, no recursion without a bound, and
 * whatever needs more (zstd, libblkid) runs on a worker.
 */
#ifndef LIBPOOL_RT_RT_H
#define LIBPOOL_RT_RT_H

#include <stdbool.h>
#include <stdint.h>

#include "libpool/base/list.h"
#include "libpool/rt/env.h"

/* Fibers at one time, idle ones not counted: each costs two maps, and the kernel allows 65,530 in a process. */
#define RT_FIBERS_MAX 10000

struct fiber;
typedef void fiber_function(void *argument);

/* Fibers that wait for one thing, woken in FIFO order. Zero is not valid: rt_queue_init. */
struct rt_queue {
	struct list waiters;
};

/* Zero-initialised, but for fire, is not armed. An armed timer must not be freed. */
struct rt_timer {
	uint64_t at_ns;
	void (*fire)(struct rt_timer *timer); /* called outside any fiber; may wake, spawn, submit; may not wait */
	bool armed;                           /* false already when fire is called */
	struct rt_timer *child, *sibling, *previous; /* private: the heap */
	uint64_t sequence;                           /* private: order of arming */
};

/* A pure function over buffers, run elsewhere. */
struct rt_job {
	struct list node; /* private */
	void (*function)(void *argument);
	void *argument;
	void (*done)(struct rt_job *job); /* in the engine's thread, outside any fiber */
	void *owner;
	/*
	 * 0, or about how many microseconds it takes, if these are some ten: then the engine's thread may run it, where that
	 * takes less than waking a worker or it would have to wait for one.
	 */
	uint16_t brief_us;
};

/* Mutex between fibers: FIFO, not recursive. */
struct rt_mutex {
	struct rt_queue queue;
	struct fiber *owner;
};

/* Counts outstanding things and remembers the first error; one or more fibers wait for zero. */
struct rt_group {
	struct rt_queue queue;
	unsigned pending;
	int error;
};

/* A message from another thread: `run` is called in the engine's thread, outside any fiber. */
struct rt_message {
	struct rt_message *next; /* private */
	/* Its run may be called by a thread that has borrowed the engine, and so may what it spawns, as for rt_run_here. */
	bool anywhere;
	void (*run)(struct rt_message *message);
};

int rt_new(struct pool_env *env, struct rt **ret_rt);
/* All fibers must have ended. NULL is accepted. */
void rt_free(struct rt *rt);
/*
 * Frees an rt whose fibers may not have ended: they never run again, and their stacks go. What they own on
 * the heap stays; timers, queues, mutexes and groups they wait in must not be used any more. Jobs that
 * have not begun are dropped, those that run on a worker are waited for. Outside any fiber. For a
 * simulated power cut, and for a halted pool that is given up.
 */
void rt_abandon(struct rt *rt);
struct pool_env *rt_env(struct rt *rt);

/*
 * Run the loop until `main_function` (a fiber) has returned and no other fiber is left. 0, -ENOMEM, or
 * -ECANCELED after rt_stop. Armed timers, submitted jobs and posted messages alone don't keep it running.
 */
int rt_run(struct rt *rt, fiber_function *main_function, void *argument);
/*
 * Makes rt_run return -ECANCELED as soon as the current fiber waits, yields or ends; outside fibers (in
 * timers, messages, sources), before the next fiber runs. No fiber runs after that: only rt_abandon is left.
 */
void rt_stop(struct rt *rt);

/* Starts a fiber; it first runs when the current one waits. 0 or -ENOMEM (stack, or the limit of fibers). */
int rt_spawn(struct rt *rt, const char *name, fiber_function *function, void *argument);
/*
 * Ends the current fiber where it stands, as a handler of POOL_CHECK may want. Nothing is unwound: memory
 * it owns leaks, locks it holds stay held.
 */
_Noreturn void rt_exit(struct rt *rt);
struct fiber *rt_self(struct rt *rt);       /* NULL outside fibers */
const char *fiber_name(const struct fiber *fiber); /* as given to rt_spawn, not copied */
unsigned rt_fiber_count(const struct rt *rt);
/* Calls visit for each fiber that has not ended, oldest first: to tell who waits when nothing can run. */
void rt_each_fiber(struct rt *rt, void (*visit)(const struct fiber *fiber, void *arg), void *arg);

/* Lets other runnable fibers and completions go first: continues in the next turn. */
void rt_yield(struct rt *rt);
/* Whether there are any that rt_yield would let go first in this turn. */
bool rt_others_run(const struct rt *rt);
void rt_sleep(struct rt *rt, uint64_t duration_ns);
uint64_t rt_now(struct rt *rt);             /* monotonic ns */
uint64_t rt_realtime(struct rt *rt);        /* ns since 1970 */
uint64_t rt_random(struct rt *rt);
bool rt_buggify(struct rt *rt, const char *point);
/* Number of scheduler turns so far: tells a deadline whether the engine itself ran meanwhile. */
uint64_t rt_turns(const struct rt *rt);

void rt_queue_init(struct rt_queue *queue);
void rt_queue_wait(struct rt *rt, struct rt_queue *queue);
/* False if `until_ns` (monotonic) came first; UINT64_MAX is never. Waits for a turn even if it has passed. */
bool rt_queue_wait_until(struct rt *rt, struct rt_queue *queue, uint64_t until_ns);
void rt_queue_wake_one(struct rt *rt, struct rt_queue *queue);
void rt_queue_wake_all(struct rt *rt, struct rt_queue *queue);

void rt_mutex_init(struct rt_mutex *mutex);
void rt_mutex_lock(struct rt *rt, struct rt_mutex *mutex);
void rt_mutex_unlock(struct rt *rt, struct rt_mutex *mutex);

void rt_group_init(struct rt_group *group);
static inline void rt_group_add(struct rt_group *group) { group->pending++; }
void rt_group_done(struct rt *rt, struct rt_group *group, int error); /* error 0 or negative */
/*
 * Waits until pending is 0; returns the first error since the last wait, and clears it. All fibers that
 * wait when it becomes 0 get that error.
 */
int rt_group_wait(struct rt *rt, struct rt_group *group);

/* Arms, or arms anew. Never fires before the loop's next turn; all times in the past are alike. */
void rt_timer_arm(struct rt *rt, struct rt_timer *timer, uint64_t at_ns);
/* Nothing if it isn't armed. */
void rt_timer_cancel(struct rt *rt, struct rt_timer *timer);

/* Runs function(argument) on a worker and waits for it. Never on the engine's thread when there are workers. */
void rt_work(struct rt *rt, void (*function)(void *argument), void *argument);
/* The same for what takes some ten microseconds, as rt_job has it; may run on the engine's thread, never on a fiber's stack. */
void rt_work_brief(struct rt *rt, void (*function)(void *argument), void *argument, unsigned microseconds);
/* Microseconds for `bytes` that are looked at, or copied, once; at least 1. */
static inline uint16_t rt_brief_us(uint64_t bytes) { return bytes < (UINT64_C(256) << 20) ? (uint16_t)(1 + (bytes >> 12) / 2) : UINT16_MAX; }
/* The same without waiting: job->done is called when it has run. */
void rt_work_submit(struct rt *rt, struct rt_job *job);
unsigned rt_parallelism(struct rt *rt);

/*
 * Any thread: queue a message for the engine and wake it. Messages run in the order posted by one thread.
 * The call may return after the message ran: a message may end the engine, rt_abandon and rt_free wait for calls under way.
 */
void rt_post(struct rt *rt, struct rt_message *message);
/*
 * Any thread but the engine's: starts a fiber, and runs it in the calling thread until it waits for the first time or ends, if the engine
 * sleeps. From its first wait on it is the engine's like any other. 0; -ENOMEM; -EBUSY: the engine isn't asleep. The function may
 * change neither disks nor anything else that belongs to the engine's thread itself, and no function may keep errno, or whatever else a thread has of its
 * own, over a wait. For a request that is most often served from memory: it
 * costs no change of threads then.
 */
int rt_run_here(struct rt *rt, const char *name, fiber_function *function, void *argument);
/* Whether it is worth a try, that is the engine seems to sleep. */
bool rt_may_run_here(struct rt *rt);
/* A request to a disk has gone out, or nobody waits for it any more. */
void rt_io_began(struct rt *rt);
void rt_io_ended(struct rt *rt);
unsigned rt_io_in_flight(const struct rt *rt);

/*
 * While a fiber is marked, waiting for anything but I/O, workers and fiber locks is a broken invariant
 * (I16): code that waits for space, memory or a commit calls rt_assert_may_block first.
 */
void rt_no_block_begin(struct rt *rt);
void rt_no_block_end(struct rt *rt);
bool rt_may_block(struct rt *rt);           /* false outside fibers too */
void rt_assert_may_block(struct rt *rt);

/* Per-fiber slot for the layer above (transaction handle bookkeeping). */
void rt_fiber_set_local(struct rt *rt, void *value);
void *rt_fiber_local(struct rt *rt);

#endif
