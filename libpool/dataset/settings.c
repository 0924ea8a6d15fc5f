/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Settings of datasets. Each is set in a dataset, or handed down from the one that it lies in, and so on up to the pool; what holds
 * for a dataset is worked out when anything of that changes, so that who uses it has a byte to look at.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "libpool/dataset/internal.h"

uint8_t dataset_setting_default(enum dataset_setting setting)
{
	return setting == SETTING_COMPRESSION ? BLOCK_COMPRESS_AUTO : 0;
}

void dataset_settle(struct dataset *dataset)
{
	const struct dataset *parent = dataset->record.flags & DATASET_DESTROYED ? NULL : dataset_parent(dataset);
	const struct dataset_settings *pool = &dataset->owner->pool_settings;

	for (unsigned i = 0; i < SETTING_COUNT; i++)
		dataset->settings[i] = dataset->record.local >> i & 1 ? dataset_record_setting(&dataset->record, i) :
				       parent			      ? parent->settings[i] :
				       pool->mask >> i & 1	      ? pool->values[i] :
									dataset_setting_default(i);
	if (dataset->blob)
		object_set_compression(dataset->blob, dataset->settings[SETTING_COMPRESSION]);
}

static unsigned depth_of(const struct dataset *dataset)
{
	unsigned depth = 0;

	for (const char *c = dataset->path; *c; c++)
		depth += *c == '/';
	return depth;
}

void datasets_settle(struct datasets *datasets)
{
	bool more = true;

	for (unsigned depth = 0; more; depth++) {
		more = false;
		list_for_each(node, &datasets->list) {
			struct dataset *dataset = container_of(node, struct dataset, node);
			unsigned own = depth_of(dataset);
			if (own == depth)
				dataset_settle(dataset);
			more |= own > depth;
		}
	}
}

void datasets_set_pool(struct datasets *datasets, enum dataset_setting setting, const uint8_t *value)
{
	datasets->pool_settings.mask &= ~(1u << setting);
	if (value) {
		datasets->pool_settings.mask |= 1u << setting;
		datasets->pool_settings.values[setting] = *value;
	}
	datasets_settle(datasets);
}

int dataset_setting(struct datasets *datasets, const char *path, enum dataset_setting setting, uint8_t *ret_value, const char **ret_source)
{
	const struct dataset *dataset = dataset_find(datasets, path), *at = dataset;

	if (!dataset || !(dataset_settings_of(dataset->record.kind) >> setting & 1))
		return -ENOENT;
	while (at && !(at->record.local >> setting & 1))
		at = dataset_parent(at);
	*ret_value = dataset->settings[setting];
	*ret_source = at ? at->path : datasets->pool_settings.mask >> setting & 1 ? "" : NULL;
	return 0;
}

int dataset_check_record_shift(struct datasets *datasets, uint8_t shift, struct pool_error *error)
{
	unsigned cells = alloc_geometry(core_alloc(datasets->core))->rows - 1u, most = CELL_SHIFT;

	while (most < DNODE_BLOCK_SHIFT_MAX && 2u << (most - CELL_SHIFT) <= cells)
		most++;
	if (shift == 0 || (shift >= CELL_SHIFT && shift <= most))
		return 0;
	return pool_error_set(error, -EINVAL, "a record size of %llu KiB is not possible: in this pool 4 KiB to %u KiB, or auto",
			      (unsigned long long)(UINT64_C(1) << shift >> 10), 1u << (most - 10));
}

int dataset_set(struct datasets *datasets, const char *path, enum dataset_setting setting, const uint8_t *value, struct pool_error *error)
{
	struct core *core = datasets->core;
	struct dataset *dataset = dataset_find(datasets, path);
	uint64_t txg;
	int status;

	if (!dataset)
		return pool_error_set(error, -ENOENT, "pool %s has no dataset %s", core_label(core)->name, path);
	if (!(dataset_settings_of(dataset->record.kind) >> setting & 1))
		return pool_error_set(error, -EINVAL, "%s/%s is a %s, which has no such setting", core_label(core)->name, path,
				      dataset_kind_text(dataset));
	status = setting == SETTING_RECORDSIZE && value ? dataset_check_record_shift(datasets, *value, error) : 0;
	if (status < 0)
		return status;
	dataset->open_count++; /* it isn't freed meanwhile */
	status = dataset_check_record(datasets, dataset->record.id);
	if (status == 0)
		status = core_hold(core, RECORD_CELLS, &txg);
	if (status == 0) {
		if (dataset->record.flags & DATASET_DESTROYED) {
			status = -ENOENT;
		} else {
			if (value)
				dataset_record_set(&dataset->record, setting, *value);
			else
				dataset_record_unset(&dataset->record, setting);
			datasets_settle(datasets);
			dataset_stage(dataset, txg);
			core_changed_unloggable(core, txg);
		}
		core_release(core, txg);
	}
	dataset->open_count--;
	return status < 0 ? dataset_failed(datasets, dataset_kind_text(dataset), path, status, error) : 0;
}

uint8_t filesystem_setting(const struct dataset *dataset, enum dataset_setting setting)
{
	return dataset->settings[setting];
}
