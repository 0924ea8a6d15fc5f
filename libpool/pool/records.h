/*
 * The records of the MOS trees that belong to the pool layer: history with events, damage, and the keys of
 * properties. docs/FORMAT.md, section 19, lists the trees; jobs are in scrub/job.h. Decoders accept any bytes.
 *
 *	history   key: sequence u64 big endian
 *		  value: time u64, txg u64, kind u8 (0 command, 1 event), severity u8, 6 bytes zero, then
 *		  the text of the command, or of the event its kind, object and text, each but the last ended by a 0 byte
 *	damage    key: dataset u32, object u64, level u8, block u64, big endian
 *		  value: dva u64, place u64, found u64, cells u16, 6 bytes zero
 *	properties key: "pool" 0 name; "disk" 0 guid in hex 0 "path". value: the text
 */
#ifndef LIBPOOL_POOL_RECORDS_H
#define LIBPOOL_POOL_RECORDS_H

#include <stddef.h>
#include <stdint.h>

#include "libpool/include/libpool.h"

enum { HISTORY_COMMAND = 0, HISTORY_EVENT = 1 };

#define HISTORY_KEY_SIZE 8u
#define HISTORY_HEAD_SIZE 24u
#define HISTORY_TEXT_MAX 600u /* kind, object and text of an event */
#define HISTORY_SEVERITY_MAX 2u
#define HISTORY_SIZE_MAX (HISTORY_HEAD_SIZE + HISTORY_TEXT_MAX)

struct history_record {
	uint64_t time_ns, txg;
	uint8_t kind, severity;
	size_t text_length;
	char text[HISTORY_TEXT_MAX + 1]; /* with a 0 byte behind it */
};

void history_key_encode(uint64_t sequence, uint8_t *ret_key);
uint64_t history_key_decode(const uint8_t *key, size_t size); /* 0: not a key */
size_t history_encode(const struct history_record *record, uint8_t *ret_value);
int history_decode(const uint8_t *value, size_t size, struct history_record *ret_record);
/* An event as the text of a history record, and back. */
void history_from_event(const struct libpool_event *event, struct history_record *ret_record);
void history_to_event(const struct history_record *record, uint64_t sequence, struct libpool_event *ret_event);

#define DAMAGE_KEY_SIZE 21u
#define DAMAGE_VALUE_SIZE 32u

/* One block that can't be read. */
struct damage_record {
	uint32_t dataset;
	uint64_t object, block;
	uint8_t level;
	uint16_t cells;
	uint64_t dva, place, found_ns;
};

void damage_encode(const struct damage_record *record, uint8_t *ret_key, uint8_t *ret_value);
int damage_decode(const uint8_t *key, size_t key_size, const uint8_t *value, size_t value_size, struct damage_record *ret_record);

#endif
