/*
 * A small deterministic environment for the tests of rt: a virtual clock that jumps to the next
 * deadline, jobs run inline, and the choice among runnable fibers from a seed. It ends a run in which
 * nothing can happen any more, instead of waiting for ever.
 */
#ifndef TESTS_UNIT_RT_FAKE_ENV_H
#define TESTS_UNIT_RT_FAKE_ENV_H

#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "libpool/rt/rt.h"
#include "libpool/rt/sanitizer.h"

struct fake_env {
	struct pool_env env;
	uint64_t now, seed; /* seed 0: always the first */
	struct list jobs, sources;
	size_t most_runnable;
	unsigned waits, polls;
	bool deadlocked;
};

static inline struct fake_env *fake_of(struct pool_env *env)
{
	return container_of(env, struct fake_env, env);
}

static inline uint64_t fake_next_random(struct fake_env *fake)
{
	fake->seed ^= fake->seed << 13;
	fake->seed ^= fake->seed >> 7;
	fake->seed ^= fake->seed << 17;
	return fake->seed;
}

static inline uint64_t fake_now(struct pool_env *env)
{
	return fake_of(env)->now;
}

static inline void fake_random(struct pool_env *env, void *buffer, size_t size)
{
	(void)env;
	memset(buffer, 0x5a, size);
}

static inline size_t fake_choose(struct pool_env *env, size_t count)
{
	struct fake_env *fake = fake_of(env);

	if (count > fake->most_runnable)
		fake->most_runnable = count;
	return fake->seed ? fake_next_random(fake) % count : 0;
}

static inline bool fake_buggify(struct pool_env *env, const char *point)
{
	(void)env;
	return strcmp(point, "rare") == 0;
}

static inline void fake_work(struct pool_env *env, struct rt_job *job)
{
	list_push_back(&fake_of(env)->jobs, &job->node);
}

static inline unsigned fake_parallelism(struct pool_env *env)
{
	(void)env;
	return 3;
}

static inline void fake_source_add(struct pool_env *env, struct rt_source *source)
{
	list_push_back(&fake_of(env)->sources, &source->node);
}

static inline void fake_source_remove(struct pool_env *env, struct rt_source *source)
{
	(void)env;
	list_remove(&source->node);
}

static inline void fake_wait(struct pool_env *env, uint64_t until_ns)
{
	struct fake_env *fake = fake_of(env);
	struct list *node;
	int completions = 0;

	fake->polls += until_ns == 0;
	fake->waits += until_ns != 0;
	if ((node = list_pop_front(&fake->jobs))) {
		struct rt_job *job = container_of(node, struct rt_job, node);

		job->function(job->argument);
		job->done(job);
		completions++;
	}
	list_for_each_safe(source, after, &fake->sources)
		completions += container_of(source, struct rt_source, node)->poll(
			container_of(source, struct rt_source, node));
	if (completions > 0 || until_ns == 0)
		return;
	if (until_ns == UINT64_MAX) {
		fake->deadlocked = true;
		rt_stop(env->rt);
	} else if (until_ns > fake->now) {
		fake->now = until_ns;
	}
}

static inline void fake_wake(struct pool_env *env)
{
	(void)env;
}

static inline struct rt *fake_new(struct fake_env *fake, uint64_t seed)
{
	static const struct pool_env_ops ops = {
		.monotonic_ns = fake_now,
		.realtime_ns = fake_now,
		.random = fake_random,
		.choose = fake_choose,
		.buggify = fake_buggify,
		.work = fake_work,
		.parallelism = fake_parallelism,
		.source_add = fake_source_add,
		.source_remove = fake_source_remove,
		.wait = fake_wait,
		.wake = fake_wake,
	};
	struct rt *rt = NULL;

	*fake = (struct fake_env){.env.ops = &ops, .now = 1000, .seed = seed};
	list_init(&fake->jobs);
	list_init(&fake->sources);
	assert_int_equal(rt_new(&fake->env, &rt), 0);
	assert_ptr_equal(fake->env.rt, rt);
	return rt;
}

/* What the fibers of a test did, as text. */
struct journal {
	char text[4096];
	size_t length;
};

__attribute__((format(printf, 2, 3))) static inline void journal_add(struct journal *journal, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	journal->length += (size_t)vsnprintf(journal->text + journal->length,
					     sizeof(journal->text) - journal->length, format, arguments);
	va_end(arguments);
	assert_true(journal->length < sizeof(journal->text));
}

#endif
