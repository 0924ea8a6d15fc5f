/* SPDX-License-Identifier: BSD-2-Clause */
/* history and events: what administrators did, and what happened to the pool. */
#include "libpool/control/result.h"
#include "libpool/control/methods.h"

static const char *const severities[] = {"information", "warning", "error"};

static const struct field history_fields[] = {
	FIELD("time", TIME, libpool_history, time_ns),
	FIELD("txg", NUMBER, libpool_history, txg),
	FIELD("text", TEXT, libpool_history, text),
};

static const struct field event_fields[] = {
	FIELD("time", TIME, libpool_event, time_ns),
	FIELD_NAMED("severity", severities, libpool_event, severity),
	FIELD("kind", TEXT, libpool_event, kind),
	FIELD("object", TEXT, libpool_event, object),
	FIELD("text", TEXT, libpool_event, text),
	FIELD("sequence", NUMBER, libpool_event, sequence),
};

int run_history(struct invocation *invocation)
{
	struct libpool_history *entries = NULL;
	struct json_object *array;
	size_t count = 0;
	int code = libpool_history(invocation->pool, &entries, &count);

	if (code < 0)
		return method_complete(invocation, code, "reading the history of pool %s", invocation->pool_name);
	result_text(invocation->result, "pool", invocation->pool_name);
	array = result_array(invocation->result, "history");
	for (size_t i = 0; i < count; i++)
		RESULT_FILL(result_append(array), history_fields, &entries[i]);
	libpool_free(entries);
	return 0;
}

int run_events(struct invocation *invocation)
{
	struct libpool_event *events = NULL;
	struct json_object *array;
	size_t count = 0;
	int code = libpool_events(invocation->pool, parameter_number(invocation, "after"), &events, &count);

	if (code < 0)
		return method_complete(invocation, code, "reading the events of pool %s", invocation->pool_name);
	result_text(invocation->result, "pool", invocation->pool_name);
	array = result_array(invocation->result, "events");
	for (size_t i = 0; i < count; i++)
		RESULT_FILL(result_append(array), event_fields, &events[i]);
	libpool_free(events);
	return 0;
}
