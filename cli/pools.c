/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "cli/context.h"
#include "cli/document.h"
#include "cli/errors.h"
#include "cli/names.h"
#include "cli/pools.h"

static bool is_called(const struct libpool_found *found, const char *name)
{
	char guid[GUID_TEXT_MAX];

	guid_print(found->guid, guid);
	return strcmp(found->name, name) == 0 || strcasecmp(guid, name) == 0;
}

int pools_not_found(const struct libpool_host *host, const char *name, struct libpool_error *error)
{
	char searched[300];

	context_describe_search(host, searched, sizeof(searched));
	return error_set(
	    error, -ENOENT,
	    "no pool '%s' was found on %s: check the name with 'poolctl list', or add a folder with -d", name,
	    searched);
}

int pools_find(const struct libpool_host *host, const char *name, struct libpool_found *ret_found,
	       struct libpool_error *error)
{
	struct libpool_found *all = NULL;
	const struct libpool_found *chosen = NULL;
	size_t count = 0, alive = 0, matches = 0;
	int code = libpool_find(host, &all, &count, error);

	if (code < 0)
		return error_complete(error, code, "searching for pool %s", name);
	for (size_t i = 0; i < count; i++) {
		if (!is_called(&all[i], name))
			continue;
		matches++;
		alive += !all[i].destroyed;
		if (!chosen || (chosen->destroyed && !all[i].destroyed))
			chosen = &all[i];
	}
	if (matches == 0)
		code = pools_not_found(host, name, error);
	else if (alive > 1 || (alive == 0 && matches > 1))
		code = error_set(error, -EEXIST,
				 "%zu pools are called '%s': name one by its id, see poolctl list -v",
				 matches, name);
	else
		*ret_found = *chosen;
	libpool_free(all);
	return code;
}

const char *found_state(const struct libpool_found *found)
{
	if (found->destroyed)
		return "destroyed";
	if (found->in_use)
		return "in use";
	return found->importable == 2 ? "healthy" : found->importable == 1 ? "degraded" : "unusable";
}

struct json_object *found_document(const struct libpool_found *found)
{
	struct json_object *object = json_object_new_object();

	document_text(object, "name", found->name);
	document_guid(object, "id", found->guid);
	document_text(object, "state", found_state(found));
	document_text(object, "profile", found->profile);
	document_number(object, "raw_bytes", found->raw_bytes);
	document_number(object, "disks", found->disks_configured);
	document_number(object, "disks_found", found->disks_found);
	document_flag(object, "clean", found->clean);
	document_flag(object, "other_host", found->other_host);
	document_flag(object, "in_use", found->in_use);
	document_flag(object, "destroyed", found->destroyed);
	document_flag(object, "importable", found->importable > 0 && !found->in_use);
	document_number(object, "txg", found->txg);
	document_time(object, "time", found->time_ns);
	document_text(object, "problem", found->problem);
	return object;
}
