/* SPDX-License-Identifier: BSD-2-Clause */
/* What the kernel says and hears beside what libfuse knows of. */
#ifndef FUSE_EXPORT_DEVICE_H
#define FUSE_EXPORT_DEVICE_H

#include "fuse-export/mount.h"

/* Of a session that is mounted and not served yet, whose userdata is a struct mount. */
void device_take(struct fuse_session *session);
/* Whether what is asked for drops the set-id bits of the file; in the thread that got the request. */
bool device_drops_setid(fuse_req_t request);

#endif
