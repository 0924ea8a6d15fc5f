/* Volumes as libpool.h has them: create, list, open, close. Reading and writing: api_transfer.c. */
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libpool/pool/api_pool.h"
#include "libpool/pool/text.h"

/* ---- the set of volumes ---- */

struct create_arguments {
	const char *name;
	struct libpool_volume_options options;
	uint8_t compression;
};

static int run_create(struct libpool_pool *pool, struct engine *engine, void *data, struct pool_error *error)
{
	struct create_arguments *arguments = data;

	(void)pool;
	return volume_create(engine_datasets(engine), arguments->name, arguments->options.volume_bytes, arguments->options.block_bytes,
			     arguments->compression, error);
}

int libpool_volume_create(libpool_pool *pool, const char *name, const struct libpool_volume_options *options,
			  struct libpool_error *error)
{
	struct create_arguments arguments = {.name = name, .compression = BLOCK_COMPRESS_AUTO};
	struct pool_error local = {0};
	const char *compression;
	int result = name && options ? api_options_copy(&arguments.options, sizeof(arguments.options), options) : -EINVAL;

	if (result < 0)
		return api_error(error, result, NULL);
	compression = arguments.options.compression;
	if (!arguments.options.block_bytes)
		arguments.options.block_bytes = 16u << 10;
	if (compression && compression[0] && !compression_parse(compression, &arguments.compression)) {
		pool_error_set(&local, -EINVAL, "volume %.100s: compression '%.40s' is none of off, auto, zstd-1 to zstd-19", name,
			       compression);
		return api_error(error, -EINVAL, &local);
	}
	return api_run(pool, NULL, run_create, &arguments, error);
}

struct resize_arguments {
	const char *name;
	uint64_t bytes;
};

static int run_resize(struct libpool_pool *pool, struct engine *engine, void *data, struct pool_error *error)
{
	struct resize_arguments *arguments = data;

	(void)pool;
	return volume_resize(engine_datasets(engine), arguments->name, arguments->bytes, error);
}

int libpool_volume_resize(libpool_pool *pool, const char *name, uint64_t volume_bytes, struct libpool_error *error)
{
	struct resize_arguments arguments = {name, volume_bytes};

	return name ? api_run(pool, NULL, run_resize, &arguments, error) : api_error(error, -EINVAL, NULL);
}

static int run_destroy(struct libpool_pool *pool, struct engine *engine, void *data, struct pool_error *error)
{
	(void)pool;
	return volume_destroy(engine_datasets(engine), data, error);
}

int libpool_volume_destroy(libpool_pool *pool, const char *name, struct libpool_error *error)
{
	return name ? api_run(pool, NULL, run_destroy, (void *)(uintptr_t)name, error) : api_error(error, -EINVAL, NULL);
}

static void fill_info(const struct dataset_record *record, struct libpool_volume_info *info)
{
	*info = (struct libpool_volume_info){
		.size = sizeof(*info),
		.volume_bytes = record->volume_size,
		.used_bytes = record->referenced_cells * CELL_SIZE,
		.block_bytes = 1u << record->block_shift,
		.created_ns = record->created_ns,
	};
	snprintf(info->name, sizeof(info->name), "%s", record->name);
	compression_format(record->compression_level, info->compression, sizeof(info->compression));
}

struct list_arguments {
	struct libpool_volume_info *infos;
	size_t count;
};

static uint32_t handles_of(const struct libpool_pool *pool, uint32_t dataset)
{
	uint32_t count = 0;

	list_for_each(node, &pool->volumes)
		count += volume_record(container_of(node, struct libpool_volume, node)->volume)->id == dataset;
	return count;
}

static int run_list(struct libpool_pool *pool, struct engine *engine, void *data, struct pool_error *error)
{
	struct list_arguments *arguments = data;
	struct dataset_record *records;
	int result = volumes_list(engine_datasets(engine), &records, &arguments->count);

	(void)error;
	if (result < 0)
		return result;
	arguments->infos = calloc(arguments->count + 1, sizeof(*arguments->infos));
	for (size_t i = 0; arguments->infos && i < arguments->count; i++) {
		fill_info(&records[i], &arguments->infos[i]);
		arguments->infos[i].open_count = handles_of(pool, records[i].id);
	}
	free(records);
	return arguments->infos ? 0 : -ENOMEM;
}

int libpool_volumes(libpool_pool *pool, struct libpool_volume_info **ret_volumes, size_t *ret_count)
{
	struct list_arguments arguments = {NULL, 0};
	int result = ret_volumes && ret_count ? api_run(pool, NULL, run_list, &arguments, NULL) : -EINVAL;

	if (result == 0) {
		*ret_volumes = arguments.infos;
		*ret_count = arguments.count;
	}
	return result;
}

/* ---- handles ---- */

struct open_arguments {
	const char *name;
	struct libpool_volume *volume;
};

static int run_open(struct libpool_pool *pool, struct engine *engine, void *data, struct pool_error *error)
{
	struct open_arguments *arguments = data;
	int result = volume_open(engine_datasets(engine), arguments->name, &arguments->volume->volume, error);

	if (result < 0)
		return result;
	arguments->volume->block_shift = volume_record(arguments->volume->volume)->block_shift;
	list_push_back(&pool->volumes, &arguments->volume->node);
	return 0;
}

int libpool_volume_open(libpool_pool *pool, const char *name, libpool_volume **ret_volume, struct libpool_error *error)
{
	struct open_arguments arguments = {name, calloc(1, sizeof(struct libpool_volume))};
	int result = arguments.volume ? (pool && name && ret_volume ? 0 : -EINVAL) : -ENOMEM;

	if (result < 0) {
		free(arguments.volume);
		return api_error(error, result, NULL);
	}
	arguments.volume->pool = pool;
	pthread_mutex_lock(&pool->lock);
	pool->references++;
	pthread_mutex_unlock(&pool->lock);
	result = api_run(pool, NULL, run_open, &arguments, error);
	if (result < 0) {
		free(arguments.volume);
		api_pool_unref(pool);
		return result;
	}
	*ret_volume = arguments.volume;
	return 0;
}

static int run_close(struct libpool_pool *pool, struct engine *engine, void *data, struct pool_error *error)
{
	struct libpool_volume *volume = data;

	(void)pool, (void)engine, (void)error;
	list_remove(&volume->node);
	volume_close(volume->volume);
	return 0;
}

int libpool_volume_close(libpool_volume *volume)
{
	struct libpool_pool *pool;

	if (!volume)
		return 0;
	pool = volume->pool;
	pthread_mutex_lock(&pool->lock);
	volume->closed = true;
	while (volume->calls)
		pthread_cond_wait(&pool->idle, &pool->lock);
	pthread_mutex_unlock(&pool->lock);
	/* -ENODEV: the pool was closed, and closed the volume with it. Without memory for a fiber: again. */
	while (api_run(pool, NULL, run_close, volume, NULL) == -ENOMEM)
		sched_yield();
	free(volume);
	api_pool_unref(pool);
	return 0;
}

struct info_arguments {
	struct libpool_volume *volume;
	struct libpool_volume_info info;
};

static int run_info(struct libpool_pool *pool, struct engine *engine, void *data, struct pool_error *error)
{
	struct info_arguments *arguments = data;
	const struct dataset_record *record = volume_record(arguments->volume->volume);

	(void)engine, (void)error;
	fill_info(record, &arguments->info);
	arguments->info.used_bytes = volume_used_cells(arguments->volume->volume) * CELL_SIZE;
	arguments->info.open_count = handles_of(pool, record->id);
	return 0;
}

int libpool_volume_get_info(libpool_volume *volume, struct libpool_volume_info *ret_info)
{
	struct info_arguments arguments = {.volume = volume};
	int result = volume ? api_result_check(ret_info) : -EINVAL;

	if (result == 0)
		result = api_run(volume->pool, volume, run_info, &arguments, NULL);
	return result == 0 ? api_result_copy(ret_info, &arguments.info, sizeof(arguments.info)) : result;
}
