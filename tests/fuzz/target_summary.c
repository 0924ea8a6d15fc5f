/* SPDX-License-Identifier: BSD-2-Clause */
/* Summaries. The first byte of the input says how many rows an AU has. */
#include "libpool/base/error.h"
#include "libpool/format/dva.h"
#include "libpool/format/summary.h"
#include "tests/fuzz/fuzz.h"

/* What decodes can be walked without further checks. */
static void walk(const struct summary *summary, unsigned rows)
{
	unsigned columns = (unsigned)summary->k + summary->m;
	int64_t cell = 0;

	for (uint32_t i = 0; i < summary->range_count; i++)
		for (unsigned row = summary->ranges[i].base; row < (unsigned)summary->ranges[i].base + summary->ranges[i].rows; row++)
			for (unsigned c = 0; c < columns; c++)
				fuzz_expect(summary_cell_index(summary, row, c) == cell++);
	fuzz_expect(cell == summary->cell_count);
	for (uint32_t i = 0; i < summary->block_count; i++) {
		const struct summary_block *block = &summary->blocks[i];
		const struct summary_stripe *stripe = summary->stripes;
		while (block->row < stripe->base || block->row >= stripe->base + stripe->height)
			stripe++;
		struct dva dva = { .segment = summary->segment, .base = stripe->base, .height = stripe->height,
				   .offset = (uint16_t)(block->column * stripe->height + block->row - stripe->base) };
		fuzz_expect(dva_valid(dva, block->psect, summary->k, rows));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct summary summary;

	if (size == 0 || size > SUMMARY_CELLS_MAX * CELL_SIZE + 1)
		return -1;
	unsigned rows = 64u << data[0] % 7;
	uint8_t *raw = fuzz_copy(data + 1, size - 1, size - 1);
	int status = summary_decode(raw, size - 1, rows, &summary);
	if (status == 0) {
		uint32_t relocated = 0;
		for (uint32_t i = 0; i < summary.block_count; i++)
			relocated += summary.blocks[i].flags & SUMMARY_RELOCATED;
		size_t length = summary_size(summary.range_count, summary.stripe_count, summary.block_count, relocated,
					     summary.cell_count);
		fuzz_expect(length <= size - 1);
		uint8_t *again = calloc(1, length);
		summary_encode(&summary, again);
		fuzz_expect(memcmp(raw, again, length) == 0);
		free(again);
		walk(&summary, rows);
		summary_release(&summary);
	} else {
		fuzz_expect(status == -POOL_EFORMAT);
	}
	free(raw);
	return 0;
}
