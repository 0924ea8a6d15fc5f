/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One implementation of XXH3-128, for the instruction set this file is compiled for. A .c file defines
 * XXH3_IMPLEMENTATION (the name of the constant) and XXH3_NAME (its text), then includes this once.
 *
 * Why the library's source is compiled inline: only so does its vector code get the compiler's flags of that .c file.
 */
#include "checksum/xxh3_implementation.h"

#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

_Static_assert(sizeof(XXH3_state_t) <= sizeof(struct xxh3_stream), "a stream holds the library's state");
_Static_assert(_Alignof(XXH3_state_t) <= _Alignof(struct xxh3_stream), "a stream has the state's alignment");

static void store(XXH128_hash_t hash, struct hash128 *ret)
{
	for (unsigned i = 0; i < 8; i++) {
		ret->bytes[i] = (uint8_t)(hash.low64 >> (8 * i));
		ret->bytes[8 + i] = (uint8_t)(hash.high64 >> (8 * i));
	}
}

static void hash_whole(const void *data, size_t length, struct hash128 *ret)
{
	store(XXH3_128bits(data, length), ret);
}

static void stream_init(struct xxh3_stream *stream)
{
	XXH3_state_t *state = (void *)stream->opaque;

	XXH3_INITSTATE(state);
	XXH3_128bits_reset(state);
}

static void stream_update(struct xxh3_stream *stream, const void *data, size_t length)
{
	if (length > 0)
		XXH3_128bits_update((XXH3_state_t *)(void *)stream->opaque, data, length);
}

static void stream_final(const struct xxh3_stream *stream, struct hash128 *ret)
{
	store(XXH3_128bits_digest((const XXH3_state_t *)(const void *)stream->opaque), ret);
}

const struct xxh3_implementation XXH3_IMPLEMENTATION = {
	.name = XXH3_NAME,
	.hash = hash_whole,
	.init = stream_init,
	.update = stream_update,
	.final = stream_final,
};
