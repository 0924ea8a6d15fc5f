/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A directory to mount at, held open: what was checked is what is mounted at. The owner of a file system may put what he likes in place of the
 * directory for a dataset within it, so beneath the directory that was asked for no symbolic link is followed.
 */
#ifndef FUSE_EXPORT_POINT_H
#define FUSE_EXPORT_POINT_H

#include <limits.h>

#include "fuse-export/options.h"

struct point {
	char path[PATH_MAX];
	int directory; /* of O_PATH */
	int above;     /* the one it was made in, or -1: it was asked for */
};

/* As it was asked for, with links followed. 0 or a negative errno; the point is to be closed in either case. */
int point_open(struct point *point, const char *path, struct libpool_error *error);
/* `name`, which may have several parts, beneath `top`; what is missing is made. As point_open. */
int point_make(struct point *point, const struct point *top, const char *name, struct libpool_error *error);
/* Whether something may be mounted there: -EBUSY if something is already, or would be hidden. */
int point_check(const struct point *point, const struct mount_options *options, struct libpool_error *error);
/* After the mount, which is served: whether it is at its path. If not, the path becomes the one it is at. */
int point_confirm(struct point *point, struct libpool_error *error);
void point_close(struct point *point);

#endif
