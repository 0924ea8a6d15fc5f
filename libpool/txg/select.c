#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "libpool/txg/select.h"

/* Beyond these numbers nobody gets by counting: such an uberblock is a forgery, and sums with it would overflow. */
#define TXG_MAX (UINT64_C(1) << 62)
#define REWRITE_MAX (UINT32_C(1) << 30)

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

	while (at < SELECTION_KNOWN_MAX && known[at].txg > uberblock->txg)
		at++;
	if (at == SELECTION_KNOWN_MAX || known[at].txg == uberblock->txg)
		return;
	memmove(&known[at + 1], &known[at], (SELECTION_KNOWN_MAX - 1 - at) * sizeof(*known));
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

	return scan.member->found && scan.member->config->role != ROLE_LOG ? uberblocks_scan(scan.member->found->disk, scan.member->found->label, scan_slot, &scan) : 0;
}

const struct uberblock_state *selection_state_of(const struct uberblock *uberblock, unsigned index)
{
	for (unsigned i = 0; i < uberblock->state_count; i++)
		if (uberblock->states[i].disk == index)
			return &uberblock->states[i];
	return NULL;
}

/* Whether (epoch, txg) lies in the history that ends with `uberblock`. */
static bool in_history(const struct uberblock *uberblock, uint64_t epoch, uint64_t txg)
{
	for (unsigned i = 0; i < uberblock->history_count; i++)
		if (uberblock->history[i].epoch == epoch)
			return txg >= uberblock->history[i].first_txg &&
			       (i == 0 ? txg <= uberblock->txg : txg < uberblock->history[i - 1].first_txg);
	return false;
}

static unsigned quorum_of(const struct selection *selection, const struct uberblock *uberblock)
{
	unsigned quorum = selection->label->m + 1u > 2 ? selection->label->m + 1u : 2;

	return quorum < uberblock->disks_online ? quorum : uberblock->disks_online;
}

/* Of data, as far as the label knows. */
static unsigned disks_listed(const struct selection *selection, const struct uberblock *uberblock)
{
	unsigned listed = 0;

	for (unsigned i = 0; i < selection->count; i++)
		listed += selection->members[i].config->role != ROLE_LOG && selection_state_of(uberblock, selection->members[i].config->index) != NULL;
	return listed;
}

/*
 * Whether an import that didn't see this disk went on from an older txg, and may have written where the disk's newest one had its blocks: by its claim the
 * disk lacks what comes from a txg on that is beyond that one. And nobody was told that it is committed: disks that import didn't see are fewer than
 * its quorum. If they may be as many, this is another half of the pool.
 */
static bool passed_over(const struct selection *selection, const struct member *member)
{
	const struct uberblock *last = member->newest;

	for (unsigned i = 0; i < selection->count; i++) {
		const struct uberblock *other = selection->members[i].newest;
		const struct uberblock_state *state = other && other->txg < last->txg ? selection_state_of(other, member->config->index) : NULL;

		if (state && state->stale_from > last->txg && disks_listed(selection, other) < quorum_of(selection, last))
			return true;
	}
	return false;
}

/*
 * The newest uberblock of all disks, but for one that was passed over. A disk that was left out while the pool went on has an older one than those that
 * list it, and at the same txg they have the higher rewrite count: being the newest is enough.
 */
static void choose(struct selection *selection)
{
	selection->chosen = NULL;
	for (unsigned i = 0; i < selection->count; i++) {
		const struct member *member = &selection->members[i];
		if (member->newest && (!selection->chosen || newer(member->newest, selection->chosen)) &&
		    (selection->wanted_txg || !passed_over(selection, member)))
			selection->chosen = member->newest;
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
		selection->data_count += config->role != ROLE_LOG;
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

void selection_list_known(const struct selection *selection, char *text, size_t size)
{
	size_t used = 0; /* whole entries, and what they are put into has room for 170 */

	text[0] = 0;
	for (unsigned n = 0; n < SELECTION_KNOWN_MAX && selection->known[n].txg && used + 30 < (size < 170 ? size : 170); n++) {
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
	if (unknown && (!import->read_only || import->rehearses))
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
	unsigned counted = selection->chosen->disks_online;

	/* Log disks have no part in this; and it may list disks that newer labels don't. */
	for (unsigned i = 0; i < selection->count; i++)
		counted += selection->members[i].config->role != ROLE_LOG &&
			   selection_state_of(selection->chosen, selection->members[i].config->index) != NULL;
	for (unsigned more = selection->data_count > counted ? selection->data_count - counted : 0; more > 0; more--) {
		struct member *last = NULL;
		for (unsigned i = 0; i < selection->count; i++) {
			struct member *member = &selection->members[i];
			if (!member->fresh && member->config->role != ROLE_LOG && (!last || member->config->index > last->config->index))
				last = member;
		}
		if (!last || last->newest || selection_state_of(selection->chosen, last->config->index))
			return;
		last->fresh = true;
	}
}

static bool older_than_history(const struct uberblock *uberblock, uint64_t txg)
{
	return uberblock->history_count == UBERBLOCK_HISTORY_MAX &&
	       txg < uberblock->history[UBERBLOCK_HISTORY_MAX - 1].first_txg;
}

/* The epoch that txg belongs to in the history that ends with `uberblock`; 0: none that is remembered. */
static uint64_t epoch_of(const struct uberblock *uberblock, uint64_t txg)
{
	for (unsigned i = 0; i < uberblock->history_count; i++)
		if (txg >= uberblock->history[i].first_txg)
			return uberblock->history[i].epoch;
	return 0;
}

/*
 * Whether all that a disk has beyond the chosen history is one uberblock that committed nothing: a crash left it on fewer disks than
 * its quorum, and the next import saw none of these. Disks that aren't there may have it.
 */
static bool never_committed(const struct selection *selection, const struct member *member)
{
	const struct uberblock *last = member->newest;
	unsigned have = 0;

	if (last->txg == 0 || !in_history(selection->chosen, epoch_of(last, last->txg - 1), last->txg - 1))
		return false;
	for (unsigned i = 0; i < selection->count; i++) {
		const struct member *other = &selection->members[i];
		if (other->config->role != ROLE_LOG)
			have += !other->newest || (other->newest->epoch == last->epoch && other->newest->txg >= last->txg);
	}
	return have < quorum_of(selection, last);
}

static int check_split(const struct core_import *import, struct selection *selection, struct pool_error *error)
{
	const struct label *label = selection->label;
	unsigned diverged = 0, enough = selection->data_count > label->m ? selection->data_count - label->m : 1;

	for (unsigned i = 0; i < selection->count; i++) {
		struct member *member = &selection->members[i];
		if (!member->newest)
			continue;
		member->diverged = !in_history(selection->chosen, member->newest->epoch, member->newest->txg);
		/* A disk that was away for more imports than the history has room for is old, which is no other half. */
		diverged += member->diverged && !older_than_history(selection->chosen, member->newest->txg) && !never_committed(selection, member);
	}
	if (diverged >= enough && !import->force && !import->rewind_txg)
		return pool_error_set(error, -POOL_ESPLIT,
				      "pool %s was used in two halves: %u of its disks hold another history; keep the half you want "
				      "attached, or force the import of the newer one",
				      label->name, diverged);
	return 0;
}

static int check_host(const struct core_options *options, const struct core_import *import, const struct selection *selection,
		      struct pool_error *error)
{
	static const struct guid none;
	const struct uberblock *chosen = selection->chosen;

	/* Of a multihost pool heartbeats tell, to who takes the time. */
	if (!import->rehearses && (chosen->heartbeat_interval_ms || import->read_only))
		return 0;
	if (chosen->flags & UBERBLOCK_CLEAN_EXPORT || import->force || memcmp(&chosen->host, &options->host, sizeof(struct guid)) == 0 ||
	    memcmp(&chosen->host, &none, sizeof(none)) == 0)
		return 0;
	return pool_error_set(error, -POOL_EOTHERHOST,
			      "pool %s was last used by another host and not exported: if that host is down, import with --force",
			      selection->label->name);
}

static const struct label *newest_label(const struct core_import *import)
{
	const struct label *best = NULL;

	for (unsigned i = 0; i < import->disk_count; i++)
		if (!best || import->disks[i].label->config_txg > best->config_txg)
			best = import->disks[i].label;
	return best;
}

void selection_release(struct selection *selection)
{
	if (!selection)
		return;
	for (unsigned i = 0; i < selection->count; i++)
		free(selection->members[i].newest);
	free(selection);
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
	selection_list_known(selection, known, sizeof(known));
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

int selection_make(const struct core_options *options, const struct core_import *import, struct selection **ret_selection,
		   struct pool_error *error)
{
	const struct label *label = newest_label(import);

	*ret_selection = NULL;
	if (!label)
		return pool_error_set(error, -ENOENT, "no disk of the pool was found");
	struct selection *selection = calloc(1, sizeof(*selection));
	if (!selection)
		return pool_error_set(error, -ENOMEM, "out of memory");
	selection->label = label;
	selection->wanted_txg = import->rewind_txg;
	*ret_selection = selection;
	return select_state(options, import, selection, error);
}
