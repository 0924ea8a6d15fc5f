/*
 * The block pointer, 64 bytes on disk: identity (address and txg of placement), sizes, kind, birth of
 * the pointer, checksum. Layout: FORMAT.md. A pointer of 64 zero bytes is a hole that was never written.
 */
#ifndef LIBPOOL_FORMAT_BLOCK_POINTER_H
#define LIBPOOL_FORMAT_BLOCK_POINTER_H

#include <stdbool.h>
#include <stdint.h>

#include "libpool/format/constants.h"
#include "libpool/format/dva.h"

#define BLOCK_POINTER_SIZE 64u
#define BLOCK_POINTER_EMBED_MAX 40u

enum { BP_HOLE = 1, BP_EMBED = 2, BP_ENCRYPTED = 4 };

struct raw_block_pointer {
	uint8_t bytes[BLOCK_POINTER_SIZE];
};

/*
 * The decoded form. lsect and psect count cells (1 to BLOCK_CELLS_MAX, psect <= lsect); psect is 0 in holes and
 * embedded pointers, and 64 zero bytes decode as all zero, lsect too. dva and place are 0 unless placed.
 */
struct block_pointer {
	uint64_t dva, place, birth, fill;
	uint16_t lsect, psect;
	uint8_t compression, checksum_kind, type, level, flags, embed_length;
	uint8_t checksum[24]; /* XXH3-128 in the first 16 bytes, the rest zero */
	uint8_t embed[BLOCK_POINTER_EMBED_MAX];
};

/* Writes only the fields that the kind of pointer has; a hole with birth 0 becomes 64 zero bytes. */
void block_pointer_encode(const struct block_pointer *pointer, struct raw_block_pointer *ret_raw);
/* 0, or -POOL_EFORMAT for values that no writer makes (unknown bits, sizes, birth < place). */
int block_pointer_decode(const struct raw_block_pointer *raw, struct block_pointer *ret_pointer);

/* A valid pointer to a placed block of this type at level 0. */
bool raw_block_pointer_names(const struct raw_block_pointer *raw, uint8_t type);
/* Never written. */
bool raw_block_pointer_is_zero(const struct raw_block_pointer *raw);

static inline bool block_pointer_is_hole(const struct block_pointer *pointer)
{
	return pointer->flags & BP_HOLE || (pointer->dva == 0 && !(pointer->flags & BP_EMBED));
}

static inline bool block_pointer_is_embedded(const struct block_pointer *pointer)
{
	return pointer->flags & BP_EMBED;
}

/* Has cells on disk. */
static inline bool block_pointer_is_placed(const struct block_pointer *pointer)
{
	return !block_pointer_is_hole(pointer) && !block_pointer_is_embedded(pointer);
}

#endif
