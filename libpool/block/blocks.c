/* The life of the block layer itself: what it owns, and what others may ask about it. */
#include <stdlib.h>

#include "libpool/base/check.h"
#include "libpool/base/error.h"
#include "libpool/block/block_internal.h"

enum { BUCKETS_FIRST = 64 };

int blocks_new(struct rt *rt, struct store *store, const struct blocks_options *options,
	       struct blocks **ret_blocks)
{
	struct blocks *blocks = calloc(1, sizeof(*blocks));

	if (!blocks)
		return -ENOMEM;
	blocks->rt = rt;
	blocks->store = store;
	int result = codec_new(rt_parallelism(rt), &blocks->codec);

	if (result == 0)
		result = hash_table_init(&blocks->reads, BUCKETS_FIRST);
	if (result == 0)
		result = hash_table_init(&blocks->damaged, BUCKETS_FIRST);
	if (result < 0) {
		hash_table_release(&blocks->damaged);
		hash_table_release(&blocks->reads);
		codec_free(blocks->codec);
		free(blocks);
		return result;
	}
	cache_init(&blocks->cache, options->cache_limit, &blocks->counters);
	block_writes_init(blocks);
	*ret_blocks = blocks;
	return 0;
}

void blocks_free(struct blocks *blocks)
{
	if (!blocks)
		return;
	POOL_CHECK(blocks->reads.count == 0 && block_writes_idle(blocks));
	cache_release(&blocks->cache);
	damage_release(blocks);
	hash_table_release(&blocks->reads);
	codec_free(blocks->codec);
	free(blocks);
}

void blocks_set_cache_limit(struct blocks *blocks, uint64_t limit)
{
	cache_set_limit(&blocks->cache, limit);
}

const struct blocks_counters *blocks_counters(const struct blocks *blocks)
{
	return &blocks->counters;
}

void blocks_drop_cache(struct blocks *blocks)
{
	cache_clear(&blocks->cache);
}

void blocks_set_damage_callback(struct blocks *blocks, block_damage_function *function, void *argument)
{
	blocks->damage_callback = function;
	blocks->damage_argument = argument;
}

void blocks_set_locate_callback(struct blocks *blocks, block_locate_function *function, void *argument)
{
	blocks->locate_callback = function;
	blocks->locate_argument = argument;
}

struct buffer *block_cached(struct blocks *blocks, const struct block_pointer *pointer)
{
	return block_pointer_is_placed(pointer) ? cache_get(&blocks->cache, pointer) : NULL;
}

void block_forget(struct blocks *blocks, const struct block_pointer *pointer)
{
	if (!block_pointer_is_placed(pointer))
		return;
	cache_remove(&blocks->cache, pointer);
	damage_cleared(blocks, pointer, NULL);
}
