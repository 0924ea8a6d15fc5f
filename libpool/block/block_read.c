/*
 * A block on its way to its reader: cache, store, decompression, cache.
 *
 * Readers pin nothing. While one waits for the disk, its block may be overwritten, freed and its cells
 * reused; the checksum tells, and so the first read is speculative: a mismatch says nothing yet. Only a
 * reader whose pointer still stands asks for the second, which reconstructs, heals and counts errors.
 *
 * The compactor may have moved the block: its pointer, which names it, stays. Where it is now is asked before each read, and again when
 * that failed: it may have been moved meanwhile, and its old cells be somebody else's by now.
 *
 * Each of the two reads is shared by all who want the same block at the same time, decompression included,
 * but not the verdict between them: one reader may hold a snapshot's pointer and another a replaced one.
 */
#include <stdlib.h>
#include <string.h>

#include "libpool/base/check.h"
#include "libpool/base/error.h"
#include "libpool/block/block_internal.h"

/* One read of the store that any number of fibers wait for. */
struct shared_read {
	struct hash_node node;
	struct block_pointer pointer;
	unsigned store_flags, holders;
	bool insert; /* one of the readers wants it cached */
	bool pools_own; /* of objset 0, which nothing moves */
	bool done;
	int result;
	struct buffer *content; /* when done and result is 0 */
	struct rt_queue waiters;
};

struct decode_job {
	struct blocks *blocks;
	const struct block_pointer *pointer;
	const struct buffer *payload; /* NULL: it is embedded */
	struct buffer *content;
	int result;
};

static void decode_on_worker(void *argument)
{
	struct decode_job *job = argument;
	const struct block_pointer *pointer = job->pointer;

	if (job->payload)
		job->result = codec_decode(job->blocks->codec, job->payload->data, pointer->psect,
					   job->content->data, pointer->lsect);
	else
		job->result = codec_decode_embedded(job->blocks->codec, pointer, job->content->data);
}

static int decode(struct blocks *blocks, const struct block_pointer *pointer, const struct buffer *payload,
		  struct buffer **ret_content)
{
	struct decode_job job = {.blocks = blocks, .pointer = pointer, .payload = payload};

	job.content = buffer_new((size_t)pointer->lsect * CELL_SIZE);
	if (!job.content)
		return -ENOMEM;
	if (pointer->compression == COMPRESSION_NONE)
		decode_on_worker(&job); /* a few bytes to copy */
	else
		rt_work(blocks->rt, decode_on_worker, &job);
	if (job.result < 0) {
		buffer_unref(job.content);
		return job.result;
	}
	*ret_content = job.content;
	return 0;
}

int block_content(struct blocks *blocks, const struct block_pointer *pointer, struct buffer *payload, struct buffer **ret_content)
{
	if (pointer->compression != COMPRESSION_NONE)
		return decode(blocks, pointer, payload, ret_content);
	*ret_content = buffer_ref(payload);
	return 0;
}

/* A pointer can be sound by its checksum and still name what no writer makes, if an image was forged. */
static bool sizes_are_sane(const struct block_pointer *pointer)
{
	if (pointer->lsect == 0)
		return false;
	if (!block_pointer_is_placed(pointer))
		return true;
	switch (pointer->compression) {
	case COMPRESSION_NONE:
		return pointer->psect == pointer->lsect;
	case COMPRESSION_ZSTD:
		return pointer->psect > 0 && pointer->psect < pointer->lsect;
	default:
		return false;
	}
}

static bool says_damage(int result)
{
	return result == -POOL_ECHECKSUM || result == -POOL_EDAMAGED || result == -POOL_ESTALE ||
	       result == -POOL_EFORMAT;
}

/* From where it is. */
static int read_payload(struct blocks *blocks, const struct shared_read *read, struct buffer **ret_payload)
{
	struct block_pointer at = read->pointer, before;
	bool asks = blocks->locate_callback && !read->pools_own;
	int result = asks ? blocks->locate_callback(blocks->locate_argument, &read->pointer, &at) : 0;

	while (result == 0) {
		result = store_read(blocks->store, &at, read->store_flags, ret_payload);
		if (!asks || result == 0 || result == -ENOMEM || result == -POOL_EHALTED)
			return result;
		before = at;
		if (blocks->locate_callback(blocks->locate_argument, &read->pointer, &at) < 0 ||
		    (at.dva == before.dva && at.place == before.place))
			return result;
		result = 0;
	}
	return result;
}

/* From the store to content. Damage that no redundancy can repair has the code -POOL_EFORMAT here. */
static int read_and_decode(struct blocks *blocks, const struct shared_read *read, struct buffer **ret_content)
{
	const struct block_pointer *pointer = &read->pointer;
	CLEANUP_BUFFER struct buffer *payload = NULL;
	int result = read_payload(blocks, read, &payload);

	if (result < 0)
		return result;
	if (!POOL_CHECK(payload->size == (uint32_t)pointer->psect * CELL_SIZE))
		return -POOL_EHALTED;
	if (pointer->compression != COMPRESSION_NONE)
		return decode(blocks, pointer, payload, ret_content);
	*ret_content = payload;
	payload = NULL;
	return 0;
}

/* Whether one read can serve both pointers: pointers to the same block differ only in what concerns
 * themselves. */
static bool same_block(const struct block_pointer *a, const struct block_pointer *b)
{
	return a->dva == b->dva && a->place == b->place && a->lsect == b->lsect && a->psect == b->psect &&
	       a->compression == b->compression && a->checksum_kind == b->checksum_kind &&
	       (a->flags & BP_ENCRYPTED) == (b->flags & BP_ENCRYPTED) &&
	       memcmp(a->checksum, b->checksum, sizeof(a->checksum)) == 0;
}

static struct shared_read *find_read(struct blocks *blocks, const struct block_pointer *pointer,
				     unsigned store_flags)
{
	for (struct hash_node *node = hash_table_first(&blocks->reads, identity_hash(pointer)); node;
	     node = hash_table_next(node)) {
		struct shared_read *read = container_of(node, struct shared_read, node);

		if (read->store_flags == store_flags && same_block(&read->pointer, pointer))
			return read;
	}
	return NULL;
}

static int collect(struct shared_read *read, struct buffer **ret_content)
{
	int result = read->result;

	if (result == 0)
		*ret_content = buffer_ref(read->content);
	if (--read->holders == 0) {
		buffer_unref(read->content);
		free(read);
	}
	return result;
}

static void lead(struct blocks *blocks, struct shared_read *read)
{
	read->result = read_and_decode(blocks, read, &read->content);
	if (read->result == 0 && read->insert)
		cache_put(&blocks->cache, &read->pointer, read->content);
	hash_table_remove(&blocks->reads, &read->node);
	read->done = true;
	rt_queue_wake_all(blocks->rt, &read->waiters);
}

static int read_shared(struct blocks *blocks, const struct block_pointer *pointer, bool pools_own, unsigned store_flags,
		       bool insert, struct buffer **ret_content)
{
	struct shared_read *read = find_read(blocks, pointer, store_flags);

	if (read) {
		read->holders++;
		read->insert |= insert;
		while (!read->done)
			rt_queue_wait(blocks->rt, &read->waiters);
		return collect(read, ret_content);
	}
	read = calloc(1, sizeof(*read));
	if (!read)
		return -ENOMEM;
	*read = (struct shared_read){
	    .pointer = *pointer, .store_flags = store_flags, .holders = 1, .insert = insert, .pools_own = pools_own};
	rt_queue_init(&read->waiters);
	hash_table_insert(&blocks->reads, &read->node, identity_hash(pointer));
	lead(blocks, read);
	return collect(read, ret_content);
}

static int read_placed(struct blocks *blocks, const struct block_pointer *pointer, bool pools_own, bool insert,
		       bool (*still_current)(void *argument), void *argument, struct buffer **ret_buffer)
{
	static const unsigned attempts[] = {STORE_READ_SPECULATIVE, 0};
	int result = 0;

	for (unsigned i = 0; i < 2; i++) {
		result = read_shared(blocks, pointer, pools_own, attempts[i], insert, ret_buffer);
		if (!says_damage(result))
			return result;
		if (still_current && !still_current(argument))
			return -POOL_ESTALE;
		if (result != -POOL_ECHECKSUM)
			break;
	}
	return result == -POOL_EFORMAT ? -POOL_EFORMAT : -POOL_EDAMAGED;
}

int block_read(struct blocks *blocks, const struct block_pointer *pointer, const struct block_owner *owner,
	       unsigned flags, bool (*still_current)(void *argument), void *argument,
	       struct buffer **ret_buffer)
{
	struct buffer *content = NULL;
	int result;

	if (!sizes_are_sane(pointer)) {
		result = -POOL_EFORMAT;
	} else if (block_pointer_is_hole(pointer)) {
		content = buffer_new_zero((size_t)pointer->lsect * CELL_SIZE);
		result = content ? 0 : -ENOMEM;
	} else if (block_pointer_is_embedded(pointer)) {
		result = decode(blocks, pointer, NULL, &content);
	} else {
		if (!(flags & BLOCK_READ_NO_CACHE))
			content = cache_get(&blocks->cache, pointer);
		result = content ? 0
				 : read_placed(blocks, pointer, !owner || owner->objset == 0, !(flags & BLOCK_READ_NO_INSERT),
					       still_current, argument, &content);
		if (result == 0)
			damage_cleared(blocks, pointer, owner);
	}
	if (result == -POOL_EDAMAGED || result == -POOL_EFORMAT) {
		damage_found(blocks, pointer, owner, result);
		return -POOL_EDAMAGED;
	}
	if (result == 0)
		*ret_buffer = content;
	return result;
}
