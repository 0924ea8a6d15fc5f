/* SPDX-License-Identifier: BSD-2-Clause */
/* What the tests of the intent log share: a volume of which each block has a version, as written and as flushed. */
#ifndef TESTS_UNIT_DATASET_INTENT_H
#define TESTS_UNIT_DATASET_INTENT_H

#include "libpool/txg/internal.h"
#include "tests/unit/dataset/volumes.h"

#ifndef BLOCK
#define BLOCK 4096u
#endif
#define BLOCKS 64u
#define LARGE 40u /* blocks of a flush that takes several blocks of the log */
#define GEOMETRIES 4u

static const struct geometry_case {
	unsigned disks, k, m;
} geometries[GEOMETRIES] = { { 3, 1, 1 }, { 5, 2, 2 }, { 1, 1, 0 }, { 4, 4, 0 } };

struct log_test {
	struct sim_random random;
	unsigned versions[BLOCKS];     /* as flushed */
	unsigned written[BLOCKS];      /* as written */
	unsigned first, count, flushed; /* versions of the program: where it begins, how many, the last that was acknowledged */
	bool clean;
};

static inline struct machine *machine_made(unsigned number, struct log_test *test, uint64_t seed)
{
	const struct geometry_case *geometry = &geometries[number];
	struct machine *machine = machine_new(geometry->disks, 64 * MIB, geometry->k, geometry->m, seed);

	*test = (struct log_test){ 0 };
	sim_random_stream(&test->random, seed, "log", number);
	for (unsigned i = 0; i < geometry->disks; i++)
		machine->set->disks[i]->fua = (seed + i) % 2;
	machine->test = test;
	machine->options.commit_interval_ns = 1000 * NS_PER_S;
	machine_boot(machine, machine_create_program);
	return machine;
}

static inline void write_version(struct machine *machine, struct volume *volume, unsigned block, unsigned version)
{
	struct log_test *test = machine->test;
	uint8_t data[BLOCK];

	block_fill(data, BLOCK, block, version);
	expect_done(machine, volume_write(volume, (uint64_t)block * BLOCK, BLOCK, data));
	test->written[block] = version;
}

static inline void flush(struct machine *machine, struct volume *volume)
{
	struct log_test *test = machine->test;
	unsigned written[BLOCKS];

	memcpy(written, test->written, sizeof(written));
	expect_done(machine, volume_flush(volume));
	memcpy(test->versions, written, sizeof(written));
}

static inline void expect_content(struct machine *machine, struct volume *volume, const unsigned versions[BLOCKS])
{
	uint8_t data[BLOCK];

	for (unsigned block = 0; block < BLOCKS; block++) {
		expect_done(machine, volume_read(volume, (uint64_t)block * BLOCK, BLOCK, data));
		expect(block_is(data, BLOCK, block, versions[block]));
	}
}

static inline void make_volume(struct machine *machine)
{
	struct datasets *datasets = pool_open(machine);

	expect_done(machine, volume_create(datasets, "v", BLOCKS * BLOCK, BLOCK, 0, &machine->error));
	pool_close(machine, datasets);
}

static inline void power_off(struct machine *machine)
{
	sim_disks_power_off(machine->set);
	rt_yield(machine->rt);
}

/* The first flush makes the log; those that follow are in it, and no commit is. */
static inline void flush_some(struct machine *machine)
{
	struct log_test *test = machine->test;
	struct volume *volume = pool_volume(machine, pool_open(machine), "v");

	write_version(machine, volume, 0, ++test->count);
	flush(machine, volume);
	uint64_t txg = core_committed_txg(machine->core);
	for (unsigned i = 0; i < 20; i++) {
		write_version(machine, volume, (unsigned)sim_random_below(&test->random, BLOCKS), ++test->count);
		flush(machine, volume);
	}
	expect_equal(core_committed_txg(machine->core), txg);
	expect_equal(core_log_counters(machine->core)->groups, 20);
	expect(machine->core->uberblock.ro_compat == FEATURE_RO_COMPAT_INTENT_LOG);
	write_version(machine, volume, 1, ++test->count); /* of this nothing is promised */
	power_off(machine);
}

static inline void see_flushed(struct machine *machine)
{
	struct log_test *test = machine->test;
	struct datasets *datasets = pool_open(machine);
	struct volume *volume = pool_volume(machine, datasets, "v");

	expect_content(machine, volume, test->versions);
	volume_close(volume);
	pool_close(machine, datasets);
	memcpy(test->written, test->versions, sizeof(test->written));
}

/* Nothing is there for a second replay, and an export leaves an empty log that an older version may ignore. */
static inline void see_clean(struct machine *machine)
{
	struct log_test *test = machine->test;
	struct datasets *datasets = pool_open(machine);
	struct volume *volume = pool_volume(machine, datasets, "v");

	expect(core_imported_clean(machine->core));
	expect_equal(core_log_counters(machine->core)->replayed, 0);
	expect_equal(machine->core->intent.replay.count, 0);
	expect_content(machine, volume, test->versions);
	volume_close(volume);
	pool_close(machine, datasets);
}

static inline struct uberblock *newest_of(struct machine *machine, unsigned disk)
{
	struct uberblock *newest = sim_allocate(sizeof(*newest));
	struct disk *opened = machine_open_disk(machine, disk);
	struct label *label;

	expect_done(machine, core_label_read(opened, &label));
	expect_done(machine, core_uberblock_newest(opened, label, newest));
	free(label);
	disk_close(opened);
	return newest;
}

/* The log as it was before the crash. */
struct spoil {
	struct segment_record records[UBERBLOCK_LOG_SEGMENTS_MAX];
	unsigned count;
	uint64_t generation;
	struct guid pool;
	unsigned head, row; /* where the next block would go */
};
static struct spoil spoil;

static inline void note_log(struct machine *machine)
{
	const struct intent *intent = &machine->core->intent;

	spoil.count = intent->segment_count;
	spoil.generation = intent->generation;
	spoil.pool = machine->core->label->pool;
	spoil.head = intent->head;
	spoil.row = intent->row;
	for (unsigned i = 0; i < intent->segment_count; i++)
		spoil.records[i] = alloc_segment(machine->core->alloc, intent->segments[i].id)->record;
}

#endif
