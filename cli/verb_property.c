/* get and set: properties of a pool or of one volume. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli/document.h"
#include "cli/errors.h"
#include "cli/sizes.h"
#include "cli/verbs.h"

const struct column property_columns[] = {
    {"object", "OBJECT", COLUMN_TEXT, false}, {"name", "PROPERTY", COLUMN_TEXT, false},
    {"value", "VALUE", COLUMN_TEXT, false},   {"source", "SOURCE", COLUMN_TEXT, false},
    {"help", "MEANING", COLUMN_TEXT, true},   {NULL, NULL, COLUMN_TEXT, false},
};

static int load(struct call *call, struct libpool_property **ret_properties, size_t *ret_count)
{
	char object[TARGET_TEXT_MAX];
	int code =
	    libpool_properties(call->pool, call->target.volume, ret_properties, ret_count, &call->error);

	target_print(&call->target, object);
	return error_complete(&call->error, code, "asking for the properties of %s", object);
}

static const struct libpool_property *named(const struct libpool_property *properties, size_t count,
					    const char *name, size_t length)
{
	for (size_t i = 0; i < count; i++) {
		if (strlen(properties[i].name) == length && strncmp(properties[i].name, name, length) == 0)
			return &properties[i];
	}
	return NULL;
}

static int unknown(struct call *call, const char *name, size_t length)
{
	char object[TARGET_TEXT_MAX];

	target_print(&call->target, object);
	return error_set(&call->error, -ENOENT, "%s has no property '%.*s': see poolctl get %s", object,
			 (int)length, name, object);
}

static void add(struct call *call, const struct libpool_property *property)
{
	struct json_object *object = document_append_object(document_get(call->document, "properties"));
	char name[TARGET_TEXT_MAX];

	target_print(&call->target, name);
	document_text(object, "object", name);
	document_text(object, "name", property->name);
	document_text(object, "value", property->value);
	document_text(object, "source", property->source);
	document_flag(object, "read_only", property->read_only);
	document_text(object, "help", property->help);
}

int get_work(struct call *call)
{
	struct libpool_property *properties = NULL;
	size_t count = 0;
	int code = load(call, &properties, &count);

	if (code < 0)
		return code;
	document_array(call->document, "properties");
	for (size_t i = 0; call->operand_count == 0 && i < count; i++)
		add(call, &properties[i]);
	for (size_t i = 0; code == 0 && i < call->operand_count; i++) {
		const char *name = call->operands[i];
		const struct libpool_property *property = named(properties, count, name, strlen(name));

		if (property)
			add(call, property);
		else
			code = unknown(call, name, strlen(name));
	}
	libpool_free(properties);
	return code;
}

void get_print(struct call *call)
{
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
	struct libpool_volume_info info = {.size = sizeof(info)};
	libpool_volume *volume;
	uint64_t bytes;
	int code = size_read(value, "volsize", 1, &bytes, &call->error);

	if (code == 0)
		code = libpool_volume_open(call->pool, call->target.volume, NULL, &volume, &call->error);
	if (code < 0)
		return code;
	code = libpool_volume_get_info(volume, &info);
	libpool_volume_close(volume);
	if (code == 0 && bytes < info.volume_bytes)
		code = error_set(&call->error, -EPERM,
				 "volsize %s of %s/%s would discard what lies beyond: if that is meant, 'poolctl "
				 "volume resize' does it",
				 value, call->target.pool, call->target.volume);
	return code;
}

/* All are checked before the first one is set. */
static int check_settings(struct call *call)
{
	struct libpool_property *properties = NULL;
	size_t count = 0;
	int code = load(call, &properties, &count);
	for (size_t i = 0; code == 0 && i < call->operand_count; i++) {
		const char *name = call->operands[i];
		size_t length = (size_t)(strchr(name, '=') - name);
		const struct libpool_property *property = named(properties, count, name, length);

		if (!property)
			code = unknown(call, name, length);
		else if (property->read_only)
			code = error_set(&call->error, -EPERM, "property '%s' is a figure and can't be set",
					 property->name);
		else if (call->target.volume[0] && strcmp(property->name, "volsize") == 0)
			code = check_volume_size(call, name + length + 1);
	}
	libpool_free(properties);
	return code;
}

int set_work(struct call *call)
{
	bool dry_run = options_have(&call->options, OPTION_DRY_RUN);
	char object[TARGET_TEXT_MAX], name[64];
	int code = check_settings(call);

	target_print(&call->target, object);
	for (size_t i = 0; code == 0 && !dry_run && i < call->operand_count; i++) {
		const char *equals = strchr(call->operands[i], '=');

		snprintf(name, sizeof(name), "%.*s", (int)(equals - call->operands[i]), call->operands[i]);
		code = libpool_property_set(call->pool, call->target.volume, name, equals + 1, &call->error);
		error_complete(&call->error, code, "setting property %s of %s", name, object);
	}
	if (code < 0)
		return code;
	document_text(call->document, "object", object);
	document_flag(call->document, "dry_run", dry_run);
	document_format(call->document, "text", "%s %zu propert%s of %s", dry_run ? "Would set" : "Set",
			call->operand_count, call->operand_count == 1 ? "y" : "ies", object);
	return 0;
}
