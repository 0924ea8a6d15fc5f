/* SPDX-License-Identifier: BSD-2-Clause */
/* A file system at its mount point, served by threads of its own. */
#ifndef FUSE_EXPORT_SESSION_H
#define FUSE_EXPORT_SESSION_H

#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>

#include "fuse-export/mount.h"
#include "fuse-export/options.h"
#include "fuse-export/place.h"

struct session {
	struct mount mount;
	struct session *next;
	char source[2 * LIBPOOL_NAME_MAX + 2]; /* POOL/DATASET, as the list of mounts shows it */
	char point[PATH_MAX];
	struct place place;
	pthread_t thread;
	bool mounted, runs;
	bool direct;          /* mounted without libfuse */
	atomic_bool finished; /* the kernel has let go of it */
	int ended;            /* an eventfd that is told then */
};

/* Mounts what session->mount has open at `directory`, a descriptor of session->point. 0 or a negative code. */
int session_mount(struct session *session, int directory, const struct mount_options *options, struct libpool_error *error);
/* Serves requests until it is unmounted. 0 or a negative errno. */
int session_start(struct session *session);
/*
 * Unmounts, waits for what is being served, and frees what libfuse has. Also one that was never mounted. Whoever has a file open in it all the same, or sees
 * it in a mount namespace of his own, gets errors from then on.
 */
void session_end(struct session *session);

#endif
