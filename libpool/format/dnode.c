/*
 * Dnodes and objset blocks.
 *
 * What must always hold: the shape that a decoded dnode claims is consistent, so a reader's descent ends. The
 * block numbers up to max_block fit below the root, and the root pointer has the level that `levels` says.
 */
#include "libpool/format/dnode.h"

#include "libpool/base/error.h"
#include "libpool/format/raw_header.h"

#define BLOB_LEVELS_MAX 9u  /* 2^48 blocks at the smallest fan-out, 64 */
#define TREE_LEVELS_MAX 16u /* the level of a pointer has 4 bits */
#define OBJECTS_MAX     (UINT64_C(1) << 48)

struct raw_dnode {
	uint8_t kind;                         /* 0 */
	uint8_t block_shift;                  /* 1 */
	uint8_t indirect_shift;               /* 2 */
	uint8_t levels;                       /* 3 */
	le16 flags;                           /* 4 */
	le16 bonus_length;                    /* 6 */
	le64 max_block;                       /* 8 */
	le64 sectors;                         /* 16 */
	le64 generation;                      /* 24 */
	struct raw_block_pointer root;        /* 32 */
	struct raw_block_pointer second_root; /* 96: reserved, zero */
	uint8_t reserved[32];                 /* 160 */
	uint8_t bonus[DNODE_BONUS_MAX];       /* 192 */
};
_Static_assert(sizeof(struct raw_dnode) == DNODE_SIZE && AT(raw_dnode, kind, 0) && AT(raw_dnode, block_shift, 1) &&
		       AT(raw_dnode, indirect_shift, 2) && AT(raw_dnode, levels, 3) && AT(raw_dnode, flags, 4) &&
		       AT(raw_dnode, bonus_length, 6) && AT(raw_dnode, max_block, 8) && AT(raw_dnode, sectors, 16) &&
		       AT(raw_dnode, generation, 24) && AT(raw_dnode, root, 32) && AT(raw_dnode, second_root, 96) &&
		       AT(raw_dnode, bonus, 192), "on disk");
_Static_assert(DNODES_PER_BLOCK * DNODE_SIZE == DNODE_BLOCK_SIZE, "on disk");

struct raw_objset {
	struct raw_header header; /* 0 */
	le32 id;                  /* 16 */
	le32 reserved;            /* 20 */
	le64 next_object;         /* 24 */
	le64 object_count;        /* 32 */
	uint8_t reserved_2[24];   /* 40 */
	uint8_t dnodes[DNODE_SIZE]; /* 64 */
};
_Static_assert(sizeof(struct raw_objset) == 576 && AT(raw_objset, header, 0) && AT(raw_objset, id, 16) &&
		       AT(raw_objset, next_object, 24) && AT(raw_objset, object_count, 32) && AT(raw_objset, dnodes, 64), "on disk");

void dnode_encode(const struct dnode *dnode, uint8_t *ret_raw)
{
	struct raw_dnode raw = { 0 };

	if (dnode->kind != DNODE_FREE) {
		size_t bonus_length = dnode->bonus_length;
		if (bonus_length > DNODE_BONUS_MAX)
			bonus_length = DNODE_BONUS_MAX;
		raw.kind = dnode->kind;
		raw.block_shift = dnode->block_shift;
		raw.indirect_shift = dnode->indirect_shift;
		raw.levels = dnode->levels;
		raw.flags = le16_make(dnode->flags);
		raw.bonus_length = le16_make((uint16_t)bonus_length);
		raw.max_block = le64_make(dnode->max_block);
		raw.sectors = le64_make(dnode->sectors);
		raw.generation = le64_make(dnode->generation);
		raw.root = dnode->root;
		memcpy(raw.bonus, dnode->bonus, bonus_length);
	}
	memcpy(ret_raw, &raw, sizeof(raw));
}

static bool indirect_shift_valid(unsigned shift)
{
	return shift == 12 || shift == 14 || shift == 15;
}

static bool block_shift_valid(unsigned shift)
{
	return shift >= CELL_SHIFT && shift <= DNODE_BLOCK_SHIFT_MAX;
}

static bool blob_valid(const struct dnode *dnode, const struct block_pointer *root)
{
	if (!block_shift_valid(dnode->block_shift) || !indirect_shift_valid(dnode->indirect_shift) ||
	    dnode->levels > BLOB_LEVELS_MAX || dnode->max_block > DNODE_BLOCK_NUMBER_MAX)
		return false;
	if (dnode->levels == 0)
		return dnode->max_block == 0 && block_pointer_is_hole(root);
	unsigned block_bits = (dnode->levels - 1u) * (dnode->indirect_shift - 6u);
	if (block_bits < 48 && dnode->max_block >> block_bits)
		return false;
	return block_pointer_is_hole(root) || root->level == dnode->levels - 1;
}

static bool tree_valid(const struct dnode *dnode, const struct block_pointer *root)
{
	if ((dnode->block_shift != 0 && !block_shift_valid(dnode->block_shift)) || dnode->indirect_shift < 14 ||
	    !indirect_shift_valid(dnode->indirect_shift) || dnode->levels > TREE_LEVELS_MAX)
		return false;
	return dnode->levels > 0 || (dnode->max_block == 0 && block_pointer_is_hole(root));
}

int dnode_decode(const uint8_t *raw_bytes, struct dnode *ret_dnode)
{
	struct dnode dnode = { 0 };
	struct block_pointer root;
	struct raw_dnode raw;

	memcpy(&raw, raw_bytes, sizeof(raw));
	if (raw.kind == DNODE_FREE) {
		if (!bytes_are_zero(&raw, sizeof(raw)))
			return -POOL_EFORMAT;
		*ret_dnode = dnode;
		return 0;
	}
	dnode.kind = raw.kind;
	dnode.block_shift = raw.block_shift;
	dnode.indirect_shift = raw.indirect_shift;
	dnode.levels = raw.levels;
	dnode.flags = le16_get(raw.flags);
	dnode.bonus_length = le16_get(raw.bonus_length);
	dnode.max_block = le64_get(raw.max_block);
	dnode.sectors = le64_get(raw.sectors);
	dnode.generation = le64_get(raw.generation);
	dnode.root = raw.root;
	memcpy(dnode.bonus, raw.bonus, sizeof(dnode.bonus));
	if (dnode.kind > DNODE_TREE || dnode.flags & ~DNODE_FLAGS_KNOWN || dnode.bonus_length > DNODE_BONUS_MAX ||
	    !bytes_are_zero(dnode.bonus + dnode.bonus_length, DNODE_BONUS_MAX - dnode.bonus_length) ||
	    !raw_block_pointer_is_zero(&raw.second_root) || !bytes_are_zero(raw.reserved, sizeof(raw.reserved)))
		return -POOL_EFORMAT;
	int error = block_pointer_decode(&dnode.root, &root);
	if (error)
		return error;
	if (dnode.kind == DNODE_BLOB ? !blob_valid(&dnode, &root) : !tree_valid(&dnode, &root))
		return -POOL_EFORMAT;
	*ret_dnode = dnode;
	return 0;
}

void objset_block_encode(const struct objset_block *objset, uint8_t *ret_raw)
{
	struct raw_objset raw = { .header = raw_header_make(MAGIC_OBJSET, sizeof(raw), 0),
				  .id = le32_make(objset->id),
				  .next_object = le64_make(objset->next_object),
				  .object_count = le64_make(objset->object_count) };
	dnode_encode(&objset->dnodes, raw.dnodes);
	memset(ret_raw, 0, OBJSET_SIZE);
	memcpy(ret_raw, &raw, sizeof(raw));
}

int objset_block_decode(const uint8_t *raw_bytes, struct objset_block *ret_objset)
{
	struct objset_block objset = { 0 };
	struct raw_objset raw;

	memcpy(&raw, raw_bytes, sizeof(raw));
	objset.id = le32_get(raw.id);
	objset.next_object = le64_get(raw.next_object);
	objset.object_count = le64_get(raw.object_count);
	if (!raw_header_valid(&raw.header, MAGIC_OBJSET, sizeof(raw), 0) || le32_get(raw.reserved) != 0 ||
	    !bytes_are_zero(raw.reserved_2, sizeof(raw.reserved_2)) ||
	    !bytes_are_zero(raw_bytes + sizeof(raw), OBJSET_SIZE - sizeof(raw)) ||
	    objset.next_object > OBJECTS_MAX || objset.object_count > objset.next_object)
		return -POOL_EFORMAT;
	int error = dnode_decode(raw.dnodes, &objset.dnodes);
	if (error)
		return error;
	if (objset.dnodes.kind == DNODE_TREE ||
	    (objset.dnodes.kind == DNODE_BLOB && 1u << objset.dnodes.block_shift != DNODE_BLOCK_SIZE))
		return -POOL_EFORMAT;
	*ret_objset = objset;
	return 0;
}
