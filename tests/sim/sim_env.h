/*
 * The environment of a simulated process: seeded choices, a virtual clock, workers that run inline, and
 * nothing from outside. One thread; the same seed gives the same run, which `sim_env_hash` proves.
 *
 *	struct sim_env *sim = sim_env_new(seed);
 *	struct rt *rt;
 *	rt_new(&sim->env, &rt);
 *	rt_run(rt, main_function, argument);
 *	assert(!sim->deadlock);
 *	rt_free(rt);
 *	sim_env_free(sim);
 *
 * Time passes only in wait(): a little with every turn of the scheduler (so that a fiber which yields in a
 * loop sees time pass), and up to the next event when nothing else is to be done. A power cut stops the rt
 * (sim_env_stop); then rt_abandon, sim_env_reboot, and the next boot with a new rt on the same clock.
 */
#ifndef TESTS_SIM_ENV_H
#define TESTS_SIM_ENV_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "libpool/rt/env.h"
#include "tests/sim/sim_random.h"

#if __has_attribute(noipa)
#define SIM_NOT_INLINE __attribute__((noipa))
#else
#define SIM_NOT_INLINE __attribute__((noinline))
#endif

/* Something that happens at a point of virtual time, in wait(): outside fibers. Owned by the caller. */
struct sim_event {
	uint64_t at_ns;
	void (*fire)(struct sim_event *event); /* not scheduled any more when called; may free the event */
	uint64_t sequence;                     /* private: FIFO among equal times */
	size_t place;                          /* private: 1 + index in the heap, 0 when not scheduled */
};

struct sim_env {
	struct pool_env env;
	uint64_t seed;
	uint64_t now_ns;

	/* May be changed at any time. */
	bool fifo;                   /* run fibers in FIFO order instead of a seeded one */
	bool buggify;                /* off by default: tests that count want no surprises */
	unsigned parallelism;        /* 4 */
	uint64_t turn_ns_max;        /* cost of a turn: 0 to this; 400 */
	uint64_t work_delay_ns_max;  /* from submission of a job to its result: 1 to this; 100 us */
	FILE *trace;                 /* NULL: none. One line for each noted event */
	uint64_t time_limit_ns;      /* the run is stopped when the clock passes this; 0: none */
	/* Called once when the run is over before its end (deadlock, limit, power cut). */
	void (*on_stop)(struct sim_env *sim, const char *reason);

	/* To be read. */
	bool deadlock;               /* wait() was called with nothing that could ever happen */
	bool stopped;                /* sim_env_stop was called since the last boot */
	const char *stop_reason;
	uint64_t turns, events, jobs;

	/* Private. */
	struct sim_random scheduler, workers, engine, chance;
	struct sim_event **heap;
	size_t heap_count, heap_capacity;
	uint64_t sequence, hash;
	struct list sources, pending_jobs, buggify_points;
	struct list *next_source; /* the walk over the sources, so that callbacks may remove any */
	bool woken;
};

/* Never NULL: the simulator aborts without memory. */
struct sim_env *sim_env_new(uint64_t seed);
void sim_env_free(struct sim_env *sim);
/* Forgets the jobs and sources of an rt that was freed without having ended; the clock and the streams go on. */
void sim_env_reboot(struct sim_env *sim);

void sim_env_schedule(struct sim_env *sim, struct sim_event *event, uint64_t at_ns) SIM_NOT_INLINE; /* see sim_allocate */
/* Does nothing when the event isn't scheduled. */
void sim_env_cancel(struct sim_env *sim, struct sim_event *event);

/* Makes rt_run return as soon as control is back in the scheduler. `reason` is static text. */
void sim_env_stop(struct sim_env *sim, const char *reason);

/* Mixes an event into the hash, and prints it to the trace. `kind` is static text. */
void sim_env_note(struct sim_env *sim, const char *kind, uint64_t a, uint64_t b, uint64_t c);
/* Of all events so far: equal for equal runs. */
uint64_t sim_env_hash(const struct sim_env *sim);

/*
 * Overrides the chance of one buggify point (0: never, 1000000: always), also while `buggify` is off.
 * Otherwise a point is active in one run out of four, and then fires with a chance of its own of up to 1/4.
 */
void sim_env_set_chance(struct sim_env *sim, const char *point, uint32_t per_million);

/* Aborts with a message: a bug in a test or no memory. */
void sim_fatal(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
/* Zeroed, never NULL. Never inlined: tests that let allocations fail spare the simulator by the caller's address. */
void *sim_allocate(size_t size) SIM_NOT_INLINE;

#endif
