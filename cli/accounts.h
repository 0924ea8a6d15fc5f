/* SPDX-License-Identifier: BSD-2-Clause */
/* Users and groups of this machine: pools know numbers only. */
#ifndef CLI_ACCOUNTS_H
#define CLI_ACCOUNTS_H

#include <stddef.h>
#include <stdint.h>

#include <libpool.h>

#define ACCOUNT_TEXT_MAX 320

/* "userquota@anna=10G" becomes "userquota@1000=10G"; other texts stay as they are. 0, -ENOENT for a name that nobody has, -EINVAL. */
int account_translate(const char *text, char ret_text[ACCOUNT_TEXT_MAX], struct libpool_error *error);
/* The name of a user or group ("user", "group"; projects have none), or the number. */
void account_name(const char *kind, uint32_t id, char ret_name[ACCOUNT_TEXT_MAX]);

#endif
