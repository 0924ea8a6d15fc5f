/*
 * The address of a block: segment, stripe (base row, height) and offset in cells of the stripe, which is
 * filled column by column. u64: seg:32 | base:12 | height-1:8 | off:12, from the highest bit.
 */
#ifndef LIBPOOL_FORMAT_DVA_H
#define LIBPOOL_FORMAT_DVA_H

#include <stdbool.h>
#include <stdint.h>

#include "libpool/format/constants.h"

struct dva {
	uint32_t segment;
	uint16_t base, height, offset;
};

/* `rows` cells of one column, one below the other. */
struct cell_run {
	uint16_t column, row, rows;
};

static inline uint64_t dva_pack(struct dva dva)
{
	return (uint64_t)dva.segment << 32 | (uint64_t)(dva.base & 0xFFF) << 20 | (uint64_t)((dva.height - 1) & 0xFF) << 12 |
	       (dva.offset & 0xFFF);
}

static inline struct dva dva_unpack(uint64_t raw)
{
	return (struct dva){ .segment = (uint32_t)(raw >> 32), .base = raw >> 20 & 0xFFF,
			     .height = (uint16_t)((raw >> 12 & 0xFF) + 1), .offset = raw & 0xFFF };
}

/* Whether a block of `cells` at dva lies within a segment of k data columns and `rows_per_au` rows (row 0 excluded). */
bool dva_valid(struct dva dva, unsigned cells, unsigned k, unsigned rows_per_au);

/* The runs of a valid address, in block order; returns how many (at most k). ret has room for COLUMNS_MAX. */
unsigned dva_runs(struct dva dva, unsigned cells, struct cell_run *ret_runs);

#endif
