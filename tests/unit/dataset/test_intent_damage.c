/* SPDX-License-Identifier: BSD-2-Clause */
/* The intent log with copies that are lost, spoilt, or can't be read: what is still there, and what has to be called damage. */
#include "tests/unit/dataset/damage.h"
#include "tests/unit/dataset/intent.h"

/* Spoils the block of that number in up to `copies` copies; in how many. */
static unsigned spoil_block(struct machine *machine, uint64_t sequence, unsigned copies)
{
	uint8_t *raw = malloc(256 << 10), garbage[512];
	unsigned done = 0;

	memset(garbage, 0x5A, sizeof(garbage));
	for (unsigned i = 0; i < spoil.count; i++)
		for (unsigned c = 0; c < (unsigned)spoil.records[i].k + spoil.records[i].m; c++) {
			struct segment_column column = spoil.records[i].columns[c];
			uint64_t at = DATA_START + ((uint64_t)column.au << 18);
			sim_disk_peek(machine->set->disks[column.disk], at, raw, 256 << 10);
			for (unsigned row = 1; row < 64; row++) {
				struct intent_block block;
				if (intent_block_decode(raw + row * CELL_SIZE, (64 - row) * CELL_SIZE, &spoil.pool, &block) == 0 &&
				    block.generation == spoil.generation && block.sequence == sequence && done < copies) {
					/* Not even the header: the end of it is torn. */
					uint64_t end = at + ((uint64_t)row + intent_block_cells(block.payload_bytes)) * CELL_SIZE;
					sim_disk_poke(machine->set->disks[column.disk], end - 2 * sizeof(garbage), garbage,
						      sizeof(garbage));
					done++;
				}
			}
		}
	free(raw);
	return done;
}

static void flush_and_note(struct machine *machine)
{
	struct volume *volume = pool_volume(machine, pool_open(machine), "v");

	for (unsigned i = 0; i < 6; i++) {
		write_version(machine, volume, i, i + 1);
		flush(machine, volume);
	}
	note_log(machine);
	power_off(machine);
}

static void expect_damaged(struct machine *machine)
{
	expect_equal(machine_import(machine), -POOL_EDAMAGED);
	expect(strstr(machine->error.text, "intent log") && strstr(machine->error.text, "--rewind="));
}

static void see_rewound(struct machine *machine)
{
	struct log_test *test = machine->test;
	unsigned versions[BLOCKS] = { 1 }; /* the commit that made the log */

	struct uberblock *newest = newest_of(machine, 0);
	machine->rewind_txg = newest->txg;
	free(newest);
	struct datasets *datasets = pool_open(machine);
	machine->rewind_txg = 0;
	struct volume *volume = pool_volume(machine, datasets, "v");
	expect_content(machine, volume, versions);
	memcpy(test->versions, versions, sizeof(versions));
	memcpy(test->written, versions, sizeof(versions));
	/* What was given up doesn't come back. */
	write_version(machine, volume, 9, 9);
	flush(machine, volume);
	power_off(machine);
}

static void test_spoilt(void **state)
{
	(void)state;
	for (unsigned number = 0; number < GEOMETRIES; number++) {
		unsigned copies = geometries[number].m ? geometries[number].m + 1 : 2;

		for (unsigned lost = 0; lost <= copies; lost++) {
			struct log_test test;
			struct machine *machine = machine_made(number, &test, 40 + lost);

			machine_boot(machine, make_volume);
			expect(!machine_boot_mode(machine, flush_and_note, SIM_CRASH_NONE));
			expect_equal(spoil_block(machine, 3, lost), lost);
			if (lost == copies) {
				/* A later block knows that it had been acknowledged. */
				machine_boot(machine, expect_damaged);
				expect(!machine_boot_mode(machine, see_rewound, SIM_CRASH_NONE));
			}
			machine_boot(machine, see_flushed);
			machine_boot(machine, see_clean);
			machine_free(machine);
		}
	}
}

/* The last block, of which no other knows, ends the log where it is missing. */
static void test_end(void **state)
{
	struct log_test test;
	struct machine *machine = machine_made(1, &test, 60);

	(void)state;
	machine_boot(machine, make_volume);
	expect(!machine_boot_mode(machine, flush_and_note, SIM_CRASH_NONE));
	expect_equal(spoil_block(machine, 5, 3), 3);
	test.versions[5] = 0;
	machine_boot(machine, see_flushed);
	machine_free(machine);
}

/* ---- Rows that can't be read ---- */

/* Of the column: all, or one. */
#define ALL_COLUMNS (-1)

static void lose_row(struct machine *machine, unsigned segment, unsigned row, int column)
{
	const struct segment_record *record = &spoil.records[segment];

	for (int c = 0; c < record->k + record->m; c++)
		if (column == ALL_COLUMNS || c == column)
			sim_disk_set_unreadable(machine->set->disks[record->columns[c].disk],
						DATA_START + ((uint64_t)record->columns[c].au << 18) + row * (uint64_t)CELL_SIZE, CELL_SIZE);
}

/* Until the log has gone round, and the next block would begin where an older one does that is of no use any more. */
static void flush_round(struct machine *machine)
{
	struct log_test *test = machine->test;
	struct volume *volume = pool_volume(machine, pool_open(machine), "v");
	const struct intent *intent = &machine->core->intent;

	for (unsigned i = 0; i < 700 || intent->row < 3 || intent->row > 20; i++) {
		write_version(machine, volume, i % BLOCKS, ++test->count);
		flush(machine, volume);
	}
	note_log(machine);
	power_off(machine);
}

static void expect_old_block(struct machine *machine)
{
	struct segment_column column = spoil.records[spoil.head].columns[0];
	uint8_t raw[2 * CELL_SIZE];
	struct intent_block block;

	sim_disk_peek(machine->set->disks[column.disk], DATA_START + ((uint64_t)column.au << 18) + spoil.row * CELL_SIZE, raw, sizeof(raw));
	expect_done(machine, intent_block_decode(raw, sizeof(raw), &spoil.pool, &block));
	expect_equal(block.generation, spoil.generation);
	expect_equal(intent_block_cells(block.payload_bytes), 2);
}

static void test_old_block(void **state)
{
	struct log_test test;
	struct machine *machine = machine_made(0, &test, 210);

	(void)state;
	machine_boot(machine, make_volume);
	expect(!machine_boot_mode(machine, flush_round, SIM_CRASH_NONE));
	expect_old_block(machine);
	lose_row(machine, spoil.head, spoil.row + 1, ALL_COLUMNS);
	machine_boot(machine, see_flushed);
	machine_boot(machine, see_clean);
	machine_free(machine);
}

static void scrub_log(struct machine *machine)
{
	struct datasets *datasets = pool_open(machine);
	struct intent *intent = &machine->core->intent;
	struct volume *volume = pool_volume(machine, datasets, "v");
	struct core_log_repair repair;
	uint64_t found = 0;

	for (unsigned block = 0; block < 3; block++) {
		write_version(machine, volume, block, 10);
		flush(machine, volume);
	}
	note_log(machine);
	lose_row(machine, spoil.head, 3, 0);
	lose_row(machine, spoil.head, 63, 0); /* the segment's last one */
	lose_row(machine, spoil.head, 40, ALL_COLUMNS);
	lose_row(machine, spoil.head, spoil.row - 1, ALL_COLUMNS); /* the last block's end */
	lose_row(machine, spoil.head, spoil.row, ALL_COLUMNS);
	for (unsigned i = 0; i < spoil.count; i++) {
		struct segment *segment = alloc_segment(machine->core->alloc, intent->segments[i].id);
		alloc_pin(segment);
		expect_done(machine, core_log_repair(machine->core, segment->id, &repair));
		alloc_unpin(machine->core->alloc, segment);
		expect_equal(repair.repaired, repair.found);
		expect_equal(repair.unrepaired, 0);
		found += repair.found;
	}
	expect_equal(found, 2u + 3u * (spoil.records[0].k + spoil.records[0].m));
	write_version(machine, volume, 3, 10);
	flush(machine, volume);
	power_off(machine);
}

static void test_unreadable(void **state)
{
	(void)state;
	for (unsigned number = 0; number < GEOMETRIES; number++)
		for (unsigned what = 0; what < 7; what++) {
			struct log_test test;
			struct machine *machine = machine_made(number, &test, 200 + what);

			machine_boot(machine, make_volume);
			if (what == 6) { /* in a pool that scrubs */
				expect(!machine_boot_mode(machine, scrub_log, SIM_CRASH_NONE));
				machine_boot(machine, see_flushed);
				machine_boot(machine, see_clean);
				machine_free(machine);
				continue;
			}
			expect(!machine_boot_mode(machine, flush_and_note, SIM_CRASH_NONE));
			switch (what) {
			case 0: /* nobody was there, and nobody is next */
				lose_row(machine, spoil.head, spoil.row + 1, ALL_COLUMNS);
				lose_row(machine, (spoil.head + 1) % spoil.count, 1, ALL_COLUMNS);
				break;
			case 1: /* each copy of a block has something that the other lacks */
				lose_row(machine, spoil.head, spoil.row - 2, 0);
				lose_row(machine, spoil.head, spoil.row - 1, 1);
				break;
			case 2: /* what comes after the last one, but in one copy */
				lose_row(machine, spoil.head, spoil.row, 0);
				break;
			case 3: /* there the next one would be */
				lose_row(machine, spoil.head, spoil.row, ALL_COLUMNS);
				break;
			case 4: /* the last one's end, its beginning */
				lose_row(machine, spoil.head, spoil.row - 1, ALL_COLUMNS);
				break;
			case 5:
				lose_row(machine, spoil.head, spoil.row - 2, ALL_COLUMNS);
				break;
			}
			if (what >= 3) {
				machine_boot(machine, expect_damaged);
				expect(!machine_boot_mode(machine, see_rewound, SIM_CRASH_NONE));
			}
			machine_boot(machine, see_flushed);
			machine_boot(machine, see_clean);
			machine_free(machine);
		}
}

/* A copy is read from rows beside its own: its blocks are valid, and not where they should be. What the others have counts. */
static void test_misdirected(void **state)
{
	(void)state;
	for (unsigned number = 0; number < GEOMETRIES; number++)
		for (int shift = -6; shift <= 10; shift++) {
			struct log_test test;
			struct machine *machine = machine_made(number, &test, 400 + (unsigned)(shift + 6));

			machine_boot(machine, make_volume);
			expect(!machine_boot_mode(machine, flush_and_note, SIM_CRASH_NONE));
			const struct segment_record *record = &spoil.records[spoil.head];
			struct segment_column column = record->columns[(unsigned)(shift + 6) % (record->k + record->m)];
			uint64_t at = DATA_START + ((uint64_t)column.au << 18) + CELL_SIZE;
			sim_disk_fault(machine->set->disks[column.disk], SIM_READ_MISDIRECTED, at, 63 * CELL_SIZE, 0, 1,
				       at + (uint64_t)((int64_t)shift * (int64_t)CELL_SIZE));
			machine_boot(machine, see_flushed);
			machine_boot(machine, see_clean);
			machine_free(machine);
		}
}

static void test_lost_disks(void **state)
{
	(void)state;
	for (unsigned mask = 1; mask < 1u << 5; mask++) {
		struct log_test test;
		struct machine *machine;

		if (__builtin_popcount(mask) > 2)
			continue;
		machine = machine_made(1, &test, 70 + mask);
		machine_boot(machine, make_volume);
		expect(!machine_boot_mode(machine, flush_some, SIM_CRASH_ANY));
		machine->hidden = mask;
		machine_boot(machine, see_flushed);
		/* With fewer disks there is a log, too; with all again as well. */
		expect(!machine_boot_mode(machine, flush_some, SIM_CRASH_ANY));
		machine_boot(machine, see_flushed);
		machine->hidden = 0;
		expect(!machine_boot_mode(machine, flush_some, SIM_CRASH_ANY));
		machine_boot(machine, see_flushed);
		machine_free(machine);
	}
}

/* ---- A replay that fails ---- */

static int fail_in_the_middle(void *argument, uint64_t txg, const struct intent_record *record)
{
	unsigned *count = argument;

	(void)txg, (void)record;
	return ++*count == 7 ? -POOL_EDAMAGED : 0;
}

static void replay_half(struct machine *machine)
{
	unsigned count = 0;

	expect_done(machine, machine_import(machine));
	uint64_t txg = core_committed_txg(machine->core);
	expect_equal(core_replay(machine->core, fail_in_the_middle, &count), -POOL_EDAMAGED);
	expect(core_halted(machine->core, NULL));
	core_stop(machine->core);
	expect_equal(core_committed_txg(machine->core), txg);
	core_abandon(machine->core);
}

static void test_half(void **state)
{
	struct log_test test;
	struct machine *machine = machine_made(1, &test, 300);

	(void)state;
	machine_boot(machine, make_volume);
	expect(!machine_boot_mode(machine, flush_some, SIM_CRASH_NONE));
	machine_boot(machine, replay_half);
	machine_boot(machine, see_flushed);
	machine_free(machine);
}

/* ---- A log whose changes lie below nodes that can't be read ---- */

#define WIDE 256u  /* blocks of the volume */
#define FANOUT 64u /* in a node of 4 KiB */

struct below_test {
	bool read_only, by_force, is_dnode;
	uint64_t lost;
};

static void wide_write(struct machine *machine, struct volume *volume, unsigned block, unsigned version)
{
	uint8_t data[BLOCK];

	block_fill(data, BLOCK, block, version);
	expect_done(machine, volume_write(volume, (uint64_t)block * BLOCK, BLOCK, data));
}

static bool wide_is(struct volume *volume, unsigned block, unsigned version)
{
	uint8_t data[BLOCK];

	return volume_read(volume, (uint64_t)block * BLOCK, BLOCK, data) == 0 && block_is(data, BLOCK, block, version);
}

static void make_wide(struct machine *machine)
{
	struct datasets *datasets = pool_open(machine);

	for (unsigned i = 0; i < 2; i++) {
		const char *name = i ? "well" : "hurt";
		expect_done(machine, volume_create(datasets, name, WIDE * BLOCK, BLOCK, 0, &machine->error));
		struct volume *volume = pool_volume(machine, datasets, name);
		for (unsigned block = 0; block < WIDE; block++)
			wide_write(machine, volume, block, 1);
		volume_close(volume);
	}
	pool_close(machine, datasets);
}

/* Flushed changes to readable blocks and to others, some with one record for both; then the node above blocks 64 to 127 goes. */
static void flush_and_damage(struct machine *machine)
{
	struct below_test *below = machine->test;
	struct datasets *datasets = pool_open(machine);
	struct volume *hurt = pool_volume(machine, datasets, "hurt"), *well = pool_volume(machine, datasets, "well");
	struct wanted node = { .objset = volume_record(hurt)->id, .object = 16, .level = 1, .block = 1, .type = TYPE_DATA };
	uint8_t half[BLOCK] = { 0 };

	wide_write(machine, hurt, 0, 2);
	expect_done(machine, volume_flush(hurt));
	uint64_t commits = core_commits(machine->core);
	for (unsigned block = 60; block < 70; block++)
		wide_write(machine, hurt, block, 3);
	expect_done(machine, volume_zero(hurt, 120 * BLOCK + BLOCK / 2, 20 * BLOCK));
	wide_write(machine, hurt, 200, 3);
	block_fill(half, BLOCK, 199, 3);
	expect_done(machine, volume_write(hurt, 199 * BLOCK, BLOCK / 2, half));
	wide_write(machine, well, 70, 3);
	expect_done(machine, volume_flush(well));
	expect_equal(core_commits(machine->core), commits);
	if (below->is_dnode)
		node = (struct wanted){ .objset = node.objset, .type = TYPE_DNODES };
	damage(machine, datasets, &node);
	power_off(machine);
}

static void expect_attach(struct machine *machine)
{
	struct datasets *datasets;

	expect_done(machine, machine_import(machine));
	expect_equal(datasets_open(machine->core, &datasets, &machine->error), -POOL_EDAMAGED);
	expect(strstr(machine->error.text, "attach") && strstr(machine->error.text, "--force"));
	core_stop(machine->core);
	core_abandon(machine->core);
}

static void see_the_rest(struct machine *machine)
{
	struct below_test *below = machine->test;
	struct datasets *datasets = pool_open(machine);
	struct volume *well = pool_volume(machine, datasets, "well"), *hurt;
	uint8_t half[2][BLOCK];

	expect_equal(datasets_lost(datasets)->bytes, below->lost);
	expect(wide_is(well, 70, 3) && wide_is(well, 71, 1));
	volume_close(well);
	if (!below->is_dnode) {
		hurt = pool_volume(machine, datasets, "hurt");
		expect(below->lost == 0 || datasets_lost(datasets)->offset == FANOUT * BLOCK);
		for (unsigned block = 0; block < WIDE; block++) {
			if (block == 140 || block == 199)
				continue;
			expect(block >= FANOUT && block < 2 * FANOUT ? volume_read(hurt, (uint64_t)block * BLOCK, BLOCK, half[0]) < 0 :
			       wide_is(hurt, block, block == 0 ? 2 : block == 200 || (block >= 60 && block < 64) ? 3 :
				       block >= 128 && block < 140 ? 0 : 1));
		}
		for (unsigned i = 0; i < 2; i++) { /* the new first half, the old second one */
			unsigned block = i ? 140 : 199;
			uint8_t wanted[BLOCK];
			expect_done(machine, volume_read(hurt, (uint64_t)block * BLOCK, BLOCK, half[0]));
			block_fill(half[1], BLOCK, block, i ? 0 : 3);
			block_fill(wanted, BLOCK, block, 1);
			memcpy(wanted, half[1], BLOCK / 2);
			expect(memcmp(half[0], wanted, BLOCK) == 0);
		}
		volume_close(hurt);
	}
	if (!core_read_only(machine->core))
		expect_done(machine, core_commit_forced(machine->core));
	expect(!core_halted(machine->core, NULL));
	pool_close(machine, datasets);
}

static void test_below_damage(void **state)
{
	static const struct below_test cases[] = { { .lost = 1 }, { .read_only = true, .lost = 1 }, { .by_force = true, .lost = 1 },
						   { .is_dnode = true, .lost = 2 } };

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		struct below_test below = cases[i];
		struct log_test unused;
		struct machine *machine = machine_made(0, &unused, 400 + i);

		/* Blocks 64 to 69, and of the zeros from the middle of block 120 on, those up to block 127. */
		below.lost = below.is_dnode ? 10 * BLOCK + 20 * BLOCK + BLOCK + BLOCK / 2 : 6 * BLOCK + 7 * BLOCK + BLOCK / 2;
		machine->test = &below;
		machine_boot(machine, make_wide);
		expect(!machine_boot_mode(machine, flush_and_damage, SIM_CRASH_NONE));
		machine->read_only = below.read_only;
		if (below.by_force) {
			machine->hidden = 1;
			machine_boot(machine, expect_attach);
			machine->force = true;
		}
		machine_boot(machine, see_the_rest);
		machine->force = false;
		if (!below.read_only) { /* and no replay again */
			below.lost = 0;
			machine_boot(machine, see_the_rest);
		}
		machine_free(machine);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_spoilt),
		cmocka_unit_test(test_end),
		cmocka_unit_test(test_unreadable),
		cmocka_unit_test(test_old_block),
		cmocka_unit_test(test_half),
		cmocka_unit_test(test_below_damage),
		cmocka_unit_test(test_misdirected),
		cmocka_unit_test(test_lost_disks),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
