/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reading what is live in rows of a segment, stripe by stripe, as no block reaches beyond its stripe: one request for each column with live
 * blocks, and each cell judged by its CRC.
 *
 * What must always hold: no cell comes from here that isn't what its CRC says. A block of which one cell can't be made so is left out.
 */
#include "libpool/store/survivors.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "libpool/base/bitmap.h"
#include "libpool/format/dva.h"
#include "libpool/store/internal.h"

struct reading {
	struct store *store;
	const struct segment *segment;
	unsigned first, end; /* rows */
	const struct batch_index *batch;
	struct summary_entry *summary;
	uint64_t *told; /* cells of the rows that a block was found for: column * R + row */
	const struct survivors_taker *taker;
};

static bool is_good(uint8_t state)
{
	return state == CELL_GOOD || state == CELL_REBUILT;
}

/* A block of the stripe that is live, and has a cell in the rows. */
static bool is_wanted(const struct reading *reading, const struct summary_stripe *stripe, const struct summary_block *block, uint64_t *ret_dva,
		      struct cell_run *ret_runs, unsigned *ret_count)
{
	if (block->row < stripe->base || block->row >= (unsigned)stripe->base + stripe->height)
		return false;
	struct dva dva = { reading->segment->id, stripe->base, stripe->height,
			   (uint16_t)((unsigned)block->column * stripe->height + block->row - stripe->base) };
	struct block_pointer pointer = { .dva = dva_pack(dva), .place = reading->batch->txg, .psect = block->psect };
	bool inside = false;

	if (!alloc_block_is_live(reading->store->alloc, &pointer))
		return false;
	*ret_dva = pointer.dva;
	*ret_count = dva_runs(dva, block->psect, ret_runs);
	for (unsigned i = 0; i < *ret_count; i++)
		inside |= ret_runs[i].row < reading->end && ret_runs[i].row + ret_runs[i].rows > reading->first;
	return inside;
}

static void note_told(struct reading *reading, const struct cell_run *runs, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		bitmap_set_range(reading->told, (size_t)runs[i].column * reading->store->geometry.rows + runs[i].row, runs[i].rows);
}

static int take_block(struct reading *reading, const struct row_window *window, const struct summary_block *block, uint64_t dva,
		      const struct cell_run *runs, unsigned count)
{
	struct store_survivor survivor = { .block = block, .dva = dva, .place = reading->batch->txg };
	size_t offset = 0;

	for (unsigned i = 0; i < count; i++)
		for (unsigned r = 0; r < runs[i].rows; r++)
			if (!is_good(window->state[runs[i].column][runs[i].row - window->row + r]))
				return store_waits_for_disk(reading->store, reading->segment, survivor.place) ? 0 :
															reading->taker->take(reading->taker->argument, &survivor);
	survivor.payload = buffer_new((size_t)block->psect * CELL_SIZE);
	if (!survivor.payload)
		return -ENOMEM;
	for (unsigned i = 0; i < count; i++) {
		memcpy(survivor.payload->data + offset, window_cell(window, runs[i].column, runs[i].row - window->row),
		       (size_t)runs[i].rows * CELL_SIZE);
		offset += (size_t)runs[i].rows * CELL_SIZE;
	}
	int status = reading->taker->take(reading->taker->argument, &survivor);
	if (status == 0)
		note_told(reading, runs, count);
	buffer_unref(survivor.payload);
	return status;
}

static int read_stripe(struct reading *reading, const struct summary_stripe *stripe, struct row_window *window)
{
	const struct summary *summary = summary_of(reading->summary);
	struct cell_run runs[COLUMNS_MAX];
	bool rows[WINDOW_ROWS_MAX] = { false };
	uint32_t mask = 0;
	unsigned count;
	uint64_t dva;

	for (uint32_t i = 0; i < summary->block_count; i++) {
		if (!is_wanted(reading, stripe, &summary->blocks[i], &dva, runs, &count))
			continue;
		for (unsigned j = 0; j < count; j++) {
			mask |= 1u << runs[j].column;
			memset(&rows[runs[j].row - stripe->base], true, runs[j].rows);
		}
	}
	if (!mask)
		return 0;
	window_init(window, reading->store, reading->segment, stripe->base, stripe->height, reading->batch->txg, reading->summary);
	for (unsigned r = 0; r < stripe->height; r++)
		if (!rows[r])
			window_skip(window, r);
	int status = window_read(window, mask);
	if (status == 0)
		status = window_solve(window, mask);
	if (status != -ENOMEM)
		window_heal(window, mask);
	status = status == -ENOMEM ? status : 0; /* what can't be solved is left out, block by block */
	/* Some may have died while they were read. */
	for (uint32_t i = 0; i < summary->block_count && status == 0; i++)
		if (is_wanted(reading, stripe, &summary->blocks[i], &dva, runs, &count))
			status = take_block(reading, window, &summary->blocks[i], dva, runs, count);
	window_release(window);
	return status;
}

/*
 * No writer gives a cell to two blocks: then nobody knows whose it is. Blocks that reach beyond their stripe, or lie in none, are as bad.
 * 0, -POOL_EDAMAGED, -ENOMEM.
 */
static int check_blocks(const struct reading *reading, const struct summary *summary)
{
	unsigned all = reading->store->geometry.rows, k = reading->segment->record.k;
	uint64_t *cells = calloc(BITMAP_WORDS((size_t)k * all), 8);
	uint32_t sound = 0;

	if (!cells)
		return -ENOMEM;
	for (uint32_t s = 0; s < summary->stripe_count; s++) {
		const struct summary_stripe *stripe = &summary->stripes[s];
		for (uint32_t i = 0; i < summary->block_count; i++) {
			const struct summary_block *block = &summary->blocks[i];
			struct cell_run runs[COLUMNS_MAX];
			if (block->row < stripe->base || block->row >= (unsigned)stripe->base + stripe->height)
				continue;
			struct dva dva = { reading->segment->id, stripe->base, stripe->height,
					   (uint16_t)((unsigned)block->column * stripe->height + block->row - stripe->base) };
			bool valid = dva_valid(dva, block->psect, k, all);
			unsigned count = valid ? dva_runs(dva, block->psect, runs) : 0;
			for (unsigned r = 0; r < count; r++) {
				size_t first = (size_t)runs[r].column * all + runs[r].row;
				valid = valid && bitmap_count(cells, first, runs[r].rows) == 0;
				bitmap_set_range(cells, first, runs[r].rows);
			}
			sound += valid;
		}
	}
	free(cells);
	return sound == summary->block_count ? 0 : -POOL_EDAMAGED;
}

static bool goes_on(const struct reading *reading)
{
	return !reading->taker->goes_on || reading->taker->goes_on(reading->taker->argument);
}

static int read_batch(struct reading *reading)
{
	if (!goes_on(reading))
		return -ECANCELED;
	int status = summary_get(reading->store, reading->segment, reading->batch->base, &reading->summary);
	struct row_window *window;

	if (status < 0)
		return status == -ENOMEM ? status : 0;
	const struct summary *summary = summary_of(reading->summary);
	bool its = summary->txg == reading->batch->txg;
	status = its ? check_blocks(reading, summary) : 0;
	if (status == -POOL_EDAMAGED) {
		store_emit(reading->store, STORE_DAMAGED, 0, 1, "a summary names blocks that overlap: they stay where they are");
		its = false;
		status = 0;
	}
	window = its && status == 0 ? malloc(sizeof(*window)) : NULL;
	if (!window && its && status == 0)
		status = -ENOMEM;
	for (uint32_t i = 0; i < summary->stripe_count && window && status == 0; i++) {
		const struct summary_stripe *stripe = &summary->stripes[i];
		if (stripe->base < reading->end && (unsigned)stripe->base + stripe->height > reading->first)
			status = goes_on(reading) ? read_stripe(reading, stripe, window) : -ECANCELED;
	}
	free(window);
	summary_put(reading->store, reading->summary);
	return status;
}

/* Live cells of the rows that no block was told of; those of summaries apart, and those that the txg in sync frees. */
static uint64_t cells_left(const struct reading *reading)
{
	const struct segment *segment = reading->segment;
	unsigned all = reading->store->geometry.rows;
	uint64_t left = 0;

	for (size_t i = 0; i < segment->batch_count; i++) {
		struct cell_run runs[COLUMNS_MAX];
		unsigned count = dva_runs(dva_unpack(segment->batches[i].summary_dva), segment->batches[i].summary_cells, runs);
		for (unsigned r = 0; r < count; r++)
			bitmap_set_range(reading->told, (size_t)runs[r].column * all + runs[r].row, runs[r].rows);
	}
	for (unsigned c = 0; segment->bits && c < segment->bits_k; c++)
		for (unsigned row = reading->first; row < reading->end; row++) {
			size_t bit = (size_t)c * all + row;
			bool dies = segment->freeing && bitmap_get(segment->freeing, bit);
			left += bitmap_get(segment->bits, bit) && !dies && !bitmap_get(reading->told, bit);
		}
	return left;
}

int store_survivors(struct store *store, const struct segment *segment, unsigned row, unsigned rows, const struct survivors_taker *taker,
		    uint64_t *left)
{
	struct reading reading = { .store = store, .segment = segment, .first = row, .end = row + rows, .taker = taker };
	struct array batches; /* copies: the index may change while cells are read */
	int status = 0;

	reading.told = calloc(BITMAP_WORDS((size_t)segment->record.k * store->geometry.rows), 8);
	if (!reading.told)
		return -ENOMEM;
	array_init(&batches, sizeof(struct batch_index));
	for (size_t i = 0; i < segment->batch_count && status == 0; i++) {
		const struct batch_index *batch = &segment->batches[i];
		bool again = batch->base >= reading.end || (unsigned)batch->base + batch->rows <= reading.first;
		for (size_t j = 0; j < batches.count && !again; j++) {
			const struct batch_index *other = array_at(&batches, struct batch_index, j);
			again = other->summary_dva == batch->summary_dva && other->txg == batch->txg;
		}
		if (!again)
			status = array_push(&batches, batch);
	}
	for (size_t i = 0; i < batches.count && status == 0; i++) {
		reading.batch = array_at(&batches, struct batch_index, i);
		status = read_batch(&reading);
	}
	if (status == 0)
		*left += cells_left(&reading);
	array_release(&batches);
	free(reading.told);
	return status;
}
