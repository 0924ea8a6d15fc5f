/* SPDX-License-Identifier: BSD-2-Clause */
/* What must always hold: an error is exactly one line, also when a name in it contains control characters. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cli/errors.h"
#include "cli/text.h"

int error_set(struct libpool_error *error, int code, const char *format, ...)
{
	va_list arguments;

	if (!error)
		return code;
	error->code = code;
	va_start(arguments, format);
	vsnprintf(error->text, sizeof(error->text), format, arguments);
	va_end(arguments);
	return code;
}

int error_complete(struct libpool_error *error, int code, const char *format, ...)
{
	va_list arguments;

	if (code >= 0 || !error || error->text[0] != '\0')
		return code;
	error->code = code;
	va_start(arguments, format);
	vsnprintf(error->text, sizeof(error->text), format, arguments);
	va_end(arguments);
	text_append(error->text, sizeof(error->text), ": %s", libpool_strerror(code));
	return code;
}

void error_print(const struct libpool_error *error)
{
	char line[sizeof(error->text)];
	size_t step;

	memcpy(line, error->text, sizeof(line));
	line[sizeof(line) - 1] = '\0';
	for (char *byte = line; *byte; byte += step ? step : 1) {
		step = text_utf8_length(byte);
		/* Terminals also obey those of U+0080 to U+009F. */
		if (step == 0 || (unsigned char)*byte < 0x20 || *byte == 0x7f)
			*byte = '?';
		else if (step == 2 && (unsigned char)byte[0] == 0xc2 && (unsigned char)byte[1] < 0xa0)
			memset(byte, '?', step);
	}
	fprintf(stderr, "poolctl: %s\n", line);
}
