/*
 * status: everything about a pool at a glance, also about one that can't be imported. It imports read-only,
 * so looking at a pool never changes it.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli/disk_files.h"
#include "cli/document.h"
#include "cli/errors.h"
#include "cli/jobs.h"
#include "cli/pools.h"
#include "cli/sizes.h"
#include "cli/verbs.h"

const struct column status_columns[] = {
    {"disk", "DISK", COLUMN_TEXT, false},
    {"state", "STATE", COLUMN_TEXT, false},
    {"bytes", "SIZE", COLUMN_SIZE, false},
    {"allocated_bytes", "ALLOCATED", COLUMN_SIZE, false},
    {"read_errors", "READ", COLUMN_COUNT, false},
    {"write_errors", "WRITE", COLUMN_COUNT, false},
    {"checksum_errors", "CHECKSUM", COLUMN_COUNT, false},
    {"flush_errors", "FLUSH", COLUMN_COUNT, true},
    {"overdue", "OVERDUE", COLUMN_COUNT, true},
    {"read_latency", "READ-TIME", COLUMN_LATENCY, true},
    {"write_latency", "WRITE-TIME", COLUMN_LATENCY, true},
    {"index", "INDEX", COLUMN_COUNT, true},
    {"serial", "SERIAL", COLUMN_TEXT, true},
    {"id", "ID", COLUMN_TEXT, true},
    {NULL, NULL, COLUMN_TEXT, false},
};

static const struct column damage_columns[] = {
    {"dataset", "VOLUME", COLUMN_TEXT, false}, {"object", "OBJECT", COLUMN_COUNT, false},
    {"offset", "OFFSET", COLUMN_COUNT, false}, {"length", "LENGTH", COLUMN_COUNT, false},
    {"found", "FOUND", COLUMN_TIME, false},    {NULL, NULL, COLUMN_TEXT, false},
};

static const char *const health_names[] = {"healthy", "degraded", "unusable"};
static const char *const role_names[] = {"data", "log", "spare"};

static void add_disk(struct json_object *array, const struct libpool_disk_info *disk)
{
	struct json_object *object = document_append_object(array);
	char display[LIBPOOL_PATH_MAX];

	document_text(object, "disk", disk_display(disk, display));
	document_number(object, "index", disk->index);
	document_guid(object, "id", disk->guid);
	document_text(object, "path", disk->path);
	document_text(object, "serial", disk->serial);
	document_text(object, "state", libpool_disk_state_name(disk->state));
	document_text(object, "role", disk->role < 3 ? role_names[disk->role] : "unknown");
	document_number(object, "bytes", disk->disk_bytes);
	document_number(object, "allocated_bytes", disk->allocated_bytes);
	document_number(object, "read_errors", disk->read_errors);
	document_number(object, "write_errors", disk->write_errors);
	document_number(object, "checksum_errors", disk->checksum_errors);
	document_number(object, "flush_errors", disk->flush_errors);
	document_number(object, "overdue", disk->overdue);
	document_duration(object, "read_latency", disk->read_latency_ns);
	document_duration(object, "write_latency", disk->write_latency_ns);
}

static int add_disks(libpool_pool *pool, struct json_object *object)
{
	struct json_object *array = document_array(object, "disks");
	struct libpool_disk_info *disks = NULL;
	size_t count = 0;
	int code = libpool_disks(pool, &disks, &count);

	for (size_t i = 0; code == 0 && i < count; i++)
		add_disk(array, &disks[i]);
	libpool_free(disks);
	return code;
}

static int add_damage(libpool_pool *pool, struct json_object *object)
{
	struct json_object *array = document_array(object, "damage");
	struct libpool_damage *damage = NULL;
	size_t count = 0;
	int code = libpool_damage(pool, &damage, &count);

	for (size_t i = 0; code == 0 && i < count; i++) {
		struct json_object *range = document_append_object(array);

		document_text(range, "dataset", damage[i].dataset);
		document_number(range, "object", damage[i].object);
		document_number(range, "offset", damage[i].offset);
		document_number(range, "length", damage[i].length);
		document_time(range, "found", damage[i].found_ns);
	}
	libpool_free(damage);
	return code;
}

static void add_figures(struct json_object *object, const struct libpool_pool_info *info)
{
	document_flag(object, "halted", info->halted);
	document_number(object, "data_columns", info->data_columns);
	document_number(object, "parity_columns", info->parity_columns);
	document_number(object, "disks_configured", info->disk_count);
	document_number(object, "disks_online", info->disks_online);
	document_number(object, "raw_bytes", info->raw_bytes);
	document_number(object, "usable_bytes", info->usable_bytes);
	document_number(object, "used_bytes", info->used_bytes);
	document_number(object, "free_bytes", info->free_bytes);
	document_number(object, "reserve_bytes", info->reserve_bytes);
	document_number(object, "allocation_unit_bytes", info->au_bytes);
	document_number(object, "txg", info->txg);
	document_number(object, "segments", info->segments);
	document_number(object, "segments_free", info->segments_free);
	document_number(object, "segments_degraded", info->segments_degraded);
	document_number(object, "stale_cells", info->stale_cells);
	document_number(object, "damaged_ranges", info->damaged_ranges);
	document_number(object, "allocation_memory", info->allocation_memory);
}

/* All about an open pool, whoever opened it. 0 or a negative code. */
static int describe_open(libpool_pool *pool, struct json_object *object)
{
	struct libpool_pool_info info = {.size = sizeof(info)};
	int code = libpool_pool_info(pool, &info);

	if (code < 0)
		return code;
	document_text(object, "pool", info.name);
	document_guid(object, "id", info.guid);
	document_text(object, "state",
		      health_names[info.health <= LIBPOOL_UNUSABLE ? info.health : LIBPOOL_UNUSABLE]);
	document_text(object, "profile", info.profile);
	document_text(object, "problem", info.problem);
	document_text(object, "action", info.action);
	add_figures(object, &info);
	code = jobs_document(pool, JOBS_ALL, object);
	if (code == 0)
		code = add_disks(pool, object);
	if (code == 0)
		code = add_damage(pool, object);
	return code;
}

/* A pool that can't be looked into: what its labels say, and why. */
static void describe_closed(const struct libpool_found *found, const struct libpool_error *error,
			    struct json_object *object)
{
	const char *state = found->in_use ? "in use" : found->destroyed ? "destroyed" : "unusable";

	document_text(object, "pool", found->name);
	document_guid(object, "id", found->guid);
	document_text(object, "state", state);
	document_text(object, "profile", found->profile);
	document_text(object, "problem", found->in_use ? "another process has it imported" : error->text);
	document_text(object, "action", found->in_use ? "ask that process" : "");
	document_number(object, "raw_bytes", found->raw_bytes);
	document_number(object, "disks_configured", found->disks_configured);
	document_number(object, "disks_found", found->disks_found);
	document_number(object, "txg", found->txg);
}

static void add_pool(struct call *call, const struct libpool_found *found, struct json_object *pools)
{
	struct libpool_import_options options = {.size = sizeof(options)};
	struct libpool_error error = {0};
	struct json_object *object = document_append_object(pools);
	char guid[GUID_TEXT_MAX];
	libpool_pool *pool = NULL;
	int code;

	guid_print(found->guid, guid);
	options.name = guid;
	options.read_only = 1;
	code = found->in_use ? -LIBPOOL_EINUSE : libpool_import(call->host, &options, &pool, &error);
	if (code == 0)
		code = describe_open(pool, object);
	if (pool)
		libpool_close(pool, NULL);
	if (code < 0) {
		error_complete(&error, code, "looking into pool %s", found->name);
		describe_closed(found, &error, object);
	}
}

/* The worst of all pools: unusable before unknown before degraded. No pool at all is unknown: its disks may be gone. */
static enum exit_code check(struct json_object *pools)
{
	bool unknown = json_object_array_length(pools) == 0, degraded = false;

	for (size_t i = 0; i < json_object_array_length(pools); i++) {
		const char *state = document_get_text(json_object_array_get_idx(pools, i), "state");

		if (strcmp(state, "unusable") == 0)
			return 2;
		degraded = degraded || strcmp(state, "degraded") == 0;
		unknown = unknown || (strcmp(state, "degraded") != 0 && strcmp(state, "healthy") != 0);
	}
	return unknown ? EXIT_CODE_UNKNOWN : degraded ? 1 : 0;
}

int status_work(struct call *call)
{
	struct json_object *pools = document_array(call->document, "pools");
	struct libpool_found *found = NULL, one;
	size_t count = 0;
	int code;

	if (call->target.pool[0]) {
		code = pools_find(call->host, call->target.pool, &one, &call->error);
		if (code == 0)
			add_pool(call, &one, pools);
	} else {
		code = libpool_find(call->host, &found, &count, &call->error);
		for (size_t i = 0; code == 0 && i < count; i++) {
			if (!found[i].destroyed)
				add_pool(call, &found[i], pools);
		}
		libpool_free(found);
	}
	if (options_have(&call->options, OPTION_CHECK))
		call->exit_code = code < 0 ? EXIT_CODE_UNKNOWN : check(pools);
	return code;
}

static void print_jobs(struct json_object *pool)
{
	struct json_object *jobs = document_get(pool, "jobs");
	char text[1024];

	for (size_t i = 0; jobs && i < json_object_array_length(jobs); i++) {
		job_describe(json_object_array_get_idx(jobs, i), text, sizeof(text));
		printf("%8s %s\n", i == 0 ? "jobs:" : "", text);
	}
}

static void print_space(struct json_object *pool)
{
	char usable[QUANTITY_TEXT_MAX], used[QUANTITY_TEXT_MAX], left[QUANTITY_TEXT_MAX];

	size_print(document_get_number(pool, "usable_bytes"), usable);
	size_print(document_get_number(pool, "used_bytes"), used);
	size_print(document_get_number(pool, "free_bytes"), left);
	printf("%8s %s of %s used, %s free\n", "space:", used, usable, left);
}

static void print_more(struct json_object *pool)
{
	char text[QUANTITY_TEXT_MAX];

	size_print(document_get_number(pool, "allocation_unit_bytes"), text);
	printf("%8s %s, txg %llu\n", "id:", document_get_text(pool, "id"),
	       (unsigned long long)document_get_number(pool, "txg"));
	printf("%8s %llu segments in use, %llu free, %llu degraded; %llu cells to repair; allocation units "
	       "of %s\n",
	       "space:", (unsigned long long)document_get_number(pool, "segments"),
	       (unsigned long long)document_get_number(pool, "segments_free"),
	       (unsigned long long)document_get_number(pool, "segments_degraded"),
	       (unsigned long long)document_get_number(pool, "stale_cells"), text);
}

/* The disks as children of the pool. */
static void print_tree(struct json_object *pool, const struct table_style *style)
{
	struct json_object *rows = json_object_new_array(), *root = document_append_object(rows);

	document_text(root, "disk", document_get_text(pool, "pool"));
	document_text(root, "state", document_get_text(pool, "state"));
	json_object_object_add(root, "children", json_object_get(document_get(pool, "disks")));
	table_print(status_columns, rows, style);
	json_object_put(rows);
}

static void print_damage(struct json_object *pool, const struct table_style *style)
{
	struct json_object *damage = document_get(pool, "damage");
	struct table_style whole = *style;

	whole.selection = NULL;
	if (json_object_array_length(damage) == 0) {
		puts("\nNo damaged ranges.");
		return;
	}
	printf("\nDamaged ranges, which can't be read:\n");
	table_print(damage_columns, damage, &whole);
}

static void print_pool(struct json_object *pool, const struct table_style *style)
{
	const char *problem = document_get_text(pool, "problem"), *action = document_get_text(pool, "action");
	bool open = document_get(pool, "disks") != NULL;

	printf("%8s %s\n%8s %s%s\n", "pool:", document_get_text(pool, "pool"),
	       "state:", document_get_text(pool, "state"),
	       document_get_flag(pool, "halted") ? ", halted" : "");
	printf("%8s %s, %u disks, %u %s\n", "profile:", document_get_text(pool, "profile"),
	       (unsigned)document_get_number(pool, "disks_configured"),
	       (unsigned)document_get_number(pool, open ? "disks_online" : "disks_found"),
	       open ? "online" : "found");
	if (problem[0])
		printf("%8s %s\n", "problem:", problem);
	if (action[0])
		printf("%8s %s\n", "do:", action);
	if (!open)
		return;
	print_space(pool);
	if (style->more)
		print_more(pool);
	print_jobs(pool);
	putchar('\n');
	print_tree(pool, style);
	print_damage(pool, style);
}

void status_print(struct call *call)
{
	struct json_object *pools = document_get(call->document, "pools");
	struct table_style style = call_style(call);

	for (size_t i = 0; i < json_object_array_length(pools); i++) {
		struct json_object *pool = json_object_array_get_idx(pools, i);

		if (style.raw) {
			if (document_get(pool, "disks"))
				print_tree(pool, &style);
			continue;
		}
		if (i > 0)
			putchar('\n');
		print_pool(pool, &style);
	}
	if (json_object_array_length(pools) == 0 && !style.raw)
		puts("No pools were found. Folders with file-backed disks are searched when named with -d.");
}
