/* SPDX-License-Identifier: BSD-2-Clause */
/* Structures of libpool.h as JSON: tables say which member is called what. docs/json.md is for people what they are for the code. */
#ifndef LIBPOOL_CONTROL_RESULT_H
#define LIBPOOL_CONTROL_RESULT_H

#include <stdbool.h>
#include <stdint.h>

#include <json-c/json.h>

#include "libpool/include/libpool.h"

#define RESULT_SCHEMA 1

enum field_kind {
	FIELD_TEXT,     /* char array */
	FIELD_NUMBER,   /* uint64_t */
	FIELD_NUMBER32, /* uint32_t */
	FIELD_FLAG,     /* uint32_t */
	FIELD_TIME,     /* uint64_t, ns since 1970; 0 becomes null */
	FIELD_DURATION, /* uint64_t, ns */
	FIELD_GUID,
	FIELD_NAME      /* uint32_t that counts names */
};

struct field {
	const char *key;
	enum field_kind kind;
	size_t offset;
	const char *const *names; /* of FIELD_NAME */
	size_t name_count;
};

#define FIELD(key, kind, type, member) {key, FIELD_##kind, offsetof(struct type, member), NULL, 0}
#define FIELD_NAMED(key, table, type, member) \
	{key, FIELD_NAME, offsetof(struct type, member), table, sizeof(table) / sizeof((table)[0])}

/* What a disk is for, by libpool_disk_info.role. */
extern const char *const result_disk_roles[3];

struct json_object *result_new(const char *command);
/* Adds the members that the table names. */
void result_fill(struct json_object *object, const struct field *fields, size_t count, const void *structure);
#define RESULT_FILL(object, fields, structure) result_fill(object, fields, sizeof(fields) / sizeof((fields)[0]), structure)

/*
 * A JSON text. What comes from outside, such as the path of a disk, needn't be UTF-8, but JSON must: each byte that isn't is
 * spelled <ff>. Who names such a disk may do it by what was shown.
 */
struct json_object *result_text_new(const char *text);
/* Whether `name`, a text of JSON, is how `text` is shown. */
bool result_is_shown_as(const char *text, const char *name);
void result_text(struct json_object *object, const char *key, const char *text);
void result_number(struct json_object *object, const char *key, uint64_t number);
void result_ratio(struct json_object *object, const char *key, uint64_t part, uint64_t whole); /* null without a whole */
void result_flag(struct json_object *object, const char *key, bool flag);
void result_seconds(struct json_object *object, const char *key, uint64_t nanoseconds);
struct json_object *result_array(struct json_object *object, const char *key);
struct json_object *result_append(struct json_object *array);

/* Adds "disk": how people name it: its path, or "#3" when none is known. */
void result_disk(struct json_object *object, const struct libpool_disk_info *disk);

#endif
