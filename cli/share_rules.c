/* SPDX-License-Identifier: BSD-2-Clause */
#include "cli/share_rules.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "cli/errors.h"
#include "cli/text.h"

static const char letters_and_digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

static bool is_of(const char *text, const char *others)
{
	size_t length = strlen(text);

	for (size_t i = 0; i < length; i++)
		if (!strchr(letters_and_digits, text[i]) && !strchr(others, text[i]))
			return false;
	return length > 0;
}

/* Text in the language of its users: beside these characters whatever is beyond ASCII and no control character. */
static bool is_readable(const char *text, const char *others)
{
	for (const unsigned char *at = (const unsigned char *)text; *at; at++) {
		if (*at == 0xc2 && at[1] < 0xa0)
			return false;
		if (*at < 0x80 && !strchr(letters_and_digits, *at) && !strchr(others, *at))
			return false;
	}
	return text[0] && text_is_utf8(text);
}

/* ---- machines ---- */

static bool is_all_zero_behind(const unsigned char *address, unsigned bytes, unsigned prefix)
{
	for (unsigned bit = prefix; bit < bytes * 8; bit++)
		if (address[bit / 8] & (0x80 >> bit % 8))
			return false;
	return true;
}

/* 1 if it is an address or a network, 0 if not, or a negative code. */
static int read_address(const char *host, unsigned *ret_specificity, struct libpool_error *error)
{
	unsigned char address[16];
	char copy[LIBPOOL_NAME_MAX + 1], *slash, *end;
	unsigned bytes;

	snprintf(copy, sizeof(copy), "%s", host);
	slash = strchr(copy, '/');
	if (slash)
		*slash = '\0';
	if (inet_pton(AF_INET, copy, address) == 1)
		bytes = 4;
	else if (inet_pton(AF_INET6, copy, address) == 1)
		bytes = 16;
	else
		return slash ? error_set(error, -EINVAL, "'%.80s' is no network: write one as 192.0.2.0/24 or 2001:db8::/32", host) : 0;
	unsigned long prefix = slash ? strtoul(slash + 1, &end, 10) : bytes * 8;
	if (slash && (!isdigit((unsigned char)slash[1]) || *end || prefix > bytes * 8))
		return error_set(error, -EINVAL, "'%.80s': behind the slash comes a number of bits, 0 to %u", host, bytes * 8);
	if (!is_all_zero_behind(address, bytes, (unsigned)prefix))
		return error_set(error, -EINVAL, "'%.80s' is a machine and a network: leave out the slash and what follows for the one, or write zeroes behind the "
				 "first %lu bits for the other", host, prefix);
	*ret_specificity = (unsigned)prefix + (bytes == 4 ? 96 : 0);
	return 1;
}

static int check_host(const char *host, unsigned *ret_specificity, struct libpool_error *error)
{
	const char *last = strrchr(host, '.');
	int code = read_address(host, ret_specificity, error);

	if (code != 0)
		return code < 0 ? code : 0;
	if (strcmp(host, "*") == 0)
		return error_set(error, -EINVAL, "'*' names nobody: name the machines or networks; all there are would be 0.0.0.0/0 and ::/0");
	*ret_specificity = host[0] == '@' ? 128 : 129;
	if (host[0] == '@' && is_of(host + 1, "._-"))
		return 0;
	last = last ? last + 1 : host;
	if (!is_of(host, ".-") || strchr(".-", host[0]) || strstr(host, "..") || strspn(last, "0123456789") == strlen(last))
		return error_set(error, -EINVAL, "'%.80s' is no client: give an address, a network as 192.0.2.0/24, a machine's name, or @NETGROUP", host);
	return 0;
}

static int read_id(const char *option, uint32_t *ret_id, struct libpool_error *error)
{
	const char *digits = strchr(option, '=') + 1;
	char *end;
	unsigned long long id;

	errno = 0;
	id = strtoull(digits, &end, 10);
	if (!isdigit((unsigned char)digits[0]) || *end || errno || id > UINT32_MAX)
		return error_set(error, -EINVAL, "'%.60s': a number is wanted", option);
	*ret_id = (uint32_t)id;
	return 0;
}

static int read_security(const char *list, struct share_client *client, struct libpool_error *error)
{
	static const char *const known[] = {"sys", "krb5", "krb5i", "krb5p"};
	char copy[32], *rest = NULL;
	bool good = snprintf(copy, sizeof(copy), "%s", list) < (int)sizeof(copy) && copy[0];

	for (char *word = strtok_r(copy, ":", &rest); word && good; word = strtok_r(NULL, ":", &rest)) {
		bool found = false;

		for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
			found |= strcmp(word, known[i]) == 0;
		good = found;
	}
	if (!good || strstr(list, "::") || list[0] == ':' || list[strlen(list) - 1] == ':')
		return error_set(error, -EINVAL, "'sec=%.40s': sys, krb5, krb5i and krb5p are known, with colons between", list);
	snprintf(client->security, sizeof(client->security), "%s", list);
	return 0;
}

/* 1 if it is one, 0 if not, or a negative code. */
static int read_option(const char *option, struct share_client *client, struct libpool_error *error)
{
	static const struct {
		const char *name;
		enum share_squash squash;
	} squashes[] = {{"root_squash", SQUASH_ROOT}, {"no_root_squash", SQUASH_NONE}, {"all_squash", SQUASH_ALL}};
	int code = 0;

	if (strcmp(option, "rw") == 0 || strcmp(option, "ro") == 0) {
		client->writes = option[1] == 'w';
		return 1;
	}
	for (size_t i = 0; i < sizeof(squashes) / sizeof(squashes[0]); i++) {
		if (strcmp(option, squashes[i].name) != 0)
			continue;
		client->squash = squashes[i].squash;
		return 1;
	}
	if (strncmp(option, "anonuid=", 8) == 0)
		code = read_id(option, &client->anonymous_uid, error);
	else if (strncmp(option, "anongid=", 8) == 0)
		code = read_id(option, &client->anonymous_gid, error);
	else if (strncmp(option, "sec=", 4) == 0)
		code = read_security(option + 4, client, error);
	else
		return 0;
	return code < 0 ? code : 1;
}

/* Where the options begin, or NULL: at the first colon, but an IPv6 address has some of its own, and no letters as options have them. */
static const char *find_options(const char *text)
{
	size_t address = strspn(text, "0123456789abcdefABCDEF:./");
	const char *first = strchr(text, ':'), *second = first ? strchr(first + 1, ':') : NULL;

	if (!second || second >= text + address)
		return first;
	if (!text[address])
		return NULL;
	while (text[address - 1] != ':')
		address--;
	return text + address - 1;
}

int share_client_read(const char *text, struct share_client *ret_client, struct libpool_error *error)
{
	struct share_client client = {.squash = SQUASH_ROOT, .anonymous_uid = SHARE_NOBODY, .anonymous_gid = SHARE_NOBODY, .security = "sys"};
	const char *colon = find_options(text);
	char options[RULE_TEXT_MAX], *rest = NULL;
	size_t length = colon ? (size_t)(colon - text) : strlen(text);
	int code;

	if (strlen(text) >= RULE_TEXT_MAX || length >= sizeof(client.host))
		return error_set(error, -EINVAL, "client '%.40s...' is too long", text);
	snprintf(client.host, sizeof(client.host), "%.*s", (int)length, text);
	code = check_host(client.host, &client.specificity, error);
	snprintf(options, sizeof(options), "%s", colon ? colon + 1 : "");
	for (char *option = strtok_r(options, ",", &rest); option && code >= 0; option = strtok_r(NULL, ",", &rest)) {
		code = read_option(option, &client, error);
		if (code == 0)
			code = error_set(error, -EINVAL, "client %.80s: there is no option '%.40s': ro, rw, root_squash, no_root_squash, all_squash, anonuid=, "
					 "anongid= and sec= are known", client.host, option);
	}
	if (code < 0)
		return code;
	*ret_client = client;
	return 0;
}

const char *share_squash_name(enum share_squash squash)
{
	return squash == SQUASH_NONE ? "no_root_squash" : squash == SQUASH_ALL ? "all_squash" : "root_squash";
}

void share_client_write(const struct share_client *client, char ret_text[RULE_TEXT_MAX])
{
	ret_text[0] = '\0';
	text_append(ret_text, RULE_TEXT_MAX, "%s:%s,%s", client->host, client->writes ? "rw" : "ro", share_squash_name(client->squash));
	if (client->anonymous_uid != SHARE_NOBODY)
		text_append(ret_text, RULE_TEXT_MAX, ",anonuid=%" PRIu32, client->anonymous_uid);
	if (client->anonymous_gid != SHARE_NOBODY)
		text_append(ret_text, RULE_TEXT_MAX, ",anongid=%" PRIu32, client->anonymous_gid);
	if (strcmp(client->security, "sys") != 0)
		text_append(ret_text, RULE_TEXT_MAX, ",sec=%s", client->security);
}

/* ---- users and names ---- */

/* A list of Samba's is separated by spaces and commas; its names may be quoted, and begin with what means a group. */
int share_user_read(const char *text, struct share_user *ret_user, struct libpool_error *error)
{
	struct share_user user = {.writes = true};
	const char *colon = strrchr(text, ':');
	size_t length = colon ? (size_t)(colon - text) : strlen(text);
	const char *name;

	if (length >= sizeof(user.name))
		return error_set(error, -EINVAL, "user '%.40s...' is too long", text);
	if (colon && strcmp(colon + 1, "ro") != 0 && strcmp(colon + 1, "rw") != 0)
		return error_set(error, -EINVAL, "user '%.80s': behind the colon comes ro or rw", text);
	user.writes = !colon || colon[2] == 'w';
	snprintf(user.name, sizeof(user.name), "%.*s", (int)length, text);
	name = user.name[0] == '@' ? user.name + 1 : user.name;
	if (!is_readable(name, "._-\\ ") || strchr(" -\\", name[0]) || strchr(" \\", name[strlen(name) - 1]) || strstr(name, "\\\\"))
		return error_set(error, -EINVAL, "'%.80s' is no user: give a name, DOMAIN\\NAME, or @GROUP, and :ro behind it for reading only", user.name);
	*ret_user = user;
	return 0;
}

void share_user_write(const struct share_user *user, char ret_text[RULE_TEXT_MAX])
{
	snprintf(ret_text, RULE_TEXT_MAX, "%s%s", user->name, user->writes ? "" : ":ro");
}

int share_name_check(const char *name, struct libpool_error *error)
{
	static const char *const taken[] = {"global", "homes", "printers", "print$", "ipc$", "admin$"};

	if (strlen(name) > SHARE_NAME_MAX)
		return error_set(error, -EINVAL, "share name '%.40s...' has more than %d bytes", name, SHARE_NAME_MAX);
	if (!is_readable(name, "._-$ ()&~") || strchr(" .-", name[0]) || name[strlen(name) - 1] == ' ')
		return error_set(error, -EINVAL, "'%.80s' can't be the name of a share: letters, digits, '.', '_', '-', '$', '(', ')', '&', '~' and spaces inside can",
				 name);
	for (size_t i = 0; i < sizeof(taken) / sizeof(taken[0]); i++)
		if (strcasecmp(name, taken[i]) == 0)
			return error_set(error, -EINVAL, "'%s' means something else to Samba: take another name", name);
	return 0;
}

int share_directory_check(const char *directory, struct libpool_error *error)
{
	size_t length = strlen(directory);

	if (directory[0] != '/' || !is_readable(directory, "/._-+:@,=~ ") || directory[length - 1] == ' ')
		return error_set(error, -EINVAL, "%.200s has characters that the configuration of a server can't have: mount it at another directory", directory);
	return 0;
}

bool share_fsid_is_valid(const char *fsid)
{
	return strlen(fsid) == 36 && strspn(fsid, "0123456789abcdef-") == 36 && fsid[8] == '-' && fsid[13] == '-' && fsid[18] == '-' && fsid[23] == '-';
}
