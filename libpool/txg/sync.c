/*
 * The commit of one txg, in one pass. The order is what crash safety rests on:
 *
 *   1  close the txg, wait for its handles
 *   2-4  datasets: data, nodes level by level, dnodes, objset blocks; what they supersede is freed
 *   5  blocks that died and may have been moved are looked up, and freed where they are; what a compactor has read is placed anew
 *   6  the MOS: catalogue, batch map entries of earlier txgs, its own nodes
 *   7  every write so far has ended; failed ones are recorded as stale columns
 *   8  SYS: checkpoint pages (state of the last commit), the allocation log, the final batch
 *   9  flush: everything the uberblock will name is on stable media before it
 *   10  sysmap, when the SYS segments changed; flushed before the uberblock too
 *   11  uberblock on a quorum of disks, with FUA: this instant commits the txg
 *   12  what the txg freed becomes reusable in two commits; waiters are told
 *
 * A crash before 11 leaves the old uberblock and every block it reaches: rows of live cells aren't written to, and
 * rows freed by T or by the two commits before it aren't handed out. A crash during 11 leaves the old or the new
 * one, and both trees are whole. Nothing but T is ever committed as T: a commit that fails halts the pool.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libpool/base/check.h"
#include "libpool/format/dataset_record.h"
#include "libpool/format/tree_node.h"
#include "libpool/txg/internal.h"

#define KILL_NS (100 * NS_PER_MS) /* of a commit, for what was destroyed: others wait for it */

void core_free_block(struct core *core, const struct block_pointer *pointer)
{
	int status = alloc_txg_free(core->alloc, pointer);
	/*
	 * Nothing of another block is freed then, and who made the contradiction is long gone: a pool that halted here would halt at
	 * each import, as soon as it goes on with what it was doing. Where contradictions are looked for it is one.
	 */
	if (status == -EINVAL && !core->options.check_every_txg)
		store_tell_leak(core->store, pointer->psect);
	else if (status < 0)
		core_halt(core, status == -ENOMEM ? "out of memory while freeing" : "a block was freed that is not live");
}

void core_kill(struct object_sync *sync, struct objset *objset, const struct block_pointer *pointer)
{
	struct core *core = sync->argument;

	if (!block_pointer_is_placed(pointer))
		return;
	/* To look where it is may take reads: that is done when all datasets have had their turn. */
	if (!objset || objset_id(objset) == 0 || !alloc_may_have_moved(core->alloc, pointer))
		core_free_block(core, pointer);
	else if (moved_kill(core, pointer) < 0)
		core_halt(core, "out of memory while freeing");
	else if (sync->orphan)
		hold_orphan_killed(core);
	block_forget(core->blocks, pointer);
}

static size_t orphans_room(struct object_sync *sync)
{
	return hold_orphans_room(sync->argument);
}

struct map_change {
	struct core *core;
	struct array keys;   /* struct map_key: what changed */
	struct array ranges; /* struct tree_range, of nodes that can't be read */
	uint64_t entries;
	int status;
};

static void map_entry_encode(uint32_t segment, const struct batch_index *batch, bool present, uint8_t *ret_key, uint8_t *ret_value)
{
	struct batch_map_entry entry = { .segment = segment, .base = batch->base, .rows = batch->rows, .txg = batch->txg };

	if (present) {
		struct block_pointer summary;
		alloc_summary_pointer(batch, &summary);
		block_pointer_encode(&summary, &entry.summary);
	}
	batch_map_encode(&entry, ret_key, ret_value);
}

/* Must not wait: alloc goes through lists that others add to. */
static void batch_map_change(void *argument, uint32_t segment, const struct batch_index *batch, bool present)
{
	struct map_change *change = argument;
	struct core *core = change->core;
	uint8_t key[BATCH_MAP_KEY_SIZE], value[BATCH_MAP_VALUE_SIZE];

	if (change->status < 0)
		return;
	map_entry_encode(segment, batch, present, key, value);
	struct object *map = core->mos_objects[MOS_BATCH_MAP];
	change->status = present ? tree_put(map, core->syncing_txg, key, sizeof(key), value, sizeof(value)) :
				   tree_delete(map, core->syncing_txg, key, sizeof(key));
	if (change->status == 0)
		change->status = array_push(&change->keys, key);
}

static bool lies_in_ranges(const struct map_change *change, const uint8_t *key)
{
	for (size_t i = 0; i < change->ranges.count; i++) {
		const struct tree_range *range = array_at(&change->ranges, struct tree_range, i);
		if (tree_key_compare(key, BATCH_MAP_KEY_SIZE, range->low, range->low_length) >= 0 &&
		    (!range->high_length || tree_key_compare(key, BATCH_MAP_KEY_SIZE, range->high, range->high_length) < 0))
			return true;
	}
	return false;
}

/* What is in the map, or is to be: of it what lies below nodes that can't be read is put in again. */
static void batch_map_fill(void *argument, uint32_t segment, const struct batch_index *batch, bool present)
{
	struct map_change *change = argument;
	struct core *core = change->core;
	uint8_t key[BATCH_MAP_KEY_SIZE], value[BATCH_MAP_VALUE_SIZE];

	map_entry_encode(segment, batch, present, key, value);
	change->entries++;
	if (change->status == 0 && lies_in_ranges(change, key))
		change->status = tree_put(core->mos_objects[MOS_BATCH_MAP], core->syncing_txg, key, sizeof(key), value, sizeof(value));
}

/* Whether the node that is about to be read can't be. */
static void check_map_key(struct map_change *change, const struct map_key *key)
{
	struct object *map = change->core->mos_objects[MOS_BATCH_MAP];
	int status = lies_in_ranges(change, key->bytes) ? 0 : tree_check(map, key->bytes, sizeof(key->bytes)), damage = 0;

	if (status != -POOL_EDAMAGED && status != -POOL_EFORMAT)
		return;
	struct tree_range *range = malloc(sizeof(*range));
	change->status = range ? tree_check_leaf(map, key->bytes, sizeof(key->bytes), range, &damage) : -ENOMEM;
	if (change->status == 0 && damage)
		change->status = array_push(&change->ranges, range);
	free(range);
}

/* From here to the end of the sync nothing waits. */
static void batch_map_make_anew(struct map_change *change)
{
	struct core *core = change->core;

	alloc_batch_map_all(core->alloc, batch_map_fill, change);
	for (size_t i = 0; i < change->ranges.count && change->status == 0; i++)
		change->status = tree_set_complete(core->mos_objects[MOS_BATCH_MAP], core->syncing_txg,
						   array_at(&change->ranges, struct tree_range, i), change->entries);
}

/*
 * The batch map follows the index, which has all that is in it. So nodes that can't be read are made anew: all entries below them are
 * put in. While nodes are looked at more may come, which is looked at as well.
 */
static int sync_batch_map(struct core *core)
{
	struct map_change change = { .core = core };
	size_t checked = 0;

	array_init(&change.keys, sizeof(struct map_key));
	array_init(&change.ranges, sizeof(struct tree_range));
	for (size_t i = 0; i < core->map_wrong.count && change.status == 0; i++)
		change.status = array_push(&change.keys, array_at(&core->map_wrong, struct map_key, i));
	for (;;) {
		alloc_batch_map_changes(core->alloc, batch_map_change, &change);
		if (change.status < 0 || checked == change.keys.count)
			break;
		for (; checked < change.keys.count && change.status == 0; checked++) {
			struct map_key key = *array_at(&change.keys, struct map_key, checked);
			check_map_key(&change, &key);
		}
	}
	if (change.status == 0 && change.ranges.count)
		batch_map_make_anew(&change);
	array_clear(&core->map_wrong);
	array_release(&change.keys);
	array_release(&change.ranges);
	return change.status;
}

/*
 * A SYS segment more when rows get scarce, and the rows of the final batch, before anything is placed: in `height`. When
 * neither is to be had, fewer rows do: more of the log then goes into earlier blocks.
 */
static int reserve_final(struct core *core, struct final_layout *ret_reserved)
{
	static const uint16_t heights[] = { FINAL_BATCH_ROWS_MAX, 16, 8 };
	int status = alloc_sys_low(core->alloc) ? store_open_sys(core->store) : 0;

	if (status < 0 && status != -ENOSPC)
		return status;
	for (unsigned i = 0; i < 3; i++) {
		ret_reserved->height = heights[i];
		status = alloc_sys_take(core->alloc, heights[i], &ret_reserved->segment, &ret_reserved->base);
		if (status != -ENOSPC)
			return status;
	}
	return -ENOSPC;
}

static int sync_metadata(struct core *core, struct object_sync *sync)
{
	struct objset *mos = core->mos;
	int status = 0;

	if (core->participant.sync)
		status = core->participant.sync(core->participant.argument, sync);
	if (status == 0)
		status = moves_sync(core, sync->txg);
	if (status == 0)
		status = sync_batch_map(core);
	if (status == 0)
		status = objsets_sync(sync, &mos, 1);
	static const enum segment_class classes[] = { CLASS_HOT, CLASS_COLD, CLASS_SURV, CLASS_META };
	if (status == 0)
		status = store_ahead_finish(core->store);
	for (unsigned i = 0; i < sizeof(classes) / sizeof(classes[0]) && status == 0; i++)
		status = store_finish(core->store, classes[i]);
	return status;
}

static void uberblock_prepare(struct core *core, uint64_t txg, struct uberblock *uberblock)
{
	*uberblock = core->uberblock;
	uberblock->flags = 0;
	uberblock->txg = txg;
	uberblock->rewrite = 0;
	uberblock->time_ns = rt_realtime(core->rt);
	uberblock->host = core->options.host;
	uberblock->epoch = core->epoch;
	uberblock->heartbeat_interval_ms = core->heartbeat_interval_ms;
	if (core->epoch_recorded)
		return;
	unsigned kept = uberblock->history_count < UBERBLOCK_HISTORY_MAX ? uberblock->history_count : UBERBLOCK_HISTORY_MAX - 1;
	memmove(&uberblock->history[1], &uberblock->history[0], kept * sizeof(uberblock->history[0]));
	uberblock->history[0] = (struct uberblock_epoch){ core->epoch, txg };
	uberblock->history_count = (uint16_t)(kept + 1);
}

static void commit_applied(struct core *core, uint64_t txg)
{
	unsigned slot = txg & 1;

	for (unsigned i = 2; i > 0; i--)
		core->recent_txgs[i] = core->recent_txgs[i - 1];
	core->recent_txgs[0] = txg;
	core->committed_txg = txg;
	core->epoch_recorded = true;
	core->commits++;
	core->touched[slot] = false;
	core->reserved_cells[slot] = core->nodes_above[slot] = core->node_cells[slot] = core->orphan_cells = 0;
	alloc_set_promised(core->alloc, core->reserved_cells[0] + core->reserved_cells[1]);
	core->reserved_block[slot] = 0;
	intent_committed(core, txg);
	alloc_space(core->alloc, &core->space);
	core->moved_cells = moved_cells(core);
	core->trim_lost_cells = 0;
	if (core->options.check_every_txg)
		core_check(core, txg);
	if (core->participant.committed)
		core->participant.committed(core->participant.argument, txg);
	if (core->watcher)
		core->watcher(core->watcher_argument);
	core->syncing = false; /* only now: who waits for the end of a sync may free the participant */
	rt_queue_wake_all(core->rt, &core->changed);
	compactor_wake(core);
}

static int sync_steps(struct core *core, uint64_t txg)
{
	struct object_sync sync = { .txg = txg, .blocks = core->blocks, .kill = core_kill, .orphans_room = orphans_room, .argument = core,
				    .kill_ns = KILL_NS };
	struct final_layout reserved = { 0 };
	struct final_batch final;
	struct block_pointer summary;
	struct uberblock uberblock;

	store_txg_begin(core->store, txg);
	int status = alloc_txg_begin(core->alloc, txg);
	uberblock_prepare(core, txg, &uberblock);
	if (status == 0)
		status = reserve_final(core, &reserved);
	if (status == 0)
		status = intent_sync(core);
	if (status == 0)
		status = intent_ahead_sync(core);
	if (status == 0)
		status = sync_metadata(core, &sync);
	if (status == 0)
		status = store_wait_writes(core->store);
	if (status == 0)
		status = checkpoint_write(core, &sync, &reserved, &uberblock, &final, &summary);
	if (status < 0)
		return status;
	store_flush(core->store);
	if (sysmap_is_due(core) && (status = sysmap_write(core, &uberblock)) < 0)
		return status;
	status = store_check_redundancy(core->store);
	intent_describe(core, txg, &uberblock.log);
	if (status == 0 && !core->halted)
		status = uberblock_commit(core, &uberblock);
	if (status < 0 || core->halted)
		return status < 0 ? status : -POOL_EHALTED;
	moves_committed(core);
	alloc_txg_commit(core->alloc, &final, &summary);
	store_txg_end(core->store);
	logs_release(core);
	return 0;
}

static void sync_failed(struct core *core, int status)
{
	const char *why = NULL;
	char text[128];

	snprintf(text, sizeof(text), "a commit failed: %s", pool_error_string(status));
	if (!store_halted(core->store, &why))
		why = text;
	core_halt(core, why);
	/* What was begun must end before anybody frees what it uses. */
	(void)store_wait_writes(core->store);
	core->syncing = false;
	rt_queue_wake_all(core->rt, &core->changed);
}

int sync_txg(struct core *core, uint64_t txg)
{
	POOL_CHECK(core->open_txg == txg && txg > core->committed_txg);
	/* No operation of T + 1 begins before those of T have ended: what both change is then in the order of time. */
	core->quiescing = true;
	while (core->handles[txg & 1])
		rt_queue_wait(core->rt, &core->released);
	core->quiescing = false;
	core->syncing = true;
	core->syncing_txg = txg;
	intent_close(core, txg);
	core->open_txg = txg + 1;
	rt_queue_wake_all(core->rt, &core->changed);
	intent_ahead_settle(core, txg); /* with a slow disk that takes a while, in which disks may come and go */
	rt_mutex_lock(core->rt, &core->config);
	rt_no_block_begin(core->rt);
	int status = sync_steps(core, txg);
	rt_no_block_end(core->rt);
	rt_mutex_unlock(core->rt, &core->config);
	if (status < 0 || core->halted) {
		status = status < 0 ? status : -POOL_EHALTED;
		sync_failed(core, status);
		return status;
	}
	commit_applied(core, txg);
	return 0;
}
