/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The reference model of files: a lane is one directory of a file system and what is below it, changed by one client, as plain arrays.
 *
 * What the arrays hold is known by a digest. Each operation that changes something is put down, with what it makes of the lane, before it is
 * asked for; so after a crash the lane must be what one of them has made of it, and none before the last that was durable.
 * Several lanes of one file system at once: if a change is there, everything that had ended in any of them before that change began is there too.
 */
#ifndef TESTS_SIM_LANE_H
#define TESTS_SIM_LANE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "checksum/xxh3.h"

#define LANE_NODES 24u
#define LANE_NAMES 7u
#define LANE_ENTRIES 80u
#define LANE_FILE_MAX (96u << 10)
#define LANE_XATTRS 2u
#define LANE_XATTR_MAX 9000u
#define LANE_HISTORY 1024u
#define LANE_RUNNING UINT64_MAX

struct lane_node {
	bool used;
	uint32_t mode, device; /* device: the minor number */
	unsigned links;
	uint64_t number, size; /* size of a directory: 0 */
	uint8_t *data;         /* LANE_FILE_MAX of a file, the target of a link */
	size_t xattrs[LANE_XATTRS]; /* length + 1; 0: there is none */
	uint8_t fill[LANE_XATTRS];
};

struct lane_entry {
	unsigned directory, name, node; /* node 0, the lane itself: unused */
};

struct lane_state {
	struct lane_node nodes[LANE_NODES]; /* the first is the lane's directory */
	struct lane_entry entries[LANE_ENTRIES];
};

struct lane_change {
	uint64_t begin, end; /* LANE_RUNNING until it has returned */
	struct hash128 made; /* the digest of what is there with it */
};

struct lane {
	struct lane_state state;
	struct lane_change history[LANE_HISTORY];
	unsigned count, durable; /* changes; those before `durable` can't be the last that is there */
	unsigned committed;      /* the same if the log is lost */
	unsigned found;          /* while a crash is judged: the change it is as after; `count`: none */
};

void lane_clear(struct lane_state *state);
struct hash128 lane_digest(const struct lane_state *state);
/* It is as the state says, and all of that is durable. */
void lane_base(struct lane *lane);
/* The state was changed, for an operation that is asked for only now; false when the history is full. */
bool lane_begin(struct lane *lane, uint64_t clock);
void lane_end(struct lane *lane, uint64_t clock);
/* Everything that had ended before `clock` is durable. */
void lane_durable(struct lane *lane, uint64_t clock);
/* By a commit, whatever becomes of the log. */
void lane_committed(struct lane *lane, uint64_t clock);
/* The log is lost: only commits have made anything durable. */
void lane_lose_log(struct lane *lane);
/* Of several lanes, which have the digests `found` after a crash: whether that can be. */
bool lanes_judge(struct lane *const *lanes, const struct hash128 *found, unsigned count);

/* ---- what operations do; 0 or the errno that they must give. Nodes and directories are indices. ---- */

int lane_find(const struct lane_state *state, unsigned directory, unsigned name);    /* the entry, or -1 */
unsigned lane_free_node(const struct lane_state *state);                            /* 0: there is none */
bool lane_has_room(const struct lane_state *state);                                 /* for an entry */
bool lane_is_directory(const struct lane_state *state, unsigned index);
int lane_make(struct lane_state *state, unsigned directory, unsigned name, const struct lane_node *node, unsigned index);
int lane_link(struct lane_state *state, unsigned node, unsigned directory, unsigned name);
int lane_remove(struct lane_state *state, unsigned directory, unsigned name);
int lane_rename(struct lane_state *state, unsigned from, unsigned name, unsigned to, unsigned new_name, bool no_replace, bool exchange);
/* Zeros if `data` is NULL; `grows`: the file becomes larger if it must. */
void lane_write(struct lane_state *state, unsigned node, uint64_t offset, uint64_t length, const uint8_t *data, bool grows);
void lane_truncate(struct lane_state *state, unsigned node, uint64_t size);

#endif
