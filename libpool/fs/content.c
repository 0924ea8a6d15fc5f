/* SPDX-License-Identifier: BSD-2-Clause */
/* Content of files, and the size of their records. */
#include "libpool/fs/content.h"

#define RANDOM_RECORD_SHIFT 14u    /* of files that were given their size before their content, as images of disks are */
#define RANDOM_SIZE (UINT64_C(1) << 20)

/*
 * The record size of a file that has no blocks yet, by its first write: a small file is one record, one that is copied gets
 * large ones.
 */
static uint8_t choose_shift(const struct fs_node *node, uint64_t length)
{
	uint8_t shift = fs_setting(node->fs, SETTING_RECORDSIZE);

	if (shift)
		return shift;
	shift = CELL_SHIFT;
	while (shift < FS_RECORD_SHIFT_MAX && UINT64_C(1) << shift < length)
		shift++;
	if (node->inode.size >= RANDOM_SIZE && shift > RANDOM_RECORD_SHIFT)
		shift = RANDOM_RECORD_SHIFT;
	return shift;
}

/* Before blocks are written, unless there are some. */
static int set_shift(struct fs_node *node, uint64_t txg, uint64_t length)
{
	uint8_t shift = choose_shift(node, length);
	int status = 1u << shift == blob_block_size(node->object) ? 0 : blob_set_block_shift(node->object, txg, shift);

	return status == -EBUSY ? 0 : status;
}

int content_spill(struct fs_node *node, uint64_t txg, uint64_t length)
{
	uint16_t inside = node->inode.inline_length;
	int status = set_shift(node, txg, length > inside ? length : inside);

	if (status == 0 && inside)
		status = blob_write(node->object, txg, 0, inside, node->inode.inline_data);
	if (status < 0)
		return status;
	memset(node->inode.inline_data, 0, sizeof(node->inode.inline_data));
	node->inode.inline_length = 0;
	return 0;
}

/* Zeroes what lies behind the end of the file, up to `limit` or the end of its last block. */
static int clear_tail(struct fs_node *node, uint64_t txg, uint64_t limit)
{
	uint64_t block = blob_block_size(node->object), size = node->inode.size;
	uint64_t end = (size + block - 1) / block * block;

	if (end > limit)
		end = limit;
	return end > size ? blob_punch(node->object, txg, size, end - size) : 0;
}

void content_change(const struct fs_node *node, uint64_t offset, uint64_t length, struct core_change *change)
{
	uint64_t end = offset + length, nodes, block = blob_block_size(node->object), size = end > node->inode.size ? end : node->inode.size;

	uint8_t shift = fs_setting(node->fs, SETTING_RECORDSIZE);

	/* A file without blocks may still get other records. */
	if (shift < FS_RECORD_SHIFT_MAX)
		shift = FS_RECORD_SHIFT_MAX;
	change->cells += blob_change_cells(node->fs->core, (uint32_t)block, size, offset, length, &nodes) +
			 (UINT64_C(1) << (shift - CELL_SHIFT)) + ATTRIBUTE_CELLS;
	change->nodes += nodes + ATTRIBUTE_CELLS;
	(void)blob_change_cells(node->fs->core, CELL_SIZE, size, offset, blob_is_untouched(node->object) ? length : 1, &nodes);
	change->nodes += nodes; /* with the smallest records that it may get, or of the block at its end */
	change->blocks += (end - 1) / block - offset / block + 2;
	change->block_cells = BLOCK_CELLS_MAX;
}

void content_removal(const struct fs_node *node, uint64_t offset, uint64_t length, struct core_change *change)
{
	uint64_t nodes;

	(void)blob_change_cells(node->fs->core, (uint32_t)blob_block_size(node->object), node->inode.size + 1, 0, 1, &nodes);
	change->nodes += 2 * nodes;
	change->blocks += blob_removed_blocks((uint32_t)blob_block_size(node->object), offset, length);
}

bool content_fits_inside(const struct fs_node *node, uint64_t end)
{
	const struct inode_record *inode = &node->inode;

	return end <= INODE_INLINE_MAX && inode->inline_length == inode->size;
}

bool content_is_logged(const struct fs_node *node, uint64_t end)
{
	return content_fits_inside(node, end) || (!node->inode.inline_length && !blob_is_untouched(node->object));
}

uint64_t content_record(const struct fs_node *node, uint64_t end)
{
	if (!blob_is_untouched(node->object))
		return blob_block_size(node->object);
	uint64_t chosen = UINT64_C(1) << choose_shift(node, end);
	return chosen > blob_block_size(node->object) ? chosen : blob_block_size(node->object);
}

uint64_t content_resize_cells(const struct fs_node *node, uint64_t size)
{
	return node->inode.inline_length && size > INODE_INLINE_MAX ? content_record(node, size) / CELL_SIZE : 0;
}

int content_resize(struct fs_node *node, uint64_t txg, uint64_t size)
{
	struct inode_record *inode = &node->inode;
	uint64_t block = blob_block_size(node->object);
	int status = 0;

	if (inode->inline_length && size <= INODE_INLINE_MAX) {
		if (size < inode->size)
			memset(inode->inline_data + size, 0, INODE_INLINE_MAX - size);
		inode->inline_length = (uint16_t)size;
	} else if (size > inode->size) {
		status = inode->inline_length ? content_spill(node, txg, size) : 0;
		if (status == 0)
			status = clear_tail(node, txg, size);
	} else if (size < inode->size) {
		uint64_t first = (size + block - 1) / block * block;
		/* Up to the end of its last block, which the size may lie within. */
		uint64_t end = (inode->size + block - 1) / block * block;
		status = end > first ? blob_punch(node->object, txg, first, end - first) : 0;
	}
	if (status == 0)
		inode->size = size;
	return status;
}

int content_prepare(struct fs_node *node, uint64_t txg, uint64_t offset, size_t length)
{
	if (content_fits_inside(node, offset + length) || node->inode.inline_length || blob_is_untouched(node->object))
		return 0;
	int status = offset > node->inode.size ? clear_tail(node, txg, offset) : 0;
	return status == 0 ? blob_prepare_write(node->object, txg, offset, length) : status;
}

int content_write(struct fs_node *node, uint64_t txg, uint64_t offset, size_t length, const void *source)
{
	struct inode_record *inode = &node->inode;
	uint64_t end = offset + length;
	int status = 0;

	object_set_compression(node->object, fs_setting(node->fs, SETTING_COMPRESSION));
	if (content_fits_inside(node, end)) {
		memcpy(inode->inline_data + offset, source, length);
		if (end > inode->size)
			inode->size = end;
		inode->inline_length = (uint16_t)inode->size;
		return 0;
	}
	if (inode->inline_length)
		status = content_spill(node, txg, end);
	else
		status = set_shift(node, txg, length);
	if (status == 0)
		status = blob_write(node->object, txg, offset, length, source);
	if (status == 0 && end > inode->size)
		inode->size = end;
	return status;
}

int content_zero(struct fs_node *node, uint64_t txg, uint64_t offset, uint64_t length)
{
	if (node->inode.inline_length) {
		memset(node->inode.inline_data + offset, 0, length);
		return 0;
	}
	return blob_punch(node->object, txg, offset, length);
}

int content_put_block(struct fs_node *node, uint64_t txg, uint64_t number, struct buffer *buffer)
{
	uint64_t end = (number + 1) * buffer->size;
	object_set_compression(node->object, fs_setting(node->fs, SETTING_COMPRESSION));
	int status = number * buffer->size > node->inode.size ? clear_tail(node, txg, number * buffer->size) : 0;

	if (status == 0)
		status = blob_write_block(node->object, txg, number, buffer);
	if (status == 0 && end > node->inode.size)
		node->inode.size = end;
	return status;
}

int content_read(struct fs_node *node, uint64_t offset, size_t length, void *destination)
{
	if (node->inode.inline_length) {
		memcpy(destination, node->inode.inline_data + offset, length);
		return 0;
	}
	return blob_read(node->object, offset, length, destination);
}
