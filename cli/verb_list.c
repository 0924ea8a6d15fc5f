/* SPDX-License-Identifier: BSD-2-Clause */
/* list: what labels say of the pools that a search finds, and what owners say of those that they have imported. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "cli/document.h"
#include "cli/errors.h"
#include "cli/owners.h"
#include "cli/pools.h"
#include "cli/verbs.h"

/* What is stored only the owner of a pool tells; nobody has those that can be imported. */
#define LIST_COLUMNS(SPACE_IS_MORE)                                   \
	{"name", "NAME", COLUMN_TEXT, false},                         \
	{"state", "STATE", COLUMN_TEXT, false},                       \
	{"profile", "PROFILE", COLUMN_TEXT, false},                   \
	{"raw_bytes", "RAW", COLUMN_SIZE, false},                     \
	{"usable_bytes", "USABLE", COLUMN_SIZE, SPACE_IS_MORE},       \
	{"used_bytes", "USED", COLUMN_SIZE, SPACE_IS_MORE},           \
	{"free_bytes", "FREE", COLUMN_SIZE, SPACE_IS_MORE},           \
	{"dead_bytes", "DEAD", COLUMN_SIZE, true},                    \
	{"formable_bytes", "FORMABLE", COLUMN_SIZE, true},            \
	{"moved_bytes", "MOVED", COLUMN_SIZE, true},                  \
	{"amplification", "AMPLIFICATION", COLUMN_COUNT, true},       \
	{"disks", "DISKS", COLUMN_COUNT, false},                      \
	{"disks_found", "FOUND", COLUMN_COUNT, false},                \
	{"time", "LAST-COMMIT", COLUMN_TIME, false},                  \
	{"txg", "TXG", COLUMN_COUNT, true},                           \
	{"clean", "EXPORTED", COLUMN_TEXT, true},                     \
	{"other_host", "OTHER-HOST", COLUMN_TEXT, true},              \
	{"id", "ID", COLUMN_TEXT, true},                              \
	{"problem", "PROBLEM", COLUMN_TEXT, false},                   \
	{NULL, NULL, COLUMN_TEXT, false},

const struct column list_columns[] = {LIST_COLUMNS(false)};
const struct column import_columns[] = {LIST_COLUMNS(true)};

static bool is_wanted(const struct call *call, const struct libpool_found *found, bool importable_only)
{
	if (found->destroyed && !options_have(&call->options, OPTION_DESTROYED))
		return false;
	if (importable_only && found->in_use)
		return false;
	return !call->target.pool[0] || strcmp(found->name, call->target.pool) == 0;
}

/* How a pool that is imported is, only its owner can tell. */
static void add(struct json_object *pools, const struct libpool_found *found, const struct owner *owners, size_t owner_count)
{
	struct json_object *object = found_document(found);
	const char *id = document_get_text(object, "id");

	for (size_t i = 0; i < owner_count; i++) {
		if (strcmp(owners[i].id, id) != 0)
			continue;
		document_text(object, "state", owners[i].state);
		document_number(object, "pid", owners[i].pid);
		document_number(object, "usable_bytes", owners[i].usable_bytes);
		document_number(object, "used_bytes", owners[i].used_bytes);
		document_number(object, "free_bytes", owners[i].free_bytes);
		document_number(object, "dead_bytes", owners[i].dead_bytes);
		document_number(object, "formable_bytes", owners[i].formable_bytes);
		document_number(object, "moved_bytes", owners[i].moved_bytes);
		if (owners[i].amplification[0])
			json_object_object_add(object, "amplification", json_object_new_double_s(strtod(owners[i].amplification, NULL), owners[i].amplification));
	}
	json_object_array_add(pools, object);
}

int list_pools(struct call *call, bool importable_only)
{
	struct json_object *pools = document_array(call->document, "pools");
	struct libpool_found *found = NULL;
	struct owner *owners = NULL;
	size_t count = 0, owner_count = 0;
	int code = libpool_find(call->host, &found, &count, &call->error);

	if (code < 0)
		return code;
	code = owners_list(&owners, &owner_count);
	for (size_t i = 0; code == 0 && i < count; i++) {
		if (is_wanted(call, &found[i], importable_only))
			add(pools, &found[i], owners, owner_count);
	}
	free(owners);
	libpool_free(found);
	return error_complete(&call->error, code, "looking for the owners of pools");
}

int list_work(struct call *call)
{
	struct libpool_found found;
	struct owner *owners = NULL;
	size_t owner_count = 0;
	int code;

	if (!call->target.pool[0])
		return list_pools(call, false);
	/* A pool that is named has to be there, and may be named by its id. */
	code = pools_find(call->host, call->target.pool, &found, &call->error);
	if (code == -EEXIST) {
		call->error = (struct libpool_error){0};
		return list_pools(call, false);
	}
	if (code < 0)
		return code;
	code = owners_list(&owners, &owner_count);
	if (code == 0)
		add(document_array(call->document, "pools"), &found, owners, owner_count);
	free(owners);
	return error_complete(&call->error, code, "looking for the owners of pools");
}

void list_print(struct call *call)
{
	if (json_object_array_length(document_get(call->document, "pools")) == 0 &&
	    !options_have(&call->options, OPTION_NO_HEADER))
		puts("No pools were found. Folders with file-backed disks are searched when named with -d.");
	else
		print_rows(call, "pools");
}
