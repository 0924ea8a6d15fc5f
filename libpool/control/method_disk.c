/* SPDX-License-Identifier: BSD-2-Clause */
/* replace, offline, online, clear, device: what is done to disks of a pool, however they are named. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "libpool/control/result.h"
#include "libpool/control/methods.h"

#define GUID_DIGITS_MIN 8

static const struct field disk_fields[] = {
	FIELD("disk_id", GUID, libpool_disk_info, guid),
	FIELD_NAMED("role", result_disk_roles, libpool_disk_info, role),
};

struct disk {
	struct libpool_disk_info info;
	char index[16];                 /* as the library takes it, whatever is known of it */
	char display[LIBPOOL_PATH_MAX]; /* as people do */
};

/* ---- finding ---- */

static void guid_text(const uint8_t *guid, char text[2 * LIBPOOL_GUID_SIZE + 1])
{
	for (int i = 0; i < LIBPOOL_GUID_SIZE; i++)
		snprintf(text + 2 * i, 3, "%02x", guid[i]);
}

/* 3: named exactly, 2: by its id, 1: by the last part of its path, 0: not meant. */
static int match(const struct libpool_disk_info *disk, const char *name, const char *absolute)
{
	char guid[2 * LIBPOOL_GUID_SIZE + 1], index[16];
	const char *last = strrchr(disk->path, '/');

	snprintf(index, sizeof(index), "#%u", disk->index);
	if (strcmp(name, index) == 0)
		return 3;
	if (disk->path[0] && (result_is_shown_as(disk->path, name) || (absolute && result_is_shown_as(disk->path, absolute))))
		return 3;
	guid_text(disk->guid, guid);
	if (strlen(name) >= GUID_DIGITS_MIN && strncasecmp(guid, name, strlen(name)) == 0)
		return 2;
	return last && result_is_shown_as(last + 1, name);
}

static void display_of(const struct libpool_disk_info *info, char text[LIBPOOL_PATH_MAX])
{
	if (info->path[0])
		snprintf(text, LIBPOOL_PATH_MAX, "%s", info->path);
	else
		snprintf(text, LIBPOOL_PATH_MAX, "#%u", info->index);
}

static int not_found(struct invocation *invocation, const struct libpool_disk_info *disks, size_t count, const char *name)
{
	char known[300] = "", text[LIBPOOL_PATH_MAX];
	size_t length = 0;

	for (size_t i = 0; i < count && length < sizeof(known); i++) {
		display_of(&disks[i], text);
		length += (size_t)snprintf(known + length, sizeof(known) - length, "%s%s", i ? ", " : "", text);
	}
	return method_fail(invocation, -ENOENT, "the pool has no disk '%.100s': it has %s", name, known);
}

static int choose(struct invocation *invocation, const struct libpool_disk_info *disks, size_t count, const char *name,
		  const char *absolute, size_t *ret_found)
{
	size_t matches = 0;
	int best = 0;

	for (size_t i = 0; i < count; i++) {
		int quality = match(&disks[i], name, absolute);

		if (quality > best || (quality && quality == best))
			matches = quality > best ? 1 : matches + 1;
		if (quality > best) {
			best = quality;
			*ret_found = i;
		}
	}
	if (best == 0)
		return not_found(invocation, disks, count, name);
	if (matches > 1)
		return method_fail(invocation, -EINVAL, "'%.100s' means %zu disks of the pool: name one by its index or full path", name, matches);
	return 0;
}

/* Finds the disk and begins the result with pool, disk and dry_run. */
static int begin(struct invocation *invocation, struct disk *ret_disk)
{
	struct libpool_disk_info *disks = NULL;
	size_t count = 0, found = 0;
	int code = libpool_disks(invocation->pool, &disks, &count);

	if (code < 0)
		return method_complete(invocation, code, "asking for the disks of pool %s", invocation->pool_name);
	code = choose(invocation, disks, count, parameter_text(invocation, "disk"), parameter_text(invocation, "disk_path"), &found);
	if (code == 0) {
		ret_disk->info = disks[found];
		snprintf(ret_disk->index, sizeof(ret_disk->index), "#%u", disks[found].index);
		display_of(&disks[found], ret_disk->display);
		result_text(invocation->result, "pool", invocation->pool_name);
		result_text(invocation->result, "disk", ret_disk->display);
		RESULT_FILL(invocation->result, disk_fields, &disks[found]);
		result_flag(invocation->result, "dry_run", parameter_flag(invocation, "dry_run"));
	}
	libpool_free(disks);
	return code;
}

int disk_index_of(struct invocation *invocation, const char *name, const char *absolute, char ret_index[16])
{
	struct libpool_disk_info *disks = NULL;
	size_t count = 0, found = 0;
	int code = libpool_disks(invocation->pool, &disks, &count);

	if (code < 0)
		return method_complete(invocation, code, "asking for the disks of pool %s", invocation->pool_name);
	code = choose(invocation, disks, count, name, absolute, &found);
	if (code == 0)
		snprintf(ret_index, 16, "#%u", disks[found].index);
	libpool_free(disks);
	return code;
}

/* ---- the methods ---- */

int run_replace(struct invocation *invocation)
{
	struct libpool_replace_options options = {
		.size = sizeof(options),
		.new_disk = parameter_text(invocation, "new_disk"),
		.force = parameter_flag(invocation, "force"),
		.dry_run = parameter_flag(invocation, "dry_run"),
	};
	struct disk disk;
	int code = begin(invocation, &disk);

	if (code < 0)
		return code;
	options.old_disk = disk.index;
	code = libpool_disk_replace(invocation->pool, &options, &invocation->error);
	if (code < 0)
		return method_complete(invocation, code, "replacing disk %s of pool %s", disk.display, invocation->pool_name);
	result_text(invocation->result, "new_disk", options.new_disk);
	return 0;
}

int run_offline(struct invocation *invocation)
{
	struct disk disk;
	int code = begin(invocation, &disk);

	if (code < 0)
		return code;
	if (parameter_flag(invocation, "dry_run"))
		code = libpool_disk_offline_check(invocation->pool, disk.index, &invocation->error);
	else
		code = libpool_disk_offline(invocation->pool, disk.index, &invocation->error);
	return method_complete(invocation, code, "taking disk %s of pool %s offline", disk.display, invocation->pool_name);
}

int run_online(struct invocation *invocation)
{
	const char *path = parameter_text(invocation, "path");
	struct disk disk;
	int code = begin(invocation, &disk);

	if (code < 0)
		return code;
	if (parameter_flag(invocation, "dry_run"))
		code = libpool_disk_online_check(invocation->pool, disk.index, path, &invocation->error);
	else
		code = libpool_disk_online(invocation->pool, disk.index, path, &invocation->error);
	return method_complete(invocation, code, "bringing disk %s of pool %s back", disk.display, invocation->pool_name);
}

int run_device_add(struct invocation *invocation)
{
	struct json_object *names = json_object_object_get(invocation->params, "disks"), *disks;
	struct libpool_disk_add_options options = {
		.size = sizeof(options),
		.role = 1,
		.disk_count = names ? json_object_array_length(names) : 0,
		.force = parameter_flag(invocation, "force"),
		.dry_run = parameter_flag(invocation, "dry_run"),
	};
	const char **paths = calloc(options.disk_count + 1, sizeof(*paths));
	int code = paths ? 0 : -ENOMEM;

	if (code == 0 && strcmp(parameter_text(invocation, "role"), "log") != 0)
		code = method_fail(invocation, -EINVAL, "disks of role '%.40s' can't be added: only 'log'", parameter_text(invocation, "role"));
	result_text(invocation->result, "pool", invocation->pool_name);
	result_text(invocation->result, "role", "log");
	result_flag(invocation->result, "dry_run", options.dry_run);
	disks = result_array(invocation->result, "disks");
	for (size_t i = 0; i < options.disk_count && code == 0; i++) {
		paths[i] = json_object_get_string(json_object_array_get_idx(names, i));
		json_object_array_add(disks, json_object_new_string(paths[i]));
	}
	options.disks = paths;
	if (code == 0)
		code = libpool_disk_add(invocation->pool, &options, &invocation->error);
	free(paths);
	return method_complete(invocation, code, "adding log disks to pool %s", invocation->pool_name);
}

int run_device_remove(struct invocation *invocation)
{
	struct disk disk;
	int code = begin(invocation, &disk);

	if (code < 0)
		return code;
	if (parameter_flag(invocation, "dry_run"))
		code = libpool_disk_remove_check(invocation->pool, disk.index, &invocation->error);
	else
		code = libpool_disk_remove(invocation->pool, disk.index, &invocation->error);
	return method_complete(invocation, code, "removing disk %s from pool %s", disk.display, invocation->pool_name);
}

int run_clear(struct invocation *invocation)
{
	bool one = parameter_given(invocation, "disk");
	struct disk disk;
	int code = one ? begin(invocation, &disk) : 0;

	if (code < 0)
		return code;
	result_text(invocation->result, "pool", invocation->pool_name);
	result_flag(invocation->result, "dry_run", parameter_flag(invocation, "dry_run"));
	if (!parameter_flag(invocation, "dry_run"))
		code = libpool_clear(invocation->pool, one ? disk.index : NULL, &invocation->error);
	return method_complete(invocation, code, "clearing the counters of pool %s", invocation->pool_name);
}
