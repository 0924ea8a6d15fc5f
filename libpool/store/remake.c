/*
 * A summary that was lost, made anew from all blocks of its batch as the trees know them. Everything in it follows from them: stripes
 * from addresses, CRCs from content, and what belongs to no block is zeroes. It has no room for a guess: the
 * checksum in the batch's pointer says whether it is the one that was there, to the byte. A batch of which a block
 * has died meanwhile doesn't get there, as nobody knows any more whose that was.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "libpool/format/dva.h"
#include "libpool/store/internal.h"

struct remake {
	struct store *store;
	const struct batch_index *index;
	struct batch *batch;
	struct stripe *stripe; /* the newest */
};

static int add_stripe(struct remake *remake, const struct dva *dva)
{
	struct batch *batch = remake->batch;
	struct stripe *last = remake->stripe;

	/* Upward, none twice, each from its first cell on. */
	if (dva->offset != 0 || (last && dva->base < (unsigned)last->base + last->height))
		return -POOL_EDAMAGED;
	struct stripe *stripe = stripe_new(remake->store, dva->segment, dva->base, dva->height, batch->k, batch->m);
	if (!stripe)
		return -ENOMEM;
	stripe->batch = batch;
	list_push_back(&batch->stripes, &stripe->batch_node);
	batch->rows += dva->height;
	batch->stripe_count++;
	remake->stripe = stripe;
	return 0;
}

static void encode(void *argument)
{
	stripe_encode_here(argument);
}

/* No block is added to it any more: only its CRCs are needed, but of the one that has the summary. */
static void finish_stripe(struct remake *remake)
{
	struct stripe *stripe = remake->stripe;

	if (!stripe)
		return;
	rt_work(remake->store->rt, encode, stripe);
	if (!stripe->summary_cells)
		stripe_drop_buffers(stripe);
}

/* The stripe that a block of so many cells goes on with. */
static int reach_stripe(struct remake *remake, const struct dva *dva, unsigned cells)
{
	struct stripe *stripe = remake->stripe;

	if (!stripe || stripe->base != dva->base) {
		finish_stripe(remake);
		int status = add_stripe(remake, dva);
		if (status < 0)
			return status;
		stripe = remake->stripe;
	}
	if (stripe->height != dva->height || stripe->fill != dva->offset || dva->offset + cells > (unsigned)stripe->k * stripe->height)
		return -POOL_EDAMAGED; /* something between has died */
	return 0;
}

static int add_summary(struct remake *remake)
{
	struct dva dva = dva_unpack(remake->index->summary_dva);
	int status = reach_stripe(remake, &dva, remake->index->summary_cells);

	if (status < 0)
		return status;
	remake->batch->last = remake->stripe;
	remake->stripe->summary_first = dva.offset;
	remake->stripe->summary_cells = remake->index->summary_cells;
	remake->stripe->fill = (uint16_t)(dva.offset + remake->index->summary_cells);
	return 0;
}

static int add_block(struct remake *remake, const struct store_known_block *block)
{
	struct dva dva = dva_unpack(block->pointer.dva);
	struct store_block entry = { .psect = block->pointer.psect, .type = block->pointer.type, .owner = block->owner,
				     .identity_dva = block->identity_dva, .identity_place = block->identity_place };
	int status = store_read(remake->store, &block->pointer, 0, &entry.payload);

	if (status == 0)
		status = reach_stripe(remake, &dva, entry.psect);
	struct store_counters counters = remake->store->counters;
	if (status == 0)
		status = batch_add_block(remake->batch, remake->stripe, &entry);
	remake->store->counters = counters; /* it isn't placed here */
	buffer_unref(entry.payload);
	return status;
}

static bool comes_before(uint64_t left, uint64_t right)
{
	struct dva x = dva_unpack(left), y = dva_unpack(right);

	return x.base != y.base ? x.base < y.base : x.offset < y.offset;
}

static int add_all(struct remake *remake, const struct store_known_block *blocks, size_t count)
{
	int status = 0;

	for (size_t i = 0; i < count && status == 0; i++) {
		if (!remake->batch->last && comes_before(remake->index->summary_dva, blocks[i].pointer.dva))
			status = add_summary(remake);
		if (status == 0)
			status = add_block(remake, &blocks[i]);
	}
	if (status == 0 && !remake->batch->last)
		status = add_summary(remake);
	if (status == 0)
		finish_stripe(remake);
	return status;
}

int summary_remake(struct store *store, const struct segment *segment, const struct batch_index *index, const struct store_known_block *blocks,
		   size_t count, struct summary_entry **ret_entry)
{
	struct block_pointer wanted, pointer;
	struct remake remake = { .store = store, .index = index };
	int status = batch_new(store, (enum segment_class)segment->record.class, segment->id, &remake.batch);

	if (status < 0)
		return status;
	remake.batch->txg = index->txg;
	remake.batch->moved = count && blocks[0].identity_dva; /* a compactor's batches have nothing else */
	alloc_summary_pointer(index, &wanted);
	status = add_all(&remake, blocks, count);
	struct stripe *last = remake.batch->last;
	if (status == 0)
		status = batch_build_summary(remake.batch, last, &pointer);
	if (status == 0 && memcmp(pointer.checksum, wanted.checksum, sizeof(pointer.checksum)) != 0)
		status = -POOL_EDAMAGED;
	if (status == 0)
		status = summary_adopt(store, segment->id, &wanted, last->payloads[last->payload_count - 1], ret_entry);
	batch_free(remake.batch);
	return status;
}

void window_restore_summary(struct row_window *window)
{
	for (unsigned c = 0; c < window->k; c++)
		for (unsigned r = 0; window->columns[c] && r < window->rows; r++) {
			uint8_t state = window->state[c][r];
			const uint8_t *content = state == CELL_BAD || state == CELL_UNREADABLE ? summary_cell(window, c, r) : NULL;
			if (!content)
				continue;
			memcpy(window_cell(window, c, r), content, CELL_SIZE);
			window->origin[c][r] = state;
			window->state[c][r] = CELL_REBUILT;
		}
}
