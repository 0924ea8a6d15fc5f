/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The tree of datasets. On disk each knows its parent and its own name, so that what is renamed or moved is one record, whatever
 * lies in it; paths are made in RAM.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "libpool/dataset/internal.h"

struct dataset *dataset_find_id(struct datasets *datasets, uint32_t id)
{
	list_for_each(node, &datasets->list) {
		struct dataset *dataset = container_of(node, struct dataset, node);
		if (dataset->record.id == id)
			return dataset;
	}
	return NULL;
}

struct dataset *dataset_parent(const struct dataset *dataset)
{
	return dataset->record.parent ? dataset_find_id(dataset->owner, dataset->record.parent) : NULL;
}

const char *dataset_kind_text(const struct dataset *dataset)
{
	return dataset->record.kind == DATASET_VOLUME ? "volume" : "file system";
}

bool dataset_is_within(const struct dataset *dataset, const struct dataset *above)
{
	return !(dataset->record.flags & DATASET_DESTROYED) && dataset_path_within(dataset->path, above->path);
}

/* The path of what lies `depth` below it is being made: none is longer than a path has bytes. */
static int make_path(struct datasets *datasets, struct dataset *dataset, unsigned depth)
{
	struct dataset *parent = dataset->record.parent ? dataset_find_id(datasets, dataset->record.parent) : NULL;
	int status = 0, length;

	if (dataset->path[0])
		return 0;
	if (dataset->record.flags & DATASET_DESTROYED)
		parent = NULL;
	else if (dataset->record.parent && (!parent || parent->record.flags & DATASET_DESTROYED || parent->record.kind != DATASET_FILESYSTEM))
		return -POOL_EFORMAT;
	if (parent)
		status = depth < POOL_NAME_MAX ? make_path(datasets, parent, depth + 1) : -POOL_EFORMAT;
	if (status < 0)
		return status;
	length = snprintf(dataset->path, sizeof(dataset->path), "%s%s%s", parent ? parent->path : "", parent ? "/" : "", dataset->record.name);
	return (size_t)length < sizeof(dataset->path) ? 0 : -POOL_EFORMAT;
}

int datasets_make_paths(struct datasets *datasets)
{
	int status = 0;

	list_for_each(node, &datasets->list) {
		if (status == 0)
			status = make_path(datasets, container_of(node, struct dataset, node), 0);
	}
	return status;
}

int dataset_place_find(struct datasets *datasets, const char *what, const char *path, uint32_t *ret_parent, const char **ret_name,
		       struct pool_error *error)
{
	const char *pool = core_label(datasets->core)->name, *slash;
	char above[POOL_NAME_MAX + 1];
	struct dataset *parent;
	int status = dataset_path_check(what, path, error);

	if (status < 0)
		return status;
	if (dataset_find(datasets, path))
		return pool_error_set(error, -EEXIST, "%s %s/%s exists already", dataset_kind_text(dataset_find(datasets, path)), pool, path);
	slash = strrchr(path, '/');
	if (!slash) {
		*ret_parent = 0;
		*ret_name = path;
		return 0;
	}
	snprintf(above, sizeof(above), "%.*s", (int)(slash - path), path);
	parent = dataset_find(datasets, above);
	if (!parent)
		return pool_error_set(error, -ENOENT, "there is no file system %s/%s for %s to lie in: create it first", pool, above, slash + 1);
	if (parent->record.kind != DATASET_FILESYSTEM)
		return pool_error_set(error, -ENOTDIR, "%s/%s is a volume: nothing can lie in it", pool, above);
	*ret_parent = parent->record.id;
	*ret_name = slash + 1;
	return 0;
}

static int rename_check(struct datasets *datasets, const char *from, const char *to, struct dataset **ret_dataset, uint32_t *ret_parent,
			const char **ret_name, struct pool_error *error)
{
	const char *pool = core_label(datasets->core)->name;
	struct dataset *dataset = dataset_find(datasets, from);
	size_t longest = 0;
	int status;

	if (!dataset)
		return pool_error_set(error, -ENOENT, "pool %s has no dataset %s", pool, from);
	if (strcmp(from, to) != 0 && dataset_path_within(to, from))
		return pool_error_set(error, -EINVAL, "%s/%s can't be moved into itself", pool, from);
	status = dataset_place_find(datasets, dataset_kind_text(dataset), to, ret_parent, ret_name, error);
	if (status < 0)
		return status;
	list_for_each(node, &datasets->list) {
		const struct dataset *other = container_of(node, struct dataset, node);
		if (dataset_is_within(other, dataset) && strlen(other->path) - strlen(from) > longest)
			longest = strlen(other->path) - strlen(from);
	}
	if (strlen(to) + longest > POOL_NAME_MAX)
		return pool_error_set(error, -ENAMETOOLONG, "what lies in %s/%s would get a path of %zu bytes: at most %u are possible", pool, from,
				      strlen(to) + longest, POOL_NAME_MAX);
	*ret_dataset = dataset;
	return 0;
}

/* *ret_uncertain: a commit may make it possible. */
static int check_room(struct dataset *dataset, uint32_t parent, bool *ret_uncertain, struct pool_error *error)
{
	const char *pool = core_label(dataset->owner->core)->name;
	const struct dataset *refusing;
	int status = parent == dataset->record.parent ? 0 : dataset_check_place(dataset, dataset_find_id(dataset->owner, parent), &refusing);

	*ret_uncertain = status < 0 && (dataset_is_uncertain(dataset->owner, refusing) || dataset_is_uncertain(dataset->owner, dataset));
	if (status == -EDQUOT)
		return pool_error_set(error, status, "%s/%s can't be moved there: the quota of %s/%s leaves less room than it takes", pool, dataset->path,
				      pool, refusing->path);
	if (status < 0)
		return pool_error_set(error, status, "%s/%s can't be moved there: the pool has less that nobody has reserved", pool, dataset->path);
	return 0;
}

/* `to` was checked; it may be longer than `from`. */
static void move_paths(struct dataset *dataset, const char *to)
{
	char from[POOL_NAME_MAX + 1], path[2 * POOL_NAME_MAX + 2];

	memcpy(from, dataset->path, sizeof(from));
	list_for_each(node, &dataset->owner->list) {
		struct dataset *other = container_of(node, struct dataset, node);
		if (other->record.flags & DATASET_DESTROYED || !dataset_path_within(other->path, from))
			continue;
		snprintf(path, sizeof(path), "%s%s", to, other->path + strlen(from));
		memcpy(other->path, path, sizeof(other->path));
		other->path[POOL_NAME_MAX] = 0;
	}
}

int dataset_check_rename(struct datasets *datasets, const char *from, const char *to, struct pool_error *error)
{
	struct dataset *dataset;
	uint32_t parent;
	const char *name;
	bool uncertain;
	int status = rename_check(datasets, from, to, &dataset, &parent, &name, error);

	return status < 0 ? status : check_room(dataset, parent, &uncertain, error);
}

static int try_rename(struct datasets *datasets, const char *from, const char *to, bool *ret_uncertain, struct pool_error *error)
{
	struct core *core = datasets->core;
	struct dataset *dataset;
	const char *name;
	uint32_t parent;
	uint64_t txg;
	int status = rename_check(datasets, from, to, &dataset, &parent, &name, error);

	*ret_uncertain = false;
	if (status < 0)
		return status;
	status = dataset_check_record(datasets, dataset->record.id);
	if (status == 0)
		status = core_hold(core, RECORD_CELLS, &txg);
	if (status < 0)
		return dataset_failed(datasets, "dataset", from, status, error);
	/* While this one waited others may have been renamed, made or destroyed. */
	status = rename_check(datasets, from, to, &dataset, &parent, &name, error);
	if (status == 0)
		status = check_room(dataset, parent, ret_uncertain, error);
	if (status == 0) {
		dataset_uncount(dataset);
		dataset->record.parent = parent;
		memset(dataset->record.name, 0, sizeof(dataset->record.name));
		snprintf(dataset->record.name, sizeof(dataset->record.name), "%s", name);
		move_paths(dataset, to);
		dataset_count(dataset);
		datasets_settle(datasets);
		dataset_stage(dataset, txg);
		core_changed_unloggable(core, txg);
	}
	core_release(core, txg);
	return status;
}

int dataset_rename(struct datasets *datasets, const char *from, const char *to, struct pool_error *error)
{
	for (unsigned tries = 0;; tries++) {
		bool uncertain;
		int status = try_rename(datasets, from, to, &uncertain, error);

		if (!uncertain || tries == CHARGE_TRIES)
			return status;
		status = core_commit_forced(datasets->core);
		if (status < 0)
			return dataset_failed(datasets, "dataset", from, status, error);
	}
}
