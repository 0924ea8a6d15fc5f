/*
 * The cache of block contents, by identity. Engine thread; nothing here waits. Internal to the block layer.
 */
#ifndef LIBPOOL_BLOCK_CACHE_H
#define LIBPOOL_BLOCK_CACHE_H

#include "libpool/base/buffer.h"
#include "libpool/base/hash_table.h"
#include "libpool/base/list.h"
#include "libpool/block/block.h"
#include "libpool/block/ghost.h"
#include "libpool/format/block_pointer.h"

struct cache_queue {
	struct list entries; /* newest first */
	uint64_t bytes;
};

struct cache {
	struct hash_table table;
	struct cache_queue small, main;
	struct ghost ghost;
	uint64_t limit;
	struct blocks_counters *counters; /* hits to cached_blocks are kept here */
};

static inline uint64_t identity_hash(const struct block_pointer *pointer)
{
	return hash_u64(hash_u64(pointer->dva) + pointer->place);
}

/* The cost of one cached block beyond its content rounded up to cells, without its share of the tables. */
#define CACHE_ENTRY_OVERHEAD 184u

void cache_init(struct cache *cache, uint64_t limit, struct blocks_counters *counters);
void cache_release(struct cache *cache);
void cache_set_limit(struct cache *cache, uint64_t limit);
/* Forgets everything, what was evicted too. */
void cache_clear(struct cache *cache);

/* A reference to the content of a placed block, or NULL. Counts as an access. */
struct buffer *cache_get(struct cache *cache, const struct block_pointer *pointer);
/* Keeps a reference if the content may stay at all. Content that is already cached is replaced. */
void cache_put(struct cache *cache, const struct block_pointer *pointer, struct buffer *content);
void cache_remove(struct cache *cache, const struct block_pointer *pointer);

#endif
