/* SPDX-License-Identifier: BSD-2-Clause */
/* dataset create, destroy, rename and list: file systems. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "libpool/control/methods.h"
#include "libpool/control/result.h"

#define DATASET(key, kind, member) FIELD(key, kind, libpool_fs_info, member)
static const struct field dataset_fields[] = {
	DATASET("used_bytes", NUMBER, used_bytes), DATASET("record_bytes", NUMBER32, record_bytes), DATASET("compression", TEXT, compression),
	DATASET("created", TIME, created_ns),	   DATASET("open_count", NUMBER32, open_count),	    DATASET("id", GUID, guid),
};

/* What -n has to know of the datasets there are. */
struct survey {
	bool filesystem, volume; /* there is one of that name */
	size_t within;		 /* datasets that lie in it */
};

static void survey_name(struct survey *survey, const char *wanted, const char *name, bool *ret_found)
{
	size_t length = strlen(wanted);

	if (strncmp(name, wanted, length) != 0)
		return;
	*ret_found |= name[length] == 0;
	survey->within += name[length] == '/';
}

static int find(struct invocation *invocation, const char *name, struct survey *ret_survey)
{
	struct libpool_volume_info *volumes = NULL;
	struct libpool_fs_info *infos = NULL;
	size_t count = 0, volume_count = 0;
	int code = libpool_filesystems(invocation->pool, &infos, &count);

	if (code == 0)
		code = libpool_volumes(invocation->pool, &volumes, &volume_count);
	*ret_survey = (struct survey){0};
	for (size_t i = 0; i < count; i++)
		survey_name(ret_survey, name, LIBPOOL_ELEMENT(libpool_fs_info, infos, i)->name, &ret_survey->filesystem);
	for (size_t i = 0; i < volume_count; i++)
		survey_name(ret_survey, name, LIBPOOL_ELEMENT(libpool_volume_info, volumes, i)->name, &ret_survey->volume);
	libpool_free(infos);
	libpool_free(volumes);
	return method_complete(invocation, code, "listing the datasets of pool %s", invocation->pool_name);
}

/* Whether a dataset of that name could be made: the name is free, and there is a file system for it to lie in. */
static int check_place(struct invocation *invocation, const char *name)
{
	const char *slash = strrchr(name, '/');
	struct survey survey;
	char above[LIBPOOL_NAME_MAX + 1];
	int code = find(invocation, name, &survey);

	if (code < 0)
		return code;
	if (survey.filesystem || survey.volume)
		return method_fail(invocation, -EEXIST, "%s %s/%.255s exists already: use another name", survey.volume ? "volume" : "file system",
				   invocation->pool_name, name);
	if (!slash)
		return 0;
	snprintf(above, sizeof(above), "%.*s", (int)(slash - name), name);
	code = find(invocation, above, &survey);
	if (code == 0 && survey.volume)
		return method_fail(invocation, -ENOTDIR, "%s/%s is a volume: nothing can lie in it", invocation->pool_name, above);
	if (code == 0 && !survey.filesystem)
		return method_fail(invocation, -ENOENT, "there is no file system %s/%s for %.255s to lie in: create it first", invocation->pool_name,
				   above, slash + 1);
	return code;
}

static void describe(struct invocation *invocation)
{
	result_text(invocation->result, "pool", invocation->pool_name);
	result_text(invocation->result, "dataset", parameter_text(invocation, "dataset"));
	result_flag(invocation->result, "dry_run", parameter_flag(invocation, "dry_run"));
}

int run_dataset_create(struct invocation *invocation)
{
	const char *name = parameter_text(invocation, "dataset");
	uint64_t record = parameter_number(invocation, "record_bytes");
	struct libpool_fs_options options = {
		.size = sizeof(options),
		.record_bytes = (uint32_t)record,
		.compression = parameter_text(invocation, "compression"),
	};
	int code = record > UINT32_MAX ? method_fail(invocation, -EINVAL, "file system %s: records of %" PRIu64 " bytes are too large: 4K to 1M", name, record) :
					 check_place(invocation, name);

	if (code == 0 && !parameter_flag(invocation, "dry_run"))
		code = libpool_fs_create(invocation->pool, name, &options, &invocation->error);
	if (code < 0)
		return method_complete(invocation, code, "creating file system %s/%s", invocation->pool_name, name);
	describe(invocation);
	return 0;
}

int run_dataset_destroy(struct invocation *invocation)
{
	const char *name = parameter_text(invocation, "dataset");
	struct libpool_fs_destroy_options options = {.size = sizeof(options), .recursive = parameter_flag(invocation, "recursive")};
	struct survey survey;
	int code = find(invocation, name, &survey);

	if (code == 0 && !survey.filesystem)
		return method_fail(invocation, -ENOENT, "pool %s has no file system '%.255s': see poolctl dataset list %.100s", invocation->pool_name,
				   name, invocation->pool_name);
	if (code == 0 && survey.within && !options.recursive)
		return method_fail(invocation, -EBUSY, "file system %s/%s has %zu dataset%s in it: destroy %s first, or all together with -r",
				   invocation->pool_name, name, survey.within, survey.within == 1 ? "" : "s", survey.within == 1 ? "it" : "them");
	if (code == 0 && !parameter_flag(invocation, "dry_run"))
		code = libpool_fs_destroy(invocation->pool, name, &options, &invocation->error);
	if (code < 0)
		return method_complete(invocation, code, "destroying file system %s/%s", invocation->pool_name, name);
	describe(invocation);
	result_number(invocation->result, "destroyed", survey.within + 1);
	return 0;
}

int run_dataset_rename(struct invocation *invocation)
{
	const char *name = parameter_text(invocation, "dataset"), *new_name = parameter_text(invocation, "new_dataset");
	struct survey survey;
	int code = find(invocation, name, &survey);

	if (code == 0 && !survey.filesystem && !survey.volume)
		return method_fail(invocation, -ENOENT, "pool %s has no dataset '%.255s': see poolctl dataset list %.100s", invocation->pool_name, name,
				   invocation->pool_name);
	if (code == 0)
		code = check_place(invocation, new_name);
	if (code == 0 && !parameter_flag(invocation, "dry_run"))
		code = libpool_dataset_rename(invocation->pool, name, new_name, &invocation->error);
	if (code < 0)
		return method_complete(invocation, code, "renaming %s/%s", invocation->pool_name, name);
	describe(invocation);
	result_text(invocation->result, "new_dataset", new_name);
	return 0;
}

int run_dataset_list(struct invocation *invocation)
{
	struct libpool_fs_info *infos = NULL;
	char name[2 * LIBPOOL_NAME_MAX + 2];
	struct json_object *array;
	size_t count = 0;
	int code = libpool_filesystems(invocation->pool, &infos, &count);

	if (code < 0)
		return method_complete(invocation, code, "listing the file systems of pool %s", invocation->pool_name);
	result_text(invocation->result, "pool", invocation->pool_name);
	array = result_array(invocation->result, "datasets");
	for (size_t i = 0; i < count; i++) {
		struct json_object *object = result_append(array);

		snprintf(name, sizeof(name), "%s/%s", invocation->pool_name, infos[i].name);
		result_text(object, "name", name);
		RESULT_FILL(object, dataset_fields, &infos[i]);
	}
	libpool_free(infos);
	return 0;
}
