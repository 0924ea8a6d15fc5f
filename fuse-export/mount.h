/* SPDX-License-Identifier: BSD-2-Clause */
/* One mounted file system, as the files of this folder share it. */
#ifndef FUSE_EXPORT_MOUNT_H
#define FUSE_EXPORT_MOUNT_H

#define FUSE_USE_VERSION 312

#include <fuse_lowlevel.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <libpool.h>

#include "fuse-export/look.h"

/* Nobody else changes the file system while it is mounted: what the kernel knows stays true until it changes it. */
#define CACHE_SECONDS 3600.0
#define UNSETTLED_SECONDS 10.0 /* attributes that a commit changes */

struct volumes;

struct mount {
	struct fuse_session *fuse;
	libpool_fs *fs;
	struct volumes *volumes; /* instead of a file system */
	char fsid[37];		 /* the file system's UUID, as text */
	char casesensitivity[16]; /* the property */
	atomic_bool told[2];	 /* of access control lists, while they didn't count, and while they did: what the kernel keeps */
	bool has_spellings;	 /* a node may be found by names that no folder has */
	bool no_opens;		 /* the kernel needn't say what is opened */
	/* device.c */
	struct look look;
	uint64_t init_request;	 /* not answered yet */
	bool may_keep_setid;	 /* requests say whether they drop set-id bits */
};

/* Between the kernel's node ids and numbers of nodes: the same but for the root, which the kernel calls 1. */
static inline uint64_t node_of(fuse_ino_t ino)
{
	return ino == FUSE_ROOT_ID ? LIBPOOL_FS_ROOT : ino;
}

static inline fuse_ino_t ino_of(uint64_t node)
{
	return node == LIBPOOL_FS_ROOT ? FUSE_ROOT_ID : node;
}

static inline struct mount *mount_of(fuse_req_t request)
{
	return fuse_req_userdata(request);
}

/* convert.c */
void stat_fill(const struct libpool_attributes *attributes, struct stat *ret_stat);
/* How long a name may be known. */
double name_seconds(const struct mount *mount);
double cache_seconds(const struct libpool_attributes *attributes);
void entry_fill(const struct mount *mount, const struct libpool_attributes *attributes, struct fuse_entry_param *ret_entry);
/* The errno of a negative code of the library: what has no name in errno is an error of input and output. */
int errno_of(int64_t code);
/* Replies with 0 or the error. */
void reply_code(fuse_req_t request, int code);
/* Replies with a node that the library has held for the kernel, or the error. */
void reply_node(fuse_req_t request, int code, const struct libpool_attributes *attributes);

/*
 * attributes.c: the kernel is to ask anew for the attributes and lists of what it knows, which have changed without its doing. May be called anywhere, also before the answer to a
 * request for the same node: it takes no lock that a request has.
 */
void mount_forget(const struct mount *mount, fuse_ino_t ino);
int mount_forget_all(const struct mount *mount); /* or -ENOMEM */

/* Fills *error, and returns the code. */
int mount_fail(struct libpool_error *error, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* names.c, content.c, attributes.c: what the kernel asks for. */
void names_operations(struct fuse_lowlevel_ops *operations);
void content_operations(struct fuse_lowlevel_ops *operations);
void attributes_operations(struct fuse_lowlevel_ops *operations);
/* volume_names.c, volume_content.c: the same of volumes as files. */
void volume_names_operations(struct fuse_lowlevel_ops *operations);
void volume_content_operations(struct fuse_lowlevel_ops *operations);

#endif
