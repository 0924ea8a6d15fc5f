/* SPDX-License-Identifier: BSD-2-Clause */
/* The objects of an objset in the order of their numbers, as they are now: on disk, and changed since. */
#include <errno.h>

#include "libpool/object/object_internal.h"

/* Whether any dnode of the block exists, from `number` on; *ret_number then. Objects in RAM count before what is on disk. */
static int next_in_block(struct objset *objset, uint64_t number, uint64_t *ret_number)
{
	uint64_t end = (number / DNODES_PER_BLOCK + 1) * DNODES_PER_BLOCK;
	struct object *object;

	for (; number < end && number < objset->next_object; number++) {
		int status = object_open(objset, number, &object);
		if (status == -ENOENT)
			continue;
		/* What can't be read is there: whoever opens it will see. */
		if (status == 0)
			object_close(object);
		*ret_number = number;
		return 0;
	}
	return -ENOENT;
}

struct lowest {
	uint64_t first, number;
};

static bool counts(const struct object *object)
{
	return !object->destroyed && object->number != OBJECT_NUMBER_ORPHANS;
}

static void note_lowest(struct hash_node *node, void *argument)
{
	const struct object *object = container_of(node, struct object, node);
	struct lowest *lowest = argument;

	if (counts(object) && object->number >= lowest->first && object->number < lowest->number)
		lowest->number = object->number;
}

/* Below `end`, of those in RAM; `end` if there is none. Number by number, but no more of them than there are objects: then by all of these. */
static uint64_t lowest_in_ram(struct objset *objset, uint64_t first, uint64_t end)
{
	struct lowest lowest = { .number = end };

	for (lowest.first = first; lowest.first < end && lowest.first - first < objset->objects.count; lowest.first++) {
		const struct object *object = objset_find(objset, lowest.first);
		if (object && counts(object))
			return lowest.first;
	}
	if (lowest.first < end)
		hash_table_each(&objset->objects, note_lowest, &lowest);
	return lowest.number;
}

int objset_next_object(struct objset *objset, uint64_t first, uint64_t *ret_number)
{
	uint64_t limit = objset->next_object * DNODE_SIZE, offset, from = first ? first : 1, number = from, found = UINT64_MAX;

	while (number < objset->next_object && found == UINT64_MAX) {
		int status = blob_seek(objset->dnodes, number * DNODE_SIZE, limit, true, &offset);
		if (status < 0)
			return status;
		if (offset >= limit)
			break;
		if (offset / DNODE_SIZE > number)
			number = offset / DNODE_SIZE;
		if (next_in_block(objset, number, &number) == 0)
			found = number;
		number = (number / DNODES_PER_BLOCK + 1) * DNODES_PER_BLOCK;
	}
	/* New ones aren't on disk yet. */
	uint64_t lowest = lowest_in_ram(objset, from, found);

	if (lowest == UINT64_MAX)
		return -ENOENT;
	*ret_number = lowest;
	return 0;
}
