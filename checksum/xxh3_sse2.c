/* SPDX-License-Identifier: BSD-2-Clause */
/* XXH3-128 with SSE2; flags.cmake says how it is compiled, xxh3.c when it is used. */
#if defined(__x86_64__)
#ifndef __SSE2__
#error "this file is to be compiled for SSE2"
#endif
#define XXH3_IMPLEMENTATION xxh3_sse2
#define XXH3_NAME           "sse2"
#include "checksum/xxh3_template.h"
#endif
