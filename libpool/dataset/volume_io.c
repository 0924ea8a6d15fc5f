/*
 * Reading and writing volumes. A large write is cut into pieces with a transaction handle each, so that none holds a
 * txg open for long; each block is changed as a whole or not at all.
 */
#include <errno.h>
#include <string.h>

#include "libpool/dataset/internal.h"

#define PIECE_BYTES (UINT64_C(1) << 20)

static int request_begin(struct volume *volume, uint64_t offset, uint64_t length)
{
	struct dataset *dataset = volume->dataset;

	while (dataset->gate_closed)
		rt_queue_wait(core_rt(dataset->owner->core), &dataset->gate);
	if (offset > dataset->record.volume_size || length > dataset->record.volume_size - offset)
		return -EINVAL;
	dataset->requests++;
	return 0;
}

/* One that changes something. */
static int change_begin(struct volume *volume, uint64_t offset, uint64_t length)
{
	return volume->dataset->settings[SETTING_READONLY] == READONLY_ON ? -EROFS : request_begin(volume, offset, length);
}

static void request_end(struct volume *volume)
{
	struct dataset *dataset = volume->dataset;

	if (--dataset->requests == 0)
		rt_queue_wake_all(core_rt(dataset->owner->core), &dataset->gate);
}

static uint64_t range_cells(const struct dataset *dataset, uint64_t offset, uint64_t length, uint64_t *ret_nodes)
{
	return blob_change_cells(dataset->owner->core, 1u << dataset->record.block_shift, dataset->record.volume_size, offset, length, ret_nodes);
}

int volume_charge(struct volume *volume, uint64_t txg, uint64_t cells, bool *ret_uncertain)
{
	const struct dataset *refusing;
	int status = dataset_charge(volume->dataset, txg, cells, &refusing);

	*ret_uncertain = status < 0 && dataset_is_uncertain(volume->dataset->owner, refusing);
	return status;
}

/* A handle for blocks [first, first + count), charged for what they add; where there are limits. */
static int hold_write(struct volume *volume, uint64_t offset, uint64_t length, uint64_t *ret_txg)
{
	struct dataset *dataset = volume->dataset;
	struct core *core = dataset->owner->core;
	unsigned shift = dataset->record.block_shift;
	uint64_t first = offset >> shift, count = ((offset + length - 1) >> shift) - first + 1;

	for (unsigned tries = 0;; tries++) {
		struct core_change change = { .blocks = count, .block_cells = 1u << (shift - CELL_SHIFT) };
		uint64_t cells = 0;
		bool uncertain = false;
		change.cells = range_cells(dataset, offset, length, &change.nodes);
		int status = core_hold_change(core, &change, ret_txg);

		if (status < 0)
			return status;
		if (datasets_have_limits(dataset->owner))
			status = blob_growth(dataset->blob, *ret_txg, first, count, &cells);
		if (status == 0)
			status = volume_charge(volume, *ret_txg, cells, &uncertain);
		if (status == 0)
			return 0;
		core_release(core, *ret_txg);
		if (!uncertain || tries == CHARGE_TRIES)
			return status;
		status = core_commit_forced(core);
		if (status < 0)
			return status;
	}
}

/* It is written. Without limits nobody was charged. */
static void charge_written(struct dataset *dataset, uint64_t txg, uint64_t offset, uint64_t length)
{
	unsigned shift = dataset->record.block_shift;

	if (datasets_have_limits(dataset->owner))
		blob_charged(dataset->blob, txg, offset >> shift, ((offset + length - 1) >> shift) - (offset >> shift) + 1);
}

int volume_check_write(struct dataset *dataset, uint64_t offset, uint64_t length)
{
	unsigned shift = dataset->record.block_shift;
	uint64_t first = offset >> shift;
	int status = dataset_check(dataset);

	return status < 0 ? status : blob_check_write(dataset->blob, first, ((offset + length - 1) >> shift) - first + 1);
}

int volume_check_punch(struct dataset *dataset, uint64_t offset, uint64_t length)
{
	unsigned shift = dataset->record.block_shift;
	uint64_t block = UINT64_C(1) << shift, first = (offset + block - 1) >> shift, end = (offset + length) >> shift;
	int status = dataset_check(dataset);

	if (status == 0 && offset % block)
		status = blob_check_write(dataset->blob, offset >> shift, 1);
	if (status == 0 && (offset + length) % block)
		status = blob_check_write(dataset->blob, (offset + length) >> shift, 1);
	return status == 0 && end > first ? blob_check_punch(dataset->blob, first, end - first) : status;
}

int volume_read(struct volume *volume, uint64_t offset, size_t length, void *destination)
{
	int status = request_begin(volume, offset, length);

	if (status < 0)
		return status;
	if (length)
		status = blob_read(volume->dataset->blob, offset, length, destination);
	request_end(volume);
	return status;
}

int volume_read_block(struct volume *volume, uint64_t block, struct buffer **ret_buffer)
{
	unsigned shift = volume->dataset->record.block_shift;

	if (block > VOLUME_SIZE_MAX >> shift)
		return -EINVAL;
	int status = request_begin(volume, block << shift, UINT64_C(1) << shift);
	if (status < 0)
		return status;
	status = blob_read_block(volume->dataset->blob, block, ret_buffer);
	request_end(volume);
	return status;
}

/* A change has been made: with sync=always it is durable before anybody hears of it. */
static int change_end(struct volume *volume, int status)
{
	if (status == 0 && volume->dataset->settings[SETTING_SYNC] == SYNC_ALWAYS)
		status = dataset_flush(volume->dataset);
	request_end(volume);
	return status;
}

/*
 * Parts of blocks, and the whole ones between: each is noted as changed before anything waits again. The next part may, for what its
 * block held, and a group of the log that is gathered then has of each block all of the change or nothing. `source` NULL: holes.
 */
static int change_parts(struct dataset *dataset, uint64_t txg, uint64_t offset, uint64_t length, const uint8_t *source)
{
	uint64_t block = UINT64_C(1) << dataset->record.block_shift;
	int status = 0;

	while (length && status == 0) {
		uint64_t within = offset % block, part = length - length % block, cost;
		bool whole = within == 0 && length >= block;
		if (!whole)
			part = block - within < length ? block - within : length;
		status = source ? blob_write(dataset->blob, txg, offset, (size_t)part, source) :
				  blob_punch(dataset->blob, txg, offset, part);
		cost = source ? part : whole ? 0 : block;
		dataset_changed(dataset, txg, offset, part, cost);
		offset += part;
		length -= part;
		source = source ? source + part : NULL;
	}
	return status;
}

int volume_write(struct volume *volume, uint64_t offset, size_t length, const void *source)
{
	struct dataset *dataset = volume->dataset;
	struct core *core = dataset->owner->core;
	const uint8_t *from = source;
	int status = change_begin(volume, offset, length);

	if (status < 0)
		return status;
	while (length && status == 0) {
		size_t piece = (size_t)(PIECE_BYTES - offset % PIECE_BYTES);
		uint64_t txg;
		piece = piece < length ? piece : length;
		status = volume_check_write(dataset, offset, piece);
		if (status == 0)
			status = hold_write(volume, offset, piece, &txg);
		if (status < 0)
			break;
		status = change_parts(dataset, txg, offset, piece, from);
		if (status == 0)
			charge_written(dataset, txg, offset, piece);
		core_release(core, txg);
		offset += piece;
		from += piece;
		length -= piece;
	}
	return change_end(volume, status);
}

int volume_try_write(struct volume *volume, uint64_t offset, size_t length)
{
	struct dataset *dataset = volume->dataset;
	unsigned shift = dataset->record.block_shift;
	const struct dataset *refusing = NULL;
	uint64_t piece = PIECE_BYTES - offset % PIECE_BYTES, first = offset >> shift, cells = 0;
	int status = change_begin(volume, offset, length);

	if (status < 0)
		return status;
	piece = piece < length ? piece : length;
	if (length && datasets_have_limits(dataset->owner))
		status = blob_growth(dataset->blob, core_open_txg(dataset->owner->core), first, ((offset + piece - 1) >> shift) - first + 1, &cells);
	if (status == 0)
		status = dataset_check_charge(dataset, cells, &refusing);
	/* What is on its way to be freed may make room. */
	if ((status == -EDQUOT || status == -ENOSPC) && (!refusing || dataset_is_uncertain(dataset->owner, refusing)))
		status = 0;
	request_end(volume);
	return status;
}

int volume_write_blocks(struct volume *volume, uint64_t first, unsigned count, struct buffer *const *buffers)
{
	struct dataset *dataset = volume->dataset;
	struct core *core = dataset->owner->core;
	unsigned shift = dataset->record.block_shift, per_piece = (unsigned)(PIECE_BYTES >> shift);

	if (first > VOLUME_SIZE_MAX >> shift)
		return -EINVAL;
	int status = change_begin(volume, first << shift, (uint64_t)count << shift);
	if (status < 0)
		return status;
	for (unsigned done = 0; done < count && status == 0;) {
		unsigned piece = count - done < per_piece ? count - done : per_piece;
		uint64_t txg;
		status = volume_check_write(dataset, (first + done) << shift, (uint64_t)piece << shift);
		if (status == 0)
			status = hold_write(volume, (first + done) << shift, (uint64_t)piece << shift, &txg);
		if (status < 0)
			break;
		for (unsigned i = 0; i < piece && status == 0; i++)
			status = blob_write_block(dataset->blob, txg, first + done + i, buffers[done + i]);
		if (status == 0)
			charge_written(dataset, txg, (first + done) << shift, (uint64_t)piece << shift);
		dataset_changed(dataset, txg, (first + done) << shift, (uint64_t)piece << shift, (uint64_t)piece << shift);
		core_release(core, txg);
		done += piece;
	}
	return change_end(volume, status);
}

/* The part of a punched range that is zeroed in place costs up to two blocks. */
static int punch(struct volume *volume, uint64_t offset, uint64_t length)
{
	struct dataset *dataset = volume->dataset;
	struct core *core = dataset->owner->core;
	uint64_t block = UINT64_C(1) << dataset->record.block_shift, nodes, need = 2 * range_cells(dataset, 0, block, &nodes), txg;
	struct core_change change = { .nodes = 2 * nodes, .blocks = blob_removed_blocks((uint32_t)block, offset, length),
				      .block_cells = (unsigned)(block / CELL_SIZE) };
	bool whole = offset % block == 0 && length % block == 0;
	int status = volume_check_punch(dataset, offset, length);

	change.cells = whole ? 0 : need;
	if (status == 0)
		status = core_hold_change(core, &change, &txg);
	if (status < 0)
		return status;
	dataset->freeing[txg & 1] = true;
	status = change_parts(dataset, txg, offset, length, NULL);
	core_release(core, txg);
	return status;
}

int volume_zero(struct volume *volume, uint64_t offset, uint64_t length)
{
	int status = change_begin(volume, offset, length);

	if (status < 0)
		return status;
	if (length)
		status = punch(volume, offset, length);
	return change_end(volume, status);
}

int volume_trim(struct volume *volume, uint64_t offset, uint64_t length)
{
	int status = change_begin(volume, offset, length);

	if (status < 0)
		return status;
	uint64_t block = UINT64_C(1) << volume->dataset->record.block_shift;
	uint64_t first = (offset + block - 1) / block * block, end = (offset + length) / block * block;
	if (end > first)
		status = punch(volume, first, end - first);
	return change_end(volume, status);
}

int volume_flush(struct volume *volume)
{
	if (volume->dataset->settings[SETTING_SYNC] == SYNC_DISABLED)
		return core_halted(volume->dataset->owner->core, NULL) ? -POOL_EHALTED : 0;
	return dataset_flush(volume->dataset);
}

int volume_seek(struct volume *volume, uint64_t offset, bool data, uint64_t *ret_offset)
{
	int status = request_begin(volume, offset, 0);

	if (status < 0)
		return status;
	status = blob_seek(volume->dataset->blob, offset, volume->dataset->record.volume_size, data, ret_offset);
	request_end(volume);
	return status;
}
