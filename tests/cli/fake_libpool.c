/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One pool, in RAM, as simple as poolctl's tests allow: it answers what it was told to answer, so that
 * parsing, tables, documents, exit codes and error texts can be tested without an engine, and failures that
 * are hard to bring about on disks can be had at will. It says nothing about what the library does.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/cli/fake_libpool.h"

#define VOLUMES_MAX 8

struct libpool_volume {
	char name[LIBPOOL_NAME_MAX + 1];
	uint64_t bytes;
	unsigned char *data;
	bool used;
};

struct libpool_pool {
	bool exists, destroyed;
	char name[LIBPOOL_NAME_MAX + 1], profile[32];
	char paths[16][LIBPOOL_PATH_MAX];
	uint32_t disk_count;
	struct libpool_volume volumes[VOLUMES_MAX];
	char compression[LIBPOOL_TEXT_MAX];
	char history[16][2 * LIBPOOL_TEXT_MAX];
	size_t history_count;
	bool scrubbed, replaced, trimmed;
};

static struct libpool_pool the_pool;
struct fake_state fake_state;
int fake_open;
struct libpool_import_options fake_import;

static char failing[64], failing_text[512];
static int failing_code;

void fake_reset(void)
{
	for (int i = 0; i < VOLUMES_MAX; i++)
		free(the_pool.volumes[i].data);
	memset(&the_pool, 0, sizeof(the_pool));
	memset(&fake_state, 0, sizeof(fake_state));
	fake_state.importable = 2;
	fake_state.clean = 1;
	failing[0] = '\0';
	fake_open = 0;
}

void fake_fail(const char *name, int code, const char *text)
{
	snprintf(failing, sizeof(failing), "%s", name);
	snprintf(failing_text, sizeof(failing_text), "%s", text ? text : "");
	failing_code = code;
}

static int say(struct libpool_error *error, int code, const char *text)
{
	if (error) {
		error->code = code;
		snprintf(error->text, sizeof(error->text), "%.507s", text);
	}
	return code;
}

/* The failure that was ordered for this function, once. */
static int ordered(const char *name, struct libpool_error *error)
{
	if (strcmp(failing, name) != 0)
		return 0;
	failing[0] = '\0';
	return failing_text[0] ? say(error, failing_code, failing_text) : failing_code;
}

#define ORDERED(error)                                                                                       \
	do {                                                                                                 \
		int ordered_code = ordered(__func__, error);                                                 \
		if (ordered_code < 0)                                                                        \
			return ordered_code;                                                                 \
	} while (0)

const char *libpool_version(void)
{
	return "0.0-fake";
}

const char *libpool_strerror(int code)
{
	code = code < 0 ? -code : code;
	return code == LIBPOOL_EDAMAGED ? "damaged beyond repair"
	       : code < 4096		? strerror(code)
					: "code of the library";
}

void libpool_free(void *pointer)
{
	free(pointer);
}

int libpool_log_info(libpool_pool *pool, struct libpool_log_info *ret_info)
{
	(void)pool;
	ORDERED(NULL);
	*ret_info = (struct libpool_log_info){.size = sizeof(*ret_info), .flushes = 3, .groups = 2, .flush_times = {[4] = 1, [5] = 2}};
	return 0;
}

const char *libpool_disk_state_name(uint32_t state)
{
	return state == LIBPOOL_DISK_ONLINE ? "online" : state == LIBPOOL_DISK_MISSING ? "missing" : "faulty";
}

/* ---- pools ----------------------------------------------------------------------------------------------
 */

int libpool_create(const struct libpool_host *host, const struct libpool_create_options *options,
		   struct libpool_layout *ret_layout, struct libpool_error *error)
{
	(void)host;
	ORDERED(error);
	for (size_t i = 0; i < options->disk_count; i++) {
		FILE *file = fopen(options->disks[i], "re");

		if (!file)
			return say(error, -ENOENT, "disk is not there");
		fclose(file);
	}
	*ret_layout = (struct libpool_layout){.size = sizeof(*ret_layout),
					      .raw_bytes = UINT64_C(6) << 30,
					      .usable_bytes = UINT64_C(4) << 30,
					      .reserve_bytes = 1 << 20,
					      .au_bytes = 1 << 18,
					      .data_columns = 4,
					      .parity_columns = 2,
					      .disks_may_fail = 2,
					      .disk_count = (uint32_t)options->disk_count};
	if (options->dry_run)
		return 0;
	the_pool.exists = true;
	the_pool.disk_count = (uint32_t)options->disk_count;
	strcpy(the_pool.compression, "auto");
	snprintf(the_pool.name, sizeof(the_pool.name), "%s", options->name);
	snprintf(the_pool.profile, sizeof(the_pool.profile), "%s", options->profile);
	for (size_t i = 0; i < options->disk_count && i < 16; i++)
		snprintf(the_pool.paths[i], LIBPOOL_PATH_MAX, "%s", options->disks[i]);
	return 0;
}

int libpool_find(const struct libpool_host *host, struct libpool_found **ret_found, size_t *ret_count,
		 struct libpool_error *error)
{
	struct libpool_found *found;

	(void)host;
	ORDERED(error);
	found = calloc(1, sizeof(*found));
	found->size = sizeof(*found);
	strcpy(found->name, the_pool.name);
	memset(found->guid, 0xab, sizeof(found->guid));
	strcpy(found->profile, the_pool.profile);
	found->disks_configured = found->disks_found = the_pool.disk_count;
	found->destroyed = the_pool.destroyed;
	found->clean = fake_state.clean;
	found->in_use = fake_state.in_use;
	found->importable = fake_state.importable;
	found->txg = 7;
	found->time_ns = UINT64_C(1700000000123456789);
	found->raw_bytes = UINT64_C(6) << 30;
	*ret_found = found;
	*ret_count = the_pool.exists;
	return 0;
}

int libpool_import(const struct libpool_host *host, const struct libpool_import_options *options,
		   libpool_pool **ret_pool, struct libpool_error *error)
{
	(void)host;
	ORDERED(error);
	if (!the_pool.exists || the_pool.destroyed)
		return say(error, -ENOENT, "no such pool");
	fake_import = *options;
	fake_open++;
	*ret_pool = &the_pool;
	return 0;
}

int libpool_close(libpool_pool *pool, struct libpool_error *error)
{
	(void)pool;
	fake_open--;
	ORDERED(error);
	return 0;
}

int libpool_destroy(const struct libpool_host *host, const char *name, struct libpool_error *error)
{
	(void)host, (void)name;
	ORDERED(error);
	the_pool.destroyed = true;
	return 0;
}

int libpool_undestroy(const struct libpool_host *host, const char *name, struct libpool_error *error)
{
	(void)host, (void)name;
	ORDERED(error);
	the_pool.destroyed = false;
	return 0;
}

/* ---- state ----------------------------------------------------------------------------------------------
 */

int libpool_pool_info(libpool_pool *pool, struct libpool_pool_info *ret_info)
{
	ORDERED(NULL);
	*ret_info = (struct libpool_pool_info){.size = sizeof(*ret_info),
					       .health = fake_state.health,
					       .read_only = fake_import.read_only != 0,
					       .data_columns = 4,
					       .parity_columns = 2,
					       .disk_count = pool->disk_count,
					       .disks_online = pool->disk_count,
					       .usable_bytes = UINT64_C(4) << 30,
					       .used_bytes = UINT64_C(1) << 30,
					       .free_bytes = UINT64_C(3) << 30,
					       .damaged_ranges = fake_state.damaged_ranges};
	strcpy(ret_info->name, pool->name);
	strcpy(ret_info->profile, pool->profile);
	strcpy(ret_info->problem, fake_state.problem);
	strcpy(ret_info->action, fake_state.action);
	return 0;
}

int libpool_disks(libpool_pool *pool, struct libpool_disk_info **ret_disks, size_t *ret_count)
{
	struct libpool_disk_info *disks;

	ORDERED(NULL);
	disks = calloc(pool->disk_count + 1, sizeof(*disks));
	for (uint32_t i = 0; i < pool->disk_count; i++) {
		disks[i].size = sizeof(*disks);
		disks[i].index = i;
		memset(disks[i].guid, (int)(0x10 + i), sizeof(disks[i].guid));
		strcpy(disks[i].path, pool->paths[i]);
		disks[i].disk_bytes = UINT64_C(1) << 30;
		disks[i].state = i == 1 ? fake_state.disk_state : LIBPOOL_DISK_ONLINE;
	}
	*ret_disks = disks;
	*ret_count = pool->disk_count;
	return 0;
}

int libpool_damage(libpool_pool *pool, struct libpool_damage **ret_damage, size_t *ret_count)
{
	(void)pool;
	ORDERED(NULL);
	*ret_damage = calloc(1, sizeof(**ret_damage));
	strcpy((*ret_damage)->dataset, "disk1");
	(*ret_damage)->offset = 16384;
	(*ret_damage)->length = 4096;
	*ret_count = fake_state.damaged_ranges ? 1 : 0;
	return 0;
}

int libpool_events(libpool_pool *pool, uint64_t after, struct libpool_event **ret_events, size_t *ret_count)
{
	(void)pool, (void)after;
	ORDERED(NULL);
	*ret_events = calloc(1, sizeof(**ret_events));
	(*ret_events)->severity = 1;
	strcpy((*ret_events)->kind, "disk.faulty");
	strcpy((*ret_events)->text, "one\ttwo");
	*ret_count = 1;
	return 0;
}

int libpool_history(libpool_pool *pool, struct libpool_history **ret_history, size_t *ret_count)
{
	ORDERED(NULL);
	*ret_history = calloc(16, sizeof(**ret_history));
	for (size_t i = 0; i < pool->history_count; i++)
		strcpy((*ret_history)[i].text, pool->history[i]);
	*ret_count = pool->history_count;
	return 0;
}

int libpool_history_add(libpool_pool *pool, const char *text, struct libpool_error *error)
{
	ORDERED(error);
	if (pool->history_count < 16)
		snprintf(pool->history[pool->history_count++], 2 * LIBPOOL_TEXT_MAX, "%s", text);
	return 0;
}

int libpool_property_set(libpool_pool *pool, const char *dataset, const char *name, const char *value,
			 struct libpool_error *error)
{
	(void)dataset, (void)name;
	ORDERED(error);
	snprintf(pool->compression, sizeof(pool->compression), "%s", value);
	return 0;
}

int libpool_property_inherit(libpool_pool *pool, const char *dataset, const char *name, struct libpool_error *error)
{
	(void)pool, (void)dataset, (void)name;
	ORDERED(error);
	return 0;
}

int libpool_property_get(libpool_pool *pool, const char *dataset, const char *name, struct libpool_property *ret_property,
			 struct libpool_error *error)
{
	(void)pool, (void)dataset, (void)name, (void)ret_property;
	ORDERED(error);
	return 0;
}

int libpool_owners(libpool_pool *pool, const char *name, struct libpool_owner **ret_owners, size_t *ret_count, struct libpool_error *error)
{
	(void)pool, (void)name;
	ORDERED(error);
	*ret_owners = calloc(1, sizeof(**ret_owners));
	*ret_count = 0;
	return 0;
}

int libpool_property_check(libpool_pool *pool, const char *dataset, const char *name, const char *value,
			   struct libpool_error *error)
{
	(void)pool, (void)dataset, (void)name, (void)value;
	ORDERED(error);
	return 0;
}

int libpool_pool_sync(libpool_pool *pool, struct libpool_error *error)
{
	(void)pool;
	ORDERED(error);
	return 0;
}

int libpool_users(libpool_pool *pool, struct libpool_user **ret_users, size_t *ret_count)
{
	(void)pool;
	ORDERED(NULL);
	*ret_users = calloc(1, sizeof(**ret_users));
	*ret_count = 0;
	return 0;
}

int libpool_close_prepare(libpool_pool *pool, int force, struct libpool_error *error)
{
	(void)pool, (void)force;
	ORDERED(error);
	return 0;
}

/* ---- jobs and disks -------------------------------------------------------------------------------------
 */

int libpool_jobs(libpool_pool *pool, struct libpool_job **ret_jobs, size_t *ret_count)
{
	struct libpool_job *job;

	ORDERED(NULL);
	job = calloc(1, sizeof(*job));
	job->size = sizeof(*job);
	job->kind = pool->replaced ? LIBPOOL_JOB_REBUILD : pool->trimmed ? LIBPOOL_JOB_TRIM : LIBPOOL_JOB_SCRUB;
	job->state = LIBPOOL_JOB_FINISHED;
	job->started_ns = UINT64_C(1700000000000000000);
	job->ended_ns = UINT64_C(1700000003100000000);
	job->total_bytes = job->done_bytes = UINT64_C(1) << 30;
	job->cells_repaired = fake_state.cells_repaired;
	job->cells_unrepaired = fake_state.cells_unrepaired;
	*ret_jobs = job;
	*ret_count = pool->scrubbed || pool->replaced || pool->trimmed;
	return 0;
}

int libpool_scrub_start(libpool_pool *pool, const struct libpool_scrub_options *options,
			struct libpool_error *error)
{
	(void)options;
	ORDERED(error);
	pool->scrubbed = true;
	return 0;
}

int libpool_scrub_pause(libpool_pool *pool, struct libpool_error *error)
{
	(void)pool;
	ORDERED(error);
	return 0;
}

int libpool_scrub_cancel(libpool_pool *pool, struct libpool_error *error)
{
	(void)pool;
	ORDERED(error);
	return 0;
}

int libpool_trim_start(libpool_pool *pool, const struct libpool_trim_options *options, struct libpool_error *error)
{
	ORDERED(error);
	(void)options;
	pool->trimmed = true;
	return 0;
}

int libpool_trim_cancel(libpool_pool *pool, struct libpool_error *error)
{
	(void)pool;
	ORDERED(error);
	return 0;
}

int libpool_jobs_wait(libpool_pool *pool, uint32_t kinds, uint64_t timeout_ns)
{
	(void)pool, (void)kinds, (void)timeout_ns;
	ORDERED(NULL);
	if (fake_state.wait_steps == 0)
		return 0;
	fake_state.wait_steps--;
	return -ETIMEDOUT;
}

int libpool_disk_replace(libpool_pool *pool, const struct libpool_replace_options *options,
			 struct libpool_error *error)
{
	ORDERED(error);
	if (options->dry_run)
		return 0;
	snprintf(pool->paths[atoi(options->old_disk + 1)], LIBPOOL_PATH_MAX, "%s", options->new_disk);
	pool->replaced = true;
	return 0;
}

int libpool_disk_offline(libpool_pool *pool, const char *disk, struct libpool_error *error)
{
	(void)pool, (void)disk;
	ORDERED(error);
	return 0;
}

int libpool_disk_online(libpool_pool *pool, const char *disk, const char *path, struct libpool_error *error)
{
	(void)pool, (void)disk, (void)path;
	ORDERED(error);
	return 0;
}

int libpool_disk_offline_check(libpool_pool *pool, const char *disk, struct libpool_error *error)
{
	(void)pool, (void)disk;
	ORDERED(error);
	return 0;
}

int libpool_disk_online_check(libpool_pool *pool, const char *disk, const char *path, struct libpool_error *error)
{
	(void)pool, (void)disk, (void)path;
	ORDERED(error);
	return 0;
}

int libpool_disk_add(libpool_pool *pool, const struct libpool_disk_add_options *options, struct libpool_error *error)
{
	(void)pool, (void)options;
	ORDERED(error);
	return 0;
}

int libpool_disk_remove(libpool_pool *pool, const char *disk, struct libpool_error *error)
{
	(void)pool, (void)disk;
	ORDERED(error);
	return 0;
}

int libpool_disk_remove_check(libpool_pool *pool, const char *disk, struct libpool_error *error)
{
	(void)pool, (void)disk;
	ORDERED(error);
	return 0;
}

int libpool_volume_resize_check(libpool_pool *pool, const char *name, uint64_t bytes, struct libpool_error *error)
{
	(void)pool, (void)name, (void)bytes;
	ORDERED(error);
	return 0;
}

int libpool_volume_destroy_check(libpool_pool *pool, const char *name, struct libpool_error *error)
{
	(void)pool, (void)name;
	ORDERED(error);
	return 0;
}

int libpool_dataset_rename_check(libpool_pool *pool, const char *from, const char *to, struct libpool_error *error)
{
	(void)pool, (void)from, (void)to;
	ORDERED(error);
	return 0;
}

int libpool_clear(libpool_pool *pool, const char *disk, struct libpool_error *error)
{
	(void)pool, (void)disk;
	ORDERED(error);
	return 0;
}

int libpool_verify(libpool_pool *pool, const struct libpool_verify_options *options,
		   struct libpool_verify_result *ret_result, struct libpool_error *error)
{
	(void)pool, (void)options;
	ORDERED(error);
	ret_result->violations = fake_state.violations;
	return 0;
}

/* ---- volumes --------------------------------------------------------------------------------------------
 */

static struct libpool_volume *named(libpool_pool *pool, const char *name)
{
	for (int i = 0; i < VOLUMES_MAX; i++) {
		if (pool->volumes[i].used && strcmp(pool->volumes[i].name, name) == 0)
			return &pool->volumes[i];
	}
	return NULL;
}

int libpool_properties(libpool_pool *pool, const char *dataset, struct libpool_property **ret_properties,
		       size_t *ret_count, struct libpool_error *error)
{
	struct libpool_volume *volume = dataset && dataset[0] ? named(pool, dataset) : NULL;

	ORDERED(error);
	if (dataset && dataset[0] && !volume)
		return say(error, -ENOENT, "no such volume");
	*ret_properties = calloc(3, sizeof(**ret_properties));
	strcpy((*ret_properties)[0].name, "compression");
	strcpy((*ret_properties)[0].value, pool->compression);
	strcpy((*ret_properties)[1].name, "used");
	strcpy((*ret_properties)[1].value, "1.37G");
	(*ret_properties)[1].read_only = 1;
	(*ret_properties)[1].kind = LIBPOOL_PROPERTY_BYTES;
	(*ret_properties)[1].number = 1471026298;
	strcpy((*ret_properties)[2].name, "volsize");
	(*ret_properties)[2].kind = LIBPOOL_PROPERTY_BYTES;
	(*ret_properties)[2].number = volume ? volume->bytes : 0;
	*ret_count = volume ? 3 : 2;
	return 0;
}

int libpool_volume_create(libpool_pool *pool, const char *name, const struct libpool_volume_options *options,
			  struct libpool_error *error)
{
	ORDERED(error);
	if (named(pool, name))
		return say(error, -EEXIST, "the volume exists");
	if (options->dry_run)
		return 0;
	for (int i = 0; i < VOLUMES_MAX; i++) {
		struct libpool_volume *volume = &pool->volumes[i];

		if (volume->used)
			continue;
		volume->used = true;
		volume->bytes = options->volume_bytes;
		volume->data = options->volume_bytes <= (64 << 20) ? calloc(1, options->volume_bytes) : NULL;
		snprintf(volume->name, sizeof(volume->name), "%s", name);
		return 0;
	}
	return -ENOSPC;
}

int libpool_volume_resize(libpool_pool *pool, const char *name, uint64_t volume_bytes,
			  struct libpool_error *error)
{
	ORDERED(error);
	named(pool, name)->bytes = volume_bytes;
	return 0;
}

int libpool_volume_destroy(libpool_pool *pool, const char *name, struct libpool_error *error)
{
	ORDERED(error);
	free(named(pool, name)->data);
	*named(pool, name) = (struct libpool_volume){0};
	return 0;
}

int libpool_fs_create(libpool_pool *pool, const char *name, const struct libpool_fs_options *options, struct libpool_error *error)
{
	(void)pool, (void)options;
	ORDERED(error);
	return say(error, -EEXIST, name);
}

int libpool_dataset_rename(libpool_pool *pool, const char *from, const char *to, struct libpool_error *error)
{
	(void)pool, (void)to;
	ORDERED(error);
	return say(error, -ENOENT, from);
}

int libpool_fs_destroy(libpool_pool *pool, const char *name, const struct libpool_fs_destroy_options *options, struct libpool_error *error)
{
	(void)pool, (void)options;
	ORDERED(error);
	return say(error, -ENOENT, name);
}

/* Pools of the double have none. */
int libpool_filesystems(libpool_pool *pool, struct libpool_fs_info **ret_infos, size_t *ret_count)
{
	(void)pool;
	ORDERED(NULL);
	*ret_infos = calloc(1, sizeof(**ret_infos));
	*ret_count = 0;
	return *ret_infos ? 0 : -ENOMEM;
}

int libpool_volumes(libpool_pool *pool, struct libpool_volume_info **ret_volumes, size_t *ret_count)
{
	size_t count = 0;

	ORDERED(NULL);
	*ret_volumes = calloc(VOLUMES_MAX, sizeof(**ret_volumes));
	for (int i = 0; i < VOLUMES_MAX; i++) {
		if (pool->volumes[i].used)
			libpool_volume_get_info(&pool->volumes[i], &(*ret_volumes)[count++]);
	}
	*ret_count = count;
	return 0;
}

int libpool_volume_info(libpool_pool *pool, const char *name, struct libpool_volume_info *ret_info, struct libpool_error *error)
{
	struct libpool_volume *volume = named(pool, name);

	ORDERED(error);
	return volume ? libpool_volume_get_info(volume, ret_info) : say(error, -ENOENT, "no such volume");
}

int libpool_volume_open(libpool_pool *pool, const char *name, const struct libpool_open_options *options,
			libpool_volume **ret_volume, struct libpool_error *error)
{
	struct libpool_volume *volume = named(pool, name);

	(void)options;
	ORDERED(error);
	if (!volume)
		return say(error, -ENOENT, "no such volume");
	*ret_volume = volume;
	return 0;
}

int libpool_volume_close(libpool_volume *volume)
{
	(void)volume;
	return 0;
}

int libpool_volume_get_info(libpool_volume *volume, struct libpool_volume_info *ret_info)
{
	*ret_info = (struct libpool_volume_info){.size = sizeof(*ret_info),
						 .volume_bytes = volume->bytes,
						 .block_bytes = 16384,
						 .created_ns = UINT64_C(1700000000123456789)};
	strcpy(ret_info->name, volume->name);
	strcpy(ret_info->compression, "auto");
	return 0;
}

int libpool_volume_read(libpool_volume *volume, uint64_t offset, size_t length, void *buffer)
{
	ORDERED(NULL);
	if (offset + length > volume->bytes)
		return -EINVAL;
	memcpy(buffer, volume->data + offset, length);
	return 0;
}

int libpool_volume_write(libpool_volume *volume, uint64_t offset, size_t length, const void *buffer)
{
	ORDERED(NULL);
	if (offset + length > volume->bytes)
		return -EINVAL;
	if (fake_import.read_only == 2) /* a dry run: only checked */
		return 0;
	memcpy(volume->data + offset, buffer, length);
	return 0;
}

int libpool_volume_flush(libpool_volume *volume)
{
	(void)volume;
	ORDERED(NULL);
	return 0;
}
