/*
 * Batches: what one txg writes into one segment, and the summary that closes it. The summary's address is given when
 * the batch is finished; its content waits until every stripe has its CRCs, on a fiber of its own, so that placement
 * goes on meanwhile.
 */
#include "libpool/store/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "checksum/crc32c.h"
#include "libpool/base/check.h"
#include "libpool/format/dataset_record.h"
#include "libpool/format/dva.h"

int batch_new(struct store *store, enum segment_class class, uint32_t segment, struct batch **ret_batch)
{
	const struct segment_record *record = &alloc_segment(store->alloc, segment)->record;
	struct batch *batch = calloc(1, sizeof(*batch));

	if (!batch)
		return -ENOMEM;
	*batch = (struct batch){ .store = store, .segment = segment, .class = class, .k = record->k, .m = record->m,
				 .txg = store->txg };
	list_init(&batch->stripes);
	array_init(&batch->blocks, sizeof(struct summary_block));
	array_init(&batch->unused, sizeof(struct cell_extent));
	array_init(&batch->aheads, sizeof(struct ahead_block *));
	rt_queue_init(&batch->encoded);
	*ret_batch = batch;
	return 0;
}

void batch_free(struct batch *batch)
{
	struct list *node;

	while ((node = list_pop_front(&batch->stripes)))
		stripe_unref(container_of(node, struct stripe, batch_node));
	array_release(&batch->blocks);
	array_release(&batch->unused);
	for (size_t i = 0; i < batch->aheads.count; i++)
		ahead_block_unref(*array_at(&batch->aheads, struct ahead_block *, i));
	array_release(&batch->aheads);
	free(batch);
}

unsigned batch_summary_cells(const struct batch *batch, unsigned more_rows, unsigned more_stripes, unsigned more_blocks,
			     unsigned more_ranges)
{
	unsigned ranges = batch->class == CLASS_SYS || batch->ahead || batch->runs ? batch->stripe_count + more_ranges : 1;
	uint32_t blocks = (uint32_t)batch->blocks.count + more_blocks;
	size_t size = summary_size(ranges, batch->stripe_count + more_stripes, blocks, batch->moved ? blocks : 0,
				   (batch->rows + more_rows) * (uint32_t)(batch->k + batch->m));

	return (unsigned)((size + CELL_SIZE - 1) / CELL_SIZE);
}

unsigned batch_summary_fit(const struct batch *batch, unsigned cells, unsigned blocks, unsigned *ret_height)
{
	unsigned height = (cells + batch->k - 1) / batch->k, summary_cells;

	/* The summary describes its own rows too: more rows, more cells, until both agree. */
	for (;;) {
		summary_cells = batch_summary_cells(batch, height, 1, blocks, 1);
		unsigned need = (cells + summary_cells + batch->k - 1) / batch->k;
		if (need <= height)
			break;
		height = need;
	}
	*ret_height = height;
	return summary_cells;
}

static enum store_purpose purpose_of(const struct store_block *block)
{
	if (block->identity_dva)
		return STORE_COPIES;
	if (block->type <= TYPE_LIVEMAP)
		return STORE_STATE;
	if (block->owner.objset)
		return block->type == TYPE_DATA && block->owner.level == 0 ? STORE_DATA : STORE_NODES;
	if (block->type == TYPE_TREE && block->owner.object == MOS_XBLK)
		return STORE_MOVED;
	return block->type == TYPE_TREE && block->owner.object == MOS_BATCH_MAP ? STORE_BATCH_MAP : STORE_OWN;
}

static void count(struct batch *batch, enum store_purpose purpose, uint64_t cells)
{
	struct store_counters *counters = &batch->store->counters;

	(batch->class == CLASS_SYS ? counters->placed_sys : counters->placed)[purpose] += cells;
}

int batch_add_block(struct batch *batch, struct stripe *stripe, struct store_block *block)
{
	struct dva dva = { batch->segment, stripe->base, stripe->height, stripe->fill };
	struct summary_block entry = { .column = (uint8_t)(stripe->fill / stripe->height),
				       .row = (uint16_t)(stripe->base + stripe->fill % stripe->height),
				       .psect = block->psect, .type = block->type, .level = block->owner.level,
				       .objset = block->owner.objset, .object = block->owner.object,
				       .block = block->owner.block };
	if (block->identity_dva) {
		entry.flags = SUMMARY_RELOCATED;
		entry.identity_dva = block->identity_dva;
		entry.identity_place = block->identity_place;
		POOL_CHECK(batch->moved);
	}
	int status = array_push(&batch->blocks, &entry);

	if (status == 0)
		status = stripe_add(stripe, block->payload, block->psect);
	if (status < 0)
		return status;
	count(batch, purpose_of(block), block->psect);
	block->dva = dva_pack(dva);
	return 0;
}

/* Cells of a stripe behind its fill hold zeroes and belong to no block. */
static int note_unused(struct batch *batch, const struct stripe *stripe)
{
	unsigned end = stripe->k * stripe->height;

	for (unsigned offset = stripe->fill; offset < end;) {
		unsigned column = offset / stripe->height, row = offset % stripe->height;
		unsigned rows = stripe->height - row;
		struct cell_extent extent = { batch->segment, (uint8_t)column, (uint16_t)(stripe->base + row), (uint16_t)rows };
		int status = array_push(&batch->unused, &extent);
		if (status < 0)
			return status;
		offset += rows;
	}
	count(batch, STORE_PADDING, end - stripe->fill);
	return 0;
}

static int compare_stripes(const void *a, const void *b)
{
	const struct stripe *x = *(struct stripe *const *)a, *y = *(struct stripe *const *)b;

	return x->base < y->base ? -1 : x->base > y->base;
}

/* The batch's stripes in row order, which isn't the order of placement where single rows are reused. NULL without memory. */
static struct stripe **stripes_sorted(const struct batch *batch)
{
	struct stripe **stripes = calloc(batch->stripe_count, sizeof(*stripes));
	unsigned count = 0;

	if (!stripes)
		return NULL;
	list_for_each(node, &batch->stripes)
		stripes[count++] = container_of(node, struct stripe, batch_node);
	qsort(stripes, count, sizeof(*stripes), compare_stripes);
	return stripes;
}

/* The arrays of a summary, filled from the stripes in row order. */
static int summary_fill(struct batch *batch, struct summary *summary)
{
	struct stripe **stripes = stripes_sorted(batch);
	unsigned count = batch->stripe_count, width = batch->k + batch->m;
	uint32_t cells = batch->rows * width;

	summary->ranges = calloc(batch->stripe_count, sizeof(*summary->ranges));
	summary->stripes = calloc(batch->stripe_count, sizeof(*summary->stripes));
	summary->nocrc = calloc((cells + 7) / 8, 1);
	summary->crc = calloc(cells, sizeof(uint32_t));
	if (!stripes || !summary->ranges || !summary->stripes || !summary->nocrc || !summary->crc) {
		free(stripes);
		return -ENOMEM;
	}
	summary->cell_count = cells;
	uint32_t cell = 0;
	for (unsigned i = 0; i < count; i++) {
		const struct stripe *stripe = stripes[i];
		struct summary_range *last = summary->range_count ? &summary->ranges[summary->range_count - 1] : NULL;
		if (last && last->base + last->rows == stripe->base)
			last->rows = (uint16_t)(last->rows + stripe->height);
		else
			summary->ranges[summary->range_count++] = (struct summary_range){ stripe->base, stripe->height };
		summary->stripes[summary->stripe_count++] =
			(struct summary_stripe){ stripe->base, stripe->height, stripe->fill };
		for (unsigned row = 0; row < stripe->height; row++) {
			bool late = stripe_row_is_late(stripe, row);
			for (unsigned c = 0; c < width; c++, cell++) {
				unsigned offset = c * stripe->height + row;
				bool own = c < stripe->k && offset >= stripe->summary_first &&
					   offset < (unsigned)stripe->summary_first + stripe->summary_cells;
				if (own || (late && c >= stripe->k))
					summary->nocrc[cell / 8] |= (uint8_t)(1u << cell % 8);
				else
					summary->crc[cell] = c < stripe->k ? stripe->data_crc[row * stripe->k + c] :
									     stripe->parity_crc[row * stripe->m + c - stripe->k];
			}
		}
	}
	free(stripes);
	return 0;
}

/* Data cells that share a row with the summary have CRCs too; only their row's parity waits for it. */
static void late_data_crcs(struct stripe *stripe)
{
	for (unsigned row = 0; row < stripe->height; row++) {
		if (!stripe_row_is_late(stripe, row))
			continue;
		for (unsigned c = 0; c < stripe->k; c++) {
			uint32_t seed = crc32c_cell_seed(stripe->segment, (uint16_t)c, (uint16_t)(stripe->base + row));
			stripe->data_crc[row * stripe->k + c] = crc32c(seed, stripe->cells[c * stripe->height + row], CELL_SIZE);
		}
	}
}

int batch_build_summary(struct batch *batch, struct stripe *last, struct block_pointer *ret_pointer)
{
	struct summary summary = { .pool = batch->store->geometry.pool, .segment = batch->segment,
				   .class = (uint8_t)batch->class, .k = batch->k, .m = batch->m, .txg = batch->txg,
				   .block_count = (uint32_t)batch->blocks.count, .blocks = batch->blocks.items };
	size_t room = (size_t)last->summary_cells * CELL_SIZE;
	struct buffer *payload = NULL;

	late_data_crcs(last);
	int status = summary_fill(batch, &summary);
	if (status == 0) {
		size_t size = summary_size(summary.range_count, summary.stripe_count, summary.block_count, batch->moved ? summary.block_count : 0,
					   summary.cell_count);
		payload = buffer_new_zero(room);
		if (!payload || !POOL_CHECK(size <= room && last->summary_cells <= SUMMARY_CELLS_MAX))
			status = -ENOMEM;
	}
	if (status == 0) {
		summary_encode(&summary, payload->data);
		struct dva dva = { batch->segment, last->base, last->height, last->summary_first };
		*ret_pointer = (struct block_pointer){ .dva = dva_pack(dva), .place = batch->txg, .birth = batch->txg, .fill = 1,
						       .lsect = last->summary_cells, .psect = last->summary_cells,
						       .type = TYPE_SUMMARY };
		store_checksum(CHECKSUM_XXH3_128, payload->data, room, ret_pointer->checksum);
		uint16_t fill = last->fill;
		last->fill = last->summary_first;
		status = stripe_add(last, payload, last->summary_cells);
		last->fill = fill;
	}
	summary.blocks = NULL;
	summary_release(&summary);
	buffer_unref(payload);
	return status;
}

static int batch_record(struct batch *batch, const struct block_pointer *pointer)
{
	struct stripe **stripes = stripes_sorted(batch);
	struct array ranges;
	int status = stripes ? 0 : -ENOMEM;

	array_init(&ranges, sizeof(struct summary_range));
	for (unsigned i = 0; status == 0 && i < batch->stripe_count; i++) {
		struct summary_range *last = ranges.count ? array_at(&ranges, struct summary_range, ranges.count - 1) : NULL;
		struct summary_range range = { stripes[i]->base, stripes[i]->height };
		if (last && last->base + last->rows == range.base)
			last->rows = (uint16_t)(last->rows + range.rows);
		else
			status = array_push(&ranges, &range);
	}
	free(stripes);
	if (status == 0)
		status = alloc_txg_batch(batch->store->alloc, batch->segment, ranges.items, (unsigned)ranges.count, pointer,
					 batch->unused.items, batch->unused.count);
	array_release(&ranges);
	return status;
}

static void batch_finish_fiber(void *argument)
{
	struct batch *batch = argument;
	struct stripe *last = batch->last;
	struct store *store = batch->store;
	struct block_pointer pointer;
	int status = 0;

	while (batch->encoding)
		rt_queue_wait(store->rt, &batch->encoded);
	list_for_each(node, &batch->stripes)
		if (status == 0)
			status = note_unused(batch, container_of(node, struct stripe, batch_node));
	if (status == 0)
		status = batch_build_summary(batch, last, &pointer);
	if (status == 0) {
		stripe_encode_late(last);
		if (batch->final)
			*batch->ret_summary = pointer;
		else
			status = batch_record(batch, &pointer);
	}
	if (status < 0)
		store_halt(store, "out of memory while writing a batch's summary");
	unit_encoded(last->unit);
	batch_free(batch);
	rt_group_done(store->rt, &store->writes, 0);
}

void batch_finish(struct batch *batch, struct stripe *last)
{
	struct store *store = batch->store;

	batch->last = last;
	count(batch, STORE_SUMMARIES, last->summary_cells);
	store->counters.parity_cells += (uint64_t)batch->rows * batch->m;
	rt_group_add(&store->writes);
	if (rt_spawn(store->rt, "summary", batch_finish_fiber, batch) < 0)
		batch_finish_fiber(batch); /* no stack left: in ours */
}
