/*
 * What nothing reads while a pool is imported: in the label areas of each disk its label, four times, the ring of uberblocks and the
 * sysmap, twice; and the leaves of the batch map. A scrub asks for them, so that they are made good as long as there is something to
 * make them from.
 *
 * A slot of the ring that can't be read gets the uberblock of the last commit if that is where it belongs, and is emptied otherwise:
 * commits would write it anyhow, once in 120, but until then a bad sector would wait for the one that can't be written. What an older
 * one held other disks have.
 *
 * What must always hold: a copy of a label is written alone and flushed before the next, so that a crash costs none that
 * was good; the sysmap isn't written where it lies, but by a commit, into the next slot of all disks; no slot that can be read is
 * written but the last commit's, and none while a commit is under way.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "libpool/base/buffer.h"
#include "libpool/txg/internal.h"

#define LABEL_COPIES 4u /* two in each area */

struct areas {
	struct core *core;
	unsigned count;
	uint16_t disks[DISKS_MAX];
	unsigned wrong[DISKS_MAX], healed[DISKS_MAX]; /* copies of labels, slots */
	int status[DISKS_MAX];
};

static uint64_t copy_offset(const struct store_disk *disk, unsigned number)
{
	return label_area_offset(disk->size, number / 2) + LABEL_OFFSET + number % 2 * LABEL_COPY_SIZE;
}

/* 1: as it has to be; 0: not, or unreadable; -ETIMEDOUT and others: nobody can tell. */
static int copy_is_good(const struct core *core, const struct store_disk *disk, unsigned number, struct label *scratch)
{
	struct buffer *buffer = disk->disk ? buffer_new(LABEL_COPY_SIZE) : NULL;

	if (!buffer)
		return disk->disk ? -ENOMEM : -ENODEV;
	int status = disk_read(disk->disk, copy_offset(disk, number), LABEL_COPY_SIZE, buffer, 0);
	if (status == 0)
		status = label_decode(buffer->data, number / 2, number % 2, scratch) == 0 &&
			 scratch->config_txg == core->label->config_txg && scratch->disk_index == disk->index &&
			 memcmp(&scratch->disk, &disk->guid, sizeof(disk->guid)) == 0;
	else if (disk_error_is_of_medium(status))
		status = 0;
	buffer_unref(buffer);
	return status;
}

/* The caller has the configuration to itself. What is wrong is looked at again: it may have been written meanwhile. */
static int heal_copy(struct areas *areas, unsigned item, unsigned number, struct label *scratch)
{
	struct core *core = areas->core;
	struct store_disk *disk = store_disk(core->store, areas->disks[item]);
	int status = disk_is_writable(disk) ? copy_is_good(core, disk, number, scratch) : -ENODEV;

	if (status != 0)
		return status < 0 ? status : 0;
	areas->wrong[item]++;
	struct buffer *image = store_lease_holds(core->store) ? buffer_new(LABEL_COPY_SIZE) : NULL;
	if (!image)
		return core->halted ? -POOL_EHALTED : -ENOMEM;
	label_image(core, disk, number / 2, number % 2, scratch, image->data);
	status = disk_write(disk->disk, copy_offset(disk, number), LABEL_COPY_SIZE, image, 0, false);
	if (status == 0)
		status = disk->disk ? disk_flush(disk->disk) : -ENODEV;
	buffer_unref(image);
	if (status == 0)
		areas->healed[item]++;
	else if (status != -ENOMEM)
		store_disk_fail(core->store, areas->disks[item], "its label can't be written");
	return status;
}

static int check_labels(void *argument, unsigned item)
{
	struct areas *areas = argument;
	struct core *core = areas->core;
	const struct store_disk *disk = store_disk(core->store, areas->disks[item]);
	struct label *scratch = malloc(sizeof(*scratch));
	int status = scratch ? 0 : -ENOMEM;

	for (unsigned number = 0; number < LABEL_COPIES && status == 0; number++) {
		status = copy_is_good(core, disk, number, scratch);
		if (status != 0) {
			status = status < 0 ? status : 0;
			continue;
		}
		rt_mutex_lock(core->rt, &core->config);
		status = heal_copy(areas, item, number, scratch);
		rt_mutex_unlock(core->rt, &core->config);
	}
	free(scratch);
	return status;
}

/* ---- the ring ---- */

static uint64_t slot_offset(const struct store_disk *disk, unsigned area, unsigned slot)
{
	return label_area_offset(disk->size, area) + UBERBLOCK_OFFSET + (uint64_t)slot * UBERBLOCK_SIZE;
}

/* The area that every disk has the last commit's uberblock in; small pools have it in both. */
static bool holds_last(const struct core *core, unsigned area, unsigned slot)
{
	return slot == core->uberblock.txg % UBERBLOCK_COMMIT_SLOTS && area == (core->uberblock.txg + core->uberblock.rewrite) % 2;
}

/* What was read is what has to be there. Of older slots nobody knows: remains of a torn write are no fault. */
static bool slot_is_good(const struct core *core, const struct store_disk *disk, unsigned area, unsigned slot, const uint8_t *raw)
{
	struct uberblock *uberblock = holds_last(core, area, slot) ? malloc(sizeof(*uberblock)) : NULL;
	bool good = !uberblock || (uberblock_decode(raw, &core->label->pool, &disk->guid, slot, uberblock) == 0 &&
				   uberblock->txg == core->uberblock.txg && uberblock->rewrite == core->uberblock.rewrite);

	free(uberblock);
	return good;
}

/* 1, 0 or why nobody can tell. */
static int slot_check(const struct core *core, const struct store_disk *disk, unsigned area, unsigned slot, struct buffer *buffer)
{
	int status = disk->disk ? disk_read(disk->disk, slot_offset(disk, area, slot), UBERBLOCK_SIZE, buffer, 0) : -ENODEV;

	if (status == 0)
		return slot_is_good(core, disk, area, slot, buffer->data);
	return disk_error_is_of_medium(status) ? 0 : status;
}

static int slot_fill(const struct core *core, const struct store_disk *disk, unsigned slot, uint8_t *ret_raw)
{
	struct uberblock *uberblock = malloc(sizeof(*uberblock));

	if (!uberblock)
		return -ENOMEM;
	memset(ret_raw, 0, UBERBLOCK_SIZE);
	*uberblock = core->uberblock;
	uberblock->disk_index = disk->index;
	uberblock->slot = (uint16_t)slot;
	if (slot == core->uberblock.txg % UBERBLOCK_COMMIT_SLOTS)
		uberblock_encode(uberblock, &disk->guid, ret_raw);
	free(uberblock);
	return 0;
}

/* No commit is under way. What is wrong is looked at again: it may have been written meanwhile. */
static int heal_slot(struct areas *areas, unsigned item, unsigned area, unsigned slot)
{
	struct core *core = areas->core;
	struct store_disk *disk = store_disk(core->store, areas->disks[item]);
	struct buffer *buffer = buffer_new(UBERBLOCK_SIZE);
	int status = !buffer ? -ENOMEM : disk_is_writable(disk) ? slot_check(core, disk, area, slot, buffer) : -ENODEV;

	if (status != 0) {
		buffer_unref(buffer);
		return status < 0 ? status : 0;
	}
	areas->wrong[item]++;
	status = store_lease_holds(core->store) ? slot_fill(core, disk, slot, buffer->data) : -POOL_EHALTED;
	if (status == 0) {
		status = disk_write(disk->disk, slot_offset(disk, area, slot), UBERBLOCK_SIZE, buffer, 0, false);
		if (status == 0)
			status = disk->disk ? disk_flush(disk->disk) : -ENODEV;
		if (status == 0)
			areas->healed[item]++;
		else if (status != -ENOMEM)
			store_disk_fail(core->store, areas->disks[item], "a slot for uberblocks can't be written");
	}
	buffer_unref(buffer);
	return status;
}

static int check_ring(struct areas *areas, unsigned item, unsigned area, struct buffer *ring)
{
	struct core *core = areas->core;
	struct store_disk *disk = store_disk(core->store, areas->disks[item]);
	int whole = disk->disk ? disk_read(disk->disk, slot_offset(disk, area, 0), ring->size, ring, 0) : -ENODEV, status = 0;

	if (whole < 0 && !disk_error_is_of_medium(whole))
		return whole;
	for (unsigned slot = 0; slot < UBERBLOCK_COMMIT_SLOTS && status == 0; slot++) {
		bool good = whole == 0 && slot_is_good(core, disk, area, slot, ring->data + (size_t)slot * UBERBLOCK_SIZE);
		if (good)
			continue;
		rt_mutex_lock(core->rt, &core->config);
		status = heal_slot(areas, item, area, slot);
		rt_mutex_unlock(core->rt, &core->config);
	}
	return status;
}

static int check_rings(void *argument, unsigned item)
{
	struct areas *areas = argument;
	struct buffer *ring = buffer_new((size_t)UBERBLOCK_COMMIT_SLOTS * UBERBLOCK_SIZE);
	int status = ring ? 0 : -ENOMEM;
	bool has_ring = store_disk_holds_data(store_disk(areas->core->store, areas->disks[item]));

	for (unsigned area = 0; area < 2 && status == 0 && has_ring; area++)
		status = check_ring(areas, item, area, ring);
	buffer_unref(ring);
	return status;
}

/* ---- the batch map ---- */

/* From leaf to leaf; commits go on meanwhile. Notes a key below each node that can't be read. */
static int check_batch_map(struct core *core, unsigned *ret_lost)
{
	struct tree_range *range = calloc(1, sizeof(*range));
	uint8_t *key = malloc(OBJECT_KEY_MAX);
	size_t length = 0;
	int status = key && range ? 0 : -ENOMEM;

	*ret_lost = 0;
	while (status == 0) {
		int damage;

		status = core->halted ? -POOL_EHALTED : tree_check_leaf(core->mos_objects[MOS_BATCH_MAP], key, length, range, &damage);
		if (status == 0 && damage) {
			struct map_key lost = { { 0 } };
			memcpy(lost.bytes, range->low, range->low_length < sizeof(lost.bytes) ? range->low_length : sizeof(lost.bytes));
			status = array_push(&core->map_wrong, &lost);
			++*ret_lost;
		}
		if (!range->high_length)
			break;
		memcpy(key, range->high, range->high_length);
		length = range->high_length;
	}
	free(key);
	free(range);
	return status == -POOL_EDEGRADED || status == -ENOENT ? 0 : status;
}

/* Cached leaves are dropped: the commit has to see what is on disk. */
static int mend_batch_map(struct core *core, unsigned *wrong, unsigned *healed)
{
	unsigned lost;
	int status = check_batch_map(core, &lost);

	if (status < 0 || !lost)
		return status;
	*wrong += lost;
	blocks_drop_cache(core->blocks);
	status = core_commit_forced(core);
	if (status == 0)
		*healed += lost;
	return status;
}

/* On all disks at the same time. Not that a disk doesn't answer, or can't be written: that is its own affair. */
static int check_disks(struct areas *areas, const char *name, int (*check)(void *argument, unsigned item))
{
	int status = 0;

	run_each(areas->core->rt, name, areas->count, check, areas, areas->status);
	for (unsigned i = 0; i < areas->count; i++)
		if (areas->status[i] == -ENOMEM || areas->status[i] == -POOL_EHALTED)
			status = areas->status[i];
	return status;
}

int core_check_label_areas(struct core *core, unsigned *ret_wrong, unsigned *ret_healed)
{
	struct areas *areas = calloc(1, sizeof(*areas));
	unsigned wrong = 0, healed = 0, lacking;

	if (!areas)
		return -ENOMEM;
	areas->core = core;
	for (uint16_t i = 0; i < DISKS_MAX; i++) {
		const struct store_disk *disk = store_disk(core->store, i);
		if (disk_is_writable(disk) && !disk->disk->abandoned_reads && !disk->disk->abandoned_writes)
			areas->disks[areas->count++] = i;
	}
	int status = check_disks(areas, "check label", check_labels);
	if (status == 0)
		status = check_disks(areas, "check ring", check_rings);
	for (unsigned i = 0; i < areas->count; i++) {
		wrong += areas->wrong[i];
		healed += areas->healed[i];
	}
	if (status == 0)
		status = sysmap_check(core, &lacking);
	if (status == 0 && lacking) {
		wrong += lacking;
		status = core_commit_forced(core);
		healed += status == 0 ? lacking : 0;
	}
	free(areas);
	*ret_wrong = wrong;
	*ret_healed = healed;
	return status;
}

int core_check_areas(struct core *core, unsigned *ret_wrong, unsigned *ret_healed)
{
	int status = core_check_label_areas(core, ret_wrong, ret_healed);

	return status == 0 ? mend_batch_map(core, ret_wrong, ret_healed) : status;
}
