/* What people see of a pool: figures, health with its reason and what to do about it, and the disks. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libpool/alloc/figures.h"
#include "libpool/pool/internal.h"

/* Disks by what is wrong with them. */
struct tally {
	unsigned configured, online, by_state[DISK_OFFLINE + 1];
	unsigned first[DISK_OFFLINE + 1]; /* index of the first one of each state */
	unsigned logs, logs_online, log_bad; /* log disks; log_bad: the first that isn't online */
};

static struct tally tally_disks(struct engine *engine)
{
	struct tally tally = {.log_bad = DISK_ABSENT};

	for (unsigned i = 0; i < DISKS_MAX; i++) {
		const struct store_disk *disk = store_disk(core_store(engine->core), i);

		if (!disk->configured)
			continue;
		if (disk->role == ROLE_LOG) {
			bool online = disk->state == DISK_ONLINE && disk->disk;
			tally.logs++;
			tally.logs_online += online;
			if (!online && tally.log_bad == DISK_ABSENT)
				tally.log_bad = i;
			continue;
		}
		tally.configured++;
		tally.online += disk->state == DISK_ONLINE && disk->disk;
		if (disk->state <= DISK_OFFLINE && tally.by_state[disk->state]++ == 0)
			tally.first[disk->state] = i;
	}
	return tally;
}

#define NAMES_MAX 5u

/* "a, b and 3 more": the disks in a state. */
static void list_disks(struct engine *engine, enum disk_state state, char *ret_text, size_t size)
{
	unsigned listed = 0, more = 0;
	size_t used = 0;

	ret_text[0] = 0;
	for (unsigned i = 0; i < DISKS_MAX; i++) {
		const struct store_disk *disk = store_disk(core_store(engine->core), i);
		char name[LIBPOOL_PATH_MAX];

		if (!store_disk_holds_data(disk) || disk->state != state)
			continue;
		engine_disk_text(engine, i, name, sizeof(name));
		/* Room for " and N more" stays. */
		if (listed && (more || listed == NAMES_MAX || used + strlen(name) + 2 + 16 > size)) {
			more++;
			continue;
		}
		used += (size_t)snprintf(ret_text + used, size - used, "%s%.160s", listed ? ", " : "", name);
		listed++;
	}
	if (more)
		snprintf(ret_text + used, size - used, " and %u more", more);
}

/* As it can be typed: its path, or its number where a shell would make something else of that, or it is long. */
static void disk_to_type(struct engine *engine, unsigned index, char *ret_text, size_t size)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+:,@%=";
	const char *path = engine_disk_path(engine, index);
	size_t length = strlen(path);

	if (length > 0 && length < size && strspn(path, plain) == length)
		memcpy(ret_text, path, length + 1);
	else
		snprintf(ret_text, size, "'#%u'", index);
}

static uint64_t stale_cells(struct engine *engine)
{
	size_t count;
	const struct stale_record *stale = alloc_stale(core_alloc(engine->core), &count);
	uint64_t cells = 0;

	for (size_t i = 0; i < count; i++)
		cells += stale[i].rows;
	return cells;
}

/* What was only in a log is lost, or a log disk is. */
static bool judge_log(struct engine *engine, const struct tally *tally, struct libpool_pool_info *info)
{
	const struct core_log_loss *loss = core_log_loss(engine->core);
	char disk[100], name[LIBPOOL_PATH_MAX];

	if (loss->count) {
		snprintf(info->problem, sizeof(info->problem), "what was flushed in txgs %llu and %llu is lost with log disks%s",
			 (unsigned long long)loss->first_txg, (unsigned long long)loss->last_txg,
			 loss->count > 1 ? ", and it wasn't the first time" : "");
		snprintf(info->action, sizeof(info->action), "check what was written last before the crash, then: poolctl clear %.100s", info->name);
		return true;
	}
	if (tally->log_bad == DISK_ABSENT)
		return false;
	bool offline = store_disk(core_store(engine->core), tally->log_bad)->state == DISK_OFFLINE;

	disk_to_type(engine, tally->log_bad, disk, sizeof(disk));
	engine_disk_text(engine, tally->log_bad, name, sizeof(name));
	snprintf(info->problem, sizeof(info->problem), "%u of %u log disks %s: %.160s", tally->logs - tally->logs_online, tally->logs,
		 tally->logs - tally->logs_online == 1 ? "is not in use" : "are not in use", name);
	if (offline)
		snprintf(info->action, sizeof(info->action), "bring it back: poolctl online %.60s %s", info->name, disk);
	else
		snprintf(info->action, sizeof(info->action), "attach it again (poolctl online %.50s %.60s) or do without it: device remove", info->name, disk);
	return true;
}

/* Disks that the pool can't do without, and that nobody will find again once they are closed. */
static bool judge_leaving(struct engine *engine, struct libpool_pool_info *info)
{
	char disk[100], name[LIBPOOL_PATH_MAX];
	unsigned first = DISK_ABSENT, count = 0;

	for (unsigned i = 0; i < DISKS_MAX; i++) {
		if (!disks_leaving(engine, i))
			continue;
		first = count++ ? first : i;
	}
	if (!count)
		return false;
	disk_to_type(engine, first, disk, sizeof(disk));
	engine_disk_text(engine, first, name, sizeof(name));
	if (count > 1)
		snprintf(info->problem, sizeof(info->problem), "%u disks that the pool can't do without are gone when it is exported: %.100s: %s", count, name,
			 disks_leaving(engine, first));
	else
		snprintf(info->problem, sizeof(info->problem), "a disk that the pool can't do without is gone when it is exported: %.100s: %s", name,
			 disks_leaving(engine, first));
	snprintf(info->action, sizeof(info->action), "replace it now: poolctl replace %.60s %s NEW", info->name, disk);
	return true;
}

/* The worst thing first. */
static void judge(struct engine *engine, const struct tally *tally, struct libpool_pool_info *info)
{
	static const uint8_t order[] = {DISK_FAULTY, DISK_MISSING, DISK_OFFLINE, DISK_RESYNC};
	const char *why = "", *pool = info->name;
	char disk[100] = "", disks[200] = "";

	for (unsigned i = 0; i < sizeof(order) / sizeof(order[0]) && !disk[0]; i++) {
		if (!tally->by_state[order[i]])
			continue;
		disk_to_type(engine, tally->first[order[i]], disk, sizeof(disk));
		list_disks(engine, order[i], disks, sizeof(disks));
	}
	info->health = LIBPOOL_DEGRADED;
	if (core_halted(engine->core, &why)) {
		info->health = LIBPOOL_UNUSABLE;
		info->halted = 1;
		snprintf(info->problem, sizeof(info->problem), "the pool is halted: %.200s", why);
		snprintf(info->action, sizeof(info->action), "export it, check its disks and cables, import it again");
	} else if (judge_leaving(engine, info)) {
		; /* told */
	} else if (info->damaged_ranges) {
		snprintf(info->problem, sizeof(info->problem), "data is damaged beyond repair in %llu place%s",
			 (unsigned long long)info->damaged_ranges, info->damaged_ranges == 1 ? "" : "s");
		snprintf(info->action, sizeof(info->action), "restore what poolctl status -v %.100s names, then scrub", pool);
	} else if (core_log_loss(engine->core)->count) {
		(void)judge_log(engine, tally, info);
	} else if (tally->by_state[DISK_FAULTY]) {
		snprintf(info->problem, sizeof(info->problem), "%u of %u disks %s failed: %s", tally->by_state[DISK_FAULTY],
			 tally->configured, tally->by_state[DISK_FAULTY] == 1 ? "has" : "have", disks);
		snprintf(info->action, sizeof(info->action), "replace %s: poolctl replace %.60s %s NEW",
			 tally->by_state[DISK_FAULTY] == 1 ? "it" : "each", pool, disk);
	} else if (tally->by_state[DISK_MISSING]) {
		snprintf(info->problem, sizeof(info->problem), "%u of %u disks %s missing: %s", tally->by_state[DISK_MISSING],
			 tally->configured, tally->by_state[DISK_MISSING] == 1 ? "is" : "are", disks);
		bool one = tally->by_state[DISK_MISSING] == 1;
		snprintf(info->action, sizeof(info->action), "attach %s again, or replace %s (also if it is there, but blank): poolctl replace %.60s %s NEW",
			 one ? "it" : "them", one ? "it" : "each", pool, disk);
	} else if (tally->by_state[DISK_OFFLINE]) {
		snprintf(info->problem, sizeof(info->problem), "%u of %u disks %s taken offline: %s", tally->by_state[DISK_OFFLINE],
			 tally->configured, tally->by_state[DISK_OFFLINE] == 1 ? "was" : "were", disks);
		snprintf(info->action, sizeof(info->action), "bring %s back: poolctl online %.60s %s",
			 tally->by_state[DISK_OFFLINE] == 1 ? "it" : "each", pool, disk);
	} else if (tally->by_state[DISK_RESYNC]) {
		snprintf(info->problem, sizeof(info->problem), "%u of %u disks %s being brought up to date: %s", tally->by_state[DISK_RESYNC],
			 tally->configured, tally->by_state[DISK_RESYNC] == 1 ? "is" : "are", disks);
		snprintf(info->action, sizeof(info->action), "wait: poolctl wait %.100s", pool);
	} else if (judge_log(engine, tally, info)) {
		; /* told */
	} else if (info->stale_cells || info->segments_degraded) {
		snprintf(info->problem, sizeof(info->problem), "parts of the data lack redundancy: they are being repaired");
		snprintf(info->action, sizeof(info->action), "wait: poolctl wait %.100s", pool);
	} else {
		info->health = LIBPOOL_HEALTHY;
	}
	if (!info->halted && core_writes_refused(engine->core)) {
		size_t used = strlen(info->problem);

		snprintf(info->problem + used, sizeof(info->problem) - used, "; writes are refused (property degraded)");
	}
}

static void fill_space(struct engine *engine, struct libpool_pool_info *info)
{
	struct space space;

	core_space(engine->core, &space);
	info->raw_bytes = space.raw_aus * info->au_bytes;
	info->usable_bytes = (space.usable_cells - space.reserve_cells) * CELL_SIZE;
	info->used_bytes = space.live_cells * CELL_SIZE;
	info->free_bytes = space.writable_cells * CELL_SIZE;
	info->reserve_bytes = space.reserve_cells * CELL_SIZE;
	info->dead_bytes = alloc_dead_cells(core_alloc(engine->core)) * CELL_SIZE;
	info->formable_bytes = alloc_formable_cells(core_alloc(engine->core)) * CELL_SIZE;
	info->segments = space.segments;
	info->segments_free = space.free_segments;
	info->segments_degraded = space.degraded_segments;
	info->allocation_memory = space.memory_bytes;
}

/* As engine_damage tells them. */
static uint64_t damaged_ranges(struct engine *engine)
{
	struct libpool_damage *damage;
	size_t count;

	if (damage_count(engine) == 0 || engine_damage(engine, &damage, &count) < 0)
		return damage_count(engine);
	free(damage);
	return count + engine->damage_lost;
}

int engine_info(struct engine *engine, struct libpool_pool_info *ret_info)
{
	const struct label *label = core_label(engine->core);
	const struct blocks_counters *counters = blocks_counters(core_blocks(engine->core));
	struct tally tally = tally_disks(engine);

	*ret_info = (struct libpool_pool_info){
		.size = sizeof(*ret_info),
		.read_only = core_read_only(engine->core),
		.data_columns = label->k,
		.parity_columns = label->m,
		.disk_count = tally.configured + tally.logs,
		.disks_online = tally.online + tally.logs_online,
		.au_bytes = UINT64_C(1) << label->au_shift,
		.txg = core_committed_txg(engine->core),
		.commits = core_commits(engine->core),
		.log_losses = core_log_loss(engine->core)->count,
		.log_lost_first_txg = core_log_loss(engine->core)->first_txg,
		.log_lost_last_txg = core_log_loss(engine->core)->last_txg,
		.commit_time_ns = core_commit_time(engine->core),
		.stale_cells = stale_cells(engine),
		.damaged_ranges = damaged_ranges(engine),
		.cache_bytes = counters->cached_bytes,
		.cache_limit = engine->cache_limit,
		.cache_hits = counters->hits,
		.cache_misses = counters->misses,
	};
	snprintf(ret_info->name, sizeof(ret_info->name), "%s", label->name);
	memcpy(ret_info->guid, label->pool.bytes, sizeof(ret_info->guid));
	profile_format(label->k, label->m, ret_info->profile, sizeof(ret_info->profile));
	fill_space(engine, ret_info);
	amplification_fill(engine, ret_info);
	judge(engine, &tally, ret_info);
	return 0;
}

_Static_assert(LIBPOOL_LATENCY_STEPS == CORE_FLUSH_TIMES, "they are copied");

void engine_log_info(struct engine *engine, struct libpool_log_info *ret_info)
{
	const struct core_log_counters *counters = core_log_counters(engine->core);

	*ret_info = (struct libpool_log_info){
		.size = sizeof(*ret_info),
		.capacity_bytes = core_log_capacity(engine->core),
		.flushes = counters->flushes,
		.groups = counters->groups,
		.bytes_written = counters->cells * CELL_SIZE,
		.commits = counters->fallbacks,
		.changes_replayed = counters->replayed,
		.blocks_placed = counters->placed,
	};
	memcpy(ret_info->flush_times, counters->flush_times, sizeof(ret_info->flush_times));
}

static uint64_t mean(uint64_t sum, uint64_t count)
{
	return count ? sum / count : 0;
}

static void fill_counters(const struct disk *disk, struct libpool_disk_info *info)
{
	const struct disk_counters *counters = &disk->counters;

	snprintf(info->serial, sizeof(info->serial), "%s", disk->info.serial);
	info->rotational = disk->info.rotational;
	info->reads = counters->reads;
	info->writes = counters->writes;
	info->flushes = counters->flushes;
	info->bytes_read = counters->bytes_read;
	info->bytes_written = counters->bytes_written;
	info->trims = counters->trims;
	info->bytes_trimmed = counters->bytes_trimmed;
	info->trim_errors = counters->trim_errors;
	info->read_latency_ns = mean(counters->read_ns, counters->reads);
	info->write_latency_ns = mean(counters->write_ns, counters->writes);
}

static void fill_disk(struct engine *engine, const struct label_disk *configured, struct libpool_disk_info *info)
{
	const struct store_disk *disk = store_disk(core_store(engine->core), configured->index);
	const struct alloc_disk *space = alloc_disk(core_alloc(engine->core), configured->index);

	*info = (struct libpool_disk_info){
		.size = sizeof(*info),
		.index = configured->index,
		.state = disk->configured ? disk->state : DISK_MISSING,
		.role = configured->role,
		.disk_bytes = configured->size,
		.read_errors = disk->read_errors,
		.write_errors = disk->write_errors,
		.checksum_errors = disk->checksum_errors,
		.flush_errors = disk->flush_errors,
		.overdue = counters_overdue(engine, configured->index),
	};
	memcpy(info->guid, configured->guid.bytes, sizeof(info->guid));
	snprintf(info->path, sizeof(info->path), "%s", engine_disk_path(engine, configured->index));
	if (space)
		info->allocated_bytes = (uint64_t)(space->au_count - space->au_free - space->au_trimming) << core_label(engine->core)->au_shift;
	if (disk->disk)
		fill_counters(disk->disk, info);
}

int engine_disks(struct engine *engine, struct libpool_disk_info **ret_disks, size_t *ret_count)
{
	const struct label *label = core_label(engine->core);
	struct libpool_disk_info *all = calloc(label->disk_count + 1u, sizeof(*all));
	size_t count = 0;

	if (!all)
		return -ENOMEM;
	for (unsigned i = 0; i < label->disk_count; i++)
		if (label->disks[i].state != DISK_REMOVED && label->disks[i].index < DISKS_MAX)
			fill_disk(engine, &label->disks[i], &all[count++]);
	*ret_disks = all;
	*ret_count = count;
	return 0;
}

int engine_clear(struct engine *engine, const char *disk, struct pool_error *error)
{
	unsigned index;

	if (disk && disk[0]) {
		int result = engine_disk_find(engine, disk, &index, error);

		if (result < 0)
			return result;
		counters_clear(engine, index);
		return 0;
	}
	for (unsigned i = 0; i < DISKS_MAX; i++)
		if (store_disk(core_store(engine->core), i)->configured)
			counters_clear(engine, i);
	damage_clear_all(engine);
	int result = core_log_loss_clear(engine->core);
	return result < 0 ? pool_error_set(error, result, "pool %s: what it says of a lost log can't be cleared: %s", disks_pool_name(engine),
					   core_failure_text(engine->core, result)) : 0;
}
