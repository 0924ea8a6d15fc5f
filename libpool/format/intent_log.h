/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Blocks of the intent log: what was changed after the last commit and flushed. A block is a header of 128 bytes, then
 * records, in whole cells. It is valid if its checksum is right, wherever it lies; docs/FORMAT.md says which blocks count.
 */
#ifndef LIBPOOL_FORMAT_INTENT_LOG_H
#define LIBPOOL_FORMAT_INTENT_LOG_H

#include <stdbool.h>
#include <stddef.h>

#include "checksum/xxh3.h"
#include "libpool/format/block_pointer.h"

#define INTENT_HEADER_SIZE 128u
#define INTENT_RECORD_SIZE 48u  /* without content */
#define INTENT_PLACED_SIZE (INTENT_RECORD_SIZE + BLOCK_POINTER_SIZE)
#define INTENT_BLOCK_CELLS_MAX 32u
#define INTENT_PAYLOAD_MAX (INTENT_BLOCK_CELLS_MAX * CELL_SIZE - INTENT_HEADER_SIZE)

/* The changes of a group count all together or not at all: it is there when all its blocks are, from the first to the last. */
enum { INTENT_GROUP_FIRST = 1, INTENT_GROUP_LAST = 2 };

struct intent_block {
	uint32_t flags;
	struct guid pool;
	uint64_t generation; /* of the log: blocks of others are old */
	uint64_t sequence;   /* from 1 in each generation, without gaps */
	uint64_t txg;        /* the highest of its records' */
	uint64_t acknowledged; /* a group up to this block was durable when the block was made, 0: none */
	uint32_t payload_bytes, record_count;
	struct hash128 previous; /* checksum of the block before in the generation, zero in the first */
	struct hash128 checksum; /* set by encode and decode */
};

/* Records are changes of objects. Numbers are on disk. */
enum intent_record_type {
	INTENT_WRITE = 1,  /* bytes of a blob, and their content */
	INTENT_ZERO = 2,   /* bytes of a blob become zeros */
	INTENT_RESIZE = 3, /* `size` is the new size of the volume */
	INTENT_TYPE_END,
	INTENT_INODE = 16, /* of a file: `content` is its bonus, `offset` the object's generation */
	INTENT_PLACED = 32 /* a block of a blob, whose content lies where the pointer says: in rows that no commit describes yet */
};

struct intent_record {
	uint8_t type;
	uint32_t objset;
	uint64_t txg; /* that the change was made in: a commit of it contains the change */
	uint64_t object, offset, size;
	const uint8_t *content; /* WRITE, INODE: `size` bytes */
	struct raw_block_pointer pointer; /* PLACED */
};

/* Cells of a block with so many bytes of records. */
static inline unsigned intent_block_cells(size_t payload_bytes)
{
	return (unsigned)((INTENT_HEADER_SIZE + payload_bytes + CELL_SIZE - 1) / CELL_SIZE);
}

static inline bool intent_has_content(uint8_t type)
{
	return type == INTENT_WRITE || type == INTENT_INODE;
}

/* Bytes that a record takes. */
static inline size_t intent_record_bytes(const struct intent_record *record)
{
	return record->type == INTENT_PLACED ? INTENT_PLACED_SIZE :
					       INTENT_RECORD_SIZE + (intent_has_content(record->type) ? (record->size + 7) / 8 * 8 : 0);
}

/*
 * Puts the header in front of payload_bytes of records that lie at ret_raw + INTENT_HEADER_SIZE already, fills the last
 * cell with zeros, and sets block->checksum. ret_raw has intent_block_cells(payload_bytes) cells.
 */
void intent_block_encode(struct intent_block *block, uint8_t *ret_raw);
/*
 * 0 or -POOL_EFORMAT. `size`: bytes there are from raw on, whole cells. A block of another pool is refused; which generation
 * and which number count is the caller's to say.
 */
int intent_block_decode(const uint8_t *raw, size_t size, const struct guid *pool, struct intent_block *ret_block);

/* The same without the checksum: what the first cell says, of which the rest may be lost. */
int intent_block_peek(const uint8_t *raw, size_t size, const struct guid *pool, struct intent_block *ret_block);

/* Appends a record of a size that fits (intent_record_bytes) at `to`. */
void intent_record_encode(const struct intent_record *record, uint8_t *to);
/* Calls visit for each record of a decoded block, in order; stops at a negative return. -POOL_EFORMAT: what isn't a record. */
int intent_records_each(const uint8_t *raw, const struct intent_block *block,
			int (*visit)(void *argument, const struct intent_record *record), void *argument);

#endif
