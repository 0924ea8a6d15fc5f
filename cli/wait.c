/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <stdio.h>

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
