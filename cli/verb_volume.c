/* SPDX-License-Identifier: BSD-2-Clause */
/* volume create, destroy, resize and list. Sizes are parsed strictly, before anything is opened they may not
 * touch. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli/document.h"
#include "cli/errors.h"
#include "cli/sizes.h"
#include "cli/verbs.h"

const struct column volume_columns[] = {
    {"name", "NAME", COLUMN_TEXT, false},
    {"volume_bytes", "SIZE", COLUMN_SIZE, false},
    {"used_bytes", "USED", COLUMN_SIZE, false},
    {"block_bytes", "BLOCK", COLUMN_SIZE, false},
    {"compression", "COMPRESSION", COLUMN_TEXT, false},
    {"created", "CREATED", COLUMN_TIME, false},
    {"open_count", "OPEN", COLUMN_COUNT, true},
    {NULL, NULL, COLUMN_TEXT, false},
};

int volume_size_now(struct call *call, uint64_t *ret_bytes)
{
	struct json_object *params = json_object_new_object(), *part = json_object_new_object(), *properties;
	struct call_request request = {.method = "get", .params = params, .descriptor = -1, .into = part};
	bool found = false;
	int code;

	document_text(params, "dataset", call->target.volume);
	code = call_request(call, &request);
	properties = code == 0 ? document_get(part, "properties") : NULL;
	for (size_t i = 0; properties && i < json_object_array_length(properties); i++) {
		struct json_object *property = json_object_array_get_idx(properties, i);

		if (strcmp(document_get_text(property, "name"), "volsize") != 0)
			continue;
		*ret_bytes = document_get_number(property, "number");
		found = true;
	}
	if (code == 0 && !found) /* a file system */
		code = error_set(&call->error, -ENOENT, "pool %s has no volume %s", call->target.pool, call->target.volume);
	json_object_put(part);
	return code;
}

/* Both take a SIZE. */
int volume_size_check(struct call *call)
{
	int code = size_read(call->operands[0], "volume size", 1, &call->size, &call->error);

	if (code == 0 && call->options.number[OPTION_BLOCK_SIZE] > UINT32_MAX)
		return call_usage(call, "--block-size %s is too large: 4K to 128K",
				  call->options.text[OPTION_BLOCK_SIZE]);
	return code;
}

/* Parameters that all of them have. */
static struct json_object *volume_params(struct call *call)
{
	struct json_object *params = json_object_new_object();

	document_text(params, "volume", call->target.volume);
	document_flag(params, "dry_run", options_have(&call->options, OPTION_DRY_RUN));
	return params;
}

int volume_create_work(struct call *call)
{
	bool dry_run = options_have(&call->options, OPTION_DRY_RUN);
	struct json_object *params = volume_params(call);
	char text[QUANTITY_TEXT_MAX];
	int code;

	document_number(params, "volume_bytes", call->size);
	if (options_have(&call->options, OPTION_BLOCK_SIZE))
		document_number(params, "block_bytes", call->options.number[OPTION_BLOCK_SIZE]);
	if (options_have(&call->options, OPTION_COMPRESSION))
		document_text(params, "compression", call->options.text[OPTION_COMPRESSION]);
	code = call_ask(call, "volume.create", params);
	if (code < 0)
		return code;
	size_print(document_get_number(call->document, "volume_bytes"), text);
	document_format(call->document, "text", "%s volume %s/%s of %s", dry_run ? "Would create" : "Created",
			call->target.pool, call->target.volume, text);
	return 0;
}

const char *volume_destroy_question(const struct call *call)
{
	(void)call;
	return "Destroy this volume and its data? It can't be brought back.";
}

int volume_destroy_work(struct call *call)
{
	int code = call_ask(call, "volume.destroy", volume_params(call));

	if (code < 0)
		return code;
	document_format(call->document, "text", "%s volume %s/%s",
			options_have(&call->options, OPTION_DRY_RUN) ? "Would destroy" : "Destroyed", call->target.pool,
			call->target.volume);
	return 0;
}

int volume_resize_work(struct call *call)
{
	bool dry_run = options_have(&call->options, OPTION_DRY_RUN), yes = options_have(&call->options, OPTION_YES);
	char from[QUANTITY_TEXT_MAX], to[QUANTITY_TEXT_MAX];
	struct json_object *params = volume_params(call);
	int code;

	document_number(params, "volume_bytes", call->size);
	document_flag(params, "shrink", yes || (dry_run && !call->rehearses));
	code = call_ask(call, "volume.resize", params);
	if (code == -EPERM && !yes)
		call->exit_code = EXIT_CODE_USAGE;
	if (code < 0)
		return code;
	size_print(document_get_number(call->document, "previous_bytes"), from);
	size_print(document_get_number(call->document, "volume_bytes"), to);
	document_format(call->document, "text", "%s volume %s/%s from %s to %s",
			dry_run ? "Would resize" : "Resized", call->target.pool, call->target.volume, from,
			to);
	return 0;
}

int volume_list_work(struct call *call)
{
	return call_ask(call, "volume.list", NULL);
}

void volume_list_print(struct call *call)
{
	if (json_object_array_length(document_get(call->document, "volumes")) == 0 &&
	    !options_have(&call->options, OPTION_NO_HEADER))
		printf("Pool %s has no volumes.\n", call->target.pool);
	else
		print_rows(call, "volumes");
}
