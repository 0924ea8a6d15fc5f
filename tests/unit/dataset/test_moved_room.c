/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Blocks that were moved have entries all over xblk, and what takes their place or removes them writes its leaves anew: handles tell of those, what was
 * destroyed is taken apart as there is room for them, and who needs much of that room gets it, whatever others ask for.
 */
#include "libpool/txg/internal.h"
#include "tests/unit/dataset/volumes.h"

#define BLOCK 4096u
#define BLOCKS 18000u /* of each of two volumes */
#define TXG_BLOCKS 600u
#define SPAN 64u

static struct {
	uint8_t data[BLOCK];
	struct datasets *datasets;
	struct volume *volumes[2];
	uint64_t room;  /* what there is for nodes from the next commit on; 0: as it is */
	uint64_t above; /* and above the floors; 0: as it is */
	bool large;     /* as if xblk had many leaves */
	uint64_t moved; /* cells of xblk that were placed by the last commit */
	uint64_t entries, gone, gone_most; /* that there are, that the last commit has removed, and any since it was set to 0 */
	uint64_t most;  /* and by any since it was set to 0 */
} world;

static uint64_t placed(const struct machine *machine, enum store_purpose purpose)
{
	const struct store_counters *counters = store_counters(core_store(machine->core));

	return counters->placed[purpose] + counters->placed_sys[purpose];
}

static uint64_t entries(struct machine *machine)
{
	struct dnode dnode;

	object_info(core_mos_object(machine->core, MOS_XBLK), &dnode);
	return dnode.max_block;
}

static void committed(void *argument)
{
	struct machine *machine = argument;
	uint64_t now = placed(machine, STORE_MOVED);

	world.most = now - world.moved > world.most ? now - world.moved : world.most;
	world.moved = now;
	world.gone = world.entries - entries(machine);
	world.entries -= world.gone;
	world.gone_most = world.gone > world.gone_most ? world.gone : world.gone_most;
	if (world.room)
		machine->core->space.metadata_room = world.room;
	if (world.above)
		machine->core->space.whole_cells = world.above;
	if (world.large)
		machine->core->moved_cells = 1u << 30;
}

static void commit(struct machine *machine)
{
	expect_done(machine, core_commit_forced(machine->core));
}

/* Neighbours come from many txgs, and so their entries lie in many leaves. */
static void fill(struct machine *machine)
{
	static uint16_t order[BLOCKS];
	struct sim_random random;

	sim_random_seed(&random, 1);
	for (unsigned i = 0; i < BLOCKS; i++) {
		unsigned j = (unsigned)sim_random_below(&random, i + 1);
		order[i] = order[j];
		order[j] = (uint16_t)i;
	}
	for (unsigned i = 0; i < BLOCKS; i++) {
		uint64_t block = order[i];

		block_fill(world.data, BLOCK, block, 1);
		for (unsigned v = 0; v < 2; v++)
			expect_done(machine, volume_write(world.volumes[v], block * BLOCK, BLOCK, world.data));
		if (i % TXG_BLOCKS == TXG_BLOCKS - 1)
			commit(machine);
	}
}

static void move_all(struct machine *machine)
{
	struct alloc *alloc = core_alloc(machine->core);
	uint32_t count = alloc_segment_count(alloc);
	struct core_compacted result;

	store_retire(core_store(machine->core), CLASS_HOT);
	commit(machine);
	for (uint32_t id = 0; id < count; id++) {
		const struct segment *segment = alloc_segment(alloc, id);

		while (segment && segment->record.state == SEGMENT_FULL && segment->live && segment->record.class == CLASS_HOT &&
		       core_compact(machine->core, id, 0, UINT16_MAX, &result) == -EAGAIN)
			commit(machine);
	}
	commit(machine);
	commit(machine);
}

/* What handles have told of by now, and what their commit writes. */
static void told_suffices(struct machine *machine)
{
	uint64_t told = machine->core->node_cells[machine->core->open_txg & 1], before = placed(machine, STORE_NODES);

	commit(machine);
	uint64_t nodes = placed(machine, STORE_NODES) - before;
	print_message("%llu told, %llu of xblk and %llu of other nodes written\n", (unsigned long long)told, (unsigned long long)world.most,
		      (unsigned long long)nodes);
	expect(world.most > 0 && world.most + nodes <= told);
	world.most = 0;
}

/* Were xblk as large, each block that is replaced or removed would have a leaf of its own. */
static void each_counts(struct machine *machine, uint64_t blocks)
{
	struct core *core = machine->core;

	expect(core->node_cells[core->open_txg & 1] >= 4 * blocks);
	commit(machine);
	core->moved_cells = 1u << 30;
}

static void told_program(struct machine *machine)
{
	for (unsigned large = 0; large < 2; large++) {
		uint64_t from = large ? 100 * SPAN : 0;
		for (unsigned i = 0; i < SPAN; i++)
			expect_done(machine, volume_write(world.volumes[0], (from + i) * BLOCK, BLOCK, world.data));
		large ? each_counts(machine, SPAN) : told_suffices(machine);
		/* What is trimmed was all below one node, which stays, or half of it below the next. */
		for (unsigned i = 0; i < 2; i++) {
			uint64_t first = from + (i ? 3 * SPAN / 2 + SPAN : SPAN + 1);
			expect_done(machine, volume_trim(world.volumes[0], first * BLOCK, (uint64_t)(SPAN - 2) * BLOCK));
			large ? each_counts(machine, SPAN - 2) : told_suffices(machine);
		}
		expect_done(machine, volume_resize(world.datasets, "b", (BLOCKS - SPAN - from + 2) * BLOCK, &machine->error));
		large ? each_counts(machine, SPAN - 2) : told_suffices(machine);
		machine->core->moved_cells = 1u << 30;
	}
	commit(machine);
}

/* ---- destroyed ---- */

/* Of room for 80 cells each commit uses what four cells for each block make of it, and no more; with room for all there is no limit. */
static void destroy_program(struct machine *machine)
{
	expect(entries(machine) > 5000 && machine->core->space.metadata_cells > 80);
	world.room = 80;
	world.large = true;
	commit(machine);
	volume_close(world.volumes[1]);
	world.gone_most = 0;
	expect_done(machine, volume_destroy(world.datasets, "b", &machine->error));
	for (unsigned i = 0; i < 40; i++) {
		commit(machine);
		expect(world.gone <= 20 && (i < 8 || world.gone >= 16));
	}
	expect(world.gone_most <= 20);
	world.room = UINT64_MAX;
	commit(machine);
	commit(machine);
	expect(world.gone_most > 1000);
	world.room = 0;
	world.volumes[1] = NULL;
}

/* ---- turns ---- */

static struct {
	struct machine *machine;
	bool has_it;
	struct rt_group group;
} large;

static void take_much(void *argument)
{
	struct core_change change = { .cells = 16, .nodes = 100, .block_cells = 1 };
	struct core *core = large.machine->core;
	uint64_t txg;

	(void)argument;
	expect_equal(core_hold_change(core, &change, &txg), 0);
	large.has_it = true;
	core_release(core, txg);
	rt_group_done(core->rt, &large.group, 0);
}

/* Somebody who needs much waits for a commit. Who comes meanwhile and needs little, for which there would be room, comes after him. */
static void turns_program(struct machine *machine)
{
	struct core *core = machine->core;
	uint64_t txg, io_ns = machine->set->disks[0]->latency.io_ns;

	large.machine = machine;
	world.room = 128;
	world.above = 24;
	commit(machine);
	for (unsigned i = 0; i < machine->set->count; i++) /* a commit takes a while, in which the next txg is open */
		machine->set->disks[i]->latency.io_ns = 5 * NS_PER_MS;
	expect_done(machine, core_hold(core, 0, &txg));
	rt_group_init(&large.group);
	rt_group_add(&large.group);
	expect_done(machine, rt_spawn(machine->rt, "much", take_much, NULL));
	rt_sleep(machine->rt, NS_PER_MS);
	core_release(core, txg);
	while (!core->syncing)
		rt_sleep(machine->rt, NS_PER_MS / 10);
	expect(!large.has_it && core->open_txg == txg + 1);
	expect_done(machine, core_hold(core, 0, &txg));
	expect(large.has_it);
	core_release(core, txg);
	expect_done(machine, rt_group_wait(machine->rt, &large.group));
	world.room = world.above = 0;
	for (unsigned i = 0; i < machine->set->count; i++)
		machine->set->disks[i]->latency.io_ns = io_ns;
	commit(machine);
}

/* ---- */

static void (*part)(struct machine *machine);

static void program(struct machine *machine)
{
	world.datasets = pool_open(machine);
	core_set_watcher(machine->core, committed, machine);
	for (unsigned v = 0; v < 2; v++) {
		expect_done(machine, volume_create(world.datasets, v ? "b" : "a", (uint64_t)BLOCKS * BLOCK, BLOCK, 0, &machine->error));
		world.volumes[v] = pool_volume(machine, world.datasets, v ? "b" : "a");
	}
	fill(machine);
	move_all(machine);
	world.most = 0;
	part(machine);
	core_set_watcher(machine->core, NULL, NULL);
	for (unsigned v = 0; v < 2; v++)
		if (world.volumes[v])
			volume_close(world.volumes[v]);
	pool_close(machine, world.datasets);
}

static void run(void (*which)(struct machine *machine))
{
	struct machine *machine = machine_new(6, 64 * MIB, 4, 2, 1);

	memset(&world, 0, sizeof(world));
	part = which;
	machine->options.check_every_txg = false;
	machine->options.commit_metadata = 24;
	machine_boot(machine, machine_create_program);
	machine_boot(machine, program);
	machine_free(machine);
}

static void test_told(void **state)
{
	(void)state;
	run(told_program);
}

static void test_destroyed(void **state)
{
	(void)state;
	run(destroy_program);
}

static void test_turns(void **state)
{
	(void)state;
	run(turns_program);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_told), cmocka_unit_test(test_destroyed), cmocka_unit_test(test_turns) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
