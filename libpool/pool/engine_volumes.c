/*
 * Volumes, and who uses them and file systems.
 *
 * What must always hold: an exclusive handle is the only one of its volume; what nobody may have open (a volume that shrinks or
 * is destroyed) can't be opened while it happens. So these, and opening, come one after the other.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libpool/pool/internal.h"
#include "libpool/pool/text.h"

#define NAMED_MAX 3u /* users in one message */

static struct engine_user *user_at(struct list *node)
{
	return container_of(node, struct engine_user, node);
}

static const struct dataset_record *record_of(const struct engine_user *user)
{
	return user->fs ? engine_fs_record(user->fs) : volume_record(user->volume);
}

static const char *path_of(const struct engine_user *user)
{
	return user->fs ? fs_dataset_path(engine_fs(user->fs)) : volume_path(user->volume);
}

static bool uses(const struct engine_user *user, const char *name)
{
	return strcmp(path_of(user), name) == 0;
}

/* ---- messages ---- */

/* Of one dataset and what lies in it, or of all (name NULL): "vm1 by nbdkit pid 123 and 4 more". The count of all. */
static unsigned users_text(const struct engine *engine, const char *name, char *ret_text, size_t size)
{
	unsigned count = 0;
	size_t used = 0;

	ret_text[0] = 0;
	list_for_each(node, &engine->users) {
		const struct engine_user *user = user_at(node);
		bool named = name && uses(user, name);

		if ((name && !dataset_path_within(path_of(user), name)) || count++ >= NAMED_MAX)
			continue;
		used += (size_t)snprintf(ret_text + used, size - used, "%s%.40s%s%.60s", used ? ", " : "", named ? "" : path_of(user),
					 named ? "" : " by ", user->text);
	}
	if (count > NAMED_MAX)
		snprintf(ret_text + used, size - used, " and %u more", count - NAMED_MAX);
	return count;
}

/* -POOL_EINUSE with a text if anybody has the dataset open, or one that lies in it. */
static int refuse_users(struct engine *engine, const char *name, const char *what, struct pool_error *error)
{
	char text[400];

	if (!users_text(engine, name, text, sizeof(text)))
		return 0;
	return pool_error_set(error, -POOL_EINUSE, "%.60s/%.100s can't be %s while it is in use by %s: stop that first",
			      core_label(engine->core)->name, name, what, text);
}

/* ---- what there is ---- */

static void fill_info(const struct engine *engine, const struct dataset_record *record, struct libpool_volume_info *info)
{
	uint64_t cells = record->referenced_cells;

	*info = (struct libpool_volume_info){
		.size = sizeof(*info),
		.volume_bytes = record->volume_size,
		.block_bytes = 1u << record->block_shift,
		.created_ns = record->created_ns,
	};
	snprintf(info->name, sizeof(info->name), "%s", record->name);
	compression_format(record->compression_level, info->compression, sizeof(info->compression));
	list_for_each(node, &engine->users) {
		if (record_of(user_at(node))->id != record->id)
			continue;
		info->open_count++;
		cells = volume_used_cells(user_at(node)->volume);
	}
	info->used_bytes = cells * CELL_SIZE;
}

int engine_volumes(struct engine *engine, struct libpool_volume_info **ret_volumes, size_t *ret_count)
{
	struct libpool_volume_info *infos;
	struct dataset_record *records;
	size_t count;
	int result = volumes_list(engine->datasets, &records, &count);

	if (result < 0)
		return result;
	infos = calloc(count + 1, sizeof(*infos));
	for (size_t i = 0; infos && i < count; i++)
		fill_info(engine, &records[i], &infos[i]);
	free(records);
	if (!infos)
		return -ENOMEM;
	*ret_volumes = infos;
	*ret_count = count;
	return 0;
}

int engine_volume_info(struct engine *engine, const char *name, struct libpool_volume_info *ret_info, struct pool_error *error)
{
	struct dataset_record *records;
	size_t count;
	int result = volumes_list(engine->datasets, &records, &count);

	if (result < 0)
		return result;
	result = -ENOENT;
	for (size_t i = 0; result < 0 && i < count; i++) {
		if (strcmp(records[i].name, name) != 0)
			continue;
		fill_info(engine, &records[i], ret_info);
		result = 0;
	}
	free(records);
	if (result < 0)
		pool_error_set(error, result, "pool %s has no volume %.255s", core_label(engine->core)->name, name);
	return result;
}

int engine_users(struct engine *engine, struct libpool_user **ret_users, size_t *ret_count)
{
	size_t count = 0, next = 0;
	struct libpool_user *users;

	list_for_each(node, &engine->users)
		count++;
	users = calloc(count + 1, sizeof(*users));
	if (!users)
		return -ENOMEM;
	list_for_each(node, &engine->users) {
		const struct engine_user *user = user_at(node);
		struct libpool_user *to = &users[next++];

		*to = (struct libpool_user){
			.size = sizeof(*to),
			.since_ns = user->since_ns,
			.read_only = user->read_only,
			.exclusive = user->exclusive,
		};
		snprintf(to->dataset, sizeof(to->dataset), "%s", path_of(user));
		memcpy(to->user, user->text, sizeof(to->user));
	}
	*ret_users = users;
	*ret_count = count;
	return 0;
}

/* ---- open and closed ---- */

static int check_alone(struct engine *engine, const char *name, const struct engine_user *opener, struct pool_error *error)
{
	list_for_each(node, &engine->users) {
		const struct engine_user *user = user_at(node);

		if (uses(user, name) && (user->exclusive || opener->exclusive))
			return pool_error_set(error, -POOL_EINUSE, "%.60s/%.100s is in use%s by %s: stop that first%s",
					      core_label(engine->core)->name, name, user->exclusive ? ", exclusively," : "", user->text,
					      user->exclusive ? "" : ", or open it without insisting on being alone");
	}
	return 0;
}

static int open_alone(struct engine *engine, const char *name, bool filesystem, struct engine_user *user, struct pool_error *error)
{
	int result = check_alone(engine, name, user, error);

	if (result == 0 && engine->retired)
		result = pool_error_set(error, -ENODEV, "pool %s is being closed: nothing can be opened any more",
					core_label(engine->core)->name);
	if (result == 0)
		result = filesystem ? engine_fs_open(engine, name, &user->fs, error) :
				      volume_open(engine->datasets, name, &user->volume, error);
	if (result < 0)
		return result;
	user->since_ns = rt_realtime(engine->rt);
	list_push_back(&engine->users, &user->node);
	return 0;
}

int engine_dataset_open(struct engine *engine, const char *name, bool filesystem, struct engine_user *user, struct pool_error *error)
{
	int result;

	rt_mutex_lock(engine->rt, &engine->volumes_lock);
	result = open_alone(engine, name, filesystem, user, error);
	rt_mutex_unlock(engine->rt, &engine->volumes_lock);
	return result;
}

void engine_dataset_close(struct engine_user *user)
{
	struct engine_fs *fs = user->fs;

	list_remove(&user->node);
	volume_close(user->volume);
	user->volume = NULL;
	user->fs = NULL; /* first: nobody begins anything there any more */
	if (fs)
		engine_fs_close(fs);
}

void engine_users_close(struct engine *engine)
{
	/* Closing one waits: the list may be another then. */
	while (!list_empty(&engine->users))
		engine_dataset_close(user_at(engine->users.next));
}

int engine_retire(struct engine *engine, bool force, struct pool_error *error)
{
	char text[500];
	int result = 0;

	/* Who is about to open something counts. */
	rt_mutex_lock(engine->rt, &engine->volumes_lock);
	if (!force && users_text(engine, NULL, text, sizeof(text)))
		result = pool_error_set(error, -POOL_EINUSE, "pool %.60s is in use: %s: stop that first",
					core_label(engine->core)->name, text);
	else
		engine->retired = true;
	rt_mutex_unlock(engine->rt, &engine->volumes_lock);
	return result;
}

/* ---- changes ---- */

/* Whether it is made smaller; one that isn't there is left to who changes it. */
static bool is_shrink(struct engine *engine, const char *name, uint64_t bytes)
{
	struct libpool_volume_info info;

	return engine_volume_info(engine, name, &info, NULL) == 0 && bytes <= info.volume_bytes - info.block_bytes;
}

int engine_volume_resize(struct engine *engine, const char *name, uint64_t bytes, struct pool_error *error)
{
	int result = 0;

	rt_mutex_lock(engine->rt, &engine->volumes_lock);
	if (is_shrink(engine, name, bytes))
		result = refuse_users(engine, name, "made smaller", error);
	if (result == 0)
		result = volume_resize(engine->datasets, name, bytes, error);
	rt_mutex_unlock(engine->rt, &engine->volumes_lock);
	return result;
}

int engine_volume_destroy(struct engine *engine, const char *name, struct pool_error *error)
{
	int result;

	rt_mutex_lock(engine->rt, &engine->volumes_lock);
	result = refuse_users(engine, name, "destroyed", error);
	if (result == 0)
		result = volume_destroy(engine->datasets, name, error);
	rt_mutex_unlock(engine->rt, &engine->volumes_lock);
	return result;
}

int engine_fs_destroy(struct engine *engine, const char *name, bool recursive, struct pool_error *error)
{
	int result;

	rt_mutex_lock(engine->rt, &engine->volumes_lock);
	result = refuse_users(engine, name, "destroyed", error);
	if (result == 0)
		result = filesystem_destroy(engine->datasets, name, recursive, error);
	rt_mutex_unlock(engine->rt, &engine->volumes_lock);
	return result;
}

/* Volumes aren't mounted beneath file systems. */
static int check_place(struct engine *engine, const char *from, const char *to, struct pool_error *error)
{
	struct fs_super super;

	return fs_peek(engine->datasets, from, &super, NULL) < 0 ? 0 : fs_place_check(engine->datasets, to, from, error);
}

/* Mounts and servers know datasets by path. */
int engine_dataset_rename(struct engine *engine, const char *from, const char *to, struct pool_error *error)
{
	int result;

	rt_mutex_lock(engine->rt, &engine->volumes_lock);
	result = refuse_users(engine, from, "renamed", error);
	if (result == 0)
		result = check_place(engine, from, to, error);
	if (result == 0)
		result = dataset_rename(engine->datasets, from, to, error);
	rt_mutex_unlock(engine->rt, &engine->volumes_lock);
	return result;
}

/* ---- what would be refused ---- */

int engine_volume_resize_check(struct engine *engine, const char *name, uint64_t bytes, struct pool_error *error)
{
	int result = volume_resize_check(engine->datasets, name, bytes, error);

	return result == 0 && is_shrink(engine, name, bytes) ? refuse_users(engine, name, "made smaller", error) : result;
}

int engine_volume_destroy_check(struct engine *engine, const char *name, struct pool_error *error)
{
	int result = volume_destroy_check(engine->datasets, name, error);

	return result == 0 ? refuse_users(engine, name, "destroyed", error) : result;
}

int engine_fs_destroy_check(struct engine *engine, const char *name, bool recursive, struct pool_error *error)
{
	int result = filesystem_destroy_check(engine->datasets, name, recursive, error);

	return result == 0 ? refuse_users(engine, name, "destroyed", error) : result;
}

int engine_dataset_rename_check(struct engine *engine, const char *from, const char *to, struct pool_error *error)
{
	int result = dataset_check_rename(engine->datasets, from, to, error);

	if (result == 0)
		result = check_place(engine, from, to, error);
	return result == 0 ? refuse_users(engine, from, "renamed", error) : result;
}

unsigned engine_users_of(const struct engine *engine, const char *name)
{
	unsigned count = 0;

	list_for_each(node, &engine->users)
		count += uses(user_at(node), name);
	return count;
}

struct engine_fs *engine_fs_find(const struct engine *engine, const char *name)
{
	list_for_each(node, &engine->users)
		if (user_at(node)->fs && uses(user_at(node), name))
			return user_at(node)->fs;
	return NULL;
}
