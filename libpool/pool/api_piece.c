/* See api_piece.h. */
#include "libpool/pool/api_piece.h"

#include <string.h>

#include "libpool/base/buffer.h"

#define READERS 16u /* blocks of one piece that are read at a time */
#define LARGE_BLOCK ((size_t)64 << 10) /* what is copied of smaller ones may still be in the cache when it is packed */

static uint64_t block_size(const struct piece *piece)
{
	return UINT64_C(1) << piece->shift;
}

static uint64_t first_block(const struct piece *piece)
{
	return piece->begin >> piece->shift;
}

static struct volume *volume_of(const struct piece *piece)
{
	return piece->volume->user.volume;
}

/* ---- the caller's memory ---- */

struct cursor {
	const struct iovec *iov;
	size_t skip; /* bytes of it that are done */
};

static struct cursor cursor_at(const struct piece *piece, uint64_t offset)
{
	struct cursor cursor = {piece->iov, piece->skip + (size_t)(offset - piece->begin)};

	while (cursor.skip >= cursor.iov->iov_len)
		cursor.skip -= cursor.iov++->iov_len;
	return cursor;
}

/* The next contiguous bytes, at most length. */
static size_t cursor_take(struct cursor *cursor, size_t length, char **ret_memory)
{
	size_t left;

	while (cursor->skip == cursor->iov->iov_len) {
		cursor->iov++;
		cursor->skip = 0;
	}
	left = cursor->iov->iov_len - cursor->skip;
	*ret_memory = (char *)cursor->iov->iov_base + cursor->skip;
	length = length < left ? length : left;
	cursor->skip += length;
	return length;
}

static void gather(struct cursor *cursor, uint8_t *to, size_t length)
{
	while (length) {
		char *memory;
		size_t part = cursor_take(cursor, length, &memory);

		memcpy(to, memory, part);
		to += part;
		length -= part;
	}
}

/* In the caller's thread, whose cache has what it copies. */
static void gather_hashed(struct cursor *cursor, struct buffer *buffer, size_t size)
{
	struct cursor whole = *cursor;
	char *memory;

	if (size >= LARGE_BLOCK && cursor_take(&whole, size, &memory) == size) {
		buffer_copy_hashed(buffer, memory);
		*cursor = whole;
		return;
	}
	gather(cursor, buffer->data, size);
	buffer_hash(buffer);
}

/* from NULL: zeroes. */
static void scatter(struct cursor *cursor, const uint8_t *from, size_t length)
{
	while (length) {
		char *memory;
		size_t part = cursor_take(cursor, length, &memory);

		if (from)
			memcpy(memory, from, part);
		else
			memset(memory, 0, part);
		from = from ? from + part : NULL;
		length -= part;
	}
}

/* ---- reading ---- */

static void read_blocks(struct piece *piece)
{
	while (piece->next < piece->count && piece->result == 0) {
		unsigned i = piece->next++;
		int result = volume_read_block(volume_of(piece), first_block(piece) + i, &piece->blocks[i]);

		if (result < 0 && piece->result == 0)
			piece->result = result;
	}
}

static void reader(void *argument)
{
	struct piece *piece = argument;

	read_blocks(piece);
	rt_group_done(piece->rt, &piece->readers, 0);
}

/* Blocks that are cached are taken by this fiber before any other runs; those that aren't are read side by side. */
static int run_read(struct piece *piece)
{
	piece->next = 0;
	piece->result = 0;
	rt_group_init(&piece->readers);
	for (unsigned i = 1; i < piece->count && i < READERS; i++) {
		if (rt_spawn(piece->rt, "reader", reader, piece) < 0)
			break;
		rt_group_add(&piece->readers);
	}
	read_blocks(piece);
	if (piece->readers.pending)
		(void)rt_group_wait(piece->rt, &piece->readers);
	return piece->result;
}

static void prepare_read(struct piece *piece)
{
	piece->count = (unsigned)(((piece->end - 1) >> piece->shift) - first_block(piece) + 1);
	memset(piece->blocks, 0, piece->count * sizeof(struct buffer *));
}

static void copy_out(struct piece *piece)
{
	uint64_t size = block_size(piece), at = piece->begin;
	struct cursor cursor = cursor_at(piece, at);

	for (unsigned i = 0; i < piece->count; i++) {
		uint64_t within = at & (size - 1), length = size - within;

		if (length > piece->end - at)
			length = piece->end - at;
		scatter(&cursor, piece->blocks[i] ? piece->blocks[i]->data + within : NULL, (size_t)length);
		at += length;
	}
}

/* ---- writing ---- */

/* Where the whole blocks of a write begin and end; both its end if there are none. */
static uint64_t body_begin(const struct piece *piece)
{
	uint64_t size = block_size(piece), whole = (piece->begin + size - 1) & ~(size - 1);

	return whole < piece->end ? whole : piece->end;
}

static uint64_t body_end(const struct piece *piece)
{
	return body_begin(piece) + ((uint64_t)piece->count << piece->shift);
}

/* Where a part of a block lies: in the caller's memory, or gathered from there into *ret_copy. */
static int prepare_part(struct piece *piece, uint64_t begin, uint64_t end, struct buffer **ret_copy)
{
	struct cursor cursor;
	char *memory;

	*ret_copy = NULL;
	if (begin == end)
		return 0;
	cursor = cursor_at(piece, begin);
	if (cursor_take(&cursor, (size_t)(end - begin), &memory) == end - begin)
		return 0;
	*ret_copy = buffer_new((size_t)(end - begin));
	if (!*ret_copy)
		return -ENOMEM;
	cursor = cursor_at(piece, begin);
	gather(&cursor, (*ret_copy)->data, (size_t)(end - begin));
	return 0;
}

static int prepare_blocks(struct piece *piece, uint64_t body)
{
	uint64_t size = block_size(piece);
	unsigned whole = (unsigned)((piece->end - body) >> piece->shift);
	struct cursor cursor = {NULL, 0};

	if (whole)
		cursor = cursor_at(piece, body);
	for (piece->count = 0; piece->count < whole; piece->count++) {
		struct buffer *buffer = buffer_new((size_t)size);

		if (!buffer)
			return -ENOMEM;
		gather_hashed(&cursor, buffer, (size_t)size);
		piece->blocks[piece->count] = buffer;
	}
	return 0;
}

static int prepare_write(struct piece *piece)
{
	uint64_t body = body_begin(piece);
	int result = prepare_blocks(piece, body);

	if (result == 0)
		result = prepare_part(piece, piece->begin, body, &piece->head);
	if (result == 0)
		result = prepare_part(piece, body_end(piece), piece->end, &piece->tail);
	return result;
}

static int write_part(struct piece *piece, uint64_t begin, uint64_t end, const struct buffer *copy)
{
	struct cursor cursor;
	char *memory = NULL;

	if (begin == end)
		return 0;
	if (!copy) {
		cursor = cursor_at(piece, begin);
		cursor_take(&cursor, (size_t)(end - begin), &memory);
	}
	return volume_write(volume_of(piece), begin, (size_t)(end - begin), copy ? (const void *)copy->data : memory);
}

static int run_write(struct piece *piece)
{
	uint64_t body = body_begin(piece);
	int result = write_part(piece, piece->begin, body, piece->head);

	if (result == 0 && piece->count)
		result = volume_write_blocks(volume_of(piece), body >> piece->shift, piece->count, piece->blocks);
	if (result == 0)
		result = write_part(piece, body_end(piece), piece->end, piece->tail);
	return result;
}

/* ---- both ---- */

int piece_prepare(struct piece *piece)
{
	int result = 0;

	piece->shift = piece->volume->block_shift;
	piece->count = 0;
	piece->head = piece->tail = NULL;
	if (piece->write)
		result = prepare_write(piece);
	else
		prepare_read(piece);
	if (result < 0)
		piece_finish(piece, result);
	return result;
}

int piece_run(struct piece *piece, struct rt *rt)
{
	if (piece->limit > volume_record(volume_of(piece))->volume_size)
		return -EINVAL;
	piece->rt = rt;
	return piece->write ? run_write(piece) : run_read(piece);
}

void piece_finish(struct piece *piece, int result)
{
	if (result == 0 && !piece->write)
		copy_out(piece);
	for (unsigned i = 0; i < piece->count; i++)
		buffer_unref(piece->blocks[i]);
	buffer_unref(piece->head);
	buffer_unref(piece->tail);
}
