/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Rows of the intent log that can't be read. Nobody reads them before an import does, and then one of them, unreadable in all
 * copies, may hide the end of the log; so a scrub reads them all.
 */
#include <errno.h>
#include <stdlib.h>

#include "libpool/txg/internal.h"

static uint64_t unreadable(const struct core *core, const struct store_log_copies *copies)
{
	uint64_t count = 0;

	for (unsigned c = 0; c < SYS_COLUMNS_MAX; c++)
		if (copies->copies[c])
			count += bitmap_count(copies->unreadable[c], 1, alloc_geometry(core->alloc)->rows - 1u);
	return count;
}

static bool any_lost(const struct core *core, const struct store_log_copies *copies)
{
	return bitmap_count(copies->lost, 1, alloc_geometry(core->alloc)->rows - 1u) > 0;
}

static bool is_in_use(const struct core *core, uint32_t segment)
{
	const struct intent *intent = &core->intent;

	for (unsigned i = 0; i < intent->segment_count; i++)
		if (intent->segments[i].id == segment)
			return true;
	return false;
}

/* While no group is being written. What a row without any copy may have held is in memory: a commit makes it dispensable. */
static int heal(struct core *core, uint32_t segment, struct store_log_copies *copies, struct core_log_repair *repair)
{
	int status = store_log_read(core->store, segment, copies);

	if (status == 0 && any_lost(core, copies))
		status = core_commit_forced(core);
	/* That commit may have made another log. */
	if (status == 0 && is_in_use(core, segment))
		repair->repaired = store_log_heal(core->store, segment, copies, &repair->unrepaired);
	return status;
}

int core_log_repair(struct core *core, uint32_t segment, struct core_log_repair *ret_repair)
{
	struct intent *intent = &core->intent;
	struct store_log_copies *copies;

	*ret_repair = (struct core_log_repair){ 0 };
	/* One that lacks a disk is given up by the next commit. */
	if (!is_in_use(core, segment) || !store_log_is_whole(core->store, segment))
		return 0;
	copies = malloc(sizeof(*copies));
	int status = copies ? store_log_read(core->store, segment, copies) : -ENOMEM;
	if (status == 0)
		ret_repair->found = unreadable(core, copies);
	if (copies)
		store_log_copies_release(copies);
	while (status == 0 && ret_repair->found && intent->writing)
		rt_queue_wait(core->rt, &intent->ended);
	if (status == 0 && ret_repair->found && is_in_use(core, segment)) {
		intent->writing = true;
		status = heal(core, segment, copies, ret_repair);
		store_log_copies_release(copies);
		intent->writing = false;
		rt_queue_wake_all(core->rt, &intent->ended);
	}
	free(copies);
	return status;
}
