/*
 * The watch: a fiber that looks, every few seconds, whether the open disks are still there. A file without a name takes requests
 * as before, and what is on it is gone when the pool is exported: it is no redundancy. Nothing is written unless one is lost.
 */
#include "libpool/pool/internal.h"

#define WATCH_INTERVAL_NS (5 * NS_PER_S)

static const char *loss_text(int code)
{
	switch (code) {
	case -ENOENT:
		return "its file was deleted, or replaced by another one";
	case -ENXIO:
		return "it is smaller than it was";
	case -ENODEV:
		return "the device is gone";
	default:
		return NULL;
	}
}

static void look_at(struct engine *engine, unsigned index)
{
	struct store_disk *slot = store_disk(core_store(engine->core), index);
	struct disk *disk = slot->disk;

	if (!slot->configured || !disk || (slot->state != DISK_ONLINE && slot->state != DISK_RESYNC))
		return;
	struct guid guid = slot->guid;
	const char *lost = loss_text(engine->provider->ops->check(engine->provider, disk));

	/* Meanwhile it may have been taken out. */
	if (lost && slot->disk == disk && guid_equal(&slot->guid, &guid))
		store_disk_fail(core_store(engine->core), index, lost);
}

static void watch(void *argument)
{
	struct engine *engine = argument;

	while (!engine->stopping) {
		if (rt_queue_wait_until(engine->rt, &engine->watch_wake, rt_now(engine->rt) + WATCH_INTERVAL_NS))
			continue;
		/* One change at a time: nobody opens a disk meanwhile. */
		rt_mutex_lock(engine->rt, &engine->disks_lock);
		for (unsigned i = 0; i < DISKS_MAX && !engine->stopping; i++)
			look_at(engine, i);
		rt_mutex_unlock(engine->rt, &engine->disks_lock);
	}
	rt_group_done(engine->rt, &engine->fibers, 0);
}

int disks_watch_start(struct engine *engine)
{
	return engine->provider->ops->check ? engine_spawn(engine, "watch", watch, engine) : 0;
}
