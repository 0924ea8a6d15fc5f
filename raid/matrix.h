/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The arithmetic of coefficients behind parity.h: what each wanted column is as a sum of the columns that decoding
 * reads. Private to this folder. Nothing here touches data.
 */
#ifndef RAID_MATRIX_H
#define RAID_MATRIX_H

#include <stdint.h>

#include "raid/parity.h"

/* A plan for reconstruction: wanted column w is the sum of coefficient[w * source_count + s] times column source[s]. */
struct raid_plan {
	unsigned source_count;		       /* always k */
	unsigned wanted_count;		       /* at most RAID_PARITY_MAX */
	uint8_t source[RAID_DATA_MAX];	       /* ascending */
	uint8_t wanted[RAID_PARITY_MAX];       /* ascending */
	uint8_t coefficient[RAID_PARITY_MAX * RAID_DATA_MAX];
};

/* True if k, m and the mask are in range and at most m columns are erased. */
bool raid_mask_valid(unsigned k, unsigned m, uint32_t erased_mask);

/* The arguments are valid, as raid_mask_valid() says, and wanted_mask is a subset of erased_mask. */
void raid_plan_make(unsigned k, unsigned m, uint32_t erased_mask, uint32_t wanted_mask, struct raid_plan *ret);

#endif
