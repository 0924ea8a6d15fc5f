#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli/document.h"
#include "cli/errors.h"
#include "cli/interrupt.h"
#include "cli/jobs.h"
#include "cli/wait.h"

#define STEP_NS UINT64_C(200000000)

/* The running jobs of these kinds together. */
static int show_progress(struct call *call, struct progress *progress, uint32_t kinds)
{
	uint64_t done = 0, total = 0, rate = 0;
	struct libpool_job *jobs = NULL;
	size_t count = 0;
	int code = libpool_jobs(call->pool, &jobs, &count);

	if (code < 0)
		return code;
	for (size_t i = 0; i < count; i++) {
		if (jobs[i].state != LIBPOOL_JOB_RUNNING ||
		    (kinds != JOBS_ALL && !(kinds & JOB_BIT(jobs[i].kind))))
			continue;
		done += jobs[i].done_bytes;
		total += jobs[i].total_bytes;
		rate += jobs[i].rate;
	}
	progress_update(progress, done, total, rate);
	libpool_free(jobs);
	return 0;
}

/* What the pool says about jobs that are over. */
static int result(struct call *call, uint32_t kinds)
{
	struct json_object *jobs;
	int code = jobs_document(call->pool, kinds, call->document);

	if (code < 0)
		return error_complete(&call->error, code, "asking pool %s for its jobs", call->target.pool);
	jobs = document_get(call->document, "jobs");
	for (size_t i = 0; i < json_object_array_length(jobs); i++) {
		struct json_object *job = json_object_array_get_idx(jobs, i);

		if (strcmp(document_get_text(job, "state"), "failed") == 0 &&
		    document_get_seconds(job, "ended") >= (double)call->begun_ns / 1e9)
			return error_set(&call->error, -EIO,
					 "the %s of pool %s failed: %s; see poolctl status %s",
					 document_get_text(job, "kind"), call->target.pool,
					 document_get_text(job, "text"), call->target.pool);
	}
	return 0;
}

int wait_for_jobs(struct call *call, uint32_t kinds)
{
	struct progress progress;
	char what[LIBPOOL_NAME_MAX + 64];
	int code;

	snprintf(what, sizeof(what), "%s %s", call->verb->name, call->target.pool);
	progress_begin(&progress, what, options_have(&call->options, OPTION_JSON));
	do {
		code = libpool_jobs_wait(call->pool, kinds, STEP_NS);
		if (code != -ETIMEDOUT)
			break;
		code = show_progress(call, &progress, kinds);
		if (code == 0 && interrupt_requested())
			code = -EINTR;
	} while (code == 0);
	progress_end(&progress);
	if (code == -EINTR)
		return error_set(
		    &call->error, code,
		    "%s %s was interrupted: what is done stays done, 'poolctl wait %s' does the rest",
		    call->verb->name, call->target.pool, call->target.pool);
	if (code < 0)
		return error_complete(&call->error, code, "waiting for the jobs of pool %s",
				      call->target.pool);
	return result(call, kinds);
}
