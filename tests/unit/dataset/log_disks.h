/* SPDX-License-Identifier: BSD-2-Clause */
/* What the tests of log disks share: a machine with log disks behind those of the pool. */
#ifndef TESTS_UNIT_DATASET_LOG_DISKS_H
#define TESTS_UNIT_DATASET_LOG_DISKS_H

#include "tests/unit/dataset/intent.h"

static unsigned log_disks; /* of this case, behind those of the pool */

static inline struct machine *machine_with_logs(unsigned number, unsigned count, struct log_test *test, uint64_t seed)
{
	struct machine *machine = machine_made(number, test, seed);

	log_disks = count;
	for (unsigned i = 0; i < count; i++)
		sim_disks_add(machine->set, 64 * MIB)->fua = (seed + i) % 2;
	return machine;
}

static inline uint32_t mask_of_logs(const struct machine *machine)
{
	return ((1u << log_disks) - 1) << machine->disks;
}

static inline void add_logs(struct machine *machine)
{
	struct disk *disks[8];
	unsigned indexes[8];

	for (unsigned i = 0; i < log_disks; i++)
		disks[i] = machine_open_disk(machine, machine->disks + i);
	expect_done(machine, core_disks_add(machine->core, disks, log_disks, ROLE_LOG, indexes, &machine->error));
	for (unsigned i = 0; i < log_disks; i++)
		expect_equal(indexes[i], machine->disks + i);
	expect(core_label(machine->core)->feature_count == 1);
	expect_done(machine, core_log_disks_use(machine->core));
}

static inline bool is_log_disk(const struct machine *machine, unsigned index)
{
	return index >= machine->disks && index < machine->disks + log_disks;
}

/* Nothing but the log is on log disks; and the log is nowhere else, if it is there at all. */
static inline void expect_places(struct machine *machine, bool on_log_disks, unsigned copies)
{
	const struct intent *intent = &machine->core->intent;

	expect(intent->active && intent->segment_count >= 2);
	for (unsigned i = 0; i < intent->segment_count; i++)
		expect_equal(store_log_is_on_log_disks(machine->core->store, intent->segments[i].id), on_log_disks);
	for (uint32_t id = 0; id < alloc_segment_count(machine->core->alloc); id++) {
		const struct segment *segment = alloc_segment(machine->core->alloc, id);
		if (!segment || alloc_segment_is_free(segment))
			continue;
		bool is_log = segment->record.state == SEGMENT_LOG;
		if (is_log && on_log_disks)
			expect_equal(segment->record.m + 1, copies);
		for (unsigned c = 0; c < (unsigned)segment->record.k + segment->record.m; c++)
			if (segment->record.columns[c].disk != DISK_ABSENT)
				expect_equal(is_log_disk(machine, segment->record.columns[c].disk), is_log && on_log_disks);
	}
}

static inline unsigned copies_of(const struct machine *machine)
{
	unsigned copies = machine->m ? machine->m + 1 : 2;

	return log_disks < copies ? log_disks : copies;
}

static inline void flush_some_more(struct machine *machine, struct volume *volume, unsigned count)
{
	struct log_test *test = machine->test;

	for (unsigned i = 0; i < count; i++) {
		write_version(machine, volume, (unsigned)sim_random_below(&test->random, BLOCKS), ++test->count);
		flush(machine, volume);
	}
}

#endif
