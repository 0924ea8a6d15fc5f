/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Pools that live on the dead rows of their segments: filled, overwritten block by block for hundreds of commits, trimmed here and
 * there, imported anew, with a disk lost in the middle. No commit lacks space, writers hear of what there is at once, nothing that
 * was written is lost, and the index of batches doesn't grow with the years.
 */
#include "tests/unit/dataset/volumes.h"

struct life {
	struct machine *machine;
	struct datasets *datasets;
	struct volume *volume;
	struct sim_random random;
	uint32_t block_size;
	unsigned percent; /* of what is available, the volume */
	unsigned rounds, writes; /* of so many blocks each */
	unsigned lose; /* in this round a disk goes; 0: none */
	unsigned trims; /* of a million */
	uint64_t blocks, refused, written;
	uint8_t *versions, *data;
	unsigned version;
	double cost; /* cells placed for a block's cell, parity apart */
};

static void alive(struct life *life)
{
	const char *why = "";

	if (core_halted(life->machine->core, &why))
		fprintf(stderr, "halted: %s\n", why);
	expect(!core_halted(life->machine->core, NULL));
}

static bool put(struct life *life, uint64_t block)
{
	unsigned version = 1 + life->version++ % 200;

	block_fill(life->data, life->block_size, block, version);
	int status = volume_write(life->volume, block * life->block_size, life->block_size, life->data);
	alive(life);
	expect(status == 0 || status == -ENOSPC);
	if (status == 0)
		life->versions[block] = (uint8_t)version;
	life->written += status == 0;
	life->refused += status < 0;
	return status == 0;
}

static void flush(struct life *life)
{
	int status = volume_flush(life->volume);

	alive(life);
	expect_equal(status, 0);
}

static void verify(struct life *life)
{
	for (uint64_t block = 0; block < life->blocks; block++) {
		expect_done(life->machine, volume_read(life->volume, block * life->block_size, life->block_size, life->data));
		expect(block_is(life->data, life->block_size, block, life->versions[block]));
	}
}

/* Each segment's entries, and all of the map. */
static void check_index(struct life *life)
{
	struct alloc *alloc = core_alloc(life->machine->core);

	for (uint32_t id = 0; id < alloc_segment_count(alloc); id++) {
		const struct segment *segment = alloc_segment(alloc, id);
		if (segment && segment->record.class != CLASS_SYS)
			expect(segment->batch_count <= ALLOC_BATCHES_REUSED);
	}
}

static uint64_t placed(const struct store_counters *counters)
{
	uint64_t cells = counters->header_cells;

	for (unsigned i = 0; i < STORE_PURPOSES; i++)
		cells += i == STORE_COPIES || i == STORE_MOVED ? 0 : counters->placed[i] + counters->placed_sys[i];
	return cells;
}

static void trim(struct life *life)
{
	uint64_t first = sim_random_below(&life->random, life->blocks), count = 1 + sim_random_below(&life->random, 40);

	count = first + count > life->blocks ? life->blocks - first : count;
	expect_done(life->machine, volume_trim(life->volume, first * life->block_size, count * life->block_size));
	memset(life->versions + first, 0, count);
}

static void reopen(struct life *life)
{
	volume_close(life->volume);
	pool_close(life->machine, life->datasets);
	life->datasets = pool_open(life->machine);
	life->volume = pool_volume(life->machine, life->datasets, "v");
}

static void rounds(struct life *life)
{
	for (unsigned round = 1; round <= life->rounds; round++) {
		for (unsigned i = 0; i < life->writes; i++) {
			if (sim_random_chance(&life->random, life->trims))
				trim(life);
			(void)put(life, sim_random_below(&life->random, life->blocks));
		}
		if (round == life->lose) { /* what was promised by now must be kept without it */
			struct store_disk *disk = store_disk(core_store(life->machine->core), 1);
			store_disk_fail(core_store(life->machine->core), 1, "lost");
			expect(disk->state == DISK_FAULTY);
		}
		flush(life);
		check_index(life);
		if (round % 100 == 50)
			reopen(life);
	}
}

static void life_program(struct machine *machine)
{
	struct life *life = machine->test;
	struct space space;

	life->datasets = pool_open(machine);
	core_space(machine->core, &space);
	life->blocks = space.available_cells * CELL_SIZE / 100 * life->percent / life->block_size;
	life->versions = calloc(life->blocks, 1);
	life->data = malloc(life->block_size);
	expect_done(machine, volume_create(life->datasets, "v", life->blocks * life->block_size, life->block_size, 0, &machine->error));
	life->volume = pool_volume(machine, life->datasets, "v");
	for (uint64_t block = 0; block < life->blocks; block++) {
		expect(put(life, block));
		if (block % 2000 == 1999)
			flush(life);
	}
	flush(life);
	life->written = life->refused = 0;
	struct store_counters before = *store_counters(core_store(machine->core));
	rounds(life);
	if (life->rounds < 50) { /* the counters are of one import */
		uint64_t cells = life->written * (life->block_size / CELL_SIZE);
		life->cost = (double)(placed(store_counters(core_store(machine->core))) - placed(&before)) / (double)cells;
	}
	verify(life);
	/* What is trimmed comes back whole. */
	expect_done(machine, volume_trim(life->volume, 0, life->blocks * life->block_size));
	memset(life->versions, 0, life->blocks);
	for (unsigned i = 0; i < 5; i++)
		expect_done(machine, core_commit_forced(machine->core));
	for (uint64_t block = 0; block < life->blocks && !life->lose; block++)
		expect(put(life, block));
	flush(life);
	volume_close(life->volume);
	pool_close(machine, life->datasets);
	free(life->versions);
	free(life->data);
}

static void live(struct life *life, unsigned disks, unsigned k, unsigned m, uint64_t size)
{
	struct machine *machine = machine_new(disks, size, k, m, disks * 100 + k * 10 + m);

	life->machine = machine;
	sim_random_stream(&life->random, machine->sim->seed, "life", 0);
	machine->test = life;
	machine_boot(machine, machine_create_program);
	machine_boot(machine, life_program);
	machine_free(machine);
}

/* Small units, and a pool that is at its floors all the time. */
static void test_at_the_floor(void **state)
{
	struct life mirror = {.block_size = 4 << 10, .percent = 80, .rounds = SANITIZED ? 90 : 220, .writes = 100, .trims = 2000};
	struct life raid = {.block_size = 4 << 10, .percent = 82, .rounds = SANITIZED ? 90 : 220, .writes = 200, .trims = 20000};
	struct life large = {.block_size = 64 << 10, .percent = 75, .rounds = 160, .writes = 30, .trims = 20000};

	(void)state;
	live(&mirror, 2, 1, 1, 128 * MIB);
	expect(mirror.refused == 0); /* each row has one block: those that die can be written again */

	live(&raid, 6, 4, 2, 64 * MIB);
	if (!SANITIZED)
		live(&large, 5, 3, 1, 96 * MIB);
}

static void test_disk_lost(void **state)
{
	struct life life = {.block_size = 4 << 10, .percent = 75, .rounds = 40, .writes = 300, .trims = 20000, .lose = 20};
	struct life mirror = {.block_size = 16 << 10, .percent = 75, .rounds = 40, .writes = 100, .trims = 2000, .lose = 20};

	(void)state;
	live(&life, 6, 4, 2, 64 * MIB);
	live(&mirror, 3, 1, 1, 64 * MIB);
	/* Every segment lacks a column now; its dead rows can be written again all the same. */
	expect(mirror.refused == 0);
}

/* What uniform overwriting costs, apart from what a compactor moves. */
static void test_cost(void **state)
{
	struct life half = {.block_size = 4 << 10, .percent = 50, .rounds = 40, .writes = 2000};
	struct life more = {.block_size = 4 << 10, .percent = 70, .rounds = 40, .writes = 2000};

	(void)state;
	if (SANITIZED)
		return;
	live(&half, 6, 4, 2, 256 * MIB);
	live(&more, 6, 4, 2, 256 * MIB);
	expect(half.refused == 0 && half.cost < 1.8);
	if (getenv("REUSE_FIGURES"))
		fprintf(stderr, "cost %.3f and %.3f, refused %lu\n", half.cost, more.cost, more.refused);
	expect(more.refused == 0 && more.cost < 2.6);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_at_the_floor), cmocka_unit_test(test_disk_lost),
					   cmocka_unit_test(test_cost)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
