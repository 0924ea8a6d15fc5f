/*
 * One block's journey. Writing: zero detection, embedding, compression and checksum (on workers), then
 * placement by the store, in order of submission. Reading: cache, store, decompression. Engine thread;
 * functions that wait say so.
 */
#ifndef LIBPOOL_BLOCK_BLOCK_H
#define LIBPOOL_BLOCK_BLOCK_H

#include "libpool/base/buffer.h"
#include "libpool/format/block_pointer.h"
#include "libpool/rt/rt.h"
#include "libpool/store/ahead.h"

struct blocks;

struct blocks_options {
	uint64_t cache_limit; /* bytes: hard, data and overhead; 0 is allowed: nothing stays */
};

struct blocks_counters {
	uint64_t hits, misses, evictions, inserts;
	uint64_t cached_bytes, cached_blocks;
	uint64_t written_blocks, holes, embedded, compressed, incompressible; /* outcomes of writes */
	uint64_t logical_bytes, payload_bytes;
};

int blocks_new(struct rt *rt, struct store *store, const struct blocks_options *options, struct blocks **ret_blocks);
/* No read or write may be under way. */
void blocks_free(struct blocks *blocks);
void blocks_set_cache_limit(struct blocks *blocks, uint64_t limit);
const struct blocks_counters *blocks_counters(const struct blocks *blocks);
/* Forgets everything cached. */
void blocks_drop_cache(struct blocks *blocks);

enum {
	BLOCK_READ_NO_INSERT = 1, /* serve from the cache, but don't fill it */
	BLOCK_READ_NO_CACHE = 2,  /* from disk, whatever is cached */
};

/*
 * The logical content (lsect cells) of a block; a hole gives zeroes. Concurrent reads of one block share one
 * device read. Waits. 0 with a reference (frozen: never modify), -POOL_EDAMAGED (reported once with the owner to
 * the damage callback), -POOL_ESTALE when the checksum doesn't match and `still_current` says the pointer was
 * replaced meanwhile, -ENOMEM.
 * still_current(argument) may be NULL (the holder pins its pointer: a mismatch is damage).
 */
int block_read(struct blocks *blocks, const struct block_pointer *pointer, const struct block_owner *owner, unsigned flags,
	       bool (*still_current)(void *argument), void *argument, struct buffer **ret_buffer);

/* The content (lsect cells) of what is stored of a block, as the pointer says: 0, -POOL_EFORMAT or -ENOMEM. Its checksum isn't asked. Waits. */
int block_content(struct blocks *blocks, const struct block_pointer *pointer, struct buffer *payload, struct buffer **ret_content);

/* The content if it is cached, else NULL; never waits. */
struct buffer *block_cached(struct blocks *blocks, const struct block_pointer *pointer);

/* The block was freed, and nothing can name it any more: it leaves the cache, and its damage entry clears. */
void block_forget(struct blocks *blocks, const struct block_pointer *pointer);

/*
 * Told when a block can't be read: error is -POOL_EDAMAGED, or -POOL_EFORMAT if its checksum matches but its
 * content makes no sense. Told again with error 0 when it can be read, or was forgotten (owner is NULL then): the
 * entry clears. Engine thread, may not wait.
 */
typedef void block_damage_function(void *argument, const struct block_pointer *pointer, const struct block_owner *owner, int error);
void blocks_set_damage_callback(struct blocks *blocks, block_damage_function *function, void *argument);
/* For who has found, without its pointer, that a block can't be had: told like what a read finds, and once. It clears like that, too. */
void block_is_damaged(struct blocks *blocks, const struct block_pointer *pointer, const struct block_owner *owner);

/*
 * Where a block is: *ret_at is the pointer with the address and the txg of its cells, which differ from its identity when it was moved.
 * Asked for blocks of all objsets but 0, before each read from the store. May wait. 0, or why it isn't known, which reads fail with.
 */
typedef int block_locate_function(void *argument, const struct block_pointer *pointer, struct block_pointer *ret_at);
void blocks_set_locate_callback(struct blocks *blocks, block_locate_function *function, void *argument);

enum {
	BLOCK_COMPRESS_OFF = 0, /* others: zstd level + 1 */
	BLOCK_COMPRESS_LEAF = 254, /* in memory only: for small blocks that commits write again and again: a quicker level if it saves half, else as auto */
	BLOCK_COMPRESS_AUTO = 255, /* level 1, kept only when it saves 1/8 */
};

/* One block written in the sync of a txg. Memory owned by the submitter until placed() has been called. */
struct block_write {
	/* Set by the submitter. */
	struct buffer *data; /* logical content, frozen, size lsect cells exactly; the write takes its own reference */
	uint16_t lsect;
	uint8_t type, compression; /* BLOCK_COMPRESS_* */
	enum segment_class class;
	bool allow_hole, allow_embed; /* zero content becomes a hole; tiny payload goes into the pointer */
	bool cache;                   /* insert the content into the cache when placed */
	uint64_t txg;                 /* place and birth of the pointer */
	uint64_t fill;                /* goes into the pointer unless it is a hole */
	struct block_owner owner;
	void (*placed)(struct block_write *write); /* pointer is final; engine thread, must not wait; may be NULL */
	void *argument;
	/* Result. */
	struct block_pointer pointer;
	/* Private. */
	struct list node;
	struct store_block placement;
	struct rt_job job;
	struct buffer *payload;
	struct blocks *blocks;
	int state;
};

/* Starts a write. May wait when too much is in flight. */
void block_write_submit(struct blocks *blocks, struct block_write *write);
/*
 * Waits until every submitted write of this class has its final pointer (cuts the stripe tail). 0 or the store's error:
 * then the store has forgotten the blocks it didn't place, placed() is not called for them, and they are the submitter's.
 */
int block_writes_place(struct blocks *blocks, enum segment_class class);

/* What will be stored of such blocks: their pointers, without addresses, and payloads. Waits for workers. 0 or -ENOMEM. */
int block_ahead_prepare(struct blocks *blocks, struct ahead_block **aheads, size_t count);
/* The sync has put the pointer of one that is durable where it belongs; `content` is what it has. */
void block_ahead_take(struct blocks *blocks, struct ahead_block *ahead, struct buffer *content);

#endif
