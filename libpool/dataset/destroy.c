/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Datasets are destroyed in one txg with all that lies in them: from then on their records say so, and content and records are
 * taken apart by the txgs that follow (catalogue.c, filesystem.c).
 */
#include <errno.h>
#include <stdlib.h>

#include "libpool/dataset/internal.h"

/* Those that go, parents and children, each with its open_count raised by one. */
struct tree {
	struct dataset **items;
	size_t count;
};

static size_t count_within(const struct dataset *top)
{
	size_t count = 0;

	list_for_each(node, &top->owner->list)
		count += dataset_is_within(container_of(node, struct dataset, node), top);
	return count;
}

static int tree_take(struct dataset *top, struct tree *ret_tree)
{
	*ret_tree = (struct tree){ calloc(count_within(top), sizeof(struct dataset *)), 0 };
	if (!ret_tree->items)
		return -ENOMEM;
	list_for_each(node, &top->owner->list) {
		struct dataset *dataset = container_of(node, struct dataset, node);
		if (!dataset_is_within(dataset, top))
			continue;
		dataset->open_count++;
		ret_tree->items[ret_tree->count++] = dataset;
	}
	return 0;
}

static void tree_release(struct tree *tree)
{
	for (size_t i = 0; i < tree->count; i++)
		tree->items[i]->open_count--;
	free(tree->items);
}

static int check_unused(struct dataset *top, const struct tree *tree, struct pool_error *error)
{
	const char *pool = core_label(top->owner->core)->name;

	for (size_t i = 0; i < tree->count; i++) {
		const struct dataset *dataset = tree->items[i];

		if (dataset->open_count > 1 || dataset->record.flags & DATASET_DESTROYED)
			return pool_error_set(error, dataset->record.flags & DATASET_DESTROYED ? -ENOENT : -EBUSY, "%s %s/%s is in use: %s",
					      dataset_kind_text(dataset), pool, dataset->path,
					      dataset->record.kind == DATASET_VOLUME ? "close it first" : "unmount it first");
	}
	return 0;
}

/* What is damaged can be destroyed all the same: then what can't be read stays allocated. */
static int prepare(struct dataset *dataset)
{
	int status = dataset_load(dataset);

	dataset->lost = status == -POOL_EDAMAGED || status == -POOL_EFORMAT;
	if (status == 0 || dataset->lost)
		status = dataset_check_record(dataset->owner, dataset->record.id);
	if (status == 0 && dataset->blob && object_check(dataset->blob) == -POOL_EDAMAGED) {
		object_close(dataset->blob);
		dataset->blob = NULL;
		dataset->lost = true;
	}
	return status;
}

static int mark(struct dataset *dataset, uint64_t txg)
{
	int status = dataset->blob ? object_destroy(dataset->blob, txg) : 0;

	if (status < 0)
		return status;
	if (dataset->blob)
		object_close(dataset->blob);
	dataset->blob = NULL;
	dataset_uncount(dataset);
	dataset->record.flags |= DATASET_DESTROYED;
	dataset->record.destroyed_ns = rt_realtime(core_rt(dataset->owner->core));
	dataset_stage(dataset, txg);
	core_changed_unloggable(dataset->owner->core, txg);
	if (dataset->record.kind == DATASET_FILESYSTEM && !dataset->lost)
		filesystem_reap(dataset);
	return 0;
}

/* Backwards, so that nothing is left whose parent is gone if memory ends in between. */
static int mark_all(const struct tree *tree, uint64_t txg)
{
	int status = 0;

	for (size_t done = 0; done < tree->count && status == 0; done++) {
		struct dataset *deepest = NULL;

		for (size_t i = 0; i < tree->count; i++) {
			struct dataset *dataset = tree->items[i];
			if (!(dataset->record.flags & DATASET_DESTROYED) && (!deepest || dataset_is_within(dataset, deepest)))
				deepest = dataset;
		}
		status = mark(deepest, txg);
	}
	return status;
}

int dataset_destroy_check(struct dataset *dataset, bool recursive, struct pool_error *error)
{
	size_t below = count_within(dataset) - 1;

	if (!below || recursive)
		return 0;
	return pool_error_set(error, -EBUSY, "file system %s/%s has %zu dataset%s in it: destroy %s first, or all together (-r)",
			      core_label(dataset->owner->core)->name, dataset->path, below, below == 1 ? "" : "s", below == 1 ? "it" : "them");
}

int dataset_destroy_tree(struct dataset *dataset, bool recursive, struct pool_error *error)
{
	struct datasets *datasets = dataset->owner;
	struct core *core = datasets->core;
	struct tree tree;
	uint64_t txg;
	int status = dataset_destroy_check(dataset, recursive, error);

	if (status < 0)
		return status;
	status = tree_take(dataset, &tree);
	if (status < 0)
		return dataset_failed(datasets, dataset_kind_text(dataset), dataset->path, status, error);
	status = check_unused(dataset, &tree, error);
	if (status < 0) {
		tree_release(&tree);
		return status;
	}
	for (size_t i = 0; i < tree.count && status == 0; i++)
		status = prepare(tree.items[i]);
	if (status == 0)
		status = core_hold(core, 0, &txg);
	if (status == 0) {
		/* Others may have been quicker, or have made something in it. */
		status = check_unused(dataset, &tree, NULL);
		if (status == 0 && count_within(dataset) != tree.count)
			status = -EBUSY;
		if (status == 0)
			status = mark_all(&tree, txg);
		datasets_count_limits(datasets);
		core_release(core, txg);
	}
	if (status < 0)
		dataset_failed(datasets, dataset_kind_text(dataset), dataset->path, status, error);
	tree_release(&tree);
	return status;
}
