/* SPDX-License-Identifier: BSD-2-Clause */
/* A file system at its mount point, served by threads of its own. */
#ifndef FUSE_EXPORT_SESSION_H
#define FUSE_EXPORT_SESSION_H

#include <pthread.h>

#include "fuse-export/mount.h"

struct session {
	struct mount mount;
	const char *dataset, *source, *point; /* source: POOL/DATASET, as the list of mounts shows it */
	struct fuse_session *fuse;
	pthread_t thread;
	bool mounted, runs;
	int ended; /* an eventfd that is told when the kernel has let go of it */
};

struct session_options {
	bool read_only, allow_other, dev_suid;
	const char *extra; /* more options for the mount, or NULL */
};

/* Mounts what session->mount has open. 0, or -1 after a line on stderr. */
int session_mount(struct session *session, const struct session_options *options);
/* Serves requests until it is unmounted. 0 or a negative errno. */
int session_start(struct session *session);
/* Unmounts, waits for what is being served, and frees. Also one that was never mounted. */
void session_end(struct session *session);

#endif
