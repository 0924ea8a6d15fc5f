/* SPDX-License-Identifier: BSD-2-Clause */
/* get, set and inherit: properties of the pool or of one dataset. All that is to be set is checked before anything is. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "libpool/control/result.h"
#include "libpool/control/methods.h"

static const struct field property_fields[] = {
	FIELD("name", TEXT, libpool_property, name),	   FIELD("value", TEXT, libpool_property, value),
	FIELD("source", TEXT, libpool_property, source),   FIELD("read_only", FLAG, libpool_property, read_only),
	FIELD("help", TEXT, libpool_property, help),
};

/* What it is about, for people: "tank" or "tank/a". */
static const char *object_of(const struct invocation *invocation, char text[2 * LIBPOOL_NAME_MAX + 2])
{
	const char *dataset = parameter_text(invocation, "dataset");

	snprintf(text, 2 * LIBPOOL_NAME_MAX + 2, "%s%s%.255s", invocation->pool_name, dataset && dataset[0] ? "/" : "", dataset ? dataset : "");
	return text;
}

static int load(struct invocation *invocation, struct libpool_property **ret_properties, size_t *ret_count)
{
	char object[2 * LIBPOOL_NAME_MAX + 2];
	int code = libpool_properties(invocation->pool, parameter_text(invocation, "dataset"), ret_properties, ret_count, &invocation->error);

	return method_complete(invocation, code, "asking for the properties of %s", object_of(invocation, object));
}

static const struct libpool_property *named(const struct libpool_property *properties, size_t count, const char *name, size_t length)
{
	for (size_t i = 0; i < count; i++)
		if (strlen(properties[i].name) == length && strncmp(properties[i].name, name, length) == 0)
			return &properties[i];
	return NULL;
}

static int unknown(struct invocation *invocation, const char *name, size_t length)
{
	char object[2 * LIBPOOL_NAME_MAX + 2];

	object_of(invocation, object);
	return method_fail(invocation, -ENOENT, "%.200s has no property '%.*s': see poolctl get %.200s", object, (int)(length < 64 ? length : 64),
			   name, object);
}

static void add(struct invocation *invocation, struct json_object *array, const struct libpool_property *property)
{
	struct json_object *object = result_append(array);
	char name[2 * LIBPOOL_NAME_MAX + 2];

	result_text(object, "object", object_of(invocation, name));
	RESULT_FILL(object, property_fields, property);
	if (property->kind == LIBPOOL_PROPERTY_BYTES)
		result_number(object, "number", property->number);
	else if (property->kind == LIBPOOL_PROPERTY_TIME)
		result_seconds(object, "number", property->number);
	else
		json_object_object_add(object, "number", NULL);
}

/* Those of users, groups and projects aren't listed with the others. */
static int add_of_owner(struct invocation *invocation, struct json_object *array, const char *name)
{
	struct libpool_property property = LIBPOOL_INIT(libpool_property);
	int code = libpool_property_get(invocation->pool, parameter_text(invocation, "dataset"), name, &property, &invocation->error);

	if (code == 0)
		add(invocation, array, &property);
	return code;
}

int run_get(struct invocation *invocation)
{
	struct json_object *names = NULL, *array = result_array(invocation->result, "properties");
	struct libpool_property *properties = NULL;
	size_t count = 0, wanted;
	int code = load(invocation, &properties, &count);

	if (code < 0)
		return code;
	json_object_object_get_ex(invocation->params, "properties", &names);
	wanted = names ? json_object_array_length(names) : 0;
	for (size_t i = 0; wanted == 0 && i < count; i++)
		add(invocation, array, &properties[i]);
	for (size_t i = 0; code == 0 && i < wanted; i++) {
		const char *name = json_object_get_string(json_object_array_get_idx(names, i));
		const struct libpool_property *property = named(properties, count, name, strlen(name));

		if (property)
			add(invocation, array, property);
		else if (strchr(name, '@'))
			code = add_of_owner(invocation, array, name);
		else
			code = unknown(invocation, name, strlen(name));
	}
	libpool_free(properties);
	return code;
}

/* ---- set, inherit ---- */

/* The texts of a parameter; *ret_count 0 if there are none. */
static struct json_object *texts_of(const struct invocation *invocation, const char *name, size_t *ret_count)
{
	struct json_object *texts = NULL;

	json_object_object_get_ex(invocation->params, name, &texts);
	*ret_count = texts ? json_object_array_length(texts) : 0;
	return texts;
}

static const char *text_at(struct json_object *texts, size_t index)
{
	return json_object_get_string(json_object_array_get_idx(texts, index));
}

/* "name=value": whether there is such a property, and it can be set to that. */
static int check(struct invocation *invocation, const struct libpool_property *properties, size_t count, const char *setting)
{
	const char *equals = strchr(setting, '=');
	const struct libpool_property *property;

	if (!equals)
		return method_fail(invocation, -EINVAL, "set %s: '%.64s' sets nothing: write PROPERTY=VALUE", invocation->pool_name, setting);
	if (memchr(setting, '@', (size_t)(equals - setting))) {
		char name[sizeof(property->name)];
		snprintf(name, sizeof(name), "%.*s", (int)(equals - setting), setting);
		return libpool_property_check(invocation->pool, parameter_text(invocation, "dataset"), name, equals + 1, &invocation->error);
	}
	property = named(properties, count, setting, (size_t)(equals - setting));
	if (!property)
		return unknown(invocation, setting, (size_t)(equals - setting));
	if (property->read_only)
		return method_fail(invocation, -EPERM, "property '%s' is a figure and can't be set", property->name);
	return libpool_property_check(invocation->pool, parameter_text(invocation, "dataset"), property->name, equals + 1, &invocation->error);
}

/* A name alone: whether there is such a property, and it can be left to what is above. */
static int check_inherit(struct invocation *invocation, const struct libpool_property *properties, size_t count, const char *name)
{
	const struct libpool_property *property = named(properties, count, name, strlen(name));

	if (!property && !strchr(name, '@'))
		return unknown(invocation, name, strlen(name));
	if (property && property->read_only)
		return method_fail(invocation, -EPERM, "property '%s' is a figure and can't be set", name);
	return libpool_property_check(invocation->pool, parameter_text(invocation, "dataset"), name, "default", &invocation->error);
}

typedef int check_function(struct invocation *invocation, const struct libpool_property *properties, size_t count, const char *text);

static int check_all(struct invocation *invocation, struct json_object *texts, check_function *check_one)
{
	struct libpool_property *properties = NULL;
	size_t count = 0;
	int code = load(invocation, &properties, &count);

	for (size_t i = 0; code == 0 && i < json_object_array_length(texts); i++)
		code = check_one(invocation, properties, count, text_at(texts, i));
	libpool_free(properties);
	return code;
}

/* Some may be set although others failed. */
static int finish(struct invocation *invocation, int code, const char *object)
{
	if (!parameter_flag(invocation, "dry_run") && invocation->host->properties_set)
		invocation->host->properties_set(invocation->host->argument);
	if (code < 0)
		return code;
	result_text(invocation->result, "object", object);
	result_flag(invocation->result, "dry_run", parameter_flag(invocation, "dry_run"));
	return 0;
}

int run_set(struct invocation *invocation)
{
	char object[2 * LIBPOOL_NAME_MAX + 2], name[sizeof(((struct libpool_property *)0)->name)];
	size_t count;
	struct json_object *settings = texts_of(invocation, "settings", &count);
	int code;

	if (count == 0)
		return method_fail(invocation, -EINVAL, "set %s: nothing is to be set: write PROPERTY=VALUE", invocation->pool_name);
	object_of(invocation, object);
	code = check_all(invocation, settings, check);
	for (size_t i = 0; code == 0 && !parameter_flag(invocation, "dry_run") && i < count; i++) {
		const char *setting = text_at(settings, i), *equals = strchr(setting, '=');

		snprintf(name, sizeof(name), "%.*s", (int)(equals - setting), setting);
		code = libpool_property_set(invocation->pool, parameter_text(invocation, "dataset"), name, equals + 1, &invocation->error);
		method_complete(invocation, code, "setting property %s of %s", name, object);
	}
	return finish(invocation, code, object);
}

int run_inherit(struct invocation *invocation)
{
	char object[2 * LIBPOOL_NAME_MAX + 2];
	size_t count;
	struct json_object *names = texts_of(invocation, "properties", &count);
	int code;

	object_of(invocation, object);
	if (count == 0)
		return method_fail(invocation, -EINVAL, "inherit %.200s: no property is named", object);
	code = check_all(invocation, names, check_inherit);
	for (size_t i = 0; code == 0 && !parameter_flag(invocation, "dry_run") && i < count; i++) {
		code = libpool_property_inherit(invocation->pool, parameter_text(invocation, "dataset"), text_at(names, i), &invocation->error);
		method_complete(invocation, code, "leaving property %s of %s to what is above", text_at(names, i), object);
	}
	return finish(invocation, code, object);
}
