/* SPDX-License-Identifier: BSD-2-Clause */
/* history and events: what administrators did, and what happened to the pool. */
#include <stdio.h>

#include "cli/document.h"
#include "cli/errors.h"
#include "cli/interrupt.h"
#include "cli/verbs.h"

const struct column history_columns[] = {
    {"time", "TIME", COLUMN_TIME, false},
    {"txg", "TXG", COLUMN_COUNT, false},
    {"text", "WHAT", COLUMN_TEXT, false},
    {NULL, NULL, COLUMN_TEXT, false},
};

const struct column event_columns[] = {
    {"time", "TIME", COLUMN_TIME, false}, {"severity", "SEVERITY", COLUMN_TEXT, false},
    {"kind", "KIND", COLUMN_TEXT, false}, {"object", "OBJECT", COLUMN_TEXT, false},
    {"text", "WHAT", COLUMN_TEXT, false}, {"sequence", "SEQUENCE", COLUMN_COUNT, true},
    {NULL, NULL, COLUMN_TEXT, false},
};

int history_work(struct call *call)
{
	return call_ask(call, "history", NULL);
}

void history_print(struct call *call)
{
	print_rows(call, "history");
}

/* Shows what is there, and then what comes, until it is interrupted. */
static int follow(struct call *call)
{
	uint64_t after = 0;
	int code = 0;

	call->streams = true;
	while (code == 0) {
		struct json_object *part = document_new(call->verb->name), *params = json_object_new_object(), *events;
		struct call_request request = {.method = "events", .params = params, .descriptor = -1, .into = part};

		document_number(params, "after", after);
		code = call_request(call, &request);
		events = document_get(part, "events");
		if (code == 0 && json_object_array_length(events) > 0) {
			after = document_get_number(
			    json_object_array_get_idx(events, json_object_array_length(events) - 1), "sequence");
			code = call_emit(call, part);
		}
		json_object_put(part);
		if (code == 0)
			code = interrupt_sleep(1);
	}
	if (!interrupt_requested())
		return code;
	call->error = (struct libpool_error){0};
	return 0;
}

int events_work(struct call *call)
{
	return options_have(&call->options, OPTION_FOLLOW) ? follow(call) : call_ask(call, "events", NULL);
}

void events_print(struct call *call)
{
	if (!options_have(&call->options, OPTION_FOLLOW))
		print_rows(call, "events");
}

void events_print_part(struct call *call, struct json_object *part)
{
	struct table_style style = call_style(call);

	/* One table, of which the header is printed once. */
	style.headless = call->parts > 0;
	table_print(event_columns, document_get(part, "events"), &style);
}
