/*
 * Import: which disks belong, which uberblock counts, what each disk is worth; then the state is loaded and the pool is
 * claimed by writing that uberblock again. engine.md 4.9.
 *
 * The newest valid uberblock counts, also one that never reached its quorum: its tree was flushed before it was written.
 * Going back needs an explicit word, because it gives up what was acknowledged.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libpool/base/check.h"
#include "libpool/txg/internal.h"

/* One disk of the configuration during import. */
struct member {
	const struct core_disk_found *found; /* NULL: absent */
	const struct label_disk *config;
	struct uberblock *newest;            /* its own newest; NULL: none */
	bool diverged;
};

struct selection {
	const struct label *label;
	struct member members[DISKS_MAX];
	unsigned count;
	struct uberblock *chosen;
	uint64_t highest_txg; /* in any valid slot of any disk */
	struct array known;   /* struct known_txg */
	uint64_t wanted_txg;
};

struct known_txg {
	uint64_t txg, time_ns;
};

struct scan {
	struct selection *selection;
	struct member *member;
	int error;
};

static bool newer(const struct uberblock *a, const struct uberblock *b)
{
	return a->txg > b->txg || (a->txg == b->txg && a->rewrite > b->rewrite);
}

static int scan_slot(void *argument, const struct uberblock *uberblock)
{
	struct scan *scan = argument;
	struct selection *selection = scan->selection;
	struct member *member = scan->member;
	bool listed = false;

	if (uberblock->disk_index != member->config->index)
		return 0;
	if (uberblock->txg > selection->highest_txg)
		selection->highest_txg = uberblock->txg;
	for (size_t i = 0; i < selection->known.count && !listed; i++)
		listed = array_at(&selection->known, struct known_txg, i)->txg == uberblock->txg;
	struct known_txg known = { uberblock->txg, uberblock->time_ns };
	if (!listed && array_push(&selection->known, &known) < 0)
		return -ENOMEM;
	if (selection->wanted_txg && uberblock->txg > selection->wanted_txg)
		return 0;
	if (!member->newest) {
		member->newest = malloc(sizeof(*member->newest));
		if (!member->newest)
			return -ENOMEM;
		*member->newest = *uberblock;
	} else if (newer(uberblock, member->newest)) {
		*member->newest = *uberblock;
	}
	return 0;
}

static const struct uberblock_state *state_of(const struct uberblock *uberblock, unsigned index)
{
	for (unsigned i = 0; i < uberblock->state_count; i++)
		if (uberblock->states[i].disk == index)
			return &uberblock->states[i];
	return NULL;
}

/* Whether (epoch, txg) lies in the history that ends with `uberblock`. */
static bool in_history(const struct uberblock *uberblock, uint64_t epoch, uint64_t txg)
{
	if (epoch == uberblock->epoch)
		return txg <= uberblock->txg;
	for (unsigned i = 0; i < uberblock->history_count; i++)
		if (uberblock->history[i].epoch == epoch)
			return i == 0 ? txg <= uberblock->txg : txg < uberblock->history[i - 1].first_txg;
	return false;
}

/*
 * The newest uberblock of all disks. A disk that was left out while the pool went on has an older one than those that
 * list it, and at the same txg they have the higher rewrite count: being the newest is enough.
 */
static void choose(struct selection *selection)
{
	selection->chosen = NULL;
	for (unsigned i = 0; i < selection->count; i++) {
		struct uberblock *newest = selection->members[i].newest;
		if (newest && (!selection->chosen || newer(newest, selection->chosen)))
			selection->chosen = newest;
	}
}

static int select_members(const struct core_import *import, struct selection *selection, struct pool_error *error)
{
	const struct label *label = selection->label;

	for (unsigned i = 0; i < label->disk_count; i++) {
		const struct label_disk *config = &label->disks[i];
		if (config->state == DISK_REMOVED)
			continue;
		struct member *member = &selection->members[selection->count++];
		*member = (struct member){ .config = config };
		for (unsigned d = 0; d < import->disk_count; d++) {
			const struct core_disk_found *found = &import->disks[d];
			if (memcmp(&found->label->disk, &config->guid, sizeof(struct guid)) != 0)
				continue;
			if (member->found)
				return pool_error_set(error, -EEXIST,
						      "pool %s: %s and %s are copies of the same disk; take one of them away",
						      label->name, member->found->path, found->path);
			member->found = found;
		}
		if (!member->found)
			continue;
		struct scan scan = { selection, member, 0 };
		int status = uberblocks_scan(member->found->disk, member->found->label, scan_slot, &scan);
		if (status < 0)
			return pool_error_set(error, status, "pool %s: disk %s: %s", label->name, member->found->path,
					      pool_error_string(status));
	}
	return 0;
}

static void list_known(const struct selection *selection, char *text, size_t size)
{
	size_t used = 0;

	text[0] = 0;
	for (unsigned n = 0; n < 8; n++) {
		const struct known_txg *best = NULL;
		for (size_t i = 0; i < selection->known.count; i++) {
			const struct known_txg *known = array_at(&selection->known, struct known_txg, i);
			unsigned newer_ones = 0;
			for (size_t j = 0; j < selection->known.count; j++)
				newer_ones += array_at(&selection->known, struct known_txg, j)->txg > known->txg;
			if (newer_ones == n)
				best = known;
		}
		if (!best || used + 48 > size)
			return;
		used += (size_t)snprintf(text + used, size - used, "%s%llu (%llu s)", n ? ", " : "", (unsigned long long)best->txg,
					 (unsigned long long)(best->time_ns / NS_PER_S));
	}
}

static int check_split(const struct core_import *import, struct selection *selection, struct pool_error *error)
{
	const struct label *label = selection->label;
	unsigned diverged = 0, enough = selection->count > label->m ? selection->count - label->m : 1;

	for (unsigned i = 0; i < selection->count; i++) {
		struct member *member = &selection->members[i];
		if (!member->newest)
			continue;
		member->diverged = !in_history(selection->chosen, member->newest->epoch, member->newest->txg);
		diverged += member->diverged;
	}
	if (diverged >= enough && !import->force && !import->rewind_txg)
		return pool_error_set(error, -POOL_ESPLIT,
				      "pool %s was used in two halves: %u of its disks hold another history; keep the half you want "
				      "attached, or force the import of the newer one",
				      label->name, diverged);
	return 0;
}

static int place_disks(struct core *core, const struct core_import *import, struct selection *selection, uint64_t first_txg,
		       unsigned *ret_absent, struct pool_error *error)
{
	const struct uberblock *chosen = selection->chosen;
	unsigned absent = 0;

	for (unsigned i = 0; i < selection->count; i++) {
		struct member *member = &selection->members[i];
		unsigned index = member->config->index;
		struct store_disk *disk = store_disk(core->store, index);
		const struct uberblock_state *state = state_of(chosen, index);
		*disk = (struct store_disk){ .configured = true, .index = (uint16_t)index, .guid = member->config->guid,
					     .role = member->config->role, .size = member->config->size,
					     .state = state ? state->state : DISK_ONLINE,
					     .stale_from = state ? state->stale_from : 0 };
		if (member->found && member->found->disk->info.size < member->config->size) {
			pool_error_set(error, -ENXIO, "pool %s: disk %s has shrunk from %llu to %llu bytes: it is left out",
				       selection->label->name, member->found->path, (unsigned long long)member->config->size,
				       (unsigned long long)member->found->disk->info.size);
			member->found = NULL;
		}
		if (member->found)
			snprintf(disk->path, sizeof(disk->path), "%s", member->found->path);
		bool usable_disk = member->found && disk->state != DISK_OFFLINE;
		if (usable_disk)
			disk->disk = member->found->disk;
		if (!usable_disk) {
			if (disk->state != DISK_OFFLINE && disk->state != DISK_FAULTY)
				disk->state = DISK_MISSING;
			if (!disk->stale_from)
				disk->stale_from = first_txg;
			absent++;
		} else if (member->diverged || !member->newest) {
			/* Nothing on it can be trusted to be of this history. */
			disk->state = DISK_RESYNC;
			disk->stale_from = 1;
			absent++;
		} else if (disk->state == DISK_MISSING || disk->state == DISK_RESYNC) {
			uint64_t own = member->newest->txg + 1;
			disk->state = DISK_RESYNC;
			if (!disk->stale_from || own < disk->stale_from)
				disk->stale_from = own;
		}
		uint32_t aus = disk_au_count(member->config->size, core->label->au_shift);
		int status = alloc_disk_add(core->alloc, index, aus, disk->state == DISK_ONLINE && disk->disk);
		if (status < 0)
			return status;
	}
	*ret_absent = absent;
	(void)import;
	return 0;
}

static int check_host(const struct core_options *options, const struct core_import *import, const struct selection *selection,
		      struct pool_error *error)
{
	static const struct guid none;
	const struct uberblock *chosen = selection->chosen;

	if (chosen->flags & UBERBLOCK_CLEAN_EXPORT || import->force || import->read_only ||
	    memcmp(&chosen->host, &options->host, sizeof(struct guid)) == 0 || memcmp(&chosen->host, &none, sizeof(none)) == 0)
		return 0;
	return pool_error_set(error, -POOL_EOTHERHOST,
			      "pool %s was last used by another host and not exported: if that host is down, import with --force",
			      selection->label->name);
}

static int claim(struct core *core)
{
	struct uberblock uberblock = core->uberblock;

	uberblock.rewrite++;
	uberblock.flags &= ~(uint32_t)UBERBLOCK_CLEAN_EXPORT;
	uberblock.host = core->options.host;
	return uberblock_commit(core, &uberblock);
}

static const struct label *newest_label(const struct core_import *import)
{
	const struct label *best = NULL;

	for (unsigned i = 0; i < import->disk_count; i++)
		if (!best || import->disks[i].label->config_txg > best->config_txg)
			best = import->disks[i].label;
	return best;
}

/* A crash in the middle of a change of the configuration, or an absence, left disks with an older label. */
static bool labels_differ(const struct core_import *import)
{
	for (unsigned i = 1; i < import->disk_count; i++)
		if (import->disks[i].label->config_txg != import->disks[0].label->config_txg)
			return true;
	return false;
}

static void selection_release(struct selection *selection)
{
	if (!selection)
		return;
	for (unsigned i = 0; i < selection->count; i++)
		free(selection->members[i].newest);
	array_release(&selection->known);
	free(selection);
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

int core_import(const struct core_options *options, const struct core_import *import, struct core **ret_core, struct pool_error *error)
{
	const struct label *label = newest_label(import);
	struct core *core = NULL;
	unsigned absent = 0;

	if (!label)
		return pool_error_set(error, -ENOENT, "no disk of the pool was found");
	struct selection *selection = calloc(1, sizeof(*selection));
	if (!selection)
		return pool_error_set(error, -ENOMEM, "out of memory");
	selection->label = label;
	selection->wanted_txg = import->rewind_txg;
	array_init(&selection->known, sizeof(struct known_txg));
	int status = select_members(import, selection, error);
	if (status == 0) {
		choose(selection);
		char known[400];
		list_known(selection, known, sizeof(known));
		if (!selection->chosen)
			status = pool_error_set(error, -POOL_EDAMAGED, "pool %s: no disk has a valid uberblock%s%s", label->name,
						known[0] ? "; there are txgs " : "", known);
		else if (import->rewind_txg && selection->chosen->txg != import->rewind_txg)
			status = pool_error_set(error, -ENOENT, "pool %s has no uberblock of txg %llu: there are %s", label->name,
						(unsigned long long)import->rewind_txg, known);
	}
	if (status == 0)
		status = check_host(options, import, selection, error);
	if (status == 0)
		status = check_split(import, selection, error);
	if (status == 0)
		status = core_new(options, label, &core);
	if (status < 0) {
		if (!error || error->code == 0)
			pool_error_set(error, status, "pool %s: %s", label->name, pool_error_string(status));
		selection_release(selection);
		return status;
	}
	const struct uberblock *chosen = selection->chosen;
	bool clean = chosen->flags & UBERBLOCK_CLEAN_EXPORT && chosen->txg == selection->highest_txg && !import->rewind_txg;
	uint64_t first_txg = clean ? chosen->txg + 1 : selection->highest_txg + TXG_REWIND_GAP;
	core->read_only = import->read_only;
	core->imported_clean = clean;
	core->uberblock = *chosen;
	if (core->read_only)
		store_set_read_only(core->store);
	store_txg_begin(core->store, first_txg - 1);
	store_txg_end(core->store);
	status = place_disks(core, import, selection, first_txg, &absent, error);
	if (status == 0 && absent > label->m) {
		status = pool_error_set(error, -POOL_EDEGRADED,
					"pool %s: %u of its %u disks are missing or hold nothing of it; it survives the loss of %u",
					label->name, absent, selection->count, label->m);
	}
	if (status == 0)
		status = core_load(core, chosen, error);
	if (status < 0) {
		char known[400], text[508];
		list_known(selection, known, sizeof(known));
		if (status != -POOL_EDEGRADED && status != -ENOMEM && error) {
			snprintf(text, sizeof(text), "%.290s; txgs to go back to with --rewind: %.170s", error->text, known);
			memcpy(error->text, text, sizeof(text));
		}
		for (unsigned i = 0; i < DISKS_MAX; i++)
			store_disk(core->store, i)->disk = NULL;
		core_free(core);
		selection_release(selection);
		return status;
	}
	core->open_txg = first_txg;
	store_resume(core->store);
	alloc_space(core->alloc, &core->space);
	if (!core->read_only) {
		status = claim(core);
		if (status == 0 && labels_differ(import))
			status = labels_write(core);
		if (status == 0)
			status = rt_spawn(core->rt, "sync", core_sync_fiber, core);
	}
	if (status < 0) {
		pool_error_set(error, status, "pool %s: its uberblock can't be written: %s", label->name, pool_error_string(status));
		for (unsigned i = 0; i < DISKS_MAX; i++)
			store_disk(core->store, i)->disk = NULL;
		core_free(core);
	} else {
		take_disks(core, import);
		*ret_core = core;
	}
	selection_release(selection);
	return status;
}
