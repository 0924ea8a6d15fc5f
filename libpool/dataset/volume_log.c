/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Volumes and the intent log. Which bytes a txg has changed is noted as ranges, not as operations: a group of the log has
 * what these bytes are when it is gathered, so what was written twice is logged once, and a group is a state of all volumes that
 * really was. New, renamed and destroyed ones have no records: flushes wait for their commit.
 */
#include <errno.h>
#include <stdlib.h>

#include "libpool/base/check.h"
#include "libpool/dataset/internal.h"

#define RANGES_MAX 4096u /* of one volume in one txg, merged: beyond it a commit is as good */

static int compare_ranges(const void *a, const void *b)
{
	const struct byte_range *x = a, *y = b;

	return x->offset < y->offset ? -1 : x->offset > y->offset;
}

/* Ascending, without overlaps. */
static void byte_ranges_merge(struct array *ranges)
{
	size_t kept = 0;

	if (ranges->count > 1)
		qsort(ranges->items, ranges->count, sizeof(struct byte_range), compare_ranges);
	for (size_t i = 1; i < ranges->count; i++) {
		struct byte_range *last = array_at(ranges, struct byte_range, kept), *next = array_at(ranges, struct byte_range, i);
		if (next->offset > last->end)
			*array_at(ranges, struct byte_range, ++kept) = *next;
		else if (next->end > last->end)
			last->end = next->end;
	}
	if (ranges->count)
		ranges->count = kept + 1;
}

int byte_ranges_add(struct array *ranges, uint64_t offset, uint64_t end)
{
	struct byte_range range = { offset, end };
	struct byte_range *last = ranges->count ? array_at(ranges, struct byte_range, ranges->count - 1) : NULL;

	if (last && offset >= last->offset && offset <= last->end) {
		last->end = end > last->end ? end : last->end;
		return 0;
	}
	if (ranges->count >= RANGES_MAX) {
		byte_ranges_merge(ranges);
		if (ranges->count >= RANGES_MAX / 2) /* or they would be sorted again too often */
			return -ENOSPC;
	}
	return array_push(ranges, &range);
}

/* Otherwise its flushes are commits. Each change of the setting makes flushes wait for a commit, so nothing falls in between. */
bool dataset_is_logged(const struct dataset *dataset)
{
	return dataset->settings[SETTING_LOGBIAS] == LOGBIAS_LATENCY;
}

int dataset_flush(struct dataset *dataset)
{
	return dataset_is_logged(dataset) ? core_flush(dataset->owner->core) : core_commit(dataset->owner->core);
}

void dataset_changed(struct dataset *dataset, uint64_t txg, uint64_t offset, uint64_t length, uint64_t bytes)
{
	struct core *core = dataset->owner->core;

	if (!dataset_is_logged(dataset))
		return;
	/* When flushes are commits anyhow, nobody asks what has changed. */
	if (core_flush_is_commit(core, txg) || byte_ranges_add(&dataset->changed[txg & 1], offset, offset + length) < 0)
		core_changed_unloggable(core, txg);
	else
		core_changed(core, txg, bytes + INTENT_RECORD_SIZE);
}

void dataset_resized(struct dataset *dataset, uint64_t txg)
{
	if (!dataset_is_logged(dataset))
		return;
	dataset->resized[txg & 1] = true;
	core_changed(dataset->owner->core, txg, INTENT_RECORD_SIZE);
}

void dataset_changes_forget(struct dataset *dataset, uint64_t txg)
{
	array_release(&dataset->changed[txg & 1]);
	array_init(&dataset->changed[txg & 1], sizeof(struct byte_range));
	dataset->resized[txg & 1] = false;
	dataset_files_forget(dataset, txg);
}

/* ---- gathering ---- */

static int gather_piece(void *argument, uint64_t offset, uint64_t length, const uint8_t *bytes)
{
	struct gathering *gathering = argument;
	uint64_t block = blob_block_size(gathering->object);

	gathering->record.type = bytes ? INTENT_WRITE : INTENT_ZERO;
	gathering->record.offset = offset;
	gathering->record.size = length;
	gathering->record.content = bytes;
	if (bytes && length == block && core_log_takes_blocks(gathering->group, block)) {
		struct ahead_block *ahead;
		int status = blob_write_ahead(gathering->object, gathering->record.txg, offset / block, &ahead);
		if (status < 0 || ahead)
			return status < 0 ? status : core_log_add_block(gathering->group, &gathering->record, ahead);
	}
	return core_log_add(gathering->group, &gathering->record);
}

int gather_content(struct gathering *gathering, struct array *ranges)
{
	int status = 0;

	gathering->record.object = object_number(gathering->object);
	byte_ranges_merge(ranges);
	for (size_t i = 0; i < ranges->count && status == 0; i++) {
		const struct byte_range *range = array_at(ranges, struct byte_range, i);
		status = blob_each_change(gathering->object, gathering->record.txg, range->offset, range->end - range->offset, gather_piece, gathering);
	}
	return status;
}

static int gather_dataset(struct dataset *dataset, uint64_t txg, struct intent_group *group)
{
	struct gathering gathering = { group, dataset->blob, { .objset = dataset->record.id, .txg = txg } };
	int status = dataset->blob ? gather_content(&gathering, &dataset->changed[txg & 1]) : 0;

	if (status == 0 && dataset->resized[txg & 1]) {
		struct intent_record resize = { .type = INTENT_RESIZE, .objset = dataset->record.id, .txg = txg,
						.size = dataset->staged[txg & 1].volume_size };
		status = core_log_add(group, &resize);
	}
	dataset_changes_forget(dataset, txg);
	return status;
}

int datasets_gather(void *argument, uint64_t txg, struct intent_group *group)
{
	struct datasets *datasets = argument;
	int status = 0;

	list_for_each(node, &datasets->list) {
		struct dataset *dataset = container_of(node, struct dataset, node);
		if (status == 0)
			status = dataset->record.kind == DATASET_FILESYSTEM ? dataset_files_gather(dataset, txg, group) : gather_dataset(dataset, txg, group);
	}
	return status;
}
