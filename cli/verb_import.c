/* SPDX-License-Identifier: BSD-2-Clause */
/* import, export, wait. An imported pool belongs to a process in the background, 'poolctl serve', until it is exported. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli/document.h"
#include "cli/errors.h"
#include "cli/jobs.h"
#include "cli/pools.h"
#include "cli/text.h"
#include "cli/verbs.h"
#include "cli/wait.h"

const char *import_question(const struct call *call)
{
	if (options_have(&call->options, OPTION_READ_ONLY))
		return NULL;
	if (!options_have(&call->options, OPTION_REWIND))
		return options_have(&call->options, OPTION_MISSING_LOG) ?
			       "Go on without the missing log disks? If they have the only copy, what was flushed last is lost for good; attached, they give it back." :
			       NULL;
	return "Go back to an older state of this pool? Everything that was written after it is discarded.";
}

int import_check(struct call *call)
{
	if (!call->target.pool[0] &&
	    (options_have(&call->options, OPTION_FORCE) || options_have(&call->options, OPTION_REWIND) ||
	     options_have(&call->options, OPTION_READ_ONLY) || options_have(&call->options, OPTION_MISSING_LOG) ||
	     options_have(&call->options, OPTION_NO_VERIFY)))
		return call_usage(call, "import: --force, --rewind, --missing-log, --no-verify and --read-only need the name of a pool");
	return 0;
}

/* It must not be imported yet. */
static int check_is_free(struct call *call)
{
	struct session session;
	struct libpool_error ignored;

	if (session_join(&session, call->target.pool, &ignored) != 0)
		return 0;
	error_set(&call->error, -LIBPOOL_EINUSE, "import %s: process %llu has it imported already: 'poolctl export %s' releases it",
		  call->target.pool, (unsigned long long)session.owner.pid, call->target.pool);
	session_close(&session, NULL);
	return -LIBPOOL_EINUSE;
}

/* -n: imports it read-only for a moment, from disks that the import could write to. */
static int try_import(struct call *call)
{
	struct json_object *status = json_object_new_object(), *pool, *document = call->document;
	struct call_request request = {.method = "status", .descriptor = -1, .into = status};
	static const char *const taken[] = {"pool", "id", "state", "problem", "txg", "read_only"};
	uint32_t read_only = options_have(&call->options, OPTION_READ_ONLY) ? 1 : 2;
	int code = call_import(call, call->target.pool, read_only, &call->session, &call->error);

	if (code == 0)
		code = call_request(call, &request);
	pool = code == 0 ? json_object_array_get_idx(document_get(status, "pools"), 0) : NULL;
	for (size_t i = 0; pool && i < sizeof(taken) / sizeof(taken[0]); i++)
		json_object_object_add(document, taken[i], json_object_get(document_get(pool, taken[i])));
	json_object_put(status);
	document_flag(document, "read_only", options_have(&call->options, OPTION_READ_ONLY));
	return code;
}

/* "Imported pool tank, which is healthy." */
static void describe(struct call *call)
{
	struct json_object *document = call->document;
	bool dry_run = options_have(&call->options, OPTION_DRY_RUN), read_only = options_have(&call->options, OPTION_READ_ONLY);
	const char *problem = document_get_text(document, "problem"), *pool = document_get_text(document, "pool");
	uint64_t rewind = call->options.number[OPTION_REWIND];
	char back[80] = "";

	document_flag(document, "dry_run", dry_run);
	if (rewind) {
		document_number(document, "rewind_txg", rewind);
		snprintf(back, sizeof(back), " It %s to txg %llu.",
			 dry_run     ? "would go back"
			 : read_only ? "is shown as it was: back"
				     : "went back",
			 (unsigned long long)rewind);
	}
	if (dry_run)
		document_format(document, "text", "Pool %s can be imported%s: it is %s%s%s.%s", pool, read_only ? " (read-only)" : "",
				document_get_text(document, "state"), problem[0] ? ", " : "", problem, back);
	else
		document_format(document, "text",
				"Imported pool %s%s: it is %s%s%s.%s Process %llu keeps it until 'poolctl export %s'", pool,
				read_only ? " (read-only)" : "", document_get_text(document, "state"), problem[0] ? ", " : "",
				problem, back, (unsigned long long)document_get_number(document, "pid"), pool);
}

int import_work(struct call *call)
{
	int code;

	if (!call->target.pool[0])
		return list_pools(call, true);
	code = check_is_free(call);
	if (code == 0)
		code = options_have(&call->options, OPTION_DRY_RUN) ? try_import(call) : serve_in_background(call);
	if (code == 0)
		describe(call);
	return code;
}

void import_print(struct call *call)
{
	if (call->target.pool[0])
		print_text(call);
	else
		list_print(call);
}

/* ---- export ---- */

/* Nobody serves it: what can be said about that. */
static int export_unowned(struct call *call)
{
	struct libpool_found found;
	int code = pools_find(call->host, call->target.pool, &found, &call->error);

	if (code < 0)
		return code;
	if (found.in_use)
		return error_set(
		    &call->error, -LIBPOOL_EINUSE,
		    "export %s: another process uses it and can't be asked: wait until it is done, or end it",
		    call->target.pool);
	document_text(call->document, "pool", found.name);
	document_flag(call->document, "clean", found.clean);
	if (found.clean)
		document_format(call->document, "text", "Pool %s is not imported: nothing to export",
				found.name);
	else
		document_format(
		    call->document, "text",
		    "Pool %s is not imported: nothing to export. Its last owner ended without exporting it; "
		    "the next import tidies that up",
		    found.name);
	return 0;
}

/* "a by nbdkit pid 12, b by ...": whom --force takes it from. */
static int list_users(struct call *call, char *text, size_t room)
{
	struct json_object *status = json_object_new_object(), *users;
	struct call_request request = {.method = "status", .descriptor = -1, .into = status};
	int code = call_request(call, &request);

	text[0] = '\0';
	users = code == 0 ? document_get(json_object_array_get_idx(document_get(status, "pools"), 0), "users") : NULL;
	for (size_t i = 0; users && i < json_object_array_length(users); i++) {
		struct json_object *user = json_object_array_get_idx(users, i);

		text_append(text, room, "%s%s by %s", i ? ", " : "", document_get_text(user, "dataset"), document_get_text(user, "user"));
	}
	json_object_put(status);
	return code;
}

int export_work(struct call *call)
{
	bool force = options_have(&call->options, OPTION_FORCE);
	struct json_object *params;
	char users[1024];
	int code = session_join(&call->session, call->target.pool, &call->error);

	if (code == -ENOENT)
		return export_unowned(call);
	if (code == 0)
		code = list_users(call, users, sizeof(users));
	if (code < 0)
		return code;
	params = json_object_new_object();
	document_flag(params, "force", force);
	code = call_ask(call, "export", params);
	if (code == -LIBPOOL_EINUSE && !force)
		text_append(call->error.text, sizeof(call->error.text),
			    "; --force exports it all the same: their reads and writes fail from then on");
	if (code < 0)
		return code;
	document_format(call->document, "text", "Exported pool %s%s%s", document_get_text(call->document, "pool"),
			users[0] ? ", although it was in use: reads and writes fail now for " : "", users);
	return 0;
}

/* ---- wait ---- */

int wait_check(struct call *call)
{
	for (size_t i = 0; i < call->operand_count; i++) {
		if (!job_kind_bit(call->operands[i]))
			return call_usage(
			    call, "wait %s: there are no jobs called '%s': name scrub, rebuild, resync, verify or trim",
			    call->target.pool, call->operands[i]);
	}
	return 0;
}

int wait_work(struct call *call)
{
	uint32_t kinds = 0;

	for (size_t i = 0; i < call->operand_count; i++)
		kinds |= job_kind_bit(call->operands[i]);
	return wait_for_jobs(call, kinds);
}

int wait_finish(struct call *call)
{
	struct json_object *jobs = document_get(call->document, "jobs");
	char text[4096] = "", line[1024];

	for (size_t i = 0; i < json_object_array_length(jobs); i++) {
		job_describe(json_object_array_get_idx(jobs, i), line, sizeof(line));
		text_append(text, sizeof(text), "%s%s", text[0] ? "\n" : "", line);
	}
	document_text(call->document, "text", text[0] ? text : "No jobs to wait for");
	return 0;
}
