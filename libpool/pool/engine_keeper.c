/*
 * The keeper: a fiber that carries to the MOS what was noted where nobody may wait (events, damage, paths and
 * error counters of disks). Also the one place that writes small records of the MOS.
 *
 * What must always hold: nothing is written unless something changed, so that an idle pool stays idle; a record that
 * can't be stored (no space, halted) is never a reason for anything else to fail.
 */
#include "libpool/pool/internal.h"

/* Things come in groups: wait for the rest of them. */
#define KEEPER_DELAY_NS (50 * NS_PER_MS)

bool engine_is_writable(struct engine *engine)
{
	return !core_read_only(engine->core) && !core_halted(engine->core, NULL);
}

int engine_mos_put(struct engine *engine, unsigned object, const void *key, size_t key_length, const void *value,
		   size_t value_length)
{
	struct object *tree = core_mos_object(engine->core, object);
	uint64_t txg;
	int result = tree_check(tree, key, key_length);

	if (result == 0)
		/* What an administrator sets or starts is little, and may be what a full pool waits for: it comes out of the floors. */
		result = core_hold_own(engine->core, value && object != MOS_PROPERTIES && object != MOS_JOBS ? ENGINE_SMALL_CELLS : 0, &txg);
	if (result < 0)
		return result;
	if (value)
		result = tree_put(tree, txg, key, key_length, value, value_length);
	else
		result = tree_delete(tree, txg, key, key_length);
	core_release(engine->core, txg);
	return result;
}

static void keep(struct engine *engine)
{
	if (!engine_is_writable(engine))
		return;
	paths_store(engine);
	counters_store(engine);
	damage_store(engine);
	events_store(engine);
}

static void keeper(void *argument)
{
	struct engine *engine = argument;

	while (!engine->stopping) {
		if (!engine->keeper_asked)
			rt_queue_wait(engine->rt, &engine->keeper_wake);
		else if (!rt_queue_wait_until(engine->rt, &engine->keeper_wake, rt_now(engine->rt) + KEEPER_DELAY_NS)) {
			engine->keeper_asked = false;
			keep(engine);
		}
	}
	keep(engine);
	rt_group_done(engine->rt, &engine->fibers, 0);
}

void keeper_ask(struct engine *engine)
{
	if (engine->keeper_asked)
		return;
	engine->keeper_asked = true;
	rt_queue_wake_all(engine->rt, &engine->keeper_wake);
}

int keeper_start(struct engine *engine)
{
	int result = rt_spawn(engine->rt, "keeper", keeper, engine);

	if (result == 0)
		rt_group_add(&engine->fibers);
	return result;
}
