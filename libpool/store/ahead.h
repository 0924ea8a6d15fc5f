/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Blocks that are written before the sync of their txg: a flush puts them where they stay, at the same time as the record of
 * the intent log that names them, and the commit takes them over instead of writing them again.
 *
 * Their rows are in segments kept for it (SEGMENT_AHEAD), which the last uberblock has to list as OPEN before the first block
 * goes there: so an import that never saw the commit of these blocks leaves their rows alone until it has made the log's
 * changes anew. The table has rows_used as of the commit, and what lies behind is the log's.
 *
 * One write at a time, which has ended before the sync of its txg asks for its blocks (store_ahead_finish).
 */
#ifndef LIBPOOL_STORE_AHEAD_H
#define LIBPOOL_STORE_AHEAD_H

#include "libpool/base/array.h"
#include "libpool/store/store.h"

struct ahead_block {
	unsigned references;
	/* Set by who makes it. */
	struct buffer *data; /* the content, frozen; NULL once it is on disk */
	uint64_t txg;
	uint8_t type, compression;
	struct block_owner owner;
	/* Set by the block layer: all but the address. A hole, or embedded: it needs no place. */
	struct block_pointer pointer;
	struct buffer *payload;
	/* Set by the store. */
	bool durable; /* with all its columns */
	bool logged;  /* it has no place: the log has it */
	/* Set by the sync of its txg; without it nobody has the block, and its cells hold nothing. */
	bool taken;
};

/* With one reference; takes one to data. NULL without memory. */
struct ahead_block *ahead_block_new(struct buffer *data);
void ahead_block_unref(struct ahead_block *block);
/* The log has its content instead: what would have been stored is memory that nobody counts. */
void ahead_block_is_logged(struct ahead_block *block);

struct store_ahead_write {
	struct rt_group group; /* the columns on their way */
	struct array pieces;   /* private */
	unsigned failed;       /* columns that couldn't be written */
	uint64_t disks[BITMAP_WORDS(DISKS_MAX)]; /* that have something of it */
};

/* Whether there are segments for such blocks at all. */
bool store_ahead_possible(const struct store *store);
/*
 * Gives the first of these blocks their addresses, as many as there is room for and as fill their rows well, and begins to write
 * them; the others' pointers stay without. None waits for a sync. 0 or -ENOMEM. Afterwards, whatever it returned: store_ahead_end.
 */
void store_ahead_begin(struct store_ahead_write *write);
int store_ahead_place(struct store *store, uint64_t txg, struct ahead_block **blocks, unsigned count, struct store_ahead_write *write);
/* Waits. With `keep` the blocks become durable, which they have to be; otherwise what was begun is given up, rows and all. */
void store_ahead_end(struct store *store, struct store_ahead_write *write, bool keep);

/* Inside a txg: so many segments are to be there, not counting what is full; what is more is closed, or takes nothing more until it is. -ENOMEM. */
int store_ahead_keep(struct store *store, unsigned segments);
/* That take more. */
unsigned store_ahead_segments(const struct store *store);
/* Whether any is there, full ones included. */
bool store_ahead_any(const struct store *store);
/* In the sync of a txg, when everything has taken its blocks: closes their batches. May wait. */
int store_ahead_finish(struct store *store);
/* Inside a txg that contains all that the log has: the segments that store_resume kept for it are closed. */
void store_ahead_release(struct store *store);

#endif
