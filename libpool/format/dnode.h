/* The record of one object (512 bytes), in 16 KiB blocks of 32; and the objset block that roots them. */
#ifndef LIBPOOL_FORMAT_DNODE_H
#define LIBPOOL_FORMAT_DNODE_H

#include "libpool/format/block_pointer.h"

#define DNODE_SIZE 512u
#define DNODE_BLOCK_SIZE (16u << 10)
#define DNODES_PER_BLOCK 32u
#define DNODE_BONUS_MAX 320u
#define DNODE_BLOCK_SHIFT_MAX 20u
#define DNODE_BLOCK_NUMBER_MAX ((UINT64_C(1) << 48) - 1)
#define DNODE_FLAGS_KNOWN 0u /* a flag that isn't here is refused when read */
#define OBJSET_SIZE 4096u

enum dnode_kind { DNODE_FREE = 0, DNODE_BLOB = 1, DNODE_TREE = 2 };

struct dnode {
	uint8_t kind;
	uint8_t block_shift;    /* bytes of a level-0 block: 12 to 20 */
	uint8_t indirect_shift; /* bytes of an indirect node: 12, 14 or 15; trees: bytes of a node, 14 or 15 */
	uint8_t levels;         /* 1: the root pointer is the only level-0 block; 0 with no block at all */
	uint16_t flags;
	uint16_t bonus_length;
	uint64_t max_block;     /* highest level-0 block ever written; trees: number of entries */
	uint64_t sectors;       /* cells in use by the object, indirect blocks included (psect, without parity) */
	uint64_t generation;    /* txg of creation */
	struct raw_block_pointer root;
	uint8_t bonus[DNODE_BONUS_MAX];
};

/* All zero encodes and decodes a free dnode. Beyond bonus_length the bonus is zero. */
void dnode_encode(const struct dnode *dnode, uint8_t *ret_raw /* 512 */);
int dnode_decode(const uint8_t *raw, struct dnode *ret_dnode); /* 0 or -POOL_EFORMAT */

/* Objset block, 4 KiB, type TYPE_OBJSET: header, then the dnode of the blob that holds the dnodes. */
struct objset_block {
	uint32_t id;          /* objset number; 0 is the MOS */
	uint64_t next_object; /* lowest number never handed out */
	uint64_t object_count;
	struct dnode dnodes;
};
void objset_block_encode(const struct objset_block *objset, uint8_t *ret_raw /* 4096 */);
int objset_block_decode(const uint8_t *raw, struct objset_block *ret_objset);

#endif
