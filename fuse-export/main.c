/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * libpool-fuse: imports a pool, mounts file systems of it, and serves both until they are unmounted, a signal comes, or a client
 * of the control socket asks for the export.
 *
 * In the background a child does all this, so that no thread has to survive a fork; the parent waits until the mounts are
 * there and ends with what the child says.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <systemd/sd-daemon.h>

#include "fuse-export/session.h"

#define SESSIONS_MAX 64u
#define FOLDERS_MAX  64u

struct program {
	struct session sessions[SESSIONS_MAX];
	size_t count;
	char pool_name[LIBPOOL_NAME_MAX + 1];
	const char *folders[FOLDERS_MAX];
	struct libpool_host host;
	struct session_options options;
	bool foreground, force;
	libpool_pool *pool;
	libpool_control *control;
	int ended, asked; /* eventfds: a mount has ended; a client asks for the export */
};

static int usage(const char *problem, const char *which)
{
	fprintf(stderr, "libpool-fuse: %s%s; usage: libpool-fuse [-f] [-d FOLDER]... [-o OPTION,...] POOL/DATASET DIR [POOL/DATASET DIR]...\n", problem,
		which);
	return 2;
}

static void help(void)
{
	puts("usage: libpool-fuse [-f] [-d FOLDER]... [-o OPTION,...] POOL/DATASET DIR [POOL/DATASET DIR]...\n"
	     "Imports a pool and mounts file systems of it.\n\n"
	     "  -f, --foreground   stay in the foreground; SIGTERM unmounts and exports\n"
	     "  -d, --folder DIR   also search this folder for file-backed disks\n"
	     "  -n, --no-devices   don't look at block devices\n"
	     "      --force        also a pool last used by another host\n"
	     "  -o OPTIONS         ro, rw, allow_other, noallow_other; others are passed to the mount\n"
	     "  -h, --help         this text\n"
	     "      --version      the version of libpool");
}

static void add_folder(struct program *program, const char *folder)
{
	if (program->host.folder_count < FOLDERS_MAX)
		program->folders[program->host.folder_count++] = folder;
}

/* Those for this program are taken out; the rest goes to the mount. */
static int take_options(struct program *program, char *text)
{
	static char extra[1024];
	char *rest = NULL;

	for (char *option = strtok_r(text, ",", &rest); option; option = strtok_r(NULL, ",", &rest)) {
		if (strcmp(option, "ro") == 0)
			program->options.read_only = true;
		else if (strcmp(option, "rw") == 0)
			program->options.read_only = false;
		else if (strcmp(option, "allow_other") == 0)
			program->options.allow_other = true;
		else if (strcmp(option, "noallow_other") == 0)
			program->options.allow_other = false;
		else if (strlen(extra) + strlen(option) + 2 > sizeof(extra))
			return usage("too many mount options: ", option);
		else
			sprintf(extra + strlen(extra), "%s%s", extra[0] ? "," : "", option);
	}
	program->options.extra = extra[0] ? extra : NULL;
	return 0;
}

/* "POOL/DATASET". */
static int take_source(struct program *program, const char *source, const char *point)
{
	struct session *session = &program->sessions[program->count];
	const char *slash = strchr(source, '/');
	size_t length = slash ? (size_t)(slash - source) : 0;

	if (!slash || length == 0 || length > LIBPOOL_NAME_MAX || !slash[1])
		return usage("name what to mount as POOL/DATASET, not ", source);
	if (program->count == SESSIONS_MAX)
		return usage("too many mounts: ", source);
	if (program->count && (strncmp(program->pool_name, source, length) != 0 || program->pool_name[length]))
		return usage("one process serves one pool: start another one for ", source);
	memcpy(program->pool_name, source, length);
	session->source = source;
	session->dataset = slash + 1;
	session->point = point;
	program->count++;
	return 0;
}

/* 0; 2 after a message; -1: done already. */
static int take_arguments(struct program *program, int argc, char **argv)
{
	static const struct option options[] = {
		{"foreground", no_argument, NULL, 'f'}, {"folder", required_argument, NULL, 'd'}, {"no-devices", no_argument, NULL, 'n'},
		{"force", no_argument, NULL, 'F'},	{"help", no_argument, NULL, 'h'},	  {"version", no_argument, NULL, 'v'},
		{NULL, 0, NULL, 0},
	};
	int option, code = 0;

	opterr = 0;
	while (code == 0 && (option = getopt_long(argc, argv, "fd:no:h", options, NULL)) >= 0) {
		switch (option) {
		case 'f': program->foreground = true; break;
		case 'd': add_folder(program, optarg); break;
		case 'n': program->host.no_devices = 1; break;
		case 'F': program->force = true; break;
		case 'o': code = take_options(program, optarg); break;
		case 'h': help(); return -1;
		case 'v': printf("libpool-fuse %s\n", libpool_version()); return -1;
		default: return usage("unknown or incomplete option ", argv[optind - 1]);
		}
	}
	/* As mount(8) calls a helper: the options may come behind the names. */
	for (; code == 0 && optind + 1 < argc; optind += 2)
		code = take_source(program, argv[optind], argv[optind + 1]);
	if (code == 0 && optind < argc)
		return usage("no mount point for ", argv[optind]);
	return code == 0 && program->count == 0 ? usage("name what to mount, and where", "") : code;
}

/* ---- work ---- */

static int failed(const char *what, const struct libpool_error *error)
{
	fprintf(stderr, "libpool-fuse: %s: %s\n", what, error->text);
	return 1;
}

static int open_all(struct program *program)
{
	struct libpool_import_options import = {.size = sizeof(import), .name = program->pool_name, .read_only = program->options.read_only,
						.force = program->force};
	struct libpool_error error = {0};

	if (libpool_import(&program->host, &import, &program->pool, &error) < 0)
		return failed(program->pool_name, &error);
	for (size_t i = 0; i < program->count; i++) {
		struct session *session = &program->sessions[i];
		struct libpool_open_options options = {.size = sizeof(options), .read_only = program->options.read_only};
		char user[LIBPOOL_TEXT_MAX];

		snprintf(user, sizeof(user), "libpool-fuse pid %ld at %.180s", (long)getpid(), session->point);
		options.user = user;
		if (libpool_fs_open(program->pool, session->dataset, &options, &session->mount.fs, &error) < 0)
			return failed(session->source, &error);
		session->ended = program->ended;
		if (session_mount(session, &program->options) < 0)
			return 1;
	}
	return 0;
}

static void export_asked(void *argument)
{
	eventfd_write(*(int *)argument, 1);
}

static int serve_control(struct program *program)
{
	struct libpool_control_options options = {.size = sizeof(options), .export_asked = export_asked, .argument = &program->asked};
	struct libpool_error error = {0};

	return libpool_serve_control(program->pool, &options, &program->control, &error) < 0 ? failed(program->pool_name, &error) : 0;
}

static int start_all(struct program *program)
{
	for (size_t i = 0; i < program->count; i++) {
		int code = session_start(&program->sessions[i]);

		if (code < 0) {
			fprintf(stderr, "libpool-fuse: %s can't be served: %s\n", program->sessions[i].source, strerror(-code));
			return 1;
		}
	}
	return serve_control(program);
}

/* Until a signal, the wish for an export, or the end of the last mount. */
static void wait_for_end(struct program *program, int signals)
{
	struct pollfd events[] = {{.fd = signals, .events = POLLIN}, {.fd = program->asked, .events = POLLIN}, {.fd = program->ended, .events = POLLIN}};
	uint64_t ended, left = program->count;

	while (left) {
		if (poll(events, 3, -1) < 0 && errno != EINTR)
			return;
		if (events[0].revents || events[1].revents)
			return;
		if (events[2].revents && eventfd_read(program->ended, &ended) == 0)
			left -= ended < left ? ended : left;
	}
}

/* First nothing is served any more, then the pool is exported: what was written is then durable. */
static int close_all(struct program *program)
{
	struct libpool_error error = {0};
	int code = 0;

	for (size_t i = program->count; i > 0; i--) {
		session_end(&program->sessions[i - 1]);
		(void)libpool_fs_close(program->sessions[i - 1].mount.fs);
	}
	if (program->control)
		code = libpool_control_close(program->control, &error);
	else if (program->pool)
		code = libpool_close(program->pool, &error);
	return code < 0 ? failed("export", &error) : 0;
}

/* It serves: nothing is said to whoever started it any more. */
static void leave_starter(int starter)
{
	int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (write(starter, "", 1) != 1 || chdir("/") != 0 || nothing < 0)
		return;
	close(starter);
	for (int i = 0; i <= 2; i++)
		dup2(nothing, i);
	close(nothing);
}

static int run(struct program *program, int starter)
{
	sigset_t set;
	int signals, code;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	signal(SIGPIPE, SIG_IGN);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	signals = signalfd(-1, &set, SFD_CLOEXEC);
	program->ended = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	program->asked = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (signals < 0 || program->ended < 0 || program->asked < 0) {
		fprintf(stderr, "libpool-fuse: %s\n", strerror(errno));
		return 1;
	}
	code = open_all(program);
	if (code == 0)
		code = start_all(program);
	if (code == 0) {
		sd_notify(0, "READY=1");
		if (starter >= 0)
			leave_starter(starter);
		wait_for_end(program, signals);
		sd_notify(0, "STOPPING=1");
	}
	int closing = close_all(program);
	return code ? code : closing;
}

/* In a child; 0 as soon as it serves. Its messages come before that. */
static int run_in_background(struct program *program)
{
	int ends[2], status = 0;
	char byte;
	pid_t child;

	if (pipe(ends) != 0)
		return usage("can't start in the background: ", strerror(errno));
	child = fork();
	if (child == 0) {
		close(ends[0]);
		setsid();
		_exit(run(program, ends[1]));
	}
	close(ends[1]);
	ssize_t got = child > 0 ? read(ends[0], &byte, 1) : 0;
	close(ends[0]);
	if (got == 1)
		return 0;
	if (child > 0)
		waitpid(child, &status, 0);
	return WIFEXITED(status) && WEXITSTATUS(status) ? WEXITSTATUS(status) : 1;
}

int main(int argc, char **argv)
{
	static struct program program;
	const char *path = getenv("LIBPOOL_DISK_PATH");
	char *folders = path ? strdup(path) : NULL, *rest = NULL;
	int code;

	program.host.size = sizeof(program.host);
	program.host.folders = program.folders;
	program.options.allow_other = program.options.dev_suid = geteuid() == 0;
	code = take_arguments(&program, argc, argv);
	if (code)
		return code < 0 ? 0 : code;
	for (char *folder = folders ? strtok_r(folders, ":", &rest) : NULL; folder; folder = strtok_r(NULL, ":", &rest))
		add_folder(&program, folder);
	return program.foreground ? run(&program, -1) : run_in_background(&program);
}
