/*
 * Step 8 of a commit: pages of the segment table and the live bitmaps that are due, as of the last commit; the
 * allocation log of this txg; and the final batch with the log's last block and the commit block.
 *
 * Nothing here recurses: pages describe the state before this txg, the blocks they supersede are freed in the
 * last log block, and that block itself is described by the uberblock, then by the next txg's log.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "libpool/base/check.h"
#include "libpool/txg/internal.h"

#define PAGE_AGE_TXGS 32u       /* younger pages aren't written, unless their txg count runs out */
#define PAGE_SPREAD 32u         /* and of those due, one in so many for each txg */
#define LAST_BLOCK_ROOM (40u << 10)
#define LAST_BLOCK_SLACK (20u << 10)    /* lists of other blocks, and records made after the others were taken */
#define LOG_CELLS_MAX (ALLOC_LOG_BLOCK_MAX / CELL_SIZE)

/* Pages whose first change is old enough, a share of them for each txg, so that none gets older than 128 txgs. */
static int pages_write_kind(struct core *core, bool livemap, uint64_t txg)
{
	struct object *object = livemap ? core->livemap : core->segtab;
	size_t count = livemap ? alloc_livemap_pages(core->alloc) : alloc_segtab_pages(core->alloc);
	size_t size = livemap ? LIVEMAP_PAGE_SIZE : SEGTAB_PAGE_SIZE, due = 0, quota;
	uint64_t first;

	for (size_t page = 0; page < count; page++)
		due += alloc_page_dirty(core->alloc, livemap, page, &first) && first + PAGE_AGE_TXGS <= txg;
	quota = (due + PAGE_SPREAD - 1) / PAGE_SPREAD;
	/* txg numbers jump at imports; then, as with a page that is very old, all that is due goes out. */
	for (size_t page = 0; page < count; page++) {
		if (!alloc_page_dirty(core->alloc, livemap, page, &first) || first + PAGE_AGE_TXGS > txg)
			continue;
		if (quota == 0 && first + 3 * PAGE_AGE_TXGS > txg)
			continue;
		quota -= quota > 0;
		struct buffer *buffer = buffer_new(size);
		if (!buffer)
			return -ENOMEM;
		alloc_page_encode(core->alloc, livemap, page, core->committed_txg, buffer->data);
		int status = blob_write_block(object, txg, page, buffer);
		buffer_unref(buffer);
		if (status < 0)
			return status;
		alloc_page_written(core->alloc, livemap, page);
	}
	return 0;
}

/* The commit block of the last txg, and logs that no page needs any more, are dead with this txg. */
static int free_superseded(struct core *core, uint64_t txg)
{
	uint64_t oldest = alloc_log_oldest(core->alloc, txg);

	if (core->recent_txgs[1] && core->recent_txgs[1] < oldest)
		oldest = core->recent_txgs[1]; /* with this one, those of the last 3 commits */
	else if (!core->recent_txgs[1] && core->recent_txgs[0] && core->recent_txgs[0] < oldest)
		oldest = core->recent_txgs[0];
	core->log_oldest = oldest;
	if (core->has_commit) {
		int status = alloc_txg_free(core->alloc, &core->commit_pointer);
		if (status < 0)
			return status;
	}
	while (core->logs.count && array_at(&core->logs, struct log_entry, 0)->txg < oldest) {
		struct log_entry *entry = array_at(&core->logs, struct log_entry, 0);
		struct block_pointer pointer;
		int status = block_pointer_decode(&entry->last, &pointer);
		if (status == 0)
			status = alloc_txg_free(core->alloc, &pointer);
		for (size_t i = 0; i < entry->earlier.count && status == 0; i++) {
			status = block_pointer_decode(array_at(&entry->earlier, struct raw_block_pointer, i), &pointer);
			if (status == 0)
				status = alloc_txg_free(core->alloc, &pointer);
		}
		if (status < 0)
			return status;
		array_release(&entry->earlier);
		core->logs.count--;
		memmove(entry, entry + 1, core->logs.count * sizeof(*entry));
	}
	return 0;
}

void logs_release(struct core *core)
{
	/* Entries leave with free_superseded; this one just joined. */
	struct log_entry entry = core->log_now;

	array_init(&core->log_now.earlier, sizeof(struct raw_block_pointer));
	if (array_push(&core->logs, &entry) < 0) {
		array_release(&entry.earlier);
		core_halt(core, "out of memory after a commit");
	}
}

/* Writes all of the records due but what has room in the last block, with those that writing these makes, as earlier blocks. */
static int write_earlier_parts(struct core *core, struct object_sync *sync, const struct final_layout *reserved, struct array *rest)
{
	size_t final_room = (reserved->height - 2u) * CELL_SIZE - LAST_BLOCK_SLACK;
	size_t last_room = final_room < LAST_BLOCK_ROOM ? final_room : LAST_BLOCK_ROOM;

	while (rest->count > last_room || alloc_txg_record_bytes(core->alloc) + rest->count > last_room) {
		int status = alloc_txg_take_records(core->alloc, false, rest);
		if (status < 0)
			return status;
		size_t room = ALLOC_LOG_BLOCK_MAX - ALLOC_LOG_HEADER_SIZE;
		size_t size = alloc_records_fit(rest->items, rest->count, room);
		if (size == 0)
			break;
		struct alloc_log_header header = { .pool = core->label->pool, .txg = sync->txg,
						   .part = (uint32_t)core->log_now.earlier.count,
						   .part_count = UINT32_MAX, .record_bytes = (uint32_t)size };
		struct buffer *buffer = buffer_new_zero(ALLOC_LOG_BLOCK_MAX);
		if (!buffer)
			return -ENOMEM;
		size_t used = alloc_log_encode(&header, NULL, NULL, rest->items, buffer->data);
		POOL_CHECK(used > 0);
		struct block_write write = { .data = buffer, .lsect = LOG_CELLS_MAX, .type = TYPE_ALLOC_LOG, .class = CLASS_SYS,
					     .compression = BLOCK_COMPRESS_OFF, .txg = sync->txg, .fill = 1,
					     .owner = { .block = header.part } };
		block_write_submit(core->blocks, &write);
		status = block_writes_place(core->blocks, CLASS_SYS);
		buffer_unref(buffer);
		if (status < 0)
			return status;
		struct raw_block_pointer raw;
		block_pointer_encode(&write.pointer, &raw);
		if (array_push(&core->log_now.earlier, &raw) < 0)
			return -ENOMEM;
		memmove(rest->items, (uint8_t *)rest->items + size, rest->count - size);
		rest->count -= size;
	}
	return 0;
}

int checkpoint_write(struct core *core, struct object_sync *sync, const struct final_layout *reserved, struct uberblock *uberblock,
		     struct final_batch *ret_final, struct block_pointer *ret_summary)
{
	struct array records;
	int status = pages_write_kind(core, false, sync->txg);

	array_init(&records, 1);
	if (status == 0)
		status = pages_write_kind(core, true, sync->txg);
	if (status == 0)
		status = object_sync_bare(sync, core->segtab, &core->segtab_dnode);
	if (status == 0)
		status = object_sync_bare(sync, core->livemap, &core->livemap_dnode);
	if (status == 0)
		status = free_superseded(core, sync->txg);
	if (status == 0)
		status = write_earlier_parts(core, sync, reserved, &records);
	if (status == 0)
		status = store_finish(core->store, CLASS_SYS);
	if (status == 0)
		status = store_wait_writes(core->store);
	if (status == 0)
		status = alloc_txg_take_records(core->alloc, true, &records);
	if (status == 0)
		status = final_write(core, sync->txg, reserved, &records, uberblock, ret_final, ret_summary);
	array_release(&records);
	return status;
}
