/*
 * Orphans: pointers that are in no object any more, with all that lies below them.
 *
 * Destroying an object or punching a range takes whole subtrees out at once; killing each pointer in them may take
 * longer than one txg should. What a sync doesn't get to is kept in a tree of the objset, object 15, key {txg, number},
 * value {pointer, object, block}. Each sync takes entries from there, kills a node and puts its children in its place, so
 * at any commit the tree holds exactly what is still referenced by nothing else. Nothing has to be searched for
 * after an import, a snapshot carries the list with it, and the destroyed object's dnode is free at once.
 *
 * Others wait for the sync: so it stops when the time for killing is up. What a sync added last is taken first, so that depth comes before
 * breadth, and the tree doesn't grow to all nodes of a large object.
 *
 * A node that can't be read is killed and its children are given up: their cells stay allocated until a scrub that
 * compares what is reachable with what is allocated finds them. The alternative would be an objset that can never be synced again.
 */
#include <stdlib.h>
#include <string.h>

#include "libpool/base/endian.h"
#include "libpool/format/tree_node.h"
#include "libpool/object/sync_internal.h"

#define BATCH_NODES 64u   /* read at once */
#define BATCH_CHILDREN 1024u /* that are nodes, and so go onto the stack */
#define FETCH_ENTRIES 64u /* of the tree, taken at once */

struct raw_orphan {
	struct raw_block_pointer pointer;
	le64 object;
	le64 block;
};
_Static_assert(sizeof(struct raw_orphan) == 80 && AT(raw_orphan, pointer, 0) && AT(raw_orphan, object, 64) &&
		       AT(raw_orphan, block, 72), "on disk");

struct raw_orphan_key {
	uint8_t txg[8];    /* big endian, so that memcmp orders them */
	uint8_t number[4]; /* likewise */
};
_Static_assert(sizeof(struct raw_orphan_key) == 12 && AT(raw_orphan_key, txg, 0) && AT(raw_orphan_key, number, 8), "on disk");

int orphan_decode(const void *value, size_t length, struct orphan *ret_orphan)
{
	struct raw_orphan raw;

	if (length != sizeof(raw))
		return -POOL_EFORMAT;
	memcpy(&raw, value, sizeof(raw));
	if (le64_get(raw.object) == 0 || le64_get(raw.object) == OBJECT_NUMBER_ORPHANS)
		return -POOL_EFORMAT;
	ret_orphan->pointer = raw.pointer;
	ret_orphan->object = le64_get(raw.object);
	ret_orphan->block = le64_get(raw.block);
	return 0;
}

int orphan_push(struct plan *plan, const struct block_pointer *pointer, const struct raw_block_pointer *raw, uint64_t block)
{
	struct orphan orphan = { *raw, plan->object->number, block };

	if (!block_pointer_is_placed(pointer))
		return 0;
	return array_push(&plan->part->orphans, &orphan);
}

int node_children(const struct block_pointer *pointer, const struct buffer *node, uint64_t block,
		  int (*visit)(void *argument, const struct raw_block_pointer *raw, const struct block_pointer *pointer, uint64_t block),
		  void *argument)
{
	bool tree = pointer->type == TYPE_TREE;
	size_t count = node->size / sizeof(struct raw_block_pointer);

	if (tree) {
		int result = tree_node_check(node->data, node->size, pointer->level);

		if (result < 0)
			return result;
		count = (size_t)tree_node_count(node->data, node->size, pointer->level);
	}
	for (size_t i = 0; i < count; i++) {
		const struct raw_block_pointer *raw;
		struct block_pointer child;
		struct tree_entry entry;
		int result;

		if (tree) {
			result = tree_node_entry(node->data, node->size, (unsigned)i, &entry);
			if (result < 0)
				return result;
			raw = (const struct raw_block_pointer *)entry.value;
		} else {
			raw = (const struct raw_block_pointer *)node->data + i;
		}
		result = block_pointer_decode(raw, &child);
		if (result == 0 && block_pointer_is_hole(&child))
			continue;
		if (result == 0 && (child.type != pointer->type || child.level + 1u != pointer->level))
			result = -POOL_EFORMAT;
		if (result == 0)
			result = visit(argument, raw, &child, tree ? 0 : block * count + i);
		if (result < 0)
			return result;
	}
	return 0;
}

/* The overlay that counts the cells of the object an orphan came from, or NULL when that is gone. */
static struct overlay *owner_overlay(struct sync_part *part, uint64_t number)
{
	struct object *object;
	struct overlay *overlay;

	if (!part->objset)
		return (*array_at(&part->plans, struct plan *, 0))->overlay;
	if (object_open(part->objset, number, &object) < 0)
		return NULL;
	overlay = object_overlay(object, part->run->request->txg);
	object_close(object);
	return overlay;
}

struct killing {
	struct sync_part *part;
	struct overlay *owner; /* of the objects' last one */
	uint64_t owner_number;
	bool owner_known;
	const struct orphan *parent;
};

static int kill_pointer(struct killing *killing, const struct block_pointer *pointer, uint64_t object)
{
	struct sync_run *run = killing->part->run;

	if (!block_pointer_is_placed(pointer))
		return 0;
	if (!killing->owner_known || killing->owner_number != object) {
		killing->owner = owner_overlay(killing->part, object);
		killing->owner_number = object;
		killing->owner_known = true;
	}
	if (killing->owner)
		killing->owner->cells_change -= pointer->psect;
	run->request->orphan = true;
	run->request->kill(run->request, killing->part->objset, pointer);
	run->request->orphan = false;
	if (run->kills_left)
		run->kills_left--;
	return 0;
}

static size_t orphans_room(const struct sync_part *part)
{
	struct object_sync *request = part->run->request;

	return part->objset && request->orphans_room ? request->orphans_room(request) : SIZE_MAX;
}

/* That may still be killed by this sync. */
static size_t kills_left(const struct sync_part *part)
{
	size_t room = orphans_room(part), left = part->objset ? part->run->kills_left : SIZE_MAX;

	return room < left ? room : left;
}

static int kill_child(void *argument, const struct raw_block_pointer *raw, const struct block_pointer *pointer, uint64_t block)
{
	struct killing *killing = argument;
	struct orphan orphan = { *raw, killing->parent->object, block };

	/* The node goes all the same: what there is no room for become orphans of their own. */
	if (pointer->level == 0 && orphans_room(killing->part) > 0)
		return kill_pointer(killing, pointer, orphan.object);
	return array_push(&killing->part->orphans, &orphan);
}

/* How many orphans at the end of the stack to take at once: one, or as many as `kills` suffice for and whose children aren't too many. */
static size_t batch_size(const struct array *stack, size_t kills)
{
	size_t count = 0;
	uint64_t needed = 0, children = 0;

	while (count < stack->count && count < BATCH_NODES) {
		struct block_pointer pointer;

		if (block_pointer_decode(&array_at(stack, struct orphan, stack->count - 1 - count)->pointer, &pointer) < 0)
			break;
		needed += pointer.level == 1 ? pointer.fill + 1 : 1;
		if (pointer.level > 1) {
			uint64_t slots = (uint64_t)pointer.lsect * CELL_SIZE / sizeof(struct raw_block_pointer);

			children += pointer.type != TYPE_TREE && pointer.fill < slots ? pointer.fill : slots;
		}
		if (needed > kills || children > BATCH_CHILDREN)
			break;
		count++;
	}
	return count ? count : 1;
}

struct batch {
	size_t count;
	struct orphan orphans[BATCH_NODES];
	struct node_request nodes[BATCH_NODES];
};

static int read_batch(struct sync_part *part, struct batch *batch)
{
	for (size_t i = 0; i < batch->count; i++) {
		const struct orphan *orphan = &batch->orphans[i];
		struct node_request *node = &batch->nodes[i];
		struct block_pointer pointer;

		*node = (struct node_request){ 0 };
		if (block_pointer_decode(&orphan->pointer, &pointer) < 0 || pointer.level == 0)
			continue; /* leaves have no children */
		node->pointer = pointer;
		node->owner = (struct block_owner){ part->home->objset_id, orphan->object, orphan->block, pointer.level };
	}
	nodes_read(part->home, batch->nodes, batch->count);
	for (size_t i = 0; i < batch->count; i++)
		if (batch->nodes[i].error == -ENOMEM || batch->nodes[i].error == -POOL_EHALTED)
			return batch->nodes[i].error;
	return 0;
}

static int kill_batch(struct killing *killing, struct batch *batch)
{
	struct array *stack = &killing->part->orphans;
	int result;

	batch->count = batch_size(stack, kills_left(killing->part));
	stack->count -= batch->count;
	memcpy(batch->orphans, array_at(stack, struct orphan, stack->count), batch->count * sizeof(batch->orphans[0]));
	result = read_batch(killing->part, batch);
	for (size_t i = 0; i < batch->count; i++) {
		const struct orphan *orphan = &batch->orphans[i];
		struct node_request *node = &batch->nodes[i];
		struct block_pointer pointer;

		killing->parent = orphan;
		if (result == 0 && node->buffer && node_children(&node->pointer, node->buffer, orphan->block, kill_child, killing) == -ENOMEM)
			result = -ENOMEM;
		if (result == 0 && block_pointer_decode(&orphan->pointer, &pointer) == 0)
			kill_pointer(killing, &pointer, orphan->object);
		buffer_unref(node->buffer);
	}
	return result;
}

/* A key before all of txg. */
static size_t txg_key(uint64_t txg, struct raw_orphan_key *ret_key)
{
	for (int byte = 7; byte >= 0; byte--)
		ret_key->txg[7 - byte] = (uint8_t)(txg >> 8 * byte);
	return sizeof(ret_key->txg);
}

/* Takes entries out of the tree: those after the key, or else the first ones. */
static int fetch(struct sync_part *part, struct raw_orphan_key *after, size_t *after_length)
{
	struct object *tree = part->objset->orphans;
	uint64_t txg = part->run->request->txg;
	uint8_t key[OBJECT_KEY_MAX], value[OBJECT_VALUE_MAX];
	size_t key_length, value_length;

	for (unsigned i = 0; i < FETCH_ENTRIES; i++) {
		struct orphan orphan;
		int result = tree_next(tree, after, *after_length, *after_length > 0, key, &key_length, value, &value_length);

		if (result == -ENOENT && i == 0 && *after_length) {
			*after_length = 0;
			result = tree_next(tree, after, 0, false, key, &key_length, value, &value_length);
		}
		if (result == -ENOENT)
			return 0;
		if (result < 0)
			return result;
		if (key_length != sizeof(*after))
			return -POOL_EFORMAT;
		memcpy(after, key, key_length);
		*after_length = key_length;
		result = orphan_decode(value, value_length, &orphan);
		if (result == 0)
			result = array_push(&part->orphans, &orphan);
		if (result == 0)
			result = tree_delete(tree, txg, key, key_length);
		if (result < 0)
			return result;
	}
	return 0;
}

static int keep_rest(struct sync_part *part)
{
	uint64_t txg = part->run->request->txg;
	int result = 0;

	for (size_t i = 0; i < part->orphans.count && result == 0; i++) {
		const struct orphan *orphan = array_at(&part->orphans, struct orphan, i);
		struct raw_orphan value = { orphan->pointer, le64_make(orphan->object), le64_make(orphan->block) };
		struct raw_orphan_key key;
		uint64_t number = i;

		(void)txg_key(txg, &key);
		for (int byte = 3; byte >= 0; byte--)
			key.number[3 - byte] = (uint8_t)(number >> 8 * byte);
		result = tree_put(part->objset->orphans, txg, &key, sizeof(key), &value, sizeof(value));
	}
	array_clear(&part->orphans);
	part->objset->orphans_from = txg;
	return result;
}

/* The first batch is for any time: something has to go forward. */
static bool is_late(struct sync_run *run)
{
	uint64_t now = rt_now(run->rt);

	if (!run->kills_until_ns) {
		run->kills_until_ns = now + (run->request->kill_ns ? run->request->kill_ns : UINT64_MAX - now);
		return false;
	}
	return now >= run->kills_until_ns;
}

int orphans_kill(struct sync_part *part)
{
	struct killing killing = { .part = part };
	struct raw_orphan_key after = { 0 };
	size_t after_length = part->objset && part->objset->orphans_from ? txg_key(part->objset->orphans_from, &after) : 0;
	bool more = part->objset && objset_has_pending_kills(part->objset);
	struct batch *batch;
	int result = 0;

	if (!more && !part->orphans.count)
		return 0;
	batch = malloc(sizeof(*batch));
	if (!batch)
		return -ENOMEM;
	while (result == 0) {
		if (part->objset && (kills_left(part) == 0 || is_late(part->run)))
			break;
		if (part->orphans.count) {
			result = kill_batch(&killing, batch);
		} else if (more) {
			result = fetch(part, &after, &after_length);
			more = part->orphans.count > 0;
		} else {
			break;
		}
	}
	free(batch);
	return result == 0 && part->orphans.count ? keep_rest(part) : result;
}
