/* Reads when disks are missing, cells rot or can't be read, summaries are lost; and what is healed by them. */
#include "tests/unit/store/harness.h"

static const struct shape {
	unsigned k, m, disks;
} shapes[] = {{1, 1, 2}, {1, 2, 3}, {2, 1, 3}, {4, 2, 6}, {4, 2, 8}, {3, 3, 6}, {8, 3, 11}, {1, 3, 5}, {5, 1, 7}};

static void run(const struct shape *shape, uint64_t seed, void (*body)(struct world *world))
{
	struct world_options options = {.k = shape->k, .m = shape->m, .disks = shape->disks, .seed = seed};
	struct world *world = world_new(&options);

	world_run(world, body);
	world_free(world);
}

static void run_all(void (*body)(struct world *world), unsigned seeds)
{
	for (unsigned seed = 1; seed <= seeds; seed++)
		for (unsigned i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++)
			run(&shapes[i], seed * 100 + i, body);
}

static void fill(struct world *world, unsigned txgs)
{
	static const enum segment_class classes[] = {CLASS_HOT, CLASS_COLD, CLASS_META, CLASS_SYS};

	for (unsigned txg = 0; txg < txgs; txg++) {
		world_begin(world);
		for (unsigned i = 0; i < 30; i++) {
			enum segment_class class = classes[sim_random_below(&world->random, 4)];
			world_place(world, class, (unsigned)sim_random_between(&world->random, 1, i % 5 ? 4 : 32));
		}
		world_commit(world);
	}
}

/* Calls visit for each row of each batch. */
static void each_row(struct world *world,
		     void (*visit)(struct world *world, const struct segment *segment, const struct batch_index *batch, unsigned row))
{
	for (uint32_t id = 0; id < alloc_segment_count(world->alloc); id++) {
		const struct segment *segment = alloc_segment(world->alloc, id);
		for (unsigned i = 0; segment && i < segment->batch_count; i++)
			for (unsigned r = 0; r < segment->batches[i].rows; r++)
				visit(world, segment, &segment->batches[i], segment->batches[i].base + r);
	}
}

static bool row_of_summary(const struct batch_index *batch, unsigned row)
{
	struct dva dva = dva_unpack(batch->summary_dva);
	struct cell_run runs[COLUMNS_MAX];
	unsigned count = dva_runs(dva, batch->summary_cells, runs);

	for (unsigned i = 0; i < count; i++)
		if (row >= runs[i].row && row < (unsigned)runs[i].row + runs[i].rows)
			return true;
	return false;
}

/* Damages up to `most` columns of a row, each by rot, or unreadable one time in three. */
static void damage_row(struct world *world, const struct segment *segment, unsigned row, unsigned most)
{
	unsigned columns = segment->record.k + segment->record.m, count = (unsigned)sim_random_between(&world->random, 1, most);
	uint32_t hit = 0;

	while ((unsigned)__builtin_popcount(hit) < count)
		hit |= 1u << sim_random_below(&world->random, columns);
	for (unsigned c = 0; c < columns; c++) {
		unsigned disk;
		if (!(hit >> c & 1))
			continue;
		uint64_t offset = world_cell_offset(world, segment->id, c, row, &disk);
		if (sim_random_below(&world->random, 3))
			sim_disk_rot(world_disk(world, disk), offset);
		else
			sim_disk_set_unreadable(world_disk(world, disk), offset, CELL_SIZE);
	}
}

/* ---- healthy ---- */

static void healthy(struct world *world)
{
	fill(world, 2);
	for (size_t i = 0; i < world->blocks.count; i++) {
		const struct world_block *block = world_block(world, i);
		struct cell_run runs[COLUMNS_MAX];
		uint64_t before = store_counters(world->store)->read_ios;
		assert_int_equal(world_read(world, block, 0), 0);
		assert_int_equal(store_counters(world->store)->read_ios - before,
				 dva_runs(dva_unpack(block->pointer.dva), block->pointer.psect, runs));
	}
}

static void test_healthy(void **state)
{
	(void)state;
	run_all(healthy, 1);
}

/* ---- disks missing ---- */

static uint64_t cells_read(const struct world *world)
{
	uint64_t bytes = 0;

	for (unsigned i = 0; i < world->options.disks; i++)
		bytes += world->disks->disks[i]->counters.bytes_read;
	return bytes / CELL_SIZE;
}

static void degraded(struct world *world)
{
	unsigned lost = 0;

	fill(world, 2);
	while (lost < world->options.m) {
		unsigned disk = (unsigned)sim_random_below(&world->random, world->options.disks);
		if (!store_disk(world->store, disk)->disk)
			continue;
		/* What was committed before the disk went away counts as absent too when the disk isn't open. */
		world_lose_disk(world, disk);
		lost++;
		world_verify(world);
	}
	/* Each cell of a run that is missing costs k, and no more: no summary is asked. */
	for (size_t i = 0; i < world->blocks.count; i++) {
		const struct world_block *block = world_block(world, i);
		struct cell_run runs[COLUMNS_MAX];
		const struct segment *segment = alloc_segment(world->alloc, dva_unpack(block->pointer.dva).segment);
		unsigned count = dva_runs(dva_unpack(block->pointer.dva), block->pointer.psect, runs);
		uint64_t expected = 0;
		for (unsigned r = 0; r < count; r++) {
			bool there = store_disk(world->store, segment->record.columns[runs[r].column].disk)->disk;
			expected += (uint64_t)runs[r].rows * (there ? 1 : segment->record.k);
		}
		uint64_t before = cells_read(world);
		assert_int_equal(world_read(world, block, 0), 0);
		assert_int_equal(cells_read(world) - before, expected);
	}
	assert_int_equal(store_counters(world->store)->unrepairable, 0);
	/* And the pool goes on. */
	fill(world, 2);
	world_verify(world);
}

static void test_degraded(void **state)
{
	(void)state;
	run_all(degraded, 3);
}

/* ---- rot within what parity can repair ---- */

static void rot_rows(struct world *world, const struct segment *segment, const struct batch_index *batch, unsigned row)
{
	if (!row_of_summary(batch, row) && sim_random_chance(&world->random, 500000))
		damage_row(world, segment, row, segment->record.m);
}

static void rot(struct world *world)
{
	fill(world, 2);
	each_row(world, rot_rows);
	world_verify(world);
	assert_int_not_equal(store_counters(world->store)->healed_cells, 0);
	assert_int_equal(store_counters(world->store)->unrepairable, 0);
	/* All cells of blocks are healed: a second look needs no help. */
	uint64_t reconstructed = store_counters(world->store)->reconstructed_cells;
	world_verify(world);
	assert_int_equal(store_counters(world->store)->reconstructed_cells, reconstructed);
	for (unsigned i = 0; i < world->options.disks; i++)
		assert_int_equal(store_disk(world->store, i)->state, DISK_ONLINE);
}

static void test_rot(void **state)
{
	(void)state;
	run_all(rot, 4);
}

/* ---- rot in summaries' rows: few rows each, any columns ---- */

static void rot_summary_rows(struct world *world, const struct segment *segment, const struct batch_index *batch, unsigned row)
{
	if (row_of_summary(batch, row) && sim_random_chance(&world->random, 700000))
		damage_row(world, segment, row, segment->record.m);
	else if (sim_random_chance(&world->random, 300000))
		damage_row(world, segment, row, segment->record.m);
}

static void rot_summaries(struct world *world)
{
	fill(world, 2);
	each_row(world, rot_summary_rows);
	world_verify(world);
	assert_int_equal(store_counters(world->store)->unrepairable, 0);
}

static void test_rot_in_summaries(void **state)
{
	(void)state;
	run_all(rot_summaries, 4);
}

/* ---- summaries lost: every row that has a cell of one ---- */

static void lose_summary_row(struct world *world, const struct segment *segment, const struct batch_index *batch, unsigned row)
{
	struct cell_run runs[COLUMNS_MAX];
	unsigned count = dva_runs(dva_unpack(batch->summary_dva), batch->summary_cells, runs), bad = 0;

	if (!row_of_summary(batch, row))
		return;
	/* The summary's own cell, then parity: blocks in the row stay as they are. */
	for (unsigned i = 0; i < count; i++)
		if (row >= runs[i].row && row < (unsigned)runs[i].row + runs[i].rows) {
			world_rot(world, segment->id, runs[i].column, row);
			bad++;
		}
	for (unsigned j = 0; j < segment->record.m; j++)
		world_rot(world, segment->id, segment->record.k + j, row);
}

static unsigned chance_of_rot;
static uint64_t healed_by_guess;

static void rot_one_column(struct world *world, const struct segment *segment, const struct batch_index *batch, unsigned row)
{
	if (!row_of_summary(batch, row) && sim_random_chance(&world->random, chance_of_rot))
		damage_row(world, segment, row, segment->record.m);
}

static void no_summaries(struct world *world)
{
	fill(world, 2);
	each_row(world, lose_summary_row);
	chance_of_rot = 60000;
	each_row(world, rot_one_column);
	world_verify(world);
	healed_by_guess += store_counters(world->store)->healed_cells;
	world_verify(world);
}

static void test_no_summaries(void **state)
{
	(void)state;
	run_all(no_summaries, 4);
	assert_true(healed_by_guess > 100);
}

static void no_summaries_degraded(struct world *world)
{
	fill(world, 2);
	each_row(world, lose_summary_row);
	for (unsigned lost = 0; lost < world->options.m; lost++)
		world_lose_disk(world, lost);
	for (size_t i = 0; i < world->blocks.count; i++) {
		const struct world_block *block = world_block(world, i);
		struct cell_run runs[COLUMNS_MAX];
		const struct segment *segment = alloc_segment(world->alloc, dva_unpack(block->pointer.dva).segment);
		unsigned count = dva_runs(dva_unpack(block->pointer.dva), block->pointer.psect, runs);
		bool late = false;
		for (unsigned r = 0; r < count; r++)
			for (unsigned row = runs[r].row; row < (unsigned)runs[r].row + runs[r].rows; row++)
				late |= row_of_summary(alloc_batch_find(segment, row), row);
		int status = world_read(world, block, 0);
		assert_true(status == 0 || (late && status == -POOL_EDAMAGED));
	}
}

static void test_no_summaries_degraded(void **state)
{
	(void)state;
	run_all(no_summaries_degraded, 3);
}

/* ---- writes lost: a txg is missing on as many disks as there is parity, which agree in what was there before ---- */

static void lost_writes(struct world *world)
{
	fill(world, 1);
	world->options.unchecked = true; /* the disks aren't what they should be */
	for (unsigned i = 0; i < world->options.m; i++)
		world_disk(world, i)->rates[SIM_WRITE_LOST] = SIM_MILLION;
	fill(world, 1);
	for (unsigned i = 0; i < world->options.m; i++)
		sim_disk_faults_clear(world_disk(world, i));
	world_verify(world);
	/* The summaries of that txg too, from their own checksum. */
	for (uint32_t id = 0; id < alloc_segment_count(world->alloc); id++) {
		const struct segment *segment = alloc_segment(world->alloc, id);
		for (unsigned i = 0; segment && i < segment->batch_count; i++) {
			struct summary_entry *entry;
			assert_int_equal(summary_get(world->store, segment, segment->batches[i].base, &entry), 0);
			summary_put(world->store, entry);
		}
	}
	assert_int_equal(store_counters(world->store)->unrepairable, 0);
}

static void test_lost_writes(void **state)
{
	(void)state;
	run_all(lost_writes, 4);
}

/* ---- more than parity can repair ---- */

static void ruin_rows(struct world *world, const struct segment *segment, const struct batch_index *batch, unsigned row)
{
	(void)batch;
	if (sim_random_chance(&world->random, 200000))
		damage_row(world, segment, row, segment->record.k + segment->record.m);
}

static void ruined(struct world *world)
{
	unsigned damaged = 0;

	fill(world, 2);
	each_row(world, ruin_rows);
	for (unsigned round = 0; round < 2; round++) {
		for (size_t i = 0; i < world->blocks.count; i++) {
			int status = world_read(world, world_block(world, i), 0); /* compares what it gets */
			assert_true(status == 0 || status == -POOL_EDAMAGED);
			damaged += status < 0;
			if (status < 0)
				assert_int_equal(world_read(world, world_block(world, i), STORE_READ_SPECULATIVE), -POOL_ECHECKSUM);
		}
	}
	assert_true(damaged > 0);
}

static void test_ruined(void **state)
{
	(void)state;
	run_all(ruined, 3);
}

/* ---- reads that never come back ---- */

static void hanging(struct world *world)
{
	fill(world, 2);
	for (unsigned i = 0; i < world->options.m; i++)
		sim_disk_set_hanging(world_disk(world, i), true);
	world_verify(world);
	for (unsigned i = 0; i < world->options.m; i++) {
		sim_disk_set_hanging(world_disk(world, i), false);
		sim_disk_release_hung(world_disk(world, i), true);
	}
	world_verify(world);
	for (unsigned i = 0; i < world->options.disks; i++)
		assert_int_equal(store_disk(world->store, i)->state, DISK_ONLINE);
}

static void test_hanging_reads(void **state)
{
	(void)state;
	run_all(hanging, 1);
}

/* ---- a heal that hangs ---- */

static void heal_hangs(struct world *world)
{
	fill(world, 1);
	const struct world_block *block = world_block(world, 0);
	struct cell_run runs[COLUMNS_MAX];
	uint32_t id = dva_unpack(block->pointer.dva).segment;
	unsigned disk;

	(void)dva_runs(dva_unpack(block->pointer.dva), block->pointer.psect, runs);
	uint64_t offset = world_cell_offset(world, id, runs[0].column, runs[0].row, &disk);
	sim_disk_rot(world_disk(world, disk), offset);
	/* The read passes, and the one that looks closer; the write doesn't. */
	sim_disk_fault(world_disk(world, disk), SIM_HANG, offset, CELL_SIZE, 2, 1, 0);
	assert_int_equal(world_read(world, block, 0), 0);
	assert_int_equal(sim_disk_hung(world_disk(world, disk)), 1);
	assert_int_equal(alloc_segment(world->alloc, id)->pins, 1);
	for (unsigned i = 0; i < 4; i++)
		fill(world, 1);
	assert_int_equal(alloc_segment(world->alloc, id)->pins, 1);
	sim_disk_release_hung(world_disk(world, disk), true);
	rt_sleep(world->rt, NS_PER_S);
	assert_int_equal(alloc_segment(world->alloc, id)->pins, 0);
	world_verify(world);
}

static void test_heal_that_hangs(void **state)
{
	(void)state;
	run_all(heal_hangs, 1);
}

/* ---- readers that come late ---- */

/* The content of what has died may still be found, but its cells may be somebody's by now: they aren't written to. */
static void dead(struct world *world)
{
	struct buffer *payload = NULL, *expected;
	struct world_block block = {0};
	struct cell_run runs[COLUMNS_MAX];
	unsigned disk;

	fill(world, 2);
	world_begin(world);
	for (size_t i = 0; i < world->blocks.count && !block.placed; i++)
		if (world_block(world, i)->class == CLASS_HOT && world_block(world, i)->pointer.psect > 1) {
			block = *world_block(world, i);
			world_kill(world, world_block(world, i));
		}
	assert_true(block.placed);
	world_commit(world);
	(void)dva_runs(dva_unpack(block.pointer.dva), block.pointer.psect, runs);
	uint64_t offset = world_cell_offset(world, dva_unpack(block.pointer.dva).segment, runs[0].column, runs[0].row, &disk);
	sim_disk_rot(world_disk(world, disk), offset);
	uint64_t healed = store_counters(world->store)->healed_cells;
	assert_int_equal(store_read(world->store, &block.pointer, STORE_READ_TENTATIVE, &payload), 0);
	expected = world_payload(world, block.seed, block.pointer.psect);
	assert_memory_equal(payload->data, expected->data, expected->size);
	assert_int_equal(store_counters(world->store)->healed_cells, healed);
	buffer_unref(expected);
	buffer_unref(payload);
}

static void test_dead(void **state)
{
	(void)state;
	run_all(dead, 1);
}

/* ---- what was never written, and a disk that doesn't answer ---- */

static void not_written(struct world *world)
{
	struct buffer *payload = NULL;
	struct cell_run runs[COLUMNS_MAX];
	unsigned disk;

	if (world->geometry.m == 0)
		return;
	fill(world, 1);
	struct block_pointer pointer = world_block(world, 0)->pointer;
	pointer.checksum[0] ^= 1;
	(void)dva_runs(dva_unpack(pointer.dva), pointer.psect, runs);
	uint64_t offset = world_cell_offset(world, dva_unpack(pointer.dva).segment, runs[0].column, runs[0].row, &disk);
	sim_disk_fault(world_disk(world, disk), SIM_HANG, offset, CELL_SIZE, 0, 1, 0);
	/* The others say enough: something else is there. */
	assert_int_equal(store_read(world->store, &pointer, STORE_READ_TENTATIVE, &payload), -POOL_ECHECKSUM);
	assert_int_equal(sim_disk_hung(world_disk(world, disk)), 1);
	sim_disk_release_hung(world_disk(world, disk), true);
	rt_sleep(world->rt, NS_PER_S);
	world_verify(world);
}

static void test_not_written(void **state)
{
	(void)state;
	run_all(not_written, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_healthy),		      cmocka_unit_test(test_degraded),
		cmocka_unit_test(test_rot),		      cmocka_unit_test(test_rot_in_summaries),
		cmocka_unit_test(test_no_summaries),	      cmocka_unit_test(test_no_summaries_degraded),
		cmocka_unit_test(test_lost_writes),	      cmocka_unit_test(test_ruined),
		cmocka_unit_test(test_hanging_reads),
		cmocka_unit_test(test_heal_that_hangs),	      cmocka_unit_test(test_dead),
		cmocka_unit_test(test_not_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
