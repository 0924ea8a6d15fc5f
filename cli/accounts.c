/* SPDX-License-Identifier: BSD-2-Clause */
#include "cli/accounts.h"

#include <errno.h>
#include <grp.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "cli/errors.h"

static bool is_number(const char *text, size_t length)
{
	for (size_t i = 0; i < length; i++)
		if (text[i] < '0' || text[i] > '9')
			return false;
	return length > 0;
}

/* -ENOENT: nobody has that name. */
static int find(const char *property, const char *name, uint32_t *ret_id)
{
	if (strncmp(property, "user", 4) == 0) {
		const struct passwd *user = getpwnam(name);
		if (user)
			*ret_id = user->pw_uid;
		return user ? 0 : -ENOENT;
	}
	if (strncmp(property, "group", 5) == 0) {
		const struct group *group = getgrnam(name);
		if (group)
			*ret_id = group->gr_gid;
		return group ? 0 : -ENOENT;
	}
	return -EINVAL;
}

int account_translate(const char *text, char ret_text[ACCOUNT_TEXT_MAX], struct libpool_error *error)
{
	const char *equals = strchr(text, '='), *at = strchr(text, '@');
	char name[ACCOUNT_TEXT_MAX];
	uint32_t id = 0;

	if (strlen(text) >= ACCOUNT_TEXT_MAX)
		return error_set(error, -EINVAL, "'%.40s...' is too long", text);
	if (!at || (equals && equals < at)) {
		snprintf(ret_text, ACCOUNT_TEXT_MAX, "%s", text);
		return 0;
	}
	size_t length = equals ? (size_t)(equals - at - 1) : strlen(at + 1);
	snprintf(name, sizeof(name), "%.*s", (int)length, at + 1);
	if (length == 0 || is_number(name, length)) {
		snprintf(ret_text, ACCOUNT_TEXT_MAX, "%s", text);
		return 0;
	}
	int code = find(text, name, &id);
	if (code == -ENOENT)
		return error_set(error, code, "there is no %s '%.60s' on this machine; a number can be given too", text[0] == 'u' ? "user" : "group",
				 name);
	if (code < 0)
		return error_set(error, code, "'%.60s': what is behind the @ must be a number", text);
	snprintf(ret_text, ACCOUNT_TEXT_MAX, "%.*s%" PRIu32 "%.60s", (int)(at + 1 - text), text, id, equals ? equals : "");
	return 0;
}

void account_name(const char *kind, uint32_t id, char ret_name[ACCOUNT_TEXT_MAX])
{
	const struct passwd *user = strcmp(kind, "user") == 0 ? getpwuid(id) : NULL;
	const struct group *group = strcmp(kind, "group") == 0 ? getgrgid(id) : NULL;

	if (user)
		snprintf(ret_name, ACCOUNT_TEXT_MAX, "%s", user->pw_name);
	else if (group)
		snprintf(ret_name, ACCOUNT_TEXT_MAX, "%s", group->gr_name);
	else
		snprintf(ret_name, ACCOUNT_TEXT_MAX, "%" PRIu32, id);
}
