/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Cells written past the processor's cache, for the fused pass. Private to this folder and its tests.
 *
 * Why not ISA-L here: its kernels store through the cache or around it depending on the instruction set, for both
 * parities alike. The fused pass wants P around it (nothing reads P again) and Q in it (its CRC is next), on every
 * processor. What must always hold: the bytes are those of raid_encode().
 */
#ifndef RAID_STREAM_H
#define RAID_STREAM_H

/* The functions of one instruction set. All buffers are one cell, aligned to RAID_ALIGNMENT, and don't overlap. Pure, and
 * safe in any thread; what was stored around the cache is ordered before later stores by raid_stream_end() only. */
struct raid_stream_kernel {
	const char *name;
	/* around the cache */
	void (*copy)(void *target, const void *source);
	/* P of k >= 2 cells, around the cache */
	void (*p)(unsigned k, const void *const *data, void *p);
	/* P of k >= 2 cells around the cache, Q into it */
	void (*p_and_q)(unsigned k, const void *const *data, void *p, void *q);
};

/* The kernels that this processor runs, fastest first; NULL from the number of them on. */
const struct raid_stream_kernel *raid_stream_kernel_at(unsigned index);

/* What was streamed is visible to whoever sees a later store of this thread. */
void raid_stream_end(void);

#endif
