/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The cells of the intent log. LOG segments are mirrors that belong to no batch: what lies in them is judged by its own
 * checksum, and each write is durable by itself, apart from every commit.
 *
 * What must always hold: a write counts as durable only if every column of its segment has it, and each of these
 * columns is on a disk that is ONLINE. Which rows are free is the caller's to know.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "libpool/store/internal.h"

int store_open_log(struct store *store, uint32_t *ret_segment)
{
	int status = alloc_segment_open(store->alloc, CLASS_LOG, ret_segment);

	return status == 0 ? unit_write_headers(store, *ret_segment) : status;
}

static bool disk_works(const struct store *store, unsigned index)
{
	const struct store_disk *disk = &store->disks[index];

	return disk->disk && disk->state == DISK_ONLINE;
}

bool store_log_is_whole(const struct store *store, uint32_t id)
{
	const struct segment_record *record = &alloc_segment(store->alloc, id)->record;
	unsigned columns = record->k + record->m, present = 0, possible = 0;

	for (unsigned c = 0; c < columns; c++) {
		uint16_t index = record->columns[c].disk;
		if (index == DISK_ABSENT)
			continue;
		if (!disk_works(store, index) || !alloc_disk(store->alloc, index)->usable)
			return false;
		present++;
	}
	if (present == columns)
		return true;
	for (unsigned i = 0; i < DISKS_MAX; i++) {
		const struct alloc_disk *disk = alloc_disk(store->alloc, i);
		possible += disk && disk->usable && disk->au_free && disk_works(store, i);
	}
	return present > 0 && possible <= present;
}

/* One request for each column of each run. */
struct log_request {
	uint16_t disk;
	int result;
};

struct log_write {
	struct store *store;
	struct rt_group group;
	struct log_request *requests;
	unsigned request_count;
};

static int start_run(struct log_write *write, const struct store_log_run *run)
{
	struct store *store = write->store;
	const struct segment_record *record = &alloc_segment(store->alloc, run->segment)->record;
	struct cell_source *sources = calloc(run->count, sizeof(*sources));
	int status = sources ? 0 : -ENOMEM;

	for (unsigned i = 0; i < run->count && status == 0; i++)
		sources[i] = (struct cell_source){ run->blocks[i].buffer, 0, run->blocks[i].cells };
	for (unsigned c = 0; c < (unsigned)record->k + record->m && status == 0; c++) {
		struct segment_column to = record->columns[c];
		if (to.disk == DISK_ABSENT)
			continue;
		if (!disk_works(store, to.disk)) {
			status = -EIO;
			break;
		}
		struct log_request *request = &write->requests[write->request_count++];
		request->disk = to.disk;
		status = cells_write_start(store, run->segment, to, run->row, sources, run->count,
					   store->disks[to.disk].disk->info.fua, &write->group, &request->result);
	}
	free(sources);
	return status;
}

/* What has no FUA is flushed, each disk once. */
static int flush_disks(struct log_write *write)
{
	struct store *store = write->store;
	struct log_request *flushes = calloc(write->request_count, sizeof(*flushes));
	unsigned count = 0;
	int status = flushes ? 0 : -ENOMEM;

	for (unsigned i = 0; i < write->request_count && status == 0; i++) {
		uint16_t index = write->requests[i].disk;
		bool done = false;
		for (unsigned f = 0; f < count; f++)
			done |= flushes[f].disk == index;
		if (done || (store->disks[index].disk && store->disks[index].disk->info.fua))
			continue;
		flushes[count].disk = index;
		status = store->disks[index].disk ? flush_start(store, index, &write->group, &flushes[count].result) : -EIO;
		count++;
	}
	if (write->group.pending)
		(void)rt_group_wait(store->rt, &write->group);
	for (unsigned f = 0; f < count && status == 0; f++)
		status = flushes[f].result;
	free(flushes);
	return status;
}

int store_log_write(struct store *store, const struct store_log_run *runs, unsigned count)
{
	struct log_write write = { .store = store, .requests = calloc((size_t)count * SYS_COLUMNS_MAX, sizeof(struct log_request)) };
	int status = write.requests ? 0 : -ENOMEM;

	if (store->halted)
		status = -POOL_EHALTED;
	rt_group_init(&write.group);
	for (unsigned i = 0; i < count; i++)
		alloc_pin(alloc_segment(store->alloc, runs[i].segment));
	for (unsigned i = 0; i < count && status == 0; i++)
		status = start_run(&write, &runs[i]);
	if (write.group.pending)
		(void)rt_group_wait(store->rt, &write.group);
	for (unsigned i = 0; i < count; i++)
		alloc_unpin(store->alloc, alloc_segment(store->alloc, runs[i].segment));
	for (unsigned i = 0; i < write.request_count; i++) {
		cells_write_judge(store, write.requests[i].disk, write.requests[i].result);
		if (status == 0)
			status = write.requests[i].result;
	}
	if (status == 0)
		status = flush_disks(&write);
	/* A disk that failed meanwhile, by whatever it was, may have lost what it had in its cache. */
	for (unsigned i = 0; i < write.request_count && status == 0; i++)
		if (!disk_works(store, write.requests[i].disk))
			status = -EIO;
	free(write.requests);
	return status;
}

/* The rows one by one; what can't be read becomes zeros. False when the disk doesn't answer at all. */
static bool read_rows(struct store *store, struct segment_column column, unsigned rows, struct buffer *buffer, uint64_t *covered)
{
	for (unsigned row = 1; row < rows; row++) {
		size_t at = (size_t)(row - 1) * CELL_SIZE;
		int status = disk_read(store->disks[column.disk].disk, store_cell_offset(store, column.au, row), CELL_SIZE, buffer, at);
		if (status == -ETIMEDOUT || status == -ENOMEM)
			return false;
		if (status == 0)
			bitmap_set(covered, row);
		else
			memset(buffer->data + at, 0, CELL_SIZE);
	}
	return true;
}

int store_log_read(struct store *store, uint32_t id, struct buffer *ret_copies[SYS_COLUMNS_MAX])
{
	const struct segment *segment = alloc_segment(store->alloc, id);
	unsigned rows = store->geometry.rows;
	uint64_t covered[BITMAP_WORDS(1u << (AU_SHIFT_MAX - CELL_SHIFT))] = { 0 };
	int results[SYS_COLUMNS_MAX] = { 0 }, status = 0;
	struct rt_group group;

	rt_group_init(&group);
	for (unsigned c = 0; c < SYS_COLUMNS_MAX; c++) {
		struct segment_column column = segment->record.columns[c];
		ret_copies[c] = NULL;
		if (c >= (unsigned)segment->record.k + segment->record.m || column.disk == DISK_ABSENT || !store->disks[column.disk].disk)
			continue;
		ret_copies[c] = buffer_new((size_t)(rows - 1) * CELL_SIZE);
		if (!ret_copies[c])
			status = -ENOMEM;
		else
			cells_read_start(store, column, 1, rows - 1, ret_copies[c], 0, &group, &results[c]);
	}
	if (group.pending)
		(void)rt_group_wait(store->rt, &group);
	for (unsigned c = 0; c < SYS_COLUMNS_MAX && status == 0; c++) {
		if (!ret_copies[c])
			continue;
		if (results[c] == -ENOMEM)
			status = -ENOMEM;
		else if (results[c] == 0)
			bitmap_set_range(covered, 1, rows - 1);
		else if (!read_rows(store, segment->record.columns[c], rows, ret_copies[c], covered)) {
			buffer_unref(ret_copies[c]);
			ret_copies[c] = NULL;
		}
	}
	if (status == 0 && bitmap_count(covered, 1, rows - 1) != rows - 1)
		status = -POOL_EDAMAGED;
	for (unsigned c = 0; c < SYS_COLUMNS_MAX && status < 0; c++) {
		buffer_unref(ret_copies[c]);
		ret_copies[c] = NULL;
	}
	return status;
}
