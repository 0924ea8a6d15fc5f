/* SPDX-License-Identifier: BSD-2-Clause */
/* XXH3-128 with AVX512; flags.cmake says how it is compiled, xxh3.c when it is used. */
#if defined(__x86_64__)
#ifndef __AVX512F__
#error "this file is to be compiled for AVX512"
#endif
#define XXH3_IMPLEMENTATION xxh3_avx512
#define XXH3_NAME           "avx512"
#include "checksum/xxh3_template.h"
#endif
