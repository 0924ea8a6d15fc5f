/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The table of methods, and what all of them have in common. A member of the parameters that the method doesn't know is refused:
 * what a newer client means by it would be lost without a word.
 */
#include "libpool/control/method.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "libpool/control/result.h"
#include "libpool/control/methods.h"

#define END {NULL, PARAMETER_TEXT, false}
#define PARAMETERS(...) (const struct parameter[]) {__VA_ARGS__ __VA_OPT__(, ) END}
#define TEXT(name) {name, PARAMETER_TEXT, false}
#define NEEDED(name) {name, PARAMETER_TEXT, true}
#define NUMBER(name) {name, PARAMETER_NUMBER, false}
#define NEEDED_NUMBER(name) {name, PARAMETER_NUMBER, true}
#define FLAG(name) {name, PARAMETER_FLAG, false}
#define TEXTS(name) {name, PARAMETER_TEXTS, false}
#define SECONDS(name) {name, PARAMETER_SECONDS, false}

static const struct method methods[] = {
	{"hello", "hello", 0, PARAMETERS(), run_hello},
	{"status", "status", 0, PARAMETERS(), run_status},
	{"iostat", "iostat", 0, PARAMETERS(), run_iostat},
	{"history", "history", 0, PARAMETERS(), run_history},
	{"events", "events", 0, PARAMETERS(NUMBER("after")), run_events},
	{"scrub", "scrub", METHOD_CHANGES, PARAMETERS(TEXT("action"), FLAG("deep"), NUMBER("bytes_per_second")), run_scrub},
	{"trim", "trim", METHOD_CHANGES,
	 PARAMETERS(TEXT("action"), TEXTS("disks"), TEXTS("disk_paths"), NUMBER("bytes_per_second")), run_trim},
	{"wait", "wait", 0, PARAMETERS(TEXTS("jobs"), SECONDS("since")), run_wait},
	{"replace", "replace", METHOD_CHANGES,
	 PARAMETERS(NEEDED("disk"), TEXT("disk_path"), NEEDED("new_disk"), FLAG("force"), FLAG("dry_run")), run_replace},
	{"offline", "offline", METHOD_CHANGES, PARAMETERS(NEEDED("disk"), TEXT("disk_path"), FLAG("dry_run")), run_offline},
	{"online", "online", METHOD_CHANGES, PARAMETERS(NEEDED("disk"), TEXT("disk_path"), TEXT("path"), FLAG("dry_run")), run_online},
	{"device.add", "device add", METHOD_CHANGES, PARAMETERS(NEEDED("role"), TEXTS("disks"), FLAG("force"), FLAG("dry_run")), run_device_add},
	{"device.remove", "device remove", METHOD_CHANGES, PARAMETERS(NEEDED("disk"), TEXT("disk_path"), FLAG("dry_run")), run_device_remove},
	{"clear", "clear", METHOD_CHANGES, PARAMETERS(TEXT("disk"), TEXT("disk_path"), FLAG("dry_run")), run_clear},
	{"volume.create", "volume create", METHOD_CHANGES,
	 PARAMETERS(NEEDED("volume"), NEEDED_NUMBER("volume_bytes"), NUMBER("block_bytes"), TEXT("compression"), FLAG("dry_run")),
	 run_volume_create},
	{"volume.destroy", "volume destroy", METHOD_CHANGES, PARAMETERS(NEEDED("volume"), FLAG("dry_run")), run_volume_destroy},
	{"volume.resize", "volume resize", METHOD_CHANGES,
	 PARAMETERS(NEEDED("volume"), NEEDED_NUMBER("volume_bytes"), FLAG("shrink"), FLAG("dry_run")), run_volume_resize},
	{"volume.list", "volume list", 0, PARAMETERS(), run_volume_list},
	{"volume.read", "volume read", METHOD_DESCRIPTOR, PARAMETERS(NEEDED("volume"), NUMBER("offset"), NUMBER("length"), TEXT("file")),
	 run_volume_read},
	{"volume.write", "volume write", METHOD_DESCRIPTOR,
	 PARAMETERS(NEEDED("volume"), NUMBER("offset"), NUMBER("length"), TEXT("file"), FLAG("dry_run")),
	 run_volume_write},
	{"dataset.create", "dataset create", METHOD_CHANGES,
	 PARAMETERS(NEEDED("dataset"), NUMBER("record_bytes"), TEXT("compression"), TEXT("casesensitivity"), TEXT("normalization"), FLAG("dry_run")),
	 run_dataset_create},
	{"dataset.destroy", "dataset destroy", METHOD_CHANGES, PARAMETERS(NEEDED("dataset"), FLAG("recursive"), FLAG("dry_run")),
	 run_dataset_destroy},
	{"dataset.rename", "dataset rename", METHOD_CHANGES, PARAMETERS(NEEDED("dataset"), NEEDED("new_dataset"), FLAG("dry_run")),
	 run_dataset_rename},
	{"dataset.list", "dataset list", 0, PARAMETERS(), run_dataset_list},
	{"userspace", "userspace", 0, PARAMETERS(NEEDED("dataset")), run_userspace},
	{"get", "get", 0, PARAMETERS(TEXT("dataset"), TEXTS("properties")), run_get},
	{"set", "set", METHOD_CHANGES, PARAMETERS(TEXT("dataset"), TEXTS("settings"), FLAG("dry_run")), run_set},
	{"inherit", "inherit", METHOD_CHANGES, PARAMETERS(TEXT("dataset"), TEXTS("properties"), FLAG("dry_run")), run_inherit},
	{"mount", "mount", 0, PARAMETERS(TEXT("dataset"), NEEDED("directory"), TEXT("options")), run_mount},
	{"unmount", "unmount", 0, PARAMETERS(NEEDED("directory")), run_unmount},
	{"export", "export", METHOD_EXPORT, PARAMETERS(FLAG("force")), run_export},
	{"debug.verify", "debug verify", 0, PARAMETERS(), run_verify},
};

const struct method *method_at(size_t index)
{
	return index < sizeof(methods) / sizeof(methods[0]) ? &methods[index] : NULL;
}

const struct method *method_find(const char *name)
{
	for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++)
		if (strcmp(methods[i].name, name) == 0)
			return &methods[i];
	return NULL;
}

/* ---- errors ---- */

static int fail(struct libpool_error *error, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));

static int fail(struct libpool_error *error, int code, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	error->code = code;
	vsnprintf(error->text, sizeof(error->text), format, arguments);
	va_end(arguments);
	return code;
}

int method_fail(struct invocation *invocation, int code, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	invocation->error.code = code;
	vsnprintf(invocation->error.text, sizeof(invocation->error.text), format, arguments);
	va_end(arguments);
	return code;
}

int method_complete(struct invocation *invocation, int code, const char *format, ...)
{
	struct libpool_error *error = &invocation->error;
	va_list arguments;
	size_t length;

	if (code >= 0 || error->text[0])
		return code;
	va_start(arguments, format);
	error->code = code;
	vsnprintf(error->text, sizeof(error->text), format, arguments);
	va_end(arguments);
	length = strlen(error->text);
	snprintf(error->text + length, sizeof(error->text) - length, ": %s", libpool_strerror(code));
	return code;
}

/* ---- parameters ---- */

/* Of every method that changes something: what the history is to say. */
static const struct parameter common[] = {TEXT("note"), END};

static const struct parameter *named(const struct parameter *parameters, const char *name)
{
	for (; parameters->name; parameters++)
		if (strcmp(parameters->name, name) == 0)
			return parameters;
	return NULL;
}

static bool are_texts(struct json_object *value)
{
	if (!json_object_is_type(value, json_type_array))
		return false;
	for (size_t i = 0; i < json_object_array_length(value); i++) {
		struct json_object *text = json_object_array_get_idx(value, i);

		if (!json_object_is_type(text, json_type_string) ||
		    strlen(json_object_get_string(text)) != (size_t)json_object_get_string_len(text))
			return false;
	}
	return true;
}

static const char *wrong_kind(enum parameter_kind kind, struct json_object *value)
{
	switch (kind) {
	case PARAMETER_TEXT:
		return json_object_is_type(value, json_type_string) &&
				       strlen(json_object_get_string(value)) == (size_t)json_object_get_string_len(value)
			       ? NULL
			       : "a text without zero bytes";
	case PARAMETER_NUMBER:
		return json_object_is_type(value, json_type_int) && (json_object_get_int64(value) >= 0) ? NULL : "a number from 0 on";
	case PARAMETER_FLAG:
		return json_object_is_type(value, json_type_boolean) ? NULL : "true or false";
	case PARAMETER_TEXTS:
		return are_texts(value) ? NULL : "an array of texts";
	case PARAMETER_SECONDS:
	default:
		return json_object_is_type(value, json_type_double) || json_object_is_type(value, json_type_int) ? NULL
														: "seconds since 1970";
	}
}

int method_check(const struct method *method, struct json_object *params, struct libpool_error *error)
{
	json_object_object_foreach (params, key, value) {
		const struct parameter *parameter = named(method->parameters, key);
		const char *wanted;

		if (!parameter && method->flags & METHOD_CHANGES)
			parameter = named(common, key);
		if (!parameter)
			return fail(error, -EINVAL, "%s: there is no parameter '%.64s'", method->name, key);
		wanted = wrong_kind(parameter->kind, value);
		if (wanted)
			return fail(error, -EINVAL, "%s: parameter '%s' is to be %s", method->name, key, wanted);
	}
	for (const struct parameter *parameter = method->parameters; parameter->name; parameter++)
		if (parameter->is_needed && !json_object_object_get_ex(params, parameter->name, NULL))
			return fail(error, -EINVAL, "%s: parameter '%s' is missing", method->name, parameter->name);
	return 0;
}

static struct json_object *get(const struct invocation *invocation, const char *name)
{
	struct json_object *value = NULL;

	json_object_object_get_ex(invocation->params, name, &value);
	return value;
}

bool parameter_given(const struct invocation *invocation, const char *name)
{
	return get(invocation, name) != NULL;
}

const char *parameter_text(const struct invocation *invocation, const char *name)
{
	struct json_object *value = get(invocation, name);

	return value ? json_object_get_string(value) : NULL;
}

uint64_t parameter_number(const struct invocation *invocation, const char *name)
{
	return json_object_get_uint64(get(invocation, name));
}

bool parameter_flag(const struct invocation *invocation, const char *name)
{
	return json_object_get_boolean(get(invocation, name));
}

/* ---- running ---- */

/* After it succeeded; a history that can't be written doesn't undo what was done. */
static void note(const struct method *method, struct invocation *invocation)
{
	const char *given = parameter_text(invocation, "note");
	char text[2 * LIBPOOL_TEXT_MAX];

	snprintf(text, sizeof(text), "%s%s%s", given ? "" : method->command, given ? "" : " ",
		 given ? given : json_object_to_json_string_ext(invocation->params, JSON_C_TO_STRING_SPACED | JSON_C_TO_STRING_NOSLASHESCAPE));
	for (char *byte = text; *byte; byte++)
		if ((unsigned char)*byte < 0x20 || *byte == 0x7f)
			*byte = '?';
	libpool_history_add(invocation->pool, text, NULL);
}

int method_run(const struct method *method, struct invocation *invocation)
{
	int code;

	invocation->result = result_new(method->command);
	code = method->run(invocation);
	if (code < 0)
		return method_complete(invocation, code, "%s %s", method->command, invocation->pool_name);
	if (!(method->flags & METHOD_CHANGES) || parameter_flag(invocation, "dry_run"))
		return 0;
	note(method, invocation);
	/* Whoever was told that it is done may rely on it. */
	return method_complete(invocation, libpool_pool_sync(invocation->pool, &invocation->error), "%s %s: making it durable", method->command,
			       invocation->pool_name);
}
