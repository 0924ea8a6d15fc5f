/*
 * Stripes: cells of a rectangle of rows, by reference to the frozen payloads, and their parity and CRCs,
 * computed once on workers. Rows that hold cells of the batch's summary come last: the summary contains
 * the CRCs of everything else.
 */
#include "libpool/store/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "checksum/crc32c.h"
#include "raid/fused.h"

#define INLINE_CELLS 16u /* take less than telling a worker to */
#define BRIEF_CELLS 128u

struct encode_job {
	struct rt_job job;
	struct stripe *stripe;
	unsigned first, count;
};

struct stripe *stripe_new(struct store *store, uint32_t segment, unsigned base, unsigned height, unsigned k, unsigned m)
{
	struct stripe *stripe = calloc(1, sizeof(*stripe));

	if (!stripe)
		return NULL;
	*stripe = (struct stripe){ .references = 1, .store = store, .segment = segment,
				    .base = (uint16_t)base, .height = (uint16_t)height,
				   .k = (uint8_t)k, .m = (uint8_t)m };
	stripe->cells = calloc((size_t)k * height, sizeof(*stripe->cells));
	stripe->data_crc = calloc((size_t)k * height, sizeof(uint32_t));
	stripe->parity_crc = calloc((size_t)(m ? m : 1) * height, sizeof(uint32_t));
	bool complete = stripe->cells && stripe->data_crc && stripe->parity_crc;
	for (unsigned j = 0; k > 1 && j < m && complete; j++) {
		stripe->parity[j] = buffer_new((size_t)height * CELL_SIZE);
		complete = stripe->parity[j] != NULL;
	}
	if (!complete) {
		stripe_unref(stripe);
		return NULL;
	}
	for (unsigned i = 0; i < k * height; i++)
		stripe->cells[i] = store_zero_cell;
	return stripe;
}

void stripe_drop_buffers(struct stripe *stripe)
{
	for (unsigned i = 0; i < stripe->payload_count; i++)
		buffer_unref(stripe->payloads[i]);
	for (unsigned j = 0; j < PARITY_MAX; j++) {
		buffer_unref(stripe->parity[j]);
		stripe->parity[j] = NULL;
	}
	free(stripe->payloads);
	stripe->payloads = NULL;
	stripe->payload_count = stripe->payload_capacity = 0;
}

void stripe_unref(struct stripe *stripe)
{
	if (!stripe || --stripe->references > 0)
		return;
	stripe_drop_buffers(stripe);
	free(stripe->cells);
	free(stripe->data_crc);
	free(stripe->parity_crc);
	free(stripe);
}

int stripe_add(struct stripe *stripe, struct buffer *payload, unsigned cells)
{
	if (stripe->payload_count == stripe->payload_capacity) {
		unsigned capacity = stripe->payload_capacity ? stripe->payload_capacity * 2 : 8;
		struct buffer **grown = realloc(stripe->payloads, capacity * sizeof(*grown));
		if (!grown)
			return -ENOMEM;
		stripe->payloads = grown;
		stripe->payload_capacity = capacity;
	}
	stripe->payloads[stripe->payload_count++] = buffer_ref(payload);
	for (unsigned i = 0; i < cells; i++)
		stripe->cells[stripe->fill + i] = payload->data + (size_t)i * CELL_SIZE;
	stripe->fill = (uint16_t)(stripe->fill + cells);
	return 0;
}

bool stripe_row_is_late(const struct stripe *stripe, unsigned row)
{
	for (unsigned i = 0; i < stripe->summary_cells; i++)
		if ((stripe->summary_first + i) % stripe->height == row)
			return true;
	return false;
}

static void encode_rows(struct stripe *stripe, unsigned first, unsigned count)
{
	void *parity[PARITY_MAX];
	bool mirror = stripe->k == 1;

	for (unsigned j = 0; j < stripe->m && !mirror; j++)
		parity[j] = stripe->parity[j]->data;
	struct raid_fused_stripe fused = { .k = stripe->k, .m = mirror ? 0 : stripe->m, .rows = stripe->height,
					   .cells = stripe->cells, .parity = mirror ? NULL : parity,
					   .data_crc = stripe->data_crc, .parity_crc = stripe->parity_crc,
					   .segment = stripe->segment, .row_base = stripe->base };
	raid_fused_encode(&fused, first, count);
	/* The copies of a mirror have the data's CRC, but for the seed of their column. */
	for (unsigned row = first; mirror && row < first + count; row++) {
		uint16_t cell_row = (uint16_t)(stripe->base + row);
		uint32_t seed = crc32c_cell_seed(stripe->segment, 0, cell_row);
		for (unsigned j = 0; j < stripe->m; j++) {
			uint32_t other = crc32c_cell_seed(stripe->segment, (uint16_t)(1 + j), cell_row);
			stripe->parity_crc[row * stripe->m + j] = stripe->data_crc[row] ^ crc32c_shift(seed ^ other, CELL_SIZE);
		}
	}
}

static void encode_run(void *argument)
{
	struct encode_job *job = argument;
	unsigned end = job->first + job->count;

	for (unsigned row = job->first; row < end;) {
		unsigned stop = row;
		while (stop < end && !stripe_row_is_late(job->stripe, stop))
			stop++;
		if (stop > row)
			encode_rows(job->stripe, row, stop - row);
		row = stop + 1;
	}
}

static void encode_done(struct rt_job *rt_job)
{
	struct encode_job *job = container_of(rt_job, struct encode_job, job);
	struct stripe *stripe = job->stripe;
	struct store *store = stripe->store;

	free(job);
	if (--store->jobs == 0)
		rt_queue_wake_all(store->rt, &store->room);
	if (--stripe->encoding > 0)
		return;
	struct batch *batch = stripe->batch;
	if (--batch->encoding == 0)
		rt_queue_wake_all(store->rt, &batch->encoded);
	if (stripe->summary_cells == 0)
		unit_encoded(stripe->unit);
}

void stripe_encode(struct stripe *stripe)
{
	struct store *store = stripe->store;
	unsigned pieces = stripe->height >= 32 ? rt_parallelism(store->rt) : 1;
	unsigned per_piece = (stripe->height + pieces - 1) / pieces;

	stripe->batch->encoding++;
	stripe->encoding = 1; /* ours, so that an early end of a piece doesn't finish it */
	for (unsigned first = 0; first < stripe->height; first += per_piece) {
		unsigned count = stripe->height - first < per_piece ? stripe->height - first : per_piece;
		struct encode_job *job = count * stripe->k > INLINE_CELLS ? calloc(1, sizeof(*job)) : NULL;
		if (!job) {
			struct encode_job here = { .stripe = stripe, .first = first, .count = count };
			encode_run(&here);
			continue;
		}
		*job = (struct encode_job){ .stripe = stripe, .first = first, .count = count };
		job->job.function = encode_run;
		job->job.argument = job;
		job->job.done = encode_done;
		job->job.brief_us = count * stripe->k <= BRIEF_CELLS ? rt_brief_us((uint64_t)count * stripe->k * CELL_SIZE) : 0;
		stripe->encoding++;
		store->jobs++;
		rt_work_submit(store->rt, &job->job);
	}
	if (--stripe->encoding == 0) {
		if (--stripe->batch->encoding == 0)
			rt_queue_wake_all(store->rt, &stripe->batch->encoded);
		if (stripe->summary_cells == 0)
			unit_encoded(stripe->unit);
	}
}

void stripe_encode_here(struct stripe *stripe)
{
	struct encode_job job = { .stripe = stripe, .first = 0, .count = stripe->height };

	encode_run(&job);
}

void stripe_encode_late(struct stripe *stripe)
{
	for (unsigned row = 0; row < stripe->height; row++)
		if (stripe_row_is_late(stripe, row))
			encode_rows(stripe, row, 1);
}
