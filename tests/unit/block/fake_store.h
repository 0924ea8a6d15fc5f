/*
 * A store in memory, for the tests of the block layer: it defines the functions of store.h that the layer
 * calls, so that the real ones aren't linked. It gives addresses in order of store_place, a stripe at a
 * time, yields where the real one may wait, and can lose, replace and damage what it holds.
 */
#ifndef TESTS_UNIT_BLOCK_FAKE_STORE_H
#define TESTS_UNIT_BLOCK_FAKE_STORE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "checksum/xxh3.h"
#include "libpool/base/array.h"
#include "libpool/base/buffer.h"
#include "libpool/base/error.h"
#include "libpool/base/hash_table.h"
#include "libpool/block/block.h"
#include "libpool/rt/env_host.h"
#include "libpool/rt/rt.h"

struct fake_block {
	uint64_t dva;
	struct buffer *payload;
	bool healable; /* a read that isn't speculative restores `original` */
	struct buffer *original;
};

struct store {
	struct rt *rt;
	struct list queued[CLASS_COUNT];
	unsigned queued_cells[CLASS_COUNT], stripe_cells;
	uint64_t next_dva;
	struct array blocks; /* struct fake_block */
	unsigned reads, full_reads, cuts;
	unsigned read_delay;	   /* yields in a read */
	int read_error, cut_error; /* injected */
};

static inline void fake_store_init(struct store *store, struct rt *rt)
{
	*store = (struct store){.rt = rt, .stripe_cells = 64, .next_dva = 1};
	for (unsigned i = 0; i < CLASS_COUNT; i++)
		list_init(&store->queued[i]);
	array_init(&store->blocks, sizeof(struct fake_block));
}

static inline void fake_store_release(struct store *store)
{
	for (size_t i = 0; i < store->blocks.count; i++) {
		buffer_unref(array_at(&store->blocks, struct fake_block, i)->payload);
		buffer_unref(array_at(&store->blocks, struct fake_block, i)->original);
	}
	array_release(&store->blocks);
}

static inline struct fake_block *fake_store_find(struct store *store, uint64_t dva)
{
	for (size_t i = 0; i < store->blocks.count; i++) {
		if (array_at(&store->blocks, struct fake_block, i)->dva == dva)
			return array_at(&store->blocks, struct fake_block, i);
	}
	return NULL;
}

/* Flips a byte of what is stored. */
static inline void fake_store_damage(struct store *store, uint64_t dva, bool healable)
{
	struct fake_block *block = fake_store_find(store, dva);
	struct buffer *wrong = buffer_new_copy(block->payload->data, block->payload->size);

	wrong->data[wrong->size / 2] ^= 1;
	buffer_unref(block->original);
	block->original = block->payload;
	block->payload = wrong;
	block->healable = healable;
}

static void fake_store_flush(struct store *store, enum segment_class class)
{
	struct list *node;

	while ((node = list_pop_front(&store->queued[class]))) {
		struct store_block *placement = container_of(node, struct store_block, node);
		struct fake_block block = {.dva = store->next_dva++,
					   .payload = buffer_ref(placement->payload)};

		assert_int_equal(array_push(&store->blocks, &block), 0);
		placement->dva = block.dva;
		placement->placed(placement);
	}
	store->queued_cells[class] = 0;
}

void store_place(struct store *store, enum segment_class class, struct store_block *block)
{
	assert_int_equal(block->payload->size, block->psect * CELL_SIZE);
	list_push_back(&store->queued[class], &block->node);
	store->queued_cells[class] += block->psect;
	if (rt_random(store->rt) % 3 == 0)
		rt_yield(store->rt);
	if (store->queued_cells[class] >= store->stripe_cells)
		fake_store_flush(store, class);
}

int store_cut(struct store *store, enum segment_class class)
{
	store->cuts++;
	rt_yield(store->rt);
	if (store->cut_error) {
		while (list_pop_front(&store->queued[class]))
			;
		store->queued_cells[class] = 0;
		return store->cut_error;
	}
	fake_store_flush(store, class);
	return 0;
}

int store_read(struct store *store, const struct block_pointer *pointer, unsigned flags,
	       struct buffer **ret_payload)
{
	uint8_t checksum[24];

	store->reads++;
	store->full_reads += !(flags & STORE_READ_SPECULATIVE);
	for (unsigned i = 0; i < store->read_delay; i++)
		rt_yield(store->rt);
	if (store->read_error)
		return store->read_error;
	struct fake_block *block = fake_store_find(store, pointer->dva);

	if (block && !(flags & STORE_READ_SPECULATIVE) && block->healable) {
		buffer_unref(block->payload);
		block->payload = block->original;
		block->original = NULL;
		block->healable = false;
	}
	if (block && block->payload->size == pointer->psect * CELL_SIZE) {
		store_checksum(pointer->checksum_kind, block->payload->data, block->payload->size, checksum);
		if (memcmp(checksum, pointer->checksum, sizeof(checksum)) == 0) {
			*ret_payload = buffer_ref(block->payload);
			return 0;
		}
	}
	return flags & STORE_READ_SPECULATIVE ? -POOL_ECHECKSUM : -POOL_EDAMAGED;
}

void store_checksum(uint8_t checksum_kind, const void *payload, size_t length, uint8_t ret_checksum[24])
{
	struct hash128 hash;

	assert_int_equal(checksum_kind, CHECKSUM_XXH3_128);
	xxh3_128(payload, length, &hash);
	memcpy(ret_checksum, hash.bytes, sizeof(hash.bytes));
	memset(ret_checksum + sizeof(hash.bytes), 0, 24 - sizeof(hash.bytes));
}

/* One engine with its fake store, and a fiber that runs the test in it. */
struct bench {
	struct pool_env *env;
	struct rt *rt;
	struct store store;
	struct blocks *blocks;
	void (*body)(struct bench *bench);
	uint64_t seed;
};

static void bench_fiber(void *argument)
{
	struct bench *bench = argument;
	struct blocks_options options = {.cache_limit = 4 << 20};

	fake_store_init(&bench->store, bench->rt);
	assert_int_equal(blocks_new(bench->rt, &bench->store, &options, &bench->blocks), 0);
	bench->body(bench);
	blocks_free(bench->blocks);
	fake_store_release(&bench->store);
}

static inline void bench_run_with(void (*body)(struct bench *bench), unsigned workers)
{
	struct bench bench = {.body = body, .seed = 1};

	assert_int_equal(env_host_new(workers, &bench.env), 0);
	assert_int_equal(rt_new(bench.env, &bench.rt), 0);
	assert_int_equal(rt_run(bench.rt, bench_fiber, &bench), 0);
	rt_free(bench.rt);
	env_host_free(bench.env);
}

/* Without worker threads, and with three. */
static inline void bench_run(void (*body)(struct bench *bench))
{
	bench_run_with(body, 0);
	bench_run_with(body, 3);
}

static inline uint64_t random_next(uint64_t *seed)
{
	*seed += UINT64_C(0x9e3779b97f4a7c15);
	return hash_u64(*seed);
}

enum content_kind {
	CONTENT_RANDOM,
	CONTENT_TEXT,
	CONTENT_ZERO,
	CONTENT_TINY,
	CONTENT_REPEATED,
	CONTENT_MIXED,
	CONTENT_KINDS
};

static inline struct buffer *make_content(enum content_kind kind, unsigned lsect, uint64_t seed)
{
	static const char words[] =
	    "a pool keeps what was written and returns what was written, or says that it can't; ";
	struct buffer *buffer = buffer_new_zero((size_t)lsect * CELL_SIZE);
	uint64_t state = seed;

	assert_non_null(buffer);
	for (uint32_t i = 0; i < buffer->size; i += 8) {
		uint64_t value = random_next(&state);

		if (kind == CONTENT_RANDOM || (kind == CONTENT_MIXED && (i / CELL_SIZE) % 2))
			memcpy(buffer->data + i, &value, 8);
		else if (kind == CONTENT_TEXT || kind == CONTENT_MIXED)
			memcpy(buffer->data + i, words + value % (sizeof(words) - 9), 8);
		else if (kind == CONTENT_REPEATED)
			memcpy(buffer->data + i, &seed, 8);
	}
	if (kind == CONTENT_TINY)
		memcpy(buffer->data, words, 1 + seed % 48);
	return buffer;
}

static inline void assert_same_content(const struct buffer *a, const struct buffer *b)
{
	assert_int_equal(a->size, b->size);
	assert_memory_equal(a->data, b->data, a->size);
}

#endif
