/*
 * See watch.h. After each commit the rows with a live cell are noted, for each simulated disk one bit per cell, and of
 * each cell a hash of what was last written there on purpose. Disks that faults may have hit are not compared: they
 * may rightly be given what they missed.
 *
 * Rows of blocks beside the intent log are needed before any commit has them. What log blocks name is noted as they are written, and
 * counts once a later one says that they were durable, through crashes and imports, until an uberblock is written that contains the
 * change or gives the log up.
 */
#include "tests/sim/watch.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "checksum/xxh3.h"
#include "libpool/base/bitmap.h"
#include "libpool/format/dva.h"
#include "libpool/format/intent_log.h"

#define KEPT 3u /* commits */
#define DISKS 32u

struct live_rows {
	uint64_t txg, sequence;
	uint64_t *cells[DISKS]; /* by simulated disk */
	uint64_t *aus[DISKS];   /* the same: AUs of segments that hold something */
	uint64_t *log[DISKS];   /* and of the log */
};

/* Rows of one block that the log names. */
struct named_rows {
	uint64_t generation, sequence, txg;
	bool durable;
	unsigned count;
	struct {
		unsigned disk;
		uint64_t first, cells;
	} runs[COLUMNS_MAX * COLUMNS_MAX];
};

#define NAMED_MAX 4096u

struct watch {
	struct named_rows *named;
	unsigned named_count;
	struct live_rows commits[KEPT]; /* newest first */
	uint64_t *hashes[DISKS];        /* 0: unknown */
	const struct core *core;
	unsigned au_shift;
};

static struct watch watch;

/* The import epoch that wrote each txg's uberblock: a number is never used twice (I22). */
#define TXGS 65536u
static uint64_t epochs[TXGS];

/* ---- what the log names ---- */

struct naming {
	struct world *world;
	const struct intent_block *block;
};

static void name_rows(struct naming *naming, const struct intent_record *record, const struct block_pointer *pointer)
{
	struct dva dva = dva_unpack(pointer->dva);
	const struct segment *segment = alloc_segment(core_alloc(naming->world->core), dva.segment);
	struct cell_run runs[COLUMNS_MAX];
	unsigned count = dva_runs(dva, pointer->psect, runs);
	struct named_rows *named = &watch.named[watch.named_count++];

	*named = (struct named_rows){.generation = naming->block->generation, .sequence = naming->block->sequence, .txg = record->txg};
	for (unsigned column = 0; column < (unsigned)segment->record.k + segment->record.m; column++) {
		struct segment_column where = segment->record.columns[column];
		struct sim_disk *disk = where.disk == DISK_ABSENT ? NULL : world_disk(naming->world, where.disk);

		for (unsigned r = 0; disk && r < count; r++) {
			named->runs[named->count].disk = disk->index;
			named->runs[named->count].first =
				(DATA_START + ((uint64_t)where.au << alloc_geometry(core_alloc(naming->world->core))->au_shift)) / SIM_CELL + runs[r].row;
			named->runs[named->count++].cells = runs[r].rows;
		}
	}
}

static int note_record(void *argument, const struct intent_record *record)
{
	struct naming *naming = argument;
	struct block_pointer pointer;

	if (record->type == INTENT_PLACED && watch.named_count < NAMED_MAX && block_pointer_decode(&record->pointer, &pointer) == 0)
		name_rows(naming, record, &pointer);
	return 0;
}

/* One copy of a block of the log, if it is one. */
static void note_log_block(struct world *world, const uint8_t *raw, size_t size)
{
	struct intent_block block;
	struct naming naming = {world, &block};

	if (memcmp(raw, "poolILOG", 8) != 0 || intent_block_decode(raw, size, &core_label(world->core)->pool, &block) < 0)
		return;
	for (unsigned i = 0; i < watch.named_count; i++) {
		struct named_rows *named = &watch.named[i];

		if (named->generation != block.generation)
			continue;
		named->durable |= named->sequence <= block.acknowledged;
		if (named->sequence == block.sequence)
			return; /* another copy */
	}
	(void)intent_records_each(raw, &block, note_record, &naming);
}

/* An uberblock on its way: what it contains, and what is in another log than its own, isn't the log's business any more. */
static void forget_named(const uint8_t *raw)
{
	uint64_t generation, base;
	unsigned kept = 0;

	memcpy(&generation, raw + 296, 8);
	memcpy(&base, raw + 312, 8);
	for (unsigned i = 0; i < watch.named_count; i++)
		if (watch.named[i].generation == generation && watch.named[i].txg > base)
			watch.named[kept++] = watch.named[i];
	watch.named_count = kept;
}

static void check_named(struct world *world, const struct sim_disk *disk, uint64_t cell, uint64_t hash)
{
	uint64_t before = watch.hashes[disk->index][cell];

	if (world->suspects >> disk->index & 1 || !before || hash == before || world->missing_log)
		return;
	for (unsigned i = 0; i < watch.named_count; i++)
		for (unsigned r = 0; watch.named[i].durable && r < watch.named[i].count; r++)
			if (watch.named[i].runs[r].disk == disk->index && cell - watch.named[i].runs[r].first < watch.named[i].runs[r].cells)
				world_fail(world, "%s cell %" PRIu64 " is given other content, and the log needs it: block %" PRIu64 ", txg %" PRIu64,
					   disk->path, cell, watch.named[i].sequence, watch.named[i].txg);
}

/* ---- what commits need ---- */

static void check_uberblock(struct world *world, const uint8_t *raw)
{
	uint64_t txg, epoch;

	memcpy(&txg, raw + 32, 8);
	memcpy(&epoch, raw + 48, 8);
	if (txg >= TXGS)
		return;
	if (epochs[txg] && epochs[txg] != epoch)
		world_fail(world, "txg %" PRIu64 " is committed by two imports", txg);
	epochs[txg] = epoch;
}

static void forget(struct live_rows *rows)
{
	for (unsigned i = 0; i < DISKS; i++)
		free(rows->cells[i]), free(rows->aus[i]), free(rows->log[i]);
	*rows = (struct live_rows){0};
}

static uint64_t cells_of(const struct sim_disk *disk)
{
	return disk->size / SIM_CELL;
}

#define ROWS_MAX 16384u

/* Whether a batch has a live cell beside its summary, in any of its ranges. `bits` are without those of summaries. */
static bool batch_is_live(const struct segment *segment, const struct batch_index *batch, const uint64_t *bits, unsigned rows_per_au)
{
	for (unsigned i = 0; i < segment->batch_count; i++) {
		const struct batch_index *part = &segment->batches[i];

		for (unsigned column = 0; part->summary_dva == batch->summary_dva && column < segment->bits_k; column++) {
			if (bitmap_count(bits, (size_t)column * rows_per_au + part->base, part->rows))
				return true;
		}
	}
	return false;
}

/* Rows with a live cell. A summary of nothing is not needed by anybody, though its bit goes one txg later. */
static void find_live(const struct segment *segment, unsigned rows_per_au, uint64_t *ret_live)
{
	size_t words = BITMAP_WORDS((size_t)segment->bits_k * rows_per_au), row_words = rows_per_au / 64;
	uint64_t *bits = sim_allocate(words * 8);
	struct cell_run runs[COLUMNS_MAX];

	memcpy(bits, segment->bits, words * 8);
	for (unsigned i = 0; i < segment->batch_count; i++) {
		const struct batch_index *batch = &segment->batches[i];
		unsigned count = dva_runs(dva_unpack(batch->summary_dva), batch->summary_cells, runs);

		for (unsigned r = 0; r < count; r++)
			bitmap_clear_range(bits, (size_t)runs[r].column * rows_per_au + runs[r].row, runs[r].rows);
	}
	memset(ret_live, 0, row_words * 8);
	for (size_t word = 0; word < segment->bits_k * row_words; word++)
		ret_live[word % row_words] |= bits[word];
	for (unsigned i = 0; i < segment->batch_count; i++) {
		const struct batch_index *batch = &segment->batches[i];
		unsigned count = dva_runs(dva_unpack(batch->summary_dva), batch->summary_cells, runs);

		for (unsigned r = 0; r < count && batch_is_live(segment, batch, bits, rows_per_au); r++)
			bitmap_set_range(ret_live, runs[r].row, runs[r].rows);
	}
	free(bits);
}

/* Whether any row of the AU was needed by a commit; `first` is the AU's first cell. */
static bool au_is_noted(const struct live_rows *rows, const struct sim_disk *disk, uint64_t first, unsigned rows_per_au)
{
	return rows->cells[disk->index] && bitmap_count(rows->cells[disk->index], first, rows_per_au) > 0;
}

static void note_segment(struct world *world, struct live_rows *rows, const struct segment *segment, unsigned rows_per_au)
{
	uint64_t live[ROWS_MAX / 64];

	find_live(segment, rows_per_au, live);
	for (unsigned column = 0; column < (unsigned)segment->record.k + segment->record.m; column++) {
		struct segment_column where = segment->record.columns[column];
		struct sim_disk *disk = where.disk == DISK_ABSENT ? NULL : world_disk(world, where.disk);

		if (!disk || disk->index >= DISKS)
			continue;
		if (!rows->cells[disk->index])
			rows->cells[disk->index] = sim_allocate(BITMAP_WORDS(cells_of(disk)) * 8);
		uint64_t first = (DATA_START + ((uint64_t)where.au << watch.au_shift)) / SIM_CELL;

		/* A commit is noted at the first write after it. A column that moved meanwhile is in no commit yet. */
		if (segment->record_dirty && segment->record.alloc_txg < rows->txg && !au_is_noted(rows + 1, disk, first, rows_per_au))
			continue;
		for (unsigned word = 0; word < rows_per_au / 64; word++)
			rows->cells[disk->index][first / 64 + word] |= live[word];
	}
}

static void note_unit(struct world *world, uint64_t **aus, struct segment_column where)
{
	struct sim_disk *disk = where.disk == DISK_ABSENT ? NULL : world_disk(world, where.disk);

	if (!disk || disk->index >= DISKS)
		return;
	if (!aus[disk->index])
		aus[disk->index] = sim_allocate(BITMAP_WORDS(disk->size >> AU_SHIFT_MIN) * 8);
	bitmap_set(aus[disk->index], where.au);
}

static bool unit_is_noted(struct world *world, uint64_t **aus, struct segment_column where)
{
	struct sim_disk *disk = where.disk == DISK_ABSENT ? NULL : world_disk(world, where.disk);

	return disk && disk->index < DISKS && aus[disk->index] && bitmap_get(aus[disk->index], where.au);
}

/* What a commit needs as a whole: headers too. An OPEN segment without anything live isn't needed: who goes back gives up the log. */
static void note_units(struct world *world, struct live_rows *rows, const struct segment *segment)
{
	bool log = segment->record.state == SEGMENT_LOG;

	if (segment->record.alloc_txg > rows->txg || (!log && segment->record.state != SEGMENT_SYS && !segment->live))
		return;
	for (unsigned column = 0; column < (unsigned)segment->record.k + segment->record.m; column++) {
		struct segment_column where = segment->record.columns[column];

		/* As in note_segment. */
		if (!log && segment->record_dirty && segment->record.alloc_txg < rows->txg && !unit_is_noted(world, rows[1].aus, where))
			continue;
		note_unit(world, log ? rows->log : rows->aus, where);
	}
}

static void note_commit(struct world *world)
{
	struct alloc *alloc = core_alloc(world->core);
	const struct geometry *geometry = alloc_geometry(alloc);
	uint64_t txg = core_committed_txg(world->core);

	if (watch.core == world->core && watch.commits[0].txg == txg)
		return;
	/* What an import went back behind never was. */
	while (watch.commits[0].txg >= txg && watch.commits[0].txg) {
		forget(&watch.commits[0]);
		memmove(&watch.commits[0], &watch.commits[1], (KEPT - 1) * sizeof(watch.commits[0]));
		watch.commits[KEPT - 1] = (struct live_rows){0};
	}
	forget(&watch.commits[KEPT - 1]);
	memmove(&watch.commits[1], &watch.commits[0], (KEPT - 1) * sizeof(watch.commits[0]));
	watch.commits[0] = (struct live_rows){.txg = txg, .sequence = alloc_sequence(alloc)};
	watch.core = world->core;
	watch.au_shift = geometry->au_shift;
	for (uint32_t id = 0; id < alloc_segment_count(alloc); id++) {
		const struct segment *segment = alloc_segment(alloc, id);

		if (segment && segment->bits && segment->live)
			note_segment(world, &watch.commits[0], segment, geometry->rows);
		if (segment && !alloc_segment_is_free(segment))
			note_units(world, &watch.commits[0], segment);
	}
}

static uint64_t hash_cell(const uint8_t *cell)
{
	struct hash128 hash128;
	uint64_t hash;

	xxh3_128(cell, SIM_CELL, &hash128);
	memcpy(&hash, hash128.bytes, sizeof(hash));
	return hash ? hash : 1;
}

/* Whose AU it is now. */
static void describe_owner(struct world *world, const struct sim_disk *disk, uint64_t au, char *text, size_t size)
{
	struct alloc *alloc = core_alloc(world->core);

	snprintf(text, size, "nobody's");
	for (uint32_t id = 0; id < alloc_segment_count(alloc); id++) {
		const struct segment *segment = alloc_segment(alloc, id);

		for (unsigned column = 0; segment && column < (unsigned)segment->record.k + segment->record.m; column++) {
			struct segment_column where = segment->record.columns[column];

			if (where.disk != DISK_ABSENT && where.au == au && world_disk(world, where.disk) == disk)
				snprintf(text, size, "column %u of segment %u, class %u, state %u, since txg %" PRIu64, column, id,
					 segment->record.class, segment->record.state, segment->record.alloc_txg);
		}
	}
}

static void check_cell(struct world *world, const struct sim_disk *disk, uint64_t cell, uint64_t hash)
{
	uint64_t in_au = (cell * SIM_CELL - DATA_START) & ((UINT64_C(1) << watch.au_shift) - 1);
	uint64_t before = watch.hashes[disk->index][cell];

	if (in_au < SIM_CELL || world->suspects >> disk->index & 1 || (hash && (hash == before || !before)))
		return; /* a header, or nothing to compare with */
	for (unsigned i = 0; i < KEPT; i++) {
		const uint64_t *live = watch.commits[i].cells[disk->index];

		/* Commits that were not seen, in an import or an export, make older ones old enough. */
		if (!live || watch.commits[i].sequence + KEPT <= alloc_sequence(core_alloc(world->core)) || !bitmap_get(live, cell))
			continue;
		uint64_t au = (cell * SIM_CELL - DATA_START) >> watch.au_shift;
		char owner[128];

		describe_owner(world, disk, au, owner, sizeof(owner));
		world_fail(world, "%s %s AU %" PRIu64 " row %" PRIu64 " (%s), which txg %" PRIu64 " needs; the last commits are %" PRIu64
				  ", %" PRIu64 ", %" PRIu64,
			   disk->path, hash ? "is given other content in" : "loses", au, in_au / SIM_CELL, owner, watch.commits[i].txg,
			   watch.commits[0].txg, watch.commits[1].txg, watch.commits[2].txg);
	}
}

/* Of what any of the last commits has in use, or the pool now, nothing is trimmed: neither rows, nor headers, nor the log. */
static void check_trim(struct world *world, const struct sim_disk *disk, uint64_t offset, uint64_t length)
{
	uint64_t end = disk->size - LABEL_AREA_SIZE;
	struct live_rows now = {0};
	struct alloc *alloc = core_alloc(world->core);

	if (offset < DATA_START || offset + length > end)
		world_fail(world, "%s: a trim of %" PRIu64 "+%" PRIu64 " touches labels", disk->path, offset, length);
	for (uint32_t id = 0; id < alloc_segment_count(alloc); id++) {
		const struct segment *segment = alloc_segment(alloc, id);

		if (segment && (!alloc_segment_is_free(segment) || (segment->record.state != SEGMENT_NONE && !segment->released)))
			for (unsigned column = 0; column < (unsigned)segment->record.k + segment->record.m; column++)
				note_unit(world, now.aus, segment->record.columns[column]);
	}
	for (uint64_t at = offset; at < offset + length; at += UINT64_C(1) << watch.au_shift) {
		uint64_t au = (at - DATA_START) >> watch.au_shift;

		if ((now.aus[disk->index] && bitmap_get(now.aus[disk->index], au)) ||
		    (watch.commits[0].log[disk->index] && bitmap_get(watch.commits[0].log[disk->index], au)))
			world_fail(world, "%s: AU %" PRIu64 " is trimmed while it is in use", disk->path, au);
		for (unsigned i = 0; i < KEPT; i++)
			if (watch.commits[i].aus[disk->index] && bitmap_get(watch.commits[i].aus[disk->index], au) &&
			    watch.commits[i].sequence + KEPT > alloc_sequence(alloc))
				world_fail(world, "%s: AU %" PRIu64 " is trimmed, which txg %" PRIu64 " needs; the last commit is %" PRIu64,
					   disk->path, au, watch.commits[i].txg, watch.commits[0].txg);
	}
	forget(&now);
}

/* In the first area; what follows them are heartbeats. */
static bool is_uberblock(const struct disk_io *io)
{
	return io->operation == DISK_WRITE && io->offset >= UBERBLOCK_OFFSET &&
	       io->offset < UBERBLOCK_OFFSET + (uint64_t)UBERBLOCK_COMMIT_SLOTS * UBERBLOCK_SIZE;
}

static void on_submit(void *argument, struct sim_disk *disk, const struct disk_io *io)
{
	struct world *world = argument;
	uint64_t cell = io->offset / SIM_CELL;

	if ((io->operation != DISK_WRITE && io->operation != DISK_TRIM) || disk->index >= DISKS)
		return;
	if (is_uberblock(io))
		forget_named(io->iov[0].iov_base);
	if (world->core && is_uberblock(io))
		check_uberblock(world, io->iov[0].iov_base);
	if (io->offset < DATA_START)
		return;
	if (world->core)
		note_commit(world);
	if (!watch.hashes[disk->index])
		watch.hashes[disk->index] = sim_allocate(cells_of(disk) * sizeof(uint64_t));
	if (world->core && io->operation == DISK_TRIM)
		check_trim(world, disk, io->offset, io->length);
	for (uint64_t i = 0; io->operation == DISK_TRIM && i < io->length / SIM_CELL; i++) {
		if (world->core)
			check_cell(world, disk, cell + i, 0);
		watch.hashes[disk->index][cell + i] = 0;
	}
	for (unsigned i = 0; io->operation == DISK_WRITE && i < io->iov_count; i++) {
		if (world->core)
			note_log_block(world, io->iov[i].iov_base, io->iov[i].iov_len);
		for (size_t at = 0; at < io->iov[i].iov_len; at += SIM_CELL, cell++) {
			uint64_t hash = hash_cell((const uint8_t *)io->iov[i].iov_base + at);

			check_named(world, disk, cell, hash);
			if (world->core && cell < (disk->size - LABEL_AREA_SIZE) / SIM_CELL)
				check_cell(world, disk, cell, hash);
			watch.hashes[disk->index][cell] = hash;
		}
	}
}

void watch_start(struct world *world)
{
	watch = (struct watch){.named = sim_allocate(NAMED_MAX * sizeof(struct named_rows))};
	memset(epochs, 0, sizeof(epochs));
	world->set->hooks.argument = world;
	world->set->hooks.on_submit = on_submit;
}

void watch_stop(struct world *world)
{
	world->set->hooks.on_submit = NULL;
	for (unsigned i = 0; i < KEPT; i++)
		forget(&watch.commits[i]);
	for (unsigned i = 0; i < DISKS; i++)
		free(watch.hashes[i]);
	free(watch.named);
	watch = (struct watch){0};
}
