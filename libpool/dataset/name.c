/* What may be a name: of a pool, and of a dataset in it. Characters that paths, snapshots and shells give a meaning to stay free. */
#include <errno.h>
#include <string.h>

#include "libpool/dataset/dataset.h"

/* Length of the valid UTF-8 sequence at s (RFC 3629), or 0. */
static unsigned utf8_length(const unsigned char *s)
{
	if (s[0] < 0x80)
		return 1;
	unsigned length = s[0] >= 0xF0 && s[0] < 0xF5 ? 4 : s[0] >= 0xE0 && s[0] < 0xF0 ? 3 : s[0] >= 0xC2 && s[0] < 0xE0 ? 2 : 0;
	for (unsigned i = 1; i < length; i++)
		if ((s[i] & 0xC0) != 0x80)
			return 0;
	if ((s[0] == 0xE0 && s[1] < 0xA0) || (s[0] == 0xED && s[1] >= 0xA0) || (s[0] == 0xF0 && s[1] < 0x90) ||
	    (s[0] == 0xF4 && s[1] >= 0x90))
		return 0;
	return length;
}

int dataset_name_check(const char *what, const char *name, struct pool_error *error)
{
	size_t length = name ? strlen(name) : 0;

	if (length == 0)
		return pool_error_set(error, -EINVAL, "the name of a %s must not be empty", what);
	if (length > POOL_NAME_MAX)
		return pool_error_set(error, -ENAMETOOLONG, "the name of the %s has %zu bytes: at most %u are possible", what, length,
				      POOL_NAME_MAX);
	for (size_t i = 0; i < length;) {
		unsigned char c = (unsigned char)name[i];
		unsigned step = utf8_length((const unsigned char *)name + i);
		if (step == 0)
			return pool_error_set(error, -EINVAL, "the name of the %s is not valid UTF-8 at byte %zu", what, i);
		if (c < 0x20 || c == 0x7F || (c == 0xC2 && (unsigned char)name[i + 1] < 0xA0))
			return pool_error_set(error, -EINVAL, "the name of the %s has a control character at byte %zu", what, i);
		if (strchr(" /\\@#%*?\"'", c))
			return pool_error_set(error, -EINVAL, "the name of the %s has the character \"%c\", which names must not have",
					      what, c);
		i += step;
	}
	if (name[0] == '-' || name[0] == '.')
		return pool_error_set(error, -EINVAL, "%s is no name for a %s: it must not begin with \"%c\"", name, what, name[0]);
	return 0;
}

int dataset_path_check(const char *what, const char *path, struct pool_error *error)
{
	char name[POOL_NAME_MAX + 1];
	int status = 0;

	if (path && strlen(path) > POOL_NAME_MAX)
		return pool_error_set(error, -ENAMETOOLONG, "the path of the %s has %zu bytes: at most %u are possible", what, strlen(path),
				      POOL_NAME_MAX);
	while (path && status == 0) {
		size_t length = strcspn(path, "/");

		memcpy(name, path, length);
		name[length] = 0;
		status = dataset_name_check(what, name, error);
		if (!path[length])
			return status;
		path += length + 1;
	}
	return path ? status : dataset_name_check(what, NULL, error);
}

bool dataset_path_within(const char *path, const char *above)
{
	size_t length = strlen(above);

	return strncmp(path, above, length) == 0 && (path[length] == 0 || path[length] == '/');
}
