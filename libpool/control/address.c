/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where the socket is, and whose. What must always hold: nothing but a socket that nobody listens to is ever removed, and a
 * socket is never replaced while somebody does. Two servers that want the same path take turns under a lock: a file beside it that
 * none but its owner can open, so that nobody else can keep them waiting; it is there only meanwhile.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "libpool/control/control.h"

#define FOLDER_ROOM  70u /* with "/", 32 digits and ".sock" it fits into an address */
#define LOCK_NS	     UINT64_C(5000000000)
#define LOCK_STEP_NS 10000000

static int fail(struct libpool_error *error, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));

static int fail(struct libpool_error *error, int code, const char *format, ...)
{
	va_list arguments;

	if (!error)
		return code;
	error->code = code;
	va_start(arguments, format);
	vsnprintf(error->text, sizeof(error->text), format, arguments);
	va_end(arguments);
	return code;
}

int libpool_control_folder(char *ret_folder, size_t room, struct libpool_error *error)
{
	const char *folder = getenv("LIBPOOL_RUN_PATH"), *runtime = getenv("XDG_RUNTIME_DIR");
	char text[PATH_MAX];

	if (folder && folder[0])
		snprintf(text, sizeof(text), "%s", folder);
	else if (geteuid() == 0)
		snprintf(text, sizeof(text), "/run/libpool");
	else if (runtime && runtime[0])
		snprintf(text, sizeof(text), "%s/libpool", runtime);
	else
		return fail(error, -ENOENT, "there is no folder for control sockets: set XDG_RUNTIME_DIR or LIBPOOL_RUN_PATH");
	if (strlen(text) >= room)
		return fail(error, -ENAMETOOLONG, "the folder for control sockets has a path of %zu bytes, too long: %.200s", strlen(text), text);
	strcpy(ret_folder, text);
	return 0;
}

static int choose(struct libpool_control *control, const char *path, struct libpool_error *error)
{
	char folder[FOLDER_ROOM];
	int code;

	if (!path) {
		code = libpool_control_folder(folder, FOLDER_ROOM, error);
		if (code < 0)
			return code;
		if (mkdir(folder, 0755) != 0 && errno != EEXIST)
			return fail(error, -errno, "creating the folder %s for the control socket: %s", folder, strerror(errno));
		snprintf(control->path, sizeof(control->path), "%s/%s.sock", folder, control->guid);
		return 0;
	}
	if (strlen(path) >= sizeof(control->path))
		return fail(error, -ENAMETOOLONG, "the path of the control socket has %zu bytes, at most %zu are allowed: %.200s", strlen(path),
			    sizeof(control->path) - 1, path);
	strcpy(control->path, path);
	return 0;
}

/* Who has it is about to make or remove a socket, which takes no time: one that keeps it is no server. */
static int wait_for_lock(int descriptor, const char *lock, struct libpool_error *error)
{
	const struct timespec step = {.tv_nsec = LOCK_STEP_NS};
	uint64_t limit = control_now_ns() + LOCK_NS;

	while (flock(descriptor, LOCK_EX | LOCK_NB) != 0) {
		if (errno != EINTR && errno != EWOULDBLOCK)
			return fail(error, -errno, "locking the file %s, under whose lock the control socket is made: %s", lock, strerror(errno));
		if (control_now_ns() > limit)
			return fail(error, -EBUSY, "the file %s, under whose lock the control socket is made, is locked by another process: end that, or use another path",
				    lock);
		nanosleep(&step, NULL);
	}
	return 0;
}

/* ret_lock has the name of the lock file. */
static int lock_path(const char *path, char *ret_lock, size_t room, struct libpool_error *error)
{
	struct stat own, there;
	int descriptor, code;

	snprintf(ret_lock, room, "%s.lock", path);
	for (;;) {
		descriptor = open(ret_lock, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
		if (descriptor < 0)
			return fail(error, -errno, "making the file %s, under whose lock the control socket is made: %s", ret_lock, strerror(errno));
		code = wait_for_lock(descriptor, ret_lock, error);
		if (code < 0) {
			close(descriptor);
			return code;
		}
		/* Who had it meanwhile has removed it. */
		if (fstat(descriptor, &own) == 0 && lstat(ret_lock, &there) == 0 && own.st_dev == there.st_dev && own.st_ino == there.st_ino)
			return descriptor;
		close(descriptor);
	}
}

/* What is at the path already: 0 when nothing is, or nothing any more. */
static int clear_path(const struct sockaddr_un *address, struct libpool_error *error)
{
	struct stat status;
	int probe, code = 0;

	if (lstat(address->sun_path, &status) != 0)
		return errno == ENOENT ? 0 : fail(error, -errno, "looking at the control socket %s: %s", address->sun_path, strerror(errno));
	if (!S_ISSOCK(status.st_mode))
		return fail(error, -EEXIST, "the control socket can't be made: %s is there and is no socket: remove it, or use another path",
			    address->sun_path);
	probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (probe < 0)
		return fail(error, -errno, "making a socket: %s", strerror(errno));
	if (connect(probe, (const struct sockaddr *)address, sizeof(*address)) == 0 || errno != ECONNREFUSED)
		code = fail(error, -EADDRINUSE, "another process serves the control socket %s: end it, or use another path", address->sun_path);
	else if (unlink(address->sun_path) != 0 && errno != ENOENT)
		code = fail(error, -errno, "removing the stale control socket %s: %s", address->sun_path, strerror(errno));
	close(probe);
	return code;
}

static int listen_at(struct libpool_control *control, struct libpool_error *error)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	mode_t mode = control->user_count ? 0666 : 0600;
	struct stat status;
	int code;

	strcpy(address.sun_path, control->path);
	code = clear_path(&address, error);
	if (code < 0)
		return code;
	control->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (control->listener < 0)
		return fail(error, -errno, "making a socket: %s", strerror(errno));
	/* The mode of the socket becomes that of the file, so that it is never open to others, not even for a moment. */
	if (fchmod(control->listener, mode) != 0 ||
	    bind(control->listener, (const struct sockaddr *)&address, sizeof(address)) != 0)
		return fail(error, -errno, "making the control socket %s: %s", control->path, strerror(errno));
	if (lstat(control->path, &status) != 0)
		return fail(error, -errno, "looking at the control socket %s: %s", control->path, strerror(errno));
	control->device = status.st_dev;
	control->inode = status.st_ino;
	if ((status.st_mode & 0777) != mode && chmod(control->path, mode) != 0)
		return fail(error, -errno, "setting the mode of the control socket %s: %s", control->path, strerror(errno));
	if (listen(control->listener, 64) != 0)
		return fail(error, -errno, "listening to the control socket %s: %s", control->path, strerror(errno));
	return 0;
}

int address_listen(struct libpool_control *control, const char *path, struct libpool_error *error)
{
	char name[sizeof(control->path) + sizeof(".lock")];
	int lock, code;

	if (path && !path[0])
		return 0;
	code = choose(control, path, error);
	lock = code == 0 ? lock_path(control->path, name, sizeof(name), error) : code;
	if (lock < 0) {
		control->path[0] = '\0';
		return lock;
	}
	code = listen_at(control, error);
	unlink(name);
	close(lock);
	if (code < 0) {
		if (control->listener >= 0)
			close(control->listener);
		control->listener = -1;
		address_remove(control);
		control->path[0] = '\0';
	}
	return code;
}

void address_remove(const struct libpool_control *control)
{
	struct stat status;

	if (control->path[0] && control->inode && lstat(control->path, &status) == 0 && status.st_dev == control->device &&
	    status.st_ino == control->inode)
		unlink(control->path);
}
