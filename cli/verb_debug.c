/* SPDX-License-Identifier: BSD-2-Clause */
/* debug verify: the checkers of the library, for people. */
#include "cli/document.h"
#include "cli/verbs.h"

int debug_verify_work(struct call *call)
{
	struct json_object *document = call->document;
	unsigned long long violations, damaged;
	const char *first;
	int code = call_ask(call, "debug.verify", NULL);

	if (code < 0)
		return code;
	violations = document_get_number(document, "violations");
	damaged = document_get_number(document, "damaged_blocks");
	first = document_get_text(document, "first");
	if (violations || damaged)
		call->exit_code = EXIT_CODE_DAMAGE;
	document_format(
	    document, "text",
	    "%llu blocks, %llu cells and %llu rows checked: %llu violations, %llu damaged blocks%s%s",
	    (unsigned long long)document_get_number(document, "blocks_checked"),
	    (unsigned long long)document_get_number(document, "cells_checked"),
	    (unsigned long long)document_get_number(document, "rows_checked"), violations, damaged,
	    first[0] ? "\nfirst: " : "", first);
	return 0;
}
