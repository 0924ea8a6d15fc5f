/*
 * The damage list: blocks that can't be read, in RAM and in the MOS, so that it outlives an export. Entries come
 * from reads and from scrubs. They go when the block was read after all, healed, freed or rewritten; entries of an
 * earlier import, which the block layer knows nothing of, when a scrub has ended and the range can be read.
 *
 * What must always hold: what is in the MOS and not in RAM, or the other way round, is marked so and waits
 * for the keeper. Bounded: beyond ENGINE_DAMAGE_MAX blocks only the count goes on.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libpool/pool/internal.h"

static struct damage_entry *entry_at(const struct engine *engine, size_t i)
{
	return array_at(&engine->damage, struct damage_entry, i);
}

static struct damage_entry *find_identity(const struct engine *engine, uint64_t dva, uint64_t place)
{
	for (size_t i = 0; i < engine->damage.count; i++)
		if (entry_at(engine, i)->record.dva == dva && entry_at(engine, i)->record.place == place &&
		    !entry_at(engine, i)->gone)
			return entry_at(engine, i);
	return NULL;
}

static struct damage_entry *find_owner(const struct engine *engine, const struct block_owner *owner)
{
	for (size_t i = 0; i < engine->damage.count; i++) {
		const struct damage_record *record = &entry_at(engine, i)->record;

		if (record->dataset == owner->objset && record->object == owner->object && record->level == owner->level &&
		    record->block == owner->block)
			return entry_at(engine, i);
	}
	return NULL;
}

static void note_change(struct engine *engine)
{
	engine->damage_dirty = true;
	keeper_ask(engine);
}

static void clear(struct engine *engine, struct damage_entry *entry)
{
	entry->gone = true;
	note_change(engine);
}

static void add(struct engine *engine, const struct block_pointer *pointer, const struct block_owner *owner)
{
	struct damage_entry fresh = {0}, *entry = find_owner(engine, owner);

	if (!entry) {
		if (engine->damage.count >= ENGINE_DAMAGE_MAX || array_push(&engine->damage, &fresh) < 0) {
			engine->damage_lost++;
			return;
		}
		entry = entry_at(engine, engine->damage.count - 1);
	}
	entry->record = (struct damage_record){
		.dataset = owner->objset,
		.object = owner->object,
		.level = owner->level,
		.block = owner->block,
		.cells = pointer->lsect,
		.dva = pointer->dva,
		.place = pointer->place,
		.found_ns = rt_realtime(engine->rt),
	};
	entry->gone = entry->stored = entry->announced = false;
	note_change(engine);
}

void damage_report(struct engine *engine, const struct block_pointer *pointer, const struct block_owner *owner, int error)
{
	struct damage_entry *entry = find_identity(engine, pointer->dva, pointer->place);

	if (error == 0 && entry)
		clear(engine, entry);
	else if (error < 0 && !entry && owner)
		add(engine, pointer, owner);
}

static void block_damage(void *argument, const struct block_pointer *pointer, const struct block_owner *owner, int error)
{
	damage_report(argument, pointer, owner, error);
}

void damage_attach(struct engine *engine)
{
	blocks_set_damage_callback(core_blocks(engine->core), block_damage, engine);
}

size_t damage_count(const struct engine *engine)
{
	size_t count = engine->damage_lost;

	for (size_t i = 0; i < engine->damage.count; i++)
		count += !entry_at(engine, i)->gone;
	return count;
}

void damage_clear_all(struct engine *engine)
{
	for (size_t i = 0; i < engine->damage.count; i++)
		clear(engine, entry_at(engine, i));
	engine->damage_lost = 0;
}

/* ---- ranges, for people ---- */

/* Waits. What can't be asked any more is named by the place of its block. */
static void range_of(struct engine *engine, const struct damage_record *record, uint64_t *ret_offset, uint64_t *ret_length)
{
	uint64_t unit = (uint64_t)record->cells * CELL_SIZE;

	if (record->dataset && dataset_block_range(engine->datasets, record->dataset, record->object, record->level, record->block,
						   ret_offset, ret_length) == 0)
		return;
	*ret_offset = record->level == 0 ? record->block * unit : 0;
	*ret_length = unit;
}

static int by_place(const void *a, const void *b)
{
	const struct libpool_damage *first = a, *second = b;
	int names = strcmp(first->dataset, second->dataset);

	if (names)
		return names;
	if (first->object != second->object)
		return first->object < second->object ? -1 : 1;
	return first->offset < second->offset ? -1 : first->offset > second->offset;
}

/* Neighbours become one range. */
static size_t merge(struct libpool_damage *all, size_t count)
{
	size_t kept = 0;

	for (size_t i = 0; i < count; i++) {
		struct libpool_damage *last = kept ? &all[kept - 1] : NULL;

		if (last && !strcmp(last->dataset, all[i].dataset) && last->object == all[i].object &&
		    all[i].offset <= last->offset + last->length) {
			uint64_t end = all[i].offset + all[i].length;

			if (end > last->offset + last->length)
				last->length = end - last->offset;
			if (all[i].found_ns < last->found_ns)
				last->found_ns = all[i].found_ns;
		} else {
			all[kept++] = all[i];
		}
	}
	return kept;
}

static void describe(struct engine *engine, const struct damage_record *record, struct libpool_damage *ret_damage)
{
	*ret_damage = (struct libpool_damage){.size = sizeof(*ret_damage), .object = record->object, .found_ns = record->found_ns};
	if (record->dataset) {
		dataset_name(engine->datasets, record->dataset, ret_damage->dataset);
		if (!ret_damage->dataset[0])
			snprintf(ret_damage->dataset, sizeof(ret_damage->dataset), "(destroyed %u)", record->dataset);
	}
	range_of(engine, record, &ret_damage->offset, &ret_damage->length);
}

int engine_damage(struct engine *engine, struct libpool_damage **ret_damage, size_t *ret_count)
{
	struct array all;
	int result = 0;

	array_init(&all, sizeof(struct libpool_damage));
	for (size_t i = 0; i < engine->damage.count && result == 0; i++) {
		struct libpool_damage one;
		struct damage_record record = entry_at(engine, i)->record;

		if (entry_at(engine, i)->gone)
			continue;
		describe(engine, &record, &one);
		result = array_push(&all, &one);
	}
	if (result == 0)
		result = array_reserve(&all, 1);
	if (result < 0) {
		array_release(&all);
		return result;
	}
	if (all.count > 1)
		qsort(all.items, all.count, sizeof(struct libpool_damage), by_place);
	*ret_count = merge(all.items, all.count);
	damage_find_paths(engine, all.items, *ret_count);
	*ret_damage = all.items;
	return 0;
}

/* ---- the MOS ---- */

int damage_load(struct engine *engine)
{
	struct object *tree = core_mos_object(engine->core, MOS_DAMAGE);
	uint8_t key[OBJECT_KEY_MAX], value[OBJECT_VALUE_MAX];
	size_t key_length = 0, value_length;
	int result;

	key[0] = 0;
	while ((result = tree_next(tree, key, key_length, key_length > 0, key, &key_length, value, &value_length)) == 0) {
		struct damage_entry entry = {.stored = true, .announced = true};

		if (damage_decode(key, key_length, value, value_length, &entry.record) < 0)
			continue;
		if (engine->damage.count >= ENGINE_DAMAGE_MAX)
			engine->damage_lost++;
		else if (array_push(&engine->damage, &entry) < 0)
			return -ENOMEM;
	}
	return result == -ENOENT ? 0 : result;
}

/* One event for all that is new, with the first of them. */
static void announce(struct engine *engine)
{
	struct libpool_damage first;
	unsigned fresh = 0;

	for (size_t i = 0; i < engine->damage.count; i++) {
		struct damage_entry *entry = entry_at(engine, i);
		struct damage_record record = entry->record;

		if (entry->announced || entry->gone)
			continue;
		entry->announced = true;
		if (fresh++ > 0)
			continue;
		describe(engine, &record, &first);
	}
	if (!fresh)
		return;
	damage_find_path(engine, &first);
	engine_eventf(engine, 2, "data.unreadable", first.dataset, "%u blocks can't be read; the first has bytes %llu to %llu%s%.120s",
		      fresh, (unsigned long long)first.offset, (unsigned long long)(first.offset + first.length - 1), first.path[0] ? " of " : "", first.path);
}

/* Stores or deletes one entry. The list may change while it waits, so only the record is looked at afterwards. */
static int store_one(struct engine *engine, struct damage_record record, bool gone)
{
	uint8_t key[DAMAGE_KEY_SIZE], value[DAMAGE_VALUE_SIZE];

	damage_encode(&record, key, value);
	return engine_mos_put(engine, MOS_DAMAGE, key, sizeof(key), gone ? NULL : value, gone ? 0 : sizeof(value));
}

void damage_store(struct engine *engine)
{
	if (!engine->damage_dirty)
		return;
	engine->damage_dirty = false;
	announce(engine);
	for (size_t i = 0; i < engine->damage.count;) {
		struct damage_entry before = *entry_at(engine, i), *entry;

		if (before.stored != before.gone) {
			i++;
			continue;
		}
		/* Deleted also when never stored: an older entry of the same place may be there. */
		if (store_one(engine, before.record, before.gone) < 0) {
			engine->damage_dirty = true;
			return;
		}
		entry = entry_at(engine, i); /* nothing is removed but here */
		if (entry->gone && before.gone)
			*entry = *entry_at(engine, --engine->damage.count);
		else if (!entry->gone && !before.gone && entry->record.dva == before.record.dva &&
			 entry->record.place == before.record.place)
			entry->stored = true;
		else
			engine->damage_dirty = true; /* it changed meanwhile */
	}
}

/* ---- after a scrub ---- */

/* What is gone, with its dataset or without, nobody can read any more. */
static bool is_readable(struct engine *engine, const struct damage_record *record)
{
	int result = dataset_block_check(engine->datasets, record->dataset, record->object, record->level, record->block);

	return result == 0 || result == -ENOENT;
}

void damage_recheck(struct engine *engine, bool scrub_was_clean)
{
	for (size_t i = 0; i < engine->damage.count && !engine->stopping; i++) {
		struct damage_record record = entry_at(engine, i)->record;
		bool fine = record.dataset ? is_readable(engine, &record) : scrub_was_clean;
		struct damage_entry *entry = fine ? find_identity(engine, record.dva, record.place) : NULL;

		if (entry)
			clear(engine, entry);
	}
	if (scrub_was_clean)
		engine->damage_lost = 0;
}
