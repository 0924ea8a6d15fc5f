/* SPDX-License-Identifier: BSD-2-Clause */
/* File systems as libpool.h has them: create, destroy, list, open, close. Names: api_fs_names.c; content: api_fs_content.c. */
#include "libpool/pool/api_fs.h"

#include <stdlib.h>
#include <string.h>

#include "libpool/pool/setting_text.h"
#include "libpool/pool/text.h"

struct create_arguments {
	const char *name;
	struct fs_create_options options;
	bool dry_run;
};

static int run_create(struct libpool_pool *pool, struct engine *engine, void *data, struct pool_error *error)
{
	struct create_arguments *arguments = data;

	(void)pool;
	int result = fs_place_check(engine_datasets(engine), arguments->name, NULL, error);
	if (result < 0)
		return result;
	if (arguments->dry_run)
		return filesystem_create_check(engine_datasets(engine), arguments->name, &arguments->options.settings, error);
	return fs_create(engine_datasets(engine), arguments->name, &arguments->options, error);
}

static int take_options(const char *name, const struct libpool_fs_options *options, struct fs_create_options *ret_options,
			struct pool_error *error)
{
	uint32_t record = options->record_bytes;
	const char *compression = options->compression;

	*ret_options = (struct fs_create_options){.mode = options->mode, .uid = options->uid, .gid = options->gid};
	if (record && (record & (record - 1) || record < 4096 || record > 1u << 20))
		return pool_error_set(error, -EINVAL,
				      "file system %.100s: a record size of %u bytes is not possible: a power of two from 4 KiB to 1 MiB", name, record);
	if (record) {
		ret_options->settings.mask |= 1u << SETTING_RECORDSIZE;
		ret_options->settings.values[SETTING_RECORDSIZE] = (uint8_t)__builtin_ctz(record);
	}
	if (compression && compression[0])
		ret_options->settings.mask |= 1u << SETTING_COMPRESSION;
	if (compression && compression[0] && !compression_parse(compression, &ret_options->settings.values[SETTING_COMPRESSION]))
		return pool_error_set(error, -EINVAL, "file system %.100s: compression '%.40s' is none of off, auto, zstd-1 to zstd-19", name,
				      compression);
	int case_mode = text_find(case_texts, FS_CASE_COUNT, options->casesensitivity);
	if (case_mode < 0)
		return pool_error_set(error, -EINVAL, "file system %.100s: casesensitivity '%.40s' is none of sensitive, insensitive", name,
				      options->casesensitivity);
	int normalization = text_find(normalization_texts, FS_NORMALIZATION_COUNT, options->normalization);
	if (normalization < 0)
		return pool_error_set(error, -EINVAL, "file system %.100s: normalization '%.40s' is none of none, formD, formKD", name,
				      options->normalization);
	ret_options->case_mode = (uint8_t)case_mode;
	ret_options->normalization = (uint8_t)normalization;
	if (options->mode & ~07777u)
		return pool_error_set(error, -EINVAL, "file system %.100s: %o is no mode of a directory", name, options->mode);
	return 0;
}

int libpool_fs_create(libpool_pool *pool, const char *name, const struct libpool_fs_options *options, struct libpool_error *error)
{
	struct create_arguments arguments = {.name = name};
	struct libpool_fs_options copy;
	struct pool_error local = {0};
	int result = name ? api_options_copy(&copy, sizeof(copy), options) : -EINVAL;

	if (result == 0)
		result = take_options(name, &copy, &arguments.options, &local);
	if (result < 0)
		return api_error(error, result, &local);
	arguments.dry_run = copy.dry_run;
	return api_run(pool, NULL, run_create, &arguments, error);
}

struct destroy_arguments {
	const char *name;
	struct libpool_fs_destroy_options options;
};

static int run_destroy(struct libpool_pool *pool, struct engine *engine, void *data, struct pool_error *error)
{
	struct destroy_arguments *arguments = data;

	(void)pool;
	if (arguments->options.dry_run)
		return engine_fs_destroy_check(engine, arguments->name, arguments->options.recursive, error);
	return engine_fs_destroy(engine, arguments->name, arguments->options.recursive, error);
}

int libpool_fs_destroy(libpool_pool *pool, const char *name, const struct libpool_fs_destroy_options *options, struct libpool_error *error)
{
	struct destroy_arguments arguments = {.name = name};
	int result = name ? api_options_copy(&arguments.options, sizeof(arguments.options), options) : -EINVAL;

	return result < 0 ? api_error(error, result, NULL) : api_run(pool, NULL, run_destroy, &arguments, error);
}

struct rename_arguments {
	const char *from, *to;
};

static int run_rename(struct libpool_pool *pool, struct engine *engine, void *data, struct pool_error *error)
{
	struct rename_arguments *arguments = data;

	(void)pool;
	return engine_dataset_rename(engine, arguments->from, arguments->to, error);
}

int libpool_dataset_rename(libpool_pool *pool, const char *from, const char *to, struct libpool_error *error)
{
	struct rename_arguments arguments = {from, to};

	return from && to ? api_run(pool, NULL, run_rename, &arguments, error) : api_error(error, -EINVAL, NULL);
}

static int run_rename_check(struct libpool_pool *pool, struct engine *engine, void *data, struct pool_error *error)
{
	struct rename_arguments *arguments = data;

	(void)pool;
	return engine_dataset_rename_check(engine, arguments->from, arguments->to, error);
}

int libpool_dataset_rename_check(libpool_pool *pool, const char *from, const char *to, struct libpool_error *error)
{
	struct rename_arguments arguments = {from, to};

	return from && to ? api_run(pool, NULL, run_rename_check, &arguments, error) : api_error(error, -EINVAL, NULL);
}

struct list_arguments {
	struct libpool_fs_info *infos;
	size_t count;
};

static int run_list(struct libpool_pool *pool, struct engine *engine, void *data, struct pool_error *error)
{
	struct list_arguments *arguments = data;

	(void)pool, (void)error;
	return engine_filesystems(engine, &arguments->infos, &arguments->count);
}

int libpool_filesystems(libpool_pool *pool, struct libpool_fs_info **ret_infos, size_t *ret_count)
{
	struct list_arguments arguments = {0};
	int result = ret_infos && ret_count ? api_run(pool, NULL, run_list, &arguments, NULL) : -EINVAL;

	if (result < 0)
		return result;
	*ret_infos = arguments.infos;
	*ret_count = arguments.count;
	return 0;
}

/* ---- handles ---- */

struct open_arguments {
	const char *name;
	struct libpool_fs *fs;
};

static int run_open(struct libpool_pool *pool, struct engine *engine, void *data, struct pool_error *error)
{
	struct open_arguments *arguments = data;
	struct libpool_fs *fs = arguments->fs;

	(void)pool;
	fs->user.read_only |= core_read_only(engine_core(engine));
	fs->read_only = fs->user.read_only;
	return engine_dataset_open(engine, arguments->name, true, &fs->user, error);
}

int libpool_fs_open(libpool_pool *pool, const char *name, const struct libpool_open_options *options, libpool_fs **ret_fs,
		    struct libpool_error *error)
{
	struct libpool_open_options copy;
	struct open_arguments arguments = {.name = name};
	struct pool_error local = {0};
	int result = pool && name && ret_fs ? api_options_copy(&copy, sizeof(copy), options) : -EINVAL;

	if (result < 0)
		return api_error(error, result, NULL);
	arguments.fs = calloc(1, sizeof(*arguments.fs));
	if (!arguments.fs)
		return api_error(error, -ENOMEM, NULL);
	arguments.fs->pool = pool;
	arguments.fs->user.read_only = copy.read_only;
	arguments.fs->user.exclusive = true;
	result = api_take_user(name, copy.user, arguments.fs->user.text, &local);
	if (result < 0)
		api_error(error, result, &local);
	else
		result = api_run(pool, NULL, run_open, &arguments, error);
	if (result < 0) {
		free(arguments.fs);
		return result;
	}
	api_pool_ref(pool);
	*ret_fs = arguments.fs;
	return 0;
}

static int run_close(struct libpool_pool *pool, struct engine *engine, void *data, struct pool_error *error)
{
	struct libpool_fs *fs = data;

	(void)pool, (void)engine, (void)error;
	engine_dataset_close(&fs->user);
	return 0;
}

struct read_only_arguments {
	struct libpool_fs *fs;
	bool read_only;
};

static int run_set_read_only(struct libpool_pool *pool, struct engine *engine, void *data, struct pool_error *error)
{
	const struct read_only_arguments *arguments = data;

	(void)pool, (void)error;
	if (!arguments->read_only && core_read_only(engine_core(engine)))
		return -EROFS;
	arguments->fs->read_only = arguments->fs->user.read_only = arguments->read_only;
	return 0;
}

int libpool_fs_set_read_only(libpool_fs *fs, int read_only)
{
	struct read_only_arguments arguments = {.fs = fs, .read_only = read_only};

	return fs ? api_run(fs->pool, NULL, run_set_read_only, &arguments, NULL) : -EINVAL;
}

int libpool_fs_close(libpool_fs *fs)
{
	if (!fs)
		return 0;
	api_run_close(fs->pool, run_close, fs);
	api_pool_unref(fs->pool);
	free(fs);
	return 0;
}

/* ---- calls ---- */

static int run_call(struct libpool_pool *pool, struct engine *engine, void *data, struct pool_error *error)
{
	struct fs_call *call = data;

	(void)pool, (void)engine, (void)error;
	call->engine_fs = call->handle->user.fs;
	if (!call->engine_fs)
		return -ENODEV;
	call->fs = engine_fs(call->engine_fs);
	int result = call->function(call), changed = result >= 0 && call->changes ? fs_changed(call->fs) : 0;

	/* Who gets the error doesn't know that he holds something. */
	if (changed < 0 && call->held)
		(void)engine_fs_forget(call->engine_fs, call->attributes.node, 1);
	return changed < 0 ? changed : result;
}

int fs_call(struct fs_call *call, int (*function)(struct fs_call *call), bool changes)
{
	if (!call->handle)
		return -EINVAL;
	if (changes && call->handle->read_only)
		return -EROFS;
	call->function = function;
	call->changes = changes;
	return api_run_here(call->handle->pool, NULL, run_call, call);
}

static int on_node(struct fs_call *call)
{
	struct fs_node *node;
	int result = fs_get(call->fs, call->node, 0, &node);

	if (result < 0)
		return result;
	result = call->node_function(call, node);
	fs_put(node);
	return result;
}

int fs_call_node(struct fs_call *call, fs_node_function *function, bool changes)
{
	call->node_function = function;
	return fs_call(call, on_node, changes);
}

int fs_call_attributes(struct fs_call *call, fs_node_function *function, bool changes, struct libpool_attributes *ret_attributes)
{
	int result = ret_attributes ? api_result_check(ret_attributes) : 0;

	if (result == 0)
		result = fs_call_node(call, function, changes);
	if (result == 0 && ret_attributes)
		result = api_result_copy(ret_attributes, &call->attributes, sizeof(call->attributes));
	return result;
}

static struct libpool_time time_out(const struct fs_time *time)
{
	return (struct libpool_time){time->seconds, time->nanoseconds, 0};
}

void fs_attributes_fill(const struct fs_node *node, struct libpool_attributes *ret_attributes)
{
	struct fs_attributes all;

	fs_attributes(node, &all);
	*ret_attributes = (struct libpool_attributes){
		.size = sizeof(*ret_attributes),
		.node = all.number,
		.generation = all.generation,
		.length = all.size,
		.blocks = all.blocks,
		.changes = all.changes,
		.mode = all.mode,
		.links = all.links,
		.uid = all.uid,
		.gid = all.gid,
		.project = all.project,
		.device_major = all.device_major,
		.device_minor = all.device_minor,
		.block_bytes = all.block_size,
		.unsettled = all.unsettled,
		.access = time_out(&all.times[FS_TIME_ACCESS]),
		.modify = time_out(&all.times[FS_TIME_MODIFY]),
		.change = time_out(&all.times[FS_TIME_CHANGE]),
		.birth = time_out(&all.times[FS_TIME_BIRTH]),
	};
}

int fs_call_finish(struct fs_call *call, struct fs_node *node, bool hold)
{
	int result = hold ? engine_fs_hold(call->engine_fs, node) : 0;

	call->held = hold && result == 0;
	fs_attributes_fill(node, &call->attributes);
	return result;
}
