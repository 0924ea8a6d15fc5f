/* SPDX-License-Identifier: BSD-2-Clause */
/* json-c's calls with the conventions of the schema in one place: names, units, and what zero means. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/document.h"
#include "cli/names.h"
#include "cli/text.h"

struct json_object *document_new(const char *command)
{
	struct json_object *document = json_object_new_object();

	document_number(document, "schema", DOCUMENT_SCHEMA);
	document_text(document, "command", command);
	return document;
}

void document_error(struct json_object *document, const struct libpool_error *error)
{
	struct json_object *object = json_object_new_object();

	document_number(object, "code", (uint64_t)(error->code < 0 ? -(int64_t)error->code : error->code));
	document_text(object, "text", error->text);
	json_object_object_add(document, "error", object);
}

struct json_object *document_text_new(const char *text)
{
	char *spelled = text_is_utf8(text) ? NULL : text_spelled(text);
	struct json_object *object = json_object_new_string(spelled ? spelled : text_is_utf8(text) ? text : "");

	free(spelled);
	return object;
}

void document_text(struct json_object *object, const char *key, const char *text)
{
	json_object_object_add(object, key, document_text_new(text));
}

void document_format(struct json_object *object, const char *key, const char *format, ...)
{
	va_list arguments;
	char text[2048];

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	document_text(object, key, text);
}

void document_number(struct json_object *object, const char *key, uint64_t number)
{
	json_object_object_add(object, key, json_object_new_uint64(number));
}

void document_flag(struct json_object *object, const char *key, bool flag)
{
	json_object_object_add(object, key, json_object_new_boolean(flag));
}

static struct json_object *seconds_new(uint64_t nanoseconds)
{
	char text[40];

	/* json-c would print 17 digits of the nearest double. */
	snprintf(text, sizeof(text), "%" PRIu64 ".%06" PRIu64, nanoseconds / 1000000000,
		 nanoseconds / 1000 % 1000000);
	return json_object_new_double_s((double)nanoseconds / 1e9, text);
}

void document_time(struct json_object *object, const char *key, uint64_t time_ns)
{
	json_object_object_add(object, key, time_ns ? seconds_new(time_ns) : NULL);
}

void document_duration(struct json_object *object, const char *key, uint64_t duration_ns)
{
	json_object_object_add(object, key, seconds_new(duration_ns));
}

void document_guid(struct json_object *object, const char *key, const uint8_t guid[LIBPOOL_GUID_SIZE])
{
	char text[GUID_TEXT_MAX];

	guid_print(guid, text);
	document_text(object, key, text);
}

struct json_object *document_array(struct json_object *object, const char *key)
{
	struct json_object *array = json_object_new_array();

	json_object_object_add(object, key, array);
	return array;
}

struct json_object *document_append_object(struct json_object *array)
{
	struct json_object *object = json_object_new_object();

	json_object_array_add(array, object);
	return object;
}

void document_merge(struct json_object *into, struct json_object *from)
{
	json_object_object_foreach (from, key, value) {
		if (strcmp(key, "schema") != 0 && strcmp(key, "command") != 0)
			json_object_object_add(into, key, json_object_get(value));
	}
}

struct json_object *document_get(struct json_object *object, const char *key)
{
	struct json_object *value = NULL;

	json_object_object_get_ex(object, key, &value);
	return value;
}

const char *document_get_text(struct json_object *object, const char *key)
{
	struct json_object *value = document_get(object, key);

	return value ? json_object_get_string(value) : "";
}

uint64_t document_get_number(struct json_object *object, const char *key)
{
	return json_object_get_uint64(document_get(object, key));
}

double document_get_seconds(struct json_object *object, const char *key)
{
	return json_object_get_double(document_get(object, key));
}

bool document_get_flag(struct json_object *object, const char *key)
{
	return json_object_get_boolean(document_get(object, key));
}
