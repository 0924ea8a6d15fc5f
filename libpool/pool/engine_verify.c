/* engine_verify: the checkers of scrub/verify over the pool while it is imported. */
#include <stdio.h>
#include <stdlib.h>

#include "libpool/pool/internal.h"
#include "scrub/verify.h"

struct verification {
	struct engine *engine;
	const struct libpool_verify_options *options;
};

static bool is_cancelled(void *argument)
{
	const struct verification *verification = argument;
	const struct libpool_verify_options *options = verification->options;

	return verification->engine->hurried || (options->is_cancelled && options->is_cancelled(options->argument));
}

/* Of one file system: that of who has it open, or opened for the time of the check. */
static int check_filesystem(struct engine *engine, const char *name, struct fs_check *ret_check)
{
	struct engine_fs *open = engine_fs_find(engine, name);
	struct fs *fs = NULL;
	int status;

	if (open) {
		status = fs_check(engine_fs_look(open), ret_check);
		engine_fs_leave(open);
		return status;
	}
	status = fs_open(engine->datasets, name, &fs, NULL);
	if (status == 0)
		status = fs_check(fs, ret_check);
	fs_close(fs);
	return status;
}

static int check_filesystems(struct engine *engine, struct libpool_verify_result *result)
{
	struct dataset_record *records;
	size_t count;
	int status = filesystems_list(engine->datasets, &records, &count);

	if (status < 0)
		return status;
	for (size_t i = 0; i < count && !engine->hurried; i++) {
		struct fs_check check = {0};

		status = check_filesystem(engine, records[i].name, &check);
		if (status == -ENOMEM)
			break;
		/* One that can't be opened or walked is damaged. */
		result->damaged_blocks += check.damaged + (status < 0 && !check.damaged);
		if (check.violations && !result->violations)
			snprintf(result->first, sizeof(result->first), "file system %.60s: %.400s", records[i].name, check.first);
		result->violations += check.violations;
		status = 0;
	}
	free(records);
	return status;
}

int engine_verify(struct engine *engine, const struct libpool_verify_options *options, struct libpool_verify_result *ret_result,
		  struct pool_error *error)
{
	struct verification verification = {engine, options};
	struct verify_hooks hooks = {.argument = &verification, .is_cancelled = is_cancelled};
	struct verify_result *result = calloc(1, sizeof(*result));
	int status = result ? verify_pool_blocks(engine->core, engine->datasets, VERIFY_FULL, &hooks, result) : -ENOMEM;

	if (status == 0) {
		*ret_result = (struct libpool_verify_result){
			.size = sizeof(*ret_result),
			.blocks_checked = result->blocks_checked,
			.cells_checked = result->cells_checked,
			.rows_checked = result->rows_checked,
			.violations = result->violations,
			/* A cell that is wrong may be of no block: parity, or dead. It is damage all the same. */
			.damaged_blocks = result->damaged_blocks + result->damaged_cells,
		};
		snprintf(ret_result->first, sizeof(ret_result->first), "%.*s", (int)sizeof(ret_result->first) - 1, result->first);
		status = check_filesystems(engine, ret_result);
	}
	free(result);
	if (status == -ECANCELED)
		return pool_error_set(error, status, "pool %s: the verification was cancelled", core_label(engine->core)->name);
	if (status < 0)
		return pool_error_set(error, status, "pool %s can't be verified: %s", core_label(engine->core)->name,
				      pool_error_string(status));
	return 0;
}
