/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The stages of a call on a pool that nobody owns. What must always hold: a pool that was opened is closed
 * on every path, also after an error or an interruption, so that its state is committed and its disks are
 * free.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/call.h"
#include "cli/document.h"
#include "cli/errors.h"
#include "cli/pools.h"
#include "cli/text.h"
#include "cli/wait.h"

int call_usage(struct call *call, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(call->error.text, sizeof(call->error.text), format, arguments);
	va_end(arguments);
	call->error.code = -EINVAL;
	call->exit_code = EXIT_CODE_USAGE;
	return -EINVAL;
}

/* Asks on the terminal. 0 or a negative code. */
static int confirm(struct call *call)
{
	const char *question = call->verb->question ? call->verb->question(call) : NULL;
	char answer[16] = "", target[TARGET_TEXT_MAX];

	if (!question || options_have(&call->options, OPTION_YES) ||
	    options_have(&call->options, OPTION_DRY_RUN))
		return 0;
	target_print(&call->target, target);
	if (!isatty(STDIN_FILENO) || !isatty(STDERR_FILENO))
		return call_usage(
		    call, "%s %s asks before it goes on, and there is no terminal to ask on: add --yes",
		    call->verb->name, target);
	fprintf(stderr, "%s %s: %s Type yes to go on: ", call->verb->name, target, question);
	if (!fgets(answer, sizeof(answer), stdin) || strcmp(answer, "yes\n") != 0)
		return error_set(&call->error, -ECANCELED, "%s %s: not confirmed, nothing was changed",
				 call->verb->name, target);
	return 0;
}

int call_import(struct call *call, const char *name, uint32_t read_only, struct session *session, struct libpool_error *error)
{
	struct libpool_import_options import = {.size = sizeof(import), .name = name, .read_only = read_only};
	struct libpool_found found;
	int code;

	/* With other verbs --force is about disks or files. */
	import.force = (strcmp(call->verb->name, "import") == 0 || strcmp(call->verb->name, "serve") == 0) &&
		       options_have(&call->options, OPTION_FORCE);
	import.destroyed = options_have(&call->options, OPTION_DESTROYED);
	import.rewind_txg = call->options.number[OPTION_REWIND];
	import.missing_log = options_have(&call->options, OPTION_MISSING_LOG);
	import.no_verify = options_have(&call->options, OPTION_NO_VERIFY);
	code = session_import(session, call->host, &import, error);
	if (code == -ENOENT && pools_find(call->host, name, &found, NULL) == -ENOENT)
		return pools_not_found(call->host, name, error);
	return error_complete(error, code, "importing pool %s", name);
}

/* A dry run of what is to be done for good. */
static int rehearse(struct call *call)
{
	struct libpool_import_options import = {.size = sizeof(import), .name = call->target.pool, .read_only = 2};
	bool runs_dry = call->verb->options & OPTION_BIT(DRY_RUN);
	struct call trial = *call;
	int code;

	if (call->verb->open != OPEN_WRITE || !(runs_dry || call->verb->rehearse) || options_have(&call->options, OPTION_DRY_RUN))
		return 0;
	trial.options.given |= OPTION_BIT(DRY_RUN);
	trial.rehearses = true;
	trial.error = (struct libpool_error){0};
	code = session_import(&trial.session, call->host, &import, &trial.error);
	if (code < 0 && code != -LIBPOOL_EINUSE)
		return 0; /* the import itself tells why */
	if (code == 0) {
		trial.document = document_new(call->verb->name);
		code = runs_dry ? call->verb->work(&trial) : call->verb->rehearse(&trial);
		session_close(&trial.session, NULL);
		json_object_put(trial.document);
	}
	if (code < 0) {
		call->error = trial.error;
		call->exit_code = trial.exit_code;
	}
	return code;
}

static int open_pool(struct call *call)
{
	bool looks = call->verb->open == OPEN_READ || options_have(&call->options, OPTION_READ_ONLY);
	uint32_t read_only = looks ? 1 : options_have(&call->options, OPTION_DRY_RUN) ? 2 : 0;
	int code = session_join(&call->session, call->target.pool, &call->error);

	if (code != -ENOENT)
		return error_complete(&call->error, code, "asking the process that has pool %s imported", call->target.pool);
	/* An import and an export are commits: what is refused is refused before them. */
	code = rehearse(call);
	return code < 0 ? code : call_import(call, call->target.pool, read_only, &call->session, &call->error);
}

/* What the pool's history is to say. */
static void add_note(const struct call *call, struct json_object *params)
{
	char text[2 * LIBPOOL_TEXT_MAX] = "", target[TARGET_TEXT_MAX];

	target_print(&call->target, target);
	text_append(text, sizeof(text), "poolctl %s %s", call->verb->name, target);
	for (size_t i = 0; i < call->operand_count; i++)
		text_append(text, sizeof(text), " %s", call->operands[i]);
	for (int i = 0; i < OPTION_COUNT; i++) {
		if (!options_have(&call->options, i) || (OPTIONS_COMMON >> i & 1))
			continue;
		text_append(text, sizeof(text), " --%s%s%s", option_descriptions[i].name,
			    call->options.text[i] ? "=" : "",
			    call->options.text[i] ? call->options.text[i] : "");
	}
	document_text(params, "note", text);
}

int call_request(struct call *call, const struct call_request *request)
{
	struct json_object *params = request->params ? request->params : json_object_new_object(), *result = NULL;
	struct progress progress;
	struct connection_request asked = {
	    .method = request->method,
	    .params = params,
	    .descriptor = request->descriptor,
	    .progress = request->what ? &progress : NULL,
	    .timeout_ms = -1,
	};
	int code;

	if (call->verb->changes && !request->into && strcmp(request->method, "wait") != 0)
		add_note(call, params);
	if (request->what)
		progress_begin(&progress, request->what, options_have(&call->options, OPTION_JSON));
	code = connection_call(&call->session.connection, &asked, &result, &call->error);
	if (request->what)
		progress_end(&progress);
	if (code < 0)
		return error_complete(&call->error, code, "%s %s", call->verb->name, call->target.pool);
	document_merge(request->into ? request->into : call->document, result);
	json_object_put(result);
	return 0;
}

int call_ask(struct call *call, const char *method, struct json_object *params)
{
	struct call_request request = {.method = method, .params = params, .descriptor = -1};

	return call_request(call, &request);
}

int call_emit(struct call *call, struct json_object *part)
{
	if (call->json)
		puts(json_object_to_json_string_ext(part, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
	else
		call->verb->print_part(call, part);
	call->parts++;
	if (fflush(stdout) == 0 && !ferror(stdout))
		return 0;
	return error_set(&call->error, -EIO, "writing to the standard output: %s", strerror(errno));
}

/* The first error counts: one of closing is reported only when all went well before. */
static int close_pool(struct call *call, int code)
{
	struct libpool_error error = {0};
	int closed;

	if (!call->session.is_open)
		return code;
	closed = session_close(&call->session, &error);
	if (code < 0 || closed == 0)
		return code;
	error_complete(&error, closed, "exporting pool %s", call->target.pool);
	call->error = error;
	return closed;
}

/* Jobs need an owner of the pool; until one takes over, that is this process. */
static void note_that_it_stays(const struct call *call)
{
	if (!call->session.is_owned && !options_have(&call->options, OPTION_WAIT) && !options_have(&call->options, OPTION_JSON))
		fprintf(stderr,
			"Nobody else has pool %s imported, so this command stays until its job is done.\n",
			call->target.pool);
}

/* Whether the verb stays until what it started is done: whoever imported the pool for that has to. */
static bool stays(const struct call *call)
{
	return call->wait_kinds && (!call->session.is_owned || options_have(&call->options, OPTION_WAIT));
}

int call_run(struct call *call)
{
	const struct verb *verb = call->verb;
	const char *selection = call->options.text[OPTION_COLUMNS];
	struct timespec now;
	int code = 0;

	clock_gettime(CLOCK_REALTIME, &now);
	call->begun_ns = (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
	call->exit_code = EXIT_CODE_SUCCESS;
	if (selection && verb->columns && table_check_selection(verb->columns, selection, &call->error) < 0) {
		call->exit_code = EXIT_CODE_USAGE;
		return -EINVAL;
	}
	if (verb->check && verb->check(call) < 0) {
		call->exit_code = EXIT_CODE_USAGE;
		return -EINVAL;
	}
	code = confirm(call);
	if (code < 0)
		goto out;
	if (verb->open != OPEN_NONE && call->target.pool[0])
		code = open_pool(call);
	if (code == 0)
		code = verb->work(call);
	if (code == 0 && stays(call)) {
		note_that_it_stays(call);
		code = wait_for_jobs(call, call->wait_kinds);
		call->has_waited = true;
	}
	if (code == 0 && verb->finish)
		code = verb->finish(call);
	code = close_pool(call, code);
out:
	if (code < 0 && call->exit_code == EXIT_CODE_SUCCESS)
		call->exit_code = EXIT_CODE_FAILURE;
	if (code < 0)
		error_complete(&call->error, code, "%s %s", verb->name, call->target.pool);
	return code;
}
