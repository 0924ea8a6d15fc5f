/*
 * Datasets: the catalogue in the MOS, and volumes. A volume is an objset whose object 16 is a blob. Datasets lie in file systems or
 * in none, and are called by path: names with '/' between, 255 bytes at most. Names are unique in one place, 1 to 255 bytes, UTF-8 without control characters, spaces, slashes and what shells expand, and begin
 * with neither '-' nor '.'. Engine thread; fibers.
 */
#ifndef LIBPOOL_DATASET_DATASET_H
#define LIBPOOL_DATASET_DATASET_H

#include "libpool/base/buffer.h"
#include "libpool/format/dataset_record.h"
#include "libpool/format/space_record.h"
#include "libpool/txg/core.h"

struct datasets;
struct volume; /* an open one; handles are counted */

#define VOLUME_OBJECT 16u
#define VOLUME_SIZE_MAX (UINT64_C(1) << 60)
#define FILE_SIZE_MAX (UINT64_C(1) << 60)

/* Whether a name may be given to a pool or dataset; if not, *error says why. */
int dataset_name_check(const char *what, const char *name, struct pool_error *error);
/* The same for a path. */
int dataset_path_check(const char *what, const char *path, struct pool_error *error);
/* Whether a path is `above`, or lies in it. */
bool dataset_path_within(const char *path, const char *above);

/* Plugs into the core (core_set_participant). Frees what destroyed datasets still hold, in the background. */
int datasets_open(struct core *core, struct datasets **ret_datasets, struct pool_error *error);
/* What that left out of the flushed changes, as it lies below nodes that can't be read; the first of it. */
struct datasets_lost {
	uint64_t changes, bytes;
	uint32_t dataset;
	bool is_file; /* `object` of a file system; otherwise `offset` in a volume */
	uint64_t object, offset;
};
const struct datasets_lost *datasets_lost(const struct datasets *datasets);
/* Every volume must be closed. */
void datasets_close(struct datasets *datasets);
struct rt *datasets_rt(const struct datasets *datasets);
/* Volumes that are open, for the message of a refused export. */
unsigned datasets_open_volumes(const struct datasets *datasets);

/* compression: BLOCK_COMPRESS_, or as it is handed down. */
#define COMPRESSION_INHERITED 254u
int volume_create(struct datasets *datasets, const char *name, uint64_t bytes, uint32_t block_bytes, uint8_t compression,
		  struct pool_error *error);
int volume_resize(struct datasets *datasets, const char *name, uint64_t bytes, struct pool_error *error);
int volume_destroy(struct datasets *datasets, const char *name, struct pool_error *error);
/* Whether these would be refused as things are, users apart; nothing is changed. */
int volume_create_check(struct datasets *datasets, const char *name, uint64_t bytes, uint32_t block_bytes, struct pool_error *error);
int volume_resize_check(struct datasets *datasets, const char *name, uint64_t bytes, struct pool_error *error);
int volume_destroy_check(struct datasets *datasets, const char *name, struct pool_error *error);

/* Settings hold from the moment at which they are set; they are durable with the txg. */
uint8_t dataset_setting_default(enum dataset_setting setting);
/* value NULL: it is handed down from above again. Whether it fits the kind of dataset is checked, not whether it is known. */
int dataset_set(struct datasets *datasets, const char *path, enum dataset_setting setting, const uint8_t *value, struct pool_error *error);
/* What the pool hands down to all; kept elsewhere. NULL: the default. */
void datasets_set_pool(struct datasets *datasets, enum dataset_setting setting, const uint8_t *value);
/* What holds for a dataset, and the path of where it is set: its own, that of one above, "" the pool, NULL nowhere. */
int dataset_setting(struct datasets *datasets, const char *path, enum dataset_setting setting, uint8_t *ret_value, const char **ret_source);
/* Whether records of 2^shift bytes fit into segments of the pool. */
int dataset_check_record_shift(struct datasets *datasets, uint8_t shift, struct pool_error *error);

/* The records of all volumes by path, which is in `name` here, with what holds of compression and record size, in one allocation of the caller's (free()). */
int volumes_list(struct datasets *datasets, struct dataset_record **ret_records, size_t *ret_count);
/* A volume or file system gets another name, another place, or both. What lies in it goes along. In use or not. */
int dataset_rename(struct datasets *datasets, const char *from, const char *to, struct pool_error *error);
int dataset_check_rename(struct datasets *datasets, const char *from, const char *to, struct pool_error *error);
/* The path of a dataset by its id, "" when it is gone (for damage reports). */
void dataset_name(struct datasets *datasets, uint32_t id, char ret_name[256]);

int volume_open(struct datasets *datasets, const char *name, struct volume **ret_volume, struct pool_error *error);
void volume_close(struct volume *volume);
const struct dataset_record *volume_record(const struct volume *volume);
const char *volume_path(const struct volume *volume);
unsigned volume_open_count(const struct volume *volume);
uint64_t volume_used_cells(const struct volume *volume);

/* Ranges must lie within the volume: -EINVAL. */
int volume_read(struct volume *volume, uint64_t offset, size_t length, void *destination);
/* A whole block's frozen content, or NULL in *ret_buffer for a hole. */
int volume_read_block(struct volume *volume, uint64_t block, struct buffer **ret_buffer);
int volume_write(struct volume *volume, uint64_t offset, size_t length, const void *source);
/* Whether volume_write would be refused before it has written anything, as a quota or the property readonly does; also where nothing can be written. */
int volume_try_write(struct volume *volume, uint64_t offset, size_t length);
/* Whole blocks from frozen buffers of block size each, block `first` and on: no copy. References are taken. */
int volume_write_blocks(struct volume *volume, uint64_t first, unsigned count, struct buffer *const *buffers);
int volume_zero(struct volume *volume, uint64_t offset, uint64_t length);
int volume_trim(struct volume *volume, uint64_t offset, uint64_t length);
int volume_flush(struct volume *volume);
int volume_seek(struct volume *volume, uint64_t offset, bool data, uint64_t *ret_offset);

/*
 * File systems: here only the objset and who has it open; what is in it is libpool/fs. `fill` puts the first objects in, in the
 * txg that brings the dataset; what it fails with is returned, and nothing was made. Waits for nothing but reads.
 */
struct dataset;
/* What is to be set from the beginning; the others are handed down. */
struct dataset_settings {
	uint32_t mask; /* 1 << SETTING_ */
	uint8_t values[SETTING_COUNT];
};
int filesystem_create(struct datasets *datasets, const char *name, const struct dataset_settings *settings,
		      int (*fill)(void *argument, struct objset *objset, uint64_t txg), void *argument, struct pool_error *error);
int filesystem_open(struct datasets *datasets, const char *name, struct dataset **ret_dataset, struct pool_error *error);
void filesystem_close(struct dataset *dataset);
/*
 * With all that lies in it if `recursive`, in one txg; else -EBUSY if there is anything. -EBUSY while it, or anything in it, is
 * open. The space comes back in the background.
 */
int filesystem_destroy(struct datasets *datasets, const char *name, bool recursive, struct pool_error *error);
/* Whether these would be refused as things are, users apart; nothing is changed. */
int filesystem_create_check(struct datasets *datasets, const char *name, const struct dataset_settings *settings, struct pool_error *error);
int filesystem_destroy_check(struct datasets *datasets, const char *name, bool recursive, struct pool_error *error);
/* The objset of an open one, its pool, and its record as it is now. */
/* Whether a change of it could be committed, as far as its record goes: see object_check. */
int filesystem_check(struct dataset *dataset);
struct objset *filesystem_objset(const struct dataset *dataset);
struct core *filesystem_core(const struct dataset *dataset);
const struct dataset_record *filesystem_record(const struct dataset *dataset);
const char *filesystem_path(const struct dataset *dataset);
/* What holds now; may be another at any time. */
uint8_t filesystem_setting(const struct dataset *dataset, enum dataset_setting setting);
/*
 * What syncs have to make durable (file_log.c). Told by the holder of a handle of txg. Of a change that has no record: before it is made, without a wait in
 * between. Of bytes of a file that was there before, and of its inode: in the step in which the change ended, whether all of it was done or not; length 0: of the inode alone.
 */
void filesystem_changed(struct dataset *dataset, uint64_t txg);
void filesystem_file_changed(struct dataset *dataset, uint64_t txg, struct object *object, uint64_t offset, uint64_t length);
/* By the intent log or by a commit: all changes of the file system are durable on return. */
int filesystem_flush(struct dataset *dataset);

/*
 * Space and limits (quota.c, accounting.c). What is in use is known as of the last commit; what the open txg and the one in sync may add is
 * charged at its worst before it is made, so that no limit is ever exceeded. What adds nothing is never refused.
 */
struct space_charge {
	struct object_owner_ids owner;
	uint32_t kinds; /* mask of 1 << OWNER_: for whom it counts */
	bool moves;     /* it was another's in the same file system, for which it doesn't count */
	uint64_t cells, objects;
};
#define OWNER_ALL ((1u << OWNER_KINDS) - 1)
/* Whether anything that is charged for it could be refused. */
bool filesystem_has_limits(const struct dataset *dataset);
/* Whether one of these, of the kinds in the mask, has a limit of his own. */
bool filesystem_limits_owner(const struct dataset *dataset, const struct object_owner_ids *owner, uint32_t kinds);
/* By whose limit. */
struct space_refusal {
	bool refused;
	const struct owner *owner;     /* or NULL: */
	const struct dataset *dataset; /* or NULL: by what others have reserved */
};
/* In a txg that is held, and without waiting: 0, or nothing is charged: -EDQUOT, -ENOSPC (what others have reserved), and *refusal is set. */
int filesystem_charge(struct dataset *dataset, uint64_t txg, const struct space_charge *charge, struct space_refusal *refusal);
/* What was charged in a txg that is still held, and isn't going to be used. */
void filesystem_uncharge(struct dataset *dataset, uint64_t txg, const struct space_charge *charge);
/* Whether the figures may be better after a commit: without waiting since the refusal, what the same call was charged taken back. */
bool filesystem_is_uncertain(const struct dataset *dataset, const struct space_refusal *refusal);
/* The same for a volume; there are no owners. *ret_uncertain: whether the figures may be better after a commit. */
int volume_charge(struct volume *volume, uint64_t txg, uint64_t cells, bool *ret_uncertain);
/* Commits that one who is refused asks for, while the figures are uncertain. */
#define CHARGE_TRIES 16u
/* Something of theirs may get smaller in txg. */
void filesystem_freeing(struct dataset *dataset, uint64_t txg, const struct object_owner_ids *owner);
/* Whether a change of what they have could be committed: see filesystem_check. */
int filesystem_check_owner(struct dataset *dataset, const struct object_owner_ids *owner);

struct space_usage {
	enum owner_kind kind;
	uint32_t id;
	uint64_t cells, objects; /* as of the last commit */
	uint64_t limit_bytes, limit_objects; /* 0: none */
};
/* Of everybody who has something, or a limit; in order, in one allocation of the caller's. */
int filesystem_owners(struct datasets *datasets, const char *path, struct space_usage **ret_usage, size_t *ret_count, struct pool_error *error);
/* 0: none. */
int filesystem_set_owner_limit(struct datasets *datasets, const char *path, enum owner_kind kind, uint32_t id, bool objects, uint64_t limit,
			       struct pool_error *error);
/* False where a read-only import goes on without rows that can't be read. */
bool filesystem_knows_owners(const struct dataset *dataset);
/* What its rows say of one; for the checker. */
void filesystem_usage(const struct dataset *dataset, enum owner_kind kind, uint32_t id, struct space_usage *ret_usage);
/* Those rows that are in use. */
size_t filesystem_usage_count(const struct dataset *dataset);

enum dataset_limit { LIMIT_QUOTA, LIMIT_REFQUOTA, LIMIT_RESERVATION };
/* 0: none. -ENOSPC: more is to be reserved than there is. check_only: whether it could be set. */
int dataset_set_limit(struct datasets *datasets, const char *path, enum dataset_limit limit, uint64_t bytes, bool check_only,
		      struct pool_error *error);
struct dataset_space {
	uint64_t referenced_cells; /* of itself */
	uint64_t used_cells;       /* with all that lies in it, and what is reserved there */
	uint64_t available_cells;  /* what it can still take */
};
int dataset_space(struct datasets *datasets, const char *path, struct dataset_space *ret_space);
void filesystem_space(struct dataset *dataset, struct dataset_space *ret_space);

/* As volumes_list. */
int filesystems_list(struct datasets *datasets, struct dataset_record **ret_records, size_t *ret_count);

/* The most cells that changing a byte range of a blob of `size` bytes places, its nodes included; and those alone. length > 0. */
uint64_t blob_change_cells(struct core *core, uint32_t block_bytes, uint64_t size, uint64_t offset, uint64_t length, uint64_t *ret_nodes);
/* For core_change.blocks, of what is punched. */
uint64_t blob_removed_blocks(uint32_t block_bytes, uint64_t offset, uint64_t length);

/* As objset_block_range and objset_block_check; of a volume, all of it, if the block isn't one of its content. -ENOENT when it is gone. */
int dataset_block_range(struct datasets *datasets, uint32_t id, uint64_t object, unsigned level, uint64_t block, uint64_t *ret_offset,
			uint64_t *ret_length);
int dataset_block_check(struct datasets *datasets, uint32_t id, uint64_t object, unsigned level, uint64_t block);

/* Every placed pointer of every dataset and of the MOS as of the last commit (checkers). */
int datasets_walk(struct datasets *datasets, object_visit_function *visit, void *argument);

#endif
