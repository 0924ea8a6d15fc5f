/*
 * The uberblock ring and the sysmap slots of each disk. An uberblock commits its txg when a quorum of the disks that it
 * lists as ONLINE has it: min(max(m + 1, 2), ONLINE). Disks that fail while it is written are listed in
 * states[] of the same uberblock with a higher rewrite count, which goes to the others.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "libpool/base/buffer.h"
#include "libpool/txg/internal.h"

struct slot_write {
	struct core *core;
	struct rt_group *group;
	const struct uberblock *uberblock;
	uint16_t index;
	bool both_areas, failed;
};

static int slot_write_area(struct slot_write *write, unsigned area)
{
	struct store_disk *disk = store_disk(write->core->store, write->index);
	struct uberblock *copy = malloc(sizeof(*copy));
	struct buffer *buffer = buffer_new(UBERBLOCK_SIZE);
	int status = copy && buffer ? 0 : -ENOMEM;

	if (status == 0) {
		*copy = *write->uberblock;
		copy->disk_index = write->index;
		copy->slot = (uint16_t)(copy->txg % UBERBLOCK_COMMIT_SLOTS);
		uberblock_encode(copy, &disk->guid, buffer->data);
		uint64_t offset = label_area_offset(disk->size, area) + UBERBLOCK_OFFSET + (uint64_t)copy->slot * UBERBLOCK_SIZE;
		status = disk_write(disk->disk, offset, UBERBLOCK_SIZE, buffer, 0, true);
		if (status == 0 && !disk->disk->info.fua)
			status = disk_flush(disk->disk);
	}
	free(copy);
	buffer_unref(buffer);
	return status;
}

static void slot_write_fiber(void *argument)
{
	struct slot_write *write = argument;
	const struct uberblock *uberblock = write->uberblock;
	int status;

	if (write->both_areas) {
		status = slot_write_area(write, 0);
		if (status == 0)
			status = slot_write_area(write, 1);
	} else {
		status = slot_write_area(write, (uberblock->txg + uberblock->rewrite) % 2 == 0 ? 0 : 1);
	}
	write->failed = status < 0;
	rt_group_done(write->core->rt, write->group, 0);
}

/* What the uberblock says of the disks, from the store's slots. -E2BIG with more than it has room for. */
static int fill_states(struct core *core, struct uberblock *uberblock)
{
	uberblock->state_count = 0;
	uberblock->disks_online = 0;
	memset(uberblock->states, 0, sizeof(uberblock->states));
	for (unsigned i = 0; i < DISKS_MAX; i++) {
		const struct store_disk *disk = store_disk(core->store, i);
		if (!disk->configured)
			continue;
		if (disk->state == DISK_ONLINE) {
			uberblock->disks_online++;
			continue;
		}
		if (uberblock->state_count == UBERBLOCK_STATES_MAX)
			return -E2BIG;
		uberblock->states[uberblock->state_count++] =
			(struct uberblock_state){ .disk = (uint16_t)i, .state = disk->state, .stale_from = disk->stale_from };
	}
	return 0;
}

int uberblock_commit(struct core *core, struct uberblock *uberblock)
{
	struct slot_write *writes = calloc(DISKS_MAX, sizeof(*writes));
	int status = writes ? 0 : -ENOMEM;

	for (unsigned attempt = 0; status == 0; attempt++) {
		struct rt_group group;
		unsigned good = 0, failed = 0, configured = 0;

		status = fill_states(core, uberblock);
		if (status < 0 || uberblock->disks_online == 0)
			break;
		uberblock->rewrite += attempt > 0;
		for (unsigned i = 0; i < DISKS_MAX; i++)
			configured += store_disk(core->store, i)->configured;
		rt_group_init(&group);
		for (uint16_t i = 0; i < DISKS_MAX; i++) {
			const struct store_disk *disk = store_disk(core->store, i);
			if (!disk->configured || disk->state != DISK_ONLINE)
				continue;
			writes[i] = (struct slot_write){ core, &group, uberblock, i, configured <= 2, false };
			rt_group_add(&group);
			if (rt_spawn(core->rt, "uberblock", slot_write_fiber, &writes[i]) < 0) {
				writes[i].failed = true;
				rt_group_done(core->rt, &group, 0);
			}
		}
		if (group.pending)
			(void)rt_group_wait(core->rt, &group);
		for (unsigned i = 0; i < DISKS_MAX; i++) {
			const struct store_disk *disk = store_disk(core->store, i);
			if (!disk->configured || disk->state != DISK_ONLINE)
				continue;
			if (writes[i].failed) {
				failed++;
				store_disk_fail(core->store, i, "an uberblock can't be written");
			} else {
				good++;
			}
		}
		unsigned quorum = core->label->m + 1u > 2 ? core->label->m + 1u : 2;
		if (quorum > uberblock->disks_online)
			quorum = uberblock->disks_online;
		if (failed == 0 && good >= quorum) {
			free(writes);
			core->uberblock = *uberblock;
			return 0;
		}
		/* Disks that failed just now are listed in the next rewrite, which the others get. */
	}
	free(writes);
	core_halt(core, "no quorum of disks takes an uberblock");
	return -POOL_EHALTED;
}

static int scan_area(struct disk *disk, const struct label *label, unsigned area, struct buffer *buffer, struct uberblock *uberblock,
		     int (*visit)(void *argument, const struct uberblock *uberblock), void *argument)
{
	uint64_t offset = label_area_offset(disk->info.size, area) + UBERBLOCK_OFFSET;
	uint64_t length = (uint64_t)UBERBLOCK_COMMIT_SLOTS * UBERBLOCK_SIZE;
	bool whole = disk_read(disk, offset, length, buffer, 0) == 0;

	for (unsigned slot = 0; slot < UBERBLOCK_COMMIT_SLOTS; slot++) {
		size_t at = (size_t)slot * UBERBLOCK_SIZE;
		if (!whole && disk_read(disk, offset + at, UBERBLOCK_SIZE, buffer, at) < 0)
			continue;
		if (uberblock_decode(buffer->data + at, &label->pool, &label->disk, slot, uberblock) < 0)
			continue;
		int status = visit(argument, uberblock);
		if (status != 0)
			return status;
	}
	return 0;
}

int uberblocks_scan(struct disk *disk, const struct label *label, int (*visit)(void *argument, const struct uberblock *uberblock),
		    void *argument)
{
	struct buffer *buffer = buffer_new((size_t)UBERBLOCK_COMMIT_SLOTS * UBERBLOCK_SIZE);
	struct uberblock *uberblock = malloc(sizeof(*uberblock));
	int status = buffer && uberblock ? 0 : -ENOMEM;

	for (unsigned area = 0; area < 2 && status == 0; area++)
		status = scan_area(disk, label, area, buffer, uberblock, visit, argument);
	free(uberblock);
	buffer_unref(buffer);
	return status;
}

static int keep_newest(void *argument, const struct uberblock *uberblock)
{
	struct uberblock *newest = argument;

	if (uberblock->txg > newest->txg || (uberblock->txg == newest->txg && uberblock->rewrite >= newest->rewrite))
		*newest = *uberblock;
	return 0;
}

int core_uberblock_newest(struct disk *disk, const struct label *label, struct uberblock *ret_uberblock)
{
	struct uberblock *newest = calloc(1, sizeof(*newest));
	int status = newest ? uberblocks_scan(disk, label, keep_newest, newest) : -ENOMEM;

	if (status == 0 && newest->txg == 0)
		status = -ENOENT;
	if (status == 0)
		*ret_uberblock = *newest;
	free(newest);
	return status;
}

int sysmap_write(struct core *core, struct uberblock *uberblock)
{
	struct sysmap_segment *segments = calloc(SYSMAP_SEGMENTS_MAX, sizeof(*segments));
	struct buffer *buffer = buffer_new_zero(SYSMAP_SLOT_SIZE);
	unsigned written = 0;
	int status = segments && buffer ? 0 : -ENOMEM;

	if (status == 0) {
		unsigned count = alloc_sysmap(core->alloc, segments);
		/* A column that moves while this is being written is due in the next txg. A failure halts the pool. */
		alloc_sysmap_written(core->alloc);
		size_t length = sysmap_encode(&core->label->pool, uberblock->txg, segments, count, buffer->data);
		uberblock->sysmap_txg = uberblock->txg;
		uberblock->sysmap_slot = (uberblock->sysmap_slot + 1) % SYSMAP_SLOTS;
		uberblock->sysmap_length = (uint32_t)length;
		xxh3_128(buffer->data, length, &uberblock->sysmap_checksum);
	}
	for (unsigned i = 0; i < DISKS_MAX && status == 0; i++) {
		const struct store_disk *disk = store_disk(core->store, i);
		if (!disk->configured || disk->state != DISK_ONLINE)
			continue;
		int one = 0;
		for (unsigned area = 0; area < 2 && one == 0; area++)
			one = disk_write(disk->disk,
					 label_area_offset(disk->size, area) + SYSMAP_OFFSET +
						 (uint64_t)uberblock->sysmap_slot * SYSMAP_SLOT_SIZE,
					 SYSMAP_SLOT_SIZE, buffer, 0, false);
		if (one == 0)
			one = disk_flush(disk->disk);
		if (one < 0)
			store_disk_fail(core->store, i, "the sysmap can't be written");
		else
			written++;
	}
	if (status == 0 && written == 0)
		status = -EIO;
	free(segments);
	buffer_unref(buffer);
	return status;
}

/* Reads the slot of one area of one disk; true if it is the one that the uberblock means. */
static bool sysmap_read(const struct store_disk *disk, unsigned area, const struct uberblock *uberblock, struct buffer *buffer)
{
	struct hash128 hash;

	if (disk_read(disk->disk,
		      label_area_offset(disk->size, area) + SYSMAP_OFFSET + (uint64_t)uberblock->sysmap_slot * SYSMAP_SLOT_SIZE,
		      SYSMAP_SLOT_SIZE, buffer, 0) < 0)
		return false;
	xxh3_128(buffer->data, uberblock->sysmap_length, &hash);
	return memcmp(&hash, &uberblock->sysmap_checksum, sizeof(hash)) == 0;
}

int sysmap_load(struct core *core, const struct uberblock *uberblock)
{
	struct sysmap_segment *segments = calloc(SYSMAP_SEGMENTS_MAX, sizeof(*segments));
	int count = -POOL_EDAMAGED;

	if (!segments)
		return -ENOMEM;
	if (uberblock->sysmap_length > SYSMAP_SLOT_SIZE || uberblock->sysmap_slot >= SYSMAP_SLOTS) {
		free(segments);
		return -POOL_EFORMAT;
	}
	for (unsigned i = 0; i < DISKS_MAX && count < 0; i++) {
		const struct store_disk *disk = store_disk(core->store, i);
		for (unsigned area = 0; area < 2 && count < 0 && disk->configured && disk->disk; area++) {
			struct buffer *buffer = buffer_new(SYSMAP_SLOT_SIZE);
			if (buffer && sysmap_read(disk, area, uberblock, buffer))
				count = sysmap_decode(buffer->data, uberblock->sysmap_length, &core->label->pool,
						      uberblock->sysmap_txg, segments);
			buffer_unref(buffer);
		}
	}
	int status = count < 0 ? count : 0;
	for (int i = 0; i < count && status == 0; i++)
		status = alloc_load_sys(core->alloc, &segments[i]);
	free(segments);
	return status;
}
