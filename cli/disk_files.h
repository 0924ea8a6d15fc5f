/* SPDX-License-Identifier: BSD-2-Clause */
/* Files that serve as disks, as users name them: paths made absolute, sparse files made on request. */
#ifndef CLI_DISK_FILES_H
#define CLI_DISK_FILES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <libpool.h>

struct disk_files {
	size_t count;
	char **paths;  /* absolute */
	bool *created; /* by disk_files_create */
};

/* The folder is resolved, the last part is kept, so that links in /dev/disk/by-id keep their names. To be
 * freed. */
char *disk_path_absolute(const char *path);

int disk_files_init(struct disk_files *files, char *const *paths, size_t count, struct libpool_error *error);
/* Creates those that are absent as sparse files of `size` bytes. Files that exist are not touched. */
int disk_files_create(struct disk_files *files, uint64_t size, struct libpool_error *error);
/* Removes what disk_files_create made. */
void disk_files_undo(struct disk_files *files);
void disk_files_release(struct disk_files *files);

#endif
