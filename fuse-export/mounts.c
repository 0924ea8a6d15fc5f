/* SPDX-License-Identifier: BSD-2-Clause */
#include "fuse-export/mounts.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "fuse-export/point.h"
#include "fuse-export/volumes.h"

static bool has_lists(const struct mounts *mounts, const char *dataset)
{
	struct libpool_property acl = LIBPOOL_INIT(libpool_property);

	return libpool_property_get(mounts->pool, dataset, "acl", &acl, NULL) == 0 && strcmp(acl.value, "off") != 0;
}

/*
 * Of what the kernel keeps, properties change the access control lists alone: it would go on as they said, or as if there were none. (Names and content of a file system
 * change by its own requests only, as nobody else has it open, and of volumes it keeps nothing.) What the property was meanwhile matters, too: the kernel may have been
 * told of lists by that.
 */
static void look_at_properties(struct mounts *mounts)
{
	for (struct session *session = mounts->first; session; session = session->next) {
		struct mount *mount = &session->mount;
		bool lists = mount->fs && has_lists(mounts, session->source + strlen(mounts->pool_name) + 1);

		if (mount->fs && atomic_exchange(&mount->told[!lists], false) && mount_forget_all(mount) < 0)
			atomic_store(&mount->told[!lists], true); /* for the next time */
	}
}

/* Whoever has the lock looks for those who didn't wait for it. */
static void unlock(struct mounts *mounts)
{
	do {
		if (atomic_exchange(&mounts->properties_set, false))
			look_at_properties(mounts);
		pthread_mutex_unlock(&mounts->lock);
	} while (atomic_load(&mounts->properties_set) && pthread_mutex_trylock(&mounts->lock) == 0);
}

void mounts_properties_set(struct mounts *mounts)
{
	atomic_store(&mounts->properties_set, true);
	if (pthread_mutex_trylock(&mounts->lock) == 0)
		unlock(mounts);
}

/* mounts_reap may have gone by meanwhile. */
static void leave(struct mounts *mounts)
{
	unlock(mounts);
	eventfd_write(mounts->ended, 1);
}

static void move(void *argument, const struct place *place, const char *source, const char *path)
{
	struct mounts *mounts = argument;

	for (struct session *session = mounts->first; session; session = session->next)
		if (place_is(&session->place, place) && strcmp(session->source, source) == 0)
			snprintf(session->point, sizeof(session->point), "%s", path);
}

/*
 * Where the kernel shows them by now: folders above may have been renamed, and one that is found by several spellings is shown by the
 * last that anybody looked for.
 */
static void update_points(struct mounts *mounts)
{
	places_each(move, mounts);
}

/* By the path that the kernel shows, or by any other that leads to it. */
static struct session *find(const struct mounts *mounts, const char *point)
{
	struct session *session = mounts->first;
	struct place place;

	while (session && strcmp(session->point, point) != 0)
		session = session->next;
	if (session || !place_at(&place, point))
		return session;
	session = mounts->first;
	while (session && !place_is(&session->place, &place))
		session = session->next;
	return session;
}

static void take_out(struct mounts *mounts, const struct session *session)
{
	struct session **link = &mounts->first;

	while (*link != session)
		link = &(*link)->next;
	*link = session->next;
}

static void end_one(struct mounts *mounts, struct session *session)
{
	take_out(mounts, session);
	session_end(session);
	if (session->mount.fs)
		(void)libpool_fs_close(session->mount.fs);
	volumes_free(session->mount.volumes);
	free(session);
}

/* The UUID of what is open: it stays the same as long as the file system is there. */
static int find_fsid(struct mounts *mounts, const char *dataset, struct session *session, struct libpool_error *error)
{
	struct libpool_fs_info *infos = NULL;
	size_t count = 0;
	int code = libpool_filesystems(mounts->pool, &infos, &count);

	for (size_t i = 0; code == 0 && i < count; i++) {
		const struct libpool_fs_info *info = LIBPOOL_ELEMENT(libpool_fs_info, infos, i);
		const uint8_t *g = info->guid;

		if (strcmp(info->name, dataset) == 0)
			snprintf(session->mount.fsid, sizeof(session->mount.fsid), "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x",
				 g[0], g[1], g[2], g[3], g[4], g[5], g[6], g[7], g[8], g[9], g[10], g[11], g[12], g[13], g[14], g[15]);
	}
	libpool_free(infos);
	if (code == 0 && !session->mount.fsid[0])
		code = -ENOENT;
	return code < 0 ? mount_fail(error, code, "the UUID of %s can't be read: %s", session->source, libpool_strerror(code)) : 0;
}

/* How it compares names. */
static int find_names(struct mounts *mounts, const char *dataset, struct mount *mount, struct libpool_error *error)
{
	struct libpool_property casesensitivity = LIBPOOL_INIT(libpool_property), normalization = LIBPOOL_INIT(libpool_property);
	int code = libpool_property_get(mounts->pool, dataset, "casesensitivity", &casesensitivity, error);

	if (code == 0)
		code = libpool_property_get(mounts->pool, dataset, "normalization", &normalization, error);
	if (code < 0)
		return code;
	snprintf(mount->casesensitivity, sizeof(mount->casesensitivity), "%.15s", casesensitivity.value);
	mount->has_spellings = strcmp(casesensitivity.value, "sensitive") != 0 || strcmp(normalization.value, "none") != 0;
	return 0;
}

static int add_one(struct mounts *mounts, const char *dataset, struct point *point, const struct mount_options *options, struct libpool_error *error)
{
	struct libpool_open_options open = {.size = sizeof(open), .read_only = options->read_only};
	char user[LIBPOOL_TEXT_MAX];
	struct session *session;
	int code = point_check(point, options, error);

	if (code < 0)
		return code;
	session = calloc(1, sizeof(*session));
	if (!session)
		return mount_fail(error, -ENOMEM, "there is no memory for a mount");
	snprintf(session->source, sizeof(session->source), "%s%s%s", mounts->pool_name, dataset[0] ? "/" : "", dataset);
	snprintf(session->point, sizeof(session->point), "%s", point->path);
	snprintf(user, sizeof(user), "libpool-fuse pid %ld at %.180s", (long)getpid(), point->path);
	open.user = user;
	session->ended = mounts->ended;
	session->next = mounts->first;
	mounts->first = session;
	code = options->volumes ? volumes_new(mounts->pool, dataset, user, &session->mount.volumes, error) :
				  libpool_fs_open(mounts->pool, dataset, &open, &session->mount.fs, error);
	if (code == 0 && session->mount.fs)
		code = find_fsid(mounts, dataset, session, error);
	if (code == 0 && session->mount.fs)
		code = find_names(mounts, dataset, &session->mount, error);
	if (code == 0)
		code = session_mount(session, point->directory, options, error);
	if (code == 0) {
		code = session_start(session);
		if (code < 0)
			mount_fail(error, code, "%s can't be served: %s", session->source, strerror(-code));
	}
	if (code == 0) {
		code = point_confirm(point, error);
		snprintf(session->point, sizeof(session->point), "%s", point->path);
	}
	if (code < 0)
		end_one(mounts, session);
	return code;
}

/* ---- trees ---- */

static int compare_names(const void *a, const void *b)
{
	return strcmp(((const struct libpool_fs_info *)a)->name, ((const struct libpool_fs_info *)b)->name);
}

/* The descriptors are closed before anything is undone: a mount lasts while one of it is open. */
static int add_at(struct mounts *mounts, const char *dataset, const char *directory, const struct mount_options *options, struct libpool_error *error)
{
	struct point point;
	int code = point_open(&point, directory, error);

	if (code == 0)
		code = add_one(mounts, dataset, &point, options, error);
	point_close(&point);
	return code;
}

/* In the file system above it, which is mounted by then. */
static int add_child(struct mounts *mounts, const char *dataset, const struct point *top, const char *name, const struct mount_options *options,
		     struct libpool_error *error)
{
	struct point point;
	int code = point_make(&point, top, name, error);

	if (code == 0)
		code = add_one(mounts, dataset, &point, options, error);
	point_close(&point);
	return code;
}

/* What lies in the dataset; above comes before below. */
static int add_children(struct mounts *mounts, const char *dataset, const char *directory, const struct mount_options *options, int *count,
			struct libpool_error *error)
{
	struct libpool_fs_info *infos = NULL;
	size_t length = strlen(dataset), total = 0;
	struct point top;
	int code = libpool_filesystems(mounts->pool, &infos, &total);

	if (code < 0)
		return mount_fail(error, code, "listing the file systems of pool %s: %s", mounts->pool_name, libpool_strerror(code));
	if (total)
		qsort(infos, total, infos->size, compare_names);
	code = point_open(&top, directory, error);
	for (size_t i = 0; i < total && code == 0; i++) {
		const char *name = LIBPOOL_ELEMENT(libpool_fs_info, infos, i)->name;

		if (length && (strncmp(name, dataset, length) != 0 || name[length] != '/'))
			continue;
		code = add_child(mounts, name, &top, name + length + (length > 0), options, error);
		*count += code == 0;
	}
	point_close(&top);
	libpool_free(infos);
	return code;
}

static void undo(struct mounts *mounts, const struct session *before)
{
	while (mounts->first != before)
		end_one(mounts, mounts->first);
}

static int check_options(const struct mounts *mounts, const char *dataset, const struct mount_options *options, struct libpool_error *error)
{
	if (!options->nochildren || (dataset[0] && !options->volumes))
		return 0;
	return mount_fail(error, -EINVAL, options->volumes ? "nochildren is for file systems, not for volumes" :
			  "with nochildren nothing of pool %s is mounted by its name alone: name a file system", mounts->pool_name);
}

static int has_nothing(const struct mounts *mounts, struct libpool_error *error)
{
	return mount_fail(error, -ENOENT, "pool %s has no file systems: make one with poolctl dataset create", mounts->pool_name);
}

int mounts_add(struct mounts *mounts, const char *dataset, const char *directory, const struct mount_options *options, struct libpool_error *error)
{
	int count = 0, code = 0;

	pthread_mutex_lock(&mounts->lock);
	struct session *before = mounts->first;
	if (mounts->closing)
		code = mount_fail(error, -ESHUTDOWN, "pool %s is being exported", mounts->pool_name);
	if (code == 0)
		code = check_options(mounts, dataset, options, error);
	if (code == 0 && (dataset[0] || options->volumes)) {
		code = add_at(mounts, dataset, directory, options, error);
		count = code == 0;
	}
	if (code == 0 && !options->volumes && !options->nochildren)
		code = add_children(mounts, dataset, directory, options, &count, error);
	if (code == 0 && count == 0)
		code = has_nothing(mounts, error);
	if (code < 0)
		undo(mounts, before);
	mounts->used = true;
	leave(mounts);
	return code < 0 ? code : count;
}

/* ---- beforehand ---- */

static int check_one(struct mounts *mounts, const char *dataset, const char *directory, const struct mount_options *options, struct libpool_error *error)
{
	const char *user = "libpool-fuse, which looks whether it can be mounted";
	struct libpool_open_options open = {.size = sizeof(open), .read_only = 1, .user = user};
	struct volumes *volumes = NULL;
	libpool_fs *fs = NULL;
	struct point point;
	int code = point_open(&point, directory, error);

	if (code == 0)
		code = point_check(&point, options, error);
	point_close(&point);
	if (code == 0)
		code = options->volumes ? volumes_new(mounts->pool, dataset, user, &volumes, error) : libpool_fs_open(mounts->pool, dataset, &open, &fs, error);
	volumes_free(volumes);
	if (fs)
		(void)libpool_fs_close(fs);
	return code;
}

/* Beneath a directory, where it may have to be made yet. */
static int check_all(struct mounts *mounts, const char *directory, const struct mount_options *options, struct libpool_error *error)
{
	struct libpool_fs_info *infos = NULL;
	struct point top;
	size_t count = 0;
	int code = point_open(&top, directory, error);

	point_close(&top);
	if (code == 0 && (code = libpool_filesystems(mounts->pool, &infos, &count)) < 0)
		mount_fail(error, code, "listing the file systems of pool %s: %s", mounts->pool_name, libpool_strerror(code));
	if (code == 0 && count == 0)
		code = has_nothing(mounts, error);
	for (size_t i = 0; i < count && code == 0; i++) {
		const char *name = LIBPOOL_ELEMENT(libpool_fs_info, infos, i)->name;
		char path[PATH_MAX];

		if ((size_t)snprintf(path, sizeof(path), "%s/%s", directory, name) < sizeof(path) && access(path, F_OK) == 0)
			code = check_one(mounts, name, path, options, error);
	}
	libpool_free(infos);
	return code;
}

int mounts_check(struct mounts *mounts, const char *dataset, const char *directory, const struct mount_options *options, struct libpool_error *error)
{
	int code = check_options(mounts, dataset, options, error);

	if (code == 0 && options->remount)
		code = mount_fail(error, -EINVAL, "no file system of pool %s is mounted at %s", mounts->pool_name, directory);
	if (code < 0)
		return code;
	return dataset[0] || options->volumes ? check_one(mounts, dataset, directory, options, error) : check_all(mounts, directory, options, error);
}

void mounts_started(struct mounts *mounts)
{
	pthread_mutex_lock(&mounts->lock);
	mounts->starting = false;
	unlock(mounts);
}

/* ---- changes ---- */

/* Of volumes the kernel alone keeps those that aren't opened for writing yet, if the pool can be written to. */
static int set_read_only(const struct mounts *mounts, struct session *session, bool read_only)
{
	if (session->mount.fs)
		return libpool_fs_set_read_only(session->mount.fs, read_only);
	return mounts->read_only && !read_only ? -EROFS : 0;
}

/* Those that statvfs names by the same numbers as mount. */
#define KEPT_FLAGS (unsigned long)(MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_SYNCHRONOUS | MS_NOATIME | MS_NODIRATIME)

/* Who has a file open for writing keeps the kernel from it: first the kernel, then the library, and the other way round. */
static int change(const struct mounts *mounts, struct session *session, const struct mount_options *options, struct libpool_error *error)
{
	struct statvfs now;
	int code = 0;

	if (statvfs(session->point, &now) != 0)
		return mount_fail(error, -errno, "%s: %m", session->point);
	unsigned long wanted = options->flags | (options->read_only ? MS_RDONLY : 0);
	unsigned long flags = MS_REMOUNT | (now.f_flag & KEPT_FLAGS & ~options->named) | (wanted & (options->named | MS_RDONLY));
	bool read_only = flags & MS_RDONLY;

	/* None of the two would leave MS_NOATIME as it is. */
	if (!(flags & MS_NOATIME))
		flags |= MS_RELATIME;
	if (!read_only)
		code = set_read_only(mounts, session, false);
	if (code < 0)
		return mount_fail(error, code, "%s can't be written to: the pool is imported read-only; unmount all of it, and mount it without ro", session->source);
	if (mount(NULL, session->point, NULL, flags, NULL) != 0)
		return mount_fail(error, -errno, errno == EBUSY ? "%s can't become read-only: files are open for writing" : "%s can't be mounted anew: %m",
				  session->point);
	return read_only ? set_read_only(mounts, session, true) : 0;
}

int mounts_change(struct mounts *mounts, const char *directory, const struct mount_options *options, struct libpool_error *error)
{
	int code;

	pthread_mutex_lock(&mounts->lock);
	update_points(mounts);
	struct session *session = find(mounts, directory);
	code = session ? change(mounts, session, options, error) : mount_fail(error, -EINVAL, "no file system of pool %s is mounted at %s", mounts->pool_name, directory);
	leave(mounts);
	return code < 0 ? code : 1;
}

static bool lies_at(const struct session *session, const char *directory)
{
	size_t length = strlen(directory);

	return strncmp(session->point, directory, length) == 0 && (session->point[length] == '\0' || session->point[length] == '/');
}

/* The newest of them: what is mounted beneath another came later. */
static struct session *find_at(const struct mounts *mounts, const char *directory)
{
	struct session *session = mounts->first;

	while (session && !lies_at(session, directory))
		session = session->next;
	return session;
}

int mounts_remove(struct mounts *mounts, const char *directory, bool *ret_last, struct libpool_error *error)
{
	struct session *session;
	char point[PATH_MAX];
	int count = 0, code = 0;

	pthread_mutex_lock(&mounts->lock);
	update_points(mounts);
	session = find_at(mounts, directory) ? NULL : find(mounts, directory);
	snprintf(point, sizeof(point), "%s", session ? session->point : directory);
	while (code == 0 && (session = find_at(mounts, point))) {
		/* Others than root need a helper, which libfuse calls. */
		if (geteuid() == 0 && umount2(session->point, UMOUNT_NOFOLLOW) != 0 && errno != EINVAL && errno != ENOENT)
			code = mount_fail(error, -errno, errno == EBUSY ? "%s is in use: somebody has a file or directory open in it" : "%s: %m", session->point);
		if (code == 0) {
			end_one(mounts, session);
			count++;
		}
	}
	if (code == 0 && count == 0)
		code = mount_fail(error, -ENOENT, "no file system of pool %s is mounted at %s", mounts->pool_name, directory);
	/* Who is told so counts on it: no other comes. */
	*ret_last = code >= 0 && !mounts->first && !mounts->keeps && !mounts->starting;
	mounts->closing |= *ret_last;
	leave(mounts);
	return code < 0 ? code : count;
}

bool mounts_reap(struct mounts *mounts)
{
	/* Somebody is at work, and says when that ends: it may wait for a directory that doesn't answer. */
	if (pthread_mutex_trylock(&mounts->lock) != 0)
		return true;
	for (struct session *session = mounts->first, *next; session; session = next) {
		next = session->next;
		if (session->finished)
			end_one(mounts, session);
	}
	bool stays = mounts->first || mounts->keeps || !mounts->used;
	mounts->closing |= !stays;
	unlock(mounts);
	return stays;
}

void mounts_end(struct mounts *mounts)
{
	pthread_mutex_lock(&mounts->lock);
	mounts->closing = true;
	undo(mounts, NULL);
	unlock(mounts);
}
