/* SPDX-License-Identifier: BSD-2-Clause */
/* XXH3-128 as the compiler's default target gives it (NEON on arm64), where run-time dispatch gains nothing. */
#if !defined(__x86_64__)
#define XXH3_IMPLEMENTATION xxh3_portable
#define XXH3_NAME           "portable"
#include "checksum/xxh3_template.h"
#endif
