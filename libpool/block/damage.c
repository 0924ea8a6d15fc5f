/*
 * Which blocks were reported as damaged, so that each is reported once, however often it is read, and its
 * entry clears when it can be read again or is gone. Beyond the bound blocks are reported at each read.
 */
#include <stdlib.h>

#include "libpool/block/block_internal.h"

enum { DAMAGED_MAX = 65536 };

struct damaged_block {
	struct hash_node node;
	uint64_t dva, place;
};

static struct damaged_block *find(const struct blocks *blocks, const struct block_pointer *pointer)
{
	for (struct hash_node *node = hash_table_first(&blocks->damaged, identity_hash(pointer)); node;
	     node = hash_table_next(node)) {
		struct damaged_block *damaged = container_of(node, struct damaged_block, node);

		if (damaged->dva == pointer->dva && damaged->place == pointer->place)
			return damaged;
	}
	return NULL;
}

static void tell(struct blocks *blocks, const struct block_pointer *pointer, const struct block_owner *owner,
		 int error)
{
	if (blocks->damage_callback)
		blocks->damage_callback(blocks->damage_argument, pointer, owner, error);
}

void damage_found(struct blocks *blocks, const struct block_pointer *pointer, const struct block_owner *owner,
		  int error)
{
	if (block_pointer_is_placed(pointer)) {
		if (find(blocks, pointer))
			return;
		struct damaged_block *damaged =
		    blocks->damaged.count < DAMAGED_MAX ? malloc(sizeof(*damaged)) : NULL;

		if (damaged) {
			*damaged = (struct damaged_block){.dva = pointer->dva, .place = pointer->place};
			hash_table_insert(&blocks->damaged, &damaged->node, identity_hash(pointer));
		}
	}
	tell(blocks, pointer, owner, error);
}

void block_is_damaged(struct blocks *blocks, const struct block_pointer *pointer, const struct block_owner *owner)
{
	damage_found(blocks, pointer, owner, -POOL_EDAMAGED);
}

void damage_cleared(struct blocks *blocks, const struct block_pointer *pointer,
		    const struct block_owner *owner)
{
	if (blocks->damaged.count == 0)
		return;
	struct damaged_block *damaged = find(blocks, pointer);

	if (!damaged)
		return;
	hash_table_remove(&blocks->damaged, &damaged->node);
	free(damaged);
	tell(blocks, pointer, owner, 0);
}

static void free_one(struct hash_node *node, void *argument)
{
	(void)argument;
	free(container_of(node, struct damaged_block, node));
}

void damage_release(struct blocks *blocks)
{
	hash_table_each(&blocks->damaged, free_one, NULL);
	hash_table_release(&blocks->damaged);
}
