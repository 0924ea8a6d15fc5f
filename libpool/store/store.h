/*
 * The store: packs the blocks of a txg into stripes of whole rows, computes parity once, writes each row
 * once, and closes each batch with its summary; reads blocks back, verified, reconstructing and healing
 * what is missing or wrong. engine.md 4.5 to 4.7 and 4.12. Engine thread; functions that wait say so.
 */
#ifndef LIBPOOL_STORE_STORE_H
#define LIBPOOL_STORE_STORE_H

#include "libpool/alloc/alloc.h"
#include "libpool/base/buffer.h"
#include "libpool/format/block_pointer.h"

struct store;

/* Whose block it is: the hint of the summary, and what damage reports name. */
struct block_owner {
	uint32_t objset;
	uint64_t object;
	uint64_t block; /* number within its level */
	uint8_t level;
};

/*
 * One block to place in the txg that is being synced. Owned by the caller until placed() was called; the
 * payload is referenced by the store until its row is written.
 */
struct store_block {
	struct list node; /* private */
	struct buffer *payload; /* psect cells, padded with zeros; frozen */
	uint16_t psect;
	uint8_t type;
	struct block_owner owner;
	uint64_t dva; /* set before placed() */
	void (*placed)(struct store_block *block); /* engine thread; must not wait */
};

/* Queues a block for a class; addresses are given in order of queueing, as stripes fill. May wait (for memory in flight). */
void store_place(struct store *store, enum segment_class class, struct store_block *block);
/* Cuts the tail of the class: every queued block has its address on return. 0, or -ENOSPC / -POOL_EHALTED. May wait. */
int store_cut(struct store *store, enum segment_class class);

enum { STORE_READ_SPECULATIVE = 1 /* a mismatch is not damage yet: return -POOL_ECHECKSUM without repair */ };

/*
 * Reads and verifies one placed block (psect cells as stored). On an error or a confirmed mismatch it
 * reconstructs, heals what was wrong, and counts it against the disk. Waits.
 * 0 with one reference in *ret_payload; -POOL_ECHECKSUM (speculative only); -POOL_EDAMAGED; -ENOMEM.
 */
int store_read(struct store *store, const struct block_pointer *pointer, unsigned flags, struct buffer **ret_payload);

/* The checksum of a payload as its pointer's kind demands. Pure; any thread. */
void store_checksum(uint8_t checksum_kind, const void *payload, size_t length, uint8_t ret_checksum[24]);

#endif
