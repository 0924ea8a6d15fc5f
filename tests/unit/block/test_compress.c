/* The codec alone: thresholds of each setting, exact round trips, and payloads that an enemy wrote. */
#include <stdio.h>
#include <zstd.h>

#include "libpool/base/endian.h"
#include "libpool/block/compress.h"
#include "tests/unit/block/fake_store.h"

static struct codec *codec;

static int setup(void **state)
{
	(void)state;
	return codec_new(2, &codec);
}

static int teardown(void **state)
{
	(void)state;
	codec_free(codec);
	return 0;
}

static int decode(const struct encoded *encoded, const struct buffer *content, struct buffer *result)
{
	if (encoded->embedded) {
		struct block_pointer pointer = {.flags = BP_EMBED,
						.embed_length = encoded->embed_length,
						.compression = encoded->compression,
						.lsect = (uint16_t)(content->size / CELL_SIZE)};

		memcpy(pointer.embed, encoded->embed, sizeof(pointer.embed));
		return codec_decode_embedded(codec, &pointer, result->data);
	}
	if (!encoded->payload) {
		memcpy(result->data, content->data, content->size);
		return 0;
	}
	return codec_decode(codec, encoded->payload->data, encoded->psect, result->data,
			    content->size / CELL_SIZE);
}

static void test_round_trips(void **state)
{
	(void)state;
	static const unsigned settings[] = {BLOCK_COMPRESS_OFF, BLOCK_COMPRESS_AUTO, BLOCK_COMPRESS_LEAF, 1, 2, 4, 10, 23, 200};
	static const unsigned sizes[] = {1, 2, 3, 4, 8, 9, 32, 256};

	for (unsigned kind = 0; kind < CONTENT_KINDS; kind++) {
		for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
			struct buffer *content = make_content(kind, sizes[i], kind * 17 + i);
			struct buffer *result = buffer_new(content->size);

			for (unsigned j = 0; j < 2 * sizeof(settings) / sizeof(settings[0]); j++) {
				unsigned setting = settings[j / 2];
				bool allow_embed = j % 2;
				struct encoded encoded;

				if (setting >= 23 && setting <= 200 && sizes[i] > 32)
					continue; /* slow, and nothing new */
				codec_encode(codec, content->data, sizes[i], setting, allow_embed, &encoded);
				assert_true(allow_embed || !encoded.embedded);
				if (encoded.embedded) {
					assert_true(encoded.embed_length > 0 && encoded.embed_length <= 40);
					assert_int_equal(encoded.psect, 0);
					assert_null(encoded.payload);
				} else if (encoded.payload) {
					unsigned least =
					    setting >= BLOCK_COMPRESS_LEAF ? (sizes[i] + 7) / 8 : 1;

					assert_int_equal(encoded.compression, COMPRESSION_ZSTD);
					assert_true(encoded.psect + least <= sizes[i]);
					assert_int_equal(encoded.payload->size, encoded.psect * CELL_SIZE);
				} else {
					assert_int_equal(encoded.compression, COMPRESSION_NONE);
					assert_int_equal(encoded.psect, sizes[i]);
				}
				memset(result->data, 0xA5, result->size);
				assert_int_equal(decode(&encoded, content, result), 0);
				assert_same_content(result, content);
				buffer_unref(encoded.payload);
			}
			buffer_unref(content);
			buffer_unref(result);
		}
	}
}

static void encode_once(const struct buffer *content, unsigned setting, bool allow_embed, struct encoded *ret)
{
	codec_encode(codec, content->data, content->size / CELL_SIZE, setting, allow_embed, ret);
}

/* Leaves of directories, as they lie in a page: keys of which little is alike, nodes, names. What is quicker saves no cell less. */
static void test_leaves(void **state)
{
	(void)state;
	struct buffer *page = buffer_new(4 * CELL_SIZE);
	uint64_t random = 7;

	for (unsigned i = 0; i < 50; i++) {
		struct encoded better, quick;
		unsigned at = 64;

		memset(page->data, 0, page->size);
		for (uint64_t key = random_next(&random) >> 9; at + 80 < page->size * (6 + i % 3) / 8; key += random_next(&random) >> 14) {
			le64 number = le64_make(random_next(&random) % 10000000);

			for (unsigned b = 0; b < 8; b++)
				page->data[at++] = (uint8_t)(key >> (56 - 8 * b));
			memcpy(page->data + at, &number, sizeof(number));
			at += sizeof(number);
			at += (unsigned)sprintf((char *)page->data + at, i % 2 ? "file-%08u" : "IMG_%u.jpeg", (unsigned)(random_next(&random) % 10000000));
		}
		encode_once(page, BLOCK_COMPRESS_AUTO, false, &better);
		encode_once(page, BLOCK_COMPRESS_LEAF, false, &quick);
		assert_true(better.payload && quick.payload);
		assert_true(quick.psect <= better.psect);
		buffer_unref(better.payload);
		buffer_unref(quick.payload);
	}
	buffer_unref(page);
}

static void test_decisions(void **state)
{
	(void)state;
	struct encoded encoded;
	struct buffer *text = make_content(CONTENT_TEXT, 32, 1), *noise = make_content(CONTENT_RANDOM, 32, 1);
	struct buffer *repeated = make_content(CONTENT_REPEATED, 32, UINT64_C(0x0102030405060708));
	struct buffer *zero = make_content(CONTENT_ZERO, 4, 0), *one = make_content(CONTENT_TEXT, 1, 1);
	struct buffer *one_repeated = make_content(CONTENT_REPEATED, 1, UINT64_C(0x0102030405060708));

	encode_once(text, BLOCK_COMPRESS_OFF, true, &encoded);
	assert_true(!encoded.payload && !encoded.embedded && !encoded.tried);
	encode_once(text, BLOCK_COMPRESS_AUTO, true, &encoded);
	assert_true(encoded.payload && encoded.tried);
	buffer_unref(encoded.payload);
	encode_once(noise, BLOCK_COMPRESS_AUTO, true, &encoded);
	assert_true(!encoded.payload && encoded.tried);
	encode_once(noise, 4, true, &encoded);
	assert_true(!encoded.payload && encoded.tried);
	encode_once(repeated, BLOCK_COMPRESS_AUTO, false, &encoded);
	assert_int_equal(encoded.psect, 1);
	buffer_unref(encoded.payload);
	encode_once(repeated, BLOCK_COMPRESS_AUTO, true, &encoded);
	assert_true(encoded.embedded && encoded.compression == COMPRESSION_ZSTD);
	encode_once(one, BLOCK_COMPRESS_AUTO, true, &encoded);
	assert_true(!encoded.payload && !encoded.embedded && encoded.psect == 1);
	encode_once(one_repeated, BLOCK_COMPRESS_AUTO, true, &encoded);
	assert_true(encoded.embedded && encoded.compression == COMPRESSION_ZSTD);
	encode_once(one_repeated, BLOCK_COMPRESS_AUTO, false, &encoded);
	assert_true(!encoded.embedded && encoded.psect == 1);
	encode_once(zero, BLOCK_COMPRESS_OFF, true, &encoded);
	assert_true(encoded.embedded && encoded.embed_length == 1 && encoded.embed[0] == 0);

	/* One cell saved of 32 is enough for a chosen level and not for the automatic one. */
	memset(noise->data + 29 * CELL_SIZE, 7, 3 * CELL_SIZE);
	encode_once(noise, 2, false, &encoded);
	assert_true(encoded.payload && encoded.psect >= 29);
	buffer_unref(encoded.payload);
	memmove(noise->data + CELL_SIZE, noise->data, 29 * CELL_SIZE);
	memset(noise->data, 7, CELL_SIZE); /* the probe likes it */
	encode_once(noise, BLOCK_COMPRESS_AUTO, false, &encoded);
	assert_null(encoded.payload);
	buffer_unref(text);
	buffer_unref(noise);
	buffer_unref(repeated);
	buffer_unref(zero);
	buffer_unref(one);
	buffer_unref(one_repeated);
}

static void test_embedding_bound(void **state)
{
	(void)state;
	struct encoded encoded;

	for (unsigned length = 1; length <= 48; length++) {
		struct buffer *content = make_content(CONTENT_ZERO, 2, 0);

		for (unsigned i = 0; i < length; i++)
			content->data[i] = (uint8_t)(i * 7 + 1);
		encode_once(content, BLOCK_COMPRESS_OFF, true, &encoded);
		assert_int_equal(encoded.embedded, length <= BLOCK_POINTER_EMBED_MAX);
		if (encoded.embedded)
			assert_int_equal(encoded.embed_length, length);
		buffer_unref(content);
	}
}

/* Room for a result with bytes behind it that must stay: zstd itself is not built with a sanitizer. */
enum { GUARD_SIZE = 256 };

static uint8_t *guarded_new(size_t size)
{
	uint8_t *memory = malloc(size + GUARD_SIZE);

	memset(memory, 0xC3, size + GUARD_SIZE);
	return memory;
}

static void guarded_free(uint8_t *memory, size_t size)
{
	for (unsigned i = 0; i < GUARD_SIZE; i++)
		assert_int_equal(memory[size + i], 0xC3);
	free(memory);
}

static void test_hostile_payloads(void **state)
{
	(void)state;
	uint64_t seed = 11;
	struct buffer *content = make_content(CONTENT_TEXT, 8, 4);
	struct encoded encoded;
	uint8_t *result = malloc(16 * CELL_SIZE);

	codec_encode(codec, content->data, 8, 4, false, &encoded);
	assert_non_null(encoded.payload);
	size_t room = encoded.payload->size;

	for (unsigned round = 0; round < 20000; round++) {
		uint8_t *payload = malloc(room);
		unsigned lsect = 8, flips = 1 + random_next(&seed) % 4;

		memcpy(payload, encoded.payload->data, room);
		switch (random_next(&seed) % 5) {
		case 0: { /* the length says something else */
			le32 length = le32_make((uint32_t)(random_next(&seed) >> random_next(&seed) % 33));
			memcpy(payload, &length, sizeof(length));
			break;
		}
		case 1: /* noise in the frame's header and first blocks */
			while (flips--)
				payload[4 + random_next(&seed) % 24] = (uint8_t)random_next(&seed);
			break;
		case 2:
			while (flips--)
				payload[random_next(&seed) % room] ^= (uint8_t)(1u << random_next(&seed) % 8);
			break;
		case 3: /* of another size */
			lsect = 1 + random_next(&seed) % 16;
			break;
		default:
			for (size_t i = 4; i < room; i += 8) {
				uint64_t noise = random_next(&seed);
				memcpy(payload + i, &noise, room - i < 8 ? room - i : 8);
			}
		}
		uint8_t *exact = guarded_new((size_t)lsect * CELL_SIZE);
		int code = codec_decode(codec, payload, encoded.psect, exact, lsect);

		assert_true(code == 0 || code == -POOL_EFORMAT);
		if (lsect != 8)
			assert_int_equal(code, -POOL_EFORMAT);
		guarded_free(exact, (size_t)lsect * CELL_SIZE);
		free(payload);
	}
	assert_int_equal(codec_decode(codec, encoded.payload->data, encoded.psect, result, 8), 0);
	assert_memory_equal(result, content->data, content->size);
	assert_int_equal(codec_decode(codec, encoded.payload->data, 0, result, 8), -POOL_EFORMAT);
	assert_int_equal(codec_decode(codec, encoded.payload->data, encoded.psect, result, 0), -POOL_EFORMAT);
	free(result);
	buffer_unref(encoded.payload);
	buffer_unref(content);
}

/* Forms that zstd itself would take, and an encoder doesn't make. */
static void test_only_one_form(void **state)
{
	(void)state;
	struct buffer *content = make_content(CONTENT_TEXT, 4, 4);
	uint8_t *payload = calloc(4, CELL_SIZE), *result = malloc(4 * CELL_SIZE);
	size_t half = content->size / 2, room = 4 * CELL_SIZE - 4;
	size_t first = ZSTD_compress(payload + 4, room, content->data, half, 3);
	size_t second = ZSTD_compress(payload + 4 + first, room - first, content->data + half, half, 3);
	unsigned psect = (unsigned)((4 + first + second + CELL_SIZE - 1) / CELL_SIZE);
	le32 length = le32_make((uint32_t)(first + second));

	memcpy(payload, &length, 4);
	assert_int_equal(codec_decode(codec, payload, psect, result, 4), -POOL_EFORMAT); /* two frames */

	memset(payload, 0, 4 * CELL_SIZE);
	size_t whole = ZSTD_compress(payload + 4, room, content->data, content->size, 3);

	psect = (unsigned)((4 + whole + CELL_SIZE - 1) / CELL_SIZE);
	length = le32_make((uint32_t)whole);
	memcpy(payload, &length, 4);
	assert_int_equal(codec_decode(codec, payload, psect, result, 4), 0);
	assert_int_equal(codec_decode(codec, payload, psect + 1, result, 4),
			 -POOL_EFORMAT);	    /* a cell too many */
	payload[(size_t)psect * CELL_SIZE - 1] = 1; /* not zero behind the frame */
	assert_int_equal(codec_decode(codec, payload, psect, result, 4), -POOL_EFORMAT);
	free(payload);
	free(result);
	buffer_unref(content);
}

static void test_hostile_embedded(void **state)
{
	(void)state;
	uint64_t seed = 23;
	struct buffer *content = make_content(CONTENT_REPEATED, 4, UINT64_C(0x1122334455667788));
	struct encoded encoded;

	encode_once(content, 2, true, &encoded);
	assert_true(encoded.embedded);
	for (unsigned round = 0; round < 20000; round++) {
		struct block_pointer pointer = {.flags = BP_EMBED,
						.compression = COMPRESSION_ZSTD,
						.lsect = 4,
						.embed_length = encoded.embed_length};

		memcpy(pointer.embed, encoded.embed, sizeof(pointer.embed));
		pointer.embed[random_next(&seed) % BLOCK_POINTER_EMBED_MAX] = (uint8_t)random_next(&seed);
		switch (random_next(&seed) % 4) {
		case 0:
			pointer.embed_length = (uint8_t)random_next(&seed);
			break;
		case 1:
			pointer.lsect = random_next(&seed) % 9;
			break;
		case 2:
			pointer.compression = random_next(&seed) % 16;
			break;
		}
		uint8_t *exact = guarded_new((size_t)pointer.lsect * CELL_SIZE);
		int code = codec_decode_embedded(codec, &pointer, exact);

		assert_true(code == 0 || code == -POOL_EFORMAT);
		guarded_free(exact, (size_t)pointer.lsect * CELL_SIZE);
	}
	buffer_unref(content);
}

static void test_zero_detection(void **state)
{
	(void)state;
	struct buffer *content = make_content(CONTENT_ZERO, 3, 0);

	assert_true(content_is_zero(content->data, content->size));
	assert_true(content_is_zero(content->data, 0));
	for (uint32_t i = 0; i < content->size; i += i < 64 ? 1 : 61) {
		content->data[i] = 1;
		assert_false(content_is_zero(content->data, content->size));
		assert_int_equal(content_is_zero(content->data, i), 1);
		content->data[i] = 0;
	}
	buffer_unref(content);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_round_trips),	    cmocka_unit_test(test_decisions),
	    cmocka_unit_test(test_leaves),
	    cmocka_unit_test(test_embedding_bound), cmocka_unit_test(test_hostile_payloads),
	    cmocka_unit_test(test_only_one_form),   cmocka_unit_test(test_hostile_embedded),
	    cmocka_unit_test(test_zero_detection),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
