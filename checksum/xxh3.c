/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The choice among the implementations of XXH3-128.
 *
 * It is made at the first call, not in a constructor, so that a program that never hashes pays nothing. Threads that
 * race for it all store the same pointer to a constant, so a relaxed atomic is enough. A stream may start with one
 * implementation and go on with another: the state is the library's, and the same in all.
 */
#include "checksum/xxh3.h"

#include <stdatomic.h>

#include "checksum/xxh3_implementation.h"

const struct xxh3_implementation *xxh3_implementation_at(unsigned index)
{
	const struct xxh3_implementation *usable[4];
	unsigned count = 0;

#if defined(__x86_64__)
	if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
	    __builtin_cpu_supports("avx512vl"))
		usable[count++] = &xxh3_avx512;
	if (__builtin_cpu_supports("avx2"))
		usable[count++] = &xxh3_avx2;
	usable[count++] = &xxh3_sse2;
#else
	usable[count++] = &xxh3_portable;
#endif
	return index < count ? usable[index] : NULL;
}

static const struct xxh3_implementation *chosen(void)
{
	static _Atomic(const struct xxh3_implementation *) cache;
	const struct xxh3_implementation *implementation = atomic_load_explicit(&cache, memory_order_relaxed);

	if (implementation == NULL) {
		implementation = xxh3_implementation_at(0);
		atomic_store_explicit(&cache, implementation, memory_order_relaxed);
	}
	return implementation;
}

void xxh3_128(const void *data, size_t length, struct hash128 *ret)
{
	chosen()->hash(data, length, ret);
}

void xxh3_128_copy(void *target, const void *source, size_t length, struct hash128 *ret)
{
	chosen()->copy(target, source, length, ret);
}

void xxh3_128_context(const void *context, size_t context_length, const void *data, size_t length,
		      struct hash128 *ret)
{
	const struct xxh3_implementation *implementation = chosen();
	struct xxh3_stream stream;

	implementation->init(&stream);
	implementation->update(&stream, context, context_length);
	implementation->update(&stream, data, length);
	implementation->final(&stream, ret);
}

void xxh3_stream_init(struct xxh3_stream *stream)
{
	chosen()->init(stream);
}

void xxh3_stream_update(struct xxh3_stream *stream, const void *data, size_t length)
{
	chosen()->update(stream, data, length);
}

void xxh3_stream_final(const struct xxh3_stream *stream, struct hash128 *ret)
{
	chosen()->final(stream, ret);
}

const char *xxh3_implementation(void)
{
	return chosen()->name;
}
