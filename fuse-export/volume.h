/* SPDX-License-Identifier: BSD-2-Clause */
/* What volume_names.c and volume_content.c share. */
#ifndef FUSE_EXPORT_VOLUME_H
#define FUSE_EXPORT_VOLUME_H

#include <pthread.h>
#include <stdatomic.h>

#include "fuse-export/volumes.h"

/*
 * A file or folder that the kernel knows; its address is the number that the kernel has for it. The name and the time of creation tell one volume from
 * another that has its name later. Owner and permissions are kept in memory, as those of device files are.
 */
struct volume_node {
	struct volume_node *next;
	uint64_t lookups;
	char name[LIBPOOL_NAME_MAX + 1]; /* in the pool */
	uint64_t created_ns;
	bool is_folder, is_kept; /* kept: somebody has set what would be forgotten */
	uint32_t mode, uid, gid;
	struct timespec access;
	_Atomic uint64_t modified_ns, changed_ns;
};

struct volume_handle {
	struct volume_handle *next, **link;
	libpool_volume *volume;
	struct volume_node *node;
};

struct volumes {
	pthread_mutex_t lock; /* of the lists and of what nodes keep */
	libpool_pool *pool;
	char user[LIBPOOL_TEXT_MAX];
	struct volume_node top, *nodes;
	struct volume_handle *handles;
};

static inline struct volumes *volumes_of(fuse_req_t request)
{
	return mount_of(request)->volumes;
}

static inline struct volume_node *volume_node_of(struct volumes *volumes, fuse_ino_t ino)
{
	return ino == FUSE_ROOT_ID ? &volumes->top : (struct volume_node *)(uintptr_t)ino; /* NOLINT: as we gave it */
}

static inline uint64_t ns_of(const struct timespec *time)
{
	return (uint64_t)time->tv_sec * UINT64_C(1000000000) + (uint64_t)time->tv_nsec;
}

static inline uint64_t ns_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return ns_of(&now);
}

/* The volume that the node stands for, as it is now. -ESTALE when it is gone, or another has its name. */
int volume_node_info(struct volumes *volumes, const struct volume_node *node, struct libpool_volume_info *ret_info);

#endif
