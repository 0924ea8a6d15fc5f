/* SPDX-License-Identifier: BSD-2-Clause */
/* What moved.c and compact.c share with the commit. Nothing outside txg/ includes this. */
#ifndef LIBPOOL_TXG_MOVES_H
#define LIBPOOL_TXG_MOVES_H

#include "libpool/base/array.h"
#include "libpool/base/hash_table.h"
#include "libpool/txg/compact.h"

/* A block that is to be moved by the next commit, or is by the one under way. */
struct move {
	struct list node;
	struct hash_node by_identity;
	struct store_block block;  /* with its identity; the payload until it is placed */
	struct block_pointer from; /* where it is: address, txg and size */
	struct segment *segment;   /* pinned */
	bool placed;
};

/* A block of a dataset that died in the txg in sync and may have been moved before. */
struct moved_kill {
	uint64_t dva, place;
	uint16_t psect;
};

struct moves {
	struct array kills;         /* struct moved_kill */
	struct list waiting;        /* struct move */
	struct list current;        /* those of the txg in sync */
	struct hash_table by_identity; /* both */
	uint64_t waiting_bytes;     /* what is read, and nodes that are to be written anew */
	uint64_t cells;             /* of all, until they are committed: spoken for, like what writers were promised */
	struct core_compact_counters counters;
};

/* Cells that copies may take as of now: what is for them alone, and of what writers have what they weren't promised. */
uint64_t moves_room(const struct core *core, uint64_t promised);
/* As core_compact, but -EAGAIN, too, when it is that late: before another stripe is read. */
int compact_until(struct core *core, uint32_t segment, unsigned row, unsigned rows, uint64_t until_ns, struct core_compacted *ret_compacted);
/* Bytes that may wait for a commit. */
uint64_t moves_bytes_max(const struct core *core);
int moves_init(struct moves *moves);
void moves_release(struct moves *moves);
const struct move *moves_find(const struct moves *moves, uint64_t dva, uint64_t place);
/* In a sync, when all datasets have had theirs: step 5. May wait. */
int moves_sync(struct core *core, uint64_t txg);
/* Its uberblock is durable, and nothing has been applied yet: the segments are as free to go as any. */
void moves_committed(struct core *core);

/* moved.c */
int moved_find(struct core *core, uint64_t dva, uint64_t place, struct moved_entry *ret_entry);
/* What xblk takes, in cells, as of the last sync. */
uint64_t moved_cells(const struct core *core);
int moved_locate(void *core, const struct block_pointer *pointer, struct block_pointer *ret_at);
int moved_kill(struct core *core, const struct block_pointer *pointer);
int moved_sync_kills(struct core *core, uint64_t txg);
/* sync.c: frees the cells at this address. */
void core_free_block(struct core *core, const struct block_pointer *pointer);

#endif
