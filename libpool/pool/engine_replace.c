/*
 * Replacing a disk: the new one joins the pool, every column of the old one moves, then the old one leaves.
 *
 * What must always hold: everything is checked before anything is written to the new disk; from then on the rebuild's
 * record says what is left to do, over crashes and imports.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libpool/pool/internal.h"
#include "libpool/pool/new_disk.h"

/* A member of the pool other than the old disk. */
static bool is_other_member(struct engine *engine, const char *path, unsigned old, unsigned *ret_index)
{
	unsigned index;

	if (engine_disk_find(engine, path, &index, NULL) < 0 || index == old || !disks_is_good(engine, index))
		return false;
	*ret_index = index;
	return true;
}

static int check_room(struct engine *engine, unsigned old, const struct new_disk *new, struct pool_error *error)
{
	const struct label *label = core_label(engine->core);
	struct alloc *alloc = core_alloc(engine->core);
	const struct alloc_disk *from = alloc_disk(alloc, old);
	uint64_t size = new->disk->info.size >> 20 << 20;
	uint64_t room = size > 2 * LABEL_AREA_SIZE ? (size - 2 * LABEL_AREA_SIZE) >> label->au_shift : 0, elsewhere = 0;
	uint64_t needed = from ? from->au_count - from->au_free : 0;
	unsigned others = 0;

	for (unsigned i = 0; i < DISKS_MAX; i++) {
		const struct alloc_disk *other = alloc_disk(alloc, i);

		if (i == old || !other || !other->usable || other->log)
			continue;
		others++;
		elsewhere += other->au_free;
	}
	/* Columns of one segment lie on distinct disks: with just enough disks, only the new one can take them. */
	if (others < (unsigned)label->k + label->m)
		elsewhere = 0;
	if (room < DISK_AUS_MIN)
		return pool_error_set(error, -EINVAL, "disk %s is too small for pool %s: it has room for %llu allocation units of %u KiB, "
						      "%u are needed",
				      new->path, label->name, (unsigned long long)room, 1u << (label->au_shift - 10), DISK_AUS_MIN);
	if (room + elsewhere < needed)
		return pool_error_set(error, -ENOSPC,
				      "disk %s is too small: %llu MiB are to be moved, it has room for %llu MiB; use a larger one, or free "
				      "space",
				      new->path, (unsigned long long)((needed << label->au_shift) >> 20),
				      (unsigned long long)((room << label->au_shift) >> 20));
	if (!alloc_table_fits(alloc, old, room))
		return pool_error_set(error, -ENOSPC,
				      "disk %s is too small: pool %s has a table of %u segments from when its disks were larger; use a "
				      "larger one",
				      new->path, label->name, alloc_segment_count(alloc));
	return 0;
}

static bool is_open_here(struct engine *engine, struct disk *disk)
{
	for (unsigned i = 0; i < DISKS_MAX; i++)
		if (store_disk(core_store(engine->core), i)->disk == disk)
			return true;
	return false;
}

void disks_note_joined(struct engine *engine, struct new_disk *new)
{
	if (is_open_here(engine, new->disk))
		new->disk = NULL;
}

/* The new disk passes to the pool. */
static int disk_join(struct engine *engine, struct new_disk *new, unsigned *ret_index, struct pool_error *error)
{
	int result = new_disks_wipe(new, 1, error);

	if (result == 0)
		result = core_disk_add(engine->core, new->disk, ROLE_DATA, ret_index, error);
	disks_note_joined(engine, new);
	if (result < 0)
		return pool_error_set(error, result, "pool %s: disk %s can't be added: %s", disks_pool_name(engine), new->path,
				      pool_error_string(result));
	paths_note(engine);
	return 0;
}

/* Kept with the pool: which disk a new one joined for. Without it, only an empty disk is known to be a target. */
static void note_target(struct engine *engine, unsigned old, unsigned index)
{
	char key[DISK_KEY_SIZE];
	size_t length = disk_key(&store_disk(core_store(engine->core), index)->guid, "for ", key);
	struct guid guid = store_disk(core_store(engine->core), old)->guid;

	(void)engine_mos_put(engine, MOS_PROPERTIES, key, length, guid.bytes, sizeof(guid.bytes));
}

static bool is_noted_target(struct engine *engine, unsigned old, unsigned index)
{
	char key[DISK_KEY_SIZE], value[OBJECT_VALUE_MAX];
	size_t length = disk_key(&store_disk(core_store(engine->core), index)->guid, "for ", key), value_length;

	return tree_get(core_mos_object(engine->core, MOS_PROPERTIES), key, length, value, sizeof(value), &value_length) == 0 &&
	       value_length == sizeof(struct guid) &&
	       !memcmp(value, store_disk(core_store(engine->core), old)->guid.bytes, sizeof(struct guid));
}

/* Whether disk `index` joined to replace `old`, or looks so: that replacement may go on. */
static bool is_stuck_target(struct engine *engine, unsigned old, unsigned index)
{
	const struct alloc_disk *space = alloc_disk(core_alloc(engine->core), index);
	const struct label *label = core_label(engine->core);
	bool last = true;

	if (is_noted_target(engine, old, index))
		return true;
	/* A crash before the rebuild got its record: the newest disk, and nothing is on it. */
	for (unsigned i = 0; i < label->disk_count; i++)
		last &= label->disks[i].state == DISK_REMOVED || label->disks[i].index <= index;
	return last && space && space->au_free + space->au_trimming == space->au_count;
}

/* What can be said before anything is looked at. */
static int check_names(struct engine *engine, const struct libpool_replace_options *options, unsigned old, struct pool_error *error)
{
	if (!options->new_disk || !options->new_disk[0])
		return pool_error_set(error, -EINVAL, "pool %s: no new disk is named", disks_pool_name(engine));
	/* A failed one may be a file that was deleted, and the path of another by now. If it is the disk itself it is in use. */
	if (!strcmp(engine_disk_path(engine, old), options->new_disk) && store_disk(core_store(engine->core), old)->disk &&
	    store_disk(core_store(engine->core), old)->state != DISK_FAULTY && !disks_leaving(engine, old))
		return pool_error_set(error, -EINVAL, "pool %s: %s can't replace itself: name another disk", disks_pool_name(engine),
				      options->new_disk);
	if (disks_is_log(engine, old))
		return pool_error_set(error, -EINVAL, "pool %s: %s is a log disk: add the other one, then remove this one (device add, device remove)",
				      disks_pool_name(engine), options->old_disk);
	if (jobs_replacing(engine, old))
		return pool_error_set(error, -EALREADY, "pool %s: disk %s is being replaced already", disks_pool_name(engine),
				      options->old_disk);
	if (jobs_replacing(engine, DISK_ABSENT))
		return pool_error_set(error, -EBUSY, "pool %s: another disk is being replaced: wait for it", disks_pool_name(engine));
	return 0;
}

static int replace_locked(struct engine *engine, const struct libpool_replace_options *options, struct pool_error *error)
{
	struct new_disk new = {0};
	unsigned old, index;
	int result = engine_disk_find(engine, options->old_disk, &old, error);

	if (result == 0)
		result = check_names(engine, options, old, error);
	if (result < 0)
		return result;
	if (is_other_member(engine, options->new_disk, old, &index)) {
		if (!is_stuck_target(engine, old, index))
			return pool_error_set(error, -EINVAL, "pool %s: %s is disk #%u of this pool already: name a disk that isn't",
					      disks_pool_name(engine), options->new_disk, index);
		return options->dry_run ? 0 : jobs_replace(engine, old, index, error);
	}
	result = new_disks_open(engine->host, core_label(engine->core), &options->new_disk, 1, options->force, &new, error);
	if (result == 0)
		result = check_room(engine, old, &new, error);
	if (result == 0 && !options->dry_run)
		result = disk_join(engine, &new, &index, error);
	new_disks_close(&new, 1);
	if (result < 0 || options->dry_run)
		return result;
	note_target(engine, old, index);
	engine_eventf(engine, 0, "disk.added", options->new_disk, "as disk #%u, to replace disk #%u", index, old);
	return jobs_replace(engine, old, index, error);
}

int engine_disk_replace(struct engine *engine, const struct libpool_replace_options *options, struct pool_error *error)
{
	/* A dry run is at home in a read-only import. */
	int result = options->dry_run && core_read_only(engine->core) ? 0 : disks_check_writable(engine, error);

	if (result < 0)
		return result;
	rt_mutex_lock(engine->rt, &engine->disks_lock);
	result = replace_locked(engine, options, error);
	rt_mutex_unlock(engine->rt, &engine->disks_lock);
	return result;
}
