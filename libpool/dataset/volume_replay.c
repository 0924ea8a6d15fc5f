/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The changes of the intent log, made again by an import.
 *
 * A node above a change that can't be read would halt the pool in the commit of the replay, and so at each import. What lies below such a
 * node is lost already, and no read gives it: so a change there is left out and told, and everything else is made. But only if
 * no later import could read the node: with a disk missing the import is refused, and the log stays.
 *
 * Who has what of a file system isn't needed to make changes of its files again, so rows of owners that are lost lose nothing else.
 */
#include <errno.h>

#include "libpool/dataset/internal.h"

static bool is_damage(int status)
{
	return status == -POOL_EDAMAGED || status == -POOL_EFORMAT;
}

/* `object`: of a file, 0 of a volume. */
static int leave_out(struct dataset *dataset, uint64_t object, uint64_t offset, uint64_t length, int status)
{
	struct datasets_lost *lost = &dataset->owner->lost;

	if (!core_loss_is_certain(dataset->owner->core))
		return status;
	if (lost->changes++ == 0) {
		lost->dataset = dataset->record.id;
		lost->is_file = object != 0;
		lost->object = object;
		lost->offset = offset;
	}
	lost->bytes += length;
	return 0;
}

static int apply_range(struct dataset *dataset, uint64_t txg, uint64_t offset, uint64_t length, const uint8_t *content)
{
	int status = content ? volume_check_write(dataset, offset, length) : volume_check_punch(dataset, offset, length);

	if (status < 0)
		return status;
	return content ? blob_write(dataset->blob, txg, offset, length, content) : blob_punch(dataset->blob, txg, offset, length);
}

/*
 * What can be done of it: block by block, or, of zeros, whole blocks below one node at a time. Some of it may have been done
 * before; it is done again, as everything here may be.
 */
static int apply_pieces(struct dataset *dataset, uint64_t txg, const struct intent_record *record)
{
	unsigned shift = dataset->record.block_shift;
	uint64_t block = UINT64_C(1) << shift, end = record->offset + record->size;
	int status = 0;

	for (uint64_t at = record->offset, next; at < end && status == 0; at = next) {
		uint64_t same_node;
		status = blob_check_block(dataset->blob, at >> shift, &same_node);
		if (status < 0 && !is_damage(status))
			return status;
		bool together = status < 0 || (!record->content && at % block == 0 && end - at >= block);
		next = together ? same_node : (at >> shift) + 1;
		if (next <= end >> shift)
			next <<= shift;
		else
			next = together && status == 0 ? end >> shift << shift : end;
		if (status == 0)
			status = apply_range(dataset, txg, at, next - at, record->content ? record->content + (at - record->offset) : NULL);
		if (is_damage(status))
			status = leave_out(dataset, 0, at, next - at, status);
	}
	return status;
}

static int apply_content(struct dataset *dataset, uint64_t txg, const struct intent_record *record)
{
	if (record->object != VOLUME_OBJECT || record->size == 0 || record->size > VOLUME_SIZE_MAX ||
	    record->offset > VOLUME_SIZE_MAX - record->size)
		return -POOL_EFORMAT;
	int status = apply_range(dataset, txg, record->offset, record->size, record->content);
	return is_damage(status) ? apply_pieces(dataset, txg, record) : status;
}

static int apply_size(struct dataset *dataset, uint64_t txg, uint64_t size)
{
	if (size == 0 || size > VOLUME_SIZE_MAX || size & ((UINT64_C(1) << dataset->record.block_shift) - 1))
		return -POOL_EFORMAT;
	dataset->record.volume_size = size;
	dataset_stage(dataset, txg);
	return 0;
}

int datasets_apply(void *argument, uint64_t txg, const struct intent_record *record)
{
	struct datasets *datasets = argument;
	struct dataset *dataset = dataset_find_id(datasets, record->objset);

	if (!dataset || dataset->record.flags & DATASET_DESTROYED)
		return -POOL_EFORMAT; /* flushes wait for the commit of a dataset's creation and of its end */
	bool files = dataset->record.kind == DATASET_FILESYSTEM, has_range = record->type == INTENT_WRITE || record->type == INTENT_ZERO;
	int status = dataset_load(dataset);
	if (status == 0)
		status = dataset_check(dataset);
	if (status == 0 && files)
		status = dataset_files_apply(dataset, txg, record);
	if (is_damage(status) && files && record->type == INTENT_INODE && dataset_files_leave_out(dataset, record->object) < 0)
		return -ENOMEM;
	if (is_damage(status))
		return leave_out(dataset, files ? record->object : 0, has_range ? record->offset : 0, has_range ? record->size : 0, status);
	if (status < 0 || files)
		return status;
	switch (record->type) {
	case INTENT_WRITE:
	case INTENT_ZERO:
		return apply_content(dataset, txg, record);
	case INTENT_RESIZE:
		return apply_size(dataset, txg, record->size);
	}
	return -POOL_EFORMAT;
}
