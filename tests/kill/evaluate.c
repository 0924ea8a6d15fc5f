/*
 * Is what was found one prefix of what was done?
 *
 * A prefix of p operations leaves each unit with the content of the last of them that touched it. So each
 * unit allows the p from that operation to the next one that touches it; a p that all units allow is what the
 * crash left. An operation that was cut in the middle leaves some of its units before it, some after it: at
 * both ends of an interval the p where the operation is under way counts as well.
 */
#include "tests/kill/journal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct evaluation {
	struct journal *journal;
	struct thread_journal *thread;
	unsigned number;
	uint32_t acknowledged, issued;
	int32_t *change;       /* difference array over p: how many units allow it */
	uint32_t since[UNITS]; /* the p from which the unit has `content` */
	uint64_t content[UNITS];
	uint32_t allowed_to[UNITS]; /* first p that isn't counted yet */
	bool possible[UNITS];
};

/* The unit has its content of now for all p from since[unit] to `last`. */
static void allow(struct evaluation *evaluation, uint32_t unit, uint32_t last)
{
	uint32_t first = evaluation->since[unit];

	if (evaluation->content[unit] != evaluation->journal->found[unit])
		return;
	if (first < evaluation->acknowledged)
		first = evaluation->acknowledged;
	if (first < evaluation->allowed_to[unit])
		first = evaluation->allowed_to[unit];
	if (first > last)
		return;
	evaluation->change[first]++;
	evaluation->change[last + 1]--;
	evaluation->allowed_to[unit] = last + 1;
	evaluation->possible[unit] = true;
}

static bool each_unit_possible(struct evaluation *evaluation)
{
	struct journal *journal = evaluation->journal;

	for (uint32_t unit = 0; unit < UNITS; unit++) {
		uint64_t newest_acknowledged = journal->base[unit];

		if (journal_owner(journal, unit) != evaluation->number || evaluation->possible[unit])
			continue;
		for (uint32_t i = 0; i < evaluation->acknowledged; i++) {
			const struct operation *operation = &evaluation->thread->operations[i];

			if (unit - operation->unit < operation->count)
				newest_acknowledged = operation->version;
		}
		journal_fail(journal,
			     "unit %" PRIu32 " (offset %" PRIu64 ") has version %#" PRIx64 "; %#" PRIx64
			     " was acknowledged, %#" PRIx64 " is the last one issued, %#" PRIx64
			     " was there before",
			     unit, (uint64_t)unit * UNIT, journal->found[unit], newest_acknowledged,
			     evaluation->content[unit], journal->base[unit]);
		return false;
	}
	return true;
}

static bool one_prefix(struct evaluation *evaluation)
{
	uint32_t best = 0, best_at = 0, units = 0, allow_it = 0;

	for (uint32_t unit = 0; unit < UNITS; unit++)
		units += journal_owner(evaluation->journal, unit) == evaluation->number;
	for (uint32_t p = 0; p <= evaluation->issued; p++) {
		allow_it += (uint32_t)evaluation->change[p];
		if (allow_it > best) {
			best = allow_it;
			best_at = p;
		}
	}
	if (best == units)
		return true;
	journal_fail(
	    evaluation->journal,
	    "thread %u: each unit has a possible version, but together they are no prefix of the %" PRIu32
	    " operations (%" PRIu32 " acknowledged): at most %" PRIu32 " of %" PRIu32
	    " units agree, on %" PRIu32,
	    evaluation->number, evaluation->issued, evaluation->acknowledged, best, units, best_at);
	return false;
}

static bool evaluate_thread(struct journal *journal, unsigned number)
{
	struct evaluation *evaluation = calloc(1, sizeof(*evaluation));
	bool result;

	evaluation->journal = journal;
	evaluation->thread = &journal->threads[number];
	evaluation->number = number;
	evaluation->acknowledged = atomic_load(&evaluation->thread->acknowledged);
	evaluation->issued = atomic_load(&evaluation->thread->issued);
	evaluation->change = calloc(evaluation->issued + 2, sizeof(int32_t));
	memcpy(evaluation->content, journal->base, sizeof(journal->base));
	for (uint32_t i = 0; i < evaluation->issued; i++) {
		const struct operation *operation = &evaluation->thread->operations[i];

		for (uint32_t unit = operation->unit; unit < operation->unit + operation->count; unit++) {
			allow(evaluation, unit, i);
			evaluation->since[unit] = i;
			evaluation->content[unit] = operation->version;
		}
	}
	for (uint32_t unit = 0; unit < UNITS; unit++)
		if (journal_owner(journal, unit) == number)
			allow(evaluation, unit, evaluation->issued);
	result = each_unit_possible(evaluation) && one_prefix(evaluation);
	free(evaluation->change);
	free(evaluation);
	return result;
}

bool journal_evaluate(struct journal *journal)
{
	for (unsigned i = 0; i < THREADS; i++)
		if (!evaluate_thread(journal, i))
			return false;
	return true;
}
