/* Small files of /sys and the kernel's names of block devices, for helpers that look at devices. */
#ifndef LIBPOOL_DISK_SYSFS_H
#define LIBPOOL_DISK_SYSFS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * The content of /sys/dev/block/<device>/<attribute> without the line's end; false if there is none. For a partition
 * the attributes of its whole disk are tried too.
 */
bool sysfs_read(dev_t device, const char *attribute, char *ret_text, size_t size);
uint64_t sysfs_number(dev_t device, const char *attribute, uint64_t otherwise);
/* Calls visit for each partition of the device and each device stacked on it; true as soon as one call is true. */
bool sysfs_each_child(dev_t device, bool (*visit)(dev_t child, void *argument), void *argument);

#endif
