/*
 * The catalogue: records of all datasets, in RAM and in the MOS, and what the sync of a txg does with them: sync dirty
 * objsets, put changed records, and take destroyed datasets apart, a bounded part in each txg, which survives a crash
 * because the record stays, marked, until nothing is left.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libpool/dataset/internal.h"

static void record_key(uint32_t id, uint8_t key[4])
{
	for (unsigned i = 0; i < 4; i++)
		key[i] = (uint8_t)(id >> (24 - 8 * i));
}

struct dataset *dataset_add(struct datasets *datasets, const struct dataset_record *record, const char *path)
{
	struct dataset *dataset = calloc(1, sizeof(*dataset));

	if (!dataset)
		return NULL;
	dataset->owner = datasets;
	dataset->record = dataset->synced = *record;
	snprintf(dataset->path, sizeof(dataset->path), "%s", path);
	rt_mutex_init(&dataset->opening);
	rt_queue_init(&dataset->gate);
	list_init(&dataset->owners_changed);
	for (unsigned i = 0; i < 2; i++)
		array_init(&dataset->changed[i], sizeof(struct byte_range));
	array_init(&dataset->left_out, sizeof(uint64_t));
	list_push_back(&datasets->list, &dataset->node);
	return dataset;
}

void dataset_free(struct dataset *dataset)
{
	for (unsigned i = 0; i < 2; i++)
		dataset_files_forget(dataset, i);
	owners_free(dataset);
	if (dataset->blob)
		object_close(dataset->blob);
	if (dataset->objset)
		objset_close(dataset->objset);
	list_remove(&dataset->node);
	for (unsigned i = 0; i < 2; i++)
		array_release(&dataset->changed[i]);
	array_release(&dataset->left_out);
	free(dataset);
}

struct dataset *dataset_find(struct datasets *datasets, const char *path)
{
	list_for_each(node, &datasets->list) {
		struct dataset *dataset = container_of(node, struct dataset, node);
		if (!(dataset->record.flags & DATASET_DESTROYED) && strcmp(dataset->path, path) == 0)
			return dataset;
	}
	return NULL;
}

void dataset_stage(struct dataset *dataset, uint64_t txg)
{
	dataset->staged[txg & 1] = dataset->record;
	dataset->staged_dirty[txg & 1] = true;
}

/*
 * Who has what isn't needed to read files, nor to make flushed changes of them again: what was acknowledged counts for more than rows that nobody
 * can read any more. If they might be read with all disks, the changes wait for that; rows that make no sense stay so.
 */
static bool does_without_owners(const struct dataset *dataset, int status)
{
	const struct core *core = dataset->owner->core;

	if (status != -POOL_EDAMAGED && status != -POOL_EFORMAT)
		return false;
	return core_read_only(core) || (dataset->owner->replaying && (status == -POOL_EFORMAT || core_loss_is_certain(core)));
}

/* A sync finds the objset only with its owners loaded: what it reaps before, of an earlier import, their rows wouldn't follow. */
static int load_objset(struct dataset *dataset)
{
	struct core *core = dataset->owner->core;
	struct objset_options options = { .id = dataset->record.id, .data_class = CLASS_HOT,
					  .metadata_compression = BLOCK_COMPRESS_AUTO, .dirty = core_dirty, .argument = core };
	struct objset *objset;
	int status = dataset->record.kind == DATASET_FILESYSTEM ? owners_load(dataset) : 0;

	if (does_without_owners(dataset, status))
		status = 0;
	if (status == 0)
		status = objset_open(core_rt(core), core_blocks(core), &options, &dataset->record.root, &objset);
	if (status < 0)
		return status;
	dataset->objset = objset;
	owners_follow(dataset);
	return 0;
}

int dataset_load(struct dataset *dataset)
{
	struct core *core = dataset->owner->core;
	int status = 0;

	rt_mutex_lock(core_rt(core), &dataset->opening);
	if (!dataset->objset)
		status = load_objset(dataset);
	else if (dataset->record.kind == DATASET_FILESYSTEM && !dataset->owners && !does_without_owners(dataset, -POOL_EDAMAGED))
		status = -POOL_EDAMAGED; /* opened by the replay alone */
	if (status == 0 && dataset->record.kind == DATASET_VOLUME && !dataset->blob && !(dataset->record.flags & DATASET_DESTROYED)) {
		status = object_open(dataset->objset, VOLUME_OBJECT, &dataset->blob);
		if (status == 0)
			object_set_compression(dataset->blob, dataset->settings[SETTING_COMPRESSION]);
	}
	rt_mutex_unlock(core_rt(core), &dataset->opening);
	return status == -ENOENT ? -POOL_EFORMAT : status;
}

int dataset_check_record(struct datasets *datasets, uint32_t id)
{
	uint8_t key[4];

	record_key(id, key);
	return tree_check(core_mos_object(datasets->core, MOS_CATALOGUE), key, sizeof(key));
}

int dataset_check(struct dataset *dataset)
{
	uint64_t now = core_commits(dataset->owner->core) + 1;

	if (dataset->checked == now)
		return 0; /* what was read a moment ago is in the cache */
	int status = dataset_check_record(dataset->owner, dataset->record.id);
	if (status == 0 && dataset->blob)
		status = object_check(dataset->blob);
	if (status == 0)
		dataset->checked = now;
	return status;
}

struct vanishing {
	struct object_sync *sync;
	struct objset *objset;
};

static int kill_visited(void *argument, const struct block_pointer *pointer, const struct block_owner *owner)
{
	struct vanishing *vanishing = argument;

	(void)owner;
	vanishing->sync->kill(vanishing->sync, vanishing->objset, pointer);
	return 0;
}

/* A destroyed dataset whose content is gone: the rest of its objset, and its record. */
static int dataset_vanish(struct dataset *dataset, struct object_sync *sync)
{
	struct core *core = dataset->owner->core;
	uint8_t key[4];
	/* Of a file system that is lost all of the content is in there still: that isn't for one sync. */
	bool is_whole = dataset->lost && dataset->record.kind == DATASET_FILESYSTEM;
	struct vanishing vanishing = { sync, dataset->objset };
	int status = dataset->objset && !is_whole ? objset_walk(dataset->objset, kill_visited, &vanishing) : 0;

	if (status == -POOL_EDAMAGED)
		status = 0; /* what can't be read can't be freed: its cells stay until a deep scrub finds them */
	record_key(dataset->record.id, key);
	if (status == 0)
		status = owners_remove_rows(dataset, sync->txg);
	if (status == -POOL_EDAMAGED || status == -POOL_EFORMAT)
		status = 0; /* nobody gets this number again: rows that can't be read may stay */
	if (status == 0)
		status = tree_delete(core_mos_object(core, MOS_CATALOGUE), sync->txg, key, sizeof(key));
	dataset->gone = status == 0;
	return status;
}

static int dataset_put(struct dataset *dataset, uint64_t txg)
{
	struct core *core = dataset->owner->core;
	struct dataset_record record = dataset->staged_dirty[txg & 1] ? dataset->staged[txg & 1] : dataset->synced;
	uint8_t key[4], value[DATASET_RECORD_SIZE];

	/* The staged one may be older than what the last sync found. */
	record.root = dataset->objset ? *objset_root(dataset->objset) : dataset->synced.root;
	record.referenced_cells = dataset->synced.referenced_cells;
	if (dataset->blob)
		record.referenced_cells = volume_cells(dataset);
	else if (dataset->objset && record.kind == DATASET_FILESYSTEM)
		record.referenced_cells = objset_cells(dataset->objset, dataset->synced.referenced_cells);
	record_key(record.id, key);
	dataset_record_encode(&record, value);
	int status = tree_put(core_mos_object(core, MOS_CATALOGUE), txg, key, sizeof(key), value, sizeof(value));
	if (status < 0)
		return status;
	dataset->staged_dirty[txg & 1] = false;
	dataset->synced = record;
	dataset->record.root = record.root;
	dataset->record.referenced_cells = record.referenced_cells;
	return 0;
}

static bool needs_sync(const struct dataset *dataset, uint64_t txg)
{
	return dataset->objset && !dataset->gone &&
	       (objset_is_dirty(dataset->objset, txg) || objset_has_pending_kills(dataset->objset));
}

static int participant_sync(void *argument, struct object_sync *sync)
{
	struct datasets *datasets = argument;
	struct array objsets;
	int status = 0;

	array_init(&objsets, sizeof(struct objset *));
	list_for_each(node, &datasets->list) {
		struct dataset *dataset = container_of(node, struct dataset, node);
		/* Destroyed, and the last sync left nothing to kill: what remains are a few blocks of the objset itself. */
		bool empty = dataset->synced.flags & DATASET_DESTROYED && (dataset->objset || dataset->lost) && !dataset->gone &&
			     dataset->reaping == 0 && !needs_sync(dataset, sync->txg);
		if (status == 0 && empty)
			status = dataset_vanish(dataset, sync);
		else if (status == 0 && needs_sync(dataset, sync->txg))
			status = array_push(&objsets, &dataset->objset);
	}
	if (status == 0 && objsets.count)
		status = objsets_sync(sync, objsets.items, objsets.count);
	list_for_each(node, &datasets->list) {
		struct dataset *dataset = container_of(node, struct dataset, node);
		if (status == 0)
			status = owners_put(dataset, sync->txg);
		if (status < 0 || dataset->gone)
			continue;
		bool moved = dataset->objset && memcmp(objset_root(dataset->objset), &dataset->synced.root, sizeof(struct raw_block_pointer)) != 0;
		if (moved || dataset->staged_dirty[sync->txg & 1])
			status = dataset_put(dataset, sync->txg);
		/* What the txg added at most is now known. */
		dataset_count_settling(dataset);
		dataset->pending[sync->txg & 1] = 0;
		dataset->freeing[sync->txg & 1] = false;
		dataset_count(dataset);
	}
	array_release(&objsets);
	return status;
}

static struct dataset *find_gone(struct datasets *datasets)
{
	list_for_each(node, &datasets->list) {
		struct dataset *dataset = container_of(node, struct dataset, node);
		if (dataset->gone && dataset->open_count == 0)
			return dataset;
	}
	return NULL;
}

static void participant_committed(void *argument, uint64_t txg)
{
	struct datasets *datasets = argument;
	struct dataset *gone;
	bool more = false;

	list_for_each(node, &datasets->list)
		dataset_changes_forget(container_of(node, struct dataset, node), txg);
	while ((gone = find_gone(datasets))) /* freeing may wait: the list is another one then */
		dataset_free(gone);
	list_for_each(node, &datasets->list) {
		const struct dataset *dataset = container_of(node, struct dataset, node);
		if (dataset->gone)
			continue;
		more |= dataset->objset && objset_has_pending_kills(dataset->objset);
		more |= (dataset->objset || dataset->lost) && dataset->synced.flags & DATASET_DESTROYED;
	}
	/* Freed space is wanted soon, but each txg takes only its share. */
	if (more)
		core_states_changed(datasets->core);
}

static int load_records(struct datasets *datasets, struct pool_error *error)
{
	struct object *catalogue = core_mos_object(datasets->core, MOS_CATALOGUE);
	uint8_t *key = malloc(OBJECT_KEY_MAX), *value = malloc(OBJECT_VALUE_MAX);
	size_t key_length = 0, value_length;
	int status = key && value ? 0 : -ENOMEM;

	for (bool after = false; status == 0; after = true) {
		struct dataset_record record;
		status = tree_next(catalogue, key, key_length, after, key, &key_length, value, &value_length);
		if (status == -ENOENT) {
			status = 0;
			break;
		}
		if (status == 0)
			status = dataset_record_decode(value, value_length, &record);
		uint8_t wanted[4];
		if (status == 0)
			record_key(record.id, wanted);
		if (status == 0 && (key_length != sizeof(wanted) || memcmp(key, wanted, sizeof(wanted)) != 0))
			status = -POOL_EFORMAT;
		if (status == 0 && !dataset_add(datasets, &record, ""))
			status = -ENOMEM;
	}
	free(key);
	free(value);
	if (status == 0)
		status = datasets_make_paths(datasets);
	if (status == 0)
		datasets_settle(datasets);
	list_for_each(node, &datasets->list) {
		if (status == 0)
			dataset_count(container_of(node, struct dataset, node));
	}
	datasets_count_limits(datasets);
	if (status < 0)
		pool_error_set(error, status, "pool %s: the dataset catalogue can't be read: %s", core_label(datasets->core)->name,
			       pool_error_string(status));
	return status;
}

int datasets_open(struct core *core, struct datasets **ret_datasets, struct pool_error *error)
{
	struct datasets *datasets = calloc(1, sizeof(*datasets));
	bool dying = false;

	if (!datasets)
		return pool_error_set(error, -ENOMEM, "out of memory");
	datasets->core = core;
	list_init(&datasets->list);
	rt_group_init(&datasets->reapers);
	int status = load_records(datasets, error);
	if (status < 0) {
		datasets_close(datasets);
		return status;
	}
	list_for_each(node, &datasets->list) {
		struct dataset *dataset = container_of(node, struct dataset, node);
		if (!(dataset->record.flags & DATASET_DESTROYED) || core_read_only(core))
			continue;
		status = dataset_load(dataset);
		dataset->lost = status == -POOL_EDAMAGED || status == -POOL_EFORMAT;
		dying |= status == 0 || dataset->lost;
		if (status == 0 && dataset->record.kind == DATASET_FILESYSTEM)
			filesystem_reap(dataset);
	}
	struct core_participant participant = { .sync = participant_sync, .committed = participant_committed,
						.gather = datasets_gather, .argument = datasets };
	core_set_participant(core, &participant);
	datasets->replaying = true;
	status = core_replay(core, datasets_apply, datasets);
	datasets->replaying = false;
	if (status < 0) {
		bool is_of_missing_disks = status == -POOL_EDAMAGED && !core_loss_is_certain(core);
		datasets_close(datasets);
		return pool_error_set(error, status,
				      "pool %s: what its intent log holds can't be made again: %s; %s--rewind=%llu gives up all of it",
				      core_label(core)->name, pool_error_string(status),
				      is_of_missing_disks ? "attach the missing disks; --force gives up what can't be read, " : "",
				      (unsigned long long)core_committed_txg(core));
	}
	if (dying)
		core_states_changed(core);
	*ret_datasets = datasets;
	return 0;
}

const struct datasets_lost *datasets_lost(const struct datasets *datasets)
{
	return &datasets->lost;
}

void datasets_close(struct datasets *datasets)
{
	if (!datasets)
		return;
	if (!core_read_only(datasets->core) && !core_halted(datasets->core, NULL))
		(void)core_commit(datasets->core);
	core_set_participant(datasets->core, NULL);
	(void)rt_group_wait(core_rt(datasets->core), &datasets->reapers);
	while (!list_empty(&datasets->list))
		dataset_free(container_of(datasets->list.next, struct dataset, node));
	free(datasets);
}

struct rt *datasets_rt(const struct datasets *datasets)
{
	return core_rt(datasets->core);
}

unsigned datasets_open_volumes(const struct datasets *datasets)
{
	return datasets->open_volumes;
}

void dataset_name(struct datasets *datasets, uint32_t id, char ret_name[256])
{
	ret_name[0] = 0;
	list_for_each(node, &datasets->list) {
		const struct dataset *dataset = container_of(node, struct dataset, node);
		if (dataset->record.id == id && !(dataset->record.flags & DATASET_DESTROYED))
			memcpy(ret_name, dataset->path, sizeof(dataset->path));
	}
}

/* What can't be read in one dataset hides nothing of the others: its error is returned at the end. */
static int walk_on(int status, int *damage)
{
	if (status != -POOL_EDAMAGED && status != -POOL_EFORMAT)
		return status;
	*damage = status;
	return 0;
}

int datasets_walk(struct datasets *datasets, object_visit_function *visit, void *argument)
{
	int damage = 0, status = walk_on(objset_walk(core_mos(datasets->core), visit, argument), &damage);

	list_for_each(node, &datasets->list) {
		struct dataset *dataset = container_of(node, struct dataset, node);
		if (status < 0 || dataset->gone)
			continue;
		status = walk_on(dataset_load(dataset), &damage);
		if (status == 0 && dataset->objset)
			status = walk_on(objset_walk(dataset->objset, visit, argument), &damage);
	}
	return status < 0 ? status : damage;
}

/* What lies in a dataset comes right behind it. */
static int compare_paths(const void *left, const void *right)
{
	const char *a = ((const struct dataset_record *)left)->name, *b = ((const struct dataset_record *)right)->name;

	while (*a && *a == *b)
		a++, b++;
	return *a == *b ? 0 : *a == 0 ? -1 : *b == 0 ? 1 : *a == '/' ? -1 : *b == '/' ? 1 : (unsigned char)*a - (unsigned char)*b;
}

int datasets_list(struct datasets *datasets, uint8_t kind, struct dataset_record **ret_records, size_t *ret_count)
{
	struct array records;

	array_init(&records, sizeof(struct dataset_record));
	list_for_each(node, &datasets->list) {
		const struct dataset *dataset = container_of(node, struct dataset, node);
		if (dataset->record.flags & DATASET_DESTROYED || dataset->record.kind != kind)
			continue;
		if (array_push(&records, &dataset->record) < 0) {
			array_release(&records);
			return -ENOMEM;
		}
		struct dataset_record *record = array_at(&records, struct dataset_record, records.count - 1);
		memcpy(record->name, dataset->path, sizeof(dataset->path));
		record->compression_level = dataset->settings[SETTING_COMPRESSION];
		if (kind == DATASET_FILESYSTEM)
			record->block_shift = dataset->settings[SETTING_RECORDSIZE];
	}
	if (records.count)
		qsort(records.items, records.count, sizeof(struct dataset_record), compare_paths);
	*ret_records = records.items;
	*ret_count = records.count;
	return 0;
}

int dataset_failed(struct datasets *datasets, const char *what, const char *name, int status, struct pool_error *error)
{
	return pool_error_set(error, status, "%s %s/%s: %s", what, core_label(datasets->core)->name, name,
			      core_failure_text(datasets->core, status));
}
