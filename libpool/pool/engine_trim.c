/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Trims: those that people ask for are jobs; with autotrim=on a fiber trims in the background what has become free.
 *
 * What became free is known for this import only: what earlier ones have left is for the command. The fiber begins some seconds
 * after a commit that freed something, so that what becomes free side by side is one trim, and rests several times as
 * long as a trim takes, so that others' requests don't queue up behind them. Without frees it does nothing.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "libpool/pool/jobs.h"

#define GATHER_NS (10 * NS_PER_S)
#define PIECE_BYTES (UINT64_C(32) << 20)
#define REST_TIMES 3u
#define REST_NS_MAX (10 * NS_PER_S)

/* ---- by command ---- */

static int start_one(struct engine *engine, unsigned disk, uint64_t bytes_per_second, struct pool_error *error)
{
	struct job job;
	int result;

	job_init(&job, engine->jobs->next_id++, JOB_TRIM);
	job.disk = (uint16_t)disk;
	job.bytes_per_second = bytes_per_second;
	result = jobs_start_new(engine, &job);
	return result < 0 ? pool_error_set(error, result, "pool %s: the trim can't be started: %s", core_label(engine->core)->name,
					   pool_error_string(result)) :
			    0;
}

/* Of the whole pool, or of this disk. */
static int check_free(struct engine *engine, unsigned disk, struct pool_error *error)
{
	list_for_each(node, &engine->jobs->running) {
		const struct job *job = &job_of(node)->job;

		if (job->kind == JOB_TRIM && (disk == DISK_ABSENT || job->disk == DISK_ABSENT || job->disk == disk))
			return pool_error_set(error, -EALREADY, "pool %s: a trim is running already", core_label(engine->core)->name);
	}
	return 0;
}

static int check_disk(struct engine *engine, const char *name, unsigned *ret_index, struct pool_error *error)
{
	int result = engine_disk_find(engine, name, ret_index, error);

	if (result == 0)
		result = check_free(engine, *ret_index, error);
	if (result == 0 && !disks_is_good(engine, *ret_index))
		result = pool_error_set(error, -ENXIO, "pool %s: disk %s can't be trimmed now: it isn't in use, or isn't up to date",
					core_label(engine->core)->name, name);
	return result;
}

int engine_trim_start(struct engine *engine, const struct libpool_trim_options *options, struct pool_error *error)
{
	unsigned index = DISK_ABSENT;
	int result = disks_check_writable(engine, error);

	if (result < 0)
		return result;
	if (!options->disk_count) {
		result = check_free(engine, DISK_ABSENT, error);
		return result < 0 ? result : start_one(engine, DISK_ABSENT, options->bytes_per_second, error);
	}
	for (size_t i = 0; i < options->disk_count && result == 0; i++)
		result = check_disk(engine, options->disks[i], &index, error);
	for (size_t i = 0; i < options->disk_count && result == 0; i++) {
		result = check_disk(engine, options->disks[i], &index, error);
		if (result == 0)
			result = start_one(engine, index, options->bytes_per_second, error);
		else if (result == -EALREADY && i > 0)
			result = 0; /* named twice */
	}
	return result;
}

int engine_trim_cancel(struct engine *engine, struct pool_error *error)
{
	struct pool_job *trim = jobs_find(engine->jobs, JOB_TRIM, DISK_ABSENT);

	if (!trim)
		return pool_error_set(error, -ENOENT, "pool %s: no trim is running", core_label(engine->core)->name);
	for (; trim; trim = jobs_find(engine->jobs, JOB_TRIM, DISK_ABSENT)) {
		job_cancel(&trim->job, engine->rt);
		jobs_wait_while(engine, trim->job.id, true);
		if (engine->jobs->stopping)
			break;
	}
	return 0;
}

/* ---- in the background ---- */

/* Sleeps at least so long; false if the fiber is to end, or isn't wanted any more. */
static bool rest(struct engine *engine, uint64_t ns)
{
	uint64_t until = rt_now(engine->rt) + ns;

	while (engine->autotrim && !engine->stopping && rt_queue_wait_until(engine->rt, &engine->trim_wake, until))
		continue;
	return engine->autotrim && !engine->stopping;
}

static bool is_due(const struct engine *engine)
{
	for (unsigned i = 0; i < DISKS_MAX; i++)
		if (store_can_trim(core_store(engine->core), i) && core_trim_left(engine->core, i, true))
			return true;
	return false;
}

static void trim_disk(struct engine *engine, unsigned disk)
{
	struct core_trimmed piece = {0};
	bool wanted = true;

	while (wanted && store_can_trim(core_store(engine->core), disk)) {
		uint64_t before = rt_now(engine->rt), took;

		/* Whatever the reason, it comes up again after the next commit that frees something. */
		if (core_trim(engine->core, disk, true, piece.next, PIECE_BYTES, &piece) < 0)
			return;
		took = rt_now(engine->rt) - before;
		wanted = rest(engine, took < REST_NS_MAX / REST_TIMES ? took * REST_TIMES : REST_NS_MAX);
	}
}

static void autotrim(void *argument)
{
	struct engine *engine = argument;

	while (!engine->stopping) {
		engine->trim_asked = false;
		if (!engine->autotrim || !engine_is_writable(engine) || !is_due(engine)) {
			if (!engine->trim_asked)
				rt_queue_wait(engine->rt, &engine->trim_wake);
			continue;
		}
		if (!rest(engine, GATHER_NS))
			continue;
		for (unsigned i = 0; i < DISKS_MAX && engine->autotrim && !engine->stopping; i++)
			if (core_trim_left(engine->core, i, true))
				trim_disk(engine, i);
		/* What couldn't be done isn't tried again before something has changed. */
		while (!engine->trim_asked && engine->autotrim && !engine->stopping)
			rt_queue_wait(engine->rt, &engine->trim_wake);
	}
	rt_group_done(engine->rt, &engine->fibers, 0);
}

void autotrim_ask(struct engine *engine)
{
	engine->trim_asked = true;
	rt_queue_wake_all(engine->rt, &engine->trim_wake);
}

void autotrim_set(struct engine *engine, bool on)
{
	engine->autotrim = on;
	autotrim_ask(engine);
}

int autotrim_start(struct engine *engine)
{
	return core_read_only(engine->core) ? 0 : engine_spawn(engine, "autotrim", autotrim, engine);
}
