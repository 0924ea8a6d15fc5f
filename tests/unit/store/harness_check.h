/*
 * What must hold in a world (harness.h), checked from what was placed, freed and written, not from what the
 * allocation state believes: the liveness of every row, when rows and AUs are used again, what lies on the
 * disks.
 */
#ifndef TESTS_UNIT_STORE_HARNESS_CHECK_H
#define TESTS_UNIT_STORE_HARNESS_CHECK_H

#include "checksum/crc32c.h"
#include "libpool/format/summary.h"
#include "raid/parity.h"

static inline void world_replay_check(struct world *world);

#define WORLD_CHECK(condition, ...)                                                                                 \
	do {                                                                                                        \
		if (!(condition)) {                                                                                 \
			print_error("txg %llu, seed %llu: ", (unsigned long long)world->txg,                        \
				    (unsigned long long)world->options.seed);                                       \
			print_error(__VA_ARGS__);                                                                   \
			print_error("\n");                                                                          \
			fail();                                                                                     \
		}                                                                                                   \
	} while (0)

static inline uint64_t world_hash(const void *data, size_t size)
{
	struct hash128 hash;
	uint64_t low;

	xxh3_128(data, size, &hash);
	memcpy(&low, hash.bytes, 8);
	return low;
}

/* The rows of a segment's present life; a new life must wait until all of the old one is dead long enough (I10). */
static inline struct world_row *world_rows(struct world *world, uint32_t id)
{
	struct world_segment none = {0};
	uint64_t alloc_txg = alloc_segment(world->alloc, id)->record.alloc_txg;

	while (world->segments.count <= id)
		assert_int_equal(array_push(&world->segments, &none), 0);
	struct world_segment *segment = array_at(&world->segments, struct world_segment, id);
	if (!segment->rows)
		segment->rows = sim_allocate(world->geometry.rows * sizeof(struct world_row));
	if (segment->alloc_txg != alloc_txg) {
		for (unsigned row = 0; row < world->geometry.rows; row++) {
			struct world_row *known = &segment->rows[row];
			WORLD_CHECK(known->live == 0, "segment %u is used again with live cells in row %u", id, row);
			*known = (struct world_row){0};
		}
		WORLD_CHECK(!segment->dead_sequence || segment->dead_sequence + 2 <= alloc_sequence(world->alloc),
			    "segment %u is used again too early (I10)", id);
		segment->alloc_txg = alloc_txg;
		segment->dead_sequence = 0;
	}
	return segment->rows;
}

/* The segment and column that an AU belongs to now. */
static inline bool world_find_au(struct world *world, unsigned disk, uint32_t au, uint32_t *ret_id, unsigned *ret_column)
{
	bool found = false;

	for (uint32_t id = 0; id < alloc_segment_count(world->alloc); id++) {
		const struct segment *segment = alloc_segment(world->alloc, id);
		if (!segment || segment->released || segment->record.state == SEGMENT_NONE)
			continue;
		for (unsigned c = 0; c < (unsigned)segment->record.k + segment->record.m; c++) {
			if (segment->record.columns[c].disk != disk || segment->record.columns[c].au != au)
				continue;
			WORLD_CHECK(!found, "AU %u of disk %u is in segments %u and %u", au, disk, *ret_id, id);
			*ret_id = id;
			*ret_column = c;
			found = true;
		}
	}
	return found;
}

static inline void world_check_cell_write(struct world *world, unsigned disk, uint64_t offset, const uint8_t *content)
{
	uint32_t au = (uint32_t)((offset - DATA_START) >> world->geometry.au_shift), id = 0;
	unsigned row = (unsigned)((offset - DATA_START) / CELL_SIZE % world->geometry.rows), column;
	struct world_cell *cell = &world->cells[disk][offset / CELL_SIZE];
	uint64_t hash = world_hash(content, CELL_SIZE);

	if (!world_find_au(world, disk, au, &id, &column)) {
		/* The target of a column move is written before it is a column. */
		WORLD_CHECK(bitmap_get(alloc_disk(world->alloc, disk)->au_used, au), "a write to the free AU %u of disk %u", au, disk);
		*cell = (struct world_cell){hash, world->txg};
		return;
	}
	const struct world_row *known = &world_rows(world, id)[row];
	/* A disk that was away when the row was used anew: what it had is of no account. */
	const struct batch_index *batch = alloc_batch_find(alloc_segment(world->alloc, id), row);
	bool missed = batch && cell->txg < batch->txg;
	if (known->live && cell->hash && !missed) {
		WORLD_CHECK(hash == cell->hash, "other content for the live cell (%u, %u, %u) (I14, I18)", id, column, row);
		world->heals++;
		return;
	}
	/* A heal that began while the row was live may end after it died: its pin keeps the row from being used again. */
	if (hash == cell->hash && alloc_segment(world->alloc, id)->pins) {
		world->heals++;
		return;
	}
	if (cell->txg == world->txg) {
		WORLD_CHECK(hash == cell->hash, "two contents for cell (%u, %u, %u) in one txg (I14)", id, column, row);
		return;
	}
	WORLD_CHECK(!known->dead_sequence || known->dead_sequence + 2 <= alloc_sequence(world->alloc),
		    "row %u of segment %u is used again too early (I10)", row, id);
	*cell = (struct world_cell){hash, world->txg};
}

static inline void world_check_write(struct world *world, struct sim_disk *disk, const struct disk_io *io)
{
	uint64_t offset = io->offset;

	for (unsigned i = 0; i < io->iov_count; i++)
		for (size_t at = 0; at < io->iov[i].iov_len; at += CELL_SIZE, offset += CELL_SIZE)
			if (offset >= DATA_START && offset < disk->size - LABEL_AREA_SIZE)
				world_check_cell_write(world, disk->index, offset, (const uint8_t *)io->iov[i].iov_base + at);
}

/* The map on disk is the index of batches but for what the txg in sync places. */
static inline void world_check_map(struct world *world)
{
	size_t expected = 0;

	for (uint32_t id = 0; id < alloc_segment_count(world->alloc); id++) {
		const struct segment *segment = alloc_segment(world->alloc, id);
		for (unsigned i = 0; segment && i < segment->batch_count; i++) {
			const struct batch_index *batch = &segment->batches[i];
			bool found = false;
			if (batch->txg >= world->txg)
				continue;
			expected++;
			for (size_t at = 0; at < world->map.count && !found; at++) {
				const struct world_map_entry *entry = array_at(&world->map, struct world_map_entry, at);
				found = entry->segment == id && entry->batch.base == batch->base && entry->batch.rows == batch->rows &&
					entry->batch.txg == batch->txg && entry->batch.summary_dva == batch->summary_dva;
			}
			WORLD_CHECK(found, "the map lacks batch %u+%u of segment %u", batch->base, batch->rows, id);
		}
	}
	WORLD_CHECK(world->map.count == expected, "the map has %zu batches, not %zu", world->map.count, expected);
}

/* ---- liveness ---- */

/* Cells in use by one segment: bits as in the live bitmap, and how many belong to blocks. */
struct world_use {
	uint64_t *bits;
	uint32_t block_cells;
};

static inline void world_use_pointer(struct world *world, struct world_use *uses, const struct block_pointer *pointer, bool block)
{
	struct cell_run runs[COLUMNS_MAX];
	struct dva dva = dva_unpack(pointer->dva);
	const struct segment *segment = alloc_segment(world->alloc, dva.segment);

	WORLD_CHECK(segment && dva_valid(dva, pointer->psect, segment->record.k, world->geometry.rows), "an address that isn't one");
	WORLD_CHECK(pointer->place >= segment->record.alloc_txg, "a block of an earlier life of its segment");
	struct world_use *use = &uses[dva.segment];
	if (!use->bits)
		use->bits = sim_allocate(BITMAP_WORDS(COLUMNS_MAX * world->geometry.rows) * 8);
	unsigned count = dva_runs(dva, pointer->psect, runs);
	for (unsigned i = 0; i < count; i++) {
		size_t first = (size_t)runs[i].column * world->geometry.rows + runs[i].row;
		WORLD_CHECK(bitmap_count(use->bits, first, runs[i].rows) == 0, "cells of segment %u have two owners (I1)", dva.segment);
		bitmap_set_range(use->bits, first, runs[i].rows);
		const struct batch_index *batch = alloc_batch_find(segment, runs[i].row);
		WORLD_CHECK(batch && batch->txg == pointer->place, "row %u of segment %u isn't in the batch of its txg (I2)",
			    runs[i].row, dva.segment);
	}
	use->block_cells += block ? pointer->psect : 0;
}

static inline struct world_use *world_uses(struct world *world)
{
	uint32_t count = alloc_segment_count(world->alloc);
	struct world_use *uses = sim_allocate((count + 1) * sizeof(*uses));

	for (size_t i = 0; i < world->blocks.count; i++)
		if (!world_block(world, i)->freed)
			world_use_pointer(world, uses, &world_block(world, i)->pointer, true);
	for (size_t i = 0; i < world->logs.count; i++)
		if (!array_at(&world->logs, struct world_log, i)->dead)
			world_use_pointer(world, uses, &array_at(&world->logs, struct world_log, i)->pointer, true);
	world_use_pointer(world, uses, &world->commit_pointer, true);
	for (uint32_t id = 0; id < count; id++) {
		const struct segment *segment = alloc_segment(world->alloc, id);
		for (unsigned i = 0; segment && i < segment->batch_count; i++) {
			const struct batch_index *batch = &segment->batches[i];
			struct dva dva = dva_unpack(batch->summary_dva);
			unsigned row = dva.base + dva.offset % dva.height;
			struct block_pointer pointer;
			alloc_summary_pointer(batch, &pointer);
			if (row >= batch->base && row < (unsigned)batch->base + batch->rows)
				world_use_pointer(world, uses, &pointer, false);
		}
	}
	return uses;
}

/* Rows that died with this commit are noted with its number. */
static inline void world_note_rows(struct world *world, uint32_t id, const struct world_use *use)
{
	unsigned k = alloc_segment(world->alloc, id)->record.k, rows = world->geometry.rows;
	struct world_row *known = world_rows(world, id);
	struct world_segment *segment = array_at(&world->segments, struct world_segment, id);

	/* The summaries of a segment die after its blocks, and nobody needs them then. */
	if (segment->block_cells && !use->block_cells)
		segment->dead_sequence = alloc_sequence(world->alloc);
	segment->block_cells = use->block_cells;
	for (unsigned row = 0; row < rows; row++) {
		uint32_t live = 0;
		for (unsigned c = 0; use->bits && c < k; c++)
			live += bitmap_get(use->bits, (size_t)c * rows + row);
		if (known[row].live && !live)
			known[row].dead_sequence = alloc_sequence(world->alloc);
		known[row].live = live;
	}
}

static inline void world_check_live(struct world *world)
{
	struct world_use *uses = world_uses(world);

	for (uint32_t id = 0; id < alloc_segment_count(world->alloc); id++) {
		const struct segment *segment = alloc_segment(world->alloc, id);
		const struct world_use *use = &uses[id];
		if (!segment || segment->record.state == SEGMENT_NONE) {
			WORLD_CHECK(!use->bits, "segment %u has blocks and isn't one", id);
			continue;
		}
		WORLD_CHECK(segment->live == use->block_cells, "segment %u has %u live cells, not %u", id, segment->live, use->block_cells);
		size_t bits = (size_t)segment->record.k * world->geometry.rows;
		for (size_t bit = 0; bit < bits; bit++) {
			bool live = segment->bits && bitmap_get(segment->bits, bit);
			WORLD_CHECK(live == (use->bits && bitmap_get(use->bits, bit)), "live bit of (%u, %zu, %zu) is %d (I1)", id,
				    bit / world->geometry.rows, bit % world->geometry.rows, live);
		}
		world_note_rows(world, id, use);
		free(use->bits);
	}
	free(uses);
}

/* ---- segments ---- */

static inline void world_check_columns(struct world *world)
{
	size_t claimed[DISKS_MAX] = {0};

	for (uint32_t id = 0; id < alloc_segment_count(world->alloc); id++) {
		const struct segment *segment = alloc_segment(world->alloc, id);
		if (!segment || segment->released || segment->record.state == SEGMENT_NONE)
			continue;
		for (unsigned c = 0; c < (unsigned)segment->record.k + segment->record.m; c++) {
			struct segment_column column = segment->record.columns[c];
			uint32_t owner = 0;
			unsigned owner_column = 0;
			if (column.disk == DISK_ABSENT)
				continue;
			for (unsigned other = 0; other < c; other++)
				WORLD_CHECK(segment->record.columns[other].disk != column.disk ||
						    (world->options.m == 0 && segment->record.k == 1),
					    "segment %u has two columns on disk %u (I7)", id, column.disk);
			WORLD_CHECK(world_find_au(world, column.disk, column.au, &owner, &owner_column) && owner == id,
				    "AU %u of disk %u isn't segment %u's alone (I7)", column.au, column.disk, id);
			WORLD_CHECK(bitmap_get(alloc_disk(world->alloc, column.disk)->au_used, column.au), "a used AU counts as free");
			claimed[column.disk]++;
		}
	}
	for (unsigned i = 0; i < world->options.disks; i++) {
		const struct alloc_disk *disk = alloc_disk(world->alloc, i);
		if (!disk)
			continue; /* it left the pool */
		size_t used = bitmap_count(disk->au_used, 0, disk->au_count);
		WORLD_CHECK(used + disk->au_free == disk->au_count, "disk %u: %u free AUs, %zu used", i, disk->au_free, used);
		WORLD_CHECK(used == claimed[i] + disk->au_deferred || (world->moving && used > claimed[i] + disk->au_deferred), "disk %u: %zu AUs used, %zu of segments, %u deferred", i, used,
			    claimed[i], disk->au_deferred);
	}
}

/* ---- what lies on the disks ---- */

/* Whether what lies in the cell has to be right. */
static inline bool world_cell_counts(struct world *world, const struct segment *segment, unsigned column, unsigned row, uint64_t place)
{
	uint16_t index = segment->record.columns[column].disk;

	if (index == DISK_ABSENT)
		return false;
	const struct store_disk *disk = store_disk(world->store, index);
	return disk->disk && !(disk->stale_from && place >= disk->stale_from) &&
	       !alloc_is_stale(world->alloc, segment->id, column, row, place);
}

static inline void world_peek(struct world *world, uint32_t id, unsigned column, unsigned row, uint8_t *ret_cell)
{
	unsigned disk;
	uint64_t offset = world_cell_offset(world, id, column, row, &disk);

	sim_disk_peek(world_disk(world, disk), offset, ret_cell, CELL_SIZE);
}

/* The summary of a batch, from data columns only; false if one of them doesn't count. */
static inline bool world_peek_summary(struct world *world, const struct segment *segment, const struct batch_index *batch,
				      struct summary *ret_summary)
{
	struct cell_run runs[COLUMNS_MAX];
	struct block_pointer pointer;
	uint8_t checksum[24];
	size_t at = 0;

	alloc_summary_pointer(batch, &pointer);
	uint8_t *payload = sim_allocate((size_t)pointer.psect * CELL_SIZE);
	unsigned count = dva_runs(dva_unpack(pointer.dva), pointer.psect, runs);
	bool counts = true;
	for (unsigned i = 0; i < count; i++)
		for (unsigned r = 0; r < runs[i].rows; r++, at += CELL_SIZE) {
			counts = counts && world_cell_counts(world, segment, runs[i].column, runs[i].row + r, pointer.place);
			if (counts)
				world_peek(world, segment->id, runs[i].column, runs[i].row + r, payload + at);
		}
	if (counts) {
		store_checksum(CHECKSUM_XXH3_128, payload, at, checksum);
		WORLD_CHECK(memcmp(checksum, pointer.checksum, 24) == 0, "the summary of segment %u, row %u has another checksum (I3)",
			    segment->id, batch->base);
		WORLD_CHECK(summary_decode(payload, at, world->geometry.rows, ret_summary) == 0, "a summary doesn't decode");
		WORLD_CHECK(ret_summary->segment == segment->id && ret_summary->txg == batch->txg && ret_summary->k == segment->record.k &&
				    ret_summary->m == segment->record.m && ret_summary->class == segment->record.class,
			    "a summary of something else");
	}
	free(payload);
	return counts;
}

static inline void world_check_row(struct world *world, const struct segment *segment, const struct batch_index *batch, unsigned row,
				   const struct summary *summary)
{
	unsigned k = segment->record.k, m = segment->record.m;
	uint8_t *cells = aligned_alloc(CELL_SIZE, (size_t)(k + m) * CELL_SIZE);
	const void *columns[COLUMNS_MAX];
	bool all = true;

	for (unsigned c = 0; c < k + m; c++) {
		columns[c] = cells + (size_t)c * CELL_SIZE;
		if (!world_cell_counts(world, segment, c, row, batch->txg)) {
			all = false;
			continue;
		}
		world_peek(world, segment->id, c, row, cells + (size_t)c * CELL_SIZE);
		int64_t index = summary ? summary_cell_index(summary, row, c) : -1;
		WORLD_CHECK(!summary || index >= 0, "row %u of segment %u isn't in its summary", row, segment->id);
		if (index < 0 || summary->nocrc[index / 8] >> index % 8 & 1)
			continue;
		uint32_t seed = crc32c_cell_seed(segment->id, (uint16_t)c, (uint16_t)row);
		WORLD_CHECK(crc32c(seed, columns[c], CELL_SIZE) == summary->crc[index], "cell (%u, %u, %u) has another CRC (I3)",
			    segment->id, c, row);
	}
	WORLD_CHECK(!all || raid_verify(k, m, CELL_SIZE, columns), "row %u of segment %u has another parity (I4)", row, segment->id);
	free(cells);
}

/* A summary names every live block of its batch. */
static inline void world_check_names(struct world *world, uint32_t id, uint64_t txg, const struct summary *summary)
{
	for (size_t i = 0; i < world->blocks.count; i++) {
		const struct world_block *block = world_block(world, i);
		struct dva dva = dva_unpack(block->pointer.dva);
		unsigned column = dva.offset / dva.height, row = dva.base + dva.offset % dva.height;
		bool found = false;
		if (dva.segment != id || block->pointer.place != txg || summary_cell_index(summary, row, 0) < 0)
			continue;
		for (uint32_t b = 0; b < summary->block_count && !found; b++) {
			const struct summary_block *entry = &summary->blocks[b];
			found = entry->column == column && entry->row == row && entry->psect == block->pointer.psect &&
				entry->type == block->pointer.type && entry->object == block->seed && entry->objset == 1 && entry->block == 7;
		}
		WORLD_CHECK(found, "the summary of segment %u lacks the block at (%u, %u)", id, column, row);
	}
}

/* Batches of txgs from `first` on, as they lie on the disks: CRCs, parity, names. */
static inline void world_check_disks(struct world *world, uint64_t first)
{
	for (uint32_t id = 0; id < alloc_segment_count(world->alloc); id++) {
		const struct segment *segment = alloc_segment(world->alloc, id);
		for (unsigned i = 0; segment && i < segment->batch_count; i++) {
			const struct batch_index *batch = &segment->batches[i];
			struct summary summary = {0};
			if (batch->txg < first)
				continue;
			bool known = world_peek_summary(world, segment, batch, &summary);
			for (unsigned row = batch->base; row < (unsigned)batch->base + batch->rows; row++)
				world_check_row(world, segment, batch, row, known ? &summary : NULL);
			if (known)
				world_check_names(world, id, batch->txg, &summary);
			summary_release(&summary);
		}
	}
}

static inline void world_check_commit(struct world *world)
{
	world_check_live(world);
	world_check_columns(world);
	world_check_disks(world, world->txg);
	world_replay_check(world);
}

#endif
