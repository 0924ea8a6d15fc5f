/* What the pool can hold and what is left: counted in segments that can still be formed, not in free AUs. */
#include "libpool/alloc/internal.h"
#include "libpool/alloc/figures.h"
#include "libpool/alloc/form.h"
#include "libpool/alloc/trim.h"

#include <stdlib.h>
#include <string.h>

/* SYS rows that commits use besides metadata: logs of some hundred txgs, pages, what waits for its two commits. */
#define SYS_ROWS_BASE 700u
/* Of the living metadata one commit may write anew this share, if there is nothing but the floors; and so many cells, or all, in any case. */
#define COMMIT_METADATA_SHARE 16u
#define COMMIT_METADATA_LEAST 512u
#define COMMIT_METADATA_MAX (UINT64_C(160) << 10)

size_t alloc_sys_base(const struct alloc *alloc)
{
	return SYS_ROWS_BASE / (alloc->geometry.rows - 1u) + 1;
}

/* Cells that one commit can write anew out of the floors alone; txg/hold.c sees to it that none needs more. */
static uint64_t written_anew(const struct alloc *alloc, uint64_t metadata)
{
	uint64_t share = metadata / COMMIT_METADATA_SHARE;

	share = share > alloc->commit_metadata ? share : alloc->commit_metadata;
	share = share < COMMIT_METADATA_MAX ? share : COMMIT_METADATA_MAX;
	return share < metadata ? share : metadata;
}

/*
 * Rows of META segments are metadata's own: what leaves them leaves rows that it can write again, in the worst case one for a node and one for its summary, as
 * in SYS rows. So these need not be in the floors a second time. Not where a node may need rows that lie side by side, nor, while a disk is away, as no
 * row of theirs has all its columns then, where full redundancy is asked for. A segment gives none before ROWS_WORTH are dead, one is its header's, and with
 * too many entries in the index (each second row alone) it gives none either.
 */
#define META_COLUMNS 4u
#define META_ROWS_LEFT 5u
#define META_ROWS_MOST (ALLOC_BATCHES_REUSED - 8u)

static unsigned sure_rows(const struct alloc *alloc, const struct segment *segment)
{
	const struct segment_record *record = &segment->record;

	if (alloc->geometry.k < META_COLUMNS || record->class != CLASS_META || record->state != SEGMENT_FULL || record->k < META_COLUMNS ||
	    record->flags & SEGMENT_DEGRADED || segment->released || record->rows_used <= META_ROWS_LEFT)
		return 0;
	unsigned rows = record->rows_used - META_ROWS_LEFT;
	return rows < META_ROWS_MOST ? rows : META_ROWS_MOST;
}

void alloc_count_metadata_rows(struct alloc *alloc, struct segment *segment)
{
	unsigned rows = sure_rows(alloc, segment);

	alloc->metadata_rows = alloc->metadata_rows - segment->metadata_rows + rows;
	segment->metadata_rows = (uint16_t)rows;
}

bool alloc_counts_hold(const struct alloc *alloc)
{
	uint64_t rows = 0;

	for (uint32_t id = 0; id < alloc->segment_count; id++)
		rows += alloc->segments[id] ? sure_rows(alloc, alloc->segments[id]) : 0;
	return rows == alloc->metadata_rows;
}

/* What need not be had in SYS rows: never of what logs and pages need. */
static uint64_t metadata_rows(const struct alloc *alloc, uint64_t metadata)
{
	if (alloc_lacks_disk(alloc) && !alloc->runs.promises_lacking)
		return 0;
	return alloc->metadata_rows < 2 * metadata ? alloc->metadata_rows : 2 * metadata;
}

/*
 * The floor of a pool that has `sys_segments` SYS segments and so many live cells of metadata. ret_least: with fewer commits may
 * get into need. Half of what is for compaction may be lent to those who were promised dead rows that are pinned just then.
 */
static uint64_t floor_of(const struct alloc *alloc, const struct formed *formed, uint64_t total, uint64_t sys_segments, uint64_t metadata,
			 uint64_t *ret_least)
{
	const struct geometry *geometry = &alloc->geometry;
	uint64_t sys = total / 200 > 4 ? total / 200 : 4, compaction = total / 50 > 8 ? total / 50 : 8;
	/* On a small pool the floors never take more than an eighth. */
	uint64_t most = total / 8 ? total / 8 : 1, floor = sys + compaction < most ? sys + compaction : most;
	uint64_t rows = SYS_ROWS_BASE + 2 * metadata + 2 * written_anew(alloc, metadata), have = sys_segments * (geometry->rows - 1u);

	have += metadata_rows(alloc, metadata);
	uint64_t more = rows > have ? (rows - have) / (geometry->rows - 1u) + 1 : 0;
	uint64_t need = formed_for_sys(formed, more);

	*ret_least = need > floor / 2 ? need : floor / 2;
	return need > floor ? need : floor;
}

/*
 * For copies that a compactor makes: always there, so that what is dead among what is live can be had however full the pool is. Where each row has one block
 * only, much of what dies can be written again as it is, and in small pools few of them will do.
 */
#define COPY_SHARE 64u
#define COPY_SEGMENTS 4u
#define COPY_SHARE_MIRRORED 128u
#define COPY_SEGMENTS_MIRRORED 2u
#define COPY_SHARE_MOST 32u

static uint64_t copy_segments(const struct alloc *alloc, uint64_t total)
{
	bool mirrored = alloc->geometry.k == 1;
	uint64_t share = mirrored ? total / COPY_SHARE_MIRRORED : total / COPY_SHARE, least = mirrored ? COPY_SEGMENTS_MIRRORED : COPY_SEGMENTS;
	uint64_t wanted = share > least ? share : least, most = total / COPY_SHARE_MOST;

	return wanted < most ? wanted : most;
}

/* With what is for copies: nothing of that may be what commits can't do without. */
static uint64_t writers_floor(const struct alloc *alloc, const struct formed *formed, uint64_t total, uint64_t sys_segments, uint64_t metadata,
			      uint64_t *ret_least)
{
	uint64_t floor = floor_of(alloc, formed, total, sys_segments, metadata, ret_least), sum = *ret_least + copy_segments(alloc, total);

	return sum > floor ? sum : floor;
}

/*
 * Formable segments that foreground writers leave alone, of `total` that the pool could hold. When no others are left,
 * commits write metadata into SYS rows, since metadata that dies bit by bit gives no segments back: then all that lives
 * may come to lie there, in the worst case with a summary for each block, beside what two commits before have written anew and freed.
 */
static uint64_t floor_segments(const struct alloc *alloc, const struct formed *formed, uint64_t total, uint64_t *ret_least)
{
	return writers_floor(alloc, formed, total, alloc->sys_ids.count, alloc->metadata_cells, ret_least);
}

void alloc_set_reserve(struct alloc *alloc, unsigned per_ten_thousand)
{
	alloc->reserve_per_ten_thousand = per_ten_thousand;
}

void alloc_set_commit_metadata(struct alloc *alloc, uint64_t cells)
{
	alloc->commit_metadata = cells ? cells : COMMIT_METADATA_LEAST;
}

void alloc_set_promised(struct alloc *alloc, uint64_t cells)
{
	alloc->promised_cells = cells;
}

bool alloc_lacks_disk(const struct alloc *alloc)
{
	return alloc->widths.usable < alloc->widths.configured;
}

/* Without a disk that is away new segments may keep their width. Not for one that is about to leave, nor where full redundancy is asked for. */
bool alloc_may_lack(const struct alloc *alloc, unsigned usable)
{
	const struct geometry *geometry = &alloc->geometry;

	return alloc->runs.promises_lacking && usable >= geometry->k && usable < (unsigned)geometry->k + geometry->m &&
	       usable + alloc->widths.failed >= (unsigned)geometry->k + geometry->m;
}

void alloc_count_disks(struct alloc *alloc)
{
	const struct geometry *geometry = &alloc->geometry;
	unsigned width = geometry->k + geometry->m, usable;
	struct alloc_widths before = alloc->widths;

	alloc->widths = (struct alloc_widths){ 0 };
	for (unsigned i = 0; i < DISKS_MAX; i++) {
		const struct alloc_disk *disk = &alloc->disks[i];
		if (!disk->configured || disk->log)
			continue;
		alloc->widths.configured++;
		alloc->widths.usable += disk->usable;
		alloc->widths.failed += !disk->works;
	}
	usable = alloc->widths.usable;
	alloc->widths.columns = usable < width ? usable : width;
	alloc->widths.k = usable >= width || alloc_may_lack(alloc, usable) ? geometry->k : usable > geometry->m ? usable - geometry->m : 1;
	if (memcmp(&before, &alloc->widths, sizeof(before)) == 0)
		return;
	alloc_victims_list_again(alloc);
	alloc_runs_list_all(alloc);
}

uint64_t alloc_disks_lost(const struct alloc *alloc)
{
	return alloc->disks_lost;
}

bool alloc_promises_fit(const struct alloc *alloc)
{
	uint32_t all[DISKS_MAX], available[DISKS_MAX];
	unsigned all_count = 0, available_count = 0;
	uint64_t total, least;

	for (unsigned i = 0; i < DISKS_MAX; i++) {
		const struct alloc_disk *disk = &alloc->disks[i];
		if (!disk->configured || disk->log)
			continue;
		all[all_count++] = disk->au_count;
		if (disk->usable)
			available[available_count++] = disk->au_free;
	}
	(void)form_cells(&alloc->geometry, all, all_count, &total);
	struct formed formed = form_now(alloc, total, available, available_count);
	uint64_t floor = floor_segments(alloc, &formed, total, &least);
	return formed.segments > floor && formed.narrow * (formed.segments - floor) >= alloc->promised_cells;
}

/* The share that was asked for, and never less than what an empty pool needs for its commits: that can't be promised to anybody. */
static uint64_t reserve_cells(const struct alloc *alloc, uint64_t usable_cells, uint64_t total_segments)
{
	uint64_t share = usable_cells / 10000 * alloc->reserve_per_ten_thousand +
			 usable_cells % 10000 * alloc->reserve_per_ten_thousand / 10000;
	struct formed empty = form_empty(alloc);
	uint64_t least, floor = total_segments ? usable_cells / total_segments * writers_floor(alloc, &empty, total_segments, 0, 0, &least) :
					  usable_cells;

	share = share > floor ? share : floor;
	return share < usable_cells ? share : usable_cells;
}

struct measures {
	uint64_t total;  /* segments that the pool could hold */
	uint64_t above;  /* those that can be formed now and are for writers */
	uint64_t copies; /* with those that are for copies */
	uint64_t spare;  /* with all that commits can do without */
	struct formed formed;
};

static struct measures measure(const struct alloc *alloc)
{
	struct measures measures = { 0 };
	uint32_t all[DISKS_MAX], available[DISKS_MAX];
	unsigned all_count = 0, available_count = 0;
	uint64_t least;

	for (unsigned i = 0; i < DISKS_MAX; i++) {
		const struct alloc_disk *disk = &alloc->disks[i];
		if (!disk->configured || disk->log)
			continue;
		all[all_count++] = disk->au_count;
		if (disk->usable)
			available[available_count++] = disk->au_free;
	}
	(void)form_cells(&alloc->geometry, all, all_count, &measures.total);
	measures.formed = form_now(alloc, measures.total, available, available_count);
	uint64_t writers = floor_segments(alloc, &measures.formed, measures.total, &least), floor = writers - copy_segments(alloc, measures.total);
	uint64_t left = measures.formed.segments;
	measures.above = left > writers ? left - writers : 0;
	measures.copies = left > floor ? left - floor : 0;
	measures.spare = left > least ? left - least : 0;
	return measures;
}

bool alloc_is_scarce(const struct alloc *alloc)
{
	return measure(alloc).above == 0;
}

bool alloc_is_tight(const struct alloc *alloc)
{
	struct measures measures = measure(alloc);

	return measures.above <= measures.formed.plenty;
}

bool alloc_new_ones_lack(const struct alloc *alloc)
{
	const struct alloc_widths *widths = &alloc->widths;
	unsigned width = (unsigned)alloc->geometry.k + alloc->geometry.m;

	if (!alloc_lacks_disk(alloc) || widths->usable >= width || !alloc->runs.promises_lacking)
		return false;
	return widths->usable <= alloc->geometry.m || (alloc_may_lack(alloc, widths->usable) && alloc_is_tight(alloc));
}

bool alloc_is_short(const struct alloc *alloc)
{
	return measure(alloc).spare == 0;
}

uint64_t alloc_copy_segments_cells(const struct alloc *alloc)
{
	return alloc->copy_segments_cells;
}

uint64_t alloc_copy_cells(const struct alloc *alloc, uint64_t *ret_writers)
{
	struct measures measures = measure(alloc);

	*ret_writers = formed_cells(&measures.formed, measures.above);
	return (measures.copies - measures.above) * measures.formed.whole;
}

/* The free segments above the floors, in thousandths of all, below which runs of so many rows are taken. */
static const struct {
	unsigned share, rows;
} ladder[] = { { 5, 1 }, { 15, 4 }, { 35, 16 }, { 75, 64 }, { 125, 256 } };

unsigned alloc_runs_least(const struct alloc *alloc)
{
	if (alloc->runs.eager)
		return 1;
	struct measures measures = measure(alloc);
	/* What is for copies counts, or runs would be of one row long before they have to be. */
	for (unsigned i = 0; i < sizeof(ladder) / sizeof(ladder[0]); i++)
		if (measures.copies * 1000 < measures.total * ladder[i].share)
			return ladder[i].rows;
	return 0;
}

uint64_t space_segments_cells(const struct space *space, uint64_t segments)
{
	struct formed formed = { .narrow = space->narrow_cells, .whole = space->segment_cells, .plenty = space->plenty_segments };

	return formed_cells(&formed, segments);
}

uint64_t space_available(const struct space *space, unsigned block_cells)
{
	uint64_t rows = row_space_cells(&space->rows, block_cells);
	uint64_t cells = space->whole_cells + (rows > space->missing_cells ? rows - space->missing_cells : 0);

	return cells < space->limit_cells ? cells : space->limit_cells;
}

/* What runs have room for that may be promised. */
static struct row_space promised_rows(const struct run_index *runs)
{
	struct row_space sum = runs->space[0];

	if (!runs->promises_lacking)
		return sum;
	for (unsigned i = 0; i < ROW_SPACE_LOGS; i++) {
		sum.cells[i] += runs->space[1].cells[i];
		sum.runs[i] += runs->space[1].runs[i];
	}
	sum.summary_cells += runs->space[1].summary_cells;
	return sum;
}

/* Rows of SYS segments that are free, and of those that could be opened, above what commits need besides. UINT64_MAX: for all, each time. */
static uint64_t metadata_room(const struct alloc *alloc, const struct formed *formed, uint64_t floor)
{
	uint64_t rows = formed_sys(formed, floor) * (alloc->geometry.rows - 1u) + alloc_sys_free_rows(alloc);

	if (alloc->metadata_cells <= alloc->commit_metadata)
		return UINT64_MAX;
	return rows > SYS_ROWS_BASE ? rows - SYS_ROWS_BASE : 0;
}

static uint64_t deferred_row_cells(const struct alloc *alloc)
{
	uint64_t cells = 0;

	for (size_t i = 0; i < alloc->deferred.count; i++) {
		const struct deferred *entry = array_at(&alloc->deferred, struct deferred, i);
		const struct segment *segment = alloc->segments[entry->segment];
		if (entry->disk == DISK_ABSENT && !segment->busy)
			cells += (uint64_t)entry->rows * segment->record.k;
	}
	return cells;
}

uint64_t alloc_formable_cells(const struct alloc *alloc)
{
	uint32_t aus[DISKS_MAX];
	unsigned count = 0;
	uint64_t segments;

	for (unsigned i = 0; i < DISKS_MAX; i++)
		if (alloc->disks[i].configured && alloc->disks[i].usable && !alloc->disks[i].log)
			aus[count++] = alloc->disks[i].au_free + alloc->disks[i].au_trimming;
	return form_cells(&alloc->geometry, aus, count, &segments);
}

uint64_t alloc_trim_cells(const struct alloc *alloc, unsigned index, uint32_t more)
{
	uint32_t with[DISKS_MAX], without[DISKS_MAX];
	unsigned count = 0;
	uint64_t segments;

	for (unsigned i = 0; i < DISKS_MAX; i++) {
		const struct alloc_disk *disk = &alloc->disks[i];
		if (!disk->configured || !disk->usable || disk->log)
			continue;
		with[count] = disk->au_free + disk->au_trimming;
		without[count++] = disk->au_free - (i == index ? more : 0);
	}
	uint64_t all = form_cells(&alloc->geometry, with, count, &segments);
	uint64_t rest = form_cells(&alloc->geometry, without, count, &segments);
	return all > rest ? all - rest : 0;
}

/* What a compactor leaves dead: what is in segments that hardly have any, and ends of rows that are too short. */
#define LEFT_SHARE 24u
#define LEFT_SEGMENTS 12u

/* What there is room for once it has been everywhere, at least. Units of `fixed_aus` are of segments that it doesn't touch. */
static uint64_t cells_if_compacted(const struct alloc *alloc, const struct space *space, uint64_t fixed_aus)
{
	const struct geometry *geometry = &alloc->geometry;
	uint64_t per_segment = geometry->k * (geometry->rows - 1u), fixed = (fixed_aus / (geometry->k + geometry->m) + 1) * per_segment;
	uint64_t left = (space->floor_segments + LEFT_SEGMENTS) * per_segment + space->usable_cells / LEFT_SHARE;
	uint64_t taken = space->live_cells + fixed + (left > space->reserve_cells ? left : space->reserve_cells);

	return taken > space->usable_cells ? 0 : space->usable_cells - taken;
}

void alloc_space(const struct alloc *alloc, struct space *ret_space)
{
	const struct geometry *geometry = &alloc->geometry;
	uint32_t all[DISKS_MAX], available[DISKS_MAX];
	unsigned all_count = 0, available_count = 0;
	struct space space = { .live_cells = alloc->live_cells, .memory_bytes = alloc->memory };
	uint64_t least, fixed_aus = 0, coming_aus = 0;

	for (unsigned i = 0; i < DISKS_MAX; i++) {
		const struct alloc_disk *disk = &alloc->disks[i];
		if (!disk->configured || disk->log)
			continue;
		space.raw_aus += disk->au_count;
		space.deferred_aus += disk->au_deferred;
		all[all_count++] = disk->au_count;
		if (!disk->usable)
			continue;
		coming_aus += disk->au_deferred;
		available[available_count++] = disk->au_free + disk->au_trimming; /* they are back in a moment */
	}
	space.usable_cells = form_cells(geometry, all, all_count, &space.total_segments);
	struct formed formed = form_now(alloc, space.total_segments, available, available_count);
	space.free_segments = formed.segments;
	space.coming_segments = formed.segments + coming_aus / formed.width;
	space.narrow_cells = formed.narrow;
	space.segment_cells = formed.whole;
	space.plenty_segments = formed.plenty;
	space.floor_segments = floor_segments(alloc, &formed, space.total_segments, &least);
	space.copy_segments = copy_segments(alloc, space.total_segments);
	space.reserve_cells = reserve_cells(alloc, space.usable_cells, space.total_segments);
	for (uint32_t id = 0; id < alloc->segment_count; id++) {
		const struct segment *segment = alloc->segments[id];
		if (!segment || alloc_segment_is_free(segment))
			continue;
		space.segments++;
		if (segment->record.state == SEGMENT_LOG || segment->record.state == SEGMENT_SYS)
			fixed_aus += (uint64_t)segment->record.k + segment->record.m;
		space.degraded_segments += (segment->record.flags & SEGMENT_DEGRADED) != 0;
	}
	uint64_t limit = space.usable_cells - space.reserve_cells, per_segment = geometry->k * (geometry->rows - 1u);
	if (space.free_segments > space.floor_segments)
		space.whole_cells = formed_cells(&formed, space.free_segments - space.floor_segments);
	if (space.free_segments < least)
		space.missing_cells = (least - space.free_segments) * per_segment;
	uint64_t floor = space.floor_segments - space.copy_segments, copies = space.free_segments > floor ? space.free_segments - floor : 0;
	if (copies)
		space.copy_cells = formed.whole * (copies < space.copy_segments ? copies : space.copy_segments);
	space.limit_cells = limit > space.live_cells ? limit - space.live_cells : 0;
	space.rows = promised_rows(&alloc->runs);
	space.deferred_cells = deferred_row_cells(alloc);
	space.metadata_cells = alloc->metadata_cells;
	space.metadata_room = metadata_room(alloc, &formed, space.floor_segments - space.copy_segments);
	space.available_cells = space_available(&space, BLOCK_CELLS_MAX);
	space.writable_cells = cells_if_compacted(alloc, &space, fixed_aus);
	if (space.writable_cells < space.available_cells)
		space.writable_cells = space.available_cells;
	*ret_space = space;
}

uint64_t alloc_log_room(const struct alloc *alloc)
{
	uint32_t aus[DISKS_MAX];
	unsigned count = 0, copies = alloc_log_copies(alloc);

	for (unsigned i = 0; i < DISKS_MAX && alloc->log_disks; i++)
		if (alloc->disks[i].configured && alloc->disks[i].usable && alloc->disks[i].log && alloc->disks[i].au_free)
			aus[count++] = alloc->disks[i].au_free;
	return count ? form_count(aus, count, count < copies ? count : copies) : 0;
}

#define SEGMENTS_SPARE (1u << 16)
#define SEGMENTS_PER_AU 4u

uint32_t alloc_segments_bound(uint64_t aus)
{
	return aus < (SEGMENTS_MAX - SEGMENTS_SPARE) / SEGMENTS_PER_AU ? SEGMENTS_SPARE + SEGMENTS_PER_AU * (uint32_t)aus : SEGMENTS_MAX;
}

bool alloc_table_fits(const struct alloc *alloc, unsigned old, uint64_t aus)
{
	uint64_t largest[PARITY_MAX] = { 0 }, sum = 0;

	for (unsigned i = 0; i < DISKS_MAX; i++) {
		uint64_t count = i == old ? aus : alloc->disks[i].log ? 0 : alloc->disks[i].au_count;
		sum += count;
		for (unsigned n = 0; n < alloc->geometry.m; n++)
			if (count > largest[n]) {
				uint64_t smaller = largest[n];
				largest[n] = count;
				count = smaller;
			}
	}
	for (unsigned n = 0; n < PARITY_MAX; n++)
		sum -= largest[n];
	/* Half of the bound is left for what it may still grow by: one id for each AU. */
	return alloc->segment_count <= alloc_segments_bound(sum) / 2;
}
