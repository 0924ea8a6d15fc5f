/* The calls of libpool.h that ask a pool about itself or change something small: each is one call of the engine. */
#include <string.h>

#include "libpool/pool/api_pool.h"

/* Arguments of all of them; each uses some. */
struct arguments {
	const char *text, *name, *value;
	uint64_t number, number_2;
	bool dry_run;
	const void *options;
	void *result;     /* a structure, or a pointer to an array */
	size_t *count;
};

#define ARRAY_CALL(call_name, engine_call, type)                                                                          \
	static int call_name(struct libpool_pool *pool, struct engine *engine, void *data, struct pool_error *error)      \
	{                                                                                                                 \
		struct arguments *arguments = data;                                                                       \
		struct type *array;                                                                                       \
		size_t count;                                                                                             \
		int result = engine_call(engine, &array, &count);                                                         \
                                                                                                                          \
		(void)pool, (void)error;                                                                                  \
		if (result == 0) {                                                                                        \
			memcpy(arguments->result, &array, sizeof(array));                                                 \
			*arguments->count = count;                                                                        \
		}                                                                                                         \
		return result;                                                                                            \
	}
ARRAY_CALL(run_disks, engine_disks, libpool_disk_info)
ARRAY_CALL(run_damage, engine_damage, libpool_damage)
ARRAY_CALL(run_history, engine_history, libpool_history)
ARRAY_CALL(run_jobs, engine_jobs, libpool_job)
ARRAY_CALL(run_volumes, engine_volumes, libpool_volume_info)
ARRAY_CALL(run_users, engine_users, libpool_user)

static int get_array(struct libpool_pool *pool, api_function *function, void *ret_array, size_t *ret_count)
{
	struct arguments arguments = {.result = ret_array, .count = ret_count};

	return ret_array && ret_count ? api_run(pool, NULL, function, &arguments, NULL) : -EINVAL;
}

int libpool_disks(libpool_pool *pool, struct libpool_disk_info **ret_disks, size_t *ret_count)
{
	return get_array(pool, run_disks, ret_disks, ret_count);
}

int libpool_damage(libpool_pool *pool, struct libpool_damage **ret_damage, size_t *ret_count)
{
	return get_array(pool, run_damage, ret_damage, ret_count);
}

int libpool_history(libpool_pool *pool, struct libpool_history **ret_history, size_t *ret_count)
{
	return get_array(pool, run_history, ret_history, ret_count);
}

int libpool_jobs(libpool_pool *pool, struct libpool_job **ret_jobs, size_t *ret_count)
{
	return get_array(pool, run_jobs, ret_jobs, ret_count);
}

int libpool_volumes(libpool_pool *pool, struct libpool_volume_info **ret_volumes, size_t *ret_count)
{
	return get_array(pool, run_volumes, ret_volumes, ret_count);
}

int libpool_users(libpool_pool *pool, struct libpool_user **ret_users, size_t *ret_count)
{
	return get_array(pool, run_users, ret_users, ret_count);
}

/* ---- state ---- */

static int run_info(struct libpool_pool *pool, struct engine *engine, void *data, struct pool_error *error)
{
	struct libpool_pool_info *info = data;
	int result = engine_info(engine, info);

	(void)error;
	info->io_uring_enters = api_thread_enters(pool->thread);
	return result;
}

int libpool_pool_info(libpool_pool *pool, struct libpool_pool_info *ret_info)
{
	struct libpool_pool_info info;
	int result = api_result_check(ret_info);

	if (result == 0)
		result = api_run(pool, NULL, run_info, &info, NULL);
	return result == 0 ? api_result_copy(ret_info, &info, sizeof(info)) : result;
}

static int run_log_info(struct libpool_pool *pool, struct engine *engine, void *data, struct pool_error *error)
{
	(void)pool, (void)error;
	engine_log_info(engine, data);
	return 0;
}

int libpool_log_info(libpool_pool *pool, struct libpool_log_info *ret_info)
{
	struct libpool_log_info info;
	int result = api_result_check(ret_info);

	if (result == 0)
		result = api_run(pool, NULL, run_log_info, &info, NULL);
	return result == 0 ? api_result_copy(ret_info, &info, sizeof(info)) : result;
}

static int run_events(struct libpool_pool *pool, struct engine *engine, void *data, struct pool_error *error)
{
	struct arguments *arguments = data;

	(void)pool, (void)error;
	return engine_events(engine, arguments->number, arguments->result, arguments->count);
}

int libpool_events(libpool_pool *pool, uint64_t after, struct libpool_event **ret_events, size_t *ret_count)
{
	struct arguments arguments = {.number = after, .result = ret_events, .count = ret_count};

	return ret_events && ret_count ? api_run(pool, NULL, run_events, &arguments, NULL) : -EINVAL;
}

static int run_history_add(struct libpool_pool *pool, struct engine *engine, void *data, struct pool_error *error)
{
	(void)pool;
	return engine_history_add(engine, data, error);
}

int libpool_history_add(libpool_pool *pool, const char *text, struct libpool_error *error)
{
	return text ? api_run(pool, NULL, run_history_add, (void *)(uintptr_t)text, error) : api_error(error, -EINVAL, NULL);
}

/* ---- properties ---- */

static int run_properties(struct libpool_pool *pool, struct engine *engine, void *data, struct pool_error *error)
{
	struct arguments *arguments = data;

	(void)pool;
	return engine_properties(engine, arguments->text, arguments->result, arguments->count, error);
}

int libpool_properties(libpool_pool *pool, const char *dataset, struct libpool_property **ret_properties, size_t *ret_count,
		       struct libpool_error *error)
{
	struct arguments arguments = {.text = dataset, .result = ret_properties, .count = ret_count};

	return ret_properties && ret_count ? api_run(pool, NULL, run_properties, &arguments, error) : api_error(error, -EINVAL, NULL);
}

static int run_property_get(struct libpool_pool *pool, struct engine *engine, void *data, struct pool_error *error)
{
	struct arguments *arguments = data;

	(void)pool;
	return engine_property_get(engine, arguments->text, arguments->name, arguments->result, error);
}

int libpool_property_get(libpool_pool *pool, const char *dataset, const char *name, struct libpool_property *ret_property,
			 struct libpool_error *error)
{
	struct libpool_property property;
	struct arguments arguments = {.text = dataset, .name = name, .result = &property};
	int result = name && ret_property ? api_result_check(ret_property) : -EINVAL;

	if (result < 0)
		return api_error(error, result, NULL);
	result = api_run(pool, NULL, run_property_get, &arguments, error);
	return result < 0 ? result : api_result_copy(ret_property, &property, sizeof(property));
}

static int run_owners(struct libpool_pool *pool, struct engine *engine, void *data, struct pool_error *error)
{
	struct arguments *arguments = data;

	(void)pool;
	return engine_owners(engine, arguments->text, arguments->result, arguments->count, error);
}

int libpool_owners(libpool_pool *pool, const char *name, struct libpool_owner **ret_owners, size_t *ret_count, struct libpool_error *error)
{
	struct arguments arguments = {.text = name, .result = ret_owners, .count = ret_count};

	return name && ret_owners && ret_count ? api_run(pool, NULL, run_owners, &arguments, error) : api_error(error, -EINVAL, NULL);
}

static int run_property_set(struct libpool_pool *pool, struct engine *engine, void *data, struct pool_error *error)
{
	struct arguments *arguments = data;

	(void)pool;
	return engine_property_set(engine, arguments->text, arguments->name, arguments->value, arguments->dry_run, error);
}

static int property_set(libpool_pool *pool, const char *dataset, const char *name, const char *value, bool dry_run, struct libpool_error *error)
{
	struct arguments arguments = {.text = dataset, .name = name, .value = value, .dry_run = dry_run};

	return name && value ? api_run(pool, NULL, run_property_set, &arguments, error) : api_error(error, -EINVAL, NULL);
}

int libpool_property_set(libpool_pool *pool, const char *dataset, const char *name, const char *value, struct libpool_error *error)
{
	return property_set(pool, dataset, name, value, false, error);
}

int libpool_property_inherit(libpool_pool *pool, const char *dataset, const char *name, struct libpool_error *error)
{
	struct arguments arguments = {.text = dataset, .name = name};

	return name ? api_run(pool, NULL, run_property_set, &arguments, error) : api_error(error, -EINVAL, NULL);
}

int libpool_property_check(libpool_pool *pool, const char *dataset, const char *name, const char *value, struct libpool_error *error)
{
	return property_set(pool, dataset, name, value, true, error);
}

/* ---- jobs ---- */

static int run_scrub_start(struct libpool_pool *pool, struct engine *engine, void *data, struct pool_error *error)
{
	(void)pool;
	return engine_scrub_start(engine, data, error);
}

int libpool_scrub_start(libpool_pool *pool, const struct libpool_scrub_options *options, struct libpool_error *error)
{
	struct libpool_scrub_options copy;
	int result = api_options_copy(&copy, sizeof(copy), options);

	return result == 0 ? api_run(pool, NULL, run_scrub_start, &copy, error) : api_error(error, result, NULL);
}

static int run_scrub_pause(struct libpool_pool *pool, struct engine *engine, void *data, struct pool_error *error)
{
	(void)pool, (void)data;
	return engine_scrub_pause(engine, error);
}

int libpool_scrub_pause(libpool_pool *pool, struct libpool_error *error)
{
	return api_run(pool, NULL, run_scrub_pause, NULL, error);
}

static int run_scrub_cancel(struct libpool_pool *pool, struct engine *engine, void *data, struct pool_error *error)
{
	(void)pool, (void)data;
	return engine_scrub_cancel(engine, error);
}

int libpool_scrub_cancel(libpool_pool *pool, struct libpool_error *error)
{
	return api_run(pool, NULL, run_scrub_cancel, NULL, error);
}

static int run_trim_start(struct libpool_pool *pool, struct engine *engine, void *data, struct pool_error *error)
{
	(void)pool;
	return engine_trim_start(engine, data, error);
}

int libpool_trim_start(libpool_pool *pool, const struct libpool_trim_options *options, struct libpool_error *error)
{
	struct libpool_trim_options copy;
	int result = api_options_copy(&copy, sizeof(copy), options);

	for (size_t i = 0; result == 0 && i < copy.disk_count; i++)
		if (!copy.disks || !copy.disks[i])
			result = -EINVAL;
	return result == 0 ? api_run(pool, NULL, run_trim_start, &copy, error) : api_error(error, result, NULL);
}

static int run_trim_cancel(struct libpool_pool *pool, struct engine *engine, void *data, struct pool_error *error)
{
	(void)pool, (void)data;
	return engine_trim_cancel(engine, error);
}

int libpool_trim_cancel(libpool_pool *pool, struct libpool_error *error)
{
	return api_run(pool, NULL, run_trim_cancel, NULL, error);
}

static int run_jobs_wait(struct libpool_pool *pool, struct engine *engine, void *data, struct pool_error *error)
{
	struct arguments *arguments = data;

	(void)pool, (void)error;
	return engine_jobs_wait(engine, (uint32_t)arguments->number, arguments->number_2);
}

int libpool_jobs_wait(libpool_pool *pool, uint32_t kinds, uint64_t timeout_ns)
{
	struct arguments arguments = {.number = kinds, .number_2 = timeout_ns};

	return api_run(pool, NULL, run_jobs_wait, &arguments, NULL);
}

/* ---- disks ---- */

static int run_replace(struct libpool_pool *pool, struct engine *engine, void *data, struct pool_error *error)
{
	(void)pool;
	return engine_disk_replace(engine, data, error);
}

int libpool_disk_replace(libpool_pool *pool, const struct libpool_replace_options *options, struct libpool_error *error)
{
	struct libpool_replace_options copy;
	int result = options ? api_options_copy(&copy, sizeof(copy), options) : -EINVAL;

	return result == 0 ? api_run(pool, NULL, run_replace, &copy, error) : api_error(error, result, NULL);
}

static int run_offline(struct libpool_pool *pool, struct engine *engine, void *data, struct pool_error *error)
{
	struct arguments *arguments = data;

	(void)pool;
	return engine_disk_offline(engine, arguments->name, arguments->dry_run, error);
}

int libpool_disk_offline(libpool_pool *pool, const char *disk, struct libpool_error *error)
{
	struct arguments arguments = {.name = disk};

	return api_run(pool, NULL, run_offline, &arguments, error);
}

int libpool_disk_offline_check(libpool_pool *pool, const char *disk, struct libpool_error *error)
{
	struct arguments arguments = {.name = disk, .dry_run = true};

	return api_run(pool, NULL, run_offline, &arguments, error);
}

static int run_online(struct libpool_pool *pool, struct engine *engine, void *data, struct pool_error *error)
{
	struct arguments *arguments = data;

	(void)pool;
	return engine_disk_online(engine, arguments->name, arguments->text, arguments->dry_run, error);
}

int libpool_disk_online(libpool_pool *pool, const char *disk, const char *path, struct libpool_error *error)
{
	struct arguments arguments = {.name = disk, .text = path};

	return api_run(pool, NULL, run_online, &arguments, error);
}

int libpool_disk_online_check(libpool_pool *pool, const char *disk, const char *path, struct libpool_error *error)
{
	struct arguments arguments = {.name = disk, .text = path, .dry_run = true};

	return api_run(pool, NULL, run_online, &arguments, error);
}

static int run_disk_add(struct libpool_pool *pool, struct engine *engine, void *data, struct pool_error *error)
{
	(void)pool;
	return engine_disk_add(engine, data, error);
}

int libpool_disk_add(libpool_pool *pool, const struct libpool_disk_add_options *options, struct libpool_error *error)
{
	struct libpool_disk_add_options copy;
	int result = options ? api_options_copy(&copy, sizeof(copy), options) : -EINVAL;

	if (result == 0 && copy.disk_count && !copy.disks)
		result = -EINVAL;
	return result == 0 ? api_run(pool, NULL, run_disk_add, &copy, error) : api_error(error, result, NULL);
}

static int run_disk_remove(struct libpool_pool *pool, struct engine *engine, void *data, struct pool_error *error)
{
	struct arguments *arguments = data;

	(void)pool;
	return engine_disk_remove(engine, arguments->name, arguments->dry_run, error);
}

int libpool_disk_remove(libpool_pool *pool, const char *disk, struct libpool_error *error)
{
	struct arguments arguments = {.name = disk};

	return api_run(pool, NULL, run_disk_remove, &arguments, error);
}

int libpool_disk_remove_check(libpool_pool *pool, const char *disk, struct libpool_error *error)
{
	struct arguments arguments = {.name = disk, .dry_run = true};

	return api_run(pool, NULL, run_disk_remove, &arguments, error);
}

static int run_clear(struct libpool_pool *pool, struct engine *engine, void *data, struct pool_error *error)
{
	(void)pool;
	return engine_clear(engine, data, error);
}

int libpool_clear(libpool_pool *pool, const char *disk, struct libpool_error *error)
{
	return api_run(pool, NULL, run_clear, (void *)(uintptr_t)disk, error);
}

/* ---- durability, checking ---- */

static int run_sync(struct libpool_pool *pool, struct engine *engine, void *data, struct pool_error *error)
{
	(void)pool, (void)data, (void)error;
	return core_commit(engine_core(engine));
}

int libpool_pool_sync(libpool_pool *pool, struct libpool_error *error)
{
	return api_run(pool, NULL, run_sync, NULL, error);
}

static int run_verify(struct libpool_pool *pool, struct engine *engine, void *data, struct pool_error *error)
{
	struct arguments *arguments = data;

	(void)pool;
	return engine_verify(engine, arguments->options, arguments->result, error);
}

int libpool_verify(libpool_pool *pool, const struct libpool_verify_options *options, struct libpool_verify_result *ret_result,
		   struct libpool_error *error)
{
	struct libpool_verify_result verified = {.size = sizeof(verified)};
	struct libpool_verify_options copy;
	struct arguments arguments = {.options = &copy, .result = &verified};
	int result = api_result_check(ret_result);

	if (result == 0)
		result = api_options_copy(&copy, sizeof(copy), options);
	if (result < 0)
		return api_error(error, result, NULL);
	result = api_run(pool, NULL, run_verify, &arguments, error);
	if (result == 0)
		api_result_copy(ret_result, &verified, sizeof(verified));
	return result;
}
