/* SPDX-License-Identifier: BSD-2-Clause */
/* What is behind "-o": for this program, for the mount, for others, or unknown. */
#ifndef FUSE_EXPORT_OPTIONS_H
#define FUSE_EXPORT_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>

#include <libpool.h>

#define EXTRA_MAX 256

struct mount_options {
	bool read_only, allow_other;
	bool privileged;      /* root mounts: device files and set-id bits have a meaning */
	bool nonempty;        /* the directory may have something in it, which is then hidden */
	bool volumes;	      /* volumes as files, instead of file systems */
	bool nochildren;      /* without what lies in the dataset */
	bool remount;
	unsigned long flags;  /* MS_; without MS_RDONLY */
	unsigned long named;  /* those, MS_RDONLY too, that an option speaks of: a remount leaves the others as they are */
	char extra[EXTRA_MAX]; /* for the mount, as a list */
};

/* Those of whoever runs this program, before any is given. */
void options_init(struct mount_options *options);
/* 0, -EINVAL naming what is unknown, or -E2BIG naming what there is no room for. text may be NULL. */
int options_take(struct mount_options *options, const char *text, struct libpool_error *error);

#endif
