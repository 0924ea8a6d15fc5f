/* SPDX-License-Identifier: BSD-2-Clause */
/* Text that is put together piece by piece in a fixed room; what doesn't fit is cut off. */
#ifndef CLI_TEXT_H
#define CLI_TEXT_H

#include <stddef.h>

void text_append(char *text, size_t room, const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif
