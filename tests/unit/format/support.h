/*
 * What the tests of the format share: reproducible random values, valid pointers, mutation of encoded bytes,
 * and a readable form for golden vectors.
 */
#ifndef TESTS_UNIT_FORMAT_SUPPORT_H
#define TESTS_UNIT_FORMAT_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "libpool/base/error.h"
#include "libpool/format/block_pointer.h"
#include "libpool/format/segment_record.h"

#define FUZZ_ITERATIONS 100000
#define ROUND_TRIPS     5000
#define ROWS_MAX        4096u

struct random {
	uint64_t state;
};

static inline uint64_t random_next(struct random *random)
{
	uint64_t x = random->state += UINT64_C(0x9E3779B97F4A7C15);
	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
	return x ^ x >> 31;
}

static inline uint64_t random_below(struct random *random, uint64_t bound)
{
	return random_next(random) % bound;
}

/* From low to high, both included. */
static inline unsigned random_between(struct random *random, unsigned low, unsigned high)
{
	return low + (unsigned)random_below(random, (uint64_t)high - low + 1);
}

/* Of any magnitude, so that small numbers are as frequent as large ones. */
static inline uint64_t random_magnitude(struct random *random)
{
	return random_next(random) >> random_below(random, 64);
}

static inline void random_bytes(struct random *random, void *bytes, size_t size)
{
	for (size_t i = 0; i < size; i++)
		((uint8_t *)bytes)[i] = (uint8_t)random_next(random);
}

static inline struct block_pointer random_placed(struct random *random, uint8_t type, uint8_t level)
{
	struct block_pointer pointer = { .type = type, .level = level };
	struct dva dva = { .segment = (uint32_t)random_below(random, SEGMENTS_MAX) };
	dva.height = (uint16_t)random_between(random, 1, STRIPE_ROWS_MAX);
	dva.base = (uint16_t)random_between(random, 1, ROWS_MAX - dva.height);
	unsigned cells = dva.height * 16u < STRIPE_CELLS_MAX ? dva.height * 16u : STRIPE_CELLS_MAX;
	pointer.psect = (uint16_t)random_between(random, 1, cells < BLOCK_CELLS_MAX ? cells : BLOCK_CELLS_MAX);
	dva.offset = (uint16_t)random_below(random, cells - pointer.psect + 1);
	pointer.lsect = (uint16_t)random_between(random, pointer.psect, BLOCK_CELLS_MAX);
	pointer.dva = dva_pack(dva);
	pointer.place = random_magnitude(random) / 2 + 1;
	pointer.birth = pointer.place + random_below(random, 3);
	pointer.fill = random_magnitude(random) & ((UINT64_C(1) << 48) - 1);
	pointer.compression = (uint8_t)random_below(random, 2);
	random_bytes(random, pointer.checksum, 16);
	return pointer;
}

static inline struct raw_block_pointer random_raw(struct random *random, uint8_t type, uint8_t level)
{
	struct block_pointer pointer = random_placed(random, type, level);
	struct raw_block_pointer raw;
	block_pointer_encode(&pointer, &raw);
	return raw;
}

static inline void random_columns(struct random *random, struct segment_column *columns, unsigned used, unsigned room)
{
	unsigned first = random_between(random, 0, DISKS_MAX - COLUMNS_MAX);
	for (unsigned c = 0; c < room; c++) {
		columns[c] = (struct segment_column){ DISK_ABSENT, 0 };
		if (c < used && random_below(random, 8) > 0)
			columns[c] = (struct segment_column){ (uint16_t)(first + c), (uint32_t)random_magnitude(random) };
	}
}

static inline struct segment_record random_segment(struct random *random, unsigned rows_per_au)
{
	struct segment_record record = { .state = (uint8_t)random_between(random, SEGMENT_OPEN, SEGMENT_SYS) };
	record.class = record.state == SEGMENT_SYS ? CLASS_SYS :
		       record.state == SEGMENT_LOG ? CLASS_LOG :
						     (uint8_t)random_between(random, CLASS_META, CLASS_SURV);
	record.m = (uint8_t)random_below(random, PARITY_MAX + 1);
	record.k = record.class <= CLASS_LOG ? 1 : (uint8_t)random_between(random, 1, COLUMNS_MAX - record.m);
	record.rows_used = (uint16_t)random_between(random, 1, rows_per_au);
	record.flags = (uint16_t)random_below(random, 8);
	record.alloc_txg = random_magnitude(random);
	record.evac_txg = random_magnitude(random);
	random_columns(random, record.columns, record.k + record.m, COLUMNS_MAX);
	return record;
}

/* One to four changes, most of them in the first 256 bytes, where the fields are. */
static inline void mutate(struct random *random, uint8_t *bytes, size_t size)
{
	if (size == 0)
		return;
	for (uint64_t changes = random_below(random, 4) + 1; changes > 0; changes--) {
		size_t near = size < 256 ? size : 256;
		size_t at = random_below(random, random_below(random, 3) ? near : size);
		switch (random_below(random, 5)) {
		case 0:
			bytes[at] ^= (uint8_t)(1u << random_below(random, 8));
			break;
		case 1:
			bytes[at] = (uint8_t)random_next(random);
			break;
		case 2:
			bytes[at] = random_below(random, 2) ? 0xFF : 0;
			break;
		case 3:
			bytes[at] = (uint8_t)(bytes[at] + (random_below(random, 2) ? 1 : -1));
			break;
		default: {
			size_t length = random_below(random, 8) + 1;
			if (length > size - at)
				length = size - at;
			memset(bytes + at, random_below(random, 2) ? 0xFF : 0, length);
		}
		}
	}
}

/* A copy in memory of exactly this size, so that a sanitizer sees every read outside; mostly mutated, sometimes noise. */
static inline uint8_t *fuzz_input(struct random *random, const uint8_t *valid, size_t size)
{
	uint8_t *input = malloc(size ? size : 1);
	assert_non_null(input);
	if (random_below(random, 8) == 0) {
		random_bytes(random, input, size < 512 ? size : 512);
		if (size > 512)
			memset(input + 512, (int)random_below(random, 256), size - 512);
	} else {
		memcpy(input, valid, size);
		mutate(random, input, size);
	}
	return input;
}

/*
 * Compares with a dump of the lines of 16 bytes that are not all zero, "offset: hex\n". A change of the format
 * fails here: it needs a feature name or a new version, not a new vector.
 */
static inline void assert_golden(const uint8_t *raw, size_t size, const char *expected)
{
	size_t capacity = (size + 15) / 16 * 48 + 1, used = 0;
	char *text = calloc(capacity, 1);
	assert_non_null(text);
	for (size_t line = 0; line < size; line += 16) {
		size_t length = size - line < 16 ? size - line : 16;
		bool zero = true;
		for (size_t i = 0; i < length; i++)
			zero = zero && raw[line + i] == 0;
		if (zero)
			continue;
		used += (size_t)snprintf(text + used, capacity - used, "%04zx: ", line);
		for (size_t i = 0; i < length; i++)
			used += (size_t)snprintf(text + used, capacity - used, "%02x", raw[line + i]);
		used += (size_t)snprintf(text + used, capacity - used, "\n");
	}
	bool same = strcmp(text, expected) == 0;
	if (!same)
		fprintf(stderr, "encoded:\n%s", text);
	free(text);
	assert_true(same);
}

#endif
