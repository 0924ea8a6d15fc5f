/*
 * A block layer in RAM for the tests of objects: it implements the functions of block.h that the object layer calls, with
 * random delays, and checks the life of every block: a kill names a live block; a killed block isn't read by who can't
 * have an outdated pointer; and after each sync what a walk reaches is exactly what lives.
 *
 * A killed block is gone as soon as its sync is over, which is two commits earlier than in a pool.
 */
#ifndef TESTS_UNIT_OBJECT_FAKE_BLOCKS_H
#define TESTS_UNIT_OBJECT_FAKE_BLOCKS_H

#include "tests/unit/rt/fake_env.h"

#include <stdlib.h>

#include "libpool/base/array.h"
#include "libpool/base/hash_table.h"
#include "libpool/object/object.h"

struct fake_block {
	struct hash_node node;
	struct list killed_node;
	struct block_pointer pointer;
	struct buffer *content;
	bool killed;
	unsigned walks;
};

struct blocks {
	struct rt *rt;
	struct hash_table table;
	struct list killed;               /* in this sync */
	struct list pending[CLASS_COUNT]; /* submitted, not placed */
	uint64_t seed, next;
	uint64_t live;
	unsigned delay_percent, cached_percent; /* of reads and writes that wait; of blocks that are cached */
	uint64_t reads, stale_reads, kills, writes, holes, embedded, places;
	uint64_t fail_read_at, fail_place_at; /* the read or placing of this number fails; 0 none */
	int fail_with;
	uint64_t bad[8]; /* addresses of blocks that can't be read */
	unsigned bad_count;
	uint64_t walk;
	bool forged; /* pointers may lead nowhere */
	bool hold;   /* reads wait until it is false again */
	unsigned held;
	struct rt_queue held_reads;
	bool shrinks;    /* what compressing is tried for can be */
	uint64_t tried;  /* blocks of data, automatically */
	bool counts_kept; /* contents that somebody keeps a reference to, when writes are placed */
	size_t kept, kept_max;
};

static inline uint64_t blocks_random(struct blocks *blocks, uint64_t below)
{
	return hash_u64(++blocks->seed) % below;
}

static inline struct blocks *fake_blocks_new(struct rt *rt, uint64_t seed)
{
	struct blocks *blocks = calloc(1, sizeof(*blocks));

	assert_non_null(blocks);
	blocks->rt = rt;
	blocks->seed = seed * 1000003;
	blocks->next = 1;
	assert_int_equal(hash_table_init(&blocks->table, 1024), 0);
	list_init(&blocks->killed);
	rt_queue_init(&blocks->held_reads);
	for (int i = 0; i < CLASS_COUNT; i++)
		list_init(&blocks->pending[i]);
	return blocks;
}

static inline void fake_block_drop(struct blocks *blocks, struct fake_block *block)
{
	if (list_linked(&block->killed_node))
		list_remove(&block->killed_node);
	else
		blocks->live--;
	hash_table_remove(&blocks->table, &block->node);
	buffer_unref(block->content);
	free(block);
}

static inline void fake_block_free(struct hash_node *node, void *argument)
{
	(void)argument;
	buffer_unref(container_of(node, struct fake_block, node)->content);
	free(container_of(node, struct fake_block, node));
}

static inline void fake_blocks_free(struct blocks *blocks)
{
	hash_table_each(&blocks->table, fake_block_free, NULL);
	hash_table_release(&blocks->table);
	free(blocks);
}

static inline struct fake_block *fake_block_find(struct blocks *blocks, const struct block_pointer *pointer)
{
	struct hash_node *node = hash_table_first(&blocks->table, hash_u64(pointer->dva));

	for (; node; node = hash_table_next(node)) {
		struct fake_block *block = container_of(node, struct fake_block, node);

		if (block->pointer.dva == pointer->dva && block->pointer.place == pointer->place)
			return block;
	}
	return NULL;
}

static inline void fake_delay(struct blocks *blocks, unsigned parts)
{
	if (blocks_random(blocks, 100 * parts) < blocks->delay_percent)
		rt_sleep(blocks->rt, 1 + blocks_random(blocks, 1000));
}

static inline bool fake_is_bad(const struct blocks *blocks, const struct block_pointer *pointer)
{
	for (unsigned i = 0; i < blocks->bad_count; i++)
		if (blocks->bad[i] == pointer->dva)
			return true;
	return false;
}

struct buffer *block_cached(struct blocks *blocks, const struct block_pointer *pointer)
{
	struct fake_block *block;

	assert_true(block_pointer_is_placed(pointer));
	if (fake_is_bad(blocks, pointer))
		return NULL;
	if (hash_u64(pointer->dva ^ 77) % 100 >= blocks->cached_percent)
		return NULL;
	block = fake_block_find(blocks, pointer);
	return block ? buffer_ref(block->content) : NULL;
}

int block_read(struct blocks *blocks, const struct block_pointer *pointer, const struct block_owner *owner, unsigned flags,
	       bool (*still_current)(void *argument), void *argument, struct buffer **ret_buffer)
{
	struct fake_block *block;

	(void)flags;
	assert_false(block_pointer_is_hole(pointer));
	assert_int_equal(owner->level, pointer->level);
	if (block_pointer_is_embedded(pointer)) {
		*ret_buffer = buffer_new_zero((size_t)pointer->lsect * CELL_SIZE);
		memcpy((*ret_buffer)->data, pointer->embed, pointer->embed_length);
		return 0;
	}
	if (fake_is_bad(blocks, pointer))
		return -POOL_EDAMAGED;
	if (++blocks->reads == blocks->fail_read_at)
		return blocks->fail_with;
	if (blocks->fail_read_at && blocks->reads > blocks->fail_read_at && blocks->fail_with == -POOL_EDAMAGED)
		return blocks->fail_with;
	blocks->held++;
	while (blocks->hold)
		rt_queue_wait(blocks->rt, &blocks->held_reads);
	blocks->held--;
	fake_delay(blocks, 1);
	block = fake_block_find(blocks, pointer);
	if (!block && blocks->forged)
		return -POOL_EDAMAGED;
	if (!block) {
		blocks->stale_reads++;
		assert_non_null(still_current); /* else: a pointer that should be pinned names a block that is gone */
		assert_false(still_current(argument));
		return -POOL_ESTALE;
	}
	if (!still_current)
		assert_false(block->killed);
	*ret_buffer = buffer_ref(block->content);
	return 0;
}

static inline void fake_release_reads(struct blocks *blocks)
{
	blocks->hold = false;
	rt_queue_wake_all(blocks->rt, &blocks->held_reads);
}

static inline void fake_write_place(struct blocks *blocks, struct block_write *write)
{
	struct block_pointer *pointer = &write->pointer;
	size_t size = (size_t)write->lsect * CELL_SIZE, length = size;

	assert_int_equal(write->data->size, size);
	while (length && write->data->data[length - 1] == 0)
		length--;
	*pointer = (struct block_pointer){
		.birth = write->txg, .lsect = write->lsect, .type = write->type, .level = write->owner.level,
	};
	if (write->allow_hole && length == 0) {
		pointer->flags = BP_HOLE;
		blocks->holes++;
	} else if (write->allow_embed && length <= BLOCK_POINTER_EMBED_MAX && length) {
		pointer->flags = BP_EMBED;
		pointer->fill = write->fill;
		pointer->embed_length = (uint8_t)length;
		memcpy(pointer->embed, write->data->data, length);
		blocks->embedded++;
	} else {
		struct fake_block *block = calloc(1, sizeof(*block));
		uint64_t number = blocks->next++;

		blocks->tried += write->allow_hole && write->type != TYPE_DNODES && write->compression == BLOCK_COMPRESS_AUTO;
		pointer->compression = blocks->shrinks && write->compression == BLOCK_COMPRESS_AUTO ? COMPRESSION_ZSTD : COMPRESSION_NONE;
		pointer->fill = write->fill;
		pointer->place = write->txg;
		pointer->psect = (uint16_t)(1 + hash_u64(number) % write->lsect);
		pointer->dva = dva_pack((struct dva){ .segment = (uint32_t)(number / 4000), .base = (uint16_t)(1 + number % 4000), .height = 16 });
		block->pointer = *pointer;
		block->content = buffer_ref(write->data);
		hash_table_insert(&blocks->table, &block->node, hash_u64(pointer->dva));
		blocks->live++;
		blocks->writes++;
	}
	buffer_unref(write->data);
	if (write->placed)
		write->placed(write);
}

static inline void fake_place_some(struct blocks *blocks, unsigned class, size_t keep)
{
	size_t count = 0;

	list_for_each(node, &blocks->pending[class])
		count++;
	while (count-- > keep)
		fake_write_place(blocks, container_of(list_pop_front(&blocks->pending[class]), struct block_write, node));
}

void block_write_submit(struct blocks *blocks, struct block_write *write)
{
	fake_delay(blocks, 30);
	buffer_ref(write->data);
	list_push_back(&blocks->pending[write->class], &write->node);
	if (blocks_random(blocks, 8) == 0)
		fake_place_some(blocks, write->class, blocks_random(blocks, 8));
}

static inline void fake_count_kept(struct hash_node *node, void *argument)
{
	((struct blocks *)argument)->kept += container_of(node, struct fake_block, node)->content->references > 1;
}

int block_writes_place(struct blocks *blocks, enum segment_class class)
{
	fake_delay(blocks, 1);
	if (blocks->counts_kept) {
		blocks->kept = 0;
		hash_table_each(&blocks->table, fake_count_kept, blocks);
		blocks->kept_max = blocks->kept > blocks->kept_max ? blocks->kept : blocks->kept_max;
	}
	if (++blocks->places == blocks->fail_place_at) {
		struct list *node;

		while ((node = list_pop_front(&blocks->pending[class])))
			buffer_unref(container_of(node, struct block_write, node)->data);
		return blocks->fail_with;
	}
	fake_place_some(blocks, class, 0);
	return 0;
}

/* Nothing is written ahead here. */
void block_ahead_take(struct blocks *blocks, struct ahead_block *ahead, struct buffer *content)
{
	(void)blocks, (void)content;
	ahead->taken = true;
}

static inline void fake_kill(struct object_sync *sync, struct objset *objset, const struct block_pointer *pointer)
{
	struct blocks *blocks = sync->blocks;
	struct fake_block *block = fake_block_find(blocks, pointer);

	(void)objset;
	assert_true(block_pointer_is_placed(pointer));
	assert_non_null(block);
	assert_false(block->killed);
	block->killed = true;
	blocks->live--;
	blocks->kills++;
	list_push_back(&blocks->killed, &block->killed_node);
}

/* A sync is over: what it killed is gone. */
static inline void fake_forget_killed(struct blocks *blocks)
{
	struct list *node;

	while ((node = list_pop_front(&blocks->killed))) {
		struct fake_block *block = container_of(node, struct fake_block, killed_node);

		hash_table_remove(&blocks->table, &block->node);
		buffer_unref(block->content);
		free(block);
	}
}

struct fake_rollback {
	struct blocks *blocks;
	uint64_t txg;
};

static inline void fake_rollback_block(struct hash_node *node, void *argument)
{
	struct fake_rollback *rollback = argument;
	struct fake_block *block = container_of(node, struct fake_block, node);

	if (block->pointer.place == rollback->txg)
		fake_block_drop(rollback->blocks, block);
}

/* A sync has failed and its txg will never be: all is as it was before. */
static inline void fake_rollback(struct blocks *blocks, uint64_t txg)
{
	struct fake_rollback rollback = { blocks, txg };
	struct list *node;

	while ((node = list_pop_front(&blocks->killed))) {
		container_of(node, struct fake_block, killed_node)->killed = false;
		blocks->live++;
	}
	hash_table_each(&blocks->table, fake_rollback_block, &rollback);
}

static inline int fake_visit(void *argument, const struct block_pointer *pointer, const struct block_owner *owner)
{
	struct blocks *blocks = argument;
	struct fake_block *block = fake_block_find(blocks, pointer);

	(void)owner;
	assert_non_null(block);
	assert_false(block->killed);
	assert_int_equal(block->walks, 0);
	block->walks = 1;
	blocks->walk++;
	return 0;
}

static inline void fake_clear_walk(struct hash_node *node, void *argument)
{
	(void)argument;
	container_of(node, struct fake_block, node)->walks = 0;
}

/* What the objsets and bare blobs (NULLs allowed) reach is what lives. */
static inline void fake_check_reachable(struct blocks *blocks, struct objset **objsets, size_t count, struct object *bare)
{
	blocks->walk = 0;
	hash_table_each(&blocks->table, fake_clear_walk, NULL);
	for (size_t i = 0; i < count; i++)
		assert_int_equal(objset_walk(objsets[i], fake_visit, blocks), 0);
	if (bare)
		assert_int_equal(object_walk_bare(bare, fake_visit, blocks), 0);
	assert_int_equal(blocks->walk, blocks->live);
}

/* One sync with all checks. */
static inline int fake_sync(struct blocks *blocks, struct objset **objsets, size_t count, uint64_t txg)
{
	struct object_sync sync = { .txg = txg, .blocks = blocks, .kill = fake_kill };
	int result = objsets_sync(&sync, objsets, count);

	if (result == 0) {
		fake_forget_killed(blocks);
		fake_check_reachable(blocks, objsets, count, NULL);
	}
	return result;
}

/* Runs a test's body in a fiber. */
struct fake_test {
	struct fake_env fake;
	struct rt *rt;
	struct blocks *blocks;
	int64_t dirty[2];
};

static inline void fake_dirty(void *argument, uint64_t txg, int64_t bytes)
{
	struct fake_test *test = argument;

	test->dirty[txg & 1] += bytes;
	assert_true(test->dirty[txg & 1] >= 0);
}

static inline void fake_run(uint64_t seed, fiber_function *body, unsigned delay_percent, unsigned cached_percent)
{
	struct fake_test test = { 0 };

	test.rt = fake_new(&test.fake, seed);
	test.blocks = fake_blocks_new(test.rt, seed);
	test.blocks->delay_percent = delay_percent;
	test.blocks->cached_percent = cached_percent;
	assert_int_equal(rt_run(test.rt, body, &test), 0);
	assert_false(test.fake.deadlocked);
	fake_blocks_free(test.blocks);
	rt_free(test.rt);
}

static inline struct objset_options fake_options(struct fake_test *test)
{
	return (struct objset_options){ .id = 7, .data_class = CLASS_HOT, .metadata_compression = BLOCK_COMPRESS_AUTO, .dirty = fake_dirty, .argument = test };
}

static inline struct objset *fake_reopen(struct fake_test *test, struct objset *objset)
{
	struct objset_options options = fake_options(test);
	struct raw_block_pointer root = *objset_root(objset);

	objset_close(objset);
	assert_int_equal(test->dirty[0], 0);
	assert_int_equal(test->dirty[1], 0);
	assert_int_equal(objset_open(test->rt, test->blocks, &options, &root, &objset), 0);
	return objset;
}

#endif
