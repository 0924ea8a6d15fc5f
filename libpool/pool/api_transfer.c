/*
 * Reading and writing volumes from any thread. The caller's thread copies, the engine's never does but for parts of
 * blocks: a read gets references to the cached, frozen blocks and drops them when it has copied them out; a write makes
 * frozen blocks first and hands them over.
 *
 * A large transfer is cut into pieces, some of which are under way at a time: the memory it needs has a bound, and the
 * copying of one piece overlaps with the work on the next.
 */
#include <stdlib.h>
#include <string.h>

#include "libpool/base/buffer.h"
#include "libpool/pool/api_pool.h"

#define PIECE_BYTES (UINT64_C(1) << 20)
#define PIECES 4u    /* under way at a time */
#define READERS 16u  /* blocks of one piece that are read at a time */

struct piece {
	struct api_request request;
	struct libpool_volume *volume;
	uint64_t begin, end;   /* bytes of the volume */
	uint64_t transfer_end; /* of the whole transfer: checked before anything of it is done */
	char *memory;          /* the caller's, for begin */
	struct buffer **blocks;
	unsigned count;        /* blocks: of a read all it touches, of a write the whole ones */
	bool posted;
	/* Engine thread. */
	unsigned next;
	struct rt_group readers;
};

struct transfer {
	struct libpool_volume *volume;
	uint64_t offset, end;
	char *memory;          /* for offset */
	struct piece pieces[PIECES];
	struct buffer *blocks[]; /* per piece: blocks_per_piece */
};

static uint64_t block_size(const struct libpool_volume *volume)
{
	return UINT64_C(1) << volume->block_shift;
}

static uint64_t first_block(const struct piece *piece)
{
	return piece->begin >> piece->volume->block_shift;
}

static int check_range(const struct piece *piece)
{
	return piece->transfer_end > volume_record(piece->volume->user.volume)->volume_size ? -EINVAL : 0;
}

/* ---- reading ---- */

static void read_blocks(struct piece *piece)
{
	while (piece->next < piece->count && piece->request.result == 0) {
		unsigned i = piece->next++;
		int result = volume_read_block(piece->volume->user.volume, first_block(piece) + i, &piece->blocks[i]);

		if (result < 0 && piece->request.result == 0)
			piece->request.result = result;
	}
}

static void reader(void *argument)
{
	struct piece *piece = argument;

	read_blocks(piece);
	rt_group_done(piece->request.thread->rt, &piece->readers, 0);
}

/* Blocks that are cached are taken by this fiber before any other runs; those that aren't are read side by side. */
static void read_fiber(struct api_request *request)
{
	struct piece *piece = container_of(request, struct piece, request);
	struct rt *rt = request->thread->rt;

	request->result = check_range(piece);
	piece->next = 0;
	rt_group_init(&piece->readers);
	for (unsigned i = 1; i < piece->count && i < READERS && request->result == 0; i++) {
		if (rt_spawn(rt, "reader", reader, piece) < 0)
			break;
		rt_group_add(&piece->readers);
	}
	read_blocks(piece);
	if (piece->readers.pending)
		(void)rt_group_wait(rt, &piece->readers);
}

static void read_prepare(struct piece *piece)
{
	piece->count = (unsigned)(((piece->end - 1) >> piece->volume->block_shift) - first_block(piece) + 1);
	memset(piece->blocks, 0, piece->count * sizeof(struct buffer *));
}

static void copy_out(struct piece *piece)
{
	uint64_t size = block_size(piece->volume), at = piece->begin;
	char *to = piece->memory;

	for (unsigned i = 0; i < piece->count; i++) {
		uint64_t within = at & (size - 1), length = size - within;

		if (length > piece->end - at)
			length = piece->end - at;
		if (piece->blocks[i])
			memcpy(to, piece->blocks[i]->data + within, length);
		else
			memset(to, 0, length);
		to += length;
		at += length;
	}
}

static int read_finish(struct piece *piece, int result)
{
	if (result == 0)
		copy_out(piece);
	for (unsigned i = 0; i < piece->count; i++)
		buffer_unref(piece->blocks[i]);
	return result;
}

/* ---- writing ---- */

/* Bytes before the first whole block of the piece; all of it if there is none. */
static uint64_t head_length(const struct piece *piece)
{
	uint64_t size = block_size(piece->volume), whole = (piece->begin + size - 1) & ~(size - 1);

	return (whole < piece->end ? whole : piece->end) - piece->begin;
}

static int write_part(struct piece *piece, uint64_t offset, uint64_t length)
{
	return length ? volume_write(piece->volume->user.volume, offset, length, piece->memory + (offset - piece->begin)) : 0;
}

static void write_fiber(struct api_request *request)
{
	struct piece *piece = container_of(request, struct piece, request);
	unsigned shift = piece->volume->block_shift;
	uint64_t body = piece->begin + head_length(piece), tail = body + ((uint64_t)piece->count << shift);
	int result = check_range(piece);

	if (result == 0)
		result = write_part(piece, piece->begin, body - piece->begin);
	if (result == 0 && piece->count)
		result = volume_write_blocks(piece->volume->user.volume, body >> shift, piece->count, piece->blocks);
	if (result == 0)
		result = write_part(piece, tail, piece->end - tail);
	request->result = result;
}

static int write_prepare(struct piece *piece)
{
	uint64_t head = head_length(piece), size = block_size(piece->volume);
	unsigned whole = (unsigned)((piece->end - piece->begin - head) >> piece->volume->block_shift);

	for (piece->count = 0; piece->count < whole; piece->count++) {
		struct buffer *buffer = buffer_new(size);

		if (!buffer)
			return -ENOMEM;
		memcpy(buffer->data, piece->memory + head + piece->count * size, size);
		piece->blocks[piece->count] = buffer;
	}
	return 0;
}

static int write_finish(struct piece *piece, int result)
{
	for (unsigned i = 0; i < piece->count; i++)
		buffer_unref(piece->blocks[i]);
	return result;
}

/* ---- both ---- */

/* The next piece of the transfer ends at a multiple of PIECE_BYTES. */
static void cut(struct transfer *transfer, struct piece *piece)
{
	uint64_t end = (transfer->offset / PIECE_BYTES + 1) * PIECE_BYTES;

	piece->volume = transfer->volume;
	piece->begin = transfer->offset;
	piece->end = end < transfer->end ? end : transfer->end;
	piece->transfer_end = transfer->end;
	piece->memory = transfer->memory;
	piece->count = 0;
	transfer->memory += piece->end - piece->begin;
	transfer->offset = piece->end;
}

static int start(struct piece *piece, bool write)
{
	int result = 0;

	if (write)
		result = write_prepare(piece);
	else
		read_prepare(piece);
	if (result < 0)
		return write_finish(piece, result);
	piece->posted = true;
	api_post(piece->volume->pool->thread, &piece->request, write ? write_fiber : read_fiber);
	return 0;
}

static int finish(struct piece *piece, bool write)
{
	int result;

	if (!piece->posted)
		return 0;
	piece->posted = false;
	result = api_wait(&piece->request);
	return write ? write_finish(piece, result) : read_finish(piece, result);
}

/* Pieces go out in order and are waited for in order; after the first error none goes out, but all are waited for. */
static int run(struct transfer *transfer, bool write)
{
	int result = 0;
	unsigned turn = 0;

	while (transfer->offset < transfer->end && result == 0) {
		struct piece *piece = &transfer->pieces[turn++ % PIECES];

		result = finish(piece, write);
		if (result < 0)
			break;
		cut(transfer, piece);
		result = start(piece, write);
	}
	for (unsigned i = 0; i < PIECES; i++) {
		int status = finish(&transfer->pieces[turn++ % PIECES], write);

		if (result == 0)
			result = status;
	}
	return result;
}

static int transfer_run(struct libpool_volume *volume, uint64_t offset, size_t length, void *memory, bool write)
{
	struct transfer *transfer;
	uint64_t longest = length < PIECE_BYTES ? length : PIECE_BYTES;
	size_t blocks;
	int result;

	if (!volume || (length && !memory) || offset > VOLUME_SIZE_MAX || length > VOLUME_SIZE_MAX - offset)
		return -EINVAL;
	if (write && volume->read_only)
		return -EROFS;
	result = api_begin(volume->pool, volume);
	if (result < 0)
		return result;
	/* Not aligned, a piece touches one block more than it is long. */
	blocks = (size_t)(longest >> volume->block_shift) + 2;
	transfer = malloc(sizeof(*transfer) + PIECES * blocks * sizeof(struct buffer *));
	if (transfer) {
		memset(transfer, 0, sizeof(*transfer));
		*transfer = (struct transfer){.volume = volume, .offset = offset, .end = offset + length, .memory = memory};
		for (unsigned i = 0; i < PIECES; i++)
			transfer->pieces[i].blocks = transfer->blocks + i * blocks;
		result = run(transfer, write);
	} else {
		result = -ENOMEM;
	}
	api_end(volume->pool, volume);
	free(transfer);
	return result;
}

/* Nothing to transfer: only whether the offset is within the volume. */
static int run_check(struct libpool_pool *pool, struct engine *engine, void *data, struct pool_error *error)
{
	const struct piece *piece = data;

	(void)pool, (void)engine, (void)error;
	return check_range(piece);
}

static int transfer_nothing(struct libpool_volume *volume, uint64_t offset)
{
	struct piece piece = {.volume = volume, .transfer_end = offset};

	return volume ? api_run(volume->pool, volume, run_check, &piece, NULL) : -EINVAL;
}

int libpool_volume_read(libpool_volume *volume, uint64_t offset, size_t length, void *buffer)
{
	return length ? transfer_run(volume, offset, length, buffer, false) : transfer_nothing(volume, offset);
}

int libpool_volume_write(libpool_volume *volume, uint64_t offset, size_t length, const void *buffer)
{
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
	return volume->read_only ? -EROFS : api_run(volume->pool, volume, function, range, NULL);
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
	return volume ? api_run(volume->pool, volume, run_flush, volume, NULL) : -EINVAL;
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
	int result = volume && ret_offset ? api_run(volume->pool, volume, run_seek, &range, NULL) : -EINVAL;

	if (result == 0)
		*ret_offset = range.length;
	return result;
}
