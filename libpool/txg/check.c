/*
 * What must hold after every commit, as far as it can be told from RAM alone: for test builds, which ask for it. A broken one
 * halts the pool like any invariant.
 */
#include "libpool/base/check.h"
#include "libpool/txg/internal.h"

/* A segment that is in use: its columns on different disks, but for the mirrors of a pool with one disk. */
static void check_columns(const struct core *core, const struct segment *segment)
{
	const struct segment_record *record = &segment->record;

	for (unsigned c = 0; c < (unsigned)record->k + record->m; c++) {
		struct segment_column column = record->columns[c];
		if (column.disk == DISK_ABSENT)
			continue;
		const struct alloc_disk *disk = alloc_disk(core->alloc, column.disk);
		if (!POOL_CHECK(disk && column.au < disk->au_count))
			continue;
		POOL_CHECK(bitmap_get(disk->au_used, column.au));
		for (unsigned other = 0; other < c; other++) {
			struct segment_column before = record->columns[other];
			bool one_disk = record->k == 1 && core->label->m == 0;
			POOL_CHECK(before.disk != column.disk || (one_disk && before.au != column.au));
		}
	}
}

static void check_segments(const struct core *core)
{
	const struct geometry *geometry = alloc_geometry(core->alloc);
	uint64_t live = 0;
	struct space space;

	for (uint32_t id = 0; id < alloc_segment_count(core->alloc); id++) {
		const struct segment *segment = alloc_segment(core->alloc, id);
		if (!segment || segment->record.state == SEGMENT_NONE)
			continue;
		live += segment->live;
		size_t bits = segment->bits ? bitmap_count(segment->bits, 0, (size_t)segment->record.k * geometry->rows) : 0;
		POOL_CHECK(segment->live <= bits); /* bits has summaries too */
		POOL_CHECK(!segment->live || !segment->released);
		POOL_CHECK(segment->record.rows_used <= geometry->rows);
		/* A dead one that is still pinned may name a disk that has left. */
		if (!alloc_segment_is_free(segment))
			check_columns(core, segment);
	}
	alloc_space(core->alloc, &space);
	POOL_CHECK(space.live_cells == live);
	POOL_CHECK(alloc_counts_hold(core->alloc));
}

static void check_disks(struct core *core)
{
	const struct uberblock *uberblock = &core->uberblock;
	unsigned online = 0, states = 0;

	for (unsigned i = 0; i < DISKS_MAX; i++) {
		const struct alloc_disk *disk = alloc_disk(core->alloc, i);
		if (disk)
			POOL_CHECK(bitmap_count(disk->au_used, 0, disk->au_count) + disk->au_free == disk->au_count);
	}
	for (unsigned i = 0; i < uberblock->state_count; i++)
		states += uberblock->states[i].state != DISK_ONLINE;
	online = uberblock->disks_online;
	POOL_CHECK(online > 0 && states == uberblock->state_count);
	POOL_CHECK(uberblock->txg == core->committed_txg);
}

void core_check(struct core *core, uint64_t txg)
{
	unsigned slot = txg & 1;

	POOL_CHECK(core->committed_txg == txg && core->open_txg == txg + 1);
	POOL_CHECK(core->handles[slot] == 0 && core->admitted[slot] == 0 && core->reserved_cells[slot] == 0);
	POOL_CHECK(core->dirty_bytes[slot] == 0);
	check_segments(core);
	check_disks(core);
}
