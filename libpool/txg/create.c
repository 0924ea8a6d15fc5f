/*
 * A new pool: the layout is planned without writing, then old uberblocks are wiped, the first txg is written through the
 * ordinary commit, and last of all the labels, which make the disks members. A crash before that leaves disks that carry
 * nothing.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libpool/base/buffer.h"
#include "libpool/base/check.h"
#include "libpool/txg/internal.h"

#define GIB (UINT64_C(1) << 30)

static unsigned default_au_shift(uint64_t largest)
{
	return largest < 4 * GIB ? 18 : largest < 64 * GIB ? 20 : largest < 512 * GIB ? 22 : 24;
}

bool sys_capacity_suffices(unsigned k, unsigned m, unsigned au_shift, uint64_t aus)
{
	uint64_t rows = (UINT64_C(1) << au_shift) / CELL_SIZE, segments = aus / (k + m) + 1;
	uint64_t capacity = SYSMAP_SEGMENTS_MAX * (rows - 1);
	/* A page each for so many segments, stored at its length; twice, because a new copy is written before the old one goes. */
	uint64_t livemap = segments * k * (rows / 8) / CELL_SIZE + segments / livemap_page_segments((unsigned)rows) + 1;
	uint64_t segtab = (segments / SEGTAB_PAGE_RECORDS + 1) * (SEGTAB_PAGE_SIZE / CELL_SIZE);

	return segments <= SEGMENTS_MAX && 2 * (livemap + segtab) <= capacity;
}

/* By the largest disk; but as small as the smallest one needs, if all of them still fit into tables then. */
static unsigned choose_au_shift(const struct core_create *create, const uint64_t *sizes)
{
	uint64_t largest = 0, smallest = UINT64_MAX;

	for (unsigned i = 0; i < create->disk_count; i++) {
		largest = sizes[i] > largest ? sizes[i] : largest;
		smallest = sizes[i] < smallest ? sizes[i] : smallest;
	}
	unsigned by_largest = default_au_shift(largest), shift = by_largest;
	uint64_t aus = 0;

	while (shift > AU_SHIFT_MIN && disk_au_count(smallest, shift) < DISK_AUS_MIN)
		shift--;
	for (unsigned i = 0; i < create->disk_count; i++)
		aus += disk_au_count(sizes[i], shift);
	return sys_capacity_suffices(create->k, create->m, shift, aus) ? shift : by_largest;
}

int core_plan(const struct core_create *create, const uint64_t *sizes, unsigned *ret_au_shift, struct space *ret_space,
	      struct pool_error *error)
{
	if (create->k == 0 || create->k + create->m > COLUMNS_MAX || create->m > PARITY_MAX)
		return pool_error_set(error, -EINVAL, "a profile of %u data and %u parity columns is not possible", create->k,
				      create->m);
	if (create->disk_count == 0 || create->disk_count > DISKS_MAX)
		return pool_error_set(error, -EINVAL, "%u disks: a pool has 1 to %u", create->disk_count, DISKS_MAX);
	if (create->disk_count < create->k + create->m)
		return pool_error_set(error, -EINVAL, "%u disks are too few: %u data and %u parity columns need %u",
				      create->disk_count, create->k, create->m, create->k + create->m);
	unsigned au_shift = create->au_shift ? create->au_shift : choose_au_shift(create, sizes);
	if (au_shift < AU_SHIFT_MIN || au_shift > AU_SHIFT_MAX)
		return pool_error_set(error, -EINVAL, "an allocation unit of %llu bytes is not possible: 256 KiB to 16 MiB",
				      1ULL << au_shift);
	struct geometry geometry = { .k = (uint8_t)create->k, .m = (uint8_t)create->m, .au_shift = (uint8_t)au_shift,
				     .rows = (uint16_t)((1u << au_shift) / CELL_SIZE) };
	struct alloc *alloc;
	int status = alloc_new(&geometry, &alloc);
	if (status < 0)
		return pool_error_set(error, status, "out of memory");
	for (unsigned i = 0; i < create->disk_count && status == 0; i++) {
		uint32_t aus = disk_au_count(sizes[i], au_shift);
		if (sizes[i] < DISK_SIZE_MIN)
			status = pool_error_set(error, -EINVAL, "disk %s has %llu bytes: too small, at least 64 MiB are needed", create->disks[i]->info.path,
						(unsigned long long)sizes[i]);
		else if (aus < DISK_AUS_MIN)
			status = pool_error_set(error, -EINVAL,
						"disk %s has room for %u allocation units of %u KiB: at least %u are needed; "
						"choose smaller ones, or leave it out",
						create->disks[i]->info.path, aus, 1u << (au_shift - 10), DISK_AUS_MIN);
		else
			status = alloc_disk_add(alloc, i, aus, true);
	}
	if (status == 0) {
		alloc_space(alloc, ret_space);
		*ret_au_shift = au_shift;
		if (!sys_capacity_suffices(create->k, create->m, au_shift, ret_space->raw_aus))
			status = pool_error_set(error, -EINVAL, "the disks are too large for allocation units of %u KiB", 1u << (au_shift - 10));
	}
	alloc_free_all(alloc);
	return status;
}

static void random_guid(struct core *core, struct guid *guid)
{
	rt_env(core->rt)->ops->random(rt_env(core->rt), guid->bytes, sizeof(guid->bytes));
}

/* What an earlier pool left in the label areas would be taken for ours only with our guid; it goes all the same. */
static int wipe_areas(struct disk *disk)
{
	struct buffer *zeroes = buffer_new_zero(LABEL_AREA_SIZE - LABEL_OFFSET);
	int status = zeroes ? 0 : -ENOMEM;

	for (unsigned area = 0; area < 2 && status == 0; area++)
		status = disk_write(disk, label_area_offset(disk->info.size, area) + LABEL_OFFSET, LABEL_AREA_SIZE - LABEL_OFFSET,
				    zeroes, 0, false);
	if (status == 0)
		status = disk_flush(disk);
	buffer_unref(zeroes);
	return status;
}

static int create_mos(struct core *core, uint64_t txg)
{
	struct objset_options options = { .id = 0, .data_class = CLASS_META, .metadata_compression = BLOCK_COMPRESS_AUTO,
					  .dirty = core_dirty, .argument = core };
	struct dnode blank = { .kind = DNODE_BLOB, .block_shift = 16, .indirect_shift = 12 };
	int status = objset_create(core->rt, core->blocks, &options, txg, &core->mos);

	for (uint64_t number = MOS_CATALOGUE; number <= MOS_SPACE && status == 0; number++) {
		struct object_create_options tree = { .number = number, .kind = DNODE_TREE, .indirect_shift = 14 };
		status = object_create(core->mos, txg, &tree, &core->mos_objects[number]);
	}
	if (status == 0)
		status = object_new_bare(core->rt, core->blocks, &blank, TYPE_SEGTAB, CLASS_SYS, 1, &core->segtab);
	blank.block_shift = 17;
	if (status == 0)
		status = object_new_bare(core->rt, core->blocks, &blank, TYPE_LIVEMAP, CLASS_SYS, 2, &core->livemap);
	core->segtab_dnode = core->livemap_dnode = blank;
	core->segtab_dnode.block_shift = 16;
	return status;
}

int core_create(const struct core_options *options, const struct core_create *create, struct pool_error *error)
{
	uint64_t sizes[DISKS_MAX];
	unsigned au_shift;
	struct space space;
	struct core *core = NULL;

	for (unsigned i = 0; i < create->disk_count && i < DISKS_MAX; i++)
		sizes[i] = create->disks[i]->info.size;
	int status = core_plan(create, sizes, &au_shift, &space, error);
	if (status < 0)
		return status;
	struct label *label = calloc(1, sizeof(*label));
	if (!label)
		return pool_error_set(error, -ENOMEM, "out of memory");
	snprintf(label->name, sizeof(label->name), "%s", create->name);
	label->k = (uint8_t)create->k;
	label->m = (uint8_t)create->m;
	label->au_shift = (uint8_t)au_shift;
	rt_env(options->rt)->ops->random(rt_env(options->rt), label->pool.bytes, sizeof(label->pool.bytes));
	status = core_new(options, label, &core);
	if (status < 0) {
		free(label);
		return pool_error_set(error, status, "out of memory");
	}
	*core->label = *label;
	free(label);
	label = core->label;
	label->config_txg = 1;
	label->created_ns = rt_realtime(core->rt);
	label->disk_count = (uint16_t)create->disk_count;
	for (unsigned i = 0; i < create->disk_count && status == 0; i++) {
		struct store_disk *disk = store_disk(core->store, i);
		*disk = (struct store_disk){ .configured = true, .disk = create->disks[i], .index = (uint16_t)i,
					     .state = DISK_ONLINE, .size = sizes[i] };
		random_guid(core, &disk->guid);
		snprintf(disk->path, sizeof(disk->path), "%s", create->disks[i]->info.path);
		label->disks[i] = (struct label_disk){ .guid = disk->guid, .index = (uint16_t)i, .role = ROLE_DATA,
						       .state = DISK_ONLINE, .size = sizes[i] };
		status = alloc_disk_add(core->alloc, i, disk_au_count(sizes[i], au_shift), true);
		if (status == 0)
			status = wipe_areas(create->disks[i]);
		if (status < 0)
			pool_error_set(error, status, "disk %s can't be written: %s", disk->path, pool_error_string(status));
	}
	core->uberblock.pool = label->pool;
	core->open_txg = 1;
	core->touched[1] = true;
	if (status == 0)
		status = create_mos(core, 1);
	if (status == 0 && create->fill)
		status = create->fill(create->argument, core, 1);
	if (status == 0)
		status = sync_txg(core, 1);
	/* One more: rewrites of the last uberblock, torn in both areas, must leave each disk one that proves its history. */
	if (status == 0)
		status = sync_txg(core, 2);
	if (status == 0) {
		/* The labels last: only now are the disks members of a pool, and the pool is one that was exported. */
		struct uberblock uberblock = core->uberblock;
		uberblock.rewrite++;
		uberblock.flags |= UBERBLOCK_CLEAN_EXPORT;
		status = uberblock_commit(core, &uberblock);
	}
	if (status == 0)
		status = labels_write(core);
	if (status == 0)
		for (unsigned i = 0; i < create->disk_count; i++)
			if (store_disk(core->store, i)->state != DISK_ONLINE)
				status = -EIO;
	if (status < 0)
		pool_error_set(error, status, "pool %s can't be created: %s", create->name,
			       core->halted ? core->halt_reason : pool_error_string(status));
	for (unsigned i = 0; i < DISKS_MAX; i++)
		store_disk(core->store, i)->disk = NULL; /* they stay the caller's */
	core_free(core);
	return status;
}
