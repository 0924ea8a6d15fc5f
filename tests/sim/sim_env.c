/*
 * The environment of a simulated process. See sim_env.h.
 *
 * What must always hold: nothing here depends on addresses, on the real clock or on the order of hash
 * buckets; events of equal times fire in the order in which they were scheduled; jobs run in wait(), never
 * on a fiber's stack.
 */
#include "tests/sim/sim_env.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "libpool/base/hash_table.h"
#include "libpool/rt/rt.h"

#define REALTIME_START_NS (UINT64_C(1767225600) * NS_PER_S) /* 2026-01-01 */

struct buggify_point {
	struct list node;
	uint32_t per_million;
	bool forced;
	char name[];
};

struct sim_job {
	struct list node;
	struct sim_event event;
	struct sim_env *sim;
	struct rt_job *job;
	uint64_t done_at_ns;
	bool ran;
};

void sim_fatal(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	fprintf(stderr, "simulator: ");
	vfprintf(stderr, format, arguments);
	fprintf(stderr, "\n");
	va_end(arguments);
	abort();
}

void *sim_allocate(size_t size)
{
	void *memory = calloc(1, size);

	if (!memory)
		sim_fatal("no memory for %zu bytes", size);
	return memory;
}

static struct sim_env *sim_of(struct pool_env *env)
{
	return container_of(env, struct sim_env, env);
}

/* ---- events: a binary heap by (time, order of scheduling) ---- */

static bool earlier(const struct sim_event *a, const struct sim_event *b)
{
	return a->at_ns != b->at_ns ? a->at_ns < b->at_ns : a->sequence < b->sequence;
}

static void heap_put(struct sim_env *sim, size_t index, struct sim_event *event)
{
	sim->heap[index] = event;
	event->place = index + 1;
}

static void heap_up(struct sim_env *sim, size_t index, struct sim_event *event)
{
	for (; index > 0 && earlier(event, sim->heap[(index - 1) / 2]); index = (index - 1) / 2)
		heap_put(sim, index, sim->heap[(index - 1) / 2]);
	heap_put(sim, index, event);
}

static void heap_down(struct sim_env *sim, size_t index, struct sim_event *event)
{
	for (;;) {
		size_t child = index * 2 + 1;

		if (child >= sim->heap_count)
			break;
		if (child + 1 < sim->heap_count && earlier(sim->heap[child + 1], sim->heap[child]))
			child++;
		if (!earlier(sim->heap[child], event))
			break;
		heap_put(sim, index, sim->heap[child]);
		index = child;
	}
	heap_put(sim, index, event);
}

void sim_env_schedule(struct sim_env *sim, struct sim_event *event, uint64_t at_ns)
{
	if (event->place)
		sim_fatal("event scheduled twice");
	if (sim->heap_count == sim->heap_capacity) {
		sim->heap_capacity = sim->heap_capacity ? sim->heap_capacity * 2 : 64;
		sim->heap = realloc(sim->heap, sim->heap_capacity * sizeof(*sim->heap));
		if (!sim->heap)
			sim_fatal("no memory for events");
	}
	event->at_ns = at_ns > sim->now_ns ? at_ns : sim->now_ns;
	event->sequence = ++sim->sequence;
	heap_up(sim, sim->heap_count++, event);
}

void sim_env_cancel(struct sim_env *sim, struct sim_event *event)
{
	if (!event->place)
		return;
	size_t index = event->place - 1;
	struct sim_event *last = sim->heap[--sim->heap_count];

	event->place = 0;
	if (last == event)
		return;
	if (index > 0 && earlier(last, sim->heap[(index - 1) / 2]))
		heap_up(sim, index, last);
	else
		heap_down(sim, index, last);
}

/* Fires what is due; returns the number of events. */
static unsigned fire_due(struct sim_env *sim)
{
	unsigned count = 0;

	while (!sim->stopped && sim->heap_count && sim->heap[0]->at_ns <= sim->now_ns) {
		struct sim_event *event = sim->heap[0];

		sim_env_cancel(sim, event);
		sim->events++;
		sim_env_note(sim, "event", event->at_ns, 0, 0);
		event->fire(event);
		count++;
	}
	return count;
}

/* ---- hash and trace ---- */

void sim_env_note(struct sim_env *sim, const char *kind, uint64_t a, uint64_t b, uint64_t c)
{
	uint64_t hash = sim->hash;

	for (const char *at = kind; *at; at++)
		hash = (hash ^ (unsigned char)*at) * UINT64_C(0x100000001b3);
	hash = hash_u64(hash ^ sim->now_ns) + a;
	hash = hash_u64(hash) + b;
	sim->hash = hash_u64(hash) + c;
	if (sim->trace)
		fprintf(sim->trace, "%" PRIu64 " %s %" PRIu64 " %" PRIu64 " %" PRIx64 "\n", sim->now_ns, kind, a, b,
			c);
}

uint64_t sim_env_hash(const struct sim_env *sim)
{
	return hash_u64(sim->hash);
}

/* ---- the end of a run ---- */

/* Fibers that never end leak what they own; a process that had some isn't checked for leaks. */
static bool fibers_abandoned;

int __lsan_is_turned_off(void) __attribute__((visibility("default")));
int __lsan_is_turned_off(void)
{
	return fibers_abandoned;
}

static void print_fiber(const struct fiber *fiber, void *arg)
{
	fprintf(arg, "  fiber %s\n", fiber_name(fiber));
}

void sim_env_stop(struct sim_env *sim, const char *reason)
{
	if (sim->stopped)
		return;
	sim->stopped = true;
	sim->stop_reason = reason;
	sim_env_note(sim, reason, 0, 0, 0);
	if (sim->deadlock && sim->env.rt) {
		fprintf(stderr, "simulator: seed %" PRIu64 ", %s; who waits:\n", sim->seed, reason);
		rt_each_fiber(sim->env.rt, print_fiber, stderr);
	}
	if (sim->env.rt) {
		fibers_abandoned = true;
		rt_stop(sim->env.rt);
	}
	if (sim->on_stop)
		sim->on_stop(sim, reason);
}

/* ---- the functions of pool_env ---- */

static uint64_t sim_monotonic(struct pool_env *env)
{
	return sim_of(env)->now_ns;
}

static uint64_t sim_realtime(struct pool_env *env)
{
	return REALTIME_START_NS + sim_of(env)->now_ns;
}

static void sim_random_bytes(struct pool_env *env, void *buffer, size_t size)
{
	sim_random_fill(&sim_of(env)->engine, buffer, size);
}

static size_t sim_choose(struct pool_env *env, size_t count)
{
	struct sim_env *sim = sim_of(env);

	if (count <= 1 || sim->fifo)
		return 0;
	size_t choice = (size_t)sim_random_below(&sim->scheduler, count);

	sim_env_note(sim, "choose", count, choice, 0);
	return choice;
}

static struct buggify_point *point_get(struct sim_env *sim, const char *name)
{
	list_for_each(node, &sim->buggify_points) {
		struct buggify_point *point = container_of(node, struct buggify_point, node);

		if (!strcmp(point->name, name))
			return point;
	}
	struct buggify_point *point = sim_allocate(sizeof(*point) + strlen(name) + 1);
	struct sim_random random;

	strcpy(point->name, name);
	sim_random_stream(&random, sim->seed, name, 0);
	if (sim_random_below(&random, 4) == 0)
		point->per_million = (uint32_t)sim_random_between(&random, 1000, 250000);
	list_push_back(&sim->buggify_points, &point->node);
	return point;
}

void sim_env_set_chance(struct sim_env *sim, const char *point, uint32_t per_million)
{
	struct buggify_point *found = point_get(sim, point);

	found->per_million = per_million;
	found->forced = true;
}

static bool sim_buggify(struct pool_env *env, const char *name)
{
	struct sim_env *sim = sim_of(env);

	if (!sim->buggify && list_empty(&sim->buggify_points))
		return false;
	struct buggify_point *point = point_get(sim, name);

	if ((!sim->buggify && !point->forced) || !sim_random_chance(&sim->chance, point->per_million))
		return false;
	sim_env_note(sim, name, 1, 0, 0);
	return true;
}

static void job_fire(struct sim_event *event)
{
	struct sim_job *entry = container_of(event, struct sim_job, event);
	struct sim_env *sim = entry->sim;
	struct rt_job *job = entry->job;

	if (!entry->ran) {
		entry->ran = true;
		job->function(job->argument);
	}
	if (entry->done_at_ns > sim->now_ns) {
		sim_env_schedule(sim, event, entry->done_at_ns);
		return;
	}
	list_remove(&entry->node);
	free(entry);
	sim_env_note(sim, "job done", 0, 0, 0);
	job->done(job);
}

/* The function runs at a random instant between submission and result: what it reads must not change meanwhile. */
static void sim_work(struct pool_env *env, struct rt_job *job)
{
	struct sim_env *sim = sim_of(env);
	struct sim_job *entry = sim_allocate(sizeof(*entry));
	uint64_t delay_ns = 1 + sim_random_below(&sim->workers, sim->work_delay_ns_max ? sim->work_delay_ns_max : 1);

	entry->sim = sim;
	entry->job = job;
	entry->event.fire = job_fire;
	entry->done_at_ns = sim->now_ns + delay_ns;
	list_push_back(&sim->pending_jobs, &entry->node);
	sim->jobs++;
	sim_env_note(sim, "job", delay_ns, 0, 0);
	sim_env_schedule(sim, &entry->event, sim->now_ns + sim_random_below(&sim->workers, delay_ns + 1));
}

static unsigned sim_parallelism(struct pool_env *env)
{
	return sim_of(env)->parallelism;
}

static void sim_source_add(struct pool_env *env, struct rt_source *source)
{
	list_push_back(&sim_of(env)->sources, &source->node);
}

static void sim_source_remove(struct pool_env *env, struct rt_source *source)
{
	struct sim_env *sim = sim_of(env);

	if (sim->next_source == &source->node)
		sim->next_source = source->node.next;
	list_remove(&source->node);
}

static void sim_wake(struct pool_env *env)
{
	sim_of(env)->woken = true;
}

static int poll_sources(struct sim_env *sim)
{
	int count = 0;

	sim->next_source = sim->sources.next;
	while (sim->next_source != &sim->sources) {
		struct rt_source *source = container_of(sim->next_source, struct rt_source, node);

		sim->next_source = sim->next_source->next;
		count += source->poll(source);
	}
	sim->next_source = NULL;
	return count;
}

static void sim_wait(struct pool_env *env, uint64_t until_ns)
{
	struct sim_env *sim = sim_of(env);

	sim->turns++;
	sim->now_ns += sim_random_below(&sim->scheduler, sim->turn_ns_max + 1);
	if (sim->time_limit_ns && sim->now_ns > sim->time_limit_ns)
		sim_env_stop(sim, "time limit");
	if (sim->stopped || poll_sources(sim) + (int)fire_due(sim) > 0 || until_ns <= sim->now_ns)
		return;
	if (sim->woken) {
		sim->woken = false;
		return;
	}
	uint64_t next_ns = sim->heap_count ? sim->heap[0]->at_ns : UINT64_MAX;

	if (until_ns < next_ns)
		next_ns = until_ns;
	if (next_ns == UINT64_MAX) {
		sim->deadlock = true;
		sim_env_stop(sim, "deadlock: nothing is runnable and nothing can happen");
		return;
	}
	sim->now_ns = next_ns;
	fire_due(sim);
}

static void sim_work_cancel(struct pool_env *env)
{
	struct sim_env *sim = sim_of(env);
	struct list *node;

	while ((node = list_pop_front(&sim->pending_jobs))) {
		struct sim_job *entry = container_of(node, struct sim_job, node);

		sim_env_cancel(sim, &entry->event);
		free(entry);
	}
}

static const struct pool_env_ops sim_env_ops = {
	.monotonic_ns = sim_monotonic,
	.realtime_ns = sim_realtime,
	.random = sim_random_bytes,
	.choose = sim_choose,
	.buggify = sim_buggify,
	.work = sim_work,
	.parallelism = sim_parallelism,
	.source_add = sim_source_add,
	.source_remove = sim_source_remove,
	.wait = sim_wait,
	.wake = sim_wake,
	.work_cancel = sim_work_cancel,
};

/* ---- life ---- */

struct sim_env *sim_env_new(uint64_t seed)
{
	struct sim_env *sim = sim_allocate(sizeof(*sim));

	sim->env.ops = &sim_env_ops;
	sim->seed = seed;
	sim->now_ns = NS_PER_S;
	sim->parallelism = 4;
	sim->turn_ns_max = 400;
	sim->work_delay_ns_max = 100000;
	sim_random_stream(&sim->scheduler, seed, "scheduler", 0);
	sim_random_stream(&sim->workers, seed, "workers", 0);
	sim_random_stream(&sim->engine, seed, "engine", 0);
	sim_random_stream(&sim->chance, seed, "chance", 0);
	list_init(&sim->sources);
	list_init(&sim->pending_jobs);
	list_init(&sim->buggify_points);
	return sim;
}

void sim_env_reboot(struct sim_env *sim)
{
	sim_work_cancel(&sim->env);
	list_init(&sim->sources);
	sim->env.rt = NULL;
	sim->stopped = sim->deadlock = sim->woken = false;
	sim->stop_reason = NULL;
	sim_env_note(sim, "reboot", 0, 0, 0);
}

void sim_env_free(struct sim_env *sim)
{
	if (!sim)
		return;
	struct list *node;

	sim_env_reboot(sim);
	while ((node = list_pop_front(&sim->buggify_points)))
		free(container_of(node, struct buggify_point, node));
	free(sim->heap);
	free(sim);
}
