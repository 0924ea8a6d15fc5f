/* SPDX-License-Identifier: BSD-2-Clause */
/* Buffers with an unmapped page on either side, so that a kernel that reads or writes one byte too many faults. */
#ifndef TESTS_UNIT_RAID_GUARDED_H
#define TESTS_UNIT_RAID_GUARDED_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

#define GUARD_PAGE 4096

/* `length` is a multiple of the page. Aligned to a page; for the life of the program. */
static inline unsigned char *guarded_new(size_t length)
{
	unsigned char *area = mmap(NULL, length + 2 * GUARD_PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (area == MAP_FAILED || mprotect(area + GUARD_PAGE, length, PROT_READ | PROT_WRITE) != 0)
		abort();
	return area + GUARD_PAGE;
}

static inline uint64_t random_next(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static inline void random_fill(uint64_t *state, unsigned char *data, size_t length)
{
	for (size_t i = 0; i < length; i++)
		data[i] = (unsigned char)(random_next(state) >> 32);
}

#endif
