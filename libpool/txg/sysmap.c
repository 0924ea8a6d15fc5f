/*
 * The sysmap slots of each disk: where the SYS segments are, which is all that an import can start from. Whatever disk is
 * left must have the one that the uberblock means, so a disk that is ONLINE and lacks it (it was absent when it was
 * written, or it is new, or its copy is damaged) makes the next commit write it again.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "checksum/xxh3.h"
#include "libpool/base/buffer.h"
#include "libpool/txg/internal.h"

static uint64_t slot_offset(const struct store_disk *disk, unsigned area, const struct uberblock *uberblock)
{
	return label_area_offset(disk->size, area) + SYSMAP_OFFSET + (uint64_t)uberblock->sysmap_slot * SYSMAP_SLOT_SIZE;
}

bool sysmap_is_due(const struct core *core)
{
	if (alloc_sysmap_dirty(core->alloc))
		return true;
	for (unsigned i = 0; i < DISKS_MAX; i++) {
		const struct store_disk *disk = store_disk(core->store, i);
		if (store_disk_holds_data(disk) && disk->state == DISK_ONLINE && !bitmap_get(core->sysmap_there, i))
			return true;
	}
	return false;
}

struct slots {
	struct core *core;
	const struct uberblock *uberblock;
	struct buffer *buffer;
	unsigned count;
	uint16_t disks[DISKS_MAX];
	int status[DISKS_MAX];
	struct sysmap_segment *segments;
	int found; /* entries of the first good copy, or -POOL_EDAMAGED */
};

static int write_slot(void *argument, unsigned item)
{
	struct slots *slots = argument;
	struct store_disk *disk = store_disk(slots->core->store, slots->disks[item]);
	int status = 0;

	for (unsigned area = 0; area < 2 && status == 0; area++) {
		if (!disk->disk)
			return -ENODEV;
		status = disk_write(disk->disk, slot_offset(disk, area, slots->uberblock), SYSMAP_SLOT_SIZE, slots->buffer, 0, false);
	}
	if (status == 0)
		status = disk->disk ? disk_flush(disk->disk) : -ENODEV;
	return status;
}

static int write_slots(struct core *core, struct slots *slots)
{
	unsigned written = 0;

	for (uint16_t i = 0; i < DISKS_MAX; i++) {
		const struct store_disk *disk = store_disk(core->store, i);
		bitmap_clear(core->sysmap_there, i);
		if (store_disk_holds_data(disk) && disk->state == DISK_ONLINE)
			slots->disks[slots->count++] = i;
	}
	run_each(core->rt, "sysmap", slots->count, write_slot, slots, slots->status);
	for (unsigned i = 0; i < slots->count; i++)
		if (slots->status[i] == -ENOMEM)
			return -ENOMEM;
	for (unsigned i = 0; i < slots->count; i++) {
		if (slots->status[i] < 0) {
			store_disk_fail(core->store, slots->disks[i], "the sysmap can't be written");
			continue;
		}
		bitmap_set(core->sysmap_there, slots->disks[i]);
		written++;
	}
	return written ? 0 : -EIO;
}

int sysmap_write(struct core *core, struct uberblock *uberblock)
{
	struct sysmap_segment *segments = calloc(SYSMAP_SEGMENTS_MAX, sizeof(*segments));
	struct slots *slots = calloc(1, sizeof(*slots));
	struct buffer *buffer = buffer_new_zero(SYSMAP_SLOT_SIZE);
	int status = segments && slots && buffer ? 0 : -ENOMEM;

	if (status == 0 && !store_lease_holds(core->store))
		status = -POOL_EHALTED;
	if (status == 0) {
		unsigned count = alloc_sysmap(core->alloc, segments);
		size_t length = sysmap_encode(&core->label->pool, uberblock->txg, segments, count, buffer->data);
		uberblock->sysmap_txg = uberblock->txg;
		uberblock->sysmap_slot = (uberblock->sysmap_slot + 1) % SYSMAP_SLOTS;
		uberblock->sysmap_length = (uint32_t)length;
		xxh3_128(buffer->data, length, &uberblock->sysmap_checksum);
		*slots = (struct slots){ .core = core, .uberblock = uberblock, .buffer = buffer };
		/* What changes while it is being written goes into the next one. */
		alloc_sysmap_written(core->alloc);
		status = write_slots(core, slots);
	}
	free(segments);
	free(slots);
	buffer_unref(buffer);
	return status;
}

/* Whether both areas of the disk have the sysmap that the uberblock means; the first good one of all disks is kept. */
static int read_slot(void *argument, unsigned item)
{
	struct slots *slots = argument;
	const struct uberblock *uberblock = slots->uberblock;
	struct store_disk *disk = store_disk(slots->core->store, slots->disks[item]);
	struct buffer *buffer = buffer_new(SYSMAP_SLOT_SIZE);
	int status = buffer ? 0 : -ENOMEM;

	for (unsigned area = 0; area < 2 && buffer; area++) {
		struct hash128 hash;
		int one = disk_read(disk->disk, slot_offset(disk, area, uberblock), SYSMAP_SLOT_SIZE, buffer, 0);
		if (one == 0) {
			xxh3_128(buffer->data, uberblock->sysmap_length, &hash);
			if (memcmp(&hash, &uberblock->sysmap_checksum, sizeof(hash)) != 0)
				one = -POOL_EDAMAGED;
		}
		if (one < 0) {
			status = one;
			if (one == -ETIMEDOUT)
				break;
		} else if (slots->found < 0) {
			slots->found = sysmap_decode(buffer->data, uberblock->sysmap_length, &slots->core->label->pool,
						     uberblock->sysmap_txg, slots->segments);
		}
	}
	buffer_unref(buffer);
	return status;
}

int sysmap_load(struct core *core, const struct uberblock *uberblock)
{
	struct slots *slots = calloc(1, sizeof(*slots));
	struct sysmap_segment *segments = calloc(SYSMAP_SEGMENTS_MAX, sizeof(*segments));
	int status = slots && segments ? 0 : -ENOMEM;

	if (status == 0) {
		*slots = (struct slots){ .core = core, .uberblock = uberblock, .segments = segments, .found = -POOL_EDAMAGED };
		for (uint16_t i = 0; i < DISKS_MAX; i++)
			if (store_disk_holds_data(store_disk(core->store, i)) && store_disk(core->store, i)->disk)
				slots->disks[slots->count++] = i;
		run_each(core->rt, "sysmap", slots->count, read_slot, slots, slots->status);
		for (unsigned i = 0; i < slots->count; i++) {
			if (slots->status[i] == 0)
				bitmap_set(core->sysmap_there, slots->disks[i]);
			else if (slots->status[i] == -ENOMEM && slots->found < 0)
				slots->found = -ENOMEM;
		}
		status = slots->found < 0 ? slots->found : 0;
	}
	for (int i = 0; status == 0 && i < slots->found; i++)
		status = alloc_load_sys(core->alloc, &segments[i]);
	free(slots);
	free(segments);
	return status;
}

/* The configuration is the caller's: no commit moves on to another slot meanwhile. */
static int check_slots(struct core *core, struct slots *slots, unsigned *ret_lacking)
{
	int status = 0;

	for (uint16_t i = 0; i < DISKS_MAX; i++) {
		const struct store_disk *disk = store_disk(core->store, i);
		if (store_disk_holds_data(disk) && disk->disk && disk->state == DISK_ONLINE && bitmap_get(core->sysmap_there, i) &&
		    !disk->disk->abandoned_reads)
			slots->disks[slots->count++] = i;
	}
	run_each(core->rt, "sysmap", slots->count, read_slot, slots, slots->status);
	for (unsigned i = 0; i < slots->count; i++) {
		if (slots->status[i] == -ENOMEM)
			status = -ENOMEM;
		if (!disk_error_is_of_medium(slots->status[i]))
			continue;
		bitmap_clear(core->sysmap_there, slots->disks[i]);
		++*ret_lacking;
	}
	return status;
}

int sysmap_check(struct core *core, unsigned *ret_lacking)
{
	struct slots *slots = calloc(1, sizeof(*slots));
	struct sysmap_segment *segments = calloc(SYSMAP_SEGMENTS_MAX, sizeof(*segments));
	int status = slots && segments ? 0 : -ENOMEM;

	*ret_lacking = 0;
	if (status == 0) {
		rt_mutex_lock(core->rt, &core->config);
		*slots = (struct slots){ .core = core, .uberblock = &core->uberblock, .segments = segments, .found = -POOL_EDAMAGED };
		status = check_slots(core, slots, ret_lacking);
		rt_mutex_unlock(core->rt, &core->config);
	}
	free(slots);
	free(segments);
	return status;
}
