/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Quotas and reservations of datasets. A dataset is charged, where it lies, for what it refers to and for what its children are charged
 * for, or for its reservation if that is more; so what is reserved and not used yet counts all the way up, and for the pool. Sums are
 * kept up to date from below, so that looking costs as many steps as the path has.
 *
 * What must always hold: for each dataset with a quota, what it refers to and its children's charges are within it, unless the quota was
 * set lower than that; and charges of all that lie in none are within what the pool can hold.
 */
#include <errno.h>
#include <string.h>

#include "libpool/dataset/internal.h"

static uint64_t cells_of(uint64_t bytes)
{
	return bytes / CELL_SIZE;
}

static uint64_t own_cells(const struct dataset *dataset)
{
	return dataset->synced.referenced_cells + dataset->pending[0] + dataset->pending[1];
}

static uint64_t charge_of(const struct dataset *dataset, uint64_t more)
{
	uint64_t used = own_cells(dataset) + dataset->children_cells + more;
	uint64_t reserved = (dataset->record.reservation + CELL_SIZE - 1) / CELL_SIZE;

	return used > reserved ? used : reserved;
}

/* What it is charged for changes by this much; so does what lies above it. */
static void propagate(struct dataset *dataset, uint64_t charged)
{
	while (dataset->charged_cells != charged) {
		uint64_t before = dataset->charged_cells;
		struct dataset *parent = dataset_parent(dataset);

		dataset->charged_cells = charged;
		if (!parent) {
			dataset->owner->charged_cells += charged - before;
			return;
		}
		parent->children_cells += charged - before;
		dataset = parent;
		charged = charge_of(dataset, 0);
	}
}

/* One that is destroyed counts for nobody: its space comes back as it is taken apart. */
void dataset_count(struct dataset *dataset)
{
	if (!(dataset->record.flags & DATASET_DESTROYED))
		propagate(dataset, charge_of(dataset, 0));
}

void dataset_uncount(struct dataset *dataset)
{
	propagate(dataset, 0);
}

void datasets_count_limits(struct datasets *datasets)
{
	datasets->limits = 0;
	list_for_each(node, &datasets->list) {
		const struct dataset *dataset = container_of(node, struct dataset, node);
		if (!(dataset->record.flags & DATASET_DESTROYED))
			datasets->limits += dataset->record.quota || dataset->record.refquota || dataset->record.reservation;
	}
}

int datasets_limit_begin(struct datasets *datasets)
{
	datasets->limits_coming++;
	return core_commit_forced(datasets->core);
}

void datasets_limit_end(struct datasets *datasets)
{
	datasets->limits_coming--;
}

/* What the pool could hold for datasets: what they have as of the last commit, and what is left. */
static uint64_t pool_cells(struct datasets *datasets)
{
	struct space space;
	uint64_t cells;

	core_space(datasets->core, &space);
	cells = space.writable_cells;
	list_for_each(node, &datasets->list) {
		const struct dataset *dataset = container_of(node, struct dataset, node);
		if (!(dataset->record.flags & DATASET_DESTROYED))
			cells += dataset->synced.referenced_cells;
	}
	return cells;
}

static bool is_changing(const struct dataset *dataset)
{
	return dataset->pending[0] || dataset->pending[1] || dataset->freeing[0] || dataset->freeing[1] ||
	       (dataset->objset && objset_has_pending_kills(dataset->objset));
}

void dataset_count_settling(struct dataset *dataset)
{
	if (is_changing(dataset))
		dataset->owner->settled = core_commits(dataset->owner->core) + SETTLE_COMMITS;
}

bool dataset_is_uncertain(const struct datasets *datasets, const struct dataset *top)
{
	list_for_each(node, &datasets->list) {
		const struct dataset *dataset = container_of(node, struct dataset, node), *at = dataset;
		if (!is_changing(dataset))
			continue;
		while (at && at != top)
			at = dataset_parent(at);
		if (at || !top)
			return true;
	}
	return !top && core_commits(datasets->core) < datasets->settled;
}

static uint64_t used_cells(const struct dataset *dataset)
{
	return own_cells(dataset) + dataset->children_cells;
}

/* Whether `at` and all above have room for so much more in `at`; what a reservation that isn't used yet covers needs none further up. */
static int check_above(struct datasets *datasets, const struct dataset *at, uint64_t more, const struct dataset **ret_refusing)
{
	*ret_refusing = NULL;
	for (; at && more; at = dataset_parent(at)) {
		if (at->record.quota && used_cells(at) + more > cells_of(at->record.quota)) {
			*ret_refusing = at;
			return -EDQUOT;
		}
		more = charge_of(at, more) - at->charged_cells;
	}
	return more && datasets->charged_cells + more > pool_cells(datasets) ? -ENOSPC : 0;
}

int dataset_check_charge(struct dataset *dataset, uint64_t cells, const struct dataset **ret_refusing)
{
	*ret_refusing = NULL;
	if (cells == 0 || !datasets_have_limits(dataset->owner))
		return 0;
	if (dataset->record.refquota && own_cells(dataset) + cells > cells_of(dataset->record.refquota)) {
		*ret_refusing = dataset;
		return -EDQUOT;
	}
	/* At last, beyond what is reserved for it: from what nobody has reserved. */
	return check_above(dataset->owner, dataset, cells, ret_refusing);
}

int dataset_charge(struct dataset *dataset, uint64_t txg, uint64_t cells, const struct dataset **ret_refusing)
{
	int status = dataset_check_charge(dataset, cells, ret_refusing);

	if (status < 0 || cells == 0)
		return status;
	dataset->pending[txg & 1] += cells;
	dataset_count(dataset);
	return 0;
}

void dataset_uncharge(struct dataset *dataset, uint64_t txg, uint64_t cells)
{
	dataset->pending[txg & 1] -= cells;
	dataset_count(dataset);
}

/* As it would be there: what doesn't grow by the move isn't refused, though it were above its limit. */
int dataset_check_place(struct dataset *dataset, struct dataset *above, const struct dataset **ret_refusing)
{
	struct datasets *datasets = dataset->owner;
	uint64_t before[POOL_NAME_MAX / 2 + 2], more = dataset->charged_cells, pool_before = datasets->charged_cells;
	size_t depth = 0;
	int status = 0;

	*ret_refusing = NULL;
	for (const struct dataset *at = above; at; at = dataset_parent(at))
		before[depth++] = used_cells(at);
	dataset_uncount(dataset);
	depth = 0;
	for (const struct dataset *at = above; at && more && !*ret_refusing; at = dataset_parent(at)) {
		uint64_t used = used_cells(at) + more;
		if (at->record.quota && used > cells_of(at->record.quota) && used > before[depth])
			*ret_refusing = at;
		more = charge_of(at, more) - at->charged_cells;
		depth++;
	}
	if (*ret_refusing)
		status = -EDQUOT;
	else if (datasets->charged_cells + more > pool_before && datasets->charged_cells + more > pool_cells(datasets))
		status = -ENOSPC;
	dataset_count(dataset);
	return status;
}

static int check_limit(struct dataset *dataset, enum dataset_limit limit, uint64_t bytes, struct pool_error *error)
{
	struct datasets *datasets = dataset->owner;
	const char *pool = core_label(datasets->core)->name;
	uint64_t quota = limit == LIMIT_QUOTA ? bytes : dataset->record.quota;
	uint64_t reservation = limit == LIMIT_RESERVATION ? bytes : dataset->record.reservation;
	uint64_t before = dataset->charged_cells, used = own_cells(dataset) + dataset->children_cells;
	uint64_t cells = (bytes + CELL_SIZE - 1) / CELL_SIZE;

	if (bytes > INT64_MAX)
		return pool_error_set(error, -EFBIG, "%s/%s: %llu bytes are too many for a limit: at most 2^63", pool, dataset->path,
				      (unsigned long long)bytes);
	if (quota && reservation > quota)
		return pool_error_set(error, -EINVAL, "%s/%s: a reservation of %llu bytes is above its quota of %llu", pool, dataset->path,
				      (unsigned long long)reservation, (unsigned long long)quota);
	if (limit != LIMIT_RESERVATION || cells <= used || cells <= before)
		return 0;
	const struct dataset *refusing;
	int status = check_above(datasets, dataset_parent(dataset), cells - before, &refusing);
	if (refusing)
		return pool_error_set(error, -EDQUOT, "%s/%s: so much can't be reserved: the quota of %s/%s leaves less", pool, dataset->path, pool,
				      refusing->path);
	if (status < 0)
		return pool_error_set(error, -ENOSPC, "%s/%s: so much can't be reserved: the pool has less that nobody has reserved", pool,
				      dataset->path);
	return 0;
}

int dataset_set_limit(struct datasets *datasets, const char *path, enum dataset_limit limit, uint64_t bytes, bool check_only,
		      struct pool_error *error)
{
	struct core *core = datasets->core;
	struct dataset *dataset = dataset_find(datasets, path);
	uint64_t txg;
	int status;

	if (!dataset)
		return pool_error_set(error, -ENOENT, "pool %s has no dataset %s", core_label(core)->name, path);
	if (check_only)
		return check_limit(dataset, limit, bytes, error);
	dataset->open_count++; /* it isn't freed meanwhile */
	status = datasets_limit_begin(datasets);
	if (status == 0)
		status = dataset_check_record(datasets, dataset->record.id);
	if (status == 0)
		status = core_hold(core, RECORD_CELLS, &txg);
	datasets_limit_end(datasets); /* and nothing waits until it is set */
	if (status < 0) {
		dataset->open_count--;
		return dataset_failed(datasets, dataset_kind_text(dataset), path, status, error);
	}
	if (dataset->record.flags & DATASET_DESTROYED)
		status = dataset_failed(datasets, dataset_kind_text(dataset), path, -ENOENT, error);
	else
		status = check_limit(dataset, limit, bytes, error);
	if (status == 0) {
		*(limit == LIMIT_QUOTA ? &dataset->record.quota :
		  limit == LIMIT_REFQUOTA ? &dataset->record.refquota : &dataset->record.reservation) = bytes;
		dataset_stage(dataset, txg);
		dataset_count(dataset);
		datasets_count_limits(datasets);
	}
	core_release(core, txg);
	dataset->open_count--;
	return status;
}

static uint64_t left_of(uint64_t limit, uint64_t used)
{
	return limit > used ? limit - used : 0;
}

void filesystem_space(struct dataset *dataset, struct dataset_space *ret_space)
{
	uint64_t available = UINT64_MAX, inside = 0, pool = pool_cells(dataset->owner);

	for (struct dataset *at = dataset; at; at = dataset_parent(at)) {
		uint64_t used = own_cells(at) + at->children_cells;
		/* `inside`: what it could take of reservations further down before anything is charged here. */
		if (at->record.quota && left_of(cells_of(at->record.quota), used) + inside < available)
			available = left_of(cells_of(at->record.quota), used) + inside;
		inside += at->charged_cells - used;
	}
	uint64_t free_cells = left_of(pool, dataset->owner->charged_cells) + inside;
	available = free_cells < available ? free_cells : available;
	if (dataset->record.refquota && left_of(cells_of(dataset->record.refquota), own_cells(dataset)) < available)
		available = left_of(cells_of(dataset->record.refquota), own_cells(dataset));
	*ret_space = (struct dataset_space){ .referenced_cells = dataset->synced.referenced_cells, .used_cells = dataset->charged_cells,
					     .available_cells = available };
	/* What txgs may add at most isn't there yet. */
	ret_space->used_cells -= dataset->pending[0] + dataset->pending[1] < ret_space->used_cells - dataset->synced.referenced_cells ?
					 dataset->pending[0] + dataset->pending[1] :
					 ret_space->used_cells - dataset->synced.referenced_cells;
}

int dataset_space(struct datasets *datasets, const char *path, struct dataset_space *ret_space)
{
	struct dataset *dataset = dataset_find(datasets, path);

	if (!dataset)
		return -ENOENT;
	filesystem_space(dataset, ret_space);
	return 0;
}
