/* SPDX-License-Identifier: BSD-2-Clause */
/* mount -t fuse.libpool POOL[/DATASET] DIR: mount(8) calls this program by the name of a helper. */
#ifndef CLI_MOUNT_HELPER_H
#define CLI_MOUNT_HELPER_H

#include <stdbool.h>

#define MOUNT_HELPER "mount.fuse.libpool"

bool mount_helper_is(const char *program);
/* Runs "poolctl mount" with what mount(8) says. The exit code is of those of mount(8). */
int mount_helper_run(int argc, char **argv);

#endif
