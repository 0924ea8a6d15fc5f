/*
 * See every_txg.h. At the end of a commit, before anything else runs, the txg that is open then is pinned as by a transaction: so nothing is
 * committed until a fiber has looked at this one.
 */
#include "tests/sim/every_txg.h"

#include <inttypes.h>
#include <stdlib.h>

#include "libpool/txg/internal.h"
#include "scrub/verify.h"

static struct {
	bool running, ends;
	uint64_t pinned; /* 0: none */
	struct rt_queue wake;
	void (*watcher)(void *argument); /* who was told of commits before */
	void *watcher_argument;
} every;

static void committed(void *argument)
{
	struct core *core = argument;

	if (every.watcher)
		every.watcher(every.watcher_argument);
	if (every.ends)
		return;
	every.pinned = core->open_txg;
	core->handles[core->open_txg & 1]++;
	rt_queue_wake_all(core->rt, &every.wake);
}

static void unpin(struct core *core)
{
	uint64_t txg = every.pinned;

	every.pinned = 0;
	core_release(core, txg);
}

static void look(struct world *world)
{
	struct verify_result *result = sim_allocate(sizeof(*result));
	int status = verify_pool_held(world->core, world->datasets, VERIFY_REACHABLE, result);

	if (status == 0 && result->violations)
		world_fail(world, "after txg %" PRIu64 ": %" PRIu64 " violations: %s", core_committed_txg(world->core), result->violations, result->first);
	if (status < 0 && status != -POOL_EHALTED && status != -POOL_EDEGRADED)
		world_fail(world, "verify after txg %" PRIu64 ": %s", core_committed_txg(world->core), pool_error_string(status));
	world->statistics.txgs_verified += status == 0;
	free(result);
}

static void look_fiber(void *argument)
{
	struct world *world = argument;

	while (!every.ends || every.pinned) {
		if (!every.pinned) {
			rt_queue_wait(world->rt, &every.wake);
			continue;
		}
		look(world);
		unpin(world->core);
	}
	every.running = false;
	rt_queue_wake_all(world->rt, &every.wake);
}

void every_txg_start(struct world *world)
{
	every.running = false;
	if (!world->plan.verifies_every_txg)
		return;
	every.running = true;
	every.ends = false;
	every.pinned = 0;
	rt_queue_init(&every.wake);
	every.watcher = world->core->watcher;
	every.watcher_argument = world->core->watcher_argument;
	core_set_watcher(world->core, committed, world->core);
	if (rt_spawn(world->rt, "every txg", look_fiber, world))
		world_fail(world, "no memory for a fiber");
}

void every_txg_stop(struct world *world)
{
	if (!every.running)
		return;
	every.ends = true;
	core_set_watcher(world->core, every.watcher, every.watcher_argument);
	rt_queue_wake_all(world->rt, &every.wake);
	while (every.running)
		rt_queue_wait(world->rt, &every.wake);
}
