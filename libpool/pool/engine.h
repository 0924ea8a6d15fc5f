/*
 * A pool as one fiber program sees it: what the public API does, in the engine's thread. The public API
 * (api_*.c) brings each call here through a queue; the simulator calls it directly. Result structures are those of
 * libpool.h. Engine thread; fibers; functions wait.
 */
#ifndef LIBPOOL_POOL_ENGINE_H
#define LIBPOOL_POOL_ENGINE_H

#include "libpool/base/error.h"
#include "libpool/fs/fs.h"
#include "libpool/include/libpool.h"

struct engine;

/* What it points at must live as long as the engines made with it. */
struct engine_host {
	struct rt *rt;
	struct disk_provider *provider;
	const char *const *folders;
	size_t folder_count;
	bool no_devices;
	struct core_options core; /* rt and provider are filled in */
};

int engine_create(const struct engine_host *host, const struct libpool_create_options *options, struct libpool_layout *ret_layout,
		  struct pool_error *error);
int engine_find(const struct engine_host *host, struct libpool_found **ret_found, size_t *ret_count, struct pool_error *error);
int engine_set_destroyed(const struct engine_host *host, const char *name, bool destroyed, struct pool_error *error);
int engine_import(const struct engine_host *host, const struct libpool_import_options *options, struct engine **ret_engine,
		  struct pool_error *error);
/* -EBUSY, and nothing has changed, while volumes are open. Otherwise the engine is gone, whatever is returned. */
int engine_export(struct engine *engine, struct pool_error *error);
void engine_abandon(struct engine *engine);
/* About to be closed: whoever waits for jobs is told so (-ECANCELED). Never waits. */
void engine_hurry(struct engine *engine);
/* Nothing is written any more; reads of what can be read go on. Never waits. */
void engine_halt(struct engine *engine, const char *why);

struct core *engine_core(struct engine *engine);
bool engine_rehearses(const struct engine *engine); /* imported for a dry run */
struct datasets *engine_datasets(struct engine *engine);

int engine_info(struct engine *engine, struct libpool_pool_info *ret_info);
void engine_log_info(struct engine *engine, struct libpool_log_info *ret_info);
int engine_disks(struct engine *engine, struct libpool_disk_info **ret_disks, size_t *ret_count);
int engine_damage(struct engine *engine, struct libpool_damage **ret_damage, size_t *ret_count);
int engine_events(struct engine *engine, uint64_t after, struct libpool_event **ret_events, size_t *ret_count);
void engine_event(struct engine *engine, unsigned severity, const char *kind, const char *object, const char *text);
int engine_history(struct engine *engine, struct libpool_history **ret_history, size_t *ret_count);
int engine_history_add(struct engine *engine, const char *text, struct pool_error *error);
int engine_property_get(struct engine *engine, const char *dataset, const char *name, struct libpool_property *ret_property,
			struct pool_error *error);
int engine_properties(struct engine *engine, const char *dataset, struct libpool_property **ret_properties, size_t *ret_count,
		      struct pool_error *error);
/* value NULL or "default": it is no longer set here. check_only: says whether it would be taken. */
int engine_property_set(struct engine *engine, const char *dataset, const char *name, const char *value, bool check_only,
			struct pool_error *error);

int engine_jobs(struct engine *engine, struct libpool_job **ret_jobs, size_t *ret_count);
int engine_scrub_start(struct engine *engine, const struct libpool_scrub_options *options, struct pool_error *error);
int engine_scrub_pause(struct engine *engine, struct pool_error *error);
int engine_scrub_cancel(struct engine *engine, struct pool_error *error);
int engine_trim_start(struct engine *engine, const struct libpool_trim_options *options, struct pool_error *error);
int engine_trim_cancel(struct engine *engine, struct pool_error *error);
int engine_jobs_wait(struct engine *engine, uint32_t kinds, uint64_t timeout_ns);

int engine_disk_replace(struct engine *engine, const struct libpool_replace_options *options, struct pool_error *error);
/* dry_run: only the checks. */
int engine_disk_offline(struct engine *engine, const char *disk, bool dry_run, struct pool_error *error);
int engine_disk_online(struct engine *engine, const char *disk, const char *path, bool dry_run, struct pool_error *error);
int engine_disk_add(struct engine *engine, const struct libpool_disk_add_options *options, struct pool_error *error);
int engine_disk_remove(struct engine *engine, const char *disk, bool dry_run, struct pool_error *error);
int engine_clear(struct engine *engine, const char *disk, struct pool_error *error);

/* A handle of a volume, and whom it belongs to. Where it is kept is up to the caller. */
struct engine_user {
	struct list node;
	struct volume *volume; /* NULL: not open, or a file system */
	struct engine_fs *fs;  /* NULL: not open, or a volume */
	char text[LIBPOOL_TEXT_MAX];
	uint64_t since_ns;
	bool read_only, exclusive;
};

/* text, read_only and exclusive are set; `filesystem`: which of both the dataset must be. -LIBPOOL_EINUSE, naming the other user, where one of them is exclusive. */
int engine_dataset_open(struct engine *engine, const char *name, bool filesystem, struct engine_user *user, struct pool_error *error);
void engine_dataset_close(struct engine_user *user);
/* Shrinking and destroying: -LIBPOOL_EINUSE, naming the users, while the volume is open. */
int engine_volume_resize(struct engine *engine, const char *name, uint64_t bytes, struct pool_error *error);
int engine_volume_destroy(struct engine *engine, const char *name, struct pool_error *error);
/* With `recursive` all that lies in it goes too: -LIBPOOL_EINUSE also for users of that. */
int engine_fs_destroy(struct engine *engine, const char *name, bool recursive, struct pool_error *error);
/* -LIBPOOL_EINUSE while it, or anything in it, is open. */
int engine_dataset_rename(struct engine *engine, const char *from, const char *to, struct pool_error *error);
/* Whether these would be refused as things are, because of users or anything else; nothing is changed. */
int engine_volume_resize_check(struct engine *engine, const char *name, uint64_t bytes, struct pool_error *error);
int engine_volume_destroy_check(struct engine *engine, const char *name, struct pool_error *error);
int engine_fs_destroy_check(struct engine *engine, const char *name, bool recursive, struct pool_error *error);
int engine_dataset_rename_check(struct engine *engine, const char *from, const char *to, struct pool_error *error);
/* How many handles a dataset has. */
unsigned engine_users_of(const struct engine *engine, const char *name);
int engine_users(struct engine *engine, struct libpool_user **ret_users, size_t *ret_count);
/* Nothing can be opened any more, unless somebody uses something (-LIBPOOL_EINUSE) and `force` isn't given. */
int engine_retire(struct engine *engine, bool force, struct pool_error *error);
/* What is still open is closed. */
void engine_users_close(struct engine *engine);
/* By name: -ENOENT when there is none. */
int engine_volume_info(struct engine *engine, const char *name, struct libpool_volume_info *ret_info, struct pool_error *error);
int engine_volumes(struct engine *engine, struct libpool_volume_info **ret_volumes, size_t *ret_count);

/* engine_fs.c: an open file system and the nodes that are held in it. */
struct engine_fs;
int engine_fs_open(struct engine *engine, const char *name, struct engine_fs **ret_fs, struct pool_error *error);
void engine_fs_close(struct engine_fs *fs);
struct fs *engine_fs(const struct engine_fs *fs);
const struct dataset_record *engine_fs_record(const struct engine_fs *fs);
/* The open one of that name, or NULL. Owned by whoever has it open. */
struct engine_fs *engine_fs_find(const struct engine *engine, const char *name);
/* For a look at it, which keeps it from being closed. */
struct fs *engine_fs_look(struct engine_fs *fs);
void engine_fs_leave(struct engine_fs *fs);
int engine_fs_hold(struct engine_fs *fs, struct fs_node *node);
/* The numbers of all that is held; the caller frees them. */
int engine_fs_held(struct engine_fs *fs, uint64_t **ret_numbers, size_t *ret_count);
/* -EINVAL for more than is held. */
int engine_fs_forget(struct engine_fs *fs, uint64_t number, uint64_t count);
int engine_owners(struct engine *engine, const char *name, struct libpool_owner **ret_owners, size_t *ret_count, struct pool_error *error);
int engine_filesystems(struct engine *engine, struct libpool_fs_info **ret_infos, size_t *ret_count);

int engine_verify(struct engine *engine, const struct libpool_verify_options *options, struct libpool_verify_result *ret_result,
		  struct pool_error *error);

/*
 * Profile names: "raid6", "raid6:4+2" ... For a given number of disks. 0, or -EINVAL with a text. Without a
 * width: all disks, up to 16; of more disks, segments of 12.
 */
int profile_parse(const char *text, unsigned disk_count, unsigned *ret_k, unsigned *ret_m, struct pool_error *error);
void profile_format(unsigned k, unsigned m, char *ret_text, size_t size);

#endif
