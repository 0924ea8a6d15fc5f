/*
 * Bitmaps, a word at a time: the maps of live cells and of free allocation units are walked on every
 * allocation, so no loop here goes bit by bit. Bits outside the range that a call names are never
 * changed, and words outside it are never read.
 */
#include "libpool/base/bitmap.h"

#define WORD_BITS 64

/* The bits of word `index` that lie in [first, last); the two must overlap. */
static uint64_t range_mask(size_t index, size_t first, size_t last)
{
	uint64_t mask = UINT64_MAX;

	if (index == first / WORD_BITS)
		mask &= UINT64_MAX << (first % WORD_BITS);
	if (index == last / WORD_BITS)
		mask &= (UINT64_C(1) << (last % WORD_BITS)) - 1;
	return mask;
}

void bitmap_set_range(uint64_t *map, size_t first, size_t count)
{
	size_t last = first + count;

	for (size_t i = first / WORD_BITS; i < BITMAP_WORDS(last) && count; i++)
		map[i] |= range_mask(i, first, last);
}

void bitmap_clear_range(uint64_t *map, size_t first, size_t count)
{
	size_t last = first + count;

	for (size_t i = first / WORD_BITS; i < BITMAP_WORDS(last) && count; i++)
		map[i] &= ~range_mask(i, first, last);
}

size_t bitmap_count(const uint64_t *map, size_t first, size_t count)
{
	size_t last = first + count, total = 0;

	if (first % WORD_BITS + count < WORD_BITS) /* as a rule, and few */
		return (size_t)__builtin_popcountll(map[first / WORD_BITS] >> first % WORD_BITS & ((UINT64_C(1) << count) - 1));
	for (size_t i = first / WORD_BITS; i < BITMAP_WORDS(last) && count; i++)
		total += (size_t)__builtin_popcountll(map[i] & range_mask(i, first, last));
	return total;
}

/* The first bit that is set in map XOR flip: flip is all ones to look for clear bits. */
static size_t next_bit(const uint64_t *map, size_t from, size_t limit, uint64_t flip)
{
	if (from >= limit)
		return BITMAP_NONE;
	for (size_t i = from / WORD_BITS; i < BITMAP_WORDS(limit); i++) {
		uint64_t word = (map[i] ^ flip) & range_mask(i, from, limit);

		if (word)
			return i * WORD_BITS + (size_t)__builtin_ctzll(word);
	}
	return BITMAP_NONE;
}

size_t bitmap_next_set(const uint64_t *map, size_t from, size_t limit)
{
	return next_bit(map, from, limit, 0);
}

size_t bitmap_next_clear(const uint64_t *map, size_t from, size_t limit)
{
	return next_bit(map, from, limit, UINT64_MAX);
}

size_t bitmap_find_clear_run(const uint64_t *map, size_t from, size_t limit, size_t count)
{
	if (from > limit || count > limit - from)
		return BITMAP_NONE;
	if (count == 0)
		return from;
	for (;;) {
		size_t first = bitmap_next_clear(map, from, limit);

		if (first == BITMAP_NONE || count > limit - first)
			return BITMAP_NONE;
		size_t end = bitmap_next_set(map, first, first + count);

		if (end == BITMAP_NONE)
			return first;
		from = end + 1;
	}
}
