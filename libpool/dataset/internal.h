/* What the files of dataset/ share. Nothing outside includes this. */
#ifndef LIBPOOL_DATASET_INTERNAL_H
#define LIBPOOL_DATASET_INTERNAL_H

#include "libpool/base/hash_table.h"
#include "libpool/dataset/dataset.h"
#include "libpool/format/label.h"

#define SETTLE_COMMITS 4u /* a change's own, two for the AUs, and one as it may miss the first */
#define RECORD_CELLS 16u /* what a change of the catalogue takes, generously */

/* Bytes [offset, end). */
struct byte_range {
	uint64_t offset, end;
};

/* What a txg has changed in files and no group of the intent log has (file_log.c). */
struct dataset_files {
	struct hash_table table; /* struct file_change, if `ready` */
	unsigned count;
	bool ready;
	uint64_t bytes; /* to log, an upper bound */
};

/*
 * One dataset in RAM. `record` is the newest; what a txg changed is staged for that txg, since the open txg runs ahead of
 * the one in sync and must not leak into it.
 */
struct dataset {
	struct list node;
	struct datasets *owner;
	struct dataset_record record; /* newest; its root is that of the last sync */
	char path[POOL_NAME_MAX + 1]; /* names from the top down, with '/' between */
	uint8_t settings[SETTING_COUNT]; /* what holds, wherever it is set */
	struct dataset_record synced; /* as in the catalogue */
	struct dataset_record staged[2]; /* by txg & 1 */
	bool staged_dirty[2];
	/*
	 * Space in cells: what it refers to as of the last commit is in synced; what txgs may add, by txg & 1; what its children are charged
	 * for; and what it is charged for where it lies: all that, or its reservation if that is more.
	 */
	uint64_t pending[2], children_cells, charged_cells;
	bool freeing[2];
	struct hash_table *owners; /* struct owner; file systems that were loaded */
	struct list owners_changed; /* by the sync under way, until their rows are put */
	unsigned owner_limits;      /* limits of owners that are set */
	int owners_status;          /* of memory, while a sync told of changes */
	/* By txg & 1: what the txg has changed and no group of the intent log has. */
	struct array changed[2]; /* struct byte_range */
	bool resized[2];
	struct dataset_files files[2];
	uint64_t unlogged_txg; /* the newest in which something changed that has no record */
	uint64_t wanted_txg;   /* the next group is to have what this one has changed */
	struct array left_out; /* uint64_t: in a replay, files whose inodes couldn't be changed */
	struct objset *objset; /* opened when needed, then kept */
	struct object *blob;   /* volumes: the content */
	struct rt_mutex opening;
	unsigned open_count; /* volumes, and calls under way: it isn't freed meanwhile */
	/* Requests under way; a resize waits for none and holds new ones off. */
	unsigned requests;
	bool gate_closed;
	struct rt_queue gate;
	uint64_t checked; /* commits + 1 as of the last dataset_check that found all well */
	bool lost;    /* damaged so that it can't be opened: when destroyed, what can't be read stays allocated */
	unsigned reaping; /* destroyed file systems: objects are still being taken apart */
	bool gone;    /* removed from the catalogue by the txg in sync */
};

struct volume {
	struct dataset *dataset;
};

struct datasets {
	struct core *core;
	struct datasets_lost lost;
	bool replaying;
	struct list list;
	struct dataset_settings pool_settings;
	uint64_t charged_cells; /* of all that lie in none */
	unsigned limits; /* quotas and reservations that are set */
	uint64_t settled; /* commits after which all that datasets have freed is free */
	unsigned limits_coming; /* being set: what is changed meanwhile is charged already */
	unsigned open_volumes;
	struct rt_group reapers;
};

/* Opens the objset and, of a volume, its content. 0 or what the reads give. */
int dataset_load(struct dataset *dataset);
struct dataset *dataset_find(struct datasets *datasets, const char *path);
struct dataset *dataset_find_id(struct datasets *datasets, uint32_t id);
/* path "": datasets_make_paths gives it one. */
struct dataset *dataset_add(struct datasets *datasets, const struct dataset_record *record, const char *path);
void dataset_free(struct dataset *dataset);

/* tree.c: datasets lie in file systems, or in none. */
/* Gives all datasets their paths. -POOL_EFORMAT when one that isn't destroyed lies where nothing can lie. */
int datasets_make_paths(struct datasets *datasets);
bool dataset_is_within(const struct dataset *dataset, const struct dataset *above);
/* Where a new dataset of this path goes: into *ret_parent's record (0: none), as *ret_name. Fails if it can't, or if it exists. */
int dataset_place_find(struct datasets *datasets, const char *what, const char *path, uint32_t *ret_parent, const char **ret_name,
		       struct pool_error *error);
/* "volume" or "file system" */
const char *dataset_kind_text(const struct dataset *dataset);
/* The one that it lies in, or NULL. */
struct dataset *dataset_parent(const struct dataset *dataset);
/* settings.c: works out what holds for all, or for one whose parent is up to date. */
void datasets_settle(struct datasets *datasets);
void dataset_settle(struct dataset *dataset);
/* quota.c: something that counts for it has changed; the sums above it follow. */
void dataset_count(struct dataset *dataset);
/* It no longer counts where it lies: before it moves or goes; dataset_count then makes it count where it lies now. */
void dataset_uncount(struct dataset *dataset);
/* *ret_refusing: of those that it lies in, or NULL for what others have reserved. */
int dataset_check_charge(struct dataset *dataset, uint64_t cells, const struct dataset **ret_refusing);
int dataset_charge(struct dataset *dataset, uint64_t txg, uint64_t cells, const struct dataset **ret_refusing);
void dataset_uncharge(struct dataset *dataset, uint64_t txg, uint64_t cells);
bool dataset_is_uncertain(const struct datasets *datasets, const struct dataset *refusing);
/* In its sync, before what it is charged for the txg is forgotten. */
void dataset_count_settling(struct dataset *dataset);
/* 0, -EDQUOT or -ENOSPC: whether there is room for what `dataset` is charged for beneath `above`, NULL: at the top, instead of where it lies. */
int dataset_check_place(struct dataset *dataset, struct dataset *above, const struct dataset **ret_refusing);
void datasets_count_limits(struct datasets *datasets);
static inline bool datasets_have_limits(const struct datasets *datasets)
{
	return datasets->limits || datasets->limits_coming;
}
/*
 * Around setting one: what the open txg has changed by then was charged to nobody, so it is committed first, and what comes meanwhile is charged. The end is
 * needed after a failure too.
 */
int datasets_limit_begin(struct datasets *datasets);
void datasets_limit_end(struct datasets *datasets);
/* accounting.c */
/* Waits: nothing may change what they have meanwhile. */
int owners_load(struct dataset *dataset);
/* From now on they follow what syncs of its objset change. */
void owners_follow(struct dataset *dataset);
void owners_free(struct dataset *dataset);
/* Behind the sync of its objset: puts the rows that changed. */
int owners_put(struct dataset *dataset, uint64_t txg);
/* It is gone. */
int owners_remove_rows(struct dataset *dataset, uint64_t txg);
/* Whether the rows of all its owners can be changed. */
int owners_check(struct dataset *dataset);
/* destroy.c: with all below it, in one txg. -EBUSY: something of it is open, or `recursive` isn't set and there is something below. */
int dataset_destroy_check(struct dataset *dataset, bool recursive, struct pool_error *error);
int dataset_destroy_tree(struct dataset *dataset, bool recursive, struct pool_error *error);
/* filesystem.c: takes the objects of a destroyed file system apart in the background, until the core stops. */
void filesystem_reap(struct dataset *dataset);
/*
 * Whether a change of the dataset could be committed: its dnode and its record in the catalogue can be changed (object.h). Of
 * the content, what changes is to be asked about beside. Waits.
 */
int dataset_check(struct dataset *dataset);
/* The record alone. */
int dataset_check_record(struct datasets *datasets, uint32_t id);
/* volume.c: cells on disk of a volume's content. */
uint64_t volume_cells(const struct dataset *dataset);
/* The records of all datasets of a kind that aren't destroyed, in one allocation of the caller's. */
int datasets_list(struct datasets *datasets, uint8_t kind, struct dataset_record **ret_records, size_t *ret_count);
/* The text of a failure, which for a halted pool is why it halted. */
int dataset_failed(struct datasets *datasets, const char *what, const char *name, int status, struct pool_error *error);
/* volume_io.c: a change above which a node is damaged fails here: in a commit it would fail everybody's. */
int volume_check_write(struct dataset *dataset, uint64_t offset, uint64_t length);
int volume_check_punch(struct dataset *dataset, uint64_t offset, uint64_t length);
/* The newest record becomes part of txg. */
void dataset_stage(struct dataset *dataset, uint64_t txg);

/* volume_log.c: told by the holder of a handle, in the step in which the change ended, whether all of it was done or not. */
/* Of a volume's content, with about so many bytes to log. */
void dataset_changed(struct dataset *dataset, uint64_t txg, uint64_t offset, uint64_t length, uint64_t bytes);
void dataset_resized(struct dataset *dataset, uint64_t txg);
/* By the intent log or, if that is what its logbias asks for, by a commit: all of its changes are durable on return. */
int dataset_flush(struct dataset *dataset);
/* The txg is committed. */
void dataset_changes_forget(struct dataset *dataset, uint64_t txg);
/* Otherwise its flushes are commits. */
bool dataset_is_logged(const struct dataset *dataset);
/* Ascending, without overlaps; -ENOSPC: there are too many. */
int byte_ranges_add(struct array *ranges, uint64_t offset, uint64_t end);
/* What a txg has made of these ranges (struct byte_range) of a blob, which are merged: records, and whole blocks to be written beside the log. */
struct gathering {
	struct intent_group *group;
	struct object *object;
	struct intent_record record; /* with objset and txg */
};
int gather_content(struct gathering *gathering, struct array *ranges);
/* file_log.c */
void dataset_files_forget(struct dataset *dataset, uint64_t txg);
int dataset_files_gather(struct dataset *dataset, uint64_t txg, struct intent_group *group);
int dataset_files_apply(struct dataset *dataset, uint64_t txg, const struct intent_record *record);
/* The inode of this file can't be changed, for whatever reason: until the next one can, nothing else of it is. 0 or -ENOMEM. */
int dataset_files_leave_out(struct dataset *dataset, uint64_t number);
/* As participant.gather and core_replay want them; argument: struct datasets. */
int datasets_gather(void *argument, uint64_t txg, struct intent_group *group);
/* volume_replay.c */
int datasets_apply(void *argument, uint64_t txg, const struct intent_record *record);

#endif
