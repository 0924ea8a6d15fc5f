/*
 * Events: what happened to the pool by itself, in a ring in RAM. Those that still matter after a restart (warnings,
 * errors, ends of jobs) also go to the history, so that whoever imports the pool next can read them.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libpool/pool/internal.h"
#include "libpool/pool/records.h"

enum { INFORMATION, WARNING, ERROR };

static bool is_kept(const struct libpool_event *event)
{
	const char *end = strrchr(event->kind, '.');

	return event->severity >= WARNING || (end && !strcmp(end, ".finished"));
}

static struct libpool_event *slot(struct engine *engine)
{
	struct libpool_event blank = {.size = sizeof(blank)};

	if (engine->events.count < ENGINE_EVENTS_MAX && array_push(&engine->events, &blank) == 0)
		return array_at(&engine->events, struct libpool_event, engine->events.count - 1);
	if (engine->events.count == 0)
		return NULL;
	/* Full, or no memory to grow: the oldest goes. */
	if (engine->events_next >= engine->events.count)
		engine->events_next = 0;
	return array_at(&engine->events, struct libpool_event, engine->events_next++);
}

void engine_event(struct engine *engine, unsigned severity, const char *kind, const char *object, const char *text)
{
	struct libpool_event *event = slot(engine);

	if (!event)
		return;
	*event = (struct libpool_event){
		.size = sizeof(*event),
		.sequence = ++engine->sequence,
		.time_ns = rt_realtime(engine->rt),
		.severity = severity,
	};
	snprintf(event->kind, sizeof(event->kind), "%s", kind);
	snprintf(event->object, sizeof(event->object), "%s", object);
	snprintf(event->text, sizeof(event->text), "%s", text);
	if (is_kept(event))
		keeper_ask(engine);
}

void engine_eventf(struct engine *engine, unsigned severity, const char *kind, const char *object, const char *format, ...)
{
	char text[LIBPOOL_TEXT_MAX];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	engine_event(engine, severity, kind, object, text);
}

/* ---- from the store ---- */

/* More of the same within a second is one event: a dying disk must not push everything else out. */
static bool is_repetition(struct engine *engine, const char *kind, const char *object)
{
	uint64_t now = rt_realtime(engine->rt);

	for (size_t i = 0; i < engine->events.count; i++) {
		const struct libpool_event *event = array_at(&engine->events, struct libpool_event, i);

		if (event->time_ns + NS_PER_S > now && !strcmp(event->kind, kind) && !strcmp(event->object, object))
			return true;
	}
	return false;
}

static void store_event(void *argument, enum store_event event, unsigned disk, uint64_t count, const char *text)
{
	static const struct {
		const char *kind;
		unsigned severity;
		bool of_disk;
	} kinds[] = {
		[STORE_DISK_FAULTY] = {"disk.faulty", ERROR, true},   [STORE_HEALED] = {"data.healed", WARNING, true},
		[STORE_DAMAGED] = {"data.damaged", ERROR, false},     [STORE_STALE] = {"data.stale", WARNING, true},
		[STORE_HALT] = {"pool.halted", ERROR, false},         [STORE_LEAKED] = {"space.leaked", WARNING, false},
	};
	struct engine *engine = argument;
	char object[LIBPOOL_NAME_MAX + 1] = "";

	/* Also when it is nothing new to tell: each record is to be repaired. */
	if (event == STORE_STALE || event == STORE_DISK_FAULTY)
		jobs_kick(engine);
	if (kinds[event].of_disk)
		engine_disk_text(engine, disk, object, sizeof(object));
	else
		snprintf(object, sizeof(object), "%s", core_label(engine->core)->name);
	if ((event == STORE_HEALED || event == STORE_STALE || event == STORE_DAMAGED || event == STORE_LEAKED) &&
	    is_repetition(engine, kinds[event].kind, object))
		return;
	if (count)
		engine_eventf(engine, kinds[event].severity, kinds[event].kind, object, "%s (%llu cells)", text ? text : "",
			      (unsigned long long)count);
	else
		engine_event(engine, kinds[event].severity, kinds[event].kind, object, text ? text : "");
}

void events_attach(struct engine *engine)
{
	store_set_event_callback(core_store(engine->core), store_event, engine);
}

/* ---- reading and keeping ---- */

static const struct libpool_event *in_order(const struct engine *engine, size_t place)
{
	size_t first = engine->events.count == ENGINE_EVENTS_MAX ? engine->events_next % engine->events.count : 0;

	return array_at(&engine->events, struct libpool_event, (first + place) % engine->events.count);
}

int engine_events(struct engine *engine, uint64_t after, struct libpool_event **ret_events, size_t *ret_count)
{
	uint64_t oldest = engine->events.count ? in_order(engine, 0)->sequence : UINT64_MAX;
	struct array all;
	int result = 0;

	array_init(&all, sizeof(struct libpool_event));
	if (after < UINT64_MAX - 1 && after + 1 < oldest)
		result = history_events(engine, after, oldest, &all);
	for (size_t i = 0; i < engine->events.count && result == 0; i++)
		if (in_order(engine, i)->sequence > after && in_order(engine, i)->sequence >= oldest)
			result = array_push(&all, in_order(engine, i));
	if (result == 0)
		result = array_reserve(&all, 1);
	if (result < 0) {
		array_release(&all);
		return result;
	}
	*ret_events = all.items;
	*ret_count = all.count;
	return 0;
}

/* The oldest event that the history lacks. */
static bool next_to_keep(const struct engine *engine, struct libpool_event *ret_event)
{
	for (size_t i = 0; i < engine->events.count; i++) {
		const struct libpool_event *event = in_order(engine, i);

		if (event->sequence > engine->events_stored && is_kept(event)) {
			*ret_event = *event;
			return true;
		}
	}
	return false;
}

void events_store(struct engine *engine)
{
	struct libpool_event event;
	struct history_record *record = calloc(1, sizeof(*record));
	uint8_t value[HISTORY_SIZE_MAX];

	/* The ring may turn while a record is written: look anew each time. */
	while (record && engine->events_persisted < ENGINE_EVENTS_PERSISTED && next_to_keep(engine, &event)) {
		history_from_event(&event, record);
		record->txg = core_committed_txg(engine->core) + 1;
		if (history_put(engine, event.sequence, value, history_encode(record, value)) < 0)
			break;
		engine->events_stored = event.sequence;
		engine->events_persisted++;
	}
	free(record);
}
