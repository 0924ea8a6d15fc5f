/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The content of one file in a txg: in the inode while it is small, in blocks else. The caller holds `content` and a
 * transaction handle, and stores the inode.
 *
 * Bytes behind the end of the file within its last block mean nothing: making a file smaller costs no write, and whatever
 * makes it larger zeroes them first.
 */
#ifndef LIBPOOL_FS_CONTENT_H
#define LIBPOOL_FS_CONTENT_H

#include "libpool/fs/internal.h"

/* guard.c: of a range to be written, and of one to be zeroed. */
int guard_content(struct fs_node *node, uint64_t offset, uint64_t length);
int guard_punch(struct fs_node *node, uint64_t offset, uint64_t length);
/* For the handle: adds what changing a range places at most, with the block at the end of a file that gets longer, and what that takes the place of. */
void content_change(const struct fs_node *node, uint64_t offset, uint64_t length, struct core_change *change);
/* And what punching one removes, besides; its two ends may be changed. */
void content_removal(const struct fs_node *node, uint64_t offset, uint64_t length, struct core_change *change);
/* Whether a write up to `end` has records in the intent log: none where content moves out of the inode, or the first record is made. */
bool content_is_logged(const struct fs_node *node, uint64_t end);
/* Bytes of the records that content up to `end` goes into. */
uint64_t content_record(const struct fs_node *node, uint64_t end);
/* Whether content up to `end` stays in the inode. */
bool content_fits_inside(const struct fs_node *node, uint64_t end);
/* What this writes at most: content that moves from the inode into a record. */
uint64_t content_resize_cells(const struct fs_node *node, uint64_t size);
int content_resize(struct fs_node *node, uint64_t txg, uint64_t size);
/*
 * Reads what a write that is logged would have to wait for, so that it doesn't: what others do meanwhile, as gathering a group of the
 * log, finds all of it or nothing. Changes nothing that anybody sees.
 */
int content_prepare(struct fs_node *node, uint64_t txg, uint64_t offset, size_t length);
/* Grows the file if need be. */
int content_write(struct fs_node *node, uint64_t txg, uint64_t offset, size_t length, const void *source);
/* The range, which ends within the file, becomes zeroes. */
int content_zero(struct fs_node *node, uint64_t txg, uint64_t offset, uint64_t length);
/* A whole record of the blob from a frozen buffer; the file has blocks, and reaches up to its end at least. */
int content_put_block(struct fs_node *node, uint64_t txg, uint64_t number, struct buffer *buffer);
/* Content that lies in the inode goes into blocks; for content that isn't there yet, blocks for about `length` bytes. */
int content_spill(struct fs_node *node, uint64_t txg, uint64_t length);
/* file.c: as fs_write. */
int file_write_locked(struct fs_node *node, uint64_t offset, size_t length, const void *source, unsigned flags, size_t *ret_length);
int content_read(struct fs_node *node, uint64_t offset, size_t length, void *destination);

/* attributes.c: as a change by somebody who isn't the owner wants. */
void drop_setid(struct inode_record *inode);

#endif
