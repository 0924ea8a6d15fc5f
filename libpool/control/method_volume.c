/* SPDX-License-Identifier: BSD-2-Clause */
/* volume create, destroy, resize and list. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "libpool/control/result.h"
#include "libpool/control/methods.h"

#define DEFAULT_BLOCK_BYTES 16384u

#define VOLUME(key, kind, member) FIELD(key, kind, libpool_volume_info, member)
static const struct field volume_fields[] = {
	VOLUME("volume_bytes", NUMBER, volume_bytes), VOLUME("used_bytes", NUMBER, used_bytes), VOLUME("block_bytes", NUMBER32, block_bytes),
	VOLUME("compression", TEXT, compression),     VOLUME("created", TIME, created_ns),	VOLUME("open_count", NUMBER32, open_count),
};

static int find(struct invocation *invocation, struct libpool_volume_info *ret_info)
{
	const char *name = parameter_text(invocation, "volume");
	int code;

	*ret_info = (struct libpool_volume_info){.size = sizeof(*ret_info)};
	code = libpool_volume_info(invocation->pool, name, ret_info, &invocation->error);
	if (code == -ENOENT)
		return method_fail(invocation, code, "pool %s has no volume '%.255s': see poolctl volume list %.100s", invocation->pool_name, name,
				   invocation->pool_name);
	return method_complete(invocation, code, "looking for volume %s/%s", invocation->pool_name, name);
}

static void describe(struct invocation *invocation, uint64_t bytes)
{
	result_text(invocation->result, "pool", invocation->pool_name);
	result_text(invocation->result, "volume", parameter_text(invocation, "volume"));
	result_number(invocation->result, "volume_bytes", bytes);
	result_flag(invocation->result, "dry_run", parameter_flag(invocation, "dry_run"));
}

/* Sizes are rounded up to whole blocks. */
static uint64_t whole_blocks(uint64_t bytes, uint32_t block_bytes)
{
	return (bytes + block_bytes - 1) / block_bytes * block_bytes;
}

int run_volume_create(struct invocation *invocation)
{
	const char *name = parameter_text(invocation, "volume");
	struct libpool_volume_options options = {
		.size = sizeof(options),
		.volume_bytes = parameter_number(invocation, "volume_bytes"),
		.compression = parameter_text(invocation, "compression"),
	};
	uint64_t block = parameter_number(invocation, "block_bytes");
	int code;

	if (block > UINT32_MAX)
		return method_fail(invocation, -EINVAL, "volume %s: blocks of %" PRIu64 " bytes are too large: 4K to 128K", name, block);
	options.block_bytes = (uint32_t)block;
	options.dry_run = parameter_flag(invocation, "dry_run");
	code = libpool_volume_create(invocation->pool, name, &options, &invocation->error);
	if (code < 0)
		return method_complete(invocation, code, "creating volume %s/%s", invocation->pool_name, name);
	describe(invocation, whole_blocks(options.volume_bytes, block ? options.block_bytes : DEFAULT_BLOCK_BYTES));
	return 0;
}

int run_volume_destroy(struct invocation *invocation)
{
	const char *name = parameter_text(invocation, "volume");
	struct libpool_volume_info info;
	int code = find(invocation, &info);

	if (code == 0 && parameter_flag(invocation, "dry_run"))
		code = libpool_volume_destroy_check(invocation->pool, name, &invocation->error);
	else if (code == 0)
		code = libpool_volume_destroy(invocation->pool, name, &invocation->error);
	if (code < 0)
		return method_complete(invocation, code, "destroying volume %s/%s", invocation->pool_name, name);
	describe(invocation, info.volume_bytes);
	return 0;
}

int run_volume_resize(struct invocation *invocation)
{
	const char *name = parameter_text(invocation, "volume");
	uint64_t bytes = parameter_number(invocation, "volume_bytes");
	bool dry_run = parameter_flag(invocation, "dry_run");
	struct libpool_volume_info info;
	int code = find(invocation, &info);

	if (code < 0)
		return code;
	if (bytes < info.volume_bytes && !parameter_flag(invocation, "shrink"))
		return method_fail(invocation, -EPERM,
				   "volume resize %s/%s: from %" PRIu64 " to %" PRIu64 " bytes discards what lies beyond: add --yes to confirm",
				   invocation->pool_name, name, info.volume_bytes, bytes);
	if (dry_run)
		code = libpool_volume_resize_check(invocation->pool, name, bytes, &invocation->error);
	else
		code = libpool_volume_resize(invocation->pool, name, bytes, &invocation->error);
	if (code < 0)
		return method_complete(invocation, code, "resizing volume %s/%s", invocation->pool_name, name);
	describe(invocation, whole_blocks(bytes, info.block_bytes));
	result_number(invocation->result, "previous_bytes", info.volume_bytes);
	return 0;
}

int run_volume_list(struct invocation *invocation)
{
	struct libpool_volume_info *volumes = NULL;
	char name[2 * LIBPOOL_NAME_MAX + 2];
	struct json_object *array;
	size_t count = 0;
	int code = libpool_volumes(invocation->pool, &volumes, &count);

	if (code < 0)
		return method_complete(invocation, code, "listing the volumes of pool %s", invocation->pool_name);
	result_text(invocation->result, "pool", invocation->pool_name);
	array = result_array(invocation->result, "volumes");
	for (size_t i = 0; i < count; i++) {
		struct json_object *object = result_append(array);

		snprintf(name, sizeof(name), "%s/%s", invocation->pool_name, volumes[i].name);
		result_text(object, "name", name);
		RESULT_FILL(object, volume_fields, &volumes[i]);
	}
	libpool_free(volumes);
	return 0;
}
