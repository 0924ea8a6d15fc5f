/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * XXH3-128 without seed, the checksum of blocks, labels and uberblocks.
 *
 * Why not libxxhash itself: distributions build it for the oldest processor of an architecture, which costs two
 * thirds of the speed. Here the same code is compiled for several instruction sets, and the best one that this
 * processor runs is chosen at the first call. What must always hold: all implementations give the same 16 bytes as
 * XXH3_128bits() of the published library.
 *
 * Every function may be called from any thread; a stream belongs to one thread at a time.
 */
#ifndef CHECKSUM_XXH3_H
#define CHECKSUM_XXH3_H

#include <stddef.h>
#include <stdint.h>

/* A 128-bit hash as it is stored on disk: low64, then high64 of the published library, each little-endian. (The
 * "canonical" form of the library, which xxh128sum prints, is these bytes in reverse order.) */
struct hash128 {
	uint8_t bytes[16];
};

/* The hash of `length` bytes at `data`, any alignment. `data` may be NULL if the length is 0. */
void xxh3_128(const void *data, size_t length, struct hash128 *ret);

/*
 * The hash of what is copied, while it is copied: of the bytes that the target gets, whatever becomes of the source meanwhile. The target is written
 * past the processor's cache, and is seen by whoever sees a later store of this thread. Target: aligned to 64; the length a multiple of 64.
 */
void xxh3_128_copy(void *target, const void *source, size_t length, struct hash128 *ret);

/* The hash of `context` and `data` as one string of bytes: a block in the wrong place or of another pool gets a wrong
 * hash. The lengths are not hashed: contexts of one kind must have one length. */
void xxh3_128_context(const void *context, size_t context_length, const void *data, size_t length,
		      struct hash128 *ret);

/* The same in parts. The caller owns the memory (any storage, with the alignment of the type); there is nothing to
 * release. init, update any number of times, final; after final the stream can go on with update. */
struct xxh3_stream {
	_Alignas(64) unsigned char opaque[640];
};

void xxh3_stream_init(struct xxh3_stream *stream);
void xxh3_stream_update(struct xxh3_stream *stream, const void *data, size_t length);
void xxh3_stream_final(const struct xxh3_stream *stream, struct hash128 *ret);

/* The name of the implementation in use: "avx512", "avx2", "sse2" or "portable". Static storage. */
const char *xxh3_implementation(void);

#endif
