/* debug verify: the checkers of the library, for people. */
#include <stdio.h>

#include "cli/document.h"
#include "cli/errors.h"
#include "cli/verbs.h"

int debug_verify_work(struct call *call)
{
	struct libpool_verify_result result = {.size = sizeof(result)};
	struct json_object *document = call->document;
	int code = libpool_verify(call->pool, &result, &call->error);

	if (code < 0)
		return error_complete(&call->error, code, "verifying pool %s", call->target.pool);
	document_text(document, "pool", call->target.pool);
	document_number(document, "blocks_checked", result.blocks_checked);
	document_number(document, "cells_checked", result.cells_checked);
	document_number(document, "rows_checked", result.rows_checked);
	document_number(document, "violations", result.violations);
	document_number(document, "damaged_blocks", result.damaged_blocks);
	document_text(document, "first", result.first);
	if (result.violations || result.damaged_blocks)
		call->exit_code = EXIT_CODE_DAMAGE;
	document_format(
	    document, "text",
	    "%llu blocks, %llu cells and %llu rows checked: %llu violations, %llu damaged blocks%s%s",
	    (unsigned long long)result.blocks_checked, (unsigned long long)result.cells_checked,
	    (unsigned long long)result.rows_checked, (unsigned long long)result.violations,
	    (unsigned long long)result.damaged_blocks, result.first[0] ? "\nfirst: " : "", result.first);
	return 0;
}
