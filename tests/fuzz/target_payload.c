/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Compressed payloads. The input: lsect - 1, psect - 1 (255: embedded in a pointer), a flag (the length in front of the frame
 * is to be mended), and the payload; zeros at its end may be left out.
 */
#include "libpool/base/error.h"
#include "libpool/block/block.h"
#include "libpool/block/compress.h"
#include "tests/fuzz/fuzz.h"

static struct codec *codec;

/* What was decoded survives being stored again. */
static void check_again(const uint8_t *content, unsigned lsect)
{
	size_t size = (size_t)lsect * CELL_SIZE;
	uint8_t *again = malloc(size);
	struct encoded encoded;

	codec_encode(codec, content, lsect, BLOCK_COMPRESS_AUTO, true, &encoded);
	if (encoded.embedded) {
		struct block_pointer pointer = { .lsect = (uint16_t)lsect, .compression = encoded.compression, .flags = BP_EMBED,
						 .embed_length = encoded.embed_length };
		memcpy(pointer.embed, encoded.embed, sizeof(pointer.embed));
		fuzz_expect(codec_decode_embedded(codec, &pointer, again) == 0);
		fuzz_expect(memcmp(content, again, size) == 0);
	} else if (encoded.payload) {
		fuzz_expect(encoded.psect < lsect && codec_decode(codec, encoded.payload->data, encoded.psect, again, lsect) == 0);
		fuzz_expect(memcmp(content, again, size) == 0);
		buffer_unref(encoded.payload);
	}
	free(again);
}

static int decode_embedded(const uint8_t *data, size_t size, unsigned lsect, uint8_t *content)
{
	struct block_pointer pointer = { .lsect = (uint16_t)lsect, .compression = COMPRESSION_ZSTD, .flags = BP_EMBED };

	pointer.embed_length = (uint8_t)(size < BLOCK_POINTER_EMBED_MAX ? size : BLOCK_POINTER_EMBED_MAX);
	memcpy(pointer.embed, data, pointer.embed_length);
	return codec_decode_embedded(codec, &pointer, content);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 4)
		return -1;
	if (!codec)
		fuzz_expect(codec_new(1, &codec) == 0);
	unsigned lsect = data[0] + 1u, psect = data[1] + 1u;
	bool embedded = psect == BLOCK_CELLS_MAX, mend = data[2] & 1;
	data += 3;
	size -= 3;
	uint8_t *content = malloc((size_t)lsect * CELL_SIZE);
	int status;
	if (embedded) {
		status = decode_embedded(data, size, lsect, content);
	} else {
		size_t room = (size_t)psect * CELL_SIZE;
		uint8_t *payload = fuzz_copy(data, size, room);
		for (unsigned i = 0; mend && i < 4; i++)
			payload[i] = (uint8_t)((size - (size < 4 ? size : 4)) >> 8 * i);
		status = codec_decode(codec, payload, psect, content, lsect);
		free(payload);
	}
	fuzz_expect(status == 0 || status == -POOL_EFORMAT);
	if (status == 0)
		check_again(content, lsect);
	free(content);
	return 0;
}
