/* SPDX-License-Identifier: BSD-2-Clause */
/* All mounts of the pool that this process serves. They come and go while it runs; calls may come from any thread. */
#ifndef FUSE_EXPORT_MOUNTS_H
#define FUSE_EXPORT_MOUNTS_H

#include "fuse-export/session.h"

struct mounts {
	pthread_mutex_t lock;
	libpool_pool *pool;
	char pool_name[LIBPOOL_NAME_MAX + 1];
	struct session *first; /* the newest */
	bool read_only;	       /* the pool is imported so */
	bool keeps;            /* the process stays when nothing is mounted */
	bool starting;	       /* more is about to be mounted */
	atomic_bool properties_set; /* not looked at yet */
	bool closing, used;    /* used: something was to be mounted */
	int ended;             /* an eventfd: a mount has ended, or a request has */
};

/* The dataset ("": the pool) with all that lies in it, beneath `directory`; all or nothing. The number of mounts, or a negative code. */
int mounts_add(struct mounts *mounts, const char *dataset, const char *directory, const struct mount_options *options, struct libpool_error *error);
/* Whether that would be refused, as far as can be told without mounting anything: of a pool that is imported for a dry run, and that nobody uses. */
int mounts_check(struct mounts *mounts, const char *dataset, const char *directory, const struct mount_options *options, struct libpool_error *error);
/* What the process was started with is mounted. */
void mounts_started(struct mounts *mounts);
/* Other options for what is mounted there. */
int mounts_change(struct mounts *mounts, const char *directory, const struct mount_options *options, struct libpool_error *error);
/* What is mounted there, and beneath. The number of mounts, or a negative code: -EBUSY, -ENOENT. */
int mounts_remove(struct mounts *mounts, const char *directory, bool *ret_last, struct libpool_error *error);
/* Properties of the pool, or of what lies in it, may have changed. Waits for nobody who mounts or unmounts. */
void mounts_properties_set(struct mounts *mounts);
/* Takes away those that the kernel has let go of. Whether the process is to stay. */
bool mounts_reap(struct mounts *mounts);
/* Unmounts all; no more are made. */
void mounts_end(struct mounts *mounts);

#endif
