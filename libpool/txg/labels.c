/*
 * Labels on disks: two areas, A at the front and B in the last MiB, with two copies each. A change is written as copy 0
 * of all disks, flush, copy 1 of all disks, flush, so that every moment leaves one whole set.
 *
 * A disk whose copy 1 isn't known to be whole and durable, as a flush of it has failed or a crash has torn it, gets that one first: while copy 0
 * is written there would be none.
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

uint32_t disk_aus_of_role(uint64_t disk_size, unsigned au_shift, unsigned role)
{
	uint32_t count = disk_au_count(disk_size, au_shift);

	return role == ROLE_LOG && count > LOG_DISK_AUS_MAX ? LOG_DISK_AUS_MAX : count;
}

int core_alloc_disk_add(struct core *core, const struct store_disk *disk, bool usable)
{
	int status = alloc_disk_add(core->alloc, disk->index, disk_aus_of_role(disk->size, core->label->au_shift, disk->role), usable);

	if (status == 0 && disk->role == ROLE_LOG)
		alloc_disk_set_log(core->alloc, disk->index);
	return status;
}

const struct label_disk *label_find_index(const struct label *label, unsigned index)
{
	for (unsigned i = 0; i < label->disk_count; i++)
		if (label->disks[i].index == index)
			return &label->disks[i];
	return NULL;
}

struct label_round {
	struct core *core;
	unsigned count;
	bool written[DISKS_MAX]; /* by disk: one copy, in this change */
	uint16_t disks[DISKS_MAX];
	int status[DISKS_MAX];
};

bool disk_is_writable(const struct store_disk *disk)
{
	return disk->configured && disk->disk && (disk->state == DISK_ONLINE || disk->state == DISK_RESYNC);
}

void label_image(const struct core *core, const struct store_disk *disk, unsigned area, unsigned copy, struct label *scratch,
		 uint8_t *ret_raw)
{
	*scratch = *core->label;
	scratch->disk = disk->guid;
	scratch->disk_index = disk->index;
	scratch->size = disk->size;
	label_encode(scratch, area, copy, ret_raw);
}

static int label_write(void *argument, unsigned item)
{
	struct label_round *round = argument;
	struct store_disk *disk = store_disk(round->core->store, round->disks[item]);
	struct label *label = malloc(sizeof(*label));
	struct buffer *images[2] = { buffer_new(LABEL_COPY_SIZE), buffer_new(LABEL_COPY_SIZE) };
	int status = label && images[0] && images[1] ? 0 : -ENOMEM;
	bool *written = &round->written[round->disks[item]];
	unsigned copy = *written ? 1u - disk->label_first : disk->label_first;

	for (unsigned area = 0; area < 2 && status == 0; area++) {
		label_image(round->core, disk, area, copy, label, images[area]->data);
		status = disk->disk ? disk_write(disk->disk,
						 label_area_offset(disk->size, area) + LABEL_OFFSET + copy * LABEL_COPY_SIZE,
						 LABEL_COPY_SIZE, images[area], 0, false) :
				      -ENODEV;
	}
	if (status == 0)
		status = disk->disk ? disk_flush(disk->disk) : -ENODEV;
	if (status < 0)
		disk->label_first = (uint8_t)copy;
	else if (*written)
		disk->label_first = 0;
	*written |= status == 0;
	free(label);
	buffer_unref(images[0]);
	buffer_unref(images[1]);
	return status;
}

int labels_write(struct core *core)
{
	struct label_round *round = calloc(1, sizeof(*round));
	unsigned written = 0;
	int status = round ? 0 : -ENOMEM;

	for (unsigned copies = 0; copies < 2 && status == 0; copies++) {
		if (!store_lease_holds(core->store)) {
			status = -POOL_EHALTED;
			break;
		}
		round->core = core;
		round->count = 0;
		for (uint16_t i = 0; i < DISKS_MAX; i++)
			if (disk_is_writable(store_disk(core->store, i)))
				round->disks[round->count++] = i;
		run_each(core->rt, "label", round->count, label_write, round, round->status);
		for (unsigned i = 0; i < round->count; i++)
			if (round->status[i] == -ENOMEM)
				status = -ENOMEM;
		written = 0;
		for (unsigned i = 0; i < round->count && status == 0; i++) {
			if (round->status[i] < 0)
				store_disk_fail(core->store, round->disks[i], "its label can't be written");
			else
				written += store_disk_holds_data(store_disk(core->store, round->disks[i]));
		}
	}
	free(round);
	return status < 0 ? status : written ? 0 : -EIO;
}

struct label_search {
	struct disk *disk;
	struct label *label, *best; /* best: NULL if none was found so far */
	unsigned whole[2];          /* areas that have this copy */
	struct buffer *buffer;
	int result;
};

static int judge_copy(struct label_search *search, const uint8_t *raw, unsigned area, unsigned copy)
{
	int status = label_decode(raw, area, copy, search->label);

	if (status == 0 || status == -POOL_EFEATURE) {
		search->whole[copy]++;
		if (search->best && search->best->config_txg >= search->label->config_txg)
			return 0;
		if (!search->best)
			search->best = malloc(sizeof(*search->best));
		if (!search->best)
			return -ENOMEM;
		*search->best = *search->label;
		search->result = status;
	} else if (!search->best && memcmp(raw, "poolLABL", 8) == 0) {
		search->result = -POOL_EFORMAT;
	}
	return 0;
}

/* Both copies of an area that begins at `offset`; one by one if a cell of them can't be read. 0, or why the search ends. */
static int search_area(struct label_search *search, unsigned area, uint64_t offset)
{
	int whole = disk_read(search->disk, offset + LABEL_OFFSET, 2 * LABEL_COPY_SIZE, search->buffer, 0), status = whole;

	if (whole == -ETIMEDOUT || whole == -ENOMEM)
		return whole;
	for (unsigned copy = 0; copy < 2; copy++) {
		size_t at = copy * LABEL_COPY_SIZE;
		if (whole < 0)
			status = disk_read(search->disk, offset + LABEL_OFFSET + at, LABEL_COPY_SIZE, search->buffer, at);
		if (status == -ETIMEDOUT || status == -ENOMEM)
			return status;
		if (status == 0) {
			status = judge_copy(search, search->buffer->data + at, area, copy);
			if (status < 0)
				return status;
		} else if (!search->best && search->result == -ENOENT) {
			search->result = status;
		}
	}
	return 0;
}

int core_label_read(struct disk *disk, struct label **ret_label)
{
	struct label_search search = { .disk = disk, .label = malloc(sizeof(*search.label)),
				       .buffer = buffer_new(2 * LABEL_COPY_SIZE), .result = -ENOENT };
	uint64_t size = disk->info.size;
	int status = search.label && search.buffer ? 0 : -ENOMEM;

	if (status == 0 && size >= DISK_SIZE_MIN) {
		status = search_area(&search, 0, label_area_offset(size, 0));
		/* A disk that has grown since keeps its area B where it was. */
		if (search.best && search.best->size >= DISK_SIZE_MIN && search.best->size < size)
			size = search.best->size;
		if (status == 0)
			status = search_area(&search, 1, label_area_offset(size, 1));
	}
	if (status == 0)
		status = search.result;
	if (search.best && (status == 0 || status == -POOL_EFEATURE)) {
		search.best->spoilt_copy = search.whole[0] > search.whole[1];
		*ret_label = search.best;
		search.best = NULL;
	}
	free(search.best);
	free(search.label);
	buffer_unref(search.buffer);
	return status;
}

int label_read_area(struct disk *disk, unsigned area, uint64_t disk_size, struct label *ret_label)
{
	struct label_search search = { .disk = disk, .label = malloc(sizeof(*search.label)),
				       .buffer = buffer_new(2 * LABEL_COPY_SIZE), .result = -ENOENT };
	int status = search.label && search.buffer ? search_area(&search, area, label_area_offset(disk_size, area)) : -ENOMEM;

	if (status == 0)
		status = search.result;
	if (status == 0)
		*ret_label = *search.best;
	free(search.best);
	free(search.label);
	buffer_unref(search.buffer);
	return status;
}
