/* SPDX-License-Identifier: BSD-2-Clause */
#include "cli/share_files.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "cli/errors.h"

static const char header[] = "# Written by poolctl share: what is changed here is lost.\n";

/* Each server: its own file, the main one, and how that includes the other. */
static const struct {
	const char *own, *main, *include, *package;
} places[SHARE_SERVER_COUNT] = {
	[SHARE_GANESHA] = {"libpool/ganesha.conf", "ganesha/ganesha.conf", "%%include \"%s\"", "NFS-Ganesha (nfs-ganesha, nfs-ganesha-vfs)"},
	[SHARE_KERNEL] = {"exports.d/libpool.exports", NULL, NULL, NULL},
	[SHARE_SAMBA] = {"libpool/smb.conf", "samba/smb.conf", "include = %s", "Samba (samba, samba-vfs-modules)"},
};

/* ---- NFS ---- */

/* The mount as a whole, and what clients hold is checked anew at once: others than Ganesha change the files too. */
static void print_ganesha(FILE *out, const struct share *share)
{
	/* Ganesha would share the folder below, and what is written there be lost. */
	if (!share->is_mounted) {
		fprintf(out, "\n# Left out, as it isn't mounted at its folder: %s\n", share->dataset);
		return;
	}
	fprintf(out,
		"\nEXPORT {\n\tExport_Id = %" PRIu32 ";\n\tPath = \"%s\";\n\tPseudo = \"/%s\";\n\tProtocols = 3, 4;\n\tTransports = TCP;\n\tAccess_Type = None;\n"
		"\tSquash = All_Squash;\n\tAttr_Expiration_Time = 0;\n\tFSAL {\n\t\tName = VFS;\n\t}\n",
		share->export_id, share->directory, share->dataset);
	for (size_t i = 0; i < share->client_count; i++) {
		const struct share_client *client = &share->clients[i];
		char security[2 * sizeof(client->security)] = "";

		for (size_t at = 0, length = 0; client->security[at]; at++)
			length += (size_t)snprintf(security + length, sizeof(security) - length, client->security[at] == ':' ? ", " : "%c", client->security[at]);
		fprintf(out, "\tCLIENT {\n\t\tClients = %s;\n\t\tAccess_Type = %s;\n\t\tSquash = %s;\n\t\tAnonymous_Uid = %" PRIu32 ";\n\t\tAnonymous_Gid = %" PRIu32
			";\n\t\tSecType = %s;\n\t}\n", client->host, client->writes ? "RW" : "RO", share_squash_name(client->squash), client->anonymous_uid,
			client->anonymous_gid, security);
	}
	fputs("}\n", out);
}

/* exports(5): what isn't plain in a path is written in octal. */
static void print_kernel(FILE *out, const struct share *share)
{
	for (const unsigned char *at = (const unsigned char *)share->directory; *at; at++)
		fprintf(out, (*at >= 'a' && *at <= 'z') || (*at >= 'A' && *at <= 'Z') || (*at >= '0' && *at <= '9') || strchr("/._-", *at) ? "%c" : "\\%03o", *at);
	for (size_t i = 0; i < share->client_count; i++) {
		const struct share_client *client = &share->clients[i];

		fprintf(out, " %s(%s,sync,no_subtree_check,%s,anonuid=%" PRIu32 ",anongid=%" PRIu32 ",sec=%s,fsid=%s,mountpoint)", client->host,
			client->writes ? "rw" : "ro", share_squash_name(client->squash), client->anonymous_uid, client->anonymous_gid, client->security, share->fsid);
	}
	fputc('\n', out);
}

/* ---- SMB ---- */

static void print_users(FILE *out, const char *parameter, const struct share *share, bool readers_only)
{
	const char *separator = " = ";

	for (size_t i = 0; i < share->user_count; i++) {
		const struct share_user *user = &share->users[i];

		if (readers_only && user->writes)
			continue;
		fprintf(out, "%s%s\"%s\"", separator[1] == '=' ? parameter : "", separator, user->name);
		separator = ", ";
	}
	if (separator[1] != '=')
		fputc('\n', out);
}

static bool is_shared_over_nfs(const struct shares *shares, const struct share *share)
{
	for (size_t i = 0; i < shares->count; i++)
		if (shares->list[i]->server != SHARE_SAMBA && strcmp(shares->list[i]->dataset, share->dataset) == 0)
			return true;
	return false;
}

/*
 * Windows' attributes, lists and streams are extended attributes. The kernel knows neither share modes nor leases on FUSE. What a client may keep to itself
 * (oplocks) others than Samba don't know of, so it may not where NFS serves the same files. Nothing is served while the file system isn't mounted.
 */
static void print_samba(FILE *out, const struct shares *shares, const struct share *share)
{
	bool alone = !is_shared_over_nfs(shares, share);

	fprintf(out, "\n[%s]\n\tpath = %s\n", share->name, share->directory);
	print_users(out, "\tvalid users", share, false);
	print_users(out, "\tread list", share, true);
	fprintf(out,
		"\tguest ok = no\n\tread only = no\n\tvfs objects = acl_xattr streams_xattr\n\tkernel share modes = no\n\tkernel oplocks = no\n\tposix locking = %s\n"
		"\toplocks = %s\n\tlevel2 oplocks = %s\n\tea support = yes\n\tstore dos attributes = yes\n\tmap archive = no\n\tmap hidden = no\n\tmap readonly = no\n"
		"\tmap system = no\n\tinherit acls = yes\n\tstrict sync = yes\n\twide links = no\n\troot preexec = mountpoint -q \"%s\"\n\troot preexec close = yes\n",
		alone ? "no" : "yes", alone ? "yes" : "no", alone ? "yes" : "no", share->directory);
	/* The file system finds a name however it is spelled: Samba need not read whole folders for it. */
	if (share->is_caseless)
		fputs("\tcase sensitive = yes\n\tpreserve case = yes\n\tshort preserve case = yes\n", out);
}

/* ---- files ---- */

static bool has_shares(const struct shares *shares, enum share_server server)
{
	for (size_t i = 0; i < shares->count; i++)
		if (shares->list[i]->server == server)
			return true;
	return false;
}

static char *make_text(const struct shares *shares, enum share_server server)
{
	char *text = NULL;
	size_t length;
	FILE *out = open_memstream(&text, &length);

	if (!out)
		return NULL;
	fputs(header, out);
	for (size_t i = 0; i < shares->count; i++) {
		if (shares->list[i]->server != server)
			continue;
		if (server == SHARE_GANESHA)
			print_ganesha(out, shares->list[i]);
		else if (server == SHARE_KERNEL)
			print_kernel(out, shares->list[i]);
		else
			print_samba(out, shares, shares->list[i]);
	}
	fclose(out);
	return text;
}

/* NULL: it can't be read. */
static char *read_text(const char *path)
{
	FILE *file = fopen(path, "re");
	char *text = NULL;
	size_t room = 0;

	if (file && getdelim(&text, &room, '\0', file) < 0) {
		free(text);
		text = ferror(file) ? NULL : strdup("");
	}
	if (file)
		fclose(file);
	return text;
}

static void add_file(struct share_files *files, const char *path, char *text, enum share_server server)
{
	struct share_file *file = &files->files[files->count++];

	snprintf(file->path, sizeof(file->path), "%s", path);
	file->text = text;
	file->server = server;
}

static bool has_line(const char *text, const char *line)
{
	size_t length = strlen(line);

	for (const char *at = text; at; at = strchr(at, '\n')) {
		at += strspn(at, " \t\n");
		if (strncmp(at, line, length) == 0 && (at[length] == '\n' || at[length] == '\0'))
			return true;
		if (!*at)
			break;
	}
	return false;
}

/* The main file includes ours, at its end. */
static int add_include(struct share_files *files, const char *folder, enum share_server server, const char *own, struct libpool_error *error)
{
	char path[PATH_MAX + 64], line[PATH_MAX + 128], *text, *longer;

	snprintf(path, sizeof(path), "%s/%s", folder, places[server].main);
	snprintf(line, sizeof(line), places[server].include, own);
	text = read_text(path);
	if (!text)
		return error_set(error, -ENOENT, "%s can't be read: install %s", path, places[server].package);
	if (has_line(text, line)) {
		free(text);
		return 0;
	}
	size_t length = strlen(text);
	int code = asprintf(&longer, "%s%s\n# What poolctl share shares.\n%s\n", text, length && text[length - 1] != '\n' ? "\n" : "", line) < 0 ? -ENOMEM : 0;
	free(text);
	if (code < 0)
		return error_set(error, code, "no memory for %s", path);
	add_file(files, path, longer, server);
	return 0;
}

int share_files_make(const struct shares *shares, struct share_files *files, struct libpool_error *error)
{
	*files = (struct share_files){0};
	for (enum share_server server = 0; server < SHARE_SERVER_COUNT; server++) {
		char path[PATH_MAX + 64], *text, *now;
		bool needed = has_shares(shares, server);
		int code = 0;

		snprintf(path, sizeof(path), "%s/%s", shares->folder, places[server].own);
		now = read_text(path);
		text = make_text(shares, server);
		if (!text) {
			free(now);
			return error_set(error, -ENOMEM, "no memory for %s", path);
		}
		if (now ? strcmp(now, text) != 0 : needed)
			add_file(files, path, text, server);
		else
			free(text);
		free(now);
		if (needed && places[server].main)
			code = add_include(files, shares->folder, server, path, error);
		if (code < 0)
			return code;
	}
	return 0;
}

int share_files_write(const struct shares *shares, const struct share_files *files, struct libpool_error *error)
{
	char folder[PATH_MAX + 64];
	int code = 0;

	snprintf(folder, sizeof(folder), "%s/exports.d", shares->folder);
	for (size_t i = 0; code == 0 && i < files->count; i++) {
		if (files->files[i].server == SHARE_KERNEL && mkdir(folder, 0755) != 0 && errno != EEXIST)
			return error_set(error, -errno, "%s: %s", folder, strerror(errno));
		code = share_file_replace(files->files[i].path, files->files[i].text, error);
	}
	return code;
}

void share_files_release(struct share_files *files)
{
	for (size_t i = 0; i < files->count; i++)
		free(files->files[i].text);
	files->count = 0;
}
