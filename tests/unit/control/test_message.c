/* SPDX-License-Identifier: BSD-2-Clause */
/* Framing and JSON-RPC: what is a request, what isn't, and that no bytes whatsoever do harm. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libpool/control/control.h"
#include "libpool/control/method.h"

/* The line is followed by a line end, as in a client's buffer, and by nothing that may be read. */
static int parse(const char *line, size_t length, struct message *ret_message, struct json_object **ret_id)
{
	char *exact = malloc(length + 1);
	const char *why = NULL;
	int code;

	assert_non_null(exact);
	memcpy(exact, line, length);
	exact[length] = '\n';
	code = message_parse(exact, length, ret_message, ret_id, &why);
	assert_true(code == 0 || (why && why[0]));
	free(exact);
	return code;
}

static int code_of(const char *line)
{
	struct message message;
	struct json_object *id;
	int code = parse(line, strlen(line), &message, &id);

	if (code == 0)
		json_object_put(message.root);
	json_object_put(id);
	return code;
}

static void requests(void **state)
{
	struct message message;
	struct json_object *id;
	const char *line = "{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"wait\",\"params\":{\"jobs\":[\"scrub\"]},\"descriptors\":2,\"progress\":true}";

	(void)state;
	assert_int_equal(parse(line, strlen(line), &message, &id), 0);
	assert_string_equal(message.method, "wait");
	assert_int_equal(json_object_get_int64(message.id), 7);
	assert_int_equal(message.descriptors, 2);
	assert_true(message.progress);
	assert_int_equal(json_object_object_length(message.params), 1);
	json_object_put(message.root);
	assert_int_equal(code_of("{\"jsonrpc\":\"2.0\",\"method\":\"x\"}"), 0);
	assert_int_equal(code_of("  {\"jsonrpc\":\"2.0\",\"method\":\"x\",\"id\":\"a\"}  "), 0);
}

static void refusals(void **state)
{
	static const struct {
		const char *line;
		int code;
	} cases[] = {
		{"", RPC_PARSE_ERROR},
		{"x", RPC_PARSE_ERROR},
		{"{", RPC_PARSE_ERROR},
		{"{\"jsonrpc\":\"2.0\",\"method\":\"x\"} x", RPC_PARSE_ERROR},
		{"{\"jsonrpc\":\"2.0\",\"method\":\"x\",}", RPC_PARSE_ERROR},
		{"{\"jsonrpc\":\"2.0\",\"method\":\"\xff\"}", RPC_PARSE_ERROR},
		{"{'jsonrpc':'2.0','method':'x'}", RPC_PARSE_ERROR},
		{"[[[[[[[[[[1]]]]]]]]]]", RPC_PARSE_ERROR},
		{"null", RPC_PARSE_ERROR},
		{"[]", RPC_INVALID_REQUEST},
		{"{}", RPC_INVALID_REQUEST},
		{"{\"jsonrpc\":2,\"method\":\"x\"}", RPC_INVALID_REQUEST},
		{"{\"jsonrpc\":\"2.0\",\"method\":[]}", RPC_INVALID_REQUEST},
		{"{\"jsonrpc\":\"2.0\",\"method\":\"x\",\"id\":null}", RPC_INVALID_REQUEST},
		{"{\"jsonrpc\":\"2.0\",\"method\":\"x\",\"id\":1.5}", RPC_INVALID_REQUEST},
		{"{\"jsonrpc\":\"2.0\",\"method\":\"x\",\"id\":18446744073709551616}", RPC_INVALID_REQUEST},
		{"{\"jsonrpc\":\"2.0\",\"method\":\"x\",\"id\":-9223372036854775809}", RPC_INVALID_REQUEST},
		{"{\"jsonrpc\":\"2.0\",\"method\":\"x\",\"params\":null}", RPC_INVALID_PARAMS},
		{"{\"jsonrpc\":\"2.0\",\"method\":\"x\",\"params\":[1]}", RPC_INVALID_PARAMS},
		{"{\"jsonrpc\":\"2.0\",\"method\":\"x\",\"descriptors\":-1}", RPC_INVALID_REQUEST},
		{"{\"jsonrpc\":\"2.0\",\"method\":\"x\",\"descriptors\":5}", RPC_INVALID_REQUEST},
		{"{\"jsonrpc\":\"2.0\",\"method\":\"x\",\"descriptors\":\"1\"}", RPC_INVALID_REQUEST},
		{"{\"jsonrpc\":\"2.0\",\"method\":\"x\",\"progress\":1}", RPC_INVALID_REQUEST},
	};
	struct message message;
	struct json_object *id;
	const char *line = "{\"jsonrpc\":\"1.0\",\"id\":\"seven\",\"method\":\"x\"}";

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		if (code_of(cases[i].line) != cases[i].code)
			fail_msg("%s: %d, not %d", cases[i].line, code_of(cases[i].line), cases[i].code);
	/* Who sent it can tell which request it was. */
	assert_int_equal(parse(line, strlen(line), &message, &id), RPC_INVALID_REQUEST);
	assert_string_equal(json_object_get_string(id), "seven");
	json_object_put(id);
}

/* Cut at every byte, and changed at random ones: a request, or refused. */
static void mutations(void **state)
{
	const char *line = "{\"jsonrpc\":\"2.0\",\"id\":\"a\\u00e9\",\"method\":\"volume.read\",\"params\":{\"volume\":\"x\",\"offset\":12,\"a\":[[1.5e3,true]]}}";
	size_t length = strlen(line);
	uint64_t random = 1;
	struct message message;
	struct json_object *id;
	char copy[256];

	(void)state;
	for (size_t cut = 0; cut < length; cut++) {
		assert_int_equal(parse(line, cut, &message, &id), RPC_PARSE_ERROR);
		json_object_put(id);
	}
	for (unsigned round = 0; round < 20000; round++) {
		memcpy(copy, line, length);
		for (unsigned change = 0; change <= round % 4; change++) {
			random = random * UINT64_C(6364136223846793005) + 1442695040888963407u;
			copy[(random >> 33) % length] = (char)(random >> 20);
		}
		if (parse(copy, length, &message, &id) == 0)
			json_object_put(message.root);
		json_object_put(id);
	}
}

static void answers(void **state)
{
	struct libpool_error error = {.code = -LIBPOOL_EINUSE, .text = "two\nlines, \"quotes\" and /"};
	struct json_object *id = json_object_new_int(3), *back, *value;
	char *line = message_error(id, RPC_SERVER_ERROR, &error);

	(void)state;
	assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
	back = json_tokener_parse(line);
	assert_true(json_object_object_get_ex(back, "error", &value));
	assert_true(json_object_object_get_ex(value, "data", &value));
	assert_true(json_object_object_get_ex(value, "code", &value));
	assert_int_equal(json_object_get_int(value), LIBPOOL_EINUSE);
	json_object_put(back);
	free(line);
	line = message_progress(id, 1, UINT64_MAX, 3);
	assert_non_null(strstr(line, "18446744073709551615"));
	free(line);
	json_object_put(id);
}

/* Every method says what it doesn't know, and what it lacks. */
static void parameters(void **state)
{
	const struct method *method;

	(void)state;
	for (size_t i = 0; (method = method_at(i)); i++) {
		struct json_object *params = json_object_new_object();
		struct libpool_error error = {0};

		assert_ptr_equal(method_find(method->name), method);
		for (const struct parameter *parameter = method->parameters; parameter->name; parameter++) {
			if (!parameter->is_needed)
				continue;
			assert_int_equal(method_check(method, params, &error), -22);
			assert_non_null(strstr(error.text, parameter->name));
			json_object_object_add(params, parameter->name,
					       parameter->kind == PARAMETER_NUMBER ? json_object_new_int(1) : json_object_new_string("x"));
		}
		assert_int_equal(method_check(method, params, &error), 0);
		for (const struct parameter *parameter = method->parameters; parameter->name; parameter++) {
			struct json_object *wrong = json_object_new_object();

			json_object_object_add(wrong, parameter->name, json_object_new_object());
			assert_int_equal(method_check(method, wrong, &error), -22);
			json_object_put(wrong);
		}
		json_object_object_add(params, "frobnicate", json_object_new_boolean(true));
		assert_int_equal(method_check(method, params, &error), -22);
		assert_non_null(strstr(error.text, "frobnicate"));
		json_object_put(params);
	}
	assert_null(method_find("frobnicate"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(requests), cmocka_unit_test(refusals),	  cmocka_unit_test(mutations),
		cmocka_unit_test(answers),  cmocka_unit_test(parameters),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
