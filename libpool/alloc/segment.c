/*
 * Opening segments: which disks get the columns of a new one, and the rows it hands out. Disks with most free
 * AUs come first, so that disks of all sizes fill at the same time. Among those that have about as many it varies from
 * segment to segment which belong together, so that every disk shares segments with every other and all of them
 * take part in a rebuild. Columns are rotated by the id, so that parity visits all disks.
 */
#include "libpool/alloc/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "checksum/xxh3.h"
#include "libpool/base/check.h"

struct candidate {
	uint16_t disk;
	uint32_t au_free;
	uint64_t lot; /* decides among equals */
};

static int compare_candidates(const void *a, const void *b)
{
	const struct candidate *x = a, *y = b;

	if (x->au_free != y->au_free)
		return x->au_free > y->au_free ? -1 : 1;
	return x->disk < y->disk ? -1 : x->disk > y->disk;
}

static bool class_is_mirrored(const struct geometry *geometry, enum segment_class class)
{
	return class == CLASS_SYS || class == CLASS_LOG || (class == CLASS_META && geometry->m == 0);
}

/* Usable disks with a free AU, most free first: log disks, or all others. */
static unsigned candidates_find(const struct alloc *alloc, bool log, struct candidate *ret)
{
	unsigned count = 0;

	for (uint16_t i = 0; i < DISKS_MAX; i++) {
		const struct alloc_disk *disk = &alloc->disks[i];
		if (disk->configured && disk->usable && disk->au_free && disk->log == log)
			ret[count++] = (struct candidate){ .disk = i, .au_free = disk->au_free };
	}
	qsort(ret, count, sizeof(*ret), compare_candidates);
	return count;
}

static int compare_lots(const void *a, const void *b)
{
	const struct candidate *x = a, *y = b;

	if (x->lot != y->lot)
		return x->lot < y->lot ? -1 : 1;
	return x->disk < y->disk ? -1 : x->disk > y->disk;
}

/* Shuffles those that have within 1 % as many free AUs as the last that is needed. Nothing but a choice depends on it. */
static void candidates_shuffle(const struct alloc *alloc, struct candidate *candidates, unsigned count, unsigned width)
{
	uint32_t last = candidates[width - 1].au_free, slack = last / 100;
	unsigned first = 0, end = width;

	while (candidates[first].au_free > last + slack)
		first++;
	while (end < count && candidates[end].au_free + slack >= last)
		end++;
	for (unsigned i = first; i < end; i++) {
		uint64_t seed[3] = { alloc->txg, alloc->segment_count + alloc->free_ids.count, candidates[i].disk };
		struct hash128 hash;
		xxh3_128(seed, sizeof(seed), &hash);
		memcpy(&candidates[i].lot, hash.bytes, sizeof(candidates[i].lot));
	}
	qsort(&candidates[first], end - first, sizeof(*candidates), compare_lots);
}

/*
 * An id that was never used, or whose AUs have been released for two commits. SYS takes only new ones: its record comes from
 * the sysmap, without the txg of its birth, so an import couldn't tell log records of an earlier life from its own.
 */
static int64_t id_take(struct alloc *alloc, enum segment_class class)
{
	if (alloc->free_ids.count && class != CLASS_SYS)
		return *array_at(&alloc->free_ids, uint32_t, --alloc->free_ids.count);
	return alloc->segment_count < SEGMENTS_MAX ? (int64_t)alloc->segment_count : -ENOSPC;
}

/* The second copy on the only disk: far from the first, in the other half when that has room. */
static int64_t far_au_reserve(struct alloc *alloc, unsigned index)
{
	struct alloc_disk *disk = &alloc->disks[index];
	size_t au = bitmap_next_clear(disk->au_used, disk->au_count / 2, disk->au_count);

	if (au == BITMAP_NONE)
		return alloc_au_reserve(alloc, index);
	bitmap_set(disk->au_used, au);
	disk->au_free--;
	return (int64_t)au;
}

static unsigned disks_away(const struct alloc *alloc)
{
	unsigned count = 0;

	for (unsigned i = 0; i < DISKS_MAX; i++)
		count += alloc->disks[i].configured && !alloc->disks[i].log && !alloc->disks[i].usable;
	return count;
}

/*
 * With fewer disks than columns: as narrow as it takes for all of its parity. While segments are scarce, or what was promised has no room in such, all data
 * columns are kept, and columns are absent for disks that are; not for those that are full. Copies needn't be made where full redundancy is asked for.
 */
static bool is_narrow(const struct alloc *alloc, enum segment_class class, unsigned count)
{
	unsigned k = alloc->geometry.k, width = k + alloc->geometry.m;

	if (count < k || count + disks_away(alloc) < width || (class == CLASS_SURV && !alloc_may_lack(alloc, count)))
		return true;
	return !(alloc_may_lack(alloc, count) && alloc_is_tight(alloc)) && alloc_promises_fit(alloc);
}

static int segment_open(struct alloc *alloc, enum segment_class class, bool on_log_disks, uint32_t *ret_id)
{
	const struct geometry *geometry = &alloc->geometry;
	bool mirrored = class_is_mirrored(geometry, class);
	unsigned k = mirrored ? 1 : geometry->k;
	unsigned m = geometry->m ? geometry->m : mirrored;
	struct candidate candidates[DISKS_MAX];
	unsigned count = candidates_find(alloc, on_log_disks, candidates);
	bool one_disk_mirror = geometry->m == 0 && mirrored && count == 1 && !on_log_disks;

	if (on_log_disks && count <= m)
		m = count ? count - 1 : 0;
	if (count == 0 || (one_disk_mirror && candidates[0].au_free < 2))
		return -ENOSPC;
	if (count < k + m && !one_disk_mirror && (mirrored || is_narrow(alloc, class, count)))
		k = count > m ? count - m : 1;
	if (class == CLASS_SYS && alloc->sys_ids.count == SYSMAP_SEGMENTS_MAX)
		return -ENOSPC;
	int64_t id = id_take(alloc, class);
	if (id < 0)
		return (int)id;
	struct segment *segment = alloc_segment_make(alloc, (uint32_t)id);
	if (!segment)
		return -ENOMEM;
	if (mirrored && class == CLASS_SYS && !segment->busy) {
		segment->busy = calloc(BITMAP_WORDS(geometry->rows), 8);
		if (!segment->busy)
			return -ENOMEM;
		alloc->memory += BITMAP_WORDS(geometry->rows) * 8;
	}
	POOL_CHECK(alloc_segment_is_free(segment));
	alloc_segment_drop_content(alloc, (uint32_t)id, segment);

	struct segment_record *record = &segment->record;
	record->state = class == CLASS_SYS ? SEGMENT_SYS : class == CLASS_LOG ? SEGMENT_LOG : SEGMENT_OPEN;
	record->class = (uint8_t)class;
	record->k = (uint8_t)k;
	record->m = (uint8_t)m;
	record->rows_used = 1;
	record->flags = 0;
	record->alloc_txg = alloc->txg;
	record->evac_txg = 0;
	segment->released = false;
	for (unsigned c = 0; c < COLUMNS_MAX; c++)
		record->columns[c] = (struct segment_column){ .disk = DISK_ABSENT };
	if (one_disk_mirror) {
		unsigned disk = candidates[0].disk;
		record->columns[0] = (struct segment_column){ (uint16_t)disk, (uint32_t)alloc_au_reserve(alloc, disk) };
		record->columns[1] = (struct segment_column){ (uint16_t)disk, (uint32_t)far_au_reserve(alloc, disk) };
	} else {
		unsigned width = k + m < count ? k + m : count;
		candidates_shuffle(alloc, candidates, count, width);
		for (unsigned i = 0; i < width; i++) {
			uint16_t disk = candidates[i].disk;
			unsigned column = (unsigned)((i + (uint64_t)id) % width);
			record->columns[column] = (struct segment_column){ disk, (uint32_t)alloc_au_reserve(alloc, disk) };
		}
		if (width < k + m)
			record->flags |= SEGMENT_DEGRADED;
	}
	if (class == CLASS_SYS && alloc_sys_register(alloc, (uint32_t)id) < 0)
		return -ENOMEM;
	if (class == CLASS_SURV)
		alloc->copy_segments_cells += k * (geometry->rows - 1u);
	alloc_segment_touch(alloc, segment);
	*ret_id = (uint32_t)id;
	return 0;
}

int alloc_segment_open(struct alloc *alloc, enum segment_class class, uint32_t *ret_id)
{
	return segment_open(alloc, class, false, ret_id);
}

int alloc_log_open(struct alloc *alloc, uint32_t *ret_id)
{
	return segment_open(alloc, CLASS_LOG, true, ret_id);
}

unsigned alloc_log_disks(const struct alloc *alloc)
{
	return alloc->log_disks;
}

unsigned alloc_log_copies(const struct alloc *alloc)
{
	return alloc->geometry.m ? alloc->geometry.m + 1u : 2;
}

void alloc_segment_close(struct alloc *alloc, uint32_t id)
{
	struct segment *segment = alloc->segments[id];

	if (segment->record.state != SEGMENT_OPEN)
		return;
	segment->record.state = SEGMENT_FULL;
	segment->record.flags &= (uint16_t)~SEGMENT_AHEAD;
	alloc_segment_touch(alloc, segment);
}

void alloc_log_release(struct alloc *alloc, uint32_t id)
{
	struct segment *segment = alloc->segments[id];

	POOL_CHECK(segment->record.state == SEGMENT_LOG && alloc->txg != 0);
	segment->record.state = SEGMENT_FULL;
	alloc_segment_touch(alloc, segment);
}

uint16_t alloc_rows_take(struct alloc *alloc, uint32_t id, unsigned rows)
{
	struct segment *segment = alloc->segments[id];
	uint16_t base = segment->record.rows_used;

	/* A batch that had begun goes on under a pin: these rows are nobody's yet. New batches go elsewhere (pack.c). */
	POOL_CHECK(segment->record.state == SEGMENT_OPEN);
	POOL_CHECK(base + rows <= alloc->geometry.rows);
	segment->record.rows_used = (uint16_t)(base + rows);
	segment->placed_in_txg = true;
	alloc_segment_touch(alloc, segment);
	return base;
}

int alloc_segment_need_bits(struct alloc *alloc, struct segment *segment)
{
	if (segment->bits)
		return 0;
	size_t words = BITMAP_WORDS(segment_bits(alloc, segment));
	segment->bits = calloc(words, 8);
	if (!segment->bits)
		return -ENOMEM;
	segment->bits_k = segment->record.k;
	alloc->memory += words * 8;
	return 0;
}

void alloc_segment_drop_content(struct alloc *alloc, uint32_t id, struct segment *segment)
{
	alloc_batches_drop(alloc, id);
	alloc_rows_drop(alloc, segment);
	alloc_victim_unlist(alloc, segment);
	if (segment->bits)
		alloc->memory -= BITMAP_WORDS((size_t)segment->bits_k * alloc->geometry.rows) * 8;
	free(segment->bits);
	free(segment->freeing);
	segment->bits = segment->freeing = NULL;
	segment->live = 0;
	segment->emptied = false;
	alloc->metadata_rows -= segment->metadata_rows;
	segment->metadata_rows = 0;
}

size_t alloc_bits_set(struct alloc *alloc, struct segment *segment, unsigned column, unsigned row, unsigned rows)
{
	size_t first = cell_bit(alloc, column, row);
	size_t before = bitmap_count(segment->bits, first, rows);

	bitmap_set_range(segment->bits, first, rows);
	return rows - before;
}

size_t alloc_bits_clear(struct alloc *alloc, struct segment *segment, unsigned column, unsigned row, unsigned rows)
{
	size_t first = cell_bit(alloc, column, row);
	size_t before = segment->bits ? bitmap_count(segment->bits, first, rows) : 0;

	if (segment->bits)
		bitmap_clear_range(segment->bits, first, rows);
	return before;
}

int alloc_apply_batch(struct alloc *alloc, uint32_t id, const struct summary_range *ranges, unsigned range_count,
		      const struct cell_extent *unused, size_t unused_count)
{
	struct segment *segment = alloc->segments[id];

	if (alloc_segment_need_bits(alloc, segment) < 0)
		return -ENOMEM;
	for (unsigned i = 0; i < range_count; i++)
		for (unsigned c = 0; c < segment->record.k; c++)
			alloc_bits_set(alloc, segment, c, ranges[i].base, ranges[i].rows);
	for (size_t i = 0; i < unused_count; i++)
		alloc_bits_clear(alloc, segment, unused[i].column, unused[i].row, unused[i].rows);
	return 0;
}
