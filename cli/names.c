/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Why so narrow: names appear in paths, shells, tables, and JSON, and '@' will separate snapshots. What is
 * refused here never reaches a disk.
 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli/errors.h"
#include "cli/names.h"
#include "cli/text.h"

static bool is_guid(const char *name)
{
	return strlen(name) == 2 * LIBPOOL_GUID_SIZE &&
	       strspn(name, "0123456789abcdefABCDEF") == 2 * LIBPOOL_GUID_SIZE;
}

int name_check(const char *name, const char *what, struct libpool_error *error)
{
	size_t length = strlen(name), step;

	if (length == 0)
		return error_set(error, -EINVAL, "the %s name is empty: give 1 to %d bytes", what,
				 LIBPOOL_NAME_MAX);
	if (length > LIBPOOL_NAME_MAX)
		return error_set(error, -EINVAL, "%s name '%.16s...' has %zu bytes: at most %d are allowed",
				 what, name, length, LIBPOOL_NAME_MAX);
	if (strchr("-.#", name[0]))
		return error_set(error, -EINVAL,
				 "%s name '%s' begins with '%c': begin with a letter or digit", what, name,
				 name[0]);
	for (size_t i = 0; i < length; i += step) {
		unsigned char byte = (unsigned char)name[i];

		step = text_utf8_length(name + i);
		if (step == 0)
			return error_set(
			    error, -EINVAL,
			    "%s name has the byte 0x%02x at %zu, which is not UTF-8: use another name", what,
			    byte, i);
		if (byte == ' ')
			return error_set(error, -EINVAL,
					 "%s name '%s' contains a space: use '-' or '_' instead", what, name);
		if (byte < 0x20 || byte == 0x7f)
			return error_set(
			    error, -EINVAL,
			    "%s name '%s' contains the control character 0x%02x: use printable ones", what,
			    name, byte);
		/* U+0080 to U+009F, which terminals obey, too. */
		if (byte == 0xc2 && (unsigned char)name[i + 1] < 0xa0)
			return error_set(error, -EINVAL, "%s name contains the control character U+%04x: use printable ones", what,
					 (unsigned char)name[i + 1]);
		if (byte == '/' || byte == '@')
			return error_set(error, -EINVAL,
					 "%s name '%s' contains '%c', which separates names: leave it out",
					 what, name, byte);
		if (strchr("\\#%*?\"'", byte))
			return error_set(error, -EINVAL, "%s name '%s' contains '%c', which shells take for something else: leave it out",
					 what, name, byte);
	}
	return 0;
}

/* Names with '/' between. */
static int path_check(const char *path, const char *what, struct libpool_error *error)
{
	char name[LIBPOOL_NAME_MAX + 1];
	int code = 0;

	if (strlen(path) > LIBPOOL_NAME_MAX)
		return name_check(path, what, error);
	for (bool more = true; more && code == 0;) {
		size_t length = strcspn(path, "/");

		snprintf(name, sizeof(name), "%.*s", (int)length, path);
		code = name_check(name, what, error);
		more = path[length];
		path += length + 1;
	}
	return code;
}

int target_parse(const char *text, enum target_form form, struct target *ret_target,
		 struct libpool_error *error)
{
	struct target target = {"", ""};
	const char *what = form == TARGET_DATASET ? "file system" : form == TARGET_POOL_OR_DATASET ? "dataset" : "volume";
	bool named = form == TARGET_VOLUME || form == TARGET_DATASET;
	const char *slash = named || form == TARGET_POOL_OR_DATASET ? strchr(text, '/') : NULL;
	size_t pool_length = slash ? (size_t)(slash - text) : strlen(text);
	int code;

	if (named && !slash)
		return error_set(error, -EINVAL, "'%s' names no %s: write POOL/%s", text, what, form == TARGET_DATASET ? "DATASET" : "VOLUME");
	/* One byte more than allowed is enough for name_check to see that it is too long. */
	if (pool_length > LIBPOOL_NAME_MAX)
		return name_check(text, "pool", error);
	memcpy(target.pool, text, pool_length);
	code = name_check(target.pool, "pool", error);
	if (code < 0)
		return code;
	if (form == TARGET_NEW_POOL && is_guid(target.pool))
		return error_set(error, -EINVAL,
				 "pool name '%s' looks like the id of a pool: use another name", target.pool);
	if (slash) {
		code = path_check(slash + 1, what, error);
		if (code < 0)
			return code;
		strcpy(target.volume, slash + 1);
	}
	*ret_target = target;
	return 0;
}

void target_print(const struct target *target, char ret_text[TARGET_TEXT_MAX])
{
	snprintf(ret_text, TARGET_TEXT_MAX, "%s%s%s", target->pool, target->volume[0] ? "/" : "",
		 target->volume);
}

void guid_print(const uint8_t guid[LIBPOOL_GUID_SIZE], char ret_text[GUID_TEXT_MAX])
{
	for (int i = 0; i < LIBPOOL_GUID_SIZE; i++)
		snprintf(ret_text + 2 * i, 3, "%02x", guid[i]);
}
