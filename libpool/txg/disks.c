/*
 * Changes of the configuration while a pool is imported: labels first when a disk comes, last when it goes, so that no
 * segment ever names a disk that the labels don't know.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libpool/base/buffer.h"
#include "libpool/txg/internal.h"

int core_label_update(struct core *core, const struct label *label, struct pool_error *error)
{
	if (core->read_only)
		return pool_error_set(error, -EROFS, "pool %s is imported read-only", core->label->name);
	*core->label = *label;
	core->label->config_txg = label->config_txg > core->open_txg ? label->config_txg + 1 : core->open_txg;
	int status = labels_write(core);
	if (status < 0)
		pool_error_set(error, status, "pool %s: labels can't be written: %s", core->label->name, pool_error_string(status));
	return status;
}

/*
 * Onto a disk that no other label names yet: the last uberblock, which proves that it is of this history, then its label.
 * A disk that is named by others but blank, after a crash in between, would count as one more that is lost.
 */
static int introduce(struct core *core, unsigned index)
{
	struct store_disk *slot = store_disk(core->store, index);
	struct label *label = malloc(sizeof(*label));
	struct uberblock *uberblock = malloc(sizeof(*uberblock));
	struct buffer *buffer = buffer_new(LABEL_COPY_SIZE);
	int status = label && uberblock && buffer ? 0 : -ENOMEM;

	for (unsigned area = 0; area < 2 && status == 0; area++) {
		uint64_t at = label_area_offset(slot->size, area);
		*uberblock = core->uberblock;
		uberblock->disk_index = (uint16_t)index;
		uberblock->slot = (uint16_t)(uberblock->txg % UBERBLOCK_COMMIT_SLOTS);
		uberblock_encode(uberblock, &slot->guid, buffer->data);
		status = disk_write(slot->disk, at + UBERBLOCK_OFFSET + (uint64_t)uberblock->slot * UBERBLOCK_SIZE, UBERBLOCK_SIZE,
				    buffer, 0, false);
	}
	if (status == 0)
		status = disk_flush(slot->disk);
	for (unsigned i = 0; i < 4 && status == 0; i++) {
		*label = *core->label;
		label->disk = slot->guid;
		label->disk_index = (uint16_t)index;
		label->size = slot->size;
		label_encode(label, i / 2, i % 2, buffer->data);
		status = disk_write(slot->disk, label_area_offset(slot->size, i / 2) + LABEL_OFFSET + (uint64_t)(i % 2) * LABEL_COPY_SIZE,
				    LABEL_COPY_SIZE, buffer, 0, false);
	}
	if (status == 0)
		status = disk_flush(slot->disk);
	free(label);
	free(uberblock);
	buffer_unref(buffer);
	return status;
}

int core_disk_add(struct core *core, struct disk *disk, unsigned *ret_index, struct pool_error *error)
{
	struct label *label = malloc(sizeof(*label));
	unsigned index = 0;

	if (!label)
		return pool_error_set(error, -ENOMEM, "out of memory");
	*label = *core->label;
	for (unsigned i = 0; i < label->disk_count; i++)
		if (label->disks[i].index >= index)
			index = label->disks[i].index + 1u;
	uint32_t aus = disk_au_count(disk->info.size, label->au_shift);
	int status = 0;
	if (label->disk_count == DISKS_MAX || index >= DISKS_MAX)
		status = pool_error_set(error, -ENOSPC, "pool %s has had %u disks: no further one can be added", label->name, DISKS_MAX);
	else if (disk->info.size < DISK_SIZE_MIN || aus < DISK_AUS_MIN)
		status = pool_error_set(error, -EINVAL, "disk %s is too small: %u allocation units of %u KiB are needed",
					disk->info.path, DISK_AUS_MIN, 1u << (label->au_shift - 10));
	if (status < 0) {
		free(label);
		return status;
	}
	struct store_disk *slot = store_disk(core->store, index);
	*slot = (struct store_disk){ .configured = true, .disk = disk, .index = (uint16_t)index, .state = DISK_ONLINE,
				     .size = disk->info.size };
	rt_env(core->rt)->ops->random(rt_env(core->rt), slot->guid.bytes, sizeof(slot->guid.bytes));
	snprintf(slot->path, sizeof(slot->path), "%s", disk->info.path);
	label->disks[label->disk_count++] = (struct label_disk){ .guid = slot->guid, .index = (uint16_t)index, .role = ROLE_DATA,
								 .state = DISK_ONLINE, .size = slot->size };
	label->config_txg = label->config_txg > core->open_txg ? label->config_txg + 1 : core->open_txg;
	*core->label = *label;
	status = introduce(core, index);
	if (status < 0)
		pool_error_set(error, status, "disk %s: its label can't be written: %s", disk->info.path, pool_error_string(status));
	else
		status = core_label_update(core, label, error);
	if (status == 0 && slot->state != DISK_ONLINE)
		status = pool_error_set(error, -EIO, "disk %s: its label can't be written", disk->info.path);
	free(label);
	if (status == 0)
		status = alloc_disk_add(core->alloc, index, aus, true);
	if (status < 0) {
		/* The index stays used: labels on some disks may name it already. */
		for (unsigned i = 0; i < core->label->disk_count; i++)
			if (core->label->disks[i].index == index)
				core->label->disks[i].state = DISK_REMOVED;
		*slot = (struct store_disk){ 0 };
		return status;
	}
	alloc_space(core->alloc, &core->space);
	/* Uberblocks count the disk from the next commit on. */
	status = core_commit_forced(core);
	*ret_index = index;
	return status;
}

int core_disk_remove(struct core *core, unsigned index, struct pool_error *error)
{
	struct store_disk *slot = store_disk(core->store, index);

	for (uint32_t id = 0; id < alloc_segment_count(core->alloc); id++) {
		const struct segment *segment = alloc_segment(core->alloc, id);
		if (!segment || alloc_segment_is_free(segment))
			continue;
		for (unsigned c = 0; c < (unsigned)segment->record.k + segment->record.m; c++)
			if (segment->record.columns[c].disk == index)
				return pool_error_set(error, -EBUSY, "disk %s still holds data of segment %u", slot->path, id);
	}
	alloc_disk_set_usable(core->alloc, index, false);
	/* The old columns may be needed by a rewind until two later commits exist. */
	for (unsigned i = 0; i < 2; i++) {
		int status = core_commit_forced(core);
		if (status < 0)
			return pool_error_set(error, status, "pool %s: a commit failed: %s", core->label->name, pool_error_string(status));
	}
	struct label *label = malloc(sizeof(*label));
	if (!label)
		return pool_error_set(error, -ENOMEM, "out of memory");
	*label = *core->label;
	for (unsigned i = 0; i < label->disk_count; i++)
		if (label->disks[i].index == index)
			label->disks[i].state = DISK_REMOVED;
	struct disk *disk = slot->disk;
	*slot = (struct store_disk){ 0 };
	alloc_disk_remove(core->alloc, index);
	alloc_space(core->alloc, &core->space);
	int status = core_label_update(core, label, error);
	free(label);
	/* The next uberblock no longer lists it; only then may the disk be used for something else. */
	if (status == 0)
		status = core_commit_forced(core);
	if (disk)
		disk_close(disk);
	return status;
}
