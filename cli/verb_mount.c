/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * mount and unmount. libpool-fuse has the pool imported and serves all its mounts: it is asked through its socket, and started where
 * nobody has the pool. One that only keeps the pool imported (poolctl serve) hands it over, if nothing of it is in use.
 */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/document.h"
#include "cli/errors.h"
#include "cli/interrupt.h"
#include "cli/mount_list.h"
#include "cli/verbs.h"

#define PROGRAM	      "libpool-fuse"
#define ANSWER_MAX    4096u
#define ARGUMENTS_MAX (2 * FOLDERS_MAX + 12)
#define END_MS	      120000
#define ALIVE_MS      5000u
#define TRIES_MAX     5u

/* ---- libpool-fuse ---- */

static size_t fill_common(const struct call *call, const char *arguments[ARGUMENTS_MAX])
{
	size_t count = 0;

	arguments[count++] = PROGRAM;
	for (size_t i = 0; i < call->host->folder_count; i++) {
		arguments[count++] = "-d";
		arguments[count++] = call->host->folders[i];
	}
	if (call->host->no_devices)
		arguments[count++] = "-n";
	return count;
}

static void fill_arguments(const struct call *call, bool keep, bool read_only, const char *arguments[ARGUMENTS_MAX])
{
	size_t count = fill_common(call, arguments);

	if (keep)
		arguments[count++] = "-k";
	if (read_only) {
		arguments[count++] = "-o";
		arguments[count++] = "ro";
	}
	arguments[count++] = call->target.pool;
	arguments[count] = NULL;
}

/* In the child. It lies beside this program, or where programs are searched for. */
static void become_server(const char *const *arguments, int answer)
{
	char path[PATH_MAX];
	ssize_t length = readlink("/proc/self/exe", path, sizeof(path) - sizeof(PROGRAM));
	char *slash;

	if (dup2(answer, 2) < 0)
		_exit(EXIT_CODE_FAILURE);
	unsetenv("NOTIFY_SOCKET"); /* of whoever started the command, which ends now */
	path[length > 0 ? length : 0] = '\0';
	slash = strrchr(path, '/');
	if (slash) {
		strcpy(slash + 1, PROGRAM);
		execv(path, (char *const *)(uintptr_t)arguments);
	}
	execvp(PROGRAM, (char *const *)(uintptr_t)arguments);
	dprintf(2, "%s: %s can't be started: %s; it has to be beside poolctl or in PATH\n", PROGRAM, PROGRAM, strerror(errno));
	_exit(EXIT_CODE_FAILURE);
}

/* Its last words, on one line. */
static void read_answer(int descriptor, char answer[ANSWER_MAX])
{
	size_t length = 0;
	ssize_t step;

	while ((step = read(descriptor, answer + length, ANSWER_MAX - 1 - length)) > 0)
		length += (size_t)step;
	while (length && answer[length - 1] == '\n')
		length--;
	answer[length] = '\0';
	for (char *end = answer; (end = strchr(end, '\n'));)
		*end = ' ';
}

/* Until it ends, or is in the background. */
static int run_server(struct call *call, const char *const *arguments)
{
	char answer[ANSWER_MAX];
	int ends[2], status = 0;
	pid_t child;

	if (pipe2(ends, O_CLOEXEC) != 0)
		return error_set(&call->error, -errno, "mount %s: making a pipe: %s", call->target.pool, strerror(errno));
	fflush(NULL);
	child = fork();
	if (child == 0)
		become_server(arguments, ends[1]);
	close(ends[1]);
	read_answer(ends[0], answer);
	close(ends[0]);
	if (child < 0 || waitpid(child, &status, 0) < 0)
		return error_set(&call->error, -errno, "mount %s: starting a process: %s", call->target.pool, strerror(errno));
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	const char *prefix = PROGRAM ": ", *text = strncmp(answer, prefix, strlen(prefix)) == 0 ? answer + strlen(prefix) : answer;
	return error_set(&call->error, -ECHILD, "%.900s", text[0] ? text : "libpool-fuse(8) ended before it was ready");
}

/* Returns when the pool is imported and the process that serves it is in the background. */
static int start_server(struct call *call, bool keep, bool read_only)
{
	const char *arguments[ARGUMENTS_MAX];
	struct libpool_error reason;
	int code;

	fill_arguments(call, keep, read_only, arguments);
	code = run_server(call, arguments);
	reason = call->error;
	return code < 0 ? error_set(&call->error, code, "mount %s: %.900s", call->target.pool, reason.text) : 0;
}

/* ---- mount ---- */

/* For libpool-fuse; to be freed. */
static char *options_list(const struct call *call)
{
	const char *options = call->options.text[OPTION_MOUNT_OPTIONS];
	bool volumes = options_have(&call->options, OPTION_VOLUMES);
	char *list;

	return asprintf(&list, "%s%s%s", volumes ? "volumes" : "", volumes && options ? "," : "", options ? options : "") < 0 ? NULL : list;
}

/* What is refused on a pool that nobody has imported is refused before it is imported, and leaves its disks as they are. */
static int rehearse(struct call *call, const char *directory)
{
	const char *arguments[ARGUMENTS_MAX];
	size_t count = fill_common(call, arguments);
	char source[TARGET_TEXT_MAX], *list = options_list(call);
	int code = list ? 0 : error_set(&call->error, -ENOMEM, "no memory for the options");

	target_print(&call->target, source);
	arguments[count++] = "--dry-run";
	arguments[count++] = "-o";
	arguments[count++] = list;
	arguments[count++] = source;
	arguments[count++] = directory;
	arguments[count] = NULL;
	if (code == 0)
		code = run_server(call, arguments);
	free(list);
	return code;
}

static int ask(struct call *call, const char *directory)
{
	struct json_object *params = json_object_new_object();
	char *list = options_list(call);

	document_text(params, "dataset", call->target.volume);
	document_text(params, "directory", directory);
	if (list && list[0])
		document_text(params, "options", list);
	free(list);
	return call_ask(call, "mount", params);
}

/* Until the pool is exported. */
static void wait_for_export(struct call *call)
{
	connection_await_end(&call->session.connection, END_MS);
}

/* What libpool-fuse couldn't take is kept imported as it was before; what is said is why it couldn't. */
static void take_back(struct call *call, bool read_only)
{
	struct libpool_error reason = call->error;
	struct json_object *document = call->document;

	call->document = json_object_new_object();
	call->options.given |= (uint64_t)read_only << OPTION_READ_ONLY;
	(void)serve_in_background(call);
	json_object_put(call->document);
	call->document = document;
	call->error = reason;
}

/* Until it can be imported by another process. */
static int hand_over(struct call *call)
{
	struct json_object *params = json_object_new_object();
	bool read_only = call->session.owner.read_only;
	int code;

	document_flag(params, "force", false);
	code = call_ask(call, "export", params);
	session_close(&call->session, NULL);
	if (code < 0)
		return code;
	code = start_server(call, true, read_only);
	if (code < 0)
		take_back(call, read_only);
	return code;
}

static int join_and_ask(struct call *call, const char *directory)
{
	int code = session_join(&call->session, call->target.pool, &call->error);

	if (code == -ENOENT) {
		code = rehearse(call, directory);
		if (code == 0)
			code = start_server(call, false, false);
		if (code == 0)
			code = session_join(&call->session, call->target.pool, &call->error);
	}
	return code < 0 ? code : ask(call, directory);
}

/* Options, for one, are refused without a word about what was to be mounted. */
static int say_where(struct call *call, int code, const char *directory)
{
	struct libpool_error *error = &call->error, reason = *error;
	char what[TARGET_TEXT_MAX], pool[LIBPOOL_NAME_MAX + 8], mount[LIBPOOL_NAME_MAX + 8];

	error_complete(error, code, "mounting at %.200s", directory);
	target_print(&call->target, what);
	snprintf(pool, sizeof(pool), "pool %s", call->target.pool);
	snprintf(mount, sizeof(mount), "mount %s", call->target.pool);
	if (reason.text[0] && !strstr(reason.text, pool) && !strstr(reason.text, mount) && !strstr(reason.text, what) && !strstr(reason.text, directory))
		error_set(error, code, "mounting %s at %.200s: %s", what, directory, reason.text);
	return code;
}

int mount_work(struct call *call)
{
	char directory[PATH_MAX];
	unsigned tries = 0;
	int code;

	if (!realpath(call->operands[0], directory))
		return error_set(&call->error, -errno, "mount: %.200s: %s", call->operands[0][0] ? call->operands[0] : "no folder is named",
				 errno == ENOTCONN ? "a mount that nobody serves any more: 'poolctl unmount' takes it away" : strerror(errno));
	code = join_and_ask(call, directory);
	/* The one that answered ends: its last mount has just gone, and by now maybe its pool. */
	while ((code == -ESHUTDOWN || code == -ECONNRESET || code == -EPIPE || (code == -ENODEV && !call->error.text[0])) && tries++ < TRIES_MAX) {
		wait_for_export(call);
		session_close(&call->session, NULL);
		memset(&call->error, 0, sizeof(call->error));
		code = join_and_ask(call, directory);
	}
	if (code == -EOPNOTSUPP && call->session.is_owned) {
		memset(&call->error, 0, sizeof(call->error));
		code = hand_over(call);
		if (code == 0)
			code = session_join(&call->session, call->target.pool, &call->error);
		if (code == 0)
			code = ask(call, directory);
	}
	if (code < 0)
		return say_where(call, code, directory);
	document_number(call->document, "pid", call->session.owner.pid);
	document_format(call->document, "text", "%s %s%s%s at %s", strstr(call->options.text[OPTION_MOUNT_OPTIONS] ?: "", "remount") ? "Mounted anew" : "Mounted",
			call->target.pool, call->target.volume[0] ? "/" : "", call->target.volume, directory);
	return 0;
}

/* ---- unmount ---- */

/* Asks the file system itself, which may not answer: in a process of its own, which is then left behind. */
static bool is_dead(const char *directory)
{
	struct statfs space;
	int status = 0;
	pid_t child;

	fflush(NULL);
	child = fork();
	if (child == 0)
		_exit(statfs(directory, &space) != 0 && errno == ENOTCONN ? 1 : 0);
	for (unsigned waited = 0; child > 0 && waited < ALIVE_MS; waited += 10) {
		if (waitpid(child, &status, WNOHANG) == child)
			return WIFEXITED(status) && WEXITSTATUS(status) == 1;
		(void)poll(NULL, 0, 10);
	}
	if (child > 0)
		kill(child, SIGKILL);
	return false;
}

/* Nobody serves it any more. What lies beneath another such mount can't be reached, and goes with that; and somebody else may do the same at this moment. */
static int unmount_dead(struct call *call, const struct mount_entry *entry)
{
	int code = umount2(entry->directory, MNT_DETACH | UMOUNT_NOFOLLOW) == 0 || errno == ENOTCONN ? 0 : -errno;

	if (code == 0 || !mount_is_there(entry))
		return 0;
	return error_set(&call->error, code, "unmount %.200s: %s", entry->directory, strerror(-code));
}

static int unmount_one(struct call *call, const struct mount_entry *entry)
{
	struct libpool_error none;
	struct json_object *params;
	char pool[LIBPOOL_NAME_MAX + 1];
	int code;

	snprintf(pool, sizeof(pool), "%.*s", (int)strcspn(entry->source, "/"), entry->source);
	code = session_join(&call->session, pool, &none);
	if (code == 0) {
		params = json_object_new_object();
		document_text(params, "directory", entry->directory);
		code = call_ask(call, "unmount", params);
		if (code == 0 && document_get_flag(call->document, "exports"))
			wait_for_export(call); /* what was written is durable then, and the pool free */
	}
	/* That process is no more, or another one has the pool now; or it has a pool of the same name, and sockets in another folder. */
	if (code == -ENOENT || code == -EOPNOTSUPP)
		code = is_dead(entry->directory) ? unmount_dead(call, entry) : mount_is_there(entry) ? -ESRCH : 0;
	session_close(&call->session, NULL);
	return code;
}

int unmount_work(struct call *call)
{
	struct mount_entry *entries = NULL;
	size_t count = 0, done = 0;
	bool foreign = false;
	char what[PATH_MAX];
	int code = mount_list_for(call->operands[0], what, &entries, &count, &call->error);

	for (size_t i = count; i > 0 && code == 0; i--) { /* the newest first: what is beneath came later */
		if (!mount_matches(&entries[i - 1], what) || !mount_is_there(&entries[i - 1]))
			continue;
		code = unmount_one(call, &entries[i - 1]);
		if (code != -ESRCH) {
			done++;
			continue;
		}
		/* Somebody else's: not meant by a name. */
		if (mount_matches_directory(&entries[i - 1], what))
			code = error_set(&call->error, -EBUSY,
					 "unmount: %.200s is served by a process that can't be asked: set LIBPOOL_RUN_PATH as it has it, or use umount(8)",
					 entries[i - 1].directory);
		else
			code = 0;
		foreign = true;
	}
	for (size_t i = 0; i < count && code == 0 && !foreign; i++)
		if (mount_matches(&entries[i], what) && mount_is_there(&entries[i]))
			code = error_set(&call->error, -EBUSY, "unmount: %.200s is in a mount that nobody serves any more: unmount that", entries[i].directory);
	if (code == 0 && done == 0)
		code = error_set(&call->error, -EINVAL, "unmount: nothing of a pool is mounted at %.200s", what);
	free(entries);
	if (code == 0)
		document_format(call->document, "text", "Unmounted %s", what);
	return code;
}
