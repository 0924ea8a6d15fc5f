/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What this machine shares, as /etc/libpool/shares.json keeps it: the machine's business and not the pool's, since addresses, users and directories are the
 * machine's, and a pool that is imported elsewhere must not open itself to others there. Where the file was changed by hand, everything in it is
 * checked as if it were typed.
 */
#ifndef CLI_SHARES_H
#define CLI_SHARES_H

#include <limits.h>

#include <json-c/json.h>

#include "cli/names.h"
#include "cli/share_rules.h"

#define SHARES_MAX  1000u
#define MEMBERS_MAX 64u /* clients or users of one share */

enum share_server { SHARE_GANESHA, SHARE_KERNEL, SHARE_SAMBA, SHARE_SERVER_COUNT };

struct share {
	enum share_server server;
	char dataset[TARGET_TEXT_MAX]; /* POOL/DATASET */
	char directory[PATH_MAX];      /* where it is mounted */
	char fsid[40];		       /* the file system's UUID */
	uint32_t export_id;	       /* in Ganesha's handles; 0: not of Ganesha */
	char name[SHARE_NAME_MAX + 1]; /* of SMB */
	bool is_caseless;	       /* upper and lower case are one name there */
	bool is_mounted;	       /* not kept: as it is now */
	struct share_client clients[MEMBERS_MAX];
	size_t client_count;
	struct share_user users[MEMBERS_MAX];
	size_t user_count;
};

struct shares {
	char folder[PATH_MAX]; /* "/etc", or another in its place */
	int lock;	       /* nobody else changes them meanwhile */
	struct share *list[SHARES_MAX];
	size_t count;
};

const char *share_server_name(enum share_server server);
const char *share_protocol_name(enum share_server server);
/* Reads them; locked if they are to be changed. The folder is made only when something is to be added. 0 or a negative code; to be released in either case. */
enum shares_use { SHARES_SHOW, SHARES_REMOVE, SHARES_ADD };
int shares_load(struct shares *shares, enum shares_use use, struct libpool_error *error);
int shares_save(const struct shares *shares, struct libpool_error *error);
void shares_release(struct shares *shares);
/* Takes the share over if it can be added: -EEXIST, -EINVAL, -ENOSPC. */
int shares_add(struct shares *shares, struct share *share, bool replace, struct libpool_error *error);
/* Those of the dataset, with this protocol and name unless NULL. How many there were. */
size_t shares_remove(struct shares *shares, const char *dataset, const char *protocol, const char *name);
/* Clients with the most exact name first, as servers take the first that fits. */
void share_sort(struct share *share);
int share_add_client(struct share *share, const char *text, struct libpool_error *error);
int share_add_user(struct share *share, const char *text, struct libpool_error *error);
/* Puts the text in place of the file, or creates it. */
int share_file_replace(const char *path, const char *text, struct libpool_error *error);

#endif
