/* SPDX-License-Identifier: BSD-2-Clause */
/* Attributes, extended attributes, and the figures of the whole. */
#include "fuse-export/device.h"

#include <errno.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void reply_attributes(fuse_req_t request, int code, const struct libpool_attributes *attributes)
{
	struct stat stat;

	if (code < 0) {
		fuse_reply_err(request, errno_of(code));
		return;
	}
	stat_fill(attributes, &stat);
	fuse_reply_attr(request, &stat, cache_seconds(attributes));
}

static void do_getattr(fuse_req_t request, fuse_ino_t ino, struct fuse_file_info *info)
{
	struct libpool_attributes attributes = LIBPOOL_INIT(libpool_attributes);

	(void)info;
	reply_attributes(request, libpool_fs_get(mount_of(request)->fs, node_of(ino), &attributes), &attributes);
}

void mount_forget(const struct mount *mount, fuse_ino_t ino)
{
	(void)fuse_lowlevel_notify_inval_inode(mount->fuse, ino, -1, 0);
}

int mount_forget_all(const struct mount *mount)
{
	uint64_t *nodes = NULL;
	size_t count = 0;
	int code = libpool_fs_held(mount->fs, &nodes, &count);

	if (code < 0)
		return code;
	mount_forget(mount, FUSE_ROOT_ID);
	for (size_t i = 0; i < count; i++)
		mount_forget(mount, ino_of(nodes[i]));
	libpool_free(nodes);
	return 0;
}

static struct libpool_time time_in(const struct timespec *time)
{
	return (struct libpool_time){.seconds = time->tv_sec, .nanoseconds = (uint32_t)time->tv_nsec};
}

static struct libpool_time time_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return time_in(&now);
}

static void do_setattr(fuse_req_t request, fuse_ino_t ino, struct stat *stat, int to_set, struct fuse_file_info *info)
{
	static const struct {
		int kernel;
		uint32_t library;
	} flags[] = {
		{FUSE_SET_ATTR_MODE, LIBPOOL_SET_MODE},     {FUSE_SET_ATTR_UID, LIBPOOL_SET_UID},
		{FUSE_SET_ATTR_GID, LIBPOOL_SET_GID},       {FUSE_SET_ATTR_SIZE, LIBPOOL_SET_LENGTH},
		{FUSE_SET_ATTR_ATIME, LIBPOOL_SET_ACCESS},  {FUSE_SET_ATTR_ATIME_NOW, LIBPOOL_SET_ACCESS},
		{FUSE_SET_ATTR_MTIME, LIBPOOL_SET_MODIFY},  {FUSE_SET_ATTR_MTIME_NOW, LIBPOOL_SET_MODIFY},
		{FUSE_SET_ATTR_CTIME, LIBPOOL_SET_CHANGE},
	};
	struct libpool_attributes attributes = LIBPOOL_INIT(libpool_attributes);
	struct libpool_set set = {
		.size = sizeof(set),
		.mode = stat->st_mode,
		.uid = stat->st_uid,
		.gid = stat->st_gid,
		.length = (uint64_t)stat->st_size,
		.access = to_set & FUSE_SET_ATTR_ATIME_NOW ? time_now() : time_in(&stat->st_atim),
		.modify = to_set & FUSE_SET_ATTR_MTIME_NOW ? time_now() : time_in(&stat->st_mtim),
		.change = time_in(&stat->st_ctim),
	};

	(void)info;
	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
		if (to_set & flags[i].kernel)
			set.what |= flags[i].library;
	if (set.what & LIBPOOL_SET_LENGTH && device_drops_setid(request))
		set.what |= LIBPOOL_SET_DROP_SETID;
	reply_attributes(request, libpool_fs_set(mount_of(request)->fs, node_of(ino), &set, &attributes), &attributes);
}

static void do_statfs(fuse_req_t request, fuse_ino_t ino)
{
	struct libpool_fs_space space = LIBPOOL_INIT(libpool_fs_space);
	int code = libpool_fs_space(mount_of(request)->fs, &space);

	(void)ino;
	if (code < 0) {
		fuse_reply_err(request, errno_of(code));
		return;
	}
	const uint64_t block = 4096, node_bytes = 512; /* nodes are limited by space alone */
	struct statvfs figures = {
		.f_bsize = block,
		.f_frsize = block,
		.f_blocks = space.total_bytes / block,
		.f_bfree = space.free_bytes / block,
		.f_bavail = space.free_bytes / block,
		.f_files = space.nodes + space.free_bytes / node_bytes,
		.f_ffree = space.free_bytes / node_bytes,
		.f_favail = space.free_bytes / node_bytes,
		.f_namemax = LIBPOOL_NAME_MAX,
	};
	fuse_reply_statfs(request, &figures);
}

/* ---- projects ---- */

/*
 * What chattr -p and lsattr -p do. What is made in a directory is of its project: that can't be turned off, and no other flag exists. Those programs ask for
 * the flags in their older form first, and set them as they were.
 */
static void get_flags(fuse_req_t request, fuse_ino_t ino)
{
	struct libpool_attributes attributes = LIBPOOL_INIT(libpool_attributes);
	int code = libpool_fs_get(mount_of(request)->fs, node_of(ino), &attributes);
	uint32_t flags = S_ISDIR(attributes.mode) ? FS_PROJINHERIT_FL : 0;

	if (code < 0)
		fuse_reply_err(request, errno_of(code));
	else
		fuse_reply_ioctl(request, 0, &flags, sizeof(flags));
}

static void set_flags(fuse_req_t request, uint32_t flags)
{
	if (flags & ~(uint32_t)FS_PROJINHERIT_FL)
		fuse_reply_err(request, EOPNOTSUPP);
	else
		fuse_reply_ioctl(request, 0, NULL, 0);
}

static void get_project(fuse_req_t request, fuse_ino_t ino)
{
	struct libpool_attributes attributes = LIBPOOL_INIT(libpool_attributes);
	int code = libpool_fs_get(mount_of(request)->fs, node_of(ino), &attributes);
	struct fsxattr all = {.fsx_projid = attributes.project, .fsx_xflags = S_ISDIR(attributes.mode) ? FS_XFLAG_PROJINHERIT : 0};

	if (code < 0)
		fuse_reply_err(request, errno_of(code));
	else
		fuse_reply_ioctl(request, 0, &all, sizeof(all));
}

static void set_project(fuse_req_t request, fuse_ino_t ino, const struct fsxattr *all)
{
	struct libpool_set set = {.size = sizeof(set), .what = LIBPOOL_SET_PROJECT, .project = all->fsx_projid};
	struct libpool_attributes attributes = LIBPOOL_INIT(libpool_attributes);
	int code = all->fsx_xflags & ~(uint32_t)FS_XFLAG_PROJINHERIT || all->fsx_extsize || all->fsx_cowextsize ? -EOPNOTSUPP : 0;

	/* Before Linux 5.13 the kernel doesn't ask whose it is. */
	if (code == 0)
		code = libpool_fs_get(mount_of(request)->fs, node_of(ino), &attributes);
	if (code == 0 && fuse_req_ctx(request)->uid != 0 && fuse_req_ctx(request)->uid != attributes.uid)
		code = -EPERM;
	if (code == 0)
		code = libpool_fs_set(mount_of(request)->fs, node_of(ino), &set, NULL);
	if (code < 0) {
		fuse_reply_err(request, errno_of(code));
		return;
	}
	/* The kernel doesn't know that this has changed attributes, and hears of it before whoever asked goes on. */
	mount_forget(mount_of(request), ino);
	fuse_reply_ioctl(request, 0, NULL, 0);
}

/* The argument is an int, whatever the command's number says. */
static bool takes_flags(unsigned command, unsigned wanted, size_t size)
{
	return command == wanted && size >= sizeof(uint32_t);
}

static void do_ioctl(fuse_req_t request, fuse_ino_t ino, unsigned command, void *argument, struct fuse_file_info *info, unsigned flags, const void *in,
		     size_t in_size, size_t out_size)
{
	(void)argument, (void)info;
	if (takes_flags(command, FS_IOC_GETFLAGS, out_size)) {
		get_flags(request, ino);
	} else if (takes_flags(command, FS_IOC_SETFLAGS, in_size)) {
		uint32_t wanted;

		memcpy(&wanted, in, sizeof(wanted));
		set_flags(request, wanted);
	} else if (!(flags & FUSE_IOCTL_COMPAT) && command == FS_IOC_FSGETXATTR && out_size >= sizeof(struct fsxattr)) {
		get_project(request, ino);
	} else if (!(flags & FUSE_IOCTL_COMPAT) && command == FS_IOC_FSSETXATTR && in_size >= sizeof(struct fsxattr)) {
		struct fsxattr all;

		memcpy(&all, in, sizeof(all));
		set_project(request, ino, &all);
	} else {
		fuse_reply_err(request, ENOTTY);
	}
}

/* ---- extended attributes ---- */

/*
 * The file system's UUID, on each of its nodes, never listed: what NFS servers need to tell it from others, restart or not.
 * exports(5) takes it as fsid=, and preload/fsid.c makes of it the number that Ganesha looks for.
 */
#define FSID_NAME "system.libpool.fsid"
#define CASE_NAME "system.libpool.casesensitivity" /* the property: who shares the file system has to know */

/* NULL: none of these. */
static const char *own_attribute(const struct mount *mount, const char *name)
{
	if (strcmp(name, FSID_NAME) == 0)
		return mount->fsid;
	return strcmp(name, CASE_NAME) == 0 ? mount->casesensitivity : NULL;
}

static bool is_list(const char *name)
{
	return strcmp(name, "system.posix_acl_access") == 0 || strcmp(name, "system.posix_acl_default") == 0;
}

/* The namespaces that Linux knows: it asks a FUSE file system for any name. 0 or why not. */
static int xattr_name_check(const char *name)
{
	static const char *const namespaces[] = {"user.", "trusted.", "security."};

	if (is_list(name))
		return 0;
	for (size_t i = 0; i < sizeof(namespaces) / sizeof(namespaces[0]); i++) {
		size_t length = strlen(namespaces[i]);

		if (strncmp(name, namespaces[i], length) == 0)
			return name[length] ? 0 : -EINVAL;
	}
	return -EOPNOTSUPP;
}

static void do_setxattr(fuse_req_t request, fuse_ino_t ino, const char *name, const char *value, size_t size, int flags)
{
	uint32_t known = (flags & 1 ? LIBPOOL_XATTR_CREATE : 0u) | (flags & 2 ? LIBPOOL_XATTR_REPLACE : 0u);

	int code = own_attribute(mount_of(request), name) ? -EPERM : xattr_name_check(name);

	reply_code(request, code < 0 ? code : libpool_fs_setxattr(mount_of(request)->fs, node_of(ino), name, value, size, known));
}

/* A value or the names; for size 0 only how long they are. */
static void reply_bytes(fuse_req_t request, int64_t length, const char *bytes, size_t size)
{
	if (length < 0)
		fuse_reply_err(request, errno_of(length));
	else if (size == 0)
		fuse_reply_xattr(request, (size_t)length);
	else
		fuse_reply_buf(request, bytes, (size_t)length);
}

/*
 * Where lists don't count there are none: the kernel asks for them in order to check permissions, and takes another error for the file's. It keeps the answer:
 * whoever looks at the property later (mounts.c) has to know of it before it is given, and that it was given by what the property says from then on. (An answer
 * that is on its way while the kernel is told to forget isn't kept.)
 */
static int64_t get_list(struct mount *mount, uint64_t node, const char *name, char *value, size_t size)
{
	bool known, counts;
	int64_t length;

	do {
		const bool told[2] = {atomic_load(&mount->told[0]), atomic_load(&mount->told[1])};

		length = libpool_fs_getxattr(mount->fs, node, name, value, size);
		counts = length != -EOPNOTSUPP;
		known = told[counts];
		atomic_store(&mount->told[counts], true);
	} while (!known);
	return counts ? length : -ENODATA;
}

static int64_t get_xattr(struct mount *mount, uint64_t node, const char *name, char *value, size_t size)
{
	int64_t code = xattr_name_check(name);

	if (code < 0)
		return code;
	return is_list(name) ? get_list(mount, node, name, value, size) : libpool_fs_getxattr(mount->fs, node, name, value, size);
}

static void do_getxattr(fuse_req_t request, fuse_ino_t ino, const char *name, size_t size)
{
	char *value;
	int64_t length;

	const char *own = own_attribute(mount_of(request), name);

	if (own) {
		length = (int64_t)strlen(own);
		reply_bytes(request, size && (int64_t)size < length ? -ERANGE : length, own, size);
		return;
	}
	value = size ? malloc(size) : NULL;
	length = size && !value ? -ENOMEM : get_xattr(mount_of(request), node_of(ino), name, value, size);
	reply_bytes(request, length, value, size);
	free(value);
}

/* Takes out those that only root may know of; returns the length of the rest. */
static int64_t without_trusted(char *names, int64_t length)
{
	int64_t kept = 0;

	for (int64_t at = 0; at < length;) {
		int64_t one = (int64_t)strlen(names + at) + 1;

		if (strncmp(names + at, "trusted.", 8) != 0) {
			memmove(names + kept, names + at, (size_t)one);
			kept += one;
		}
		at += one;
	}
	return kept;
}

/* All names are read, so that their length without some is known too. */
static void do_listxattr(fuse_req_t request, fuse_ino_t ino, size_t size)
{
	libpool_fs *fs = mount_of(request)->fs;
	int64_t length = libpool_fs_listxattr(fs, node_of(ino), NULL, 0);
	char *names = length > 0 ? malloc((size_t)length) : NULL;

	if (length > 0)
		length = names ? libpool_fs_listxattr(fs, node_of(ino), names, (size_t)length) : -ENOMEM;
	if (length > 0 && fuse_req_ctx(request)->uid != 0)
		length = without_trusted(names, length);
	if (size && length > (int64_t)size)
		length = -ERANGE;
	reply_bytes(request, length, names, size);
	free(names);
}

/* A list that isn't there can be taken away, as from file systems of the kernel: NFS servers do that. */
static void do_removexattr(fuse_req_t request, fuse_ino_t ino, const char *name)
{
	int code = own_attribute(mount_of(request), name) ? -EPERM : xattr_name_check(name);

	if (code == 0)
		code = libpool_fs_removexattr(mount_of(request)->fs, node_of(ino), name);
	reply_code(request, code == -ENODATA && strncmp(name, "system.", 7) == 0 ? 0 : code);
}

void attributes_operations(struct fuse_lowlevel_ops *operations)
{
	operations->getattr = do_getattr;
	operations->setattr = do_setattr;
	operations->statfs = do_statfs;
	operations->ioctl = do_ioctl;
	operations->setxattr = do_setxattr;
	operations->getxattr = do_getxattr;
	operations->listxattr = do_listxattr;
	operations->removexattr = do_removexattr;
}
