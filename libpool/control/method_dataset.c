/* SPDX-License-Identifier: BSD-2-Clause */
/* dataset create, destroy, rename and list, userspace: file systems. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "libpool/control/methods.h"
#include "libpool/control/result.h"

#define DATASET(key, kind, member) FIELD(key, kind, libpool_fs_info, member)
static const struct field dataset_fields[] = {
	DATASET("used_bytes", NUMBER, used_bytes), DATASET("record_bytes", NUMBER32, record_bytes), DATASET("compression", TEXT, compression),
	DATASET("created", TIME, created_ns),	   DATASET("open_count", NUMBER32, open_count),	    DATASET("id", GUID, guid),
	DATASET("available_bytes", NUMBER, available_bytes), DATASET("referenced_bytes", NUMBER, referenced_bytes),
};

/* Whether there is a file system of this name, and how many datasets lie in it. */
static int look(struct invocation *invocation, const char *wanted, bool *ret_found, size_t *ret_within)
{
	struct libpool_volume_info *volumes = NULL;
	struct libpool_fs_info *infos = NULL;
	size_t count = 0, volume_count = 0, length = strlen(wanted);
	int code = libpool_filesystems(invocation->pool, &infos, &count);

	if (code == 0)
		code = libpool_volumes(invocation->pool, &volumes, &volume_count);
	*ret_found = false;
	*ret_within = 0;
	for (size_t i = 0; i < count + volume_count; i++) {
		const char *name = i < count ? LIBPOOL_ELEMENT(libpool_fs_info, infos, i)->name
					     : LIBPOOL_ELEMENT(libpool_volume_info, volumes, i - count)->name;

		*ret_found = *ret_found || (i < count && strcmp(name, wanted) == 0);
		*ret_within += strncmp(name, wanted, length) == 0 && name[length] == '/';
	}
	libpool_free(infos);
	libpool_free(volumes);
	return method_complete(invocation, code, "listing the datasets of pool %s", invocation->pool_name);
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
		/* Of who has the pool: without privileges he could not write to what is root's. */
		.uid = geteuid(),
		.gid = getegid(),
		.casesensitivity = parameter_text(invocation, "casesensitivity"),
		.normalization = parameter_text(invocation, "normalization"),
		.dry_run = parameter_flag(invocation, "dry_run"),
	};
	int code;

	if (record > UINT32_MAX)
		return method_fail(invocation, -EINVAL, "file system %s: records of %" PRIu64 " bytes are too large: 4K to 1M", name, record);
	code = libpool_fs_create(invocation->pool, name, &options, &invocation->error);
	if (code < 0)
		return method_complete(invocation, code, "creating file system %s/%s", invocation->pool_name, name);
	describe(invocation);
	return 0;
}

int run_dataset_destroy(struct invocation *invocation)
{
	const char *name = parameter_text(invocation, "dataset");
	struct libpool_fs_destroy_options options = {
		.size = sizeof(options),
		.recursive = parameter_flag(invocation, "recursive"),
		.dry_run = parameter_flag(invocation, "dry_run"),
	};
	size_t within;
	bool found;
	int code = look(invocation, name, &found, &within);

	if (code == 0 && !found)
		return method_fail(invocation, -ENOENT, "pool %s has no file system '%.255s': see poolctl dataset list %.100s", invocation->pool_name,
				   name, invocation->pool_name);
	if (code == 0)
		code = libpool_fs_destroy(invocation->pool, name, &options, &invocation->error);
	if (code < 0)
		return method_complete(invocation, code, "destroying file system %s/%s", invocation->pool_name, name);
	describe(invocation);
	result_number(invocation->result, "destroyed", within + 1);
	return 0;
}

int run_dataset_rename(struct invocation *invocation)
{
	const char *name = parameter_text(invocation, "dataset"), *new_name = parameter_text(invocation, "new_dataset");
	int code;

	if (parameter_flag(invocation, "dry_run"))
		code = libpool_dataset_rename_check(invocation->pool, name, new_name, &invocation->error);
	else
		code = libpool_dataset_rename(invocation->pool, name, new_name, &invocation->error);
	if (code < 0)
		return method_complete(invocation, code, "renaming %s/%s", invocation->pool_name, name);
	describe(invocation);
	result_text(invocation->result, "new_dataset", new_name);
	return 0;
}

static void limit(struct json_object *object, const char *key, uint64_t limit)
{
	if (limit)
		result_number(object, key, limit);
	else
		json_object_object_add(object, key, NULL);
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
		limit(object, "quota_bytes", infos[i].quota_bytes);
		limit(object, "refquota_bytes", infos[i].refquota_bytes);
		limit(object, "reservation_bytes", infos[i].reservation_bytes);
	}
	libpool_free(infos);
	return 0;
}

static const char *const owner_kinds[] = {"user", "group", "project"};
#define OWNER(key, kind, member) FIELD(key, kind, libpool_owner, member)
static const struct field owner_fields[] = {
	FIELD_NAMED("kind", owner_kinds, libpool_owner, kind),
	OWNER("id", NUMBER32, id),
	OWNER("used_bytes", NUMBER, used_bytes),
	OWNER("used_nodes", NUMBER, used_nodes),
};

int run_userspace(struct invocation *invocation)
{
	const char *name = parameter_text(invocation, "dataset");
	struct libpool_owner *owners = NULL;
	struct json_object *array;
	size_t count = 0;
	int code = libpool_owners(invocation->pool, name, &owners, &count, &invocation->error);

	if (code < 0)
		return method_complete(invocation, code, "asking who has what in %s/%.255s", invocation->pool_name, name);
	result_text(invocation->result, "pool", invocation->pool_name);
	result_text(invocation->result, "dataset", name);
	array = result_array(invocation->result, "owners");
	for (size_t i = 0; i < count; i++) {
		const struct libpool_owner *owner = LIBPOOL_ELEMENT(libpool_owner, owners, i);
		struct json_object *object = result_append(array);

		RESULT_FILL(object, owner_fields, owner);
		limit(object, "quota_bytes", owner->quota_bytes);
		limit(object, "quota_nodes", owner->quota_nodes);
	}
	libpool_free(owners);
	return 0;
}
