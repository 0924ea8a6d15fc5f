/* SPDX-License-Identifier: BSD-2-Clause */
/* What must always hold: a file that existed before is never created over, shortened or removed. */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/disk_files.h"
#include "cli/errors.h"

char *disk_path_absolute(const char *path)
{
	char *for_folder = strdup(path), *for_name = strdup(path), *folder = NULL, *absolute = NULL;

	if (for_folder && for_name)
		folder = realpath(dirname(for_folder), NULL);
	if (!folder || !path[0])
		absolute = strdup(path);
	else if (asprintf(&absolute, "%s/%s", strcmp(folder, "/") == 0 ? "" : folder, basename(for_name)) < 0)
		absolute = NULL;
	free(folder);
	free(for_folder);
	free(for_name);
	return absolute;
}

int disk_files_init(struct disk_files *files, char *const *paths, size_t count, struct libpool_error *error)
{
	*files = (struct disk_files){.paths = calloc(count, sizeof(char *)),
				     .created = calloc(count, sizeof(bool))};
	if (!files->paths || !files->created)
		goto no_memory;
	for (size_t i = 0; i < count; i++) {
		files->paths[i] = disk_path_absolute(paths[i]);
		if (!files->paths[i])
			goto no_memory;
		files->count++;
	}
	for (size_t i = 0; i < count; i++) {
		for (size_t j = 0; j < i; j++) {
			if (strcmp(files->paths[i], files->paths[j]) == 0) {
				error_set(error, -EINVAL, "disk %s is named twice: name each disk once",
					  paths[i]);
				disk_files_release(files);
				return -EINVAL;
			}
		}
	}
	return 0;
no_memory:
	disk_files_release(files);
	return error_set(error, -ENOMEM, "no memory for the names of the disks");
}

static int create_one(const char *path, uint64_t size, struct libpool_error *error)
{
	int descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	int code = 0;

	if (descriptor < 0)
		return error_set(error, -errno, "creating disk %s: %s", path, strerror(errno));
	if (ftruncate(descriptor, (off_t)size) != 0) {
		code = error_set(error, -errno, "giving disk %s its size: %s", path, strerror(errno));
		unlink(path);
	}
	close(descriptor);
	return code;
}

int disk_files_create(struct disk_files *files, uint64_t size, struct libpool_error *error)
{
	for (size_t i = 0; i < files->count; i++) {
		int code;

		if (access(files->paths[i], F_OK) == 0)
			continue;
		code = create_one(files->paths[i], size, error);
		if (code < 0) {
			disk_files_undo(files);
			return code;
		}
		files->created[i] = true;
	}
	return 0;
}

void disk_files_undo(struct disk_files *files)
{
	for (size_t i = 0; i < files->count; i++) {
		if (files->created[i])
			unlink(files->paths[i]);
		files->created[i] = false;
	}
}

void disk_files_release(struct disk_files *files)
{
	for (size_t i = 0; files->paths && i < files->count; i++)
		free(files->paths[i]);
	free(files->paths);
	free(files->created);
	*files = (struct disk_files){0};
}
