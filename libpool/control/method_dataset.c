/* SPDX-License-Identifier: BSD-2-Clause */
/* dataset create, destroy and list: file systems. */
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

/* Whether there is a file system of that name. */
static int find(struct invocation *invocation, bool *ret_found)
{
	const char *name = parameter_text(invocation, "dataset");
	struct libpool_fs_info *infos = NULL;
	size_t count = 0;
	int code = libpool_filesystems(invocation->pool, &infos, &count);

	if (code < 0)
		return method_complete(invocation, code, "listing the file systems of pool %s", invocation->pool_name);
	*ret_found = false;
	for (size_t i = 0; i < count; i++)
		*ret_found |= strcmp(LIBPOOL_ELEMENT(libpool_fs_info, infos, i)->name, name) == 0;
	libpool_free(infos);
	return 0;
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
	bool found = false;
	int code = record > UINT32_MAX ? method_fail(invocation, -EINVAL, "file system %s: records of %" PRIu64 " bytes are too large: 4K to 1M", name, record) :
					 find(invocation, &found);

	if (code == 0 && found)
		return method_fail(invocation, -EEXIST, "file system %s/%s exists already: use another name", invocation->pool_name, name);
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
	bool found = false;
	int code = find(invocation, &found);

	if (code == 0 && !found)
		return method_fail(invocation, -ENOENT, "pool %s has no file system '%.255s': see poolctl dataset list %.100s", invocation->pool_name,
				   name, invocation->pool_name);
	if (code == 0 && !parameter_flag(invocation, "dry_run"))
		code = libpool_fs_destroy(invocation->pool, name, &invocation->error);
	if (code < 0)
		return method_complete(invocation, code, "destroying file system %s/%s", invocation->pool_name, name);
	describe(invocation);
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
