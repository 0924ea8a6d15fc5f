/* SPDX-License-Identifier: BSD-2-Clause */
/* create, destroy, undestroy: what is done to a pool as a whole while nobody has it open. */
#include <errno.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/disk_files.h"
#include "cli/document.h"
#include "cli/errors.h"
#include "cli/pools.h"
#include "cli/sizes.h"
#include "cli/verbs.h"

static const char *const profiles[] = {"single", "raid1", "raid1c3", "raid1c4", "raid5", "raid6", "raid7"};

/* Whether it begins with a known profile and ends there or goes on with ":k+m"; the library checks the rest.
 */
int create_check(struct call *call)
{
	const char *profile = call->operands[0];
	size_t length = strcspn(profile, ":");

	for (size_t i = 0; i < sizeof(profiles) / sizeof(profiles[0]); i++) {
		if (strlen(profiles[i]) == length && strncmp(profiles[i], profile, length) == 0)
			return 0;
	}
	return call_usage(call,
			  "create %s: profile '%s' doesn't exist: there are single, raid1, raid1c3, raid1c4, "
			  "raid5, raid6 and raid7",
			  call->target.pool, profile);
}

static int check_name_is_free(struct call *call)
{
	struct libpool_found found;
	int code;

	if (options_have(&call->options, OPTION_FORCE))
		return 0;
	code = pools_find(call->host, call->target.pool, &found, NULL);
	if (code == 0 && !found.destroyed)
		return error_set(&call->error, -EEXIST,
				 "create %s: there is a pool of this name already: use another name, or "
				 "--force for a second one",
				 call->target.pool);
	return 0; /* a search that fails is no reason not to create */
}

/* A folder of a disk that later commands would not search, or NULL. */
static const char *unsearched_folder(const struct call *call, const struct disk_files *files, char *copy,
				     size_t room)
{
	for (size_t i = 0; i < files->count; i++) {
		const char *folder;
		struct stat status;
		bool known = false;

		if (stat(files->paths[i], &status) != 0 || !S_ISREG(status.st_mode))
			continue;
		snprintf(copy, room, "%s", files->paths[i]);
		folder = dirname(copy);
		for (size_t f = 0; f < call->host->folder_count; f++)
			known = known || strcmp(call->host->folders[f], folder) == 0;
		if (!known)
			return folder;
	}
	return NULL;
}

static void describe(struct call *call, const struct libpool_layout *layout, const struct disk_files *files)
{
	struct json_object *document = call->document;
	char copy[LIBPOOL_PATH_MAX];
	const char *folder = unsearched_folder(call, files, copy, sizeof(copy));

	document_text(document, "pool", call->target.pool);
	document_text(document, "profile", call->operands[0]);
	document_flag(document, "dry_run", options_have(&call->options, OPTION_DRY_RUN));
	document_number(document, "disks", layout->disk_count);
	document_number(document, "data_columns", layout->data_columns);
	document_number(document, "parity_columns", layout->parity_columns);
	document_number(document, "disks_may_fail", layout->disks_may_fail);
	document_number(document, "raw_bytes", layout->raw_bytes);
	document_number(document, "usable_bytes", layout->usable_bytes);
	document_number(document, "reserve_bytes", layout->reserve_bytes);
	document_number(document, "allocation_unit_bytes", layout->au_bytes);
	if (folder)
		document_format(document, "hint",
				"later commands find its disks with -d %s, or LIBPOOL_DISK_PATH=%s", folder,
				folder);
}

int create_work(struct call *call)
{
	struct libpool_create_options options = {.size = sizeof(options)};
	struct libpool_layout layout = {.size = sizeof(layout)};
	bool dry_run = options_have(&call->options, OPTION_DRY_RUN);
	struct disk_files files;
	int code = check_name_is_free(call);

	if (code == 0)
		code = disk_files_init(&files, call->operands + 1, call->operand_count - 1, &call->error);
	if (code < 0)
		return code;
	if (options_have(&call->options, OPTION_CREATE_SIZE))
		code = disk_files_create(&files, call->options.number[OPTION_CREATE_SIZE], &call->error);
	if (code < 0)
		goto out;
	options.name = call->target.pool;
	options.profile = call->operands[0];
	options.disks = (const char *const *)files.paths;
	options.disk_count = files.count;
	options.au_bytes = call->options.number[OPTION_ALLOCATION_UNIT];
	options.force = options_have(&call->options, OPTION_FORCE);
	options.dry_run = dry_run;
	code = libpool_create(call->host, &options, &layout, &call->error);
	if (code == 0)
		describe(call, &layout, &files);
	if (code < 0 || dry_run)
		disk_files_undo(&files);
out:
	disk_files_release(&files);
	return code;
}

static void print_size(struct call *call, const char *title, const char *key)
{
	uint64_t bytes = document_get_number(call->document, key);
	char text[QUANTITY_TEXT_MAX];

	size_print(bytes, text);
	if (options_have(&call->options, OPTION_EXACT))
		printf("  %-15s %llu\n", title, (unsigned long long)bytes);
	else
		printf("  %-15s %s\n", title, text);
}

void create_print(struct call *call)
{
	struct json_object *document = call->document;
	unsigned may_fail = (unsigned)document_get_number(document, "disks_may_fail");

	printf("%s pool %s: %s on %u disks, %u data and %u parity columns, %u disk%s may fail\n",
	       document_get_flag(document, "dry_run") ? "Would create" : "Created",
	       document_get_text(document, "pool"), document_get_text(document, "profile"),
	       (unsigned)document_get_number(document, "disks"),
	       (unsigned)document_get_number(document, "data_columns"),
	       (unsigned)document_get_number(document, "parity_columns"), may_fail, may_fail == 1 ? "" : "s");
	print_size(call, "usable", "usable_bytes");
	print_size(call, "raw", "raw_bytes");
	print_size(call, "reserve", "reserve_bytes");
	print_size(call, "allocation unit", "allocation_unit_bytes");
	if (!document_get_flag(document, "dry_run") && document_get(document, "hint"))
		printf("Note: %s.\n", document_get_text(document, "hint"));
}

const char *destroy_question(const struct call *call)
{
	(void)call;
	return "Destroy this pool? Its data can be brought back with undestroy only until its disks are used "
	       "again.";
}

/* Finds the pool first, so that -n and a pool in use are told apart from one that isn't there. */
static int find_for_change(struct call *call, struct libpool_found *ret_found)
{
	int code = pools_find(call->host, call->target.pool, ret_found, &call->error);

	if (code < 0 || !ret_found->in_use)
		return code;
	return error_set(&call->error, -LIBPOOL_EINUSE, "%s %s: the pool is imported: 'poolctl export %s' first", call->verb->name,
			 call->target.pool, call->target.pool);
}

static int mark(struct call *call, bool destroy)
{
	const char *pool = call->target.pool;
	bool dry_run = options_have(&call->options, OPTION_DRY_RUN);
	struct libpool_found found;
	int code = find_for_change(call, &found);

	if (code < 0)
		return code;
	if ((found.destroyed != 0) == destroy)
		return error_set(&call->error, -EALREADY,
				 destroy ? "destroy %s: it is destroyed already"
					 : "undestroy %s: it is not destroyed",
				 pool);
	if (!dry_run)
		code = destroy ? libpool_destroy(call->host, pool, &call->error)
			       : libpool_undestroy(call->host, pool, &call->error);
	if (code < 0)
		return code;
	document_text(call->document, "pool", pool);
	document_flag(call->document, "dry_run", dry_run);
	if (destroy)
		document_format(
		    call->document, "text",
		    "%s pool %s: 'poolctl undestroy %s' brings it back until its disks are used again",
		    dry_run ? "Would destroy" : "Destroyed", pool, pool);
	else
		document_format(call->document, "text", "%s pool %s back",
				dry_run ? "Would bring" : "Brought", pool);
	return 0;
}

int destroy_work(struct call *call)
{
	return mark(call, true);
}

int undestroy_work(struct call *call)
{
	return mark(call, false);
}
