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

/* The label in RAM, with a number that no other has: of two labels on disks the newer one must be told. */
static void label_take(struct core *core, const struct label *label)
{
	uint64_t last = core->label->config_txg;

	bool has_log_disks = false;

	if (label != core->label)
		*core->label = *label;
	for (unsigned i = 0; i < core->label->disk_count; i++)
		has_log_disks |= core->label->disks[i].role == ROLE_LOG && core->label->disks[i].state != DISK_REMOVED;
	label_set_feature(core->label, FEATURE_LOG_DISKS, has_log_disks);
	core->label->config_txg = last >= core->open_txg ? last + 1 : core->open_txg;
}

/* The caller has the configuration to itself. */
static int label_update(struct core *core, const struct label *label, struct pool_error *error)
{
	label_take(core, label);
	int status = labels_write(core);
	if (status < 0)
		pool_error_set(error, status, "pool %s: labels can't be written: %s", core->label->name, pool_error_string(status));
	return status;
}

static int may_change(struct core *core, struct pool_error *error)
{
	if (core->read_only)
		return pool_error_set(error, -EROFS, "pool %s is imported read-only", core->label->name);
	if (core->halted || !store_lease_holds(core->store))
		return pool_error_set(error, -POOL_EHALTED, "pool %s is halted: %s", core->label->name, core->halt_reason);
	return 0;
}

int core_label_update(struct core *core, const struct label *label, struct pool_error *error)
{
	rt_mutex_lock(core->rt, &core->config);
	int status = may_change(core, error);
	if (status == 0)
		status = label_update(core, label, error);
	rt_mutex_unlock(core->rt, &core->config);
	return status;
}

/* The index a new disk gets: none was ever higher. */
static int new_index(struct core *core, const struct label *label, const struct disk *disk, enum disk_role role, unsigned *ret_index,
		     struct pool_error *error)
{
	uint32_t aus = disk_au_count(disk->info.size, label->au_shift);
	unsigned index = 0;

	for (unsigned i = 0; i < label->disk_count; i++)
		if (label->disks[i].index >= index)
			index = label->disks[i].index + 1u;
	if (label->disk_count == DISKS_MAX || index >= DISKS_MAX)
		return pool_error_set(error, -ENOSPC, "pool %s has had %u disks: no further one can be added", label->name, DISKS_MAX);
	if (disk->info.size < DISK_SIZE_MIN || aus < DISK_AUS_MIN)
		return pool_error_set(error, -EINVAL, "disk %s is too small: %u allocation units of %u KiB are needed",
				      disk->info.path, DISK_AUS_MIN, 1u << (label->au_shift - 10));
	struct space space;
	alloc_space(core->alloc, &space);
	if (role != ROLE_LOG && !sys_capacity_suffices(label->k, label->m, label->au_shift, space.raw_aus + aus))
		return pool_error_set(error, -EFBIG, "disk %s is too large for a pool with allocation units of %u KiB",
				      disk->info.path, 1u << (label->au_shift - 10));
	*ret_index = index;
	return 0;
}

/* Into both areas of a disk, flushed. */
static int put_uberblock(const struct store_disk *slot, struct uberblock *uberblock)
{
	struct buffer *buffer = buffer_new(UBERBLOCK_SIZE);
	int status = buffer ? 0 : -ENOMEM;

	uberblock->disk_index = slot->index;
	uberblock->slot = (uint16_t)(uberblock->txg % UBERBLOCK_COMMIT_SLOTS);
	if (buffer)
		uberblock_encode(uberblock, &slot->guid, buffer->data);
	for (unsigned area = 0; area < 2 && status == 0; area++)
		status = disk_write(slot->disk, label_area_offset(slot->size, area) + UBERBLOCK_OFFSET +
						    (uint64_t)uberblock->slot * UBERBLOCK_SIZE, UBERBLOCK_SIZE, buffer, 0, false);
	if (status == 0)
		status = disk_flush(slot->disk);
	buffer_unref(buffer);
	return status;
}

/*
 * Onto a disk that no other label names yet: that it is no other one any more, the last uberblock, which proves that it is of this history (a log disk has
 * none), then its label.
 * A disk that is named by others but blank, after a crash in between, would count as one more that is lost. Log disks come several at a time, and none
 * of them may have the log without the others: what they get here is no import's newest label, so that they join with those of the other disks, or not.
 */
static int introduce(struct core *core, unsigned index)
{
	struct store_disk *slot = store_disk(core->store, index);
	struct label *label = malloc(sizeof(*label));
	struct uberblock *uberblock = malloc(sizeof(*uberblock));
	struct buffer *buffer = buffer_new(LABEL_COPY_SIZE);
	int status = label && uberblock && buffer ? 0 : -ENOMEM;

	if (status == 0)
		status = exchange_forget_names(slot->disk, slot->size, core->label->au_shift);
	if (status == 0 && store_disk_holds_data(slot)) {
		*uberblock = core->uberblock;
		status = put_uberblock(slot, uberblock);
	}
	for (unsigned i = 0; i < 4 && status == 0; i++) {
		*label = *core->label;
		label->disk = slot->guid;
		label->disk_index = (uint16_t)index;
		label->size = slot->size;
		label->config_txg = store_disk_holds_data(slot) ? label->config_txg : 0;
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

int core_disk_returns(struct core *core, unsigned index)
{
	struct uberblock *uberblock = malloc(sizeof(*uberblock));
	int status = -ENOMEM;

	if (uberblock) {
		*uberblock = core->uberblock;
		status = uberblock_fill_states(core, uberblock);
	}
	if (status == 0)
		status = put_uberblock(store_disk(core->store, index), uberblock);
	free(uberblock);
	return status;
}

/* One more in the label, and its slot. */
static int slot_take(struct core *core, struct label *label, struct disk *disk, enum disk_role role, unsigned *ret_index, struct pool_error *error)
{
	int status = new_index(core, label, disk, role, ret_index, error);

	if (status < 0)
		return status;
	struct store_disk *slot = store_disk(core->store, *ret_index);
	*slot = (struct store_disk){ .configured = true, .disk = disk, .index = (uint16_t)*ret_index, .state = DISK_ONLINE,
				     .role = (uint8_t)role, .size = disk->info.size };
	rt_env(core->rt)->ops->random(rt_env(core->rt), slot->guid.bytes, sizeof(slot->guid.bytes));
	snprintf(slot->path, sizeof(slot->path), "%s", disk->info.path);
	label->disks[label->disk_count++] = (struct label_disk){ .guid = slot->guid, .index = (uint16_t)*ret_index, .role = (uint8_t)role,
								 .state = DISK_ONLINE, .size = slot->size };
	return 0;
}

/* Labels first, then the allocator: no segment ever names a disk that the labels don't know. */
static int slots_join(struct core *core, const struct label *label, const unsigned *indexes, unsigned count, struct pool_error *error)
{
	int status = 0;

	label_take(core, label);
	for (unsigned i = 0; i < count && status == 0; i++) {
		status = introduce(core, indexes[i]);
		if (status < 0)
			pool_error_set(error, status, "disk %s: its label can't be written: %s", store_disk(core->store, indexes[i])->path,
				       pool_error_string(status));
	}
	if (status == 0)
		status = label_update(core, label, error);
	for (unsigned i = 0; i < count && status == 0; i++) {
		const struct store_disk *slot = store_disk(core->store, indexes[i]);
		if (slot->state != DISK_ONLINE)
			status = pool_error_set(error, -EIO, "disk %s: its label can't be written", slot->path);
	}
	for (unsigned i = 0; i < count && status == 0; i++) {
		const struct store_disk *slot = store_disk(core->store, indexes[i]);
		status = core_alloc_disk_add(core, slot, slot->role != ROLE_LOG); /* log disks: core_log_disks_use */
		if (status < 0)
			pool_error_set(error, status, "disk %s can't be added: %s", slot->path, pool_error_string(status));
	}
	return status;
}

/* The indexes stay used: labels on some disks may name them already. */
static void slots_give_up(struct core *core, const unsigned *indexes, unsigned count, bool named)
{
	for (unsigned i = 0; i < count; i++) {
		for (unsigned d = 0; d < core->label->disk_count; d++)
			if (core->label->disks[d].index == indexes[i])
				core->label->disks[d].state = DISK_REMOVED;
		*store_disk(core->store, indexes[i]) = (struct store_disk){ 0 };
		if (alloc_disk(core->alloc, indexes[i]))
			alloc_disk_remove(core->alloc, indexes[i]);
	}
	if (named)
		(void)label_update(core, core->label, NULL);
}

static int disks_add(struct core *core, struct disk *const *disks, unsigned count, enum disk_role role, unsigned *ret_indexes,
		     struct pool_error *error)
{
	struct label *label = malloc(sizeof(*label));
	int status = label ? may_change(core, error) : pool_error_set(error, -ENOMEM, "out of memory");
	unsigned taken = 0;

	if (status == 0)
		*label = *core->label;
	while (taken < count && status == 0) {
		status = slot_take(core, label, disks[taken], role, &ret_indexes[taken], error);
		taken += status == 0;
	}
	bool named = status == 0;
	if (named)
		status = slots_join(core, label, ret_indexes, count, error);
	free(label);
	if (status < 0)
		slots_give_up(core, ret_indexes, taken, named);
	else
		alloc_space(core->alloc, &core->space);
	return status;
}

int core_disks_add(struct core *core, struct disk *const *disks, unsigned count, enum disk_role role, unsigned *ret_indexes,
		   struct pool_error *error)
{
	rt_mutex_lock(core->rt, &core->config);
	int status = disks_add(core, disks, count, role, ret_indexes, error);
	rt_mutex_unlock(core->rt, &core->config);
	if (status < 0)
		return status;
	/* Uberblocks count the disks from the next commit on. They are in the pool, whatever becomes of that. */
	(void)core_commit_forced(core);
	return 0;
}

int core_disk_add(struct core *core, struct disk *disk, enum disk_role role, unsigned *ret_index, struct pool_error *error)
{
	return core_disks_add(core, &disk, 1, role, ret_index, error);
}

int core_log_disks_use(struct core *core)
{
	for (unsigned i = 0; i < DISKS_MAX; i++) {
		const struct store_disk *disk = store_disk(core->store, i);
		if (disk->configured && disk->role == ROLE_LOG && disk->disk && disk->state == DISK_ONLINE)
			alloc_disk_set_usable(core->alloc, i, true);
	}
	return core_commit_forced(core);
}

/* `by_log`: the log counts, too. */
static int check_unused(struct core *core, unsigned index, bool by_log, struct pool_error *error)
{
	for (uint32_t id = 0; id < alloc_segment_count(core->alloc); id++) {
		const struct segment *segment = alloc_segment(core->alloc, id);
		if (!segment || alloc_segment_is_free(segment) || (segment->record.state == SEGMENT_LOG && !by_log))
			continue;
		for (unsigned c = 0; c < (unsigned)segment->record.k + segment->record.m; c++)
			if (segment->record.columns[c].disk == index)
				return pool_error_set(error, -EBUSY, "disk %s still holds data of segment %u",
						      store_disk(core->store, index)->path, id);
	}
	return 0;
}

/* Label last: its REMOVED is durable when no uberblock that an import may choose needs the disk. */
static int disk_remove(struct core *core, unsigned index, struct disk **ret_disk, struct pool_error *error)
{
	struct store_disk *slot = store_disk(core->store, index);
	struct label *label = malloc(sizeof(*label));
	int status = label ? check_unused(core, index, true, error) : pool_error_set(error, -ENOMEM, "out of memory");

	if (status < 0) {
		free(label);
		return status;
	}
	*label = *core->label;
	for (unsigned i = 0; i < label->disk_count; i++)
		if (label->disks[i].index == index)
			label->disks[i].state = DISK_REMOVED;
	*ret_disk = slot->disk;
	*slot = (struct store_disk){ 0 };
	alloc_disk_remove(core->alloc, index);
	alloc_space(core->alloc, &core->space);
	status = label_update(core, label, error);
	free(label);
	return status;
}

/* Nothing of it is left: who wants the disk for something else need not overwrite a label. Where it can't be written it keeps that. */
static void forget_labels(struct disk *disk, uint64_t size)
{
	struct buffer *zeroes = buffer_new_zero(2 * LABEL_COPY_SIZE);
	int status = zeroes ? 0 : -ENOMEM;

	for (unsigned area = 0; area < 2 && status == 0; area++)
		status = disk_write(disk, label_area_offset(size, area) + LABEL_OFFSET, 2 * LABEL_COPY_SIZE, zeroes, 0, false);
	if (status == 0)
		(void)disk_flush(disk);
	buffer_unref(zeroes);
}

int core_disk_remove(struct core *core, unsigned index, struct pool_error *error)
{
	struct disk *disk = NULL;
	int status = may_change(core, error);

	if (status == 0 && (index >= DISKS_MAX || !store_disk(core->store, index)->configured))
		status = pool_error_set(error, -ENOENT, "pool %s has no disk of number %u", core->label->name, index);
	if (status == 0)
		status = check_unused(core, index, false, error);
	if (status < 0)
		return status;
	bool worked = alloc_disk(core->alloc, index)->works, is_log = store_disk(core->store, index)->role == ROLE_LOG;
	uint64_t size = store_disk(core->store, index)->size;
	alloc_disk_set_usable(core->alloc, index, false);
	/* The first gives up a log that has a column there. The old columns may be needed by a rewind until two later commits exist. */
	for (unsigned i = 0; i < 2 && status == 0; i++)
		status = core_commit_forced(core);
	bool may_write = store_disk(core->store, index)->state == DISK_ONLINE;
	if (status == 0) {
		rt_mutex_lock(core->rt, &core->config);
		status = disk_remove(core, index, &disk, error);
		rt_mutex_unlock(core->rt, &core->config);
	} else {
		pool_error_set(error, status, "pool %s: a commit failed: %s", core->label->name, pool_error_string(status));
	}
	const struct store_disk *slot = store_disk(core->store, index);
	if (status < 0 && slot->configured)
		alloc_disk_set_usable(core->alloc, index, worked && slot->disk && slot->state == DISK_ONLINE);
	/* The next uberblock no longer lists it; only then may the disk be used for something else. */
	if (status == 0)
		status = core_commit_forced(core);
	if (status == 0 && disk && is_log && may_write)
		forget_labels(disk, size);
	if (disk)
		disk_close(disk);
	return status;
}
