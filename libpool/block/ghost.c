/*
 * A set-associative table that ages by overwriting the oldest slot of a set. What must hold: it is never
 * larger than its owner allowed, and without memory it remembers less, never wrongly more.
 */
#include "libpool/block/ghost.h"

#include <stdlib.h>

enum { SET_SLOTS = 8, SLOTS_FIRST = 512 };

static uint32_t tag_of(uint64_t hash)
{
	uint32_t tag = (uint32_t)(hash >> 32);

	return tag ? tag : 1;
}

static struct ghost_slot *set_of(const struct ghost *ghost, uint32_t tag)
{
	size_t sets = ghost->slot_count / SET_SLOTS;

	return ghost->slots + (tag & (sets - 1)) * SET_SLOTS;
}

static void put(struct ghost *ghost, struct ghost_slot slot)
{
	struct ghost_slot *set = set_of(ghost, slot.tag), *victim = set;

	for (size_t i = 0; i < SET_SLOTS; i++) {
		if (set[i].tag == 0 || set[i].tag == slot.tag) {
			victim = &set[i];
			break;
		}
		if (ghost->time - set[i].time > ghost->time - victim->time)
			victim = &set[i];
	}
	*victim = slot;
}

static void grow(struct ghost *ghost, size_t slot_count)
{
	struct ghost bigger = {.slots = calloc(slot_count, sizeof(*bigger.slots)),
			       .slot_count = slot_count,
			       .time = ghost->time};

	if (!bigger.slots)
		return;
	for (size_t i = 0; i < ghost->slot_count; i++) {
		if (ghost->slots[i].tag)
			put(&bigger, ghost->slots[i]);
	}
	free(ghost->slots);
	*ghost = bigger;
}

void ghost_insert(struct ghost *ghost, uint64_t hash, size_t entries, size_t bytes_max)
{
	/* Sets fill unevenly: above three quarters too many entries would be overwritten before their time.
	 */
	if (entries > ghost->slot_count / 4 * 3) {
		size_t wanted = ghost->slot_count ? ghost->slot_count * 2 : SLOTS_FIRST;

		if (wanted * sizeof(struct ghost_slot) <= bytes_max)
			grow(ghost, wanted);
	}
	if (ghost->slot_count == 0)
		return;
	ghost->time++;
	put(ghost, (struct ghost_slot){.tag = tag_of(hash), .time = ghost->time});
}

bool ghost_take(struct ghost *ghost, uint64_t hash, size_t entries)
{
	if (ghost->slot_count == 0)
		return false;
	uint32_t tag = tag_of(hash);
	struct ghost_slot *set = set_of(ghost, tag);

	for (size_t i = 0; i < SET_SLOTS; i++) {
		if (set[i].tag != tag)
			continue;
		set[i].tag = 0;
		return ghost->time - set[i].time < entries;
	}
	return false;
}

void ghost_release(struct ghost *ghost)
{
	free(ghost->slots);
	*ghost = (struct ghost){0};
}
