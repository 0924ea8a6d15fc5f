/* Which file a loop device lies on, as the kernel knows it: by the path that it was given may be another file by now, or none. */
#ifndef LIBPOOL_DISK_LOOP_H
#define LIBPOOL_DISK_LOOP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

struct loop_backing {
	dev_t device; /* st_dev and st_ino of the file */
	uint64_t inode, offset;
};
/* Of an open loop device, or a partition of one; false for other devices. */
bool loop_backing(int descriptor, struct loop_backing *ret_backing);
/* Whether any loop device lies on the file. */
bool loop_lies_on(const struct stat *status);

#endif
