/*
 * The ghost queue of S3-FIFO: which blocks left the cache's small queue lately without having earned a
 * place. A block that comes back while it is remembered here goes straight to the main queue.
 *
 * It holds no keys but 32-bit tags of their hashes, in sets of 8 with the time of insertion: 8 bytes a
 * slot. A false hit costs one block a better place than it deserves, nothing else. "Time" is the number
 * of insertions, so an entry is as old as a FIFO position, and no queue has to be kept.
 */
#ifndef LIBPOOL_BLOCK_GHOST_H
#define LIBPOOL_BLOCK_GHOST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ghost_slot {
	uint32_t tag; /* 0: empty */
	uint32_t time;
};

/* Zero-initialised is empty. */
struct ghost {
	struct ghost_slot *slots;
	size_t slot_count; /* 0 or a power of two, at least 8 */
	uint32_t time;
};

/* Remembers `hash`. Grows towards `entries` remembered at once if memory and `bytes_max` allow. */
void ghost_insert(struct ghost *ghost, uint64_t hash, size_t entries, size_t bytes_max);
/* Whether `hash` is among the last `entries` remembered; it is forgotten if so. */
bool ghost_take(struct ghost *ghost, uint64_t hash, size_t entries);
void ghost_release(struct ghost *ghost);

static inline size_t ghost_bytes(const struct ghost *ghost)
{
	return ghost->slot_count * sizeof(struct ghost_slot);
}

#endif
