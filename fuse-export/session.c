/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Mounting, serving, unmounting. The kernel checks permissions and keeps locks; a request is answered by the thread that got it.
 * Root mounts by mount(2), at a descriptor: libfuse would follow the path anew, to what it leads to by then. Others need the helper that libfuse calls,
 * which has their rights to the path.
 */
#include "fuse-export/session.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "fuse-export/device.h"

#define REQUEST_BYTES (1u << 20)
#define AHEAD_BYTES   (4u << 20)
#define THREADS_MAX   16u
#define SAID_MAX      200u
#define WAKE_SIGNAL   SIGURG /* which nobody sends, and nothing happens without a handler */

static void want(struct fuse_conn_info *connection, unsigned capability)
{
	if (connection->capable & capability)
		connection->want |= capability;
}

static void do_init(void *userdata, struct fuse_conn_info *connection)
{
	struct mount *mount = userdata;

	connection->max_write = REQUEST_BYTES;
	connection->max_readahead = AHEAD_BYTES; /* no more than the kernel says, which read_further changes */
	connection->max_background = 64;
	connection->congestion_threshold = 48;
	connection->time_gran = 1;
	connection->want &= ~(unsigned)(FUSE_CAP_AUTO_INVAL_DATA | FUSE_CAP_POSIX_LOCKS | FUSE_CAP_FLOCK_LOCKS);
	want(connection, FUSE_CAP_ASYNC_DIO);
	want(connection, FUSE_CAP_PARALLEL_DIROPS);
	if (mount->volumes) {
		want(connection, FUSE_CAP_ATOMIC_O_TRUNC);
		return;
	}
	connection->want &= ~(unsigned)FUSE_CAP_ATOMIC_O_TRUNC; /* truncation is a request of its own */
	mount->no_opens = connection->capable & FUSE_CAP_NO_OPEN_SUPPORT;
	want(connection, FUSE_CAP_EXPORT_SUPPORT); /* NFS: any node by its number */
	want(connection, FUSE_CAP_POSIX_ACL);
	want(connection, FUSE_CAP_DONT_MASK);	   /* default lists decide, or else the umask */
	want(connection, FUSE_CAP_READDIRPLUS);
	want(connection, FUSE_CAP_READDIRPLUS_AUTO);
	want(connection, FUSE_CAP_CACHE_SYMLINKS);
	want(connection, FUSE_CAP_IOCTL_DIR); /* projects */
	want(connection, FUSE_CAP_EXPLICIT_INVAL_DATA);
}

/* "-o" and one text. */
static int add_options(struct fuse_args *arguments, const struct session *session, const struct mount_options *options)
{
	char text[2 * LIBPOOL_NAME_MAX + 2 * EXTRA_MAX];

	snprintf(text, sizeof(text), "fsname=%s,subtype=libpool,default_permissions%s%s%s", session->source, options->allow_other ? ",allow_other" : "",
		 options->read_only ? ",ro" : "", options->extra);
	if (fuse_opt_add_arg(arguments, "libpool-fuse") != 0 || fuse_opt_add_arg(arguments, "-o") != 0 || fuse_opt_add_arg(arguments, text) != 0)
		return -1;
	return 0;
}

/*
 * Who reads a file from its beginning to its end waits for a mount less if the kernel asks for what comes next while that is copied. It asks for
 * 128 KiB by itself, and only root can tell it another figure: where that can't be done, it stays so.
 */
static void read_further(const struct place *place)
{
	char path[64];

	if (!place_is_known(place))
		return;
	snprintf(path, sizeof(path), "/sys/class/bdi/%u:%u/read_ahead_kb", place->major, place->minor);
	FILE *file = fopen(path, "we");

	if (!file)
		return;
	fprintf(file, "%u\n", AHEAD_BYTES >> 10);
	fclose(file);
}

/* libfuse takes the open device for the mount point. */
static int mount_directly(struct session *session, int directory, const struct mount_options *options)
{
	unsigned long flags = options->flags | (options->read_only ? MS_RDONLY : 0);
	int device = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	char point[64], text[160];
	int code = -1;

	if (device < 0)
		return -1;
	snprintf(point, sizeof(point), "/proc/self/fd/%d", directory);
	snprintf(text, sizeof(text), "fd=%d,rootmode=%o,user_id=%u,group_id=%u,default_permissions%s", device, (unsigned)S_IFDIR, (unsigned)getuid(),
		 (unsigned)getgid(), options->allow_other ? ",allow_other" : "");
	if (mount(session->source, point, "fuse.libpool", flags, text) == 0) {
		session->direct = session->mounted = true;
		snprintf(point, sizeof(point), "/dev/fd/%d", device);
		code = fuse_session_mount(session->mount.fuse, point);
	}
	if (code != 0) {
		int kept = errno;

		if (session->mounted)
			umount2(session->point, MNT_DETACH | UMOUNT_NOFOLLOW);
		session->mounted = false;
		close(device);
		errno = kept;
	}
	return code;
}

/* What libfuse says of a mount that fails goes into the one line that this program says. */
static _Thread_local char *said;

static void listen_to(enum fuse_log_level level, const char *format, va_list arguments)
{
	(void)level;
	if (!said) {
		vfprintf(stderr, format, arguments);
		return;
	}
	vsnprintf(said, SAID_MAX, format, arguments);
	said[strcspn(said, "\n")] = '\0';
}

static int fail_to_mount(const struct session *session, int code, const char *text, struct libpool_error *error)
{
	const char *prefix = "fuse: ";

	if (strncmp(text, prefix, strlen(prefix)) == 0)
		text += strlen(prefix);
	return mount_fail(error, code, "%s can't be mounted at %s: %s", session->source, session->point, text[0] ? text : strerror(-code));
}

int session_mount(struct session *session, int directory, const struct mount_options *options, struct libpool_error *error)
{
	struct fuse_args arguments = FUSE_ARGS_INIT(0, NULL);
	char text[SAID_MAX] = "";
	struct fuse_lowlevel_ops operations = {.init = do_init};
	int code = add_options(&arguments, session, options);

	if (session->mount.volumes) {
		volume_names_operations(&operations);
		volume_content_operations(&operations);
	} else {
		names_operations(&operations);
		content_operations(&operations);
		attributes_operations(&operations);
	}
	fuse_set_log_func(listen_to);
	said = text;
	errno = 0;
	if (code == 0) {
		session->mount.fuse = fuse_session_new(&arguments, &operations, sizeof(operations), &session->mount);
		code = session->mount.fuse ? 0 : -1;
	}
	if (code == 0)
		code = options->privileged ? mount_directly(session, directory, options) : fuse_session_mount(session->mount.fuse, session->point);
	session->mounted = code == 0;
	look_init(&session->mount.look);
	if (code == 0 && !session->mount.volumes)
		device_take(session->mount.fuse); /* or it is as slow as libfuse alone */
	if (code == 0)
		place_take(&session->place, session->point, session->source);
	read_further(&session->place);
	said = NULL;
	if (code != 0)
		code = fail_to_mount(session, errno ? -errno : -EIO, text, error);
	fuse_opt_free_args(&arguments);
	return code;
}

static void *serve(void *argument)
{
	struct session *session = argument;
	struct fuse_loop_config *config = fuse_loop_cfg_create();
	sigset_t set;

	/* Whoever asked for the mount may have blocked all. */
	sigemptyset(&set);
	sigaddset(&set, WAKE_SIGNAL);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	if (config) {
		fuse_loop_cfg_set_clone_fd(config, 1);
		fuse_loop_cfg_set_max_threads(config, THREADS_MAX);
		fuse_loop_cfg_set_idle_threads(config, THREADS_MAX);
		(void)fuse_session_loop_mt(session->mount.fuse, config);
		fuse_loop_cfg_destroy(config);
	}
	session->finished = true;
	eventfd_write(session->ended, 1);
	return NULL;
}

static void wake(int signal)
{
	(void)signal;
}

int session_start(struct session *session)
{
	const struct sigaction action = {.sa_handler = wake}; /* no SA_RESTART: what it interrupts ends */
	int code = sigaction(WAKE_SIGNAL, &action, NULL) == 0 ? -pthread_create(&session->thread, NULL, serve, session) : -errno;

	session->runs = code == 0;
	return code;
}

/* Somebody may have unmounted it already, and what is there now is another's. */
static void unmount_directly(const struct session *session)
{
	struct pollfd device = {.fd = fuse_session_fd(session->mount.fuse)};
	bool is_known = place_is_known(&session->place);
	char path[PATH_MAX];

	if (!is_known && (poll(&device, 1, 0) != 1 || !(device.revents & POLLERR)))
		umount2(session->point, MNT_DETACH | UMOUNT_NOFOLLOW);
	while (place_find(&session->place, session->source, path) && umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) == 0)
		continue;
}

/*
 * The loop ends by itself when the kernel lets go of the file system; not while somebody has a file open in it. fuse_session_exit is a mark that the loop
 * looks at when something wakes it, and it may be just about to sleep.
 */
static void end_loop(struct session *session)
{
	const struct timespec pause = {.tv_nsec = 2000000};

	fuse_session_exit(session->mount.fuse);
	while (pthread_tryjoin_np(session->thread, NULL) == EBUSY) {
		pthread_kill(session->thread, WAKE_SIGNAL);
		nanosleep(&pause, NULL);
	}
}

/* It serves until it is unmounted: what is written back then would wait for an answer. */
void session_end(struct session *session)
{
	if (session->mounted && session->direct)
		unmount_directly(session);
	else if (session->mounted)
		fuse_session_unmount(session->mount.fuse);
	if (session->runs)
		end_loop(session);
	if (session->mount.fuse)
		fuse_session_destroy(session->mount.fuse);
	session->mount.fuse = NULL;
	session->mounted = session->runs = false;
}
