/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Messages are lines, because a line end can't occur inside JSON that is written on one line: a reader needs no length, people can
 * type them, and what comes after a broken one is found again.
 */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "libpool/control/control.h"
#include "libpool/control/result.h"

static struct json_object *parse(const char *line, size_t length, const char **ret_why)
{
	struct json_tokener *tokener = json_tokener_new_ex(DEPTH_MAX);
	struct json_object *root = NULL;

	*ret_why = "out of memory";
	if (!tokener)
		return NULL;
	json_tokener_set_flags(tokener, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
	root = json_tokener_parse_ex(tokener, line, (int)length);
	if (json_tokener_get_error(tokener) != json_tokener_success || json_tokener_get_parse_end(tokener) != length) {
		*ret_why = json_tokener_get_error(tokener) == json_tokener_error_depth ? "the request is nested too deeply"
										       : "the request is no JSON document of one line";
		json_object_put(root);
		root = NULL;
	} else if (!root) {
		*ret_why = "the request is no object";
	}
	json_tokener_free(tokener);
	return root;
}

static struct json_object *member(struct json_object *object, const char *key)
{
	struct json_object *value = NULL;

	json_object_object_get_ex(object, key, &value);
	return value;
}

/* Of numbers that are too large json-c makes the largest one: no client would know its answer. */
static bool is_id(struct json_object *id)
{
	if (json_object_is_type(id, json_type_int))
		return json_object_get_uint64(id) < INT64_MAX && json_object_get_int64(id) > INT64_MIN;
	return json_object_is_type(id, json_type_string) && json_object_get_string_len(id) <= 64;
}

static int check(struct json_object *root, struct message *message, const char **ret_why)
{
	struct json_object *version = member(root, "jsonrpc"), *method = member(root, "method"), *id, *params = member(root, "params"),
			   *descriptors = member(root, "descriptors"), *progress = member(root, "progress");

	if (json_object_object_get_ex(root, "id", &id)) {
		*ret_why = "\"id\" is neither an integer of 63 bits nor a text of up to 64 bytes";
		if (!is_id(id))
			return RPC_INVALID_REQUEST;
		message->id = id;
	}
	*ret_why = "\"jsonrpc\" is not \"2.0\"";
	if (!json_object_is_type(version, json_type_string) || strcmp(json_object_get_string(version), "2.0") != 0)
		return RPC_INVALID_REQUEST;
	*ret_why = "\"method\" is no text";
	if (!json_object_is_type(method, json_type_string))
		return RPC_INVALID_REQUEST;
	*ret_why = "\"params\" is no object";
	if (json_object_object_get_ex(root, "params", NULL) && !json_object_is_type(params, json_type_object))
		return RPC_INVALID_PARAMS;
	*ret_why = "\"descriptors\" is no number of at most 4";
	if (json_object_object_get_ex(root, "descriptors", NULL) &&
	    (!json_object_is_type(descriptors, json_type_int) || json_object_get_int64(descriptors) < 0 ||
	     json_object_get_int64(descriptors) > DESCRIPTORS_MAX))
		return RPC_INVALID_REQUEST;
	*ret_why = "\"progress\" is neither true nor false";
	if (json_object_object_get_ex(root, "progress", NULL) && !json_object_is_type(progress, json_type_boolean))
		return RPC_INVALID_REQUEST;
	message->method = json_object_get_string(method);
	message->params = params;
	message->descriptors = (unsigned)json_object_get_int64(descriptors);
	message->progress = json_object_get_boolean(progress);
	return 0;
}

int message_parse(const char *line, size_t length, struct message *ret_message, struct json_object **ret_id, const char **ret_why)
{
	struct message message = {0};
	int code = RPC_PARSE_ERROR;

	*ret_id = NULL;
	message.root = parse(line, length, ret_why);
	if (!message.root)
		return code;
	*ret_why = "the request is no object";
	code = json_object_is_type(message.root, json_type_object) ? check(message.root, &message, ret_why) : RPC_INVALID_REQUEST;
	if (code < 0) {
		*ret_id = json_object_get(message.id);
		json_object_put(message.root);
		return code;
	}
	*ret_message = message;
	return 0;
}

static char *line_of(struct json_object *root)
{
	size_t length;
	const char *text = json_object_to_json_string_length(root, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE, &length);
	char *line = text && length < REPLY_MAX ? malloc(length + 2) : NULL;

	if (line) {
		memcpy(line, text, length);
		memcpy(line + length, "\n", 2);
	}
	json_object_put(root);
	return line;
}

static struct json_object *root_new(void)
{
	struct json_object *root = json_object_new_object();

	json_object_object_add(root, "jsonrpc", json_object_new_string("2.0"));
	return root;
}

char *message_result(struct json_object *id, struct json_object *result)
{
	struct json_object *root = root_new();

	json_object_object_add(root, "id", json_object_get(id));
	json_object_object_add(root, "result", json_object_get(result));
	return line_of(root);
}

char *message_error(struct json_object *id, int rpc_code, const struct libpool_error *error)
{
	struct json_object *root = root_new(), *object = json_object_new_object(), *data;

	json_object_object_add(root, "id", json_object_get(id));
	json_object_object_add(object, "code", json_object_new_int(rpc_code));
	json_object_object_add(object, "message", result_text_new(error->text));
	if (error->code) {
		data = json_object_new_object();
		json_object_object_add(data, "code", json_object_new_int64(error->code < 0 ? -(int64_t)error->code : error->code));
		json_object_object_add(object, "data", data);
	}
	json_object_object_add(root, "error", object);
	return line_of(root);
}

char *message_progress(struct json_object *id, uint64_t done, uint64_t total, uint64_t rate)
{
	struct json_object *root = root_new(), *params = json_object_new_object();

	json_object_object_add(root, "method", json_object_new_string("progress"));
	json_object_object_add(params, "id", json_object_get(id));
	json_object_object_add(params, "done_bytes", json_object_new_uint64(done));
	json_object_object_add(params, "total_bytes", json_object_new_uint64(total));
	json_object_object_add(params, "rate", json_object_new_uint64(rate));
	json_object_object_add(root, "params", params);
	return line_of(root);
}
