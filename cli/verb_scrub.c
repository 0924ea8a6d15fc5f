/* scrub: start, go on, pause, stop. On a pool that nobody owns it always waits, as nobody would go on with
 * it. */
#include <stdio.h>

#include "cli/document.h"
#include "cli/errors.h"
#include "cli/jobs.h"
#include "cli/verbs.h"

static int control(struct call *call, bool pause)
{
	int code = pause ? libpool_scrub_pause(call->pool, &call->error)
			 : libpool_scrub_cancel(call->pool, &call->error);

	if (code < 0)
		return error_complete(&call->error, code, "%s the scrub of pool %s",
				      pause ? "pausing" : "stopping", call->target.pool);
	document_format(call->document, "text", "The scrub of pool %s is %s", call->target.pool,
			pause ? "paused" : "stopped");
	return 0;
}

int scrub_check(struct call *call)
{
	if (options_have(&call->options, OPTION_PAUSE) + options_have(&call->options, OPTION_STOP) +
		options_have(&call->options, OPTION_WAIT) >
	    1)
		return call_usage(call, "scrub %s: --pause, --stop and --wait exclude each other: give one",
				  call->target.pool);
	return 0;
}

int scrub_work(struct call *call)
{
	struct libpool_scrub_options options = {.size = sizeof(options)};
	bool pause = options_have(&call->options, OPTION_PAUSE),
	     stop = options_have(&call->options, OPTION_STOP);
	int code;

	document_text(call->document, "pool", call->target.pool);
	if (pause || stop)
		return control(call, pause);
	options.deep = options_have(&call->options, OPTION_DEEP);
	options.bytes_per_second = call->options.number[OPTION_LIMIT];
	code = libpool_scrub_start(call->pool, &options, &call->error);
	if (code < 0)
		return error_complete(&call->error, code, "starting a scrub of pool %s", call->target.pool);
	call->wait_kinds = JOB_BIT(LIBPOOL_JOB_SCRUB);
	return 0;
}

int scrub_finish(struct call *call)
{
	struct libpool_pool_info info = {.size = sizeof(info)};
	struct json_object *jobs = document_get(call->document, "jobs");
	uint64_t left = 0;
	char text[1024];
	int code;

	if (!call->wait_kinds)
		return 0;
	code = libpool_pool_info(call->pool, &info);
	if (code < 0)
		return code;
	for (size_t i = 0; i < json_object_array_length(jobs); i++) {
		struct json_object *job = json_object_array_get_idx(jobs, i);

		left += document_get_number(job, "cells_unrepaired");
		job_describe(job, text, sizeof(text));
		document_text(call->document, "text", text);
	}
	document_number(call->document, "cells_unrepaired", left);
	document_number(call->document, "damaged_ranges", info.damaged_ranges);
	if (left || info.damaged_ranges) {
		call->exit_code = EXIT_CODE_DAMAGE;
		document_format(call->document, "text", "%s. Damage remains: see 'poolctl status %s'", text,
				call->target.pool);
	}
	return 0;
}
