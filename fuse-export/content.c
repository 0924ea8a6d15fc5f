/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reading and writing files. They have no state of their own here: the kernel names the node with each request, so it needn't say what is opened.
 * What is truncated when it is opened, it says as of any truncation.
 */
#include "fuse-export/device.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

/* The kernel does without this request then. */
static void do_open(fuse_req_t request, fuse_ino_t ino, struct fuse_file_info *info)
{
	(void)ino;
	if (mount_of(request)->no_opens) {
		fuse_reply_err(request, ENOSYS);
		return;
	}
	info->keep_cache = 1;
	fuse_reply_open(request, info);
}

static void do_read(fuse_req_t request, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *info)
{
	char *buffer = malloc(size);
	int64_t done = buffer ? libpool_fs_read(mount_of(request)->fs, node_of(ino), (uint64_t)offset, size, buffer) : -ENOMEM;

	(void)info;
	if (done < 0)
		fuse_reply_err(request, errno_of(done));
	else
		fuse_reply_buf(request, buffer, (size_t)done);
	free(buffer);
}

/* The kernel does, unless its cache is bypassed. */
static int drop_capabilities(libpool_fs *fs, uint64_t node)
{
	int code = libpool_fs_getxattr(fs, node, "security.capability", NULL, 0) < 0 ? 0 : libpool_fs_removexattr(fs, node, "security.capability");

	return code == -ENODATA ? 0 : code; /* another write has */
}

static void do_write(fuse_req_t request, fuse_ino_t ino, const char *data, size_t size, off_t offset, struct fuse_file_info *info)
{
	/* The kernel says where O_APPEND writes, and whether set-id bits go; it has the inode's lock. */
	uint32_t flags = device_drops_setid(request) ? LIBPOOL_WRITE_DROP_SETID : 0;
	libpool_fs *fs = mount_of(request)->fs;
	int64_t done = info->flags & O_DIRECT ? drop_capabilities(fs, node_of(ino)) : 0;

	if (done == 0)
		done = libpool_fs_write(fs, node_of(ino), (uint64_t)offset, size, data, flags);

	/* The kernel sends an fsync after it, but not when it bypassed its cache and was asynchronous, which doesn't show. */
	if (done > 0 && info->flags & O_DSYNC) {
		int code = libpool_fs_sync(fs);
		done = code < 0 ? code : done;
	}
	if (done < 0)
		fuse_reply_err(request, errno_of(done));
	else
		fuse_reply_write(request, (size_t)done);
}

static void do_release(fuse_req_t request, fuse_ino_t ino, struct fuse_file_info *info)
{
	(void)ino, (void)info;
	fuse_reply_err(request, 0);
}

/* Of a file or a directory: it makes durable all that was done before. */
static void do_fsync(fuse_req_t request, fuse_ino_t ino, int data_only, struct fuse_file_info *info)
{
	(void)ino, (void)data_only, (void)info;
	reply_code(request, libpool_fs_sync(mount_of(request)->fs));
}

/* The kernel doesn't say. */
static uint32_t flags_of(fuse_req_t request)
{
	return fuse_req_ctx(request)->uid != 0 ? LIBPOOL_WRITE_DROP_SETID : 0;
}

static void do_fallocate(fuse_req_t request, fuse_ino_t ino, int mode, off_t offset, off_t length, struct fuse_file_info *info)
{
	(void)info;
	reply_code(request, libpool_fs_allocate(mount_of(request)->fs, node_of(ino), mode, (uint64_t)offset, (uint64_t)length, flags_of(request)));
}

static void do_lseek(fuse_req_t request, fuse_ino_t ino, off_t offset, int whence, struct fuse_file_info *info)
{
	uint64_t found;
	int code = offset < 0 ? -ENXIO : -EINVAL;

	(void)info;
	if (offset >= 0 && (whence == SEEK_DATA || whence == SEEK_HOLE))
		code = libpool_fs_seek(mount_of(request)->fs, node_of(ino), (uint64_t)offset, whence == SEEK_DATA, &found);
	if (code < 0)
		fuse_reply_err(request, errno_of(code));
	else
		fuse_reply_lseek(request, (off_t)found);
}

static void do_copy(fuse_req_t request, fuse_ino_t from, off_t from_offset, struct fuse_file_info *from_info, fuse_ino_t to, off_t to_offset,
		    struct fuse_file_info *to_info, size_t length, int flags)
{
	int64_t done = -EINVAL;

	(void)from_info, (void)to_info;
	if (flags == 0)
		done = libpool_fs_copy(mount_of(request)->fs, node_of(from), (uint64_t)from_offset, node_of(to), (uint64_t)to_offset, length, flags_of(request));
	if (done < 0)
		fuse_reply_err(request, errno_of(done));
	else
		fuse_reply_write(request, (size_t)done);
}

void content_operations(struct fuse_lowlevel_ops *operations)
{
	operations->open = do_open;
	operations->read = do_read;
	operations->write = do_write;
	operations->release = do_release;
	operations->fsync = do_fsync;
	operations->fsyncdir = do_fsync;
	operations->fallocate = do_fallocate;
	operations->lseek = do_lseek;
	operations->copy_file_range = do_copy;
}
