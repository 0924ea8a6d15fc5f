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
static bool take_apart(char *line, struct place *ret_place, const char **ret_source, const char **ret_path)
{
	char *words[5], *rest = NULL, *type = strstr(line, " - fuse.libpool ");
	char *source = type ? type + strlen(" - fuse.libpool ") : NULL;

	if (!type)
		return false;
	*type = '\0';
	source[strcspn(source, " \n")] = '\0';
	unescape(source);
	for (int i = 0; i < 5; i++) {
		words[i] = strtok_r(i ? NULL : line, " ", &rest);
		if (!words[i])
			return false;
	}
	unescape(words[4]);
	*ret_source = source;
	*ret_path = words[4];
	return sscanf(words[2], "%u:%u", &ret_place->major, &ret_place->minor) == 2;
}

void places_each(void (*visit)(void *argument, const struct place *place, const char *source, const char *path), void *argument)
{
	FILE *file = fopen("/proc/self/mountinfo", "re");
	const char *source, *path;
	struct place place;
	char *line = NULL;
	size_t size = 0;

	while (file && getline(&line, &size, file) > 0)
		if (take_apart(line, &place, &source, &path) && strlen(path) < PATH_MAX)
			visit(argument, &place, source, path);
	free(line);
	if (file)
		fclose(file);
}

struct search {
	const struct place *place;
	const char *source;
	char *path;
	bool found;
};

static void look(void *argument, const struct place *place, const char *source, const char *path)
{
	struct search *search = argument;

	if (!place_is(search->place, place) || strcmp(search->source, source) != 0)
		return;
	strcpy(search->path, path);
	search->found = true;
}

bool place_find(const struct place *place, const char *source, char ret_path[PATH_MAX])
{
	struct search search = {.place = place, .source = source, .path = ret_path};

	if (place_is_known(place))
		places_each(look, &search);
	return search.found;
}

/* Without asking whoever serves it. */
static bool look_at(const char *path, struct statx *ret_status)
{
	return statx(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_STATX_DONT_SYNC, STATX_TYPE, ret_status) == 0;
}

bool place_at(struct place *ret_place, const char *path)
{
	struct statx status;

	if (!look_at(path, &status) || !(status.stx_attributes & status.stx_attributes_mask & STATX_ATTR_MOUNT_ROOT))
		return false;
	*ret_place = (struct place){status.stx_dev_major, status.stx_dev_minor};
	return true;
}

void place_take(struct place *ret_place, const char *path, const char *source)
{
	char found[PATH_MAX];
	struct statx status;

	/* Nobody serves it yet: it must not be asked. */
	*ret_place = (struct place){0};
	if (look_at(path, &status))
		*ret_place = (struct place){status.stx_dev_major, status.stx_dev_minor};
	if (!place_find(ret_place, source, found))
		*ret_place = (struct place){0};
}
