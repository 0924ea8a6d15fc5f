/* SPDX-License-Identifier: BSD-2-Clause */
/* trim: start and stop. It goes on in the process that has the pool imported; where nobody has, this one stays. */
#include <stdio.h>
#include <stdlib.h>

#include "cli/disk_files.h"
#include "cli/document.h"
#include "cli/jobs.h"
#include "cli/text.h"
#include "cli/verbs.h"
#include "cli/wait.h"

int trim_check(struct call *call)
{
	bool stop = options_have(&call->options, OPTION_STOP);

	if (stop && (options_have(&call->options, OPTION_WAIT) || options_have(&call->options, OPTION_LIMIT) || call->operand_count > 0))
		return call_usage(call, "trim %s: --stop goes with nothing else: it ends all that run", call->target.pool);
	for (size_t i = 0; i < call->operand_count; i++)
		if (!text_is_utf8(call->operands[i]))
			return call_usage(call, "trim %s: the name of a disk is not UTF-8: name it by its index, as #3", call->target.pool);
	return 0;
}

/* As they were typed, and, should they be paths, from the root. */
static void add_disks(struct call *call, struct json_object *params)
{
	struct json_object *names = document_array(params, "disks"), *paths = document_array(params, "disk_paths");

	for (size_t i = 0; i < call->operand_count; i++) {
		char *absolute = disk_path_absolute(call->operands[i]);

		json_object_array_add(names, json_object_new_string(call->operands[i]));
		json_object_array_add(paths, json_object_new_string(absolute && text_is_utf8(absolute) ? absolute : call->operands[i]));
		free(absolute);
	}
}

/* Whether there is such a disk is what a dry run of clearing its counters tells. */
int trim_rehearse(struct call *call)
{
	int code = options_have(&call->options, OPTION_STOP) ? wait_has_job(call, "trim") : 0;

	for (size_t i = 0; i < call->operand_count && code == 0; i++) {
		struct json_object *params = json_object_new_object(), *part = json_object_new_object();
		struct call_request request = {.method = "clear", .params = params, .descriptor = -1, .into = part};
		char *absolute = disk_path_absolute(call->operands[i]);

		document_flag(params, "dry_run", true);
		document_text(params, "disk", call->operands[i]);
		document_text(params, "disk_path", absolute ? absolute : call->operands[i]);
		code = call_request(call, &request);
		json_object_put(part);
		free(absolute);
	}
	return code;
}

int trim_work(struct call *call)
{
	bool stop = options_have(&call->options, OPTION_STOP);
	struct json_object *params = json_object_new_object();
	int code;

	document_text(params, "action", stop ? "stop" : "start");
	add_disks(call, params);
	if (options_have(&call->options, OPTION_LIMIT))
		document_number(params, "bytes_per_second", call->options.number[OPTION_LIMIT]);
	code = call_ask(call, "trim", params);
	if (code < 0)
		return code;
	if (stop)
		document_format(call->document, "text", "The trim of pool %s is stopped", call->target.pool);
	else
		call->wait_kinds = JOB_BIT(LIBPOOL_JOB_TRIM);
	return 0;
}

int trim_finish(struct call *call)
{
	struct json_object *jobs = document_get(call->document, "jobs");
	char text[4096] = "", line[1024];

	if (!call->wait_kinds)
		return 0;
	if (!call->has_waited) {
		document_format(call->document, "text", "The trim of pool %s runs: 'poolctl wait %s trim' follows it, 'poolctl status %s' shows it",
				call->target.pool, call->target.pool, call->target.pool);
		return 0;
	}
	for (size_t i = 0; i < json_object_array_length(jobs); i++) {
		job_describe(json_object_array_get_idx(jobs, i), line, sizeof(line));
		text_append(text, sizeof(text), "%s%s", text[0] ? "\n" : "", line);
	}
	document_text(call->document, "text", text);
	return 0;
}
