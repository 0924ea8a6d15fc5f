/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Full pools of small blocks of which any die, here and there, with many commits: rows are given again and again, and each commit writes most of
 * the metadata anew, which finds no segments any more. Nobody who was promised room may be the end of the pool.
 */
#include "tests/unit/dataset/volumes.h"

#define BLOCK (4u << 10)
#define BLOCK_POINTERS 64u /* in a leaf */

struct scattered {
	struct machine *machine;
	struct datasets *datasets;
	struct volume *volume;
	struct sim_random random;
	unsigned k;
	uint64_t blocks;
	uint8_t *versions, data[BLOCK];
	unsigned version;
};

static void alive(struct scattered *scattered)
{
	const char *why = "";

	if (core_halted(scattered->machine->core, &why))
		fprintf(stderr, "halted: %s\n", why);
	expect(!core_halted(scattered->machine->core, NULL));
}

static int put(struct scattered *scattered, uint64_t block)
{
	unsigned version = 1 + scattered->version++ % 200;

	block_fill(scattered->data, BLOCK, block, version);
	int status = volume_write(scattered->volume, block * BLOCK, BLOCK, scattered->data);
	alive(scattered);
	expect(status == 0 || status == -ENOSPC);
	if (status == 0)
		scattered->versions[block] = (uint8_t)version;
	return status;
}

static void trim(struct scattered *scattered, uint64_t block)
{
	expect_done(scattered->machine, volume_trim(scattered->volume, block * BLOCK, BLOCK));
	alive(scattered);
	scattered->versions[block] = 0;
}

static uint64_t any(struct scattered *scattered)
{
	return sim_random_below(&scattered->random, scattered->blocks);
}

/* A volume of nearly all that the pool has, written until there is no room. */
static void open_and_fill(struct scattered *scattered)
{
	struct machine *machine = scattered->machine;
	struct space space;

	scattered->datasets = pool_open(machine);
	core_space(machine->core, &space);
	scattered->blocks = space.available_cells * CELL_SIZE / 100 * 98 / BLOCK;
	scattered->versions = calloc(scattered->blocks, 1);
	expect_done(machine, volume_create(scattered->datasets, "v", scattered->blocks * BLOCK, BLOCK, 0, &machine->error));
	scattered->volume = pool_volume(machine, scattered->datasets, "v");
	for (uint64_t block = 0; block < scattered->blocks && put(scattered, block) == 0; block++)
		;
}

static void trim_and_put(struct scattered *scattered)
{
	struct machine *machine = scattered->machine;

	for (unsigned i = 0; i < 10000; i++) {
		if (sim_random_below(&scattered->random, 2))
			trim(scattered, any(scattered));
		else
			(void)put(scattered, any(scattered));
		if (i % 700 == 699)
			expect_done(machine, volume_flush(scattered->volume));
	}
	/* A large part in one txg, and then one block in each. */
	for (uint64_t block = 0; block < scattered->blocks; block++)
		if (sim_random_below(&scattered->random, 100) < 40)
			trim(scattered, block);
	expect_done(machine, volume_flush(scattered->volume));
	for (unsigned i = 0; i < 1500; i++) {
		trim(scattered, any(scattered));
		expect_done(machine, core_commit(machine->core));
	}
}

static void verify_and_close(struct scattered *scattered)
{
	struct machine *machine = scattered->machine;

	for (uint64_t block = 0; block < scattered->blocks; block++) {
		expect_done(machine, volume_read(scattered->volume, block * BLOCK, BLOCK, scattered->data));
		expect(block_is(scattered->data, BLOCK, block, scattered->versions[block]));
	}
	volume_close(scattered->volume);
	pool_close(machine, scattered->datasets);
	free(scattered->versions);
}

static void program(struct machine *machine)
{
	struct scattered *scattered = machine->test;

	open_and_fill(scattered);
	trim_and_put(scattered);
	for (unsigned i = 0; i < 3000; i++)
		expect(put(scattered, any(scattered)) == 0 || scattered->k > 1); /* of wider rows few are dead as a whole */
	verify_and_close(scattered);
}

/* A disk goes when the pool is full: there is nothing but the floors then, and less in them. */
static void lost_program(struct machine *machine)
{
	struct scattered *scattered = machine->test;

	open_and_fill(scattered);
	sim_disk_vanish(machine->set->disks[1], SIM_CRASH_ALL);
	trim_and_put(scattered);
	verify_and_close(scattered);
}

/*
 * Rows of metadata are missing a column as soon as a disk is away, and SYS rows take nearly all of it, though its segments don't die: each leaf but some is written
 * anew by a commit of its own, so that each has a summary for itself. Some of what the floors have is left all the same, as rows that lack a column are
 * written when these run short. There are more disks than columns: new segments have all of theirs, and those rows come last.
 */
static void away_program(struct machine *machine)
{
	struct scattered *scattered = machine->test;
	struct space space;

	open_and_fill(scattered);
	for (unsigned i = 0; i < 4000; i++) {
		if (sim_random_below(&scattered->random, 10) == 0)
			trim(scattered, any(scattered));
		else
			(void)put(scattered, any(scattered));
		if (i % 40 == 39)
			expect_done(machine, core_commit(machine->core));
	}
	sim_disk_vanish(machine->set->disks[1], SIM_CRASH_ALL);
	for (unsigned turn = 0; turn < 2; turn++)
		for (uint64_t block = turn; block < scattered->blocks; block += BLOCK_POINTERS) {
			if (block / BLOCK_POINTERS % 8 == 3)
				continue;
			trim(scattered, block);
			expect_done(machine, core_commit(machine->core));
			if (sim_random_below(&scattered->random, 4) == 0)
				(void)put(scattered, any(scattered));
		}
	for (uint64_t block = 0; block < scattered->blocks; block++) {
		expect_done(machine, volume_read(scattered->volume, block * BLOCK, BLOCK, scattered->data));
		expect(block_is(scattered->data, BLOCK, block, scattered->versions[block]));
	}
	core_space(machine->core, &space);
	expect(space.free_segments > space.total_segments / 128);
	volume_close(scattered->volume);
	pool_close(machine, scattered->datasets);
	free(scattered->versions);
}

static void run_program(unsigned disks, uint64_t size, unsigned k, unsigned m, uint64_t seed, unsigned commit_metadata, void (*what)(struct machine *machine))
{
	struct machine *machine = machine_new(disks, size, k, m, seed);
	struct scattered scattered = {.machine = machine, .k = k};

	sim_random_stream(&scattered.random, seed, "scattered", 0);
	machine->test = &scattered;
	machine->options.check_every_txg = false;
	machine->options.commit_metadata = commit_metadata;
	machine_boot(machine, machine_create_program);
	machine_boot(machine, what);
	machine_free(machine);
}

static void run_bounded(unsigned disks, unsigned k, unsigned m, uint64_t seed, unsigned commit_metadata)
{
	run_program(disks, 64 * MIB, k, m, seed, commit_metadata, program);
}

static void run(unsigned disks, unsigned k, unsigned m, uint64_t seed)
{
	run_bounded(disks, k, m, seed, 0);
}

/* The floors hold a small part of the metadata for each commit: none may write more of it anew, whatever dies in it. */
static void test_bounded(void **state)
{
	(void)state;
	run_bounded(2, 1, 1, 3, 24);
	if (SANITIZED)
		return;
	run_bounded(3, 1, 1, 9, 24);
	run_program(3, 64 * MIB, 1, 1, 9, 24, lost_program);
	run_program(3, 64 * MIB, 2, 1, 9, 24, lost_program);
	run_bounded(1, 1, 0, 1, 24);
}

static void test_mirror(void **state)
{
	(void)state;
	run(2, 1, 1, 3);
	if (SANITIZED)
		return;
	run(3, 1, 1, 9);
}

static void test_single(void **state)
{
	(void)state;
	run(1, 1, 0, 1);
}

static void test_wide(void **state)
{
	(void)state;
	if (SANITIZED)
		return;
	run(2, 2, 0, 7);
	run(6, 4, 2, 12);
}

static void test_away(void **state)
{
	(void)state;
	if (SANITIZED)
		return;
	run_program(7, 192 * MIB, 4, 2, 13, 0, away_program);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_away), cmocka_unit_test(test_mirror), cmocka_unit_test(test_single), cmocka_unit_test(test_wide),
					   cmocka_unit_test(test_bounded)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
