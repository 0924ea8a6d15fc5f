/*
 * From content to what is stored of it, and back. Pure functions over buffers for workers (any thread, never
 * a fiber's stack); zstd's contexts, which are large, are lent from a pool. Internal to the block layer.
 *
 * A compressed payload is the exact length of one zstd frame (u32, little-endian), the frame, and zeros up
 * to whole cells. Embedded content is either compressed, as a bare frame, or its first bytes, when all after
 * them are zero; its exact length is in the pointer.
 */
#ifndef LIBPOOL_BLOCK_COMPRESS_H
#define LIBPOOL_BLOCK_COMPRESS_H

#include <stdbool.h>
#include <stdint.h>

#include "libpool/base/buffer.h"
#include "libpool/format/block_pointer.h"

struct codec;

/* `idle_max`: contexts kept for reuse; as many as there are workers are enough. */
int codec_new(unsigned idle_max, struct codec **ret_codec);
/* No call may be under way. */
void codec_free(struct codec *codec);

struct encoded {
	struct buffer
	    *payload;	/* a new reference; NULL when embedded, and when the content is stored as it is */
	uint16_t psect; /* cells of payload or content; 0 when embedded */
	uint8_t compression;  /* enum block_compression */
	bool embedded, tried; /* tried: compression was attempted */
	uint8_t embed_length;
	uint8_t embed[BLOCK_POINTER_EMBED_MAX];
};

/* True if the bytes are all zero. */
bool content_is_zero(const void *content, size_t length);

/* Whether encoding with this setting needs no zstd, and so no worker. */
bool codec_encode_is_cheap(unsigned lsect, unsigned setting, bool allow_embed);

/* Cannot fail: content that can't be made smaller, for whatever reason, is stored as it is. */
void codec_encode(struct codec *codec, const void *content, unsigned lsect, unsigned setting,
		  bool allow_embed, struct encoded *ret_encoded);

/* The content (lsect cells) of a compressed payload of psect cells. 0, -POOL_EFORMAT or -ENOMEM. */
int codec_decode(struct codec *codec, const void *payload, unsigned psect, void *content, unsigned lsect);

/* The content of an embedded pointer, in any compression. 0, -POOL_EFORMAT or -ENOMEM. */
int codec_decode_embedded(struct codec *codec, const struct block_pointer *pointer, void *content);

#endif
