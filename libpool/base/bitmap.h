/* Bitmaps over uint64_t words; bit i is word i / 64, bit i % 64. No bounds are kept: the caller knows them. */
#ifndef LIBPOOL_BASE_BITMAP_H
#define LIBPOOL_BASE_BITMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BITMAP_WORDS(bits) (((size_t)(bits) + 63) / 64)
#define BITMAP_NONE SIZE_MAX

static inline bool bitmap_get(const uint64_t *map, size_t bit) { return map[bit / 64] >> (bit % 64) & 1; }
static inline void bitmap_set(uint64_t *map, size_t bit) { map[bit / 64] |= UINT64_C(1) << (bit % 64); }
static inline void bitmap_clear(uint64_t *map, size_t bit) { map[bit / 64] &= ~(UINT64_C(1) << (bit % 64)); }

void bitmap_set_range(uint64_t *map, size_t first, size_t count);
void bitmap_clear_range(uint64_t *map, size_t first, size_t count);
/* Number of set bits in [first, first + count). */
size_t bitmap_count(const uint64_t *map, size_t first, size_t count);
/* First bit >= from and < limit that is set (or clear), or BITMAP_NONE. */
size_t bitmap_next_set(const uint64_t *map, size_t from, size_t limit);
size_t bitmap_next_clear(const uint64_t *map, size_t from, size_t limit);
/* First run of `count` clear bits in [from, limit), or BITMAP_NONE. */
size_t bitmap_find_clear_run(const uint64_t *map, size_t from, size_t limit, size_t count);

#endif
