/* SPDX-License-Identifier: BSD-2-Clause */
/* Content of files, extended attributes, the whole. */
#include "libpool/pool/api_fs.h"

static int run_read(struct fs_call *call, struct fs_node *node)
{
	size_t done = 0;
	int result = fs_read(node, call->offset, (size_t)call->length, call->buffer, &done);

	if (result == 0 && !call->handle->read_only)
		fs_touch(node);
	call->result = done;
	return result;
}

static int64_t finish(int result, const struct fs_call *call)
{
	return result < 0 ? result : (int64_t)call->result;
}

int64_t libpool_fs_read(libpool_fs *fs, uint64_t node, uint64_t offset, size_t length, void *buffer)
{
	struct fs_call call = {.handle = fs, .node = node, .offset = offset, .length = length, .buffer = buffer};

	return finish(buffer || !length ? fs_call_node(&call, run_read, false) : -EINVAL, &call);
}

static int run_write(struct fs_call *call, struct fs_node *node)
{
	size_t done = 0;
	int result = fs_write(node, call->offset, (size_t)call->length, call->buffer, call->flags, &done);

	call->result = done;
	return result;
}

_Static_assert((int)LIBPOOL_WRITE_DROP_SETID == (int)FS_WRITE_KILL_SETID && (int)LIBPOOL_WRITE_APPEND == (int)FS_WRITE_APPEND,
	       "passed on as they are");

int64_t libpool_fs_write(libpool_fs *fs, uint64_t node, uint64_t offset, size_t length, const void *buffer, uint32_t flags)
{
	struct fs_call call = {.handle = fs, .node = node, .offset = offset, .length = length, .buffer = (void *)(uintptr_t)buffer, .flags = flags};

	return finish(buffer || !length ? fs_call_node(&call, run_write, true) : -EINVAL, &call);
}

static int run_allocate(struct fs_call *call, struct fs_node *node)
{
	return fs_allocate(node, call->mode, call->offset, call->length, call->flags);
}

int libpool_fs_allocate(libpool_fs *fs, uint64_t node, int mode, uint64_t offset, uint64_t length, uint32_t flags)
{
	struct fs_call call = {.handle = fs, .node = node, .mode = mode, .offset = offset, .length = length, .flags = flags};

	return fs_call_node(&call, run_allocate, true);
}

static int run_seek(struct fs_call *call, struct fs_node *node)
{
	return fs_seek(node, call->offset, call->mode, &call->result);
}

int libpool_fs_seek(libpool_fs *fs, uint64_t node, uint64_t offset, int data, uint64_t *ret_offset)
{
	struct fs_call call = {.handle = fs, .node = node, .offset = offset, .mode = data};
	int result = ret_offset ? fs_call_node(&call, run_seek, false) : -EINVAL;

	if (result == 0)
		*ret_offset = call.result;
	return result;
}

static int run_copy(struct fs_call *call, struct fs_node *from)
{
	struct fs_node *to;
	int result = fs_get(call->fs, call->other, 0, &to);

	if (result < 0)
		return result;
	result = fs_copy_range(from, call->offset, to, call->other_offset, call->length, call->flags, &call->result);
	fs_put(to);
	return result;
}

int64_t libpool_fs_copy(libpool_fs *fs, uint64_t from, uint64_t from_offset, uint64_t to, uint64_t to_offset, uint64_t length, uint32_t flags)
{
	struct fs_call call = {.handle = fs, .node = from, .offset = from_offset, .other = to, .other_offset = to_offset, .length = length,
			       .flags = flags};

	return finish(fs_call_node(&call, run_copy, true), &call);
}

static int run_setxattr(struct fs_call *call, struct fs_node *node)
{
	return call->mode ? fs_xattr_remove(node, call->name) : fs_xattr_set(node, call->name, call->buffer, (size_t)call->length, call->flags);
}

_Static_assert((int)LIBPOOL_XATTR_CREATE == (int)FS_XATTR_CREATE && (int)LIBPOOL_XATTR_REPLACE == (int)FS_XATTR_REPLACE,
	       "passed on as they are");

int libpool_fs_setxattr(libpool_fs *fs, uint64_t node, const char *name, const void *value, size_t length, uint32_t flags)
{
	struct fs_call call = {.handle = fs, .node = node, .name = name, .buffer = (void *)(uintptr_t)value, .length = length, .flags = flags};

	return name && (value || !length) ? fs_call_node(&call, run_setxattr, true) : -EINVAL;
}

int libpool_fs_removexattr(libpool_fs *fs, uint64_t node, const char *name)
{
	struct fs_call call = {.handle = fs, .node = node, .name = name, .mode = 1};

	return name ? fs_call_node(&call, run_setxattr, true) : -EINVAL;
}

static int run_getxattr(struct fs_call *call, struct fs_node *node)
{
	size_t length = 0;
	int result = call->name ? fs_xattr_get(node, call->name, call->buffer, (size_t)call->length, &length) :
			      fs_xattr_list(node, call->buffer, (size_t)call->length, &length);

	call->result = length;
	return result;
}

int64_t libpool_fs_getxattr(libpool_fs *fs, uint64_t node, const char *name, void *value, size_t capacity)
{
	struct fs_call call = {.handle = fs, .node = node, .name = name, .buffer = value, .length = capacity};

	return finish(name && (value || !capacity) ? fs_call_node(&call, run_getxattr, false) : -EINVAL, &call);
}

int64_t libpool_fs_listxattr(libpool_fs *fs, uint64_t node, char *names, size_t capacity)
{
	struct fs_call call = {.handle = fs, .node = node, .buffer = names, .length = capacity};

	return finish(names || !capacity ? fs_call_node(&call, run_getxattr, false) : -EINVAL, &call);
}

static int run_sync(struct fs_call *call)
{
	return fs_sync(call->fs);
}

int libpool_fs_sync(libpool_fs *fs)
{
	struct fs_call call = {.handle = fs};

	return fs_call(&call, run_sync, false);
}

static int run_space(struct fs_call *call)
{
	fs_space(call->fs, &call->space);
	return 0;
}

int libpool_fs_space(libpool_fs *fs, struct libpool_fs_space *ret_space)
{
	struct fs_call call = {.handle = fs};
	int result = api_result_check(ret_space);

	if (result == 0)
		result = fs_call(&call, run_space, false);
	if (result < 0)
		return result;
	struct libpool_fs_space space = {
		.size = sizeof(space),
		.total_bytes = call.space.total_bytes,
		.free_bytes = call.space.free_bytes,
		.used_bytes = call.space.used_bytes,
		.nodes = call.space.objects,
	};
	return api_result_copy(ret_space, &space, sizeof(space));
}
