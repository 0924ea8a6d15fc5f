/* SPDX-License-Identifier: BSD-2-Clause */
/* Building and reading result documents. docs/json.md describes what they contain. */
#ifndef CLI_DOCUMENT_H
#define CLI_DOCUMENT_H

#include <stdbool.h>
#include <stdint.h>

#include <json-c/json.h>
#include <libpool.h>

#define DOCUMENT_SCHEMA 1

struct json_object *document_new(const char *command);
/* Adds {"code", "text"} as "error". */
void document_error(struct json_object *document, const struct libpool_error *error);

/* JSON is UTF-8: each byte that isn't is spelled <ff>. */
struct json_object *document_text_new(const char *text);
void document_text(struct json_object *object, const char *key, const char *text);
void document_format(struct json_object *object, const char *key, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void document_number(struct json_object *object, const char *key, uint64_t number);
void document_flag(struct json_object *object, const char *key, bool flag);
/* Times are seconds since 1970 with six digits; 0 becomes null. Durations are seconds. */
void document_time(struct json_object *object, const char *key, uint64_t time_ns);
void document_duration(struct json_object *object, const char *key, uint64_t duration_ns);
void document_guid(struct json_object *object, const char *key, const uint8_t guid[LIBPOOL_GUID_SIZE]);
struct json_object *document_array(struct json_object *object, const char *key);
struct json_object *document_append_object(struct json_object *array);

/* Adds all members of `from` but "schema" and "command". */
void document_merge(struct json_object *into, struct json_object *from);

/* "" or 0 when there is no such member. */
const char *document_get_text(struct json_object *object, const char *key);
uint64_t document_get_number(struct json_object *object, const char *key);
double document_get_seconds(struct json_object *object, const char *key);
bool document_get_flag(struct json_object *object, const char *key);
struct json_object *document_get(struct json_object *object, const char *key);

#endif
