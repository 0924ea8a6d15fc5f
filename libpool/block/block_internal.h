/* What the files of the block layer share. */
#ifndef LIBPOOL_BLOCK_BLOCK_INTERNAL_H
#define LIBPOOL_BLOCK_BLOCK_INTERNAL_H

#include "libpool/base/hash_table.h"
#include "libpool/block/block.h"
#include "libpool/block/cache.h"
#include "libpool/block/compress.h"

/* The writes of one class, in order of submission. */
struct write_queue {
	struct list preparing; /* submitted, not yet given to the store; done or not */
	struct list placing;   /* given to the store, without an address yet */
	bool busy;	       /* a fiber is giving writes to the store */
};

struct blocks {
	struct rt *rt;
	struct store *store;
	struct codec *codec;
	struct cache cache;
	struct blocks_counters counters;

	struct hash_table reads; /* struct shared_read, under way */

	struct write_queue queues[CLASS_COUNT];
	uint64_t preparing_bytes; /* of all queues */
	struct rt_queue progress; /* of writes: one was prepared, or given to the store */

	struct hash_table damaged; /* struct damaged_block: told to the callback and not yet cleared */
	block_locate_function *locate_callback;
	void *locate_argument;
	block_damage_function *damage_callback;
	void *damage_argument;
};

void block_writes_init(struct blocks *blocks);
/* What will be stored of the content: fills pointer, but for the address, and payload. On a worker, or inline: touches the write only. */
void block_write_prepare(void *write);
/* Whether that takes less than telling a worker to. */
bool block_write_is_quick(const struct block_write *write);
/* What a job for it says of its time. */
uint16_t block_write_brief_us(const struct block_write *write);
void block_write_count(struct blocks *blocks, const struct block_write *write);
bool block_writes_idle(const struct blocks *blocks);

/* A block could not be read (told once until it clears), or could, or is gone. */
void damage_found(struct blocks *blocks, const struct block_pointer *pointer, const struct block_owner *owner,
		  int error);
void damage_cleared(struct blocks *blocks, const struct block_pointer *pointer,
		    const struct block_owner *owner);
void damage_release(struct blocks *blocks);

#endif
