/* SPDX-License-Identifier: BSD-2-Clause */
/* What one txg has changed in a blob, told from its overlay alone: for the intent log, which has to have it before the commit. */
#include <errno.h>

#include "libpool/object/object_internal.h"

int blob_each_change(struct object *object, uint64_t txg, uint64_t offset, uint64_t length, blob_change_function *visit, void *argument)
{
	const struct overlay *overlay = object_overlay_if_any(object, txg);
	uint64_t size = blob_block_size(object), end = offset + length;
	int result = 0;

	while (overlay && offset < end && result == 0) {
		struct dirty_block *block;
		uint64_t number = offset / size, next;
		enum overlay_state state = overlay_lookup(overlay, number, &block, &next);
		uint64_t stop = next > end / size ? end : next * size;

		if (stop > end)
			stop = end;
		if (state == OVERLAY_DIRTY)
			result = visit(argument, offset, stop - offset, block->buffer->data + offset % size);
		else if (state == OVERLAY_PUNCHED)
			result = visit(argument, offset, stop - offset, NULL);
		offset = stop;
	}
	return result;
}

int blob_write_ahead(struct object *object, uint64_t txg, uint64_t number, struct ahead_block **ret_ahead)
{
	const struct overlay *overlay = object_overlay_if_any(object, txg);
	struct dirty_block *block = overlay ? overlay_block(overlay, number) : NULL;

	*ret_ahead = NULL;
	/* What is written again and again isn't to fill the disks with what is dead at once. */
	if (!block || block->ahead || block->rewritten)
		return 0;
	block->ahead = ahead_block_new(block->buffer);
	if (!block->ahead)
		return -ENOMEM;
	block->ahead->txg = txg;
	block->ahead->type = object->block_type;
	block->ahead->compression = object_compression(object);
	block->ahead->owner = object_owner(object, 0, number);
	block->ahead->references++;
	*ret_ahead = block->ahead;
	return 0;
}
