/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Who may reach a share, and the names in it. What is accepted here can be written into the configuration of a server as it is: it has no character that
 * means something else there.
 */
#ifndef CLI_SHARE_RULES_H
#define CLI_SHARE_RULES_H

#include <stdbool.h>
#include <stdint.h>

#include <libpool.h>

#define RULE_TEXT_MAX	  512
#define SHARE_NAME_MAX	  80
#define SHARE_NOBODY	  65534u

enum share_squash { SQUASH_ROOT, SQUASH_NONE, SQUASH_ALL };

/* Of NFS: "192.0.2.0/24:rw,root_squash" */
struct share_client {
	char host[LIBPOOL_NAME_MAX + 1]; /* an address, a network, a name, or "@netgroup" */
	unsigned specificity;		 /* more for fewer machines */
	bool writes;
	enum share_squash squash;
	uint32_t anonymous_uid, anonymous_gid;
	char security[32]; /* "sys", "krb5:krb5i" */
};

/* Of SMB: "anna", "@staff:ro" */
struct share_user {
	char name[LIBPOOL_NAME_MAX + 1];
	bool writes;
};

/* 0 or -EINVAL, saying what is wrong. */
int share_client_read(const char *text, struct share_client *ret_client, struct libpool_error *error);
/* As share_client_read takes it. */
void share_client_write(const struct share_client *client, char ret_text[RULE_TEXT_MAX]);
int share_user_read(const char *text, struct share_user *ret_user, struct libpool_error *error);
void share_user_write(const struct share_user *user, char ret_text[RULE_TEXT_MAX]);
/* Of a share of SMB, as its clients see it. */
int share_name_check(const char *name, struct libpool_error *error);
int share_directory_check(const char *directory, struct libpool_error *error);
/* A UUID. */
bool share_fsid_is_valid(const char *fsid);
const char *share_squash_name(enum share_squash squash);

#endif
