/* SPDX-License-Identifier: BSD-2-Clause */
/* What of pools is mounted, by the kernel's list: no directory is looked at, as one may not answer. */
#ifndef CLI_MOUNT_LIST_H
#define CLI_MOUNT_LIST_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

#include <libpool.h>

struct mount_entry {
	char source[2 * LIBPOOL_NAME_MAX + 2]; /* POOL/DATASET */
	char directory[PATH_MAX];
	char device[24]; /* of the file system: MAJOR:MINOR */
};

/* In the order in which they were mounted; one array, to be freed. */
int mount_list(struct mount_entry **ret_entries, size_t *ret_count, struct libpool_error *error);
/*
 * The same, and what `what` is there: a directory that is found by several spellings is shown by the last one that anybody looked for. It is
 * looked at only if nothing is mounted at what is given.
 */
int mount_list_for(const char *what, char ret_what[PATH_MAX], struct mount_entry **ret_entries, size_t *ret_count, struct libpool_error *error);
/* Whether it is mounted at, or beneath, this directory, or is what this source, POOL or POOL/DATASET, names or lies in that. */
bool mount_matches(const struct mount_entry *entry, const char *what);
bool mount_matches_directory(const struct mount_entry *entry, const char *what);
/* Still. */
bool mount_is_there(const struct mount_entry *entry);

#endif
