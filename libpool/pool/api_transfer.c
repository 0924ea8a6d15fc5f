/*
 * Reading and writing volumes from any thread, waiting. A large transfer is cut into pieces, some of which are under
 * way at a time: the memory it needs has a bound, and the copying of one piece overlaps with the work on the next.
 */
#include <stdlib.h>
#include <string.h>

#include "libpool/pool/api_piece.h"

#define PIECE_BYTES (UINT64_C(1) << 20)
#define PIECES 4u /* under way at a time */

struct part {
	struct api_request request;
	struct piece piece;
	bool posted;
};

struct transfer {
	struct libpool_volume *volume;
	uint64_t start, offset, end; /* offset: where the next piece begins */
	struct iovec memory;
	bool write;
	struct part parts[PIECES];
	struct buffer *blocks[]; /* of each part */
};

static void part_fiber(struct api_request *request)
{
	request->result = piece_run(&container_of(request, struct part, request)->piece, request->thread->rt);
}

/* The next piece of the transfer ends at a multiple of PIECE_BYTES. */
static void cut(struct transfer *transfer, struct piece *piece)
{
	uint64_t end = (transfer->offset / PIECE_BYTES + 1) * PIECE_BYTES;

	piece->volume = transfer->volume;
	piece->begin = transfer->offset;
	piece->end = end < transfer->end ? end : transfer->end;
	piece->limit = transfer->end;
	piece->iov = &transfer->memory;
	piece->skip = (size_t)(transfer->offset - transfer->start);
	piece->write = transfer->write;
	transfer->offset = piece->end;
}

static int start(struct part *part)
{
	int result = piece_prepare(&part->piece);

	if (result < 0)
		return result;
	part->posted = true;
	(part->piece.end == part->piece.limit ? api_start : api_post)(part->piece.volume->pool->thread, &part->request, part_fiber);
	return 0;
}

static int finish(struct part *part)
{
	int result;

	if (!part->posted)
		return 0;
	part->posted = false;
	result = api_wait(&part->request);
	piece_finish(&part->piece, result);
	return result;
}

/* Pieces go out in order and are waited for in order; after the first error none goes out, but all are waited for. */
static int run(struct transfer *transfer)
{
	int result = 0;
	unsigned turn = 0;

	while (transfer->offset < transfer->end && result == 0) {
		struct part *part = &transfer->parts[turn++ % PIECES];

		result = finish(part);
		if (result < 0)
			break;
		cut(transfer, &part->piece);
		result = start(part);
	}
	for (unsigned i = 0; i < PIECES; i++) {
		int status = finish(&transfer->parts[turn++ % PIECES]);

		if (result == 0)
			result = status;
	}
	return result;
}

static int transfer_run(struct libpool_volume *volume, uint64_t offset, size_t length, void *memory, bool write)
{
	struct transfer *transfer;
	size_t blocks;
	int result;

	if (!volume || (length && !memory) || offset > VOLUME_SIZE_MAX || length > VOLUME_SIZE_MAX - offset)
		return -EINVAL;
	if (write && volume->read_only)
		return -EROFS;
	result = api_begin(volume->pool, volume);
	if (result < 0)
		return result;
	blocks = piece_blocks(volume, length < PIECE_BYTES ? length : PIECE_BYTES);
	transfer = malloc(sizeof(*transfer) + PIECES * blocks * sizeof(struct buffer *));
	if (transfer) {
		memset(transfer, 0, sizeof(*transfer));
		transfer->volume = volume;
		transfer->start = transfer->offset = offset;
		transfer->end = offset + length;
		transfer->memory = (struct iovec){memory, length};
		transfer->write = write;
		for (unsigned i = 0; i < PIECES; i++)
			transfer->parts[i].piece.blocks = transfer->blocks + i * blocks;
		result = run(transfer);
	} else {
		result = -ENOMEM;
	}
	api_end(volume->pool, volume);
	free(transfer);
	return result;
}

/* Nothing to transfer: only whether the offset is within the volume. */
struct place {
	struct libpool_volume *volume;
	uint64_t offset;
	size_t length;
};

static int run_check(struct libpool_pool *pool, struct engine *engine, void *data, struct pool_error *error)
{
	const struct place *place = data;

	(void)pool, (void)engine, (void)error;
	return place->offset > volume_record(place->volume->user.volume)->volume_size ? -EINVAL : 0;
}

static int transfer_nothing(struct libpool_volume *volume, uint64_t offset)
{
	struct place place = {volume, offset, 0};

	return volume ? api_run_here(volume->pool, volume, run_check, &place) : -EINVAL;
}

/* In a pool that is imported for a dry run. */
static int run_try_write(struct libpool_pool *pool, struct engine *engine, void *data, struct pool_error *error)
{
	const struct place *place = data;

	(void)pool, (void)engine, (void)error;
	return volume_try_write(place->volume->user.volume, place->offset, place->length);
}

static int try_write(struct libpool_volume *volume, uint64_t offset, size_t length)
{
	struct place place = {volume, offset, length};

	return api_run_here(volume->pool, volume, run_try_write, &place);
}

int libpool_volume_read(libpool_volume *volume, uint64_t offset, size_t length, void *buffer)
{
	return length ? transfer_run(volume, offset, length, buffer, false) : transfer_nothing(volume, offset);
}

int libpool_volume_write(libpool_volume *volume, uint64_t offset, size_t length, const void *buffer)
{
	if (volume && volume->rehearses)
		return try_write(volume, offset, length);
	return length ? transfer_run(volume, offset, length, (void *)(uintptr_t)buffer, true) : transfer_nothing(volume, offset);
}

/* ---- the rest ---- */

struct range {
	struct libpool_volume *volume;
	uint64_t offset, length;
	bool data;
};

static int change(struct libpool_volume *volume, api_function *function, struct range *range)
{
	if (!volume)
		return -EINVAL;
	return volume->read_only ? -EROFS : api_run_here(volume->pool, volume, function, range);
}

static int run_zero(struct libpool_pool *pool, struct engine *engine, void *data, struct pool_error *error)
{
	struct range *range = data;

	(void)pool, (void)engine, (void)error;
	return volume_zero(range->volume->user.volume, range->offset, range->length);
}

int libpool_volume_zero(libpool_volume *volume, uint64_t offset, uint64_t length)
{
	struct range range = {volume, offset, length, false};

	return change(volume, run_zero, &range);
}

static int run_trim(struct libpool_pool *pool, struct engine *engine, void *data, struct pool_error *error)
{
	struct range *range = data;

	(void)pool, (void)engine, (void)error;
	return volume_trim(range->volume->user.volume, range->offset, range->length);
}

int libpool_volume_trim(libpool_volume *volume, uint64_t offset, uint64_t length)
{
	struct range range = {volume, offset, length, false};

	return change(volume, run_trim, &range);
}

static int run_flush(struct libpool_pool *pool, struct engine *engine, void *data, struct pool_error *error)
{
	struct libpool_volume *volume = data;

	(void)pool, (void)engine, (void)error;
	return volume_flush(volume->user.volume);
}

int libpool_volume_flush(libpool_volume *volume)
{
	return volume ? api_run_here(volume->pool, volume, run_flush, volume) : -EINVAL;
}

static int run_seek(struct libpool_pool *pool, struct engine *engine, void *data, struct pool_error *error)
{
	struct range *range = data;

	(void)pool, (void)engine, (void)error;
	return volume_seek(range->volume->user.volume, range->offset, range->data, &range->length);
}

int libpool_volume_seek(libpool_volume *volume, uint64_t offset, int data, uint64_t *ret_offset)
{
	struct range range = {volume, offset, 0, data != 0};
	int result = volume && ret_offset ? api_run_here(volume->pool, volume, run_seek, &range) : -EINVAL;

	if (result == 0)
		*ret_offset = range.length;
	return result;
}
