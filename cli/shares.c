/* SPDX-License-Identifier: BSD-2-Clause */
#include "cli/shares.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/document.h"
#include "cli/errors.h"

#define FILE_BYTES_MAX (4u << 20)

static const struct {
	const char *server, *protocol;
} servers[SHARE_SERVER_COUNT] = {
	[SHARE_GANESHA] = {"ganesha", "nfs"},
	[SHARE_KERNEL] = {"kernel", "nfs"},
	[SHARE_SAMBA] = {"samba", "smb"},
};

const char *share_server_name(enum share_server server)
{
	return servers[server].server;
}

const char *share_protocol_name(enum share_server server)
{
	return servers[server].protocol;
}

/* ---- one share ---- */

static int compare_clients(const void *a, const void *b)
{
	const struct share_client *one = a, *two = b;

	if (one->specificity != two->specificity)
		return one->specificity > two->specificity ? -1 : 1;
	return strcmp(one->host, two->host);
}

void share_sort(struct share *share)
{
	qsort(share->clients, share->client_count, sizeof(share->clients[0]), compare_clients);
}

int share_add_client(struct share *share, const char *text, struct libpool_error *error)
{
	struct share_client client;
	int code = share_client_read(text, &client, error);

	if (code < 0)
		return code;
	if (share->client_count == MEMBERS_MAX)
		return error_set(error, -EINVAL, "a share has at most %u clients: name networks or a netgroup", MEMBERS_MAX);
	for (size_t i = 0; i < share->client_count; i++)
		if (strcasecmp(share->clients[i].host, client.host) == 0)
			return error_set(error, -EINVAL, "client %s is named twice: name it once, with all its options", client.host);
	share->clients[share->client_count++] = client;
	return 0;
}

int share_add_user(struct share *share, const char *text, struct libpool_error *error)
{
	struct share_user user;
	int code = share_user_read(text, &user, error);

	if (code < 0)
		return code;
	if (share->user_count == MEMBERS_MAX)
		return error_set(error, -EINVAL, "a share has at most %u users: name groups", MEMBERS_MAX);
	for (size_t i = 0; i < share->user_count; i++)
		if (strcasecmp(share->users[i].name, user.name) == 0)
			return error_set(error, -EINVAL, "user %s is named twice", user.name);
	share->users[share->user_count++] = user;
	return 0;
}

static int read_members(struct share *share, struct json_object *array, int (*add)(struct share *, const char *, struct libpool_error *),
			struct libpool_error *error)
{
	int code = 0;

	for (size_t i = 0; code == 0 && json_object_is_type(array, json_type_array) && i < json_object_array_length(array); i++)
		code = add(share, json_object_get_string(json_object_array_get_idx(array, i)) ?: "", error);
	return code;
}

static int share_check(const struct share *share, struct libpool_error *error)
{
	struct target target;
	int code = target_parse(share->dataset, TARGET_DATASET, &target, error);

	if (code == 0)
		code = share_directory_check(share->directory, error);
	if (code == 0 && !share_fsid_is_valid(share->fsid))
		code = error_set(error, -EINVAL, "'%s' is no UUID of a file system", share->fsid);
	if (code == 0 && share->server == SHARE_GANESHA && (share->export_id == 0 || share->export_id > UINT16_MAX))
		code = error_set(error, -EINVAL, "%s has no number of an export from 1 to 65535", share->dataset);
	if (code == 0 && share->server == SHARE_SAMBA)
		code = share_name_check(share->name, error);
	if (code == 0 && (share->server == SHARE_SAMBA ? share->user_count : share->client_count) == 0)
		code = error_set(error, -EINVAL, "%s is shared with nobody", share->dataset);
	return code;
}

static int share_read(struct json_object *object, struct share *share, struct libpool_error *error)
{
	const char *server = document_get_text(object, "server");
	int code;

	share->server = SHARE_SERVER_COUNT;
	for (size_t i = 0; i < SHARE_SERVER_COUNT; i++)
		if (strcmp(server, servers[i].server) == 0)
			share->server = (enum share_server)i;
	if (share->server == SHARE_SERVER_COUNT)
		return error_set(error, -EINVAL, "there is no server '%.40s'", server);
	snprintf(share->dataset, sizeof(share->dataset), "%s", document_get_text(object, "dataset"));
	snprintf(share->directory, sizeof(share->directory), "%s", document_get_text(object, "directory"));
	snprintf(share->fsid, sizeof(share->fsid), "%s", document_get_text(object, "fsid"));
	snprintf(share->name, sizeof(share->name), "%s", document_get_text(object, "name"));
	share->is_caseless = json_object_get_boolean(document_get(object, "case_insensitive"));
	share->export_id = (uint32_t)document_get_number(object, "export_id");
	code = read_members(share, document_get(object, "clients"), share_add_client, error);
	if (code == 0)
		code = read_members(share, document_get(object, "users"), share_add_user, error);
	return code < 0 ? code : share_check(share, error);
}

static struct json_object *share_object(const struct share *share)
{
	struct json_object *object = json_object_new_object(), *members;
	char text[RULE_TEXT_MAX];

	document_text(object, "dataset", share->dataset);
	document_text(object, "server", share_server_name(share->server));
	document_text(object, "directory", share->directory);
	document_text(object, "fsid", share->fsid);
	if (share->server == SHARE_GANESHA)
		document_number(object, "export_id", share->export_id);
	if (share->server == SHARE_SAMBA)
		document_text(object, "name", share->name);
	if (share->is_caseless)
		document_flag(object, "case_insensitive", true);
	members = document_array(object, share->server == SHARE_SAMBA ? "users" : "clients");
	for (size_t i = 0; i < share->client_count; i++) {
		share_client_write(&share->clients[i], text);
		json_object_array_add(members, document_text_new(text));
	}
	for (size_t i = 0; i < share->user_count; i++) {
		share_user_write(&share->users[i], text);
		json_object_array_add(members, document_text_new(text));
	}
	return object;
}

/* ---- the file ---- */

static void path_of(const struct shares *shares, const char *name, char ret_path[PATH_MAX + 64])
{
	snprintf(ret_path, PATH_MAX + 64, "%s/libpool%s%s", shares->folder, name[0] ? "/" : "", name);
}

static int make_folder(const char *path, struct libpool_error *error)
{
	if (mkdir(path, 0755) != 0 && errno != EEXIST)
		return error_set(error, -errno, "%s: %s", path, strerror(errno));
	return 0;
}

int share_file_replace(const char *path, const char *text, struct libpool_error *error)
{
	char other[PATH_MAX + 128];
	size_t length = strlen(text);
	int descriptor, code = 0;

	snprintf(other, sizeof(other), "%s.new", path);
	descriptor = open(other, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0644);
	if (descriptor < 0)
		return error_set(error, -errno, "%s: %s", other, strerror(errno));
	if (write(descriptor, text, length) != (ssize_t)length || fsync(descriptor) != 0 || fchmod(descriptor, 0644) != 0)
		code = -(errno ? errno : EIO);
	close(descriptor);
	if (code == 0 && rename(other, path) != 0)
		code = -errno;
	if (code < 0) {
		unlink(other);
		return error_set(error, code, "%s can't be written: %s", path, strerror(-code));
	}
	return 0;
}

/* NULL with *ret_code 0: there is none. */
static char *read_all(const char *path, int *ret_code)
{
	int descriptor = open(path, O_RDONLY | O_CLOEXEC);
	char *text = descriptor < 0 ? NULL : calloc(1, FILE_BYTES_MAX + 1);
	size_t length = 0;
	ssize_t step = 0;

	*ret_code = descriptor < 0 ? errno == ENOENT ? 0 : -errno : text ? 0 : -ENOMEM;
	while (text && length < FILE_BYTES_MAX && (step = read(descriptor, text + length, FILE_BYTES_MAX - length)) > 0)
		length += (size_t)step;
	if (text && (step < 0 || length == FILE_BYTES_MAX))
		*ret_code = step < 0 ? -errno : -EFBIG;
	if (descriptor >= 0)
		close(descriptor);
	if (*ret_code == 0)
		return text;
	free(text);
	return NULL;
}

static int parse(struct shares *shares, struct json_object *array, struct libpool_error *error)
{
	int code = 0;

	if (!json_object_is_type(array, json_type_array) || json_object_array_length(array) > SHARES_MAX)
		return error_set(error, -EINVAL, "there is no array 'shares' of at most %u members", SHARES_MAX);
	for (size_t i = 0; code == 0 && i < json_object_array_length(array); i++) {
		struct share *share = calloc(1, sizeof(*share));

		if (!share)
			return error_set(error, -ENOMEM, "no memory for the list of shares");
		code = share_read(json_object_array_get_idx(array, i), share, error);
		if (code == 0)
			code = shares_add(shares, share, false, error);
		if (code < 0)
			free(share);
	}
	return code;
}

int shares_load(struct shares *shares, enum shares_use use, struct libpool_error *error)
{
	const char *folder = getenv("LIBPOOL_ETC_PATH");
	struct libpool_error why = {0};
	char path[PATH_MAX + 64], *text;
	int code = 0;

	*shares = (struct shares){.lock = -1};
	snprintf(shares->folder, sizeof(shares->folder), "%s", folder && folder[0] ? folder : "/etc");
	path_of(shares, "", path);
	if (use == SHARES_ADD)
		code = make_folder(path, error);
	if (code < 0)
		return code;
	if (use != SHARES_SHOW) {
		shares->lock = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (shares->lock < 0 && errno == ENOENT)
			return 0;
		if (shares->lock < 0 || flock(shares->lock, LOCK_EX) != 0)
			return error_set(error, -errno, "%s: %s", path, strerror(errno));
	}
	path_of(shares, "shares.json", path);
	text = read_all(path, &code);
	if (code < 0)
		return error_set(error, code, "%s: %s", path, strerror(-code));
	if (!text)
		return 0;
	struct json_object *document = json_tokener_parse(text);
	code = parse(shares, document_get(document, "shares"), &why);
	json_object_put(document);
	free(text);
	return code < 0 ? error_set(error, code, "%s: %s", path, why.text) : 0;
}

int shares_save(const struct shares *shares, struct libpool_error *error)
{
	struct json_object *document = json_object_new_object(), *array;
	char path[PATH_MAX + 64];
	int code;

	document_number(document, "schema", DOCUMENT_SCHEMA);
	array = document_array(document, "shares");
	for (size_t i = 0; i < shares->count; i++)
		json_object_array_add(array, share_object(shares->list[i]));
	path_of(shares, "shares.json", path);
	code = share_file_replace(path, json_object_to_json_string_ext(document, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_NOSLASHESCAPE), error);
	json_object_put(document);
	return code;
}

void shares_release(struct shares *shares)
{
	for (size_t i = 0; i < shares->count; i++)
		free(shares->list[i]);
	shares->count = 0;
	if (shares->lock >= 0)
		close(shares->lock);
	shares->lock = -1;
}

/* ---- changes ---- */

static void take_out(struct shares *shares, size_t index)
{
	free(shares->list[index]);
	shares->count--;
	memmove(&shares->list[index], &shares->list[index + 1], (shares->count - index) * sizeof(shares->list[0]));
}

/* Clients name what they hold by it, so a share keeps its number, and no two have the same. */
static uint32_t free_export_id(const struct shares *shares)
{
	uint32_t id = 1;

	for (size_t i = 0; i < shares->count; i++)
		if (shares->list[i]->export_id >= id)
			id = shares->list[i]->export_id + 1;
	for (uint32_t low = 1; id > UINT16_MAX && low <= UINT16_MAX; low++) {
		bool used = false;

		for (size_t i = 0; i < shares->count; i++)
			used |= shares->list[i]->export_id == low;
		if (!used)
			id = low;
	}
	return id;
}

int shares_add(struct shares *shares, struct share *share, bool replace, struct libpool_error *error)
{
	int code;

	for (size_t i = 0; i < shares->count; i++) {
		struct share *other = shares->list[i];
		bool same_data = strcmp(other->dataset, share->dataset) == 0;
		bool same = other->server == share->server && (share->server == SHARE_SAMBA ? strcasecmp(other->name, share->name) == 0 : same_data);

		if (!same)
			continue;
		if (!same_data)
			return error_set(error, -EEXIST, "%s is shared as '%s': take another name", other->dataset, other->name);
		if (!replace)
			return error_set(error, -EEXIST, "%s is shared over %s%s%s already: --force puts other rules in place of what is there", share->dataset,
					 share_protocol_name(share->server), share->server == SHARE_SAMBA ? " as " : "", share->name);
		if (!share->export_id)
			share->export_id = other->export_id;
		take_out(shares, i--);
	}
	if (shares->count == SHARES_MAX)
		return error_set(error, -ENOSPC, "there are %u shares: more are not possible", SHARES_MAX);
	if (share->server == SHARE_GANESHA && share->export_id == 0)
		share->export_id = free_export_id(shares);
	for (size_t i = 0; i < shares->count; i++)
		if (share->export_id && shares->list[i]->export_id == share->export_id)
			return error_set(error, -EINVAL, "%s and %s have the same number, %u", share->dataset, shares->list[i]->dataset, share->export_id);
	share_sort(share);
	code = share_check(share, error);
	if (code == 0)
		shares->list[shares->count++] = share;
	return code;
}

size_t shares_remove(struct shares *shares, const char *dataset, const char *protocol, const char *name)
{
	size_t removed = 0;

	for (size_t i = 0; i < shares->count; i++) {
		const struct share *share = shares->list[i];

		if (strcmp(share->dataset, dataset) != 0 || (protocol && strcmp(share_protocol_name(share->server), protocol) != 0) ||
		    (name && strcasecmp(share->name, name) != 0))
			continue;
		take_out(shares, i--);
		removed++;
	}
	return removed;
}
