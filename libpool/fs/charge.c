/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Handles for changes that add to somebody's space. They are charged at their worst before they are made; who is refused and might not
 * be after a commit, since then what was charged is known and what was freed is gone, waits for one.
 */
#include "libpool/fs/content.h"

/* The records that the range is going to be in, were it written now. */
static int content_growth(const struct charge_plan *plan, uint64_t txg, uint64_t *ret_cells)
{
	uint64_t block = content_record(plan->node, plan->offset + plan->length), end = plan->offset + plan->length;
	uint64_t first = plan->offset / block, count = (end - 1) / block - first + 1;

	if (content_fits_inside(plan->node, end)) {
		*ret_cells = 0;
		return 0;
	}
	/* A file without blocks: none is there yet, but what lies in the inode goes along. */
	if (block != blob_block_size(plan->node->object)) {
		*ret_cells = (count + 1) * (block / CELL_SIZE);
		return 0;
	}
	int status = blob_growth(plan->node->object, txg, first, count, ret_cells);
	if (status == 0 && plan->node->inode.inline_length && first > 0)
		*ret_cells += block / CELL_SIZE;
	return status;
}

void fs_charged(const struct charge_plan *plan, uint64_t txg)
{
	struct object *object = plan->node->object;
	uint64_t block = blob_block_size(object), first = plan->offset / block, last = (plan->offset + plan->length - 1) / block;

	if (plan->length && filesystem_has_limits(plan->node->fs->dataset))
		blob_charged(object, txg, first, last - first + 1);
}

static int charge_of(struct fs *fs, const struct charge_plan *plan, uint64_t txg, struct space_charge *ret_charge)
{
	uint64_t growth = 0;
	int status = 0;

	if (plan->node && plan->length && filesystem_has_limits(fs->dataset))
		status = content_growth(plan, txg, &growth);
	*ret_charge = (struct space_charge){ .owner = plan->owner, .kinds = plan->moved_kinds ? plan->moved_kinds : OWNER_ALL,
					     .moves = plan->moved_kinds, .cells = plan->cells + growth, .objects = plan->objects };
	return status;
}

/* All of them, or none: what one that is refused was charged before must not make its figures uncertain. */
static int charge_all(struct fs *fs, const struct charge_plan *plan, uint64_t txg, struct space_refusal *refusal)
{
	struct space_charge charge;

	if (!plan)
		return 0;
	int status = charge_of(fs, plan, txg, &charge);
	if (status == 0)
		status = filesystem_charge(fs->dataset, txg, &charge, refusal);
	if (status < 0)
		return status;
	status = charge_all(fs, plan->next, txg, refusal);
	if (status < 0)
		filesystem_uncharge(fs->dataset, txg, &charge);
	return status;
}

int fs_hold_charged(struct fs *fs, uint64_t cells, const struct charge_plan *plan, uint64_t *ret_txg)
{
	struct core_change change = core_change_of(cells);

	return fs_hold_content(fs, &change, plan, ret_txg);
}

int fs_hold_content(struct fs *fs, const struct core_change *change, const struct charge_plan *plan, uint64_t *ret_txg)
{
	for (unsigned tries = 0;; tries++) {
		struct space_refusal refusal = { .refused = false };
		int status = fs_hold_untold(fs, change, ret_txg);

		if (status < 0)
			return status;
		status = charge_all(fs, plan, *ret_txg, &refusal);
		if (status == 0) {
			if (!plan->told)
				filesystem_changed(fs->dataset, *ret_txg);
			return 0;
		}
		bool uncertain = filesystem_is_uncertain(fs->dataset, &refusal);
		core_release(fs->core, *ret_txg);
		if (!uncertain || tries == CHARGE_TRIES)
			return status;
		status = core_commit_forced(fs->core);
		if (status < 0)
			return status;
	}
}
