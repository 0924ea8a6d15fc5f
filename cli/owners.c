/* SPDX-License-Identifier: BSD-2-Clause */
/* What must always hold: a socket of somebody else is not talked to, and one that doesn't answer holds nobody up for long. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "cli/document.h"
#include "cli/errors.h"
#include "cli/owners.h"

#define HELLO_MS      3000
#define EXPORT_MS     120000
#define SYSTEM_FOLDER "/run/libpool"

/* Asks who it is. One that is exporting its pool (-ENODEV) is waited for, at most `end_ms`: nobody else can have the pool before. */
static int greet(const char *path, int end_ms, struct connection *ret_connection, struct owner *ret_owner)
{
	struct connection_request request = {.method = "hello", .descriptor = -1, .timeout_ms = HELLO_MS};
	struct json_object *hello = NULL;
	struct libpool_error error;
	int code = connection_open(ret_connection, path);

	if (code < 0)
		return code;
	code = connection_call(ret_connection, &request, &hello, &error);
	if (code == -ENODEV)
		connection_await_end(ret_connection, end_ms);
	if (code < 0) {
		connection_end(ret_connection);
		return code;
	}
	*ret_owner = (struct owner){.pid = document_get_number(hello, "pid"), .read_only = document_get_flag(hello, "read_only"),
				      .usable_bytes = document_get_number(hello, "usable_bytes"),
				      .used_bytes = document_get_number(hello, "used_bytes"),
				      .free_bytes = document_get_number(hello, "free_bytes"),
				      .dead_bytes = document_get_number(hello, "dead_bytes"),
				      .formable_bytes = document_get_number(hello, "formable_bytes"),
				      .moved_bytes = document_get_number(hello, "moved_bytes")};
	if (document_get(hello, "amplification"))
		snprintf(ret_owner->amplification, sizeof(ret_owner->amplification), "%.3f", document_get_seconds(hello, "amplification"));
	snprintf(ret_owner->pool, sizeof(ret_owner->pool), "%s", document_get_text(hello, "pool"));
	snprintf(ret_owner->id, sizeof(ret_owner->id), "%s", document_get_text(hello, "id"));
	snprintf(ret_owner->state, sizeof(ret_owner->state), "%s", document_get_text(hello, "state"));
	snprintf(ret_owner->path, sizeof(ret_owner->path), "%s", path);
	json_object_put(hello);
	return 0;
}

static int add(struct owner **owners, size_t *count, const struct owner *owner)
{
	struct owner *larger = realloc(*owners, (*count + 1) * sizeof(*larger));

	if (!larger)
		return -ENOMEM;
	larger[(*count)++] = *owner;
	*owners = larger;
	return 0;
}

static int list_folder(const char *folder, struct owner **owners, size_t *count)
{
	DIR *directory = opendir(folder);
	struct dirent *entry;
	int code = 0;

	while (directory && code == 0 && (entry = readdir(directory))) {
		size_t length = strlen(entry->d_name);
		struct connection connection;
		char path[PATH_MAX];
		struct owner owner;

		if (length < 5 || strcmp(entry->d_name + length - 5, ".sock") != 0)
			continue;
		snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
		if (greet(path, HELLO_MS, &connection, &owner) < 0)
			continue;
		connection_end(&connection);
		code = add(owners, count, &owner);
	}
	if (directory)
		closedir(directory);
	return code;
}

int owners_list(struct owner **ret_owners, size_t *ret_count)
{
	struct owner *owners = NULL;
	char folder[PATH_MAX];
	size_t count = 0;
	int code = 0;

	if (libpool_control_folder(folder, sizeof(folder), NULL) == 0)
		code = list_folder(folder, &owners, &count);
	else
		folder[0] = '\0';
	/* A daemon of root may serve other users, too. */
	if (code == 0 && !getenv("LIBPOOL_RUN_PATH") && strcmp(folder, SYSTEM_FOLDER) != 0)
		code = list_folder(SYSTEM_FOLDER, &owners, &count);
	if (code < 0) {
		free(owners);
		return code;
	}
	*ret_owners = owners;
	*ret_count = count;
	return 0;
}

int owner_connect(const char *name, struct connection *ret_connection, struct owner *ret_owner, struct libpool_error *error)
{
	struct owner *owners = NULL, *chosen = NULL, fresh;
	size_t count = 0, matches = 0;
	int code = owners_list(&owners, &count);

	for (size_t i = 0; code == 0 && i < count; i++) {
		if (strcmp(owners[i].pool, name) != 0 && strcasecmp(owners[i].id, name) != 0)
			continue;
		chosen = &owners[i];
		matches++;
	}
	if (code == 0 && matches == 0)
		code = -ENOENT;
	else if (matches > 1)
		code = error_set(error, -EEXIST, "%zu pools called '%s' are imported: name one by its id, see poolctl list -v", matches, name);
	else if (code == 0)
		code = greet(chosen->path, EXPORT_MS, ret_connection, &fresh);
	/* It has ended since it was listed: whoever comes now finds the pool free. */
	if (code == -ECONNREFUSED || code == -ECONNRESET || code == -ENODEV)
		code = -ENOENT;
	if (code == 0 && ret_owner)
		*ret_owner = *chosen;
	free(owners);
	return code;
}
