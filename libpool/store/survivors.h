/* SPDX-License-Identifier: BSD-2-Clause */
/* What is live in rows of a segment, for who moves it elsewhere. */
#ifndef LIBPOOL_STORE_SURVIVORS_H
#define LIBPOOL_STORE_SURVIVORS_H

#include "libpool/store/store.h"

/* A live block, verified cell by cell by the summary of its batch. */
struct store_survivor {
	const struct summary_block *block; /* as the summary names it */
	uint64_t dva, place;               /* where it is now */
	struct buffer *payload;            /* psect cells, frozen; whoever keeps it takes a reference. NULL: they can't be had, whatever disks say */
};
struct survivors_taker {
	/* 0 to go on, or negative to stop. May wait. */
	int (*take)(void *argument, const struct store_survivor *survivor);
	/* Asked before each stripe is read; NULL: it does. */
	bool (*goes_on)(void *argument);
	void *argument;
};
/*
 * Tells of every live block with a cell in these rows. What is wrong or absent is reconstructed in memory; wrong cells are healed. The segment is
 * pinned. Cells in the rows of blocks that can't be verified are added to *left, like those that no summary names, or one whose blocks overlap. Waits.
 * 0, -ENOMEM, -ECANCELED: it doesn't go on, or what `take` gives.
 */
int store_survivors(struct store *store, const struct segment *segment, unsigned row, unsigned rows, const struct survivors_taker *taker,
		    uint64_t *left);

#endif
