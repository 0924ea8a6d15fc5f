/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where blocks are that were moved, and what becomes of them when they die: the tree xblk. Most blocks were never moved, which the segment
 * table tells (alloc/moved.c) without a look at the tree.
 *
 * What must always hold: an entry lives exactly as long as its block, and comes and goes in the commit that moves or frees it. Until a move is
 * committed, readers find the block where it was: its new rows may not be written yet. The blocks of objset 0 have no entries, so
 * looking one up never needs one.
 */
#include <stdlib.h>

#include "libpool/base/check.h"
#include "libpool/txg/internal.h"
#include "libpool/txg/moves.h"

/* What is freed is looked up in portions: their leaves are 4 MiB at most, for which there is room in the cache. */
#define AT_ONCE 256u
#define READERS 32u
#define NEIGHBOURS 8u /* keys that one reader takes in turn: often of one leaf */

int moved_find(struct core *core, uint64_t dva, uint64_t place, struct moved_entry *ret_entry)
{
	uint8_t key[MOVED_KEY_SIZE], value[MOVED_VALUE_SIZE];
	struct object *tree = core->mos_objects[MOS_XBLK];
	size_t length;

	if (!tree)
		return -ENOENT;
	moved_key_encode(dva, place, key);
	int status = tree_get(tree, key, sizeof(key), value, sizeof(value), &length);
	if (status == -ERANGE)
		return -POOL_EFORMAT;
	return status < 0 ? status : moved_decode(key, sizeof(key), value, length, ret_entry);
}

uint64_t moved_cells(const struct core *core)
{
	struct dnode dnode = { .sectors = 0 };

	if (core->mos_objects[MOS_XBLK])
		object_info(core->mos_objects[MOS_XBLK], &dnode);
	return dnode.sectors;
}

static bool is_damage(int status)
{
	return status == -POOL_EDAMAGED || status == -POOL_EFORMAT;
}

int moved_locate(void *argument, const struct block_pointer *pointer, struct block_pointer *ret_at)
{
	struct core *core = argument;
	struct moved_entry entry;

	*ret_at = *pointer;
	if (!alloc_may_have_moved(core->alloc, pointer))
		return 0;
	int status = moved_find(core, pointer->dva, pointer->place, &entry);
	/* Asked last: what the tree says may be of the txg in sync. */
	const struct move *move = moves_find(&core->moves, pointer->dva, pointer->place);
	if (move) {
		ret_at->dva = move->from.dva;
		ret_at->place = move->from.place;
		return 0;
	}
	const struct segment *segment = alloc_segment(core->alloc, dva_unpack(pointer->dva).segment);
	/* The tree can't be read, but it may never have been moved: its checksum tells. */
	if (status == -ENOENT || (is_damage(status) && pointer->place >= segment->record.alloc_txg))
		return 0;
	if (status < 0)
		return status == -POOL_EFORMAT ? -POOL_EDAMAGED : status;
	ret_at->dva = entry.new_dva;
	ret_at->place = alloc_place_of(core->alloc, entry.new_dva);
	return 0;
}

int core_locate(struct core *core, uint32_t objset, const struct block_pointer *pointer, struct block_pointer *ret_at)
{
	*ret_at = *pointer;
	return objset ? moved_locate(core, pointer, ret_at) : 0;
}

int core_each_moved(struct core *core, int (*visit)(void *argument, const struct moved_entry *entry), void *argument)
{
	struct object *tree = core->mos_objects[MOS_XBLK];
	uint8_t *key = malloc(2 * OBJECT_KEY_MAX + OBJECT_VALUE_MAX);
	size_t key_length = 0, next_length = 0, length;
	int status = key ? 0 : -ENOMEM;

	while (status == 0) {
		uint8_t *next = key + OBJECT_KEY_MAX, *value = next + OBJECT_KEY_MAX;
		struct moved_entry entry;
		status = tree_next(tree, key, key_length, key_length > 0, next, &next_length, value, &length);
		if (status == 0)
			status = moved_decode(next, next_length, value, length, &entry);
		if (status == 0)
			status = visit(argument, &entry);
		memcpy(key, next, status == 0 ? next_length : 0);
		key_length = next_length;
	}
	free(key);
	return status == -ENOENT ? 0 : status;
}

static int compare_kills(const void *a, const void *b)
{
	const struct moved_kill *x = a, *y = b;

	if (x->dva != y->dva)
		return x->dva < y->dva ? -1 : 1;
	return x->place < y->place ? -1 : x->place > y->place;
}

int moved_kill(struct core *core, const struct block_pointer *pointer)
{
	struct moved_kill kill = { pointer->dva, pointer->place, pointer->psect };

	return array_push(&core->moves.kills, &kill);
}

/* Frees the cells where they are, with the entry, unless others have the block too. -EAGAIN: where they are can't be told now. */
static int free_moved(struct core *core, uint64_t txg, const struct moved_kill *kill)
{
	struct block_pointer pointer = { .dva = kill->dva, .place = kill->place, .psect = kill->psect };
	struct object *tree = core->mos_objects[MOS_XBLK];
	uint8_t key[MOVED_KEY_SIZE], value[MOVED_VALUE_SIZE];
	struct moved_entry entry;
	int status = moved_find(core, kill->dva, kill->place, &entry);

	if (status == -ENOENT) {
		core_free_block(core, &pointer);
		return 0;
	}
	if (is_damage(status)) { /* where it is nobody knows any more: its cells stay */
		store_tell_leak(core->store, kill->psect);
		return 0;
	}
	if (status < 0)
		return status == -ENOMEM ? status : -EAGAIN;
	if (entry.references > 1) {
		entry.references--;
		moved_encode(&entry, key, value);
		return tree_put(tree, txg, key, sizeof(key), value, sizeof(value));
	}
	moved_key_encode(kill->dva, kill->place, key);
	pointer.dva = entry.new_dva;
	pointer.place = alloc_place_of(core->alloc, entry.new_dva);
	core_free_block(core, &pointer);
	return tree_delete(tree, txg, key, sizeof(key));
}

/* Lookups that many fibers do at the same time, so that the leaves are in the cache when their turn comes. */
struct lookups {
	struct core *core;
	size_t next, end;
	struct rt_group group;
};

static void look_up_next(struct lookups *lookups)
{
	struct core *core = lookups->core;
	struct moved_entry entry;

	while (lookups->next < lookups->end) {
		size_t first = lookups->next, end = first + NEIGHBOURS < lookups->end ? first + NEIGHBOURS : lookups->end;

		lookups->next = end;
		for (size_t i = first; i < end; i++) {
			struct moved_kill kill = *array_at(&core->moves.kills, struct moved_kill, i);
			(void)moved_find(core, kill.dva, kill.place, &entry); /* what can't be read is told when it is asked for */
		}
	}
}

static void look_up(void *argument)
{
	struct lookups *lookups = argument;

	look_up_next(lookups);
	rt_group_done(lookups->core->rt, &lookups->group, 0);
}

static void look_up_ahead(struct core *core, size_t first, size_t end)
{
	struct lookups lookups = { .core = core, .next = first, .end = end };

	rt_group_init(&lookups.group);
	for (unsigned i = 1; i < READERS && i * NEIGHBOURS < end - first; i++) {
		rt_group_add(&lookups.group);
		if (rt_spawn(core->rt, "look up moved blocks", look_up, &lookups) < 0) {
			rt_group_done(core->rt, &lookups.group, 0);
			break;
		}
	}
	look_up_next(&lookups);
	if (lookups.group.pending)
		rt_group_wait(core->rt, &lookups.group);
}

int moved_sync_kills(struct core *core, uint64_t txg)
{
	struct array *kills = &core->moves.kills;
	size_t later = 0;
	int status = 0;

	if (kills->count)
		qsort(kills->items, kills->count, sizeof(struct moved_kill), compare_kills);
	for (size_t i = 0; i < kills->count && status == 0; i++) {
		if (i % AT_ONCE == 0) {
			look_up_ahead(core, i, i + AT_ONCE < kills->count ? i + AT_ONCE : kills->count);
			rt_yield(core->rt);
		}
		struct moved_kill kill = *array_at(kills, struct moved_kill, i);
		status = free_moved(core, txg, &kill);
		if (status == -EAGAIN) { /* a disk doesn't answer: by the next sync, or never if there is none */
			*array_at(kills, struct moved_kill, later++) = kill;
			status = 0;
		}
	}
	kills->count = later;
	return status;
}
