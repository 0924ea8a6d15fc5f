/* SPDX-License-Identifier: BSD-2-Clause */
/* File systems as datasets: create, open, destroy. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "libpool/dataset/internal.h"

#define CREATE_CELLS 64u /* what a new file system takes, generously */
#define REAP_OBJECTS 256u

static int failed(struct datasets *datasets, const char *name, int status, struct pool_error *error)
{
	return dataset_failed(datasets, "file system", name, status, error);
}

int filesystem_create_check(struct datasets *datasets, const char *name, const struct dataset_settings *settings, struct pool_error *error)
{
	uint32_t parent;
	const char *last;
	int status = dataset_place_find(datasets, "file system", name, &parent, &last, error);

	if (status == 0 && settings->mask >> SETTING_RECORDSIZE & 1)
		status = dataset_check_record_shift(datasets, settings->values[SETTING_RECORDSIZE], error);
	return status;
}

int filesystem_create(struct datasets *datasets, const char *name, const struct dataset_settings *settings,
		      int (*fill)(void *argument, struct objset *objset, uint64_t txg), void *argument, struct pool_error *error)
{
	struct core *core = datasets->core;
	struct dataset_record record = { .kind = DATASET_FILESYSTEM };
	uint64_t txg;
	const char *last;
	int status = dataset_place_find(datasets, "file system", name, &record.parent, &last, error);

	if (status < 0)
		return status;
	for (unsigned i = 0; i < SETTING_COUNT; i++)
		if (settings->mask >> i & 1)
			dataset_record_set(&record, i, settings->values[i]);
	if (settings->mask >> SETTING_RECORDSIZE & 1)
		status = dataset_check_record_shift(datasets, record.block_shift, error);
	if (status < 0)
		return status;
	status = core_hold(core, CREATE_CELLS, &txg);
	if (status < 0)
		return failed(datasets, name, status, error);
	status = dataset_place_find(datasets, "file system", name, &record.parent, &last, error); /* others may have come while this one waited */
	if (status < 0) {
		core_release(core, txg);
		return status;
	}
	record.id = (uint32_t)core_next_dataset_id(core);
	record.created_txg = txg;
	record.created_ns = rt_realtime(core_rt(core));
	snprintf(record.name, sizeof(record.name), "%s", last);
	struct dataset *dataset = dataset_add(datasets, &record, name);
	if (dataset)
		dataset_settle(dataset);
	struct objset_options options = { .id = record.id, .data_class = CLASS_HOT, .metadata_compression = BLOCK_COMPRESS_AUTO,
					  .dirty = core_dirty, .argument = core };
	status = dataset ? objset_create(core_rt(core), core_blocks(core), &options, txg, &dataset->objset) : -ENOMEM;
	if (status == 0)
		status = owners_load(dataset);
	if (status == 0)
		owners_follow(dataset);
	if (status == 0)
		status = fill(argument, dataset->objset, txg);
	if (status == 0) {
		dataset_stage(dataset, txg);
		core_changed_unloggable(core, txg);
	} else if (dataset) {
		dataset_free(dataset);
	}
	core_release(core, txg);
	return status < 0 ? failed(datasets, name, status, error) : 0;
}

/* The file system of this name, kept until its open_count is lowered. */
static int find(struct datasets *datasets, const char *name, struct dataset **ret_dataset, struct pool_error *error)
{
	struct dataset *dataset = dataset_find(datasets, name);

	if (!dataset)
		return pool_error_set(error, -ENOENT, "pool %s has no file system %s", core_label(datasets->core)->name, name);
	if (dataset->record.kind != DATASET_FILESYSTEM)
		return pool_error_set(error, -EINVAL, "%s/%s is no file system, but a volume", core_label(datasets->core)->name, name);
	dataset->open_count++;
	*ret_dataset = dataset;
	return 0;
}

int filesystem_open(struct datasets *datasets, const char *name, struct dataset **ret_dataset, struct pool_error *error)
{
	int status = find(datasets, name, ret_dataset, error);

	if (status < 0)
		return status;
	status = dataset_load(*ret_dataset);
	if (status == 0 && (*ret_dataset)->record.flags & DATASET_DESTROYED)
		status = -ENOENT; /* while this one waited */
	if (status < 0) {
		filesystem_close(*ret_dataset);
		return failed(datasets, name, status, error);
	}
	return 0;
}

void filesystem_close(struct dataset *dataset)
{
	dataset->open_count--;
}

int filesystem_destroy_check(struct datasets *datasets, const char *name, bool recursive, struct pool_error *error)
{
	struct dataset *dataset;
	int status = find(datasets, name, &dataset, error);

	if (status < 0)
		return status;
	filesystem_close(dataset);
	return dataset_destroy_check(dataset, recursive, error);
}

int filesystem_destroy(struct datasets *datasets, const char *name, bool recursive, struct pool_error *error)
{
	struct dataset *dataset = NULL;
	int status = find(datasets, name, &dataset, error);

	if (status < 0)
		return status;
	filesystem_close(dataset);
	return dataset_destroy_tree(dataset, recursive, error);
}

/* Some objects of one txg. 1: there are more. */
static int reap_some(struct dataset *dataset, uint64_t *next)
{
	struct core *core = dataset->owner->core;
	struct object *object;
	uint64_t txg;
	int status = owners_check(dataset);

	if (status == 0)
		status = core_hold_own(core, 0, &txg);
	if (status < 0)
		return status;
	for (unsigned i = 0; i < REAP_OBJECTS && status == 0; i++) {
		status = objset_next_object(dataset->objset, *next, next);
		if (status < 0)
			break;
		/* What is damaged stays allocated until a deep scrub finds it. */
		if (object_open(dataset->objset, (*next)++, &object) < 0)
			continue;
		status = object_destroy(object, txg);
		object_close(object);
	}
	core_release(core, txg);
	return status == 0 ? 1 : status == -ENOENT ? 0 : status;
}

static void reaper(void *argument)
{
	struct dataset *dataset = argument;
	struct datasets *datasets = dataset->owner;
	uint64_t next = 1;

	while (reap_some(dataset, &next) > 0)
		rt_yield(core_rt(datasets->core));
	dataset->reaping--;
	dataset->open_count--;
	core_states_changed(datasets->core);
	rt_group_done(core_rt(datasets->core), &datasets->reapers, 0);
}

void filesystem_reap(struct dataset *dataset)
{
	struct datasets *datasets = dataset->owner;

	dataset->reaping++;
	/* Without memory it waits, marked as destroyed, for the next import. */
	if (rt_spawn(core_rt(datasets->core), "reaper", reaper, dataset) < 0)
		return;
	dataset->open_count++;
	rt_group_add(&datasets->reapers);
}

int filesystem_check(struct dataset *dataset)
{
	return dataset_check(dataset);
}

struct objset *filesystem_objset(const struct dataset *dataset)
{
	return dataset->objset;
}

struct core *filesystem_core(const struct dataset *dataset)
{
	return dataset->owner->core;
}

const struct dataset_record *filesystem_record(const struct dataset *dataset)
{
	return &dataset->record;
}

const char *filesystem_path(const struct dataset *dataset)
{
	return dataset->path;
}

int filesystems_list(struct datasets *datasets, struct dataset_record **ret_records, size_t *ret_count)
{
	return datasets_list(datasets, DATASET_FILESYSTEM, ret_records, ret_count);
}
