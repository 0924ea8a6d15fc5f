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
#if defined(__SSE2__)
#include <immintrin.h>
#endif

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

/* A multiple of 64 bytes, both aligned to 64; past the processor's cache where there are instructions for it. */
static void stream_out(void *target, const void *source, size_t length)
{
	for (size_t i = 0; i < length; i += 64) {
		uint8_t *to = (uint8_t *)target + i;
		const uint8_t *from = (const uint8_t *)source + i;

#if defined(__AVX512F__)
		_mm512_stream_si512((void *)to, _mm512_load_si512(from));
#elif defined(__AVX__)
		_mm256_stream_si256((__m256i *)(void *)to, _mm256_load_si256((const __m256i *)(const void *)from));
		_mm256_stream_si256((__m256i *)(void *)(to + 32), _mm256_load_si256((const __m256i *)(const void *)(from + 32)));
#elif defined(__SSE2__)
		for (unsigned j = 0; j < 64; j += 16)
			_mm_stream_si128((__m128i *)(void *)(to + j), _mm_load_si128((const __m128i *)(const void *)(from + j)));
#else
		memcpy(to, from, 64);
#endif
	}
}

/* By pieces that stay in the innermost cache, from which they are hashed and written. */
static void copy_and_hash(void *target, const void *source, size_t length, struct hash128 *ret)
{
	_Alignas(64) uint8_t piece[4096];
	XXH3_state_t state;

	XXH3_INITSTATE(&state);
	XXH3_128bits_reset(&state);
	for (size_t at = 0; at < length; at += sizeof(piece)) {
		size_t part = length - at < sizeof(piece) ? length - at : sizeof(piece);

		memcpy(piece, (const uint8_t *)source + at, part);
		XXH3_128bits_update(&state, piece, part);
		stream_out((uint8_t *)target + at, piece, part);
	}
#if defined(__SSE2__)
	_mm_sfence();
#endif
	store(XXH3_128bits_digest(&state), ret);
}

const struct xxh3_implementation XXH3_IMPLEMENTATION = {
	.name = XXH3_NAME,
	.hash = hash_whole,
	.copy = copy_and_hash,
	.init = stream_init,
	.update = stream_update,
	.final = stream_final,
};
