/*
 * Writing blobs: into the overlay of the open txg, nothing else.
 *
 * A part of a block is merged with the block as it is before, which may have to be read; then, in one step, with whatever
 * is newest. What must always hold:
 *
 * - A buffer that someone else holds, a reader, the cache or the caller, never changes: it is copied first.
 * - A write that comes in an older txg than one that was here before it counts in the newer one too: whoever reads
 *   next sees it, whichever handle it was made under.
 */
#include <string.h>

#include "libpool/object/object_internal.h"

/* Bytes to put into one block; bytes NULL: zeroes. */
struct part {
	size_t within, length;
	const uint8_t *bytes;
};

static void apply(struct buffer *buffer, const struct part *part)
{
	if (part->bytes)
		memcpy(buffer->data + part->within, part->bytes, part->length);
	else
		memset(buffer->data + part->within, 0, part->length);
}

static int put_block(struct overlay *overlay, uint64_t number, struct buffer *buffer)
{
	int64_t before = overlay->bytes;
	int result = overlay_put_block(overlay, number, buffer);

	if (result < 0)
		buffer_unref(buffer);
	overlay_account(overlay, before);
	return result;
}

/* Changes a block that is dirty in this overlay. */
static int modify(struct overlay *overlay, struct dirty_block *block, const struct part *part)
{
	if (!buffer_is_sole(block->buffer)) {
		struct buffer *copy = buffer_new_copy(block->buffer->data, block->buffer->size);

		if (!copy)
			return -ENOMEM;
		put_block(overlay, block->number, copy); /* it is there: can't fail */
	}
	dirty_block_changes(block);
	buffer_unhash(block->buffer);
	apply(block->buffer, part);
	return 0;
}

/* Makes a dirty block of what the block was (NULL: zeroes) and the part; takes over the reference. */
static int modify_base(struct overlay *overlay, uint64_t number, size_t size, struct buffer *base, const struct part *part)
{
	struct buffer *buffer = base ? buffer_new_copy(base->data, size) : buffer_new_zero(size);

	buffer_unref(base);
	if (!buffer)
		return -ENOMEM;
	apply(buffer, part);
	return put_block(overlay, number, buffer);
}

/* What the txg after this one made of the block changes as well. */
static int modify_later(struct object *object, uint64_t txg, uint64_t number, const struct part *part)
{
	struct overlay *later = object_overlay_if_any(object, txg + 1);
	struct dirty_block *block;
	uint64_t end;

	if (!later)
		return 0;
	switch (overlay_lookup(later, number, &block, &end)) {
	case OVERLAY_DIRTY:
		return modify(later, block, part);
	case OVERLAY_PUNCHED:
		return part->bytes ? modify_base(later, number, blob_block_size(object), NULL, part) : 0;
	default:
		return 0;
	}
}

/* The block as of txg, read if need be, and nothing has changed it when this returns. */
static int read_base(struct object *object, uint64_t txg, uint64_t number, struct buffer **ret_base)
{
	for (;;) {
		uint64_t generation = object->generation;
		struct buffer *base, *newer;
		int result = blob_read_block_as_of(object, txg, number, &base);

		if (result < 0)
			return result;
		if (blob_find_change(object, txg, number, &newer)) {
			buffer_unref(base);
			*ret_base = newer;
			return 0;
		}
		if (generation == object->generation) {
			*ret_base = base;
			return 0;
		}
		buffer_unref(base);
	}
}

static int write_part(struct object *object, uint64_t txg, uint64_t number, const struct part *part)
{
	struct overlay *overlay = object_overlay_if_any(object, txg);
	struct dirty_block *block = overlay ? overlay_block(overlay, number) : NULL;
	struct buffer *base = NULL;
	int result;

	if (!block) {
		result = read_base(object, txg, number, &base);
		if (result < 0)
			return result;
		if (object->destroyed) {
			buffer_unref(base);
			return -ENOENT;
		}
	}
	result = modify_later(object, txg, number, part);
	overlay = result == 0 ? object_overlay(object, txg) : NULL;
	if (!overlay) {
		buffer_unref(base);
		return result ? result : -ENOMEM;
	}
	block = overlay_block(overlay, number);
	if (block) {
		buffer_unref(base);
		return modify(overlay, block, part);
	}
	if (!base && !part->bytes)
		return 0; /* zeroes into a hole */
	return modify_base(overlay, number, blob_block_size(object), base, part);
}

/* Takes over the reference. */
static int put_whole(struct object *object, uint64_t txg, uint64_t number, struct buffer *buffer)
{
	struct overlay *overlay = object->destroyed ? NULL : object_overlay(object, txg);
	struct overlay *later = object_overlay_if_any(object, txg + 1);
	struct dirty_block *block;
	uint64_t end;
	int result = 0;

	if (!overlay)
		result = object->destroyed ? -ENOENT : -ENOMEM;
	if (result == 0 && later && overlay_lookup(later, number, &block, &end) != OVERLAY_NONE)
		result = put_block(later, number, buffer_ref(buffer));
	if (result < 0) {
		buffer_unref(buffer);
		return result;
	}
	return put_block(overlay, number, buffer);
}

static int check_blob(const struct object *object)
{
	if (object->destroyed)
		return -ENOENT;
	return object->disk.kind == DNODE_BLOB ? 0 : -EINVAL;
}

int blob_write_block(struct object *object, uint64_t txg, uint64_t number, struct buffer *buffer)
{
	int result = check_blob(object);

	if (result < 0)
		return result;
	if (buffer->size != blob_block_size(object))
		return -EINVAL;
	if (number >= BLOB_BLOCKS_MAX)
		return -EFBIG;
	return put_whole(object, txg, number, buffer_ref(buffer));
}

int blob_write(struct object *object, uint64_t txg, uint64_t offset, size_t length, const void *source)
{
	int result = check_blob(object);
	size_t size;
	const uint8_t *from = source;

	if (result < 0)
		return result;
	size = blob_block_size(object);
	if (length && (length > UINT64_MAX - offset || (offset + length - 1) / size >= BLOB_BLOCKS_MAX))
		return -EFBIG;
	while (length && result == 0) {
		size_t within = offset % size;
		struct part part = { within, size - within < length ? size - within : length, from };

		if (part.length == size) {
			struct buffer *buffer = buffer_new_copy(from, size);

			result = buffer ? put_whole(object, txg, offset / size, buffer) : -ENOMEM;
		} else {
			result = write_part(object, txg, offset / size, &part);
		}
		from += part.length;
		offset += part.length;
		length -= part.length;
	}
	return result;
}

/* Changes the block without changing any of its bytes. */
static int prepare_part(struct object *object, uint64_t txg, uint64_t number)
{
	const struct part nothing = { 0, 0, (const uint8_t *)"" };
	const struct overlay *overlay = object_overlay_if_any(object, txg);

	return overlay && overlay_block(overlay, number) ? 0 : write_part(object, txg, number, &nothing);
}

int blob_prepare_write(struct object *object, uint64_t txg, uint64_t offset, uint64_t length)
{
	int result = check_blob(object);

	if (result < 0 || length == 0)
		return result;
	uint64_t size = blob_block_size(object), first = offset / size, last = (offset + length - 1) / size;
	if (last >= BLOB_BLOCKS_MAX)
		return -EFBIG;
	bool head = offset % size || length < size, tail = (offset + length) % size != 0;
	if (head)
		result = prepare_part(object, txg, first);
	return result == 0 && tail && !(head && last == first) ? prepare_part(object, txg, last) : result;
}

/* Whether there may be anything at or behind this block. */
static bool anything_from(const struct object *object, uint64_t number)
{
	if (object->disk.levels && number <= object->disk.max_block)
		return true;
	for (int i = 0; i < 2; i++)
		if (object->overlays[i] && object->overlays[i]->any_written && number <= object->overlays[i]->max_written)
			return true;
	return false;
}

static int punch_blocks(struct object *object, uint64_t txg, uint64_t first, uint64_t end)
{
	struct overlay *overlays[2];
	int result = 0;

	if (object->destroyed)
		return -ENOENT; /* while a part of a block was read */
	if (first >= end || !anything_from(object, first))
		return 0;
	overlays[0] = object_overlay(object, txg);
	overlays[1] = object_overlay_if_any(object, txg + 1);
	if (!overlays[0])
		return -ENOMEM;
	for (int i = 1; i >= 0 && result == 0; i--) {
		int64_t before;

		if (!overlays[i])
			continue;
		before = overlays[i]->bytes;
		result = overlay_punch(overlays[i], first, end);
		overlay_account(overlays[i], before);
	}
	return result;
}

int blob_punch(struct object *object, uint64_t txg, uint64_t offset, uint64_t length)
{
	int result = check_blob(object);
	uint64_t size, last, first_block, end_block;
	struct part part;

	if (result < 0 || length == 0)
		return result;
	size = blob_block_size(object);
	last = length - 1 > UINT64_MAX - offset ? UINT64_MAX : offset + length - 1;
	first_block = offset / size + (offset % size != 0);
	end_block = last / size + (last % size == size - 1);
	if (offset % size) {
		uint64_t head_last = last / size == offset / size ? last % size : size - 1;

		part = (struct part){ offset % size, head_last - offset % size + 1, NULL };
		if (anything_from(object, offset / size))
			result = write_part(object, txg, offset / size, &part);
	}
	if (result == 0 && last % size != size - 1 && (last / size > offset / size || offset % size == 0)) {
		part = (struct part){ 0, last % size + 1, NULL };
		if (anything_from(object, last / size))
			result = write_part(object, txg, last / size, &part);
	}
	if (end_block > BLOB_BLOCKS_MAX)
		end_block = BLOB_BLOCKS_MAX;
	return result < 0 ? result : punch_blocks(object, txg, first_block, end_block);
}

bool object_has_changes(const struct object *object)
{
	for (unsigned i = 0; i < 2; i++) {
		const struct overlay *overlay = object->overlays[i];
		if (overlay && (overlay->blocks.count || overlay->ranges.count || overlay->changes.count))
			return true;
	}
	return false;
}

bool blob_is_untouched(const struct object *object)
{
	for (unsigned i = 0; i < 2; i++) {
		const struct overlay *overlay = object->overlays[i];
		if (overlay && (overlay->any_written || overlay->blocks.count || overlay->ranges.count))
			return false;
	}
	return object->disk.levels == 0;
}

int blob_set_block_shift(struct object *object, uint64_t txg, uint8_t block_shift)
{
	if (block_shift < CELL_SHIFT || block_shift > DNODE_BLOCK_SHIFT_MAX || object->disk.kind != DNODE_BLOB)
		return -EINVAL;
	if (!blob_is_untouched(object))
		return -EBUSY;
	if (object->destroyed)
		return -ENOENT;
	struct overlay *overlay = object_overlay(object, txg);
	if (!overlay)
		return -ENOMEM;
	overlay->block_shift = block_shift;
	blob_reshape(object, block_shift);
	return 0;
}
