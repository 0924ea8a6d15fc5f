/*
 * Block pointers on disk. There are four kinds: 64 zero bytes (never written), hole, embedded, placed.
 *
 * What must always hold: each kind has one encoding. The encoder writes only the fields that the kind has
 * and zeros elsewhere; the decoder refuses anything else there. So equal pointers are equal bytes, and
 * encode(decode(raw)) is raw.
 */
#include "libpool/format/block_pointer.h"

#include "libpool/base/error.h"
#include "libpool/format/raw_header.h"

#define CHECKSUM_LENGTH 24u
#define XXH3_LENGTH     16u
#define EMBED_HEAD      16u /* payload bytes in front of prop; the rest is in the place of the checksum */
#define FILL_MAX        ((UINT64_C(1) << 48) - 1)

/* prop, from the lowest bit */
enum {
	PROP_LSECT = 0,
	PROP_PSECT = 9,
	PROP_COMPRESSION = 18,
	PROP_CHECKSUM = 22,
	PROP_TYPE = 26,
	PROP_LEVEL = 32,
	PROP_FLAGS = 36,
	PROP_EMBED_LENGTH = 44,
	PROP_RESERVED = 50,
};

struct raw_pointer {
	union {
		struct {
			le64 dva;   /* 0 */
			le64 place; /* 8 */
		};
		uint8_t embed_head[EMBED_HEAD]; /* 0, embedded only */
	};
	le64 prop;                         /* 16 */
	le64 birth;                        /* 24 */
	le64 fill;                         /* 32: 48 bits, the rest zero */
	uint8_t checksum[CHECKSUM_LENGTH]; /* 40: or the rest of the embedded payload */
};
_Static_assert(sizeof(struct raw_pointer) == BLOCK_POINTER_SIZE && AT(raw_pointer, dva, 0) && AT(raw_pointer, place, 8) &&
		       AT(raw_pointer, embed_head, 0) && AT(raw_pointer, prop, 16) && AT(raw_pointer, birth, 24) &&
		       AT(raw_pointer, fill, 32) && AT(raw_pointer, checksum, 40), "on disk");
_Static_assert(EMBED_HEAD + CHECKSUM_LENGTH == BLOCK_POINTER_EMBED_MAX, "on disk");

static uint64_t sectors_field(unsigned sectors)
{
	return sectors ? (sectors - 1) & 0x1FF : 0;
}

void block_pointer_encode(const struct block_pointer *pointer, struct raw_block_pointer *ret_raw)
{
	struct raw_pointer raw = { 0 };
	uint64_t prop = sectors_field(pointer->lsect) << PROP_LSECT | (uint64_t)(pointer->type & 0x3F) << PROP_TYPE |
			(uint64_t)(pointer->level & 0xF) << PROP_LEVEL;

	memset(ret_raw, 0, sizeof(*ret_raw));
	if (block_pointer_is_hole(pointer)) {
		if (pointer->birth == 0)
			return;
		raw.prop = le64_make(prop | (uint64_t)BP_HOLE << PROP_FLAGS);
		raw.birth = le64_make(pointer->birth);
		memcpy(ret_raw->bytes, &raw, sizeof(raw));
		return;
	}

	prop |= (uint64_t)(pointer->compression & 0xF) << PROP_COMPRESSION;
	prop |= (uint64_t)pointer->flags << PROP_FLAGS;
	raw.birth = le64_make(pointer->birth);
	raw.fill = le64_make(pointer->fill & FILL_MAX);
	if (block_pointer_is_embedded(pointer)) {
		unsigned length = pointer->embed_length;
		if (length > BLOCK_POINTER_EMBED_MAX)
			length = BLOCK_POINTER_EMBED_MAX;
		prop |= (uint64_t)length << PROP_EMBED_LENGTH;
		memcpy(raw.embed_head, pointer->embed, length < EMBED_HEAD ? length : EMBED_HEAD);
		if (length > EMBED_HEAD)
			memcpy(raw.checksum, pointer->embed + EMBED_HEAD, length - EMBED_HEAD);
	} else {
		prop |= sectors_field(pointer->psect) << PROP_PSECT;
		prop |= (uint64_t)(pointer->checksum_kind & 0xF) << PROP_CHECKSUM;
		raw.dva = le64_make(pointer->dva);
		raw.place = le64_make(pointer->place);
		memcpy(raw.checksum, pointer->checksum, CHECKSUM_LENGTH);
	}
	raw.prop = le64_make(prop);
	memcpy(ret_raw->bytes, &raw, sizeof(raw));
}

/* Nothing but the birth and the shape of what was there. */
static bool hole_valid(const struct raw_pointer *raw, const struct block_pointer *pointer, unsigned psect_field)
{
	return pointer->flags == BP_HOLE && pointer->birth != 0 && pointer->fill == 0 && psect_field == 0 &&
	       pointer->compression == 0 && pointer->checksum_kind == 0 && pointer->embed_length == 0 &&
	       bytes_are_zero(raw->embed_head, EMBED_HEAD) && bytes_are_zero(raw->checksum, CHECKSUM_LENGTH);
}

static bool embedded_valid(const struct block_pointer *pointer, unsigned psect_field)
{
	return pointer->flags == BP_EMBED && pointer->type != TYPE_NONE && pointer->embed_length > 0 &&
	       pointer->embed_length <= BLOCK_POINTER_EMBED_MAX && psect_field == 0 &&
	       pointer->checksum_kind == 0 && pointer->birth != 0 &&
	       bytes_are_zero(pointer->embed + pointer->embed_length,
			      BLOCK_POINTER_EMBED_MAX - pointer->embed_length);
}

/* The bounds that hold in any geometry; dva_valid checks the others where k and the AU size are known. */
static bool placed_valid(const struct block_pointer *pointer)
{
	struct dva dva = dva_unpack(pointer->dva);
	return pointer->flags == 0 && pointer->type != TYPE_NONE && pointer->embed_length == 0 &&
	       pointer->psect <= pointer->lsect && pointer->checksum_kind == CHECKSUM_XXH3_128 &&
	       bytes_are_zero(pointer->checksum + XXH3_LENGTH, CHECKSUM_LENGTH - XXH3_LENGTH) &&
	       pointer->place != 0 && pointer->birth >= pointer->place && dva.segment < SEGMENTS_MAX &&
	       dva.base != 0 && dva.base + dva.height <= 1 << (AU_SHIFT_MAX - CELL_SHIFT) &&
	       dva.offset + pointer->psect <= STRIPE_CELLS_MAX &&
	       dva.offset + pointer->psect <= (int)COLUMNS_MAX * dva.height;
}

int block_pointer_decode(const struct raw_block_pointer *raw_bytes, struct block_pointer *ret_pointer)
{
	struct block_pointer pointer = { 0 };
	struct raw_pointer raw;

	if (bytes_are_zero(raw_bytes, sizeof(*raw_bytes))) {
		*ret_pointer = pointer;
		return 0;
	}
	memcpy(&raw, raw_bytes->bytes, sizeof(raw));
	uint64_t prop = le64_get(raw.prop);
	unsigned psect_field = prop >> PROP_PSECT & 0x1FF;
	pointer.lsect = (uint16_t)((prop >> PROP_LSECT & 0x1FF) + 1);
	pointer.compression = prop >> PROP_COMPRESSION & 0xF;
	pointer.checksum_kind = prop >> PROP_CHECKSUM & 0xF;
	pointer.type = prop >> PROP_TYPE & 0x3F;
	pointer.level = prop >> PROP_LEVEL & 0xF;
	pointer.flags = prop >> PROP_FLAGS & 0xFF;
	pointer.embed_length = prop >> PROP_EMBED_LENGTH & 0x3F;
	pointer.birth = le64_get(raw.birth);
	pointer.fill = le64_get(raw.fill);
	if (prop >> PROP_RESERVED || pointer.fill > FILL_MAX || pointer.lsect > BLOCK_CELLS_MAX ||
	    pointer.type >= TYPE_COUNT || pointer.compression > COMPRESSION_ZSTD)
		return -POOL_EFORMAT;

	bool valid;
	if (pointer.flags & BP_HOLE) {
		valid = hole_valid(&raw, &pointer, psect_field);
	} else if (pointer.flags & BP_EMBED) {
		memcpy(pointer.embed, raw.embed_head, EMBED_HEAD);
		memcpy(pointer.embed + EMBED_HEAD, raw.checksum, CHECKSUM_LENGTH);
		valid = embedded_valid(&pointer, psect_field);
	} else {
		pointer.psect = (uint16_t)(psect_field + 1);
		pointer.dva = le64_get(raw.dva);
		pointer.place = le64_get(raw.place);
		memcpy(pointer.checksum, raw.checksum, CHECKSUM_LENGTH);
		valid = placed_valid(&pointer);
	}
	if (!valid)
		return -POOL_EFORMAT;
	*ret_pointer = pointer;
	return 0;
}

bool raw_block_pointer_names(const struct raw_block_pointer *raw, uint8_t type)
{
	struct block_pointer pointer;
	return block_pointer_decode(raw, &pointer) == 0 && block_pointer_is_placed(&pointer) && pointer.type == type &&
	       pointer.level == 0;
}

bool raw_block_pointer_is_zero(const struct raw_block_pointer *raw)
{
	return bytes_are_zero(raw, sizeof(*raw));
}
