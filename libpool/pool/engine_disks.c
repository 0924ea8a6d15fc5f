/*
 * Disks that are taken away for a while, and come back. Replacing: engine_replace.c.
 *
 * What must always hold: no change leaves a row with fewer than k good columns; a disk that was away comes back as
 * RESYNC, with everything that it may have missed counted as absent, and one that was used in another history as if
 * it were blank; one change at a time (disks_lock).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libpool/pool/internal.h"
#include "libpool/pool/search.h"

const char *disks_pool_name(struct engine *engine)
{
	return core_label(engine->core)->name;
}

int disks_check_writable(struct engine *engine, struct pool_error *error)
{
	const char *why = "";

	if (core_read_only(engine->core))
		return pool_error_set(error, -EROFS, "pool %s is imported read-only: its disks can't be changed", disks_pool_name(engine));
	if (core_halted(engine->core, &why))
		return pool_error_set(error, -POOL_EHALTED, "pool %s is halted: %s", disks_pool_name(engine), why);
	return 0;
}

/* ---- offline ---- */

bool disks_is_good(struct engine *engine, unsigned index)
{
	const struct store_disk *disk = store_disk(core_store(engine->core), index);

	return disk->configured && disk->disk && disk->state == DISK_ONLINE;
}

/* Segments that have a row without its k columns once `index` is gone; STALE records count for their whole column. */
bool disks_survive_without(struct engine *engine, unsigned index)
{
	struct alloc *alloc = core_alloc(engine->core);
	size_t stale_count;
	const struct stale_record *stale = alloc_stale(alloc, &stale_count);

	for (uint32_t id = 0; id < alloc_segment_count(alloc); id++) {
		const struct segment *segment = alloc_segment(alloc, id);
		unsigned bad = 0;
		uint32_t counted = 0;

		if (!segment || alloc_segment_is_free(segment) || segment->record.state == SEGMENT_NONE)
			continue;
		/* Before a log disk goes, a commit puts the log elsewhere. */
		if (segment->record.state == SEGMENT_LOG && store_log_is_on_log_disks(core_store(engine->core), id))
			continue;
		for (unsigned column = 0; column < (unsigned)segment->record.k + segment->record.m; column++) {
			unsigned disk = segment->record.columns[column].disk;

			if (disk == DISK_ABSENT || disk == index || !disks_is_good(engine, disk))
				counted |= 1u << column;
		}
		for (size_t i = 0; i < stale_count; i++)
			if (stale[i].segment == id)
				counted |= 1u << stale[i].column;
		bad = (unsigned)__builtin_popcount(counted);
		if (bad > segment->record.m)
			return false;
	}
	return true;
}

static int take_offline(struct engine *engine, unsigned index, struct pool_error *error)
{
	struct store *store = core_store(engine->core);
	struct store_disk *disk = store_disk(store, index);
	int result = 0;

	/* No uberblock names a log on a disk that it lists as OFFLINE. */
	if (disks_is_log(engine, index)) {
		alloc_disk_set_usable(core_alloc(engine->core), index, false);
		result = core_commit_forced(engine->core);
	}
	if (result < 0)
		return pool_error_set(error, result, "pool %s: the commit without disk #%u failed: %s", disks_pool_name(engine), index,
				      pool_error_string(result));
	disk->state = DISK_OFFLINE;
	/* stale_from, no new segments, open ones with a column there are closed. */
	store_disk_fail(store, index, "taken offline");
	result = core_commit_forced(engine->core);
	if (result < 0)
		return pool_error_set(error, result, "pool %s: the commit without disk #%u failed: %s", disks_pool_name(engine), index,
				      pool_error_string(result));
	engine->overdue_before[index] = counters_overdue(engine, index);
	disk_close(disk->disk);
	disk->disk = NULL;
	return 0;
}

static int offline_locked(struct engine *engine, const char *text, bool dry_run, struct pool_error *error)
{
	char path[LIBPOOL_PATH_MAX];
	unsigned index;
	int result = engine_disk_find(engine, text, &index, error);

	if (result < 0)
		return result;
	const struct store_disk *disk = store_disk(core_store(engine->core), index);

	engine_disk_text(engine, index, path, sizeof(path));
	if (!disk->disk || disk->state == DISK_OFFLINE)
		return pool_error_set(error, -EALREADY, "pool %s: disk %s is not online", disks_pool_name(engine), path);
	if (jobs_replacing(engine, index))
		return pool_error_set(error, -EBUSY, "pool %s: disk %s is being replaced: wait until that is done", disks_pool_name(engine),
				      path);
	if (!disks_survive_without(engine, index))
		return pool_error_set(error, -POOL_EDEGRADED,
				      "pool %s: without disk %s some of its data could not be read: bring other disks back first",
				      disks_pool_name(engine), path);
	if (dry_run)
		return 0;
	jobs_cancel_resync(engine, index);
	result = take_offline(engine, index, error);
	if (result == 0)
		engine_event(engine, 1, "disk.offline", path, "taken offline by an administrator");
	return result;
}

int disks_check_writable_for(struct engine *engine, bool dry_run, struct pool_error *error)
{
	return dry_run && core_read_only(engine->core) ? 0 : disks_check_writable(engine, error);
}

int engine_disk_offline(struct engine *engine, const char *disk, bool dry_run, struct pool_error *error)
{
	int result = disks_check_writable_for(engine, dry_run, error);

	if (result < 0)
		return result;
	rt_mutex_lock(engine->rt, &engine->disks_lock);
	result = offline_locked(engine, disk, dry_run, error);
	rt_mutex_unlock(engine->rt, &engine->disks_lock);
	return result;
}

/* ---- online ---- */

struct returning {
	unsigned index;
	char path[LIBPOOL_PATH_MAX];
	struct disk *disk;
	struct label *label;
	uint64_t newest_txg; /* its own; 0: none, or of another history */
};

/* Whether (epoch, txg) lies in the history that ends with `newest`. */
static bool in_history(const struct uberblock *newest, uint64_t epoch, uint64_t txg)
{
	if (epoch == newest->epoch)
		return txg <= newest->txg;
	for (unsigned i = 0; i < newest->history_count; i++)
		if (newest->history[i].epoch == epoch)
			return i == 0 ? txg <= newest->txg : txg < newest->history[i - 1].first_txg;
	return false;
}

/* The newest uberblock of the disks that stayed. */
static int pool_uberblock(struct engine *engine, struct uberblock *ret_newest)
{
	struct label *label = malloc(sizeof(*label));
	int result = label ? -ENOENT : -ENOMEM;

	for (unsigned i = 0; i < DISKS_MAX && label && result < 0; i++) {
		struct store_disk *disk = store_disk(core_store(engine->core), i);

		if (!disks_is_good(engine, i))
			continue;
		*label = *core_label(engine->core);
		label->disk = disk->guid;
		label->disk_index = (uint16_t)i;
		result = core_uberblock_newest(disk->disk, label, ret_newest);
	}
	free(label);
	return result;
}

static int read_newest(struct engine *engine, struct returning *returning, struct pool_error *error)
{
	struct uberblock *own = malloc(sizeof(*own)), *newest = malloc(sizeof(*newest));
	int result = own && newest ? pool_uberblock(engine, newest) : -ENOMEM;

	if (result == 0) {
		int status = core_uberblock_newest(returning->disk, returning->label, own);

		if (status == 0 && in_history(newest, own->epoch, own->txg))
			returning->newest_txg = own->txg;
	}
	free(own);
	free(newest);
	if (result < 0)
		return pool_error_set(error, result, "pool %s: its uberblocks can't be read: %s", disks_pool_name(engine),
				      pool_error_string(result));
	return 0;
}

static int open_returning(struct engine *engine, struct returning *returning, unsigned flags, struct pool_error *error)
{
	const struct store_disk *slot = store_disk(core_store(engine->core), returning->index);
	int result = engine->provider->ops->open(engine->provider, engine->rt, returning->path, flags, &returning->disk, error);

	if (result < 0)
		return result;
	result = core_label_read(returning->disk, &returning->label);
	if (result == -ENOENT || result == -POOL_EFORMAT)
		return pool_error_set(error, result, "pool %s: %s carries no label of this pool: replace the disk instead",
				      disks_pool_name(engine), returning->path);
	if (result < 0)
		return pool_error_set(error, result, "pool %s: reading %s: %s", disks_pool_name(engine), returning->path,
				      pool_error_string(result));
	if (!guid_equal(&returning->label->pool, &core_label(engine->core)->pool) ||
	    !guid_equal(&returning->label->disk, &slot->guid))
		return pool_error_set(error, -POOL_EFOREIGN, "pool %s: %s is disk #%u of pool %s, not disk #%u", disks_pool_name(engine),
				      returning->path, returning->label->disk_index, returning->label->name, returning->index);
	if (returning->disk->info.size < slot->size)
		return pool_error_set(error, -ENXIO, "pool %s: %s has shrunk from %llu to %llu bytes", disks_pool_name(engine),
				      returning->path, (unsigned long long)slot->size,
				      (unsigned long long)returning->disk->info.size);
	return read_newest(engine, returning, error);
}

/*
 * Whether the disk is where it was last, which may be in no folder that is searched. *ret_unlabelled: something is there, and it carries no label
 * at all any more.
 */
static bool is_at_last_path(struct engine *engine, unsigned index, bool *ret_unlabelled)
{
	const char *path = engine_disk_path(engine, index);
	struct label *label = NULL;
	struct disk *disk;

	*ret_unlabelled = false;
	if (!path[0] || engine->provider->ops->open(engine->provider, engine->rt, path, DISK_OPEN_READ_ONLY, &disk, NULL) < 0)
		return false;
	int status = core_label_read(disk, &label);
	bool result = status == 0 && guid_equal(&label->disk, &store_disk(core_store(engine->core), index)->guid);

	*ret_unlabelled = status == -ENOENT || status == -POOL_EFORMAT;
	free(label);
	disk_close(disk);
	return result;
}

/* Where the disk is: as given, where it was, or wherever a label says so. */
static int locate(struct engine *engine, const char *path, struct returning *returning, struct pool_error *error)
{
	const struct guid *guid = &store_disk(core_store(engine->core), returning->index)->guid;
	struct search search;
	char text[LIBPOOL_PATH_MAX];
	bool unlabelled = false;
	int result;

	if (path && strlen(path) >= sizeof(returning->path))
		return pool_error_set(error, -ENAMETOOLONG, "the path of the disk is too long");
	if ((path && path[0]) || is_at_last_path(engine, returning->index, &unlabelled)) {
		snprintf(returning->path, sizeof(returning->path), "%s",
			 path && path[0] ? path : engine_disk_path(engine, returning->index));
		return 0;
	}
	result = search_run(engine->host, 0, &search, error);
	if (result < 0)
		return result;
	result = -ENOENT;
	for (size_t i = 0; i < search.disk_count && result < 0; i++)
		if (search.disks[i].label && guid_equal(&search.disks[i].label->disk, guid)) {
			snprintf(returning->path, sizeof(returning->path), "%s", search.disks[i].path);
			result = 0;
		}
	search_release(&search);
	if (result < 0) {
		engine_disk_text(engine, returning->index, text, sizeof(text));
		if (unlabelled)
			return pool_error_set(error, result,
					      "pool %s: what is now at %s, where disk #%u was, carries no label: if that is the disk it was "
					      "erased, so replace it; if the disk is elsewhere name its path",
					      disks_pool_name(engine), engine_disk_path(engine, returning->index), returning->index);
		return pool_error_set(error, result, "pool %s: disk %s was not found: name its path", disks_pool_name(engine), text);
	}
	return 0;
}

/* The disk is part of the pool again; what it missed is absent until the resync is through. */
static int attach(struct engine *engine, struct returning *returning, struct pool_error *error)
{
	struct store_disk *disk = store_disk(core_store(engine->core), returning->index);
	uint64_t missing_from = returning->newest_txg + 1; /* 1 for a diverged one: everything */
	struct label *label = malloc(sizeof(*label));
	int result;

	if (!label)
		return pool_error_set(error, -ENOMEM, "no memory");
	*label = *core_label(engine->core);
	disk->disk = returning->disk;
	disk->label_first |= returning->label->spoilt_copy;
	returning->disk = NULL;
	snprintf(disk->path, sizeof(disk->path), "%s", returning->path);
	if (!disk->stale_from || missing_from < disk->stale_from)
		disk->stale_from = missing_from;
	bool log = disks_is_log(engine, returning->index);
	result = log ? 0 : core_disk_returns(engine->core, returning->index);
	if (result < 0) {
		disk_close(disk->disk);
		disk->disk = NULL;
		free(label);
		return pool_error_set(error, result, "pool %s: disk %s can't be written: %s", disks_pool_name(engine), returning->path,
				      pool_error_string(result));
	}
	disk->state = log ? DISK_ONLINE : DISK_RESYNC;
	disk->stale_from = log ? 0 : disk->stale_from;
	disk->consecutive_errors = 0;
	disk->unflushed_txg = 0;
	disk->state_dirty = true;
	engine->overdue_cleared[returning->index] = 0;
	result = core_label_update(engine->core, label, error);
	free(label);
	if (result == 0 && log)
		alloc_disk_set_usable(core_alloc(engine->core), returning->index, disk->state == DISK_ONLINE);
	if (result == 0)
		result = core_commit_forced(engine->core);
	if (result < 0)
		return pool_error_set(error, result, "pool %s: the commit with disk %s failed: %s", disks_pool_name(engine),
				      returning->path, pool_error_string(result));
	paths_note(engine);
	return 0;
}

static int online_locked(struct engine *engine, const char *text, const char *path, bool dry_run, struct pool_error *error)
{
	struct returning returning = {0};
	int result = engine_disk_find(engine, text, &returning.index, error);

	if (result < 0)
		return result;
	struct store_disk *disk = store_disk(core_store(engine->core), returning.index);

	if (disk->disk && (disk->state == DISK_ONLINE || disk->state == DISK_RESYNC))
		return pool_error_set(error, -EALREADY, "pool %s: disk %s is online already", disks_pool_name(engine), text);
	result = locate(engine, path, &returning, error);
	if (result < 0)
		return result;
	/* A faulty disk that is still open: anew, so that no write that was given up is outstanding. */
	bool was_open = disk->disk && !dry_run;
	if (!dry_run) {
		disk_close(disk->disk);
		disk->disk = NULL;
	}
	result = open_returning(engine, &returning, disk->disk ? 0 : DISK_OPEN_EXCLUSIVE, error);
	if (result == -EBUSY && was_open)
		result = pool_error_set(error, -EBUSY, "pool %s: %s has not ended the requests from before it failed: try again later",
					disks_pool_name(engine), returning.path);
	if (result == 0 && !dry_run)
		result = attach(engine, &returning, error);
	disk_close(returning.disk);
	free(returning.label);
	if (result < 0 || dry_run)
		return result;
	if (disks_is_log(engine, returning.index)) {
		engine_event(engine, 0, "disk.online", returning.path, "back, for the intent log");
		return 0;
	}
	engine_event(engine, 0, "disk.online", returning.path, "back; it is being brought up to date");
	return jobs_resync(engine, returning.index, error);
}

int engine_disk_online(struct engine *engine, const char *disk, const char *path, bool dry_run, struct pool_error *error)
{
	int result = disks_check_writable_for(engine, dry_run, error);

	if (result < 0)
		return result;
	rt_mutex_lock(engine->rt, &engine->disks_lock);
	result = online_locked(engine, disk, path, dry_run, error);
	rt_mutex_unlock(engine->rt, &engine->disks_lock);
	return result;
}
