/* Whether a disk carries a label of libpool, valid or not: what every provider's probe asks first. */
#ifndef LIBPOOL_DISK_LABEL_PROBE_H
#define LIBPOOL_DISK_LABEL_PROBE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DISK_LABEL_PROBE_SIZE (128u << 10) /* bytes from the start of a label area: both copies */

/*
 * Looks at one label area (0 or 1) as read from its start. True if it has a label, with a text for people in
 * ret_what. A label whose magic is there but which doesn't decode counts too: nobody should overwrite it
 * without having been asked.
 */
bool disk_label_describe(const uint8_t *area_raw, unsigned area, char *ret_what, size_t what_size);
/* Where area B of a disk of this size begins; 0 if the disk is too small to have one. */
uint64_t disk_label_area_b(uint64_t disk_size);

#endif
