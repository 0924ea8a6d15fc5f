/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * libpool-fsid.so: statfs() with a file system number, for servers that build one into their handles.
 *
 * The kernel gives a FUSE mount no number in statfs, and a device number that changes with each mount. NFS-Ganesha takes the first, or for
 * want of it the second, into the handles it gives to clients, which then are stale after a restart. With this library in
 * LD_PRELOAD, statfs of a mount of libpool-fuse has the number that libpool-fuse tells: derived from the data set's UUID, the
 * same on every mount and every host. Everything else is left as it is.
 */
#undef _FILE_OFFSET_BITS /* both forms of each function are defined here */
#define _LARGEFILE64_SOURCE

#include <dlfcn.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/vfs.h>
#include <sys/xattr.h>

#define FUSE_MAGIC 0x65735546
#define ATTRIBUTE  "system.libpool.fsid" /* a UUID as text: see fuse-export/attributes.c */
#define PUBLIC	   __attribute__((visibility("default")))

/* Both halves of a UUID, into each other. 0 if it is none. */
static uint64_t number_of(const char *text, ssize_t length)
{
	uint32_t a, e;
	unsigned b, c, d, f;
	char copy[37];

	if (length != 36)
		return 0;
	memcpy(copy, text, 36);
	copy[36] = 0;
	if (sscanf(copy, "%8x-%4x-%4x-%4x-%4x%8x", &a, &b, &c, &d, &f, &e) != 6)
		return 0;
	return ((uint64_t)a << 32 | b << 16 | c) ^ ((uint64_t)d << 48 | (uint64_t)f << 32 | e);
}

static void put(fsid_t *fsid, uint64_t number)
{
	fsid->__val[0] = (int)(number >> 32);
	fsid->__val[1] = (int)number;
}

static int is_wanted(int code, long type, const fsid_t *fsid)
{
	return code == 0 && type == FUSE_MAGIC && fsid->__val[0] == 0 && fsid->__val[1] == 0;
}

#define DEFINE(FUNCTION, TYPE, WHAT, GETXATTR)                                                                                          \
	PUBLIC int FUNCTION(WHAT, struct TYPE *result)                                                                                  \
	{                                                                                                                               \
		int (*next)(WHAT, struct TYPE *) = (int (*)(WHAT, struct TYPE *))dlsym(RTLD_NEXT, #FUNCTION);                           \
		int code, saved = errno;                                                                                                \
		char text[64];                                                                                                          \
                                                                                                                                        \
		if (!next) {                                                                                                            \
			errno = ENOSYS;                                                                                                 \
			return -1;                                                                                                      \
		}                                                                                                                       \
		code = next(what, result);                                                                                              \
		if (is_wanted(code, (long)result->f_type, &result->f_fsid)) {                                                           \
			put(&result->f_fsid, number_of(text, GETXATTR(what, ATTRIBUTE, text, sizeof(text))));                           \
			errno = saved;                                                                                                  \
		}                                                                                                                       \
		return code;                                                                                                            \
	}

DEFINE(statfs, statfs, const char *what, getxattr)
DEFINE(statfs64, statfs64, const char *what, getxattr)
DEFINE(fstatfs, statfs, int what, fgetxattr)
DEFINE(fstatfs64, statfs64, int what, fgetxattr)
