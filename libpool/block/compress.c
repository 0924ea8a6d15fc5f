/*
 * What must hold: a decoder writes within the content it was given and reads within its payload, whatever
 * the bytes; a payload is accepted only in the one form that an encoder makes (exact cells, one frame, zeros
 * behind it), so that what is accepted could be written again bit by bit by the same encoder.
 *
 * Giving zstd no more room than would be worth keeping makes it stop early on what can't shrink.
 */
#include "libpool/block/compress.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "libpool/base/endian.h"
#include "libpool/base/error.h"
#include "libpool/block/block.h"

enum {
	LENGTH_SIZE = 4,
	AUTO_LEVEL = 1,
	LEAF_LEVEL = -5, /* two fifths of the time of level 1, and for most leaves as many cells */
	AUTO_SAVES_FRACTION = 8, /* of the cells */
	AUTO_PROBE_SIZE = 4096,
	CONTEXT_KEEP_BYTES = 16 << 20, /* high levels need far more; that isn't kept */
};

struct codec_context {
	struct codec_context *next;
	ZSTD_CCtx *compressor; /* made when first needed, as is the other */
	ZSTD_DCtx *decompressor;
};

struct codec {
	pthread_mutex_t lock;
	struct codec_context *idle;
	unsigned idle_count, idle_max;
};

static void context_free(struct codec_context *context)
{
	ZSTD_freeCCtx(context->compressor);
	ZSTD_freeDCtx(context->decompressor);
	free(context);
}

static struct codec_context *context_take(struct codec *codec)
{
	pthread_mutex_lock(&codec->lock);
	struct codec_context *context = codec->idle;

	if (context) {
		codec->idle = context->next;
		codec->idle_count--;
	}
	pthread_mutex_unlock(&codec->lock);
	return context ? context : calloc(1, sizeof(*context));
}

static void context_give(struct codec *codec, struct codec_context *context)
{
	if (context->compressor && ZSTD_sizeof_CCtx(context->compressor) > CONTEXT_KEEP_BYTES) {
		ZSTD_freeCCtx(context->compressor);
		context->compressor = NULL;
	}
	pthread_mutex_lock(&codec->lock);
	bool keep = codec->idle_count < codec->idle_max;

	if (keep) {
		context->next = codec->idle;
		codec->idle = context;
		codec->idle_count++;
	}
	pthread_mutex_unlock(&codec->lock);
	if (!keep)
		context_free(context);
}

int codec_new(unsigned idle_max, struct codec **ret_codec)
{
	struct codec *codec = calloc(1, sizeof(*codec));

	if (!codec)
		return -ENOMEM;
	int result = pthread_mutex_init(&codec->lock, NULL);

	if (result != 0) {
		free(codec);
		return -result;
	}
	codec->idle_max = idle_max;
	*ret_codec = codec;
	return 0;
}

void codec_free(struct codec *codec)
{
	if (!codec)
		return;
	while (codec->idle) {
		struct codec_context *context = codec->idle;

		codec->idle = context->next;
		context_free(context);
	}
	pthread_mutex_destroy(&codec->lock);
	free(codec);
}

bool content_is_zero(const void *content, size_t length)
{
	const uint8_t *bytes = content;
	size_t first = length < 16 ? length : 16;

	for (size_t i = 0; i < first; i++) {
		if (bytes[i] != 0)
			return false;
	}
	return memcmp(bytes, bytes + first, length - first) == 0;
}

/* Bytes up to the last one that isn't zero; any number above `enough` stands for more than that. */
static size_t length_without_zeros(const uint8_t *content, size_t length, size_t enough)
{
	if (length > enough && !content_is_zero(content + enough, length - enough))
		return enough + 1;
	size_t used = length < enough ? length : enough;

	while (used > 0 && content[used - 1] == 0)
		used--;
	return used;
}

/* The length of the frame, or 0 if it needs more than `capacity`, or can't be made. */
static size_t compress(struct codec_context *context, void *frame, size_t capacity, const void *content,
		       size_t length, int level)
{
	if (!context->compressor)
		context->compressor = ZSTD_createCCtx();
	if (!context->compressor)
		return 0;
	size_t result = ZSTD_compressCCtx(context->compressor, frame, capacity, content, length, level);

	return ZSTD_isError(result) ? 0 : result;
}

/* Cells of payload that are still worth storing compressed; 0: none are. */
static unsigned cells_worth_keeping(unsigned lsect, unsigned setting)
{
	unsigned saved =
	    setting >= BLOCK_COMPRESS_LEAF ? (lsect + AUTO_SAVES_FRACTION - 1) / AUTO_SAVES_FRACTION : 1;

	return lsect > saved ? lsect - saved : 0;
}

static bool probe_says_yes(struct codec_context *context, const void *content)
{
	uint8_t frame[AUTO_PROBE_SIZE - AUTO_PROBE_SIZE / AUTO_SAVES_FRACTION];

	return compress(context, frame, sizeof(frame), content, AUTO_PROBE_SIZE, AUTO_LEVEL) > 0;
}

static bool embed(struct encoded *encoded, uint8_t compression, const void *bytes, size_t length)
{
	encoded->embedded = true;
	encoded->psect = 0;
	encoded->compression = compression;
	encoded->embed_length = (uint8_t)length;
	memcpy(encoded->embed, bytes, length);
	return true;
}

/* Content of one cell can't shrink on disk: it either fits into the pointer or stays. */
static void encode_one_cell(struct codec_context *context, const void *content, int level,
			    struct encoded *encoded)
{
	uint8_t frame[BLOCK_POINTER_EMBED_MAX];
	size_t length = compress(context, frame, sizeof(frame), content, CELL_SIZE, level);

	if (length > 0)
		embed(encoded, COMPRESSION_ZSTD, frame, length);
}

static void encode_cells(struct codec_context *context, const void *content, unsigned lsect, unsigned setting,
			 int level, bool allow_embed, struct encoded *encoded)
{
	size_t capacity = (size_t)cells_worth_keeping(lsect, setting) * CELL_SIZE;

	if (setting == BLOCK_COMPRESS_AUTO && !probe_says_yes(context, content))
		return;
	uint8_t *scratch = malloc(capacity);

	if (!scratch)
		return;
	size_t length = 0;

	if (setting == BLOCK_COMPRESS_LEAF)
		length = compress(context, scratch + LENGTH_SIZE, (size_t)lsect / 2 * CELL_SIZE - LENGTH_SIZE, content, (size_t)lsect * CELL_SIZE, LEAF_LEVEL);
	if (length == 0)
		length = compress(context, scratch + LENGTH_SIZE, capacity - LENGTH_SIZE, content, (size_t)lsect * CELL_SIZE, level);
	if (length > 0 && length <= BLOCK_POINTER_EMBED_MAX && allow_embed) {
		embed(encoded, COMPRESSION_ZSTD, scratch + LENGTH_SIZE, length);
	} else if (length > 0) {
		le32 prefix = le32_make((uint32_t)length);
		unsigned psect = (unsigned)((LENGTH_SIZE + length + CELL_SIZE - 1) / CELL_SIZE);
		struct buffer *payload = buffer_new((size_t)psect * CELL_SIZE);

		if (payload) {
			memcpy(payload->data, &prefix, LENGTH_SIZE);
			memcpy(payload->data + LENGTH_SIZE, scratch + LENGTH_SIZE, length);
			memset(payload->data + LENGTH_SIZE + length, 0, payload->size - LENGTH_SIZE - length);
			encoded->payload = payload;
			encoded->psect = (uint16_t)psect;
			encoded->compression = COMPRESSION_ZSTD;
		}
	}
	free(scratch);
}

bool codec_encode_is_cheap(unsigned lsect, unsigned setting, bool allow_embed)
{
	return setting == BLOCK_COMPRESS_OFF || (lsect == 1 && !allow_embed);
}

void codec_encode(struct codec *codec, const void *content, unsigned lsect, unsigned setting,
		  bool allow_embed, struct encoded *ret_encoded)
{
	struct encoded encoded = {.psect = (uint16_t)lsect, .compression = COMPRESSION_NONE};
	size_t length = (size_t)lsect * CELL_SIZE;

	if (allow_embed) {
		size_t used = length_without_zeros(content, length, BLOCK_POINTER_EMBED_MAX);

		/* An embedded pointer holds at least one byte. */
		if (used <= BLOCK_POINTER_EMBED_MAX) {
			embed(&encoded, COMPRESSION_NONE, content, used ? used : 1);
			*ret_encoded = encoded;
			return;
		}
	}
	if (!codec_encode_is_cheap(lsect, setting, allow_embed)) {
		struct codec_context *context = context_take(codec);
		int level = setting >= BLOCK_COMPRESS_LEAF ? AUTO_LEVEL : (int)setting - 1;

		if (level > ZSTD_maxCLevel())
			level = ZSTD_maxCLevel();
		if (context && lsect == 1)
			encode_one_cell(context, content, level, &encoded);
		else if (context && cells_worth_keeping(lsect, setting) > 0)
			encode_cells(context, content, lsect, setting, level, allow_embed, &encoded);
		if (context)
			context_give(codec, context);
		encoded.tried = lsect > 1;
	}
	*ret_encoded = encoded;
}

/* Exactly one frame of `length` bytes that gives exactly `content_length`. */
static int decompress(struct codec *codec, const void *frame, size_t length, void *content,
		      size_t content_length)
{
	size_t frame_length = ZSTD_findFrameCompressedSize(frame, length);

	if (ZSTD_isError(frame_length) || frame_length != length)
		return -POOL_EFORMAT;
	if (ZSTD_getFrameContentSize(frame, length) != content_length)
		return -POOL_EFORMAT;
	struct codec_context *context = context_take(codec);

	if (context && !context->decompressor)
		context->decompressor = ZSTD_createDCtx();
	if (!context || !context->decompressor) {
		if (context)
			context_give(codec, context);
		return -ENOMEM;
	}
	size_t result = ZSTD_decompressDCtx(context->decompressor, content, content_length, frame, length);

	context_give(codec, context);
	return !ZSTD_isError(result) && result == content_length ? 0 : -POOL_EFORMAT;
}

int codec_decode(struct codec *codec, const void *payload, unsigned psect, void *content, unsigned lsect)
{
	size_t room = (size_t)psect * CELL_SIZE;
	const uint8_t *bytes = payload;
	le32 prefix;

	if (psect == 0 || lsect == 0)
		return -POOL_EFORMAT;
	memcpy(&prefix, bytes, LENGTH_SIZE);
	uint64_t end = LENGTH_SIZE + (uint64_t)le32_get(prefix);

	if (end <= LENGTH_SIZE || end > room || end + CELL_SIZE <= room)
		return -POOL_EFORMAT;
	if (end < room && !content_is_zero(bytes + end, room - end))
		return -POOL_EFORMAT;
	return decompress(codec, bytes + LENGTH_SIZE, end - LENGTH_SIZE, content, (size_t)lsect * CELL_SIZE);
}

int codec_decode_embedded(struct codec *codec, const struct block_pointer *pointer, void *content)
{
	size_t length = (size_t)pointer->lsect * CELL_SIZE;

	if (length == 0 || pointer->embed_length > BLOCK_POINTER_EMBED_MAX)
		return -POOL_EFORMAT;
	switch (pointer->compression) {
	case COMPRESSION_NONE:
		memcpy(content, pointer->embed, pointer->embed_length);
		memset((uint8_t *)content + pointer->embed_length, 0, length - pointer->embed_length);
		return 0;
	case COMPRESSION_ZSTD:
		return decompress(codec, pointer->embed, pointer->embed_length, content, length);
	default:
		return -POOL_EFORMAT;
	}
}
