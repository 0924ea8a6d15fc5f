/*
 * Reading a block: one request for each run of cells, verified by the pointer's checksum. What is absent,
 * unreadable or wrong goes the long way: repair.c.
 */
#include "libpool/store/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "libpool/base/bitmap.h"
#include "libpool/format/dva.h"

struct cell_read {
	struct disk_io io;
	struct iovec iov;
	struct buffer *buffer;
	struct rt_group *group;
	struct store *store;
	unsigned disk;
	int *result;
	uint32_t *ret_crcs;
	struct hash128 *ret_hash;
	struct hash128 hash;
	uint32_t crcs[]; /* these, and the hash, are the disk's, until it has let go of the request */
};

static void cells_done(struct disk_io *io)
{
	struct cell_read *read = container_of(io, struct cell_read, io);
	struct store_disk *disk = &read->store->disks[read->disk];

	if (io->result < 0 && io->result != -ECANCELED && io->result != -ENOMEM)
		disk_count_error(read->store, read->disk, false);
	if (io->result == -ENODEV && disk->state == DISK_ONLINE)
		store_disk_fail(read->store, read->disk, "the device is gone");
	*read->result = io->result;
	if (io->has_crcs && io->result == 0) {
		memcpy(read->ret_crcs, read->crcs, io->length / CELL_SIZE * sizeof(*read->crcs));
		*read->result = CELLS_HAVE_CRCS;
	}
	if (io->has_hash && io->result == 0) {
		*read->ret_hash = read->hash;
		*read->result = CELLS_HAVE_HASH;
	}
	rt_group_done(read->store->rt, read->group, 0);
}

static void cells_released(struct disk_io *io)
{
	struct cell_read *read = container_of(io, struct cell_read, io);

	buffer_unref(read->buffer);
	free(read);
}

static void start_read(struct store *store, struct segment_column column, unsigned row, unsigned rows, struct buffer *buffer,
		       size_t buffer_offset, uint32_t *crcs, struct hash128 *hash, struct rt_group *group, int *result)
{
	size_t crcs_size = crcs ? rows * sizeof(*crcs) : 0;
	struct cell_read *read = malloc(sizeof(*read) + crcs_size);

	if (!read) {
		*result = -ENOMEM;
		return;
	}
	*read = (struct cell_read){ .buffer = buffer_ref(buffer), .group = group, .store = store, .disk = column.disk,
				    .result = result, .ret_crcs = crcs, .ret_hash = hash };
	if (crcs)
		memcpy(read->crcs, crcs, crcs_size);
	read->iov = (struct iovec){ buffer->data + buffer_offset, (size_t)rows * CELL_SIZE };
	read->io.operation = DISK_READ;
	read->io.offset = store_cell_offset(store, column.au, row);
	read->io.length = (uint64_t)rows * CELL_SIZE;
	read->io.iov = &read->iov;
	read->io.iov_count = 1;
	read->io.crcs = crcs ? read->crcs : NULL;
	read->io.hash = hash ? &read->hash : NULL;
	read->io.deadline_ns = store->options.read_deadline_ns;
	read->io.done = cells_done;
	read->io.released = cells_released;
	store->counters.read_ios++;
	rt_group_add(group);
	disk_submit(store->disks[column.disk].disk, &read->io);
}

void cells_read_start(struct store *store, struct segment_column column, unsigned row, unsigned rows, struct buffer *buffer,
		      size_t buffer_offset, uint32_t *crcs, struct rt_group *group, int *result)
{
	start_read(store, column, row, rows, buffer, buffer_offset, crcs, NULL, group, result);
}

bool cell_present(const struct store *store, const struct segment *segment, unsigned column, unsigned row, uint64_t place)
{
	uint16_t index = segment->record.columns[column].disk;

	if (index == DISK_ABSENT)
		return false;
	const struct store_disk *disk = &store->disks[index];
	if (!disk->disk || disk->disk->abandoned_reads || disk->disk->abandoned_writes)
		return false;
	if (disk->stale_from && place >= disk->stale_from)
		return false;
	return !alloc_is_stale(store->alloc, segment->id, column, row, place);
}

/*
 * The block without any help: 0 with the payload unverified, or CELLS_HAVE_HASH, when the disk that it lies on had it at hand, or negative
 * when a run is absent or fails.
 */
static int read_plain(struct store *store, const struct block_pointer *pointer, const struct segment *segment,
		      struct buffer **ret_payload, struct hash128 *ret_hash)
{
	struct cell_run runs[COLUMNS_MAX];
	int results[COLUMNS_MAX] = { 0 }, status = 0;
	unsigned count = dva_runs(dva_unpack(pointer->dva), pointer->psect, runs);
	struct rt_group group;
	size_t offset = 0;

	for (unsigned i = 0; i < count; i++)
		for (unsigned r = 0; r < runs[i].rows; r++)
			if (!cell_present(store, segment, runs[i].column, runs[i].row + r, pointer->place))
				return -ENODEV;
	struct buffer *payload = buffer_new((size_t)pointer->psect * CELL_SIZE);
	if (!payload)
		return -ENOMEM;
	rt_group_init(&group);
	for (unsigned i = 0; i < count; i++) {
		start_read(store, segment->record.columns[runs[i].column], runs[i].row, runs[i].rows, payload, offset,
			   NULL, count == 1 ? ret_hash : NULL, &group, &results[i]);
		offset += (size_t)runs[i].rows * CELL_SIZE;
	}
	if (group.pending)
		(void)rt_group_wait(store->rt, &group);
	for (unsigned i = 0; i < count; i++)
		if (results[i] < 0)
			status = results[i];
	if (status < 0) {
		buffer_unref(payload);
		return status;
	}
	*ret_payload = payload;
	return count == 1 ? results[0] : 0;
}

struct verify_job {
	const struct block_pointer *pointer;
	const void *payload;
	bool matches;
};

static void verify_run(void *argument)
{
	struct verify_job *job = argument;

	job->matches = payload_matches(job->pointer, job->payload);
}

/* Large payloads are hashed by a worker, so that several reads are verified at the same time. */
static bool verify(struct store *store, const struct block_pointer *pointer, const struct buffer *payload, const struct hash128 *hash)
{
	struct verify_job job = { .pointer = pointer, .payload = payload->data };

	if (hash)
		job.matches = hash_matches(pointer, hash);
	else if (pointer->psect >= 16)
		rt_work_brief(store->rt, verify_run, &job, rt_brief_us(payload->size));
	else
		verify_run(&job);
	return job.matches;
}

bool store_waits_for_disk(const struct store *store, const struct segment *segment, uint64_t place)
{
	for (unsigned c = 0; c < (unsigned)segment->record.k + segment->record.m; c++) {
		uint16_t index = segment->record.columns[c].disk;
		const struct store_disk *disk = index == DISK_ABSENT ? NULL : &store->disks[index];

		if (disk && disk->disk && (disk->disk->abandoned_reads || disk->disk->abandoned_writes) &&
		    !(disk->stale_from && place >= disk->stale_from))
			return true;
	}
	return false;
}

/*
 * Whether the block's rows are its own. A reader may come with the pointer of a block that has died meanwhile, whose old cells it still
 * finds, in part, in rows that somebody else is writing: they are wrong by that block only, and to heal them would destroy the other
 * one. Rows with a live cell are given to nobody, and those that die under a pin stay what they are until it ends.
 */
static bool holds_rows(const struct store *store, const struct block_pointer *pointer, const struct segment *segment)
{
	struct cell_run runs[COLUMNS_MAX];
	unsigned count = dva_runs(dva_unpack(pointer->dva), pointer->psect, runs);

	if (alloc_sequence(store->alloc) == 0)
		return true; /* an import that loads the state: what it reads is committed, and nobody writes */
	for (unsigned i = 0; i < count; i++) {
		size_t first = (size_t)runs[i].column * store->geometry.rows + runs[i].row;
		const struct batch_index *batch = alloc_batch_find(segment, runs[i].row);
		if (!segment->bits || bitmap_count(segment->bits, first, runs[i].rows) != runs[i].rows || (batch && batch->txg != pointer->place))
			return false;
	}
	return true;
}

static int read_block(struct store *store, const struct block_pointer *pointer, unsigned flags, bool again, struct buffer **ret_payload)
{
	struct dva dva = dva_unpack(pointer->dva);
	struct segment *segment = alloc_segment(store->alloc, dva.segment);
	struct buffer *payload = NULL;

	if (!segment || segment->record.state == SEGMENT_NONE ||
	    !dva_valid(dva, pointer->psect, segment->record.k, store->geometry.rows))
		return -POOL_EDAMAGED;
	if (pointer->place < segment->record.alloc_txg)
		return flags & STORE_READ_SPECULATIVE ? -POOL_ECHECKSUM : -POOL_EDAMAGED;
	store->counters.read_blocks++;
	/* Readers follow new pointers as soon as the objects have them, which is before their rows are on disk. */
	if (pointer->place == store->txg && (payload = unit_payload(store, pointer))) {
		if (payload_matches(pointer, payload->data)) {
			*ret_payload = payload;
			return 0;
		}
		buffer_unref(payload);
		payload = NULL;
	}
	struct hash128 hash;
	int status = read_plain(store, pointer, segment, &payload, &hash);
	if (status >= 0 && verify(store, pointer, payload, status == CELLS_HAVE_HASH ? &hash : NULL)) {
		*ret_payload = payload;
		return 0;
	}
	buffer_unref(payload);
	if (status == -ENODEV && read_around(store, pointer, segment, ret_payload) == 0)
		return 0;
	status = status > 0 ? 0 : status;
	if (status == 0 && flags & STORE_READ_SPECULATIVE)
		return -POOL_ECHECKSUM;
	if (status == -ENOMEM)
		return status;
	bool overdue = status == -ETIMEDOUT;
	alloc_pin(segment);
	status = read_repair(store, pointer, segment, holds_rows(store, pointer, segment), ret_payload);
	bool waits = store_waits_for_disk(store, segment, pointer->place);
	alloc_unpin(store->alloc, segment);
	bool unread = status == -EIO;
	status = unread ? -POOL_EDAMAGED : status;
	if (status == -POOL_EDAMAGED && overdue && !waits && !again) /* it has answered meanwhile */
		return read_block(store, pointer, flags, true, ret_payload);
	/* What was read of enough columns isn't the block, whatever the disk would have said: of one that may never have been written. */
	if (status == -POOL_EDAMAGED && flags & STORE_READ_TENTATIVE && !unread)
		return -POOL_ECHECKSUM;
	if (status == -POOL_EDAMAGED && waits)
		return -POOL_EDEGRADED;
	if (status == -POOL_EDAMAGED) {
		if (flags & STORE_READ_SPECULATIVE)
			return -POOL_ECHECKSUM;
		if (flags & STORE_READ_TENTATIVE)
			return status;
		store->counters.unrepairable++;
		store_emit(store, STORE_DAMAGED, 0, 1, "a block can't be reconstructed");
	}
	return status;
}

int store_read(struct store *store, const struct block_pointer *pointer, unsigned flags, struct buffer **ret_payload)
{
	return read_block(store, pointer, flags, false, ret_payload);
}
