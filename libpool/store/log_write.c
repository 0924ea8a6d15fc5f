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

int store_open_log(struct store *store, bool on_log_disks, uint32_t *ret_segment)
{
	int status = on_log_disks ? alloc_log_open(store->alloc, ret_segment) : alloc_segment_open(store->alloc, CLASS_LOG, ret_segment);

	return status == 0 ? unit_write_headers(store, *ret_segment) : status;
}

static bool disk_works(const struct store *store, unsigned index)
{
	const struct store_disk *disk = &store->disks[index];

	return disk->disk && disk->state == DISK_ONLINE;
}

bool store_log_is_on_log_disks(const struct store *store, uint32_t id)
{
	const struct segment_record *record = &alloc_segment(store->alloc, id)->record;

	for (unsigned c = 0; c < (unsigned)record->k + record->m; c++) {
		const struct alloc_disk *disk = alloc_disk(store->alloc, record->columns[c].disk);
		if (disk)
			return disk->log;
	}
	return false;
}

bool store_log_is_whole(const struct store *store, uint32_t id)
{
	const struct segment_record *record = &alloc_segment(store->alloc, id)->record;
	bool on_log_disks = store_log_is_on_log_disks(store, id);
	unsigned columns = record->k + record->m, present = 0, possible = 0;
	unsigned copies = on_log_disks ? alloc_log_copies(store->alloc) : columns;
	uint64_t there[BITMAP_WORDS(DISKS_MAX)] = { 0 };

	for (unsigned c = 0; c < columns; c++) {
		uint16_t index = record->columns[c].disk;
		if (index == DISK_ABSENT)
			continue;
		if (!disk_works(store, index) || !alloc_disk(store->alloc, index)->usable)
			return false;
		present++;
		bitmap_set(there, index);
	}
	if (!on_log_disks && alloc_log_room(store->alloc) >= STORE_LOG_SEGMENTS_MIN)
		return false;
	if (present == copies || (on_log_disks && present == alloc_log_disks(store->alloc)))
		return true;
	for (unsigned i = 0; i < DISKS_MAX; i++) {
		const struct alloc_disk *disk = alloc_disk(store->alloc, i);
		/* A full one gets back what it has of this one. */
		possible += disk && disk->log == on_log_disks && disk->usable && (disk->au_free || bitmap_get(there, i)) && disk_works(store, i);
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
	struct store_ahead_write *ahead; /* NULL: none */
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

/* All that have something of it. */
static void disks_of(const struct log_write *write, uint64_t *ret_disks)
{
	memset(ret_disks, 0, BITMAP_WORDS(DISKS_MAX) * sizeof(*ret_disks));
	if (write->ahead)
		memcpy(ret_disks, write->ahead->disks, sizeof(write->ahead->disks));
	for (unsigned i = 0; i < write->request_count; i++)
		bitmap_set(ret_disks, write->requests[i].disk);
}

/* What has no FUA is flushed, each disk once. */
static int flush_disks(struct log_write *write)
{
	struct store *store = write->store;
	uint64_t disks[BITMAP_WORDS(DISKS_MAX)];
	unsigned count = 0;

	disks_of(write, disks);
	struct log_request *flushes = calloc(bitmap_count(disks, 0, DISKS_MAX) + 1, sizeof(*flushes));
	int status = flushes ? 0 : -ENOMEM;
	for (size_t index = bitmap_next_set(disks, 0, DISKS_MAX); index < DISKS_MAX && status == 0;
	     index = bitmap_next_set(disks, index + 1, DISKS_MAX)) {
		if (store->disks[index].disk && store->disks[index].disk->info.fua)
			continue;
		flushes[count].disk = (uint16_t)index;
		status = store->disks[index].disk ? flush_start(store, (unsigned)index, &write->group, &flushes[count].result) : -EIO;
		count++;
	}
	if (write->group.pending)
		(void)rt_group_wait(store->rt, &write->group);
	for (unsigned f = 0; f < count && status == 0; f++)
		status = flushes[f].result;
	free(flushes);
	return status;
}

int store_log_write(struct store *store, const struct store_log_run *runs, unsigned count, struct store_ahead_write *ahead)
{
	struct log_write write = { .store = store, .requests = calloc((size_t)count * SYS_COLUMNS_MAX, sizeof(struct log_request)),
				   .ahead = ahead };
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
	if (ahead && ahead->group.pending)
		(void)rt_group_wait(store->rt, &ahead->group);
	if (ahead && ahead->failed && status == 0)
		status = -EIO;
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
	uint64_t disks[BITMAP_WORDS(DISKS_MAX)];
	disks_of(&write, disks);
	for (unsigned index = 0; index < DISKS_MAX && status == 0; index++)
		if (bitmap_get(disks, index) && !disk_works(store, index))
			status = -EIO;
	/* Another host may have taken the pool before all of it was there. */
	if (status == 0 && !store_lease_holds(store))
		status = -POOL_EHALTED;
	free(write.requests);
	return status;
}

/* ---- reading ---- */

/* The rows one by one. False when the disk doesn't answer at all. */
static bool read_rows(struct store *store, struct segment_column column, struct buffer *buffer, uint64_t *unreadable)
{
	for (unsigned row = 1; row < store->geometry.rows; row++) {
		size_t at = (size_t)(row - 1) * CELL_SIZE;
		if (!store->disks[column.disk].disk) /* it has been taken away meanwhile */
			return false;
		int status = disk_read(store->disks[column.disk].disk, store_cell_offset(store, column.au, row), CELL_SIZE, buffer, at);
		if (status == -ETIMEDOUT || status == -ENOMEM || status == -ECANCELED)
			return false;
		if (status == 0)
			continue;
		bitmap_set(unreadable, row);
		memset(buffer->data + at, 0, CELL_SIZE);
	}
	return true;
}

static const uint8_t *find_good(const struct store_log_copies *copies, unsigned row, bool doubtful)
{
	for (unsigned c = 0; c < SYS_COLUMNS_MAX; c++)
		if (copies->copies[c] && !bitmap_get(copies->unreadable[c], row) && doubtful == (copies->foreign[c] || copies->failed[c]))
			return copies->copies[c]->data + (size_t)(row - 1) * CELL_SIZE;
	return NULL;
}

/* All copies are the same: what one can't read, another one may have. Who has nothing at all isn't asked. */
static void complete_copies(struct store *store, struct store_log_copies *copies)
{
	for (unsigned row = 1; row < store->geometry.rows; row++) {
		size_t at = (size_t)(row - 1) * CELL_SIZE;
		const uint8_t *good = find_good(copies, row, false);
		if (!good)
			good = find_good(copies, row, true);
		if (!good)
			bitmap_set(copies->lost, row);
		for (unsigned c = 0; c < SYS_COLUMNS_MAX && good; c++)
			if (copies->copies[c] && bitmap_get(copies->unreadable[c], row))
				memcpy(copies->copies[c]->data + at, good, CELL_SIZE);
	}
}

/* Nothing else on a log disk proves that what lies there is of this pool's life. */
static int check_header(struct store *store, uint32_t id, uint64_t alloc_txg, struct segment_column column, bool *ret_foreign)
{
	const struct store_disk *disk = &store->disks[column.disk];
	struct buffer *buffer = disk->role == ROLE_LOG && disk->disk ? buffer_new(CELL_SIZE) : NULL;
	struct au_header header;

	if (!buffer)
		return disk->role == ROLE_LOG && disk->disk ? -ENOMEM : 0;
	int status = disk_read(disk->disk, store_cell_offset(store, column.au, 0), CELL_SIZE, buffer, 0);
	if (status == 0)
		status = au_header_decode(buffer->data, &header);
	*ret_foreign = status < 0 || memcmp(&header.pool, &store->geometry.pool, sizeof(header.pool)) != 0 ||
		       memcmp(&header.disk, &store->disks[column.disk].guid, sizeof(header.disk)) != 0 || header.segment != id ||
		       header.alloc_txg != alloc_txg;
	buffer_unref(buffer);
	return status == -ENOMEM ? status : 0;
}

int store_log_read(struct store *store, uint32_t id, struct store_log_copies *ret_copies)
{
	const struct segment_record *record = &alloc_segment(store->alloc, id)->record;
	struct segment_column columns[SYS_COLUMNS_MAX];
	size_t size = (size_t)(store->geometry.rows - 1) * CELL_SIZE;
	int results[SYS_COLUMNS_MAX] = { 0 }, status = 0;
	struct rt_group group;

	*ret_copies = (struct store_log_copies){ 0 };
	memcpy(columns, record->columns, sizeof(columns));
	uint64_t alloc_txg = record->alloc_txg;
	rt_group_init(&group);
	for (unsigned c = 0; c < SYS_COLUMNS_MAX; c++) {
		if (c >= (unsigned)record->k + record->m || columns[c].disk == DISK_ABSENT || !store->disks[columns[c].disk].disk)
			continue;
		ret_copies->copies[c] = buffer_new(size);
		if (!ret_copies->copies[c])
			status = -ENOMEM;
		else
			cells_read_start(store, columns[c], 1, store->geometry.rows - 1, ret_copies->copies[c], 0, NULL, &group, &results[c]);
	}
	if (group.pending)
		(void)rt_group_wait(store->rt, &group);
	for (unsigned c = 0; c < SYS_COLUMNS_MAX && status == 0; c++) {
		if (!ret_copies->copies[c] || results[c] == 0)
			continue;
		if (results[c] == -ENOMEM) {
			status = -ENOMEM;
		} else if (results[c] == -ETIMEDOUT || results[c] == -ECANCELED || /* then the device may still write to the buffer */
			   !read_rows(store, columns[c], ret_copies->copies[c], ret_copies->unreadable[c])) {
			buffer_unref(ret_copies->copies[c]);
			ret_copies->copies[c] = NULL;
		}
	}
	for (unsigned c = 0; c < SYS_COLUMNS_MAX && status == 0; c++)
		if (ret_copies->copies[c])
			status = check_header(store, id, alloc_txg, columns[c], &ret_copies->foreign[c]);
	for (unsigned c = 0; c < SYS_COLUMNS_MAX; c++)
		ret_copies->failed[c] = ret_copies->copies[c] && store->disks[columns[c].disk].state == DISK_FAULTY;
	if (status == 0)
		complete_copies(store, ret_copies);
	return status;
}

void store_log_copies_release(struct store_log_copies *copies)
{
	for (unsigned c = 0; c < SYS_COLUMNS_MAX; c++)
		buffer_unref(copies->copies[c]);
}

uint64_t store_log_heal(struct store *store, uint32_t id, const struct store_log_copies *copies, uint64_t *unrepaired)
{
	uint64_t repaired = 0;

	for (unsigned c = 0; c < SYS_COLUMNS_MAX; c++) {
		size_t rows = store->geometry.rows, row = 1, end;
		for (; copies->copies[c] && (row = bitmap_next_set(copies->unreadable[c], row, rows)) < rows; row = end) {
			end = bitmap_next_clear(copies->unreadable[c], row, rows);
			if (end > rows)
				end = rows;
			struct segment_column to = alloc_segment(store->alloc, id)->record.columns[c];
			int status = to.disk == DISK_ABSENT || !disk_works(store, to.disk) ? -EIO :
				     cells_write(store, id, to, (unsigned)row, (unsigned)(end - row), copies->copies[c], (row - 1) * CELL_SIZE);
			*(status == 0 ? &repaired : unrepaired) += end - row;
		}
	}
	return repaired;
}
