/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * status: everything about a pool at a glance, also about one that can't be imported. A pool that nobody has imported is imported
 * read-only for it, so looking at a pool never changes it.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/document.h"
#include "cli/errors.h"
#include "cli/interrupt.h"
#include "cli/jobs.h"
#include "cli/pools.h"
#include "cli/sizes.h"
#include "cli/verbs.h"

#define WATCH_SECONDS 2

const struct column status_columns[] = {
    {"disk", "DISK", COLUMN_TEXT, false},
    {"state", "STATE", COLUMN_TEXT, false},
    {"bytes", "SIZE", COLUMN_SIZE, false},
    {"allocated_bytes", "ALLOCATED", COLUMN_SIZE, false},
    {"read_errors", "READ", COLUMN_COUNT, false},
    {"write_errors", "WRITE", COLUMN_COUNT, false},
    {"checksum_errors", "CHECKSUM", COLUMN_COUNT, false},
    {"role", "ROLE", COLUMN_TEXT, false},
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
    {"dataset", "DATASET", COLUMN_TEXT, false}, {"object", "OBJECT", COLUMN_COUNT, false},
    {"offset", "OFFSET", COLUMN_COUNT, false},  {"length", "LENGTH", COLUMN_COUNT, false},
    {"found", "FOUND", COLUMN_TIME, false},     {"path", "PATH", COLUMN_TEXT, false},
    {NULL, NULL, COLUMN_TEXT, false},
};

/* A pool that can't be looked into: what its labels say, and why. */
static void describe_closed(const struct libpool_found *found, const struct libpool_error *error, int code, struct json_object *object)
{
	/* Enough disks, and something is to be said of them: log disks are missing. An import that is told so goes on. */
	bool lacks_log = code == -LIBPOOL_EDEGRADED && found->importable && found->problem[0] && strstr(error->text, "--missing-log");
	const char *state = found->in_use ? "in use" : found->destroyed ? "destroyed" : lacks_log ? "degraded" : "unusable";

	document_text(object, "pool", found->name);
	document_guid(object, "id", found->guid);
	document_text(object, "state", state);
	document_text(object, "profile", found->profile);
	document_text(object, "problem", found->in_use ? "another process uses it, and can't be asked" : error->text);
	if (lacks_log)
		document_format(object, "action", "attach the log disks (-d names their folder), or give up what only they have: poolctl import %s --missing-log",
				found->name);
	else
		document_text(object, "action", found->in_use ? "wait until that process is done" : "");
	document_number(object, "raw_bytes", found->raw_bytes);
	document_number(object, "disks_configured", found->disks_configured);
	document_number(object, "disks_found", found->disks_found);
	document_number(object, "txg", found->txg);
}

/* Asks an open session; the pool becomes one of "pools". */
static int ask(struct call *call, struct json_object *pools)
{
	struct json_object *part = json_object_new_object(), *result;
	struct call_request request = {.method = "status", .descriptor = -1, .into = part};
	int code = call_request(call, &request);

	result = code == 0 ? json_object_array_get_idx(document_get(part, "pools"), 0) : NULL;
	if (result) {
		document_flag(result, "imported", call->session.is_owned);
		json_object_array_add(pools, json_object_get(result));
	}
	json_object_put(part);
	return code;
}

/* Its owner is asked, or it is imported for a moment. A pool that can't be looked into is no error. */
static void add_pool(struct call *call, const struct libpool_found *found, struct json_object *pools)
{
	struct libpool_error error;
	char guid[GUID_TEXT_MAX];
	int code;

	guid_print(found->guid, guid);
	code = session_join(&call->session, guid, &call->error);
	if (code == -ENOENT)
		code = found->in_use ? -LIBPOOL_EINUSE : call_import(call, guid, true, &call->session, &call->error);
	if (code == 0)
		code = ask(call, pools);
	session_close(&call->session, NULL);
	error = call->error;
	call->error = (struct libpool_error){0};
	if (code < 0) {
		error_complete(&error, code, "looking into pool %s", found->name);
		describe_closed(found, &error, code, document_append_object(pools));
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

static int look_at_one(struct call *call, struct json_object *pools)
{
	struct libpool_found found;
	int code = session_join(&call->session, call->target.pool, &call->error);

	if (code == 0) {
		code = ask(call, pools);
		session_close(&call->session, NULL);
		return code;
	}
	if (code != -ENOENT)
		return code;
	code = pools_find(call->host, call->target.pool, &found, &call->error);
	if (code == 0)
		add_pool(call, &found, pools);
	return code;
}

static int look_at_all(struct call *call, struct json_object *pools)
{
	struct libpool_found *found = NULL;
	size_t count = 0;
	int code = libpool_find(call->host, &found, &count, &call->error);

	for (size_t i = 0; code == 0 && i < count; i++) {
		if (!found[i].destroyed)
			add_pool(call, &found[i], pools);
	}
	libpool_free(found);
	return code;
}

static int look(struct call *call, struct json_object *document)
{
	struct json_object *pools = document_array(document, "pools");
	int code = call->target.pool[0] ? look_at_one(call, pools) : look_at_all(call, pools);

	if (options_have(&call->options, OPTION_CHECK))
		call->exit_code = code < 0 ? EXIT_CODE_UNKNOWN : check(pools);
	return code;
}

int status_check(struct call *call)
{
	if (options_have(&call->options, OPTION_WATCH) && options_have(&call->options, OPTION_CHECK))
		return call_usage(call, "status: --watch and --check exclude each other: give one");
	return 0;
}

int status_work(struct call *call)
{
	int code = 0;

	if (!options_have(&call->options, OPTION_WATCH))
		return look(call, call->document);
	call->streams = true;
	while (code == 0) {
		struct json_object *part = document_new(call->verb->name);

		code = look(call, part);
		if (code == 0)
			code = call_emit(call, part);
		json_object_put(part);
		if (code == 0)
			code = interrupt_sleep(WATCH_SECONDS);
	}
	if (!interrupt_requested())
		return code;
	call->error = (struct libpool_error){0};
	return 0;
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

#define USERS_SHOWN 4u /* without -v */

/* Who has what open. A process with many connections is one line for each. */
static void print_users(struct json_object *pool, bool all)
{
	struct json_object *users = document_get(pool, "users");
	size_t count = users ? json_object_array_length(users) : 0, shown = all || count <= USERS_SHOWN ? count : USERS_SHOWN - 1;

	for (size_t i = 0; i < shown; i++) {
		struct json_object *user = json_object_array_get_idx(users, i);

		printf("%8s %s by %s%s\n", i == 0 ? "in use:" : "", document_get_text(user, "dataset"), document_get_text(user, "user"),
		       document_get_flag(user, "read_only") ? ", only to be read" : "");
	}
	if (shown < count)
		printf("%8s and %zu more\n", "", count - shown);
}

static void print_space(struct json_object *pool)
{
	char usable[QUANTITY_TEXT_MAX], used[QUANTITY_TEXT_MAX], left[QUANTITY_TEXT_MAX];

	size_print(document_get_number(pool, "usable_bytes"), usable);
	size_print(document_get_number(pool, "used_bytes"), used);
	size_print(document_get_number(pool, "free_bytes"), left);
	printf("%8s %s of %s used, %s free\n", "space:", used, usable, left);
}

/* What each byte of content costs. */
static void print_amplification(struct json_object *pool)
{
	struct json_object *all = document_get(pool, "amplification"), *minute = document_get(pool, "minute_amplification");
	char moved[QUANTITY_TEXT_MAX], now[QUANTITY_TEXT_MAX];

	if (all)
		printf("%8s %s bytes for each of content since the import", "written:", json_object_get_string(all));
	if (minute)
		printf(", %s in the last minute", json_object_get_string(minute));
	if (all)
		printf("\n");
	size_print(document_get_number(pool, "moved_bytes"), moved);
	size_print(document_get_number(pool, "minute_moved_bytes"), now);
	printf("%8s %s out of units of which little lived since the import, %s in the last minute\n", "moved:", moved, now);
}

static void print_more(struct json_object *pool)
{
	char text[QUANTITY_TEXT_MAX];

	size_print(document_get_number(pool, "dead_bytes"), text);
	printf("%8s %s dead in units in use, ", "space:", text);
	size_print(document_get_number(pool, "formable_bytes"), text);
	printf("%s formable from free units\n", text);
	print_amplification(pool);
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
	print_users(pool, style->more);
	print_jobs(pool);
	putchar('\n');
	print_tree(pool, style);
	print_damage(pool, style);
}

static void print_all(struct call *call, struct json_object *document)
{
	struct json_object *pools = document_get(document, "pools");
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

void status_print(struct call *call)
{
	if (!options_have(&call->options, OPTION_WATCH))
		print_all(call, call->document);
}

/* On a terminal each takes the place of the one before. */
void status_print_part(struct call *call, struct json_object *part)
{
	if (isatty(STDOUT_FILENO))
		fputs("\033[H\033[2J", stdout);
	else if (call->parts > 0)
		putchar('\n');
	print_all(call, part);
}
