/* SPDX-License-Identifier: BSD-2-Clause */
/* share add, remove and list: file systems for others, over NFS and SMB. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>

#include "cli/document.h"
#include "cli/errors.h"
#include "cli/mount_list.h"
#include "cli/share_files.h"
#include "cli/verbs.h"

#define CASE_ATTRIBUTE "system.libpool.casesensitivity"
#define FSID_ATTRIBUTE "system.libpool.fsid" /* of each file system that is mounted: see libpool-fuse(8) */

const struct column share_columns[] = {
    {"object", "DATASET", COLUMN_TEXT, false}, {"protocol", "PROTOCOL", COLUMN_TEXT, false}, {"server", "SERVER", COLUMN_TEXT, false},
    {"name", "NAME", COLUMN_TEXT, false},	{"directory", "FOLDER", COLUMN_TEXT, false},  {"state", "STATE", COLUMN_TEXT, false},
    {"who", "WHO", COLUMN_TEXT, false},		{NULL, NULL, COLUMN_TEXT, false},
};

static const char *protocol_of(const struct call *call)
{
	return call->operand_count ? call->operands[0] : NULL;
}

static int check_protocol(struct call *call)
{
	const char *protocol = protocol_of(call);

	if (protocol && strcmp(protocol, "nfs") != 0 && strcmp(protocol, "smb") != 0)
		return call_usage(call, "%s: '%.40s' is no protocol: nfs or smb", call->verb->name, protocol);
	return 0;
}

/* ---- what was typed ---- */

static int read_users(struct share *share, const char *list, struct libpool_error *error)
{
	char *copy = strdup(list), *rest = NULL;
	int code = copy ? 0 : -ENOMEM;

	for (char *user = copy ? strtok_r(copy, ",", &rest) : NULL; user && code == 0; user = strtok_r(NULL, ",", &rest))
		code = share_add_user(share, user, error);
	free(copy);
	return code;
}

/* Who may reach it, and nobody else: without a word about that nothing is shared. */
static int read_rules(struct call *call, struct share *share)
{
	const char *users = call->options.text[OPTION_VALID_USERS], *name = call->options.text[OPTION_NAME], *slash;
	int code = 0;

	if (share->server == SHARE_SAMBA) {
		if (options_have(&call->options, OPTION_CLIENT) || options_have(&call->options, OPTION_SERVER))
			return error_set(&call->error, -EINVAL, "share add: --client and --server are for nfs: with smb it is --valid-users who may reach it");
		slash = strrchr(call->target.volume, '/');
		snprintf(share->name, sizeof(share->name), "%.*s", SHARE_NAME_MAX, name ? name : slash ? slash + 1 : call->target.volume);
		code = name ? share_name_check(name, &call->error) : 0;
		if (code == 0)
			code = share_name_check(share->name, &call->error);
		if (code == 0 && users)
			code = read_users(share, users, &call->error);
		if (code == 0 && share->user_count == 0)
			code = error_set(&call->error, -EINVAL, "share add: nobody could reach it: name them with --valid-users USER,@GROUP,USER:ro");
		return code;
	}
	if (users || name)
		return error_set(&call->error, -EINVAL, "share add: --valid-users and --name are for smb: with nfs it is --client who may reach it");
	for (size_t i = 0; code == 0 && i < call->options.client_count; i++)
		code = share_add_client(share, call->options.clients[i], &call->error);
	if (code == 0 && share->client_count == 0)
		code = error_set(&call->error, -EINVAL, "share add: nobody could reach it: name machines or networks with --client 192.0.2.0/24:rw,root_squash");
	return code;
}

static int read_server(struct call *call, struct share *share)
{
	const char *server = call->options.text[OPTION_SERVER];

	share->server = strcmp(protocol_of(call), "smb") == 0 ? SHARE_SAMBA : SHARE_GANESHA;
	if (!server || share->server == SHARE_SAMBA || strcmp(server, "ganesha") == 0)
		return 0;
	if (strcmp(server, "kernel") != 0)
		return error_set(&call->error, -EINVAL, "share add: there is no server '%.40s': ganesha or kernel", server);
	share->server = SHARE_KERNEL;
	return 0;
}

/* What is wrong with the words themselves is wrong usage. */
int share_add_check(struct call *call)
{
	struct share *share = calloc(1, sizeof(*share));
	int code = share ? check_protocol(call) : -ENOMEM;

	if (code == 0)
		code = read_server(call, share);
	if (code == 0)
		code = read_rules(call, share);
	free(share);
	if (code < 0)
		call->exit_code = EXIT_CODE_USAGE;
	return code;
}

int share_remove_check(struct call *call)
{
	return check_protocol(call);
}

/* ---- where it is mounted ---- */

/* 1 if the file system itself is there (its volumes may be as well, elsewhere), and its UUID. */
static int read_fsid(const char *directory, char ret_fsid[40])
{
	ssize_t length = getxattr(directory, FSID_ATTRIBUTE, ret_fsid, 39);

	ret_fsid[length > 0 ? length : 0] = '\0';
	return length > 0 && share_fsid_is_valid(ret_fsid);
}

static bool read_caseless(const char *directory)
{
	char text[40];
	ssize_t length = getxattr(directory, CASE_ATTRIBUTE, text, sizeof(text) - 1);

	text[length > 0 ? length : 0] = '\0';
	return strcmp(text, "insensitive") == 0;
}

/* By what it is: its name, which the list of mounts has, may have changed since, and another pool may have one of that name. */
static bool is_mounted(const struct share *share, const struct mount_entry *entries, size_t count)
{
	char fsid[40];

	for (size_t i = 0; i < count; i++)
		if (strcmp(entries[i].directory, share->directory) == 0)
			return read_fsid(share->directory, fsid) && strcmp(fsid, share->fsid) == 0;
	return false;
}

static int look_at_mounts(struct shares *shares, struct libpool_error *error)
{
	struct mount_entry *entries = NULL;
	size_t count = 0;
	int code = mount_list(&entries, &count, error);

	for (size_t i = 0; code == 0 && i < shares->count; i++)
		shares->list[i]->is_mounted = is_mounted(shares->list[i], entries, count);
	free(entries);
	return code;
}

/* Of the dataset that is meant, as who has the pool imported says; "" if nobody can be asked. */
static int ask_fsid(struct call *call, const char *dataset, char ret_fsid[40])
{
	struct json_object *part = json_object_new_object(), *datasets = NULL;
	struct call_request request = {.method = "dataset.list", .descriptor = -1, .into = part};
	int code = session_join(&call->session, call->target.pool, &call->error);
	bool is_served = code == 0;

	ret_fsid[0] = '\0';
	if (code == 0)
		code = call_request(call, &request);
	if (code == 0)
		datasets = document_get(part, "datasets");
	for (size_t i = 0; datasets && i < json_object_array_length(datasets); i++) {
		struct json_object *object = json_object_array_get_idx(datasets, i);
		const char *slash = strchr(document_get_text(object, "name"), '/'), *id = document_get_text(object, "id");

		if (slash && strcmp(slash + 1, call->target.volume) == 0)
			snprintf(ret_fsid, 40, "%.8s-%.4s-%.4s-%.4s-%.12s", id, id + 8, id + 12, id + 16, id + 20);
	}
	json_object_put(part);
	session_close(&call->session, NULL);
	if (code == 0 && !ret_fsid[0])
		return error_set(&call->error, -ENOENT, "share add: there is no file system %s", dataset);
	return !is_served && code == -ENOENT ? 0 : error_complete(&call->error, code, "asking the process that has pool %s imported", call->target.pool);
}

/* Where it is mounted; by its name only where nobody can be asked which one is meant. */
static int take_mount(struct share *share, const struct mount_entry *entries, size_t count, const char *wanted, struct libpool_error *error)
{
	char fsid[40];

	for (size_t i = 0; i < count; i++) {
		if ((!wanted[0] && strcmp(entries[i].source, share->dataset) != 0) || !read_fsid(entries[i].directory, fsid) ||
		    (wanted[0] && strcmp(fsid, wanted) != 0))
			continue;
		if (share->directory[0] && strcmp(fsid, share->fsid) != 0)
			return error_set(error, -EEXIST, "share add: two file systems called %s are mounted: at %.200s and %.200s; set LIBPOOL_RUN_PATH as who serves the one that is meant has it",
					 share->dataset, share->directory, entries[i].directory);
		if (!share->directory[0])
			snprintf(share->directory, sizeof(share->directory), "%s", entries[i].directory);
		snprintf(share->fsid, sizeof(share->fsid), "%s", fsid);
	}
	return 0;
}

static int find_mount(struct call *call, struct share *share)
{
	struct mount_entry *entries = NULL;
	size_t count = 0;
	char wanted[40];
	int code;

	target_print(&call->target, share->dataset);
	code = ask_fsid(call, share->dataset, wanted);
	if (code == 0)
		code = mount_list(&entries, &count, &call->error);
	if (code == 0)
		code = take_mount(share, entries, count, wanted, &call->error);
	free(entries);
	if (code < 0)
		return code;
	if (!share->directory[0])
		return error_set(&call->error, -ENOENT, "share add: %s isn't mounted: 'poolctl mount %s FOLDER' first", share->dataset, share->dataset);
	share->is_caseless = read_caseless(share->directory);
	return share_directory_check(share->directory, &call->error);
}

/* ---- add and remove ---- */

static void show_files(struct call *call, const struct share_files *files)
{
	struct json_object *array = document_array(call->document, "files");

	for (size_t i = 0; i < files->count; i++) {
		struct json_object *file = document_append_object(array);

		document_text(file, "path", files->files[i].path);
		document_text(file, "text", files->files[i].text);
	}
}

/* Only the machine's own configuration is what servers have read. */
static void reload(struct call *call, const struct shares *shares, const struct share_files *files)
{
	struct json_object *array = document_array(call->document, "servers");
	bool told[SHARE_SERVER_COUNT] = {false};

	for (size_t i = 0; i < files->count; i++) {
		enum share_server server = files->files[i].server;
		struct json_object *object;

		if (told[server])
			continue;
		told[server] = true;
		object = document_append_object(array);
		document_text(object, "server", share_server_name(server));
		document_flag(object, "reloaded", strcmp(shares->folder, "/etc") == 0 && share_server_reload(server) == 1);
	}
}

/* The list, then the files that are made of it, then the servers: what was interrupted is made up for by the next change. */
static int apply(struct call *call, struct shares *shares)
{
	struct share_files files = {0};
	int code = look_at_mounts(shares, &call->error);
	bool dry_run = options_have(&call->options, OPTION_DRY_RUN);

	if (code == 0)
		code = share_files_make(shares, &files, &call->error);
	if (call->target.pool[0]) {
		document_text(call->document, "pool", call->target.pool);
		document_text(call->document, "dataset", call->target.volume);
	}
	document_flag(call->document, "dry_run", dry_run);
	if (code == 0)
		show_files(call, &files);
	if (code == 0 && !dry_run)
		code = shares_save(shares, &call->error);
	if (code == 0 && !dry_run)
		code = share_files_write(shares, &files, &call->error);
	if (code == 0 && !dry_run)
		reload(call, shares, &files);
	share_files_release(&files);
	return code;
}

static void disconnect(const struct shares *shares, const char *name)
{
	if (strcmp(shares->folder, "/etc") == 0 && name[0])
		share_server_disconnect(name);
}

int share_add_work(struct call *call)
{
	struct share *share = calloc(1, sizeof(*share));
	bool dry_run = options_have(&call->options, OPTION_DRY_RUN), replace = options_have(&call->options, OPTION_FORCE);
	char name[SHARE_NAME_MAX + 1] = "";
	struct shares *shares = calloc(1, sizeof(*shares));
	int code = share && shares ? 0 : error_set(&call->error, -ENOMEM, "no memory for the list of shares");

	if (code == 0)
		code = read_server(call, share);
	if (code == 0)
		code = read_rules(call, share);
	if (code == 0)
		code = find_mount(call, share);
	if (code == 0) {
		code = shares_load(shares, dry_run ? SHARES_SHOW : SHARES_ADD, &call->error);
		snprintf(name, sizeof(name), "%s", share->name);
		if (code == 0)
			code = shares_add(shares, share, replace, &call->error);
		if (code == 0) {
			document_format(call->document, "text", "%s %s over %s%s%s", dry_run ? "Would share" : "Shared", share->dataset,
					share_protocol_name(share->server), name[0] ? " as " : "", name);
			share = NULL;
			code = apply(call, shares);
		}
		if (code == 0 && !dry_run && replace)
			disconnect(shares, name);
		shares_release(shares);
	}
	free(shares);
	free(share);
	return code;
}

/* Those whose clients are to be cut off; they are gone from the list by then. */
static size_t names_of(const struct shares *shares, const char *dataset, const char *name, char (*ret_names)[SHARE_NAME_MAX + 1])
{
	size_t count = 0;

	for (size_t i = 0; i < shares->count; i++) {
		const struct share *share = shares->list[i];

		if (share->server == SHARE_SAMBA && strcmp(share->dataset, dataset) == 0 && (!name || strcasecmp(share->name, name) == 0))
			snprintf(ret_names[count++], SHARE_NAME_MAX + 1, "%s", share->name);
	}
	return count;
}

int share_remove_work(struct call *call)
{
	static char names[SHARES_MAX][SHARE_NAME_MAX + 1];
	const char *protocol = protocol_of(call), *name = call->options.text[OPTION_NAME];
	struct shares *shares = calloc(1, sizeof(*shares));
	bool dry_run = options_have(&call->options, OPTION_DRY_RUN);
	char dataset[TARGET_TEXT_MAX];
	size_t removed, named = 0;
	int code = shares ? shares_load(shares, dry_run ? SHARES_SHOW : SHARES_REMOVE, &call->error) : error_set(&call->error, -ENOMEM, "no memory for the list of shares");

	target_print(&call->target, dataset);
	if (code == 0) {
		if (!protocol || strcmp(protocol, "smb") == 0)
			named = names_of(shares, dataset, name, names);
		removed = shares_remove(shares, dataset, protocol, name);
		if (removed == 0)
			code = error_set(&call->error, -ENOENT, "share remove: %s isn't shared%s%s%s%s", dataset, protocol ? " over " : "", protocol ? protocol : "",
					 name ? " as " : "", name ? name : "");
		if (code == 0)
			code = apply(call, shares);
		if (code == 0)
			document_format(call->document, "text", "%s %zu share%s of %s", dry_run ? "Would remove" : "Removed", removed, removed == 1 ? "" : "s", dataset);
	}
	for (size_t i = 0; i < named && code == 0 && !dry_run; i++)
		disconnect(shares, names[i]);
	if (shares)
		shares_release(shares);
	free(shares);
	return code;
}

int share_refresh_work(struct call *call)
{
	struct shares *shares = calloc(1, sizeof(*shares));
	bool dry_run = options_have(&call->options, OPTION_DRY_RUN);
	int code = shares ? shares_load(shares, dry_run ? SHARES_SHOW : SHARES_REMOVE, &call->error) :
			    error_set(&call->error, -ENOMEM, "no memory for the list of shares");
	size_t left_out = 0;

	if (code == 0 && (shares->lock >= 0 || dry_run))
		code = apply(call, shares);
	for (size_t i = 0; code == 0 && i < shares->count; i++)
		left_out += shares->list[i]->server == SHARE_GANESHA && !shares->list[i]->is_mounted;
	if (code == 0) {
		document_number(call->document, "shares", shares->count);
		document_number(call->document, "left_out", left_out);
		document_format(call->document, "text", "%s the configuration of %zu share%s, %zu left out as not mounted", dry_run ? "Would write" : "Wrote",
				shares->count, shares->count == 1 ? "" : "s", left_out);
	}
	if (shares)
		shares_release(shares);
	free(shares);
	return code;
}

void share_change_print(struct call *call)
{
	struct json_object *files = document_get(call->document, "files"), *servers = document_get(call->document, "servers");
	bool dry_run = options_have(&call->options, OPTION_DRY_RUN);

	print_text(call);
	for (size_t i = 0; dry_run && files && i < json_object_array_length(files); i++) {
		struct json_object *file = json_object_array_get_idx(files, i);

		printf("==> %s <==\n%s", document_get_text(file, "path"), document_get_text(file, "text"));
	}
	for (size_t i = 0; servers && i < json_object_array_length(servers); i++) {
		struct json_object *server = json_object_array_get_idx(servers, i);

		if (!document_get_flag(server, "reloaded"))
			printf("The server (%s) wasn't told: it reads its configuration when it starts.\n", document_get_text(server, "server"));
	}
}

/* ---- list ---- */

static void add_client(struct json_object *array, const struct share_client *client)
{
	struct json_object *object = document_append_object(array);

	document_text(object, "client", client->host);
	document_text(object, "access", client->writes ? "rw" : "ro");
	document_text(object, "squash", share_squash_name(client->squash));
	document_number(object, "anonymous_uid", client->anonymous_uid);
	document_number(object, "anonymous_gid", client->anonymous_gid);
	document_text(object, "security", client->security);
}

static void list_one(struct json_object *object, const struct share *share)
{
	struct json_object *array = document_array(object, share->server == SHARE_SAMBA ? "users" : "clients");
	char text[RULE_TEXT_MAX];

	const char *slash = strchr(share->dataset, '/');

	document_text(object, "object", share->dataset);
	document_format(object, "pool", "%.*s", (int)(slash - share->dataset), share->dataset);
	document_text(object, "dataset", slash + 1);
	document_text(object, "protocol", share_protocol_name(share->server));
	document_text(object, "server", share_server_name(share->server));
	document_text(object, "name", share->server == SHARE_SAMBA ? share->name : share->server == SHARE_GANESHA ? share->dataset : share->directory);
	document_text(object, "directory", share->directory);
	document_text(object, "fsid", share->fsid);
	document_text(object, "state", share->is_mounted ? "mounted" : "not mounted");
	for (size_t i = 0; i < share->client_count; i++)
		add_client(array, &share->clients[i]);
	for (size_t i = 0; i < share->user_count; i++) {
		struct json_object *user = document_append_object(array);

		document_text(user, "user", share->users[i].name);
		document_text(user, "access", share->users[i].writes ? "rw" : "ro");
	}
	document_text(object, "who", "");
	for (size_t i = 0; i < share->client_count + share->user_count; i++) {
		if (share->server == SHARE_SAMBA)
			share_user_write(&share->users[i], text);
		else
			share_client_write(&share->clients[i], text);
		document_format(object, "who", "%s%s%s", document_get_text(object, "who"), i ? " " : "", text);
	}
}

int share_list_work(struct call *call)
{
	struct shares *shares = calloc(1, sizeof(*shares));
	struct json_object *array = document_array(call->document, "shares");
	size_t length = strlen(call->target.pool);
	int code = shares ? shares_load(shares, SHARES_SHOW, &call->error) : error_set(&call->error, -ENOMEM, "no memory for the list of shares");

	if (code == 0)
		code = look_at_mounts(shares, &call->error);
	for (size_t i = 0; code == 0 && i < shares->count; i++) {
		const struct share *share = shares->list[i];

		if (length && (strncmp(share->dataset, call->target.pool, length) != 0 || share->dataset[length] != '/'))
			continue;
		list_one(document_append_object(array), share);
	}
	if (shares)
		shares_release(shares);
	free(shares);
	return code;
}

void share_list_print(struct call *call)
{
	if (json_object_array_length(document_get(call->document, "shares")) == 0 && !options_have(&call->options, OPTION_NO_HEADER))
		puts("Nothing is shared.");
	else
		print_rows(call, "shares");
}
