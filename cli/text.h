/* SPDX-License-Identifier: BSD-2-Clause */
/* Text: put together piece by piece in a fixed room, where what doesn't fit is cut off; and what of it is UTF-8. */
#ifndef CLI_TEXT_H
#define CLI_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/* Length of the UTF-8 sequence at `bytes`, 0 when it is none (overlong forms and surrogates are none). */
size_t text_utf8_length(const char *bytes);
bool text_is_utf8(const char *text);
/* A copy in which each byte that is not UTF-8 is spelled <ff>, as control sockets do it; NULL without memory. */
char *text_spelled(const char *text);

void text_append(char *text, size_t room, const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif
