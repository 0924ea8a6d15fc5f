/* SPDX-License-Identifier: BSD-2-Clause */
#include "cli/mount_list.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/errors.h"

#define TYPE "fuse.libpool"

/* "\040" and the like are characters. */
static void unescape(char *text)
{
	char *to = text;

	for (const char *from = text; *from; to++) {
		if (from[0] == '\\' && from[1] >= '0' && from[1] <= '3' && from[2] && from[3]) {
			*to = (char)((from[1] - '0') << 6 | (from[2] - '0') << 3 | (from[3] - '0'));
			from += 4;
		} else {
			*to = *from++;
		}
	}
	*to = '\0';
}

/* "36 35 98:0 /root DIRECTORY options fields - TYPE SOURCE options" */
static bool parse(char *line, struct mount_entry *ret_entry)
{
	char *fields[5] = {NULL}, *rest = NULL, *behind = strstr(line, " - "), *type, *source;

	if (!behind)
		return false;
	*behind = '\0';
	type = strtok_r(behind + 3, " ", &rest);
	source = strtok_r(NULL, " ", &rest);
	if (!type || !source || strcmp(type, TYPE) != 0)
		return false;
	fields[0] = strtok_r(line, " ", &rest);
	for (size_t i = 1; i < 5; i++)
		fields[i] = strtok_r(NULL, " ", &rest);
	if (!fields[4])
		return false;
	unescape(fields[4]);
	unescape(source);
	snprintf(ret_entry->source, sizeof(ret_entry->source), "%s", source);
	snprintf(ret_entry->directory, sizeof(ret_entry->directory), "%s", fields[4]);
	snprintf(ret_entry->device, sizeof(ret_entry->device), "%s", fields[2]);
	return true;
}

int mount_list(struct mount_entry **ret_entries, size_t *ret_count, struct libpool_error *error)
{
	FILE *file = fopen("/proc/self/mountinfo", "re");
	struct mount_entry *entries = NULL, entry, *larger;
	size_t count = 0, room = 0;
	char *line = NULL;
	int code = file ? 0 : error_set(error, -errno, "/proc/self/mountinfo: %s", strerror(errno));

	while (code == 0 && getline(&line, &room, file) > 0) {
		line[strcspn(line, "\n")] = '\0';
		if (!parse(line, &entry))
			continue;
		larger = realloc(entries, (count + 1) * sizeof(*entries));
		if (!larger) {
			code = error_set(error, -ENOMEM, "there is no memory for the list of mounts");
			break;
		}
		entries = larger;
		entries[count++] = entry;
	}
	free(line);
	if (file)
		fclose(file);
	if (code < 0) {
		free(entries);
		return code;
	}
	*ret_entries = entries;
	*ret_count = count;
	return 0;
}

static bool begins(const char *text, const char *path)
{
	size_t length = strlen(path);

	return length && strncmp(text, path, length) == 0 && (text[length] == '\0' || text[length] == '/');
}

/* Without looking at the directory itself, which may be a mount that is dead: what it lies in is. */
static void make_absolute(const char *what, char ret_path[PATH_MAX])
{
	char copy[PATH_MAX], folder[PATH_MAX];
	const char *last, *above;
	char *slash;

	snprintf(copy, sizeof(copy), "%s", what);
	for (size_t length = strlen(copy); length > 1 && copy[length - 1] == '/'; length--)
		copy[length - 1] = '\0';
	slash = strrchr(copy, '/');
	last = slash ? slash + 1 : copy;
	if (!last[0] || strcmp(last, ".") == 0 || strcmp(last, "..") == 0) {
		if (!realpath(copy, ret_path))
			ret_path[0] = '\0';
		return;
	}
	above = !slash ? "." : slash == copy ? "/" : copy;
	if (slash)
		*slash = '\0';
	if (!realpath(above[0] ? above : "/", folder) ||
	    snprintf(ret_path, PATH_MAX, "%s/%s", strcmp(folder, "/") == 0 ? "" : folder, last) >= PATH_MAX)
		ret_path[0] = '\0';
}

bool mount_matches_directory(const struct mount_entry *entry, const char *what)
{
	char path[PATH_MAX];

	make_absolute(what, path);
	return begins(entry->directory, path);
}

bool mount_matches(const struct mount_entry *entry, const char *what)
{
	return mount_matches_directory(entry, what) || (what[0] != '/' && what[0] != '.' && begins(entry->source, what));
}

bool mount_is_there(const struct mount_entry *entry)
{
	struct mount_entry *entries;
	size_t count;
	bool found = false;

	if (mount_list(&entries, &count, NULL) < 0)
		return true;
	for (size_t i = 0; i < count; i++)
		found |= strcmp(entries[i].device, entry->device) == 0 && strcmp(entries[i].source, entry->source) == 0;
	free(entries);
	return found;
}

static const struct mount_entry *find_device(const struct mount_entry *entries, size_t count, const char *device)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(entries[i].device, device) == 0)
			return &entries[i];
	return NULL;
}

int mount_list_for(const char *what, char ret_what[PATH_MAX], struct mount_entry **ret_entries, size_t *ret_count, struct libpool_error *error)
{
	const struct mount_entry *entry = NULL;
	struct statx status;
	char device[24];
	int code = mount_list(ret_entries, ret_count, error);
	bool found = code < 0;

	snprintf(ret_what, PATH_MAX, "%s", what);
	for (size_t i = 0; i < *ret_count && !found; i++)
		found = mount_matches(&(*ret_entries)[i], what);
	if (found || statx(AT_FDCWD, what, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_STATX_DONT_SYNC, STATX_TYPE, &status) != 0 ||
	    !(status.stx_attributes & status.stx_attributes_mask & STATX_ATTR_MOUNT_ROOT))
		return code;
	snprintf(device, sizeof(device), "%u:%u", status.stx_dev_major, status.stx_dev_minor);
	if (!find_device(*ret_entries, *ret_count, device))
		return 0;
	/* The list is of before that look. */
	free(*ret_entries);
	*ret_entries = NULL;
	*ret_count = 0;
	code = mount_list(ret_entries, ret_count, error);
	if (code == 0)
		entry = find_device(*ret_entries, *ret_count, device);
	if (entry)
		snprintf(ret_what, PATH_MAX, "%s", entry->directory);
	return code;
}
