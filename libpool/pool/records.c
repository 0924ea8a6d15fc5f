/* Encoding and decoding of the pool layer's records: see records.h. */
#include "libpool/pool/records.h"

#include <stdio.h>
#include <string.h>

#include "libpool/base/endian.h"
#include "libpool/base/error.h"

static void put_big(uint8_t *to, uint64_t value, unsigned bytes)
{
	for (unsigned i = 0; i < bytes; i++)
		to[i] = (uint8_t)(value >> 8 * (bytes - 1 - i));
}

static uint64_t get_big(const uint8_t *from, unsigned bytes)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < bytes; i++)
		value = value << 8 | from[i];
	return value;
}

/* ---- history ---- */

struct raw_history {
	le64 time_ns, txg;     /* 0, 8 */
	uint8_t kind, severity; /* 16, 17 */
	uint8_t reserved[6];
};
_Static_assert(sizeof(struct raw_history) == HISTORY_HEAD_SIZE && AT(raw_history, time_ns, 0) && AT(raw_history, txg, 8) && AT(raw_history, kind, 16) &&
		       AT(raw_history, severity, 17), "on disk");

void history_key_encode(uint64_t sequence, uint8_t *ret_key)
{
	put_big(ret_key, sequence, HISTORY_KEY_SIZE);
}

uint64_t history_key_decode(const uint8_t *key, size_t size)
{
	return size == HISTORY_KEY_SIZE ? get_big(key, HISTORY_KEY_SIZE) : 0;
}

size_t history_encode(const struct history_record *record, uint8_t *ret_value)
{
	struct raw_history raw = {
		.time_ns = le64_make(record->time_ns),
		.txg = le64_make(record->txg),
		.kind = record->kind,
		.severity = record->severity,
	};

	memcpy(ret_value, &raw, sizeof(raw));
	memcpy(ret_value + sizeof(raw), record->text, record->text_length);
	return sizeof(raw) + record->text_length;
}

int history_decode(const uint8_t *value, size_t size, struct history_record *ret_record)
{
	struct raw_history raw;

	if (size < sizeof(raw) || size > HISTORY_SIZE_MAX)
		return -POOL_EFORMAT;
	memcpy(&raw, value, sizeof(raw));
	if (raw.kind > HISTORY_EVENT || raw.severity > HISTORY_SEVERITY_MAX ||
	    memcmp(raw.reserved, (uint8_t[sizeof(raw.reserved)]){ 0 }, sizeof(raw.reserved)) != 0)
		return -POOL_EFORMAT;
	ret_record->time_ns = le64_get(raw.time_ns);
	ret_record->txg = le64_get(raw.txg);
	ret_record->kind = raw.kind;
	ret_record->severity = raw.severity;
	ret_record->text_length = size - sizeof(raw);
	memcpy(ret_record->text, value + sizeof(raw), ret_record->text_length);
	ret_record->text[ret_record->text_length] = 0;
	return 0;
}

void history_from_event(const struct libpool_event *event, struct history_record *ret_record)
{
	int length = snprintf(ret_record->text, sizeof(ret_record->text), "%s%c%s%c%s", event->kind, 0, event->object, 0,
			      event->text);

	ret_record->time_ns = event->time_ns;
	ret_record->kind = HISTORY_EVENT;
	ret_record->severity = (uint8_t)event->severity;
	ret_record->text_length = length < (int)HISTORY_TEXT_MAX ? (size_t)length : HISTORY_TEXT_MAX;
}

void history_to_event(const struct history_record *record, uint64_t sequence, struct libpool_event *ret_event)
{
	const char *end = record->text + record->text_length, *at = record->text;
	const char *parts[3] = {"", "", ""};

	for (int i = 0; i < 3 && at <= end; i++) {
		parts[i] = at;
		at += strlen(at) + 1;
	}
	*ret_event = (struct libpool_event){
		.size = sizeof(*ret_event),
		.sequence = sequence,
		.time_ns = record->time_ns,
		.severity = record->severity,
	};
	snprintf(ret_event->kind, sizeof(ret_event->kind), "%s", parts[0]);
	snprintf(ret_event->object, sizeof(ret_event->object), "%s", parts[1]);
	snprintf(ret_event->text, sizeof(ret_event->text), "%s", parts[2]);
}

/* ---- damage ---- */

struct raw_damage {
	le64 dva, place, found_ns; /* 0, 8, 16 */
	le16 cells;                /* 24 */
	uint8_t reserved[6];
};
_Static_assert(sizeof(struct raw_damage) == DAMAGE_VALUE_SIZE && AT(raw_damage, dva, 0) && AT(raw_damage, place, 8) && AT(raw_damage, found_ns, 16) &&
		       AT(raw_damage, cells, 24), "on disk");

void damage_encode(const struct damage_record *record, uint8_t *ret_key, uint8_t *ret_value)
{
	struct raw_damage raw = {
		.dva = le64_make(record->dva),
		.place = le64_make(record->place),
		.found_ns = le64_make(record->found_ns),
		.cells = le16_make(record->cells),
	};

	put_big(ret_key, record->dataset, 4);
	put_big(ret_key + 4, record->object, 8);
	ret_key[12] = record->level;
	put_big(ret_key + 13, record->block, 8);
	if (ret_value)
		memcpy(ret_value, &raw, sizeof(raw));
}

int damage_decode(const uint8_t *key, size_t key_size, const uint8_t *value, size_t value_size, struct damage_record *ret_record)
{
	struct raw_damage raw;

	if (key_size != DAMAGE_KEY_SIZE || value_size != sizeof(raw))
		return -POOL_EFORMAT;
	memcpy(&raw, value, sizeof(raw));
	if (memcmp(raw.reserved, (uint8_t[sizeof(raw.reserved)]){ 0 }, sizeof(raw.reserved)) != 0)
		return -POOL_EFORMAT;
	*ret_record = (struct damage_record){
		.dataset = (uint32_t)get_big(key, 4),
		.object = get_big(key + 4, 8),
		.level = key[12],
		.block = get_big(key + 13, 8),
		.cells = le16_get(raw.cells),
		.dva = le64_get(raw.dva),
		.place = le64_get(raw.place),
		.found_ns = le64_get(raw.found_ns),
	};
	return 0;
}
