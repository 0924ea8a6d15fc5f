/*
 * History: what administrators did, and the events worth keeping, in one tree of the MOS in the order of one
 * sequence. The oldest entries leave when there are more than ENGINE_HISTORY_MAX.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libpool/pool/internal.h"
#include "libpool/pool/records.h"

static struct object *tree(struct engine *engine)
{
	return core_mos_object(engine->core, MOS_HISTORY);
}

/* The first entry at or after `sequence`. Any of the outputs may be NULL but ret_sequence. */
static int next_entry(struct engine *engine, uint64_t sequence, uint64_t *ret_sequence, struct history_record *ret_record)
{
	uint8_t key[HISTORY_KEY_SIZE], found[OBJECT_KEY_MAX], value[OBJECT_VALUE_MAX];
	size_t found_length, value_length;

	for (;;) {
		history_key_encode(sequence, key);
		int result = tree_next(tree(engine), key, sizeof(key), false, found, &found_length, value, &value_length);

		if (result < 0)
			return result;
		*ret_sequence = history_key_decode(found, found_length);
		if (*ret_sequence < sequence)
			return -POOL_EFORMAT;
		if (!ret_record || history_decode(value, value_length, ret_record) == 0)
			return 0;
		if (*ret_sequence == UINT64_MAX)
			return -ENOENT;
		sequence = *ret_sequence + 1; /* one that makes no sense costs only itself */
	}
}

/* The highest key, by asking for ever smaller steps beyond the highest one known. */
int history_load(struct engine *engine)
{
	uint64_t last = 0, found;

	for (int bit = 62; bit >= 0;) {
		int result = next_entry(engine, last + (UINT64_C(1) << bit), &found, NULL);

		if (result == 0 && found < UINT64_MAX >> 1)
			last = found;
		else if (result == 0 || result == -ENOENT)
			bit--;
		else
			return result;
	}
	engine->sequence = last;
	engine->events_stored = last;
	return 0;
}

static int count_entries(struct engine *engine)
{
	uint64_t sequence = 0, count = 0;
	int result;

	while ((result = next_entry(engine, sequence, &sequence, NULL)) == 0) {
		count++;
		sequence++;
	}
	if (result != -ENOENT)
		return result;
	engine->history_count = count;
	engine->history_counted = true;
	return 0;
}

static int trim(struct engine *engine)
{
	uint8_t key[HISTORY_KEY_SIZE];
	uint64_t oldest;

	while (engine->history_count > ENGINE_HISTORY_MAX) {
		int result = next_entry(engine, 0, &oldest, NULL);

		if (result < 0)
			return result;
		history_key_encode(oldest, key);
		result = engine_mos_put(engine, MOS_HISTORY, key, sizeof(key), NULL, 0);
		if (result < 0)
			return result;
		engine->history_count--;
	}
	return 0;
}

int history_put(struct engine *engine, uint64_t sequence, const void *record, size_t length)
{
	uint8_t key[HISTORY_KEY_SIZE];
	int result = 0;

	rt_mutex_lock(engine->rt, &engine->history_lock);
	if (!engine->history_counted)
		result = count_entries(engine);
	history_key_encode(sequence, key);
	if (result == 0)
		result = engine_mos_put(engine, MOS_HISTORY, key, sizeof(key), record, length);
	if (result == 0) {
		engine->history_count++;
		result = trim(engine);
	}
	rt_mutex_unlock(engine->rt, &engine->history_lock);
	return result;
}

static int add(struct engine *engine, uint64_t time_ns, uint64_t txg, const char *text, struct pool_error *error)
{
	uint8_t value[HISTORY_SIZE_MAX];
	struct history_record *record = calloc(1, sizeof(*record));
	int result;

	if (!record)
		return pool_error_set(error, -ENOMEM, "no memory");
	record->time_ns = time_ns;
	record->txg = txg;
	record->kind = HISTORY_COMMAND;
	record->text_length = strnlen(text, LIBPOOL_TEXT_MAX * 2 - 1);
	memcpy(record->text, text, record->text_length);
	/* One line each, whatever the caller gave. */
	for (size_t i = 0; i < record->text_length; i++)
		if ((unsigned char)record->text[i] < ' ')
			record->text[i] = ' ';
	result = history_put(engine, ++engine->sequence, value, history_encode(record, value));
	free(record);
	if (result < 0)
		return pool_error_set(error, result, "pool %s: the history can't be written: %s",
				      core_label(engine->core)->name, pool_error_string(result));
	return 0;
}

int engine_history_add(struct engine *engine, const char *text, struct pool_error *error)
{
	return add(engine, rt_realtime(engine->rt), core_committed_txg(engine->core) + 1, text, error);
}

/* Creating a pool doesn't import it: the first import notes it. An error leaves that to the next one. */
void history_note_creation(struct engine *engine)
{
	const struct label *label = core_label(engine->core);
	char text[LIBPOOL_NAME_MAX + 100], profile[32];

	if (!engine_is_writable(engine))
		return;
	profile_format(label->k, label->m, profile, sizeof(profile));
	snprintf(text, sizeof(text), "create %s %s, %u disks", label->name, profile, label->disk_count);
	(void)add(engine, label->created_ns, 1, text, NULL);
}

int engine_history(struct engine *engine, struct libpool_history **ret_history, size_t *ret_count)
{
	struct history_record *record = malloc(sizeof(*record));
	struct array all;
	uint64_t sequence = 0;
	int result = record ? 0 : -ENOMEM;

	array_init(&all, sizeof(struct libpool_history));
	while (result == 0 && (result = next_entry(engine, sequence, &sequence, record)) == 0) {
		struct libpool_history entry = {.size = sizeof(entry), .time_ns = record->time_ns, .txg = record->txg};

		sequence++;
		if (record->kind != HISTORY_COMMAND)
			continue;
		snprintf(entry.text, sizeof(entry.text), "%.*s", LIBPOOL_TEXT_MAX * 2 - 1, record->text);
		result = array_push(&all, &entry);
	}
	free(record);
	if (result == -ENOENT)
		result = array_reserve(&all, 1); /* never NULL */
	if (result < 0) {
		array_release(&all);
		return result;
	}
	*ret_history = all.items;
	*ret_count = all.count;
	return 0;
}

int history_events(struct engine *engine, uint64_t after, uint64_t before, struct array *events)
{
	struct history_record *record = malloc(sizeof(*record));
	uint64_t sequence = after + 1;
	int result = record ? 0 : -ENOMEM;

	while (result == 0 && (result = next_entry(engine, sequence, &sequence, record)) == 0 && sequence < before) {
		struct libpool_event event;

		if (record->kind == HISTORY_EVENT) {
			history_to_event(record, sequence, &event);
			result = array_push(events, &event);
		}
		sequence++;
	}
	free(record);
	return result == -ENOENT ? 0 : result;
}
