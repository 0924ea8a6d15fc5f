/* SPDX-License-Identifier: BSD-2-Clause */
#include "fuse-export/place.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* Blanks and the like are \040 in the list of mounts. */
static void unescape(char *text)
{
	char *to = text;

	for (const char *from = text; *from; to++) {
		unsigned code;

		if (from[0] == '\\' && sscanf(from + 1, "%3o", &code) == 1) {
			*to = (char)code;
			from += 4;
		} else {
			*to = *from++;
		}
	}
	*to = '\0';
}

/* "36 35 98:0 /root /point options [tags] - type source ..."; splits the line. */
static bool is_of(char *line, const struct place *place, const char *source, char **ret_path)
{
	char *words[5], *rest = NULL, *type = strstr(line, " - fuse.libpool ");
	char *its_source = type ? type + strlen(" - fuse.libpool ") : NULL;
	unsigned major, minor;

	if (!type)
		return false;
	*type = '\0';
	its_source[strcspn(its_source, " \n")] = '\0';
	unescape(its_source);
	for (int i = 0; i < 5; i++) {
		words[i] = strtok_r(i ? NULL : line, " ", &rest);
		if (!words[i])
			return false;
	}
	unescape(words[4]);
	*ret_path = words[4];
	return sscanf(words[2], "%u:%u", &major, &minor) == 2 && major == place->major && minor == place->minor && strcmp(its_source, source) == 0;
}

bool place_find(const struct place *place, const char *source, char ret_path[PATH_MAX])
{
	FILE *file = place->major || place->minor ? fopen("/proc/self/mountinfo", "re") : NULL;
	char *line = NULL, *path;
	size_t size = 0;
	bool found = false;

	while (file && getline(&line, &size, file) > 0) {
		if (!is_of(line, place, source, &path) || strlen(path) >= PATH_MAX)
			continue;
		strcpy(ret_path, path);
		found = true;
	}
	free(line);
	if (file)
		fclose(file);
	return found;
}

void place_take(struct place *ret_place, const char *path, const char *source)
{
	char found[PATH_MAX];
	struct statx status;

	/* Nobody serves it yet: it must not be asked. */
	*ret_place = (struct place){0};
	if (statx(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_STATX_DONT_SYNC, STATX_TYPE, &status) == 0)
		*ret_place = (struct place){status.stx_dev_major, status.stx_dev_minor};
	if (!place_find(ret_place, source, found))
		*ret_place = (struct place){0};
}
