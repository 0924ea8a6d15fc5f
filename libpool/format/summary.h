/*
 * The summary of a batch: a CRC32C of every cell of its rows and the owner of every block. It is the last
 * block of the batch, stored inside it. FORMAT.md, section 16.
 */
#ifndef LIBPOOL_FORMAT_SUMMARY_H
#define LIBPOOL_FORMAT_SUMMARY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "libpool/format/block_pointer.h"
#include "libpool/format/constants.h"

#define SUMMARY_RANGES_MAX 256u

struct summary_range {
	uint16_t base, rows;
};

struct summary_stripe {
	uint16_t base, height, fill; /* fill: cells of the stripe in use, from offset 0 */
};

struct summary_block {
	uint8_t column; /* the block's first cell */
	uint16_t row;
	uint16_t psect;
	uint8_t flags, type, level; /* flags: SUMMARY_RELOCATED */
	uint32_t objset;
	uint64_t object, block; /* owner hint: object number, block number within the level */
	uint64_t identity_dva, identity_place; /* with SUMMARY_RELOCATED only */
};
enum { SUMMARY_RELOCATED = 1 };

struct summary {
	struct guid pool;
	uint32_t segment;
	uint8_t class, k, m;
	uint64_t txg;
	uint32_t range_count, stripe_count, block_count, cell_count;
	struct summary_range *ranges;
	struct summary_stripe *stripes;
	uint8_t *nocrc; /* bitmap of cell_count, bit i = cell i has no CRC */
	uint32_t *crc;  /* cell_count; order range, row, column over all k + m columns */
	struct summary_block *blocks;
};

/* Encoded size in bytes for these counts (relocated: how many blocks carry an identity). */
size_t summary_size(uint32_t ranges, uint32_t stripes, uint32_t blocks, uint32_t relocated, uint32_t cells);
/* Encodes into ret_raw (summary_size bytes). A writer stays within SUMMARY_RANGES_MAX ranges and SUMMARY_CELLS_MAX cells. */
void summary_encode(const struct summary *summary, uint8_t *ret_raw);
/*
 * Allocates the arrays of *ret_summary (freed by summary_release). Validates everything: sizes, ranges inside
 * [1, rows_per_au), disjoint and ascending, k + m <= 16, counts against size, each stripe inside one range and
 * disjoint from the others, blocks inside the used cells of a stripe, zeros behind the last block. Uses 8 KiB of stack.
 * 0, -POOL_EFORMAT, -ENOMEM.
 */
int summary_decode(const uint8_t *raw, size_t size, unsigned rows_per_au, struct summary *ret_summary);
void summary_release(struct summary *summary); /* accepts zeroed */
/* Index into crc of (row, column), or -1 when the row is in none of the ranges. */
int64_t summary_cell_index(const struct summary *summary, unsigned row, unsigned column);

/* Not empty, ascending, disjoint, within [1, rows_per_au). */
bool summary_ranges_valid(const struct summary_range *ranges, unsigned count, unsigned rows_per_au);
/* Whether valid ranges contain all of [row, row + rows). */
bool summary_ranges_cover(const struct summary_range *ranges, unsigned count, unsigned row, unsigned rows);

#endif
