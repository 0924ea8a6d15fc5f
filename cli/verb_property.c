/* SPDX-License-Identifier: BSD-2-Clause */
/* get, set and inherit: properties of a pool or of one dataset. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli/accounts.h"
#include "cli/document.h"
#include "cli/errors.h"
#include "cli/sizes.h"
#include "cli/verbs.h"

const struct column property_columns[] = {
    {"object", "OBJECT", COLUMN_TEXT, false}, {"name", "PROPERTY", COLUMN_TEXT, false},
    {"value", "VALUE", COLUMN_TEXT, false},   {"source", "SOURCE", COLUMN_TEXT, false},
    {"help", "MEANING", COLUMN_TEXT, true},   {NULL, NULL, COLUMN_TEXT, false},
};

/* Adds the operands, with users and groups as numbers. */
static int add_operands(struct call *call, struct json_object *array)
{
	char text[ACCOUNT_TEXT_MAX];

	for (size_t i = 0; i < call->operand_count; i++) {
		const char *operand = call->operands[i], *at = strchr(operand, '@'), *equals = strchr(operand, '=');
		bool of_owner = at && (!equals || at < equals);
		int code = of_owner ? account_translate(operand, text, &call->error) : 0;

		if (code < 0)
			return code;
		json_object_array_add(array, document_text_new(of_owner ? text : operand));
	}
	return 0;
}

/* Frees the parameters when the operands can't be read. */
static int ask(struct call *call, const char *method, struct json_object *params, const char *operands)
{
	int code = add_operands(call, document_array(params, operands));

	if (code == 0)
		return call_ask(call, method, params);
	json_object_put(params);
	return code;
}

int get_work(struct call *call)
{
	struct json_object *params = json_object_new_object();

	document_text(params, "dataset", call->target.volume);
	return ask(call, "get", params, "properties");
}

int inherit_work(struct call *call)
{
	struct json_object *params = json_object_new_object();
	bool dry_run = options_have(&call->options, OPTION_DRY_RUN);
	int code;

	document_text(params, "dataset", call->target.volume);
	document_flag(params, "dry_run", dry_run);
	code = ask(call, "inherit", params, "properties");
	if (code < 0)
		return code;
	document_format(call->document, "text", "%s %zu propert%s of %s to what is above", dry_run ? "Would leave" : "Left", call->operand_count,
			call->operand_count == 1 ? "y" : "ies", document_get_text(call->document, "object"));
	return 0;
}

/* With -p: figures in full, instead of as people like them. */
static void make_exact(struct json_object *properties)
{
	for (size_t i = 0; i < json_object_array_length(properties); i++) {
		struct json_object *property = json_object_array_get_idx(properties, i), *number = document_get(property, "number");

		if (number)
			document_text(property, "value", json_object_get_string(number));
	}
}

void get_print(struct call *call)
{
	if (options_have(&call->options, OPTION_EXACT))
		make_exact(document_get(call->document, "properties"));
	print_rows(call, "properties");
}

int set_check(struct call *call)
{
	for (size_t i = 0; i < call->operand_count; i++) {
		if (!strchr(call->operands[i], '='))
			return call_usage(call, "set %s: '%s' sets nothing: write PROPERTY=VALUE",
					  call->target.pool, call->operands[i]);
	}
	return 0;
}

/* A volume is made smaller by the verb that asks before it discards what lies beyond. */
static int check_volume_size(struct call *call, const char *value)
{
	uint64_t bytes, now = 0;
	int code = size_read(value, "volsize", 1, &bytes, &call->error);

	if (code == 0)
		code = volume_size_now(call, &now);
	if (code == 0 && bytes < now)
		code = error_set(&call->error, -EPERM,
				 "volsize %s of %s/%s would discard what lies beyond: if that is meant, 'poolctl "
				 "volume resize' does it",
				 value, call->target.pool, call->target.volume);
	return code;
}

int set_work(struct call *call)
{
	bool dry_run = options_have(&call->options, OPTION_DRY_RUN);
	struct json_object *params;
	int code = 0;

	for (size_t i = 0; code == 0 && i < call->operand_count; i++) {
		if (call->target.volume[0] && strncmp(call->operands[i], "volsize=", 8) == 0)
			code = check_volume_size(call, call->operands[i] + 8);
	}
	if (code < 0)
		return code;
	params = json_object_new_object();
	document_text(params, "dataset", call->target.volume);
	document_flag(params, "dry_run", dry_run);
	code = ask(call, "set", params, "settings");
	if (code < 0)
		return code;
	document_format(call->document, "text", "%s %zu propert%s of %s", dry_run ? "Would set" : "Set",
			call->operand_count, call->operand_count == 1 ? "y" : "ies", document_get_text(call->document, "object"));
	return 0;
}
