/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reading a block of which a column isn't there, when nothing else is wrong. The cells of that column are made of those of k others, right where
 * the block wants them, in the job that then hashes the block: its own checksum says whether all of it was right. So neither the summary nor the
 * CRCs of the others are asked; if the block is wrong, they are, by who goes the long way (repair.c).
 */
#include <errno.h>
#include <stdlib.h>

#include "libpool/base/check.h"
#include "libpool/format/dva.h"
#include "libpool/store/internal.h"
#include "raid/parity.h"

/* Cells of one column in the block. */
struct around_run {
	size_t offset, size;               /* in the payload */
	unsigned column;
	bool absent;
	uint32_t sources;                  /* what they are made of; 0: they are read */
	struct buffer *cells[COLUMNS_MAX]; /* of the sources */
	int results[COLUMNS_MAX];
};

struct around {
	const struct block_pointer *pointer;
	struct buffer *payload;
	unsigned k, m, count;
	bool matches;
	struct around_run runs[];
};

static bool run_present(const struct store *store, const struct segment *segment, unsigned column, const struct cell_run *run, uint64_t place)
{
	for (unsigned r = 0; r < run->rows; r++)
		if (!cell_present(store, segment, column, run->row + r, place))
			return false;
	return true;
}

/* Of a mirror another copy is read in its place. Data come first, as parity takes more arithmetic. */
static int start_run(struct store *store, struct around *around, const struct segment *segment, const struct cell_run *run, size_t offset,
		     struct rt_group *group)
{
	struct around_run *made = &around->runs[around->count++];
	uint64_t place = around->pointer->place;
	unsigned count = 0;

	*made = (struct around_run){ .offset = offset, .size = (size_t)run->rows * CELL_SIZE, .column = run->column };
	if (run_present(store, segment, run->column, run, place)) {
		cells_read_start(store, segment->record.columns[run->column], run->row, run->rows, around->payload, offset, NULL, group,
				 &made->results[run->column]);
		return 0;
	}
	made->absent = true;
	for (unsigned c = 0; c < around->k + around->m && count < around->k; c++) {
		if (c == run->column || !run_present(store, segment, c, run, place))
			continue;
		count++;
		if (around->k == 1) {
			cells_read_start(store, segment->record.columns[c], run->row, run->rows, around->payload, offset, NULL, group,
					 &made->results[c]);
			continue;
		}
		made->cells[c] = buffer_new(made->size);
		if (!made->cells[c])
			return -ENOMEM;
		made->sources |= 1u << c;
		cells_read_start(store, segment->record.columns[c], run->row, run->rows, made->cells[c], 0, NULL, group, &made->results[c]);
	}
	return count == around->k ? 0 : -ENODEV;
}

static void make(void *argument)
{
	struct around *around = argument;
	uint32_t all = (1u << (around->k + around->m)) - 1;

	for (unsigned i = 0; i < around->count; i++) {
		const struct around_run *run = &around->runs[i];
		void *columns[COLUMNS_MAX] = { 0 };

		if (!run->sources)
			continue;
		for (unsigned c = 0; c < around->k + around->m; c++)
			if (run->sources >> c & 1)
				columns[c] = run->cells[c]->data;
		columns[run->column] = around->payload->data + run->offset;
		if (!POOL_CHECK(raid_decode_subset(around->k, around->m, run->size, all & ~run->sources, 1u << run->column, columns) == 0))
			return;
	}
	around->matches = payload_matches(around->pointer, around->payload->data);
}

static void count_made(struct store *store, const struct around *around)
{
	for (unsigned i = 0; i < around->count; i++)
		if (around->runs[i].absent)
			store->counters.reconstructed_cells += around->runs[i].size / CELL_SIZE;
}

static int read_all(struct store *store, struct around *around, const struct segment *segment, const struct cell_run *runs, unsigned count)
{
	struct rt_group group;
	size_t offset = 0;
	int status = 0;

	rt_group_init(&group);
	for (unsigned i = 0; i < count && status == 0; i++) {
		status = start_run(store, around, segment, &runs[i], offset, &group);
		offset += (size_t)runs[i].rows * CELL_SIZE;
	}
	if (group.pending)
		(void)rt_group_wait(store->rt, &group);
	for (unsigned i = 0; i < around->count && status == 0; i++)
		for (unsigned c = 0; c < COLUMNS_MAX; c++)
			if (around->runs[i].results[c] < 0)
				status = around->runs[i].results[c];
	return status;
}

int read_around(struct store *store, const struct block_pointer *pointer, const struct segment *segment, struct buffer **ret_payload)
{
	struct cell_run runs[COLUMNS_MAX];
	unsigned count = dva_runs(dva_unpack(pointer->dva), pointer->psect, runs);
	struct around *around = malloc(sizeof(*around) + count * sizeof(around->runs[0]));
	int status = -ENOMEM;

	if (!around)
		return status;
	*around = (struct around){ .pointer = pointer, .payload = buffer_new((size_t)pointer->psect * CELL_SIZE),
				   .k = segment->record.k, .m = segment->record.m };
	if (around->payload)
		status = read_all(store, around, segment, runs, count);
	if (status == 0) {
		rt_work_brief(store->rt, make, around, rt_brief_us((uint64_t)around->payload->size * around->k));
		status = around->matches ? 0 : -POOL_ECHECKSUM;
	}
	for (unsigned i = 0; i < around->count; i++)
		for (unsigned c = 0; c < COLUMNS_MAX; c++)
			buffer_unref(around->runs[i].cells[c]);
	if (status == 0) {
		count_made(store, around);
		*ret_payload = around->payload;
	} else {
		buffer_unref(around->payload);
	}
	free(around);
	return status;
}
