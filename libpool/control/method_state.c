/* SPDX-License-Identifier: BSD-2-Clause */
/* hello, status, iostat: what can be seen of the pool and its disks. */
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "libpool/control/result.h"
#include "libpool/control/methods.h"

static const char *const health_names[] = {"healthy", "degraded", "unusable"};

#define POOL(key, kind, member) FIELD(key, kind, libpool_pool_info, member)
#define DISK(key, kind, member) FIELD(key, kind, libpool_disk_info, member)
#define DAMAGE(key, kind, member) FIELD(key, kind, libpool_damage, member)

static const struct field pool_fields[] = {
	POOL("pool", TEXT, name),
	POOL("id", GUID, guid),
	FIELD_NAMED("state", health_names, libpool_pool_info, health),
	POOL("profile", TEXT, profile),
	POOL("problem", TEXT, problem),
	POOL("action", TEXT, action),
	POOL("read_only", FLAG, read_only),
	POOL("halted", FLAG, halted),
	POOL("data_columns", NUMBER32, data_columns),
	POOL("parity_columns", NUMBER32, parity_columns),
	POOL("disks_configured", NUMBER32, disk_count),
	POOL("disks_online", NUMBER32, disks_online),
	POOL("raw_bytes", NUMBER, raw_bytes),
	POOL("usable_bytes", NUMBER, usable_bytes),
	POOL("used_bytes", NUMBER, used_bytes),
	POOL("free_bytes", NUMBER, free_bytes),
	POOL("reserve_bytes", NUMBER, reserve_bytes),
	POOL("dead_bytes", NUMBER, dead_bytes),
	POOL("formable_bytes", NUMBER, formable_bytes),
	POOL("allocation_unit_bytes", NUMBER, au_bytes),
	POOL("txg", NUMBER, txg),
	POOL("segments", NUMBER, segments),
	POOL("segments_free", NUMBER, segments_free),
	POOL("segments_degraded", NUMBER, segments_degraded),
	POOL("stale_cells", NUMBER, stale_cells),
	POOL("damaged_ranges", NUMBER, damaged_ranges),
	POOL("log_losses", NUMBER, log_losses),
	POOL("log_lost_first_txg", NUMBER, log_lost_first_txg),
	POOL("log_lost_last_txg", NUMBER, log_lost_last_txg),
	POOL("allocation_memory", NUMBER, allocation_memory),
	POOL("placed_bytes", NUMBER, placed_bytes),
	POOL("data_bytes", NUMBER, data_bytes),
	POOL("minute_placed_bytes", NUMBER, minute_placed_bytes),
	POOL("minute_data_bytes", NUMBER, minute_data_bytes),
	POOL("moved_bytes", NUMBER, moved_bytes),
	POOL("minute_moved_bytes", NUMBER, minute_moved_bytes),
};

static const struct field disk_fields[] = {
	DISK("index", NUMBER32, index),
	DISK("id", GUID, guid),
	DISK("path", TEXT, path),
	DISK("serial", TEXT, serial),
	FIELD_NAMED("role", result_disk_roles, libpool_disk_info, role),
	DISK("bytes", NUMBER, disk_bytes),
	DISK("allocated_bytes", NUMBER, allocated_bytes),
	DISK("read_errors", NUMBER, read_errors),
	DISK("write_errors", NUMBER, write_errors),
	DISK("checksum_errors", NUMBER, checksum_errors),
	DISK("flush_errors", NUMBER, flush_errors),
	DISK("trim_errors", NUMBER, trim_errors),
	DISK("overdue", NUMBER, overdue),
	DISK("read_latency", DURATION, read_latency_ns),
	DISK("write_latency", DURATION, write_latency_ns),
};

static const struct field traffic_fields[] = {
	DISK("index", NUMBER32, index),
	DISK("reads", NUMBER, reads),
	DISK("bytes_read", NUMBER, bytes_read),
	DISK("writes", NUMBER, writes),
	DISK("bytes_written", NUMBER, bytes_written),
	DISK("flushes", NUMBER, flushes),
	DISK("trims", NUMBER, trims),
	DISK("bytes_trimmed", NUMBER, bytes_trimmed),
	DISK("overdue", NUMBER, overdue),
	DISK("read_latency", DURATION, read_latency_ns),
	DISK("write_latency", DURATION, write_latency_ns),
};

static const struct field damage_fields[] = {
	DAMAGE("dataset", TEXT, dataset), DAMAGE("object", NUMBER, object), DAMAGE("offset", NUMBER, offset),
	DAMAGE("length", NUMBER, length), DAMAGE("found", TIME, found_ns),
	DAMAGE("path", TEXT, path),
};

static int add_disks(struct invocation *invocation, struct json_object *object, bool traffic)
{
	struct json_object *array = result_array(object, "disks");
	struct libpool_disk_info *disks = NULL;
	size_t count = 0;
	int code = libpool_disks(invocation->pool, &disks, &count);

	for (size_t i = 0; code == 0 && i < count; i++) {
		struct json_object *disk = result_append(array);

		result_disk(disk, &disks[i]);
		if (traffic) {
			RESULT_FILL(disk, traffic_fields, &disks[i]);
		} else {
			RESULT_FILL(disk, disk_fields, &disks[i]);
			result_text(disk, "state", libpool_disk_state_name(disks[i].state));
		}
	}
	libpool_free(disks);
	return method_complete(invocation, code, "asking for the disks of pool %s", invocation->pool_name);
}

static int add_damage(struct invocation *invocation, struct json_object *object)
{
	struct json_object *array = result_array(object, "damage");
	struct libpool_damage *damage = NULL;
	size_t count = 0;
	int code = libpool_damage(invocation->pool, &damage, &count);

	for (size_t i = 0; code == 0 && i < count; i++)
		RESULT_FILL(result_append(array), damage_fields, &damage[i]);
	libpool_free(damage);
	return method_complete(invocation, code, "asking for the damage of pool %s", invocation->pool_name);
}

static int add_users(struct invocation *invocation, struct json_object *object)
{
	static const struct field fields[] = {
		FIELD("dataset", TEXT, libpool_user, dataset),	  FIELD("user", TEXT, libpool_user, user),
		FIELD("since", TIME, libpool_user, since_ns),	  FIELD("read_only", FLAG, libpool_user, read_only),
		FIELD("exclusive", FLAG, libpool_user, exclusive),
	};
	struct json_object *array = result_array(object, "users");
	struct libpool_user *users = NULL;
	size_t count = 0;
	int code = libpool_users(invocation->pool, &users, &count);

	for (size_t i = 0; code == 0 && i < count; i++)
		RESULT_FILL(result_append(array), fields, &users[i]);
	libpool_free(users);
	return method_complete(invocation, code, "asking for the users of pool %s", invocation->pool_name);
}

int run_status(struct invocation *invocation)
{
	struct json_object *object = result_append(result_array(invocation->result, "pools"));
	struct libpool_pool_info info = {.size = sizeof(info)};
	int code = libpool_pool_info(invocation->pool, &info);

	if (code < 0)
		return method_complete(invocation, code, "looking into pool %s", invocation->pool_name);
	RESULT_FILL(object, pool_fields, &info);
	result_ratio(object, "amplification", info.placed_bytes, info.data_bytes);
	result_ratio(object, "minute_amplification", info.minute_placed_bytes, info.minute_data_bytes);
	code = jobs_document(invocation->pool, 0, object);
	if (code < 0)
		return method_complete(invocation, code, "asking pool %s for its jobs", invocation->pool_name);
	code = add_disks(invocation, object, false);
	if (code == 0)
		code = add_damage(invocation, object);
	return code < 0 ? code : add_users(invocation, object);
}

static const struct field log_fields[] = {
	FIELD("capacity_bytes", NUMBER, libpool_log_info, capacity_bytes), FIELD("flushes", NUMBER, libpool_log_info, flushes),
	FIELD("groups", NUMBER, libpool_log_info, groups),		   FIELD("bytes_written", NUMBER, libpool_log_info, bytes_written),
	FIELD("commits", NUMBER, libpool_log_info, commits),		   FIELD("changes_replayed", NUMBER, libpool_log_info, changes_replayed),
	FIELD("blocks_placed", NUMBER, libpool_log_info, blocks_placed),
};

/* flush_times: {"below": seconds, "count"}, ascending, without those that are 0. */
static int add_log(struct invocation *invocation, struct json_object *sample)
{
	struct json_object *log = json_object_new_object(), *times;
	struct libpool_log_info info = {.size = sizeof(info)};
	int code = libpool_log_info(invocation->pool, &info);

	json_object_object_add(sample, "log", log);
	RESULT_FILL(log, log_fields, &info);
	times = result_array(log, "flush_times");
	for (unsigned i = 0; i < LIBPOOL_LATENCY_STEPS; i++) {
		if (!info.flush_times[i])
			continue;
		struct json_object *step = result_append(times);
		result_seconds(step, "below", UINT64_C(1000) << i);
		result_number(step, "count", info.flush_times[i]);
	}
	return method_complete(invocation, code, "asking for the intent log of pool %s", invocation->pool_name);
}

int run_iostat(struct invocation *invocation)
{
	struct json_object *sample;
	struct timespec now;

	result_text(invocation->result, "pool", invocation->pool_name);
	sample = result_append(result_array(invocation->result, "samples"));
	clock_gettime(CLOCK_REALTIME, &now);
	result_seconds(sample, "time", (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec);
	int code = add_disks(invocation, sample, true);

	return code < 0 ? code : add_log(invocation, sample);
}

int run_hello(struct invocation *invocation)
{
	static const struct field fields[] = {
		POOL("pool", TEXT, name), POOL("id", GUID, guid), POOL("read_only", FLAG, read_only),
		FIELD_NAMED("state", health_names, libpool_pool_info, health), POOL("usable_bytes", NUMBER, usable_bytes),
		POOL("used_bytes", NUMBER, used_bytes), POOL("free_bytes", NUMBER, free_bytes), POOL("dead_bytes", NUMBER, dead_bytes),
		POOL("formable_bytes", NUMBER, formable_bytes), POOL("placed_bytes", NUMBER, placed_bytes), POOL("data_bytes", NUMBER, data_bytes),
		POOL("moved_bytes", NUMBER, moved_bytes),
	};
	struct libpool_pool_info info = {.size = sizeof(info)};
	int code = libpool_pool_info(invocation->pool, &info);

	if (code < 0)
		return code;
	RESULT_FILL(invocation->result, fields, &info);
	result_ratio(invocation->result, "amplification", info.placed_bytes, info.data_bytes);
	result_text(invocation->result, "version", libpool_version());
	result_number(invocation->result, "pid", (uint64_t)getpid());
	return 0;
}
