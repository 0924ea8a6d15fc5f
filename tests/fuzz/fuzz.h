/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Targets for libFuzzer: one program for each target_*.c, which takes bytes and must bear them all.
 *
 * A structure with a checksum inside is mended before it is decoded, so that what lies behind the checksum is reached.
 * What decodes must encode to the bytes it came from, as every structure of the format has exactly one encoding.
 *
 * With clang and POOL_FUZZ the programs are linked with libFuzzer; else with driver.c, which runs what is kept in corpus/ and
 * finds/ once.
 */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The target: 0, or -1 for what need not be kept. Aborts when something is wrong. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
/* In targets whose inputs have a form of their own: a changed input in place, and its size. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);
/* Of libFuzzer (and of driver.c): changes bytes in place, and returns how many there are. */
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);

#define fuzz_expect(condition)                                                                                         \
	do {                                                                                                           \
		if (!(condition)) {                                                                                    \
			fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);                        \
			abort();                                                                                       \
		}                                                                                                      \
	} while (0)

/* A copy of exactly `room` bytes on the heap, so that a sanitizer sees what is read behind its end: cut off or with zeros. */
static inline uint8_t *fuzz_copy(const uint8_t *data, size_t size, size_t room)
{
	uint8_t *copy = calloc(1, room ? room : 1);

	fuzz_expect(copy);
	memcpy(copy, data, size < room ? size : room);
	return copy;
}

static inline uint64_t fuzz_le(const uint8_t *bytes, unsigned count)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < count; i++)
		value |= (uint64_t)bytes[i] << 8 * i;
	return value;
}

#endif
