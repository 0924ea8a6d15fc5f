/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Blocks that a compactor moves: they are read, overwritten, freed and repaired where they are, by pointers that never change; in this import,
 * in the next one, and with a disk missing. What races with a move wins, and the checkers find nothing at any time.
 */
#include "libpool/alloc/victims.h"
#include "libpool/txg/internal.h"
#include "libpool/format/dva.h"
#include "libpool/store/window.h"
#include "scrub/verify.h"
#include "tests/unit/dataset/damage.h"

#define BLOCK (16u << 10)
#define BLOCKS 1200u

struct world {
	uint8_t versions[BLOCKS];
	uint8_t data[BLOCK];
	struct datasets *datasets;
	struct volume *volume;
};
static struct world world;

static void open_world(struct machine *machine)
{
	world.datasets = pool_open(machine);
	world.volume = pool_volume(machine, world.datasets, "v");
}

static void close_world(struct machine *machine)
{
	volume_close(world.volume);
	pool_close(machine, world.datasets);
}

static void put(struct machine *machine, unsigned block, unsigned version)
{
	block_fill(world.data, BLOCK, block, version);
	expect_done(machine, volume_write(world.volume, (uint64_t)block * BLOCK, BLOCK, world.data));
	world.versions[block] = (uint8_t)version;
}

static void check_content(struct machine *machine)
{
	blocks_drop_cache(core_blocks(machine->core));
	for (unsigned block = 0; block < BLOCKS; block++) {
		expect_done(machine, volume_read(world.volume, (uint64_t)block * BLOCK, BLOCK, world.data));
		expect(block_is(world.data, BLOCK, block, world.versions[block]));
	}
}

static void check(struct machine *machine)
{
	struct verify_result result;

	expect_done(machine, verify_pool(machine->core, world.datasets, VERIFY_FULL, &result));
	if (result.first[0])
		fprintf(stderr, "%s\n", result.first);
	expect_equal(result.violations, 0);
	expect_equal(result.damaged_blocks + result.damaged_cells, 0);
	check_content(machine);
}

static int count_entry(void *argument, const struct moved_entry *entry)
{
	expect(entry->references == 1 && (entry->dva != entry->new_dva));
	++*(unsigned *)argument;
	return 0;
}

static unsigned entries(struct machine *machine)
{
	unsigned count = 0;

	expect_done(machine, core_each_moved(machine->core, count_entry, &count));
	return count;
}

static bool is_victim(struct machine *machine, uint32_t id)
{
	const struct segment *segment = alloc_segment(core_alloc(machine->core), id);

	return segment && segment->record.state == SEGMENT_FULL && segment->live && segment->record.class != CLASS_SYS &&
	       segment->record.class != CLASS_LOG;
}

/* Reads what is live in the segment, for the next commit. */
static void compact(struct machine *machine, uint32_t id)
{
	struct core_compacted result;
	int status;

	while ((status = core_compact(machine->core, id, 0, UINT16_MAX, &result)) == -EAGAIN)
		expect_done(machine, core_commit_forced(machine->core));
	expect_done(machine, status);
	expect_equal(result.left_cells, 0);
}

/* All that are FULL, the pool's own trees too, and nothing is left in any. */
static void compact_all(struct machine *machine)
{
	static const enum segment_class classes[] = {CLASS_META, CLASS_HOT, CLASS_COLD, CLASS_SURV};
	struct alloc *alloc = core_alloc(machine->core);
	uint64_t lives[4096] = {0};

	for (unsigned i = 0; i < 4; i++)
		store_retire(core_store(machine->core), classes[i]);
	put(machine, 0, 3);
	expect_done(machine, core_commit_forced(machine->core));
	uint32_t count = alloc_segment_count(alloc);
	expect(count <= 4096);
	for (uint32_t id = 0; id < count; id++) {
		if (!is_victim(machine, id))
			continue;
		lives[id] = alloc_segment(alloc, id)->record.alloc_txg;
		compact(machine, id);
		expect_done(machine, core_commit_forced(machine->core));
	}
	for (unsigned i = 0; i < 3; i++)
		expect_done(machine, core_commit_forced(machine->core));
	for (uint32_t id = 0; id < count; id++)
		expect(!lives[id] || alloc_segment(alloc, id)->record.alloc_txg != lives[id] || alloc_segment(alloc, id)->live == 0);
	expect(core_compact_counters(machine->core)->own_cells > 0);
}

static void fill_program(struct machine *machine)
{
	world.datasets = pool_open(machine);
	expect_done(machine, volume_create(world.datasets, "v", (uint64_t)BLOCKS * BLOCK, BLOCK, 0, &machine->error));
	world.volume = pool_volume(machine, world.datasets, "v");
	for (unsigned block = 0; block < BLOCKS; block++) {
		put(machine, block, 1);
		if (block % 100 == 99)
			expect_done(machine, core_commit(machine->core));
	}
	check(machine);
	expect_equal(entries(machine), 0);
	close_world(machine);
}

static void move_program(struct machine *machine)
{
	open_world(machine);
	compact_all(machine);
	expect(core_compact_counters(machine->core)->blocks > BLOCKS / 2);
	expect_equal(core_compact_counters(machine->core)->died_cells + core_compact_counters(machine->core)->crowded_cells, 0);
	unsigned moved = entries(machine);
	expect_equal(moved, core_compact_counters(machine->core)->blocks);
	check(machine);

	/* What is overwritten takes its entry along. */
	for (unsigned block = 0; block < BLOCKS; block += 3)
		put(machine, block, 2);
	expect_done(machine, core_commit(machine->core));
	check(machine);
	expect(entries(machine) < moved);

	/* What was moved is moved again: under the same name. */
	moved = entries(machine);
	compact_all(machine);
	check(machine);
	expect(entries(machine) >= moved);
	close_world(machine);
}

static void reopen_program(struct machine *machine)
{
	open_world(machine);
	check_content(machine);
	if (!machine->hidden)
		check(machine);
	close_world(machine);
}

static void trim_program(struct machine *machine)
{
	open_world(machine);
	expect(entries(machine) > 0);
	expect_done(machine, volume_trim(world.volume, 0, (uint64_t)BLOCKS * BLOCK));
	memset(world.versions, 0, sizeof(world.versions));
	for (unsigned i = 0; i < 5; i++)
		expect_done(machine, core_commit_forced(machine->core));
	check(machine);
	/* Nodes that commits have written since may have been moved: they die with the volume. */
	volume_close(world.volume);
	expect_done(machine, volume_destroy(world.datasets, "v", &machine->error));
	for (unsigned i = 0; i < 5; i++)
		expect_done(machine, core_commit_forced(machine->core));
	expect_equal(entries(machine), 0);
	pool_close(machine, world.datasets);
}

static void run_life(unsigned disks, unsigned k, unsigned m)
{
	struct machine *machine = machine_new(disks, 128 * MIB, k, m, disks * 10 + m);

	machine_boot(machine, machine_create_program);
	machine_boot(machine, fill_program);
	machine_boot(machine, move_program);
	machine_boot(machine, reopen_program);
	if (m) {
		machine->hidden = 2;
		machine->read_only = true;
		machine_boot(machine, reopen_program);
		machine->hidden = 0;
		machine->read_only = false;
	}
	machine_boot(machine, trim_program);
	machine_free(machine);
}

static void test_life(void **state)
{
	(void)state;
	run_life(6, 4, 2);
	run_life(2, 1, 1);
	run_life(1, 1, 0);
}

/* Between the reading and the commit blocks are overwritten and trimmed: those aren't moved. */
static void race_program(struct machine *machine)
{
	open_world(machine);
	uint32_t count = alloc_segment_count(core_alloc(machine->core));
	for (uint32_t id = 0; id < count; id++)
		if (is_victim(machine, id))
			compact(machine, id);
	expect(core_compact_waiting(machine->core) > 0);
	for (unsigned block = 0; block < BLOCKS; block += 2)
		put(machine, block, 5);
	expect_done(machine, volume_trim(world.volume, 0, 101 * BLOCK));
	memset(world.versions, 0, 101);
	expect_done(machine, core_commit(machine->core));
	expect(core_compact_counters(machine->core)->died_cells > 0 && core_compact_counters(machine->core)->blocks > 0);
	expect_equal(core_compact_waiting(machine->core), 0);
	check(machine);

	/* And the volume goes, while all of it waits. */
	for (uint32_t id = 0; id < count; id++)
		if (is_victim(machine, id))
			compact(machine, id);
	volume_close(world.volume);
	expect_done(machine, volume_destroy(world.datasets, "v", &machine->error));
	for (unsigned i = 0; i < 5; i++)
		expect_done(machine, core_commit_forced(machine->core));
	expect_equal(entries(machine), 0);
	struct verify_result result;
	expect_done(machine, verify_pool(machine->core, world.datasets, VERIFY_FULL, &result));
	expect_equal(result.violations, 0);
	/* What waits when the pool is closed is forgotten. */
	pool_close(machine, world.datasets);
}

static void test_races(void **state)
{
	struct machine *machine = machine_new(6, 128 * MIB, 4, 2, 77);

	(void)state;
	machine_boot(machine, machine_create_program);
	machine_boot(machine, fill_program);
	machine_boot(machine, race_program);
	machine_free(machine);
}

/* Where a block of the volume is now. */
static struct block_pointer where(struct machine *machine, unsigned block)
{
	struct wanted wanted = {.objset = 1, .object = 16, .block = block, .level = 0, .type = TYPE_DATA};
	struct block_pointer at;

	expect_done(machine, datasets_walk(world.datasets, find_pointer, &wanted));
	expect(wanted.found);
	expect_done(machine, core_locate(machine->core, 1, &wanted.pointer, &at));
	return at;
}

struct slow_reading {
	struct machine *machine;
	uint32_t segment;
	struct core_compacted result;
	bool done;
};

static void slow_fiber(void *argument)
{
	struct slow_reading *reading = argument;

	expect_done(reading->machine, core_compact(reading->machine->core, reading->segment, 0, UINT16_MAX, &reading->result));
	reading->done = true;
}

/* A segment with some batches, one of which is dead, and a disk that takes long to read the last of them. */
static void slow_program(struct machine *machine)
{
	struct slow_reading reading = {.machine = machine, .segment = UINT32_MAX};

	open_world(machine);
	struct alloc *alloc = core_alloc(machine->core);
	for (unsigned block = 0; block < 120; block++) {
		put(machine, block, 7);
		if (block % 12 == 11)
			expect_done(machine, core_commit(machine->core));
	}
	for (unsigned i = 0; i < alloc_segment_count(alloc); i++)
		if (is_victim(machine, i) && alloc_segment(alloc, i)->batch_count >= 4)
			reading.segment = i;
	expect(reading.segment != UINT32_MAX);
	struct segment *segment = alloc_segment(alloc, reading.segment);
	/* What was written first of it dies. */
	struct dva first = {reading.segment, segment->batches[0].base, 1, 0};
	uint64_t dead = dva_pack(first) >> 20;
	unsigned trimmed = 0;
	for (unsigned block = 0; block < 120; block++)
		if (where(machine, block).dva >> 20 == dead) {
			expect_done(machine, volume_trim(world.volume, (uint64_t)block * BLOCK, BLOCK));
			world.versions[block] = 0;
			trimmed++;
		}
	expect(trimmed > 0);
	for (unsigned i = 0; i < 5; i++)
		expect_done(machine, core_commit_forced(machine->core));
	expect(alloc_rows_room(alloc, segment, 4) > 0);

	const struct batch_index *last = &segment->batches[segment->batch_count - 1];
	blocks_drop_cache(core_blocks(machine->core));
	struct segment_column slow = segment->record.columns[0];
	struct sim_disk *disk = machine->set->disks[slow.disk];
	sim_disk_fault(disk, SIM_HANG_LATE, store_cell_offset(core_store(machine->core), slow.au, last->base), CELL_SIZE, 0, 1, 5 * NS_PER_S);
	expect_equal(rt_spawn(machine->rt, "slow reading", slow_fiber, &reading), 0);
	while (disk->counters.injected[SIM_HANG_LATE] == 0)
		rt_sleep(machine->rt, 1000);
	expect_done(machine, core_commit_forced(machine->core));
	expect(!reading.done && core_compact_counters(machine->core)->blocks > 0);
	/* It is about to be emptied of the rest: nobody is promised its rows. */
	expect_equal(alloc_rows_room(alloc, segment, 4), 0);
	while (!reading.done)
		rt_sleep(machine->rt, NS_PER_MS);
	expect(reading.result.left_cells == 0 && core_compact_waiting(machine->core) > 0);
	expect_equal(alloc_rows_room(alloc, segment, 4), 0);
	expect_done(machine, core_commit_forced(machine->core));
	expect(segment->pins == 0 && segment->moves == 0 && segment->live == 0);
	check(machine);
	close_world(machine);
}

/* A commit that comes while a segment is being read moves what was found by then; the rest stays set apart. */
static void test_slow(void **state)
{
	struct machine *machine = machine_new(6, 128 * MIB, 4, 2, 80);

	(void)state;
	machine_boot(machine, machine_create_program);
	machine_boot(machine, fill_program);
	machine_boot(machine, slow_program);
	machine_free(machine);
}

/* Garbage over one cell of a block, the first on its disk. */
static void spoil(struct machine *machine, const struct block_pointer *at)
{
	struct dva dva = dva_unpack(at->dva);
	const struct segment *segment = alloc_segment(core_alloc(machine->core), dva.segment);
	struct segment_column column = segment->record.columns[dva.offset / dva.height];
	uint8_t garbage[CELL_SIZE];

	memset(garbage, 0xA5, sizeof(garbage));
	sim_disk_poke(machine->set->disks[column.disk],
		      store_cell_offset(core_store(machine->core), column.au, dva.base + dva.offset % dva.height), garbage, sizeof(garbage));
	blocks_drop_cache(core_blocks(machine->core));
}

static struct {
	unsigned found, cleared;
	struct block_owner owner; /* of the last one */
} told;

static void count_report(void *argument, const struct block_pointer *pointer, const struct block_owner *owner, int error)
{
	(void)argument;
	(void)pointer;
	told.found += error < 0;
	told.cleared += error == 0;
	if (error < 0)
		told.owner = *owner;
}

/*
 * What is wrong on one disk is made right on the way; what can't be made right is told like what a read finds, and stays where it is, alone.
 * After the move blocks are repaired where they are.
 */
static void damage_program(struct machine *machine)
{
	const struct store_counters *counters;
	struct core_compacted result;
	uint64_t left = 0;

	open_world(machine);
	counters = store_counters(core_store(machine->core));
	/* Not the one that compact_all would write anew. */
	struct block_pointer wrong = where(machine, 500), lost = where(machine, 501);
	uint32_t segments[] = {dva_unpack(wrong.dva).segment, dva_unpack(lost.dva).segment};
	uint64_t healed = counters->healed_cells;
	memset(&told, 0, sizeof(told));
	blocks_set_damage_callback(core_blocks(machine->core), count_report, NULL);
	spoil(machine, &wrong);
	damage_pointed(machine, &lost);
	for (unsigned i = 0; i < 2; i++) {
		expect(is_victim(machine, segments[i]));
		expect_done(machine, core_compact(machine->core, segments[i], 0, UINT16_MAX, &result));
		left += result.left_cells;
		if (segments[0] == segments[1])
			break;
	}
	/* Of the rows of the lost block other blocks have cells. */
	expect(left >= lost.psect && left < 20 * BLOCK / CELL_SIZE);
	expect_equal(counters->healed_cells, healed + 1);
	expect(told.found > 0 && told.found * BLOCK / CELL_SIZE == left && told.owner.objset == 1 && told.owner.object == 16);
	unsigned found = told.found;
	expect_done(machine, core_commit_forced(machine->core));
	expect(where(machine, 500).dva != wrong.dva && where(machine, 501).dva == lost.dva);
	expect_done(machine, volume_read(world.volume, (uint64_t)500 * BLOCK, BLOCK, world.data));
	expect(block_is(world.data, BLOCK, 500, world.versions[500]));
	expect_equal(volume_read(world.volume, (uint64_t)501 * BLOCK, BLOCK, world.data), -POOL_EDAMAGED);
	expect_equal(told.found, found); /* it was told already */
	put(machine, 501, 8);
	expect_done(machine, core_commit_forced(machine->core));
	expect_equal(told.cleared, 1);
	blocks_set_damage_callback(core_blocks(machine->core), NULL, NULL);

	struct block_pointer moved = where(machine, 500);
	healed = counters->healed_cells;
	spoil(machine, &moved);
	for (unsigned i = 0; i < 2; i++) { /* the second time nothing is wrong */
		blocks_drop_cache(core_blocks(machine->core));
		expect_done(machine, volume_read(world.volume, (uint64_t)500 * BLOCK, BLOCK, world.data));
		expect(block_is(world.data, BLOCK, 500, world.versions[500]));
		expect_equal(counters->healed_cells, healed + 1);
	}
	close_world(machine);
}

static void test_damage(void **state)
{
	struct machine *machine = machine_new(6, 128 * MIB, 4, 2, 78);

	(void)state;
	machine_boot(machine, machine_create_program);
	machine_boot(machine, fill_program);
	machine_boot(machine, damage_program);
	machine_free(machine);
}

/* While a commit moves blocks, they are read all the time: where they were, until it is durable. */
/* A summary that says that two blocks have a cell in common: nothing that it names is moved, and the pool goes on. */
static void forged_program(struct machine *machine)
{
	struct core_compacted result;
	struct summary_entry *entry;

	open_world(machine);
	struct block_pointer at = where(machine, 500);
	struct dva dva = dva_unpack(at.dva);
	struct segment *segment = alloc_segment(core_alloc(machine->core), dva.segment);
	expect(is_victim(machine, dva.segment));
	expect_done(machine, summary_get(core_store(machine->core), segment, dva.base, &entry));
	struct summary *summary = (struct summary *)summary_of(entry);
	struct summary_block *block = NULL;
	for (uint32_t i = 0; i < summary->block_count && !block; i++)
		if (summary->blocks[i].objset == 1 && summary->blocks[i].block == 500 && summary->blocks[i].level == 0)
			block = &summary->blocks[i];
	expect(block != NULL && block->psect == BLOCK / CELL_SIZE);
	block->psect++;
	expect_done(machine, core_compact(machine->core, dva.segment, 0, UINT16_MAX, &result));
	expect(result.left_cells >= BLOCK / CELL_SIZE);
	expect_done(machine, core_commit_forced(machine->core));
	expect(where(machine, 500).dva == at.dva);
	block->psect--;
	summary_put(core_store(machine->core), entry);
	compact(machine, dva.segment);
	expect_done(machine, core_commit_forced(machine->core));
	expect(where(machine, 500).dva != at.dva);
	check(machine);
	close_world(machine);
}

static void test_forged(void **state)
{
	struct machine *machine = machine_new(6, 128 * MIB, 4, 2, 79);

	(void)state;
	machine_boot(machine, machine_create_program);
	machine_boot(machine, fill_program);
	machine_boot(machine, forged_program);
	machine_free(machine);
}

static void stopped_fiber(void *argument)
{
	struct slow_reading *reading = argument;

	expect_equal(core_compact(reading->machine->core, reading->segment, 0, UINT16_MAX, &reading->result), -POOL_EHALTED);
	reading->done = true;
}

/* An export doesn't wait for a segment to be read: what is read is the last of it. */
static void stopped_program(struct machine *machine)
{
	struct slow_reading reading = {.machine = machine, .segment = UINT32_MAX};

	open_world(machine);
	struct alloc *alloc = core_alloc(machine->core);
	for (unsigned block = 0; block < 120; block++) {
		put(machine, block, 9);
		if (block % 12 == 11)
			expect_done(machine, core_commit(machine->core));
	}
	for (unsigned i = 0; i < alloc_segment_count(alloc); i++)
		if (is_victim(machine, i) && alloc_segment(alloc, i)->batch_count >= 4)
			reading.segment = i;
	expect(reading.segment != UINT32_MAX);
	blocks_drop_cache(core_blocks(machine->core));
	for (unsigned i = 0; i < machine->set->count; i++)
		machine->set->disks[i]->latency.read_ns = 4 * NS_PER_S;
	expect_equal(rt_spawn(machine->rt, "stopped reading", stopped_fiber, &reading), 0);
	rt_sleep(machine->rt, NS_PER_S);
	expect(!reading.done);
	core_stop(machine->core);
	uint64_t began = rt_now(machine->rt);
	while (!reading.done)
		rt_sleep(machine->rt, NS_PER_MS);
	expect(rt_now(machine->rt) - began < 9 * NS_PER_S);
	for (unsigned i = 0; i < machine->set->count; i++)
		machine->set->disks[i]->latency.read_ns = 0;
	volume_close(world.volume);
	datasets_close(world.datasets);
	expect_done(machine, core_export(machine->core, &machine->error));
}

static void test_stopped(void **state)
{
	struct machine *machine = machine_new(6, 128 * MIB, 4, 2, 81);

	(void)state;
	machine_boot(machine, machine_create_program);
	machine_boot(machine, fill_program);
	machine_boot(machine, stopped_program);
	machine_free(machine);
}

static void reader_fiber(void *argument)
{
	struct machine *machine = argument;
	unsigned *reads = machine->test;
	uint8_t *data = malloc(BLOCK);

	/* But the first, which compact_all overwrites. */
	for (unsigned block = 1; *reads < UINT32_MAX / 2; block = 1 + (block + 6) % (BLOCKS - 1)) {
		blocks_drop_cache(core_blocks(machine->core));
		expect_done(machine, volume_read(world.volume, (uint64_t)block * BLOCK, BLOCK, data));
		expect(block_is(data, BLOCK, block, world.versions[block]));
		++*reads;
	}
	free(data);
	*reads = 0;
}

static void reading_program(struct machine *machine)
{
	unsigned reads = 0;

	open_world(machine);
	machine->test = &reads;
	expect_equal(rt_spawn(machine->rt, "reader", reader_fiber, machine), 0);
	for (unsigned round = 0; round < 3; round++)
		compact_all(machine);
	expect(reads > 100);
	reads = UINT32_MAX / 2;
	while (reads)
		rt_sleep(machine->rt, NS_PER_MS);
	check(machine);
	close_world(machine);
}

static void test_reading(void **state)
{
	struct machine *machine = machine_new(6, 128 * MIB, 4, 2, 79);

	(void)state;
	machine_boot(machine, machine_create_program);
	machine_boot(machine, fill_program);
	machine_boot(machine, reading_program);
	machine_free(machine);
}

/*
 * A full pool, of which more is to be moved than there is room for copies, in blocks that leave much of their segments empty: what finds none stays
 * where it is, and commits have what they need.
 */
static uint64_t moved_when_full;

static void full_program(struct machine *machine)
{
	uint32_t block_size = *(uint32_t *)machine->test, count;
	uint8_t *data = malloc(block_size);
	unsigned blocks = 0, blocks_max = (unsigned)(512 * MIB / block_size);
	struct core_compacted result;

	world.datasets = pool_open(machine);
	expect_done(machine, volume_create(world.datasets, "v", 512 * MIB, block_size, 0, &machine->error));
	world.volume = pool_volume(machine, world.datasets, "v");
	for (; blocks < blocks_max; blocks++) {
		block_fill(data, block_size, blocks, 1);
		if (volume_write(world.volume, (uint64_t)blocks * block_size, block_size, data) < 0)
			break;
	}
	expect(blocks < blocks_max);
	for (unsigned round = 0; round < 6; round++) {
		count = alloc_segment_count(core_alloc(machine->core));
		for (uint32_t id = 0; id < count && core_compact_waiting(machine->core) < COMPACT_BYTES_MAX; id++)
			if (is_victim(machine, id))
				(void)core_compact(machine->core, id, 0, UINT16_MAX, &result);
		expect_done(machine, core_commit_forced(machine->core));
		if (round == 3) { /* from here on segments are narrow */
			store_disk_fail(core_store(machine->core), 1, "lost");
			expect_done(machine, core_commit_forced(machine->core));
		}
	}
	expect(core_compact_counters(machine->core)->crowded_cells > 0);
	moved_when_full += core_compact_counters(machine->core)->blocks;
	for (unsigned block = 0; block < blocks; block++) {
		expect_done(machine, volume_read(world.volume, (uint64_t)block * block_size, block_size, data));
		expect(block_is(data, block_size, block, 1));
	}
	struct verify_result verified;
	expect_done(machine, verify_pool(machine->core, world.datasets, VERIFY_REACHABLE, &verified));
	expect_equal(verified.violations, 0);
	free(data);
	close_world(machine);
}

static void test_full(void **state)
{
	static const struct {
		unsigned disks, k, m;
		uint32_t block_size;
	} shapes[] = {{2, 1, 1, 128 << 10}, {6, 4, 2, 128 << 10}, {6, 4, 2, 4 << 10}, {3, 2, 1, 64 << 10}};

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		struct machine *machine = machine_new(shapes[i].disks, 64 * MIB, shapes[i].k, shapes[i].m, 90 + i);
		uint32_t block_size = shapes[i].block_size;

		machine->test = &block_size;
		machine_boot(machine, machine_create_program);
		machine_boot(machine, full_program);
		machine_free(machine);
	}
	expect(moved_when_full > 0);
}

/* Names make the summaries of wide segments large: they are cut before they get too large to be read. */
static void wide_program(struct machine *machine)
{
	const uint32_t block_size = 4 << 10, blocks = 8000;
	struct verify_result result;

	world.datasets = pool_open(machine);
	expect_done(machine, volume_create(world.datasets, "v", 512 * MIB, block_size, 0, &machine->error));
	world.volume = pool_volume(machine, world.datasets, "v");
	for (unsigned block = 0; block < blocks; block++) {
		block_fill(world.data, block_size, block, 1);
		expect_done(machine, volume_write(world.volume, (uint64_t)block * block_size, block_size, world.data));
	}
	store_retire(core_store(machine->core), CLASS_HOT);
	expect_done(machine, core_commit_forced(machine->core));
	uint32_t count = alloc_segment_count(core_alloc(machine->core));
	for (uint32_t id = 0; id < count; id++)
		if (is_victim(machine, id))
			compact(machine, id);
	expect_done(machine, core_commit_forced(machine->core));
	expect(core_compact_counters(machine->core)->cells > 13 * 255);
	expect_done(machine, verify_pool(machine->core, world.datasets, VERIFY_FULL, &result));
	if (result.first[0])
		fprintf(stderr, "%s\n", result.first);
	expect_equal(result.violations + result.damaged_blocks + result.damaged_cells, 0);
	for (unsigned block = 0; block < blocks; block++) {
		expect_done(machine, volume_read(world.volume, (uint64_t)block * block_size, block_size, world.data));
		expect(block_is(world.data, block_size, block, 1));
	}
	close_world(machine);
}

static void test_wide(void **state)
{
	struct machine *machine = machine_new(16, 256 * MIB, 13, 3, 99);

	(void)state;
	machine->au_shift = 20;
	machine_boot(machine, machine_create_program);
	machine_boot(machine, wide_program);
	machine_free(machine);
}

/* The block with the dnodes is lost, and with it the way to the content; what is left of the volume was moved, and is freed where it is. */
static void lost_program(struct machine *machine)
{
	struct wanted dnodes = {.objset = 1, .object = 0, .block = 0, .level = 0, .type = TYPE_DNODES};
	struct wanted objset = {.objset = 1, .object = 0, .block = 0, .level = 0, .type = TYPE_OBJSET};
	struct block_pointer at;
	struct moved_entry entry;

	open_world(machine);
	expect_done(machine, datasets_walk(world.datasets, find_pointer, &dnodes));
	expect_done(machine, datasets_walk(world.datasets, find_pointer, &objset));
	expect(dnodes.found && objset.found);
	expect_done(machine, core_locate(machine->core, 1, &dnodes.pointer, &at));
	expect(at.dva != dnodes.pointer.dva);
	expect_done(machine, moved_find(machine->core, objset.pointer.dva, objset.pointer.place, &entry));
	volume_close(world.volume);
	damage_pointed(machine, &at);
	expect_done(machine, volume_destroy(world.datasets, "v", &machine->error));
	for (unsigned i = 0; i < 5; i++)
		expect_done(machine, core_commit_forced(machine->core));
	expect_equal(moved_find(machine->core, objset.pointer.dva, objset.pointer.place, &entry), -ENOENT);
	pool_close(machine, world.datasets);
}

/* Nothing is written any more once the volume's own nodes have moved. */
static void settle_program(struct machine *machine)
{
	open_world(machine);
	compact_all(machine);
	store_retire(core_store(machine->core), CLASS_META);
	put(machine, 0, 4);
	expect_done(machine, core_commit_forced(machine->core));
	store_retire(core_store(machine->core), CLASS_META);
	for (unsigned i = 0; i < 2; i++) { /* some metadata, for the segment to be closed */
		expect_done(machine, core_commit_forced(machine->core));
		store_retire(core_store(machine->core), CLASS_META);
	}
	uint32_t count = alloc_segment_count(core_alloc(machine->core));
	for (uint32_t id = 0; id < count; id++)
		if (is_victim(machine, id))
			compact(machine, id);
	expect_done(machine, core_commit_forced(machine->core));
	close_world(machine);
}

static void test_lost(void **state)
{
	struct machine *machine = machine_new(6, 128 * MIB, 4, 2, 98);

	(void)state;
	machine_boot(machine, machine_create_program);
	machine_boot(machine, fill_program);
	machine_boot(machine, settle_program);
	machine_boot(machine, lost_program);
	machine_free(machine);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_life), cmocka_unit_test(test_races), cmocka_unit_test(test_slow), cmocka_unit_test(test_damage),
					   cmocka_unit_test(test_forged), cmocka_unit_test(test_stopped), cmocka_unit_test(test_reading), cmocka_unit_test(test_full),
					   cmocka_unit_test(test_wide), cmocka_unit_test(test_lost)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
