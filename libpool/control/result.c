/* SPDX-License-Identifier: BSD-2-Clause */
#include "libpool/control/result.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const result_disk_roles[3] = {"data", "log", "spare"};

struct json_object *result_new(const char *command)
{
	struct json_object *document = json_object_new_object();

	result_number(document, "schema", RESULT_SCHEMA);
	result_text(document, "command", command);
	return document;
}

/* Length of the UTF-8 sequence (RFC 3629) at `text`, or 0. */
static size_t utf8_length(const char *text)
{
	const unsigned char *bytes = (const unsigned char *)text;
	size_t length = bytes[0] < 0x80 ? 1 : bytes[0] < 0xc2 ? 0 : bytes[0] < 0xe0 ? 2 : bytes[0] < 0xf0 ? 3 : bytes[0] < 0xf5 ? 4 : 0;

	for (size_t i = 1; i < length; i++)
		if ((bytes[i] & 0xc0) != 0x80)
			return 0;
	if ((bytes[0] == 0xe0 && bytes[1] < 0xa0) || (bytes[0] == 0xed && bytes[1] > 0x9f) || (bytes[0] == 0xf0 && bytes[1] < 0x90) ||
	    (bytes[0] == 0xf4 && bytes[1] > 0x8f))
		return 0;
	return length;
}

/* NULL: the text is UTF-8 as it is, or there is no memory, and *ret_plain says which. Otherwise to be freed. */
static char *spell(const char *text, bool *ret_plain)
{
	const char *at = text;
	char *spelled, *end;
	size_t step;

	while (*at && (step = utf8_length(at)) > 0)
		at += step;
	*ret_plain = !*at;
	spelled = end = *ret_plain ? NULL : malloc(4 * strlen(text) + 1);
	for (at = text; spelled && *at; at += step ? step : 1) {
		step = utf8_length(at);
		if (step)
			memcpy(end, at, step);
		else
			snprintf(end, 5, "<%02x>", (unsigned char)*at);
		end += step ? step : 4;
	}
	if (spelled)
		*end = '\0';
	return spelled;
}

struct json_object *result_text_new(const char *text)
{
	bool plain;
	char *spelled = spell(text, &plain);
	struct json_object *object = json_object_new_string(plain ? text : spelled ? spelled : "");

	free(spelled);
	return object;
}

bool result_is_shown_as(const char *text, const char *name)
{
	bool plain;
	char *spelled = spell(text, &plain);
	bool result = strcmp(spelled ? spelled : text, name) == 0;

	free(spelled);
	return result;
}

void result_text(struct json_object *object, const char *key, const char *text)
{
	json_object_object_add(object, key, result_text_new(text));
}

void result_number(struct json_object *object, const char *key, uint64_t number)
{
	json_object_object_add(object, key, json_object_new_uint64(number));
}

void result_ratio(struct json_object *object, const char *key, uint64_t part, uint64_t whole)
{
	double ratio = whole ? (double)part / (double)whole : 0;
	char text[40];

	snprintf(text, sizeof(text), "%.3f", ratio);
	json_object_object_add(object, key, whole ? json_object_new_double_s(ratio, text) : NULL);
}

void result_flag(struct json_object *object, const char *key, bool flag)
{
	json_object_object_add(object, key, json_object_new_boolean(flag));
}

void result_seconds(struct json_object *object, const char *key, uint64_t nanoseconds)
{
	char text[40];

	/* json-c would print 17 digits of the nearest double. */
	snprintf(text, sizeof(text), "%" PRIu64 ".%06" PRIu64, nanoseconds / 1000000000, nanoseconds / 1000 % 1000000);
	json_object_object_add(object, key, json_object_new_double_s((double)nanoseconds / 1e9, text));
}

struct json_object *result_array(struct json_object *object, const char *key)
{
	struct json_object *array = json_object_new_array();

	json_object_object_add(object, key, array);
	return array;
}

struct json_object *result_append(struct json_object *array)
{
	struct json_object *object = json_object_new_object();

	json_object_array_add(array, object);
	return object;
}

static void add_guid(struct json_object *object, const char *key, const uint8_t *guid)
{
	char text[2 * LIBPOOL_GUID_SIZE + 1];

	for (int i = 0; i < LIBPOOL_GUID_SIZE; i++)
		snprintf(text + 2 * i, 3, "%02x", guid[i]);
	result_text(object, key, text);
}

static void add_field(struct json_object *object, const struct field *field, const void *member)
{
	uint64_t number = 0;
	uint32_t number32 = 0;

	if (field->kind == FIELD_NUMBER || field->kind == FIELD_TIME || field->kind == FIELD_DURATION)
		memcpy(&number, member, sizeof(number));
	else if (field->kind == FIELD_NUMBER32 || field->kind == FIELD_FLAG || field->kind == FIELD_NAME)
		memcpy(&number32, member, sizeof(number32));
	switch (field->kind) {
	case FIELD_TEXT:
		result_text(object, field->key, member);
		break;
	case FIELD_NUMBER:
		result_number(object, field->key, number);
		break;
	case FIELD_NUMBER32:
		result_number(object, field->key, number32);
		break;
	case FIELD_FLAG:
		result_flag(object, field->key, number32 != 0);
		break;
	case FIELD_TIME:
		if (number)
			result_seconds(object, field->key, number);
		else
			json_object_object_add(object, field->key, NULL);
		break;
	case FIELD_DURATION:
		result_seconds(object, field->key, number);
		break;
	case FIELD_GUID:
		add_guid(object, field->key, member);
		break;
	case FIELD_NAME:
		result_text(object, field->key,
			      number32 < field->name_count && field->names[number32] ? field->names[number32] : "unknown");
		break;
	}
}

void result_fill(struct json_object *object, const struct field *fields, size_t count, const void *structure)
{
	for (size_t i = 0; i < count; i++)
		add_field(object, &fields[i], (const char *)structure + fields[i].offset);
}

void result_disk(struct json_object *object, const struct libpool_disk_info *disk)
{
	char index[16];

	snprintf(index, sizeof(index), "#%u", disk->index);
	result_text(object, "disk", disk->path[0] ? disk->path : index);
}
