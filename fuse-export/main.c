/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * libpool-fuse: imports a pool, mounts file systems of it, and serves both until they are unmounted, a signal comes, or a client
 * of the control socket asks for the export. Clients can also have more mounted, and unmounted: poolctl mount and unmount, and mount(8).
 *
 * In the background a child does all this, so that no thread has to survive a fork; the parent waits until the mounts are
 * there and ends with what the child says.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <systemd/sd-daemon.h>

#include "fuse-export/mounts.h"

#define SOURCES_MAX  64u
#define FOLDERS_MAX  64u

struct program {
	struct {
		const char *dataset, *point;
	} sources[SOURCES_MAX];
	size_t count;
	struct mounts mounts;
	const char *folders[FOLDERS_MAX];
	struct libpool_host host;
	struct mount_options options;
	bool foreground, force, dry_run;
	libpool_control *control;
	int asked; /* an eventfd: a client asks for the export */
};

/* One line, also when a name in it has control characters. */
static void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void say(const char *format, ...)
{
	char line[PATH_MAX + LIBPOOL_TEXT_MAX];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(line, sizeof(line), format, arguments);
	va_end(arguments);
	for (unsigned char *byte = (unsigned char *)line; *byte; byte++)
		if (*byte < 0x20 || *byte == 0x7f)
			*byte = '?';
	fprintf(stderr, "libpool-fuse: %s\n", line);
}

static int usage(const char *problem, const char *which)
{
	say("%s%s; usage: libpool-fuse [-f] [-k] [-d FOLDER]... [-o OPTION,...] POOL[/DATASET] DIR [POOL[/DATASET] DIR]...", problem, which);
	return 2;
}

static void help(void)
{
	puts("usage: libpool-fuse [-f] [-k] [-d FOLDER]... [-o OPTION,...] POOL[/DATASET] DIR [POOL[/DATASET] DIR]...\n"
	     "       libpool-fuse [-f] [-k] [-d FOLDER]... POOL\n"
	     "Imports a pool and mounts file systems of it; poolctl mount and unmount can have more mounted, and unmounted.\n\n"
	     "  -f, --foreground   stay in the foreground; SIGTERM unmounts and exports\n"
	     "  -k, --keep         stay when nothing is mounted any more\n"
	     "  -d, --folder DIR   also search this folder for file-backed disks\n"
	     "  -n, --no-devices   don't look at block devices\n"
	     "      --force        also a pool last used by another host\n"
	     "      --dry-run      mount nothing: only say what would be refused\n"
	     "  -o OPTIONS         ro, allow_other, nonempty, nochildren, nosuid ...: see the manual\n"
	     "  -h, --help         this text\n"
	     "      --version      the version of libpool");
}

static void add_folder(struct program *program, const char *folder)
{
	if (program->host.folder_count < FOLDERS_MAX)
		program->folders[program->host.folder_count++] = folder;
}

/* "POOL" or "POOL/DATASET". */
static int take_source(struct program *program, const char *source, const char *point)
{
	char *pool = program->mounts.pool_name;
	size_t length = strcspn(source, "/");

	if (length == 0 || length > LIBPOOL_NAME_MAX || (source[length] && !source[length + 1]))
		return usage("name what to mount as POOL or POOL/DATASET, not ", source);
	if (program->count == SOURCES_MAX)
		return usage("too many mounts: ", source);
	if (pool[0] && (strncmp(pool, source, length) != 0 || pool[length]))
		return usage("one process serves one pool: start another one for ", source);
	memcpy(pool, source, length);
	program->sources[program->count].dataset = source[length] ? source + length + 1 : "";
	program->sources[program->count].point = point;
	program->count += point != NULL;
	return 0;
}

static int take_options(struct program *program, const char *text)
{
	struct libpool_error error = {0};

	if (options_take(&program->options, text, &error) == 0)
		return 0;
	if (!program->dry_run)
		return usage(error.text, "");
	say("%s", error.text);
	return 1;
}

/* 0; 1 or 2 after a message; -1: done already. */
static int take_arguments(struct program *program, int argc, char **argv)
{
	static const struct option options[] = {
		{"foreground", no_argument, NULL, 'f'}, {"keep", no_argument, NULL, 'k'}, {"folder", required_argument, NULL, 'd'}, {"no-devices", no_argument, NULL, 'n'},
		{"force", no_argument, NULL, 'F'},	{"help", no_argument, NULL, 'h'},	  {"version", no_argument, NULL, 'v'},
		{"dry-run", no_argument, NULL, 'N'},	{NULL, 0, NULL, 0},
	};
	int option, code = 0;

	opterr = 0;
	while (code == 0 && (option = getopt_long(argc, argv, "fkd:no:h", options, NULL)) >= 0) {
		switch (option) {
		case 'f': program->foreground = true; break;
		case 'k': program->mounts.keeps = true; break;
		case 'd': add_folder(program, optarg); break;
		case 'n': program->host.no_devices = 1; break;
		case 'F': program->force = true; break;
		case 'N': program->dry_run = true; break;
		case 'o': code = take_options(program, optarg); break;
		case 'h': help(); return -1;
		case 'v': printf("libpool-fuse %s\n", libpool_version()); return -1;
		default: return usage("unknown or incomplete option ", argv[optind - 1]);
		}
	}
	/* As mount(8) calls a helper: the options may come behind the names. */
	for (; code == 0 && optind + 1 < argc; optind += 2)
		code = take_source(program, argv[optind], argv[optind + 1]);
	if (code == 0 && program->options.remount && !program->dry_run)
		return usage("remount is for what is mounted already: ", "poolctl mount -o remount");
	/* The pool alone: what to mount comes later. */
	if (code == 0 && program->count == 0 && optind + 1 == argc && !strchr(argv[optind], '/'))
		return take_source(program, argv[optind], NULL);
	if (code == 0 && optind < argc)
		return usage("no mount point for ", argv[optind]);
	return code == 0 && program->count == 0 ? usage("name what to mount, and where", "") : code;
}

/* ---- work ---- */

/* Most errors name by themselves what they are about. */
static int failed(const char *what, const struct libpool_error *error)
{
	bool is_named = strstr(error->text, what);

	say("%s%s%s", is_named ? "" : what, is_named ? "" : ": ", error->text);
	return 1;
}

static int pool_failed(const struct program *program, const struct libpool_error *error)
{
	char what[LIBPOOL_NAME_MAX + 8];

	snprintf(what, sizeof(what), "pool %s", program->mounts.pool_name);
	return failed(what, error);
}

static int import_pool(struct program *program)
{
	struct libpool_import_options import = {.size = sizeof(import), .name = program->mounts.pool_name, .read_only = program->options.read_only,
						.force = program->force};
	struct libpool_error error = {0};

	if (libpool_import(&program->host, &import, &program->mounts.pool, &error) < 0)
		return pool_failed(program, &error);
	program->mounts.read_only = import.read_only;
	return 0;
}

typedef int mount_function(struct mounts *mounts, const char *dataset, const char *directory, const struct mount_options *options, struct libpool_error *error);

/* Mount points are told apart by their paths: with every link in them followed. */
static int with_all(struct program *program, mount_function *function)
{
	for (size_t i = 0; i < program->count; i++) {
		const char *point = program->sources[i].point;
		struct libpool_error error = {0};
		char path[PATH_MAX];

		if (!realpath(point, path)) {
			say("%s: %s", point[0] ? point : "no folder is named", strerror(errno));
			return 1;
		}
		if (function(&program->mounts, program->sources[i].dataset, path, &program->options, &error) < 0)
			return failed(program->dry_run ? "" : point, &error);
	}
	return 0;
}

/* An import for good is a commit, and so is the export: who starts this can know before what would be refused. */
static int rehearse(struct program *program)
{
	struct libpool_import_options import = {.size = sizeof(import), .name = program->mounts.pool_name, .read_only = 2, .force = program->force};
	struct libpool_error error = {0};
	int code;

	if (libpool_import(&program->host, &import, &program->mounts.pool, &error) < 0)
		return pool_failed(program, &error);
	code = with_all(program, mounts_check);
	(void)libpool_close(program->mounts.pool, NULL);
	program->mounts.pool = NULL;
	return code;
}

/* ---- what clients ask for ---- */

static void export_asked(void *argument)
{
	eventfd_write(((struct program *)argument)->asked, 1);
}

static int mount_asked(void *argument, const struct libpool_mount_request *request, struct libpool_error *error)
{
	struct program *program = argument;
	struct mount_options options;

	options_init(&options);
	if (options_take(&options, request->options, error) < 0)
		return error->code;
	if (options.remount)
		return mounts_change(&program->mounts, request->directory, &options, error);
	options.read_only |= program->options.read_only;
	return mounts_add(&program->mounts, request->dataset, request->directory, &options, error);
}

static int unmount_asked(void *argument, const char *directory, uint32_t *ret_last, struct libpool_error *error)
{
	struct program *program = argument;
	bool last = false;
	int code = mounts_remove(&program->mounts, directory, &last, error);

	*ret_last = last;
	return code;
}

static void properties_set(void *argument)
{
	mounts_properties_set(&((struct program *)argument)->mounts);
}

static int serve_control(struct program *program)
{
	struct libpool_control_options options = {.size = sizeof(options), .export_asked = export_asked, .mount = mount_asked,
						  .unmount = unmount_asked, .properties_set = properties_set, .argument = program};
	struct libpool_error error = {0};

	return libpool_serve_control(program->mounts.pool, &options, &program->control, &error) < 0 ? pool_failed(program, &error) : 0;
}

/* ---- its life ---- */

/* A manager that watches is told only while the engine answers: one that hangs is started anew. */
static void tell_watchdog(struct program *program)
{
	struct libpool_pool_info *info = calloc(1, sizeof(*info));

	if (info) {
		info->size = sizeof(*info);
		if (libpool_pool_info(program->mounts.pool, info) == 0)
			sd_notify(0, "WATCHDOG=1");
	}
	free(info);
}

/* Until a signal, the wish for an export, or the end of the last mount. */
static void wait_for_end(struct program *program, int signals)
{
	struct pollfd events[] = {{.fd = signals, .events = POLLIN}, {.fd = program->asked, .events = POLLIN}, {.fd = program->mounts.ended, .events = POLLIN}};
	uint64_t watchdog_us = 0, ended;
	bool watched = sd_watchdog_enabled(0, &watchdog_us) > 0;

	while (mounts_reap(&program->mounts)) {
		if (watched)
			tell_watchdog(program);
		if (poll(events, 3, watched ? (int)(watchdog_us / 3000) + 1 : -1) < 0 && errno != EINTR)
			return;
		if (events[0].revents || events[1].revents)
			return;
		if (events[2].revents)
			(void)eventfd_read(program->mounts.ended, &ended);
	}
}

/* First nothing is served any more, then the pool is exported: what was written is then durable. */
static int close_all(struct program *program)
{
	struct libpool_error error = {0};
	int code = 0;

	mounts_end(&program->mounts);
	if (program->control)
		code = libpool_control_close(program->control, &error);
	else if (program->mounts.pool)
		code = libpool_close(program->mounts.pool, &error);
	return code < 0 ? pool_failed(program, &error) : 0;
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

	/* A signal ends it: nothing is to be lost. Of several mounts the first are served before a directory for the others is asked for, which may hang. */
	if (program->count == 1 && !program->options.read_only && rehearse(program) != 0)
		return 1;
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	signal(SIGPIPE, SIG_IGN);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	signals = signalfd(-1, &set, SFD_CLOEXEC);
	program->mounts.ended = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	program->asked = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (signals < 0 || program->mounts.ended < 0 || program->asked < 0) {
		say("pool %s: %s", program->mounts.pool_name, strerror(errno));
		return 1;
	}
	pthread_mutex_init(&program->mounts.lock, NULL);
	program->mounts.starting = true;
	code = import_pool(program);
	/* Clients come as soon as they see a mount. */
	if (code == 0)
		code = serve_control(program);
	if (code == 0)
		code = with_all(program, mounts_add);
	if (code == 0) {
		mounts_started(&program->mounts);
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

/* Whoever starts it may have closed these: what is opened later must not get their numbers. */
static bool open_standard(void)
{
	int descriptor;

	do {
		descriptor = open("/dev/null", O_RDWR);
	} while (descriptor >= 0 && descriptor <= 2);
	return descriptor >= 0 && close(descriptor) == 0;
}

int main(int argc, char **argv)
{
	static struct program program;
	const char *path = getenv("LIBPOOL_DISK_PATH");
	char *folders, *rest = NULL;
	int code;

	program.host.size = sizeof(program.host);
	program.host.folders = program.folders;
	if (!open_standard())
		return 1;
	options_init(&program.options);
	code = take_arguments(&program, argc, argv);
	if (code)
		return code < 0 ? 0 : code;
	folders = path ? strdup(path) : NULL;
	for (char *folder = folders ? strtok_r(folders, ":", &rest) : NULL; folder; folder = strtok_r(NULL, ":", &rest))
		add_folder(&program, folder);
	if (program.dry_run)
		return rehearse(&program);
	return program.foreground ? run(&program, -1) : run_in_background(&program);
}
