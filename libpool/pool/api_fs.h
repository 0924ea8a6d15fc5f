/* SPDX-License-Identifier: BSD-2-Clause */
/* Calls on an open file system, on their way from libpool.h to the engine. */
#ifndef LIBPOOL_POOL_API_FS_H
#define LIBPOOL_POOL_API_FS_H

#include <stdatomic.h>

#include "libpool/pool/api_pool.h"

struct libpool_fs {
	struct libpool_pool *pool;
	struct engine_user user; /* engine thread; its fs is NULL when the pool is gone */
	atomic_bool read_only;
};

/* One call with its arguments; each uses some of them. */
struct fs_call {
	struct libpool_fs *handle;
	bool changes;
	int (*function)(struct fs_call *call);
	int (*node_function)(struct fs_call *call, struct fs_node *node);
	/* Engine thread. */
	struct engine_fs *engine_fs;
	struct fs *fs;
	/* Arguments. */
	uint64_t node, other;
	const char *name, *new_name;
	uint64_t offset, other_offset, length;
	void *buffer;
	uint32_t flags;
	int mode;
	const struct libpool_set *set;
	const struct libpool_new *options;
	struct libpool_entry *entries;
	/* Results. */
	struct libpool_attributes attributes;
	bool held; /* the node of these */
	struct fs_space space;
	uint64_t result;
};

typedef int fs_node_function(struct fs_call *call, struct fs_node *node);

/* In the engine; `changes`: refused for read-only handles. */
int fs_call(struct fs_call *call, int (*function)(struct fs_call *call), bool changes);
/* On call->node, which is put afterwards. */
int fs_call_node(struct fs_call *call, fs_node_function *function, bool changes);
/* The same, with the attributes that it gave, as far as the caller wants them. */
int fs_call_attributes(struct fs_call *call, fs_node_function *function, bool changes, struct libpool_attributes *ret_attributes);
/* Engine thread: of a node. */
void fs_attributes_fill(const struct fs_node *node, struct libpool_attributes *ret_attributes);
/* Engine thread: the attributes that the call gives are those of this node, which the user holds from then on if `hold`. */
int fs_call_finish(struct fs_call *call, struct fs_node *node, bool hold);

#endif
