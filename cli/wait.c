/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli/document.h"
#include "cli/errors.h"
#include "cli/jobs.h"
#include "cli/wait.h"

int wait_for_jobs(struct call *call, uint32_t kinds)
{
	struct json_object *params = json_object_new_object(), *jobs = document_array(params, "jobs");
	char what[LIBPOOL_NAME_MAX + 64];
	struct call_request request = {.method = "wait", .params = params, .descriptor = -1, .what = what};
	int code;

	for (uint32_t kind = LIBPOOL_JOB_SCRUB; kind <= LIBPOOL_JOB_VERIFY; kind++) {
		if (kinds != JOBS_ALL && kinds & JOB_BIT(kind))
			json_object_array_add(jobs, json_object_new_string(job_kind_name(kind)));
	}
	document_time(params, "since", call->begun_ns);
	snprintf(what, sizeof(what), "%s %s", call->verb->name, call->target.pool);
	code = call_request(call, &request);
	if (code != -EINTR)
		return code;
	if (call->session.is_owned)
		return error_set(&call->error, code, "%s %s: waiting was interrupted: what was to be waited for goes on",
				 call->verb->name, call->target.pool);
	return error_set(&call->error, code,
			 "%s %s was interrupted: what is done stays done, 'poolctl wait %s' does the rest",
			 call->verb->name, call->target.pool, call->target.pool);
}

int wait_has_job(struct call *call, const char *kind)
{
	struct json_object *part = json_object_new_object(), *jobs = NULL;
	struct call_request request = {.method = "status", .descriptor = -1, .into = part};
	int code = call_request(call, &request), found = 0;

	if (code == 0)
		jobs = document_get(json_object_array_get_idx(document_get(part, "pools"), 0), "jobs");
	for (size_t i = 0; jobs && i < json_object_array_length(jobs); i++) {
		const char *state = document_get_text(json_object_array_get_idx(jobs, i), "state");

		found |= strcmp(document_get_text(json_object_array_get_idx(jobs, i), "kind"), kind) == 0 &&
			 (strcmp(state, "running") == 0 || strcmp(state, "paused") == 0);
	}
	json_object_put(part);
	if (code == 0 && !found)
		code = error_set(&call->error, -ENOENT, "pool %s: no %s is running", call->target.pool, kind);
	return code;
}
