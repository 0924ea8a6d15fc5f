/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Whether compressing an object's next block is tried. With the automatic setting a block is stored as it is unless that saves an eighth. To find out that
 * it doesn't takes longer than checksum and parity together, and what lies beside such blocks is mostly like them: so of an object whose
 * last blocks were all not worth it only one in some is tried, until one is.
 *
 * This is known of objects in RAM only, and forgotten with them.
 */
#include "libpool/object/object_internal.h"

#define IN_VAIN_BLOCKS 16u
#define TRIED_ONE_IN   8u

uint8_t object_compression(struct object *object)
{
	if (object->compression != BLOCK_COMPRESS_AUTO || object->in_vain < IN_VAIN_BLOCKS)
		return object->compression;
	object->left_out = (object->left_out + 1) % TRIED_ONE_IN;
	return object->left_out ? BLOCK_COMPRESS_OFF : BLOCK_COMPRESS_AUTO;
}

/* Holes, what fits into a pointer, and blocks of one cell say nothing of the others. */
void object_compression_learn(struct object *object, uint8_t setting, const struct block_pointer *pointer)
{
	if (setting != BLOCK_COMPRESS_AUTO || !block_pointer_is_placed(pointer) || pointer->lsect < 2)
		return;
	if (pointer->compression != COMPRESSION_NONE)
		object->in_vain = 0;
	else if (object->in_vain < IN_VAIN_BLOCKS)
		object->in_vain++;
}
