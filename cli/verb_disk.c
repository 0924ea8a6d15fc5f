/* SPDX-License-Identifier: BSD-2-Clause */
/* replace, offline, online, clear, device: what is done to disks of a pool. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/disk_files.h"
#include "cli/document.h"
#include "cli/errors.h"
#include "cli/jobs.h"
#include "cli/text.h"
#include "cli/verbs.h"

/* Parameters that all of them have: the disk as it was typed, and, should that be a path, from the root. */
static struct json_object *disk_params(struct call *call)
{
	struct json_object *params = json_object_new_object();
	char *absolute;

	document_flag(params, "dry_run", options_have(&call->options, OPTION_DRY_RUN));
	if (call->operand_count == 0)
		return params;
	absolute = disk_path_absolute(call->operands[0]);
	document_text(params, "disk", call->operands[0]);
	document_text(params, "disk_path", absolute ? absolute : call->operands[0]);
	free(absolute);
	return params;
}

/* Paths of disks that are to be opened travel as JSON, which has no others. */
static int check_path(struct call *call, const char *path)
{
	char *absolute = disk_path_absolute(path);
	int code = 0;

	if (!text_is_utf8(absolute ? absolute : path))
		code = call_usage(call, "%s %s: the path %s is not UTF-8: give the disk another name", call->verb->name, call->target.pool,
				  absolute ? absolute : path);
	free(absolute);
	return code;
}

int replace_check(struct call *call)
{
	return check_path(call, call->operands[1]);
}

int online_check(struct call *call)
{
	return call->operand_count > 1 ? check_path(call, call->operands[1]) : 0;
}

static int replace(struct call *call, struct disk_files *files)
{
	struct json_object *params = disk_params(call);
	bool dry_run = options_have(&call->options, OPTION_DRY_RUN);
	int code = 0;

	if (options_have(&call->options, OPTION_CREATE_SIZE))
		code = disk_files_create(files, call->options.number[OPTION_CREATE_SIZE], &call->error);
	if (code < 0) {
		json_object_put(params);
		return code;
	}
	document_text(params, "new_disk", files->paths[0]);
	document_flag(params, "force", options_have(&call->options, OPTION_FORCE));
	code = call_ask(call, "replace", params);
	if (code < 0 || dry_run)
		disk_files_undo(files);
	return code;
}

int replace_work(struct call *call)
{
	struct disk_files files;
	int code = disk_files_init(&files, call->operands + 1, 1, &call->error);

	if (code < 0)
		return code;
	code = replace(call, &files);
	disk_files_release(&files);
	if (code < 0)
		return code;
	if (options_have(&call->options, OPTION_DRY_RUN))
		document_format(call->document, "text", "Would replace disk %s of pool %s by %s",
				document_get_text(call->document, "disk"), call->target.pool,
				document_get_text(call->document, "new_disk"));
	else
		call->wait_kinds = JOB_BIT(LIBPOOL_JOB_REBUILD);
	return 0;
}

/* "Replaced ...: rebuild finished ..."; exit code 3 when cells could not be rebuilt. */
static void describe_outcome(struct call *call, const char *what)
{
	struct json_object *jobs = document_get(call->document, "jobs");
	size_t count = jobs ? json_object_array_length(jobs) : 0;
	char line[1024] = "";

	if (!call->has_waited) {
		document_format(call->document, "text", "%s: 'poolctl wait %s' follows it", what, call->target.pool);
		return;
	}
	if (count > 0) {
		struct json_object *job = json_object_array_get_idx(jobs, count - 1);

		job_describe(job, line, sizeof(line));
		if (document_get_number(job, "cells_unrepaired") > 0)
			call->exit_code = EXIT_CODE_DAMAGE;
	}
	document_format(call->document, "text", "%s%s%s", what, line[0] ? ": " : "", line);
}

int replace_finish(struct call *call)
{
	char what[2 * LIBPOOL_PATH_MAX + 64];

	if (options_have(&call->options, OPTION_DRY_RUN))
		return 0;
	snprintf(what, sizeof(what), "%s disk %s by %s", call->has_waited ? "Replaced" : "Replacing",
		 document_get_text(call->document, "disk"), document_get_text(call->document, "new_disk"));
	describe_outcome(call, what);
	return 0;
}

int device_add_check(struct call *call)
{
	int code = 0;

	if (strcmp(call->operands[0], "log") != 0)
		return call_usage(call, "device add %s: '%s' is no role that disks can be added in: log", call->target.pool, call->operands[0]);
	for (size_t i = 1; i < call->operand_count && code == 0; i++)
		code = check_path(call, call->operands[i]);
	return code;
}

static int device_add(struct call *call, struct disk_files *files)
{
	struct json_object *params = json_object_new_object(), *disks = document_array(params, "disks");
	bool dry_run = options_have(&call->options, OPTION_DRY_RUN);
	int code = 0;

	if (options_have(&call->options, OPTION_CREATE_SIZE))
		code = disk_files_create(files, call->options.number[OPTION_CREATE_SIZE], &call->error);
	if (code < 0) {
		json_object_put(params);
		return code;
	}
	for (size_t i = 0; i < files->count; i++)
		json_object_array_add(disks, document_text_new(files->paths[i]));
	document_text(params, "role", call->operands[0]);
	document_flag(params, "force", options_have(&call->options, OPTION_FORCE));
	document_flag(params, "dry_run", dry_run);
	code = call_ask(call, "device.add", params);
	/* After an error nobody here knows whether one of them is part of the pool: what flushes wait for must not be removed. */
	if (dry_run)
		disk_files_undo(files);
	return code;
}

int device_add_work(struct call *call)
{
	struct disk_files files;
	int code = disk_files_init(&files, call->operands + 1, call->operand_count - 1, &call->error);

	if (code < 0)
		return code;
	size_t count = files.count;
	code = device_add(call, &files);
	disk_files_release(&files);
	if (code < 0)
		return code;
	document_format(call->document, "text", "%s %zu log disk%s to pool %s",
			options_have(&call->options, OPTION_DRY_RUN) ? "Would add" : "Added", count, count == 1 ? "" : "s", call->target.pool);
	return 0;
}

int device_remove_work(struct call *call)
{
	int code = call_ask(call, "device.remove", disk_params(call));

	if (code < 0)
		return code;
	document_format(call->document, "text", "%s log disk %s from pool %s",
			options_have(&call->options, OPTION_DRY_RUN) ? "Would remove" : "Removed",
			document_get_text(call->document, "disk"), call->target.pool);
	return 0;
}

/* Nothing that it held is missed: there is nothing to catch up on. */
static bool is_log(struct call *call)
{
	return strcmp(document_get_text(call->document, "role"), "log") == 0;
}

int offline_work(struct call *call)
{
	int code = call_ask(call, "offline", disk_params(call));

	if (code < 0)
		return code;
	document_format(call->document, "text", is_log(call) ? "%s log disk %s offline: the log is elsewhere until 'poolctl online %s %s'" :
							       "%s disk %s offline: what it misses is caught up on by 'poolctl online %s %s'",
			options_have(&call->options, OPTION_DRY_RUN) ? "Would take" : "Took",
			document_get_text(call->document, "disk"), call->target.pool, call->operands[0]);
	return 0;
}

int online_work(struct call *call)
{
	struct json_object *params = disk_params(call);
	int code;

	if (call->operand_count > 1) {
		char *path = disk_path_absolute(call->operands[1]);

		document_text(params, "path", path ? path : call->operands[1]);
		free(path);
	}
	code = call_ask(call, "online", params);
	if (code < 0)
		return code;
	if (options_have(&call->options, OPTION_DRY_RUN))
		document_format(call->document, "text", "Would bring disk %s back", document_get_text(call->document, "disk"));
	else if (is_log(call))
		document_format(call->document, "text", "Brought log disk %s back", document_get_text(call->document, "disk"));
	else
		call->wait_kinds = JOB_BIT(LIBPOOL_JOB_RESYNC) | JOB_BIT(LIBPOOL_JOB_REBUILD);
	return 0;
}

int online_finish(struct call *call)
{
	char what[LIBPOOL_PATH_MAX + 64];

	if (options_have(&call->options, OPTION_DRY_RUN) || is_log(call))
		return 0;
	snprintf(what, sizeof(what), "Brought disk %s back%s", document_get_text(call->document, "disk"),
		 call->has_waited ? "" : ", what it missed is being caught up on");
	describe_outcome(call, what);
	return 0;
}

int clear_work(struct call *call)
{
	int code = call_ask(call, "clear", disk_params(call));
	const char *disk;

	if (code < 0)
		return code;
	disk = document_get_text(call->document, "disk");
	document_format(call->document, "text", "%s the error counters of %s%s",
			options_have(&call->options, OPTION_DRY_RUN) ? "Would clear" : "Cleared",
			disk[0] ? "disk " : "all disks of pool ", disk[0] ? disk : call->target.pool);
	return 0;
}
