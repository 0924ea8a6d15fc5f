/*
 * Reference-counted buffers for device I/O: data is aligned to 4096 bytes. The count is atomic, so a
 * reference may be dropped in any thread; the content is written by one owner and read-only once
 * shared ("frozen"): CRC, checksum, parity and device write read the same bytes.
 */
#ifndef LIBPOOL_BASE_BUFFER_H
#define LIBPOOL_BASE_BUFFER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "checksum/xxh3.h"

#define BUFFER_ALIGNMENT 4096

struct buffer {
	atomic_uint references;
	uint32_t size; /* bytes the user asked for */
	uint8_t *data; /* aligned; capacity is size rounded up to 4096, the rest zeroed by buffer_pad */
	struct slab_region *region; /* private: where data comes from */
	bool hashed;         /* hash is valid */
	struct hash128 hash; /* of `size` bytes */
};

/* A buffer with one reference and undefined content, or NULL without memory. size >= 1. Thread-safe. */
struct buffer *buffer_new(size_t size);
/* The same, zeroed. */
struct buffer *buffer_new_zero(size_t size);
/* A copy of `size` bytes. */
struct buffer *buffer_new_copy(const void *data, size_t size);
struct buffer *buffer_ref(struct buffer *buffer);
/* Drops a reference; NULL is accepted. */
void buffer_unref(struct buffer *buffer);
/* True if the caller holds the only reference. */
int buffer_is_sole(const struct buffer *buffer);
/*
 * Notes the hash of the content, which saves whoever stores the buffer a pass over it: for who has just filled it, whose
 * cache has it. By the only holder; the content stays as it is from then on, or buffer_unhash is called before it changes.
 */
void buffer_hash(struct buffer *buffer);
void buffer_unhash(struct buffer *buffer);
/* Fills it by a copy that goes past the processor's cache, and notes the hash of that. The size is a multiple of 64. */
void buffer_copy_hashed(struct buffer *buffer, const void *source);
/* Zeroes what lies between size and the next multiple of 4096. */
void buffer_pad(struct buffer *buffer);

static inline void buffer_unref_cleanup(struct buffer **buffer) { buffer_unref(*buffer); }
#define CLEANUP_BUFFER __attribute__((cleanup(buffer_unref_cleanup)))

#endif
