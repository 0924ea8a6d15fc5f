/* Life of a core, its halted state, and what other layers ask of it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libpool/base/check.h"
#include "libpool/txg/heartbeat.h"

int core_new(const struct core_options *options, const struct label *label, struct core **ret_core)
{
	struct core *core = calloc(1, sizeof(*core));
	struct geometry geometry = { .pool = label->pool, .k = label->k, .m = label->m, .au_shift = label->au_shift,
				     .rows = (uint16_t)((1u << label->au_shift) / CELL_SIZE) };
	struct blocks_options blocks_options = { .cache_limit = options->cache_limit };

	if (!core)
		return -ENOMEM;
	core->options = *options;
	if (!core->options.commit_interval_ns)
		core->options.commit_interval_ns = 5 * NS_PER_S;
	if (!core->options.dirty_limit)
		core->options.dirty_limit = UINT64_C(512) << 20;
	core->rt = options->rt;
	core->next_dataset = 1;
	array_init(&core->logs, sizeof(struct log_entry));
	array_init(&core->map_wrong, sizeof(struct map_key));
	array_init(&core->log_now.earlier, sizeof(struct raw_block_pointer));
	rt_queue_init(&core->changed);
	rt_queue_init(&core->sync_wake);
	rt_queue_init(&core->released);
	rt_mutex_init(&core->writers);
	rt_mutex_init(&core->node_turns);
	rt_mutex_init(&core->config);
	intent_init(&core->intent);
	compactor_init(&core->compactor);
	core->label = malloc(sizeof(*core->label));
	int status = moves_init(&core->moves);
	if (!core->label)
		status = -ENOMEM;
	if (status == 0) {
		*core->label = *label;
		status = alloc_new(&geometry, &core->alloc);
	}
	if (status == 0) {
		alloc_set_eager_reuse(core->alloc, options->eager_reuse);
		alloc_set_rows_together(core->alloc, options->rows_together);
		alloc_set_commit_metadata(core->alloc, options->commit_metadata);
	}
	if (status == 0)
		status = store_new(core->rt, core->alloc, &core->options.store, &core->store);
	if (status == 0)
		status = blocks_new(core->rt, core->store, &blocks_options, &core->blocks);
	if (status < 0) {
		core_free(core);
		return status;
	}
	blocks_set_locate_callback(core->blocks, moved_locate, core);
	uint8_t random[8];
	rt_env(core->rt)->ops->random(rt_env(core->rt), random, sizeof(random));
	memcpy(&core->epoch, random, sizeof(core->epoch));
	core->epoch |= 1; /* 0 means none */
	*ret_core = core;
	return 0;
}

void core_free(struct core *core)
{
	if (!core)
		return;
	for (unsigned i = 0; i < MOS_FIRST_FREE; i++)
		if (core->mos_objects[i])
			object_close(core->mos_objects[i]);
	if (core->mos)
		objset_close(core->mos);
	if (core->segtab)
		object_close(core->segtab);
	if (core->livemap)
		object_close(core->livemap);
	for (size_t i = 0; i < core->logs.count; i++)
		array_release(&array_at(&core->logs, struct log_entry, i)->earlier);
	array_release(&core->logs);
	array_release(&core->map_wrong);
	array_release(&core->log_now.earlier);
	intent_release(&core->intent);
	moves_release(&core->moves);
	if (core->blocks)
		blocks_free(core->blocks);
	store_free(core->store);
	alloc_free_all(core->alloc);
	free(core->label);
	free(core);
}

int core_open_mos_objects(struct core *core)
{
	for (uint64_t number = MOS_CATALOGUE; number <= MOS_SPACE; number++) {
		int status = object_open(core->mos, number, &core->mos_objects[number]);
		if (status < 0)
			return status;
	}
	return 0;
}

struct rt *core_rt(struct core *core)
{
	return core->rt;
}

struct store *core_store(struct core *core)
{
	return core->store;
}

struct alloc *core_alloc(struct core *core)
{
	return core->alloc;
}

struct blocks *core_blocks(struct core *core)
{
	return core->blocks;
}

struct objset *core_mos(struct core *core)
{
	return core->mos;
}

struct object *core_mos_object(struct core *core, uint64_t number)
{
	return number < MOS_FIRST_FREE ? core->mos_objects[number] : NULL;
}

const struct label *core_label(const struct core *core)
{
	return core->label;
}

bool core_lacks_batches(const struct core *core)
{
	return core->map_lost > 0;
}

bool core_read_only(const struct core *core)
{
	return core->read_only;
}

bool core_halted(const struct core *core, const char **ret_why)
{
	if (core->halted && ret_why)
		*ret_why = core->halt_reason;
	return core->halted;
}

void core_halt(struct core *core, const char *why)
{
	if (core->halted)
		return;
	core->halted = true;
	snprintf(core->halt_reason, sizeof(core->halt_reason), "%s", why);
	store_halt(core->store, why);
	rt_queue_wake_all(core->rt, &core->changed);
	rt_queue_wake_all(core->rt, &core->sync_wake);
	compactor_wake(core);
}

bool core_multihost(const struct core *core)
{
	return core->heartbeat_interval_ms != 0;
}

int core_set_multihost(struct core *core, bool on)
{
	if (core_multihost(core) == on)
		return 0;
	if (core->read_only)
		return -EROFS;
	/* Heartbeats first, or last: as long as an uberblock asks others to look for them they are there. */
	int status = on && !core->heartbeat ? heartbeat_start(core) : 0;
	if (status < 0)
		return status;
	core->heartbeat_interval_ms = on ? HEARTBEAT_INTERVAL_MS : 0;
	status = core_commit_forced(core);
	if (status == 0 && !on)
		heartbeat_stop(core->heartbeat);
	return status;
}

uint64_t core_committed_txg(const struct core *core)
{
	return core->committed_txg;
}

void core_imported_txgs(const struct core *core, uint64_t *ret_first, uint64_t *ret_last)
{
	*ret_first = core->imported_txgs[0];
	*ret_last = core->imported_txgs[1];
}

uint64_t core_open_txg(const struct core *core)
{
	return core->open_txg;
}

uint64_t core_commit_time(const struct core *core)
{
	return core->uberblock.time_ns;
}

uint64_t core_commits(const struct core *core)
{
	return core->commits;
}

bool core_imported_clean(const struct core *core)
{
	return core->imported_clean;
}

bool core_loss_is_certain(const struct core *core)
{
	for (unsigned i = 0; i < DISKS_MAX && !core->read_only && !core->forced; i++) {
		const struct store_disk *disk = store_disk(core->store, i);
		if (store_disk_holds_data(disk) && (!disk->disk || (disk->state != DISK_ONLINE && disk->state != DISK_RESYNC)))
			return false;
	}
	return true;
}

uint64_t core_next_dataset_id(struct core *core)
{
	return core->next_dataset++;
}

void core_space(struct core *core, struct space *ret_space)
{
	alloc_space(core->alloc, ret_space);
	/* No more than could be had: segments that are free or will be with the next commits, and dead rows, or what rounds gain, which has these, too. */
	uint64_t coming = ret_space->coming_segments;
	uint64_t rows = row_space_cells(&ret_space->rows, 1), dead = compactor_is_barren(core) ? 0 : compactor_gain(core);
	uint64_t most = coming > ret_space->floor_segments ? space_segments_cells(ret_space, coming - ret_space->floor_segments) : 0;
	most += dead > rows ? dead : rows;
	if (ret_space->writable_cells > most)
		ret_space->writable_cells = most;
	if (ret_space->writable_cells < ret_space->available_cells)
		ret_space->writable_cells = ret_space->available_cells;
}

void core_set_participant(struct core *core, const struct core_participant *participant)
{
	while (!participant && core->syncing)
		rt_queue_wait(core->rt, &core->changed);
	core->participant = participant ? *participant : (struct core_participant){ 0 };
}

void core_set_watcher(struct core *core, void (*committed)(void *argument), void *argument)
{
	core->watcher = committed;
	core->watcher_argument = argument;
}

void core_set_reserve(struct core *core, unsigned per_ten_thousand)
{
	alloc_set_reserve(core->alloc, per_ten_thousand);
	alloc_space(core->alloc, &core->space);
	core->full = false;
}

int core_walk_system(struct core *core, object_visit_function *visit, void *argument)
{
	struct block_owner owner = { 0 };
	struct block_pointer pointer;
	int status = object_walk_bare(core->segtab, visit, argument);

	if (status == 0)
		status = object_walk_bare(core->livemap, visit, argument);
	for (size_t i = 0; i < core->logs.count && status >= 0; i++) {
		const struct log_entry *entry = array_at(&core->logs, struct log_entry, i);
		status = block_pointer_decode(&entry->last, &pointer);
		if (status == 0)
			status = visit(argument, &pointer, &owner);
		for (size_t j = 0; j < entry->earlier.count && status >= 0; j++) {
			status = block_pointer_decode(array_at(&entry->earlier, struct raw_block_pointer, j), &pointer);
			if (status == 0)
				status = visit(argument, &pointer, &owner);
		}
	}
	if (status >= 0 && core->has_commit)
		status = visit(argument, &core->commit_pointer, &owner);
	return status < 0 ? status : 0;
}

static void close_disks(struct core *core)
{
	for (unsigned i = 0; i < DISKS_MAX; i++) {
		struct store_disk *slot = store_disk(core->store, i);
		struct disk *disk = slot->disk;
		slot->disk = NULL; /* first: requests that end now look at it */
		if (disk)
			disk_close(disk);
	}
}

void core_stop(struct core *core)
{
	if (core->read_only)
		return;
	core->stopping = true;
	/* Nothing of what is on its way to disks is of use any more: no reason to wait for devices that hang. */
	if (core->halted)
		close_disks(core);
	rt_queue_wake_all(core->rt, &core->sync_wake);
	rt_queue_wake_all(core->rt, &core->changed);
	compactor_wake(core);
	while (!core->stopped || core->compactor.runs)
		rt_queue_wait(core->rt, &core->changed);
}

int core_export(struct core *core, struct pool_error *error)
{
	int status = 0;

	if (!core->read_only) {
		core_stop(core);
		if (core->halted) {
			status = pool_error_set(error, -POOL_EHALTED, "pool %s: halted: %s; exported without a last commit",
						core->label->name, core->halt_reason);
		} else {
			struct uberblock uberblock = core->uberblock;
			store_flush(core->store);
			uberblock.rewrite++;
			/* An import that didn't get to replaying leaves that to the next one. */
			if (!intent_is_kept(core, core->committed_txg))
				uberblock.flags |= UBERBLOCK_CLEAN_EXPORT;
			intent_describe_empty(core, &uberblock.log);
			uberblock.time_ns = rt_realtime(core->rt);
			status = uberblock_commit(core, &uberblock);
			if (status < 0)
				pool_error_set(error, status, "pool %s: the last uberblock can't be written", core->label->name);
		}
	}
	close_disks(core);
	heartbeat_stop(core->heartbeat);
	core_free(core);
	return status;
}

void core_abandon(struct core *core)
{
	core_halt(core, "abandoned");
	core_stop(core);
	close_disks(core);
	heartbeat_stop(core->heartbeat);
	core_free(core);
}
