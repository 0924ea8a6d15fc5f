/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which segments can be formed of units that are free: how many, of which widths, what they hold, and how many SYS segments could be formed instead.
 *
 * Disks with most free units are taken first, so segments are as wide as can be for as long as they can, and the last ones are the narrowest. Those are
 * what the floors consist of: a SYS segment takes m + 1 units however wide others are, so what commits need is counted in units of these.
 */
#ifndef LIBPOOL_ALLOC_FORM_H
#define LIBPOOL_ALLOC_FORM_H

#include "libpool/alloc/alloc.h"

struct formed {
	uint64_t segments, cells; /* of all of them, if they are as narrow as disks allow */
	uint64_t narrow, whole;   /* of one: as narrow, on an average, and one that is opened when segments are scarce: with a disk away they differ */
	uint64_t plenty;          /* so many above the floors are scarce */
	unsigned mirrored, width; /* columns of a SYS segment, and of others where all disks that are there have free units */
	unsigned steps;
	struct {
		uint64_t segments;
		unsigned width;
	} step[COLUMNS_MAX]; /* the widest first */
};

/* Segments of `width` distinct disks, which have so many units each. */
uint64_t form_count(const uint32_t *aus, unsigned count, unsigned width);
/* Data cells of all segments; aus is changed. */
uint64_t form_cells(const struct geometry *geometry, uint32_t *aus, unsigned count, uint64_t *ret_segments);
/* Of the units of disks that are there. total: segments that the pool could hold. */
struct formed form_now(const struct alloc *alloc, uint64_t total, uint32_t *aus, unsigned count);
/* Of an empty pool, in segments of full width. */
struct formed form_empty(const struct alloc *alloc);
/* What so many segments above the floors hold: the last ones have all data columns. */
uint64_t formed_cells(const struct formed *formed, uint64_t segments);
/* Of the last `segments` that can be formed: SYS segments. */
uint64_t formed_sys(const struct formed *formed, uint64_t segments);
/* So many segments, the last that can be formed, have room for so many SYS segments: but for one segment, where disks have as many free units. */
uint64_t formed_for_sys(const struct formed *formed, uint64_t sys_segments);

#endif
