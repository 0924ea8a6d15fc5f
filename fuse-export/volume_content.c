/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reading and writing volumes that are shown as files. The kernel caches nothing of them: the pool does, others may have the volume open besides, and whoever
 * takes a file for a disk has a cache of his own.
 */
#include "fuse-export/volume.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fuse.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifndef FOPEN_PARALLEL_DIRECT_WRITES
#define FOPEN_PARALLEL_DIRECT_WRITES (1 << 6) /* Linux 6.2; older ones pass over it */
#endif

static struct volume_handle *handle_of(const struct fuse_file_info *info)
{
	return (struct volume_handle *)(uintptr_t)info->fh; /* NOLINT: as we gave it */
}

/* ---- open and close ---- */

static void handle_free(struct volumes *volumes, struct volume_handle *handle)
{
	pthread_mutex_lock(&volumes->lock);
	*handle->link = handle->next;
	if (handle->next)
		handle->next->link = handle->link;
	pthread_mutex_unlock(&volumes->lock);
	(void)libpool_volume_close(handle->volume);
	free(handle);
}

static int handle_new(struct volumes *volumes, struct volume_node *node, bool read_only, struct volume_handle **ret_handle)
{
	struct libpool_open_options options = {.size = sizeof(options), .read_only = read_only, .user = volumes->user};
	struct libpool_volume_info info = LIBPOOL_INIT(libpool_volume_info);
	struct volume_handle *handle = calloc(1, sizeof(*handle));
	int code = handle ? libpool_volume_open(volumes->pool, node->name, &options, &handle->volume, NULL) : -ENOMEM;

	if (code == 0) {
		code = libpool_volume_get_info(handle->volume, &info);
		if (code == 0 && info.created_ns != node->created_ns)
			code = -ESTALE;
		if (code < 0)
			(void)libpool_volume_close(handle->volume);
	}
	if (code < 0) {
		free(handle);
		return code == -ENOENT ? -ESTALE : code;
	}
	handle->node = node;
	pthread_mutex_lock(&volumes->lock);
	handle->next = volumes->handles;
	handle->link = &volumes->handles;
	if (handle->next)
		handle->next->link = &handle->next;
	volumes->handles = handle;
	pthread_mutex_unlock(&volumes->lock);
	*ret_handle = handle;
	return 0;
}

/*
 * O_TRUNC has no meaning, as with block devices. The answer is put together here: this version of libfuse can't say that writes need not wait for each
 * other, and those of a disk must not.
 */
static void do_open(fuse_req_t request, fuse_ino_t ino, struct fuse_file_info *info)
{
	struct volumes *volumes = volumes_of(request);
	struct volume_handle *handle;
	int code = handle_new(volumes, volume_node_of(volumes, ino), (info->flags & O_ACCMODE) == O_RDONLY, &handle);

	if (code < 0) {
		fuse_reply_err(request, errno_of(code));
		return;
	}
	struct fuse_open_out answer = {.fh = (uintptr_t)handle, .open_flags = FOPEN_DIRECT_IO | FOPEN_PARALLEL_DIRECT_WRITES};

	/* Who asked is gone: the kernel will not close what it never got. */
	if (fuse_reply_buf(request, (const char *)&answer, sizeof(answer)) == -ENOENT)
		handle_free(volumes, handle);
}

static void do_release(fuse_req_t request, fuse_ino_t ino, struct fuse_file_info *info)
{
	(void)ino;
	handle_free(volumes_of(request), handle_of(info));
	fuse_reply_err(request, 0);
}

/* ---- content ---- */

/* How much of a range that the library found to be beyond the end lies within: 0 to length. */
static int within(libpool_volume *volume, uint64_t offset, uint64_t length, uint64_t *ret_length)
{
	struct libpool_volume_info info = LIBPOOL_INIT(libpool_volume_info);
	int code = libpool_volume_get_info(volume, &info);

	if (code == 0)
		*ret_length = offset >= info.volume_bytes ? 0 : length < info.volume_bytes - offset ? length : info.volume_bytes - offset;
	return code;
}

static void do_read(fuse_req_t request, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *info)
{
	libpool_volume *volume = handle_of(info)->volume;
	char *buffer = malloc(size);
	uint64_t length = size;
	int code = buffer ? libpool_volume_read(volume, (uint64_t)offset, size, buffer) : -ENOMEM;

	(void)ino;
	if (code == -EINVAL) {
		code = within(volume, (uint64_t)offset, size, &length);
		if (code == 0 && length)
			code = libpool_volume_read(volume, (uint64_t)offset, (size_t)length, buffer);
	}
	if (code < 0)
		fuse_reply_err(request, errno_of(code));
	else
		fuse_reply_buf(request, buffer, (size_t)length);
	free(buffer);
}

/* Beyond the end there is no space, as on a disk. The kernel leaves O_SYNC and O_DSYNC to us where it caches nothing. */
static int write_part(const struct fuse_file_info *info, uint64_t offset, uint64_t *length, const char *data)
{
	libpool_volume *volume = handle_of(info)->volume;
	int code = libpool_volume_write(volume, offset, (size_t)*length, data);

	if (code == -EINVAL) {
		code = within(volume, offset, *length, length);
		if (code == 0 && *length == 0)
			code = -ENOSPC;
		if (code == 0)
			code = libpool_volume_write(volume, offset, (size_t)*length, data);
	}
	if (code == 0 && info->flags & O_DSYNC)
		code = libpool_volume_flush(volume);
	return code;
}

static void do_write(fuse_req_t request, fuse_ino_t ino, const char *data, size_t size, off_t offset, struct fuse_file_info *info)
{
	uint64_t length = size;
	int code = write_part(info, (uint64_t)offset, &length, data);

	(void)ino;
	if (code < 0) {
		fuse_reply_err(request, errno_of(code));
		return;
	}
	handle_of(info)->node->modified_ns = ns_now();
	fuse_reply_write(request, (size_t)length);
}

static void do_fsync(fuse_req_t request, fuse_ino_t ino, int data_only, struct fuse_file_info *info)
{
	(void)ino, (void)data_only;
	reply_code(request, libpool_volume_flush(handle_of(info)->volume));
}

/*
 * A hole reads as zeroes to its last byte, as nbdkit and others rely on: so it is zeroing, which frees what it can, and not a trim, which leaves the ends of
 * the range as they are. No space is set aside.
 */
static int allocate(libpool_volume *volume, int mode, uint64_t offset, uint64_t length)
{
	bool keep = mode & FALLOC_FL_KEEP_SIZE, zero = mode == (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE) || (mode & ~FALLOC_FL_KEEP_SIZE) == FALLOC_FL_ZERO_RANGE;
	uint64_t inside;
	int code;

	if (!zero && mode & ~FALLOC_FL_KEEP_SIZE)
		return -EOPNOTSUPP;
	code = within(volume, offset, length, &inside);
	if (code == 0 && inside < length && !keep)
		code = -ENOSPC;
	if (code == 0 && zero && inside)
		code = libpool_volume_zero(volume, offset, inside);
	return code;
}

static void do_fallocate(fuse_req_t request, fuse_ino_t ino, int mode, off_t offset, off_t length, struct fuse_file_info *info)
{
	int code = allocate(handle_of(info)->volume, mode, (uint64_t)offset, (uint64_t)length);

	(void)ino;
	if (code == 0)
		handle_of(info)->node->modified_ns = ns_now();
	reply_code(request, code);
}

static int seek(libpool_volume *volume, uint64_t offset, bool data, uint64_t *ret_found)
{
	struct libpool_volume_info info = LIBPOOL_INIT(libpool_volume_info);
	int code = libpool_volume_get_info(volume, &info);

	if (code == 0 && offset >= info.volume_bytes)
		code = -ENXIO;
	if (code == 0)
		code = libpool_volume_seek(volume, offset, data, ret_found);
	/* The end is a hole. */
	return code == 0 && data && *ret_found >= info.volume_bytes ? -ENXIO : code;
}

static void do_lseek(fuse_req_t request, fuse_ino_t ino, off_t offset, int whence, struct fuse_file_info *info)
{
	uint64_t found;
	int code = offset < 0 ? -ENXIO : -EINVAL;

	(void)ino;
	if (offset >= 0 && (whence == SEEK_DATA || whence == SEEK_HOLE))
		code = seek(handle_of(info)->volume, (uint64_t)offset, whence == SEEK_DATA, &found);
	if (code < 0)
		fuse_reply_err(request, errno_of(code));
	else
		fuse_reply_lseek(request, (off_t)found);
}

void volume_content_operations(struct fuse_lowlevel_ops *operations)
{
	operations->open = do_open;
	operations->release = do_release;
	operations->read = do_read;
	operations->write = do_write;
	operations->fsync = do_fsync;
	operations->fallocate = do_fallocate;
	operations->lseek = do_lseek;
}

void volumes_free(struct volumes *volumes)
{
	if (!volumes)
		return;
	while (volumes->handles)
		handle_free(volumes, volumes->handles);
	for (struct volume_node *node = volumes->nodes, *next; node; node = next) {
		next = node->next;
		free(node);
	}
	pthread_mutex_destroy(&volumes->lock);
	free(volumes);
}
