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
#include <time.h>

#include "libpool/base/check.h"
#include "libpool/txg/internal.h"

/* One disk of the configuration during import. */
struct member {
	const struct core_disk_found *found; /* NULL: absent */
	const struct label_disk *config;
	struct uberblock *newest;            /* its own newest; NULL: none */
	bool diverged;
	bool fresh; /* added after the txg that counts: nothing is on it, and nothing is missed */
};

struct known_txg {
	uint64_t txg, time_ns;
};

#define KNOWN_MAX 8u
/* Beyond these numbers nobody gets by counting: such an uberblock is a forgery, and sums with it would overflow. */
#define TXG_MAX (UINT64_C(1) << 62)
#define REWRITE_MAX (UINT32_C(1) << 30)

struct selection {
	const struct label *label;
	struct member members[DISKS_MAX];
	unsigned count;
	struct uberblock *chosen;
	uint64_t highest_txg; /* in any valid slot of any disk */
	struct known_txg known[KNOWN_MAX]; /* the newest ones, descending; txg 0: none */
	uint64_t wanted_txg;
	int scanned[DISKS_MAX]; /* how reading each member's uberblocks ended */
};

struct scan {
	struct selection *selection;
	struct member *member;
};

static bool newer(const struct uberblock *a, const struct uberblock *b)
{
	return a->txg > b->txg || (a->txg == b->txg && a->rewrite > b->rewrite);
}

static void note_known(struct selection *selection, const struct uberblock *uberblock)
{
	struct known_txg *known = selection->known;
	unsigned at = 0;

	while (at < KNOWN_MAX && known[at].txg > uberblock->txg)
		at++;
	if (at == KNOWN_MAX || known[at].txg == uberblock->txg)
		return;
	memmove(&known[at + 1], &known[at], (KNOWN_MAX - 1 - at) * sizeof(*known));
	known[at] = (struct known_txg){ uberblock->txg, uberblock->time_ns };
}

static int scan_slot(void *argument, const struct uberblock *uberblock)
{
	struct scan *scan = argument;
	struct selection *selection = scan->selection;
	struct member *member = scan->member;

	if (uberblock->disk_index != member->config->index || uberblock->txg > TXG_MAX || uberblock->rewrite > REWRITE_MAX)
		return 0;
	if (uberblock->txg > selection->highest_txg)
		selection->highest_txg = uberblock->txg;
	note_known(selection, uberblock);
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

static int scan_member(void *argument, unsigned index)
{
	struct selection *selection = argument;
	struct scan scan = { selection, &selection->members[index] };

	return scan.member->found ? uberblocks_scan(scan.member->found->disk, scan.member->found->label, scan_slot, &scan) : 0;
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
	}
	return 0;
}

static int scan_members(struct rt *rt, struct selection *selection, struct pool_error *error)
{
	run_each(rt, "uberblocks", selection->count, scan_member, selection, selection->scanned);
	for (unsigned i = 0; i < selection->count; i++) {
		struct member *member = &selection->members[i];
		if (selection->scanned[i] == -ENOMEM)
			return pool_error_set(error, -ENOMEM, "out of memory");
		if (selection->scanned[i] == 0)
			continue;
		/* It doesn't answer: as if it were not there. */
		free(member->newest);
		member->newest = NULL;
		member->found = NULL;
	}
	return 0;
}

static void list_known(const struct selection *selection, char *text, size_t size)
{
	size_t used = 0; /* whole entries, and what they are put into has room for 170 */

	text[0] = 0;
	for (unsigned n = 0; n < KNOWN_MAX && selection->known[n].txg && used + 30 < (size < 170 ? size : 170); n++) {
		time_t seconds = (time_t)(selection->known[n].time_ns / NS_PER_S);
		struct tm parts;
		char when[32];
		if (!gmtime_r(&seconds, &parts) || strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", &parts) == 0)
			snprintf(when, sizeof(when), "time unknown");
		used += (size_t)snprintf(text + used, size - used, "%s%llu (%s)", n ? ", " : "",
					 (unsigned long long)selection->known[n].txg, when);
	}
}

/* Features of the format that this version lacks. */
static int check_features(const struct core_import *import, const struct selection *selection, struct pool_error *error)
{
	const struct uberblock *chosen = selection->chosen;
	uint64_t unknown = chosen->incompat & ~FEATURES_INCOMPAT_KNOWN;

	if (unknown)
		return pool_error_set(error, -POOL_EFEATURE, "pool %s uses features that this version doesn't know (bits 0x%llx)",
				      selection->label->name, (unsigned long long)unknown);
	unknown = chosen->ro_compat & ~FEATURES_RO_COMPAT_KNOWN;
	if (unknown && !import->read_only)
		return pool_error_set(error, -POOL_EFEATURE,
				      "pool %s uses features that this version can't write (bits 0x%llx): import it read-only",
				      selection->label->name, (unsigned long long)unknown);
	return 0;
}

/*
 * Disks that were added in the last moments before a crash are in the labels and not yet in an uberblock. Indexes ascend,
 * so of the disks that the uberblock doesn't count these are the last.
 */
static void find_fresh(struct selection *selection)
{
	unsigned counted = selection->chosen->disks_online + selection->chosen->state_count;

	for (unsigned more = selection->count > counted ? selection->count - counted : 0; more > 0; more--) {
		struct member *last = NULL;
		for (unsigned i = 0; i < selection->count; i++) {
			struct member *member = &selection->members[i];
			if (!member->fresh && (!last || member->config->index > last->config->index))
				last = member;
		}
		if (!last || last->newest || state_of(selection->chosen, last->config->index))
			return;
		last->fresh = true;
	}
}

static bool older_than_history(const struct uberblock *uberblock, uint64_t txg)
{
	return uberblock->history_count == UBERBLOCK_HISTORY_MAX &&
	       txg < uberblock->history[UBERBLOCK_HISTORY_MAX - 1].first_txg;
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
		/* A disk that was away for more imports than the history has room for is old, which is no other half. */
		diverged += member->diverged && !older_than_history(selection->chosen, member->newest->txg);
	}
	if (diverged >= enough && !import->force && !import->rewind_txg)
		return pool_error_set(error, -POOL_ESPLIT,
				      "pool %s was used in two halves: %u of its disks hold another history; keep the half you want "
				      "attached, or force the import of the newer one",
				      label->name, diverged);
	return 0;
}

/* What a disk is worth, by its own newest uberblock and by what the chosen one says of it. */
static void place_disk(struct core *core, const struct selection *selection, struct member *member, uint64_t first_txg)
{
	const struct uberblock *chosen = selection->chosen;
	struct store_disk *disk = store_disk(core->store, member->config->index);
	const struct uberblock_state *state = state_of(chosen, member->config->index);

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
	if (member->fresh)
		return;
	if (member->diverged || !member->newest) {
		/* Nothing on it can be trusted to be of this history. */
		disk->state = DISK_RESYNC;
		disk->stale_from = 1;
	} else if (disk->state == DISK_MISSING || disk->state == DISK_RESYNC) {
		uint64_t own = member->newest->txg + 1;
		disk->state = DISK_RESYNC;
		if (!disk->stale_from || own < disk->stale_from)
			disk->stale_from = own;
	}
}

static int place_disks(struct core *core, struct selection *selection, uint64_t first_txg)
{
	for (unsigned i = 0; i < selection->count; i++) {
		struct member *member = &selection->members[i];
		unsigned index = member->config->index;
		struct store_disk *disk = store_disk(core->store, index);

		place_disk(core, selection, member, first_txg);
		int status = alloc_disk_add(core->alloc, index, disk_au_count(member->config->size, core->label->au_shift),
					    disk->state == DISK_ONLINE && disk->disk);
		if (status < 0)
			return status;
	}
	return 0;
}

static unsigned count_absent(struct core *core, const struct selection *selection)
{
	unsigned absent = 0;

	for (unsigned i = 0; i < selection->count; i++) {
		const struct store_disk *disk = store_disk(core->store, selection->members[i].config->index);
		absent += !selection->members[i].fresh && (!disk->disk || disk->stale_from == 1);
	}
	return absent;
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
		unsigned missing = 0;
		if (!segment || alloc_segment_is_free(segment) || segment->live == 0)
			continue;
		for (unsigned c = 0; c < (unsigned)segment->record.k + segment->record.m; c++) {
			uint16_t index = segment->record.columns[c].disk;
			const struct store_disk *disk = index == DISK_ABSENT ? NULL : store_disk(core->store, index);
			missing += !disk || !disk->disk || (disk->stale_from && disk->stale_from <= segment->record.alloc_txg);
		}
		lost += missing > segment->record.m;
	}
	return lost;
}

/* The state as of the chosen uberblock, with as much redundancy as its rows were written with. */
static int load_and_judge(struct core *core, const struct selection *selection, bool insist, struct pool_error *error)
{
	int status = core_load(core, selection->chosen, error);
	unsigned absent = count_absent(core, selection);
	uint32_t lost = status == 0 ? count_lost_segments(core) : 0;

	if (status == -ENOMEM)
		return pool_error_set(error, status, "pool %s: out of memory", core->label->name);
	/* Who insists may look at what is left. */
	if ((lost && !(core->read_only && insist)) || (status < 0 && absent > core->label->m))
		return pool_error_set(error, -POOL_EDEGRADED,
				      "pool %s: %u of its %u disks are missing or hold nothing of it; it survives the loss of %u",
				      core->label->name, absent, selection->count, core->label->m);
	if (status < 0 && error) {
		char known[400], text[508];
		list_known(selection, known, sizeof(known));
		snprintf(text, sizeof(text), "%.290s; txgs to go back to with --rewind: %.170s", error->text, known);
		memcpy(error->text, text, sizeof(text));
	}
	return status;
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

static void selection_release(struct selection *selection)
{
	if (!selection)
		return;
	for (unsigned i = 0; i < selection->count; i++)
		free(selection->members[i].newest);
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

/* Which uberblock counts, and whether this host may go on from there. */
static int select_state(const struct core_options *options, const struct core_import *import, struct selection *selection,
			struct pool_error *error)
{
	const struct label *label = selection->label;
	char known[400];
	int status = select_members(import, selection, error);

	if (status == 0)
		status = scan_members(options->rt, selection, error);
	if (status < 0)
		return status;
	choose(selection);
	list_known(selection, known, sizeof(known));
	if (import->rewind_txg && (!selection->chosen || selection->chosen->txg != import->rewind_txg))
		return pool_error_set(error, -ENOENT, "pool %s has no uberblock of txg %llu: there are %s", label->name,
				      (unsigned long long)import->rewind_txg, known);
	if (!selection->chosen)
		return pool_error_set(error, -POOL_EDAMAGED, "pool %s: no disk has a valid uberblock", label->name);
	status = check_features(import, selection, error);
	if (status == 0)
		status = check_host(options, import, selection, error);
	if (status == 0)
		status = check_split(import, selection, error);
	find_fresh(selection);
	return status;
}

/* The pool is this import's from here on: a crash now leaves one that was not cleanly exported. */
static int take_over(struct core *core, const struct selection *selection, struct pool_error *error)
{
	int status = claim(core);

	if (status == 0 && labels_differ(core, selection))
		status = labels_write(core);
	if (status == 0)
		status = rt_spawn(core->rt, "sync", core_sync_fiber, core);
	/*
	 * What a rewind gave up must not come back, and a txg number that the lost future had must not be given out again by an
	 * import that finds this one exported: the jump of the numbers is made durable. A pool that can't do that is halted.
	 */
	if (status == 0 && !core->imported_clean)
		(void)core_commit_forced(core);
	if (status < 0)
		pool_error_set(error, status, "pool %s: it can't be taken over: %s", core->label->name,
			       core->halted ? core->halt_reason : pool_error_string(status));
	return status;
}

static int import_selected(const struct core_options *options, const struct core_import *import, struct selection *selection,
			   struct core **ret_core, struct pool_error *error)
{
	const struct uberblock *chosen = selection->chosen;
	bool clean = chosen->flags & UBERBLOCK_CLEAN_EXPORT && chosen->txg == selection->highest_txg && !import->rewind_txg;
	uint64_t first_txg = clean ? chosen->txg + 1 : selection->highest_txg + TXG_REWIND_GAP + chosen->rewrite;
	struct core *core;
	int status = core_new(options, selection->label, &core);

	if (status < 0)
		return pool_error_set(error, status, "pool %s: out of memory", selection->label->name);
	core->read_only = import->read_only;
	core->imported_clean = clean;
	core->uberblock = *chosen;
	core->open_txg = first_txg;
	if (core->read_only)
		store_set_read_only(core->store);
	store_txg_begin(core->store, first_txg - 1);
	store_txg_end(core->store);
	status = place_disks(core, selection, first_txg);
	if (status < 0)
		pool_error_set(error, status, "pool %s: %s", core->label->name, pool_error_string(status));
	else
		status = load_and_judge(core, selection, import->force, error);
	if (status == 0) {
		store_resume(core->store);
		alloc_space(core->alloc, &core->space);
		if (!core->read_only)
			status = take_over(core, selection, error);
	}
	if (status < 0) {
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
	const struct label *label = newest_label(import);

	if (!label)
		return pool_error_set(error, -ENOENT, "no disk of the pool was found");
	struct selection *selection = calloc(1, sizeof(*selection));
	if (!selection)
		return pool_error_set(error, -ENOMEM, "out of memory");
	selection->label = label;
	selection->wanted_txg = import->rewind_txg;
	int status = select_state(options, import, selection, error);
	if (status == 0)
		status = import_selected(options, import, selection, ret_core, error);
	selection_release(selection);
	return status;
}
