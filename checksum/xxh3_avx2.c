/* SPDX-License-Identifier: BSD-2-Clause */
/* XXH3-128 with AVX2; flags.cmake says how it is compiled, xxh3.c when it is used. */
#if defined(__x86_64__)
#ifndef __AVX2__
#error "this file is to be compiled for AVX2"
#endif
#define XXH3_IMPLEMENTATION xxh3_avx2
#define XXH3_NAME           "avx2"
#include "checksum/xxh3_template.h"
#endif
