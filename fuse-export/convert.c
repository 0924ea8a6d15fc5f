/* SPDX-License-Identifier: BSD-2-Clause */
/* Attributes and errors in the kernel's terms. */
#include "fuse-export/mount.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <time.h>

static struct timespec time_of(const struct libpool_time *time)
{
	return (struct timespec){.tv_sec = time->seconds, .tv_nsec = time->nanoseconds};
}

void stat_fill(const struct libpool_attributes *attributes, struct stat *ret_stat)
{
	*ret_stat = (struct stat){
		.st_ino = attributes->node,
		.st_mode = attributes->mode,
		.st_nlink = attributes->links,
		.st_uid = attributes->uid,
		.st_gid = attributes->gid,
		.st_rdev = makedev(attributes->device_major, attributes->device_minor),
		.st_size = (off_t)attributes->length,
		.st_blksize = (blksize_t)attributes->block_bytes,
		.st_blocks = (blkcnt_t)attributes->blocks,
		.st_atim = time_of(&attributes->access),
		.st_mtim = time_of(&attributes->modify),
		.st_ctim = time_of(&attributes->change),
	};
}

/*
 * How much space something takes is known when it is on disk, and changes until what was cut off is free: the kernel is to ask again. And each time about set-id
 * bits: it isn't told that a write has dropped them.
 */
double cache_seconds(const struct libpool_attributes *attributes)
{
	if (S_ISREG(attributes->mode) && attributes->mode & (S_ISUID | S_ISGID))
		return 0;
	return attributes->unsettled ? UNSETTLED_SECONDS : CACHE_SECONDS;
}

/*
 * The kernel takes names for bytes: what it knows of one spelling it doesn't know of another, when that is created, renamed or
 * removed. So it is to ask each time where there are several.
 */
double name_seconds(const struct mount *mount)
{
	return mount->has_spellings ? 0 : CACHE_SECONDS;
}

void entry_fill(const struct mount *mount, const struct libpool_attributes *attributes, struct fuse_entry_param *ret_entry)
{
	*ret_entry = (struct fuse_entry_param){
		.ino = ino_of(attributes->node),
		.generation = attributes->generation,
		.attr_timeout = cache_seconds(attributes),
		/*
		 * Of a folder the kernel has one name only, and gives that up when it learns another: it knows which names are gone. Asked each time, it
		 * would take away what is mounted beneath as soon as a question isn't answered.
		 */
		.entry_timeout = S_ISDIR(attributes->mode) ? CACHE_SECONDS : name_seconds(mount),
	};
	stat_fill(attributes, &ret_entry->attr);
}

int errno_of(int64_t code)
{
	switch (-code) {
	case LIBPOOL_EINUSE:
		return EBUSY;
	default:
		return -code > 0 && -code < LIBPOOL_EDAMAGED ? (int)-code : EIO;
	}
}

void reply_code(fuse_req_t request, int code)
{
	fuse_reply_err(request, code < 0 ? errno_of(code) : 0);
}

void reply_node(fuse_req_t request, int code, const struct libpool_attributes *attributes)
{
	struct fuse_entry_param entry;

	if (code < 0) {
		fuse_reply_err(request, errno_of(code));
		return;
	}
	entry_fill(mount_of(request), attributes, &entry);
	/* Who asked is gone: the kernel will not forget what it never got. */
	if (fuse_reply_entry(request, &entry) == -ENOENT)
		(void)libpool_fs_forget(mount_of(request)->fs, attributes->node, 1);
}

int mount_fail(struct libpool_error *error, int code, const char *format, ...)
{
	va_list arguments;

	error->code = code;
	va_start(arguments, format);
	vsnprintf(error->text, sizeof(error->text), format, arguments);
	va_end(arguments);
	return code;
}
