/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The configuration of servers, made from the list of shares: a file of its own for each, that its main file includes. Servers that run are told.
 */
#ifndef CLI_SHARE_FILES_H
#define CLI_SHARE_FILES_H

#include "cli/shares.h"

#define SHARE_FILES_MAX 8

struct share_file {
	char path[PATH_MAX + 64];
	char *text;
	enum share_server server;
};

struct share_files {
	struct share_file files[SHARE_FILES_MAX]; /* those that aren't yet as they are to be */
	size_t count;
};

/* What is to be written. -ENOENT: a server that is needed isn't installed. To be released in either case. */
int share_files_make(const struct shares *shares, struct share_files *files, struct libpool_error *error);
int share_files_write(const struct shares *shares, const struct share_files *files, struct libpool_error *error);
void share_files_release(struct share_files *files);

/* Tells the server of what has changed: 1 if it runs and was told, 0 if it doesn't run, or a negative code. */
int share_server_reload(enum share_server server);
/* Ends the connections of clients to a share of SMB that is no more, or has other rules. */
void share_server_disconnect(const char *name);

#endif
