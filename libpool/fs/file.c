/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reading and writing files. A large change is cut into pieces with a transaction handle each, so that none holds a txg
 * open for long; in a crash each piece is there as a whole or not at all, and none without those before it. So what a write waits for
 * comes before it changes anything: groups of the intent log are gathered meanwhile.
 */
#include "libpool/fs/content.h"

#include <linux/falloc.h>

#define RELATIVE_ACCESS_SECONDS (24 * 3600)
#define PIECE_BYTES (UINT64_C(1) << 20)

/* A file that is written to by others while it is read: its size is what it was at the beginning. */
int fs_read(struct fs_node *node, uint64_t offset, size_t length, void *destination, size_t *ret_length)
{
	uint64_t size = node->inode.size;
	int status = 0;

	if (node_is_directory(node))
		return -EISDIR;
	if (!S_ISREG(node->inode.mode))
		return -EINVAL;
	if (offset >= size || length == 0) {
		*ret_length = 0;
		return 0;
	}
	if (length > size - offset)
		length = (size_t)(size - offset);
	status = content_read(node, offset, length, destination);
	if (status == 0)
		*ret_length = length;
	return status;
}

static bool before(const struct fs_time *left, const struct fs_time *right)
{
	return left->seconds < right->seconds || (left->seconds == right->seconds && left->nanoseconds < right->nanoseconds);
}

void fs_touch(struct fs_node *node)
{
	struct fs_time now = fs_now(node->fs), *access = &node->inode.times[FS_TIME_ACCESS];
	const struct fs_time *modify = &node->inode.times[FS_TIME_MODIFY], *change = &node->inode.times[FS_TIME_CHANGE];

	uint8_t setting = fs_setting(node->fs, SETTING_ATIME);

	if (fs_is_read_only(node->fs) || setting == ATIME_OFF)
		return;
	if (setting == ATIME_RELATIVE && before(modify, access) && before(change, access) &&
	    now.seconds - access->seconds < RELATIVE_ACCESS_SECONDS)
		return;
	*access = now;
	if (!list_linked(&node->lazy))
		list_push_back(&node->fs->lazy, &node->lazy);
}

static int change_check(const struct fs_node *node, uint64_t offset, uint64_t length)
{
	if (node_is_directory(node))
		return -EISDIR;
	if (!S_ISREG(node->inode.mode))
		return -EINVAL;
	if (fs_is_read_only(node->fs))
		return -EROFS;
	return offset > FS_FILE_SIZE_MAX || length > FS_FILE_SIZE_MAX - offset ? -EFBIG : 0;
}

/* What every change of content ends with, in its txg. */
static int change_done(struct fs_node *node, uint64_t txg, unsigned flags, const struct inode_record *before, int status)
{
	if (flags & FS_WRITE_KILL_SETID)
		drop_setid(&node->inode);
	node_changed(node, true);
	return node_change_end(node, txg, before, status);
}

/* The range, and the end of the file if there is a gap before it. */
static int guard_write(struct fs_node *node, uint64_t offset, size_t length)
{
	int status = guard_content(node, offset, length);

	return status == 0 && offset > node->inode.size ? guard_content(node, node->inode.size, 1) : status;
}

static int write_piece(struct fs_node *node, uint64_t offset, size_t length, const void *source, unsigned flags)
{
	struct core *core = node->fs->core;
	struct inode_record before;
	struct charge_plan plan = { .owner = node_owner(&node->inode), .node = node, .offset = offset, .length = length, .told = true };
	uint64_t begin = offset < node->inode.size ? offset : node->inode.size; /* a gap is made zeros */
	uint64_t txg, block = blob_block_size(node->object);
	struct core_change change = { 0 };
	int status = guard_write(node, offset, length);

	content_change(node, offset, length, &change);
	/* The tail of what is there is zeroed. */
	if (offset > node->inode.size && node->inode.size % block)
		plan.cells = block / CELL_SIZE;
	if (status == 0)
		status = fs_hold_content(node->fs, &change, &plan, &txg);

	if (status < 0)
		return status;
	bool logged = content_is_logged(node, offset + length);
	if (!logged)
		filesystem_changed(node->fs->dataset, txg);
	status = content_prepare(node, txg, offset, length);
	/* From here to where it is noted for the log nothing waits. */
	if (status == 0)
		status = node_change_begin(node, txg, &before);
	if (status == 0)
		status = change_done(node, txg, flags, &before, content_write(node, txg, offset, length, source));
	if (logged)
		filesystem_file_changed(node->fs->dataset, txg, node->object, begin, offset + length - begin);
	if (status == 0)
		fs_charged(&plan, txg);
	core_release(core, txg);
	return status;
}

/* What fits into one piece isn't cut, wherever it lies. */
static size_t next_piece(uint64_t offset, size_t left, uint64_t unit)
{
	size_t piece = (size_t)(unit - offset % unit);

	return piece < left && !(unit == PIECE_BYTES && left <= unit) ? piece : left;
}

int file_write_locked(struct fs_node *node, uint64_t offset, size_t length, const void *source, unsigned flags, size_t *ret_length)
{
	size_t done = 0;
	int status = change_check(node, offset, length);

	for (uint64_t unit = PIECE_BYTES; done < length && status == 0;) {
		size_t piece = next_piece(offset + done, length - done, unit);
		status = write_piece(node, offset + done, piece, (const uint8_t *)source + done, flags);
		if (status == 0) {
			done += piece;
		} else if (status == -EDQUOT && unit > blob_block_size(node->object)) {
			unit = blob_block_size(node->object); /* as much as there is room for */
			status = 0;
		}
	}
	*ret_length = done;
	return done ? 0 : status;
}

int fs_write(struct fs_node *node, uint64_t offset, size_t length, const void *source, unsigned flags, size_t *ret_length)
{
	rt_mutex_lock(node->fs->rt, &node->content);
	if (flags & FS_WRITE_APPEND)
		offset = node->inode.size;
	int status = file_write_locked(node, offset, length, source, flags, ret_length);
	rt_mutex_unlock(node->fs->rt, &node->content);
	return status;
}

static int allocate(struct fs_node *node, int mode, uint64_t offset, uint64_t length, unsigned flags, uint64_t txg)
{
	uint64_t size = node->inode.size, end = offset + length;
	struct inode_record before;
	int status = node_change_begin(node, txg, &before);

	if (status < 0)
		return status;
	if (end > size && !(mode & FALLOC_FL_KEEP_SIZE)) {
		status = content_resize(node, txg, end);
		size = node->inode.size;
	}
	if (status == 0 && mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE) && offset < size)
		status = content_zero(node, txg, offset, (end < size ? end : size) - offset);
	return change_done(node, txg, flags, &before, status);
}

int fs_allocate(struct fs_node *node, int mode, uint64_t offset, uint64_t length, unsigned flags)
{
	const int known = FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE;
	const int both = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE;
	struct core *core = node->fs->core;
	uint64_t txg;

	if (mode & ~known || (mode & both) == both || (mode & FALLOC_FL_PUNCH_HOLE && !(mode & FALLOC_FL_KEEP_SIZE)))
		return -EOPNOTSUPP;
	if (length == 0)
		return -EINVAL;
	rt_mutex_lock(node->fs->rt, &node->content);
	int status = change_check(node, offset, length);
	if (status == 0)
		status = guard_punch(node, offset, length);
	if (status == 0)
		status = guard_content(node, node->inode.size, 1);
	struct charge_plan plan = { .owner = node_owner(&node->inode) };
	if (!(mode & FALLOC_FL_KEEP_SIZE))
		plan.cells = content_resize_cells(node, offset + length);
	/* At most the two blocks at the ends of the range, and the one at the old end of the file, are written. */
	if (status == 0) {
		struct core_change change = { 0 };
		content_change(node, offset, 1, &change);
		content_change(node, offset + length, 1, &change);
		content_change(node, node->inode.size, 1, &change);
		content_removal(node, offset, length, &change);
		status = fs_hold_content(node->fs, &change, &plan, &txg);
	}
	if (status == 0) {
		status = allocate(node, mode, offset, length, flags, txg);
		core_release(core, txg);
	}
	rt_mutex_unlock(node->fs->rt, &node->content);
	return status;
}

int fs_seek(struct fs_node *node, uint64_t offset, bool data, uint64_t *ret_offset)
{
	uint64_t size = node->inode.size, found = offset;
	int status = 0;

	if (!S_ISREG(node->inode.mode))
		return -EINVAL;
	if (offset >= size)
		return -ENXIO;
	if (node->inode.inline_length)
		found = data ? offset : size;
	else
		status = blob_seek(node->object, offset, size, data, &found);
	if (status < 0)
		return status;
	if (data && found >= size)
		return -ENXIO;
	*ret_offset = found;
	return 0;
}

int fs_read_link(struct fs_node *node, char *ret_target)
{
	if (!S_ISLNK(node->inode.mode))
		return -EINVAL;
	if (node->inode.size > FS_SYMLINK_MAX)
		return -POOL_EFORMAT;
	int status = content_read(node, 0, (size_t)node->inode.size, ret_target);
	if (status == 0)
		ret_target[node->inode.size] = 0;
	return status;
}
