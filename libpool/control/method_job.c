/* SPDX-License-Identifier: BSD-2-Clause */
/* scrub and wait. Jobs run in the pool and outlive whoever asked for them; waiting is all that ends with a client. */
#include <errno.h>
#include <string.h>

#include "libpool/control/result.h"
#include "libpool/control/methods.h"

#define STEP_NS UINT64_C(200000000)

static const char *const kind_names[] = {NULL, "scrub", "rebuild", "resync", "verify", "trim"};
static const char *const state_names[] = {NULL, "running", "paused", "finished", "cancelled", "failed"};

#define JOB(key, kind, member) FIELD(key, kind, libpool_job, member)
static const struct field job_fields[] = {
	JOB("id", NUMBER, id),
	FIELD_NAMED("kind", kind_names, libpool_job, kind),
	FIELD_NAMED("state", state_names, libpool_job, state),
	JOB("object", TEXT, object),
	JOB("started", TIME, started_ns),
	JOB("ended", TIME, ended_ns),
	JOB("total_bytes", NUMBER, total_bytes),
	JOB("done_bytes", NUMBER, done_bytes),
	JOB("rate", NUMBER, rate),
	JOB("to_go", DURATION, eta_ns),
	JOB("errors_found", NUMBER, errors_found),
	JOB("cells_repaired", NUMBER, cells_repaired),
	JOB("cells_unrepaired", NUMBER, cells_unrepaired),
	JOB("text", TEXT, text),
};

static bool is_of(const struct libpool_job *job, uint32_t kinds)
{
	return kinds == 0 || kinds >> job->kind & 1;
}

int jobs_document(libpool_pool *pool, uint32_t kinds, struct json_object *object)
{
	struct libpool_job *jobs = NULL;
	size_t count = 0;
	struct json_object *array;
	int code = libpool_jobs(pool, &jobs, &count);

	if (code < 0)
		return code;
	array = result_array(object, "jobs");
	for (size_t i = 0; i < count; i++)
		if (is_of(&jobs[i], kinds))
			RESULT_FILL(result_append(array), job_fields, &jobs[i]);
	libpool_free(jobs);
	return 0;
}

int add_jobs(struct invocation *invocation, uint32_t kinds)
{
	struct libpool_pool_info info = {.size = sizeof(info)};
	int code = jobs_document(invocation->pool, kinds, invocation->result);

	if (code == 0)
		code = libpool_pool_info(invocation->pool, &info);
	if (code < 0)
		return method_complete(invocation, code, "asking pool %s for its jobs", invocation->pool_name);
	result_number(invocation->result, "damaged_ranges", info.damaged_ranges);
	return 0;
}

/* ---- scrub ---- */

int run_scrub(struct invocation *invocation)
{
	const char *action = parameter_text(invocation, "action");
	struct libpool_scrub_options options = {
		.size = sizeof(options),
		.deep = parameter_flag(invocation, "deep"),
		.bytes_per_second = parameter_number(invocation, "bytes_per_second"),
	};
	int code;

	if (!action || strcmp(action, "start") == 0)
		code = libpool_scrub_start(invocation->pool, &options, &invocation->error);
	else if (strcmp(action, "pause") == 0)
		code = libpool_scrub_pause(invocation->pool, &invocation->error);
	else if (strcmp(action, "stop") == 0)
		code = libpool_scrub_cancel(invocation->pool, &invocation->error);
	else
		return method_fail(invocation, -EINVAL, "scrub: action '%.32s' is none of start, pause, stop", action);
	if (code < 0)
		return method_complete(invocation, code, "%s of pool %s",
				       !action || strcmp(action, "start") == 0 ? "starting a scrub"
				       : strcmp(action, "pause") == 0	       ? "pausing the scrub"
									       : "stopping the scrub",
				       invocation->pool_name);
	result_text(invocation->result, "pool", invocation->pool_name);
	return add_jobs(invocation, 1u << LIBPOOL_JOB_SCRUB);
}

/* ---- wait ---- */

static int read_kinds(struct invocation *invocation, uint32_t *ret_kinds)
{
	struct json_object *jobs = NULL;
	uint32_t kinds = 0;

	json_object_object_get_ex(invocation->params, "jobs", &jobs);
	for (size_t i = 0; jobs && i < json_object_array_length(jobs); i++) {
		const char *name = json_object_get_string(json_object_array_get_idx(jobs, i));
		uint32_t kind = LIBPOOL_JOB_SCRUB;

		while (kind <= LIBPOOL_JOB_TRIM && strcmp(kind_names[kind], name) != 0)
			kind++;
		if (kind > LIBPOOL_JOB_TRIM)
			return method_fail(invocation, -EINVAL, "wait: there are no jobs called '%.32s': name scrub, rebuild, resync, verify or trim", name);
		kinds |= 1u << kind;
	}
	*ret_kinds = kinds;
	return 0;
}

/* The running ones together. */
static int tell_progress(struct invocation *invocation, uint32_t kinds)
{
	uint64_t done = 0, total = 0, rate = 0;
	struct libpool_job *jobs = NULL;
	size_t count = 0;
	int code = libpool_jobs(invocation->pool, &jobs, &count);

	if (code < 0)
		return code;
	for (size_t i = 0; i < count; i++) {
		if (jobs[i].state != LIBPOOL_JOB_RUNNING || !is_of(&jobs[i], kinds))
			continue;
		done += jobs[i].done_bytes;
		total += jobs[i].total_bytes;
		rate += jobs[i].rate;
	}
	libpool_free(jobs);
	invocation->progress(invocation->request, done, total, rate);
	return 0;
}

/* A job that failed meanwhile fails the wait. */
static int check_outcome(struct invocation *invocation, uint32_t kinds)
{
	struct json_object *since = NULL;
	struct libpool_job *jobs = NULL;
	size_t count = 0;
	double from;
	int code = libpool_jobs(invocation->pool, &jobs, &count);

	json_object_object_get_ex(invocation->params, "since", &since);
	from = since ? json_object_get_double(since) : 0;
	for (size_t i = 0; code == 0 && since && i < count; i++)
		if (is_of(&jobs[i], kinds) && jobs[i].state == LIBPOOL_JOB_FAILED && (double)jobs[i].ended_ns / 1e9 >= from)
			code = method_fail(invocation, -EIO, "the %s of pool %s failed: %s; see poolctl status %s", kind_names[jobs[i].kind],
					   invocation->pool_name, jobs[i].text, invocation->pool_name);
	libpool_free(jobs);
	return code;
}

int run_wait(struct invocation *invocation)
{
	uint32_t kinds = 0;
	int code = read_kinds(invocation, &kinds);

	if (code < 0)
		return code;
	result_text(invocation->result, "pool", invocation->pool_name);
	for (;;) {
		if (invocation->is_cancelled(invocation->request))
			return method_fail(invocation, -EINTR, "waiting for the jobs of pool %s was cancelled: they go on", invocation->pool_name);
		code = libpool_jobs_wait(invocation->pool, kinds, STEP_NS);
		if (code != -ETIMEDOUT)
			break;
		code = tell_progress(invocation, kinds);
		if (code < 0)
			break;
	}
	if (code == 0)
		code = check_outcome(invocation, kinds);
	if (code < 0)
		return method_complete(invocation, code, "waiting for the jobs of pool %s", invocation->pool_name);
	return add_jobs(invocation, kinds);
}
