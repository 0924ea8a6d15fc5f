/*
 * What an import goes by: the disks of the configuration that are there, the newest uberblock of each, and the one of them
 * that counts.
 *
 * The newest valid uberblock counts, also one that never reached its quorum: its tree was flushed before it was written.
 * Going back needs an explicit word, because it gives up what was acknowledged.
 */
#ifndef LIBPOOL_TXG_SELECT_H
#define LIBPOOL_TXG_SELECT_H

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

#define SELECTION_KNOWN_MAX 8u

struct selection {
	const struct label *label;
	struct member members[DISKS_MAX];
	unsigned count, data_count; /* data_count: without log disks, which have no say */
	struct uberblock *chosen;
	uint64_t highest_txg; /* in any valid slot of any disk */
	struct known_txg known[SELECTION_KNOWN_MAX]; /* the newest ones, descending; txg 0: none */
	uint64_t wanted_txg;
	int scanned[DISKS_MAX]; /* how reading each member's uberblocks ended */
};

/* Reads all uberblocks and chooses; says why this host may not go on from there. The result is released also after an error. */
int selection_make(const struct core_options *options, const struct core_import *import, struct selection **ret_selection,
		   struct pool_error *error);
void selection_release(struct selection *selection);
/* What an uberblock says of a disk; NULL: it is ONLINE. */
const struct uberblock_state *selection_state_of(const struct uberblock *uberblock, unsigned index);
/*
 * Which disks have the label of another one, for people, and how many of them selection_count_absent doesn't count; or
 * -ENOMEM. *ret_logs: a log disk is one of them.
 */
int selection_find_exchanged(struct rt *rt, const struct selection *selection, bool *ret_logs, char *ret_text, size_t size);
/* Disks that aren't there, or lack something of what is chosen. */
unsigned selection_count_absent(const struct selection *selection);
/* The txgs that one can go back to, for people. */
void selection_list_known(const struct selection *selection, char *ret_text, size_t size);

#endif
