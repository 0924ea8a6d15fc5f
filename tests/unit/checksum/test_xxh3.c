/* SPDX-License-Identifier: BSD-2-Clause */
/* Every implementation of XXH3-128 that this processor runs, against the published library compiled by default. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "checksum/xxh3.h"
#include "checksum/xxh3_implementation.h"

#define LENGTH_MAX ((size_t)3 << 20)

/* The buffer of xxHash's own sanity check. */
static unsigned char *published_buffer(size_t length)
{
	uint64_t generator = 2654435761U;
	unsigned char *buffer = malloc(length);

	for (size_t i = 0; i < length; i++) {
		buffer[i] = (unsigned char)(generator >> 56);
		generator *= 11400714785074694797ULL;
	}
	return buffer;
}

static void reference(const void *data, size_t length, struct hash128 *ret)
{
	XXH128_canonical_t canonical;

	XXH128_canonicalFromHash(&canonical, XXH3_128bits(data, length));
	for (unsigned i = 0; i < 16; i++)
		ret->bytes[i] = canonical.digest[15 - i];
}

static void assert_hash(const struct hash128 *hash, const struct hash128 *expected)
{
	assert_memory_equal(hash->bytes, expected->bytes, sizeof(hash->bytes));
}

static void published_vectors(void **state)
{
	static const struct {
		size_t length;
		uint64_t low, high;
	} vectors[] = {
		{ 0, 0x6001c324468d497f, 0x99aa06d3014798d8 },
		{ 1, 0xc44bdff4074eecdb, 0xa6cd5e9392000f6a },
		{ 6, 0x3e7039bdda43cfc6, 0x082afe0b8162d12a },
		{ 12, 0x061a192713f69ad9, 0x6e3efd8fc7802b18 },
		{ 24, 0x1e7044d28b1b901d, 0x0ce966e4678d3761 },
		{ 48, 0xf942219aed80f67b, 0xa002ac4e5478227e },
		{ 81, 0x5e8bafb9f95fb803, 0x4952f58181ab0042 },
		{ 222, 0xf1aebd597cec6b3a, 0x337e09641b948717 },
		{ 403, 0xcdeb804d65c6dea4, 0x1b6de21e332dd73d },
		{ 512, 0x617e49599013cb6b, 0x18d2d110dcc9bca1 },
		{ 2048, 0xdd59e2c3a5f038e0, 0xf736557fd47073a5 },
		{ 2240, 0x6e73a90539cf2948, 0xccb134fbfa7ce49d },
		{ 2367, 0xcb37aeb9e5d361ed, 0xe89c0f6ff369b427 },
	};
	unsigned char *data = published_buffer(2367);

	(void)state;
	for (size_t v = 0; v < sizeof(vectors) / sizeof(vectors[0]); v++) {
		struct hash128 expected, hash;

		for (unsigned i = 0; i < 8; i++) {
			expected.bytes[i] = (uint8_t)(vectors[v].low >> (8 * i));
			expected.bytes[8 + i] = (uint8_t)(vectors[v].high >> (8 * i));
		}
		xxh3_128(data, vectors[v].length, &hash);
		assert_hash(&hash, &expected);
	}
	free(data);
}

static void check_length(const unsigned char *source, size_t length)
{
	unsigned char *data = malloc(length + 1); /* exact, so that the sanitizer sees a byte too many */
	const struct xxh3_implementation *implementation;
	struct hash128 expected, hash;

	memcpy(data, source, length);
	reference(data, length, &expected);
	for (unsigned i = 0; (implementation = xxh3_implementation_at(i)) != NULL; i++) {
		struct xxh3_stream stream;

		implementation->hash(data, length, &hash);
		assert_hash(&hash, &expected);

		implementation->init(&stream);
		for (size_t done = 0, piece = 1 + length % 7; done < length; piece = piece * 3 % 8191 + 1) {
			size_t count = piece < length - done ? piece : length - done;

			implementation->update(&stream, data + done, count);
			done += count;
		}
		implementation->final(&stream, &hash);
		assert_hash(&hash, &expected);
	}
	xxh3_128(data, length, &hash);
	assert_hash(&hash, &expected);
	for (size_t context = 0; context <= length; context += 1 + length / 5) {
		xxh3_128_context(data, context, data + context, length - context, &hash);
		assert_hash(&hash, &expected);
	}
	free(data);
}

static void all_agree_with_the_library(void **state)
{
	unsigned char *data = published_buffer(LENGTH_MAX);

	(void)state;
	for (size_t length = 0; length <= 1100; length++)
		check_length(data, length);
	for (size_t length = 4096; length <= LENGTH_MAX; length *= 2)
		for (size_t more = 0; more < 3; more++)
			check_length(data, length - 1 + more);
	check_length(data, LENGTH_MAX);
	free(data);
}

/* From any address to one that is aligned, nothing beyond. */
static void copies(void **state)
{
	unsigned char *data = published_buffer(2 * 131072 + 64);
	const struct xxh3_implementation *implementation;

	(void)state;
	for (unsigned i = 0; (implementation = xxh3_implementation_at(i)) != NULL; i++)
		for (size_t length = 64; length <= 131072; length = length < 9000 ? length + 64 : length * 3 / 128 * 64)
			for (size_t skip = 0; skip < 64; skip += 21) {
				unsigned char *target = aligned_alloc(64, length + 64);
				struct hash128 expected, hash;

				memset(target + length, 0x5a, 64);
				implementation->copy(target, data + skip, length, &hash);
				assert_memory_equal(target, data + skip, length);
				for (unsigned j = 0; j < 64; j++)
					assert_int_equal(target[length + j], 0x5a);
				reference(data + skip, length, &expected);
				assert_hash(&hash, &expected);
				free(target);
			}
	free(data);
}

static void unaligned_data(void **state)
{
	unsigned char *data = published_buffer(8192 + 64);
	const struct xxh3_implementation *implementation;

	(void)state;
	for (size_t skip = 0; skip < 64; skip++) {
		struct hash128 expected, hash;

		reference(data + skip, 8192, &expected);
		for (unsigned i = 0; (implementation = xxh3_implementation_at(i)) != NULL; i++) {
			implementation->hash(data + skip, 8192, &hash);
			assert_hash(&hash, &expected);
		}
	}
	free(data);
}

/* A stream that one implementation began is finished by another. */
static void streams_are_interchangeable(void **state)
{
	unsigned char *data = published_buffer(5000);
	struct hash128 expected, hash;

	(void)state;
	reference(data, 5000, &expected);
	for (unsigned first = 0; xxh3_implementation_at(first) != NULL; first++) {
		for (unsigned second = 0; xxh3_implementation_at(second) != NULL; second++) {
			struct xxh3_stream stream;

			xxh3_implementation_at(first)->init(&stream);
			xxh3_implementation_at(first)->update(&stream, data, 1777);
			xxh3_implementation_at(second)->update(&stream, data + 1777, 5000 - 1777);
			xxh3_implementation_at(second)->final(&stream, &hash);
			assert_hash(&hash, &expected);
		}
	}
	free(data);
}

static void final_does_not_end_the_stream(void **state)
{
	unsigned char *data = published_buffer(3000);
	struct xxh3_stream stream;
	struct hash128 expected, hash;

	(void)state;
	xxh3_stream_init(&stream);
	xxh3_stream_update(&stream, data, 1000);
	xxh3_stream_update(&stream, NULL, 0);
	xxh3_stream_final(&stream, &hash);
	reference(data, 1000, &expected);
	assert_hash(&hash, &expected);
	xxh3_stream_update(&stream, data + 1000, 2000);
	xxh3_stream_final(&stream, &hash);
	reference(data, 3000, &expected);
	assert_hash(&hash, &expected);
	free(data);
}

static void the_fastest_is_in_use(void **state)
{
	(void)state;
	assert_string_equal(xxh3_implementation(), xxh3_implementation_at(0)->name);
	for (unsigned i = 0; xxh3_implementation_at(i) != NULL; i++)
		print_message("tested: %s\n", xxh3_implementation_at(i)->name);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(published_vectors),
		cmocka_unit_test(all_agree_with_the_library),
		cmocka_unit_test(copies),
		cmocka_unit_test(unaligned_data),
		cmocka_unit_test(streams_are_interchangeable),
		cmocka_unit_test(final_does_not_end_the_stream),
		cmocka_unit_test(the_fastest_is_in_use),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
