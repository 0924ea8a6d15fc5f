/* Who has a file or block device, so that a refusal can name somebody. */
#ifndef LIBPOOL_DISK_HOLDER_H
#define LIBPOOL_DISK_HOLDER_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

/*
 * Writes "process 1234 (poolctl)" of the living process that has the lock of a file, or a block device open. False, and ""
 * written, if there is none that may be seen: the kernel, one of another user, or one that has ended a moment ago.
 */
bool disk_holder(const struct stat *status, char *ret_text, size_t size);

#endif
