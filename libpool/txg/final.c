/*
 * The final batch of a commit: the last block of its allocation log, the commit block, a summary.
 *
 * It describes everything but itself, so a write of it that fails can't be recorded in it afterwards. It is written again in
 * other rows then; and the last time with records, made beforehand, for the columns that failed before. Only a column that
 * fails without a record costs its disk.
 */
#include <errno.h>
#include <string.h>

#include "libpool/base/bitmap.h"
#include "libpool/base/check.h"
#include "libpool/txg/internal.h"

#define FINAL_TRIES 3u

/* The last block: all that is left, the earlier blocks, and the last blocks of the logs before. */
static struct buffer *last_block_build(struct core *core, uint64_t txg, const struct array *records)
{
	struct alloc_log_previous previous[ALLOC_LOG_PREVIOUS_MAX];
	struct alloc_log_header header = { .pool = core->label->pool, .txg = txg, .part = (uint32_t)core->log_now.earlier.count,
					   .part_count = (uint32_t)core->log_now.earlier.count + 1,
					   .record_bytes = (uint32_t)records->count,
					   .earlier_count = (uint32_t)core->log_now.earlier.count };

	for (size_t i = core->logs.count; i > 0 && header.previous_count < ALLOC_LOG_PREVIOUS_MAX; i--) {
		const struct log_entry *entry = array_at(&core->logs, struct log_entry, i - 1);
		previous[header.previous_count++] = (struct alloc_log_previous){ entry->txg, entry->last };
	}
	size_t size = alloc_log_size(&header);
	if (size == 0)
		return NULL;
	struct buffer *buffer = buffer_new_zero((size + CELL_SIZE - 1) / CELL_SIZE * CELL_SIZE);
	if (buffer && alloc_log_encode(&header, core->log_now.earlier.items, previous, records->items, buffer->data) == 0) {
		buffer_unref(buffer);
		return NULL;
	}
	return buffer;
}

static void final_pointer(const struct final_layout *layout, unsigned offset, uint64_t txg, uint8_t type, const struct buffer *payload,
			  struct block_pointer *ret_pointer)
{
	struct dva dva = { layout->segment, layout->base, layout->height, (uint16_t)offset };
	uint16_t cells = (uint16_t)(payload->size / CELL_SIZE);

	*ret_pointer = (struct block_pointer){ .dva = dva_pack(dva), .place = txg, .birth = txg, .fill = 1, .lsect = cells,
					       .psect = cells, .type = type };
	store_checksum(CHECKSUM_XXH3_128, payload->data, payload->size, ret_pointer->checksum);
}

static void commit_block_fill(struct core *core, uint64_t txg, const struct block_pointer *log, struct commit_block *commit)
{
	struct space space;

	alloc_space(core->alloc, &space);
	memset(commit, 0, sizeof(*commit));
	commit->pool = core->label->pool;
	commit->txg = txg;
	commit->sequence = alloc_sequence(core->alloc) + 1;
	memcpy(commit->recent_txgs, core->recent_txgs, sizeof(commit->recent_txgs));
	commit->time_ns = rt_realtime(core->rt);
	commit->mos = *objset_root(core->mos);
	commit->segtab = core->segtab_dnode;
	commit->livemap = core->livemap_dnode;
	block_pointer_encode(log, &commit->alloc_log);
	commit->alloc_log_oldest = core->log_oldest;
	commit->segment_count = alloc_segment_count(core->alloc);
	commit->segment_record_size = SEGMENT_RECORD_SIZE;
	commit->sysmap_record_size = 32;
	commit->live_cells = space.live_cells;
	commit->next_dataset = core->next_dataset;
}

/* One try: all of it in the rows at hand, of which those not needed are given back. */
struct final_try {
	struct final_layout rows; /* taken for it; then what was used of them */
	struct final_batch final;
	struct block_pointer summary;
	struct raw_block_pointer commit;
	struct block_pointer commit_pointer;
	uint32_t lacking;
};

static int try_write(struct core *core, uint64_t txg, const struct array *records, struct final_try *try)
{
	struct buffer *log = last_block_build(core, txg, records), *block = buffer_new_zero(CELL_SIZE);
	struct block_pointer log_pointer;
	struct commit_block commit;
	struct final_layout layout;
	int status = -ENOMEM;

	if (!log || !block)
		goto out;
	store_final_layout(core->store, try->rows.segment, try->rows.base, log->size / CELL_SIZE, &layout);
	if (!POOL_CHECK(layout.height <= try->rows.height))
		goto out;
	final_pointer(&layout, 0, txg, TYPE_ALLOC_LOG, log, &log_pointer);
	block_pointer_encode(&log_pointer, &core->log_now.last);
	core->log_now.txg = txg;
	commit_block_fill(core, txg, &log_pointer, &commit);
	commit_block_encode(&commit, block->data);
	final_pointer(&layout, layout.log_cells, txg, TYPE_COMMIT, block, &try->commit_pointer);
	block_pointer_encode(&try->commit_pointer, &try->commit);
	if (layout.height < try->rows.height)
		alloc_sys_give_back(core->alloc, layout.segment, layout.base + layout.height, try->rows.height - layout.height);
	try->rows = layout;
	status = store_final_write(core->store, &layout, log, block, &try->final, &try->summary, &try->lacking);
out:
	buffer_unref(log);
	buffer_unref(block);
	return status;
}

/* Records that columns on these disks are lacking, before it is known: at most as many as there is parity. */
static int record_beforehand(struct core *core, uint64_t txg, const struct final_layout *rows, const uint64_t *disks, struct array *records)
{
	const struct segment_record *segment = &alloc_segment(core->alloc, rows->segment)->record;
	unsigned recorded = 0;
	int status = 0;

	for (unsigned c = 0; c < (unsigned)segment->k + segment->m && recorded < segment->m && status == 0; c++) {
		struct alloc_record record = { .type = ALLOC_STALE,
					       .stale = { rows->segment, (uint8_t)c, rows->base, rows->height, txg } };
		size_t count;
		(void)alloc_stale(core->alloc, &count);
		if (segment->columns[c].disk == DISK_ABSENT || !bitmap_get(disks, segment->columns[c].disk) || count >= STALE_RECORDS_MAX)
			continue;
		status = alloc_stale_add(core->alloc, &record.stale);
		if (status == 0)
			status = alloc_record_append(records, &record);
		recorded++;
	}
	return status;
}

static void note_disks(const struct core *core, uint32_t segment, uint32_t lacking, uint64_t *disks)
{
	const struct segment_record *record = &alloc_segment(core->alloc, segment)->record;

	for (unsigned c = 0; c < (unsigned)record->k + record->m; c++)
		if (lacking >> c & 1)
			bitmap_set(disks, record->columns[c].disk);
}

int final_write(struct core *core, uint64_t txg, const struct final_layout *reserved, struct array *records, struct uberblock *uberblock,
		struct final_batch *ret_final, struct block_pointer *ret_summary)
{
	uint64_t disks[BITMAP_WORDS(DISKS_MAX)] = { 0 };
	struct final_layout abandoned[FINAL_TRIES];
	struct final_try try = { .rows = *reserved };
	unsigned tries = 0;
	int status;

	while ((status = try_write(core, txg, records, &try)) == 0 && try.lacking && ++tries < FINAL_TRIES) {
		struct final_layout next = { .height = (uint16_t)(try.rows.height + 1) };
		note_disks(core, try.rows.segment, try.lacking, disks);
		status = alloc_sys_take_elsewhere(core->alloc, next.height, disks, try.rows.segment, &next.segment, &next.base);
		if (status < 0) {
			tries--; /* there is nothing else: this one stays */
			status = status == -ENOSPC ? 0 : status;
			break;
		}
		/* What failed may still be on its way to the disk: other rows, and not these again in this txg. */
		abandoned[tries - 1] = try.rows;
		try.rows = next;
		if (tries + 1 == FINAL_TRIES)
			status = record_beforehand(core, txg, &try.rows, disks, records);
		if (status < 0)
			break;
	}
	if (status < 0)
		return status;
	store_final_settle(core->store, try.rows.segment, try.lacking);
	for (unsigned i = 0; i < tries && i < FINAL_TRIES - 1; i++)
		alloc_sys_give_back(core->alloc, abandoned[i].segment, abandoned[i].base, abandoned[i].height);
	uberblock->commit = try.commit;
	uberblock->final = try.final;
	core->commit_pointer = try.commit_pointer;
	core->has_commit = true;
	*ret_final = try.final;
	*ret_summary = try.summary;
	return 0;
}
