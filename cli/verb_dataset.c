/* SPDX-License-Identifier: BSD-2-Clause */
/* dataset create, destroy, rename and list; userspace. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/accounts.h"
#include "cli/document.h"
#include "cli/verbs.h"

const struct column dataset_columns[] = {
    {"name", "NAME", COLUMN_TEXT, false},	      {"used_bytes", "USED", COLUMN_SIZE, false},
    {"available_bytes", "AVAIL", COLUMN_SIZE, false}, {"referenced_bytes", "REFER", COLUMN_SIZE, true},
    {"quota_bytes", "QUOTA", COLUMN_SIZE, true},      {"refquota_bytes", "REFQUOTA", COLUMN_SIZE, true},
    {"reservation_bytes", "RESERV", COLUMN_SIZE, true},
    {"record_bytes", "RECORD", COLUMN_RECORD, false},   {"compression", "COMPRESSION", COLUMN_TEXT, false},
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
	if (options_have(&call->options, OPTION_CASESENSITIVITY))
		document_text(params, "casesensitivity", call->options.text[OPTION_CASESENSITIVITY]);
	if (options_have(&call->options, OPTION_NORMALIZATION))
		document_text(params, "normalization", call->options.text[OPTION_NORMALIZATION]);
	return tell(call, call_ask(call, "dataset.create", params), "Would create", "Created");
}

const char *dataset_destroy_question(const struct call *call)
{
	if (options_have(&call->options, OPTION_RECURSIVE))
		return "Destroy this file system, all datasets in it, and all that they contain? It can't be brought back.";
	return "Destroy this file system and all files in it? It can't be brought back.";
}

int dataset_destroy_work(struct call *call)
{
	struct json_object *params = dataset_params(call);
	int code;

	document_flag(params, "recursive", options_have(&call->options, OPTION_RECURSIVE));
	code = tell(call, call_ask(call, "dataset.destroy", params), "Would destroy", "Destroyed");
	if (code == 0 && document_get_number(call->document, "destroyed") > 1)
		document_format(call->document, "text", "%s, and %" PRIu64 " in it", document_get_text(call->document, "text"),
				document_get_number(call->document, "destroyed") - 1);
	return code;
}

int dataset_rename_check(struct call *call)
{
	struct target target;
	int code = target_parse(call->operands[0], TARGET_DATASET, &target, &call->error);

	if (code == 0 && strcmp(target.pool, call->target.pool) != 0)
		return call_usage(call, "dataset rename: %s is in another pool than %s: write both with the same pool", call->operands[0],
				  call->target.volume);
	return code;
}

int dataset_rename_work(struct call *call)
{
	struct json_object *params = dataset_params(call);
	struct target target;
	int code = target_parse(call->operands[0], TARGET_DATASET, &target, &call->error);

	document_text(params, "new_dataset", target.volume);
	if (code == 0)
		code = call_ask(call, "dataset.rename", params);
	if (code < 0)
		return code;
	document_format(call->document, "text", "%s %s/%s to %s/%s", options_have(&call->options, OPTION_DRY_RUN) ? "Would rename" : "Renamed",
			call->target.pool, call->target.volume, target.pool, target.volume);
	return 0;
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

const struct column userspace_columns[] = {
    {"kind", "TYPE", COLUMN_TEXT, false},	   {"name", "NAME", COLUMN_TEXT, false},
    {"id", "ID", COLUMN_COUNT, true},		   {"used_bytes", "USED", COLUMN_SIZE, false},
    {"quota_bytes", "QUOTA", COLUMN_SIZE, false},  {"used_nodes", "NODES", COLUMN_COUNT, false},
    {"quota_nodes", "NODEQUOTA", COLUMN_COUNT, false}, {NULL, NULL, COLUMN_TEXT, false},
};

/* Numbers are the pool's; their names are this machine's. */
int userspace_work(struct call *call)
{
	struct json_object *params = json_object_new_object(), *owners;
	char name[ACCOUNT_TEXT_MAX];
	int code;

	document_text(params, "dataset", call->target.volume);
	code = call_ask(call, "userspace", params);
	owners = code < 0 ? NULL : document_get(call->document, "owners");
	for (size_t i = 0; owners && i < json_object_array_length(owners); i++) {
		struct json_object *owner = json_object_array_get_idx(owners, i);

		account_name(document_get_text(owner, "kind"), (uint32_t)document_get_number(owner, "id"), name);
		document_text(owner, "name", name);
	}
	return code;
}

void userspace_print(struct call *call)
{
	print_rows(call, "owners");
}
