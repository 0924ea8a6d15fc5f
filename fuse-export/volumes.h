/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The volumes of a pool as files, for programs that serve files or take them for disks: qemu, tgt, nbdkit, loop devices. Such a file has the volume's
 * size, which writing doesn't change, as with a block device. Volumes of datasets lie in folders of their names.
 */
#ifndef FUSE_EXPORT_VOLUMES_H
#define FUSE_EXPORT_VOLUMES_H

#include "fuse-export/mount.h"

/* Those in `dataset` ("": all). `user` is what libpool_users shows for a volume that is open. 0 or a negative code. */
int volumes_new(libpool_pool *pool, const char *dataset, const char *user, struct volumes **ret_volumes, struct libpool_error *error);
/* Closes what is still open: the kernel doesn't say so when the mount is torn away. NULL is allowed. */
void volumes_free(struct volumes *volumes);

#endif
