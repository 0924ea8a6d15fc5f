/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The kernels of stream_template.h for each instruction set. The choice between them is a look at the processor's
 * features, a few loads, so nothing is kept. Where the processor isn't an x86, stores are ordinary ones.
 */
#include "raid/stream.h"

#include <stddef.h>

#include "raid/parity.h"

typedef unsigned char line_16 __attribute__((vector_size(16), may_alias));

#if defined(__x86_64__)
#include <immintrin.h>

typedef unsigned char line_32 __attribute__((vector_size(32), may_alias));
typedef unsigned char line_64 __attribute__((vector_size(64), may_alias));

#define STREAM(name)		     name##_avx512
#define STREAM_TARGET		     __attribute__((target("avx512f,avx512bw")))
#define STREAM_LINE		     line_64
#define STREAM_STORE(target, source) _mm512_stream_si512((void *)(target), (__m512i)(source))
#include "raid/stream_template.h"

#define STREAM(name)		     name##_avx2
#define STREAM_TARGET		     __attribute__((target("avx2")))
#define STREAM_LINE		     line_32
#define STREAM_STORE(target, source) _mm256_stream_si256((void *)(target), (__m256i)(source))
#include "raid/stream_template.h"

#define STREAM(name)		     name##_sse2
#define STREAM_TARGET
#define STREAM_LINE		     line_16
#define STREAM_STORE(target, source) _mm_stream_si128((void *)(target), (__m128i)(source))
#include "raid/stream_template.h"
#else
#define STREAM(name) name##_portable
#define STREAM_TARGET
#define STREAM_LINE		     line_16
#define STREAM_STORE(target, source) (*(target) = (source))
#include "raid/stream_template.h"
#endif

#define KERNEL(suffix) { #suffix, copy_##suffix, p_##suffix, p_and_q_##suffix }
#if defined(__x86_64__)
static const struct raid_stream_kernel avx512 = KERNEL(avx512);
static const struct raid_stream_kernel avx2 = KERNEL(avx2);
static const struct raid_stream_kernel sse2 = KERNEL(sse2);
#else
static const struct raid_stream_kernel portable = KERNEL(portable);
#endif

const struct raid_stream_kernel *raid_stream_kernel_at(unsigned index)
{
	const struct raid_stream_kernel *usable[3];
	unsigned count = 0;

#if defined(__x86_64__)
	if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw"))
		usable[count++] = &avx512;
	if (__builtin_cpu_supports("avx2"))
		usable[count++] = &avx2;
	usable[count++] = &sse2;
#else
	usable[count++] = &portable;
#endif
	return index < count ? usable[index] : NULL;
}

void raid_stream_end(void)
{
#if defined(__x86_64__)
	_mm_sfence();
#endif
}
