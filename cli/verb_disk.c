/* replace, offline, online, clear: what is done to one disk of a pool. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/disk_files.h"
#include "cli/document.h"
#include "cli/errors.h"
#include "cli/jobs.h"
#include "cli/verbs.h"

/* A disk as the library takes it, whatever is known of it. */
static void by_index(const struct libpool_disk_info *disk, char text[16])
{
	snprintf(text, 16, "#%u", disk->index);
}

/* Finds the disk that the operand names and begins the document with pool, disk and dry_run. */
static int begin(struct call *call, struct libpool_disk_info *ret_disk, char index[16],
		 char display[LIBPOOL_PATH_MAX])
{
	int code = disk_find(call->pool, call->operands[0], ret_disk, &call->error);

	if (code < 0)
		return code;
	by_index(ret_disk, index);
	disk_display(ret_disk, display);
	document_text(call->document, "pool", call->target.pool);
	document_text(call->document, "disk", display);
	document_guid(call->document, "disk_id", ret_disk->guid);
	document_flag(call->document, "dry_run", options_have(&call->options, OPTION_DRY_RUN));
	return 0;
}

static int replace(struct call *call, const char *old_disk, struct disk_files *files)
{
	struct libpool_replace_options options = {.size = sizeof(options)};
	int code = 0;

	if (options_have(&call->options, OPTION_CREATE_SIZE))
		code = disk_files_create(files, call->options.number[OPTION_CREATE_SIZE], &call->error);
	if (code < 0)
		return code;
	options.old_disk = old_disk;
	options.new_disk = files->paths[0];
	options.force = options_have(&call->options, OPTION_FORCE);
	options.dry_run = options_have(&call->options, OPTION_DRY_RUN);
	code = libpool_disk_replace(call->pool, &options, &call->error);
	if (code < 0 || options.dry_run)
		disk_files_undo(files);
	return error_complete(&call->error, code, "replacing disk %s of pool %s", call->operands[0],
			      call->target.pool);
}

int replace_work(struct call *call)
{
	char index[16], display[LIBPOOL_PATH_MAX];
	struct libpool_disk_info disk;
	struct disk_files files;
	int code = begin(call, &disk, index, display);

	if (code == 0)
		code = disk_files_init(&files, call->operands + 1, 1, &call->error);
	if (code < 0)
		return code;
	code = replace(call, index, &files);
	document_text(call->document, "new_disk", files.paths[0]);
	disk_files_release(&files);
	if (code < 0)
		return code;
	if (options_have(&call->options, OPTION_DRY_RUN)) {
		document_format(call->document, "text", "Would replace disk %s of pool %s by %s", display,
				call->target.pool, document_get_text(call->document, "new_disk"));
		return 0;
	}
	call->wait_kinds = JOB_BIT(LIBPOOL_JOB_REBUILD);
	return 0;
}

/* "Replaced ...: rebuild finished ..."; exit code 3 when cells could not be rebuilt. */
static void describe_outcome(struct call *call, const char *what)
{
	struct json_object *jobs = document_get(call->document, "jobs");
	size_t count = jobs ? json_object_array_length(jobs) : 0;
	char line[1024] = "";

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
	snprintf(what, sizeof(what), "Replaced disk %s by %s", document_get_text(call->document, "disk"),
		 document_get_text(call->document, "new_disk"));
	describe_outcome(call, what);
	return 0;
}

int offline_work(struct call *call)
{
	char index[16], display[LIBPOOL_PATH_MAX];
	struct libpool_disk_info disk;
	bool dry_run = options_have(&call->options, OPTION_DRY_RUN);
	int code = begin(call, &disk, index, display);

	if (code < 0)
		return code;
	code = libpool_disk_offline(call->pool, index, &call->error);
	if (dry_run && code == -EROFS) { /* a dry run imports read-only, and nothing else is in the way */
		call->error = (struct libpool_error){0};
		code = 0;
	}
	if (code < 0)
		return error_complete(&call->error, code, "taking disk %s of pool %s offline", display,
				      call->target.pool);
	document_format(call->document, "text",
			"%s disk %s offline: what it misses is caught up on by 'poolctl online %s %s'",
			dry_run ? "Would take" : "Took", display, call->target.pool, index);
	return 0;
}

int online_work(struct call *call)
{
	char index[16], display[LIBPOOL_PATH_MAX], *path = NULL;
	struct libpool_disk_info disk;
	int code = begin(call, &disk, index, display);

	if (code < 0)
		return code;
	if (options_have(&call->options, OPTION_DRY_RUN)) {
		document_format(call->document, "text", "Would bring disk %s back", display);
		return 0;
	}
	if (call->operand_count > 1)
		path = disk_path_absolute(call->operands[1]);
	code = libpool_disk_online(call->pool, index, path, &call->error);
	free(path);
	if (code < 0)
		return error_complete(&call->error, code, "bringing disk %s of pool %s back", display,
				      call->target.pool);
	call->wait_kinds = JOB_BIT(LIBPOOL_JOB_RESYNC) | JOB_BIT(LIBPOOL_JOB_REBUILD);
	return 0;
}

int online_finish(struct call *call)
{
	char what[LIBPOOL_PATH_MAX + 64];

	if (options_have(&call->options, OPTION_DRY_RUN))
		return 0;
	snprintf(what, sizeof(what), "Brought disk %s back", document_get_text(call->document, "disk"));
	describe_outcome(call, what);
	return 0;
}

int clear_work(struct call *call)
{
	bool dry_run = options_have(&call->options, OPTION_DRY_RUN);
	char index[16] = "", display[LIBPOOL_PATH_MAX] = "";
	struct libpool_disk_info disk;
	int code = call->operand_count > 0 ? begin(call, &disk, index, display) : 0;

	if (code == 0 && !dry_run)
		code = libpool_clear(call->pool, index[0] ? index : NULL, &call->error);
	if (code < 0)
		return error_complete(&call->error, code, "clearing the counters of pool %s",
				      call->target.pool);
	document_text(call->document, "pool", call->target.pool);
	document_format(call->document, "text", "%s the error counters of %s%s",
			dry_run ? "Would clear" : "Cleared", display[0] ? "disk " : "all disks of pool ",
			display[0] ? display : call->target.pool);
	return 0;
}
