/*
 * Trims between writers: what is set apart for a moment is space that nobody else gets meanwhile. It counts like a
 * promise (hold.c): it never takes what was promised to writers or what commits need, and who finds nothing but trims in his way waits for them.
 */
#include <errno.h>

#include "libpool/alloc/trim.h"
#include "libpool/txg/internal.h"

/* As many as may be set apart now, halving; at most half of what the disk has, since others look for a single AU there. */
static uint32_t fitting(const struct core *core, unsigned disk, uint32_t count)
{
	uint32_t most = alloc_disk(core->alloc, disk)->au_free / 2;
	uint64_t promised = core->reserved_cells[0] + core->reserved_cells[1] + core->trim_lost_cells;

	count = count < most ? count : most;
	while (count && promised + alloc_trim_cells(core->alloc, disk, count) > core->space.whole_cells)
		count /= 2;
	return count;
}

int core_trim(struct core *core, unsigned disk, bool due, uint32_t from, uint64_t bytes_max, struct core_trimmed *ret_trimmed)
{
	uint32_t aus = (uint32_t)(bytes_max >> core->label->au_shift), first = 0;

	*ret_trimmed = (struct core_trimmed){ .next = from };
	if (core->halted || core->stopping || core->read_only)
		return -POOL_EHALTED;
	uint32_t count = alloc_trim_find(core->alloc, disk, due, from, aus ? aus : 1, &first);
	if (count == 0)
		return -ENOENT;
	count = core->space_wanted ? 0 : fitting(core, disk, count);
	if (count == 0)
		return -EBUSY;
	core->trim_cells = alloc_trim_cells(core->alloc, disk, count);
	core->trims++;
	int status = store_trim(core->store, disk, first, count);
	core->trims--;
	uint64_t left = alloc_trim_cells(core->alloc, disk, 0);
	/* What a device doesn't give back is known to be gone from the next commit on. */
	if (status == -ETIMEDOUT || status == -ECANCELED)
		core->trim_lost_cells += core->trim_cells > left ? core->trim_cells - left : 0;
	core->trim_cells = left;
	rt_queue_wake_all(core->rt, &core->changed);
	ret_trimmed->next = first + count;
	ret_trimmed->bytes = (uint64_t)count << core->label->au_shift;
	return status;
}

uint64_t core_trim_left(const struct core *core, unsigned disk, bool due)
{
	return (uint64_t)alloc_trim_left(core->alloc, disk, due) << core->label->au_shift;
}
