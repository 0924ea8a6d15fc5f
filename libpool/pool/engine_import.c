/*
 * engine_import: finds the pool, locks its disks, brings up core and datasets, and starts what must go on.
 *
 * What must always hold: labels are read again after the lock was taken, so that what is imported is what was
 * locked; a disk of the pool that somebody else holds refuses the import, because the pool may be in use there.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libpool/pool/internal.h"
#include "libpool/pool/search.h"

int engine_spawn(struct engine *engine, const char *name, fiber_function *function, void *argument)
{
	int result = rt_spawn(engine->rt, name, function, argument);

	if (result == 0)
		rt_group_add(&engine->fibers);
	return result;
}

void engine_free(struct engine *engine)
{
	if (!engine)
		return;
	jobs_free(engine);
	array_release(&engine->events);
	array_release(&engine->damage);
	for (unsigned i = 0; i < DISKS_MAX; i++)
		free(engine->paths[i]);
	free(engine);
}

/* ---- disks ---- */

static void found_release(struct core_disk_found *disks, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		disk_close(disks[i].disk);
		free(disks[i].label);
		free(disks[i].path);
	}
	free(disks);
}

static int lock_error(const char *pool, const char *path, int code, const char *cause, struct pool_error *error)
{
	switch (code) {
	case -EBUSY:
		return pool_error_set(error, -POOL_EINUSE, "pool %s is in use: %s; export it there first", pool, cause);
	case -EACCES:
		return pool_error_set(error, code, "pool %s: no permission to write to disk %s; import it read-only, or with more rights",
				      pool, path);
	case -EROFS:
		return pool_error_set(error, code, "pool %s: disk %s is read-only; import the pool read-only", pool, path);
	default:
		return pool_error_set(error, code, "pool %s: disk %s can't be opened: %s", pool, path, pool_error_string(code));
	}
}

/* 1 if it was opened, 0 if it isn't there any more (its label changed, it vanished). */
static int lock_disk(const struct engine_host *host, const struct search_pool *pool, const struct search_disk *candidate,
		     unsigned flags, struct core_disk_found *ret_found, struct pool_error *error)
{
	struct core_disk_found found = {.path = strdup(candidate->path)};
	struct pool_error cause = {0};
	int result = found.path ? host->provider->ops->open(host->provider, host->rt, candidate->path, flags, &found.disk, &cause) : -ENOMEM;

	if (result == -ENOENT || result == -ENXIO || result == -ENODEV || result == -EIO) {
		free(found.path);
		return 0;
	}
	if (result < 0) {
		free(found.path);
		return lock_error(pool->config->name, candidate->path, result, cause.text, error);
	}
	result = core_label_read(found.disk, &found.label);
	if (result == 0 && guid_equal(&found.label->pool, &pool->guid)) {
		*ret_found = found;
		return 1;
	}
	disk_close(found.disk);
	if (result == -POOL_EFEATURE)
		pool_error_set(error, result, "pool %s uses feature %s, which this version doesn't know: use a newer one",
			       pool->config->name, label_unknown_feature(found.label));
	free(found.label);
	free(found.path);
	return result == -POOL_EFEATURE || result == -ENOMEM ? result : 0;
}

static int lock_disks(const struct engine_host *host, const struct search_pool *pool, unsigned flags,
		      struct core_disk_found **ret_disks, unsigned *ret_count, struct pool_error *error)
{
	struct core_disk_found *disks = calloc(pool->disk_count + 1, sizeof(*disks));
	unsigned count = 0;
	int result = disks ? 0 : pool_error_set(error, -ENOMEM, "no memory");

	for (unsigned i = 0; i < pool->disk_count && result >= 0; i++) {
		result = lock_disk(host, pool, pool->disks[i], flags, &disks[count], error);
		if (result > 0)
			count++;
	}
	if (result >= 0 && count == 0)
		result = pool_error_set(error, -ENOENT, "pool %s: none of its disks can be opened", pool->config->name);
	if (result < 0) {
		found_release(disks, count);
		return result;
	}
	*ret_disks = disks;
	*ret_count = count;
	return 0;
}

static int check_pool(const struct search_pool *pool, struct pool_error *error)
{
	const char *name = pool->config->name;

	for (unsigned i = 0; i < pool->disk_count; i++)
		if (pool->disks[i]->status == -POOL_EFEATURE)
			return pool_error_set(error, -POOL_EFEATURE,
					      "pool %s uses feature %s, which this version doesn't know: use a newer one", name,
					      label_unknown_feature(pool->disks[i]->label));
	if (pool->twins[0])
		return pool_error_set(error, -EEXIST, "pool %s: %s and %s both claim to be disk %u of it: remove the copy", name,
				      pool->twins[0]->path, pool->twins[1]->path, pool->twins[0]->label->disk_index);
	return 0;
}

/* Finds the pool and locks its disks. */
static int gather(const struct engine_host *host, const struct libpool_import_options *options, unsigned flags,
		  struct core_disk_found **ret_disks, unsigned *ret_count, bool *ret_destroyed, struct pool_error *error)
{
	const struct search_pool *pool;
	struct search search;
	int result;

	if (!options->name || !options->name[0])
		return pool_error_set(error, -EINVAL, "import: no pool is named");
	result = search_run(host, 0, &search, error);
	if (result < 0)
		return result;
	result = search_pick(&search, options->name, options->destroyed, &pool, error);
	if (result == 0)
		result = check_pool(pool, error);
	if (result == 0)
		result = lock_disks(host, pool, flags | (pool->config->destroyed && ret_destroyed ? DISK_OPEN_READ_ONLY : 0), ret_disks,
				    ret_count, error);
	if (result == 0 && ret_destroyed)
		*ret_destroyed = pool->config->destroyed;
	search_release(&search);
	return result;
}

/* ---- core ---- */

static struct core_options core_options_of(const struct engine_host *host)
{
	struct core_options options = host->core;

	options.rt = host->rt;
	options.provider = host->provider;
	return options;
}

static int import_core(const struct engine_host *host, const struct libpool_import_options *options, struct core **ret_core,
		       struct pool_error *error)
{
	struct core_options core_options = core_options_of(host);
	struct core_import import = {.read_only = options->read_only, .rehearses = options->read_only == 2, .force = options->force, .rewind_txg = options->rewind_txg,
				     .missing_log = options->missing_log,
				     .first = options->no_verify ? NULL : jobs_note_verification};
	struct pool_error local = {0};
	bool destroyed = false;
	int result = gather(host, options, DISK_OPEN_EXCLUSIVE | (options->read_only && options->read_only != 2 ? DISK_OPEN_READ_ONLY : 0), &import.disks,
			    &import.disk_count, &destroyed, error);

	if (result < 0)
		return result;
	import.read_only |= destroyed;
	result = core_import(&core_options, &import, ret_core, &local);
	if (result < 0) {
		found_release(import.disks, import.disk_count);
		return pool_error_set(error, result, "%s", local.text[0] ? local.text : pool_error_string(result));
	}
	free(import.disks);
	return 0;
}

/* ---- the engine ---- */

static int engine_new(const struct engine_host *host, struct core *core, struct engine **ret_engine)
{
	struct engine *engine = calloc(1, sizeof(*engine));

	if (!engine)
		return -ENOMEM;
	engine->host = host;
	engine->rt = host->rt;
	engine->provider = host->provider;
	engine->core = core;
	engine->cache_limit_host = engine->cache_limit = host->core.cache_limit;
	engine->imported_ns = rt_realtime(host->rt);
	array_init(&engine->events, sizeof(struct libpool_event));
	array_init(&engine->damage, sizeof(struct damage_entry));
	rt_group_init(&engine->fibers);
	rt_queue_init(&engine->keeper_wake);
	rt_queue_init(&engine->trim_wake);
	rt_queue_init(&engine->watch_wake);
	rt_mutex_init(&engine->history_lock);
	rt_mutex_init(&engine->disks_lock);
	list_init(&engine->users);
	rt_mutex_init(&engine->volumes_lock);
	*ret_engine = engine;
	return 0;
}

static void tell_import(struct engine *engine)
{
	const char *name = core_label(engine->core)->name;

	engine_eventf(engine, 0, "pool.imported", name, "at txg %llu%s%s", (unsigned long long)core_committed_txg(engine->core),
		      core_read_only(engine->core) ? ", read-only" : "",
		      core_imported_clean(engine->core) ? "" : "; it had not been exported");
	for (unsigned i = 0; i < DISKS_MAX; i++) {
		const struct store_disk *disk = store_disk(core_store(engine->core), i);
		char text[LIBPOOL_PATH_MAX];

		if (!disk->configured || disk->state != DISK_MISSING)
			continue;
		/* News only the first time: otherwise each import of a degraded pool would leave an entry for ever. */
		bool news = disk->stale_from > core_committed_txg(engine->core);

		engine_disk_text(engine, i, text, sizeof(text));
		engine_event(engine, news, "disk.missing", text, news ? "not found at import" : "still not there");
	}
}

/* What is lost of the pool's own records is no reason to refuse an import: it is told, and the rest goes on. */
static void note_lost(struct engine *engine, const char *what, int result)
{
	if (result < 0)
		engine_eventf(engine, 2, "pool.records", core_label(engine->core)->name, "%s can't be read: %s", what,
			      pool_error_string(result));
}

static void note_unreplayed(struct engine *engine)
{
	const struct datasets_lost *lost = datasets_lost(engine->datasets);
	char name[LIBPOOL_NAME_MAX + 1], first[48];

	if (!lost->changes)
		return;
	dataset_name(engine->datasets, lost->dataset, name);
	snprintf(first, sizeof(first), lost->is_file ? "file number %llu" : "byte %llu of this volume",
		 (unsigned long long)(lost->is_file ? lost->object : lost->offset));
	engine_eventf(engine, 2, "log.lost", name, "%llu flushed changes, of %llu bytes, are lost: they lie where it can't be read; the first: %s",
		      (unsigned long long)lost->changes, (unsigned long long)lost->bytes, first);
}

static int bring_up(struct engine *engine, struct pool_error *error)
{
	int result, lost;

	lost = history_load(engine);
	if (lost < 0) /* above whatever is there, all the same */
		engine->sequence = engine->events_stored = rt_realtime(engine->rt);
	else if (engine->sequence == 0)
		history_note_creation(engine);
	events_attach(engine);
	damage_attach(engine);
	note_lost(engine, "the history", lost);
	note_lost(engine, "part of the batch map", core_lacks_batches(engine->core) ? -POOL_EDAMAGED : 0);
	note_lost(engine, "the list of damage", damage_load(engine));
	note_lost(engine, "the paths of disks", paths_load(engine));
	note_lost(engine, "the error counters of disks", counters_load(engine));
	result = datasets_open(engine->core, &engine->datasets, error);
	if (result < 0)
		return result;
	note_unreplayed(engine);
	log_loss_tell(engine);
	result = keeper_start(engine);
	if (result == 0)
		result = disks_watch_start(engine);
	if (result == 0)
		result = jobs_open(engine);
	if (result == 0)
		result = autotrim_start(engine);
	if (result == -ENOMEM)
		return pool_error_set(error, result, "pool %s: no memory", core_label(engine->core)->name);
	note_lost(engine, "the list of jobs", result);
	note_lost(engine, "the properties", property_load(engine));
	space_attach(engine);
	paths_note(engine);
	tell_import(engine);
	return 0;
}

int engine_import(const struct engine_host *host, const struct libpool_import_options *options, struct engine **ret_engine,
		  struct pool_error *error)
{
	struct engine *engine;
	struct core *core;
	int result = import_core(host, options, &core, error);

	if (result < 0)
		return result;
	result = engine_new(host, core, &engine);
	if (result < 0) {
		core_abandon(core);
		return pool_error_set(error, result, "no memory");
	}
	engine->no_verify = options->no_verify;
	engine->rehearses = options->read_only == 2;
	result = bring_up(engine, error);
	if (result < 0) {
		engine_abandon(engine);
		return result;
	}
	*ret_engine = engine;
	return 0;
}

struct core *engine_core(struct engine *engine)
{
	return engine->core;
}

bool engine_rehearses(const struct engine *engine)
{
	return engine->rehearses;
}

struct datasets *engine_datasets(struct engine *engine)
{
	return engine->datasets;
}

/* ---- destroyed and back ---- */

/* Before the export that commits it. A history that can't be written changes nothing. */
static void note_destroyed(const struct engine_host *host, struct core *core, bool destroyed)
{
	struct engine *engine;
	char text[LIBPOOL_NAME_MAX + 20];

	snprintf(text, sizeof(text), "%s %s", destroyed ? "destroy" : "undestroy", core_label(core)->name);
	if (engine_new(host, core, &engine) < 0)
		return;
	if (history_load(engine) == 0)
		(void)engine_history_add(engine, text, NULL);
	engine_free(engine);
}

int engine_set_destroyed(const struct engine_host *host, const char *name, bool destroyed, struct pool_error *error)
{
	struct libpool_import_options options = {.name = name, .destroyed = !destroyed};
	struct core_options core_options = core_options_of(host);
	struct core_import import = {.first = jobs_note_verification};
	struct core *core;
	int result = gather(host, &options, DISK_OPEN_EXCLUSIVE, &import.disks, &import.disk_count, NULL, error);

	if (result < 0)
		return result;
	result = core_import(&core_options, &import, &core, error);
	if (result < 0) {
		found_release(import.disks, import.disk_count);
		return result;
	}
	free(import.disks);
	if (error)
		*error = (struct pool_error){0};
	struct label *label = malloc(sizeof(*label));

	if (label) {
		*label = *core_label(core);
		if (label->destroyed == destroyed && !destroyed)
			result = pool_error_set(error, -EALREADY, "pool %s is not destroyed", label->name);
		label->destroyed = destroyed;
		if (result == 0)
			result = core_label_update(core, label, error);
		if (result == 0)
			note_destroyed(host, core, destroyed);
	} else {
		result = pool_error_set(error, -ENOMEM, "no memory");
	}
	free(label);
	int exported = core_export(core, result < 0 ? NULL : error);

	return result < 0 ? result : exported;
}
