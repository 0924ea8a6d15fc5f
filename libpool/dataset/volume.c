/* Volumes: create, resize, destroy, open, list. Reading and writing: volume_io.c. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libpool/base/check.h"
#include "libpool/dataset/internal.h"

static int size_check(const char *name, uint64_t bytes, uint32_t block_bytes, uint64_t *ret_bytes, struct pool_error *error)
{
	if (block_bytes < CELL_SIZE || block_bytes > 128u << 10 || block_bytes & (block_bytes - 1))
		return pool_error_set(error, -EINVAL,
				      "volume %s: a block size of %u bytes is not possible: a power of two from 4 KiB to 128 KiB",
				      name, block_bytes);
	if (bytes == 0)
		return pool_error_set(error, -EINVAL, "volume %s: a size of 0 is not possible", name);
	if (bytes > VOLUME_SIZE_MAX)
		return pool_error_set(error, -EFBIG, "volume %s: %llu bytes are too large: at most 2^60", name,
				      (unsigned long long)bytes);
	*ret_bytes = (bytes + block_bytes - 1) / block_bytes * block_bytes;
	return 0;
}

static int hold_failed(struct datasets *datasets, const char *name, int status, struct pool_error *error)
{
	return dataset_failed(datasets, "volume", name, status, error);
}

int volume_create_check(struct datasets *datasets, const char *name, uint64_t bytes, uint32_t block_bytes, struct pool_error *error)
{
	uint32_t parent;
	uint64_t size;
	const char *last;
	int status = dataset_place_find(datasets, "volume", name, &parent, &last, error);

	return status < 0 ? status : size_check(name, bytes, block_bytes ? block_bytes : 16u << 10, &size, error);
}

int volume_create(struct datasets *datasets, const char *name, uint64_t bytes, uint32_t block_bytes, uint8_t compression,
		  struct pool_error *error)
{
	struct core *core = datasets->core;
	struct dataset_record record = { .kind = DATASET_VOLUME };
	uint64_t txg;
	const char *last;
	int status = dataset_place_find(datasets, "volume", name, &record.parent, &last, error);

	if (!block_bytes)
		block_bytes = 16u << 10;
	if (status == 0)
		status = size_check(name, bytes, block_bytes, &record.volume_size, error);
	if (status < 0)
		return status;
	status = dataset_check_record(datasets, UINT32_MAX); /* ids ascend */
	if (status == 0)
		status = core_hold(core, RECORD_CELLS, &txg);
	if (status < 0)
		return hold_failed(datasets, name, status, error);
	status = dataset_place_find(datasets, "volume", name, &record.parent, &last, error); /* others may have come while this one waited */
	if (status < 0) {
		core_release(core, txg);
		return status;
	}
	record.id = (uint32_t)core_next_dataset_id(core);
	record.block_shift = (uint8_t)__builtin_ctz(block_bytes);
	if (compression != COMPRESSION_INHERITED)
		dataset_record_set(&record, SETTING_COMPRESSION, compression);
	record.created_txg = txg;
	record.created_ns = rt_realtime(core_rt(core));
	snprintf(record.name, sizeof(record.name), "%s", last);
	struct dataset *dataset = dataset_add(datasets, &record, name);
	if (dataset)
		dataset_settle(dataset);
	struct objset_options options = { .id = record.id, .data_class = CLASS_HOT, .metadata_compression = BLOCK_COMPRESS_AUTO,
					  .dirty = core_dirty, .argument = core };
	struct object_create_options object = { .number = VOLUME_OBJECT, .kind = DNODE_BLOB, .block_shift = record.block_shift,
						.compression = dataset ? dataset->settings[SETTING_COMPRESSION] : 0 };
	status = dataset ? objset_create(core_rt(core), core_blocks(core), &options, txg, &dataset->objset) : -ENOMEM;
	if (status == 0)
		status = object_create(dataset->objset, txg, &object, &dataset->blob);
	if (status == 0) {
		dataset_stage(dataset, txg);
		core_changed_unloggable(core, txg);
	} else if (dataset) {
		dataset_free(dataset);
	}
	core_release(core, txg);
	return status < 0 ? hold_failed(datasets, name, status, error) : 0;
}

/* Opened, and kept until dataset_drop: others may destroy it while this one waits. */
static int find_volume(struct datasets *datasets, const char *name, struct dataset **ret_dataset, struct pool_error *error)
{
	struct dataset *dataset = dataset_find(datasets, name);

	if (!dataset) {
		pool_error_set(error, -ENOENT, "pool %s has no volume %s", core_label(datasets->core)->name, name);
		return -ENOENT;
	}
	if (dataset->record.kind != DATASET_VOLUME) {
		pool_error_set(error, -EINVAL, "%s/%s is no volume", core_label(datasets->core)->name, name);
		return -EINVAL;
	}
	dataset->open_count++;
	int status = dataset_load(dataset);
	if (dataset->record.flags & DATASET_DESTROYED)
		status = -ENOENT;
	if (status < 0) {
		dataset->open_count--;
		pool_error_set(error, status, "volume %s/%s can't be opened: %s", core_label(datasets->core)->name, name,
			       pool_error_string(status));
		return status;
	}
	*ret_dataset = dataset;
	return 0;
}

static void dataset_drop(struct dataset *dataset)
{
	dataset->open_count--;
}

/* No request is under way until gate_open. */
static void gate_close(struct dataset *dataset)
{
	struct rt *rt = core_rt(dataset->owner->core);

	while (dataset->gate_closed)
		rt_queue_wait(rt, &dataset->gate);
	dataset->gate_closed = true;
	while (dataset->requests)
		rt_queue_wait(rt, &dataset->gate);
}

static void gate_open(struct dataset *dataset)
{
	dataset->gate_closed = false;
	rt_queue_wake_all(core_rt(dataset->owner->core), &dataset->gate);
}

int volume_resize_check(struct datasets *datasets, const char *name, uint64_t bytes, struct pool_error *error)
{
	struct dataset *dataset;
	uint64_t size;
	int status = find_volume(datasets, name, &dataset, error);

	if (status < 0)
		return status;
	status = size_check(name, bytes, 1u << dataset->record.block_shift, &size, error);
	dataset_drop(dataset);
	return status;
}

int volume_resize(struct datasets *datasets, const char *name, uint64_t bytes, struct pool_error *error)
{
	struct core *core = datasets->core;
	struct dataset *dataset;
	uint64_t size = 0, txg;
	int status = find_volume(datasets, name, &dataset, error);

	if (status < 0)
		return status;
	status = size_check(name, bytes, 1u << dataset->record.block_shift, &size, error);
	if (status < 0) {
		dataset_drop(dataset);
		return status;
	}
	gate_close(dataset);
	uint64_t old = dataset->record.volume_size;
	unsigned shift = dataset->record.block_shift;
	status = dataset->record.flags & DATASET_DESTROYED ? -ENOENT : dataset_check(dataset);
	if (status == 0 && size < old)
		status = blob_check_punch(dataset->blob, size >> shift, (old - size) >> shift);
	/* What makes room must not need any. */
	struct core_change change = core_change_of(size < old ? 0 : RECORD_CELLS);
	if (size < old)
		change.blocks = blob_removed_blocks(1u << shift, size, old - size);
	if (status == 0)
		status = core_hold_change(core, &change, &txg);
	if (status == 0) {
		if (size < old)
			status = blob_punch(dataset->blob, txg, size, old - size);
		if (status == 0) {
			dataset->record.volume_size = size;
			dataset_stage(dataset, txg);
			dataset_resized(dataset, txg);
		}
		if (size < old)
			dataset_changed(dataset, txg, size, old - size, 0);
		core_release(core, txg);
	}
	gate_open(dataset);
	dataset_drop(dataset);
	return status < 0 ? hold_failed(datasets, name, status, error) : 0;
}

int volume_destroy_check(struct datasets *datasets, const char *name, struct pool_error *error)
{
	struct dataset *dataset = dataset_find(datasets, name);

	if (!dataset)
		return pool_error_set(error, -ENOENT, "pool %s has no volume %s", core_label(datasets->core)->name, name);
	if (dataset->record.kind != DATASET_VOLUME)
		return pool_error_set(error, -EINVAL, "%s/%s is no volume", core_label(datasets->core)->name, name);
	return 0;
}

int volume_destroy(struct datasets *datasets, const char *name, struct pool_error *error)
{
	int status = volume_destroy_check(datasets, name, error);

	return status < 0 ? status : dataset_destroy_tree(dataset_find(datasets, name), false, error);
}

uint64_t volume_cells(const struct dataset *dataset)
{
	struct dnode dnode;

	object_info(dataset->blob, &dnode);
	return dnode.sectors;
}

int volumes_list(struct datasets *datasets, struct dataset_record **ret_records, size_t *ret_count)
{
	return datasets_list(datasets, DATASET_VOLUME, ret_records, ret_count);
}

int volume_open(struct datasets *datasets, const char *name, struct volume **ret_volume, struct pool_error *error)
{
	struct volume *volume = calloc(1, sizeof(*volume));

	if (!volume)
		return pool_error_set(error, -ENOMEM, "out of memory");
	int status = find_volume(datasets, name, &volume->dataset, error);
	if (status < 0) {
		free(volume);
		return status;
	}
	datasets->open_volumes++;
	*ret_volume = volume;
	return 0;
}

void volume_close(struct volume *volume)
{
	if (!volume)
		return;
	volume->dataset->open_count--;
	volume->dataset->owner->open_volumes--;
	free(volume);
}

const struct dataset_record *volume_record(const struct volume *volume)
{
	return &volume->dataset->record;
}

const char *volume_path(const struct volume *volume)
{
	return volume->dataset->path;
}

unsigned volume_open_count(const struct volume *volume)
{
	return volume->dataset->open_count;
}

uint64_t volume_used_cells(const struct volume *volume)
{
	return volume_cells(volume->dataset);
}
