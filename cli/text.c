/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/text.h"

size_t text_utf8_length(const char *text)
{
	const unsigned char *bytes = (const unsigned char *)text;
	size_t length = bytes[0] < 0x80	  ? 1
			: bytes[0] < 0xc2 ? 0
			: bytes[0] < 0xe0 ? 2
			: bytes[0] < 0xf0 ? 3
			: bytes[0] < 0xf5 ? 4
					  : 0;

	for (size_t i = 1; i < length; i++) {
		if ((bytes[i] & 0xc0) != 0x80)
			return 0;
	}
	if ((bytes[0] == 0xe0 && bytes[1] < 0xa0) || (bytes[0] == 0xed && bytes[1] > 0x9f) ||
	    (bytes[0] == 0xf0 && bytes[1] < 0x90) || (bytes[0] == 0xf4 && bytes[1] > 0x8f))
		return 0;
	return length;
}

bool text_is_utf8(const char *text)
{
	size_t step;

	while (*text && (step = text_utf8_length(text)) > 0)
		text += step;
	return !*text;
}

char *text_spelled(const char *text)
{
	char *spelled = malloc(4 * strlen(text) + 1), *end = spelled;

	while (spelled && *text) {
		size_t step = text_utf8_length(text);

		if (step > 0)
			memcpy(end, text, step);
		else
			snprintf(end, 5, "<%02x>", (unsigned char)*text);
		end += step > 0 ? step : 4;
		text += step > 0 ? step : 1;
	}
	if (spelled)
		*end = '\0';
	return spelled;
}

void text_append(char *text, size_t room, const char *format, ...)
{
	size_t used = strnlen(text, room);
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text + used, room - used, format, arguments);
	va_end(arguments);
}
