/*
 * Import: what each disk is worth by the uberblock that counts (select.c); then the state is loaded, the pool is claimed by
 * writing that uberblock again, and what must never come back is made so by a first commit.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libpool/base/bitmap.h"
#include "libpool/base/check.h"
#include "libpool/txg/heartbeat.h"

/* What a disk is worth, by its own newest uberblock and by what the chosen one says of it. */
static void place_disk(struct core *core, const struct selection *selection, struct member *member, uint64_t first_txg)
{
	const struct uberblock *chosen = selection->chosen;
	struct store_disk *disk = store_disk(core->store, member->config->index);
	const struct uberblock_state *state = selection_state_of(chosen, member->config->index);

	*disk = (struct store_disk){ .configured = true, .index = member->config->index, .guid = member->config->guid,
				     .role = member->config->role, .size = member->config->size,
				     .state = state ? state->state : DISK_ONLINE, .stale_from = state ? state->stale_from : 0 };
	if (member->found)
		snprintf(disk->path, sizeof(disk->path), "%s", member->found->path);
	/* One that has shrunk lacks AUs and area B: it is left out. */
	if (member->found && member->found->disk->info.size < member->config->size)
		member->found = NULL;
	if (!member->found || disk->state == DISK_OFFLINE) {
		if (disk->state != DISK_OFFLINE && disk->state != DISK_FAULTY)
			disk->state = DISK_MISSING;
		if (!disk->stale_from)
			disk->stale_from = first_txg;
		return;
	}
	disk->disk = member->found->disk;
	disk->label_first = member->found->label->spoilt_copy;
	if (member->fresh)
		return;
	/* What a log disk has is of the log that the uberblock names, or of no interest: it lacks nothing. */
	if (member->config->role == ROLE_LOG) {
		if (disk->state != DISK_FAULTY) {
			disk->state = DISK_ONLINE;
			disk->stale_from = 0;
		}
		return;
	}
	if (member->diverged || !member->newest) {
		/* Nothing on it can be trusted to be of this history. */
		disk->state = DISK_RESYNC;
		disk->stale_from = 1;
	} else if (disk->state == DISK_MISSING || disk->state == DISK_RESYNC) {
		uint64_t own = member->newest->txg + 1;
		disk->state = DISK_RESYNC;
		if (!disk->stale_from || own < disk->stale_from)
			disk->stale_from = own;
		/* A crash when it had just returned: it may know better what it lacks than the others. */
		state = selection_state_of(member->newest, member->config->index);
		if (state && state->stale_from && state->stale_from < disk->stale_from)
			disk->stale_from = state->stale_from;
	}
}

static int place_disks(struct core *core, struct selection *selection, uint64_t first_txg)
{
	const struct label *label = core->label;
	uint64_t aus = 0;

	/* As a pool is made and grows: labels that say more, of disks that aren't there, would only cost memory. */
	for (unsigned i = 0; i < selection->count; i++)
		if (selection->members[i].config->role != ROLE_LOG)
			aus += disk_au_count(selection->members[i].config->size, label->au_shift);
	if (!sys_capacity_suffices(label->k, label->m, label->au_shift, aus))
		return -POOL_EFORMAT;
	for (unsigned i = 0; i < selection->count; i++) {
		struct member *member = &selection->members[i];
		unsigned index = member->config->index;
		struct store_disk *disk = store_disk(core->store, index);

		place_disk(core, selection, member, first_txg);
		int status = core_alloc_disk_add(core, disk, disk->state == DISK_ONLINE && disk->disk);
		if (status < 0)
			return status;
	}
	return 0;
}

/* Disks that lack what txg `txg` wrote: they are away, hold nothing of the pool, or weren't done with catching up. */
static unsigned count_behind(struct core *core, const struct selection *selection, uint64_t txg)
{
	unsigned behind = 0;

	for (unsigned i = 0; i < selection->count; i++) {
		const struct store_disk *disk = store_disk(core->store, selection->members[i].config->index);
		behind += !selection->members[i].fresh && store_disk_holds_data(disk) && (!disk->disk || (disk->stale_from && disk->stale_from <= txg));
	}
	return behind;
}

/* Whether a row that was placed in txg `txg` has lost more columns than it has parity. */
static bool is_lost(struct core *core, const struct segment *segment, uint64_t txg)
{
	unsigned missing = 0;

	for (unsigned c = 0; c < (unsigned)segment->record.k + segment->record.m; c++) {
		uint16_t index = segment->record.columns[c].disk;
		const struct store_disk *disk = index == DISK_ABSENT ? NULL : store_disk(core->store, index);
		missing += !disk || !disk->disk || (disk->stale_from && disk->stale_from <= txg);
	}
	return missing > segment->record.m;
}

static bool has_lost_rows(struct core *core, const struct segment *segment)
{
	unsigned rows = alloc_geometry(core->alloc)->rows;

	if (is_lost(core, segment, segment->record.alloc_txg))
		return true;
	for (unsigned i = 0; i < segment->batch_count; i++) {
		const struct batch_index *batch = &segment->batches[i];
		if (!is_lost(core, segment, batch->txg))
			continue;
		for (unsigned c = 0; segment->bits && c < segment->bits_k; c++)
			if (bitmap_count(segment->bits, (size_t)c * rows + batch->base, batch->rows))
				return true;
	}
	return false;
}

/*
 * Segments that have lost more columns than they have parity. It isn't the number of disks that counts: what was on a disk
 * that failed earlier may long be elsewhere.
 */
static uint32_t count_lost_segments(struct core *core)
{
	uint32_t lost = 0;

	for (uint32_t id = 0; id < alloc_segment_count(core->alloc); id++) {
		const struct segment *segment = alloc_segment(core->alloc, id);
		if (segment && !alloc_segment_is_free(segment) && segment->live > 0)
			lost += has_lost_rows(core, segment);
	}
	return lost;
}

/* The state as of the chosen uberblock, with as much redundancy as its rows were written with. */
static int load_and_judge(struct core *core, const struct selection *selection, bool insist, struct pool_error *error)
{
	int status = core_load(core, selection->chosen, error);
	unsigned behind = count_behind(core, selection, selection->chosen->txg);
	uint32_t lost = status == 0 ? count_lost_segments(core) : 0;

	if (status == -ENOMEM)
		return pool_error_set(error, status, "pool %s: out of memory", core->label->name);
	/* Who insists may look at what is left. */
	if ((lost && !insist) || (status < 0 && behind > core->label->m))
		return pool_error_set(error, -POOL_EDEGRADED,
				      "pool %s: %u of its %u disks are missing, hold nothing of it, or were not done with catching up; it "
				      "survives the loss of %u",
				      core->label->name, behind, selection->data_count, core->label->m);
	if (status < 0 && error) {
		char known[400], text[508];
		selection_list_known(selection, known, sizeof(known));
		snprintf(text, sizeof(text), "%.290s; txgs to go back to with --rewind: %.170s", error->text, known);
		memcpy(error->text, text, sizeof(text));
	}
	return status;
}

/* Before anything is read, as that heals: of disks with each other's labels nothing is where it seems to be. */
static int check_exchanged(const struct core_options *options, const struct core_import *import, const struct selection *selection,
			   struct pool_error *error)
{
	char text[400];
	bool logs;
	int exchanged;

	/* Who insists, as after a crash of another host, may look, but not write. */
	if (import->force && import->read_only && !import->rehearses)
		return 0;
	exchanged = selection_find_exchanged(options->rt, selection, &logs, text, sizeof(text));
	if (exchanged < 0)
		return pool_error_set(error, exchanged, "pool %s: out of memory", selection->label->name);
	/* Those that aren't there, or lack something, are as good as wrong. */
	if (!exchanged || (!logs && (unsigned)exchanged + selection_count_absent(selection) <= selection->label->m))
		return 0;
	return pool_error_set(error, -POOL_EDAMAGED, "pool %.60s: disks have the labels of others: %s; put back what is wrong",
			      selection->label->name, text);
}

/* A crash in the middle of a change of the configuration, or an absence, left disks with an older label. */
static bool labels_differ(const struct core *core, const struct selection *selection)
{
	for (unsigned i = 0; i < selection->count; i++) {
		const struct member *member = &selection->members[i];
		const struct store_disk *disk = store_disk(core->store, member->config->index);
		if (member->found && disk->disk && member->found->label->config_txg != core->label->config_txg)
			return true;
	}
	return false;
}

static int claim(struct core *core)
{
	struct uberblock uberblock = core->uberblock;

	uberblock.rewrite++;
	/* An export has left nothing in its log. The next import mustn't ask for it, and miss it, after a crash before the first commit. */
	if (uberblock.flags & UBERBLOCK_CLEAN_EXPORT)
		uberblock.log.generation = 0;
	uberblock.flags &= ~(uint32_t)UBERBLOCK_CLEAN_EXPORT;
	uberblock.host = core->options.host;
	return uberblock_commit(core, &uberblock);
}

/* The disks pass to the core: those that are no part of it are closed, labels and paths are freed. */
static void take_disks(struct core *core, const struct core_import *import)
{
	for (unsigned d = 0; d < import->disk_count; d++) {
		struct core_disk_found *found = &import->disks[d];
		bool used = false;
		for (unsigned i = 0; i < DISKS_MAX; i++)
			used |= store_disk(core->store, i)->disk == found->disk;
		if (!used)
			disk_close(found->disk);
		free(found->label);
		free(found->path);
		*found = (struct core_disk_found){ 0 };
	}
}

/* Ends the sync, which uses what is freed then. The disks stay open: what is on its way to them ends in their own time. */
static void take_back(struct core *core)
{
	core_halt(core, "the import failed");
	while (!core->stopped || core->compactor.runs)
		rt_queue_wait(core->rt, &core->changed);
}

/* Unless something is to be replayed, the first commit no longer names the log of the last import: it tells what is lost with it. */
static int give_up_log(struct core *core)
{
	uint64_t txg;

	if (!core->intent.loss_storable || core->intent.replay_due)
		return 0;
	int status = core_hold_own(core, 0, &txg);
	if (status < 0)
		return status;
	status = intent_store_loss(core, txg);
	core_release(core, txg);
	return status;
}

/*
 * The pool is this import's from here on: a crash now leaves one that was not cleanly exported. What a rewind gave up must
 * not come back, and a txg number that the lost future had must not be given out again by an import that finds this one
 * exported: without a commit that makes the jump of the numbers durable there is no import.
 */
static int take_over(struct core *core, const struct core_import *import, const struct selection *selection, struct pool_error *error)
{
	const char *name = core->label->name;
	int status = claim(core);

	if (status == 0 && labels_differ(core, selection))
		status = labels_write(core);
	if (status == 0)
		status = rt_spawn(core->rt, "sync", core_sync_fiber, core);
	if (status < 0)
		return pool_error_set(error, status, "pool %s: it can't be taken over: %s", name,
				      core->halted ? core->halt_reason : pool_error_string(status));
	status = compactor_start(core);
	if (status < 0) {
		pool_error_set(error, status, "pool %s: it can't be taken over: %s", name, pool_error_string(status));
		take_back(core);
		return status;
	}
	if (core->imported_clean)
		return 0;
	if (import->first)
		import->first(import->argument, core);
	status = give_up_log(core);
	if (status == 0)
		status = core_commit_forced(core);
	if (status == 0)
		return 0;
	const char *why = core->halted ? core->halt_reason : pool_error_string(status);
	if (selection->wanted_txg)
		pool_error_set(error, status, "pool %s: going back to txg %llu can't be made durable: %s; see to its disks, then try again",
			       name, (unsigned long long)selection->wanted_txg, why);
	else
		pool_error_set(error, status, "pool %s: its first commit failed: %s; see to its disks, then try again", name, why);
	take_back(core);
	return status;
}

static int import_selected(const struct core_options *options, const struct core_import *import, struct selection *selection,
			   struct heartbeat *heartbeat, struct core **ret_core, struct pool_error *error)
{
	const struct uberblock *chosen = selection->chosen;
	bool clean = chosen->flags & UBERBLOCK_CLEAN_EXPORT && chosen->txg == selection->highest_txg && !import->rewind_txg;
	uint64_t first_txg = clean ? chosen->txg + 1 : selection->highest_txg + TXG_REWIND_GAP + chosen->rewrite;
	bool insists = import->force && import->read_only && !import->rehearses;
	struct core *core;
	int status = check_exchanged(options, import, selection, error); /* of all disks: one with a larger one's label seems to have shrunk */

	if (status < 0) {
		heartbeat_stop(heartbeat);
		return status;
	}
	status = core_new(options, selection->label, &core);
	if (status < 0) {
		heartbeat_stop(heartbeat);
		return pool_error_set(error, status, "pool %s: out of memory", selection->label->name);
	}
	core->heartbeat_interval_ms = chosen->heartbeat_interval_ms;
	core->read_only = import->read_only;
	core->forced = import->force;
	core->imported_clean = clean;
	core->uberblock = *chosen;
	core->open_txg = first_txg;
	if (core->read_only)
		store_set_read_only(core->store);
	store_txg_begin(core->store, first_txg - 1);
	store_txg_end(core->store);
	status = place_disks(core, selection, first_txg);
	if (heartbeat)
		heartbeat_follow(heartbeat, core);
	if (status == -POOL_EFORMAT)
		pool_error_set(error, status, "pool %s: its label names disks that are larger than a pool with allocation units of %u KiB can have",
			       core->label->name, 1u << (core->label->au_shift - 10));
	else if (status < 0)
		pool_error_set(error, status, "pool %s: %s", core->label->name, pool_error_string(status));
	if (import->rewind_txg)
		alloc_load_without_log(core->alloc);
	if (status == 0)
		status = load_and_judge(core, selection, insists, error);
	/* A rewind gives up what the log has. Who insists on looking at what is left gets it without. */
	bool discard = chosen->flags & UBERBLOCK_CLEAN_EXPORT || import->rewind_txg || insists;
	if (status == 0) {
		status = intent_load_loss(core);
		if (status < 0)
			pool_error_set(error, status, "out of memory");
	}
	if (status == 0)
		status = intent_load(core, discard, import->missing_log, error);
	if (status == 0) {
		status = store_resume(core->store, core->intent.replay_due);
		if (status < 0)
			pool_error_set(error, status, "out of memory");
	}
	if (status == 0) {
		alloc_space(core->alloc, &core->space);
		if (!core->read_only)
			status = take_over(core, import, selection, error);
	}
	if (status < 0) {
		heartbeat_stop(heartbeat);
		for (unsigned i = 0; i < DISKS_MAX; i++)
			store_disk(core->store, i)->disk = NULL; /* they stay the caller's */
		core_free(core);
		return status;
	}
	take_disks(core, import);
	*ret_core = core;
	return 0;
}

int core_import(const struct core_options *options, const struct core_import *import, struct core **ret_core, struct pool_error *error)
{
	struct heartbeat *heartbeat = NULL;
	struct selection *selection;
	int status = selection_make(options, import, &selection, error);

	if (status == 0 && selection->chosen->heartbeat_interval_ms && !import->read_only) {
		status = heartbeat_claim(options, selection, &heartbeat, error);
		/* Meanwhile another host may have gone on, and exported it. */
		if (status == 0) {
			selection_release(selection);
			status = selection_make(options, import, &selection, error);
			if (status < 0)
				heartbeat_stop(heartbeat);
		}
	}
	if (status == 0)
		status = import_selected(options, import, selection, heartbeat, ret_core, error);
	selection_release(selection);
	return status;
}
