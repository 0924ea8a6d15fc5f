/* The one place where error codes become text. */
#include "libpool/base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *pool_error_string(int code)
{
	switch (-code) {
	case 0:
		return "no error";
#define POOL_ERROR_CASE(name, number, text)                                                                  \
	case name:                                                                                           \
		return text;
		POOL_ERROR_TABLE(POOL_ERROR_CASE)
#undef POOL_ERROR_CASE
	}
	const char *text = code < 0 ? strerrordesc_np(-code) : NULL;
	return text ? text : "unknown error";
}

int pool_error_set(struct pool_error *error, int code, const char *format, ...)
{
	if (!error || (error->code == code && code != 0))
		return code;
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(error->text, sizeof(error->text), format, arguments);
	va_end(arguments);
	error->code = code;
	return code;
}
