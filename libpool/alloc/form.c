/* SPDX-License-Identifier: BSD-2-Clause */
/* See form.h. */
#include "libpool/alloc/form.h"

#include "libpool/alloc/internal.h"

#include <stdlib.h>

static int compare_descending(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x > y ? -1 : x < y;
}

/* The largest S with sum(min(au, S)) >= S * width. */
uint64_t form_count(const uint32_t *aus, unsigned count, unsigned width)
{
	uint64_t low = 0, high = 0;

	if (count < width)
		return 0;
	/* With more disks than columns there are more segments than AUs on any of them. */
	for (unsigned i = 0; i < count; i++)
		high += aus[i];
	high /= width;
	while (low < high) {
		uint64_t middle = (low + high + 1) / 2, sum = 0;
		for (unsigned i = 0; i < count; i++)
			sum += aus[i] < middle ? aus[i] : middle;
		if (sum >= middle * width)
			low = middle;
		else
			high = middle - 1;
	}
	return low;
}

static void add_step(struct formed *formed, uint64_t segments, unsigned width, uint64_t cells)
{
	formed->step[formed->steps].segments = segments;
	formed->step[formed->steps++].width = width;
	formed->segments += segments;
	formed->cells += segments * cells;
}

/*
 * All segments that can be formed: of full width first, then narrower ones from the disks that have AUs left (those which took part in
 * every segment, hence fewer than the width). With m disks or fewer, each segment has one data column and lacks others, as
 * alloc_segment_open makes them: a degraded pool stays writable.
 */
static void form_steps(const struct geometry *geometry, uint32_t *aus, unsigned count, struct formed *formed)
{
	unsigned k = geometry->k, m = geometry->m;

	qsort(aus, count, sizeof(*aus), compare_descending);
	if (count && count <= m) {
		add_step(formed, form_count(aus, count, count), count, geometry->rows - 1u);
		return;
	}
	while (k >= 1) {
		while (count && aus[count - 1] == 0)
			count--;
		if (count < k + m) {
			if (count <= m)
				break;
			k = count - m;
		}
		uint64_t segments = form_count(aus, count, k + m);
		if (segments == 0)
			break;
		add_step(formed, segments, k + m, k * (geometry->rows - 1u));
		unsigned kept = 0;
		for (unsigned i = 0; i < count; i++)
			if (aus[i] > segments)
				aus[kept++] = (uint32_t)(aus[i] - segments);
		count = kept;
		if (kept >= k + m)
			break; /* rounding left too little for one more */
	}
}

uint64_t form_cells(const struct geometry *geometry, uint32_t *aus, unsigned count, uint64_t *ret_segments)
{
	struct formed formed = { 0 };

	form_steps(geometry, aus, count, &formed);
	*ret_segments = formed.segments;
	return formed.cells;
}

/*
 * Segments above the floors from which on, while a disk is away, new ones are so narrow that they have all their parity: twice what
 * is kept for compaction. With fewer they keep all data columns, as a pool that is nearly full has no room for narrow ones, and parity columns are absent.
 */
static uint64_t plenty(uint64_t total)
{
	uint64_t wanted = total / 25 > 16 ? total / 25 : 16;

	return wanted < total / 8 ? wanted : total / 8;
}

/* Of all disks, those that are away included. */
static uint64_t cells_if_back(const struct alloc *alloc)
{
	uint32_t aus[DISKS_MAX];
	unsigned count = 0;
	uint64_t segments;

	for (unsigned i = 0; i < DISKS_MAX; i++)
		if (alloc->disks[i].configured && !alloc->disks[i].log && !alloc->disks[i].leaving)
			aus[count++] = alloc->disks[i].au_free;
	return form_cells(&alloc->geometry, aus, count, &segments);
}

struct formed form_empty(const struct alloc *alloc)
{
	const struct geometry *geometry = &alloc->geometry;

	/* On the only disk of a pool without parity there are two copies, too. */
	return (struct formed){ .mirrored = geometry->m ? geometry->m + 1u : 2, .width = geometry->k + geometry->m };
}

struct formed form_now(const struct alloc *alloc, uint64_t total, uint32_t *aus, unsigned count)
{
	const struct geometry *geometry = &alloc->geometry;
	struct formed formed = form_empty(alloc);
	uint64_t more = 0, back;

	formed.plenty = plenty(total);
	if (count && count < formed.mirrored && geometry->m)
		formed.mirrored = count;
	if (count && count < formed.width)
		formed.width = count;
	if (alloc_may_lack(alloc, count))
		more = form_count(aus, count, count) * (geometry->k - (count > geometry->m ? count - geometry->m : 1u)) * (geometry->rows - 1u);
	form_steps(geometry, aus, count, &formed);
	if (formed.segments) {
		formed.narrow = formed.cells / formed.segments;
		formed.whole = (formed.cells + more) / formed.segments;
	}
	/* One that is full makes segments narrower when it comes back: nobody is promised more than these hold. */
	if (more && (back = cells_if_back(alloc)) < formed.cells + more)
		formed.whole = back > formed.cells ? back / formed.segments : formed.narrow;
	return formed;
}

uint64_t formed_cells(const struct formed *formed, uint64_t segments)
{
	uint64_t scarce = segments < formed->plenty ? segments : formed->plenty;

	return scarce * formed->whole + (segments - scarce) * formed->narrow;
}

uint64_t formed_sys(const struct formed *formed, uint64_t segments)
{
	uint64_t units = 0;

	for (unsigned i = formed->steps; i-- > 0 && segments;) {
		uint64_t here = segments < formed->step[i].segments ? segments : formed->step[i].segments;
		units += here * formed->step[i].width;
		segments -= here;
	}
	return units / formed->mirrored;
}

/* Of units that the widest leave over, where disks have as many free ones but for rounding, hardly a segment can be formed: that isn't counted. */
static unsigned steps_that_count(const struct formed *formed)
{
	uint64_t units = 0;

	for (unsigned i = 1; i < formed->steps; i++)
		units += formed->step[i].segments * formed->step[i].width;
	return formed->steps && units < formed->step[0].width ? 1 : formed->steps;
}

uint64_t formed_for_sys(const struct formed *formed, uint64_t sys_segments)
{
	uint64_t units = sys_segments * formed->mirrored, segments = 0;

	for (unsigned i = steps_that_count(formed); i-- > 0;) {
		unsigned width = formed->step[i].width;
		uint64_t here = (units + width - 1) / width;
		if (here <= formed->step[i].segments)
			return segments + here;
		segments += formed->step[i].segments;
		units -= formed->step[i].segments * width;
	}
	return segments + (units + formed->width - 1) / formed->width; /* more than there are */
}
