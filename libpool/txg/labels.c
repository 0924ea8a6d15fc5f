/*
 * Labels on disks: two areas, A at the front and B in the last MiB, with two copies each. A change is written as copy 0
 * of all disks, flush, copy 1 of all disks, flush, so that every moment leaves one whole set.
 */
#include "libpool/txg/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "libpool/base/buffer.h"

#define MIB (UINT64_C(1) << 20)

uint64_t label_area_offset(uint64_t disk_size, unsigned area)
{
	return area == 0 ? 0 : disk_size / MIB * MIB - LABEL_AREA_SIZE;
}

uint32_t disk_au_count(uint64_t disk_size, unsigned au_shift)
{
	uint64_t end = disk_size / MIB * MIB;

	if (end < DATA_START + LABEL_AREA_SIZE)
		return 0;
	uint64_t count = (end - DATA_START - LABEL_AREA_SIZE) >> au_shift;
	return count > UINT32_MAX ? UINT32_MAX : (uint32_t)count;
}

const struct label_disk *label_find_index(const struct label *label, unsigned index)
{
	for (unsigned i = 0; i < label->disk_count; i++)
		if (label->disks[i].index == index)
			return &label->disks[i];
	return NULL;
}

struct label_write {
	struct core *core;
	unsigned copy;
	uint16_t index;
	struct rt_group *group;
	bool failed;
};

static void label_write_fiber(void *argument)
{
	struct label_write *write = argument;
	struct core *core = write->core;
	struct store_disk *disk = store_disk(core->store, write->index);
	struct label *label = malloc(sizeof(*label));
	struct buffer *buffer = buffer_new(LABEL_COPY_SIZE);
	int status = label && buffer ? 0 : -ENOMEM;

	if (status == 0) {
		*label = *core->label;
		label->disk = disk->guid;
		label->disk_index = write->index;
		label->size = disk->size;
	}
	for (unsigned area = 0; area < 2 && status == 0; area++) {
		label_encode(label, area, write->copy, buffer->data);
		struct buffer *image = buffer_new_copy(buffer->data, LABEL_COPY_SIZE);
		if (!image) {
			status = -ENOMEM;
			break;
		}
		status = disk_write(disk->disk, label_area_offset(disk->size, area) + LABEL_OFFSET + write->copy * LABEL_COPY_SIZE,
				    LABEL_COPY_SIZE, image, 0, false);
		buffer_unref(image);
	}
	if (status == 0)
		status = disk_flush(disk->disk);
	free(label);
	buffer_unref(buffer);
	write->failed = status < 0;
	rt_group_done(core->rt, write->group, 0);
}

static bool disk_is_writable(const struct store_disk *disk)
{
	return disk->configured && disk->disk && (disk->state == DISK_ONLINE || disk->state == DISK_RESYNC);
}

int labels_write(struct core *core)
{
	struct label_write *writes = calloc(DISKS_MAX, sizeof(*writes));
	unsigned written = 0;

	if (!writes)
		return -ENOMEM;
	for (unsigned copy = 0; copy < 2; copy++) {
		struct rt_group group;
		rt_group_init(&group);
		written = 0;
		for (uint16_t i = 0; i < DISKS_MAX; i++) {
			writes[i] = (struct label_write){ core, copy, i, &group, false };
			if (!disk_is_writable(store_disk(core->store, i)))
				continue;
			rt_group_add(&group);
			if (rt_spawn(core->rt, "label", label_write_fiber, &writes[i]) < 0) {
				writes[i].failed = true;
				rt_group_done(core->rt, &group, 0);
			}
		}
		if (group.pending)
			(void)rt_group_wait(core->rt, &group);
		for (uint16_t i = 0; i < DISKS_MAX; i++) {
			if (!disk_is_writable(store_disk(core->store, i)))
				continue;
			if (writes[i].failed)
				store_disk_fail(core->store, i, "its label can't be written");
			else
				written++;
		}
	}
	free(writes);
	return written ? 0 : -EIO;
}

int core_label_read(struct disk *disk, struct label **ret_label)
{
	struct label *best = NULL, *label = malloc(sizeof(*label));
	struct buffer *buffer = buffer_new(2 * LABEL_COPY_SIZE);
	int result = -ENOENT;

	if (!label || !buffer || disk->info.size < DISK_SIZE_MIN) {
		result = label && buffer ? -ENOENT : -ENOMEM;
		goto out;
	}
	for (unsigned area = 0; area < 2; area++) {
		int status = disk_read(disk, label_area_offset(disk->info.size, area) + LABEL_OFFSET, 2 * LABEL_COPY_SIZE, buffer, 0);
		if (status < 0) {
			if (result == -ENOENT)
				result = status;
			continue;
		}
		for (unsigned copy = 0; copy < 2; copy++) {
			status = label_decode(buffer->data + copy * LABEL_COPY_SIZE, area, copy, label);
			if (status == 0 || status == -POOL_EFEATURE) {
				if (best && best->config_txg >= label->config_txg)
					continue;
				if (!best)
					best = malloc(sizeof(*best));
				if (!best) {
					result = -ENOMEM;
					goto out;
				}
				*best = *label;
				result = status;
			} else if (!best && memcmp(buffer->data + copy * LABEL_COPY_SIZE, "poolLABL", 8) == 0) {
				result = -POOL_EFORMAT;
			}
		}
	}
	if (best) {
		*ret_label = best;
		best = NULL;
	}
out:
	free(best);
	free(label);
	buffer_unref(buffer);
	return result;
}
