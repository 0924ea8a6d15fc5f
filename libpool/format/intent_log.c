/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Encoding of the intent log.
 *
 * What must always hold: the checksum covers every byte of the block's cells, so a block that was torn, or is a mixture of
 * two, is no block; and a block says by itself which pool, generation and place in the order it belongs to.
 */
#include "libpool/format/intent_log.h"

#include "libpool/base/error.h"
#include "libpool/format/dnode.h"
#include "libpool/format/raw_header.h"

struct raw_intent_block {
	struct raw_header header; /* 0 */
	uint8_t pool[16];         /* 16 */
	le64 generation;          /* 32 */
	le64 sequence;            /* 40 */
	le64 txg;                 /* 48 */
	le64 acknowledged;        /* 56 */
	le32 payload_bytes;       /* 64 */
	le32 record_count;        /* 68 */
	struct hash128 previous;  /* 72 */
	uint8_t reserved[24];     /* 88 */
	struct hash128 checksum;  /* 112 */
};
_Static_assert(sizeof(struct raw_intent_block) == INTENT_HEADER_SIZE && AT(raw_intent_block, header, 0) &&
		       AT(raw_intent_block, pool, 16) && AT(raw_intent_block, generation, 32) &&
		       AT(raw_intent_block, sequence, 40) && AT(raw_intent_block, txg, 48) &&
		       AT(raw_intent_block, acknowledged, 56) && AT(raw_intent_block, payload_bytes, 64) &&
		       AT(raw_intent_block, record_count, 68) && AT(raw_intent_block, previous, 72) &&
		       AT(raw_intent_block, checksum, 112), "on disk");

struct raw_intent_record {
	le16 type;      /* 0 */
	le16 reserved;  /* 2 */
	le32 length;    /* 4: of the whole record */
	le64 txg;       /* 8 */
	le32 objset;    /* 16 */
	le32 reserved_2; /* 20 */
	le64 object;    /* 24 */
	le64 offset;    /* 32 */
	le64 size;      /* 40 */
};
_Static_assert(sizeof(struct raw_intent_record) == INTENT_RECORD_SIZE && AT(raw_intent_record, type, 0) &&
		       AT(raw_intent_record, length, 4) && AT(raw_intent_record, txg, 8) && AT(raw_intent_record, objset, 16) &&
		       AT(raw_intent_record, object, 24) && AT(raw_intent_record, offset, 32) && AT(raw_intent_record, size, 40), "on disk");

/* All cells of the block, with zeros in the place of the checksum. */
static void block_hash(const uint8_t *raw, size_t size, struct hash128 *ret_hash)
{
	static const struct hash128 none;
	struct xxh3_stream stream;
	size_t at = offsetof(struct raw_intent_block, checksum);

	xxh3_stream_init(&stream);
	xxh3_stream_update(&stream, raw, at);
	xxh3_stream_update(&stream, &none, sizeof(none));
	xxh3_stream_update(&stream, raw + at + sizeof(none), size - at - sizeof(none));
	xxh3_stream_final(&stream, ret_hash);
}

void intent_block_encode(struct intent_block *block, uint8_t *ret_raw)
{
	struct raw_intent_block raw = { .header = raw_header_make(MAGIC_INTENT, INTENT_HEADER_SIZE, block->flags),
					.generation = le64_make(block->generation),
					.sequence = le64_make(block->sequence),
					.txg = le64_make(block->txg),
					.acknowledged = le64_make(block->acknowledged),
					.payload_bytes = le32_make(block->payload_bytes),
					.record_count = le32_make(block->record_count),
					.previous = block->previous };
	size_t used = INTENT_HEADER_SIZE + block->payload_bytes, size = (size_t)intent_block_cells(block->payload_bytes) * CELL_SIZE;

	memcpy(raw.pool, block->pool.bytes, sizeof(raw.pool));
	memcpy(ret_raw, &raw, sizeof(raw));
	memset(ret_raw + used, 0, size - used);
	block_hash(ret_raw, size, &block->checksum);
	memcpy(ret_raw + offsetof(struct raw_intent_block, checksum), &block->checksum, sizeof(block->checksum));
}

int intent_block_peek(const uint8_t *raw_bytes, size_t size, const struct guid *pool, struct intent_block *ret_block)
{
	struct raw_intent_block raw;

	memcpy(&raw, raw_bytes, sizeof(raw));
	if (!raw_header_valid(&raw.header, MAGIC_INTENT, INTENT_HEADER_SIZE, INTENT_GROUP_FIRST | INTENT_GROUP_LAST) ||
	    memcmp(raw.pool, pool->bytes, sizeof(raw.pool)) != 0 || !bytes_are_zero(raw.reserved, sizeof(raw.reserved)))
		return -POOL_EFORMAT;
	struct intent_block block = { .flags = le32_get(raw.header.flags),
				      .pool = *pool,
				      .generation = le64_get(raw.generation),
				      .sequence = le64_get(raw.sequence),
				      .txg = le64_get(raw.txg),
				      .acknowledged = le64_get(raw.acknowledged),
				      .payload_bytes = le32_get(raw.payload_bytes),
				      .record_count = le32_get(raw.record_count),
				      .previous = raw.previous,
				      .checksum = raw.checksum };
	if (block.payload_bytes > INTENT_PAYLOAD_MAX || block.payload_bytes % 8 != 0 || block.sequence == 0 ||
	    block.acknowledged >= block.sequence)
		return -POOL_EFORMAT;
	if (intent_block_cells(block.payload_bytes) * (size_t)CELL_SIZE > size)
		return -POOL_EFORMAT;
	*ret_block = block;
	return 0;
}

int intent_block_decode(const uint8_t *raw_bytes, size_t size, const struct guid *pool, struct intent_block *ret_block)
{
	struct intent_block block;
	struct hash128 hash;
	int status = intent_block_peek(raw_bytes, size, pool, &block);

	if (status < 0)
		return status;
	size_t used = INTENT_HEADER_SIZE + block.payload_bytes, cells = intent_block_cells(block.payload_bytes);
	block_hash(raw_bytes, cells * CELL_SIZE, &hash);
	if (memcmp(&hash, &block.checksum, sizeof(hash)) != 0 || !bytes_are_zero(raw_bytes + used, cells * CELL_SIZE - used))
		return -POOL_EFORMAT;
	*ret_block = block;
	return 0;
}

void intent_record_encode(const struct intent_record *record, uint8_t *to)
{
	size_t length = intent_record_bytes(record);
	struct raw_intent_record raw = { .type = le16_make(record->type),
					 .length = le32_make((uint32_t)length),
					 .txg = le64_make(record->txg),
					 .objset = le32_make(record->objset),
					 .object = le64_make(record->object),
					 .offset = le64_make(record->offset),
					 .size = le64_make(record->size) };
	memcpy(to, &raw, sizeof(raw));
	if (record->type == INTENT_PLACED)
		memcpy(to + sizeof(raw), record->pointer.bytes, BLOCK_POINTER_SIZE);
	if (!intent_has_content(record->type))
		return;
	memcpy(to + sizeof(raw), record->content, record->size);
	memset(to + sizeof(raw) + record->size, 0, length - sizeof(raw) - record->size);
}

/* A block as it is written: of data, at its lowest level, in the txg of the change. Where it lies is for its reader to judge. */
static bool pointer_fits(const struct intent_record *record)
{
	struct block_pointer pointer;

	return block_pointer_decode(&record->pointer, &pointer) == 0 && block_pointer_is_placed(&pointer) && pointer.type == TYPE_DATA &&
	       pointer.level == 0 && pointer.place == record->txg && pointer.birth == record->txg && pointer.fill == 1 &&
	       record->size == (uint64_t)pointer.lsect * CELL_SIZE && record->offset % record->size == 0;
}

static bool type_is_known(unsigned type)
{
	return (type > 0 && type < INTENT_TYPE_END) || type == INTENT_INODE || type == INTENT_PLACED;
}

static int record_decode(const uint8_t *at, size_t left, struct intent_record *ret_record, size_t *ret_length)
{
	struct raw_intent_record raw;

	if (left < sizeof(raw))
		return -POOL_EFORMAT;
	memcpy(&raw, at, sizeof(raw));
	struct intent_record record = { .type = (uint8_t)le16_get(raw.type),
					.txg = le64_get(raw.txg),
					.objset = le32_get(raw.objset),
					.object = le64_get(raw.object),
					.offset = le64_get(raw.offset),
					.size = le64_get(raw.size) };
	if (!type_is_known(le16_get(raw.type)) || le16_get(raw.reserved) != 0 ||
	    le32_get(raw.reserved_2) != 0 || record.txg == 0)
		return -POOL_EFORMAT;
	if (record.type == INTENT_RESIZE ? record.object != 0 || record.offset != 0 :
					   record.size == 0 || record.size > UINT64_MAX - record.offset)
		return -POOL_EFORMAT;
	if (intent_has_content(record.type) && record.size > (record.type == INTENT_WRITE ? INTENT_PAYLOAD_MAX : DNODE_BONUS_MAX))
		return -POOL_EFORMAT;
	size_t length = intent_record_bytes(&record);
	if (le32_get(raw.length) != length || length > left)
		return -POOL_EFORMAT;
	if (intent_has_content(record.type)) {
		record.content = at + sizeof(raw);
		if (!bytes_are_zero(record.content + record.size, length - sizeof(raw) - record.size))
			return -POOL_EFORMAT;
	}
	if (record.type == INTENT_PLACED) {
		memcpy(record.pointer.bytes, at + sizeof(raw), BLOCK_POINTER_SIZE);
		if (!pointer_fits(&record))
			return -POOL_EFORMAT;
	}
	*ret_record = record;
	*ret_length = length;
	return 0;
}

int intent_records_each(const uint8_t *raw, const struct intent_block *block,
			int (*visit)(void *argument, const struct intent_record *record), void *argument)
{
	const uint8_t *at = raw + INTENT_HEADER_SIZE;
	size_t left = block->payload_bytes;

	for (uint32_t i = 0; i < block->record_count; i++) {
		struct intent_record record;
		size_t length = 0;
		int status = record_decode(at, left, &record, &length);
		if (status == 0 && record.txg > block->txg)
			status = -POOL_EFORMAT;
		if (status == 0)
			status = visit(argument, &record);
		if (status < 0)
			return status;
		at += length;
		left -= length;
	}
	return left ? -POOL_EFORMAT : 0;
}
