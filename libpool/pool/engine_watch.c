/*
 * The watch: a fiber that looks, every few seconds, whether the open disks are still there. A file without a name takes requests
 * as before, and what is on it is gone when the pool is exported: it is no redundancy. Nothing is written unless one is lost.
 *
 * A loss counts when it was seen several times in a row: a device that is scanned anew may have no size for a moment. A disk that the
 * pool can't do without stays in use: as long as it is open all of its content is there to be copied, which a pool that halts would prevent.
 */
#include <stdio.h>

#include "libpool/pool/internal.h"
#include "libpool/pool/jobs.h"

#define WATCH_INTERVAL_NS (5 * NS_PER_S)
#define AGAIN_INTERVAL_NS (1 * NS_PER_S) /* while one seems to be lost */
#define ROUNDS 3u

static const char *loss_text(int code)
{
	switch (code) {
	case -ENOENT:
		return "its file was deleted, or replaced by another one";
	case -ENXIO:
		return "it has become too small";
	case -ENODEV:
		return "the device is gone";
	default:
		return NULL;
	}
}

static void decide(struct engine *engine, unsigned index, const char *lost)
{
	struct watched_disk *watched = &engine->watched[index];
	char text[200];

	if (jobs_replacing(engine, index))
		return; /* it is what the new one is made from */
	if (disks_survive_without(engine, index)) {
		watched->leaving = NULL;
		store_disk_fail(core_store(engine->core), index, lost);
	} else if (!watched->leaving) {
		watched->leaving = lost;
		snprintf(text, sizeof(text), "%s, and the pool can't do without it: replace it, or copy what you need, before the pool is exported", lost);
		engine_event(engine, 2, "disk.leaving", engine_disk_path(engine, index), text);
	}
}

/* Whether it has to be looked at again soon. */
static bool look_at(struct engine *engine, unsigned index)
{
	struct store_disk *slot = store_disk(core_store(engine->core), index);
	struct watched_disk *watched = &engine->watched[index];
	struct disk *disk = slot->disk;

	if (!slot->configured || !disk || (slot->state != DISK_ONLINE && slot->state != DISK_RESYNC)) {
		*watched = (struct watched_disk){0};
		return false;
	}
	struct guid guid = slot->guid;
	const char *lost = loss_text(engine->provider->ops->check(engine->provider, disk, slot->size));

	/* Meanwhile it may have been taken out. */
	if (!lost || slot->disk != disk || !guid_equal(&slot->guid, &guid)) {
		*watched = (struct watched_disk){0};
		return false;
	}
	if (!guid_equal(&watched->guid, &guid))
		*watched = (struct watched_disk){.guid = guid};
	if (watched->rounds < ROUNDS)
		watched->rounds++;
	if (watched->rounds == ROUNDS)
		decide(engine, index, lost);
	return watched->rounds < ROUNDS;
}

const char *disks_leaving(struct engine *engine, unsigned index)
{
	const struct store_disk *slot = store_disk(core_store(engine->core), index);
	const struct watched_disk *watched = &engine->watched[index];

	return slot->configured && slot->disk && guid_equal(&slot->guid, &watched->guid) ? watched->leaving : NULL;
}

const char *disks_lost(struct engine *engine, unsigned index)
{
	const struct store_disk *slot = store_disk(core_store(engine->core), index);

	return engine->provider->ops->check && slot->configured && slot->disk ?
		       loss_text(engine->provider->ops->check(engine->provider, slot->disk, slot->size)) :
		       NULL;
}

static void watch(void *argument)
{
	struct engine *engine = argument;
	uint64_t interval_ns = WATCH_INTERVAL_NS;

	while (!engine->watch_ends) {
		if (rt_queue_wait_until(engine->rt, &engine->watch_wake, rt_now(engine->rt) + interval_ns))
			continue;
		/* One change at a time: nobody opens a disk meanwhile. */
		interval_ns = WATCH_INTERVAL_NS;
		rt_mutex_lock(engine->rt, &engine->disks_lock);
		for (unsigned i = 0; i < DISKS_MAX && !engine->watch_ends; i++)
			if (look_at(engine, i))
				interval_ns = AGAIN_INTERVAL_NS;
		rt_mutex_unlock(engine->rt, &engine->disks_lock);
	}
	rt_group_done(engine->rt, &engine->fibers, 0);
}

int disks_watch_start(struct engine *engine)
{
	return engine->provider->ops->check ? engine_spawn(engine, "watch", watch, engine) : 0;
}
