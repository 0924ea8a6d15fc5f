/* SPDX-License-Identifier: BSD-2-Clause */
/* scrub: start, go on, pause, stop. It goes on in the process that has the pool imported; where nobody has, this one stays. */
#include <stdio.h>

#include "cli/document.h"
#include "cli/errors.h"
#include "cli/jobs.h"
#include "cli/verbs.h"
#include "cli/wait.h"

int scrub_check(struct call *call)
{
	if (options_have(&call->options, OPTION_PAUSE) + options_have(&call->options, OPTION_STOP) +
		options_have(&call->options, OPTION_WAIT) >
	    1)
		return call_usage(call, "scrub %s: --pause, --stop and --wait exclude each other: give one",
				  call->target.pool);
	return 0;
}

int scrub_rehearse(struct call *call)
{
	bool starts = !options_have(&call->options, OPTION_PAUSE) && !options_have(&call->options, OPTION_STOP);

	return starts ? 0 : wait_has_job(call, "scrub");
}

int scrub_work(struct call *call)
{
	bool pause = options_have(&call->options, OPTION_PAUSE),
	     stop = options_have(&call->options, OPTION_STOP);
	struct json_object *params = json_object_new_object();
	int code;

	document_text(params, "action", pause ? "pause" : stop ? "stop" : "start");
	if (options_have(&call->options, OPTION_DEEP))
		document_flag(params, "deep", true);
	if (options_have(&call->options, OPTION_LIMIT))
		document_number(params, "bytes_per_second", call->options.number[OPTION_LIMIT]);
	code = call_ask(call, "scrub", params);
	if (code < 0)
		return code;
	if (pause || stop)
		document_format(call->document, "text", "The scrub of pool %s is %s", call->target.pool,
				pause ? "paused" : "stopped");
	else
		call->wait_kinds = JOB_BIT(LIBPOOL_JOB_SCRUB);
	return 0;
}

int scrub_finish(struct call *call)
{
	struct json_object *jobs = document_get(call->document, "jobs");
	uint64_t left = 0;
	char text[1024] = "";

	for (size_t i = 0; i < json_object_array_length(jobs); i++) {
		struct json_object *job = json_object_array_get_idx(jobs, i);

		left += document_get_number(job, "cells_unrepaired");
		job_describe(job, text, sizeof(text));
	}
	document_number(call->document, "cells_unrepaired", left);
	if (!call->wait_kinds)
		return 0;
	if (!call->has_waited) {
		document_format(call->document, "text",
				"The scrub of pool %s runs: 'poolctl wait %s scrub' follows it, 'poolctl status %s' shows it",
				call->target.pool, call->target.pool, call->target.pool);
		return 0;
	}
	document_text(call->document, "text", text);
	if (left || document_get_number(call->document, "damaged_ranges")) {
		call->exit_code = EXIT_CODE_DAMAGE;
		document_format(call->document, "text", "%s. Damage remains: see 'poolctl status %s'", text,
				call->target.pool);
	}
	return 0;
}
