/*
 * A block on its way to disk:
 *
 *	submitted   a worker looks for zeros, compresses, and hashes what will be stored
 *	prepared    waits until all earlier blocks of its class are prepared too
 *	placing     the store has it, and gives it its address when its stripe is full or cut
 *	placed      the pointer is final: holes and embedded blocks come here straight from prepared
 *
 * Addresses follow the order of submission, so that a file written in one piece lies in one piece; a worker
 * that was faster than another must not change that. No fiber is kept for it: whoever submits, or waits for
 * the end, also gives the store what is ready. That is one fiber at a time for each class, because
 * store_place may wait.
 *
 * The bound counts blocks that the store doesn't have yet; the store has its own for the others. Counting
 * these here would end in a deadlock, as a stripe may need more blocks than the bound admits.
 */
#include <string.h>

#include "libpool/base/check.h"
#include "libpool/base/error.h"
#include "libpool/block/block_internal.h"

enum {
	PREPARING_BYTES_MAX = 16 << 20,
	INLINE_CELLS_MAX = 2, /* hashed before a worker would be told to */
	QUICK_CELLS_MAX = 4,  /* compressed at the fastest level in some ten microseconds */
	QUICK_CELL_US = 10,
};

enum { SUBMITTED = 1, PREPARED, PLACING };

static uint64_t logical_size(const struct block_write *write)
{
	return (uint64_t)write->lsect * CELL_SIZE;
}

void block_write_prepare(void *argument)
{
	struct block_write *write = argument;
	struct block_pointer *pointer = &write->pointer;
	struct encoded encoded;

	*pointer = (struct block_pointer){.birth = write->txg,
					  .lsect = write->lsect,
					  .type = write->type,
					  .level = write->owner.level,
					  .checksum_kind = CHECKSUM_XXH3_128};
	if (write->allow_hole && content_is_zero(write->data->data, logical_size(write))) {
		pointer->flags = BP_HOLE;
		return;
	}
	codec_encode(write->blocks->codec, write->data->data, write->lsect, write->compression,
		     write->allow_embed, &encoded);
	pointer->fill = write->fill;
	pointer->compression = encoded.compression;
	pointer->psect = encoded.psect;
	if (encoded.embedded) {
		pointer->flags = BP_EMBED;
		pointer->embed_length = encoded.embed_length;
		memcpy(pointer->embed, encoded.embed, sizeof(pointer->embed));
		return;
	}
	pointer->place = write->txg;
	write->payload = encoded.payload ? encoded.payload : buffer_ref(write->data);
	if (write->payload == write->data && write->data->hashed) {
		store_checksum_of(&write->data->hash, pointer->checksum);
		return;
	}
	store_checksum(pointer->checksum_kind, write->payload->data, (size_t)encoded.psect * CELL_SIZE,
		       pointer->checksum);
}

static void prepared(struct rt_job *job)
{
	struct block_write *write = container_of(job, struct block_write, job);

	write->state = PREPARED;
	rt_queue_wake_all(write->blocks->rt, &write->blocks->progress);
}

void block_write_count(struct blocks *blocks, const struct block_write *write)
{
	struct blocks_counters *counters = &blocks->counters;
	const struct block_pointer *pointer = &write->pointer;

	counters->logical_bytes += logical_size(write);
	if (block_pointer_is_hole(pointer)) {
		counters->holes++;
		return;
	}
	if (block_pointer_is_embedded(pointer)) {
		counters->embedded++;
		return;
	}
	counters->written_blocks++;
	counters->payload_bytes += (uint64_t)pointer->psect * CELL_SIZE;
	if (pointer->compression != COMPRESSION_NONE)
		counters->compressed++;
	else if (!codec_encode_is_cheap(write->lsect, write->compression, false))
		counters->incompressible++;
}

/* Gives up what the write holds; its memory is the submitter's from here on. */
static void release(struct block_write *write)
{
	buffer_unref(write->payload);
	write->payload = NULL;
	if (write->cache || write->state != PLACING)
		buffer_unref(write->data);
	write->state = 0;
}

static void finish(struct block_write *write)
{
	struct blocks *blocks = write->blocks;

	block_write_count(blocks, write);
	if (write->cache && block_pointer_is_placed(&write->pointer))
		cache_put(&blocks->cache, &write->pointer, write->data);
	release(write);
	if (write->placed)
		write->placed(write);
}

static void placed_by_store(struct store_block *placement)
{
	struct block_write *write = container_of(placement, struct block_write, placement);

	POOL_CHECK(placement->dva != 0);
	list_remove(&write->node);
	write->pointer.dva = placement->dva;
	finish(write);
}

static void give_to_store(struct block_write *write, struct write_queue *queue)
{
	write->placement = (struct store_block){.payload = write->payload,
						.psect = write->pointer.psect,
						.type = write->type,
						.owner = write->owner,
						.placed = placed_by_store};
	list_push_back(&queue->placing, &write->node);
	write->state = PLACING;
	/* The uncompressed content is of no more use, unless it goes into the cache. */
	if (!write->cache)
		buffer_unref(write->data);
	store_place(write->blocks->store, write->class, &write->placement);
}

static struct block_write *first_prepared(struct write_queue *queue)
{
	if (list_empty(&queue->preparing))
		return NULL;
	struct block_write *write = container_of(queue->preparing.next, struct block_write, node);

	return write->state == PREPARED ? write : NULL;
}

/* Passes on all that is prepared and next in order. True if there was any (then it may have waited). */
static bool pass_on(struct blocks *blocks, struct write_queue *queue)
{
	struct block_write *write;

	if (queue->busy || !first_prepared(queue))
		return false;
	queue->busy = true;
	while ((write = first_prepared(queue))) {
		list_remove(&write->node);
		blocks->preparing_bytes -= logical_size(write);
		if (write->payload)
			give_to_store(write, queue);
		else
			finish(write);
	}
	queue->busy = false;
	rt_queue_wake_all(blocks->rt, &blocks->progress);
	return true;
}

static void wait_for_room(struct blocks *blocks)
{
	while (blocks->preparing_bytes >= PREPARING_BYTES_MAX) {
		bool any = false;

		for (unsigned i = 0; i < CLASS_COUNT; i++)
			any |= pass_on(blocks, &blocks->queues[i]);
		/* A round without progress has not waited: nothing was missed since it began. */
		if (!any)
			rt_queue_wait(blocks->rt, &blocks->progress);
	}
}

void block_writes_init(struct blocks *blocks)
{
	rt_queue_init(&blocks->progress);
	for (unsigned i = 0; i < CLASS_COUNT; i++) {
		list_init(&blocks->queues[i].preparing);
		list_init(&blocks->queues[i].placing);
	}
}

bool block_writes_idle(const struct blocks *blocks)
{
	for (unsigned i = 0; i < CLASS_COUNT; i++) {
		if (!list_empty(&blocks->queues[i].preparing) || !list_empty(&blocks->queues[i].placing))
			return false;
	}
	return true;
}

bool block_write_is_quick(const struct block_write *write)
{
	if (!codec_encode_is_cheap(write->lsect, write->compression, write->allow_embed))
		return false;
	/* With a hash there is nothing left to do, unless all of the content has to be looked at for zeros. */
	return write->lsect <= INLINE_CELLS_MAX || (write->data->hashed && !content_is_zero(write->data->data, CELL_SIZE));
}

uint16_t block_write_brief_us(const struct block_write *write)
{
	if (codec_encode_is_cheap(write->lsect, write->compression, write->allow_embed))
		return rt_brief_us(logical_size(write));
	bool quick = write->lsect <= QUICK_CELLS_MAX && (write->compression == BLOCK_COMPRESS_AUTO || write->compression == BLOCK_COMPRESS_LEAF);
	return quick ? (uint16_t)(write->lsect * QUICK_CELL_US) : 0;
}

void block_write_submit(struct blocks *blocks, struct block_write *write)
{
	struct write_queue *queue = &blocks->queues[write->class];

	if (!POOL_CHECK(write->class < CLASS_COUNT && write->data->size == logical_size(write)))
		return;
	wait_for_room(blocks);
	write->blocks = blocks;
	write->payload = NULL;
	write->state = SUBMITTED;
	buffer_ref(write->data);
	list_push_back(&queue->preparing, &write->node);
	blocks->preparing_bytes += logical_size(write);
	if (block_write_is_quick(write)) {
		block_write_prepare(write);
		write->state = PREPARED;
	} else {
		write->job = (struct rt_job){.function = block_write_prepare, .argument = write, .done = prepared};
		write->job.brief_us = block_write_brief_us(write);
		rt_work_submit(blocks->rt, &write->job);
	}
	pass_on(blocks, queue);
}

int block_writes_place(struct blocks *blocks, enum segment_class class)
{
	struct write_queue *queue = &blocks->queues[class];
	struct list *node;

	while (queue->busy || !list_empty(&queue->preparing)) {
		if (!pass_on(blocks, queue))
			rt_queue_wait(blocks->rt, &blocks->progress);
	}
	int result = store_cut(blocks->store, class);

	/* What the store couldn't place it has forgotten; nobody will call back for it. */
	while (result < 0 && (node = list_pop_front(&queue->placing)))
		release(container_of(node, struct block_write, node));
	return result;
}
