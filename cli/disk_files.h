/* Disks as users name them: paths made absolute, sparse files made on request, names of disks of a pool
 * looked up. */
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

/*
 * The disk of an open pool that `name` means: "#3", its path, the last part of its path, or 8 digits or more
 * of its id. *ret_disk is filled with what the pool says about it. -ENOENT with the pool's disks in the text.
 */
int disk_find(libpool_pool *pool, const char *name, struct libpool_disk_info *ret_disk,
	      struct libpool_error *error);
/* How people name it: its path, or "#3" when none is known. */
const char *disk_display(const struct libpool_disk_info *disk, char text[LIBPOOL_PATH_MAX]);

#endif
