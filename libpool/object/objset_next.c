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

static void note_lowest(struct hash_node *node, void *argument)
{
	const struct object *object = container_of(node, struct object, node);
	struct lowest *lowest = argument;

	if (!object->destroyed && object->number != OBJECT_NUMBER_ORPHANS && object->number >= lowest->first && object->number < lowest->number)
		lowest->number = object->number;
}

int objset_next_object(struct objset *objset, uint64_t first, uint64_t *ret_number)
{
	uint64_t limit = objset->next_object * DNODE_SIZE, offset, number = first ? first : 1;
	struct lowest lowest = { .first = number, .number = UINT64_MAX };

	/* New ones aren't on disk yet. */
	hash_table_each(&objset->objects, note_lowest, &lowest);
	while (number < objset->next_object && number < lowest.number) {
		int status = blob_seek(objset->dnodes, number * DNODE_SIZE, limit, true, &offset);
		if (status < 0)
			return status;
		if (offset >= limit)
			break;
		if (offset / DNODE_SIZE > number)
			number = offset / DNODE_SIZE;
		status = next_in_block(objset, number, &number);
		if (status == 0) {
			*ret_number = number;
			return 0;
		}
		number = (number / DNODES_PER_BLOCK + 1) * DNODES_PER_BLOCK;
	}
	if (lowest.number == UINT64_MAX)
		return -ENOENT;
	*ret_number = lowest.number;
	return 0;
}
