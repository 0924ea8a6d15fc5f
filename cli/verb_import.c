/*
 * import, export, list, wait. As long as no process keeps pools imported, import means: see that the pool can
 * be imported, finish the jobs it has, and export it; and export finds nothing to do.
 */
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

const struct column list_columns[] = {
    {"name", "NAME", COLUMN_TEXT, false},
    {"state", "STATE", COLUMN_TEXT, false},
    {"profile", "PROFILE", COLUMN_TEXT, false},
    {"raw_bytes", "RAW", COLUMN_SIZE, false},
    {"disks", "DISKS", COLUMN_COUNT, false},
    {"disks_found", "FOUND", COLUMN_COUNT, false},
    {"time", "LAST-COMMIT", COLUMN_TIME, false},
    {"txg", "TXG", COLUMN_COUNT, true},
    {"clean", "EXPORTED", COLUMN_TEXT, true},
    {"other_host", "OTHER-HOST", COLUMN_TEXT, true},
    {"id", "ID", COLUMN_TEXT, true},
    {"problem", "PROBLEM", COLUMN_TEXT, false},
    {NULL, NULL, COLUMN_TEXT, false},
};

static const char *const find_note =
    "No pools were found. Folders with file-backed disks are searched when named with -d.";

static int list(struct call *call, bool importable_only)
{
	struct libpool_found *found = NULL;
	struct json_object *pools;
	size_t count = 0;
	int code = libpool_find(call->host, &found, &count, &call->error);

	if (code < 0)
		return code;
	pools = document_array(call->document, "pools");
	for (size_t i = 0; i < count; i++) {
		bool wanted = !found[i].destroyed || options_have(&call->options, OPTION_DESTROYED);

		if (importable_only && found[i].in_use)
			wanted = false;
		if (call->target.pool[0] && strcmp(found[i].name, call->target.pool) != 0)
			wanted = false;
		if (wanted)
			json_object_array_add(pools, found_document(&found[i]));
	}
	libpool_free(found);
	return 0;
}

int list_work(struct call *call)
{
	struct libpool_found found;
	int code;

	/* A pool that is named has to be there, and may be named by its id. */
	if (call->target.pool[0]) {
		code = pools_find(call->host, call->target.pool, &found, &call->error);
		if (code < 0 && code != -EEXIST)
			return code;
		if (code == 0) {
			json_object_array_add(document_array(call->document, "pools"),
					      found_document(&found));
			return 0;
		}
	}
	return list(call, false);
}

void list_print(struct call *call)
{
	if (json_object_array_length(document_get(call->document, "pools")) == 0 &&
	    !options_have(&call->options, OPTION_NO_HEADER))
		puts(find_note);
	else
		print_rows(call, "pools");
}

const char *import_question(const struct call *call)
{
	if (!options_have(&call->options, OPTION_REWIND) || options_have(&call->options, OPTION_READ_ONLY))
		return NULL;
	return "Go back to an older state of this pool? Everything that was written after it is discarded.";
}

int import_check(struct call *call)
{
	if (!call->target.pool[0] &&
	    (options_have(&call->options, OPTION_FORCE) || options_have(&call->options, OPTION_REWIND) ||
	     options_have(&call->options, OPTION_READ_ONLY)))
		return call_usage(call, "import: --force, --rewind and --read-only need the name of a pool");
	return 0;
}

int import_work(struct call *call)
{
	bool changes_nothing =
	    options_have(&call->options, OPTION_READ_ONLY) || options_have(&call->options, OPTION_DRY_RUN);

	if (!call->target.pool[0])
		return list(call, true);
	return changes_nothing ? 0 : wait_for_jobs(call, JOBS_ALL);
}

int import_finish(struct call *call)
{
	struct libpool_pool_info info = {.size = sizeof(info)};
	static const char *const health[] = {"healthy", "degraded", "unusable"};
	bool dry_run = options_have(&call->options, OPTION_DRY_RUN);
	uint64_t rewind = call->options.number[OPTION_REWIND];
	char back[80] = "";
	int code;

	if (!call->pool)
		return 0;
	code = libpool_pool_info(call->pool, &info);
	if (code < 0)
		return code;
	document_text(call->document, "pool", info.name);
	document_text(call->document, "state",
		      health[info.health <= LIBPOOL_UNUSABLE ? info.health : LIBPOOL_UNUSABLE]);
	document_text(call->document, "problem", info.problem);
	document_number(call->document, "txg", info.txg);
	document_flag(call->document, "dry_run", dry_run);
	if (rewind) {
		document_number(call->document, "rewind_txg", rewind);
		snprintf(back, sizeof(back), "It %s to txg %llu. ",
			 dry_run	  ? "would go back"
			 : info.read_only ? "was looked at as it was: back"
					  : "went back",
			 (unsigned long long)rewind);
	}
	document_format(
	    call->document, "text",
	    "Pool %s can be imported%s: it is %s%s%s. %sNothing keeps it imported, so it is exported again.",
	    info.name, info.read_only ? " (read-only)" : "",
	    health[info.health <= LIBPOOL_UNUSABLE ? info.health : LIBPOOL_UNUSABLE],
	    info.problem[0] ? ", " : "", info.problem, back);
	return 0;
}

void import_print(struct call *call)
{
	if (call->target.pool[0])
		print_text(call);
	else
		list_print(call);
}

int export_work(struct call *call)
{
	struct libpool_found found;
	int code = pools_find(call->host, call->target.pool, &found, &call->error);

	if (code < 0)
		return code;
	if (found.in_use)
		return error_set(
		    &call->error, -LIBPOOL_EINUSE,
		    "export %s: another process has it imported and can't be asked: end that process",
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
		    "'poolctl import %s' tidies that up",
		    found.name, found.name);
	return 0;
}

int wait_check(struct call *call)
{

	for (size_t i = 0; i < call->operand_count; i++) {
		if (!job_kind_bit(call->operands[i]))
			return call_usage(
			    call, "wait %s: there are no jobs called '%s': name scrub, rebuild or resync",
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

	document_text(call->document, "pool", call->target.pool);
	for (size_t i = 0; i < json_object_array_length(jobs); i++) {
		job_describe(json_object_array_get_idx(jobs, i), line, sizeof(line));
		text_append(text, sizeof(text), "%s%s", text[0] ? "\n" : "", line);
	}
	document_text(call->document, "text", text[0] ? text : "No jobs to wait for");
	return 0;
}
