/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Pools that are overwritten at random for longer than there are rows that die by themselves: nobody is refused while there is room, what that
 * costs is bounded, a pool full of live data refuses at once, and one that nobody writes to isn't compacted. All of that while disks are away, too.
 */
#include "libpool/txg/compact.h"
#include "tests/unit/dataset/volumes.h"

struct life {
	struct machine *machine;
	struct datasets *datasets;
	struct volume *volume;
	struct sim_random random;
	uint32_t block_size;
	unsigned percent; /* of what is available, the volume */
	unsigned skew;    /* percent of the writes that go to a tenth of the blocks; 0: uniform */
	double times;     /* as often as there are blocks they are written */
	unsigned writes;  /* between commits */
	unsigned leave;   /* disks */
	uint64_t read_ns; /* each read of the slow one */
	uint64_t blocks, refused, written;
	uint8_t *versions, *data;
	unsigned version;
	double cost;
};

static void alive(struct life *life)
{
	const char *why = "";

	if (core_halted(life->machine->core, &why))
		fprintf(stderr, "halted: %s\n", why);
	expect(!core_halted(life->machine->core, NULL));
}

static int put(struct life *life, uint64_t block)
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
	return status;
}

static void flush(struct life *life)
{
	int status = volume_flush(life->volume);

	alive(life);
	expect_equal(status, 0);
}

static uint64_t draw(struct life *life)
{
	uint64_t tenth = life->blocks / 10;

	if (!life->skew)
		return sim_random_below(&life->random, life->blocks);
	return sim_random_below(&life->random, 100) < life->skew ? sim_random_below(&life->random, tenth) :
								   tenth + sim_random_below(&life->random, life->blocks - tenth);
}

static uint64_t placed(const struct store_counters *counters)
{
	uint64_t cells = counters->header_cells;

	for (unsigned i = 0; i < STORE_PURPOSES; i++)
		cells += counters->placed[i];
	return cells;
}

static void verify(struct life *life)
{
	for (uint64_t block = 0; block < life->blocks; block++) {
		expect_done(life->machine, volume_read(life->volume, block * life->block_size, life->block_size, life->data));
		expect(block_is(life->data, life->block_size, block, life->versions[block]));
	}
}

static void begin(struct life *life)
{
	struct machine *machine = life->machine;
	struct space space;

	life->datasets = pool_open(machine);
	core_space(machine->core, &space);
	life->blocks = space.available_cells * CELL_SIZE / 100 * life->percent / life->block_size;
	life->versions = calloc(life->blocks, 1);
	life->data = malloc(life->block_size);
	expect_done(machine, volume_create(life->datasets, "v", life->blocks * life->block_size, life->block_size, 0, &machine->error));
	life->volume = pool_volume(machine, life->datasets, "v");
}

static void end(struct life *life)
{
	volume_close(life->volume);
	pool_close(life->machine, life->datasets);
	free(life->versions);
	free(life->data);
}

/* Each block once. */
static void fill(struct life *life)
{
	for (uint64_t block = 0; block < life->blocks; block++) {
		expect_equal(put(life, block), 0);
		if (block % 2000 == 1999)
			flush(life);
	}
	flush(life);
}

static void live(struct life *life, unsigned disks, unsigned k, unsigned m, uint64_t size, void (*program)(struct machine *machine))
{
	struct machine *machine = machine_new(disks, size, k, m, disks * 100 + k * 10 + m);

	life->machine = machine;
	sim_random_stream(&life->random, machine->sim->seed, "life", 0);
	machine->test = life;
	machine_boot(machine, machine_create_program);
	machine_boot(machine, program);
	machine_free(machine);
}

/* ---- overwritten at random ---- */

static void overwrite_program(struct machine *machine)
{
	struct life *life = machine->test;
	struct store_counters before = {0};

	begin(life);
	fill(life);
	life->written = life->refused = 0;
	for (uint64_t all = (uint64_t)(life->times * (double)life->blocks), i = 0; i < all; i++) {
		if (i == all / 2) { /* by then it does what it will always do */
			before = *store_counters(core_store(machine->core));
			life->written = 0;
		}
		(void)put(life, draw(life));
		if (i % life->writes == life->writes - 1)
			flush(life);
	}
	flush(life);
	uint64_t cells = life->written * (life->block_size / CELL_SIZE);
	life->cost = (double)(placed(store_counters(core_store(machine->core))) - placed(&before)) / (double)cells;
	expect(core_compact_counters(machine->core)->blocks > 0);
	verify(life);
	end(life);
}

static void test_uniform(void **state)
{
	struct life raid = {.block_size = 16 << 10, .percent = 80, .times = 1.5, .writes = 700};
	struct life fuller = {.block_size = 16 << 10, .percent = 85, .times = 0.8, .writes = 700};
	struct life small = {.block_size = 4 << 10, .percent = 75, .times = 0.6, .writes = 3000};

	(void)state;
	live(&raid, 6, 4, 2, 64 * MIB, overwrite_program);
	if (getenv("COMPACTOR_FIGURES"))
		fprintf(stderr, "refused %lu of %lu, cost %.2f\n", raid.refused, raid.written, raid.cost);
	expect(raid.refused == 0 && raid.cost < 20);
	if (SANITIZED)
		return;
	live(&fuller, 6, 4, 2, 64 * MIB, overwrite_program);
	live(&small, 6, 4, 2, 64 * MIB, overwrite_program);
	if (getenv("COMPACTOR_FIGURES"))
		fprintf(stderr, "refused %lu %lu %lu; cost %.2f, %.2f, %.2f\n", raid.refused, fuller.refused, small.refused, raid.cost, fuller.cost, small.cost);
	expect_equal(fuller.refused + small.refused, 0);
	/* The aim is 2.9 at 80 % and 4.5 at 90 %, on pools whose floors are a smaller part of them (decision 110). */
	expect(fuller.cost < 40 && small.cost < 40);
}

/* ---- nothing to be gained ---- */

/* All of it lives: who wants more hears so at once, and after a few rounds for the ends of segments nothing more is moved. */
static void full_program(struct machine *machine)
{
	struct life *life = machine->test;
	uint64_t block = 0;

	begin(life);
	while (block < life->blocks && put(life, block) == 0)
		block++;
	expect(block > life->blocks / 2 && block < life->blocks);
	flush(life);
	uint64_t commits = core_commits(machine->core), now = rt_now(machine->rt);
	for (unsigned i = 0; i < 100; i++)
		expect_equal(put(life, block + i), -ENOSPC);
	expect(core_commits(machine->core) - commits <= 6);
	expect(rt_now(machine->rt) - now < 2 * NS_PER_S);
	expect(core_compact_counters(machine->core)->rounds <= 6);
	/* Half of each row dies, and comes back. */
	uint64_t refused = life->refused, end_block = block;
	for (block = 0; block < end_block / 2; block++)
		expect_done(machine, volume_trim(life->volume, 2 * block * life->block_size, life->block_size));
	for (block = 0; block < end_block / 2; block++)
		life->versions[2 * block] = 0;
	for (block = 0; block < end_block / 2 / 10 * 8; block++)
		expect_equal(put(life, 2 * block), 0);
	expect_equal(life->refused, refused);
	verify(life);
	end(life);
}

static void test_full(void **state)
{
	struct life life = {.block_size = 16 << 10, .percent = 120};

	(void)state;
	live(&life, 6, 4, 2, 64 * MIB, full_program);
}

/* Nobody writes: what is dead stays where it is, however full the pool is. */
static void idle_program(struct machine *machine)
{
	struct life *life = machine->test;

	begin(life);
	fill(life);
	for (uint64_t i = 0; i < life->blocks / 3; i++) {
		(void)put(life, draw(life));
		if (i % 700 == 699)
			flush(life);
	}
	flush(life);
	rt_sleep(machine->rt, 20 * NS_PER_S);
	uint64_t commits = core_commits(machine->core), moved = core_compact_counters(machine->core)->blocks;
	expect(moved > 0);
	rt_sleep(machine->rt, 600 * NS_PER_S);
	expect_equal(core_commits(machine->core), commits);
	expect_equal(core_compact_counters(machine->core)->blocks, moved);
	end(life);
}

static void test_idle(void **state)
{
	struct life life = {.block_size = 16 << 10, .percent = 85};

	(void)state;
	live(&life, 6, 4, 2, 64 * MIB, idle_program);
}

/* ---- a disk that is slow to read ---- */

/*
 * Whoever waits for rounds isn't refused because they take long, or find nothing now and then, as long as they gain something; nor are others after
 * him. What is read for a round is read at the same time: one segment after the other takes twice as long in all.
 */
static void slow_program(struct machine *machine)
{
	struct life *life = machine->test;
	const struct core_compact_counters *counters;
	uint64_t longest = 0;

	begin(life);
	counters = core_compact_counters(machine->core);
	fill(life);
	for (uint64_t i = 0; i < life->blocks; i++) {
		(void)put(life, draw(life));
		if (i % life->writes == life->writes - 1)
			flush(life);
	}
	uint64_t rounds = counters->rounds, cells = counters->cells, began = rt_now(machine->rt);
	expect(rounds > 0);
	machine->set->disks[2]->latency.read_ns = life->read_ns;
	for (uint64_t i = 0; i < 2 * life->writes; i++) {
		uint64_t now = rt_now(machine->rt);
		(void)put(life, draw(life));
		now = rt_now(machine->rt) - now;
		longest = now > longest ? now : longest;
	}
	uint64_t took = rt_now(machine->rt) - began;
	machine->set->disks[2]->latency.read_ns = 0;
	if (getenv("COMPACTOR_FIGURES"))
		fprintf(stderr, "%lu rounds, %lu cells, %.1f s, longest %.1f s, refused %lu\n", counters->rounds - rounds, counters->cells - cells,
			(double)took / NS_PER_S, (double)longest / NS_PER_S, life->refused);
	expect(counters->rounds > rounds && longest > 3 * NS_PER_S && longest < 90 * NS_PER_S);
	/* Victims are read at the same time, so a round has many of their blocks before its ten seconds are over. */
	expect(counters->cells - cells > (counters->rounds - rounds) * 1100);
	expect_equal(life->refused, 0);
	flush(life);
	verify(life);
	end(life);
}

static void test_slow(void **state)
{
	struct life slowest = {.block_size = 16 << 10, .percent = 85, .writes = 700, .read_ns = 4 * NS_PER_S};
	struct life slow = {.block_size = 16 << 10, .percent = 85, .writes = 700, .read_ns = NS_PER_S};

	(void)state;
	if (SANITIZED)
		return;
	live(&slowest, 6, 4, 2, 64 * MIB, slow_program);
	live(&slow, 6, 4, 2, 64 * MIB, slow_program);
}

/* ---- disks that are away ---- */

/* More in a second volume, until it is refused: cells. */
static uint64_t write_more(struct life *life)
{
	struct machine *machine = life->machine;
	uint64_t blocks = life->blocks / 4, block = 0, commits;
	uint8_t *versions = life->versions;
	struct volume *volume = life->volume;

	expect_done(machine, volume_create(life->datasets, "more", blocks * life->block_size, life->block_size, 0, &machine->error));
	life->volume = pool_volume(machine, life->datasets, "more");
	life->versions = calloc(blocks, 1);
	while (block < blocks && put(life, block) == 0)
		block++;
	expect(block > 0 && block < blocks);
	flush(life);
	commits = core_commits(machine->core);
	uint64_t now = rt_now(machine->rt);
	expect_equal(put(life, block), -ENOSPC);
	expect_equal(put(life, block), -ENOSPC);
	expect(core_commits(machine->core) - commits <= 40 && rt_now(machine->rt) - now < 4 * NS_PER_S);
	expect_done(machine, volume_trim(life->volume, 0, blocks * life->block_size));
	flush(life);
	volume_close(life->volume);
	free(life->versions);
	life->volume = volume;
	life->versions = versions;
	return block * (life->block_size / CELL_SIZE);
}

/* Each disk that goes, goes while blocks are moved; whoever overwrites goes on, until nothing is to be gained. */
static void away_program(struct machine *machine)
{
	struct life *life = machine->test;
	const struct core_compact_counters *counters;
	struct space space;

	begin(life);
	counters = core_compact_counters(machine->core);
	fill(life);
	uint64_t all = (uint64_t)(life->times * (double)life->blocks), moved = 0;
	for (uint64_t i = 0; i < all; i++) {
		if (i == all / 8)
			sim_disk_vanish(machine->set->disks[1], SIM_CRASH_ALL);
		if (i == all / 2 && life->leave > 1)
			sim_disk_vanish(machine->set->disks[3], SIM_CRASH_ALL);
		if (i == all / 2)
			moved = counters->cells;
		(void)put(life, draw(life));
		if (i % life->writes == life->writes - 1)
			flush(life);
	}
	flush(life);
	expect_equal(life->refused, 0);
	expect(moved > 0 && counters->cells > moved);
	verify(life);
	core_space(machine->core, &space);
	uint64_t told = space.writable_cells, more = write_more(life);
	if (getenv("COMPACTOR_FIGURES"))
		fprintf(stderr, "%lu cells moved, %lu told as free, %lu written\n", counters->cells, told, more);
	expect(more >= told / 2 && told >= more / 4);
	/* What only frees is never refused, and what it frees is room. */
	life->refused = 0;
	for (uint64_t block = 0; block < life->blocks; block += 2) {
		expect_done(machine, volume_trim(life->volume, block * life->block_size, life->block_size));
		life->versions[block] = 0;
	}
	flush(life);
	for (uint64_t block = 0; block < life->blocks / 2; block += 2)
		expect_equal(put(life, block), 0);
	verify(life);
	end(life);
}

static void test_away(void **state)
{
	struct life raid = {.block_size = 16 << 10, .percent = 80, .times = 1, .writes = 700, .leave = 2};
	struct life small = {.block_size = 4 << 10, .percent = 75, .times = 0.7, .writes = 3000, .leave = 1};
	struct life mirror = {.block_size = 4 << 10, .percent = 80, .times = 0.8, .writes = 100000, .leave = 1};

	(void)state;
	live(&mirror, 2, 1, 1, 128 * MIB, away_program);
	if (SANITIZED)
		return;
	live(&raid, 6, 4, 2, 64 * MIB, away_program);
	live(&small, 3, 2, 1, 64 * MIB, away_program);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_slow), cmocka_unit_test(test_uniform), cmocka_unit_test(test_full), cmocka_unit_test(test_idle),
					   cmocka_unit_test(test_away)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
