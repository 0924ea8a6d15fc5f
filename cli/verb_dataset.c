/* SPDX-License-Identifier: BSD-2-Clause */
/* dataset create, destroy and list. */
#include <stdio.h>

#include "cli/document.h"
#include "cli/verbs.h"

const struct column dataset_columns[] = {
    {"name", "NAME", COLUMN_TEXT, false},	      {"used_bytes", "USED", COLUMN_SIZE, false},
    {"record_bytes", "RECORD", COLUMN_SIZE, false},   {"compression", "COMPRESSION", COLUMN_TEXT, false},
    {"created", "CREATED", COLUMN_TIME, false},	      {"open_count", "OPEN", COLUMN_COUNT, true},
    {"id", "ID", COLUMN_TEXT, true},		      {NULL, NULL, COLUMN_TEXT, false},
};

int dataset_create_check(struct call *call)
{
	if (call->options.number[OPTION_RECORD_SIZE] > UINT32_MAX)
		return call_usage(call, "--record-size %s is too large: 4K to 1M", call->options.text[OPTION_RECORD_SIZE]);
	return 0;
}

static struct json_object *dataset_params(struct call *call)
{
	struct json_object *params = json_object_new_object();

	document_text(params, "dataset", call->target.volume);
	document_flag(params, "dry_run", options_have(&call->options, OPTION_DRY_RUN));
	return params;
}

static int tell(struct call *call, int code, const char *would, const char *did)
{
	if (code < 0)
		return code;
	document_format(call->document, "text", "%s file system %s/%s", options_have(&call->options, OPTION_DRY_RUN) ? would : did,
			call->target.pool, call->target.volume);
	return 0;
}

int dataset_create_work(struct call *call)
{
	struct json_object *params = dataset_params(call);

	if (options_have(&call->options, OPTION_RECORD_SIZE))
		document_number(params, "record_bytes", call->options.number[OPTION_RECORD_SIZE]);
	if (options_have(&call->options, OPTION_COMPRESSION))
		document_text(params, "compression", call->options.text[OPTION_COMPRESSION]);
	return tell(call, call_ask(call, "dataset.create", params), "Would create", "Created");
}

const char *dataset_destroy_question(const struct call *call)
{
	(void)call;
	return "Destroy this file system and all files in it? It can't be brought back.";
}

int dataset_destroy_work(struct call *call)
{
	return tell(call, call_ask(call, "dataset.destroy", dataset_params(call)), "Would destroy", "Destroyed");
}

int dataset_list_work(struct call *call)
{
	return call_ask(call, "dataset.list", NULL);
}

void dataset_list_print(struct call *call)
{
	if (json_object_array_length(document_get(call->document, "datasets")) == 0 && !options_have(&call->options, OPTION_NO_HEADER))
		printf("Pool %s has no file systems.\n", call->target.pool);
	else
		print_rows(call, "datasets");
}
