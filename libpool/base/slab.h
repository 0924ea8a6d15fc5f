/*
 * Page-aligned memory for buffers: pieces of 4 KiB to 1 MiB out of regions of 2 MiB. Private to base.
 *
 * Why not posix_memalign: for a piece of 4 KiB, aligned to 4 KiB, glibc takes 8 KiB of real memory; large pieces are
 * mapped and faulted in anew each time, or stay with the process for ever. Here a piece takes what it is, one that
 * was freed is used again while it is in the caches, and what is free goes back to the system: beyond SLAB_KEEP_MAX at
 * once, beyond SLAB_KEEP when it was free for a while (slab_settle), and beyond SLAB_KEEP_IDLE when nothing is in use
 * any more. What a pool writes between two commits comes and goes as a whole; taking that much from the system each
 * time costs more than all else that is done to it.
 *
 * This is the one state that all pools of a process share. It is a cache of memory and nothing else: no pool can see
 * another by it, nothing is set up before the first use, and when the last pool is gone almost nothing is left.
 * Thread-safe. A child after fork() may use it if no other thread of its parent was in here at that instant, like
 * anything else of the library: pools don't survive a fork.
 */
#ifndef LIBPOOL_BASE_SLAB_H
#define LIBPOOL_BASE_SLAB_H

#include <stddef.h>
#include <stdint.h>

#define SLAB_PIECE_MAX ((size_t)1 << 20)
#define SLAB_KEEP_MAX ((size_t)1 << 30)
#define SLAB_KEEP ((size_t)64 << 20)
#define SLAB_KEEP_IDLE ((size_t)4 << 20)

struct slab_region;

/* `size` is a multiple of 4096, at most SLAB_PIECE_MAX. Undefined content; NULL without memory. */
void *slab_take(size_t size, struct slab_region **ret_region);
void slab_give(struct slab_region *region, void *piece);
#define SLAB_SETTLE_NS (UINT64_C(2) * 1000000000)
#define SLAB_SETTLE_BYTES ((size_t)64 << 20)
/*
 * Called now and then, with the time from a monotonic clock; does something at most each SLAB_SETTLE_NS: gives back, beyond
 * SLAB_KEEP, what was free all the time since the last time, up to SLAB_SETTLE_BYTES.
 */
void slab_settle(uint64_t now_ns);
/* Bytes of free memory that are kept. */
size_t slab_kept(void);

#endif
