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

/* By its name: an array is all the library offers. */
static int find(struct call *call, struct libpool_volume_info *ret_info)
{
	struct libpool_volume_info *volumes = NULL;
	size_t count = 0;
	bool found = false;
	int code = libpool_volumes(call->pool, &volumes, &count);

	if (code < 0)
		return error_complete(&call->error, code, "listing the volumes of pool %s",
				      call->target.pool);
	for (size_t i = 0; i < count && !found; i++) {
		found = strcmp(volumes[i].name, call->target.volume) == 0;
		if (found)
			*ret_info = volumes[i];
	}
	libpool_free(volumes);
	if (!found)
		return error_set(&call->error, -ENOENT,
				 "pool %s has no volume '%s': see poolctl volume list %s", call->target.pool,
				 call->target.volume, call->target.pool);
	return 0;
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

static void document_volume(struct call *call, uint64_t bytes)
{
	document_text(call->document, "pool", call->target.pool);
	document_text(call->document, "volume", call->target.volume);
	document_number(call->document, "volume_bytes", bytes);
	document_flag(call->document, "dry_run", options_have(&call->options, OPTION_DRY_RUN));
}

/* With -n: what can be told without creating it. */
static int check_is_absent(struct call *call)
{
	struct libpool_volume_info info;
	int code = find(call, &info);

	if (code == 0)
		return error_set(&call->error, -EEXIST, "volume %s/%s exists already: use another name",
				 call->target.pool, call->target.volume);
	return code == -ENOENT ? 0 : code;
}

int volume_create_work(struct call *call)
{
	struct libpool_volume_options options = {.size = sizeof(options)};
	bool dry_run = options_have(&call->options, OPTION_DRY_RUN);
	char text[QUANTITY_TEXT_MAX];
	int code;

	options.volume_bytes = call->size;
	options.block_bytes = (uint32_t)call->options.number[OPTION_BLOCK_SIZE];
	options.compression = call->options.text[OPTION_COMPRESSION];
	if (dry_run)
		code = check_is_absent(call);
	else
		code = libpool_volume_create(call->pool, call->target.volume, &options, &call->error);
	if (code < 0)
		return error_complete(&call->error, code, "creating volume %s/%s", call->target.pool,
				      call->target.volume);
	document_volume(call, options.volume_bytes);
	size_print(options.volume_bytes, text);
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
	struct libpool_volume_info info;
	bool dry_run = options_have(&call->options, OPTION_DRY_RUN);
	int code = find(call, &info);

	if (code == 0 && !dry_run)
		code = libpool_volume_destroy(call->pool, call->target.volume, &call->error);
	if (code < 0)
		return error_complete(&call->error, code, "destroying volume %s/%s", call->target.pool,
				      call->target.volume);
	document_volume(call, info.volume_bytes);
	document_format(call->document, "text", "%s volume %s/%s", dry_run ? "Would destroy" : "Destroyed",
			call->target.pool, call->target.volume);
	return 0;
}

int volume_resize_work(struct call *call)
{
	struct libpool_volume_info info;
	bool dry_run = options_have(&call->options, OPTION_DRY_RUN);
	char from[QUANTITY_TEXT_MAX], to[QUANTITY_TEXT_MAX];
	uint64_t bytes = call->size;
	int code = find(call, &info);

	if (code < 0)
		return code;
	size_print(info.volume_bytes, from);
	size_print(bytes, to);
	if (bytes < info.volume_bytes && !dry_run && !options_have(&call->options, OPTION_YES))
		return call_usage(
		    call,
		    "volume resize %s/%s: from %s to %s discards what lies beyond: add --yes to confirm",
		    call->target.pool, call->target.volume, from, to);
	if (!dry_run)
		code = libpool_volume_resize(call->pool, call->target.volume, bytes, &call->error);
	if (code < 0)
		return error_complete(&call->error, code, "resizing volume %s/%s", call->target.pool,
				      call->target.volume);
	document_volume(call, bytes);
	document_format(call->document, "text", "%s volume %s/%s from %s to %s",
			dry_run ? "Would resize" : "Resized", call->target.pool, call->target.volume, from,
			to);
	return 0;
}

int volume_list_work(struct call *call)
{
	struct libpool_volume_info *volumes = NULL;
	struct json_object *array;
	size_t count = 0;
	int code = libpool_volumes(call->pool, &volumes, &count);

	if (code < 0)
		return error_complete(&call->error, code, "listing the volumes of pool %s",
				      call->target.pool);
	document_text(call->document, "pool", call->target.pool);
	array = document_array(call->document, "volumes");
	for (size_t i = 0; i < count; i++) {
		struct json_object *object = document_append_object(array);

		document_format(object, "name", "%s/%s", call->target.pool, volumes[i].name);
		document_number(object, "volume_bytes", volumes[i].volume_bytes);
		document_number(object, "used_bytes", volumes[i].used_bytes);
		document_number(object, "block_bytes", volumes[i].block_bytes);
		document_text(object, "compression", volumes[i].compression);
		document_time(object, "created", volumes[i].created_ns);
		document_number(object, "open_count", volumes[i].open_count);
	}
	libpool_free(volumes);
	return 0;
}

void volume_list_print(struct call *call)
{
	if (json_object_array_length(document_get(call->document, "volumes")) == 0 &&
	    !options_have(&call->options, OPTION_NO_HEADER))
		printf("Pool %s has no volumes.\n", call->target.pool);
	else
		print_rows(call, "volumes");
}
