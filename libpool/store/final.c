/*
 * The final batch of a txg: the last alloc-log block, the commit block and a summary, in one stripe of a SYS
 * segment. The uberblock names it; the next txg's log records it. Every address is known from the layout
 * before any content is, because the commit block contains the log block's checksum.
 */
#include "libpool/store/internal.h"

#include <errno.h>
#include <string.h>

#include "libpool/base/check.h"
#include "libpool/format/dva.h"

void store_final_layout(const struct store *store, uint32_t segment, uint16_t base, unsigned log_cells, struct final_layout *ret_layout)
{
	const struct segment_record *record = &alloc_segment(store->alloc, segment)->record;
	unsigned cells = 1;

	for (unsigned round = 0; round < 3; round++) {
		unsigned height = log_cells + 1 + cells;
		size_t size = summary_size(1, 1, 2, 0, height * (uint32_t)(record->k + record->m));
		cells = (unsigned)((size + CELL_SIZE - 1) / CELL_SIZE);
	}
	*ret_layout = (struct final_layout){ .segment = segment, .base = base, .height = (uint16_t)(log_cells + 1 + cells),
					     .log_cells = (uint16_t)log_cells, .summary_cells = (uint16_t)cells };
}

static void ignore_placed(struct store_block *block)
{
	(void)block;
}

int store_final_write(struct store *store, const struct final_layout *layout, struct buffer *log, struct buffer *commit,
		      struct final_batch *ret_final, struct block_pointer *ret_summary, uint32_t *ret_lacking)
{
	struct store_block blocks[2] = {
		{ .payload = log, .psect = layout->log_cells, .type = TYPE_ALLOC_LOG, .placed = ignore_placed },
		{ .payload = commit, .psect = 1, .type = TYPE_COMMIT, .placed = ignore_placed },
	};
	struct batch *batch;
	struct write_unit *unit = NULL;
	struct block_pointer summary = { 0 };
	int status = batch_new(store, CLASS_SYS, layout->segment, &batch);

	if (status < 0)
		return status;
	store->final_lacking = 0;
	batch->final = true;
	batch->ret_summary = &summary;
	struct stripe *stripe = stripe_new(store, layout->segment, layout->base, layout->height, batch->k, batch->m);
	if (!stripe || unit_add(&unit, store, stripe, UNIT_ROWS_MAX) < 0) {
		stripe_unref(stripe);
		batch_free(batch);
		store_halt(store, "out of memory while writing the commit block");
		return -ENOMEM;
	}
	unit->final = true;
	stripe->batch = batch;
	list_push_back(&batch->stripes, &stripe->batch_node);
	batch->rows = layout->height;
	batch->stripe_count = 1;
	status = batch_add_block(batch, stripe, &blocks[0]);
	if (status == 0)
		status = batch_add_block(batch, stripe, &blocks[1]);
	if (status < 0) {
		store_halt(store, "out of memory while writing the commit block");
		unit_give_up(stripe);
		unit_close(&unit);
		(void)store_wait_writes(store);
		batch_free(batch);
		return status;
	}
	stripe->summary_first = stripe->fill;
	stripe->summary_cells = layout->summary_cells;
	stripe->fill = (uint16_t)(stripe->fill + layout->summary_cells);
	stripe_encode(stripe);
	unit_close(&unit);
	batch_finish(batch, stripe);
	status = store_wait_writes(store);
	if (status < 0)
		return status;
	POOL_CHECK(summary.psect == layout->summary_cells);
	*ret_summary = summary;
	ret_final->segment = layout->segment;
	ret_final->base = layout->base;
	ret_final->rows = layout->height;
	block_pointer_encode(&summary, &ret_final->summary);
	*ret_lacking = store->final_lacking;
	return 0;
}

void store_final_settle(struct store *store, uint32_t segment, uint32_t lacking)
{
	const struct segment_record *record = &alloc_segment(store->alloc, segment)->record;

	for (unsigned c = 0; c < (unsigned)record->k + record->m; c++)
		if (lacking >> c & 1)
			store_disk_fail(store, record->columns[c].disk, "a write of the commit block failed");
}
