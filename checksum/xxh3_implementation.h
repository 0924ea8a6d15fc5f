/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The implementations behind xxh3.h. Private to this folder and its tests, which compare all that the processor runs.
 */
#ifndef CHECKSUM_XXH3_IMPLEMENTATION_H
#define CHECKSUM_XXH3_IMPLEMENTATION_H

#include "checksum/xxh3.h"

struct xxh3_implementation {
	const char *name;
	void (*hash)(const void *data, size_t length, struct hash128 *ret);
	void (*copy)(void *target, const void *source, size_t length, struct hash128 *ret);
	void (*init)(struct xxh3_stream *stream);
	void (*update)(struct xxh3_stream *stream, const void *data, size_t length);
	void (*final)(const struct xxh3_stream *stream, struct hash128 *ret);
};

/* The implementations that this processor runs, fastest first; NULL from the number of them on. */
const struct xxh3_implementation *xxh3_implementation_at(unsigned index);

#if defined(__x86_64__)
extern const struct xxh3_implementation xxh3_avx512, xxh3_avx2, xxh3_sse2;
#else
extern const struct xxh3_implementation xxh3_portable;
#endif

#endif
