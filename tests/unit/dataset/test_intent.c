/* SPDX-License-Identifier: BSD-2-Clause */
/* Flushes that are no commits: what the intent log keeps over crashes, and what it must not bring back. */
#include "tests/unit/dataset/intent.h"

static void see_exported(struct machine *machine)
{
	struct uberblock *newest = newest_of(machine, 0);

	expect(newest->flags & UBERBLOCK_CLEAN_EXPORT);
	expect_equal(newest->ro_compat, 0);
	expect(newest->log.segment_count >= 2);
	expect_equal(newest->log.base_txg, newest->txg);
	free(newest);
}

static void test_flush(void **state)
{
	(void)state;
	for (unsigned number = 0; number < GEOMETRIES; number++) {
		struct log_test test;
		struct machine *machine = machine_made(number, &test, number + 1);

		machine_boot(machine, make_volume);
		for (unsigned round = 0; round < 3; round++) {
			/* Nothing but what was durable survives, then everything. */
			expect(!machine_boot_mode(machine, flush_some, round ? SIM_CRASH_ANY : SIM_CRASH_NONE));
			machine_boot(machine, see_flushed);
			machine_boot(machine, see_exported);
			machine_boot(machine, see_clean);
		}
		machine_free(machine);
	}
}

/* ---- A crash between any two writes ---- */

/* Each flush has one block more than the one before: what is there tells how far the log was. */
static void flush_on(struct machine *machine)
{
	struct log_test *test = machine->test;
	struct datasets *datasets = pool_open(machine);
	struct volume *volume = pool_volume(machine, datasets, "v");

	for (unsigned i = 0; i < 6; i++) {
		/* Several blocks and several blocks of the log, but one group. */
		for (unsigned block = 0; block < BLOCKS; block++)
			if (block < 2 || (i % 3 == 2 && block < LARGE))
				write_version(machine, volume, block, test->first + i + 1);
		expect_done(machine, volume_flush(volume));
		test->flushed = test->first + i + 1;
	}
	const struct core_log_counters *log = core_log_counters(machine->core);
	expect(log->groups >= 5 && log->blocks > log->groups && log->fallbacks == 0);
	volume_close(volume);
	pool_close(machine, datasets);
}

static void see_prefix(struct machine *machine)
{
	struct log_test *test = machine->test;
	struct datasets *datasets = pool_open(machine);
	struct volume *volume = pool_volume(machine, datasets, "v");
	uint8_t data[BLOCK];
	unsigned version = 0;

	expect_done(machine, volume_read(volume, 0, BLOCK, data));
	for (unsigned i = test->flushed; i <= test->first + 6 && !version; i++)
		version = block_is(data, BLOCK, 0, i) ? i : 0;
	expect(version >= test->flushed || (test->flushed == 0 && block_is(data, BLOCK, 0, 0)));
	/* What a group has it has for all blocks. */
	for (unsigned block = 0; block < BLOCKS; block++) {
		unsigned wanted = version;
		while (block >= 2 && wanted && wanted % 3)
			wanted--;
		if (block >= LARGE)
			wanted = 0;
		expect_done(machine, volume_read(volume, (uint64_t)block * BLOCK, BLOCK, data));
		expect(block_is(data, BLOCK, block, wanted));
	}
	test->flushed = version;
	volume_close(volume);
	if (test->clean)
		pool_close(machine, datasets);
	else
		pool_abandon(machine, datasets);
}

static void test_crashes(void **state)
{
	(void)state;
	for (unsigned number = 0; number < GEOMETRIES; number++) {
		bool ended = false;

		for (unsigned step = 0; !ended; step += number ? 3 : 1) {
			struct log_test test;
			struct machine *machine = machine_made(number, &test, 100 * number + step);

			machine_boot(machine, make_volume);
			sim_disks_cut_at(machine->set, machine->set->operations + step);
			ended = machine_boot_mode(machine, flush_on, SIM_CRASH_ANY);
			/* Crashes in the middle of replays and after them, each time a few writes later. */
			for (unsigned again = 0; again < 12; again++) {
				sim_disks_cut_at(machine->set, machine->set->operations + again * 5);
				if (machine_boot_mode(machine, see_prefix, SIM_CRASH_ANY))
					break;
			}
			test.clean = true;
			machine_boot(machine, see_prefix);
			machine_boot(machine, see_prefix);
			machine_free(machine);
		}
	}
}

/* ---- Power that goes while a group is on its way ---- */

/* The second flush has several blocks of the log; nothing of it has been applied yet when the power goes. */
static void flush_and_cut(struct machine *machine)
{
	struct log_test *test = machine->test;
	struct volume *volume = pool_volume(machine, pool_open(machine), "v");

	for (test->count = 1; test->count <= 2; test->count++) {
		if (test->count == 2)
			sim_disks_cut_at(machine->set, machine->set->operations);
		for (unsigned block = 0; block < LARGE; block++)
			write_version(machine, volume, block, test->count);
		(void)volume_flush(volume);
	}
	expect(machine->set->powered_off);
	expect(core_log_counters(machine->core)->blocks > core_log_counters(machine->core)->groups + 1);
}

static void see_all_or_nothing(struct machine *machine)
{
	struct log_test *test = machine->test;
	struct datasets *datasets = pool_open(machine);
	struct volume *volume = pool_volume(machine, datasets, "v");
	uint8_t data[BLOCK];

	for (unsigned block = 0; block < LARGE; block++) {
		expect_done(machine, volume_read(volume, (uint64_t)block * BLOCK, BLOCK, data));
		if (block == 0)
			test->flushed = block_is(data, BLOCK, block, 2) ? 2 : 1;
		expect(block_is(data, BLOCK, block, test->flushed));
	}
	volume_close(volume);
	pool_close(machine, datasets);
}

/* On one disk: half a group is what a prefix of one write leaves. */
static void test_half_group(void **state)
{
	unsigned whole = 0, none = 0;

	(void)state;
	for (unsigned seed = 200; seed < 240; seed++) {
		struct log_test test;
		struct machine *machine = machine_made(2, &test, seed);

		machine->set->tear = SIM_TEAR_CELL;
		machine_boot(machine, make_volume);
		(void)machine_boot_mode(machine, flush_and_cut, SIM_CRASH_PREFIX);
		machine_boot(machine, see_all_or_nothing);
		whole += test.flushed == 2;
		none += test.flushed == 1;
		machine_free(machine);
	}
	printf("groups with power cut: %u whole, %u without effect\n", whole, none);
	expect(whole && none > whole);
}

/* ---- Old generations ---- */

static void flush_first(struct machine *machine)
{
	struct log_test *test = machine->test;
	struct datasets *datasets = pool_open(machine);
	struct volume *volume = pool_volume(machine, datasets, "v");

	for (unsigned i = 0; i < 10; i++) {
		write_version(machine, volume, i, ++test->count);
		flush(machine, volume);
	}
	note_log(machine);
	volume_close(volume);
	pool_close(machine, datasets);
}

/* The blocks of the generation before are still there, with numbers that this one would have, and rows it has not reached. */
static void commit_over(struct machine *machine)
{
	struct log_test *test = machine->test;
	struct volume *volume = pool_volume(machine, pool_open(machine), "v");

	for (unsigned i = 0; i < 10; i++)
		write_version(machine, volume, i, ++test->count);
	expect_done(machine, core_commit(machine->core));
	memcpy(test->versions, test->written, sizeof(test->versions));
	expect(machine->core->intent.active && machine->core->intent.generation != spoil.generation);
	write_version(machine, volume, 0, ++test->count);
	flush(machine, volume);
	power_off(machine);
}

static void test_generations(void **state)
{
	struct log_test test;
	struct machine *machine = machine_made(0, &test, 80);

	(void)state;
	machine_boot(machine, make_volume);
	machine_boot(machine, flush_first);
	expect(!machine_boot_mode(machine, commit_over, SIM_CRASH_NONE));
	machine_boot(machine, see_flushed);
	machine_free(machine);
}

/* ---- A log that is full, round and round ---- */

static void flush_many(struct machine *machine)
{
	struct log_test *test = machine->test;
	struct datasets *datasets = pool_open(machine);
	struct volume *volume = pool_volume(machine, datasets, "v");
	uint64_t commits = core_commits(machine->core);

	flush(machine, volume);
	for (unsigned i = 0; i < 700; i++) {
		write_version(machine, volume, (unsigned)sim_random_below(&test->random, BLOCKS), ++test->count);
		flush(machine, volume);
	}
	/* The log holds some 100 to 500 of them; commits in time leave it room. */
	const struct core_log_counters *log = core_log_counters(machine->core);
	expect(log->groups > 690);
	expect_equal(log->fallbacks, 0);
	commits = core_commits(machine->core) - commits;
	expect(commits >= 2 && commits < 40);
	power_off(machine);
}

static void flush_large(struct machine *machine)
{
	struct log_test *test = machine->test;
	struct volume *volume = pool_volume(machine, pool_open(machine), "v");
	uint64_t groups = 0;

	write_version(machine, volume, 0, ++test->count);
	flush(machine, volume);
	/* More than a quarter of the log: that is a commit's. */
	unsigned version = ++test->count;
	size_t capacity = intent_capacity_cells(machine->core);
	machine->core->intent.unlogged_bytes = capacity * CELL_SIZE / 4 + CELL_SIZE;
	write_version(machine, volume, 1, version);
	groups = core_log_counters(machine->core)->groups;
	uint64_t txg = core_committed_txg(machine->core);
	flush(machine, volume);
	expect(core_committed_txg(machine->core) > txg);
	expect_equal(core_log_counters(machine->core)->groups, groups);
	write_version(machine, volume, 2, version);
	flush(machine, volume);
	expect_equal(core_log_counters(machine->core)->groups, groups + 1);
	power_off(machine);
}

static void test_full(void **state)
{
	(void)state;
	for (unsigned number = 0; number < 2; number++) {
		struct log_test test;
		struct machine *machine = machine_made(number, &test, 90);

		machine_boot(machine, make_volume);
		expect(!machine_boot_mode(machine, flush_many, SIM_CRASH_ANY));
		machine_boot(machine, see_flushed);
		expect(!machine_boot_mode(machine, flush_large, SIM_CRASH_ANY));
		machine_boot(machine, see_flushed);
		machine_free(machine);
	}
}

/* ---- A disk of which nothing but the log has a column ---- */

static bool has_column(struct machine *machine, unsigned disk, bool of_log)
{
	for (uint32_t id = 0; id < alloc_segment_count(machine->core->alloc); id++) {
		const struct segment *segment = alloc_segment(machine->core->alloc, id);
		if (!segment || alloc_segment_is_free(segment) || (segment->record.state == SEGMENT_LOG) != of_log)
			continue;
		for (unsigned c = 0; c < (unsigned)segment->record.k + segment->record.m; c++)
			if (segment->record.columns[c].disk == disk)
				return true;
	}
	return false;
}

static void remove_log_disk(struct machine *machine)
{
	struct log_test *test = machine->test;
	struct datasets *datasets = pool_open(machine);
	struct volume *volume = pool_volume(machine, datasets, "v");
	unsigned index;

	expect_done(machine, core_disk_add(machine->core, machine_open_disk(machine, machine->disks), ROLE_DATA, &index, &machine->error));
	alloc_disk_set_usable(machine->core->alloc, index, false);
	write_version(machine, volume, 0, ++test->count);
	expect_done(machine, core_commit(machine->core)); /* data and metadata have their segments now */
	alloc_disk_set_usable(machine->core->alloc, index, true);
	write_version(machine, volume, 1, ++test->count);
	flush(machine, volume);
	expect(has_column(machine, index, true) && !has_column(machine, index, false));
	write_version(machine, volume, 2, ++test->count);
	flush(machine, volume);
	expect_done(machine, core_disk_remove(machine->core, index, &machine->error));
	expect(!has_column(machine, index, true));
	write_version(machine, volume, 3, ++test->count);
	flush(machine, volume);
	power_off(machine);
}

static void test_removed_disk(void **state)
{
	struct log_test test;
	struct machine *machine = machine_made(0, &test, 95);

	(void)state;
	sim_disks_add(machine->set, 64 * MIB);
	machine_boot(machine, make_volume);
	expect(!machine_boot_mode(machine, remove_log_disk, SIM_CRASH_NONE));
	machine_boot(machine, see_flushed);
	machine_free(machine);
}

/* ---- A disk that fails under the log ---- */

static void flush_over_failure(struct machine *machine)
{
	struct log_test *test = machine->test;
	struct volume *volume = pool_volume(machine, pool_open(machine), "v");

	for (unsigned i = 0; i < 30; i++) {
		if (i == 10)
			sim_disk_vanish(machine->set->disks[1], SIM_CRASH_NONE);
		write_version(machine, volume, i, ++test->count);
		flush(machine, volume);
	}
	/* The log that came after it has no column there, and serves flushes again. */
	const struct intent *intent = &machine->core->intent;
	expect(intent->active);
	for (unsigned i = 0; i < intent->segment_count; i++)
		for (unsigned c = 0; c <= 2; c++)
			expect(alloc_segment(machine->core->alloc, intent->segments[i].id)->record.columns[c].disk != 1);
	expect(core_log_counters(machine->core)->fallbacks > 0);
	expect(core_log_counters(machine->core)->groups > 20);
	power_off(machine);
}

static void test_failure(void **state)
{
	(void)state;
	for (unsigned other = 0; other < 5; other++) {
		struct log_test test;
		struct machine *machine = machine_made(1, &test, 110 + other);

		machine_boot(machine, make_volume);
		expect(!machine_boot_mode(machine, flush_over_failure, SIM_CRASH_ANY));
		machine->hidden = 1u << other | 2;
		machine_boot(machine, see_flushed);
		machine_free(machine);
	}
}

/* ---- What the records say ---- */

static void change_all(struct machine *machine)
{
	struct datasets *datasets = pool_open(machine);
	struct volume *volume = pool_volume(machine, datasets, "v");
	uint8_t data[BLOCK], part[100];

	for (unsigned block = 0; block < BLOCKS; block++)
		write_version(machine, volume, block, 1);
	flush(machine, volume);
	expect_done(machine, core_commit(machine->core));
	uint64_t txg = core_committed_txg(machine->core);

	/* A part of a block, a trim of many, zeros in the middle of one; smaller, larger again. */
	memset(part, 0x77, sizeof(part));
	expect_done(machine, volume_write(volume, 5 * BLOCK + 300, sizeof(part), part));
	expect_done(machine, volume_trim(volume, 10 * BLOCK, 20 * BLOCK));
	expect_done(machine, volume_zero(volume, 40 * BLOCK + 1000, 500));
	volume_close(volume);
	expect_done(machine, volume_resize(datasets, "v", 50 * BLOCK, &machine->error));
	expect_done(machine, volume_resize(datasets, "v", 60 * BLOCK, &machine->error));
	volume = pool_volume(machine, datasets, "v");
	write_version(machine, volume, 12, 2);
	expect_done(machine, volume_flush(volume));
	expect_equal(core_committed_txg(machine->core), txg);
	expect_done(machine, volume_read(volume, 5 * BLOCK + 300, sizeof(part), data));
	expect(memcmp(data, part, sizeof(part)) == 0);
	power_off(machine);
}

static void see_all(struct machine *machine)
{
	struct datasets *datasets = pool_open(machine);
	struct volume *volume = pool_volume(machine, datasets, "v");
	uint8_t data[BLOCK], wanted[BLOCK];

	expect_equal(volume_record(volume)->volume_size, 60 * BLOCK);
	for (unsigned block = 0; block < 60; block++) {
		unsigned version = block == 12 ? 2 : (block >= 10 && block < 30) || block >= 50 ? 0 : 1;
		block_fill(wanted, BLOCK, block, version);
		if (block == 5)
			memset(wanted + 300, 0x77, 100);
		if (block == 40)
			memset(wanted + 1000, 0, 500);
		expect_done(machine, volume_read(volume, (uint64_t)block * BLOCK, BLOCK, data));
		expect(memcmp(data, wanted, BLOCK) == 0);
	}
	volume_close(volume);
	pool_close(machine, datasets);
}

/* Who only looks sees what was flushed, and writes nothing. */
static void look_only(struct machine *machine)
{
	uint64_t bytes = machine_device_bytes(machine);

	machine->read_only = true;
	see_all(machine);
	machine->read_only = false;
	expect_equal(machine_device_bytes(machine), bytes);
}

static void test_records(void **state)
{
	(void)state;
	for (unsigned number = 0; number < GEOMETRIES; number++) {
		struct log_test test;
		struct machine *machine = machine_made(number, &test, 120);

		machine_boot(machine, make_volume);
		expect(!machine_boot_mode(machine, change_all, SIM_CRASH_NONE));
		machine_boot(machine, look_only);
		machine_boot(machine, look_only);
		machine_boot(machine, see_all);
		machine_boot(machine, look_only);
		machine_free(machine);
	}
}

/* New volumes and destroyed ones are durable with a flush, which then is a commit. */
static void change_names(struct machine *machine)
{
	struct datasets *datasets = pool_open(machine);
	struct volume *volume = pool_volume(machine, datasets, "v");

	write_version(machine, volume, 0, 1);
	flush(machine, volume);
	expect_done(machine, volume_create(datasets, "w", BLOCKS * BLOCK, BLOCK, 0, &machine->error));
	flush(machine, volume);
	struct volume *other = pool_volume(machine, datasets, "w");
	write_version(machine, other, 3, 7);
	flush(machine, other);
	volume_close(other);
	expect_done(machine, volume_create(datasets, "x", BLOCKS * BLOCK, BLOCK, 0, &machine->error));
	expect_done(machine, core_commit(machine->core));
	expect_done(machine, volume_destroy(datasets, "x", &machine->error));
	flush(machine, volume);
	power_off(machine);
}

static void see_names(struct machine *machine)
{
	struct datasets *datasets = pool_open(machine);
	struct volume *volume = pool_volume(machine, datasets, "w"), *gone;
	uint8_t data[BLOCK];

	expect_done(machine, volume_read(volume, 3 * BLOCK, BLOCK, data));
	expect(block_is(data, BLOCK, 3, 7));
	expect_equal(volume_open(datasets, "x", &gone, NULL), -ENOENT);
	volume_close(volume);
	pool_close(machine, datasets);
}

static void test_names(void **state)
{
	struct log_test test;
	struct machine *machine = machine_made(0, &test, 130);

	(void)state;
	machine_boot(machine, make_volume);
	expect(!machine_boot_mode(machine, change_names, SIM_CRASH_NONE));
	machine_boot(machine, see_names);
	machine_free(machine);
}

/* ---- Commits under way, and several who flush ---- */

struct flusher {
	struct machine *machine;
	struct volume *volume;
	struct rt_group *group;
	unsigned number;
};

static void flusher_main(void *argument)
{
	struct flusher *flusher = argument;
	struct machine *machine = flusher->machine;
	struct log_test *test = machine->test;

	for (unsigned i = 0; i < 60; i++) {
		unsigned block = flusher->number * 8 + i % 8, version = i + 1;
		write_version(machine, flusher->volume, block, version);
		expect_done(machine, volume_flush(flusher->volume));
		test->versions[block] = version;
	}
	rt_group_done(machine->rt, flusher->group, 0);
}

static void flush_together(struct machine *machine)
{
	struct volume *volume = pool_volume(machine, pool_open(machine), "v");
	struct flusher flushers[8];
	struct rt_group group;

	write_version(machine, volume, 0, 1);
	expect_done(machine, volume_flush(volume));
	uint64_t commits = core_commits(machine->core);
	rt_group_init(&group);
	for (unsigned i = 0; i < 8; i++) {
		flushers[i] = (struct flusher){ machine, volume, &group, i };
		rt_group_add(&group);
		expect_equal(rt_spawn(machine->rt, "flusher", flusher_main, &flushers[i]), 0);
	}
	(void)rt_group_wait(machine->rt, &group);
	/* Commits came and went; nobody had to wait for one, and who came together shared a group. */
	const struct core_log_counters *log = core_log_counters(machine->core);
	expect(core_commits(machine->core) > commits + 2);
	expect_equal(log->fallbacks, 0);
	expect(log->groups < 8 * 60 / 6);
	power_off(machine);
}

/* At least as new as what was acknowledged. */
static void see_newer(struct machine *machine)
{
	struct log_test *test = machine->test;
	struct datasets *datasets = pool_open(machine);
	struct volume *volume = pool_volume(machine, datasets, "v");
	uint8_t data[BLOCK];

	for (unsigned block = 0; block < BLOCKS; block++) {
		bool found = false;
		expect_done(machine, volume_read(volume, (uint64_t)block * BLOCK, BLOCK, data));
		for (unsigned version = test->versions[block]; version <= 60 && !found; version++)
			found = block_is(data, BLOCK, block, version);
		expect(found);
	}
	volume_close(volume);
	pool_close(machine, datasets);
}

static void test_together(void **state)
{
	(void)state;
	for (unsigned seed = 0; seed < 20; seed++) {
		struct log_test test;
		struct machine *machine = machine_made(seed % 2, &test, 140 + seed);

		machine_boot(machine, make_volume);
		machine->options.commit_interval_ns = (1 + seed) * NS_PER_MS / 4;
		if (seed >= 10) /* somewhere on the way */
			sim_disks_cut_at(machine->set, machine->set->operations + 100 * seed);
		expect(!machine_boot_mode(machine, flush_together, SIM_CRASH_ANY));
		if (seed < 10)
			machine_boot(machine, see_flushed);
		else
			machine_boot(machine, see_newer);
		machine_free(machine);
	}
}

/* ---- A change of several blocks that a flush finds half done ---- */

#define WIDE (64u << 10)

static void fill_wide(struct machine *machine, struct volume *volume, uint64_t offset, size_t length, int byte)
{
	uint8_t *data = malloc(length);

	memset(data, byte, length);
	expect_done(machine, volume_write(volume, offset, length, data));
	free(data);
}

static void make_wide(struct machine *machine)
{
	struct datasets *datasets = pool_open(machine);

	expect_done(machine, volume_create(datasets, "w", 4 * WIDE, WIDE, 0, &machine->error));
	struct volume *volume = pool_volume(machine, datasets, "w");
	fill_wide(machine, volume, 0, 4 * WIDE, 1);
	volume_close(volume);
	pool_close(machine, datasets);
}

struct wide_writer {
	struct machine *machine;
	struct volume *volume;
	bool zero, done;
};

/* The first block as a whole; of the second one a part, for which it is read. */
static void wide_write(void *argument)
{
	struct wide_writer *writer = argument;

	if (writer->zero)
		expect_done(writer->machine, volume_zero(writer->volume, CELL_SIZE, WIDE));
	else
		fill_wide(writer->machine, writer->volume, 0, WIDE + CELL_SIZE, 3);
	writer->done = true;
}

static void flush_half_done(struct machine *machine, bool zero)
{
	struct volume *volume = pool_volume(machine, pool_open(machine), "w");
	struct wide_writer writer = { machine, volume, zero, false };

	fill_wide(machine, volume, 2 * WIDE, CELL_SIZE, 2);
	expect_done(machine, volume_flush(volume)); /* there is a log from here on */
	fill_wide(machine, volume, 4 * CELL_SIZE, 2 * CELL_SIZE, 2);
	expect_equal(rt_spawn(machine->rt, "writer", wide_write, &writer), 0);
	rt_yield(machine->rt);
	expect(!writer.done);
	uint64_t groups = core_log_counters(machine->core)->groups;
	expect_done(machine, volume_flush(volume));
	expect_equal(core_log_counters(machine->core)->groups, groups + 1);
	power_off(machine);
}

static void flush_half_written(struct machine *machine)
{
	flush_half_done(machine, false);
}

static void flush_half_zeroed(struct machine *machine)
{
	flush_half_done(machine, true);
}

/* All of the change or nothing. */
static void see_whole(struct machine *machine)
{
	struct datasets *datasets = pool_open(machine);
	struct volume *volume = pool_volume(machine, datasets, "w");
	uint8_t *data = malloc(WIDE);

	expect_done(machine, volume_read(volume, 0, WIDE, data));
	bool changed = data[WIDE - 1] != 1;
	for (unsigned i = 0; i < WIDE; i++) {
		bool touched = data[WIDE - 1] == 3 || i >= CELL_SIZE;
		int old = i >= 4 * CELL_SIZE && i < 6 * CELL_SIZE ? 2 : 1;
		expect_equal(data[i], changed && touched ? data[WIDE - 1] : old);
	}
	free(data);
	volume_close(volume);
	pool_close(machine, datasets);
}

static void test_half_done(void **state)
{
	(void)state;
	for (unsigned zero = 0; zero < 2; zero++) {
		struct log_test test;
		struct machine *machine = machine_made(0, &test, 90 + zero);

		machine_boot(machine, make_wide);
		expect(!machine_boot_mode(machine, zero ? flush_half_zeroed : flush_half_written, SIM_CRASH_NONE));
		machine_boot(machine, see_whole);
		machine_free(machine);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_flush),
		cmocka_unit_test(test_crashes),
		cmocka_unit_test(test_half_group),
		cmocka_unit_test(test_generations),
		cmocka_unit_test(test_full),
		cmocka_unit_test(test_failure),
		cmocka_unit_test(test_removed_disk),
		cmocka_unit_test(test_records),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_together),
		cmocka_unit_test(test_half_done),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
