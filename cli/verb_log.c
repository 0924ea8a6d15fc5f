/* history and events: what administrators did, and what happened to the pool. */
#include <stdio.h>

#include "cli/document.h"
#include "cli/errors.h"
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

static const char *const severities[] = {"information", "warning", "error"};

int history_work(struct call *call)
{
	struct libpool_history *entries = NULL;
	struct json_object *array;
	size_t count = 0;
	int code = libpool_history(call->pool, &entries, &count);

	if (code < 0)
		return error_complete(&call->error, code, "reading the history of pool %s",
				      call->target.pool);
	document_text(call->document, "pool", call->target.pool);
	array = document_array(call->document, "history");
	for (size_t i = 0; i < count; i++) {
		struct json_object *object = document_append_object(array);

		document_time(object, "time", entries[i].time_ns);
		document_number(object, "txg", entries[i].txg);
		document_text(object, "text", entries[i].text);
	}
	libpool_free(entries);
	return 0;
}

void history_print(struct call *call)
{
	print_rows(call, "history");
}

int events_work(struct call *call)
{
	struct libpool_event *events = NULL;
	struct json_object *array;
	size_t count = 0;
	int code = libpool_events(call->pool, 0, &events, &count);

	if (code < 0)
		return error_complete(&call->error, code, "reading the events of pool %s", call->target.pool);
	document_text(call->document, "pool", call->target.pool);
	array = document_array(call->document, "events");
	for (size_t i = 0; i < count; i++) {
		struct json_object *object = document_append_object(array);

		document_time(object, "time", events[i].time_ns);
		document_text(object, "severity",
			      events[i].severity < 3 ? severities[events[i].severity] : "unknown");
		document_text(object, "kind", events[i].kind);
		document_text(object, "object", events[i].object);
		document_text(object, "text", events[i].text);
		document_number(object, "sequence", events[i].sequence);
	}
	libpool_free(events);
	return 0;
}

void events_print(struct call *call)
{
	print_rows(call, "events");
}
