/*
 * See trim.h. Two bitmaps for each disk: AUs that became free since the import (due), and AUs that were trimmed since they became free
 * (trimmed). Both mean something only where au_used is clear; whatever is given back goes through alloc_trim_forget.
 */
#include "libpool/alloc/trim.h"

#include "libpool/alloc/internal.h"
#include "libpool/base/check.h"

void alloc_trim_forget(struct alloc_disk *disk, uint32_t au)
{
	bitmap_set(disk->au_due, au);
	bitmap_clear(disk->au_trimmed, au);
}

static uint64_t candidates(const struct alloc_disk *disk, size_t word, bool due)
{
	uint64_t bits = ~disk->au_used[word] & ~disk->au_trimmed[word];

	if (due)
		bits &= disk->au_due[word];
	if ((word + 1) * 64 > disk->au_count && disk->au_count % 64)
		bits &= (UINT64_C(1) << disk->au_count % 64) - 1;
	return bits;
}

uint32_t alloc_trim_left(const struct alloc *alloc, unsigned index, bool due)
{
	const struct alloc_disk *disk = alloc_disk(alloc, index);
	uint32_t count = 0;

	for (size_t word = 0; disk && word < BITMAP_WORDS(disk->au_count); word++)
		count += (uint32_t)__builtin_popcountll(candidates(disk, word, due));
	return count;
}

uint32_t alloc_trim_find(const struct alloc *alloc, unsigned index, bool due, uint32_t from, uint32_t most, uint32_t *ret_first)
{
	const struct alloc_disk *disk = alloc_disk(alloc, index);
	uint32_t count = 0;

	for (uint32_t au = from; disk && au < disk->au_count && count < most; au++) {
		uint64_t bits = candidates(disk, au / 64, due);

		if (bits >> au % 64 & 1) {
			if (count++ == 0)
				*ret_first = au;
		} else if (count) {
			break;
		} else if (!(bits >> au % 64)) {
			au |= 63; /* nothing more in this word */
		}
	}
	return count;
}

void alloc_trim_begin(struct alloc *alloc, unsigned index, uint32_t first, uint32_t count)
{
	struct alloc_disk *disk = &alloc->disks[index];

	POOL_CHECK(disk->configured && bitmap_count(disk->au_used, first, count) == 0);
	bitmap_set_range(disk->au_used, first, count);
	disk->au_free -= count;
	disk->au_trimming += count;
}

void alloc_trim_abandon(struct alloc *alloc, unsigned index, uint32_t count)
{
	if (alloc->disks[index].configured)
		alloc->disks[index].au_trimming -= count;
}

void alloc_trim_end(struct alloc *alloc, unsigned index, uint32_t first, uint32_t count, bool abandoned, bool trimmed)
{
	struct alloc_disk *disk = &alloc->disks[index];

	if (!disk->configured)
		return;
	if (!abandoned)
		disk->au_trimming -= count;
	for (uint32_t au = first; au < first + count; au++) {
		bool was_due = bitmap_get(disk->au_due, au);

		alloc_au_release(alloc, index, au);
		if (trimmed)
			bitmap_set(disk->au_trimmed, au);
		if (trimmed || !was_due)
			bitmap_clear(disk->au_due, au);
	}
}
