/*
 * Transaction handles: what a writer waits for before it may change anything, and how commits are asked for.
 *
 * A handle pins the open txg. Throttle and space are waited for before it is taken, never while it is held, so
 * sync, which waits for handles, can't be held up by what only sync can give.
 */
#include <errno.h>
#include <string.h>

#include "libpool/base/check.h"
#include "libpool/txg/internal.h"

#define THROTTLE_PERCENT 60
#define CLOSE_PERCENT 20
#define DELAY_NS_MAX (20 * NS_PER_MS)

static uint64_t dirty_total(const struct core *core)
{
	int64_t bytes = core->dirty_bytes[0] + core->dirty_bytes[1];

	return bytes > 0 ? (uint64_t)bytes : 0;
}

void core_dirty(void *argument, uint64_t txg, int64_t bytes)
{
	struct core *core = argument;

	core->dirty_bytes[txg & 1] += bytes;
	if (txg == core->open_txg &&
	    core->dirty_bytes[txg & 1] > (int64_t)(core->options.dirty_limit / 100 * CLOSE_PERCENT))
		rt_queue_wake_all(core->rt, &core->sync_wake);
}

/* Cells that the transaction may need in the worst case: its data, a node or two for each block, tails of rows. */
static uint64_t worst_case(uint64_t cells)
{
	return cells ? 2 * cells + 64 : 0;
}

static int wait_for_space(struct core *core, uint64_t cells)
{
	unsigned commits = 0;

	while (core->reserved_cells[0] + core->reserved_cells[1] + cells > core->space.available_cells) {
		if (core->halted)
			return -POOL_EHALTED;
		/* What commits give back: reservations beyond what was used, then AUs whose two later commits exist. */
		bool reserved = core->reserved_cells[0] + core->reserved_cells[1] > 0;
		if (!reserved && (commits >= RETRY_SPACE_COMMITS || core->space.deferred_aus == 0))
			return -ENOSPC;
		int status = core_commit_forced(core);
		if (status < 0)
			return status;
		if (++commits > 2 * RETRY_SPACE_COMMITS)
			return -ENOSPC;
	}
	return 0;
}

static void wait_for_throttle(struct core *core)
{
	uint64_t limit = core->options.dirty_limit, start = limit / 100 * THROTTLE_PERCENT;

	while (dirty_total(core) >= limit && !core->halted) {
		rt_queue_wake_all(core->rt, &core->sync_wake);
		rt_queue_wait(core->rt, &core->changed);
	}
	uint64_t dirty = dirty_total(core);
	if (dirty > start && limit > start)
		rt_sleep(core->rt, DELAY_NS_MAX * (dirty - start) / (limit - start));
}

int core_hold(struct core *core, uint64_t cells, uint64_t *ret_txg)
{
	POOL_CHECK(rt_may_block(core->rt));
	if (core->read_only)
		return -EROFS;
	if (cells) {
		wait_for_throttle(core);
		int status = wait_for_space(core, worst_case(cells));
		if (status < 0)
			return status;
	}
	while (core->quiescing && !core->halted)
		rt_queue_wait(core->rt, &core->changed);
	if (core->halted || core->stopping)
		return -POOL_EHALTED;
	uint64_t txg = core->open_txg;
	if (!core->touched[txg & 1]) {
		core->touched[txg & 1] = true;
		core->opened_ns = rt_now(core->rt);
		rt_queue_wake_all(core->rt, &core->sync_wake);
	}
	core->handles[txg & 1]++;
	core->reserved_cells[txg & 1] += worst_case(cells);
	*ret_txg = txg;
	return 0;
}

void core_release(struct core *core, uint64_t txg)
{
	POOL_CHECK(core->handles[txg & 1] > 0);
	if (--core->handles[txg & 1] == 0)
		rt_queue_wake_all(core->rt, &core->released);
}

static int wait_committed(struct core *core, uint64_t txg)
{
	while (core->committed_txg < txg) {
		if (core->halted || core->stopped)
			return -POOL_EHALTED;
		rt_queue_wait(core->rt, &core->changed);
	}
	return 0;
}

int core_commit(struct core *core)
{
	if (core->read_only)
		return 0;
	if (core->halted)
		return -POOL_EHALTED;
	uint64_t txg = core->open_txg;
	if (!core->touched[txg & 1]) {
		if (!core->syncing)
			return 0;
		/* All that was released before is in the one under way. */
		return wait_committed(core, core->syncing_txg);
	}
	if (core->wanted_txg < txg)
		core->wanted_txg = txg;
	rt_queue_wake_all(core->rt, &core->sync_wake);
	return wait_committed(core, txg);
}

int core_commit_forced(struct core *core)
{
	if (core->read_only)
		return -EROFS;
	if (core->halted)
		return -POOL_EHALTED;
	uint64_t txg = core->open_txg;
	core->touched[txg & 1] = true;
	if (core->wanted_txg < txg)
		core->wanted_txg = txg;
	rt_queue_wake_all(core->rt, &core->sync_wake);
	return wait_committed(core, txg);
}

void core_states_changed(struct core *core)
{
	if (core->stopping)
		return; /* what isn't done goes on after the next import */
	core->touched[core->open_txg & 1] = true;
	if (core->wanted_txg < core->open_txg)
		core->wanted_txg = core->open_txg;
	rt_queue_wake_all(core->rt, &core->sync_wake);
}

static bool sync_is_due(struct core *core)
{
	unsigned slot = core->open_txg & 1;

	if (!core->touched[slot])
		return false;
	return core->wanted_txg >= core->open_txg || core->stopping ||
	       core->dirty_bytes[slot] > (int64_t)(core->options.dirty_limit / 100 * CLOSE_PERCENT) ||
	       dirty_total(core) >= core->options.dirty_limit ||
	       rt_now(core->rt) >= core->opened_ns + core->options.commit_interval_ns;
}

void core_sync_fiber(void *argument)
{
	struct core *core = argument;

	while (!core->halted) {
		if (sync_is_due(core)) {
			int status = sync_txg(core, core->open_txg);
			if (status < 0)
				core_halt(core, "a commit failed");
			rt_queue_wake_all(core->rt, &core->changed);
			continue;
		}
		if (core->stopping)
			break;
		if (core->touched[core->open_txg & 1])
			(void)rt_queue_wait_until(core->rt, &core->sync_wake,
						  core->opened_ns + core->options.commit_interval_ns);
		else
			rt_queue_wait(core->rt, &core->sync_wake);
	}
	core->stopped = true;
	rt_queue_wake_all(core->rt, &core->changed);
}
