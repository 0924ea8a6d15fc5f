/*
 * Which free AUs their disks have been told of (discard), and which are being told now.
 *
 * A free AU is one that may be given out: two later commits exist after the one that freed it. While its trim is under way it is set
 * apart, so that nothing is written there that a device could still throw away. Kept in RAM only: an import knows
 * of no AU that it was trimmed.
 */
#ifndef LIBPOOL_ALLOC_TRIM_H
#define LIBPOOL_ALLOC_TRIM_H

#include "libpool/alloc/alloc.h"

/* due: only what became free since the import; else all that is free and wasn't trimmed since. */
uint32_t alloc_trim_left(const struct alloc *alloc, unsigned disk, bool due);
/* The first such run of AUs from `from` on, at most `most` of them: 0 or how many. *ret_first is set if there are any. */
uint32_t alloc_trim_find(const struct alloc *alloc, unsigned disk, bool due, uint32_t from, uint32_t most, uint32_t *ret_first);
/* Data cells that can't be placed while the AUs that are set apart stay so, and `more` of this disk. */
uint64_t alloc_trim_cells(const struct alloc *alloc, unsigned disk, uint32_t more);
/* Sets a run apart that was found in the same step. */
void alloc_trim_begin(struct alloc *alloc, unsigned disk, uint32_t first, uint32_t count);
/* The device takes too long: until the end the AUs don't count as free ones that will soon be there again. */
void alloc_trim_abandon(struct alloc *alloc, unsigned disk, uint32_t count);
/* The device is through with it. The disk may have left the pool. */
void alloc_trim_end(struct alloc *alloc, unsigned disk, uint32_t first, uint32_t count, bool abandoned, bool trimmed);

#endif
