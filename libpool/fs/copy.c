/* SPDX-License-Identifier: BSD-2-Clause */
/* copy_file_range within a pool: holes stay holes, and whole records of one size pass from file to file without a copy. */
#include "libpool/fs/content.h"

#define COPY_BYTES (UINT64_C(128) << 10)

struct copy {
	struct fs_node *from, *to;
	uint64_t from_offset, to_offset, length; /* what is left */
	unsigned flags;
	uint8_t *bytes;                          /* COPY_BYTES */
};

/* Whether the next record can be handed over as it is. */
static bool is_whole_record(const struct copy *copy, uint64_t size)
{
	uint64_t block = blob_block_size(copy->from->object);

	return block == blob_block_size(copy->to->object) && size >= block && copy->from_offset % block == 0 && copy->to_offset % block == 0 &&
	       !copy->from->inode.inline_length && !copy->to->inode.inline_length && copy->to->inode.size > 0;
}

static int put_record(struct copy *copy, struct buffer *buffer)
{
	struct fs_node *to = copy->to;
	struct core *core = to->fs->core;
	struct inode_record before;
	struct charge_plan plan = { .owner = node_owner(&to->inode), .node = to, .offset = copy->to_offset, .length = buffer->size };
	struct core_change change = { 0 };
	uint64_t txg;
	int status = guard_content(to, copy->to_offset, buffer->size);

	content_change(to, copy->to_offset, buffer->size, &change);
	if (status == 0)
		status = fs_hold_content(to->fs, &change, &plan, &txg);

	if (status < 0)
		return status;
	status = node_change_begin(to, txg, &before);
	if (status == 0) {
		status = content_put_block(to, txg, copy->to_offset / buffer->size, buffer);
		if (copy->flags & FS_WRITE_KILL_SETID)
			drop_setid(&to->inode);
		node_changed(to, true);
		status = node_change_end(to, txg, &before, status);
	}
	if (status == 0)
		fs_charged(&plan, txg);
	core_release(core, txg);
	return status;
}

/* A hole where the target may have data; only its size changes where that has ended. */
static int put_hole(struct copy *copy, uint64_t length)
{
	struct fs_node *to = copy->to;
	struct core *core = to->fs->core;
	uint64_t txg, end = copy->to_offset + length;
	struct charge_plan plan = { .owner = node_owner(&to->inode) };
	struct inode_record before;
	int status = guard_punch(to, copy->to_offset, length);

	if (status == 0)
		status = guard_content(to, to->inode.size, 1);
	if (end > to->inode.size)
		plan.cells = content_resize_cells(to, end);
	struct core_change change = { 0 };
	content_change(to, copy->to_offset, 1, &change);
	content_change(to, end, 1, &change);
	content_change(to, to->inode.size, 1, &change);
	content_removal(to, copy->to_offset, length, &change);
	if (status == 0)
		status = fs_hold_content(to->fs, &change, &plan, &txg);

	if (status < 0)
		return status;
	status = node_change_begin(to, txg, &before);
	if (status == 0) {
		if (end > to->inode.size)
			status = content_resize(to, txg, end);
		if (status == 0)
			status = content_zero(to, txg, copy->to_offset, length);
		node_changed(to, true);
		status = node_change_end(to, txg, &before, status);
	}
	core_release(core, txg);
	return status;
}

/* Copies a piece and says how long it was. The target's `content` is held. */
static int copy_piece(struct copy *copy, uint64_t size, uint64_t *ret_done)
{
	uint64_t data = copy->from_offset, piece = size < COPY_BYTES ? size : COPY_BYTES;
	size_t written = 0;
	int status = 0;

	if (!copy->from->inode.inline_length)
		status = blob_seek(copy->from->object, copy->from_offset, copy->from_offset + size, true, &data);
	if (status < 0)
		return status;
	if (data > copy->from_offset) {
		*ret_done = data - copy->from_offset;
		return put_hole(copy, *ret_done);
	}
	if (is_whole_record(copy, size)) {
		struct buffer *buffer;
		uint64_t block = blob_block_size(copy->from->object);
		status = blob_read_block(copy->from->object, copy->from_offset / block, &buffer);
		*ret_done = block;
		if (status < 0)
			return status;
		status = buffer ? put_record(copy, buffer) : put_hole(copy, block);
		buffer_unref(buffer);
		return status;
	}
	uint64_t block = blob_block_size(copy->from->object), edge = block - copy->from_offset % block;
	if (edge < piece && copy->to_offset % block == copy->from_offset % block)
		piece = edge; /* then whole records follow */
	status = content_read(copy->from, copy->from_offset, (size_t)piece, copy->bytes);
	if (status == 0)
		status = file_write_locked(copy->to, copy->to_offset, (size_t)piece, copy->bytes, copy->flags, &written);
	*ret_done = written;
	return status;
}

static int check(const struct copy *copy)
{
	uint64_t from = copy->from_offset, to = copy->to_offset;

	if (copy->from->fs != copy->to->fs)
		return -EXDEV;
	if (node_is_directory(copy->from) || node_is_directory(copy->to))
		return -EISDIR;
	if (!S_ISREG(copy->from->inode.mode) || !S_ISREG(copy->to->inode.mode))
		return -EINVAL;
	if (fs_is_read_only(copy->to->fs))
		return -EROFS;
	if (copy->length && to >= FS_FILE_SIZE_MAX)
		return -EFBIG;
	if (copy->from == copy->to && from < to + copy->length && to < from + copy->length)
		return -EINVAL;
	return 0;
}

int fs_copy_range(struct fs_node *from, uint64_t from_offset, struct fs_node *to, uint64_t to_offset, uint64_t length, unsigned flags,
		  uint64_t *ret_length)
{
	struct copy copy = { from, to, from_offset, to_offset, length, flags & FS_WRITE_KILL_SETID, NULL };
	uint64_t done = 0;

	*ret_length = 0;
	if (from_offset >= from->inode.size)
		copy.length = 0;
	else if (copy.length > from->inode.size - from_offset)
		copy.length = from->inode.size - from_offset;
	/* As much as fits below the limit, as the kernel does with its own. */
	if (to_offset < FS_FILE_SIZE_MAX && copy.length > FS_FILE_SIZE_MAX - to_offset)
		copy.length = FS_FILE_SIZE_MAX - to_offset;
	int status = check(&copy);
	if (status < 0 || copy.length == 0)
		return status;
	copy.bytes = malloc(COPY_BYTES);
	if (!copy.bytes)
		return -ENOMEM;
	rt_mutex_lock(to->fs->rt, &to->content);
	while (copy.length && status == 0) {
		uint64_t piece = 0, size = from->inode.size;
		/* The source may have become shorter. */
		if (copy.from_offset >= size)
			break;
		status = copy_piece(&copy, copy.length < size - copy.from_offset ? copy.length : size - copy.from_offset, &piece);
		if (status < 0)
			break;
		done += piece;
		copy.length -= piece;
		copy.from_offset += piece;
		copy.to_offset += piece;
	}
	rt_mutex_unlock(to->fs->rt, &to->content);
	free(copy.bytes);
	*ret_length = done;
	return done ? 0 : status;
}
