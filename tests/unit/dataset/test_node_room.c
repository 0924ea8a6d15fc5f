/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Room for nodes that a commit writes anew: of the floors as far as they go, and of what is above them when there is some. So a pool with plenty of room isn't
 * made to commit as if it were full; and what nodes were promised there is nobody else's.
 */
#include "libpool/txg/internal.h"
#include "tests/unit/dataset/volumes.h"

#define BLOCK (4u << 10)
#define BLOCK_POINTERS 64u /* in a leaf */
#define COMMIT_METADATA 24u
#define PROMISED 7u /* cells for a block and its nodes, with what may go with them */

struct room {
	struct datasets *datasets;
	struct volume *volume;
	uint64_t blocks, all; /* written at first, and of the volume */
	uint8_t *versions, data[BLOCK];
};

static void put(struct machine *machine, uint64_t block)
{
	struct room *room = machine->test;

	block_fill(room->data, BLOCK, block, ++room->versions[block]);
	expect_done(machine, volume_write(room->volume, block * BLOCK, BLOCK, room->data));
}

/* A volume of nearly all that the pool has, of which this share is written. */
static void fill(struct machine *machine, unsigned percent)
{
	struct room *room = machine->test;
	struct space space;

	room->datasets = pool_open(machine);
	core_space(machine->core, &space);
	room->all = space.available_cells * CELL_SIZE / 100 * 95 / BLOCK;
	room->blocks = room->all / 95 * percent;
	room->versions = calloc(room->all, 1);
	expect_done(machine, volume_create(room->datasets, "v", room->all * BLOCK, BLOCK, 0, &machine->error));
	room->volume = pool_volume(machine, room->datasets, "v");
	for (uint64_t block = 0; block < room->blocks; block++)
		put(machine, block);
	expect_done(machine, core_commit(machine->core));
}

static void finish(struct machine *machine)
{
	struct room *room = machine->test;

	for (uint64_t block = 0; block < room->all; block++) {
		expect_done(machine, volume_read(room->volume, block * BLOCK, BLOCK, room->data));
		expect(block_is(room->data, BLOCK, block, room->versions[block]));
	}
	volume_close(room->volume);
	pool_close(machine, room->datasets);
	free(room->versions);
}

static void commit_fiber(void *argument)
{
	struct machine *machine = argument;

	expect_done(machine, core_commit(machine->core));
}

/* One in each leaf, so that all of them are written anew. */
static void put_in_all(struct machine *machine)
{
	struct room *room = machine->test;

	for (uint64_t block = 0; block < room->blocks; block += BLOCK_POINTERS)
		put(machine, block);
}

/* What one commit writes fits into the floors, what two write doesn't: the second one isn't cut in two. */
static void plenty_program(struct machine *machine)
{
	struct space space;

	fill(machine, 60);
	core_space(machine->core, &space);
	expect(space.metadata_cells < space.metadata_room && 2 * space.metadata_cells > space.metadata_room && space.whole_cells > 4 * space.metadata_cells);
	uint64_t before = core_committed_txg(machine->core);
	put_in_all(machine);
	expect(rt_spawn(machine->rt, "commit", commit_fiber, machine) == 0);
	rt_yield(machine->rt);
	put_in_all(machine);
	expect(core_committed_txg(machine->core) - before <= 1);
	expect_done(machine, core_commit(machine->core));
	expect(core_committed_txg(machine->core) - before == 2);
	finish(machine);
}

/* With dead rows, which content may have and nodes may not: nobody is promised any while nodes are promised what is above the floors. */
static void promised_program(struct machine *machine)
{
	struct room *room = machine->test;
	struct space space;

	fill(machine, 75);
	for (uint64_t block = 8; block < room->blocks / 2; block += 16) {
		expect_done(machine, volume_trim(room->volume, block * BLOCK, 8 * BLOCK));
		memset(room->versions + block, 0, 8);
	}
	for (unsigned i = 0; i < 4; i++)
		expect_done(machine, core_commit_forced(machine->core));
	core_space(machine->core, &space);
	expect(2 * space.metadata_cells > space.metadata_room && row_space_cells(&space.rows, 1) > 1000);
	uint64_t before = core_committed_txg(machine->core), leaves = room->blocks / BLOCK_POINTERS, more = 0;
	put_in_all(machine);
	expect(rt_spawn(machine->rt, "commit", commit_fiber, machine) == 0);
	rt_yield(machine->rt);
	put_in_all(machine);
	expect_done(machine, core_wait_committed(machine->core, before + 1));
	core_space(machine->core, &space);
	for (; core_committed_txg(machine->core) == before + 1; more++)
		put(machine, room->blocks + more);
	expect(PROMISED * (leaves + more) <= space.whole_cells);
	finish(machine);
}

/* A disk that goes takes room for nodes along: the next handle is counted by what is left, also that of somebody who only frees. */
static void lost_program(struct machine *machine)
{
	struct space space;
	uint64_t txg;

	fill(machine, 60);
	struct core *core = machine->core;
	uint64_t before = core->space.metadata_room;
	alloc_disk_set_usable(core->alloc, 1, false);
	alloc_space(core->alloc, &space);
	expect(space.metadata_room < before && core->space.metadata_room == before);
	expect_equal(core_hold(core, 0, &txg), 0);
	expect_equal(core->space.metadata_room, space.metadata_room);
	core_release(core, txg);
	alloc_disk_set_usable(core->alloc, 1, true);
	finish(machine);
}

/* ---- turns ---- */

#define FREEING 6u

static struct {
	struct machine *machine;
	bool has_it;
	struct rt_group group;
} rows;

/* Little room in the floors, and some above them, which is less than what is wanted. */
static void scarce(void *argument)
{
	struct machine *machine = argument;

	machine->core->space.metadata_room = 40;
	machine->core->space.whole_cells = 150;
}

static void free_all_the_time(void *argument)
{
	struct core *core = rows.machine->core;
	uint64_t txg;

	(void)argument;
	for (unsigned i = 0; i < 500 && !rows.has_it; i++) {
		expect_equal(core_hold(core, 0, &txg), 0);
		core_release(core, txg);
		rt_sleep(core->rt, NS_PER_MS / 10);
	}
	rt_group_done(core->rt, &rows.group, 0);
}

/* Those who only free come at any time: who needs dead rows gets them all the same. */
static void turns_program(struct machine *machine)
{
	struct core_change change = { .cells = 200, .nodes = 16, .block_cells = 1 };
	struct room *room = machine->test;
	uint64_t txg;

	fill(machine, 75);
	for (uint64_t block = 8; block < room->blocks / 2; block += 16) {
		expect_done(machine, volume_trim(room->volume, block * BLOCK, 8 * BLOCK));
		memset(room->versions + block, 0, 8);
	}
	for (unsigned i = 0; i < 4; i++)
		expect_done(machine, core_commit_forced(machine->core));
	rows.machine = machine;
	rows.has_it = false;
	core_set_watcher(machine->core, scarce, machine);
	expect_done(machine, core_commit_forced(machine->core));
	rt_group_init(&rows.group);
	for (unsigned i = 0; i < FREEING; i++) {
		rt_group_add(&rows.group);
		expect_done(machine, rt_spawn(machine->rt, "frees", free_all_the_time, NULL));
	}
	rt_sleep(machine->rt, 10 * NS_PER_MS);
	uint64_t before = core_commits(machine->core);
	expect_equal(core_hold_change(machine->core, &change, &txg), 0);
	rows.has_it = true;
	expect(core_commits(machine->core) - before <= 10);
	core_release(machine->core, txg);
	expect_done(machine, rt_group_wait(machine->rt, &rows.group));
	core_set_watcher(machine->core, NULL, NULL);
	expect_done(machine, core_commit_forced(machine->core));
	finish(machine);
}

static void run(unsigned disks, unsigned k, unsigned m, void (*what)(struct machine *machine))
{
	struct machine *machine = machine_new(disks, 64 * MIB, k, m, 5);
	struct room room = { .blocks = 0 };

	machine->test = &room;
	machine->options.commit_metadata = COMMIT_METADATA;
	machine_boot(machine, machine_create_program);
	machine_boot(machine, what);
	machine_free(machine);
}

static void test_plenty(void **state)
{
	(void)state;
	run(6, 4, 2, plenty_program);
}

static void test_promised(void **state)
{
	(void)state;
	run(6, 4, 2, promised_program);
}

static void test_lost(void **state)
{
	(void)state;
	run(3, 2, 1, lost_program);
}

static void test_turns(void **state)
{
	(void)state;
	run(6, 4, 2, turns_program);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_plenty), cmocka_unit_test(test_promised), cmocka_unit_test(test_lost), cmocka_unit_test(test_turns) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
