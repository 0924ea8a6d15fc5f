/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Log disks: disks for the intent log alone, which join an imported pool and may leave it, or be lost, at any time.
 *
 * What must always hold: everything is checked of all disks before anything is written to one of them; nobody is given a log
 * disk who hasn't named it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libpool/pool/internal.h"
#include "libpool/pool/new_disk.h"

bool disks_is_log(struct engine *engine, unsigned index)
{
	const struct store_disk *disk = store_disk(core_store(engine->core), index);

	return disk->configured && disk->role == ROLE_LOG;
}

static int check_names(struct engine *engine, const struct libpool_disk_add_options *options, struct pool_error *error)
{
	const struct label *label = core_label(engine->core);
	size_t used = 0;

	if (options->role != ROLE_LOG)
		return pool_error_set(error, -EINVAL, "pool %s: only log disks can be added to it (role %u, not %u)", label->name, ROLE_LOG,
				      options->role);
	if (options->disk_count == 0)
		return pool_error_set(error, -EINVAL, "pool %s: no disk is named", label->name);
	for (unsigned i = 0; i < label->disk_count; i++)
		used = label->disks[i].index >= used ? label->disks[i].index + 1u : used;
	if (options->disk_count > DISKS_MAX - used)
		return pool_error_set(error, -ENOSPC, "pool %s has had %zu disks, and may have %u in all", label->name, used, DISKS_MAX);
	for (size_t i = 0; i < options->disk_count; i++) {
		unsigned index;
		if (options->disks[i] && engine_disk_find(engine, options->disks[i], &index, NULL) == 0 &&
		    store_disk(core_store(engine->core), index)->disk)
			return pool_error_set(error, -EINVAL, "pool %s: %s is disk #%u of this pool already: name a disk that isn't",
					      label->name, options->disks[i], index);
	}
	return 0;
}

static int check_sizes(struct engine *engine, const struct new_disk *disks, size_t count, struct pool_error *error)
{
	const struct label *label = core_label(engine->core);

	for (size_t i = 0; i < count; i++) {
		uint64_t size = disks[i].disk->info.size >> 20 << 20;
		uint64_t room = size > 2 * LABEL_AREA_SIZE ? (size - 2 * LABEL_AREA_SIZE) >> label->au_shift : 0;
		if (room < DISK_AUS_MIN)
			return pool_error_set(error, -EINVAL, "disk %s is too small for pool %s: it has room for %llu allocation units of %u "
							      "KiB, %u are needed",
					      disks[i].path, label->name, (unsigned long long)room, 1u << (label->au_shift - 10),
					      DISK_AUS_MIN);
	}
	return 0;
}

/* All of them or none, after a crash too: one alone would have the log without a mirror, and nobody had asked for that. */
static int join(struct engine *engine, struct new_disk *disks, unsigned count, struct pool_error *error)
{
	unsigned *indexes = calloc(count, sizeof(*indexes));
	struct disk **opened = calloc(count, sizeof(struct disk *));
	int result = indexes && opened ? new_disks_wipe(disks, count, error) : pool_error_set(error, -ENOMEM, "no memory");

	for (unsigned i = 0; i < count && result == 0; i++)
		opened[i] = disks[i].disk;
	if (result == 0)
		result = core_disks_add(engine->core, opened, count, ROLE_LOG, indexes, error);
	for (unsigned i = 0; i < count; i++)
		disks_note_joined(engine, &disks[i]);
	if (result == 0)
		paths_note(engine);
	for (unsigned i = 0; i < count && result == 0; i++)
		engine_eventf(engine, 0, "disk.added", disks[i].path, "as disk #%u, for the intent log", indexes[i]);
	if (result == 0 && core_log_disks_use(engine->core) < 0)
		result = pool_error_set(error, -POOL_EHALTED, "pool %s: the commit with its log disks failed", disks_pool_name(engine));
	free(opened);
	free(indexes);
	return result;
}

static int add_locked(struct engine *engine, const struct libpool_disk_add_options *options, struct pool_error *error)
{
	int result = check_names(engine, options, error);

	if (result < 0)
		return result;
	unsigned count = (unsigned)options->disk_count;
	struct new_disk *disks = calloc(count, sizeof(*disks));

	if (!disks)
		return pool_error_set(error, -ENOMEM, "no memory");
	result = new_disks_open(engine->host, core_label(engine->core), options->disks, count, options->force, disks, error);
	if (result < 0) {
		free(disks);
		return result;
	}
	result = check_sizes(engine, disks, count, error);
	if (result == 0 && !options->dry_run)
		result = join(engine, disks, count, error);
	new_disks_close(disks, count);
	free(disks);
	return result;
}

int engine_disk_add(struct engine *engine, const struct libpool_disk_add_options *options, struct pool_error *error)
{
	int result = disks_check_writable_for(engine, options->dry_run, error);

	if (result < 0)
		return result;
	rt_mutex_lock(engine->rt, &engine->disks_lock);
	result = add_locked(engine, options, error);
	rt_mutex_unlock(engine->rt, &engine->disks_lock);
	return result;
}

static int remove_locked(struct engine *engine, const char *text, bool dry_run, struct pool_error *error)
{
	char path[LIBPOOL_PATH_MAX];
	unsigned index;
	int result = engine_disk_find(engine, text, &index, error);

	if (result < 0)
		return result;
	engine_disk_text(engine, index, path, sizeof(path));
	if (!disks_is_log(engine, index))
		return pool_error_set(error, -EINVAL, "pool %s: disk %s holds data: only log disks can be removed", disks_pool_name(engine),
				      path);
	if (dry_run)
		return 0;
	result = core_disk_remove(engine->core, index, error);
	if (result < 0)
		return result;
	engine->overdue_cleared[index] = engine->overdue_before[index] = 0;
	engine_event(engine, 0, "disk.removed", path, "the intent log is elsewhere now: it has left the pool");
	return 0;
}

int engine_disk_remove(struct engine *engine, const char *disk, bool dry_run, struct pool_error *error)
{
	int result = disks_check_writable_for(engine, dry_run, error);

	if (result < 0)
		return result;
	rt_mutex_lock(engine->rt, &engine->disks_lock);
	result = remove_locked(engine, disk, dry_run, error);
	rt_mutex_unlock(engine->rt, &engine->disks_lock);
	return result;
}

/* The process may have died right after the commit that makes a loss final: then the event was in no history yet. */
static bool is_in_history(struct engine *engine, const struct core_log_loss *loss)
{
	struct libpool_event *events;
	size_t count;
	bool found = false;

	if (engine_events(engine, 0, &events, &count) < 0)
		return true; /* what can't be read, or asked for, isn't told twice */
	for (size_t i = 0; i < count; i++)
		found |= strcmp(events[i].kind, "log.lost") == 0 && strcmp(events[i].object, core_label(engine->core)->name) == 0 && events[i].time_ns >= loss->time_ns;
	free(events);
	return found;
}

/* What the import has given up of the log, or an earlier one that nobody has cleared. */
void log_loss_tell(struct engine *engine)
{
	const struct core_log_loss *loss = core_log_loss(engine->core);

	if (loss->count == 0 || (!loss->fresh && is_in_history(engine, loss)))
		return;
	engine_eventf(engine, 2, "log.lost", core_label(engine->core)->name,
		      "what was flushed in txgs %llu and %llu is lost with its log disks, but for %llu blocks of the log that were found",
		      (unsigned long long)loss->first_txg, (unsigned long long)loss->last_txg, (unsigned long long)loss->blocks);
}
