/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * serve: the process that has a pool imported, and how import starts it in the background. What must always hold: a pool that was
 * imported is exported on every path, and whoever started this knows whether it is served before going on.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/document.h"
#include "cli/errors.h"
#include "cli/importing.h"
#include "cli/interrupt.h"
#include "cli/notify.h"
#include "cli/pools.h"
#include "cli/verbs.h"

#define READY_VARIABLE "POOLCTL_READY" /* number of a descriptor: import waits at its other end */
#define ANSWER_MAX     65536u
#define ARGUMENTS_MAX  (2 * FOLDERS_MAX + 2 * OPTION_COUNT + 8)

/* ---- serve ---- */

int serve_check(struct call *call)
{
	struct libpool_error error;
	char folder[LIBPOOL_PATH_MAX];

	if (options_have(&call->options, OPTION_SOCKET) && !call->options.text[OPTION_SOCKET][0])
		return call_usage(call, "%s %s: --socket is empty: give the path of the socket, or leave the option out", call->verb->name,
				  call->target.pool);
	if (options_have(&call->options, OPTION_SOCKET))
		return 0;
	if (libpool_control_folder(folder, sizeof(folder), &error) < 0)
		return call_usage(call, "%s %s: %s", call->verb->name, call->target.pool, error.text);
	return 0;
}

static int import(struct call *call, libpool_pool **ret_pool)
{
	struct libpool_import_options options = {
	    .size = sizeof(options),
	    .name = call->target.pool,
	    .read_only = options_have(&call->options, OPTION_READ_ONLY),
	    .force = options_have(&call->options, OPTION_FORCE),
	    .destroyed = options_have(&call->options, OPTION_DESTROYED),
	    .rewind_txg = call->options.number[OPTION_REWIND],
	    .missing_log = options_have(&call->options, OPTION_MISSING_LOG),
	    .no_verify = options_have(&call->options, OPTION_NO_VERIFY),
	};
	struct libpool_found found;
	int code = import_pool(call->host, &options, ret_pool, &call->error);

	if (code == -ENOENT && pools_find(call->host, call->target.pool, &found, NULL) == -ENOENT)
		return pools_not_found(call->host, call->target.pool, &call->error);
	return error_complete(&call->error, code, "importing pool %s", call->target.pool);
}

static void wake(void *argument)
{
	eventfd_write(*(int *)argument, 1);
}

static int describe(struct call *call, libpool_pool *pool)
{
	static const char *const health[] = {"healthy", "degraded", "unusable"};
	struct libpool_pool_info info = {.size = sizeof(info)};
	int code = libpool_pool_info(pool, &info);

	if (code < 0)
		return error_complete(&call->error, code, "looking into pool %s", call->target.pool);
	document_text(call->document, "pool", info.name);
	document_guid(call->document, "id", info.guid);
	document_text(call->document, "state", health[info.health <= LIBPOOL_UNUSABLE ? info.health : LIBPOOL_UNUSABLE]);
	document_text(call->document, "problem", info.problem);
	document_number(call->document, "txg", info.txg);
	document_flag(call->document, "read_only", info.read_only);
	document_number(call->document, "pid", (uint64_t)getpid());
	return 0;
}

/* To import, if that started this process: how it went. Also the last thing to do with that descriptor. */
static void tell_starter(struct call *call, int code)
{
	const char *number = getenv(READY_VARIABLE), *text;
	ssize_t ignored;
	int descriptor;

	if (!number)
		return;
	descriptor = atoi(number);
	unsetenv(READY_VARIABLE);
	if (code < 0)
		document_error(call->document, &call->error);
	text = json_object_to_json_string_ext(call->document, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
	ignored = write(descriptor, text, strlen(text));
	(void)ignored;
	close(descriptor);
}

static void tell_ready(struct call *call)
{
	char status[LIBPOOL_NAME_MAX + 64];

	tell_starter(call, 0);
	snprintf(status, sizeof(status), "READY=1\nSTATUS=Pool %s is imported", call->target.pool);
	notify(status);
	if (call->json)
		return;
	printf("Pool %s is imported. SIGTERM, or 'poolctl export %s', ends this process and exports it.\n", call->target.pool,
	       call->target.pool);
	fflush(stdout);
}

/* Until a signal comes, or a client asks for the export. */
static int serve(struct call *call, libpool_pool *pool, int wakeup)
{
	struct libpool_control_options options = {
	    .size = sizeof(options),
	    .path = call->options.text[OPTION_SOCKET],
	    .export_asked = wake,
	    .argument = &wakeup,
	};
	libpool_control *control;
	int code = libpool_serve_control(pool, &options, &control, &call->error);

	if (code < 0) {
		libpool_close(pool, NULL);
		return code;
	}
	tell_ready(call);
	while (interrupt_wait(wakeup, POLLIN, -1, true) == -EAGAIN)
		continue;
	notify("STOPPING=1");
	code = libpool_control_close(control, &call->error);
	if (code < 0)
		return error_complete(&call->error, code, "exporting pool %s", call->target.pool);
	document_format(call->document, "text", "Exported pool %s", call->target.pool);
	return 0;
}

int serve_work(struct call *call)
{
	int wakeup = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), code;
	libpool_pool *pool = NULL;

	/* Others are told this name when they find the pool in use; started by import it would be "exe". */
	prctl(PR_SET_NAME, "poolctl");
	code = wakeup < 0 ? error_set(&call->error, -errno, "making an event: %s", strerror(errno)) : import(call, &pool);
	if (code == 0) {
		code = describe(call, pool);
		if (code < 0)
			libpool_close(pool, NULL);
	}
	if (code == 0)
		code = serve(call, pool, wakeup);
	if (code < 0)
		tell_starter(call, code);
	if (wakeup >= 0)
		close(wakeup);
	return code;
}

/* ---- import ---- */

/* "poolctl serve POOL" with the options of this call. */
static void fill_arguments(const struct call *call, char number[24], const char *arguments[ARGUMENTS_MAX])
{
	static const struct {
		enum option_id option;
		const char *text;
	} passed[] = {{OPTION_FORCE, "--force"}, {OPTION_READ_ONLY, "--read-only"}, {OPTION_DESTROYED, "--destroyed"},
		     {OPTION_MISSING_LOG, "--missing-log"}, {OPTION_NO_VERIFY, "--no-verify"}};
	size_t count = 0;

	arguments[count++] = "poolctl";
	for (size_t i = 0; i < call->host->folder_count; i++) {
		arguments[count++] = "--folder";
		arguments[count++] = call->host->folders[i];
	}
	if (call->host->no_devices)
		arguments[count++] = "--no-devices";
	arguments[count++] = "serve";
	arguments[count++] = call->target.pool;
	arguments[count++] = "--yes"; /* asked before, if there was something to ask */
	arguments[count++] = "--json";
	for (size_t i = 0; i < sizeof(passed) / sizeof(passed[0]); i++) {
		if (options_have(&call->options, passed[i].option))
			arguments[count++] = passed[i].text;
	}
	if (options_have(&call->options, OPTION_REWIND)) {
		snprintf(number, 24, "%llu", (unsigned long long)call->options.number[OPTION_REWIND]);
		arguments[count++] = "--rewind";
		arguments[count++] = number;
	}
	arguments[count] = NULL;
}

/* In the child: a session of its own, and nothing of what this process had open but the way back. */
static void become_owner(const char *const *arguments, int answer)
{
	int nothing = open("/dev/null", O_RDWR);
	char number[16];

	if (setsid() < 0 || chdir("/") != 0 || nothing < 0 || dup2(nothing, 0) < 0 || dup2(nothing, 1) < 0 || dup2(nothing, 2) < 0 ||
	    dup2(answer, 3) < 0)
		_exit(EXIT_CODE_FAILURE);
	close_range(4, ~0u, 0);
	snprintf(number, sizeof(number), "%d", 3);
	setenv(READY_VARIABLE, number, 1);
	unsetenv("NOTIFY_SOCKET"); /* of whoever started the command, which ends now */
	execv("/proc/self/exe", (char *const *)(uintptr_t)arguments);
	_exit(EXIT_CODE_FAILURE);
}

/* What it says, until it says no more. */
static int read_answer(int descriptor, char answer[ANSWER_MAX])
{
	size_t length = 0;

	for (;;) {
		int code = interrupt_wait(descriptor, POLLIN, -1, true);
		ssize_t step = code == 0 ? read(descriptor, answer + length, ANSWER_MAX - 1 - length) : 0;

		if (code < 0 && code != -EAGAIN)
			return code;
		if (code == 0 && step <= 0)
			break;
		length += (size_t)(step > 0 ? step : 0);
	}
	answer[length] = '\0';
	return 0;
}

static int take_answer(struct call *call, const char *answer)
{
	struct json_object *document = json_tokener_parse(answer), *failure;
	int code = 0;

	if (!document)
		return error_set(&call->error, -ECHILD, "import %s: the process that was to keep it imported ended before it was ready",
				 call->target.pool);
	failure = document_get(document, "error");
	if (failure)
		code = error_set(&call->error, -(int)document_get_number(failure, "code"), "%s", document_get_text(failure, "text"));
	else
		document_merge(call->document, document);
	json_object_put(document);
	return code;
}

int serve_in_background(struct call *call)
{
	const char *arguments[ARGUMENTS_MAX];
	char number[24], *answer;
	int ends[2], code = serve_check(call);
	pid_t child;

	if (code < 0)
		return code;
	fill_arguments(call, number, arguments);
	answer = malloc(ANSWER_MAX);
	if (!answer || pipe2(ends, O_CLOEXEC) != 0) {
		free(answer);
		return error_set(&call->error, -errno, "import %s: making a pipe: %s", call->target.pool, strerror(errno));
	}
	fflush(NULL);
	child = fork();
	if (child == 0)
		become_owner(arguments, ends[1]);
	close(ends[1]);
	code = child < 0 ? error_set(&call->error, -errno, "import %s: starting a process: %s", call->target.pool, strerror(errno))
			 : read_answer(ends[0], answer);
	close(ends[0]);
	if (code == -EINTR && child > 0)
		error_set(&call->error, code, "import %s was interrupted", call->target.pool);
	else if (code == 0)
		code = take_answer(call, answer);
	if (code < 0 && child > 0) {
		kill(child, SIGTERM);
		waitpid(child, NULL, 0);
	}
	free(answer);
	return code;
}
