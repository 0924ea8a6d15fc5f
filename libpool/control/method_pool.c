/* SPDX-License-Identifier: BSD-2-Clause */
/* export and debug verify: about the pool as a whole. */
#include "libpool/control/result.h"
#include "libpool/control/methods.h"

/* Only whether it may be: it is closed when the answer has been prepared for. */
int run_export(struct invocation *invocation)
{
	int code = libpool_close_prepare(invocation->pool, parameter_flag(invocation, "force"), &invocation->error);

	return method_complete(invocation, code, "exporting pool %s", invocation->pool_name);
}

static int is_cancelled(void *argument)
{
	const struct invocation *invocation = argument;

	return invocation->is_cancelled(invocation->request);
}

int run_verify(struct invocation *invocation)
{
	static const struct field fields[] = {
		FIELD("blocks_checked", NUMBER, libpool_verify_result, blocks_checked),
		FIELD("cells_checked", NUMBER, libpool_verify_result, cells_checked),
		FIELD("rows_checked", NUMBER, libpool_verify_result, rows_checked),
		FIELD("violations", NUMBER, libpool_verify_result, violations),
		FIELD("damaged_blocks", NUMBER, libpool_verify_result, damaged_blocks),
		FIELD("first", TEXT, libpool_verify_result, first),
	};
	struct libpool_verify_result result = {.size = sizeof(result)};
	struct libpool_verify_options options = {.size = sizeof(options), .is_cancelled = is_cancelled, .argument = invocation};
	int code = libpool_verify(invocation->pool, &options, &result, &invocation->error);

	if (code < 0)
		return method_complete(invocation, code, "verifying pool %s", invocation->pool_name);
	result_text(invocation->result, "pool", invocation->pool_name);
	RESULT_FILL(invocation->result, fields, &result);
	return 0;
}
