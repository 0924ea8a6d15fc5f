/* Volumes as libpool.h has them: create, list, open, close. Reading and writing: api_transfer.c. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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
	if (arguments->options.dry_run)
		return volume_create_check(engine_datasets(engine), arguments->name, arguments->options.volume_bytes,
					   arguments->options.block_bytes, error);
	return volume_create(engine_datasets(engine), arguments->name, arguments->options.volume_bytes, arguments->options.block_bytes,
			     arguments->compression, error);
}

int libpool_volume_create(libpool_pool *pool, const char *name, const struct libpool_volume_options *options,
			  struct libpool_error *error)
{
	struct create_arguments arguments = {.name = name, .compression = COMPRESSION_INHERITED};
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
	return engine_volume_resize(engine, arguments->name, arguments->bytes, error);
}

int libpool_volume_resize(libpool_pool *pool, const char *name, uint64_t volume_bytes, struct libpool_error *error)
{
	struct resize_arguments arguments = {name, volume_bytes};

	return name ? api_run(pool, NULL, run_resize, &arguments, error) : api_error(error, -EINVAL, NULL);
}

static int run_resize_check(struct libpool_pool *pool, struct engine *engine, void *data, struct pool_error *error)
{
	struct resize_arguments *arguments = data;

	(void)pool;
	return engine_volume_resize_check(engine, arguments->name, arguments->bytes, error);
}

int libpool_volume_resize_check(libpool_pool *pool, const char *name, uint64_t volume_bytes, struct libpool_error *error)
{
	struct resize_arguments arguments = {name, volume_bytes};

	return name ? api_run(pool, NULL, run_resize_check, &arguments, error) : api_error(error, -EINVAL, NULL);
}

static int run_destroy(struct libpool_pool *pool, struct engine *engine, void *data, struct pool_error *error)
{
	(void)pool;
	return engine_volume_destroy(engine, data, error);
}

int libpool_volume_destroy(libpool_pool *pool, const char *name, struct libpool_error *error)
{
	return name ? api_run(pool, NULL, run_destroy, (void *)(uintptr_t)name, error) : api_error(error, -EINVAL, NULL);
}

static int run_destroy_check(struct libpool_pool *pool, struct engine *engine, void *data, struct pool_error *error)
{
	(void)pool;
	return engine_volume_destroy_check(engine, data, error);
}

int libpool_volume_destroy_check(libpool_pool *pool, const char *name, struct libpool_error *error)
{
	return name ? api_run(pool, NULL, run_destroy_check, (void *)(uintptr_t)name, error) : api_error(error, -EINVAL, NULL);
}

struct info_arguments {
	const char *name; /* or NULL: the one that is open */
	struct libpool_volume *volume;
	struct libpool_volume_info info;
};

static int run_info(struct libpool_pool *pool, struct engine *engine, void *data, struct pool_error *error)
{
	struct info_arguments *arguments = data;
	const char *name = arguments->name ? arguments->name : volume_path(arguments->volume->user.volume);

	(void)pool;
	return engine_volume_info(engine, name, &arguments->info, error);
}

int libpool_volume_info(libpool_pool *pool, const char *name, struct libpool_volume_info *ret_info, struct libpool_error *error)
{
	struct info_arguments arguments = {.name = name};
	int result = name ? api_result_check(ret_info) : -EINVAL;

	if (result < 0)
		return api_error(error, result, NULL);
	result = api_run(pool, NULL, run_info, &arguments, error);
	return result == 0 ? api_result_copy(ret_info, &arguments.info, sizeof(arguments.info)) : result;
}

int libpool_volume_get_info(libpool_volume *volume, struct libpool_volume_info *ret_info)
{
	struct info_arguments arguments = {.volume = volume};
	int result = volume ? api_result_check(ret_info) : -EINVAL;

	if (result == 0)
		result = api_run(volume->pool, volume, run_info, &arguments, NULL);
	return result == 0 ? api_result_copy(ret_info, &arguments.info, sizeof(arguments.info)) : result;
}

/* ---- handles ---- */

struct open_arguments {
	const char *name;
	struct libpool_volume *volume;
};

static int run_open(struct libpool_pool *pool, struct engine *engine, void *data, struct pool_error *error)
{
	struct open_arguments *arguments = data;
	struct libpool_volume *volume = arguments->volume;
	int result;

	(void)pool;
	volume->rehearses = engine_rehearses(engine) && !volume->user.read_only;
	volume->user.read_only |= core_read_only(engine_core(engine));
	result = engine_dataset_open(engine, arguments->name, false, &volume->user, error);
	if (result < 0)
		return result;
	volume->block_shift = volume_record(volume->user.volume)->block_shift;
	volume->read_only = volume->user.read_only;
	return 0;
}

/* Who opens it, for people: one line of what can be printed. */
int api_take_user(const char *name, const char *text, char *ret_text, struct pool_error *error)
{
	if (!text || !text[0]) {
		snprintf(ret_text, LIBPOOL_TEXT_MAX, "%.200s pid %ld", program_invocation_short_name, (long)getpid());
		return 0;
	}
	for (size_t i = 0; text[i]; i++)
		if (i == LIBPOOL_TEXT_MAX - 1 || (unsigned char)text[i] < ' ' || text[i] == 127)
			return pool_error_set(error, -EINVAL,
					      "volume %.100s: the text that says who uses it must be one line of at most %d bytes",
					      name, LIBPOOL_TEXT_MAX - 1);
	strcpy(ret_text, text);
	return 0;
}

static struct libpool_volume *volume_new(struct libpool_pool *pool, const struct libpool_open_options *options)
{
	struct libpool_volume *volume = calloc(1, sizeof(*volume));

	if (!volume)
		return NULL;
	volume->pool = pool;
	volume->user.read_only = options->read_only;
	volume->user.exclusive = options->exclusive;
	api_pool_ref(pool);
	return volume;
}

static void volume_free(struct libpool_volume *volume)
{
	api_pool_unref(volume->pool);
	free(volume);
}

int libpool_volume_open(libpool_pool *pool, const char *name, const struct libpool_open_options *options, libpool_volume **ret_volume,
			struct libpool_error *error)
{
	struct libpool_open_options copy;
	struct open_arguments arguments = {.name = name};
	struct pool_error local = {0};
	int result = pool && name && ret_volume ? api_options_copy(&copy, sizeof(copy), options) : -EINVAL;

	if (result < 0)
		return api_error(error, result, NULL);
	arguments.volume = volume_new(pool, &copy);
	if (!arguments.volume)
		return api_error(error, -ENOMEM, NULL);
	result = api_take_user(name, copy.user, arguments.volume->user.text, &local);
	if (result < 0)
		api_error(error, result, &local);
	else
		result = api_run(pool, NULL, run_open, &arguments, error);
	if (result < 0) {
		volume_free(arguments.volume);
		return result;
	}
	*ret_volume = arguments.volume;
	return 0;
}

static int run_close(struct libpool_pool *pool, struct engine *engine, void *data, struct pool_error *error)
{
	struct libpool_volume *volume = data;

	(void)pool, (void)engine, (void)error;
	engine_dataset_close(&volume->user);
	return 0;
}

int libpool_volume_close(libpool_volume *volume)
{
	struct libpool_pool *pool;

	if (!volume)
		return 0;
	pool = volume->pool;
	api_calls_close(&volume->calls);
	pthread_mutex_lock(&pool->lock);
	api_calls_wait(&volume->calls, &pool->lock, &pool->idle);
	pthread_mutex_unlock(&pool->lock);
	api_run_close(pool, run_close, volume);
	volume_free(volume);
	return 0;
}
