/*
 * Walks over all placed pointers: parents first, in the order of object and block numbers.
 *
 * A walk goes through the state as of the last finished sync when it began. If a sync ends meanwhile and a node's cells have
 * been used again, the walk ends with -POOL_ESTALE: what is to be walked while it changes has to be a snapshot. Nodes
 * that can't be read are passed over, and the walk's result tells.
 */
#include "libpool/format/tree_node.h"
#include "libpool/object/sync_internal.h"

struct walk {
	struct object_home *home;
	bool objset;
	const struct object *root; /* the object whose switch outdates the walk */
	uint64_t generation;
	object_visit_function *visit;
	void *argument;
	int damage; /* the first node that couldn't be read */
	uint64_t object; /* whose pointers are being walked */
};

static int walk_pointer(void *argument, const struct raw_block_pointer *raw, const struct block_pointer *pointer, uint64_t block);

static bool walk_current(void *argument)
{
	const struct walk *walk = argument;

	return walk->root->generation == walk->generation;
}

/* A pointer that isn't in a node: its object's root. */
static int walk_root(struct walk *walk, const struct raw_block_pointer *raw, uint64_t object, uint64_t block)
{
	struct block_pointer pointer;
	uint64_t before = walk->object;
	int result = block_pointer_decode(raw, &pointer);

	if (result < 0 || block_pointer_is_hole(&pointer))
		return result;
	walk->object = object;
	result = walk_pointer(walk, raw, &pointer, block);
	walk->object = before;
	return result;
}

static int walk_dnodes(struct walk *walk, const struct buffer *block, uint64_t number)
{
	for (unsigned i = 0; i < DNODES_PER_BLOCK; i++) {
		struct dnode dnode;
		uint64_t object = number * DNODES_PER_BLOCK + i;
		int result = dnode_decode(block->data + i * DNODE_SIZE, &dnode);

		if (result == 0 && dnode.kind != DNODE_FREE)
			result = object ? walk_root(walk, &dnode.root, object, 0) : -POOL_EFORMAT;
		if (result == -POOL_EFORMAT && !walk->damage)
			walk->damage = result;
		if (result < 0 && result != -POOL_EFORMAT)
			return result;
	}
	return 0;
}

static int walk_orphans(struct walk *walk, const struct buffer *leaf)
{
	int result = tree_node_check(leaf->data, leaf->size, 0), count;

	if (result < 0)
		return result;
	count = tree_node_count(leaf->data, leaf->size, 0);
	for (int i = 0; i < count; i++) {
		struct orphan orphan;
		struct tree_entry entry;

		result = tree_node_entry(leaf->data, leaf->size, (unsigned)i, &entry);
		if (result == 0)
			result = orphan_decode(entry.value, entry.value_length, &orphan);
		if (result == 0)
			result = walk_root(walk, &orphan.pointer, orphan.object, orphan.block);
		if (result < 0)
			return result;
	}
	return 0;
}

/*
 * Only the blob of dnodes, which is walked as object 0, leads to dnodes, and only object 15 to orphans; so each step goes
 * down, or on from dnodes to objects to orphans to their content, and a forged image can't make the walk run in circles.
 */
static bool has_pointers(const struct walk *walk, const struct block_pointer *pointer)
{
	if (pointer->level > 0)
		return block_pointer_is_placed(pointer);
	return (pointer->type == TYPE_DNODES && walk->object == 0 && walk->objset) ||
	       (pointer->type == TYPE_TREE && walk->object == OBJECT_NUMBER_ORPHANS && walk->objset);
}

static int walk_children(struct walk *walk, const struct block_pointer *pointer, const struct buffer *node, uint64_t block)
{
	if (node->size != (size_t)pointer->lsect * CELL_SIZE)
		return -POOL_EFORMAT;
	if (pointer->level > 0)
		return node_children(pointer, node, block, walk_pointer, walk);
	if (pointer->type == TYPE_TREE)
		return walk_orphans(walk, node);
	return node->size == DNODE_BLOCK_SIZE ? walk_dnodes(walk, node, block) : -POOL_EFORMAT;
}

static int walk_pointer(void *argument, const struct raw_block_pointer *raw, const struct block_pointer *pointer, uint64_t block)
{
	struct walk *walk = argument;
	struct block_owner owner = { walk->home->objset_id, walk->object, block, pointer->level };
	struct buffer *node;
	int result = 0;

	(void)raw;
	if (block_pointer_is_placed(pointer))
		result = walk->visit(walk->argument, pointer, &owner);
	if (result < 0)
		return result;
	if (result > 0 || !has_pointers(walk, pointer))
		return 0;
	result = block_read(walk->home->blocks, pointer, &owner, 0, walk_current, walk, &node);
	if (result == 0) {
		result = walk_children(walk, pointer, node, block);
		buffer_unref(node);
	}
	if (result == -POOL_EDAMAGED || result == -POOL_EFORMAT) {
		if (!walk->damage)
			walk->damage = result;
		return 0;
	}
	return result;
}

int objset_walk(struct objset *objset, object_visit_function *visit, void *argument)
{
	struct walk walk = { &objset->home, true, objset->dnodes, objset->dnodes->generation, visit, argument, 0, 0 };
	struct raw_block_pointer dnodes = objset->dnodes->disk.root;
	struct block_owner owner = { .objset = objset->home.objset_id };
	struct block_pointer root;
	int result = block_pointer_decode(&objset->root, &root);

	if (result < 0 || !block_pointer_is_placed(&root))
		return result;
	result = visit(argument, &root, &owner);
	if (result == 0)
		result = walk_root(&walk, &dnodes, 0, 0);
	if (result > 0)
		result = 0;
	return result < 0 ? result : walk.damage;
}

int object_walk_bare(struct object *object, object_visit_function *visit, void *argument)
{
	struct walk walk = { object->home, false, object, object->generation, visit, argument, 0, 0 };
	struct raw_block_pointer root = object->disk.root;
	int result = walk_root(&walk, &root, object->number, 0);

	return result < 0 ? result : walk.damage;
}
