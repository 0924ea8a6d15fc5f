/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Before each write the kernel asks for a file's capabilities, since the write takes them away: one request more for each. Not of a server that has said that set-id
 * bits are its own business (FUSE_HANDLE_KILLPRIV_V2): then it remembers the answer until it asks for the file's attributes again, and says with each request
 * whether who asks drops the bits. It takes capabilities away as before, except by writes that bypass its cache. libfuse knows nothing of this; so it is put into the
 * answer to the first request, and read from others.
 */
#include "fuse-export/device.h"

#include <errno.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include <linux/fuse.h>

/* Of the request that this thread is about to serve. */
static _Thread_local bool drops_setid;

struct request {
	struct fuse_in_header header;
	union {
		struct fuse_init_in init;
		struct fuse_write_in write;
		struct fuse_setattr_in setattr;
	} body;
};

static void look_at(struct mount *mount, const void *bytes, size_t length)
{
	struct request request = {0};

	memcpy(&request, bytes, length < sizeof(request) ? length : sizeof(request));
	drops_setid = false;
	switch (request.header.opcode) {
	case FUSE_INIT:
		mount->init_request = request.header.unique;
		mount->may_keep_setid = request.body.init.flags & FUSE_HANDLE_KILLPRIV_V2;
		break;
	case FUSE_WRITE:
		drops_setid = request.body.write.write_flags & FUSE_WRITE_KILL_SUIDGID;
		break;
	case FUSE_SETATTR:
		drops_setid = request.body.setattr.valid & FATTR_KILL_SUIDGID;
		break;
	default:
		break;
	}
}

static ssize_t device_read(int descriptor, void *buffer, size_t size, void *userdata)
{
	struct mount *mount = userdata;
	ssize_t length;

	look_for_request(&mount->look, descriptor);
	length = read(descriptor, buffer, size);
	if (length > 0) {
		look_came(&mount->look);
		look_at(mount, buffer, (size_t)length);
	}
	return length;
}

/* The answer to INIT is a header and what it has of struct fuse_init_out. */
static ssize_t device_write(int descriptor, struct iovec *parts, int count, void *userdata)
{
	struct mount *mount = userdata;
	struct fuse_out_header header;
	struct fuse_init_out init;

	look_answered(&mount->look);
	if (mount->init_request && count == 2 && parts[0].iov_len == sizeof(header) && parts[1].iov_len <= sizeof(init)) {
		memcpy(&header, parts[0].iov_base, sizeof(header));
		if (header.unique == mount->init_request) {
			struct iovec changed[2] = {parts[0], {&init, parts[1].iov_len}};

			mount->init_request = 0;
			memcpy(&init, parts[1].iov_base, parts[1].iov_len);
			if (mount->may_keep_setid)
				init.flags |= FUSE_HANDLE_KILLPRIV_V2;
			return writev(descriptor, changed, 2);
		}
	}
	return writev(descriptor, parts, count);
}

void device_take(struct fuse_session *session)
{
	static const struct fuse_custom_io functions = {.writev = device_write, .read = device_read};

	(void)fuse_session_custom_io(session, &functions, fuse_session_fd(session));
}

bool device_drops_setid(fuse_req_t request)
{
	return mount_of(request)->may_keep_setid ? drops_setid : fuse_req_ctx(request)->uid != 0;
}
